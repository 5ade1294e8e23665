//! What comes of a thread that ended: a result, or one more try.
//!
//! Only two kinds of failure are tried again, each once: what was killed for memory (on the largest
//! allotment), and what failed in a crowd (quietly). No other failure ever is, and none is hidden.

use cohort_model::{
    At, InstanceId, KillReason, Policy, Reason, TestResult, ThreadEnd, ThreadId, Verdict,
};

use crate::state::{Attempt, Run};
use crate::{Orchestrator, Step};

/// Who had to wait for a CPU in more than this share of its time ran in a crowd, however few threads
/// there were: there was more work than cores.
const WAITED_MAX: f64 = 0.25;

impl Orchestrator {
    pub(crate) fn thread_ended(&mut self, at: At, end: &ThreadEnd, step: &mut Step) {
        if self.attempt_ended(at, end, step) {
            return;
        }
        let Some(run) = self.threads.remove(&end.thread) else {
            return;
        };
        if let Some(lock) = run.lock {
            self.locks.remove(&lock);
        }
        let verdict = verdict(&run, end);
        self.vacate(at, end.thread, &run, verdict.is_failure());
        let cores = end.usage.cores();
        self.cpu.thread_ended(run.started, at, cores);
        if verdict != Verdict::Aborted {
            self.open_failures = 0;
        }
        if verdict.is_success() {
            self.costs.learn(run.test, &end.usage);
            self.queue.learned(run.group, &self.costs);
        }
        self.note_end(at, end, &run, verdict);
        self.judge(end.thread, &run, verdict, step);
    }

    /// Whether there was more beside it than its cores bear, so that its failure may be due to that.
    pub(crate) fn is_crowded(&self, run: &Run) -> bool {
        let known = self.plan.history.get(&run.test.0);
        let sensitive = known.is_some_and(|known| known.load_sensitive > 0);
        // Who was found to suffer from company needs less of it.
        let threads_most = if sensitive { 1 } else { self.calm_threads() };
        run.was_held
            || run.crowd.threads_max > threads_most
            || self.policy == Policy::Adaptive && run.crowd.waited() > WAITED_MAX
    }

    fn vacate(&mut self, at: At, thread: ThreadId, run: &Run, failed: bool) {
        let Some(lane) = self.lanes.get_mut(&run.place) else {
            return;
        };
        if lane.thread == Some(thread) {
            lane.thread = None;
            lane.yielded = false;
            lane.held = false;
            self.analyzer.thread_ended(at, run.place, failed);
            self.free_memory(run.place);
        }
        if let Some(source) = run.source {
            let Some(lane) = self.lanes.get_mut(&source) else {
                return;
            };
            lane.residue = 0;
            if lane.thread.is_none() {
                self.promises.release(source);
            }
        }
    }

    /// An instance that runs nothing needs no memory, unless it keeps a warm worker.
    fn free_memory(&mut self, instance: InstanceId) {
        if !self.plan.sticky {
            self.promises.release(instance);
            return;
        }
        let used = self.analyzer.memory_anon(instance).unwrap_or(0);
        if let Some(less) = self.promises.shrink(instance, used) {
            self.promises.promise(instance, less);
        }
    }

    fn judge(&mut self, thread: ThreadId, run: &Run, verdict: Verdict, step: &mut Step) {
        let crowded = self.is_crowded(run);
        let test = run.test;
        let progress = &mut self.progress[test.index()];
        match verdict {
            Verdict::Aborted if self.stopping => return,
            Verdict::Aborted if run.killed.is_none() => return self.put_back(run),
            Verdict::OutOfMemory
                if run.attempt != Attempt::Largest && !progress.memory_retried && !run.had_all =>
            {
                progress.memory_retried = true;
                self.largest.push_back(test);
                return;
            }
            Verdict::Failed | Verdict::Crashed | Verdict::TimedOut
                if crowded
                    && run.attempt == Attempt::First
                    && run.killed != Some(KillReason::Disk) =>
            {
                progress.crowd = Some(run.crowd);
                self.quiet.push_back(test);
                return;
            }
            _ => {}
        }
        debug_assert_eq!(progress.threads.last(), Some(&thread));
        let result = TestResult {
            test,
            verdict,
            threads: progress.threads.clone(),
            load_sensitive: progress.crowd.is_some() && !verdict.is_failure(),
            memory_retried: progress.memory_retried,
        };
        self.conclude(result, Reason::Ended, step);
    }
}

impl Orchestrator {
    /// A thread never ran, since its instance could not be opened: its test waits again.
    fn put_back(&mut self, run: &Run) {
        match run.attempt {
            Attempt::First => self.queue.put_back(run.test, run.group, &self.costs),
            Attempt::Largest => self.largest.push_front(run.test),
            Attempt::Quiet => self.quiet.push_front(run.test),
        }
    }
}

fn verdict(run: &Run, end: &ThreadEnd) -> Verdict {
    run.killed
        .map_or(end.verdict, |killed| killed.verdict(end.verdict))
}
