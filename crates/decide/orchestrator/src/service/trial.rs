//! Changes on trial.
//!
//! ```text
//!   shares    Freeing ──▶ Raising ──▶ InForce ──▶ kept, unclear
//!             (donors)   (receiver)      └──▶ TakingBack ──▶ GivingBack ──▶ undone
//!   purposes  Arranging ────────────▶ InForce ──▶ kept, unclear, undone
//!   leanings  Arranging ────────────▶ InForce ──▶ kept, unclear
//!                                         └─────▶ TakingBack ──▶ undone
//! ```
//!
//! Promise: one change at a time on an instance; a share is raised only after what it takes is free.

use std::collections::BTreeMap;

use cohort_allocator::{Resource, Transfer};
use cohort_model::{At, Change, ChangeVerdict, EndpointId, InstanceId, ServiceReason};

use super::load::Profile;
use super::{Conductor, ServiceStep, verdict};

/// What was changed.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// Parts of shares.
    Shares(Parts),
    /// What an instance is for.
    Gather { endpoint: EndpointId },
    /// Two instances lean to an area each.
    Lean {
        /// Latency that much lower, relative, is help: more than it changed by itself before.
        lower: f64,
    },
}

/// Parts of shares that change hands.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) resource: Resource,
    /// Who gets more. Several only of what is free.
    pub(super) gifts: Vec<(InstanceId, f64)>,
    pub(super) donors: Vec<(InstanceId, f64)>,
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
    /// Why it is tried.
    pub(super) reason: ServiceReason,
}

impl Trial {
    /// How much of what is free is meant for it.
    pub(super) fn reserved(&self) -> f64 {
        let Deed::Shares(Parts { gifts, donors, .. }) = &self.deed else {
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
        matches!(&self.deed, Deed::Shares(parts) if parts.resource == resource)
    }
}

impl Conductor {
    /// Something else happened to an instance: what is tried on it cannot be measured.
    pub(super) fn spoil(&mut self, instance: InstanceId) {
        for trial in &mut self.trials {
            trial.spoiled |= trial.involved.contains(&instance);
        }
    }

    /// The same, when only changes are concerned that are no answer to a finding.
    pub(super) fn spoil_untold(&mut self, instance: InstanceId) {
        for trial in &mut self.trials {
            let shares = matches!(trial.deed, Deed::Shares(_) | Deed::Lean { .. });
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

    /// Begins to try an instance for one endpoint; its number. What it is worth shows against how it was
    /// since `since`, when what it is tried for began.
    pub(super) fn try_gather(
        &mut self,
        (at, since): (At, At),
        (instance, control, endpoint): (InstanceId, InstanceId, EndpointId),
        (members, brings): (usize, bool),
        step: &mut ServiceStep,
    ) -> u32 {
        let number = self.next_change();
        let rate = verdict::rate_per_thread_since(self, at, since);
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
        let deed = Deed::Gather { endpoint };
        self.begin_arranging(at, (deed, change), vec![instance, control], step);
        number
    }

    /// Begins to try a change that takes effect as threads go where they are to be.
    pub(super) fn begin_arranging(
        &mut self,
        at: At,
        (deed, change): (Deed, Change),
        involved: Vec<InstanceId>,
        step: &mut ServiceStep,
    ) {
        let about = (involved, Stage::Arranging, ServiceReason::Balance);
        self.begin_trial(at, (deed, change), about, step);
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
        let deed = Deed::Shares(Parts {
            resource,
            gifts,
            donors: transfer.donors,
        });
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
        let deed = Deed::Shares(Parts {
            resource,
            gifts,
            donors: Vec::new(),
        });
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
