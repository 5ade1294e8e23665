//! One thing that is said to matter: with it and without it, all else held.
//!
//! What was run *with* it counts from its first failure on, since that is what made it suspect. Of runs *without* it those
//! before count, too, the latest first, one for each that was begun since: a host that was quiet
//! then may be busy now.

use super::contrast::contrast;
use super::evidence::Tally;
use super::step::Trial;

/// Evidence at which a condition is named: the probability that one that does not matter reaches it, at any
/// time, is at most its inverse ...
const PROOF: f64 = 40.0;
/// ... and so much more with each comparison of the case that led nowhere, as a part of that: who asks long enough is
/// told something.
const PROOF_MORE: f64 = 0.2;
/// Below this it is given up.
const NONE: f64 = 0.02;
/// If all went on as it went so far, so many times as many runs as there were have to be enough.
const HOPE: u32 = 4;
/// Earlier runs without it that count for each one begun since.
const EARLIER: u32 = 1;
/// What decides fails in so many of these runs at least.
const DECIDES: (u32, f64) = (6, 0.65);
/// Runs of either side that are begun for the comparison at least.
pub(super) const BEGUN_MIN: u32 = 2;

/// The recipe without what is claimed.
#[derive(Clone, Debug)]
pub(super) struct Without {
    /// Runs for the comparison.
    pub(super) trial: Trial,
    /// Results of earlier runs, the latest first: it failed.
    earlier: Vec<bool>,
}

/// What is known of the recipe with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct With {
    /// All that counts.
    pub(super) tally: Tally,
    /// Begun for the comparison, and ended.
    pub(super) since: u32,
    /// So many runs are made before it is given up.
    pub(super) patience: u32,
    /// What it sets decides: it fails nearly always, or it is not why.
    pub(super) decides: bool,
    /// Comparisons that led nowhere before.
    pub(super) refuted: u32,
    /// Chances to fail that one run has for each of a run without it.
    pub(super) copies: f64,
}

impl Without {
    /// Only runs for the comparison count.
    pub(super) fn new(trial: Trial) -> Self {
        Self {
            trial,
            earlier: Vec::new(),
        }
    }

    /// Runs before count, too.
    pub(super) fn with_earlier(trial: Trial, earlier: Vec<bool>) -> Self {
        Self { trial, earlier }
    }

    /// So many of the earlier runs count beside that many begun since.
    fn counted(&self, since: u32) -> usize {
        self.earlier.len().min((EARLIER * since) as usize)
    }

    /// All that counts.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = self.trial.tally;
        for failed in &self.earlier[..self.counted(tally.runs)] {
            tally.add(*failed);
        }
        tally
    }

    /// Runs that count, those under way included.
    pub(super) fn begun(&self) -> u32 {
        let begun = self.trial.begun();
        begun + self.counted(begun) as u32
    }

    /// Whether it is shown that the claim holds; none: not decided yet.
    pub(super) fn reading(&self, with: With) -> Option<bool> {
        let without = self.tally();
        let short = with.since < BEGUN_MIN || self.trial.tally.runs < BEGUN_MIN;
        let (runs, share) = DECIDES;
        if with.decides && with.tally.runs >= runs && with.tally.share() < share {
            return Some(false);
        }
        if self.strength(with, 1) >= 1.0 {
            return (!short).then_some(true);
        }
        let evidence = contrast(with.tally, without, with.copies);
        let enough = with.tally.runs >= with.patience && without.runs >= with.patience;
        let hopeless = enough && self.strength(with, HOPE) < 1.0;
        let contrary = evidence < NONE && with.tally.runs.min(without.runs) >= with.patience.min(8);
        (hopeless || contrary).then_some(false)
    }

    /// Evidence as a multiple of what is needed, if all that was seen were seen so many times.
    fn strength(&self, with: With, times: u32) -> f64 {
        let needed = PROOF * (1.0 + PROOF_MORE * f64::from(with.refuted));
        contrast(
            with.tally.times(times),
            self.tally().times(times),
            with.copies,
        ) / needed
    }
}

#[cfg(test)]
mod tests {
    use super::{With, Without};
    use crate::experiment::evidence::Tally;
    use crate::experiment::step::Trial;
    use cohort_model::Recipe;

    fn tally(failed: u32, runs: u32) -> Tally {
        Tally { runs, failed }
    }

    fn with(tally: Tally, since: u32) -> With {
        With {
            tally,
            since,
            patience: 10,
            decides: false,
            refuted: 0,
            copies: 1.0,
        }
    }

    fn without(seen: Tally, earlier: usize) -> Without {
        let trial = Trial {
            tally: seen,
            ..Trial::new(Recipe::default())
        };
        Without::with_earlier(trial, vec![false; earlier])
    }

    #[test]
    fn repeats_and_earlier_controls_count_but_some_are_begun_for_it() {
        let seen = with(tally(4, 4), 0);
        assert_eq!(without(tally(0, 3), 30).reading(seen), None);
        let seen = with(tally(4, 4), 2);
        assert_eq!(without(tally(0, 2), 30).reading(seen), Some(true));
        assert_eq!(without(tally(0, 2), 0).reading(seen), None);
        assert_eq!(without(tally(0, 2), 30).tally(), tally(0, 4));
    }

    #[test]
    fn a_seed_that_fails_half_of_the_time_is_not_why() {
        let half = With {
            decides: true,
            ..with(tally(8, 16), 10)
        };
        assert_eq!(without(tally(0, 16), 0).reading(half), Some(false));
        let sure = With {
            tally: tally(15, 16),
            ..half
        };
        assert_eq!(without(tally(0, 16), 0).reading(sure), Some(true));
    }

    #[test]
    fn what_leads_nowhere_is_given_up() {
        let seen = with(tally(1, 12), 12);
        assert_eq!(without(tally(1, 12), 0).reading(seen), Some(false));
        let seen = with(tally(4, 12), 12);
        assert_eq!(without(tally(0, 12), 0).reading(seen), None, "it may");
    }
}
