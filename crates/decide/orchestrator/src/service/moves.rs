//! Hand-overs: how many at once, and which thread may be handed over again.
//!
//! Promise: no more are ordered in a second than allowed, a thread that does not have to leave stays
//! for a while before it is handed over again, and one whose hand-over failed is left alone.

use cohort_model::{At, InstanceId, ServiceCommand, ServiceReason, ThreadId};

use super::state::{Stage, Thread};
use super::{Conductor, ServiceStep};

/// Hand-overs off instances that do not answer, in a second.
const URGENT_PER_S: u32 = 500;
/// One in so many threads is handed over in a second, when it does not have to be.
const PART_PER_S: usize = 20;
/// Bounds of that.
const PER_S: (usize, usize) = (2, 50);
/// A thread stays at least so long, microseconds.
const STAY_US: u64 = 5_000_000;
const SECOND_US: u64 = 1_000_000;

/// What was handed over in the current second, and what is on its way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moves {
    second: At,
    ordered: usize,
    urgent: u32,
    /// Threads on their way.
    pub(super) leaving: usize,
}

impl Moves {
    fn refresh(&mut self, at: At) {
        if at.since(self.second) >= SECOND_US {
            self.second = at;
            self.ordered = 0;
            self.urgent = 0;
        }
    }

    /// Whether one more thread may leave an instance that does not answer.
    pub(super) fn take_urgent(&mut self, at: At) -> bool {
        self.refresh(at);
        let may = self.urgent < URGENT_PER_S;
        self.urgent += u32::from(may);
        may
    }

    /// Whether one more thread may be handed over, of so many that there are.
    pub(super) fn take(&mut self, at: At, threads: usize) -> bool {
        self.refresh(at);
        let most = (threads / PART_PER_S).clamp(PER_S.0, PER_S.1);
        let may = self.ordered < most && self.leaving < 2 * most;
        self.ordered += usize::from(may);
        may
    }
}

impl Thread {
    /// Whether it may be handed over, when it does not have to be.
    pub(super) fn may_leave(&self, at: At) -> bool {
        self.stage == Stage::Runs && at >= self.not_before && at.since(self.since) >= STAY_US
    }
}

impl Conductor {
    /// Hands a thread that runs over to an instance that answers.
    pub(super) fn hand_over(
        &mut self,
        thread: ThreadId,
        target: InstanceId,
        (reason, change): (ServiceReason, Option<u32>),
        step: &mut ServiceStep,
    ) {
        let Some(record) = self.threads.get_mut(&thread) else {
            return;
        };
        let source = record.on;
        record.stage = Stage::Leaving { source };
        self.moves.leaving += 1;
        self.put(thread, target);
        let command = ServiceCommand::HandOver {
            thread,
            source,
            target,
        };
        step.decide(command, reason, change);
    }

    /// The same, when it may be now; says whether it was.
    pub(super) fn hand_over_calmly(
        &mut self,
        at: At,
        thread: ThreadId,
        target: InstanceId,
        reason: (ServiceReason, Option<u32>),
        step: &mut ServiceStep,
    ) -> bool {
        let may = self
            .threads
            .get(&thread)
            .is_some_and(|record| record.may_leave(at));
        if !may || !self.moves.take(at, self.threads.len()) {
            return false;
        }
        self.hand_over(thread, target, reason, step);
        true
    }
}
