//! Edge Case Replicator: how an edge case is tried again, which condition matters, and what is the
//! smallest recipe that shows it.

mod experiment;
pub mod minimize;
mod replicator;
mod same;
pub mod sameness;
mod terms;

pub use replicator::Replicator;
pub use terms::{Hunt, Known, Limits, Outcome, Room, Settings, Sighting, Try};
