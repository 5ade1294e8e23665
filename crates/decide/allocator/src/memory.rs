//! Memory promised to instances. A promise is a limit: the sum of all promises stays within the
//! budget, and a promise is raised when its thread reaches it and there is more to give.

use std::collections::BTreeMap;

use cohort_model::InstanceId;

/// Least memory an instance is promised, bytes: its init, a runtime, some page cache.
pub const MEMORY_FLOOR: u64 = 64 << 20;
/// A prediction is promised with this much on top, so that a usual run does not reach its limit.
const MARGIN: f64 = 1.5;
/// What an instance keeps above its use when some of its promise is taken back.
const SLACK: f64 = 1.25;

/// Who was promised what.
#[derive(Clone, Debug)]
pub struct Promises {
    budget: u64,
    instances: u32,
    promised: BTreeMap<InstanceId, u64>,
    total: u64,
}

impl Promises {
    /// Nothing promised of `budget` bytes yet, among at most `instances`.
    #[must_use]
    pub fn new(budget: u64, instances: u32) -> Self {
        Self {
            budget,
            instances: instances.max(1),
            promised: BTreeMap::new(),
            total: 0,
        }
    }

    /// The whole budget, bytes.
    #[must_use]
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// Bytes promised to nobody.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.budget.saturating_sub(self.total)
    }

    /// What `instance` was promised, bytes.
    #[must_use]
    pub fn of(&self, instance: InstanceId) -> u64 {
        self.promised.get(&instance).copied().unwrap_or(0)
    }

    /// How many bytes a thread that is predicted to need `need` would be promised now; `None` when
    /// that is not there. With plenty, everyone gets an equal part of what is free, so that an
    /// unknown test seldom meets its limit.
    #[must_use]
    pub fn offer(&self, need: f64) -> Option<u64> {
        let wanted = ((need * MARGIN) as u64).max(MEMORY_FLOOR);
        let free = self.free();
        (wanted <= free).then(|| wanted.max(free / u64::from(self.instances)))
    }

    /// Promises `bytes` to `instance`, in place of what it had. Never more than is free.
    pub fn promise(&mut self, instance: InstanceId, bytes: u64) -> u64 {
        let had = self.promised.remove(&instance).unwrap_or(0);
        self.total -= had;
        let granted = bytes.min(self.free());
        self.promised.insert(instance, granted);
        self.total += granted;
        granted
    }

    /// Takes a promise back entirely.
    pub fn release(&mut self, instance: InstanceId) {
        self.total -= self.promised.remove(&instance).unwrap_or(0);
    }

    /// What a held instance could be raised to: twice what it had, or all there is. `None` when
    /// nothing is free.
    #[must_use]
    pub fn raise(&self, instance: InstanceId) -> Option<u64> {
        let had = self.of(instance);
        let raised = had
            .saturating_mul(2)
            .max(MEMORY_FLOOR)
            .min(had + self.free());
        (raised > had).then_some(raised)
    }

    /// What can be taken back from an instance that uses `used` bytes: its new, smaller promise.
    #[must_use]
    pub fn shrink(&self, instance: InstanceId, used: u64) -> Option<u64> {
        let had = self.of(instance);
        let enough = ((used as f64 * SLACK) as u64 + MEMORY_FLOOR / 2).max(MEMORY_FLOOR);
        (enough < had - had / 8).then_some(enough)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn plenty_is_shared_and_little_is_kept_for_the_need() {
        let rich = Promises::new(64 * GIB, 64);
        assert_eq!(rich.offer(1e6), Some(GIB));
        let poor = Promises::new(GIB / 4, 64);
        assert_eq!(poor.offer(1e6), Some(MEMORY_FLOOR));
        assert_eq!(poor.offer(1e9), None);
    }

    #[test]
    fn a_held_instance_is_raised_while_there_is_more() {
        let mut promises = Promises::new(GIB, 8);
        let (a, b) = (InstanceId(0), InstanceId(1));
        promises.promise(a, GIB / 4);
        promises.promise(b, GIB / 2);
        assert_eq!(promises.raise(a), Some(GIB / 2));
        promises.promise(a, GIB / 2);
        assert_eq!(promises.raise(a), None);
        let less = promises.shrink(b, 100 << 20).unwrap();
        promises.promise(b, less);
        assert!(promises.raise(a).is_some());
        assert_eq!(promises.shrink(b, 100 << 20), None);
    }

    proptest! {
        #[test]
        fn promises_never_exceed_the_budget(
            budget in 0u64..(1 << 36),
            steps in prop::collection::vec((0u32..6, 0u64..(1 << 36), any::<bool>()), 0..60),
        ) {
            let mut promises = Promises::new(budget, 8);
            for (instance, bytes, release) in steps {
                let instance = InstanceId(instance);
                if release {
                    promises.release(instance);
                } else {
                    promises.promise(instance, bytes);
                    if let Some(raised) = promises.raise(instance) {
                        prop_assert_eq!(promises.promise(instance, raised), raised);
                    }
                }
                let sum: u64 = (0..6).map(|n| promises.of(InstanceId(n))).sum();
                prop_assert!(sum <= budget);
                prop_assert_eq!(promises.free(), budget - sum);
            }
        }
    }
}
