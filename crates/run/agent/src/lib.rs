//! The process that drives scenario threads against instances, and one side of each hand-off.

pub mod protocol;
