//! What the orchestrator knows of its instances and threads.

use cohort_model::{
    Allotment, At, Estimate, GroupId, InstanceId, KillReason, Specialty, TestId, ThreadId,
};

/// One instance, as a lane for one thread at a time.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(crate) specialty: Specialty,
    pub(crate) allotment: Allotment,
    /// The thread whose processes are here.
    pub(crate) thread: Option<ThreadId>,
    /// Its thread is done but for its clean-up; the next one can be named now.
    pub(crate) yielded: bool,
    /// Its thread needs more memory than the allotment has.
    pub(crate) held: bool,
    /// Memory of a thread that was handed over, which stays charged here until that thread ends.
    pub(crate) residue: u64,
}

impl Lane {
    /// Whether a thread can be sent here now.
    pub(crate) fn is_free(&self) -> bool {
        self.thread.is_none() || self.yielded
    }
}

/// Which try of its test a thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    First,
    /// Again on the largest allotment, after it was killed for memory.
    Largest,
    /// Again with nothing beside it, after it failed in a crowd.
    Quiet,
}

/// One thread that runs.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) test: TestId,
    pub(crate) group: GroupId,
    pub(crate) attempt: Attempt,
    /// Where its processes are.
    pub(crate) place: InstanceId,
    /// Where it was handed over from.
    pub(crate) source: Option<InstanceId>,
    pub(crate) started: At,
    pub(crate) expected: Estimate,
    /// Most threads that ran at once during it, itself included.
    pub(crate) crowd_max: u32,
    /// It was held for memory: its timing means nothing.
    pub(crate) was_held: bool,
    pub(crate) yielded: bool,
    pub(crate) killed: Option<KillReason>,
    /// It had all memory there is when it was killed for memory.
    pub(crate) had_all: bool,
    pub(crate) lock: Option<u32>,
}

/// What has come of a test so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) threads: Vec<ThreadId>,
    /// Threads that ran beside it when it failed in a crowd; 0 when it did not.
    pub(crate) crowd: u32,
    pub(crate) memory_retried: bool,
    pub(crate) concluded: bool,
}
