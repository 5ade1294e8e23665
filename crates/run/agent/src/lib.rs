//! The process that drives scenario threads against instances, and one side of each hand-off.
//!
//! ```text
//!   hub <-- protocol --> run: one loop, one operating-system thread
//!                         |
//!                         +-- thread (a task each): machine, journal on disk, side of the hand-off
//!                         |     `-- call -> http: its own kept-alive connections
//!                         +-- play: recorded threads, played again against another instance
//!                         +-- permits: who may begin an iteration
//!                         `-- telemetry: what is added up until the next message
//! ```

mod agent;
mod call;
mod clock;
mod endpoint;
mod http;
pub mod journal;
mod mailbox;
mod odd;
mod one_shot;
mod pace;
mod permits;
pub mod play;
pub mod protocol;
mod run;
mod telemetry;
mod thread;

pub use clock::monotonic_ns;
pub use run::{main_agent, serve};
