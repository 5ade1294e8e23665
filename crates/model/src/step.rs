//! What goes into the orchestrator and what comes out: observations and decisions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Batch, CaseId, FindingKind, InstanceId, Recipe, SampleBatch, Stage, TestId, TestResult,
    ThreadEnd, ThreadId, Verdict,
};

/// What an instance may use now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Allotment {
    /// Share of CPU under contention, 1 to 10,000, where 100 is an equal share (cgroup v2 `cpu.weight`).
    pub cpu_weight: u32,
    /// Most memory in bytes. A thread that needs more is held there, not killed, where the host can.
    pub memory: u64,
}

/// What an instance is for at present.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Specialty {
    /// Nothing is known yet.
    General,
    /// Computing tests.
    Cpu,
    /// Tests that need much memory.
    Memory,
    /// Tests that sleep or block.
    Waiting,
    /// Tests that are sensitive to timing: nothing crowds them.
    Quiet,
    /// A test so long that the end of the campaign depends on it: it gets CPU before all others.
    Critical,
    /// Trying edge cases again.
    Reproducing,
}

/// Which private namespaces an instance gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Isolation {
    /// Own mount table, with a private `/tmp`.
    pub mount: bool,
    /// Own process ids (implies `mount`, for its `/proc`).
    pub pid: bool,
    /// Own network with loopback only.
    pub net: bool,
}

/// How instances are chosen and sized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Follow what the tests are seen doing.
    #[default]
    Adaptive,
    /// The plain baseline: as many equal instances as cores, tests in order.
    Static,
}

/// Something the orchestrator is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "seen", rename_all = "snake_case")]
pub enum Observation {
    /// An instance can take work.
    InstanceOpened {
        /// Which.
        instance: InstanceId,
    },
    /// An instance ended unasked; its threads ended before this was reported.
    InstanceLost {
        /// Which.
        instance: InstanceId,
        /// Why.
        reason: String,
    },
    /// A thread runs.
    ThreadStarted {
        /// Which.
        thread: ThreadId,
    },
    /// The body of a thread is done and its instance could be told its next test now, before this
    /// thread's clean-up; if none is given in this step, the instance cleans up entirely.
    ThreadYielded {
        /// Which.
        thread: ThreadId,
    },
    /// A thread ended.
    ThreadEnded(ThreadEnd),
    /// A thread's process tree is now in another instance.
    ThreadMoved {
        /// Which.
        thread: ThreadId,
        /// Where it is now.
        target: InstanceId,
    },
    /// An instance reached its memory limit; its thread is held or slowed until there is more.
    MemoryHeld {
        /// Which.
        instance: InstanceId,
    },
    /// New telemetry.
    Sampled(SampleBatch),
    /// The campaign is to end now.
    Interrupted,
    /// Time passed.
    Tick,
}

/// Why a thread is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KillReason {
    /// Ran longer than the time limit.
    Timeout,
    /// Stood still longer than the stall limit.
    Stalled,
    /// Needs more memory than it may have.
    Memory,
    /// Fills the disk that its scratch directory is on.
    Disk,
    /// The campaign ends.
    Interrupted,
}

impl KillReason {
    /// What it means for an execution that was killed and came to `own`: it may have ended by itself
    /// just before the order to kill it arrived.
    #[must_use]
    pub fn verdict(self, own: Verdict) -> Verdict {
        if !own.is_failure() {
            return own;
        }
        match self {
            KillReason::Timeout | KillReason::Stalled => Verdict::TimedOut,
            KillReason::Memory => Verdict::OutOfMemory,
            KillReason::Disk => Verdict::Failed,
            KillReason::Interrupted => Verdict::Aborted,
        }
    }
}

/// Something the orchestrator wants done. Safe to repeat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Make an instance.
    OpenInstance {
        /// Its id, never used before.
        instance: InstanceId,
        /// What it is for.
        specialty: Specialty,
        /// What it may use.
        allotment: Allotment,
    },
    /// Change what an instance is for and may use, while it runs.
    Specialize {
        /// Which.
        instance: InstanceId,
        /// What it is for now.
        specialty: Specialty,
        /// What it may use now.
        allotment: Allotment,
    },
    /// End an instance that runs nothing.
    CloseInstance {
        /// Which.
        instance: InstanceId,
    },
    /// Run a test.
    StartThread {
        /// The id of this execution, never used before.
        thread: ThreadId,
        /// Which test.
        test: TestId,
        /// Where.
        instance: InstanceId,
    },
    /// Try an edge case again, in an instance for that. Its end is a [`Observation::ThreadEnded`] too,
    /// and never counts as a result of its test.
    TryCase {
        /// The id of this execution, never used before.
        thread: ThreadId,
        /// Which case.
        case: CaseId,
        /// The test it is about.
        test: TestId,
        /// Where.
        instance: InstanceId,
        /// How.
        recipe: Recipe,
        /// Several times, one after the other; none: once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        batch: Option<Batch>,
        /// It will be killed after so long, microseconds, so it may be ended as soon as it is sure that nothing of it
        /// can go on before; none: it is not looked whether that is so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit_us: Option<u64>,
    },
    /// Build the program of a test anew, so that it tells which lines it runs; in an instance for tries. Its end
    /// is a [`Observation::ThreadEnded`], which says whether that came about.
    Instrument {
        /// The id of this execution, never used before.
        thread: ThreadId,
        /// The case that wants it first.
        case: CaseId,
        /// The test whose program it is.
        test: TestId,
        /// Where.
        instance: InstanceId,
        /// Compilers at the same time.
        jobs: u32,
    },
    /// Kill a thread and all it started.
    KillThread {
        /// Which.
        thread: ThreadId,
        /// Why.
        why: KillReason,
    },
    /// Move a running thread's process tree into another instance.
    HandOverThread {
        /// Which.
        thread: ThreadId,
        /// From where.
        source: InstanceId,
        /// To where.
        target: InstanceId,
    },
    /// This is the result of a test; nothing more will be tried.
    Conclude(TestResult),
    /// All is done.
    Finish,
}

/// Why a command was given, in numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum Reason {
    /// CPU is idle and memory allows one more.
    Room {
        /// Cores that the running threads leave, by what they are seen using.
        free_cores: f64,
        /// Memory that is not promised, bytes.
        free_memory: u64,
        /// Cores it is expected to use.
        cores: f64,
        /// Memory it is expected to use at most, bytes.
        memory: u64,
    },
    /// No work or no room is left for it.
    Idle,
    /// A finding of the analyzer.
    Found {
        /// Which.
        kind: FindingKind,
        /// How sure.
        confidence: f64,
    },
    /// It failed while there was more work than cores; once more, quiet.
    Crowded {
        /// Most threads that ran at once beside it, itself included.
        threads: u32,
        /// Share of its time in which something of it had to wait for a CPU, 0 to 1; 0 when the host
        /// does not tell.
        #[serde(default)]
        waited: f64,
    },
    /// It was killed for memory; once more on the largest allotment.
    MemoryRetry,
    /// It reached its memory limit, and there is more to give.
    MemoryHeld {
        /// Memory it had, bytes.
        had: u64,
    },
    /// It reached its memory limit, and there is no more to give.
    MemoryExhausted {
        /// Memory it had, bytes.
        had: u64,
    },
    /// Its scratch directory holds more than is left of the disk, which is nearly full.
    DiskFull {
        /// Bytes in its scratch directory.
        scratch: u64,
        /// Bytes that are left.
        left: u64,
    },
    /// Ran too long, or stood still too long.
    Limit {
        /// The limit, seconds.
        seconds: f64,
    },
    /// An edge case is open, and this is the most telling try.
    Case {
        /// Which. (A decision shows command and reason side by side, and the command names it too.)
        #[serde(rename = "of_case")]
        case: CaseId,
        /// What it is tried for.
        stage: Stage,
    },
    /// The test is over.
    Ended,
    /// Ignored by the suite itself.
    Ignored,
    /// It cannot be run at all.
    Broken,
    /// The user, or the end of the campaign.
    Stopping,
    /// The fixed rule of the static policy.
    Static,
}

/// A command on record, with its reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// What is to be done.
    #[serde(flatten)]
    pub command: Command,
    /// Why.
    #[serde(flatten)]
    pub reason: Reason,
}
