//! What people and programs see of a campaign. Everything here is a pure function of the records of
//! the event log; nothing is read, and only writers that are passed in are written.
//!
//! ```text
//!            +-> progress   live, in a terminal
//! records -> View -> plain      lines, in CI
//!            |   +-> summary    the end, for a person
//!            |   +-> junit      the end, for a program
//!            |   +-> case       edge cases: a page of each
//!            +-> events     each record as a line of JSON
//! ```

pub mod case;
pub mod events;
mod forecast;
pub mod junit;
mod line;
pub mod plain;
pub mod progress;
pub mod sarif;
mod saved;
mod sentence;
pub mod service;
pub mod summary;
mod view;
pub mod words;

#[cfg(test)]
mod scenario;

pub use view::{Counts, FindingKey, InstanceView, Noted, Retry, ThreadView, TryView, View};

/// What one execution printed, as far as it was kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Standard output, or both streams in one when they were captured so.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Where the kept output of an execution is found; `None` when there is none.
pub type Outputs<'a> = &'a dyn Fn(cohort_model::ThreadId) -> Option<Output>;
