//! How long the rest will take: work left over what works on it.
//!
//! The rest cannot be shorter than its CPU time on all cores, than its wall time at the present
//! concurrency, or than what is left of the longest running test. The largest of the three is said.

use cohort_model::{Plan, TestHistory, TestId, Usage};

/// Executions that must have ended before tests that were never seen are guessed from them.
const LEARNED_MIN: u64 = 5;

/// Wall and CPU time of one execution, microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cost {
    wall_us: f64,
    cpu_us: f64,
}

impl Cost {
    pub(crate) fn of(usage: &Usage) -> Cost {
        let cpu_us = usage.user_us.saturating_add(usage.system_us);
        Cost {
            wall_us: usage.wall_us as f64,
            cpu_us: cpu_us as f64,
        }
    }

    /// The middle of what is remembered.
    fn remembered(history: &TestHistory) -> Option<Cost> {
        let mut costs: Vec<Cost> = history.usage.iter().map(Cost::of).collect();
        costs.sort_by(|a, b| a.wall_us.total_cmp(&b.wall_us));
        costs.get(costs.len() / 2).copied()
    }

    fn scaled(self, factor: f64) -> Cost {
        Cost {
            wall_us: self.wall_us * factor,
            cpu_us: self.cpu_us * factor,
        }
    }

    fn plus(self, other: Cost) -> Cost {
        Cost {
            wall_us: self.wall_us + other.wall_us,
            cpu_us: self.cpu_us + other.cpu_us,
        }
    }
}

/// Sums over the tests that were not started yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forecast {
    remembered: Vec<Option<Cost>>,
    pending: Vec<bool>,
    known: Cost,
    unknown: u64,
    learned: Cost,
    learned_count: u64,
}

impl Forecast {
    pub(crate) fn of(plan: &Plan) -> Forecast {
        let mut forecast = Forecast::default();
        for (index, test) in plan.tests.iter().enumerate() {
            let history = u32::try_from(index)
                .ok()
                .and_then(|index| plan.history.get(&index));
            let remembered = history.and_then(Cost::remembered);
            if !test.ignored {
                match remembered {
                    Some(cost) => forecast.known = forecast.known.plus(cost),
                    None => forecast.unknown += 1,
                }
            }
            forecast.remembered.push(remembered);
            forecast.pending.push(!test.ignored);
        }
        forecast
    }

    /// A test is no longer pending. Safe to repeat.
    pub(crate) fn take_up(&mut self, test: TestId) {
        let Some(pending) = self.pending.get_mut(test.index()) else {
            return;
        };
        if !std::mem::take(pending) {
            return;
        }
        match self.remembered[test.index()] {
            Some(cost) => self.known = self.known.plus(cost.scaled(-1.0)),
            None => self.unknown -= 1,
        }
    }

    /// What an execution took.
    pub(crate) fn learn(&mut self, cost: Cost) {
        self.learned = self.learned.plus(cost);
        self.learned_count += 1;
    }

    /// Microseconds left, when `running` are the tests at work and for how long they have been.
    pub(crate) fn left_us(&self, running: &[(TestId, u64)], cores: f64) -> Option<u64> {
        let usual = self.usual();
        let mut rest = self.known;
        if self.unknown > 0 {
            rest = rest.plus(usual?.scaled(self.unknown as f64));
        }
        let mut longest_us = 0.0_f64;
        for (test, ran_us) in running {
            let remembered = self.remembered.get(test.index()).copied().flatten();
            let cost = remembered.or(usual)?;
            let left = cost.scaled((1.0 - *ran_us as f64 / cost.wall_us.max(1.0)).max(0.0));
            longest_us = longest_us.max(left.wall_us);
            rest = rest.plus(left);
        }
        let by_cpu_us = rest.cpu_us / cores.max(0.01);
        let by_wall_us = rest.wall_us / running.len().max(1) as f64;
        Some(by_cpu_us.max(by_wall_us).max(longest_us).max(0.0) as u64)
    }

    fn usual(&self) -> Option<Cost> {
        (self.learned_count >= LEARNED_MIN)
            .then(|| self.learned.scaled(1.0 / self.learned_count as f64))
    }
}

#[cfg(test)]
mod tests {
    use cohort_model::{GroupId, TestCase};

    use super::*;

    const SECOND_US: u64 = 1_000_000;

    fn usage(wall_us: u64, cpu_us: u64) -> Usage {
        Usage {
            wall_us,
            user_us: cpu_us,
            ..Usage::default()
        }
    }

    fn plan(tests: u32, known: &[(u32, Usage)]) -> Plan {
        let case = |index| TestCase {
            name: format!("test {index}"),
            group: GroupId(0),
            ignored: false,
            lock: None,
            whole: false,
            broken: None,
        };
        let remembered = |usage: &Usage| TestHistory {
            usage: vec![*usage],
            runs: 1,
            ..TestHistory::default()
        };
        Plan {
            tests: (0..tests).map(case).collect(),
            history: known
                .iter()
                .map(|(test, usage)| (*test, remembered(usage)))
                .collect(),
            ..Plan::default()
        }
    }

    #[test]
    fn history_gives_a_forecast_before_anything_ran() {
        let sleepy = usage(4 * SECOND_US, 0);
        let mut forecast = Forecast::of(&plan(2, &[(0, sleepy), (1, sleepy)]));
        forecast.take_up(TestId(0));
        forecast.take_up(TestId(0));
        assert_eq!(
            forecast.left_us(&[(TestId(0), SECOND_US)], 2.0),
            Some(7 * SECOND_US)
        );
        forecast.take_up(TestId(1));
        let both = [(TestId(0), SECOND_US), (TestId(1), 0)];
        assert_eq!(
            forecast.left_us(&both, 2.0),
            Some(4 * SECOND_US),
            "the longest one"
        );
        assert_eq!(forecast.left_us(&[], 2.0), Some(0));
    }

    #[test]
    fn cpu_is_the_limit_for_computing_tests() {
        let computing = usage(SECOND_US, SECOND_US);
        let mut forecast = Forecast::of(&plan(
            8,
            &(0..8).map(|t| (t, computing)).collect::<Vec<_>>(),
        ));
        let running: Vec<_> = (0..8).map(|test| (TestId(test), 0)).collect();
        for (test, _) in &running {
            forecast.take_up(*test);
        }
        assert_eq!(forecast.left_us(&running, 2.0), Some(4 * SECOND_US));
    }

    #[test]
    fn without_history_it_waits_until_something_was_learned() {
        let mut forecast = Forecast::of(&plan(10, &[]));
        for test in 0..4 {
            forecast.take_up(TestId(test));
            forecast.learn(Cost::of(&usage(SECOND_US, 0)));
        }
        assert_eq!(forecast.left_us(&[], 2.0), None);
        forecast.take_up(TestId(4));
        forecast.learn(Cost::of(&usage(SECOND_US, 0)));
        assert_eq!(forecast.left_us(&[], 2.0), Some(5 * SECOND_US));
    }
}
