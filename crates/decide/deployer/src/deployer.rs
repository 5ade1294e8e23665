//! The reconciler: what is wanted, compared with what runs.

use std::collections::{BTreeMap, BTreeSet};

use cohort_model::{
    At, HelperEnding as Ending, HelperOffer as Offer, HelperPlan, HelperWithdrawal as Withdrawal,
    InstanceId, ServiceFinding,
};

use crate::cost::Meter;
use crate::past::Past;
use crate::terms::{Cost, Order};
use crate::wanted::{Suspicion, Suspicions};

/// What a helper has beyond the time that it looks, to begin and to tell what it found, microseconds.
const GRACE_US: u64 = 30_000_000;

/// Decides which helpers run where.
#[derive(Clone, Debug)]
pub struct Deployer {
    plan: HelperPlan,
    suspicions: Suspicions,
    running: BTreeMap<u32, Deployment>,
    past: Past,
    next: u32,
}

#[derive(Clone, Debug)]
struct Deployment {
    /// Its place among the offers.
    helper: usize,
    instance: InstanceId,
    /// One that is well, which is looked at for comparison.
    reference: Option<InstanceId>,
    finding: u32,
    since: At,
    meter: Meter,
    /// It has to go.
    condemned: Option<Withdrawal>,
}

impl Deployment {
    /// Whether it looks at an instance.
    fn is_at(&self, instance: InstanceId) -> bool {
        self.instance == instance || self.reference == Some(instance)
    }
}

impl Deployer {
    /// Nothing runs, and nothing is suspected.
    #[must_use]
    pub fn new(plan: HelperPlan) -> Self {
        Self {
            plan,
            suspicions: Suspicions::default(),
            running: BTreeMap::new(),
            past: Past::default(),
            next: 0,
        }
    }

    /// A finding was opened, updated, ended or withdrawn.
    pub fn found(&mut self, finding: &ServiceFinding) {
        if self.suspicions.take(finding) {
            self.past.reopened(finding.number);
        }
    }

    /// What a deployment cost in the last second or so. One that is not known is ignored.
    pub fn cost(&mut self, deployment: u32, cost: Cost) {
        if let Some(it) = self.running.get_mut(&deployment) {
            let why = it.meter.take(cost, &self.plan.offers[it.helper]);
            it.condemned = it.condemned.or(why);
        }
    }

    /// A deployment ended by itself. One that is not known, such as one that was withdrawn, is ignored.
    pub fn ended(&mut self, at: At, deployment: u32, ending: &Ending) {
        if let Some(it) = self.running.remove(&deployment) {
            let key = (it.instance, it.helper);
            let rest_us = self.plan.rest_us;
            match ending {
                Ending::Done => self.past.answered(at, key, it.finding, rest_us),
                Ending::Unfit => self.past.banned(key),
                Ending::Missing { .. } => self.past.missing(it.helper),
                Ending::Failed { .. } => self.past.failed(at, key, rest_us),
            }
        }
    }

    /// Numbers of the deployments that run, as far as is known here.
    pub fn running(&self) -> impl Iterator<Item = u32> {
        self.running.keys().copied()
    }

    /// Whether a helper is at an instance for a finding.
    #[must_use]
    pub fn looks(&self, instance: InstanceId, finding: u32) -> bool {
        let mut running = self.running.values();
        running.any(|it| it.instance == instance && it.finding == finding)
    }

    /// Compares what is wanted with what runs. `up` are the instances whose server runs.
    pub fn step(&mut self, at: At, up: &BTreeSet<InstanceId>) -> Vec<Order> {
        let mut orders = self.withdraw(at, up);
        while let Some(order) = self.deploy(at, up) {
            orders.push(order);
        }
        orders
    }

    fn withdraw(&mut self, at: At, up: &BTreeSet<InstanceId>) -> Vec<Order> {
        let mut orders = Vec::new();
        for (&deployment, it) in &self.running {
            let ends = it.since.0 + self.plan.offers[it.helper].looks_us + GRACE_US;
            let why = if !up.contains(&it.instance) {
                Some(Withdrawal::InstanceGone)
            } else if !self.suspicions.is_open(it.finding) {
                Some(Withdrawal::ReasonGone)
            } else if at.0 > ends {
                Some(Withdrawal::Overdue)
            } else {
                it.condemned
            };
            orders.extend(why.map(|why| Order::Withdraw { deployment, why }));
        }
        for order in &orders {
            let Order::Withdraw { deployment, why } = order else {
                continue;
            };
            let Some(it) = self.running.remove(deployment) else {
                continue;
            };
            let key = (it.instance, it.helper);
            let rest_us = self.plan.rest_us;
            match why {
                Withdrawal::ReasonGone | Withdrawal::InstanceGone => {
                    self.past.interrupted(at, key, rest_us);
                }
                Withdrawal::Overdue => self.past.failed(at, key, rest_us),
                Withdrawal::Costly { .. } | Withdrawal::Harmful { .. } => self.past.banned(key),
            }
        }
        orders
    }

    /// Deploys the one that is wanted most, when there is room for it.
    fn deploy(&mut self, at: At, up: &BTreeSet<InstanceId>) -> Option<Order> {
        let (finding, instance, helper) = self.wanted(at, up)?;
        let deployment = self.next;
        self.next += 1;
        let reference = self.reference(&self.plan.offers[helper], instance, up);
        let made = Deployment {
            helper,
            instance,
            reference,
            finding,
            since: at,
            meter: Meter::default(),
            condemned: None,
        };
        self.running.insert(deployment, made);
        Some(Order::Deploy {
            deployment,
            helper: self.plan.offers[helper].name.clone(),
            instance,
            reference,
            finding,
        })
    }

    /// The first instance that nothing is suspected of and nobody looks at, where the helper compares and both can be afforded.
    fn reference(
        &self,
        offer: &Offer,
        instance: InstanceId,
        up: &BTreeSet<InstanceId>,
    ) -> Option<InstanceId> {
        if !offer.compares || self.used() + 2.0 * offer.cores > self.plan.cores {
            return None;
        }
        let mut others = up.iter().copied().filter(|it| *it != instance);
        others.find(|it| {
            !self.suspicions.names(*it) && !self.running.values().any(|run| run.is_at(*it))
        })
    }

    fn wanted(&self, at: At, up: &BTreeSet<InstanceId>) -> Option<(u32, InstanceId, usize)> {
        for suspicion in self.suspicions.in_order() {
            if self.is_looked_at(suspicion) {
                continue;
            }
            for (helper, offer) in self.plan.offers.iter().enumerate() {
                if !offer.detects.contains(&suspicion.kind) || !self.is_affordable(offer) {
                    continue;
                }
                let instance = suspicion.instances.iter().copied().find(|instance| {
                    up.contains(instance)
                        && self.past.allows(at, *instance, helper, suspicion.finding)
                        && self.gets_along(offer, *instance)
                });
                if let Some(instance) = instance {
                    return Some((suspicion.finding, instance, helper));
                }
            }
        }
        None
    }

    /// One helper at a time for one finding: what it finds may answer it.
    fn is_looked_at(&self, suspicion: &Suspicion) -> bool {
        self.running
            .values()
            .any(|it| it.finding == suspicion.finding)
    }

    /// What those that run use, or are expected to, and this one fit the budget.
    fn is_affordable(&self, offer: &Offer) -> bool {
        self.used() + offer.cores <= self.plan.cores
    }

    /// CPU of those that run, or what they are expected to use, cores. That beside a reference is not measured: it is as much.
    fn used(&self) -> f64 {
        let used = self.running.values().map(|it| {
            let expected = self.plan.offers[it.helper].cores;
            let instances = if it.reference.is_some() { 2.0 } else { 1.0 };
            expected.max(it.meter.cores) * instances
        });
        used.sum()
    }

    fn gets_along(&self, offer: &Offer, instance: InstanceId) -> bool {
        let mut beside = self.running.values().filter(|it| it.is_at(instance));
        beside.all(|it| {
            let other = &self.plan.offers[it.helper];
            offer.alongside.contains(&other.name) && other.alongside.contains(&offer.name)
        })
    }
}
