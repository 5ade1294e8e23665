//! What is run, what is expected of it, and what came of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ConditionKind, GroupId, Symptom, TestId, ThreadId};

/// Which adapter a suite is run by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SuiteKind {
    /// `cargo test`: one process per test.
    Cargo,
    /// `pytest`: one warm worker process per instance, one test at a time.
    Pytest,
    /// Any other: one command lists the tests, another runs one.
    Exec,
    /// No suite: a service under scenario threads.
    Service,
}

/// One test, as the suite's own runner knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestCase {
    /// Unique within the suite and stable over campaigns and moved directories (no absolute path).
    pub name: String,
    /// The tests it lives with.
    pub group: GroupId,
    /// Listed, but not run (cargo's `#[ignore]`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignored: bool,
    /// Why it cannot be run at all: it fails without being run (a file that pytest cannot collect).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
    /// Tests with the same lock never run at the same time (doc tests share cargo's build lock).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<u32>,
    /// Uses as many cores as it finds (doc tests, harnesses that run whole), so it is predicted to
    /// need all of them until it was seen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
}

/// How one execution of a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The suite's own runner would call it passed.
    Passed,
    /// The test ended by itself and reported failure.
    Failed,
    /// It failed, as its author said it would (pytest's `xfail`).
    ExpectedFailure,
    /// The test decided not to run (pytest's skip) or was listed as ignored.
    Skipped,
    /// It died of a signal that Cohort did not send.
    Crashed,
    /// It ran past its time limit, or stood still past the stall limit, and was killed.
    TimedOut,
    /// It needed more memory than there was for it, and was killed.
    OutOfMemory,
    /// It was stopped before it ended: interrupted, or its instance was lost.
    Aborted,
}

impl Verdict {
    /// Whether it ran to its end and came out as its author meant it to.
    #[must_use]
    pub fn is_success(self) -> bool {
        matches!(self, Verdict::Passed | Verdict::ExpectedFailure)
    }

    /// Whether a campaign with this result fails.
    #[must_use]
    pub fn is_failure(self) -> bool {
        !self.is_success() && self != Verdict::Skipped
    }
}

/// What one execution used. Zero where the host could not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Microseconds from start to end.
    pub wall_us: u64,
    /// CPU microseconds in user mode, children included.
    pub user_us: u64,
    /// CPU microseconds in the kernel, children included.
    pub system_us: u64,
    /// Largest memory in bytes that it was seen to hold.
    pub memory_peak: u64,
    /// Bytes read from storage.
    pub io_read: u64,
    /// Bytes written to storage.
    pub io_written: u64,
    /// Voluntary context switches: it waited.
    pub waits: u64,
    /// Involuntary context switches: it was made to wait.
    pub preemptions: u64,
    /// Microseconds in which something of it could have run and no CPU was free for it.
    #[serde(default)]
    pub cpu_waited_us: u64,
}

impl Usage {
    /// CPU time, microseconds.
    #[must_use]
    pub fn cpu_us(&self) -> u64 {
        self.user_us + self.system_us
    }

    /// Cores used, averaged over the wall time.
    #[must_use]
    pub fn cores(&self) -> f64 {
        self.cpu_us() as f64 / self.wall_us.max(1) as f64
    }

    /// Wall time without that in which it waited for a CPU, microseconds: about what it would have
    /// taken with nothing beside it. At least its CPU time when that is less than the wall time.
    #[must_use]
    pub fn undisturbed_us(&self) -> u64 {
        let least = self.cpu_us().min(self.wall_us);
        self.wall_us.saturating_sub(self.cpu_waited_us).max(least)
    }

    /// Share of its wall time in which it neither used a CPU nor waited for one, 0 to 1.
    #[must_use]
    pub fn waiting_share(&self) -> f64 {
        let busy_us = self.cpu_us() + self.cpu_waited_us;
        (1.0 - busy_us as f64 / self.wall_us.max(1) as f64).max(0.0)
    }
}

/// A test within a test that could not be run apart (a doc test, a case of a custom harness).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    /// Name as the harness printed it.
    pub name: String,
    /// What the harness said of it.
    pub verdict: Verdict,
}

/// The end of one execution, as the adapter reports it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThreadEnd {
    /// Which execution.
    pub thread: ThreadId,
    /// How it ended.
    pub verdict: Verdict,
    /// Exit code, when it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Signal number, when one ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// What it used.
    pub usage: Usage,
    /// One line that says why it failed, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Tests within it, when it ran whole and said which they are. There may be none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<Vec<Part>>,
    /// How its failure looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symptom: Option<Box<Symptom>>,
    /// Conditions that it was to be run under and that could not be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unapplied: Vec<ConditionKind>,
    /// What stands in the file that the test reads, when it failed and that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Of a try that is a batch: runs that passed before the one that this tells of. The usage is that
    /// of all of them together.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub passed_before: u32,
    /// Processes it left running when it ended; they were killed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_behind: u32,
    /// Bytes of output it wrote beyond what is kept.
    #[serde(default, skip_serializing_if = "is_zero_64")]
    pub output_dropped: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero_64(value: &u64) -> bool {
    *value == 0
}

/// The one result of a test, after all its executions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestResult {
    /// Which test.
    pub test: TestId,
    /// The verdict that counts.
    pub verdict: Verdict,
    /// Its executions in order; the last one decided. Empty for an ignored test.
    pub threads: Vec<ThreadId>,
    /// Failed on a crowded instance and passed on a quiet one: an edge case, counted as passed
    /// unless the campaign is strict.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub load_sensitive: bool,
    /// Was killed for memory once and then tried on the largest allotment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub memory_retried: bool,
}

/// Two points of a predicted distribution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quantiles {
    /// As likely above as below.
    pub p50: f64,
    /// Exceeded by one in ten.
    pub p90: f64,
}

/// What a test is expected to need.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// Wall time in microseconds.
    pub wall_us: Quantiles,
    /// CPU in cores, averaged over the wall time.
    pub cores: Quantiles,
    /// Peak memory in bytes.
    pub memory: Quantiles,
    /// Earlier runs of this very test behind it; 0 when it rests on its neighbours or on nothing.
    pub runs: u32,
}

/// What is remembered of one test over campaigns: its latest executions, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestHistory {
    /// Usage of the latest passing executions (at most eight).
    pub usage: Vec<Usage>,
    /// Executions in all.
    pub runs: u32,
    /// Failed executions in all.
    pub failures: u32,
    /// Times it failed crowded and passed quiet.
    pub load_sensitive: u32,
}
