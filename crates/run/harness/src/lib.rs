//! Programs that read bytes, given inputs that nobody wrote.
//!
//! ```text
//!   cohort.toml, fuzz/Cargo.toml --targets--> Target, built
//!        |  instances, each a process in a control group of its own: the target's own engine (libFuzzer, AFL++), or `work`
//!        |      they share what was new (corpus/), and leave what broke it (crashes/)
//!        +--fuzz--> sift: run again alone, one for each bug, cut small --> Found: a file that the suite then runs as a test
//! ```
//!
//! Promise: what is found was seen to fail twice, alone the second time. No process of a harness outlives [`fuzz`].

mod afl;
mod error;
mod execute;
mod instance;
mod sift;
mod supervise;
mod target;
mod words;
mod work;

pub use error::Error;
pub use execute::{End, Limits, Run, execute};
pub use sift::Found;
pub use supervise::{Outcome, Progress, Setup, fuzz};
pub use target::{Config, Engine, Target, is_cargo_fuzz, targets};
pub use work::{Plan, main, work};
