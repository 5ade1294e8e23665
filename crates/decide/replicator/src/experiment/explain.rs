//! Which conditions of a recipe that fails are needed.

use cohort_model::{Condition, Recipe};

use super::Experiment;
use super::advance::SUSPICIOUS;
use super::evidence::{Scale, Tally};
use super::less::{Less, count};
use super::menu::{Family, family};
use super::prove::Proved;
use super::recipes::{is_stable, under};
use super::rivals::{RIVAL_RUNS, RIVALS_MAX, Rivals};
use super::step::{Step, Trial};
use crate::minimize::Minimizer;

/// Most runs of one search among conditions.
const NARROW_RUNS: u32 = 90;
/// Most runs of one that is tried by itself.
const SINGLE_RUNS: u32 = 20;
/// So many conditions of a recipe are tried by themselves first.
const SINGLES: usize = 2;
/// So often it fails at least under what decides with the first run, 0 to 1.
const SURE: f64 = 0.76;
/// More conditions than that are not believed to be needed together unless it was seen of each.
const NEEDED_MAX: usize = 3;
/// So often a wrong suspicion leads back to hunting in any case, and after that while less than this part of the limits
/// is used. Each asks for more evidence of the next, and after so many nothing counts that was run before the next one.
const RESTARTS_MAX: u32 = 4;
const RESTARTS_UNTIL: f64 = 0.8;

/// Whether one condition of a recipe does it by itself: the likeliest ones are asked first.
#[derive(Clone, Debug)]
pub(super) struct Single {
    /// The whole.
    pub(super) plan: Recipe,
    /// How the whole ended so far.
    pub(super) known: Tally,
    /// Which condition of it.
    pub(super) place: usize,
    /// That one.
    pub(super) trial: Trial,
    /// When it does.
    pub(super) scale: Scale,
    /// Not one of them is tried, but all that only change what the world looks like.
    pub(super) is_world: bool,
    /// Those that do not, with their runs.
    pub(super) ruled_out: Vec<(usize, Tally)>,
}

impl Experiment {
    /// Which conditions of a recipe that fails are needed: the likeliest first, so that it alone is tried soon.
    pub(super) fn narrow(&mut self, mut plan: Recipe, tally: Tally) -> Step {
        let weight = |condition: &Condition| {
            let fresh = self.beliefs.planned(condition);
            self.beliefs
                .places(std::slice::from_ref(&fresh))
                .first()
                .map_or(0.5, |place| self.beliefs.all[*place].mean())
        };
        plan.conditions
            .sort_by(|one, other| weight(other).total_cmp(&weight(one)));
        match plan.conditions.len() {
            0 => return self.fewer_parts(plan, tally),
            1 => return self.prove(plan, true, None),
            _ => {}
        }
        let single = self.single(plan, tally, Vec::new());
        self.world_first(single)
    }

    /// The cheapest half first: all that only changes what the world looks like, when there is more than that.
    fn world_first(&self, mut single: Single) -> Step {
        let plan = &single.plan;
        let conditions = plan.conditions.iter();
        let world: Vec<Condition> = conditions
            .filter(|one| family(one.kind()) == Family::World)
            .cloned()
            .collect();
        if !world.is_empty() && world.len() < plan.conditions.len() {
            let usual = self.book.of(&self.plain).share();
            single.scale = Scale::between(usual, SURE, 10.0, SINGLE_RUNS);
            single.trial = Trial::new(under(plan, world));
            single.is_world = true;
        }
        Step::Single(single)
    }

    pub(super) fn single(
        &self,
        plan: Recipe,
        known: Tally,
        ruled_out: Vec<(usize, Tally)>,
    ) -> Single {
        let place = ruled_out.len();
        // What is known from few runs may be much less in truth, and one of several does not all they do.
        let usual = self.book.of(&self.plain).share();
        let runs = f64::from(known.runs);
        let error = (known.estimate() * (1.0 - known.estimate()) / (runs + 1.0)).sqrt();
        let safe = if is_stable(&plan) && known.failed == known.runs {
            // What decides with the first run does so alone, too.
            SURE / 0.8
        } else {
            (known.estimate() - error).max(0.5 * known.estimate())
        };
        let scale = Scale::between(usual, 0.8 * safe, 10.0, SINGLE_RUNS);
        let alone = under(&plan, vec![plan.conditions[place].clone()]);
        Single {
            plan,
            known,
            place,
            trial: Trial::new(alone),
            scale,
            is_world: false,
            ruled_out,
        }
    }

    pub(super) fn follow_single(&mut self) -> Option<Step> {
        let Step::Single(single) = &self.step else {
            return None;
        };
        let tally = single.trial.tally;
        // What the world looks like decides in every run or not at all.
        let undecided = single.is_world && tally.runs >= 4 && tally.share() <= 0.5;
        let enough = !undecided && single.scale.reading(tally)?;
        let single = single.clone();
        self.counts_for_proof(&single.trial);
        if single.is_world {
            let Single { plan, known, .. } = single;
            return Some(if enough {
                self.narrow(single.trial.plan, single.trial.tally)
            } else {
                Step::Single(self.single(plan, known, Vec::new()))
            });
        }
        if enough {
            return Some(self.prove(single.trial.plan, true, None));
        }
        let mut ruled_out = single.ruled_out;
        ruled_out.push((single.place, single.trial.tally));
        if ruled_out.len() < SINGLES.min(single.plan.conditions.len()) {
            let next = self.single(single.plan, single.known, ruled_out);
            return Some(Step::Single(next));
        }
        if single.plan.conditions.len() < 2 {
            let plan = under(&single.plan, Vec::new());
            if plan.parts == self.plain.parts {
                return Some(Step::Hunt);
            }
        }
        let items: Vec<usize> = (0..single.plan.conditions.len()).collect();
        let mut search = Minimizer::new(items, count(single.known), NARROW_RUNS);
        for (place, tally) in ruled_out {
            search.learned(&[place], count(tally));
        }
        Some(Step::Narrow(Less {
            plan: single.plan,
            known: single.known,
            search,
            asked: Vec::new(),
        }))
    }

    pub(super) fn follow_narrow(&mut self) -> Option<Step> {
        let Step::Narrow(less) = &self.step else {
            return None;
        };
        if !less.search.is_done() {
            return None;
        }
        let kept = less.search.smallest();
        let sure = kept.as_ref().is_some_and(|smallest| {
            smallest.minimal || smallest.comparable && smallest.kept.len() <= NEEDED_MAX
        });
        let conditions: Vec<Condition> = kept
            .iter()
            .flat_map(|smallest| &smallest.kept)
            .map(|place| less.plan.conditions[*place].clone())
            .collect();
        let plan = under(&less.plan, conditions);
        let tally = kept.map_or(less.known, |smallest| Tally {
            runs: smallest.count.runs,
            failed: smallest.count.failed,
        });
        if plan.conditions.is_empty() {
            // What is left of the original is enough; it is no chance that it failed so often.
            return Some(self.fewer_parts(plan, tally));
        }
        if !sure {
            return Some(self.astray());
        }
        if plan.conditions.len() == 1 {
            return Some(self.prove(plan, true, None));
        }
        Some(self.simpler(plan, tally))
    }

    /// So many suspicions led nowhere that the next one probably does, too.
    pub(super) fn is_misled(&self) -> bool {
        self.restarts >= RESTARTS_MAX
    }

    /// A suspicion led nowhere.
    pub(super) fn astray(&mut self) -> Step {
        self.restarts += 1;
        if self.restarts > RESTARTS_MAX && self.used() > RESTARTS_UNTIL {
            return self.finish_unexplained();
        }
        self.suspicion(SUSPICIOUS).unwrap_or(Step::Hunt)
    }

    /// Several conditions are needed together; perhaps one that is harsher does the same.
    pub(super) fn simpler(&mut self, plan: Recipe, tally: Tally) -> Step {
        let mut others: Vec<(Condition, Trial)> = Vec::new();
        for condition in &plan.conditions {
            for (other, trial) in self.rivals(condition, &plan, true) {
                if others.len() < RIVALS_MAX && others.iter().all(|(known, _)| *known != other) {
                    others.push((other, trial));
                }
            }
        }
        let without = self.book.of(&self.plain);
        let scale = Scale::between(without.share(), tally.share(), 6.0, RIVAL_RUNS);
        let with = Trial {
            tally,
            ..Trial::new(plan)
        };
        Step::Rivals(Rivals {
            leader: Proved {
                with,
                claims: Vec::new(),
            },
            proved: false,
            without,
            others,
            other_seeds: false,
            scale,
        })
    }
}
