//! Shares follow what instances are seen to need.

use cohort_allocator::{Claim, Resource, spread, transfer, wanted};
use cohort_model::{At, InstanceId, ServiceFindingKind, ServiceReason};

use super::state::Place;
use super::trial::Trial;
use super::{Conductor, ServiceStep, Vain};

/// An instance is known well enough so long after it answers, microseconds.
const KNOWN_US: u64 = 6_000_000;
/// One change of a resource at once for so many instances: the others are there to compare with.
const INSTANCES_PER_CHANGE: usize = 8;
/// Less than this of the budget is left lying, relative.
const FREE_PART: f64 = 0.02;

impl Conductor {
    /// Begins at most one change of each resource.
    pub(super) fn allot(&mut self, at: At, step: &mut ServiceStep) {
        if !self.is_calm(at) {
            return;
        }
        for resource in Resource::ALL {
            if resource == Resource::Cores && !self.plan.limits_cpu {
                continue;
            }
            let (Some(free), Some(budget)) =
                (self.ledger.free(resource), self.ledger.budget(resource))
            else {
                continue;
            };
            let trials = || self.trials.iter().filter(|trial| trial.is_of(resource));
            let at_once = (self.ready().count() / INSTANCES_PER_CHANGE).max(1);
            if trials().count() >= at_once {
                continue;
            }
            // What a change on trial frees is spoken for.
            let free = (free - trials().map(Trial::reserved).sum::<f64>()).max(0.0);
            let claims = self.claims(resource, at);
            if let Some(found) = transfer(resource, free, &claims) {
                let claim = claims.iter().find(|claim| claim.instance == found.receiver);
                let (wanted, had) = claim.map_or((0.0, 0.0), |claim| (claim.wants, claim.has));
                let reason = need(resource, wanted, had);
                self.try_shares(at, resource, (found, reason), step);
            } else if free > FREE_PART * budget {
                let gifts = spread(resource, free, &claims);
                if let Some(&(first, amount)) = gifts.first() {
                    let had = claims.iter().find(|claim| claim.instance == first);
                    let had = had.map_or(0.0, |claim| claim.has);
                    let reason = need(resource, had + amount, had);
                    self.try_gifts(at, resource, (gifts, reason), step);
                }
            }
        }
    }

    fn claims(&self, resource: Resource, at: At) -> Vec<Claim> {
        self.places
            .iter()
            .filter(|(_, place)| place.is_alive())
            .filter_map(|(&id, place)| self.claim(resource, at, id, place))
            .collect()
    }

    fn claim(
        &self,
        resource: Resource,
        at: At,
        instance: InstanceId,
        place: &Place,
    ) -> Option<Claim> {
        let share = self.ledger.ordered(instance)?;
        let has = resource.of(&share)?;
        let used = place.meter.used();
        let wants = used.and_then(|used| wanted(resource, &used, &share));
        let known = place.is_ready()
            && at.since(place.ready_since) >= KNOWN_US
            && place.change.is_none()
            && self.ledger.is_settled(instance)
            && wants.is_some();
        let judged = self.is_judged(instance, at);
        let about = self.is_about(instance, resource);
        let vain = self.is_vain(Vain::More(resource, instance), at);
        Some(Claim {
            instance,
            has,
            wants: wants.unwrap_or(has),
            floor: resource.floor(),
            may_receive: known && !vain && (!judged || about),
            may_give: known && !judged && !about,
        })
    }

    /// Whether there is a finding that says that an instance has too little of a resource.
    fn is_about(&self, instance: InstanceId, resource: Resource) -> bool {
        use ServiceFindingKind::{CpuSaturation, MemoryPressure, NetworkLimit, Throttled};
        let kinds: &[ServiceFindingKind] = match resource {
            Resource::Cores => &[Throttled, CpuSaturation],
            Resource::Memory => &[MemoryPressure],
            Resource::Network => &[NetworkLimit],
        };
        kinds.iter().any(|&kind| self.has_finding(instance, kind))
    }
}

fn need(resource: Resource, wanted: f64, had: f64) -> ServiceReason {
    ServiceReason::Need {
        what: resource.name().to_owned(),
        wanted,
        had,
    }
}
