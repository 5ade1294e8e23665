//! Whether one recipe fails more often than another: evidence as an e-value.
//!
//! An e-value is at least 0 and, where there is no difference, 1 on the average; so it reaches `1 / alpha` with a
//! probability of at most `alpha` (Markov), and as it is a product over runs, ever (Ville).
//!
//! - One run against one run: for each pair of rates `(a, b)` that there might be, the probability of what was
//!   seen under them, divided by that under their mean, weighed by the runs of each side (Turner, Ly and
//!   Gruenwald, *Generic e-variables for exact sequential k-sample tests that allow for optional stopping*, 2021);
//!   averaged over a table of pairs. It is exact for runs in blocks of a size that was fixed before; that it holds as
//!   well when sides take turns by cost and batches end with a failure is seen in the test.
//! - Several copies against one run: what failed more often by chance alone is no equal rate, so the
//!   probability of what was seen is averaged over beta distributions and divided by the highest that any common rate
//!   gives it (Wasserman, Ramdas and Balakrishnan, *Universal inference*, PNAS 2020).

use super::evidence::Tally;

/// Rates of the one that fails more often.
const RATES: [f64; 7] = [0.02, 0.1, 0.25, 0.5, 0.75, 0.93, 0.995];
/// So many times as often as the other.
const TIMES: [f64; 4] = [2.0, 4.0, 10.0, 40.0];

/// Beta distributions of the rates of both, and their weights: nothing is known; a control that fails seldom; one
/// that fails hardly ever against what fails nearly always; both fail seldom.
const AVERAGED: [((f64, f64), (f64, f64), f64); 4] = [
    ((0.5, 0.5), (0.5, 0.5), 0.2),
    ((0.5, 0.5), (0.12, 2.0), 0.3),
    ((2.0, 0.15), (0.1, 3.0), 0.25),
    ((0.3, 2.0), (0.12, 3.0), 0.25),
];

/// Evidence that `with` fails more often than `without`, as an e-value: when it does not, the
/// probability that this ever exceeds `1 / alpha` is at most `alpha`. Below 1 it speaks against it.
///
/// `copies` is how many independent chances to fail one run of `with` has for each of `without`: more
/// copies fail more often without being a cause, so they are compared with `1 - (1 - p)^copies`.
pub(crate) fn contrast(with: Tally, without: Tally, copies: f64) -> f64 {
    if copies > 1.0 {
        of_copies(with, without, copies)
    } else {
        paired(with, without)
    }
}

/// One run against one run.
fn paired(with: Tally, without: Tally) -> f64 {
    let (runs, others) = (f64::from(with.runs), f64::from(without.runs));
    if with.runs == 0 || without.runs == 0 {
        return 1.0;
    }
    let mut sum = 0.0;
    for high in RATES {
        for times in TIMES {
            let low = high / times;
            let mean = (runs * high + others * low) / (runs + others);
            let seen = with.under_ln(high) + without.under_ln(low);
            sum += (seen - with.under_ln(mean) - without.under_ln(mean)).exp();
        }
    }
    sum / (RATES.len() * TIMES.len()) as f64
}

fn of_copies(with: Tally, without: Tally, copies: f64) -> f64 {
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
    let best = equal.max(own);
    let parts = AVERAGED.iter().map(|((a, b), (c, d), weight)| {
        let seen = with.averaged_ln(*a, *b) + without.averaged_ln(*c, *d);
        weight * (seen - best).exp()
    });
    parts.sum()
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

#[cfg(test)]
mod tests {
    use super::contrast;
    use crate::experiment::chance::Chance;
    use crate::experiment::evidence::Tally;

    fn tally(failed: u32, runs: u32) -> Tally {
        Tally { runs, failed }
    }

    /// One batch: until it fails.
    fn batch(chance: &mut Chance, tally: &mut Tally, p: f64, runs: u32) {
        for _ in 0..runs {
            let failed = chance.happens(p);
            tally.add(failed);
            if failed {
                return;
            }
        }
    }

    #[test]
    fn equal_recipes_are_told_apart_at_most_as_often_as_is_allowed() {
        let mut chance = Chance::new(9, 0);
        let cases = [
            (0.02, 1.0, 1),
            (0.5, 1.0, 1),
            (0.02, 8.0, 1),
            (0.05, 1.0, 6),
        ];
        for (p, copies, runs) in cases {
            let wrong = (0..400)
                .filter(|_| {
                    let (mut with, mut without) = (Tally::default(), Tally::default());
                    let each = 1.0 - (1.0_f64 - p).powf(copies);
                    (0..60).any(|_| {
                        // Adaptive on purpose: the one that failed last runs again.
                        if with.failed % 2 == 1 {
                            batch(&mut chance, &mut without, p, runs);
                        }
                        batch(&mut chance, &mut with, each, runs);
                        contrast(with, without, copies) > 20.0
                    })
                })
                .count();
            assert!(wrong <= 20, "{wrong} of 400 at {p} with {copies}");
        }
    }

    #[test]
    fn a_clear_contrast_needs_few_runs() {
        assert!(contrast(tally(5, 5), tally(0, 5), 1.0) > 100.0);
        assert!(contrast(tally(4, 4), tally(0, 4), 1.0) > 40.0);
        assert!(contrast(tally(0, 6), tally(6, 6), 1.0) < 1.0);
        assert!(contrast(tally(4, 40), tally(0, 40), 8.0) < 2.0);
        assert!((contrast(Tally::default(), tally(0, 40), 1.0) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_rate_of_a_tenth_is_told_from_one_in_a_hundred() {
        assert!(contrast(tally(10, 100), tally(3, 300), 1.0) > 100.0);
        assert!(contrast(tally(24, 600), tally(20, 2_000), 1.0) > 100.0);
        assert!(contrast(tally(20, 500), tally(20, 500), 1.0) < 0.5);
    }
}
