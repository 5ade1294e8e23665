//! How a case ends, and what is said about it.

use std::collections::BTreeMap;

use cohort_model::{Arm, CaseVerdict, Condition, ConditionKind, Recipe};

use super::cover::Cover;
use super::evidence::{Tally, interval};
use super::hunt::runs_for;
use super::prove::Claimed;
use super::recipes::{Company, drawn};
use super::rivals::Rivals;
use super::step::{Step, Trial};
use super::words::{alternative, kind_words, percent, words};
use super::{Experiment, Origin};

impl Experiment {
    /// What can be left out is known: this recipe is what remains.
    pub(super) fn finish(&mut self, plan: &Recipe, tally: Tally, minimal: bool) -> Step {
        let plain = self.book.of(&self.plain);
        if self.found.always && plain.failed < plain.runs {
            // It has passed meanwhile: it is one that fails often, and why is looked for after all.
            self.found.always = false;
            return Step::Hunt;
        }
        let seen = self.book.of(plan);
        let tally = if seen.runs > tally.runs { seen } else { tally };
        self.keep_smallest(plan, tally);
        self.found.minimal = minimal && tally.failed > 0;
        if let Some(step) = self.environment(plan, tally) {
            return step;
        }
        if let Some(step) = self.smaller_input(plan, tally) {
            return step;
        }
        self.cover(plan, tally)
    }

    /// Which lines run is recorded, where that can be had, of a recipe that ended so.
    fn cover(&mut self, plan: &Recipe, tally: Tally) -> Step {
        if self.limits.coverage == 0 || tally.failed == 0 {
            return self.closing();
        }
        let covered = |plan: &Recipe| {
            Trial::new(Recipe {
                coverage: true,
                ..plan.clone()
            })
        };
        let mut trials = vec![covered(plan)];
        trials.extend(self.found.passing.as_ref().map(covered));
        if trials.len() < 2 && tally.failed < tally.runs {
            trials.push(covered(plan));
        }
        Step::Cover(Cover {
            trials,
            wanted: self.limits.coverage,
        })
    }

    /// Nothing that matters was found.
    pub(super) fn finish_unexplained(&mut self) -> Step {
        if !self.found.causes.is_empty() {
            return self.closing();
        }
        let plain = self.book.of(&self.plain);
        if plain.failed >= 2 && self.parts_tried.is_none() {
            return self.fewer_parts(self.plain.clone(), plain);
        }
        match self.book.best().cloned() {
            Some(plan) => {
                let tally = self.book.of(&plan);
                self.finish(&plan, tally, false)
            }
            None => self.closing(),
        }
    }

    pub(super) fn keep_smallest(&mut self, plan: &Recipe, tally: Tally) {
        if tally.failed == 0 {
            return;
        }
        let recipe = match self.book.run_of(plan) {
            Some(run) => run.clone(),
            None => drawn(plan, &mut self.chance),
        };
        let control = recipe == self.plain;
        let mut recipe = recipe;
        for part in &self.needed {
            if !recipe.parts.contains(part) {
                recipe.parts.push(part.clone());
            }
        }
        self.found.smallest = Some(Arm {
            control,
            recipe,
            rate: tally.rate(),
        });
    }

    /// Ends the case with what is known.
    pub(super) fn close(&mut self) {
        let step = self.closing();
        self.enter(step);
    }

    /// The campaign ends, or nothing is left for this case.
    pub(crate) fn give_up(&mut self, why: &str) {
        if !matches!(self.step, Step::Closed) {
            self.found.remarks.push(why.to_owned());
            self.close();
        }
    }

    /// Lines cannot be recorded.
    pub(crate) fn without_lines(&mut self, why: &str) {
        if self.limits.coverage == 0 {
            return;
        }
        self.limits.coverage = 0;
        self.flights.retain(|flight| !flight.plan.coverage);
        self.found.remarks.push(why.to_owned());
        if matches!(self.step, Step::Cover(_)) {
            self.close();
        }
    }

    pub(super) fn closing(&mut self) -> Step {
        if self.found.smallest.is_none()
            && let Some(plan) = self.book.best().cloned()
        {
            let tally = self.book.of(&plan);
            self.keep_smallest(&plan, tally);
        }
        if self.found.verdict.is_none() {
            let verdict = self.verdict();
            self.say(verdict);
            self.say_start();
            self.found.verdict = Some(verdict);
        }
        Step::Closed
    }

    fn verdict(&self) -> CaseVerdict {
        let plain = self.book.of(&self.plain);
        if !self.found.causes.is_empty() {
            CaseVerdict::Conditional
        } else if self.found.always && plain.failed == plain.runs && !self.passes_alone() {
            CaseVerdict::Always
        } else if self.all.failed > 0 {
            CaseVerdict::Sometimes
        } else if self.all.runs == 0 {
            CaseVerdict::NotTried
        } else if matches!(self.origin, Origin::Hunted { .. }) {
            CaseVerdict::Unsuspicious
        } else {
            CaseVerdict::NotReproduced
        }
    }

    /// Without what ran before and beside, a run passed.
    fn passes_alone(&self) -> bool {
        let alone = Company::Alone.of(&self.plain.parts);
        let tally = self.book.of(&Recipe {
            parts: alone,
            ..Recipe::default()
        });
        tally.failed < tally.runs
    }

    fn say(&mut self, verdict: CaseVerdict) {
        let plain = self.book.of(&self.plain);
        let (_, high) = interval(plain, 0.05);
        let line = match verdict {
            CaseVerdict::NotReproduced => format!(
                "It did not fail again in {} runs; {} of them were as the original was, so its rate there is below {} (95 %).",
                self.all.runs,
                plain.runs,
                percent(high)
            ),
            CaseVerdict::Sometimes if self.found.always => format!(
                "After or beside what ran with it, it failed {} of {} runs, and without all of that it passed; which of it is needed is not known.",
                plain.failed, plain.runs
            ),
            CaseVerdict::Sometimes => format!(
                "No condition was found that matters, in {} runs under various ones; as the original was, it failed {} of {}.",
                self.all.runs, plain.failed, plain.runs
            ),
            CaseVerdict::Unsuspicious => self.say_unsuspicious(plain),
            CaseVerdict::NotTried if self.found.remarks.is_empty() => {
                "Nothing was left of the budget for it.".to_owned()
            }
            _ => return self.say_strange(),
        };
        self.found.remarks.push(line);
        if verdict == CaseVerdict::Sometimes {
            self.say_together();
        }
        self.say_untried();
        self.say_strange();
    }

    fn say_strange(&mut self) {
        if self.strange > 0 {
            self.found.remarks.push(format!(
                "{} runs failed in another way; they count as runs that did not show it.",
                self.strange
            ));
        }
    }

    fn say_unsuspicious(&self, plain: Tally) -> String {
        let Origin::Hunted { hunt, .. } = &self.origin else {
            return String::new();
        };
        let reached = if plain.runs >= runs_for(*hunt) {
            hunt.p
        } else {
            1.0 - hunt.alpha.powf(1.0 / f64::from(plain.runs.max(1)))
        };
        // A run has at most one condition of a kind, so runs of its degrees may be added.
        let mut runs: BTreeMap<ConditionKind, u32> = BTreeMap::new();
        for belief in &self.beliefs.all {
            *runs.entry(belief.condition.kind()).or_default() += belief.seen.runs;
        }
        let kinds: Vec<String> = runs
            .iter()
            .filter(|(_, runs)| **runs > 0)
            .map(|(kind, runs)| format!("{} in {runs}", kind_words(*kind)))
            .collect();
        let covered = if kinds.is_empty() {
            String::new()
        } else {
            format!(", with {}", kinds.join(", "))
        };
        format!(
            "It passed all {} plain runs: were its failure rate above {}, that would have a probability below {}. It passed {} more under other conditions{covered}.",
            plain.runs,
            percent(reached),
            percent(hunt.alpha),
            self.all.runs - plain.runs
        )
    }

    /// The smallest recipe of an earlier campaign was tried.
    pub(super) fn tried_again(&mut self, plan: &Recipe, tally: Tally) -> Step {
        let Origin::Known { verdict, .. } = self.origin else {
            // It was seen in ordinary work meanwhile.
            self.found.returned = true;
            if tally.failed == 0 {
                return Step::Control(Trial::new(self.plain.clone()));
            }
            self.keep_smallest(plan, tally);
            self.found.remarks.push(format!(
                "It is back: its smallest recipe failed {} of {} runs.",
                tally.failed, tally.runs
            ));
            return self.cover(plan, tally);
        };
        if tally.failed > 0 {
            self.found.returned = true;
            self.found.verdict = Some(verdict);
            self.keep_smallest(plan, tally);
            self.found.remarks.push(format!(
                "It is back: its smallest recipe failed {} of {} runs.",
                tally.failed, tally.runs
            ));
        } else {
            self.found.verdict = Some(CaseVerdict::NotReproduced);
            self.found.remarks.push(format!(
                "It was closed in an earlier campaign; its smallest recipe now passed {} of {} runs.",
                tally.runs, tally.runs
            ));
        }
        self.cover(plan, tally)
    }

    /// A case that this host cannot hold is closed before its first run.
    pub(super) fn refuse_the_impossible(&mut self) {
        let needs = self.usage.memory_peak;
        if needs > self.host.1 && self.host.1 > 0 {
            self.found.remarks.push(format!(
                "It needed {} MB, and {} MB are to be had here; give the campaign more memory.",
                needs >> 20,
                self.host.1 >> 20
            ));
            self.close();
        }
    }

    /// It ended in the middle of a comparison: what that had shown so far.
    pub(super) fn say_suspicion(&mut self) {
        let Step::Prove(prove) = &self.step else {
            return;
        };
        let with = prove.with.tally;
        let lines = prove.claims.iter().filter_map(|claim| {
            let Claimed::Condition(condition) = &claim.what else {
                return None;
            };
            let without = claim.without.tally();
            (with.share() > without.share()).then(|| {
                format!(
                    "It may be {}: with it {} of {} runs failed, without it {} of {}; that is not enough to be sure.",
                    words(condition), with.failed, with.runs, without.failed, without.runs
                )
            })
        });
        let lines: Vec<String> = lines.collect();
        self.found.remarks.extend(lines);
    }

    pub(super) fn say_other_seeds(&mut self, rivals: &Rivals) {
        if let Some((_, trial)) = rivals.others.first() {
            self.found.remarks.push(format!(
                "With other seeds it failed {} of {} runs.",
                trial.tally.failed, trial.tally.runs
            ));
        }
    }

    pub(super) fn say_alternative(&mut self, condition: &Condition, tally: Tally) {
        self.found.remarks.push(format!(
            "{} {} of {} runs.",
            alternative(condition),
            tally.failed,
            tally.runs
        ));
    }

    pub(super) fn unsay_alternative(&mut self, condition: &Condition) {
        let start = alternative(condition);
        self.found
            .remarks
            .retain(|remark| !remark.starts_with(&start));
    }
}
