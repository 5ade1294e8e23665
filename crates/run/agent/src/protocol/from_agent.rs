//! What an agent tells the hub.

use cohort_handoff::{Epoch, ToHub};
use cohort_model::{At, InstanceId, ThreadId};
use cohort_scenario::Tail;
use serde::{Deserialize, Serialize};

use super::fuzz::{FuzzFound, Fuzzed};
use super::histogram::Histogram;
use super::play::{Captured, OddCall, Played};
use super::to_agent::{Luggage, OneShot};

/// What an agent tells the hub.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromAgent {
    /// Ready for threads.
    Loaded,
    /// The script cannot be run. The message names file and line.
    LoadFailed {
        /// Why.
        message: String,
    },
    /// The hand-off protocol of one thread.
    Side(Box<SideReport>),
    /// What threads did since the last such message (at most 20 ms ago), and which are idle.
    Iterated(Vec<Iterated>),
    /// Arrivals (`Permit::Timed`) that found no idle thread.
    DroppedIterations {
        /// Of which scenario.
        scenario: String,
        /// How many since the last message.
        count: u64,
    },
    /// The thread waits since then for its instance, which is down: move it.
    Stranded {
        /// Which.
        thread: ThreadId,
        /// On which instance.
        instance: InstanceId,
        /// Since when.
        since: At,
    },
    /// Why a thread whose `Side` says `Ended` is over; said before that.
    Ended {
        /// Which.
        thread: ThreadId,
        /// Under which lease.
        epoch: Epoch,
        /// Why.
        why: EndWhy,
    },
    /// The thread cannot be handed over (its journal is beyond the limit, it is a program). It can
    /// still be moved within its agent. Said once, and again to each `Prepare`.
    Unmovable {
        /// Which.
        thread: ThreadId,
        /// Under which lease.
        epoch: Epoch,
        /// Why.
        message: String,
    },
    /// The script called `exec.test.abort()`.
    Abort {
        /// Which thread's.
        thread: ThreadId,
        /// Its reason.
        message: String,
    },
    /// What was called since the last such message, about every second.
    Windows(Vec<Window>),
    /// What each thread called since the last such message, about every five seconds.
    ThreadCalls(ThreadCalls),
    /// Metric samples since the last such message, about every second. To be added up.
    Metrics(Vec<MetricDelta>),
    /// Checks since the last such message, about every second.
    Checks(Vec<CheckCount>),
    /// What scripts and programs printed.
    Log {
        /// In order.
        lines: Vec<LogLine>,
        /// Lines that were dropped since the last such message.
        dropped: u64,
    },
    /// Requests that were sent and got no answer.
    Broken {
        /// The first ones.
        calls: Vec<BrokenCall>,
        /// Further ones since the last such message.
        more: u64,
    },
    /// Something odd, told at once; where there is much of the same only now and then.
    Odd(Box<OddCall>),
    /// To `Capture` and `Capsule`.
    Captured(Box<Captured>),
    /// A play is over.
    Played(Box<Played>),
    /// Half of the repetitions of a play are done.
    PlayedHalf {
        /// Which.
        play: u32,
    },
    /// A changed request led to something odd.
    FuzzFound(Box<FuzzFound>),
    /// `Fuzz` is over.
    Fuzzed(Box<Fuzzed>),
    /// The slowest request of each endpoint and window.
    Slow(Vec<SlowCall>),
    /// A function that runs once has ended.
    OneShotDone(Box<OneShotAnswer>),
    /// The agent's own cost, about every second.
    Cost(OwnCost),
    /// To `Report`: all that was known then has been said.
    Reported,
    /// Everything was sent; the agent ends.
    Finished,
}

/// One message of the hand-off protocol, with what it carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SideReport {
    /// Which thread.
    pub thread: ThreadId,
    /// The message.
    pub says: ToHub,
    /// What belongs to it.
    pub with: Freight,
}

/// What a message of a side carries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Freight {
    /// Nothing.
    #[default]
    Nothing,
    /// `JournalPart`: the answers of its range.
    Answers(Tail),
    /// `Frozen`: the answers of its range, and the rest.
    Frozen(Tail, Luggage),
    /// `Prepared`: how long the replaying took, microseconds.
    Prepared {
        /// Of all parts so far.
        replay_us: u64,
    },
    /// `Resumed`.
    Resumed {
        /// From freezing to running, microseconds. After a begin or a recovery: since the order.
        pause_us: u64,
        /// Iterations it has begun so far, the current one included.
        begun: u64,
    },
    /// `Diverged`: how.
    Diverged(String),
}

/// What one thread did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Iterated {
    /// Which.
    pub thread: ThreadId,
    /// Under which lease.
    pub epoch: Epoch,
    /// Iterations that ended since the last message.
    pub done: u32,
    /// Those of them that ended with an error (an exception, exit code other than 0).
    pub failed: u32,
    /// It has no permit and waits for one.
    pub idle: bool,
}

/// Why a thread is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndWhy {
    /// It was told to and its iteration came to an end.
    Stopped,
    /// It was told to, and its iteration was cut off when the grace was over.
    Interrupted,
    /// It could not be begun, or cannot go on: out of memory, endless loop, its file is damaged.
    Failed {
        /// Why.
        message: String,
    },
}

/// What was called on one instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Which.
    pub instance: InstanceId,
    /// From when.
    pub from: At,
    /// To when.
    pub to: At,
    /// Threads on it at the end.
    pub threads: u32,
    /// Requests that are without an answer at the end.
    pub in_flight: u32,
    /// Age of the oldest of them, microseconds.
    pub oldest_us: u64,
    /// What was called.
    pub endpoints: Vec<EndpointWindow>,
}

/// What threads called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadCalls {
    /// Names of endpoints.
    pub endpoints: Vec<String>,
    /// By thread: places in `endpoints`, with how often each was called.
    pub threads: Vec<(ThreadId, Vec<(u32, u64)>)>,
}

/// Requests of one endpoint on one instance that ended in one window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EndpointWindow {
    /// `GET /items/{}`, or the request's `name` tag.
    pub endpoint: String,
    /// Requests that ended, with or without an answer.
    pub calls: u64,
    /// Requests that are without an answer at its end.
    pub in_flight: u32,
    /// How long the oldest of those has been waited for, microseconds.
    pub oldest_us: u64,
    /// Least time between two answers, microseconds; none with fewer than two.
    pub closest_us: Option<u64>,
    /// Answers of status 1xx, 2xx, 3xx, 4xx, 5xx.
    pub status: [u64; 5],
    /// Answers from 500 on, by status.
    pub server_errors: Vec<(u16, u64)>,
    /// Requests without an answer, by kind.
    pub errors: Vec<(TransportError, u64)>,
    /// Bytes written, headers included.
    pub sent: u64,
    /// Bytes read, headers included.
    pub received: u64,
    /// From the first byte written to the last byte read, microseconds; answers only.
    pub latency: Histogram,
    /// Failed checks by name, of the checks of an answer of this endpoint, or that came after one. Those of
    /// a request that failed (no answer, or a status from 500 on) are told with that; those of an iteration
    /// during which its thread came to another instance say nothing of this one.
    pub failed_checks: Vec<(String, u64)>,
}

/// Why there was no answer. Numbers of k6's `error_code` stand beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TransportError {
    /// The name was not found (1101).
    Dns,
    /// Nobody listens (1212), or not in time (1211).
    Connect,
    /// The connection was closed or reset with no whole answer (1220, 1000).
    Reset,
    /// No whole answer in time (1050).
    Timeout,
    /// What came is not HTTP, or breaks its rules (1000, 1600s).
    Protocol,
    /// The body is larger than allowed, or cannot be decoded (1701).
    Body,
    /// TLS (1300s).
    Tls,
    /// The request was not allowed or makes no sense; nothing was sent (1000, 1020).
    Refused,
    /// The agent died with the request in flight.
    AgentDied,
    /// Anything else (1000).
    Other,
}

/// Samples of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricDelta {
    /// The metric's, or the submetric's ([`super::Submetric::name`]) name.
    pub name: String,
    /// What kind of metric.
    pub kind: MetricKind,
    /// Values are times in milliseconds.
    pub time: bool,
    /// What was added.
    pub value: MetricValue,
}

/// k6's kinds of metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MetricKind {
    /// A sum.
    Counter,
    /// A share of values that are not zero.
    Rate,
    /// The last value, with smallest and largest.
    Gauge,
    /// Quantiles.
    Trend,
}

/// What was added to a metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MetricValue {
    /// Counter.
    Sum(f64),
    /// Rate.
    Share {
        /// Values other than zero.
        nonzero: u64,
        /// All values.
        total: u64,
    },
    /// Gauge.
    Last {
        /// The last value.
        value: f64,
        /// When it was set.
        at: At,
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
    },
    /// Trend; values in thousandths.
    Values(Histogram),
}

/// How one check went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckCount {
    /// Path of the groups it stands in (`::checkout`), empty at the top.
    pub group: String,
    /// Its name.
    pub name: String,
    /// On which instance.
    pub instance: InstanceId,
    /// Times it held.
    pub passes: u64,
    /// Times it did not.
    pub fails: u64,
}

/// A line of a script or a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When.
    pub at: At,
    /// Whose.
    pub thread: Option<ThreadId>,
    /// How grave.
    pub level: LogLevel,
    /// The text, cut at 4 KiB.
    pub text: String,
}

/// How grave a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LogLevel {
    /// `console.debug`.
    Debug,
    /// `console.log`, `console.info`, a program's output.
    Info,
    /// `console.warn`.
    Warn,
    /// `console.error`, exceptions.
    Error,
}

/// A request that was sent and got no answer: evidence for a crash or a hang.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BrokenCall {
    /// When it was sent.
    pub at: At,
    /// Whose.
    pub thread: ThreadId,
    /// To which instance.
    pub instance: InstanceId,
    /// `POST /items`.
    pub endpoint: String,
    /// Its method.
    pub method: String,
    /// The script's url.
    pub url: String,
    /// The first 1 KiB of its body.
    pub body: Vec<u8>,
    /// Why there was no answer.
    pub error: TransportError,
    /// In words.
    pub message: String,
    /// How long it was waited for, microseconds.
    pub waited_us: u64,
}

/// The slowest request of an endpoint in a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlowCall {
    /// When it was sent.
    pub at: At,
    /// Whose.
    pub thread: ThreadId,
    /// To which instance.
    pub instance: InstanceId,
    /// `POST /items`.
    pub endpoint: String,
    /// The script's url.
    pub url: String,
    /// The first 1 KiB of its body.
    pub body: Vec<u8>,
    /// Status of the answer; 0 while there is none, and it is under way for long already.
    pub status: u16,
    /// How long it took, or is under way, microseconds.
    pub latency_us: u64,
}

/// What a function that runs once returned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OneShotAnswer {
    /// Which.
    pub what: OneShot,
    /// Against which instance.
    pub instance: InstanceId,
    /// JSON of what it returned; an error in words when it threw.
    pub result: Result<String, String>,
}

/// What the agent itself costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnCost {
    /// When.
    pub at: At,
    /// CPU used, microseconds, cumulative.
    pub cpu_us: u64,
    /// Resident memory, bytes.
    pub rss: u64,
    /// How late its loop runs what is due, microseconds: p99 since the last message.
    pub lag_p99_us: u64,
    /// The same, largest.
    pub lag_max_us: u64,
    /// Threads it runs.
    pub threads: u32,
    /// Bytes of journals.
    pub journal_bytes: u64,
    /// Requests sent, cumulative.
    pub requests: u64,
}
