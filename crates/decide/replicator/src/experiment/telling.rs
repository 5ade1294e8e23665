//! What one more run under a condition is expected to tell of whether it matters.
//!
//! A condition either does nothing, and its runs fail as plain ones do, or it raises the rate to one of a few,
//! likelier the more its kind was expected to matter. After so many runs each of these has a probability (Bayes);
//! what a run tells is how much likelier its result is with the condition than without (Kullback and Leibler 1951),
//! averaged over them. That a condition that needs many runs is given them, and not dropped after some that passed by
//! chance, is the point: rates that are drawn one by one drop it.

use cohort_model::{Condition, ConditionKind};

use super::beliefs::{Belief, Wish};
use super::menu::{Family, family};
use super::recipes::{NEW_EACH_RUN, seed_of};

/// Rates of a condition that matters; of one that sets what the world looks like, which mostly decides.
const RATES: [f64; 6] = [0.03, 0.06, 0.12, 0.25, 0.5, 0.9];
const DECIDED: [f64; 2] = [0.5, 0.9];
/// So many times what is expected of a run under it, a condition is taken to be likely to matter; at most.
const LIKELY: f64 = 2.5;
const LIKELY_MAX: f64 = 0.6;
/// Rates that differ from the usual one by less than this factor are no other rates.
const OTHER: f64 = 1.5;
/// What a failure under a new seed tells when the next runs under it fail, too, in nats.
const SEED_TELLS: f64 = 4.0;
/// Orders of directories are so many times as likely to decide as all that is drawn at random.
const OTHER_SEEDS: f64 = 0.3;

impl Belief {
    /// What one run is expected to tell, in nats.
    pub(super) fn tells(&self, wish: Wish) -> f64 {
        let world = family(self.condition.kind()) == Family::World;
        if world && seed_of(&self.condition) == Some(NEW_EACH_RUN) {
            let likely = match self.condition.kind() {
                ConditionKind::Seed => 1.0,
                _ => OTHER_SEEDS,
            };
            return wish.usual * wish.seeded * SEED_TELLS * likely;
        }
        let copies = match self.condition {
            Condition::Copies { count } => f64::from(count),
            _ => 1.0,
        };
        let usual = 1.0 - (1.0 - wish.usual.clamp(1e-4, 0.99)).powf(copies);
        // What goes along with others is counted with them where the first run decides.
        let (tally, rates) = match world {
            true => (self.seen, &DECIDED[..]),
            false => (self.alone, &RATES[..]),
        };
        let (runs, failed) = (f64::from(tally.runs), f64::from(tally.failed));
        let likelihood = |rate: f64| failed * rate.ln() + (runs - failed) * (1.0 - rate).ln();
        let matters = (LIKELY * self.weight).min(LIKELY_MAX);
        let nothing = (1.0 - matters).ln() + likelihood(usual);
        let each = (matters / rates.len() as f64).ln();
        let (mut sum, mut told) = (1.0, 0.0);
        for rate in rates.iter().filter(|rate| **rate > OTHER * usual) {
            let weight = (each + likelihood(*rate) - nothing).min(300.0).exp();
            sum += weight;
            told += weight * divergence(*rate, usual);
        }
        told / sum
    }
}

/// How much likelier results are under one rate than under another, in nats a run.
fn divergence(own: f64, other: f64) -> f64 {
    own * (own / other).ln() + (1.0 - own) * ((1.0 - own) / (1.0 - other)).ln()
}

#[cfg(test)]
mod tests {
    use cohort_model::{Condition, Usage};

    use super::{Wish, divergence};
    use crate::experiment::beliefs::Beliefs;
    use crate::experiment::evidence::Tally;

    const WISH: Wish = Wish {
        repeatable: true,
        usual: 0.01,
        seeded: 0.5,
        copied: false,
        slower_max: f64::INFINITY,
        start: true,
    };

    fn told(condition: Condition, weight: f64, alone: Tally) -> f64 {
        let mut beliefs = Beliefs::new(vec![(condition, weight)], &Usage::default(), 2.0);
        beliefs.all[0].alone = alone;
        beliefs.all[0].seen = alone;
        beliefs.all[0].tells(WISH)
    }

    #[test]
    fn a_race_is_not_dropped_after_a_few_runs_that_passed() {
        let tally = |runs, failed| Tally { runs, failed };
        let schedule = || Condition::Schedule { seed: u64::MAX };
        let at_first = told(schedule(), 0.2, tally(0, 0));
        let later = told(schedule(), 0.2, tally(15, 0));
        let late = told(schedule(), 0.2, tally(300, 3));
        assert!(
            at_first > later && later > 20.0 * late,
            "{at_first} {later} {late}"
        );
        let raised = told(schedule(), 0.2, tally(100, 8));
        assert!(raised > 0.05, "{raised}");
        let zone = Condition::TimeZone { name: "UTC".into() };
        let once = |runs| told(zone.clone(), 0.04, tally(runs, 0));
        assert!(once(3) < 0.1 * once(0), "the world decides at once");
    }

    #[test]
    fn copies_fail_more_often_by_chance() {
        let tally = |runs, failed| Tally { runs, failed };
        let chance = told(Condition::Copies { count: 8 }, 0.08, tally(100, 8));
        let more = told(Condition::Copies { count: 8 }, 0.08, tally(100, 30));
        assert!(chance < 0.01 && more > 0.1, "{chance} {more}");
    }

    #[test]
    fn equal_rates_tell_nothing() {
        assert!(divergence(0.1, 0.1).abs() < 1e-12);
        assert!(divergence(0.9, 0.01) > 3.0);
    }
}
