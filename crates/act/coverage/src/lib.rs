//! Which lines a run executed, and how often.
//!
//! ```text
//!   Recording::begin -> environment() -> the program runs, with all that it starts -> read() -> Lines
//! ```
//!
//! One environment serves every language. Python (3.8 and later) imports a small tracer; programs whose
//! compiler instrumented them write the profiles of LLVM (`-C instrument-coverage` of Rust, clang) or of gcc
//! (`--coverage`). [`rust_build`] gives what makes cargo build so, in a target directory of its own. Files
//! below the project count, and no others.
//!
//! Promise: nothing is written into the project or beside its own build, and whatever has ended badly is
//! read as far as it got.

mod error;
mod gcc;
mod lines;
mod llvm;
mod python;
mod recording;
mod rust;

pub use error::Error;
pub use lines::{Function, Lines, is_test_place};
pub use recording::{Built, Recording};
pub use rust::rust_build;
