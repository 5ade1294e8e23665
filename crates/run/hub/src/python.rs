//! pytest's side of the hub: the collector, and one warm worker per instance.
//!
//! ```text
//!   (none) --fork or launch--> starting --ready--> idle --run--> busy --yielded--> asked
//!                                                   ^                               | next
//!                                                   +----------- ended -------- cleaning
//! ```
//! A worker that is gone, however, takes the blame to the test it ran; the next thread on its
//! instance gets a new worker.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cohort_model::{InstanceId, TestId, ThreadId};
use cohort_workload::pytest::protocol::{Collected, Fork, ToPython};
use cohort_workload::pytest::{Anew, Pytest, Start};
use tokio::net::UnixStream;

use crate::Error;
use crate::event::{Connection, write_all};

/// The thread number by which an init knows a worker that was launched anew, or the collector.
pub(crate) const WORKER_THREAD: u32 = u32::MAX;
/// The instance in which the collector lives.
pub(crate) const COLLECTOR: InstanceId = InstanceId(u32::MAX);

/// Bytes of uncaptured output that are kept of one test.
const WORDS_BYTES_MAX: u64 = 1 << 20;

/// A test to be run by a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    pub(crate) thread: ThreadId,
    pub(crate) test: TestId,
}

/// What a worker is at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum State {
    /// It is being made; then it runs this.
    Starting(Option<Task>),
    Idle,
    Busy(Task),
    /// It yielded, and was not answered yet.
    Asked(Task),
    /// It yielded and cleans up; then it runs this.
    Cleaning(Task, Option<Task>),
}

/// One worker process.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) instance: InstanceId,
    pub(crate) state: State,
    pub(crate) connection: Option<Connection>,
    pub(crate) pid: Option<i32>,
    /// What it writes past pytest's capturing.
    pub(crate) log: PathBuf,
    /// Bytes of it that were given to a test; none: they are kept for its last words.
    pub(crate) log_taken: Option<u64>,
}

impl Worker {
    /// What it wrote since this was asked for the last time, when output is not captured.
    pub(crate) fn new_words(&mut self) -> String {
        let Some(taken) = &mut self.log_taken else {
            return String::new();
        };
        let mut bytes = Vec::new();
        let read = File::open(&self.log).and_then(|mut log| {
            log.seek(SeekFrom::Start(*taken))?;
            log.take(WORDS_BYTES_MAX).read_to_end(&mut bytes)
        });
        // What cannot be read is as if it had not been written.
        *taken += read.unwrap_or(0) as u64;
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The test that takes the blame if it dies now, and the one that had not begun.
    pub(crate) fn tasks(&self) -> (Option<Task>, Option<Task>) {
        match self.state {
            State::Starting(next) => (None, next),
            State::Idle => (None, None),
            State::Busy(task) | State::Asked(task) => (Some(task), None),
            State::Cleaning(task, next) => (Some(task), next),
        }
    }
}

/// All of pytest's side.
pub(crate) struct Python {
    pub(crate) suite: Pytest,
    pub(crate) token: String,
    pub(crate) socket: PathBuf,
    pub(crate) plugin_dir: PathBuf,
    pub(crate) collected: Option<Collected>,
    pub(crate) collector: Option<Connection>,
    pub(crate) forks: bool,
    pub(crate) workers: BTreeMap<u32, Worker>,
    pub(crate) connections: HashMap<Connection, Arc<UnixStream>>,
    /// Who is behind a connection: a worker's number; none for the collector.
    pub(crate) behind: HashMap<Connection, Option<u32>>,
    pub(crate) names: Vec<String>,
    pub(crate) next_worker: u32,
}

impl Python {
    pub(crate) fn start_with<'a>(&'a self, tmpdir: &'a Path) -> Start<'a> {
        Start {
            socket: &self.socket,
            token: &self.token,
            plugin_dir: &self.plugin_dir,
            tmpdir,
        }
    }

    /// The seed of pytest-randomly, when it is used.
    pub(crate) fn seed(&self) -> Option<u64> {
        self.collected.as_ref()?.seed.as_ref()?.parse().ok()
    }

    pub(crate) fn worker_of(&mut self, instance: InstanceId) -> Option<(u32, &mut Worker)> {
        self.workers
            .iter_mut()
            .find(|(_, worker)| worker.instance == instance)
            .map(|(&number, worker)| (number, worker))
    }

    pub(crate) fn worker_with(&mut self, thread: ThreadId) -> Option<(u32, &mut Worker)> {
        self.workers
            .iter_mut()
            .find(|(_, worker)| {
                let (now, next) = worker.tasks();
                now.into_iter()
                    .chain(next)
                    .any(|task| task.thread == thread)
            })
            .map(|(&number, worker)| (number, worker))
    }

    /// A new worker, not yet made.
    pub(crate) fn add(&mut self, instance: InstanceId, scratch: &Path, task: Task) -> u32 {
        let number = self.next_worker;
        self.next_worker += 1;
        let worker = Worker {
            instance,
            state: State::Starting(Some(task)),
            connection: None,
            pid: None,
            log: scratch.join(format!("worker-{number}.log")),
            log_taken: self.collected.as_ref().filter(|list| list.live).map(|_| 0),
        };
        self.workers.insert(number, worker);
        number
    }

    /// The order that has a worker forked.
    pub(crate) fn fork(&self, number: u32, scratch: &Path, procs_files: Vec<PathBuf>) -> ToPython {
        let worker = &self.workers[&number];
        let tmpdir = Some(scratch.to_string_lossy().into_owned());
        ToPython::Fork(Fork {
            worker: number,
            workers: number + 1,
            procs_files,
            env: BTreeMap::from([("TMPDIR".to_owned(), tmpdir)]),
            basetemp: scratch.join("pytest"),
            stdout: Some(worker.log.clone()),
            stderr: Some(worker.log.clone()),
            token: None,
        })
    }

    /// How a worker that collects for itself is launched.
    pub(crate) fn anew(&self, number: u32, scratch: &Path) -> cohort_workload::Launch {
        let basetemp = scratch.join("pytest");
        let list = self.collected.as_ref();
        let anew = Anew {
            worker: number,
            basetemp: &basetemp,
            seed: list.and_then(|list| list.seed.as_deref()),
            reports_all: list.is_some_and(|list| list.reports_all),
        };
        self.suite.worker_launch(&self.start_with(scratch), &anew)
    }

    pub(crate) async fn tell(&self, connection: Connection, order: &ToPython) -> Result<(), Error> {
        let line = order.encode()?;
        if let Some(stream) = self.connections.get(&connection) {
            // Who is gone is reported by its own event.
            let _ = write_all(stream, &line).await;
        }
        Ok(())
    }

    /// Has a worker run a task now.
    pub(crate) async fn run(&mut self, number: u32, task: Task) -> Result<(), Error> {
        let Some(worker) = self.workers.get_mut(&number) else {
            return Ok(());
        };
        worker.state = State::Busy(task);
        let Some(connection) = worker.connection else {
            return Ok(());
        };
        let id = self.names[task.test.index()].clone();
        let thread = task.thread;
        self.tell(connection, &ToPython::Run { thread, id }).await
    }

    /// Answers every worker that asked what is next: `None` means clean up entirely.
    pub(crate) async fn answer(&mut self) -> Result<(), Error> {
        let asked: Vec<(u32, Task)> = self
            .workers
            .iter()
            .filter_map(|(&number, worker)| match worker.state {
                State::Asked(task) => Some((number, task)),
                _ => None,
            })
            .collect();
        for (number, task) in asked {
            self.say_next(number, task, None).await?;
        }
        Ok(())
    }

    pub(crate) async fn say_next(
        &mut self,
        number: u32,
        task: Task,
        next: Option<Task>,
    ) -> Result<(), Error> {
        let Some(worker) = self.workers.get_mut(&number) else {
            return Ok(());
        };
        worker.state = State::Cleaning(task, next);
        let Some(connection) = worker.connection else {
            return Ok(());
        };
        let order = ToPython::Next {
            thread: task.thread,
            id: next.map(|next| self.names[next.test.index()].clone()),
        };
        self.tell(connection, &order).await
    }
}
