//! What so many failures in so many runs say, however often they were looked at meanwhile.
//!
//! Intervals rest on one martingale. For a coin that fails with probability `p`, the
//! probability of what was seen, averaged over a Jeffreys prior (Krichevsky and Trofimov 1981),
//! divided by its probability under `p`, is a non-negative martingale of mean 1. By Ville's inequality
//! it ever exceeds `1 / alpha` with probability at most `alpha`, so it may be looked at after every
//! run, and runs may be added for as long as one likes.
//!
//! - [`interval`]: all `p` that it does not contradict (Robbins 1970, method of mixtures; for
//!   the Bernoulli case see Howard, Ramdas, McAuliffe and Sekhon, *Time-uniform, nonparametric,
//!   nonasymptotic confidence sequences*, Annals of Statistics 2021).
//! - [`Scale`]: Wald's sequential probability ratio test (1945), for questions where a wrong
//!   answer costs runs but names nothing.

use cohort_model::Rate;

/// Runs, and how many of them failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Runs.
    pub(crate) runs: u32,
    /// Of those, with the case's symptom.
    pub(crate) failed: u32,
}

impl Tally {
    /// One more run.
    pub(crate) fn add(&mut self, failed: bool) {
        self.runs += 1;
        self.failed += u32::from(failed);
    }

    /// So many more runs that passed.
    pub(crate) fn add_passes(&mut self, runs: u32) {
        self.runs += runs;
    }

    /// What was added to `earlier` since.
    pub(crate) fn minus(self, earlier: Tally) -> Tally {
        Tally {
            runs: self.runs.saturating_sub(earlier.runs),
            failed: self.failed.saturating_sub(earlier.failed),
        }
    }

    /// As if each run had been so many.
    pub(crate) fn times(self, times: u32) -> Tally {
        Tally {
            runs: self.runs.saturating_mul(times),
            failed: self.failed.saturating_mul(times),
        }
    }

    /// Both together.
    pub(crate) fn plus(self, other: Tally) -> Tally {
        Tally {
            runs: self.runs + other.runs,
            failed: self.failed + other.failed,
        }
    }

    /// Share of failed runs, a little drawn to the middle: never 0 or 1.
    pub(crate) fn estimate(self) -> f64 {
        (f64::from(self.failed) + 0.5) / (f64::from(self.runs) + 1.0)
    }

    /// Share of failed runs; 0 without runs.
    pub(crate) fn share(self) -> f64 {
        f64::from(self.failed) / f64::from(self.runs.max(1))
    }

    /// Log of the probability of this order of results, averaged over the Jeffreys prior.
    fn mixture_ln(self) -> f64 {
        self.averaged_ln(0.5, 0.5)
    }

    /// Log of the probability of this order of results, averaged over rates of a beta distribution.
    pub(super) fn averaged_ln(self, a: f64, b: f64) -> f64 {
        let failed = f64::from(self.failed);
        let passed = f64::from(self.runs - self.failed);
        let beta_ln = |a: f64, b: f64| gamma_ln(a) + gamma_ln(b) - gamma_ln(a + b);
        beta_ln(failed + a, passed + b) - beta_ln(a, b)
    }

    /// Log of the probability of this order of results when each run fails with probability `p`.
    pub(super) fn under_ln(self, p: f64) -> f64 {
        let part = |count: u32, probability: f64| {
            if count == 0 {
                0.0
            } else {
                f64::from(count) * probability.ln()
            }
        };
        part(self.failed, p) + part(self.runs - self.failed, 1.0 - p)
    }

    /// With the interval that is wrong with probability at most 0.05, ever.
    pub(crate) fn rate(self) -> Rate {
        let (low, high) = interval(self, 0.05);
        Rate {
            runs: self.runs,
            failed: self.failed,
            low,
            high,
        }
    }
}

/// Log of the gamma function for `x` above 0 (Stirling's series from 8 on, recurrence below).
fn gamma_ln(mut x: f64) -> f64 {
    let mut shift = 0.0;
    while x < 8.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let series = (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / (1260.0 * x * x)) / (x * x)) / x;
    shift + (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series
}

/// Lower and upper end of the failure rate, 0 to 1. The probability that the true rate is ever, after
/// any number of runs, outside is at most `alpha`.
pub(crate) fn interval(tally: Tally, alpha: f64) -> (f64, f64) {
    let least = tally.mixture_ln() + alpha.ln();
    let inside = |p: f64| tally.under_ln(p) >= least;
    let best = tally.share();
    let search = |mut outside: f64, mut within: f64| {
        for _ in 0..50 {
            let middle = f64::midpoint(outside, within);
            if inside(middle) {
                within = middle;
            } else {
                outside = middle;
            }
        }
        within
    };
    let low = if tally.failed == 0 {
        0.0
    } else {
        search(0.0, best)
    };
    let high = if tally.failed == tally.runs {
        1.0
    } else {
        search(1.0, best)
    };
    (low, high)
}

/// Weighs whether a recipe fails at least at rate `high` or at most at rate `low`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    /// At this rate it counts as passing.
    pub(crate) low: f64,
    /// At this rate it counts as failing.
    pub(crate) high: f64,
    /// Odds at which it is settled.
    pub(crate) odds: f64,
    /// After so many runs the nearer rate is taken.
    pub(crate) runs_max: u32,
}

impl Scale {
    /// Between what is nearly `without` and most of `with`.
    pub(crate) fn between(without: f64, with: f64, odds: f64, runs_max: u32) -> Self {
        let with = with.clamp(0.04, 0.98);
        let without = without.clamp(0.002, 0.7 * with);
        let span = with - without;
        Self {
            low: (without + 0.12 * span).clamp(0.005, 0.9),
            high: (without + 0.66 * span).clamp(0.02, 0.95),
            odds,
            runs_max,
        }
    }

    /// Steps of one failed and of one passed run.
    fn steps(self) -> (f64, f64) {
        (
            (self.high / self.low).ln(),
            ((1.0 - self.high) / (1.0 - self.low)).ln(),
        )
    }

    fn weight(self, tally: Tally) -> f64 {
        let (failed, passed) = self.steps();
        f64::from(tally.failed) * failed + f64::from(tally.runs - tally.failed) * passed
    }

    /// Whether it fails; none: more runs are needed.
    pub(crate) fn reading(self, tally: Tally) -> Option<bool> {
        let weight = self.weight(tally);
        if weight >= self.odds.ln() {
            Some(true)
        } else if weight <= -self.odds.ln() {
            Some(false)
        } else if tally.runs >= self.runs_max {
            Some(weight > 0.0)
        } else {
            None
        }
    }

    /// How many more runs are needed at least, if all of them went the same way.
    pub(crate) fn least_left(self, tally: Tally) -> u32 {
        if self.reading(tally).is_some() {
            return 0;
        }
        let (failed, passed) = self.steps();
        let weight = self.weight(tally);
        let up = ((self.odds.ln() - weight) / failed).ceil();
        let down = ((-self.odds.ln() - weight) / passed).ceil();
        let left = up.min(down).max(1.0) as u32;
        left.min(self.runs_max.saturating_sub(tally.runs)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::{Scale, Tally, gamma_ln, interval};
    use crate::experiment::chance::Chance;

    fn tally(failed: u32, runs: u32) -> Tally {
        Tally { runs, failed }
    }

    #[test]
    fn the_gamma_function_is_that_of_the_tables() {
        for (x, value) in [
            (0.5, 0.572_364_942_9),
            (1.0, 0.0),
            (5.0, 3.178_053_830_3),
            (30.5, 72.953_471),
        ] {
            let got = gamma_ln(x);
            assert!((got - value).abs() < 1e-3 * (1.0 + value), "{x}: {got}");
        }
    }

    #[test]
    fn an_interval_holds_the_truth_however_often_it_is_looked_at() {
        let mut chance = Chance::new(5, 0);
        for p in [0.01, 0.2, 0.9] {
            let missed = (0..150)
                .filter(|_| {
                    let mut seen = Tally::default();
                    (0..100).any(|_| {
                        seen.add(chance.happens(p));
                        let (low, high) = interval(seen, 0.05);
                        p < low || p > high
                    })
                })
                .count();
            assert!(missed <= 7, "{missed} of 150 left the interval of {p}");
        }
    }

    #[test]
    fn an_interval_of_no_failures_shrinks_and_starts_at_zero() {
        let (low, high) = interval(tally(0, 100), 0.05);
        assert!(low == 0.0 && high > 0.03 && high < 0.08, "{low} {high}");
        assert_eq!(interval(Tally::default(), 0.05), (0.0, 1.0));
        let (low, high) = interval(tally(10, 10), 0.05);
        assert!(low > 0.5 && (high - 1.0).abs() < 1e-9, "{low} {high}");
    }

    #[test]
    fn a_scale_settles_and_says_how_far_it_is() {
        let scale = Scale::between(0.01, 0.8, 12.0, 20);
        assert_eq!(scale.reading(tally(2, 2)), Some(true));
        assert_eq!(scale.reading(tally(0, 8)), Some(false));
        assert_eq!(scale.reading(tally(0, 1)), None);
        assert!(scale.least_left(tally(0, 1)) >= 1);
        assert!(scale.reading(tally(3, 20)).is_some());
    }
}
