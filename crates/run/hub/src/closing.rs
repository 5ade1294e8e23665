//! pytest's own end: its workers end, then its collector, which hears what they reported and does what
//! pytest does at the end of a session (fixtures, caches, reports, exit code).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cohort_host::init::FromInit;
use cohort_model::{InstanceId, Plan, TestResult};
use cohort_workload::pytest::protocol::{Close, ToPython};
use tokio::sync::mpsc::Receiver;

use crate::Error;
use crate::discover::Runner;
use crate::event::Event;
use crate::instance::Instance;
use crate::python::COLLECTOR;
use crate::shell::{FACE_INTERVAL, Hub};

/// Longest wait for workers to end by themselves: they tear down what they share between tests.
const WORKERS_WAIT: Duration = Duration::from_secs(60);
/// The same for pytest itself, which may have reports to write.
const PYTEST_WAIT: Duration = Duration::from_secs(300);
/// The same for both when tests are left, since someone waits for the end.
const STOPPED_WAIT: Duration = Duration::from_secs(3);
/// Pause between two looks at a worker that has not ended yet.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// pytest's exit code when there was no test.
const NO_TESTS: i32 = 5;
/// Exit code of what had to be killed (128 + SIGKILL).
const KILLED: i32 = 137;

/// How the suite's own runner ended.
#[derive(Debug, Default)]
pub(crate) struct Closed {
    /// What it said.
    pub(crate) said: String,
    /// Its exit code, when it found fault though no test failed.
    pub(crate) exit: Option<i32>,
    /// The user did not want to wait for it.
    pub(crate) stopped: bool,
}

impl Closed {
    /// It never came to its end, which is a fault when all tests were run.
    fn broken(why: String, stop: bool) -> Self {
        Self {
            said: why,
            exit: (!stop).then_some(KILLED),
            stopped: false,
        }
    }

    fn gone(stop: bool) -> Self {
        Self::broken("pytest's collector ended before its tests".to_owned(), stop)
    }
}

impl Hub {
    /// Lets the suite's own runner end, if it still runs. `stop`: why, when tests are left.
    pub(crate) async fn close_session(
        &mut self,
        plan: &Plan,
        stop: Option<String>,
        happened: &mut Receiver<Event>,
    ) -> Closed {
        let stopped = stop.is_some();
        match self.try_close(plan, stop, happened).await {
            Ok(closed) => closed,
            Err(error) => Closed::broken(
                format!("pytest could not end its session: {error}"),
                stopped,
            ),
        }
    }

    async fn try_close(
        &mut self,
        plan: &Plan,
        stop: Option<String>,
        happened: &mut Receiver<Event>,
    ) -> Result<Closed, Error> {
        let Runner::Python(python) = &mut self.runner else {
            return Ok(Closed::default());
        };
        let stopped = stop.is_some();
        let Some(collector) = python.collector else {
            return Ok(Closed::gone(stopped));
        };
        for worker in python.workers.values() {
            if let Some(connection) = worker.connection {
                python.tell(connection, &ToPython::Finish {}).await?;
            }
        }
        let wait = |long| if stopped { STOPPED_WAIT } else { long };
        let until = Instant::now() + wait(WORKERS_WAIT);
        while self.has_workers() {
            match self.next_event(happened, until).await {
                None => break,
                Some(Event::Stop) => return self.give_up().await,
                Some(event) => self.happen(event).await?,
            }
        }
        self.await_closing(until).await;
        let Some(output) = self.instances.get(&COLLECTOR) else {
            return Ok(Closed::gone(stopped));
        };
        let output = output.scratch.join("pytest.log");
        let until = Instant::now() + wait(PYTEST_WAIT);
        let close = self.close_order(plan, stop, output.clone());
        let Runner::Python(python) = &mut self.runner else {
            return Ok(Closed::default());
        };
        // That its connection ends is no news any more.
        python.behind.remove(&collector);
        python.tell(collector, &ToPython::Close(close)).await?;
        self.await_pytest(plan, (stopped, until), &output, happened)
            .await
    }

    /// Waits for the collector, which was told to end.
    async fn await_pytest(
        &mut self,
        plan: &Plan,
        (stopped, until): (bool, Instant),
        output: &Path,
        happened: &mut Receiver<Event>,
    ) -> Result<Closed, Error> {
        while let Some(event) = self.next_event(happened, until).await {
            let code = match &event {
                Event::Init(COLLECTOR, message) => match &**message {
                    FromInit::Ended(ended) => {
                        let signal = ended.signal.map(|signal| 128 + signal);
                        ended.exit_code.or(signal)
                    }
                    _ => None,
                },
                Event::Stop => return self.give_up().await,
                _ => None,
            };
            if let Some(code) = code {
                let code = Some(code).filter(|_| !stopped);
                return Ok(self.closed(plan, code, output));
            }
            self.happen(event).await?;
            if !self.instances.contains_key(&COLLECTOR) {
                return Ok(Closed::gone(stopped));
            }
        }
        let why = "pytest did not end its session, and was killed".to_owned();
        Ok(Closed::broken(why, stopped))
    }

    /// The user does not want to wait.
    async fn give_up(&mut self) -> Result<Closed, Error> {
        self.happen(Event::Stop).await?;
        Ok(Closed {
            stopped: true,
            ..Closed::default()
        })
    }

    /// Waits for workers that were told to end before.
    async fn await_closing(&mut self, until: Instant) {
        for mut closing in std::mem::take(&mut self.closing) {
            match tokio::time::timeout_at(until.into(), &mut closing).await {
                // What it could not remove is still to be told.
                Ok(left) => {
                    let left = left.unwrap_or_default();
                    self.closing.push(tokio::spawn(async move { left }));
                }
                Err(_) => self.closing.push(closing),
            }
        }
    }

    fn has_workers(&self) -> bool {
        matches!(&self.runner, Runner::Python(python) if !python.workers.is_empty())
    }

    /// The next event; none when it took too long or the user wants to stop.
    async fn next_event(
        &mut self,
        happened: &mut Receiver<Event>,
        until: Instant,
    ) -> Option<Event> {
        let mut faces = tokio::time::interval(FACE_INTERVAL);
        loop {
            tokio::select! {
                event = happened.recv() => return event,
                () = tokio::time::sleep_until(until.into()) => return None,
                _ = faces.tick() => self.ledger.tick(),
            }
        }
    }

    /// What the collector is to be told.
    fn close_order(&self, plan: &Plan, stop: Option<String>, output: PathBuf) -> Close {
        let results = &self.ledger.results;
        let said = |result: &TestResult| {
            let end = self.ledger.ends.get(result.threads.last()?)?;
            end.message.clone()
        };
        let failed = results.iter().filter(|result| result.verdict.is_failure());
        let failed = failed.map(|result| {
            let message = said(result).unwrap_or_else(|| format!("{:?}", result.verdict));
            (plan.tests[result.test.index()].name.clone(), message)
        });
        let deciding = results.iter().filter_map(|result| result.threads.last());
        Close {
            threads: deciding.copied().collect(),
            failed: failed.collect(),
            stop,
            output,
        }
    }

    fn closed(&self, plan: &Plan, code: Option<i32>, output: &Path) -> Closed {
        let said = std::fs::read(output).unwrap_or_default();
        let mut results = self.ledger.results.iter();
        // After a resume pytest knows only a part of the tests, and its own fault may be just that.
        let whole = plan.concluded.is_empty() && !results.any(|one| one.verdict.is_failure());
        Closed {
            said: String::from_utf8_lossy(&said).trim().to_owned(),
            exit: code.filter(|&code| code != 0 && code != NO_TESTS && whole),
            stopped: false,
        }
    }
}

/// Removes an instance once its worker, which was told to end, has ended.
pub(crate) async fn close_after(pid: i32, instance: Instance, id: InstanceId) -> Vec<String> {
    let until = Instant::now() + WORKERS_WAIT;
    let process = PathBuf::from(format!("/proc/{pid}"));
    while process.exists() && Instant::now() < until {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    instance.close(id).await.unwrap_or_default()
}
