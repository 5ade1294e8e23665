//! Changes on trial.
//!
//! ```text
//!   shares    Freeing ──▶ Raising ──▶ InForce ──▶ kept, unclear
//!             (donors)   (receiver)      └──▶ TakingBack ──▶ GivingBack ──▶ undone
//!   purposes  Arranging ────────────▶ InForce ──▶ kept, unclear, undone
//! ```
//!
//! Promise: one change at a time on an instance; a share is raised only after what it takes is free.

use std::collections::BTreeMap;

use cohort_allocator::{Resource, Transfer};
use cohort_model::{
    At, Change, ChangeVerdict, EndpointId, InstanceId, ServiceCommand, ServiceReason, Share,
};

use super::load::Profile;
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

/// What was changed.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// Parts of shares.
    Shares {
        resource: Resource,
        /// Who gets more. Several only of what is free.
        gifts: Vec<(InstanceId, f64)>,
        donors: Vec<(InstanceId, f64)>,
    },
    /// What an instance is for.
    Gather { endpoint: EndpointId },
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Freeing,
    Raising,
    Arranging,
    InForce,
    TakingBack,
    GivingBack,
    Over,
}

/// A change on trial.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    pub(super) change: Change,
    pub(super) deed: Deed,
    pub(super) involved: Vec<InstanceId>,
    pub(super) stage: Stage,
    /// Since when it is in that stage.
    pub(super) since: At,
    /// What was asked of each instance before.
    pub(super) before: BTreeMap<InstanceId, Profile>,
    /// Threads before.
    pub(super) threads: usize,
    /// Something else happened to an instance of it.
    pub(super) spoiled: bool,
    /// What it is for, once undone.
    reason: ServiceReason,
}

impl Trial {
    /// How much of what is free is meant for it.
    pub(super) fn reserved(&self) -> f64 {
        let Deed::Shares { gifts, donors, .. } = &self.deed else {
            return 0.0;
        };
        let sum = |parts: &[(InstanceId, f64)]| parts.iter().map(|&(_, amount)| amount).sum();
        match self.stage {
            Stage::Freeing => sum(gifts),
            Stage::TakingBack | Stage::GivingBack => sum(donors),
            _ => 0.0,
        }
    }

    /// Whether it changes this part of shares.
    pub(super) fn is_of(&self, resource: Resource) -> bool {
        matches!(&self.deed, Deed::Shares { resource: own, .. } if *own == resource)
    }
}

impl Conductor {
    /// Something else happened to an instance: what is tried on it cannot be measured.
    pub(super) fn spoil(&mut self, instance: InstanceId) {
        for trial in &mut self.trials {
            trial.spoiled |= trial.involved.contains(&instance);
        }
    }

    /// The same, when only changes of shares are concerned.
    pub(super) fn spoil_shares(&mut self, instance: InstanceId) {
        for trial in &mut self.trials {
            let shares = matches!(trial.deed, Deed::Shares { .. });
            trial.spoiled |= shares && trial.involved.contains(&instance);
        }
    }

    fn begin_trial(
        &mut self,
        at: At,
        (deed, change): (Deed, Change),
        (involved, stage, reason): (Vec<InstanceId>, Stage, ServiceReason),
        step: &mut ServiceStep,
    ) {
        for instance in &involved {
            if let Some(place) = self.places.get_mut(instance) {
                place.change = Some(change.number);
            }
        }
        step.changes.push(change.clone());
        self.trials.push(Trial {
            change,
            deed,
            involved,
            stage,
            since: at,
            before: self.recent.clone(),
            threads: self.threads.len(),
            spoiled: false,
            reason,
        });
    }

    /// Begins to try an instance for one endpoint; its number.
    pub(super) fn try_gather(
        &mut self,
        at: At,
        (instance, control, endpoint): (InstanceId, InstanceId, EndpointId),
        (members, brings): (usize, bool),
        step: &mut ServiceStep,
    ) -> u32 {
        let number = self.next_change();
        let rate = verdict::rate_per_thread(self, at);
        let name = self.endpoint_name(endpoint);
        let change = Change {
            number,
            what: if brings {
                format!(
                    "{instance} is kept for {name}: its {members} threads come, but for some on {control}, all others go"
                )
            } else {
                format!(
                    "{instance} is kept for {name}: its threads that are there stay, all others go; {control} to compare"
                )
            },
            measure: "iterations/s of a thread, all instances".to_owned(),
            before: rate,
            expected: rate,
            measured: None,
            verdict: ChangeVerdict::Pending,
        };
        let involved = vec![instance, control];
        let deed = Deed::Gather { endpoint };
        let about = (involved, Stage::Arranging, ServiceReason::Balance);
        self.begin_trial(at, (deed, change), about, step);
        number
    }

    /// Begins to try other shares.
    pub(super) fn try_shares(
        &mut self,
        at: At,
        resource: Resource,
        (transfer, reason): (Transfer, ServiceReason),
        step: &mut ServiceStep,
    ) {
        let number = self.next_change();
        let gifts = vec![(transfer.receiver, transfer.amount)];
        let change = verdict::describe(self, number, resource, &gifts, &transfer.donors);
        self.lower(resource, &transfer.donors, (&reason, number), step);
        let mut involved = vec![transfer.receiver];
        involved.extend(transfer.donors.iter().map(|&(id, _)| id));
        let deed = Deed::Shares {
            resource,
            gifts,
            donors: transfer.donors,
        };
        let about = (involved, Stage::Freeing, reason);
        self.begin_trial(at, (deed, change), about, step);
    }

    /// Begins to give what is free to several.
    pub(super) fn try_gifts(
        &mut self,
        at: At,
        resource: Resource,
        (gifts, reason): (Vec<(InstanceId, f64)>, ServiceReason),
        step: &mut ServiceStep,
    ) {
        let number = self.next_change();
        let change = verdict::describe(self, number, resource, &gifts, &[]);
        let involved = gifts.iter().map(|&(id, _)| id).collect();
        let deed = Deed::Shares {
            resource,
            gifts,
            donors: Vec::new(),
        };
        let about = (involved, Stage::Freeing, reason);
        self.begin_trial(at, (deed, change), about, step);
    }

    /// Goes on with every change on trial.
    pub(super) fn advance_trials(&mut self, at: At, step: &mut ServiceStep) {
        let mut trials = std::mem::take(&mut self.trials);
        for trial in &mut trials {
            let next = self.advance(at, trial, step);
            if next != trial.stage {
                trial.stage = next;
                trial.since = at;
            }
            if trial.stage == Stage::Over {
                self.release(trial);
            }
        }
        trials.retain(|trial| trial.stage != Stage::Over);
        trials.append(&mut self.trials);
        self.trials = trials;
    }

    fn release(&mut self, trial: &Trial) {
        for instance in &trial.involved {
            if let Some(place) = self.places.get_mut(instance)
                && place.change == Some(trial.change.number)
            {
                place.change = None;
            }
        }
    }

    fn advance(&mut self, at: At, trial: &mut Trial, step: &mut ServiceStep) -> Stage {
        let waited_us = at.since(trial.since);
        let late = waited_us >= IN_FORCE_US_MAX;
        match (&trial.deed, trial.stage) {
            (Deed::Gather { endpoint }, Stage::Arranging) => {
                let gather = self
                    .gathers
                    .iter()
                    .find(|known| known.endpoint == *endpoint);
                match gather {
                    None => close(trial, ChangeVerdict::Unclear, None, step),
                    Some(known) if known.arranged || waited_us >= ARRANGE_US_MAX => Stage::InForce,
                    Some(_) => Stage::Arranging,
                }
            }
            (
                Deed::Shares {
                    resource,
                    gifts,
                    donors,
                },
                Stage::Freeing,
            ) => {
                let wanted: f64 = gifts.iter().map(|&(_, amount)| amount).sum();
                let free = self.ledger.free(*resource).unwrap_or(0.0);
                if trial.spoiled || late {
                    let back = donors.clone();
                    let about = (&trial.reason, trial.change.number);
                    self.raise(*resource, &back, about, step);
                    close(trial, ChangeVerdict::Unclear, None, step)
                } else if self.all_settled(donors) && free + 1e-6 >= wanted {
                    let gifts = gifts.clone();
                    let about = (&trial.reason, trial.change.number);
                    self.raise(*resource, &gifts, about, step);
                    Stage::Raising
                } else {
                    Stage::Freeing
                }
            }
            (Deed::Shares { gifts, .. }, Stage::Raising) => {
                if trial.spoiled || late {
                    close(trial, ChangeVerdict::Unclear, None, step)
                } else if self.all_settled(gifts) {
                    Stage::InForce
                } else {
                    Stage::Raising
                }
            }
            (_, Stage::InForce) => {
                if trial.spoiled {
                    close(trial, ChangeVerdict::Unclear, None, step)
                } else if waited_us >= SETTLE_US + MEASURE_US {
                    self.judge(at, trial, step)
                } else {
                    Stage::InForce
                }
            }
            (
                Deed::Shares {
                    resource,
                    gifts,
                    donors,
                },
                Stage::TakingBack,
            ) => {
                if self.all_settled(gifts) {
                    let reason = ServiceReason::Undo {
                        change: trial.change.number,
                    };
                    self.raise(*resource, donors, (&reason, trial.change.number), step);
                    Stage::GivingBack
                } else {
                    over_when(late, Stage::TakingBack)
                }
            }
            (Deed::Shares { donors, .. }, Stage::GivingBack) => {
                over_when(late || self.all_settled(donors), Stage::GivingBack)
            }
            _ => Stage::Over,
        }
    }

    /// What a change came to: it stands, or is undone.
    fn judge(&mut self, at: At, trial: &mut Trial, step: &mut ServiceStep) -> Stage {
        let (judgement, measured) = verdict::judge(self, at, trial);
        let change = trial.change.number;
        match judgement {
            Judgement::Helped => close(trial, ChangeVerdict::Kept, measured, step),
            Judgement::Unclear => {
                if let Deed::Shares {
                    resource, gifts, ..
                } = &trial.deed
                {
                    self.note_all_vain(*resource, gifts, at);
                }
                close(trial, ChangeVerdict::Unclear, measured, step)
            }
            Judgement::InVain => {
                let reason = ServiceReason::Undo { change };
                match &trial.deed {
                    Deed::Gather { endpoint } => {
                        self.drop_gather(at, *endpoint, reason, step);
                        close(trial, ChangeVerdict::Undone, measured, step)
                    }
                    Deed::Shares {
                        resource, gifts, ..
                    } => {
                        self.note_all_vain(*resource, gifts, at);
                        if !self.can_give_back(*resource, gifts) {
                            return close(trial, ChangeVerdict::Kept, measured, step);
                        }
                        self.lower(*resource, gifts, (&reason, change), step);
                        close(trial, ChangeVerdict::Undone, measured, step);
                        Stage::TakingBack
                    }
                }
            }
        }
    }

    fn note_all_vain(&mut self, resource: Resource, gifts: &[(InstanceId, f64)], at: At) {
        for &(instance, _) in gifts {
            self.note_vain(Vain::More(resource, instance), at, VAIN_US);
        }
    }

    /// Whether nobody would be left with less than it uses.
    fn can_give_back(&self, resource: Resource, gifts: &[(InstanceId, f64)]) -> bool {
        gifts.iter().all(|&(id, amount)| {
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
            let alive = self
                .places
                .get(&id)
                .is_some_and(super::state::Place::is_alive);
            !alive || self.ledger.is_settled(id)
        })
    }

    fn lower(
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
        let alive = self
            .places
            .get(&instance)
            .is_some_and(super::state::Place::is_alive);
        let Some(had) = self.ledger.ordered(instance).filter(|_| alive) else {
            return;
        };
        let share: Share = resource.add(had, amount);
        if self.ledger.order(instance, share).is_ok() {
            let command = ServiceCommand::Allot { instance, share };
            step.decide(command, reason.clone(), Some(change));
        }
    }

    /// The campaign ends: what is on trial stays unknown.
    pub(super) fn abandon_trials(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.trials)
            .into_iter()
            .filter(|trial| trial.change.verdict == ChangeVerdict::Pending)
            .map(|trial| Change {
                verdict: ChangeVerdict::Unclear,
                ..trial.change
            })
            .collect()
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

fn over_when(over: bool, stage: Stage) -> Stage {
    if over { Stage::Over } else { stage }
}
