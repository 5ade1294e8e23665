//! What so many failures in so many runs say, however often they were looked at meanwhile.
//!
//! Everything here rests on one martingale. For a coin that fails with probability `p`, the
//! probability of what was seen, averaged over a Jeffreys prior (Krichevsky and Trofimov 1981),
//! divided by its probability under `p`, is a non-negative martingale of mean 1. By Ville's inequality
//! it ever exceeds `1 / alpha` with probability at most `alpha`, so it may be looked at after every
//! run, and runs may be added for as long as one likes.
//!
//! - [`interval`]: all `p` that it does not contradict (Robbins 1970, method of mixtures; for
//!   the Bernoulli case see Howard, Ramdas, McAuliffe and Sekhon, *Time-uniform, nonparametric,
//!   nonasymptotic confidence sequences*, Annals of Statistics 2021).
//! - [`contrast`]: the product of the martingales of two recipes, least over all common `p` (as in
//!   Wasserman, Ramdas and Balakrishnan, *Universal inference*, PNAS 2020). It stays valid whichever
//!   of the two is run next, and for whatever reason.
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
        let half = 0.5_f64;
        let failed = f64::from(self.failed);
        let passed = f64::from(self.runs - self.failed);
        gamma_ln(failed + half) + gamma_ln(passed + half)
            - gamma_ln(failed + passed + 1.0)
            - std::f64::consts::PI.ln()
    }

    /// Log of the probability of this order of results when each run fails with probability `p`.
    fn under_ln(self, p: f64) -> f64 {
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

/// Evidence that `with` fails more often than `without`, as an e-value: when it does not, the
/// probability that this ever exceeds `1 / alpha` is at most `alpha`. Below 1 it speaks against it.
///
/// `copies` is how many independent chances to fail one run of `with` has for each of `without`: more
/// copies fail more often without being a cause, so they are compared with `1 - (1 - p)^copies`.
pub(crate) fn contrast(with: Tally, without: Tally, copies: f64) -> f64 {
    let seen = with.mixture_ln() + without.mixture_ln();
    let null = |logit: f64| {
        let p = 1.0 / (1.0 + (-logit).exp());
        with.under_ln(1.0 - (1.0 - p).powf(copies)) + without.under_ln(p)
    };
    // Under "not more often", the likelihood is highest where both are equal, or, when `with` failed
    // less often than that, at their own shares.
    let equal = highest(null);
    let expected = 1.0 - (1.0 - without.share()).powf(copies);
    let own = if with.share() <= expected {
        with.under_ln(with.share()) + without.under_ln(without.share())
    } else {
        f64::NEG_INFINITY
    };
    (seen - equal.max(own)).exp()
}

/// The highest value of a function of the log-odds with one peak: ternary search from -16 to 16.
fn highest(of: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (-16.0, 16.0);
    for _ in 0..80 {
        let third = (high - low) / 3.0;
        if of(low + third) < of(high - third) {
            low += third;
        } else {
            high -= third;
        }
    }
    of(f64::midpoint(low, high))
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
    use super::{Scale, Tally, contrast, gamma_ln, interval};
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
    fn equal_recipes_are_told_apart_at_most_as_often_as_is_allowed() {
        let mut chance = Chance::new(9, 0);
        for (p, copies) in [(0.02, 1.0), (0.5, 1.0), (0.02, 8.0)] {
            let wrong = (0..160)
                .filter(|_| {
                    let (mut with, mut without) = (Tally::default(), Tally::default());
                    let each = 1.0 - (1.0_f64 - p).powf(copies);
                    (0..60).any(|_| {
                        // Adaptive on purpose: the one that failed last runs again.
                        if with.failed % 2 == 0 {
                            with.add(chance.happens(each));
                        } else {
                            without.add(chance.happens(p));
                            with.add(chance.happens(each));
                        }
                        contrast(with, without, copies) > 20.0
                    })
                })
                .count();
            assert!(wrong <= 8, "{wrong} of 160 at {p} with {copies}");
        }
    }

    #[test]
    fn a_clear_contrast_needs_few_runs() {
        assert!(contrast(tally(6, 6), tally(0, 6), 1.0) > 100.0);
        assert!(contrast(tally(0, 6), tally(6, 6), 1.0) < 1.0);
        assert!(contrast(tally(4, 40), tally(0, 40), 8.0) < 2.0);
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
