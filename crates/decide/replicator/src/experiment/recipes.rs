//! Recipes as plans: one whose seed is [`NEW_EACH_RUN`] gets another seed each time it is run.

use cohort_model::{CasePart, Condition, ConditionKind, Recipe};

use super::chance::Chance;
use super::menu::{Family, family};

/// Stands in a plan for a seed that is drawn anew for each run. Never the seed of a run.
pub(super) const NEW_EACH_RUN: u64 = u64::MAX;
/// Seeds below this are not drawn: they stand for orders of directories that tell most.
pub(super) const TELLING_SEEDS: u64 = 4;

/// The seed of a condition that has one.
pub(super) fn seed_of(condition: &Condition) -> Option<u64> {
    condition.seed()
}

/// The same condition with another seed; itself when it has none.
pub(super) fn with_seed(condition: &Condition, seed: u64) -> Condition {
    condition.with_seed(seed)
}

/// What is run: the plan with its open seeds drawn.
pub(super) fn drawn(plan: &Recipe, chance: &mut Chance) -> Recipe {
    let mut recipe = plan.clone();
    for condition in &mut recipe.conditions {
        if seed_of(condition) == Some(NEW_EACH_RUN) {
            *condition = with_seed(condition, chance.seed().max(TELLING_SEEDS));
        }
    }
    recipe
}

/// The plan that repeats a run: what follows from a seed follows from it again. How threads
/// interleave does not, so that seed is drawn anew.
pub(super) fn repeats(run: &Recipe) -> Recipe {
    let mut plan = run.clone();
    plan.stacks = false;
    for condition in &mut plan.conditions {
        if condition.kind() == ConditionKind::Schedule {
            *condition = with_seed(condition, NEW_EACH_RUN);
        }
    }
    plan
}

/// What it sets changes what the world looks like, not how fast it turns: one run mostly decides.
pub(super) fn is_stable(plan: &Recipe) -> bool {
    let world = |one: &Condition| family(one.kind()) == Family::World;
    plan.conditions.iter().all(world)
}

/// What it sets are seeds alone, each the same in every run.
pub(super) fn is_seeded(plan: &Recipe) -> bool {
    let same = |one: &Condition| seed_of(one).is_some_and(|seed| seed != NEW_EACH_RUN);
    !plan.conditions.is_empty() && plan.conditions.iter().all(same)
}

/// The same parts under other conditions.
pub(super) fn under(plan: &Recipe, conditions: Vec<Condition>) -> Recipe {
    Recipe {
        parts: plan.parts.clone(),
        conditions,
        ..Recipe::default()
    }
}

/// The recipe without one of its conditions, all else held: what a condition does by looking at system calls
/// alone is not what it is about, so that is held, too.
pub(super) fn lifted(plan: &Recipe, condition: &Condition) -> Recipe {
    let others = plan.conditions.iter().filter(|other| *other != condition);
    let mut rest: Vec<Condition> = others.cloned().collect();
    let nothing = match condition.kind() {
        ConditionKind::DiskDelay => Some(Condition::DiskDelay { us: 1 }),
        ConditionKind::NetworkDelay | ConditionKind::NetworkRate | ConditionKind::NetworkLoss => {
            Some(Condition::NetworkDelay { us: 1 })
        }
        _ => None,
    };
    // At most one of a kind.
    let is_there = |one: &Condition| plan.conditions.iter().any(|own| own.kind() == one.kind());
    rest.extend(nothing.filter(|one| one.kind() == condition.kind() || !is_there(one)));
    under(plan, rest)
}

/// How many independent chances to fail one run has.
pub(super) fn copies(plan: &Recipe) -> f64 {
    plan.conditions
        .iter()
        .find_map(|condition| match condition {
            Condition::Copies { count } => Some(f64::from(*count)),
            _ => None,
        })
        .unwrap_or(1.0)
}

/// Which of what ran before and beside the original is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Company {
    /// All of it.
    All,
    /// Only what ran before.
    Before,
    /// Only what ran at the same time.
    Beside,
    /// Nothing: it runs alone.
    Alone,
}

impl Company {
    /// The parts that are kept. Requests and variables are what the case itself is made of.
    pub(super) fn of(self, parts: &[CasePart]) -> Vec<CasePart> {
        parts
            .iter()
            .filter(|part| match part {
                CasePart::Before(_) => matches!(self, Company::All | Company::Before),
                CasePart::Beside(_) => matches!(self, Company::All | Company::Beside),
                _ => true,
            })
            .cloned()
            .collect()
    }
}
