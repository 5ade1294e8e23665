//! Hand-overs: [`Pick`] chooses which thread goes where, on what is told here of instances and
//! threads; this says what the instances are to have, and keeps the books.
//!
//! Promise: but for threads that leave an instance which does not answer, no more are handed over in
//! a second than allowed, none before it has stayed for a while, and one whose hand-over failed is
//! left alone for longer each time.

use cohort_handoff::{Chosen, Instance, Limits, Pick, Reason};
use cohort_model::{At, InstanceId, Policy, ServiceCommand, ServicePlan, ServiceReason};

use super::state::{Phase, Place, Stage};
use super::{Conductor, ServiceStep};

/// One in so many threads may be handed over in a second.
const PART_PER_S: u32 = 4;
/// Bounds of that.
const PER_S: (u32, u32) = (4, 100);
/// A thread stays at least so long, microseconds.
const STAY_US: u64 = 5_000_000;
/// Instances whose numbers of threads differ less than this, relative to what they are to have, are
/// even.
const UNEVEN: f64 = 0.15;

/// Who chooses, and what is on its way.
#[derive(Clone, Debug)]
pub(super) struct Moves {
    pick: Pick,
    per_s: usize,
    /// Threads on their way.
    pub(super) leaving: usize,
}

impl Moves {
    pub(super) fn new(plan: &ServicePlan) -> Self {
        let per_s = (plan.threads_max / PART_PER_S).clamp(PER_S.0, PER_S.1);
        let limits = Limits {
            moves_per_s: f64::from(per_s),
            stay_us_min: STAY_US,
            imbalance_min: UNEVEN,
            ..Limits::default()
        };
        Self {
            pick: Pick::new(limits),
            per_s: per_s as usize,
            leaving: 0,
        }
    }
}

impl Conductor {
    /// Hands threads over to where they are to be: off instances that do not answer, to the instance
    /// that is kept for what they call, and to where there is room.
    pub(super) fn hand_over_all(&mut self, at: At, step: &mut ServiceStep) {
        if self.moves.leaving >= 2 * self.moves.per_s {
            return;
        }
        let instances = self.instances_to_pick_from(at);
        let threads = self.threads_to_pick(at, |_| true);
        let chosen = self.moves.pick.pick(at.0, &instances, &threads);
        for chosen in chosen {
            let reason = self.reason_of(&chosen);
            self.hand_over(&chosen, reason, step);
        }
    }

    /// Threads leave instances that do not answer, at once; those that are programs when their run ends. Under the static policy only those that
    /// will never answer again.
    pub(super) fn evacuate(&mut self, at: At, step: &mut ServiceStep) {
        let is_left = |place: &Place| match place.phase {
            Phase::Failed => true,
            Phase::Down => self.plan.policy == Policy::Adaptive,
            _ => false,
        };
        let any = |place: &Place| is_left(place) && !place.threads.is_empty();
        if !self.places.values().any(any) {
            return;
        }
        let threads = self.threads_to_pick(at, |id| self.places.get(&id).is_some_and(is_left));
        if threads.iter().all(|thread| thread.is_moving) {
            return;
        }
        let instances = self.instances_to_pick_from(at);
        let chosen = self.moves.pick.pick(at.0, &instances, &threads);
        for chosen in chosen {
            if chosen.reason == Reason::Restarting {
                self.hand_over(&chosen, (ServiceReason::Restarting, None), step);
            }
        }
    }

    /// Every instance, with its threads relative to how many it is to have.
    fn instances_to_pick_from(&self, at: At) -> Vec<Instance> {
        let weights: f64 = self.ready().map(|(_, place)| place.weight).sum();
        let each = self.threads.len() as f64 / weights.max(1e-6);
        let load = |place: &Place| place.threads.len() as f64 / (each * place.weight).max(1e-6);
        let fullest = self
            .ready()
            .map(|(_, place)| load(place))
            .fold(1.0, f64::max);
        self.places
            .iter()
            .map(|(&id, place)| Instance {
                id,
                is_up: place.is_ready(),
                // One that has just crashed looks as full as any until it has lasted a little.
                load: if at < place.accepts_from {
                    fullest
                } else {
                    load(place)
                },
                area: Vec::new(),
                slowness: Vec::new(),
                wanted_for: self.wanted_for(id),
            })
            .collect()
    }

    fn threads_to_pick(
        &self,
        at: At,
        of: impl Fn(InstanceId) -> bool,
    ) -> Vec<cohort_handoff::Thread> {
        self.threads
            .iter()
            .filter(|(_, thread)| of(thread.on))
            .map(|(&id, thread)| cohort_handoff::Thread {
                id,
                instance: thread.on,
                shares: Vec::new(),
                journal_bytes: 0,
                stayed_us: at.since(thread.since),
                is_moving: thread.stage != Stage::Runs || at < thread.not_before,
            })
            .collect()
    }

    fn reason_of(&self, chosen: &Chosen) -> (ServiceReason, Option<u32>) {
        match chosen.reason {
            Reason::Restarting => (ServiceReason::Restarting, None),
            Reason::Balance => (self.balance_reason(chosen.from), None),
            _ => self
                .gather_reason(chosen.from, chosen.to)
                .or_else(|| self.lean_reason(chosen.thread, chosen.to))
                .unwrap_or((ServiceReason::Balance, None)),
        }
    }

    fn hand_over(
        &mut self,
        chosen: &Chosen,
        (reason, change): (ServiceReason, Option<u32>),
        step: &mut ServiceStep,
    ) {
        let (thread, target) = (chosen.thread, chosen.to);
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
}
