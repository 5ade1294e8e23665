//! What is left when the causes are known: from which degree on, and with which parts.

use cohort_model::{CasePart, Recipe};

use super::Experiment;
use super::degree::Degree;
use super::evidence::Tally;
use super::prove::{Claimed, Proved};
use super::step::Step;
use crate::minimize::{Candidate, Count, Minimizer};

/// Most runs of one search for parts that can be left out.
const LESS_RUNS: u32 = 220;
/// Share of failures from which on degrees are bisected: below, each degree takes too many runs.
const DEGREE_SHARE: f64 = 0.25;

/// Which of the items of a recipe are needed.
#[derive(Clone, Debug)]
pub(super) struct Less<T> {
    /// The whole.
    pub(super) plan: Recipe,
    /// How the whole ended so far.
    pub(super) known: Tally,
    /// What decides it.
    pub(super) search: Minimizer<T>,
    /// Lists under way or ended: what the place of a run stands for.
    pub(super) asked: Vec<Candidate<T>>,
}

impl<T: Clone + Eq> Less<T> {
    pub(super) fn ended(&mut self, place: usize, failed: Option<bool>) {
        let candidate = self.asked[place].clone();
        match failed {
            Some(failed) => self.search.ended(&candidate, failed),
            None => self.search.withdrawn(&candidate),
        }
    }
}

impl Experiment {
    /// Names what was proved, and looks for the degree from which on it holds.
    pub(super) fn measure(&mut self, proved: Proved) -> Step {
        self.name(&proved, None);
        self.keep_smallest(&proved.with.plan, proved.with.tally);
        let share = proved.with.tally.share();
        for (place, claim) in proved.claims.iter().enumerate() {
            let Claimed::Condition(condition) = &claim.what else {
                continue;
            };
            let without = claim.without.tally;
            if share - without.share() < DEGREE_SHARE {
                continue;
            }
            let host = (self.host.0, self.usage.memory_peak);
            let condition = condition.clone();
            if let Some(degree) = Degree::new(proved.clone(), place, &condition, without, host)
                && !degree.is_done()
            {
                return Step::Degree(degree);
            }
        }
        self.fewer_parts(proved.with.plan, proved.with.tally)
    }

    pub(super) fn follow_degree(&mut self, degree: &Degree) -> Step {
        let threshold = (degree.passes, degree.fails);
        self.name(&degree.proved, Some((degree.claim, threshold)));
        let proved = &degree.proved;
        self.fewer_parts(proved.with.plan.clone(), proved.with.tally)
    }

    /// Which parts of a recipe are needed.
    pub(super) fn fewer_parts(&mut self, plan: Recipe, tally: Tally) -> Step {
        if plan.parts.is_empty() || tally.failed == 0 {
            return self.finish(&plan, tally, true);
        }
        self.parts_tried = Some(plan.clone());
        let parts = nearest_first(&plan.parts);
        let mut search = Minimizer::new(parts, count(tally), LESS_RUNS);
        if !company(&plan).is_empty() {
            search = search.near_first();
            let mut alone = plan.clone();
            alone.parts.retain(|part| !is_company(part));
            let seen = self.book.of(&alone);
            if alone.parts.is_empty() && seen.runs > 0 {
                search.learned(&[], count(seen));
            }
        }
        Step::Parts(Less {
            plan,
            known: tally,
            search,
            asked: Vec::new(),
        })
    }

    pub(super) fn follow_parts(&mut self) -> Option<Step> {
        let Step::Parts(less) = &self.step else {
            return None;
        };
        if !less.search.is_done() {
            return None;
        }
        let Some(smallest) = less.search.smallest() else {
            let (plan, known) = (less.plan.clone(), less.known);
            return Some(self.finish(&plan, known, false));
        };
        let plan = Recipe {
            parts: in_order(&smallest.kept, &less.plan.parts),
            ..less.plan.clone()
        };
        let tally = Tally {
            runs: smallest.count.runs,
            failed: smallest.count.failed,
        };
        if company(&plan).is_empty() {
            return Some(self.finish(&plan, tally, smallest.minimal));
        }
        self.found.minimal = smallest.minimal;
        Some(self.prove_parts(plan))
    }

    /// With what ran before and beside, and without any of it.
    pub(super) fn prove_parts(&self, plan: Recipe) -> Step {
        let mut without = plan.clone();
        let needed = company(&plan);
        without.parts.retain(|part| !needed.contains(part));
        Step::Prove(self.comparison(plan, vec![(Claimed::Parts, without)]))
    }
}

/// What ran before and beside.
pub(super) fn company(plan: &Recipe) -> Vec<CasePart> {
    let parts = plan.parts.iter();
    parts.filter(|part| is_company(part)).cloned().collect()
}

fn is_company(part: &CasePart) -> bool {
    matches!(part, CasePart::Before(_) | CasePart::Beside(_))
}

/// The order in which parts are looked for: what ran last before it is likeliest to matter, and what ran beside it
/// costs a runner of its own, so it is dropped first.
fn nearest_first(parts: &[CasePart]) -> Vec<CasePart> {
    let of = |kept: fn(&CasePart) -> bool| parts.iter().filter(move |part| kept(part));
    let before = of(|part| matches!(part, CasePart::Before(_))).rev();
    let beside = of(|part| matches!(part, CasePart::Beside(_)));
    let others = of(|part| !is_company(part));
    others.chain(before).chain(beside).cloned().collect()
}

/// Some of the parts of a recipe, in the order that they have in it.
pub(super) fn in_order(kept: &[CasePart], all: &[CasePart]) -> Vec<CasePart> {
    let mut left = kept.to_vec();
    let mut ordered = Vec::with_capacity(kept.len());
    for part in all {
        if let Some(place) = left.iter().position(|one| one == part) {
            ordered.push(left.swap_remove(place));
        }
    }
    ordered
}

pub(super) fn count(tally: Tally) -> Count {
    Count {
        runs: tally.runs,
        failed: tally.failed,
    }
}
