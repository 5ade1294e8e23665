//! The cost model: what a test is expected to need, as quantiles.
//!
//! From its own latest runs when there are any ([`crate::history`]); else from what the tests of
//! its group did, each counted once, and what those that run now are seen using; else from all
//! tests of the campaign; else from a prior. Each level is pulled toward the one above it as if it
//! had seen [`PULL`] more tests, so a group is believed the more the more of it was seen.
//!
//! Cores of an unseen test are CPU over time of all that was seen ([`Load`]), since that is what one
//! more running test adds at any moment; a test of two milliseconds says next to nothing of it.
//! Every call is O(1): eight runs at most, running moments, and sums.

use cohort_model::{Estimate, GroupId, Plan, Quantiles, TestId, Usage};

use crate::history::{CORES, MEMORY, Runs, Spread, WALL, Z90};

/// Tests that the next higher level counts for.
const PULL: f64 = 2.0;
/// Seconds of running tests that the next higher level counts for, of cores.
const PULL_S: f64 = 0.02;
/// The same of the prior: all that is known before anything ran.
const PRIOR_S: f64 = 0.005;
/// Seconds of running tests that are remembered; what was seen before counts for less.
const LOAD_S_MAX: f64 = 20.0;

const PRIOR_WALL_US: f64 = 100_000.0;
const PRIOR_CORES: f64 = 1.0;
const PRIOR_MEMORY: f64 = 64.0 * 1_048_576.0;
/// Standard deviations of the logarithms of wall and memory when nothing is known: p90 is 13 and 3.6
/// times p50.
const PRIOR_DEVIATION: [f64; 2] = [2.0, 1.0];
/// The same of cores, always: p90 is 1.9 times p50.
const PRIOR_DEVIATION_CORES: f64 = 0.5;

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
        let all_cores = self.all.load.over(PRIOR_CORES, PRIOR_S);
        let near = self.groups.get(group.index());
        let [wall, memory] = near.map_or(all, |near| near.over(all));
        let cores = near.map_or(all_cores, |near| near.load.over(all_cores, PULL_S));
        let spread = (Z90 * PRIOR_DEVIATION_CORES).exp();
        Estimate {
            wall_us: wall.quantiles(WALL),
            cores: self.within_host(Quantiles {
                p50: cores,
                p90: cores * spread,
            }),
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
        own || near.is_some_and(|near| near.load.time_s > 0.0)
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

    /// Live evidence: a test of `group` that runs now was seen using `cores` for `seconds`.
    pub fn observe_running(&mut self, group: GroupId, cores: f64, seconds: f64) {
        if !(cores.is_finite() && cores >= 0.0 && seconds.is_finite() && seconds > 0.0) {
            return;
        }
        self.all.load.add(cores, seconds);
        if let Some(near) = self.groups.get_mut(group.index()) {
            near.load.add(cores, seconds);
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
            let seconds = runs.wall_us.middle() / 1e6;
            neighbours.load.add(runs.cores.middle(), seconds);
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
    memory: Running,
    load: Load,
}

impl Neighbours {
    /// Wall and memory, pulled toward what the level `above` says.
    fn over(&self, above: [Moments; 2]) -> [Moments; 2] {
        [self.wall.over(above[0]), self.memory.over(above[1])]
    }
}

/// What running tests used over the time they ran: a ratio of sums.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    cpu_s: f64,
    time_s: f64,
}

impl Load {
    fn add(&mut self, cores: f64, seconds: f64) {
        let seconds = seconds.min(LOAD_S_MAX);
        self.cpu_s += cores * seconds;
        self.time_s += seconds;
        let kept = (LOAD_S_MAX / self.time_s).min(1.0);
        self.cpu_s *= kept;
        self.time_s *= kept;
    }

    /// Cores, pulled toward what the level `above` says as if that had been seen for `pull_s`.
    fn over(&self, above: f64, pull_s: f64) -> f64 {
        (self.cpu_s + above * pull_s) / (self.time_s + pull_s)
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
        let log = (value.max(0.0) + spread.floor).ln();
        self.count += 1.0;
        let off = log - self.mean;
        self.mean += off / self.count;
        self.squares += off * (log - self.mean);
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

/// A log-normal distribution.
#[derive(Clone, Copy, Debug)]
struct Moments {
    mean: f64,
    deviation: f64,
}

impl Moments {
    /// Of wall and memory.
    fn prior() -> [Moments; 2] {
        let [wall, memory] = PRIOR_DEVIATION;
        [
            Moments {
                mean: (PRIOR_WALL_US + WALL.floor).ln(),
                deviation: wall,
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
