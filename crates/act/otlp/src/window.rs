//! What the receiver hands out: one window an instance and second.

use cohort_model::{At, InstanceId};
use serde::{Deserialize, Serialize};

/// What one instance told in one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceWindow {
    /// Who told it.
    pub instance: InstanceId,
    /// When it was taken: it holds what arrived since the window before.
    pub at: At,
    /// Spans by operation, in the order of their names.
    pub operations: Vec<OperationWindow>,
    /// Exceptions, by type, message and operation.
    pub exceptions: Vec<ExceptionWindow>,
    /// Metrics, one point a series.
    pub metrics: Vec<MetricPoint>,
    /// Log records of some severity.
    pub logs: LogCounts,
    /// What the tables did not take.
    pub dropped: Dropped,
}

/// What a span was for (OpenTelemetry's span kinds).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanKind {
    /// Work inside of the process.
    Internal,
    /// A request that was answered.
    Server,
    /// A request that was made: a database, another service.
    Client,
    /// A message that was sent.
    Producer,
    /// A message that was worked on.
    Consumer,
}

/// The spans of one operation. Times are in microseconds; quantiles are exact to 1/16.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperationWindow {
    /// `GET /items/{}` for a request with a route, else the span's name, numbers and ids as `{}`.
    pub operation: String,
    /// What the spans were for.
    pub kind: SpanKind,
    /// Spans that ended.
    pub calls: u64,
    /// Of these, with status Error.
    pub errors: u64,
    /// Sum of their durations.
    pub total_us: u64,
    /// Half took no longer.
    pub p50_us: u64,
    /// Nine of ten took no longer.
    pub p90_us: u64,
    /// 99 of 100 took no longer.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
    /// Time in the operation itself and in nothing below it; meaningful where `paths` is not empty.
    pub own_us: u64,
    /// The code paths beneath, most own time first: those of requests and of spans without parent.
    pub paths: Vec<PathWindow>,
}

/// One chain of operations beneath an operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathWindow {
    /// `load order > SELECT orders`.
    pub path: String,
    /// What the last of the chain was for.
    pub kind: SpanKind,
    /// Spans that ended there.
    pub calls: u64,
    /// Their durations, microseconds.
    pub total_us: u64,
    /// Without what lay below them, microseconds.
    pub own_us: u64,
}

/// Equal exceptions of one window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExceptionWindow {
    /// Type of the exception; the severity for a log record without one.
    pub kind: String,
    /// Message of the first; cut after 1 KiB.
    pub message: String,
    /// Stack of the first, cut after 8 KiB; empty when none was sent.
    pub stacktrace: String,
    /// Operation of the span that recorded it; empty for log records.
    pub operation: String,
    /// How often.
    pub count: u64,
}

/// What the value of a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// A level: its last value. Also sums that can go down.
    Gauge,
    /// A sum that only grows: its increase in the window.
    Counter,
    /// A distribution: increase of the sum of observations, and of their number.
    Histogram,
}

/// One series of a metric in one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricPoint {
    /// Its name.
    pub name: String,
    /// `pool=main,state=used`, sorted.
    pub attributes: String,
    /// As the SUT wrote it (UCUM: `By`, `ms`, `{connection}`).
    pub unit: String,
    /// What `value` is.
    pub kind: MetricKind,
    /// In `unit`.
    pub value: f64,
    /// Observations of a histogram; else points received.
    pub count: u64,
}

/// Log records by severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogCounts {
    /// Severity WARN.
    pub warnings: u64,
    /// Severity ERROR and FATAL.
    pub errors: u64,
}

/// What the bounded tables of a window did not take, in items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Spans whose operation found no place.
    pub spans: u64,
    /// Spans that count among the operations, but whose way up to a request was not found.
    pub unattached: u64,
    /// Spans beneath a request that had too many different paths.
    pub paths: u64,
    /// Exceptions that found no place.
    pub exceptions: u64,
    /// Points of metrics that found no place, or were no numbers.
    pub points: u64,
}

impl Dropped {
    /// Whether anything was dropped.
    #[must_use]
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}

/// What the receiver did since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Requests that were understood.
    pub requests: u64,
    /// Spans in them.
    pub spans: u64,
    /// Metrics in them.
    pub metrics: u64,
    /// Log records in them.
    pub log_records: u64,
    /// Items that belong to no instance.
    pub unplaced: u64,
    /// Requests that were not OTLP.
    pub malformed: u64,
    /// Requests, or single items, larger than is taken, and requests with more items than are.
    pub too_large: u64,
    /// Requests sent away because too many were being read.
    pub busy: u64,
}
