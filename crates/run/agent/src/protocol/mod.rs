//! What hub and agent say to each other, over one Unix stream socket an agent.
//!
//! ```text
//!   hub                                              agent
//!    | -- Hello, Load ---------------------------------> |   Hello, Loaded / LoadFailed
//!    | -- Instance, Scenario --------------------------> |
//!    | -- Side(Grant from nothing, how) ----------------> |   Side(Resumed): a thread has begun
//!    | -- Permit ---------------------------------------> |   Iterated, Windows, Metrics, Checks, ...
//!    | -- Side(Prepare, Freeze, ...) -------------------> |   Side(JournalPart, Frozen, ...)
//!    | -- Stop -----------------------------------------> |   Ended, Side(Ended)
//!    | -- Capture, Capsule, Play ------------------------> |   Captured, Played
//!    | -- Fuzz -----------------------------------------> |   FuzzFound, Fuzzed
//!    | -- Report ---------------------------------------> |   Iterated, Windows, ..., Reported
//!    | -- Finish ---------------------------------------> |   Finished
//! ```
//!
//! `Side` carries the messages of [`cohort_handoff`] (an order of its `Coordinator` is one message
//! to one agent) together with the bytes they speak of: the hub keeps the bytes of the last
//! `JournalPart` and `Frozen` of a thread and puts them beside what the coordinator sends on.
//!
//! A message is one frame: its length (4 bytes, little endian), then the message in postcard.
//! The first frame in each direction is a [`Hello`] with [`VERSION`]; another version is refused.
//!
//! Promise: whatever bytes arrive, reading ends in a message or in an [`Error`], never in a panic,
//! and never takes more memory than [`FRAME_BYTES_MAX`].

mod frame;
mod from_agent;
mod fuzz;
mod histogram;
mod play;
mod settings;
mod to_agent;

pub use cohort_handoff::Epoch;
pub use frame::{Error, FRAME_BYTES_MAX, Hello, Reader, VERSION, Writer, decode, encode};
pub use from_agent::{
    BrokenCall, CheckCount, EndWhy, EndpointWindow, Freight, FromAgent, Iterated, LogLevel,
    LogLine, MetricDelta, MetricKind, MetricValue, OneShotAnswer, OwnCost, SideReport, SlowCall,
    ThreadCalls, TransportError, Window,
};
pub use fuzz::{FuzzFound, FuzzOrder, Fuzzed};
pub use histogram::Histogram;
pub use play::{
    CaptureOrder, Captured, OddCall, Oddity, PlayOrder, Played, PlayedAnswers, ThreadTaken,
};
pub use settings::{Address, BatchLimits, HostHeader, HttpSettings, Load, Submetric};
pub use to_agent::{Cargo, DriverProgram, How, Luggage, OneShot, Permit, SideOrder, ToAgent};
