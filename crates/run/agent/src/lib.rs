//! The process that drives scenario threads against instances, and one side of each hand-off.

mod clock;
mod endpoint;
mod http;
pub mod journal;
mod mailbox;
mod permits;
pub mod protocol;
mod telemetry;

pub use clock::monotonic_ns;
pub use endpoint::endpoint;
