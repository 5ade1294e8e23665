//! What helpers did on an instance before, and when they may come again.

use cohort_model::{At, InstanceId};
use std::collections::{BTreeMap, BTreeSet};

/// Failures after which a helper is not asked any more on an instance.
const FAILURES_MAX: u32 = 3;

/// By instance and place of the helper among the offers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    of: BTreeMap<(InstanceId, usize), Visits>,
    /// Those that this host does not have.
    missing: BTreeSet<usize>,
}

#[derive(Clone, Debug, Default)]
struct Visits {
    failures: u32,
    banned: bool,
    rests_until: At,
    /// Findings it was asked about to the end.
    answered: Vec<u32>,
}

impl Past {
    /// Whether it may come for this finding now.
    pub(crate) fn allows(&self, at: At, instance: InstanceId, helper: usize, finding: u32) -> bool {
        let visits = self.of.get(&(instance, helper));
        !self.missing.contains(&helper)
            && visits.is_none_or(|visits| {
                !visits.banned
                    && visits.failures < FAILURES_MAX
                    && at >= visits.rests_until
                    && !visits.answered.contains(&finding)
            })
    }

    /// It looked to the end.
    pub(crate) fn answered(
        &mut self,
        at: At,
        (instance, helper): (InstanceId, usize),
        finding: u32,
        rest_us: u64,
    ) {
        let visits = self.of.entry((instance, helper)).or_default();
        visits.failures = 0;
        visits.answered.push(finding);
        visits.rests_until = At(at.0 + rest_us);
    }

    /// It failed; the rest is twice as long each time.
    pub(crate) fn failed(&mut self, at: At, key: (InstanceId, usize), rest_us: u64) {
        let visits = self.of.entry(key).or_default();
        visits.rests_until = At(at.0 + (rest_us << visits.failures.min(FAILURES_MAX)));
        visits.failures += 1;
    }

    /// It was withdrawn before its end, through no fault of its own.
    pub(crate) fn interrupted(&mut self, at: At, key: (InstanceId, usize), rest_us: u64) {
        let visits = self.of.entry(key).or_default();
        visits.rests_until = At(at.0 + rest_us);
    }

    /// It cost more than it may: it does not come here again.
    pub(crate) fn banned(&mut self, key: (InstanceId, usize)) {
        self.of.entry(key).or_default().banned = true;
    }

    /// This host does not have what it needs, on whichever instance.
    pub(crate) fn missing(&mut self, helper: usize) {
        self.missing.insert(helper);
    }

    /// A finding came again: what was found of it before may not hold.
    pub(crate) fn reopened(&mut self, finding: u32) {
        for visits in self.of.values_mut() {
            visits.answered.retain(|it| *it != finding);
        }
    }
}
