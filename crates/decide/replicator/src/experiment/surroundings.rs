//! Which variables of the environment a failure needs.
//!
//! First it is run without any of those that programs can do without: when that fails, none matters, and one run
//! has said so. Only otherwise it is searched which of them are needed, and that these matter is proved as of
//! everything else.

use cohort_model::{CasePart, Condition, Recipe};

use super::Experiment;
use super::evidence::Tally;
use super::less::{Less, count};
use super::prove::Claimed;
use super::step::Step;
use crate::minimize::Minimizer;

/// Most runs of the search.
const RUNS_MAX: u32 = 80;
/// Below this share of failures it would take too many runs.
const SHARE_MIN: f64 = 0.5;
/// Variables that a sentence names.
const NAMED_MAX: usize = 3;

/// The plan without these variables.
pub(super) fn without(plan: &Recipe, variables: &[String]) -> Recipe {
    let unset = variables.iter().map(|name| Condition::Variable {
        name: name.clone(),
        value: None,
    });
    let mut plan = plan.clone();
    plan.conditions.extend(unset);
    plan
}

/// What a run that keeps only some of the variables is like.
pub(super) fn keeping(less: &Less<String>, kept: &[String]) -> Recipe {
    let all = less.search.full().iter();
    let unset: Vec<String> = all.filter(|one| !kept.contains(one)).cloned().collect();
    without(&less.plan, &unset)
}

impl Experiment {
    /// Whether variables matter, when that was not asked yet and can be told in few runs.
    pub(super) fn environment(&mut self, plan: &Recipe, tally: Tally) -> Option<Step> {
        let sets = |one: &Condition| matches!(one, Condition::Variable { .. });
        if self.variables.is_empty()
            || tally.failed == 0
            || tally.share() < SHARE_MIN
            || plan.conditions.iter().any(sets)
        {
            return None;
        }
        let search = Minimizer::new(std::mem::take(&mut self.variables), count(tally), RUNS_MAX);
        Some(Step::Environment(Less {
            plan: plan.clone(),
            known: tally,
            search,
            asked: Vec::new(),
        }))
    }

    pub(super) fn follow_environment(&mut self) -> Option<Step> {
        let Step::Environment(less) = &self.step else {
            return None;
        };
        if !less.search.is_done() {
            return None;
        }
        let (plan, known, all) = (less.plan.clone(), less.known, less.search.full().to_vec());
        let minimal = self.found.minimal;
        let Some(smallest) = less.search.smallest().filter(|one| one.comparable) else {
            return Some(self.finish(&plan, known, minimal));
        };
        if smallest.kept.is_empty() {
            self.found.remarks.push(none_matters(&all));
            return Some(self.finish(&plan, known, minimal));
        }
        if !smallest.minimal {
            // That any of them matters was not seen.
            return Some(self.finish(&plan, known, minimal));
        }
        let lacking = without(&plan, &smallest.kept);
        let claim = (Claimed::Variables(smallest.kept), lacking);
        Some(Step::Prove(self.comparison(plan, vec![claim])))
    }

    /// These matter: they are a part of the smallest recipe.
    pub(super) fn needs(&mut self, variables: &[String]) {
        let parts = variables.iter().cloned().map(CasePart::Variable);
        self.needed.extend(parts);
    }
}

fn none_matters(all: &[String]) -> String {
    let named: Vec<&str> = all.iter().take(NAMED_MAX).map(String::as_str).collect();
    let named = named.join(", ");
    match all.len().saturating_sub(NAMED_MAX) {
        0 => format!("It fails as well without {named} in the environment."),
        more => format!(
            "It fails as well without {named} and {more} more variables of the environment."
        ),
    }
}
