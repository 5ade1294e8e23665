//! Several runs of one recipe in one try.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Condition, ConditionKind, Recipe};

/// Several runs of one recipe, one after the other, in one try: until one fails, so that every failure
/// is seen with all it wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Batch {
    /// Most runs, at least 2.
    pub runs: u32,
    /// No further run is begun when this time is over, microseconds.
    pub us: u64,
    /// Conditions of these kinds have another seed in each run: one more than in the run before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stepped: Vec<ConditionKind>,
}

impl Batch {
    /// What run number `by`, from 0, of a batch is a run of.
    #[must_use]
    pub fn recipe(&self, first: &Recipe, by: u32) -> Recipe {
        let mut recipe = first.clone();
        recipe.conditions = self.conditions(&first.conditions, by);
        recipe
    }

    /// The conditions of run number `by`, from 0.
    #[must_use]
    pub fn conditions(&self, first: &[Condition], by: u32) -> Vec<Condition> {
        let stepped = |one: &Condition| {
            let seed = one.seed().filter(|_| self.stepped.contains(&one.kind()));
            seed.map_or_else(
                || one.clone(),
                |seed| one.with_seed(seed.wrapping_add(u64::from(by))),
            )
        };
        first.iter().map(stepped).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_seeds_that_are_stepped_differ_between_runs() {
        let batch = Batch {
            runs: 4,
            us: 300_000,
            stepped: vec![ConditionKind::Schedule],
        };
        let first = Recipe {
            conditions: vec![
                Condition::Schedule { seed: 7 },
                Condition::Seed { seed: 7 },
                Condition::Cpus { count: 1 },
            ],
            ..Recipe::default()
        };
        assert_eq!(batch.recipe(&first, 0), first);
        let third = batch.recipe(&first, 2).conditions;
        let expected = [
            Condition::Schedule { seed: 9 },
            Condition::Seed { seed: 7 },
            Condition::Cpus { count: 1 },
        ];
        assert_eq!(third, expected);
    }
}
