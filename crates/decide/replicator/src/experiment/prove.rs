//! Whether what is suspected matters: with it and without it, all else held, by runs begun for that.

use cohort_model::{Cause, Condition, ConditionKind, Recipe};

use super::Experiment;
use super::evidence::{Scale, contrast};
use super::less::company;
use super::recipes::{NEW_EACH_RUN, copies, seed_of, under};
use super::rivals::{RIVAL_RUNS, Rivals};
use super::step::{Step, Trial};

/// Below this share of failures a recipe is compared as so many copies at once.
const SELDOM: f64 = 0.25;
const AMPLIFIED: u32 = 4;
/// Most recipes whose runs for a proof are remembered.
const PROOFS_MAX: usize = 32;
/// Evidence at which a condition is named: the probability that one that does not matter reaches it, at any
/// time, is at most its inverse.
pub(super) const PROOF: f64 = 40.0;

/// Runs of each side from which on a comparison with less evidence than that is given up.
const GIVE_UP: [(u32, f64); 5] = [(8, 0.02), (30, 0.12), (60, 0.6), (100, 3.0), (160, PROOF)];

/// Runs of one comparison that may be under way at once.
pub(super) const AHEAD: u32 = 4;

/// Most runs of one try of either side.
const BATCH_MAX: u32 = 8;

/// What is said to matter.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Claimed {
    /// This condition.
    Condition(Condition),
    /// What ran before or beside it.
    Parts,
}

/// One thing that is said to matter, and the recipe that differs in nothing else.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    /// What.
    pub(super) what: Claimed,
    /// The recipe without it.
    pub(super) without: Trial,
}

/// Whether what is claimed matters: with and without it, all else held, by fresh runs only.
#[derive(Clone, Debug)]
pub(super) struct Prove {
    /// With everything.
    pub(super) with: Trial,
    /// Each claim.
    pub(super) claims: Vec<Claim>,
    /// Other conditions that may do the same are looked at afterwards.
    pub(super) rivals: bool,
    /// What is named when this one cannot be proved after all.
    pub(super) instead: Option<Box<Proved>>,
    /// It fails so seldom that both sides run as several copies: the recipe without them.
    pub(super) single: Option<Recipe>,
}

/// What was proved.
#[derive(Clone, Debug)]
pub(super) struct Proved {
    /// The recipe.
    pub(super) with: Trial,
    /// Each with its evidence.
    pub(super) claims: Vec<Claim>,
}

impl Prove {
    /// Evidence for one claim.
    pub(super) fn evidence(&self, claim: &Claim) -> f64 {
        let chances = copies(&self.with.plan) / copies(&claim.without.plan);
        contrast(self.with.tally, claim.without.tally, chances.max(1.0))
    }

    /// Whether it is proved; none: not decided yet.
    pub(super) fn reading(&self, claim: &Claim) -> Option<bool> {
        let evidence = self.evidence(claim);
        let runs = self.with.tally.runs.min(claim.without.tally.runs);
        let give_up = GIVE_UP
            .iter()
            .any(|(from, least)| runs >= *from && evidence < *least);
        if evidence >= PROOF {
            Some(true)
        } else if give_up {
            Some(false)
        } else {
            None
        }
    }

    /// Runs that one try of either side makes: as many on both sides.
    pub(super) fn batch_runs(&self) -> u32 {
        let least = |one: &Claim| one.without.tally.runs.min(self.with.tally.runs);
        let seen = self.claims.iter().map(least).min().unwrap_or_default();
        (seen / 4).clamp(1, BATCH_MAX)
    }

    pub(super) fn want(&self) -> Option<usize> {
        let (place, open) = self
            .claims
            .iter()
            .enumerate()
            .filter(|(_, claim)| self.reading(claim).is_none())
            .min_by_key(|(_, claim)| claim.without.begun())?;
        let flying = self.with.flying + self.claims.iter().map(|c| c.without.flying).sum::<u32>();
        if flying >= AHEAD.max(2 * self.batch_runs()) {
            return None;
        }
        if self.with.begun() <= open.without.begun() {
            Some(0)
        } else {
            Some(place + 1)
        }
    }
}

impl Experiment {
    /// With each condition of the plan, and without it.
    pub(super) fn prove(
        &mut self,
        plan: Recipe,
        rivals: bool,
        instead: Option<Box<Proved>>,
    ) -> Step {
        let Some(copied) = self.amplified(&plan) else {
            return self.prove_as_is(plan, rivals, instead);
        };
        let step = self.prove_as_is(copied, rivals, instead);
        let Step::Prove(mut prove) = step else {
            return step;
        };
        // The copies are no cause, but the same on both sides.
        prove.claims.retain(|claim| match &claim.what {
            Claimed::Condition(condition) => condition.kind() != ConditionKind::Copies,
            Claimed::Parts => true,
        });
        prove.single = Some(plan);
        Step::Prove(prove)
    }

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

    /// Remembers what was run for a proof.
    pub(super) fn keep_proof(&mut self, trial: &Trial) {
        self.proofs.retain(|(plan, _)| *plan != trial.plan);
        self.proofs.push((trial.plan.clone(), trial.tally));
        if self.proofs.len() > PROOFS_MAX {
            self.proofs.remove(0);
        }
    }

    /// The same recipe as several copies, where it fails so seldom that a comparison takes long: of more
    /// copies some are likelier to fail, with and without what is claimed.
    pub(super) fn amplified(&self, plan: &Recipe) -> Option<Recipe> {
        let [condition] = &plan.conditions[..] else {
            return None;
        };
        let seldom = self.book.of(plan);
        let copies = Condition::Copies { count: AMPLIFIED };
        let able = self.beliefs.places(std::slice::from_ref(&copies));
        let slowed = super::menu::slows(condition) || condition.kind() == ConditionKind::Copies;
        let fits = seldom.runs >= 4 && seldom.share() < SELDOM;
        let seeded = match seed_of(condition) {
            Some(_) if condition.kind() == ConditionKind::Seed => true,
            Some(seed) => seed != NEW_EACH_RUN,
            None => false,
        };
        if able.is_empty() || slowed || !fits || seeded {
            return None;
        }
        Some(under(plan, vec![condition.clone(), copies]))
    }

    pub(super) fn prove_as_is(
        &mut self,
        plan: Recipe,
        rivals: bool,
        instead: Option<Box<Proved>>,
    ) -> Step {
        for condition in &plan.conditions {
            self.suspected.push(self.beliefs.planned(condition));
        }
        let claims = plan
            .conditions
            .iter()
            .map(|condition| {
                let rest = plan
                    .conditions
                    .iter()
                    .filter(|other| *other != condition)
                    .cloned()
                    .collect();
                Claim {
                    what: Claimed::Condition(condition.clone()),
                    without: self.continued(under(&plan, rest)),
                }
            })
            .collect();
        Step::Prove(Prove {
            with: self.continued(plan),
            claims,
            rivals,
            instead,
            single: None,
        })
    }

    pub(super) fn follow_prove(&mut self) -> Option<Step> {
        let Step::Prove(prove) = &self.step else {
            return None;
        };
        let readings: Vec<Option<bool>> = prove
            .claims
            .iter()
            .map(|claim| prove.reading(claim))
            .collect();
        if readings.iter().any(Option::is_none) {
            return None;
        }
        let prove = prove.clone();
        self.keep_proof(&prove.with);
        for claim in &prove.claims {
            self.keep_proof(&claim.without);
        }
        let wrong = readings.iter().position(|reading| *reading == Some(false));
        let proved = Proved {
            with: prove.with,
            claims: prove.claims,
        };
        let Some(wrong) = wrong else {
            if let Some(single) = prove.single {
                return Some(self.proved_by_copies(&proved, single));
            }
            return Some(self.proved(proved, prove.rivals));
        };
        if proved.claims[wrong].what == Claimed::Parts {
            if let Some(whole) = self.parts_tried.take()
                && whole.parts.len() > proved.with.plan.parts.len()
            {
                // Too much was left out; that some of it matters may be shown all the same.
                self.parts_tried = Some(proved.with.plan);
                self.found.minimal = false;
                return Some(self.prove_parts(whole));
            }
            // They may matter, but it was not shown; what was shown is kept.
            return Some(self.finish(&proved.with.plan, proved.with.tally, false));
        }
        if let Some(single) = prove.single {
            // What does little may do nothing under so many copies: once more without them.
            return Some(self.prove_as_is(single, prove.rivals, prove.instead));
        }
        if let Some(instead) = prove.instead {
            return Some(self.proved(*instead, false));
        }
        if proved.claims.len() > 1 {
            let plan = proved.claims[wrong].without.plan.clone();
            return Some(self.prove(plan, prove.rivals, None));
        }
        Some(self.astray())
    }

    /// It was shown with copies on both sides: the cause is named with these rates, and what is kept is the
    /// recipe without them, if it was seen to fail.
    pub(super) fn proved_by_copies(&mut self, proved: &Proved, single: Recipe) -> Step {
        self.name(proved, None);
        let alone = self.book.of(&single);
        self.found.remarks.push(format!(
            "By itself it fails seldom ({} of {} runs), so it was compared with {AMPLIFIED} copies at once on both sides.",
            alone.failed, alone.runs
        ));
        if alone.failed == 0 {
            return self.finish(&proved.with.plan, proved.with.tally, false);
        }
        self.keep_smallest(&single, alone);
        self.fewer_parts(single, alone)
    }

    pub(super) fn proved(&mut self, proved: Proved, rivals: bool) -> Step {
        self.keep_smallest(&proved.with.plan, proved.with.tally);
        if proved.claims.iter().any(|c| c.what == Claimed::Parts) {
            self.name(&proved, None);
            let minimal = self.found.minimal;
            return self.finish(&proved.with.plan, proved.with.tally, minimal);
        }
        self.name(&proved, None);
        if rivals
            && let [
                Claim {
                    what: Claimed::Condition(condition),
                    ..
                },
            ] = &proved.claims[..]
        {
            let others = self.rivals(condition, &proved.with.plan, false);
            if !others.is_empty() {
                let without = proved.claims[0].without.tally;
                let scale =
                    Scale::between(without.share(), proved.with.tally.share(), 6.0, RIVAL_RUNS);
                return Step::Rivals(Rivals {
                    proved: true,
                    without,
                    other_seeds: condition.kind() == ConditionKind::Seed,
                    leader: proved,
                    others,
                    scale,
                });
            }
        }
        self.measure(proved)
    }

    /// These are the causes.
    pub(super) fn name(&mut self, proved: &Proved, threshold: Option<(usize, (f64, f64))>) {
        self.found.passing = proved.claims.first().map(|c| c.without.plan.clone());
        let causes = proved.claims.iter().enumerate().map(|(place, claim)| {
            let (condition, parts) = match &claim.what {
                Claimed::Condition(condition) => {
                    (Some(self.as_run(&proved.with.plan, condition)), Vec::new())
                }
                Claimed::Parts => (None, company(&proved.with.plan)),
            };
            Cause {
                condition,
                parts,
                with: proved.with.tally.rate(),
                without: claim.without.tally.rate(),
                threshold: threshold.filter(|one| one.0 == place).map(|one| one.1),
            }
        });
        let causes: Vec<Cause> = causes.collect();
        if causes.iter().all(|cause| cause.condition.is_none()) {
            self.found.causes.extend(causes);
        } else {
            self.found.causes = causes;
        }
    }

    /// A condition of a plan as it was in a run, one that failed if there is one.
    pub(super) fn as_run(&self, plan: &Recipe, condition: &Condition) -> Condition {
        self.book
            .run_of(plan)
            .and_then(|run| {
                run.conditions
                    .iter()
                    .find(|one| one.kind() == condition.kind())
            })
            .unwrap_or(condition)
            .clone()
    }
}
