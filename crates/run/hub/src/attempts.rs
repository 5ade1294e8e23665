//! Trying an edge case: one test in an instance of its own, under the conditions of a recipe.
//!
//! ```text
//!   TryCase --> the instance is squeezed (CPU, memory, storage)
//!           --> [cohort under --order FILE --] the test's own launch, or one pytest process of its own
//!           --> judged as ever --> ThreadEnd; squeeze and scratch directory as before
//! ```
//!
//! Promise: a try leaves nothing for the next one. A scratch directory that cannot be made as it was is
//! given up together with its instance.

use std::fs;
use std::path::PathBuf;

use cohort_conditions::Report;
use cohort_host::init::Ended;
use cohort_model::{
    Batch, CaseId, ConditionKind, InstanceId, KillReason, Observation, Recipe, ThreadEnd, ThreadId,
    Verdict,
};
use cohort_store::Stream;
use cohort_workload::pytest::{Output, SingleEnd};

use crate::Error;
use crate::discover::Runner;
use crate::instance::{Instance, Squeeze};
use crate::located::Run;
use crate::python::Task;
use crate::recipe_run::{
    LABEL, PROGRESS, RecipeRun, Recorded, UNDER_ORDER, UNDER_REPORT, squeeze_of,
};
use crate::shell::Hub;
use crate::stood;
use crate::threads::{self, Thread, order_start, unjudged};

/// Failed tries of one case whose output is kept.
const KEPT_MAX: usize = 4;
/// Bytes that are kept of each of its output streams: its end.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// A try under way.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) case: CaseId,
    /// Files by which it is told what to do and tells what came of it.
    directory: PathBuf,
    /// What could not be had from the start.
    unapplied: Vec<ConditionKind>,
    /// Its instance's memory is limited.
    squeezed: bool,
    /// Where its threads stand is told when it crashes or takes too long.
    pub(crate) stacks: bool,
    /// Which lines it runs is recorded.
    recording: Option<Recorded>,
}

impl Attempt {
    /// What it means that the init of its instance is gone.
    pub(crate) fn without_init(&self) -> Verdict {
        if self.squeezed {
            Verdict::OutOfMemory
        } else {
            Verdict::Aborted
        }
    }
}

impl Hub {
    pub(crate) async fn try_case(
        &mut self,
        task: Task,
        case: CaseId,
        id: InstanceId,
        (recipe, batch, limit_us): (&Recipe, Option<&Batch>, Option<u64>),
    ) -> Result<(), Error> {
        let directory = self.ground.shared.join(format!("try-{}", task.thread));
        let Some(instance) = self.instances.get_mut(&id) else {
            let message = format!("{id} could not be opened");
            self.end_thread(id, unjudged(task.thread, Verdict::Aborted, message));
            return Ok(());
        };
        let squeeze = squeeze_of(recipe, &self.ground);
        let unapplied = instance.squeeze(squeeze);
        let attempt = Attempt {
            case,
            directory: directory.clone(),
            unapplied,
            squeezed: squeeze.memory.is_some(),
            stacks: recipe.stacks,
            recording: None,
        };
        let thread = Thread {
            attempt: Some(Box::new(attempt)),
            ..Thread::begun(task.test, id, instance)
        };
        let launched = RecipeRun {
            runner: &self.runner,
            ground: &self.ground,
            test: task.test,
            recipe,
            scratch: &instance.scratch,
            worker: id.0,
            plain: false,
            batch,
            limit_us,
            directory: &directory,
        }
        .launch(Some(&self.located));
        self.threads.insert(task.thread, thread);
        match launched {
            Ok((launch, recording)) => {
                let thread = self.threads.get_mut(&task.thread);
                if let Some(attempt) = thread.and_then(|thread| thread.attempt.as_mut()) {
                    attempt.recording = recording;
                }
                let Some(instance) = self.instances.get_mut(&id) else {
                    return Ok(());
                };
                let nice = self.ground.nice(instance.allotment());
                let order = order_start(task.thread, launch, (&instance.scratch, nice));
                instance.tell(&order).await
            }
            Err(source) => {
                self.threads.remove(&task.thread);
                let message = format!("what is to be tried cannot be written: {source}");
                self.end_thread(id, unjudged(task.thread, Verdict::Aborted, message));
                Ok(())
            }
        }
    }

    /// A try ended.
    pub(crate) async fn attempt_ended(
        &mut self,
        mut thread: Thread,
        ended: &Ended,
    ) -> Result<(), Error> {
        let Some(attempt) = thread.attempt.clone() else {
            return Ok(());
        };
        let report = under_report(&attempt);
        let (mut end, output) = self.judge_attempt(&thread, &attempt, ended);
        let is_under = attempt.directory.join(UNDER_ORDER).exists();
        if is_under && thread.killed.is_none() && report.is_none() {
            // Not the test failed, but what was to bring its conditions about.
            end.verdict = Verdict::Aborted;
        }
        let stuck = report.as_ref().is_some_and(|report| report.stuck);
        if stuck && thread.killed.is_none() && end.verdict != Verdict::Aborted {
            let why = KillReason::Stalled;
            thread.killed = Some(why);
            end.verdict = why.verdict(end.verdict);
        }
        end.passed_before = passed_before(&attempt);
        self.account(&thread, &mut end);
        let said = (output.stdout.as_bytes(), output.stderr.as_bytes());
        self.read_symptom(&thread, &mut end, said, &output.report);
        if attempt.stacks {
            let about = (attempt.case, thread.test);
            let places = (attempt.directory.as_path(), self.keeper.root.as_path());
            let stood = stood::take(about, places, &output.stderr, &mut end);
            if let Some(stood) = stood {
                stood::keep(&mut self.keeper.stood, stood);
            }
        }
        end.unapplied.clone_from(&attempt.unapplied);
        if let Some(report) = report {
            let missing = report.missing.iter().map(|missing| missing.condition);
            end.unapplied.extend(missing);
        }
        match &attempt.recording {
            Some(recording) => {
                let failed = end.symptom.is_some();
                let tells = failed || end.verdict.is_success();
                let run = Run {
                    case: attempt.case,
                    test: thread.test,
                    failed,
                };
                let symptom = end.symptom.as_ref();
                let frames = symptom.map_or_else(Vec::new, |symptom| symptom.frames.clone());
                self.located.read(
                    (run, frames),
                    recording.clone(),
                    (tells, attempt.directory.clone()),
                );
            }
            None => {
                // Files that cannot be removed now are removed with the campaign.
                let _ = fs::remove_dir_all(&attempt.directory);
            }
        }
        self.keep_attempt(&attempt, &end, &output);
        self.restore(thread.home, &mut end);
        self.seen.push(Observation::ThreadEnded(end));
        Ok(())
    }

    fn judge_attempt(
        &self,
        thread: &Thread,
        attempt: &Attempt,
        ended: &Ended,
    ) -> (ThreadEnd, Output) {
        let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let output = Output {
            stdout: words(&ended.stdout),
            stderr: words(&ended.stderr),
            report: String::new(),
        };
        let id = ThreadId(ended.thread);
        if let Runner::Processes(launches) = &self.runner {
            return (threads::end(thread, ended, launches), output);
        }
        let how = match (ended.exit_code, ended.signal) {
            (Some(code), _) => format!("its process exited with code {code}"),
            (None, Some(signal)) => format!("its process was ended by signal {signal}"),
            (None, None) => "its process ended".to_owned(),
        };
        let (mut end, output) = match SingleEnd::read(&attempt.directory, LABEL, id) {
            SingleEnd::Ended(both) => *both,
            SingleEnd::Begun => {
                let message = format!("{how} while it ran this test");
                (unjudged(id, Verdict::Crashed, message), output)
            }
            // Too little memory for its runner is too little for the test. That the time was over before it
            // began says nothing of it.
            SingleEnd::NotBegun if thread.killed == Some(KillReason::Memory) => {
                let message = format!("{how} before it began this test");
                (unjudged(id, Verdict::Crashed, message), output)
            }
            SingleEnd::NotBegun => {
                let message = format!("{how} before it began this test");
                (unjudged(id, Verdict::Aborted, message), output)
            }
            SingleEnd::Missing(why) => (unjudged(id, Verdict::Aborted, why), output),
        };
        (end.exit_code, end.signal) = (ended.exit_code, ended.signal);
        end.usage = ended.usage;
        end.left_behind = ended.left_behind;
        end.output_dropped += ended.dropped_bytes;
        (end, output)
    }

    /// Keeps what failed tries wrote, up to some of each case.
    fn keep_attempt(&mut self, attempt: &Attempt, end: &ThreadEnd, output: &Output) {
        let kept = self.kept_attempts.entry(attempt.case).or_default();
        if !end.verdict.is_failure() || end.verdict == Verdict::Aborted || kept.len() >= KEPT_MAX {
            return;
        }
        kept.push(end.thread);
        let keep = |stream, text: &str| {
            let end_of = text.as_bytes();
            let end_of = &end_of[end_of.len().saturating_sub(KEPT_BYTES_MAX)..];
            self.campaign.keep_output(end.thread, stream, end_of)
        };
        let kept = keep(Stream::Report, &output.report)
            .and(keep(Stream::Stdout, &output.stdout))
            .and(keep(Stream::Stderr, &output.stderr));
        self.note_broken(kept);
    }

    /// Makes the instance of a try as it was before, or gives it up.
    fn restore(&mut self, id: InstanceId, end: &mut ThreadEnd) {
        let isolation = self.ground.isolation;
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        instance.squeeze(Squeeze::default());
        instance.sweep_scratch(isolation);
        let private = isolation.mount || isolation.pid;
        if private || instance.scratch_is_whole() {
            return;
        }
        let said = "it damaged its scratch directory, so its instance was given up";
        let message = end.message.take();
        end.message = Some(message.map_or(said.to_owned(), |message| format!("{message}; {said}")));
        self.abandon(id, "its scratch directory was damaged");
    }

    fn abandon(&mut self, id: InstanceId, why: &str) {
        if let Some(collector) = &self.collector {
            collector.unwatch(id);
        }
        if let Some(instance) = self.instances.remove(&id) {
            self.closing.push(Instance::close(instance, id));
            self.seen.push(Observation::InstanceLost {
                instance: id,
                reason: why.to_owned(),
            });
        }
    }
}

/// Runs of a batch that passed before the one that ended it.
fn passed_before(attempt: &Attempt) -> u32 {
    let text = fs::read_to_string(attempt.directory.join(PROGRESS)).unwrap_or_default();
    text.trim().parse().unwrap_or_default()
}

/// Reads what `cohort under` said of itself; none when it was not asked, or did not come to say it.
fn under_report(attempt: &Attempt) -> Option<Report> {
    let text = fs::read(attempt.directory.join(UNDER_REPORT)).ok()?;
    serde_json::from_slice(&text).ok()
}
