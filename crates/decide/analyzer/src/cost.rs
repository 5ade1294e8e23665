//! The cost model: what a test is expected to need, as quantiles.
//!
//! From its own latest runs when there are any ([`crate::history`]); else from what the tests of
//! its group did, each counted once, and what those that run now are seen using; else from all
//! tests of the campaign; else from a prior. Each level is pulled toward the one above it as if it
//! had seen [`PULL`] more tests, so a group is believed the more the more of it was seen.
//! Every call is O(1): eight runs at most, and running moments.

use cohort_model::{Estimate, GroupId, Plan, Quantiles, TestId, Usage};

use crate::history::{CORES, MEMORY, Runs, Spread, WALL, Z90};

/// Tests that the next higher level counts for.
const PULL: f64 = 2.0;
/// Share of earlier live evidence that each new reading leaves.
const LIVE_DECAY: f64 = 0.9;
/// Most finished tests that live evidence counts for.
const LIVE_WEIGHT_MAX: f64 = 4.0;

const PRIOR_WALL_US: f64 = 100_000.0;
const PRIOR_CORES: f64 = 1.0;
const PRIOR_MEMORY: f64 = 64.0 * 1_048_576.0;
/// Standard deviations of the logarithms when nothing is known: p90 is 13, 1.9 and 3.6 times p50.
const PRIOR_DEVIATION: [f64; 3] = [2.0, 0.5, 1.0];

/// Predicts wall time, cores and peak memory of every test.
#[derive(Clone, Debug)]
pub struct CostModel {
    cores: f64,
    /// Group of each test, and whether it uses all cores it finds.
    tests: Vec<(GroupId, bool)>,
    runs: Vec<Option<Box<Runs>>>,
    groups: Vec<Neighbours>,
    all: Neighbours,
}

impl CostModel {
    /// Learns what `plan` remembers of earlier campaigns. `cores`: those of the budget.
    #[must_use]
    pub fn new(plan: &Plan, cores: f64) -> Self {
        let mut model = CostModel {
            cores: if cores.is_finite() {
                cores.max(0.1)
            } else {
                1.0
            },
            tests: plan
                .tests
                .iter()
                .map(|test| (test.group, test.whole))
                .collect(),
            runs: vec![None; plan.tests.len()],
            groups: vec![Neighbours::default(); plan.groups.len()],
            all: Neighbours::default(),
        };
        for (test, history) in &plan.history {
            for usage in &history.usage {
                model.remember(TestId(*test), usage);
            }
            model.count_in_group(TestId(*test));
        }
        model
    }

    /// What `test` is expected to need. An unknown test is expected to be like all others.
    #[must_use]
    pub fn test(&self, test: TestId) -> Estimate {
        let Some(&(group, whole)) = self.tests.get(test.index()) else {
            return self.group(GroupId(u32::MAX));
        };
        let Some(runs) = self.runs[test.index()].as_deref() else {
            let mut estimate = self.group(group);
            if whole {
                estimate.cores = Quantiles {
                    p50: self.cores,
                    p90: self.cores,
                };
            }
            return estimate;
        };
        let memory = if runs.memory.is_empty() {
            self.group(group).memory
        } else {
            let mut memory = runs.memory.quantiles(MEMORY);
            // Too little memory costs more than too much: never below what was needed before.
            memory.p90 = runs
                .memory
                .values()
                .iter()
                .copied()
                .fold(memory.p90, f64::max);
            memory
        };
        Estimate {
            wall_us: runs.wall_us.quantiles(WALL),
            cores: self.within_host(runs.cores.quantiles(CORES)),
            memory,
            runs: runs.count,
        }
    }

    /// What a test of `group` is expected to need when it was never seen itself.
    #[must_use]
    pub fn group(&self, group: GroupId) -> Estimate {
        let prior = Moments::prior();
        let all = self.all.over(prior);
        let moments = self
            .groups
            .get(group.index())
            .map_or(all, |near| near.over(all));
        let [wall, cores, memory] = moments;
        Estimate {
            wall_us: wall.quantiles(WALL),
            cores: self.within_host(cores.quantiles(CORES)),
            memory: memory.quantiles(MEMORY),
            runs: 0,
        }
    }

    /// Whether the estimate of `test` rests on anything seen of it or of its group.
    #[must_use]
    pub fn is_informed(&self, test: TestId) -> bool {
        let own = self.runs.get(test.index()).is_some_and(Option::is_some);
        let group = self
            .tests
            .get(test.index())
            .map(|&(group, _)| group.index());
        let near = group.and_then(|group| self.groups.get(group));
        own || near.is_some_and(|near| near.cores.count > 0.0 || near.live.weight > 0.0)
    }

    /// Learns from an execution of `test` that ended. The caller leaves out executions that say
    /// nothing of its needs (killed, aborted).
    pub fn learn(&mut self, test: TestId, usage: &Usage) {
        let first = self.runs.get(test.index()).is_some_and(Option::is_none);
        self.remember(test, usage);
        if first {
            self.count_in_group(test);
        }
    }

    /// Live evidence: a test of `group` that runs now was seen using `cores`. `weight`: 1 for a
    /// window that says as much as one finished test.
    pub fn observe_running(&mut self, group: GroupId, cores: f64, weight: f64) {
        if !(cores.is_finite() && cores >= 0.0 && weight.is_finite() && weight > 0.0) {
            return;
        }
        self.all.live.add(cores, weight);
        if let Some(near) = self.groups.get_mut(group.index()) {
            near.live.add(cores, weight);
        }
    }

    fn remember(&mut self, test: TestId, usage: &Usage) {
        if let Some(runs) = self.runs.get_mut(test.index()) {
            runs.get_or_insert_default().push(usage);
        }
    }

    /// Counts a test among its neighbours, by the middle of its runs. Once per test, so that one
    /// with a long history weighs no more than another.
    fn count_in_group(&mut self, test: TestId) {
        let Some(Some(runs)) = self.runs.get(test.index()) else {
            return;
        };
        let group = self.tests[test.index()].0;
        let near = self.groups.get_mut(group.index());
        for neighbours in [Some(&mut self.all), near].into_iter().flatten() {
            neighbours.wall.add(runs.wall_us.middle(), WALL);
            neighbours.cores.add(runs.cores.middle(), CORES);
            if !runs.memory.is_empty() {
                neighbours.memory.add(runs.memory.middle(), MEMORY);
            }
        }
    }

    fn within_host(&self, cores: Quantiles) -> Quantiles {
        Quantiles {
            p50: cores.p50.min(self.cores),
            p90: cores.p90.min(self.cores),
        }
    }
}

/// What the tests of one group did.
#[derive(Clone, Debug, Default)]
struct Neighbours {
    wall: Running,
    cores: Running,
    memory: Running,
    live: Live,
}

impl Neighbours {
    /// Wall, cores and memory, pulled toward what the level `above` says.
    fn over(&self, above: [Moments; 3]) -> [Moments; 3] {
        let cores = self.live.beside(&self.cores);
        [
            self.wall.over(above[0]),
            cores.over(above[1]),
            self.memory.over(above[2]),
        ]
    }
}

/// Running mean and squared deviations of logarithms (Welford 1962).
#[derive(Clone, Copy, Debug, Default)]
struct Running {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Running {
    fn add(&mut self, value: f64, spread: Spread) {
        self.add_weighted((value.max(0.0) + spread.floor).ln(), 1.0);
    }

    fn add_weighted(&mut self, log: f64, weight: f64) {
        self.count += weight;
        let off = log - self.mean;
        self.mean += off * weight / self.count;
        self.squares += weight * off * (log - self.mean);
    }

    fn over(&self, above: Moments) -> Moments {
        let total = self.count + PULL;
        let mean = (self.count * self.mean + PULL * above.mean) / total;
        // How far the two means lie apart is left out: it would keep a wrong prior's width for ever.
        let variance = (self.squares + PULL * above.deviation * above.deviation) / total;
        Moments {
            mean,
            deviation: variance.max(0.0).sqrt(),
        }
    }
}

/// Decayed mean of what running tests are seen using.
#[derive(Clone, Copy, Debug, Default)]
struct Live {
    weight: f64,
    mean: f64,
}

impl Live {
    fn add(&mut self, cores: f64, weight: f64) {
        let weight = weight.min(LIVE_WEIGHT_MAX);
        self.weight = (self.weight * LIVE_DECAY + weight).min(LIVE_WEIGHT_MAX.max(weight));
        self.mean += (cores - self.mean) * (weight / self.weight).min(1.0);
    }

    fn beside(&self, finished: &Running) -> Running {
        let mut both = *finished;
        if self.weight > 0.0 {
            both.add_weighted((self.mean + CORES.floor).ln(), self.weight);
        }
        both
    }
}

/// A log-normal distribution.
#[derive(Clone, Copy, Debug)]
struct Moments {
    mean: f64,
    deviation: f64,
}

impl Moments {
    fn prior() -> [Moments; 3] {
        let [wall, cores, memory] = PRIOR_DEVIATION;
        [
            Moments {
                mean: (PRIOR_WALL_US + WALL.floor).ln(),
                deviation: wall,
            },
            Moments {
                mean: (PRIOR_CORES + CORES.floor).ln(),
                deviation: cores,
            },
            Moments {
                mean: (PRIOR_MEMORY + MEMORY.floor).ln(),
                deviation: memory,
            },
        ]
    }

    fn quantiles(self, spread: Spread) -> Quantiles {
        let at = |z: f64| ((self.mean + z * self.deviation).exp() - spread.floor).max(0.0);
        Quantiles {
            p50: at(0.0),
            p90: at(Z90),
        }
    }
}

#[cfg(test)]
#[path = "cost_tests.rs"]
mod tests;
