//! Which runs count for a comparison, how the two sides share its runs, and how long it goes on.
//!
//! Where one condition differs from plain runs, all runs of both count since that condition failed first: they were
//! run in the same time. Otherwise those count that were begun since the recipe was suspected, and some plain
//! ones before. After too many comparisons that led nowhere, nothing counts that was run before: on this host, it may be,
//! runs fail more often for a while, whatever is set, and what was run then is suspected next.

use cohort_model::Recipe;

use super::Experiment;
use super::claim::Without;
use super::evidence::Tally;
use super::prove::{Claimed, Open, Prove};
use super::recipes::copies;
use super::step::Trial;

/// Most recipes whose runs for a proof are remembered.
const PROOFS_MAX: usize = 32;
/// Plain runs since a condition failed first for all of both to count.
const SINCE_MIN: u32 = 8;
/// Most runs without what is claimed for each with it, by what they cost; and by how many copies run at once, too.
const RATIO_COST_MAX: f64 = 6.0;
const RATIO_MAX: f64 = 16.0;
/// Runs before a claim is given up: so many that this many failures are to be expected; at least, and at most.
const PATIENCE_FAILED: f64 = 5.0;
const PATIENCE_MIN: f64 = 8.0;
const PATIENCE_MAX: f64 = 150.0;

impl Experiment {
    /// A comparison goes on where an earlier one of the same recipes ended: what was begun for a proof
    /// counts for it.
    pub(super) fn continued(&self, plan: Recipe) -> Trial {
        let earlier = self.proofs.iter().find(|(known, _)| *known == plan);
        let tally = earlier.map(|(_, tally)| *tally).unwrap_or_default();
        Trial {
            tally,
            ..Trial::new(plan)
        }
    }

    /// The recipe without what is claimed. All plain runs there were count.
    fn without(&self, plan: Recipe) -> Without {
        if plan != self.plain {
            return Without::new(self.continued(plan));
        }
        let earlier = self.plain_log.iter().rev().copied().collect();
        Without::with_earlier(Trial::new(plan), earlier)
    }

    /// A comparison of `plan` with what differs from it in one claim each.
    pub(super) fn comparison(&self, plan: Recipe, claims: Vec<(Claimed, Recipe)>) -> Prove {
        let seen = self.book.of(&plan);
        let patience = PATIENCE_FAILED / seen.estimate();
        let cost = self.expected_s(&plan).max(1e-4);
        let costs = claims.iter().map(|(_, without)| self.expected_s(without));
        let least = costs.fold(cost, f64::min).max(1e-4);
        let fewer = |(_, without): &(Claimed, Recipe)| copies(&plan) / copies(without);
        let chances = claims.iter().map(fewer).fold(1.0, f64::max);
        let ratio = (cost / least).sqrt().clamp(1.0, RATIO_COST_MAX) * chances.sqrt();
        let misled = self.is_misled();
        let long = self.since_suspected(&plan).filter(|_| {
            let [(_, without)] = &claims[..] else {
                return false;
            };
            !misled && *without == self.plain
        });
        let claims = claims.into_iter().map(|(what, without)| Open {
            what,
            without: match long {
                Some((_, tally)) => Without::new(Trial {
                    tally,
                    ..Trial::new(without)
                }),
                None if misled => Without::new(Trial::new(without)),
                None => self.without(without),
            },
        });
        let claims = claims.collect();
        let mut with = match misled {
            true => Trial::new(plan),
            false => self.continued(plan),
        };
        let mut refuted = self.refuted;
        if let Some((tally, _)) = long {
            with.tally = tally;
            // All that failed once were suspected as well.
            let suspected = self
                .beliefs
                .all
                .iter()
                .filter(|one| one.suspected.is_some());
            refuted += suspected.count() as u32;
        }
        Prove {
            before: with.tally.runs,
            with,
            patience: patience.clamp(PATIENCE_MIN, PATIENCE_MAX) as u32,
            ratio: ratio.min(RATIO_MAX),
            refuted,
            claims,
            rivals: false,
            instead: None,
            single: None,
            company_first: false,
        }
    }

    /// Runs of a plan with one condition, and plain ones, since that one failed first, where there are enough of the
    /// latter: both were run in the same time.
    fn since_suspected(&self, plan: &Recipe) -> Option<(Tally, Tally)> {
        let [condition] = &plan.conditions[..] else {
            return None;
        };
        let place = *self
            .beliefs
            .places(std::slice::from_ref(condition))
            .first()?;
        let belief = &self.beliefs.all[place];
        let (own, plain) = belief.suspected?;
        let plain = self.book.of(&self.plain).minus(plain);
        (plain.runs >= SINCE_MIN).then(|| (belief.alone.minus(own), plain))
    }

    /// What was run of a plan since it was suspected counts for its proof.
    pub(super) fn counts_for_proof(&mut self, trial: &Trial) {
        let mut known = self.continued(trial.plan.clone());
        known.tally = known.tally.plus(trial.tally);
        self.keep_proof(&known);
    }

    /// Remembers what was run for a proof.
    pub(super) fn keep_proof(&mut self, trial: &Trial) {
        self.proofs.retain(|(plan, _)| *plan != trial.plan);
        self.proofs.push((trial.plan.clone(), trial.tally));
        if self.proofs.len() > PROOFS_MAX {
            self.proofs.remove(0);
        }
    }
}
