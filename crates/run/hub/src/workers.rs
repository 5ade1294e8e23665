//! What pytest's workers say, and what comes of it.

use cohort_model::{InstanceId, Observation, Verdict};
use cohort_store::Stream;
use cohort_workload::pytest::protocol::{Ended, FromPython};

use crate::discover::Runner;
use crate::event::Connection;
use crate::python::State;
use crate::shell::Hub;
use crate::threads::unjudged;
use crate::{Error, Show};

/// Bytes of a dead worker's last words that are kept.
const LAST_WORDS_BYTES: usize = 64 << 10;

impl Hub {
    pub(crate) async fn python_said(
        &mut self,
        connection: Connection,
        message: FromPython,
    ) -> Result<(), Error> {
        let Runner::Python(python) = &mut self.runner else {
            return Ok(());
        };
        if let FromPython::Hello(hello) = message {
            let known = hello
                .worker
                .and_then(|worker| python.workers.get_mut(&worker));
            if let (Some(worker), true) = (known, hello.token == python.token) {
                worker.connection = Some(connection);
                worker.pid = i32::try_from(hello.pid).ok();
                python.behind.insert(connection, hello.worker);
                let (instance, pid) = (worker.instance, worker.pid);
                self.watch(instance, pid);
            }
            return Ok(());
        }
        if let FromPython::WorkerExited {
            worker,
            code,
            signal,
        } = message
        {
            if python.collector == Some(connection) {
                self.worker_exited(worker, (code, signal), b"");
            }
            return Ok(());
        }
        let Some(&Some(number)) = python.behind.get(&connection) else {
            return Ok(());
        };
        match message {
            FromPython::Ready { .. } => self.worker_ready(number).await?,
            FromPython::Yielded { thread } => {
                if let Some(worker) = python.workers.get_mut(&number)
                    && let State::Busy(task) = worker.state
                    && task.thread == thread
                {
                    worker.state = State::Asked(task);
                    self.seen.push(Observation::ThreadYielded { thread });
                }
            }
            FromPython::Ended(ended) => self.worker_ended(number, ended).await?,
            _ => {}
        }
        Ok(())
    }

    async fn worker_ready(&mut self, number: u32) -> Result<(), Error> {
        let Runner::Python(python) = &mut self.runner else {
            return Ok(());
        };
        let Some(worker) = python.workers.get_mut(&number) else {
            return Ok(());
        };
        let next = worker.tasks().1;
        worker.state = State::Idle;
        if let Some(task) = next {
            python.run(number, task).await?;
            self.seen.push(Observation::ThreadStarted {
                thread: task.thread,
            });
        }
        Ok(())
    }

    async fn worker_ended(&mut self, number: u32, ended: Ended) -> Result<(), Error> {
        let (stop, last) = (ended.stop.clone(), ended.last);
        let (mut end, mut output) = cohort_workload::pytest::end(ended);
        if let Runner::Python(python) = &mut self.runner
            && let Some(worker) = python.workers.get_mut(&number)
        {
            output.stdout.push_str(&worker.new_words());
        }
        let thread = self.threads.remove(&end.thread);
        if let Some(thread) = &thread {
            self.account(thread, &mut end);
            let said = (output.stdout.as_bytes(), output.stderr.as_bytes());
            self.read_symptom(thread, &mut end, said, &output.report);
        }
        let name = match (&self.runner, &thread) {
            (Runner::Python(python), Some(thread)) => python.names[thread.test.index()].clone(),
            _ => String::new(),
        };
        if end.verdict.is_failure() || self.show > Show::Failed {
            let keep = |stream, text: &str| {
                self.campaign
                    .keep_output(end.thread, stream, text.as_bytes())
            };
            let kept = keep(Stream::Report, &output.report)
                .and(keep(Stream::Stdout, &output.stdout))
                .and(keep(Stream::Stderr, &output.stderr));
            self.note_broken(kept);
        }
        let Runner::Python(python) = &mut self.runner else {
            return Ok(());
        };
        let Some(worker) = python.workers.get_mut(&number) else {
            return Ok(());
        };
        let instance = worker.instance;
        let next = worker.tasks().1;
        worker.state = if last {
            State::Starting(next)
        } else {
            State::Idle
        };
        if let Some(task) = next
            && !last
        {
            python.run(number, task).await?;
            self.end_thread(instance, end);
            self.seen.push(Observation::ThreadStarted {
                thread: task.thread,
            });
        } else {
            self.end_thread(instance, end);
        }
        if let Some(stop) = stop {
            self.stopped
                .get_or_insert(format!("{name} stopped the run: {stop}"));
            self.seen.push(Observation::Interrupted);
        }
        Ok(())
    }

    /// A worker whose connection ended will end itself; if it does not, it is made to.
    pub(crate) fn python_gone(&mut self, connection: Connection) {
        let Runner::Python(python) = &mut self.runner else {
            return;
        };
        python.connections.remove(&connection);
        match python.behind.remove(&connection) {
            Some(Some(number)) => {
                let Some(worker) = python.workers.get(&number) else {
                    return;
                };
                if let Some(instance) = self.instances.get(&worker.instance) {
                    instance.kill_inside(worker.pid);
                }
            }
            Some(None) => {
                python.collector = None;
                if python.forks {
                    self.broken
                        .get_or_insert("pytest's collector is gone".to_owned());
                    self.seen.push(Observation::Interrupted);
                }
            }
            None => {}
        }
    }

    /// A worker that was launched anew ended; `words` is all that it wrote.
    pub(crate) fn worker_process_ended(
        &mut self,
        instance: InstanceId,
        exit: (Option<i32>, Option<i32>),
        words: &[u8],
    ) {
        let Runner::Python(python) = &mut self.runner else {
            return;
        };
        if let Some((number, _)) = python.worker_of(instance) {
            self.worker_exited(number, exit, words);
        }
    }

    fn worker_exited(
        &mut self,
        number: u32,
        (code, signal): (Option<i32>, Option<i32>),
        words: &[u8],
    ) {
        let Runner::Python(python) = &mut self.runner else {
            return;
        };
        let Some(worker) = python.workers.remove(&number) else {
            return;
        };
        if let Some(instance) = self.instances.get(&worker.instance) {
            instance.kill_inside(worker.pid);
        }
        let words = [&*std::fs::read(&worker.log).unwrap_or_default(), words].concat();
        let words = &words[words.len().saturating_sub(LAST_WORDS_BYTES)..];
        let how = match (code, signal) {
            (Some(code), _) => format!("exited with code {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}"),
            (None, None) => "ended".to_owned(),
        };
        let (now, next) = worker.tasks();
        let blamed = now.map(|task| {
            (
                task,
                format!("the worker process {how} while it ran this test"),
            )
        });
        let unbegun = next.map(|task| {
            (
                task,
                format!("the worker process {how} before it began this test"),
            )
        });
        for (task, message) in blamed.into_iter().chain(unbegun) {
            let verdict = if now.is_some_and(|now| now.thread == task.thread) {
                Verdict::Crashed
            } else {
                Verdict::Aborted
            };
            let mut end = unjudged(task.thread, verdict, message);
            (end.exit_code, end.signal) = (code, signal);
            if let Some(thread) = self.threads.remove(&task.thread) {
                self.account(&thread, &mut end);
                self.read_symptom(&thread, &mut end, (b"", words), "");
            }
            let kept = self
                .campaign
                .keep_output(task.thread, Stream::Stderr, words);
            self.note_broken(kept);
            self.end_thread(worker.instance, end);
        }
        if now.is_none() && next.is_some() {
            // It could not even begin: an instance that cannot be opened.
            let reason = format!(
                "its worker {how}: {}",
                String::from_utf8_lossy(words).trim()
            );
            self.seen.push(Observation::InstanceLost {
                instance: worker.instance,
                reason,
            });
        }
    }
}
