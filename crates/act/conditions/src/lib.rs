//! Runs one unmodified program under the conditions of a recipe.
//!
//! ```text
//!   caller
//!     `- guard      waits, passes signals on, ends as the program ended (under.rs)
//!          `- engine   starts everything, traces it, kills what is left (engine.rs, trace/)
//!               |- program (or copies of it), with all it starts
//!               |- what was asked for before and beside
//!               `- noise: busy neighbours
//! ```
//!
//! No privileges are needed: CPUs, limits and variables are set by the program's own process before
//! it becomes the program, and all else is done by tracing it (`ptrace(2)`), where the kernel stops it
//! only at the system calls that a condition is about (`seccomp(2)`).
//!
//! Promise: nothing that was started here is left when the program has ended, or when the guard or
//! the engine is told to end or is killed.

mod able;
mod engine;
mod error;
mod evidence;
mod noise;
mod order;
mod output;
mod plan;
mod random;
mod remains;
mod spawn;
mod stuck;
mod times;
mod trace;
mod under;

pub use able::{able, weak};
pub use error::Error;
pub use order::{Command, Done, Missing, Order, Report, Times};
pub use under::main;
