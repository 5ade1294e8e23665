//! Scenario threads: k6 scripts as machines that ask for what they need, and the journal of the answers.
//!
//! ```text
//!   Script::load ──> Bundle (what crosses to other agents) ──> Script::from_bundle
//!                                                                   │
//!   Birth ──────────────────────────────────────────────────> Machine::new
//!                                                                   │
//!            Answer ──> resume ──> Step { call, notes }   (again and again; answers are kept in the Journal)
//!                                                                   │
//!   the same Script, the same Birth, the Journal ───────────> Machine::replay: the same state, no call made twice
//! ```
//!
//! A machine does no input or output of its own: all it learns from outside are its birth and its answers, so these determine
//! it. It runs on a stack of its own and belongs to the operating system's thread it was made on.

mod api;
mod birth;
mod bundle;
mod call;
mod commonjs;
mod core;
mod engine;
mod exchange;
mod holes;
mod http;
mod jar;
mod journal;
mod jslib;
mod lexer;
mod machine;
mod note;
mod options;
mod playback;
mod recording;
mod refuse;
mod remembers;
mod rng;
mod script;
mod sources;
mod turns;

pub use birth::{Birth, MEMORY_LIMIT_BYTES, Role, ScenarioInfo};
pub use bundle::Bundle;
pub use call::{Answer, Around, Call, Ended, Permit, Reply};
pub use holes::Holes;
pub use http::{
    Expected, Outcome, Request, Response, ResponseType, TIMEOUT_US, Timings, TransportError,
    error_code,
};
pub use journal::{Journal, Position, Record, Tail};
pub use machine::Stretch;
pub use machine::{BirthError, Diverged, Machine, Step};
pub use note::{Answered, Failure, FailureKind, Level, MetricKind, Note, Sample};
pub use playback::{Cue, Playback, Told};
pub use recording::{Dice, Recorded, Recording, Scene, SceneCall};
pub use refuse::Refusal;
pub use script::{LoadError, Script};
