//! What the ordinary work shows: failures, and what ran before and beside them.

use std::collections::VecDeque;

use cohort_model::{
    At, CasePart, InstanceId, KillReason, Subject, Symptom, SymptomKind, TestId, ThreadEnd,
    ThreadId, Verdict,
};
use cohort_replicator::Sighting;

use super::{Driver, Replication};
use crate::Orchestrator;
use crate::state::{Attempt, Run};

/// Most tests that are remembered to have run before on one instance where they share a process.
const BEFORE_MAX: usize = 200;
/// The same where each has a process of its own: only what they leave behind can matter.
const BEFORE_APART_MAX: usize = 20;
/// Most tests that are remembered to have run beside one.
const BESIDE_MAX: usize = 64;

/// What a failure looked like of which nobody read more than its verdict.
pub(super) fn plain_symptom(end: &ThreadEnd, verdict: Verdict) -> Symptom {
    let kind = match verdict {
        Verdict::TimedOut => SymptomKind::Timeout,
        Verdict::OutOfMemory => SymptomKind::OutOfMemory,
        Verdict::Crashed if end.signal.is_some() => SymptomKind::Signal,
        _ => SymptomKind::Failure,
    };
    let class = match (end.signal, end.exit_code) {
        _ if kind == SymptomKind::Timeout || kind == SymptomKind::OutOfMemory => String::new(),
        (Some(signal), _) => format!("signal {signal}"),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => String::new(),
    };
    Symptom {
        kind,
        class,
        message: end.message.clone().unwrap_or_default(),
        frames: Vec::new(),
    }
}

impl Replication {
    fn began(&mut self, thread: ThreadId, test: TestId, beside: &[(ThreadId, TestId)]) {
        let mut tests: Vec<TestId> = beside.iter().map(|&(_, test)| test).collect();
        tests.truncate(BESIDE_MAX);
        for (other, _) in beside {
            let list = self.beside.entry(*other).or_default();
            if list.len() < BESIDE_MAX && !list.contains(&test) {
                list.push(test);
            }
        }
        self.beside.insert(thread, tests);
    }

    fn ran(&mut self, place: InstanceId, test: TestId, most: usize) {
        let list = self.before.entry(place).or_default();
        list.push_back(test);
        while list.len() > most {
            list.pop_front();
        }
    }
}

impl Orchestrator {
    /// A thread of the ordinary work begins.
    pub(crate) fn note_begin(&mut self, thread: ThreadId, test: TestId) {
        let Some(replication) = &mut self.replication else {
            return;
        };
        let running = self.threads.iter().filter(|(_, run)| !run.yielded);
        let beside: Vec<(ThreadId, TestId)> = running
            .filter(|(other, _)| **other != thread)
            .map(|(&other, run)| (other, run.test))
            .collect();
        replication.began(thread, test, &beside);
    }

    /// A thread of the ordinary work ended.
    pub(crate) fn note_end(&mut self, at: At, end: &ThreadEnd, run: &Run, verdict: Verdict) {
        let crowded = self.is_crowded(run);
        let history = self.plan.history.get(&run.test.0);
        let passed_before = history.map_or(0, |known| known.runs.saturating_sub(known.failures));
        let sticky = self.plan.sticky;
        let Some(replication) = &mut self.replication else {
            return;
        };
        let mut beside = replication.beside.remove(&end.thread).unwrap_or_default();
        if crowded && run.attempt == Attempt::First {
            // It has its second try still before it, which nothing of what ran beside it may disturb: a
            // test that is ended in the middle leaves what it made.
            beside.clear();
        }
        if verdict == Verdict::Aborted {
            return;
        }
        let test = run.test;
        if verdict.is_success() {
            replication.passes[test.index()] += 1;
        } else if verdict.is_failure() && run.killed != Some(KillReason::Disk) {
            if matches!(verdict, Verdict::Failed | Verdict::Crashed) {
                let wall_us = end.usage.wall_us as f64;
                replication.walls_us.entry(test).or_insert(wall_us);
                let long = replication.long.entry(test).or_default();
                long.failed(end.usage.wall_us, None);
            }
            if verdict == Verdict::OutOfMemory {
                replication.hungry.insert(test);
            }
            let before = replication.before.get(&run.place);
            let before = before.into_iter().flatten();
            let parts = before
                .map(|&test| CasePart::Before(test))
                .chain(beside.into_iter().map(CasePart::Beside))
                .collect();
            let plain = plain_symptom(end, verdict);
            let sighting = Sighting {
                subject: Subject::Test(test),
                thread: end.thread,
                symptom: end.symptom.as_deref().unwrap_or(&plain),
                parts,
                usage: end.usage,
                crowded,
                passes: replication.passes[test.index()] + passed_before,
            };
            if let Driver::Replicator(replicator) = &mut replication.driver {
                let known = replicator.cases().count();
                let case = replicator.sighted(at, &sighting);
                if let Some(input) = &end.input {
                    replicator.reads(case, input);
                }
                replication.fresh += u32::from(replicator.cases().count() > known);
                replication.since.get_or_insert(at);
                replication.has_failed = true;
            }
        }
        let gone = run.killed.is_some() || verdict == Verdict::Crashed;
        if sticky && gone {
            // The next test there begins in a new process.
            replication.before.insert(run.place, VecDeque::new());
        } else {
            let most = if sticky { BEFORE_MAX } else { BEFORE_APART_MAX };
            replication.ran(run.place, test, most);
        }
    }
}
