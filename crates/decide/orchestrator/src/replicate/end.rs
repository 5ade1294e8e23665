//! What the end of a try tells.

use cohort_model::{
    At, Command, ConditionKind, KillReason, Reason, Recipe, ThreadEnd, Usage, Verdict,
};
use cohort_replicator::Outcome;

use super::sight::plain_symptom;
use super::{Attempt, Replication};
use crate::{Orchestrator, Step};

/// So many of the first runs without company ...
const APART_RUNS: u32 = 4;
/// ... have to fail for company not to matter.
const APART_FAILED: u32 = 2;

impl Orchestrator {
    /// Whether `end` is that of a try.
    pub(crate) fn attempt_ended(&mut self, at: At, end: &ThreadEnd, step: &mut Step) -> bool {
        let Some(replication) = &mut self.replication else {
            return false;
        };
        let Some(attempt) = replication.attempts.remove(&end.thread) else {
            return false;
        };
        replication.spent_us += end.usage.cpu_us() as f64;
        let spoiled = is_of(&attempt.recipe, ConditionKind::MemoryLimit);
        self.promises.release(attempt.place);
        if spoiled && replication.places.remove(&attempt.place).is_some() {
            // It no longer holds what reaches its limit.
            let instance = attempt.place;
            step.decide(Command::CloseInstance { instance }, Reason::Idle);
        } else if let Some(place) = replication.places.get_mut(&attempt.place) {
            place.thread = None;
        }
        if attempt.builds {
            self.build_ended(&attempt, end);
            return true;
        }
        let outcome = outcome(&attempt, end);
        if is_starved(&attempt) {
            replication.hungry.insert(attempt.test);
        }
        replication.note_company(&attempt, &outcome);
        if outcome.passed {
            let wall_us = end.usage.wall_us as f64;
            let usual = replication.walls_us.entry(attempt.test).or_insert(wall_us);
            if attempt.recipe.conditions.is_empty() {
                *usual = usual.max(wall_us);
            }
        }
        let ran = outcome.passed || outcome.symptom.is_some() || attempt.killed.is_some();
        replication.fruitless = if ran { 0 } else { replication.fruitless + 1 };
        if attempt.compares {
            return true;
        }
        let (case, recipe, test) = (attempt.case, attempt.recipe, attempt.test);
        let compare = recipe.coverage && outcome.symptom.is_some();
        replication.driver.ended(at, case, &recipe, outcome);
        if compare {
            self.compare(case, test);
        }
        true
    }
}

impl Replication {
    /// Learns whether tries of a test may run at the same time. A test that fails in half of its runs
    /// without company as well may.
    fn note_company(&mut self, attempt: &Attempt, outcome: &Outcome) {
        let failed = outcome.symptom.is_some();
        if is_of(&attempt.recipe, ConditionKind::Copies) {
            return;
        }
        if attempt.overlapped {
            if failed {
                self.apart.entry(attempt.test).or_default();
            }
        } else if let Some(apart) = self.apart.get_mut(&attempt.test) {
            apart.runs += u32::from(failed || outcome.passed);
            apart.failed += u32::from(failed);
            let first = apart.runs <= APART_RUNS;
            apart.over |= first && apart.failed >= APART_FAILED;
        }
    }
}

fn is_of(recipe: &Recipe, kind: ConditionKind) -> bool {
    recipe.conditions.iter().any(|one| one.kind() == kind)
}

/// Whether it was given less memory than there is, and needed more.
fn is_starved(attempt: &Attempt) -> bool {
    attempt.killed == Some(KillReason::Memory)
        && !attempt.has_all
        && !is_of(&attempt.recipe, ConditionKind::MemoryLimit)
}

/// What it tells about its case; nothing when it was ended for the sake of others.
fn outcome(attempt: &Attempt, end: &ThreadEnd) -> Outcome {
    let verdict = attempt
        .killed
        .map_or(end.verdict, |killed| killed.verdict(end.verdict));
    let starved = is_starved(attempt);
    let tells = match attempt.killed {
        Some(KillReason::Interrupted | KillReason::Disk) => verdict.is_success(),
        _ => verdict != Verdict::Aborted && verdict != Verdict::Skipped && !starved,
    };
    let symptom = (tells && verdict.is_failure()).then(|| {
        let seen = end.symptom.as_deref().cloned();
        seen.unwrap_or_else(|| plain_symptom(end, verdict))
    });
    Outcome {
        passed: tells && symptom.is_none(),
        symptom,
        usage: if tells { end.usage } else { Usage::default() },
        missing: end.unapplied.clone(),
    }
}
