//! Helpers: deployed when something is suspected, watched, and taken away; what they find stands with the finding.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use cohort_deployer::{Cost, Deployer, Order};
use cohort_model::{
    At, HelperEnding, HelperPlan, HelperTold, InstanceId, ServiceCommand, ServiceFinding,
    ServiceReason, ServiceSeen,
};

use super::load::Profile;
use super::{Conductor, ServiceStep};

/// Latency with a helper is measured over this time, and that before it, microseconds.
const COMPARED_US: u64 = 5_000_000;

/// The deployer, and what came of its deployments.
#[derive(Debug)]
pub(super) struct Helpers {
    deployer: Deployer,
    visits: BTreeMap<u32, Visit>,
    /// By finding.
    found: BTreeMap<u32, Found>,
}

#[derive(Debug)]
struct Visit {
    finding: u32,
    instance: InstanceId,
    since: At,
    /// What its instance was asked before.
    before: Profile,
    /// And all others that answer.
    others: Profile,
    /// Latency of one half of that time over that of the other, at least 1: so much it changes by itself.
    sway: f64,
}

#[derive(Clone, Debug, Default)]
struct Found {
    told: Vec<HelperTold>,
    artifacts: Vec<PathBuf>,
}

impl Helpers {
    pub(super) fn new(plan: &HelperPlan) -> Self {
        Self {
            deployer: Deployer::new(plan.clone()),
            visits: BTreeMap::new(),
            found: BTreeMap::new(),
        }
    }

    /// Hears the analyzer, and adds what helpers found of it before.
    pub(super) fn hear(&mut self, finding: &mut ServiceFinding) {
        self.deployer.found(finding);
        if let Some(found) = self.found.get(&finding.number) {
            finding.told.clone_from(&found.told);
            finding.artifacts.clone_from(&found.artifacts);
        }
    }
}

impl Conductor {
    /// Takes in what is seen of helpers. What is new about a finding is told at once.
    pub(super) fn see_for_helpers(&mut self, at: At, seen: &ServiceSeen, step: &mut ServiceStep) {
        match seen {
            ServiceSeen::HelperUsed { deployment, cores } => {
                let slowdown = self.slowdown(at, *deployment);
                let cores = *cores;
                if let Some(helpers) = &mut self.helpers {
                    helpers.deployer.cost(*deployment, Cost { cores, slowdown });
                }
            }
            ServiceSeen::HelperEnded {
                deployment,
                ending,
                told,
                artifacts,
            } => self.see_helper_ended(at, *deployment, ending, (told, artifacts), step),
            _ => {}
        }
    }

    /// Latency of the instance of a deployment over that before, for the same calls: beyond how much it changed by itself
    /// before, and beyond how much that of other instances did meanwhile.
    fn slowdown(&self, at: At, deployment: u32) -> Option<f64> {
        let visit = self.helpers.as_ref()?.visits.get(&deployment)?;
        let from = At(visit.since.0.max(at.0.saturating_sub(COMPARED_US)));
        let place = self.places.get(&visit.instance)?;
        let own = place.load.between(from, at).over(&visit.before)?;
        let others = self.asked_others(visit.instance, from, at);
        let meanwhile = others.over(&visit.others).unwrap_or(1.0).max(1.0);
        Some(own / visit.sway / meanwhile)
    }

    /// What all instances but one were asked together.
    fn asked_others(&self, instance: InstanceId, from: At, to: At) -> Profile {
        let mut sum = Profile::default();
        for (id, place) in self.ready() {
            if id != instance {
                sum.add(&place.load.between(from, to));
            }
        }
        sum
    }

    /// Whether a helper looks at an instance for a finding.
    pub(super) fn is_looked_at(&self, instance: InstanceId, finding: u32) -> bool {
        let helpers = self.helpers.as_ref();
        helpers.is_some_and(|it| it.deployer.looks(instance, finding))
    }

    fn visit(&self, at: At, instance: InstanceId, finding: u32) -> Visit {
        let from = At(at.0.saturating_sub(COMPARED_US));
        let middle = At(at.0.saturating_sub(COMPARED_US / 2));
        let asked = |from: At, to: At| {
            let place = self.places.get(&instance);
            place.map_or_else(Profile::default, |it| it.load.between(from, to))
        };
        let sway = asked(middle, at).over(&asked(from, middle)).unwrap_or(1.0);
        Visit {
            finding,
            instance,
            since: at,
            before: asked(from, at),
            others: self.asked_others(instance, from, at),
            sway: sway.max(1.0 / sway),
        }
    }

    fn see_helper_ended(
        &mut self,
        at: At,
        deployment: u32,
        ending: &HelperEnding,
        (told, artifacts): (&[HelperTold], &[PathBuf]),
        step: &mut ServiceStep,
    ) {
        let Some(helpers) = &mut self.helpers else {
            return;
        };
        helpers.deployer.ended(at, deployment, ending);
        let Some(visit) = helpers.visits.get(&deployment) else {
            return;
        };
        if told.is_empty() && artifacts.is_empty() {
            return;
        }
        let found = helpers.found.entry(visit.finding).or_default();
        found.told.extend_from_slice(told);
        found.artifacts.extend_from_slice(artifacts);
        let number = visit.finding;
        if let Some(heard) = self.heard.get_mut(&number) {
            heard.at = at;
            heard.told.clone_from(&found.told);
            heard.artifacts.clone_from(&found.artifacts);
            let mut finding = heard.clone();
            self.explain(&mut finding);
            step.findings.push(finding);
        }
    }

    /// Compares what is wanted with what runs.
    pub(super) fn deploy(&mut self, at: At, step: &mut ServiceStep) {
        let up: BTreeSet<InstanceId> = self.ready().map(|(id, _)| id).collect();
        let Some(helpers) = &mut self.helpers else {
            return;
        };
        let orders = helpers.deployer.step(at, &up);
        for order in orders {
            match order {
                Order::Deploy {
                    deployment,
                    helper,
                    instance,
                    reference,
                    finding,
                } => {
                    let visit = self.visit(at, instance, finding);
                    if let Some(helpers) = &mut self.helpers {
                        helpers.visits.insert(deployment, visit);
                    }
                    let command = ServiceCommand::Deploy {
                        deployment,
                        helper,
                        instance,
                        reference,
                    };
                    step.decide(command, ServiceReason::Found { finding }, None);
                }
                Order::Withdraw { deployment, why } => {
                    let command = ServiceCommand::Withdraw { deployment };
                    step.decide(command, ServiceReason::Helper(why), None);
                }
            }
        }
    }

    /// Takes all helpers away: the campaign ends.
    pub(super) fn withdraw_all(&mut self, step: &mut ServiceStep) {
        let Some(helpers) = self.helpers.take() else {
            return;
        };
        for deployment in helpers.deployer.running() {
            let command = ServiceCommand::Withdraw { deployment };
            step.decide(command, ServiceReason::Stopping, None);
        }
    }
}
