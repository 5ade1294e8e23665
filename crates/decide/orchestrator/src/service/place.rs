//! Instances are opened, threads are placed, and leave instances that do not answer.

use cohort_model::{At, InstanceId, Policy, ServiceCommand, ServiceReason};

use super::state::{Phase, Place};
use super::{Conductor, ServiceStep};

/// Once one instance answers, threads wait for the others at least so long, microseconds, so that
/// they can be placed evenly.
const OTHERS_WAIT_US: u64 = 2_000_000;
/// And so long relative to how long the first one took.
const OTHERS_WAIT_PART: u64 = 2;

impl Conductor {
    /// The opening: equal shares.
    pub(super) fn open_all(&mut self, step: &mut ServiceStep) {
        let (share, _) = self.opening_shares();
        for number in 0..self.plan.instances {
            let instance = InstanceId(number);
            if self.ledger.order(instance, share).is_err() {
                continue;
            }
            self.places.insert(instance, Place::new());
            let command = ServiceCommand::Open { instance, share };
            step.decide(command, ServiceReason::Begin, None);
        }
    }

    /// Places the threads that are wanted.
    pub(super) fn place_wanted(&mut self, at: At, step: &mut ServiceStep) {
        if self.wanted.is_empty() || !self.may_place(at) {
            return;
        }
        while let Some(&(thread, scenario)) = self.wanted.front() {
            let Some(instance) = self.choose(at, scenario) else {
                return;
            };
            self.wanted.pop_front();
            self.begin_thread(at, thread, scenario, instance);
            let reason = match self.plan.policy {
                Policy::Static => ServiceReason::Static,
                Policy::Adaptive => ServiceReason::Scheduled,
            };
            step.decide(ServiceCommand::Place { thread, instance }, reason, None);
        }
    }

    /// Whether every instance answers, or had its chance to.
    fn may_place(&mut self, at: At) -> bool {
        if self.placing_since.is_some() {
            return true;
        }
        let Some((first, took_us)) = self.first_ready else {
            return false;
        };
        let opening = self
            .places
            .values()
            .any(|place| place.phase == Phase::Opening);
        let patience_us = OTHERS_WAIT_US.max(took_us * OTHERS_WAIT_PART);
        if opening && at.since(first) < patience_us {
            return false;
        }
        self.placing_since = Some(at);
        true
    }

    fn choose(&mut self, at: At, scenario: usize) -> Option<InstanceId> {
        match self.plan.policy {
            Policy::Static => {
                let ready: Vec<InstanceId> = self.ready().map(|(id, _)| id).collect();
                let chosen = ready.get(self.turn % ready.len().max(1)).copied();
                self.turn += 1;
                chosen
            }
            Policy::Adaptive => self.gathered_at(scenario).or_else(|| {
                let emptiest = self.emptiest(at)?;
                Some(self.leaning_to(scenario, emptiest).unwrap_or(emptiest))
            }),
        }
    }

    /// The instance with most room for one more thread: one that has lasted and is for all kinds of
    /// threads, when there is one.
    fn emptiest(&self, at: At) -> Option<InstanceId> {
        let rank = |id: InstanceId, place: &Place| (at < place.accepts_from, self.is_gathering(id));
        self.ready()
            .min_by(|a, b| {
                rank(a.0, a.1)
                    .cmp(&rank(b.0, b.1))
                    .then(a.1.fullness().total_cmp(&b.1.fullness()))
                    .then(a.0.cmp(&b.0))
            })
            .map(|(id, _)| id)
    }

    /// Closes instances that will not come back, once their threads have left or cannot.
    pub(super) fn close_failed(&mut self, step: &mut ServiceStep) {
        let others = self.places.values().any(Place::is_alive);
        let over: Vec<InstanceId> = self
            .places
            .iter()
            .filter(|(_, place)| place.phase == Phase::Failed)
            .filter(|(_, place)| place.threads.is_empty() || !others)
            .map(|(&id, _)| id)
            .collect();
        for instance in over {
            self.ledger.close(instance);
            self.drop_gathers_of(instance, step);
            self.drop_leans_of(&[instance], step);
            let Some(place) = self.places.get_mut(&instance) else {
                continue;
            };
            place.phase = Phase::Closed;
            let why = place.failure.clone();
            let reason = ServiceReason::Failed { why };
            step.decide(ServiceCommand::Close { instance }, reason, None);
        }
    }
}
