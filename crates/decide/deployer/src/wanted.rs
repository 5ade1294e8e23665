//! Which suspicion is looked at first.

use std::collections::BTreeMap;

use cohort_model::{At, InstanceId, ServiceFinding, ServiceFindingKind as Kind};

/// A finding that is open.
#[derive(Clone, Debug)]
pub(crate) struct Suspicion {
    pub(crate) finding: u32,
    pub(crate) kind: Kind,
    pub(crate) instances: Vec<InstanceId>,
    pub(crate) confidence: f64,
    pub(crate) since: At,
}

/// Open findings by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suspicions {
    open: BTreeMap<u32, Suspicion>,
}

impl Suspicions {
    /// Takes a finding in, its update or its end. Whether it was not open before.
    pub(crate) fn take(&mut self, finding: &ServiceFinding) -> bool {
        if finding.ended || finding.withdrawn {
            self.open.remove(&finding.number);
            return false;
        }
        let suspicion = Suspicion {
            finding: finding.number,
            kind: finding.kind,
            instances: finding.instances.clone(),
            confidence: finding.confidence,
            since: finding.since,
        };
        self.open.insert(finding.number, suspicion).is_none()
    }

    pub(crate) fn is_open(&self, finding: u32) -> bool {
        self.open.contains_key(&finding)
    }

    /// Whether an open one is about an instance.
    pub(crate) fn names(&self, instance: InstanceId) -> bool {
        let mut open = self.open.values();
        open.any(|it| it.instances.contains(&instance))
    }

    /// What is most worth looking at first: what cannot be seen later before what lasts, then the surest, then the oldest.
    pub(crate) fn in_order(&self) -> Vec<&Suspicion> {
        let mut all: Vec<&Suspicion> = self.open.values().collect();
        all.sort_by(|a, b| {
            urgency(b.kind)
                .cmp(&urgency(a.kind))
                .then(b.confidence.total_cmp(&a.confidence))
                .then(a.since.cmp(&b.since))
                .then(a.finding.cmp(&b.finding))
        });
        all
    }
}

/// How soon what shows it is gone.
fn urgency(kind: Kind) -> u8 {
    match kind {
        // Its threads stand still now, and it may be restarted.
        Kind::Hang => 3,
        Kind::LockContention | Kind::CpuBlowUp | Kind::Crash => 2,
        Kind::MemoryLeak | Kind::DescriptorLeak | Kind::ThreadLeak => 1,
        _ => 0,
    }
}
