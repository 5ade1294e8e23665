//! How a change on trial goes on: from one stage to the next, and in the end to a verdict.

use cohort_allocator::Resource;
use cohort_model::{
    At, ChangeVerdict, EndpointId, InstanceId, ServiceCommand, ServiceReason, Share,
};

use super::state::Place;
use super::trial::{Deed, Parts, Stage, Trial};
use super::verdict::{self, Judgement};
use super::weigh::RECENT_US;
use super::{Conductor, ServiceStep, Vain};

/// After a change is in force, nothing is measured for so long, microseconds.
const SETTLE_US: u64 = 2_000_000;
/// Then it is measured for so long, microseconds.
const MEASURE_US: u64 = RECENT_US;
/// Threads that go to their new instances are waited for so long, microseconds.
const ARRANGE_US_MAX: u64 = 15_000_000;
/// A limit that is not in force after this time will not be, microseconds.
const IN_FORCE_US_MAX: u64 = 10_000_000;
/// What was tried in vain is not tried again for so long, microseconds; twice as long each time.
const VAIN_US: u64 = 60_000_000;

impl Conductor {
    pub(super) fn advance(&mut self, at: At, trial: &mut Trial, step: &mut ServiceStep) -> Stage {
        if trial.stage == Stage::InForce {
            return if trial.spoiled {
                close(trial, ChangeVerdict::Unclear, None, step)
            } else if at.since(trial.since) >= SETTLE_US + MEASURE_US {
                self.judge(at, trial, step)
            } else {
                Stage::InForce
            };
        }
        match trial.deed.clone() {
            Deed::Gather { endpoint } => self.arrange(at, trial, endpoint, step),
            Deed::Lean { .. } => self.advance_lean(at, trial, step),
            Deed::Shares(parts) => self.exchange(at, trial, &parts, step),
        }
    }

    /// Threads go where they are to be.
    fn arrange(
        &self,
        at: At,
        trial: &mut Trial,
        endpoint: EndpointId,
        step: &mut ServiceStep,
    ) -> Stage {
        let late = at.since(trial.since) >= ARRANGE_US_MAX;
        let mut gathers = self.gathers.iter();
        match gathers.find(|known| known.endpoint == endpoint) {
            None => close(trial, ChangeVerdict::Unclear, None, step),
            Some(known) if known.arranged || late => Stage::InForce,
            Some(_) => Stage::Arranging,
        }
    }

    /// Threads are swapped, or go back.
    fn advance_lean(&mut self, at: At, trial: &mut Trial, step: &mut ServiceStep) -> Stage {
        let change = trial.change.number;
        let late = at.since(trial.since) >= ARRANGE_US_MAX;
        let arranged = self.lean_is_arranged(change);
        if trial.stage == Stage::TakingBack {
            if arranged == Some(false) && !late {
                return Stage::TakingBack;
            }
            self.forget_lean(change);
            return Stage::Over;
        }
        match arranged {
            None => close(trial, ChangeVerdict::Unclear, None, step),
            Some(arranged) if arranged || late => Stage::InForce,
            Some(_) => Stage::Arranging,
        }
    }

    /// Limits come into force, one after the other.
    fn exchange(
        &mut self,
        at: At,
        trial: &mut Trial,
        parts: &Parts,
        step: &mut ServiceStep,
    ) -> Stage {
        let resource = parts.resource;
        let change = trial.change.number;
        let late = at.since(trial.since) >= IN_FORCE_US_MAX;
        match trial.stage {
            Stage::Freeing if trial.spoiled || late => {
                if late {
                    self.note_all_vain(parts, at);
                }
                self.raise(resource, &parts.donors, (&trial.reason, change), step);
                close(trial, ChangeVerdict::Unclear, None, step)
            }
            Stage::Freeing => {
                let wanted: f64 = parts.gifts.iter().map(|&(_, amount)| amount).sum();
                let free = self.ledger.free(resource).unwrap_or(0.0);
                if !self.all_settled(&parts.donors) || free + 1e-6 < wanted {
                    return Stage::Freeing;
                }
                self.raise(resource, &parts.gifts, (&trial.reason, change), step);
                Stage::Raising
            }
            Stage::Raising if trial.spoiled || late => {
                close(trial, ChangeVerdict::Unclear, None, step)
            }
            Stage::Raising if self.all_settled(&parts.gifts) => Stage::InForce,
            Stage::TakingBack if self.all_settled(&parts.gifts) => {
                let reason = ServiceReason::Undo { change };
                self.raise(resource, &parts.donors, (&reason, change), step);
                Stage::GivingBack
            }
            Stage::GivingBack if self.all_settled(&parts.donors) => Stage::Over,
            Stage::TakingBack | Stage::GivingBack if late => Stage::Over,
            stage => stage,
        }
    }

    /// What a change came to: it stands, or is undone.
    fn judge(&mut self, at: At, trial: &mut Trial, step: &mut ServiceStep) -> Stage {
        let (judgement, measured) = verdict::judge(self, at, trial);
        let reason = ServiceReason::Undo {
            change: trial.change.number,
        };
        match (judgement, trial.deed.clone()) {
            (Judgement::Helped, _) => close(trial, ChangeVerdict::Kept, measured, step),
            (Judgement::Unclear, deed) => {
                if let Deed::Shares(parts) = deed {
                    self.note_all_vain(&parts, at);
                }
                close(trial, ChangeVerdict::Unclear, measured, step)
            }
            (Judgement::InVain, Deed::Gather { endpoint }) => {
                self.drop_gather(at, endpoint, &reason, step);
                close(trial, ChangeVerdict::Undone, measured, step)
            }
            (Judgement::InVain, Deed::Lean { .. }) => {
                self.undo_lean(at, trial.change.number, step);
                close(trial, ChangeVerdict::Undone, measured, step);
                Stage::TakingBack
            }
            (Judgement::InVain, Deed::Shares(parts)) => {
                self.note_all_vain(&parts, at);
                if !self.can_give_back(&parts) {
                    return close(trial, ChangeVerdict::Kept, measured, step);
                }
                let about = (&reason, trial.change.number);
                self.lower(parts.resource, &parts.gifts, about, step);
                close(trial, ChangeVerdict::Undone, measured, step);
                Stage::TakingBack
            }
        }
    }

    fn note_all_vain(&mut self, parts: &Parts, at: At) {
        for &(instance, _) in &parts.gifts {
            self.note_vain(Vain::More(parts.resource, instance), at, VAIN_US);
        }
    }

    /// Whether nobody would be left with less than it uses.
    fn can_give_back(&self, parts: &Parts) -> bool {
        let resource = parts.resource;
        parts.gifts.iter().all(|&(id, amount)| {
            let share = self.ledger.ordered(id);
            let used = self.places.get(&id).and_then(|place| place.meter.used());
            let (Some(share), Some(used)) = (share, used) else {
                return false;
            };
            let left = resource.of(&share).unwrap_or(0.0) - amount;
            let memory = resource == Resource::Memory;
            left >= resource.floor() && (!memory || left >= used.memory as f64 * 1.1)
        })
    }

    fn all_settled(&self, parts: &[(InstanceId, f64)]) -> bool {
        parts.iter().all(|&(id, _)| {
            let alive = self.places.get(&id).is_some_and(Place::is_alive);
            !alive || self.ledger.is_settled(id)
        })
    }

    pub(super) fn lower(
        &mut self,
        resource: Resource,
        parts: &[(InstanceId, f64)],
        about: (&ServiceReason, u32),
        step: &mut ServiceStep,
    ) {
        for &(instance, amount) in parts {
            self.add(resource, (instance, -amount), about, step);
        }
    }

    fn raise(
        &mut self,
        resource: Resource,
        parts: &[(InstanceId, f64)],
        about: (&ServiceReason, u32),
        step: &mut ServiceStep,
    ) {
        for &part in parts {
            self.add(resource, part, about, step);
        }
    }

    /// Changes one share, when the budget allows.
    fn add(
        &mut self,
        resource: Resource,
        (instance, amount): (InstanceId, f64),
        (reason, change): (&ServiceReason, u32),
        step: &mut ServiceStep,
    ) {
        let alive = self.places.get(&instance).is_some_and(Place::is_alive);
        let Some(had) = self.ledger.ordered(instance).filter(|_| alive) else {
            return;
        };
        let share: Share = resource.add(had, amount);
        if self.ledger.order(instance, share).is_ok() {
            let command = ServiceCommand::Allot { instance, share };
            step.decide(command, reason.clone(), Some(change));
        }
    }
}

/// Puts on record what a change came to.
fn close(
    trial: &mut Trial,
    verdict: ChangeVerdict,
    measured: Option<f64>,
    step: &mut ServiceStep,
) -> Stage {
    trial.change.verdict = verdict;
    trial.change.measured = measured;
    step.changes.push(trial.change.clone());
    Stage::Over
}
