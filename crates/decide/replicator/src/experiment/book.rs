//! What was run under which recipe, as it is shown: bounded, the telling ones kept.

use cohort_model::{Arm, Rate, Recipe};

use super::evidence::Tally;

/// Most recipes that are kept of a case.
const ENTRIES_MAX: usize = 48;

#[derive(Clone, Debug)]
struct Entry {
    plan: Recipe,
    /// A run of it: the last that failed, else the first.
    run: Recipe,
    tally: Tally,
    /// With its interval.
    rate: Rate,
}

impl Entry {
    fn add(&mut self, run: &Recipe, failed: bool) {
        self.tally.add(failed);
        self.rate = self.tally.rate();
        if failed {
            self.run = plain(run);
        }
    }
}

/// Without what is only told of it.
fn plain(run: &Recipe) -> Recipe {
    Recipe {
        stacks: false,
        ..run.clone()
    }
}

/// Recipes and how they ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    entries: Vec<Entry>,
    /// Of recipes that are not kept any more.
    pub(super) dropped: Tally,
}

impl Book {
    /// A run has ended.
    pub(super) fn add(&mut self, plan: &Recipe, run: &Recipe, failed: bool) {
        self.entry(plan, run).add(run, failed);
        if self.entries.len() > ENTRIES_MAX {
            self.drop_one();
        }
    }

    /// So many runs have passed, beginning with this one.
    pub(super) fn add_passes(&mut self, plan: &Recipe, run: &Recipe, passes: u32) {
        let entry = self.entry(plan, run);
        entry.tally.add_passes(passes);
        entry.rate = entry.tally.rate();
        if self.entries.len() > ENTRIES_MAX {
            self.drop_one();
        }
    }

    fn entry(&mut self, plan: &Recipe, run: &Recipe) -> &mut Entry {
        let known = self.entries.iter().position(|entry| entry.plan == *plan);
        let place = known.unwrap_or(self.entries.len());
        if known.is_none() {
            self.entries.push(Entry {
                plan: plan.clone(),
                run: plain(run),
                tally: Tally::default(),
                rate: Rate::default(),
            });
        }
        &mut self.entries[place]
    }

    /// The one that tells least goes: never the control, which comes first; a mixture that did not fail
    /// rather than a single condition, and few runs rather than many.
    fn drop_one(&mut self) {
        let tells = |entry: &Entry| {
            (
                entry.tally.failed.min(3),
                u32::from(entry.plan.conditions.len() < 2),
                entry.tally.runs,
            )
        };
        let least = (1..self.entries.len()).min_by_key(|place| tells(&self.entries[*place]));
        if let Some(place) = least {
            let entry = self.entries.remove(place);
            self.dropped = self.dropped.plus(entry.tally);
        }
    }

    /// All runs of one plan.
    pub(super) fn of(&self, plan: &Recipe) -> Tally {
        self.entries
            .iter()
            .find(|entry| entry.plan == *plan)
            .map(|entry| entry.tally)
            .unwrap_or_default()
    }

    /// A run of a plan, one that failed if there is one.
    pub(super) fn run_of(&self, plan: &Recipe) -> Option<&Recipe> {
        self.entries
            .iter()
            .find(|entry| entry.plan == *plan)
            .map(|entry| &entry.run)
    }

    /// What failed most surely, when anything did: the plan.
    pub(super) fn best(&self) -> Option<&Recipe> {
        self.entries
            .iter()
            .filter(|entry| entry.tally.failed > 0)
            .max_by(|one, other| {
                one.rate
                    .low
                    .total_cmp(&other.rate.low)
                    .then(one.tally.failed.cmp(&other.tally.failed))
                    .then(other.plan.conditions.len().cmp(&one.plan.conditions.len()))
            })
            .map(|entry| &entry.plan)
    }

    /// As arms, the control first.
    pub(super) fn arms(&self, control: &Recipe) -> Vec<Arm> {
        let mut arms: Vec<Arm> = self
            .entries
            .iter()
            .map(|entry| Arm {
                recipe: entry.run.clone(),
                control: entry.plan == *control,
                rate: entry.rate,
            })
            .collect();
        arms.sort_by_key(|arm| !arm.control);
        arms
    }
}

#[cfg(test)]
mod tests {
    use cohort_model::{Condition, Recipe};

    use super::{Book, ENTRIES_MAX};

    #[test]
    fn it_stays_small_and_keeps_the_control_and_what_failed() {
        let mut book = Book::default();
        let plan = |count: u32| Recipe {
            conditions: vec![Condition::Cpus { count }],
            ..Recipe::default()
        };
        let control = Recipe::default();
        book.add(&control, &control, false);
        book.add(&plan(1), &plan(1), true);
        for count in 2..500 {
            book.add(&plan(count), &plan(count), false);
        }
        assert_eq!(book.arms(&control).len(), ENTRIES_MAX);
        assert!(book.arms(&control)[0].control);
        assert_eq!(book.of(&plan(1)).failed, 1);
        assert_eq!(book.best(), Some(&plan(1)));
        assert_eq!(book.dropped.runs as usize, 500 - ENTRIES_MAX);
    }
}
