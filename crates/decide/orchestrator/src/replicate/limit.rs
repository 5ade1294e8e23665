//! When a try, or all of it, has to end.

use cohort_model::{At, Command, KillReason, Reason, SampleBatch, ThreadId};

use crate::{Orchestrator, Step};

/// What waits to run quietly waits so long for tries to end by themselves, microseconds.
const QUIET_WAIT_US: u64 = 1_000_000;
/// Instances for tries that fail to open one after the other before nothing more is tried.
const OPEN_FAILURES_MAX: u32 = 3;
/// Tries that cannot be run one after the other before nothing more is tried.
const FRUITLESS_MAX: u32 = 20;
/// Without cgroups: below this part of the budget left on the host, the youngest try has to go.
const AVAILABLE_PART_MIN: f64 = 0.1;
/// When nothing failed, cases of earlier campaigns are tried for this part of the time that the tests
/// took ...
const GOOD_RUN_PART: u64 = 10;
/// ... and at least so long, microseconds.
const GOOD_RUN_US: u64 = 2_000_000;

/// What stands still uses no more than this between two readings: microseconds of CPU, or bytes.
const STILL_USE: u64 = 1_500;

impl Orchestrator {
    /// Why nothing more may be tried, if so.
    pub(super) fn is_time_over(&self, at: At) -> Option<String> {
        let replication = self.replication.as_ref()?;
        if replication.open_failures >= OPEN_FAILURES_MAX {
            return Some("no instance could be opened to try it again".to_owned());
        }
        if replication.fruitless >= FRUITLESS_MAX {
            return Some("tries could not be run here".to_owned());
        }
        let done = replication.done?;
        let mut after_us = replication.plan.after_us;
        if !replication.has_failed && replication.plan.only.is_none() {
            // Only what earlier campaigns saw is tried: that may not make a good run much longer.
            after_us = after_us.min((done.0 / GOOD_RUN_PART).max(GOOD_RUN_US));
        }
        (at.since(done) >= after_us).then(|| {
            let seconds = after_us as f64 / 1e6;
            match replication.plan.only {
                Some(_) => format!("the time for it, {seconds:.0} s, is used up"),
                None => format!(
                    "the time for reproducing, {seconds:.0} s after the last test, was used up"
                ),
            }
        })
    }

    pub(super) fn end_replication(&mut self, at: At, why: &str, step: &mut Step) {
        let Some(replication) = &mut self.replication else {
            return;
        };
        replication.over = true;
        let all: Vec<ThreadId> = replication.attempts.keys().copied().collect();
        for thread in all {
            self.kill_attempt(thread, KillReason::Interrupted, Reason::Stopping, step);
        }
        self.end_builds();
        self.give_back_held(at);
        if let Some(replication) = &mut self.replication
            && replication.attempts.is_empty()
        {
            replication.driver.finish(at, why);
        }
    }

    pub(super) fn kill_attempt(
        &mut self,
        thread: ThreadId,
        why: KillReason,
        reason: Reason,
        step: &mut Step,
    ) {
        let attempts = self.replication.as_mut().map(|one| &mut one.attempts);
        if let Some(attempt) = attempts.and_then(|attempts| attempts.get_mut(&thread))
            && attempt.killed.is_none()
        {
            attempt.killed = Some(why);
            step.decide(Command::KillThread { thread, why }, reason);
        }
    }

    /// Kills tries that take too long, and those that what has to run quietly waits for.
    pub(super) fn limit_attempts(&mut self, at: At, step: &mut Step) {
        let quiet_waits = self.quiet_is_next() && self.threads.is_empty();
        let Some(replication) = &self.replication else {
            return;
        };
        let mut over = Vec::new();
        for (&thread, attempt) in &replication.attempts {
            let age_us = at.since(attempt.started);
            if age_us > attempt.limit_us {
                let seconds = attempt.limit_us as f64 / 1e6;
                over.push((thread, KillReason::Timeout, Reason::Limit { seconds }));
            } else if at.since(attempt.moved.0) > attempt.still_us {
                let seconds = attempt.still_us as f64 / 1e6;
                over.push((thread, KillReason::Stalled, Reason::Limit { seconds }));
            } else if quiet_waits && age_us > QUIET_WAIT_US {
                let reason = Reason::Crowded {
                    threads: replication.attempts(),
                    waited: 0.0,
                };
                over.push((thread, KillReason::Interrupted, reason));
            }
        }
        over.extend(self.relieved());
        for (thread, why, reason) in over {
            self.kill_attempt(thread, why, reason, step);
        }
    }

    /// Who has to go when the host runs short of memory and nothing is held: a try before any test.
    pub(super) fn relieved(&self) -> Option<(ThreadId, KillReason, Reason)> {
        let replication = self.replication.as_ref()?;
        let (short, had) = (self.is_memory_short(), self.host.memory_available);
        let going = replication
            .attempts
            .values()
            .any(|one| one.killed.is_some());
        let (&thread, _) = replication.attempts.iter().next_back()?;
        let reason = Reason::MemoryExhausted { had };
        (short && !going).then_some((thread, KillReason::Memory, reason))
    }

    pub(crate) fn is_memory_short(&self) -> bool {
        let had = self.host.memory_available;
        let least = (self.budget.memory as f64 * AVAILABLE_PART_MIN) as u64;
        !self.budget.holds_memory && had > 0 && had < least
    }

    /// Whether the next ordinary test, or one that runs, is one that wants nothing beside it.
    pub(super) fn quiet_is_next(&self) -> bool {
        let apart = !self.calm.is_empty() || !self.largest.is_empty() || !self.quiet.is_empty();
        self.queue.len() == 0 && apart && !self.stopping
    }

    /// Notes which tries do something.
    pub(crate) fn watch_attempts(&mut self, batch: &SampleBatch) {
        let Some(replication) = &mut self.replication else {
            return;
        };
        for attempt in replication.attempts.values_mut() {
            let sample = batch.instances.iter();
            let mut sample = sample.filter(|sample| sample.instance == attempt.place);
            let Some(sample) = sample.next() else {
                continue;
            };
            let used = sample.cpu_us + sample.io_read + sample.io_written;
            if used > attempt.moved.1 + STILL_USE {
                attempt.moved = (batch.at, used);
            }
        }
    }
}
