//! Group by group in the suite's own order, so that fixtures shared within a group are set up
//! once: an instance stays with a stretch of tests until it is used up, then takes the stretch with
//! the most left that nobody is at work on, and when there is none, the back half of the longest.
//! What the plan wants together stays in one stretch.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cohort_analyzer::CostModel;
use cohort_model::{Estimate, GroupId, InstanceId, Plan, TestId};

/// A test that is expected to take more than this part of each core's share of the whole is started
/// as soon as it can be, before stretches count.
const GIANT_PART: f64 = 0.5;
/// Free stretches looked at before a pick gives up: a bound on the time of a step.
const TRIES_MAX: usize = 64;

#[derive(Clone, Debug)]
struct Stretch {
    group: GroupId,
    tests: VecDeque<TestId>,
    owner: Option<InstanceId>,
}

/// Tests that wait, in stretches.
#[derive(Clone, Debug)]
pub(crate) struct Sticky {
    stretches: Vec<Stretch>,
    owned: BTreeMap<InstanceId, usize>,
    giants: Vec<TestId>,
    together: BTreeSet<GroupId>,
    waiting: usize,
}

impl Sticky {
    pub(super) fn new(plan: &Plan, tests: &[TestId], costs: &CostModel, cores: f64) -> Self {
        let wall = |test: TestId| costs.test(test).wall_us.p50;
        let total: f64 = tests.iter().map(|&test| wall(test)).sum();
        let giant_us = total / cores.max(1.0) * GIANT_PART;
        let mut by_group: Vec<VecDeque<TestId>> = vec![VecDeque::new(); plan.groups.len()];
        let mut giants = Vec::new();
        for &test in tests {
            let group = plan.tests[test.index()].group;
            let giant = costs.test(test).runs > 0 && wall(test) > giant_us && tests.len() > 1;
            if giant && !plan.together.contains(&group) {
                giants.push(test);
            } else {
                by_group[group.index()].push_back(test);
            }
        }
        let stretches = by_group
            .into_iter()
            .enumerate()
            .filter(|(_, tests)| !tests.is_empty())
            .map(|(group, tests)| Stretch {
                group: GroupId(group as u32),
                tests,
                owner: None,
            })
            .collect();
        Self {
            stretches,
            owned: BTreeMap::new(),
            giants,
            together: plan.together.clone(),
            waiting: tests.len(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    pub(super) fn work_us(&self, costs: &CostModel) -> f64 {
        let giants = self.giants.iter().map(|&test| costs.test(test).wall_us.p50);
        let stretches = self.by_work(costs, |_| true);
        giants.sum::<f64>() + stretches.iter().map(|(us, _)| us).sum::<f64>()
    }

    pub(super) fn put_back(&mut self, test: TestId, group: GroupId) {
        self.waiting += 1;
        let rest = self
            .stretches
            .iter_mut()
            .find(|stretch| stretch.group == group && self.together.contains(&group));
        if let Some(rest) = rest {
            rest.tests.push_front(test);
            return;
        }
        self.add(Stretch {
            group,
            tests: VecDeque::from([test]),
            owner: None,
        });
    }

    pub(super) fn leave(&mut self, instance: InstanceId) {
        if let Some(index) = self.owned.remove(&instance) {
            self.stretches[index].owner = None;
        }
    }

    pub(super) fn take(
        &mut self,
        instance: InstanceId,
        costs: &CostModel,
        mut fits: impl FnMut(TestId, &Estimate) -> bool,
    ) -> Option<TestId> {
        let giant = self.giants.iter().position(|&t| fits(t, &costs.test(t)));
        if let Some(index) = giant {
            self.waiting -= 1;
            return Some(self.giants.remove(index));
        }
        let mut front = |stretch: &Stretch| {
            let test = *stretch.tests.front()?;
            fits(test, &costs.test(test)).then_some(test)
        };
        if let Some(&index) = self.owned.get(&instance) {
            if !self.stretches[index].tests.is_empty() {
                let test = front(&self.stretches[index])?;
                return Some(self.pop(index, test));
            }
            self.leave(instance);
        }
        let mut free: Vec<(f64, usize)> = self.by_work(costs, |stretch| stretch.owner.is_none());
        free.truncate(TRIES_MAX);
        let found = free
            .iter()
            .find(|(_, i)| front(&self.stretches[*i]).is_some());
        let index = match found {
            Some(&(_, index)) => index,
            None if free.is_empty() => self.split(costs)?,
            None => return None,
        };
        let test = front(&self.stretches[index])?;
        self.stretches[index].owner = Some(instance);
        self.owned.insert(instance, index);
        Some(self.pop(index, test))
    }

    fn pop(&mut self, index: usize, test: TestId) -> TestId {
        self.stretches[index].tests.pop_front();
        self.waiting -= 1;
        test
    }

    /// Stretches with tests left, the most work first.
    fn by_work(&self, costs: &CostModel, which: impl Fn(&Stretch) -> bool) -> Vec<(f64, usize)> {
        let mut found: Vec<(f64, usize)> = self
            .stretches
            .iter()
            .enumerate()
            .filter(|(_, stretch)| !stretch.tests.is_empty() && which(stretch))
            .map(|(index, stretch)| {
                let each = costs.group(stretch.group).wall_us.p50;
                (each * stretch.tests.len() as f64, index)
            })
            .collect();
        found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        found
    }

    /// Cuts the stretch with the most work in two; the back half is nobody's.
    fn split(&mut self, costs: &CostModel) -> Option<usize> {
        let apart = |stretch: &Stretch| !self.together.contains(&stretch.group);
        let &(_, index) = self.by_work(costs, apart).first()?;
        let stretch = &mut self.stretches[index];
        let tests = stretch.tests.split_off(stretch.tests.len() / 2);
        let group = stretch.group;
        Some(self.add(Stretch {
            group,
            tests,
            owner: None,
        }))
    }

    /// Adds a stretch; where it is now.
    fn add(&mut self, stretch: Stretch) -> usize {
        // An empty stretch that nobody owns is as good as a new one: the table stays small.
        let reuse = self
            .stretches
            .iter()
            .position(|old| old.tests.is_empty() && old.owner.is_none());
        match reuse {
            Some(place) => {
                self.stretches[place] = stretch;
                place
            }
            None => {
                self.stretches.push(stretch);
                self.stretches.len() - 1
            }
        }
    }
}
