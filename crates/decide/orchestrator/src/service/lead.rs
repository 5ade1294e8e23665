//! What to follow: findings and suspicions about an endpoint, and where it shows.

use cohort_model::{At, EndpointId, InstanceId, ServiceFindingKind, ServiceReason};

use super::gather::Gather;
use super::load::Asked;
use super::{BEAT_US, Conductor};

/// A finding is followed from this confidence on.
const CONFIDENCE_MIN: f64 = 0.5;
/// An endpoint shows on one instance alone when its latency there is so many times that elsewhere.
const WORSE_THERE: f64 = 1.3;

/// What to gather.
pub(super) struct Lead {
    pub(super) kind: ServiceFindingKind,
    pub(super) endpoint: EndpointId,
    pub(super) instances: Vec<InstanceId>,
    pub(super) reason: ServiceReason,
    pub(super) finding: Option<u32>,
    /// Since when.
    pub(super) since: At,
}

impl Conductor {
    pub(super) fn leads(&self, at: At) -> Vec<Lead> {
        let found = self.open.values().filter_map(|open| {
            let finding = &open.finding;
            let sure = finding.confidence >= CONFIDENCE_MIN && finding.kind.is_fault();
            sure.then_some(Lead {
                kind: finding.kind,
                endpoint: finding.endpoint?,
                instances: finding.instances.clone(),
                reason: ServiceReason::Found {
                    finding: finding.number,
                },
                finding: Some(finding.number),
                since: finding.since,
            })
        });
        let believed = self
            .suspicions
            .iter()
            .filter(|(_, suspicion)| suspicion.is_believed());
        let suspected = believed.map(|(&(instance, endpoint), suspicion)| Lead {
            kind: ServiceFindingKind::SlowEndpoint,
            endpoint: EndpointId(endpoint),
            instances: vec![instance],
            reason: ServiceReason::SlowAgainstPeers {
                ratio: suspicion.ratio,
            },
            finding: None,
            since: At(at.0.saturating_sub(u64::from(suspicion.beats) * BEAT_US)),
        });
        found.chain(suspected).collect()
    }

    /// Whether an endpoint is slower on an instance than on the others.
    pub(super) fn is_worse_there(&self, instance: InstanceId, endpoint: EndpointId) -> bool {
        let (mut here, mut there) = (Asked::default(), Asked::default());
        for (&id, profile) in &self.recent {
            if let Some(asked) = profile.0.get(&endpoint.0) {
                let side = if id == instance {
                    &mut here
                } else {
                    &mut there
                };
                side.calls += asked.calls;
                side.sum_us += asked.sum_us;
            }
        }
        here.calls >= 1.0 && there.calls >= 1.0 && here.mean_us() > WORSE_THERE * there.mean_us()
    }

    /// The instance where it shows most, and another for control.
    pub(super) fn pair_for(&self, lead: &Lead) -> Option<(InstanceId, InstanceId)> {
        let engaged = |id: InstanceId| {
            let pair = |gather: &Gather| gather.instance == id || gather.control == id;
            self.gathers.iter().any(pair)
        };
        let free = |id: InstanceId| {
            let place = self.places.get(&id);
            place.is_some_and(|place| place.is_ready() && place.change.is_none()) && !engaged(id)
        };
        let asked = |id: InstanceId| {
            let profile = self.recent.get(&id)?;
            profile.0.get(&lead.endpoint.0)
        };
        let latency_us = |id: &InstanceId| asked(*id).map_or(0.0, |asked| asked.mean_us());
        let calls = |id: &InstanceId| asked(*id).map_or(0.0, |asked| asked.calls);
        let instance = lead
            .instances
            .iter()
            .copied()
            .filter(|&id| free(id))
            .max_by(|a, b| latency_us(a).total_cmp(&latency_us(b)).then(b.cmp(a)))?;
        let control = self
            .ready()
            .map(|(id, _)| id)
            .filter(|&id| id != instance && free(id))
            .max_by(|a, b| calls(a).total_cmp(&calls(b)).then(b.cmp(a)))?;
        Some((instance, control))
    }
}
