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

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cohort_conditions::{Command, Order, Report};
use cohort_host::cgroup::Controller;
use cohort_host::init::Ended;
use cohort_model::{
    CaseId, CasePart, Condition, ConditionKind, InstanceId, Observation, Recipe, TestId, ThreadEnd,
    ThreadId, Verdict,
};
use cohort_store::Stream;
use cohort_workload::Launch;
use cohort_workload::pytest::{Output, Single, SingleEnd};

use crate::Error;
use crate::discover::Runner;
use crate::ground::Ground;
use crate::instance::{Instance, Squeeze};
use crate::python::Task;
use crate::shell::Hub;
use crate::threads::{self, Thread, order_start, unjudged};

/// Failed tries of one case whose output is kept.
const KEPT_MAX: u32 = 8;
/// What `cohort under` is told, and what it tells, in the directory of a try.
const UNDER_ORDER: &str = "under.json";
const UNDER_REPORT: &str = "under.report.json";
/// Names the files of the test that a try is about.
const LABEL: &str = "test";

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

/// What is to be run.
struct Wanted<'a> {
    task: Task,
    instance: InstanceId,
    recipe: &'a Recipe,
    directory: PathBuf,
}

/// What the control group of an instance is to do for a recipe.
fn squeeze_of(recipe: &Recipe, ground: &Ground) -> Squeeze {
    let mut squeeze = Squeeze::default();
    for condition in &recipe.conditions {
        match *condition {
            Condition::CpuLimit { cores } if ground.limits(Controller::Cpu) => {
                squeeze.cores = Some(cores);
            }
            Condition::MemoryLimit { bytes } if ground.limits(Controller::Memory) => {
                squeeze.memory = Some(bytes);
            }
            _ => {}
        }
    }
    squeeze
}

impl Hub {
    pub(crate) async fn try_case(
        &mut self,
        task: Task,
        case: CaseId,
        id: InstanceId,
        recipe: &Recipe,
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
        };
        let thread = Thread {
            test: task.test,
            home: id,
            place: id,
            hits: instance.hits(),
            memory_seen: 0,
            cpu_waited_us: 0,
            held: false,
            killed: None,
            late: instance.later().is_some(),
            attempt: Some(Box::new(attempt)),
        };
        let wanted = Wanted {
            task,
            instance: id,
            recipe,
            directory,
        };
        self.threads.insert(task.thread, thread);
        match self.attempt_launch(&wanted) {
            Ok(launch) => {
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

    /// How a try is carried out.
    fn attempt_launch(&mut self, wanted: &Wanted<'_>) -> std::io::Result<Launch> {
        fs::create_dir(&wanted.directory)?;
        let before: Vec<TestId> = wanted.recipe.parts.iter().filter_map(before).collect();
        let beside: Vec<TestId> = wanted.recipe.parts.iter().filter_map(beside).collect();
        let together = matches!(self.runner, Runner::Python(_));
        let inside: &[TestId] = if together { &before } else { &[] };
        let launch = self.test_launch(wanted, LABEL, (inside, wanted.task.test))?;
        let mut order = Order {
            conditions: wanted.recipe.conditions.clone(),
            report: Some(wanted.directory.join(UNDER_REPORT)),
            ..Order::default()
        };
        let squeeze = squeeze_of(wanted.recipe, &self.ground);
        let grouped = squeeze.kinds();
        order
            .conditions
            .retain(|condition| !grouped.contains(&condition.kind()));
        order.fallback = [
            ConditionKind::CpuLimit,
            ConditionKind::MemoryLimit,
            ConditionKind::DiskRate,
        ]
        .into_iter()
        .filter(|kind| !grouped.contains(kind))
        .collect();
        if !together {
            for &test in &before {
                order.before.push(command(&self.test_launch(wanted, "", (&[], test))?, &launch));
            }
        }
        for (place, &test) in beside.iter().enumerate() {
            let label = format!("beside-{place}");
            let other = self.test_launch(wanted, &label, (&[], test))?;
            order.beside.push(command(&other, &launch));
        }
        if order.conditions.is_empty() && order.before.is_empty() && order.beside.is_empty() {
            return Ok(launch);
        }
        self.under(&order, &wanted.directory, launch)
    }

    /// The same program under an order.
    fn under(&self, order: &Order, directory: &Path, launch: Launch) -> std::io::Result<Launch> {
        let path = directory.join(UNDER_ORDER);
        fs::write(&path, serde_json::to_vec(order)?)?;
        let mut args = vec!["under".into(), "--order".into(), path.into(), "--".into()];
        args.push(launch.program.into());
        args.extend(launch.args);
        Ok(Launch {
            program: self.ground.executable().to_owned(),
            args,
            ..launch
        })
    }

    /// How one test is run, `before` in the same process where the suite's runner does so.
    fn test_launch(
        &self,
        wanted: &Wanted<'_>,
        label: &str,
        (before, test): (&[TestId], TestId),
    ) -> std::io::Result<Launch> {
        let python = match &self.runner {
            Runner::Processes(launches) => return Ok(launches.launch(test)),
            Runner::Python(python) => python,
        };
        let names: Vec<String> = before
            .iter()
            .chain([&test])
            .map(|test| python.names[test.index()].clone())
            .collect();
        let seed = wanted.recipe.conditions.iter().find_map(|one| match one {
            // What pytest-randomly takes has 32 bits.
            Condition::Seed { seed } => Some((seed & 0xffff_ffff).to_string()),
            _ => None,
        });
        let list = python.collected.as_ref();
        let seed = seed.or_else(|| list.and_then(|list| list.seed.clone()));
        let scratch = self.instances.get(&wanted.instance);
        let scratch = scratch.map_or(wanted.directory.as_path(), |one| &one.scratch);
        python.suite.single_launch(&Single {
            names: &names,
            seed: seed.as_deref(),
            plugin_dir: &python.plugin_dir,
            tmpdir: scratch,
            directory: &wanted.directory,
            label,
            worker: wanted.instance.0,
            finish: wanted.recipe.coverage,
        })
    }

    /// A try ended.
    pub(crate) async fn attempt_ended(
        &mut self,
        thread: Thread,
        ended: &Ended,
    ) -> Result<(), Error> {
        let Some(attempt) = thread.attempt.clone() else {
            return Ok(());
        };
        let (mut end, output) = self.judge_attempt(&thread, &attempt, ended);
        let is_under = attempt.directory.join(UNDER_ORDER).exists();
        if is_under && thread.killed.is_none() && under_report(&attempt).is_none() {
            // Not the test failed, but what was to bring its conditions about.
            end.verdict = Verdict::Aborted;
        }
        self.account(&thread, &mut end);
        let said = (output.stdout.as_bytes(), output.stderr.as_bytes());
        self.read_symptom(&thread, &mut end, said, &output.report);
        end.unapplied.clone_from(&attempt.unapplied);
        if let Some(report) = under_report(&attempt) {
            let missing = report.missing.iter().map(|missing| missing.condition);
            end.unapplied.extend(missing);
        }
        // Files that cannot be removed now are removed with the campaign.
        let _ = fs::remove_dir_all(&attempt.directory);
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
            // With a reason to be killed it is a failure as well, and it is judged by that.
            SingleEnd::NotBegun if thread.killed.is_some() => {
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
        if !end.verdict.is_failure() || end.verdict == Verdict::Aborted || *kept >= KEPT_MAX {
            return;
        }
        *kept += 1;
        let keep = |stream, text: &str| {
            self.campaign
                .keep_output(end.thread, stream, text.as_bytes())
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

/// A launch as a program beside another one.
fn command(launch: &Launch, main: &Launch) -> Command {
    let text = |word: &std::ffi::OsStr| word.to_string_lossy().into_owned();
    let own: BTreeMap<_, _> = launch.env.iter().map(|(name, value)| (name, value)).collect();
    let others: BTreeMap<_, _> = main.env.iter().map(|(name, value)| (name, value)).collect();
    let mut environment = BTreeMap::new();
    for (name, value) in &own {
        if others.get(name) != Some(value) && *name != "TMPDIR" {
            environment.insert(text(name), Some(text(value)));
        }
    }
    for name in others.keys().filter(|name| !own.contains_key(*name)) {
        environment.insert(text(name), None);
    }
    Command {
        program: text(launch.program.as_os_str()),
        arguments: launch.args.iter().map(|word| text(word)).collect(),
        directory: Some(launch.cwd.clone()),
        environment,
    }
}

/// Reads what `cohort under` said of itself; none when it was not asked, or did not come to say it.
fn under_report(attempt: &Attempt) -> Option<Report> {
    let text = fs::read(attempt.directory.join(UNDER_REPORT)).ok()?;
    serde_json::from_slice(&text).ok()
}

fn beside(part: &CasePart) -> Option<TestId> {
    match part {
        CasePart::Beside(test) => Some(*test),
        _ => None,
    }
}

fn before(part: &CasePart) -> Option<TestId> {
    match part {
        CasePart::Before(test) => Some(*test),
        _ => None,
    }
}
