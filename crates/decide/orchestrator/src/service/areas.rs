//! What the analyzer concluded, and the areas that it sees.

use cohort_model::{At, EndpointId, InstanceId, ServiceFinding, ServiceFindingKind};

use super::{Conductor, Open, ServiceStep};

/// A finding is being judged for so long after it was first heard of, microseconds.
const JUDGED_US: u64 = 20_000_000;
/// And as long as it is less sure than this.
const SURE: f64 = 0.8;

impl Conductor {
    /// Hears the analyzer.
    pub(super) fn conclude(&mut self, at: At, step: &mut ServiceStep) {
        for mut finding in self.analyzer.conclude(at) {
            if let Some(helpers) = &mut self.helpers {
                helpers.hear(&mut finding);
            }
            self.hear(at, finding.clone());
            self.heard.insert(finding.number, finding.clone());
            self.explain(&mut finding);
            step.findings.push(finding);
        }
        let areas = self.analyzer.areas();
        if areas != self.areas {
            step.areas.clone_from(&areas);
            self.areas = areas;
        }
    }

    fn hear(&mut self, at: At, finding: ServiceFinding) {
        if finding.ended {
            self.open.remove(&finding.number);
            return;
        }
        let known = self.open.get(&finding.number).map(|open| open.first);
        if known.is_none() && finding.kind.is_fault() {
            for &instance in &finding.instances {
                self.spoil_untold(instance);
            }
        }
        let first = known.unwrap_or(at);
        self.open.insert(finding.number, Open { finding, first });
    }

    /// Whether a fault is being judged on an instance, so that nothing is to change there.
    pub(super) fn is_judged(&self, instance: InstanceId, at: At) -> bool {
        self.open.values().any(|open| {
            let young = at.since(open.first) < JUDGED_US || open.finding.confidence < SURE;
            young && open.finding.kind.is_fault() && open.finding.instances.contains(&instance)
        })
    }

    /// Whether a finding of this kind is open on an instance.
    pub(super) fn has_finding(&self, instance: InstanceId, kind: ServiceFindingKind) -> bool {
        let here = |open: &Open| open.finding.instances.contains(&instance);
        let open = self.open.values();
        open.into_iter()
            .any(|open| open.finding.kind == kind && here(open))
    }

    /// Name of the area of an endpoint.
    pub(super) fn area_name(&self, endpoint: EndpointId) -> String {
        let area = self
            .areas
            .iter()
            .find(|area| area.endpoints.contains(&endpoint));
        area.map_or_else(|| self.endpoint_name(endpoint), |area| area.name.clone())
    }
}
