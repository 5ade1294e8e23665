//! Failure bursts, over all instances: more failures in the last seconds than the campaign's own
//! rate of failing makes likely. In buckets of time, so every call is O(1).

use cohort_model::At;

use crate::findings::{Judgement, confidence_of_chance, measured};
use crate::statistics::poisson_tail;

/// Buckets of the recent past.
const BUCKETS: usize = 10;
/// Fewer failures are no burst.
const FAILURES_MIN: f64 = 5.0;
/// Probability by chance: below it a burst begins, above it it ended.
const CHANCE: (f64, f64) = (1e-4, 1e-2);
/// What the campaign is taken to have seen before it began: failures, ends.
const PRIOR: (f64, f64) = (0.5, 10.0);

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    number: u64,
    ended: f64,
    failed: f64,
}

/// Ends and failures of the recent past, and of all before.
#[derive(Clone, Debug)]
pub(crate) struct Failures {
    bucket_us: u64,
    recent: [Bucket; BUCKETS],
    before_ended: f64,
    before_failed: f64,
}

impl Failures {
    /// `window_us`: how long the recent past is.
    pub(crate) fn new(window_us: u64) -> Failures {
        Failures {
            bucket_us: (window_us / BUCKETS as u64).max(1),
            recent: [Bucket::default(); BUCKETS],
            before_ended: 0.0,
            before_failed: 0.0,
        }
    }

    pub(crate) fn ended(&mut self, at: At, failed: bool) {
        let number = at.0 / self.bucket_us;
        let bucket = &mut self.recent[(number % BUCKETS as u64) as usize];
        if bucket.number < number {
            self.before_ended += bucket.ended;
            self.before_failed += bucket.failed;
            *bucket = Bucket {
                number,
                ..Bucket::default()
            };
        }
        bucket.ended += 1.0;
        bucket.failed += f64::from(u8::from(failed));
    }

    pub(crate) fn judge(&self, at: At) -> Judgement {
        let oldest = (at.0 / self.bucket_us).saturating_sub(BUCKETS as u64 - 1);
        let (mut ended, mut failed) = (0.0, 0.0);
        let (mut before_ended, mut before_failed) = (self.before_ended, self.before_failed);
        for bucket in &self.recent {
            if bucket.number >= oldest {
                ended += bucket.ended;
                failed += bucket.failed;
            } else {
                before_ended += bucket.ended;
                before_failed += bucket.failed;
            }
        }
        let rate = (before_failed + PRIOR.0) / (before_ended + PRIOR.1);
        let chance = poisson_tail(rate * ended, failed);
        if failed >= FAILURES_MIN && chance < CHANCE.0 {
            return Judgement::Begins(
                confidence_of_chance(chance),
                vec![
                    measured("failures", failed, "tests"),
                    measured("of", ended, "tests"),
                    measured("expected failures", rate * ended, "tests"),
                    measured("by chance", chance, "probability"),
                ],
            );
        }
        if chance > CHANCE.1 {
            Judgement::Ends
        } else {
            Judgement::Stays
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(ends: impl Iterator<Item = (u64, bool)>) -> (Judgement, Failures) {
        let mut failures = Failures::new(5_000_000);
        let mut last = At(0);
        for (ms, failed) in ends {
            last = At(ms * 1000);
            failures.ended(last, failed);
        }
        (failures.judge(last), failures)
    }

    #[test]
    fn a_row_of_failures_after_passes_is_a_burst_and_passes() {
        let (judgement, failures) = after((0..220).map(|n| (n * 100, n >= 212)));
        assert!(matches!(judgement, Judgement::Begins(..)), "{judgement:?}");
        assert_eq!(failures.judge(At(60_000_000)), Judgement::Ends);
    }

    #[test]
    fn a_campaign_that_always_fails_this_often_has_no_burst() {
        let (judgement, _) = after((0..1000).map(|n| (n * 100, n % 3 == 0)));
        assert_eq!(judgement, Judgement::Ends);
    }

    #[test]
    fn a_few_failures_are_none() {
        let (judgement, _) = after((0..4).map(|n| (n * 100, true)));
        assert!(!matches!(judgement, Judgement::Begins(..)), "{judgement:?}");
    }
}
