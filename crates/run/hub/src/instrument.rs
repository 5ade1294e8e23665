//! Building a test program so that it tells which lines it runs, in an instance for tries.
//!
//! The user's own build stays as it is: this one has a target directory of its own, beside what the user's
//! build made there. It is cargo's, with the project's own toolchain and options; only the crates of the
//! workspace are instrumented.

use std::path::{Path, PathBuf};

use cohort_coverage::rust_build;
use cohort_host::init::Ended;
use cohort_model::{InstanceId, Observation, ThreadEnd, ThreadId, Verdict};

use crate::Error;
use crate::discover::Runner;
use crate::python::Task;
use crate::shell::Hub;
use crate::threads::{Thread, order_start, unjudged};

/// In the user's target directory, or the project's record.
const TARGET: &str = "cohort-coverage";
/// Longest word of a compiler that is passed on, characters.
const SAID_MAX: usize = 300;

impl Hub {
    pub(crate) async fn instrument(
        &mut self,
        task: Task,
        id: InstanceId,
        jobs: u32,
    ) -> Result<(), Error> {
        let Some(instance) = self.instances.get_mut(&id) else {
            let message = format!("{id} could not be opened");
            self.end_thread(id, unjudged(task.thread, Verdict::Aborted, message));
            return Ok(());
        };
        let thread = Thread {
            builds: true,
            ..Thread::begun(task.test, id, instance)
        };
        match launch(&self.runner, &task, &self.keeper.root, jobs) {
            Ok(launch) => {
                self.threads.insert(task.thread, thread);
                let nice = self.ground.nice(instance.allotment());
                let order = order_start(task.thread, launch, (&instance.scratch, nice));
                instance.tell(&order).await
            }
            Err(message) => {
                self.end_thread(id, unjudged(task.thread, Verdict::Failed, message));
                Ok(())
            }
        }
    }

    /// A build ended.
    pub(crate) fn build_ended(&mut self, thread: &Thread, ended: &Ended) {
        let mut end = unjudged(ThreadId(ended.thread), Verdict::Passed, String::new());
        end.message = None;
        (end.exit_code, end.signal, end.usage) = (ended.exit_code, ended.signal, ended.usage);
        let built = match &mut self.runner {
            Runner::Processes(launches) => launches.cargo_mut().is_some_and(|cargo| {
                ended.exit_code == Some(0) && cargo.built(thread.test, &ended.stdout)
            }),
            Runner::Python(_) => false,
        };
        if !built {
            end.verdict = Verdict::Failed;
            end.message = Some(why(&end, &String::from_utf8_lossy(&ended.stderr)));
        }
        self.seen.push(Observation::ThreadEnded(end));
    }
}

/// What builds the program of a test; the reason when that cannot be.
fn launch(
    runner: &Runner,
    task: &Task,
    root: &Path,
    jobs: u32,
) -> Result<cohort_workload::Launch, String> {
    let cargo = match runner {
        Runner::Processes(launches) => launches.cargo(),
        Runner::Python(_) => None,
    };
    let cargo = cargo.ok_or("it is no suite of cargo")?;
    let target = cargo.target_directory(task.test);
    let target: PathBuf = match target {
        Some(target) => target.join(TARGET),
        None => root.join(".cohort").join(TARGET),
    };
    let mut added = rust_build(&target).map_err(|error| cohort_host::chain(&error))?;
    added.push(("CARGO_BUILD_JOBS".into(), jobs.to_string().into()));
    let launch = cargo.build(task.test, &target, &added);
    launch.ok_or_else(|| "tests in documentation cannot be built so".to_owned())
}

/// The first error of a compiler, else the last word.
fn why(end: &ThreadEnd, stderr: &str) -> String {
    let lines = || {
        stderr
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
    };
    let error = lines().find(|line| line.starts_with("error"));
    let said = error.or_else(|| lines().next_back());
    let said: Option<String> = said.map(|line| line.chars().take(SAID_MAX).collect());
    match (said, end.signal, end.exit_code) {
        (Some(said), ..) => said,
        (None, Some(signal), _) => format!("it was ended by signal {signal}"),
        (None, None, Some(0)) => "cargo made no such program".to_owned(),
        (None, None, code) => format!("exit code {}", code.unwrap_or(-1)),
    }
}
