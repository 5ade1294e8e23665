//! What the instances of a service were promised, of cores, memory and network.
//!
//! ```text
//!   promised = the largest of what is known to be in force and what was ordered since
//! ```
//!
//! Promise: the sum of what is promised never exceeds the budget, in any resource, at any time. An
//! instance that is to have less frees the difference only when the lower limit is in force.

use std::collections::BTreeMap;

use cohort_model::{InstanceId, ServicePlan, Share};

use crate::Resource;

/// Rounding errors of sums of cores are below this.
const CORES_ERROR: f64 = 1e-6;

/// An order that would promise more than there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverBudget {
    /// Of what.
    pub resource: Resource,
}

/// What one instance was promised.
#[derive(Clone, Copy, Debug)]
struct Entry {
    ordered: Share,
    in_force: Share,
    /// Largest of what was ordered since an order was last known to be in force.
    highest: Share,
}

/// The promises to all instances that are not closed.
#[derive(Clone, Debug)]
pub struct Ledger {
    budget: Share,
    entries: BTreeMap<InstanceId, Entry>,
}

impl Ledger {
    /// Nothing is promised yet.
    #[must_use]
    pub fn new(plan: &ServicePlan) -> Self {
        let budget = Share {
            cores: plan.cores,
            memory: plan.memory,
            network: plan.network,
        };
        Self {
            budget,
            entries: BTreeMap::new(),
        }
    }

    /// The share of each of `instances` equal ones.
    #[must_use]
    pub fn equal(&self, instances: u32) -> Share {
        let parts = instances.max(1);
        Share {
            cores: Resource::Cores.round(self.budget.cores / f64::from(parts)),
            memory: self.budget.memory / u64::from(parts),
            network: self.budget.network.map(|bits| bits / u64::from(parts)),
        }
    }

    /// What there is of a resource in all; `None` when it is not limited.
    #[must_use]
    pub fn budget(&self, resource: Resource) -> Option<f64> {
        resource.of(&self.budget)
    }

    /// What is promised to nobody; `None` when the resource is not limited.
    #[must_use]
    pub fn free(&self, resource: Resource) -> Option<f64> {
        let promised: f64 = self.entries.values().map(|e| e.promised(resource)).sum();
        Some((resource.of(&self.budget)? - promised).max(0.0))
    }

    /// What was ordered last for an instance.
    #[must_use]
    pub fn ordered(&self, instance: InstanceId) -> Option<Share> {
        self.entries.get(&instance).map(|entry| entry.ordered)
    }

    /// Whether what was ordered last for an instance is known to be in force.
    #[must_use]
    pub fn is_settled(&self, instance: InstanceId) -> bool {
        let entry = self.entries.get(&instance);
        entry.is_some_and(|entry| entry.ordered == entry.in_force)
    }

    /// An instance is to have this share.
    ///
    /// # Errors
    /// When that would promise more than there is; nothing is changed then.
    pub fn order(&mut self, instance: InstanceId, share: Share) -> Result<(), OverBudget> {
        let old = self.entries.get(&instance).copied();
        let entry = Entry {
            ordered: share,
            in_force: old.map_or(share, |old| old.in_force),
            highest: old.map_or(share, |old| larger(old.highest, share)),
        };
        for resource in Resource::ALL {
            let Some(free) = self.free(resource) else {
                continue;
            };
            let had = old.map_or(0.0, |old| old.promised(resource));
            if entry.promised(resource) > had + free + CORES_ERROR {
                return Err(OverBudget { resource });
            }
        }
        self.entries.insert(instance, entry);
        Ok(())
    }

    /// This share is in force for an instance. One that is not what was ordered last is on its way
    /// out, and still counts.
    pub fn in_force(&mut self, instance: InstanceId, share: Share) {
        if let Some(entry) = self.entries.get_mut(&instance) {
            entry.in_force = share;
            if share == entry.ordered {
                entry.highest = share;
            }
        }
    }

    /// An instance is closed: what it had is free.
    pub fn close(&mut self, instance: InstanceId) {
        self.entries.remove(&instance);
    }
}

impl Entry {
    fn promised(&self, resource: Resource) -> f64 {
        let highest = resource.of(&self.highest).unwrap_or(0.0);
        let in_force = resource.of(&self.in_force).unwrap_or(0.0);
        highest.max(in_force)
    }
}

fn larger(a: Share, b: Share) -> Share {
    Share {
        cores: a.cores.max(b.cores),
        memory: a.memory.max(b.memory),
        network: a.network.max(b.network),
    }
}

#[cfg(test)]
mod tests {
    use cohort_model::Policy;
    use proptest::prelude::*;

    use super::*;

    fn plan() -> ServicePlan {
        ServicePlan {
            instances: 4,
            cores: 2.0,
            memory: 1 << 30,
            network: None,
            policy: Policy::Adaptive,
            seed: 0,
            threads_max: 10,
            duration_us: 0,
            limits_cpu: true,
            hands_over: true,
            leans: true,
            cases: None,
            helpers: None,
            fuzz: None,
        }
    }

    fn cores(cores: f64) -> Share {
        Share {
            cores,
            memory: 64 << 20,
            network: None,
        }
    }

    #[test]
    fn what_one_gives_up_is_free_only_when_its_lower_limit_is_in_force() {
        let mut ledger = Ledger::new(&plan());
        for id in 0..4 {
            ledger.order(InstanceId(id), cores(0.5)).expect("equal");
        }
        ledger.order(InstanceId(0), cores(0.4)).expect("less");
        let more = ledger.order(InstanceId(1), cores(0.6));
        let resource = Resource::Cores;
        assert_eq!(more, Err(OverBudget { resource }));
        ledger.in_force(InstanceId(0), cores(0.4));
        ledger.order(InstanceId(1), cores(0.6)).expect("free now");
        assert!(ledger.is_settled(InstanceId(0)) && !ledger.is_settled(InstanceId(1)));
    }

    proptest! {
        /// Orders come into force one after the other, late.
        #[test]
        fn never_more_is_in_force_than_there_is(
            steps in prop::collection::vec((0..4_u32, 0.0..1.5_f64, 0..4_u8), 1..80),
        ) {
            let mut ledger = Ledger::new(&plan());
            let mut in_force = BTreeMap::new();
            let mut late: BTreeMap<InstanceId, Vec<Share>> = BTreeMap::new();
            for (id, wish, what) in steps {
                let id = InstanceId(id);
                match what {
                    0 | 1 => if ledger.order(id, cores(wish)).is_ok() {
                        match in_force.get(&id) {
                            None => { in_force.insert(id, wish); }
                            Some(_) => late.entry(id).or_default().push(cores(wish)),
                        }
                    },
                    2 => if late.get(&id).is_some_and(|late| !late.is_empty()) {
                        let share = late.get_mut(&id).expect("there").remove(0);
                        in_force.insert(id, share.cores);
                        ledger.in_force(id, share);
                    },
                    _ => {
                        ledger.close(id);
                        in_force.remove(&id);
                        late.remove(&id);
                    }
                }
                let sum: f64 = in_force.values().sum();
                prop_assert!(sum <= 2.0 + 1e-5, "{sum} cores are in force");
            }
        }
    }
}
