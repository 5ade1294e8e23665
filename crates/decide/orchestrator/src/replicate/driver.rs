//! What says which try is next.

use cohort_model::{At, Budget, Case, CaseId, CasePlan, CaseWork, Recipe, Stage};
use cohort_replicator::{Known, Limits, Outcome, Replicator, Room, Settings, Try};

use super::repeat::Repeat;

/// Failing runs of a crash or a hang in which it is told where its threads stand.
const STACKS_RUNS: u32 = 2;
/// Most runs of one try.
const BATCH_RUNS: u32 = 64;
/// No further run of a try begins after this time, microseconds; the same where a runner has to start first.
const BATCH_US: u64 = 300_000;
const BATCH_US_STICKY: u64 = 1_000_000;

/// Most runs of a case: a batch makes hundreds of a short test in a second, so time ends it before.
const RUNS: u32 = 20_000;

/// What says which try is next.
#[derive(Debug)]
pub(super) enum Driver {
    Replicator(Box<Replicator>),
    Repeat(Box<Repeat>),
}

fn replicator(plan: &CasePlan, sticky: bool, budget: &Budget) -> Replicator {
    let seconds = plan.after_us as f64 / 1e6 * budget.cores.max(1.0);
    let usual = Limits {
        coverage: plan.coverage,
        stacks: STACKS_RUNS,
        batch: BATCH_RUNS,
        share_start: sticky,
        batch_us: if sticky { BATCH_US_STICKY } else { BATCH_US },
        ..Limits::default()
    };
    let limits = if plan.only.is_some() {
        Limits {
            runs: u32::MAX,
            seconds,
            seconds_all: seconds,
            ..usual
        }
    } else {
        Limits {
            runs: RUNS,
            seconds: usual.seconds.max(seconds),
            seconds_all: usual.seconds_all.max(seconds),
            ..usual
        }
    };
    let mut replicator = Replicator::new(Settings {
        seed: plan.seed,
        cores: budget.cores,
        memory: budget.memory,
        able: plan.able.clone(),
        first_case: plan.first_case,
        limits,
    })
    .with_environment(plan.variables.clone());
    for known in &plan.known {
        replicator.remember(Known {
            case: known.case,
            subject: known.subject.clone(),
            symptom: known.symptom.clone(),
            smallest: known.smallest.clone(),
            rate: known.rate,
            verdict: known.verdict,
        });
    }
    replicator
}

impl Driver {
    pub(super) fn new(plan: &CasePlan, sticky: bool, budget: &Budget) -> Self {
        match &plan.only {
            Some(CaseWork::Repeat {
                case,
                test,
                symptom,
                recipe,
                runs,
            }) => Driver::Repeat(Box::new(Repeat::new(
                (*case, *test),
                symptom.as_deref().cloned(),
                recipe.clone(),
                (*runs, sticky),
            ))),
            _ => Driver::Replicator(Box::new(replicator(plan, sticky, budget))),
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        match self {
            Driver::Replicator(replicator) => replicator.is_settled(),
            Driver::Repeat(repeat) => repeat.is_settled(),
        }
    }

    pub(super) fn next(&mut self, at: At, room: Room) -> Option<Try> {
        match self {
            Driver::Replicator(replicator) => replicator.next(at, room),
            Driver::Repeat(repeat) => repeat.next(),
        }
    }

    /// Whether some case was not tried at all yet.
    pub(super) fn has_untried(&self) -> bool {
        match self {
            Driver::Replicator(replicator) => {
                let untried = |case: &Case| case.stage == Stage::Open;
                replicator
                    .cases()
                    .any(|case| untried(case) && !case.sightings.is_empty())
            }
            Driver::Repeat(_) => false,
        }
    }

    /// Which lines the runs of a case execute cannot be told.
    pub(super) fn without_lines(&mut self, case: CaseId, why: &str) {
        if let Driver::Replicator(replicator) = self {
            replicator.without_lines(case, why);
        }
    }

    /// All cases that are tried.
    pub(super) fn cases(&self) -> impl Iterator<Item = &Case> {
        let replicator = match self {
            Driver::Replicator(replicator) => Some(replicator.cases()),
            Driver::Repeat(_) => None,
        };
        replicator.into_iter().flatten()
    }

    pub(super) fn finish(&mut self, at: At, why: &str) {
        match self {
            Driver::Replicator(replicator) => replicator.finish(at, why),
            Driver::Repeat(repeat) => repeat.finish(why),
        }
    }

    pub(super) fn news(&mut self, at: At) -> Vec<Case> {
        match self {
            Driver::Replicator(replicator) => replicator.news(at),
            Driver::Repeat(repeat) => repeat.news(at),
        }
    }

    /// A try of at most `runs` runs ended.
    pub(super) fn ended(
        &mut self,
        at: At,
        (case, runs): (CaseId, u32),
        recipe: &Recipe,
        outcome: Outcome,
    ) {
        match self {
            Driver::Replicator(replicator) => {
                replicator.ended(at, case, recipe, outcome);
            }
            Driver::Repeat(repeat) => repeat.ended(runs, &outcome),
        }
    }
}
