//! What the orchestrator knows of its instances and threads.

use cohort_model::{
    Allotment, At, Estimate, GroupId, InstanceId, KillReason, Specialty, TestId, ThreadId,
};

/// One instance, as a lane for one thread at a time.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(crate) specialty: Specialty,
    pub(crate) allotment: Allotment,
    /// It was reported to be there.
    pub(crate) opened: bool,
    /// A thread has run here.
    pub(crate) begun: bool,
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
    pub(crate) crowd: Crowd,
    /// It was held for memory: its timing means nothing.
    pub(crate) was_held: bool,
    pub(crate) yielded: bool,
    pub(crate) killed: Option<KillReason>,
    /// It had all memory there is when it was killed for memory.
    pub(crate) had_all: bool,
    pub(crate) lock: Option<u32>,
}

/// How much there was beside a thread.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Crowd {
    /// Most threads that ran at once during it, itself included.
    pub(crate) threads_max: u32,
    /// The first and the latest reading of the time in which some task of its instance waited for a
    /// CPU, microseconds, cumulative.
    readings: Option<[(At, u64); 2]>,
}

impl Crowd {
    /// A reading of the instance in which it runs. Gives the time since the one before, seconds.
    pub(crate) fn observe(&mut self, at: At, cpu_pressure_us: u64) -> f64 {
        let now = (at, cpu_pressure_us);
        let [first, before] = self.readings.unwrap_or([now, now]);
        self.readings = Some([first, now]);
        at.since(before.0) as f64 / 1e6
    }

    /// Its instance is another one now, with other counters.
    pub(crate) fn moved(&mut self) {
        self.readings = None;
    }

    /// Share of its time in which some task of it waited for a CPU; 0 when that is not known.
    pub(crate) fn waited(&self) -> f64 {
        self.readings.map_or(0.0, |[(from, before), (to, after)]| {
            after.saturating_sub(before) as f64 / to.since(from).max(1) as f64
        })
    }
}

/// What has come of a test so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) threads: Vec<ThreadId>,
    /// Instances that they started on.
    pub(crate) places: Vec<InstanceId>,
    /// What was beside it when it failed in a crowd.
    pub(crate) crowd: Option<Crowd>,
    pub(crate) memory_retried: bool,
    pub(crate) concluded: bool,
}
