//! Whether what is suspected matters: with it and without it, all else held, by runs begun for that.

use cohort_model::{CasePart, Cause, Condition, ConditionKind, Recipe};

use super::Experiment;
use super::claim::{BEGUN_MIN, With, Without};
use super::contrast::contrast;
use super::evidence::Scale;
use super::less::company;
use super::recipes::{NEW_EACH_RUN, copies, is_seeded, lifted, seed_of, under};
use super::rivals::{RIVAL_RUNS, Rivals};
use super::step::{Step, Trial};

/// Below this share of failures a recipe is compared as so many copies at once.
const SELDOM: f64 = 0.25;
const AMPLIFIED: u32 = 4;
/// Evidence that looking at system calls alone makes it fail.
const LOOKED: f64 = 4.0;
/// Runs of one comparison that may be under way at once.
pub(super) const AHEAD: u32 = 4;

/// Most runs of one try of either side.
const BATCH_MAX: u32 = 16;

/// What is said to matter.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Claimed {
    /// This condition.
    Condition(Condition),
    /// What ran before or beside it.
    Parts,
    /// These variables of the environment.
    Variables(Vec<String>),
}

/// One thing that is said to matter, and the recipe that differs in nothing else.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    /// What.
    pub(super) what: Claimed,
    /// The recipe without it.
    pub(super) without: Trial,
}

/// One that is not decided yet.
#[derive(Clone, Debug)]
pub(super) struct Open {
    /// What.
    pub(super) what: Claimed,
    /// The recipe without it.
    pub(super) without: Without,
}

/// Whether what is claimed matters: with and without it, all else held.
#[derive(Clone, Debug)]
pub(super) struct Prove {
    /// With everything.
    pub(super) with: Trial,
    /// What counted of that before.
    pub(super) before: u32,
    /// Runs of it before it is given up.
    pub(super) patience: u32,
    /// So many runs without what is claimed are made for each one with it.
    pub(super) ratio: f64,
    /// Comparisons of this case that led nowhere before.
    pub(super) refuted: u32,
    /// Each claim.
    pub(super) claims: Vec<Open>,
    /// Other conditions that may do the same are looked at afterwards.
    pub(super) rivals: bool,
    /// What is named when this one cannot be proved after all.
    pub(super) instead: Option<Box<Proved>>,
    /// It fails so seldom that both sides run as several copies: the recipe without them.
    pub(super) single: Option<Recipe>,
    /// It always fails, and it is asked whether it needs any company at all, before that is cut.
    pub(super) company_first: bool,
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
    /// Whether it is proved; none: not decided yet.
    pub(super) fn reading(&self, claim: &Open) -> Option<bool> {
        let alone = claim.without.tally();
        if self.company_first && alone.failed >= 2 && alone.share() > 0.5 {
            return Some(false);
        }
        let chances = copies(&self.with.plan) / copies(&claim.without.trial.plan);
        claim.without.reading(With {
            tally: self.with.tally,
            since: self.with.tally.runs - self.before,
            patience: self.patience,
            decides: is_seeded(&self.with.plan),
            refuted: self.refuted,
            copies: chances.max(1.0),
        })
    }

    /// Runs that one try of either side makes: as many on both sides.
    pub(super) fn batch_runs(&self) -> u32 {
        let seen = |one: &Open| one.without.tally().runs.min(self.with.tally.runs);
        let least = self.claims.iter().map(seen).min().unwrap_or_default();
        (least / 4).clamp(1, BATCH_MAX)
    }

    /// The sides take turns; the one that costs less has more runs.
    pub(super) fn want(&self) -> Option<usize> {
        let (place, open) = self
            .claims
            .iter()
            .enumerate()
            .filter(|(_, claim)| self.reading(claim).is_none())
            .min_by_key(|(_, claim)| claim.without.begun())?;
        let others = self.claims.iter().map(|claim| claim.without.trial.flying);
        let flying = self.with.flying + others.sum::<u32>();
        if flying >= AHEAD.max(2 * self.batch_runs()) {
            return None;
        }
        let since = self.with.begun() - self.before;
        let owed = f64::from(self.with.begun()) * self.ratio <= f64::from(open.without.begun());
        let first = since < BEGUN_MIN && since <= open.without.trial.begun();
        Some(if owed || first { 0 } else { place + 1 })
    }

    /// What was proved, with all runs that count.
    fn proved(self) -> Proved {
        let claims = self.claims.into_iter().map(|open| Claim {
            what: open.what,
            without: Trial {
                tally: open.without.tally(),
                ..open.without.trial
            },
        });
        Proved {
            with: self.with,
            claims: claims.collect(),
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
            Claimed::Parts | Claimed::Variables(_) => true,
        });
        prove.single = Some(plan);
        Step::Prove(prove)
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
        // Where a try makes many runs, that is quicker.
        let batched = self.limits.batch > 1;
        if batched || able.is_empty() || slowed || !fits || seeded {
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
        let claims = plan.conditions.iter().map(|condition| {
            (
                Claimed::Condition(condition.clone()),
                lifted(&plan, condition),
            )
        });
        let claims = claims.collect();
        Step::Prove(Prove {
            rivals,
            instead,
            ..self.comparison(plan, claims)
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
        let mut prove = prove.clone();
        self.keep_proof(&prove.with);
        for claim in &prove.claims {
            if claim.without.trial.plan != self.plain {
                self.keep_proof(&claim.without.trial);
            }
        }
        let wrong = readings.iter().position(|reading| *reading == Some(false));
        let (rivals, instead) = (prove.rivals, prove.instead.take());
        let single = prove.single.take();
        let company_first = prove.company_first;
        let proved = prove.proved();
        if company_first {
            return Some(self.company_asked(&proved, wrong.is_none()));
        }
        let Some(wrong) = wrong else {
            if let Some(single) = single {
                return Some(self.proved_by_copies(&proved, single));
            }
            return Some(self.proved(proved, rivals));
        };
        if let Claimed::Variables(_) = &proved.claims[wrong].what {
            let minimal = self.found.minimal;
            return Some(self.finish(&proved.with.plan, proved.with.tally, minimal));
        }
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
        if let Some(single) = single {
            // What does little may do nothing under so many copies: once more without them.
            return Some(self.prove_as_is(single, rivals, instead));
        }
        self.refuted += 1;
        self.looking_did_it(&proved, wrong);
        if let Some(instead) = instead {
            return Some(self.proved(*instead, false));
        }
        if proved.claims.len() > 1 {
            let plan = proved.claims[wrong].without.plan.clone();
            return Some(self.prove(plan, rivals, None));
        }
        Some(self.astray())
    }

    /// What always fails, with all its company: whether it needs any.
    pub(super) fn ask_for_company(&mut self, control: &Trial) -> Step {
        let plan = self.plain.clone();
        let needed = company(&plan);
        if needed.is_empty() {
            return self.fewer_parts(plan, control.tally);
        }
        self.counts_for_proof(control);
        let mut alone = plan.clone();
        alone.parts.retain(|part| !needed.contains(part));
        let comparison = self.comparison(plan, vec![(Claimed::Parts, alone)]);
        Step::Prove(Prove {
            before: 0,
            company_first: true,
            ..comparison
        })
    }

    fn company_asked(&mut self, proved: &Proved, matters: bool) -> Step {
        if matters {
            self.name(proved, None);
            return self.fewer_parts(proved.with.plan.clone(), proved.with.tally);
        }
        let alone = &proved.claims[0].without;
        if alone.tally.failed == 0 {
            return self.fewer_parts(proved.with.plan.clone(), proved.with.tally);
        }
        // It needs none; whether it always fails takes more runs.
        self.found.always = false;
        Step::Control(Trial {
            tally: alone.tally,
            ..Trial::new(alone.plan.clone())
        })
    }

    /// Where what was lifted still looks at the system calls of the network, and that fails as often, nothing that is
    /// done to the network matters.
    fn looking_did_it(&mut self, proved: &Proved, wrong: usize) {
        let Claimed::Condition(condition) = &proved.claims[wrong].what else {
            return;
        };
        let network = |kind| {
            use ConditionKind::{NetworkDelay, NetworkLoss, NetworkRate};
            matches!(kind, NetworkDelay | NetworkRate | NetworkLoss)
        };
        let (own, usual) = (
            proved.claims[wrong].without.tally,
            self.book.of(&self.plain),
        );
        if network(condition.kind()) && own.failed > 1 && contrast(own, usual, 1.0) > LOOKED {
            let all = self.beliefs.all.iter().map(|belief| &belief.condition);
            let all: Vec<Condition> = all.filter(|one| network(one.kind())).cloned().collect();
            self.beliefs.forget(&all);
        }
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
        let is_condition = |claim: &Claim| matches!(claim.what, Claimed::Condition(_));
        if !proved.claims.iter().all(is_condition) {
            self.name(&proved, None);
            for claim in &proved.claims {
                if let Claimed::Variables(names) = &claim.what {
                    self.needs(names);
                }
            }
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
                Claimed::Variables(names) => {
                    let parts = names.iter().cloned().map(CasePart::Variable);
                    (None, parts.collect())
                }
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
            // Of parts that were named before, these are what is left.
            self.found.causes.retain(|cause| cause.condition.is_some());
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
