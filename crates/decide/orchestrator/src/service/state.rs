//! What is remembered of instances and threads of a service.

use std::collections::BTreeSet;

use cohort_allocator::UseMeter;
use cohort_model::{At, EndpointId, InstanceId, Purpose, ThreadId};

use super::load::LoadHistory;

/// Once so many calls of a thread are counted, all counts are halved: what it did lately counts most.
const CALLS_KEPT: f64 = 100.0;

/// Where an instance is in its life.
///
/// ```text
///   Opening ──▶ Ready ◀──▶ Down
///      └──────────┴─────────┴──▶ Failed ──▶ Closing ──▶ Closed
///                 └─────────────────────────▶
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not yet seen to answer.
    Opening,
    /// Answers.
    Ready,
    /// Its process ended, and is started again.
    Down,
    /// It will not come back; its threads leave it.
    Failed,
    /// To be closed; not yet seen to have ended.
    Closing,
    /// Gone.
    Closed,
}

/// One instance.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) phase: Phase,
    pub(super) purpose: Purpose,
    /// Threads that are on it, or on their way to it.
    pub(super) threads: BTreeSet<ThreadId>,
    /// How many threads it is to have, relative to the others, `WEIGHT_MIN` to 1.
    pub(super) weight: f64,
    /// Its latency over that of the peers, while it is given fewer threads for it.
    pub(super) slow: Slow,
    /// Threads are given to it from then on: one that has just crashed has to last a little.
    pub(super) accepts_from: At,
    /// Since when it answers.
    pub(super) ready_since: At,
    /// Ends that nobody asked for, and the last of them.
    pub(super) crashes: u32,
    pub(super) crashed: At,
    /// Its share was last changed.
    pub(super) share_changed: At,
    /// It was last restarted by us.
    pub(super) restarted: Option<At>,
    pub(super) meter: UseMeter,
    pub(super) load: LoadHistory,
    /// The change that is being tried on it.
    pub(super) change: Option<u32>,
    /// Why it failed.
    pub(super) failure: String,
}

/// How an instance compares with its peers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slow {
    /// Its latency over that of the peers.
    pub(super) ratio: f64,
    /// Beats in a row in which it was slow.
    pub(super) beats: u32,
    /// When its weight was last changed.
    pub(super) changed: At,
}

impl Place {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Opening,
            purpose: Purpose::General,
            threads: BTreeSet::new(),
            weight: 1.0,
            slow: Slow::default(),
            accepts_from: At(0),
            ready_since: At(0),
            crashes: 0,
            crashed: At(0),
            share_changed: At(0),
            restarted: None,
            meter: UseMeter::default(),
            load: LoadHistory::default(),
            change: None,
            failure: String::new(),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// Whether it may answer some day.
    pub(super) fn is_alive(&self) -> bool {
        matches!(self.phase, Phase::Opening | Phase::Ready | Phase::Down)
    }

    /// Threads it has, relative to how many it is to have, when it gets one more.
    pub(super) fn fullness(&self) -> f64 {
        (self.threads.len() + 1) as f64 / self.weight
    }
}

/// Where a thread is in its life; `Thread::on` is where it is, or is going to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Ordered to begin; not yet seen to run.
    Placing,
    /// Runs.
    Runs,
    /// On its way from there.
    Leaving {
        /// Where it still runs.
        source: InstanceId,
    },
}

/// One scenario thread.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) scenario: usize,
    pub(super) on: InstanceId,
    pub(super) stage: Stage,
    /// Since when it is there.
    pub(super) since: At,
    /// Is not handed over before.
    pub(super) not_before: At,
    /// Hand-overs in a row that failed.
    pub(super) failures: u32,
    pub(super) calls: Calls,
}

/// Which endpoints are called how much.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls {
    pub(super) total: f64,
    pub(super) by: Vec<(EndpointId, f64)>,
}

impl Calls {
    pub(super) fn add(&mut self, calls: &[(EndpointId, u64)]) {
        for &(endpoint, count) in calls {
            let count = count as f64;
            self.total += count;
            match self.by.iter_mut().find(|(known, _)| *known == endpoint) {
                Some((_, sum)) => *sum += count,
                None => self.by.push((endpoint, count)),
            }
        }
        if self.total > CALLS_KEPT {
            self.total /= 2.0;
            for (_, sum) in &mut self.by {
                *sum /= 2.0;
            }
        }
    }

    pub(super) fn of(&self, endpoint: EndpointId) -> f64 {
        let found = self.by.iter().find(|(known, _)| *known == endpoint);
        found.map_or(0.0, |&(_, count)| count)
    }
}
