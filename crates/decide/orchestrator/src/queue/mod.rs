//! The tests that wait to be run, and which of them is next.

mod longest;
mod sticky;

use std::collections::VecDeque;

use cohort_analyzer::CostModel;
use cohort_model::{Estimate, GroupId, InstanceId, Plan, Policy, TestId};

use longest::LongestFirst;
use sticky::Sticky;

/// Tests that wait.
#[derive(Clone, Debug)]
pub(crate) enum Queue {
    /// Each test stands alone: the longest first.
    Longest(LongestFirst),
    /// Tests of a group are cheaper one after the other on one instance.
    Sticky(Sticky),
    /// The plain baseline: as the suite lists them.
    InOrder(VecDeque<TestId>),
}

impl Queue {
    /// All of `tests` wait.
    pub(crate) fn new(
        plan: &Plan,
        tests: &[TestId],
        costs: &CostModel,
        (policy, cores): (Policy, f64),
    ) -> Self {
        match policy {
            Policy::Static => Queue::InOrder(tests.iter().copied().collect()),
            Policy::Adaptive if plan.sticky => {
                Queue::Sticky(Sticky::new(plan, tests, costs, cores))
            }
            Policy::Adaptive => Queue::Longest(LongestFirst::new(plan, tests, costs)),
        }
    }

    /// How many tests wait.
    pub(crate) fn len(&self) -> usize {
        match self {
            Queue::Longest(queue) => queue.len(),
            Queue::Sticky(queue) => queue.len(),
            Queue::InOrder(tests) => tests.len(),
        }
    }

    /// Takes the next test that `fits` for `instance`.
    pub(crate) fn take(
        &mut self,
        instance: InstanceId,
        costs: &CostModel,
        mut fits: impl FnMut(TestId, &Estimate) -> bool,
    ) -> Option<TestId> {
        match self {
            Queue::InOrder(tests) => {
                let index = tests
                    .iter()
                    .position(|&test| fits(test, &costs.test(test)))?;
                tests.remove(index)
            }
            Queue::Longest(queue) => queue.take(costs, fits),
            Queue::Sticky(queue) => queue.take(instance, costs, fits),
        }
    }

    /// Expected wall time of all that waits, microseconds.
    pub(crate) fn work_us(&self, costs: &CostModel) -> f64 {
        let sum = |tests: &mut dyn Iterator<Item = TestId>| {
            tests.map(|test| costs.test(test).wall_us.p50).sum()
        };
        match self {
            Queue::InOrder(tests) => sum(&mut tests.iter().copied()),
            Queue::Longest(_) => f64::INFINITY,
            Queue::Sticky(queue) => queue.work_us(costs),
        }
    }

    /// A test that was taken waits again: its instance could not be had.
    pub(crate) fn put_back(&mut self, test: TestId, group: GroupId, costs: &CostModel) {
        match self {
            Queue::InOrder(tests) => tests.push_front(test),
            Queue::Longest(queue) => queue.put_back(test, group, costs),
            Queue::Sticky(queue) => queue.put_back(test, group),
        }
    }

    /// Something was learned of a group.
    pub(crate) fn learned(&mut self, group: GroupId, costs: &CostModel) {
        if let Queue::Longest(queue) = self {
            queue.reorder(group, costs);
        }
    }

    /// An instance is gone: what it was at work on is anybody's.
    pub(crate) fn leave(&mut self, instance: InstanceId) {
        if let Queue::Sticky(queue) = self {
            queue.leave(instance);
        }
    }
}
