//! Edge Case Replicator: how an edge case is tried again, which condition matters, and what is the
//! smallest recipe that shows it.
//!
//! ```text
//!   sighted, suspect, remember --> Replicator --next--> Try   (a recipe, for one run on some instance)
//!                                      ^                 |
//!                                      +-----ended-------+    Outcome (passed, failed, failed otherwise)
//!                                      |
//!                                      +--news--> Case        (arms, causes, threshold, smallest recipe)
//! ```
//!
//! What is tried: first the original on another instance; then *cocktails*, several conditions in one run, and single
//! ones compete by Thompson sampling, with priors from the symptom; what fails again is taken apart until the
//! conditions are left that matter; each of these is proved by runs that were begun after it was suspected, with it
//! and without it; then its degree is bisected, and parts of the original are left out.
//!
//! Promise: the same calls give the same answers; a condition that does not matter is named with a
//! probability of at most one in forty for each one suspected, however long it takes; what is called smallest was seen to
//! fail; nothing is dropped without a line.

mod experiment;
pub mod localize;
pub mod minimize;
mod replicator;
pub mod sameness;
mod terms;

pub use replicator::Replicator;
pub use terms::{Hunt, Known, Limits, Outcome, Room, Settings, Sighting, Try};
