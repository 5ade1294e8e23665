//! What hub and agent say to each other, over one Unix stream socket an agent.
//!
//! ```text
//!   hub                                             agent
//!    | -- Hello, Load --------------------------------> |   Loaded / LoadFailed
//!    | -- Instance, Start, Permit --------------------> |   Started, Iterated, Windows, Metrics, ...
//!    |                 hand-off of one thread           |
//!    | -- Prepare ------------> source  -- JournalPart, JournalPart, ... -> hub -- Replay --> target
//!    |                                                  |   target: Prepared
//!    | -- Freeze -------------> source  -- Frozen (tail, state) ----------> hub -- Grant ---> target
//!    |                                                  |   target: Resumed
//!    | -- Dropped ------------> source  -- Forgotten
//! ```
//!
//! A message is one frame: its length (4 bytes, little endian), then the message in postcard.
//! The first frame in each direction is a [`Hello`] with [`VERSION`]; another version is refused.
//!
//! Promise: whatever bytes arrive, reading ends in a message or in an [`Error`], never in a panic,
//! and never takes more memory than [`FRAME_BYTES_MAX`].

mod frame;
mod from_agent;
mod histogram;
mod settings;
mod to_agent;

pub use frame::{Error, FRAME_BYTES_MAX, Hello, Reader, VERSION, Writer, decode, encode};
pub use from_agent::{
    BrokenCall, CheckCount, EndWhy, EndpointWindow, FromAgent, Frozen, Iterated, LogLevel, LogLine,
    MetricDelta, MetricKind, MetricValue, OneShotAnswer, OwnCost, SlowCall, TransportError, Window,
};
pub use histogram::Histogram;
pub use settings::{Address, BatchLimits, HostHeader, HttpSettings, Load, Submetric};
pub use to_agent::{
    DriverProgram, Epoch, Grant, How, JournalPart, OneShot, Permit, Place, Replay, Start, Tail,
    ToAgent,
};
