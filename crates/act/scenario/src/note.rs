//! What a machine says in passing: notes need no answer.

use serde::{Deserialize, Serialize};

/// Something a script did that is worth keeping. A machine that is replayed says nothing again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Note {
    /// A value was added to a metric of the script's own (`Counter`, `Gauge`, `Rate`, `Trend`).
    Sample(Sample),
    /// One condition of a `check()`.
    Check {
        /// Its name.
        name: String,
        /// Whether it held.
        passed: bool,
        /// The group it stands in: empty, or `::checkout::pay`.
        group: String,
        /// Tags of the check, the virtual user and the scenario.
        tags: Vec<(String, String)>,
        /// The response that did not pass, when one was checked.
        of: Option<Answered>,
    },
    /// A line of `console.log` and its kin.
    Log {
        /// How loud.
        level: Level,
        /// The line.
        message: String,
    },
    /// A `group()` was left (metric `group_duration`).
    Group {
        /// Its path, `::checkout::pay`.
        path: String,
        /// How long it took, in microseconds.
        duration_us: u64,
    },
    /// An iteration ended (metrics `iterations` and `iteration_duration`).
    Iteration {
        /// `None`: it returned.
        failure: Option<Failure>,
        /// How long it took, in microseconds.
        duration_us: u64,
    },
    /// The script wants the whole campaign to stop (`exec.test.abort()`).
    Abort {
        /// What it said.
        message: String,
    },
}

/// Which request a response answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// `GET`, `POST`, ...
    pub method: String,
    /// As the script knows it, after redirects.
    pub url: String,
    /// The name that the script gave it.
    pub name: Option<String>,
}

/// One value of a metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The metric's name.
    pub metric: String,
    /// The metric's kind.
    pub kind: MetricKind,
    /// Whether its values are milliseconds.
    pub is_time: bool,
    /// The value; for a rate 1 or 0.
    pub value: f64,
    /// The group it was added in.
    pub group: String,
    /// Tags of the sample, the virtual user and the scenario.
    pub tags: Vec<(String, String)>,
}

/// The kinds of metrics k6 knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetricKind {
    /// Adds up.
    Counter,
    /// The last value counts.
    Gauge,
    /// How many values were not zero.
    Rate,
    /// A distribution.
    Trend,
}

/// How loud a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Level {
    /// `console.debug`
    Debug,
    /// `console.log`, `console.info`
    Info,
    /// `console.warn`
    Warn,
    /// `console.error`
    Error,
}

/// Why an iteration, or a machine, failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// What the exception said.
    pub message: String,
    /// Where it was thrown: `scenario.js:12:7`; empty when unknown.
    pub at: String,
    /// The stack, one line a frame; empty when unknown.
    pub stack: String,
}

/// What kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// An exception nobody caught, `fail()` among them.
    Exception,
    /// The memory limit was reached.
    Memory,
    /// It recursed too deeply.
    Stack,
    /// It returned a promise that nothing can ever settle.
    NeverSettles,
    /// It was interrupted from outside.
    Interrupted,
    /// It called `exec.test.abort()`.
    Aborted,
}
