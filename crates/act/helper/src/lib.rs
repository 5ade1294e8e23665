//! Helpers: what they are, whether they fit, and what they say.
//!
//! ```text
//!  manifest (TOML) --> fits this host and this server? --> command --> output --> what it tells
//! ```
//!
//! A helper is a program of somebody else's. Its manifest says when it is of use, what it needs, how it is called, how its
//! output is read, and what it may cost. Those built in are manifests like a user's own in `helpers/*.toml`.

mod command;
mod fits;
mod manifest;
pub mod reading;
mod runtime;

pub use command::{Values, fill};
pub use fits::missing;
pub use manifest::{BUILT_IN, Manifest, Reads};
pub use runtime::Runtime;
