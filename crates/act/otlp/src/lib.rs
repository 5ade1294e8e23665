//! OpenTelemetry receiver: what an instrumented SUT tells about itself, by instance and endpoint.
//!
//! ```text
//!   SUT's SDK --gRPC or HTTP--> serve (bounds, gzip) -> wire (one item at a time) -> reduce
//!   hub, each second: take(now) -> one window an instance
//! ```
//!
//! One port answers both transports, so an SDK works with whatever protocol it defaults to. An
//! instance is known by what [`Receiver::environment`] put into its environment, else by the
//! address it sends from.
//!
//! Promises: what comes in is reduced at once, item by item, into tables of bounded size, and what
//! they do not take is counted; bytes that are not OTLP are refused, counted, and reported once a
//! peer; nothing a SUT sends ends the receiver.

mod attributes;
mod complaint;
mod environment;
mod histogram;
mod reduce;
mod serve;
mod window;
mod wire;

pub use complaint::Complaint;
pub use serve::{Error, Receiver};
pub use window::{
    Account, Dropped, ExceptionWindow, InstanceWindow, LogCounts, MetricKind, MetricPoint,
    OperationWindow, PathWindow, SpanKind,
};
