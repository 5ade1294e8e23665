//! Does a list still fail as the full one does? A sequential probability ratio test.
//!
//! A. Wald, "Sequential Tests of Statistical Hypotheses", Ann. Math. Statist. 16 (1945): after each run the
//! logarithm of the likelihood ratio grows by `ln(p1/p0)` when it failed and by `ln((1-p1)/(1-p0))` when it
//! passed; at `ln((1-b)/a)` the rate is taken to be `p1`, at `ln(b/(1-a))` to be `p0`. `p1` is the rate at which
//! what is known to fail does so, `p0` that at which it fails for other reasons: at first nearly none,
//! so that one failure tells; once such failures were noticed, their rate.

/// Of taking a list that does not fail any more for one that does.
const FALSE_FAIL: f64 = 0.05;
/// Of taking a list that still fails for one that does not, while searching: such an error costs runs and
/// is found by the check.
const SEARCH_ERROR: f64 = 0.05;
/// The same where it is said that an item matters.
pub const STRICT_ERROR: f64 = 0.005;
/// The rate for other reasons that is assumed before any is known, as a share of the known rate.
const OTHER_REASONS: f64 = 0.02;
/// A list fails *comparably* often when its rate is nearer to the full list's than to this share of it.
const COMPARABLE: f64 = 0.25;
/// Nothing is taken to fail always: the tests would believe it at the first run that passes.
const RATE_MAX: f64 = 0.99;
/// A conclusion that it passes is in doubt, once the rates are known better, when less than this share of
/// the evidence for it is left.
const DOUBT: f64 = 0.6;
/// A test that has taken so many times the runs in which passing alone decides is ended as it stands.
const TRUNCATE: u32 = 4;

/// Runs, and those that failed with the same symptom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Runs.
    pub runs: u32,
    /// Of those, failed.
    pub failed: u32,
}

impl Count {
    /// One more run.
    pub fn add(&mut self, failed: bool) {
        self.runs += 1;
        self.failed += u32::from(failed);
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Count) -> Count {
        Count {
            runs: self.runs + other.runs,
            failed: self.failed + other.failed,
        }
    }

    /// Failures per run, 0 to 1, with half a failure in one run assumed beforehand (Jeffreys).
    #[must_use]
    pub fn rate(self) -> f64 {
        (f64::from(self.failed) + 0.5) / (f64::from(self.runs) + 1.0)
    }

    /// What the rate may safely be taken for, from few runs: `rate` less one standard error, and at least half
    /// of it. What never passed in `n` runs always fails with probability `(n+1)/(n+2)`, when it does so
    /// beforehand in half of the cases and has any other rate in the rest: the next run passes with
    /// probability `1/(n+2)^2`.
    fn safe_rate(self) -> f64 {
        let runs = f64::from(self.runs) + 2.0;
        if self.failed == self.runs {
            return (1.0 - 1.0 / (runs * runs)).min(RATE_MAX);
        }
        let rate = self.rate();
        let error = (rate * (1.0 - rate) / runs).sqrt();
        (rate - error).max(rate / 2.0).min(RATE_MAX)
    }
}

/// What a test concluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It still fails.
    Fails,
    /// It does not, or far less.
    Passes,
}

/// How sure a verdict has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// A step of the search.
    Search,
    /// A claim in the result.
    Strict,
}

/// Two rates, and the test between them.
#[derive(Clone, Copy, Debug)]
pub struct Judge {
    /// The rate of what fails.
    high: f64,
    /// The rate of what fails for other reasons.
    low: f64,
}

impl Judge {
    /// Tells what fails as `known` does from what fails at the rate `background` (0 to 1), or, when that is
    /// nearly nothing, from what hardly fails at all.
    #[must_use]
    pub fn still_fails(known: Count, background: f64) -> Judge {
        let high = known.safe_rate();
        let low = background.clamp(high * OTHER_REASONS, high / 2.0);
        Judge { high, low }
    }

    /// Tells what fails as often as `known` from what does so far less often.
    #[must_use]
    pub fn comparable(known: Count) -> Judge {
        let high = known.safe_rate();
        Judge {
            high,
            low: high * COMPARABLE,
        }
    }

    /// The rate of what fails, as it is assumed here.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.high
    }

    fn on_fail(&self) -> f64 {
        (self.high / self.low).ln()
    }

    fn on_pass(&self) -> f64 {
        ((1.0 - self.high) / (1.0 - self.low)).ln()
    }

    fn ratio(&self, count: Count) -> f64 {
        let passed = count.runs - count.failed;
        f64::from(count.failed) * self.on_fail() + f64::from(passed) * self.on_pass()
    }

    fn bounds(care: Care) -> (f64, f64) {
        let miss = match care {
            Care::Search => SEARCH_ERROR,
            Care::Strict => STRICT_ERROR,
        };
        let lower = (miss / (1.0 - FALSE_FAIL)).ln();
        let upper = ((1.0 - miss) / FALSE_FAIL).ln();
        (lower, upper)
    }

    /// What these runs say; none while they do not say enough.
    pub(super) fn verdict(&self, count: Count, care: Care) -> Option<Verdict> {
        let (lower, upper) = Judge::bounds(care);
        let ratio = self.ratio(count);
        if ratio >= upper {
            return Some(Verdict::Fails);
        }
        if ratio <= lower {
            return Some(Verdict::Passes);
        }
        let enough = TRUNCATE * self.passes_needed(Count::default(), care);
        (count.runs >= enough).then_some(if ratio > 0.0 {
            Verdict::Fails
        } else {
            Verdict::Passes
        })
    }

    /// These runs, from which it was concluded once that it passes, do not tell that any more.
    pub(super) fn doubts(&self, count: Count) -> bool {
        let (lower, _) = Judge::bounds(Care::Search);
        self.ratio(count) > DOUBT * lower
    }

    /// After so many more runs that all pass it is decided; at least one.
    pub(super) fn passes_needed(&self, count: Count, care: Care) -> u32 {
        let (lower, _) = Judge::bounds(care);
        whole((self.ratio(count) - lower) / -self.on_pass())
    }

    /// After so many more runs that all fail it is decided; at least one.
    pub(super) fn fails_needed(&self, count: Count, care: Care) -> u32 {
        let (_, upper) = Judge::bounds(care);
        whole((upper - self.ratio(count)) / self.on_fail())
    }
}

/// Rounded up, from 1; what is not a number is 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to what fits"
)]
fn whole(value: f64) -> u32 {
    value.ceil().clamp(1.0, 1e6) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(failed: u32, runs: u32) -> Count {
        Count { runs, failed }
    }

    #[test]
    fn one_run_decides_what_always_fails() {
        let judge = Judge::still_fails(count(20, 20), 0.0);
        assert_eq!(
            judge.verdict(count(1, 1), Care::Search),
            Some(Verdict::Fails)
        );
        assert_eq!(
            judge.verdict(count(0, 1), Care::Search),
            Some(Verdict::Passes)
        );
    }

    #[test]
    fn a_rare_failure_takes_as_many_passes_as_it_must() {
        let judge = Judge::still_fails(count(50, 1000), 0.0);
        let needed = judge.passes_needed(Count::default(), Care::Search);
        // (1 - 0.05)^58 is about 0.05.
        assert!((55..85).contains(&needed), "{needed}");
        assert_eq!(judge.verdict(count(0, needed - 1), Care::Search), None);
        assert_eq!(
            judge.verdict(count(0, needed), Care::Search),
            Some(Verdict::Passes)
        );
        assert_eq!(
            judge.verdict(count(1, 5), Care::Search),
            Some(Verdict::Fails)
        );
    }

    #[test]
    fn where_it_fails_for_other_reasons_too_one_failure_does_not_tell() {
        let judge = Judge::still_fails(count(50, 100), 0.1);
        assert_eq!(judge.verdict(count(1, 1), Care::Search), None);
        assert_eq!(
            judge.verdict(count(4, 6), Care::Search),
            Some(Verdict::Fails)
        );
        assert_eq!(
            judge.verdict(count(1, 12), Care::Search),
            Some(Verdict::Passes)
        );
    }

    #[test]
    fn every_test_ends() {
        for known in [count(1, 20), count(50, 100), count(3, 3), count(1, 1000)] {
            let judge = Judge::comparable(known);
            let mut seen = Count::default();
            let between = (judge.high * judge.low).sqrt();
            let mut owed = 0.0;
            while judge.verdict(seen, Care::Strict).is_none() {
                owed += between;
                let failed = owed >= 1.0;
                owed -= f64::from(u8::from(failed));
                seen.add(failed);
                assert!(seen.runs < 40_000, "{known:?} {seen:?}");
            }
        }
    }
}
