//! Runs: what is asked for, and what becomes known when one ends.

use cohort_model::{Batch, CasePart, Condition, ConditionKind, Recipe, Usage};

use super::Experiment;
use super::evidence::Tally;
use super::menu::{Place, menu};
use super::recipes::{copies, drawn};
use super::step::Step;
use crate::Room;

/// Plain runs whose results are kept one by one.
const PLAIN_LOG: usize = 512;

/// A run under way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) plan: Recipe,
    pub(super) run: Recipe,
    /// The step that asked for it, and for which of its plans.
    pub(super) step: u32,
    pub(super) place: usize,
    /// Expected run time, seconds.
    pub(super) expected_s: f64,
    /// Runs of it, one after the other, until one fails.
    pub(super) batch: Option<Batch>,
}

impl Flight {
    /// Runs that it may make.
    pub(super) fn runs(&self) -> u32 {
        self.batch.as_ref().map_or(1, |batch| batch.runs)
    }

    /// What its run number `by` is a run of.
    pub(super) fn run(&self, by: u32) -> Recipe {
        match &self.batch {
            Some(batch) => batch.recipe(&self.run, by),
            None => self.run.clone(),
        }
    }
}

/// How a run ended, for the case it was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With the symptom of the case.
    Failed,
    /// It passed.
    Passed,
    /// With another symptom.
    Otherwise,
    /// It says nothing.
    Void,
}

/// What an experiment asks for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) recipe: Recipe,
    pub(crate) cores: f64,
    pub(crate) memory: u64,
    pub(crate) batch: Option<Batch>,
}

impl Experiment {
    /// What to run next, if anything is worth it now and fits.
    pub(crate) fn next(&mut self, room: Room) -> Option<Asked> {
        if self.limit_reached().is_some() {
            return None;
        }
        let always_runs = self.always_runs();
        let hunting = matches!(self.step, Step::Hunt);
        let (place, mut plan) = if hunting {
            (0, self.hunt(room.start)?)
        } else {
            self.step.want(always_runs)?
        };
        let need = |plan: &Recipe| (self.usage.memory_peak as f64 * copies(plan)) as u64;
        if hunting && need(&plan) > room.memory {
            plan.conditions
                .retain(|condition| condition.kind() != ConditionKind::Copies);
        }
        let memory = need(&plan);
        if memory > room.memory {
            self.step.ended_unbegun(place);
            return None;
        }
        let mut run = drawn(&plan, &mut self.chance);
        // Reading stacks takes memory, too, which a limit would count as the program's.
        let is_limited = |one: &Condition| one.kind() == ConditionKind::MemoryLimit;
        run.stacks = !run.conditions.iter().any(is_limited)
            && self.stand.wants(self.found.runs_to_first.is_some());
        let batch = self.batch(&plan, &run);
        let runs = batch.as_ref().map_or(1, |batch| batch.runs);
        let expected_s = self.batch_s(self.expected_s(&plan), batch.as_ref());
        self.step.began(place, runs);
        self.begun += runs;
        if hunting {
            self.hunted += runs;
            self.hunts += 1;
            let plain_s = if plan == self.plain { expected_s } else { 0.0 };
            self.hunted_s.0 += plain_s;
            self.hunted_s.1 += expected_s;
        }
        self.flights.push(Flight {
            plan,
            run: run.clone(),
            step: self.steps,
            place,
            expected_s,
            batch: batch.clone(),
        });
        let wanted = self.usage.cores().max(0.1) * copies(&run);
        Some(Asked {
            cores: wanted.min(self.host.0).min(limit_of(&run)),
            recipe: run,
            memory,
            batch,
        })
    }

    pub(super) fn expected_s(&self, plan: &Recipe) -> f64 {
        let places = self.beliefs.places(&plan.conditions);
        self.pace.seconds(self.company_of(plan)) * self.beliefs.slowdown(&places)
    }

    /// The recipe of the run that a try of `recipe` ended with, when so many runs of its batch passed before.
    pub(crate) fn last_run(&self, recipe: &Recipe, passed_before: u32) -> Recipe {
        let flight = self.flights.iter().find(|one| one.run == *recipe);
        flight.map_or_else(|| recipe.clone(), |flight| flight.run(passed_before))
    }

    /// A run has ended, after `passed_before` others of its batch that passed.
    pub(crate) fn ended(
        &mut self,
        recipe: &Recipe,
        (ended, passed_before): (Ended, u32),
        usage: &Usage,
        missing: &[ConditionKind],
    ) {
        let Some(at) = self.flights.iter().position(|one| one.run == *recipe) else {
            return;
        };
        let mut flight = self.flights.remove(at);
        if recipe.stacks {
            self.stand.ended(ended);
        }
        let seconds = usage.wall_us as f64 / 1e6;
        self.spent_s += seconds * f64::from(passed_before + 1);
        if flight.step == self.steps {
            self.step_s += seconds * f64::from(passed_before + 1);
        }
        let unmade = flight.runs().saturating_sub(passed_before + 1);
        self.begun = self.begun.saturating_sub(unmade);
        let says = match ended {
            Ended::Failed => Some(true),
            // What fails otherwise did not fail as looked for. Left out, a condition under which most runs
            // fail otherwise would seem to matter by what it leaves.
            Ended::Passed | Ended::Otherwise => Some(false),
            Ended::Void => None,
        };
        let lacking = flight
            .plan
            .conditions
            .iter()
            .any(|condition| missing.contains(&condition.kind()));
        let hunting = matches!(self.step, Step::Hunt) && flight.step == self.steps;
        let lacks = if lacking {
            self.lacking(&flight.plan, missing)
        } else {
            Vec::new()
        };
        let lacking = lacking && !hunting;
        if hunting {
            self.hunted = self.hunted.saturating_sub(unmade);
            // It was a run of what is left of its plan.
            let left = |one: &Condition| !missing.contains(&one.kind());
            flight.plan.conditions.retain(left);
            flight.run.conditions.retain(left);
        }
        self.count_passes(&flight, passed_before, lacking);
        flight.run = flight.run(passed_before);
        self.count(&flight, ended, usage, lacking);
        if flight.step == self.steps {
            // A run without one of its conditions is no run of this plan.
            let passes = if lacking { 0 } else { passed_before };
            let says = says.filter(|_| !lacking);
            self.step.ended(flight.place, (flight.runs(), passes, says));
        }
        self.lacks(&lacks);
        if says == Some(true) && flight.step == self.steps && !lacking {
            self.caught(&flight, seconds);
        }
        self.advance();
    }

    /// Counts the runs of a batch that passed before its last one, wherever all runs count.
    fn count_passes(&mut self, flight: &Flight, passes: u32, lacking: bool) {
        if passes == 0 {
            return;
        }
        let passed = Tally {
            runs: passes,
            failed: 0,
        };
        self.all.add_passes(passes);
        self.note_start(&flight.plan, true, passed);
        if lacking {
            return;
        }
        self.book.add_passes(&flight.plan, &flight.run, passes);
        self.log_plain(&flight.plan, false, passes);
        if !self.is_own_company(&flight.plan) {
            return;
        }
        let places = self.beliefs.places(&flight.plan.conditions);
        if flight.plan.conditions.len() == places.len() {
            self.beliefs.learn_passes(&places, passes);
            self.mixed.add_passes(passes);
            self.company_seen[self.company_of(&flight.plan) as usize].add_passes(passes);
        }
    }

    /// Counts a run wherever all runs count.
    pub(super) fn count(&mut self, flight: &Flight, ended: Ended, usage: &Usage, lacking: bool) {
        let seconds = usage.wall_us as f64 / 1e6;
        let places = self.beliefs.places(&flight.plan.conditions);
        let company = self.company_of(&flight.plan);
        match ended {
            Ended::Void => return,
            Ended::Otherwise => {
                self.strange += 1;
                if flight.plan.conditions.len() == places.len() {
                    self.beliefs.strange(&places);
                }
            }
            Ended::Failed | Ended::Passed => {}
        }
        let failed = ended == Ended::Failed;
        let one = Tally {
            runs: 1,
            failed: u32::from(failed),
        };
        self.all.add(failed);
        self.note_start(&flight.plan, flight.batch.is_some(), one);
        if failed && self.found.runs_to_first.is_none() {
            self.found.runs_to_first = Some(self.all.runs);
        }
        if seconds > 0.0 && !lacking && self.is_own_company(&flight.plan) {
            if flight.plan.conditions.is_empty() {
                self.pace.learn(company, seconds);
                self.measure_usage(usage);
            } else if self.unmeasured.is_some() && ended == Ended::Passed {
                // The first of a test that has not failed costs hardly more than a plain one.
                self.pace.guess(company, seconds);
                self.measure_usage(usage);
            } else if flight.plan.conditions.len() == places.len() {
                let plain = self.pace.seconds(company).max(1e-3);
                self.beliefs.took(&places, seconds / plain);
            }
        }
        if lacking {
            return;
        }
        self.book.add(&flight.plan, &flight.run, failed);
        self.log_plain(&flight.plan, failed, 1);
        if !self.is_own_company(&flight.plan) {
            // It says nothing of conditions.
            return;
        }
        if flight.plan.conditions.len() == places.len() {
            if ended != Ended::Otherwise {
                self.beliefs.learn(&places, failed);
                if let [place] = places[..] {
                    self.note_first_failure(place);
                }
            }
            self.mixed.add(failed);
            self.company_seen[company as usize].add(failed);
        }
    }

    /// From its first failure on a condition is suspected.
    fn note_first_failure(&mut self, place: usize) {
        let plain = self.book.of(&self.plain);
        let belief = &mut self.beliefs.all[place];
        if belief.alone.failed == 1 && belief.suspected.is_none() {
            belief.suspected = Some((belief.alone, plain));
        }
    }

    /// Keeps how plain runs ended.
    fn log_plain(&mut self, plan: &Recipe, failed: bool, runs: u32) {
        if *plan == self.plain {
            self.plain_log.extend((0..runs).map(|_| failed));
            let more = self.plain_log.len().saturating_sub(PLAIN_LOG);
            self.plain_log.drain(..more);
        }
    }

    /// Whether it keeps no more of what ran before and beside than the original had.
    fn is_own_company(&self, plan: &Recipe) -> bool {
        let own = |part: &CasePart| self.plain.parts.contains(part);
        plan.parts.iter().all(own)
    }

    /// What the original used was not known: the first run tells, and what depends on it is added.
    pub(super) fn measure_usage(&mut self, usage: &Usage) {
        let Some((able, prior)) = self.unmeasured.take() else {
            return;
        };
        self.usage = *usage;
        let place = Place {
            able: &able,
            cores: self.host.0,
            memory: self.host.1,
            usage,
            parts: &self.plain.parts,
        };
        let dishes = menu(&place, &prior);
        self.cheap.reckon(&place);
        self.beliefs.add(dishes, usage, self.host.0);
    }

    /// What cannot be set here of a plan: a locale or a zone that is not there says nothing of others, all else is
    /// so at every degree.
    fn lacking(&self, plan: &Recipe, missing: &[ConditionKind]) -> Vec<Condition> {
        let named = |kind| matches!(kind, ConditionKind::Locale | ConditionKind::TimeZone);
        let of_plan = plan.conditions.iter();
        let of_plan = of_plan.filter(|one| missing.contains(&one.kind()));
        let all = self.beliefs.all.iter().map(|belief| &belief.condition);
        let all = all.filter(|one| missing.contains(&one.kind()) && !named(one.kind()));
        of_plan.chain(all).cloned().collect()
    }

    /// Under these nothing can be said about it.
    pub(crate) fn rule_out(&mut self, kinds: &[ConditionKind]) {
        if let Some((able, _)) = &mut self.unmeasured {
            able.retain(|kind| !kinds.contains(kind));
        }
        let all = self.beliefs.all.iter().map(|belief| &belief.condition);
        let out: Vec<Condition> = all
            .filter(|one| kinds.contains(&one.kind()))
            .cloned()
            .collect();
        self.lacks(&out);
    }

    /// Some conditions cannot be set here: they are not tried again.
    pub(super) fn lacks(&mut self, conditions: &[Condition]) {
        if conditions.is_empty() {
            return;
        }
        self.beliefs.forget(conditions);
        let needs = |plan: &Recipe| plan.conditions.iter().any(|one| conditions.contains(one));
        if self.step.plans().iter().any(|plan| needs(plan)) {
            self.enter(Step::Hunt);
        }
    }
}

fn limit_of(recipe: &Recipe) -> f64 {
    recipe
        .conditions
        .iter()
        .find_map(|condition| match condition {
            Condition::CpuLimit { cores } => Some(*cores),
            _ => None,
        })
        .unwrap_or(f64::INFINITY)
}
