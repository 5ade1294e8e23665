//! Longest first: a test that was seen before stands by its own predicted wall time, one that was
//! not by what its group was seen doing. A group nobody knows anything about is probed early with
//! one test, since anything may hide in it.

use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};

use cohort_analyzer::CostModel;
use cohort_model::{Estimate, GroupId, Plan, TestId};

/// Groups looked at before a pick gives up: a bound on the time of a step.
const TRIES_MAX: usize = 64;

#[derive(Clone, Debug, Default)]
struct Group {
    /// Seen in earlier campaigns, longest first.
    known: BTreeSet<(Reverse<u64>, TestId)>,
    /// Never seen, in the suite's order.
    fresh: VecDeque<TestId>,
    /// Where it stands in the order now.
    priority: u64,
    /// A test of it runs or ran.
    probed: bool,
}

/// Tests that wait, by group, groups by their longest test.
#[derive(Clone, Debug)]
pub(crate) struct LongestFirst {
    groups: Vec<Group>,
    order: BTreeSet<(Reverse<u64>, GroupId)>,
    waiting: usize,
}

impl LongestFirst {
    pub(super) fn new(plan: &Plan, tests: &[TestId], costs: &CostModel) -> Self {
        let mut groups = vec![Group::default(); plan.groups.len()];
        for &test in tests {
            let group = &mut groups[plan.tests[test.index()].group.index()];
            match known_wall(test, costs) {
                Some(wall) => {
                    group.known.insert((wall, test));
                }
                None => group.fresh.push_back(test),
            }
        }
        let mut queue = Self {
            groups,
            order: BTreeSet::new(),
            waiting: tests.len(),
        };
        for index in 0..plan.groups.len() {
            queue.reorder(GroupId(index as u32), costs);
        }
        queue
    }

    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    pub(super) fn put_back(&mut self, test: TestId, id: GroupId, costs: &CostModel) {
        let group = &mut self.groups[id.index()];
        match known_wall(test, costs) {
            Some(wall) => {
                group.known.insert((wall, test));
            }
            None => group.fresh.push_front(test),
        }
        self.waiting += 1;
        self.reorder(id, costs);
    }

    /// A group's place follows what is known of it.
    pub(super) fn reorder(&mut self, id: GroupId, costs: &CostModel) {
        let group = &mut self.groups[id.index()];
        self.order.remove(&(Reverse(group.priority), id));
        let longest = group.known.first().map(|&(Reverse(wall), _)| wall);
        let fresh = fresh_priority(group, id, costs);
        if let Some(priority) = longest.max(fresh) {
            group.priority = priority;
            self.order.insert((Reverse(priority), id));
        }
    }

    pub(super) fn take(
        &mut self,
        costs: &CostModel,
        mut fits: impl FnMut(TestId, &Estimate) -> bool,
    ) -> Option<TestId> {
        let (id, test, known) = self.order.iter().take(TRIES_MAX).find_map(|&(_, id)| {
            let group = &self.groups[id.index()];
            let (test, known) = next_of(group, id, costs)?;
            fits(test, &costs.test(test)).then_some((id, test, known))
        })?;
        let group = &mut self.groups[id.index()];
        if known {
            group.known.pop_first();
        } else {
            group.fresh.pop_front();
            group.probed = true;
        }
        self.waiting -= 1;
        self.reorder(id, costs);
        Some(test)
    }
}

/// Where a test stands that was seen before.
fn known_wall(test: TestId, costs: &CostModel) -> Option<Reverse<u64>> {
    let estimate = costs.test(test);
    (estimate.runs > 0).then_some(Reverse(estimate.wall_us.p50 as u64))
}

/// What a group's unseen tests may take: anything, until one of them was tried.
fn fresh_priority(group: &Group, id: GroupId, costs: &CostModel) -> Option<u64> {
    match (group.fresh.is_empty(), group.probed) {
        (true, _) => None,
        (false, false) => Some(u64::MAX),
        (false, true) => Some(costs.group(id).wall_us.p90 as u64),
    }
}

/// The next test of a group, and whether it is one that was seen before.
fn next_of(group: &Group, id: GroupId, costs: &CostModel) -> Option<(TestId, bool)> {
    let known = group.known.first().copied();
    let fresh = group.fresh.front().copied();
    match (known, fresh) {
        (Some((Reverse(wall), known)), Some(fresh)) => {
            let unseen_first = fresh_priority(group, id, costs) > Some(wall);
            Some(if unseen_first {
                (fresh, false)
            } else {
                (known, true)
            })
        }
        (Some((_, known)), None) => Some((known, true)),
        (None, fresh) => fresh.map(|test| (test, false)),
    }
}
