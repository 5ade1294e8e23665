//! What the end of a try tells.

use cohort_model::{
    At, Command, ConditionKind, KillReason, Reason, Recipe, ThreadEnd, Usage, Verdict,
};
use cohort_replicator::Outcome;

use super::sight::plain_symptom;
use super::{Attempt, Replication};
use crate::{Orchestrator, Step};

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
            let wall_us = outcome.usage.wall_us as f64;
            let usual = replication.walls_us.entry(attempt.test).or_insert(wall_us);
            if attempt.recipe.conditions.is_empty() {
                *usual = usual.max(wall_us);
            }
        }
        let timed_out = end.verdict == Verdict::TimedOut;
        replication.note_long(at, (&attempt, timed_out), &outcome);
        let ran = outcome.passed
            || outcome.passed_before > 0
            || outcome.symptom.is_some()
            || attempt.killed.is_some();
        replication.fruitless = if ran { 0 } else { replication.fruitless + 1 };
        if attempt.compares {
            return true;
        }
        let runs = attempt.batch.as_ref().map_or(1, |batch| batch.runs);
        let (case, recipe, test) = (attempt.case, attempt.recipe, attempt.test);
        let compare = recipe.coverage && outcome.symptom.is_some();
        replication.driver.ended(at, (case, runs), &recipe, outcome);
        if compare {
            self.compare(case, test);
        }
        true
    }
}

impl Replication {
    /// Learns how long failing runs take.
    fn note_long(&mut self, at: At, (attempt, timed_out): (&Attempt, bool), outcome: &Outcome) {
        if outcome.symptom.is_none() {
            return;
        }
        let before_us = u64::from(outcome.passed_before) * outcome.usage.wall_us;
        let wall_us = at.since(attempt.started).saturating_sub(before_us);
        let ended = match attempt.killed {
            // It was ended where it ran, for nothing of it could go on.
            None if timed_out => Some(wall_us),
            None => None,
            Some(KillReason::Timeout | KillReason::Stalled) => Some(at.since(attempt.moved.0)),
            Some(_) => return,
        };
        let long = self.long.entry(attempt.test).or_default();
        long.failed(wall_us, ended);
    }

    /// Learns whether tries of a test may run at the same time.
    fn note_company(&mut self, attempt: &Attempt, outcome: &Outcome) {
        let failed = outcome.symptom.is_some();
        if is_of(&attempt.recipe, ConditionKind::Copies) {
            return;
        }
        let company = self.company.entry(attempt.test).or_default();
        let seen = match attempt.overlapped {
            true => &mut company.beside,
            false => &mut company.alone,
        };
        seen.0 += outcome.passed_before + u32::from(failed || outcome.passed);
        seen.1 += u32::from(failed);
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
        // Its time was over before it began.
        Some(KillReason::Timeout | KillReason::Stalled) if end.verdict == Verdict::Aborted => false,
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
        passed_before: end.passed_before,
        usage: match tells || end.passed_before > 0 {
            true => each(&end.usage, end.passed_before + 1),
            false => Usage::default(),
        },
        missing: end.unapplied.clone(),
    }
}

/// What one of so many runs used on the average.
fn each(usage: &Usage, runs: u32) -> Usage {
    let part = |all: u64| all / u64::from(runs.max(1));
    Usage {
        wall_us: part(usage.wall_us),
        user_us: part(usage.user_us),
        system_us: part(usage.system_us),
        memory_peak: usage.memory_peak,
        io_read: part(usage.io_read),
        io_written: part(usage.io_written),
        waits: part(usage.waits),
        preemptions: part(usage.preemptions),
        cpu_waited_us: part(usage.cpu_waited_us),
    }
}
