//! A thread that is any program: each run of it is one iteration.
//!
//! It is told its instance in the environment, and in its arguments where they say `{host}`, `{port}`,
//! `{base_url}` or `{instance}`. Exit code 0 is success. Of what it prints, lines
//! `{"check": "name", "ok": false}` and `{"metric": "name", "value": 1.5}` count, and so do lines
//! that begin with `FAIL:`, with which the iteration failed; the rest is log.

use std::process::{ExitStatus, Stdio};
use std::rc::Rc;

use cohort_model::At;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::sleep_until;

use super::Thread;
use crate::http::origin;
use crate::protocol::{Address, DriverProgram, EndWhy, LogLevel, MetricKind};
use crate::telemetry::{Value, rate};

/// What is kept of one line, bytes.
const LINE_BYTES_MAX: usize = 16 << 10;

/// What a line begins with that says that something failed.
const FAILURE: &str = "FAIL:";

/// A line that counts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Check {
        check: String,
        ok: bool,
    },
    Metric {
        metric: String,
        value: f64,
        #[serde(default)]
        kind: Kind,
        #[serde(default)]
        time: bool,
    },
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Counter,
    Gauge,
    Rate,
    #[default]
    Trend,
}

/// A program that runs, with all it started.
struct Run {
    child: Child,
    group: Option<Pid>,
    out: Lines<ChildStdout>,
    err: Lines<ChildStderr>,
    /// It printed that something failed.
    failed: bool,
    /// The last line that it wrote to its error output.
    last_words: String,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Run {
    fn kill(&self) {
        if let Some(group) = self.group {
            // Nobody left is what is wanted.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Thread {
    /// One run, or until an order comes.
    pub(super) async fn run_program(&mut self, program: &Rc<DriverProgram>) {
        if self.stop.is_some() {
            self.end(EndWhy::Stopped);
            return;
        }
        let Some(address) = self.agent.address(self.instance) else {
            self.wait_for_instance().await;
            return;
        };
        self.told_stranded = false;
        let Some(number) = self.take_permit() else {
            self.wait_for_permit().await;
            return;
        };
        let permit = self.begin_iteration(number);
        let began = self.agent.clock.now();
        let mut run = match self.spawn(program, &address, permit.in_vu) {
            Ok(run) => run,
            Err(error) => {
                let command = program.command.join(" ");
                let message = format!("cannot start the driver {command:?}: {error}");
                self.finish_iteration(true, false, 0);
                self.end(EndWhy::Failed { message });
                return;
            }
        };
        let status = self.attend(&mut run).await;
        let failed = run.failed;
        let last_words = std::mem::take(&mut run.last_words);
        drop(run);
        self.judge(status, (failed, &last_words), began);
    }

    fn spawn(
        &self,
        program: &DriverProgram,
        address: &Address,
        iteration: u64,
    ) -> std::io::Result<Run> {
        let Some((name, arguments)) = program.command.split_first() else {
            return Err(std::io::Error::other("no program is named"));
        };
        let told = [
            ("{host}", address.host.clone()),
            ("{port}", address.port.to_string()),
            ("{base_url}", origin(address)),
            ("{instance}", self.instance.0.to_string()),
        ];
        let fill = |text: &String| {
            told.iter().fold(text.clone(), |text, (name, value)| {
                text.replace(name, value)
            })
        };
        let environment = program.env.iter();
        let mut command = Command::new(name);
        command
            .args(arguments.iter().map(fill))
            .envs(environment.map(|(name, value)| (name, fill(value))))
            .env("COHORT_BASE_URL", origin(address))
            .env("COHORT_HOST", &address.host)
            .env("COHORT_PORT", address.port.to_string())
            .env("COHORT_THREAD", self.handle.thread.0.to_string())
            .env("COHORT_INSTANCE", self.instance.0.to_string())
            .env("COHORT_SEED", program.seed.to_string())
            .env("COHORT_ITERATION", iteration.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(directory) = &program.directory {
            command.current_dir(directory);
        }
        die_with_the_agent(&mut command);
        let mut child = command.spawn()?;
        let group = child.id().map(|id| Pid::from_raw(id as i32));
        let out = Lines::new(child.stdout.take());
        let err = Lines::new(child.stderr.take());
        Ok(Run {
            child,
            group,
            out,
            err,
            failed: false,
            last_words: String::new(),
        })
    }

    /// Until it ends; `None` when it was cut off. Orders are taken meanwhile.
    async fn attend(&mut self, run: &mut Run) -> Option<std::io::Result<ExitStatus>> {
        let mut status = None;
        let mut cut_off = false;
        while status.is_none() || run.out.open() || run.err.open() {
            let cut = self.cut_at().filter(|_| !cut_off);
            let clock = self.agent.clock;
            let handle = Rc::clone(&self.handle);
            let at_cut = async move {
                match cut {
                    Some(cut) => sleep_until(clock.instant(cut)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                line = run.out.next(), if run.out.open() => if let Some(line) = line {
                    run.failed |= line.starts_with(FAILURE);
                    self.printed(&line);
                },
                line = run.err.next(), if run.err.open() => if let Some(line) = line {
                    self.say(LogLevel::Warn, &line);
                    if !line.is_empty() {
                        run.last_words = line;
                    }
                },
                ended = run.child.wait(), if status.is_none() => {
                    status = Some(ended);
                    // What it left behind ends with it; its pipes close then.
                    run.kill();
                }
                () = handle.mailbox.wait() => self.take_orders(),
                () = at_cut => {
                    cut_off = true;
                    if let Some(stop) = &mut self.stop {
                        stop.cut = true;
                    }
                    run.kill();
                }
            }
            if !self.running {
                return None;
            }
        }
        status.filter(|_| !cut_off)
    }

    fn judge(
        &mut self,
        status: Option<std::io::Result<ExitStatus>>,
        (failed, last_words): (bool, &str),
        began: At,
    ) {
        if !self.running {
            return;
        }
        let duration_us = self.agent.clock.now().since(began);
        match status {
            None => {
                self.finish_iteration(true, true, duration_us);
                self.end(EndWhy::Interrupted);
            }
            Some(Ok(status)) if status.success() => {
                self.finish_iteration(failed, false, duration_us);
            }
            Some(Ok(status)) => {
                let said = match last_words {
                    "" => String::new(),
                    words => format!(": {words}"),
                };
                self.say(
                    LogLevel::Error,
                    &format!("the driver ended with {status}{said}"),
                );
                self.finish_iteration(true, false, duration_us);
            }
            Some(Err(error)) => {
                self.say(
                    LogLevel::Error,
                    &format!("cannot wait for the driver: {error}"),
                );
                self.finish_iteration(true, false, duration_us);
            }
        }
    }

    fn printed(&mut self, line: &str) {
        if let Some(failure) = line.strip_prefix(FAILURE) {
            self.program_check(failure.trim(), false);
            self.say(LogLevel::Error, line);
            return;
        }
        if !line.starts_with('{') {
            self.say(LogLevel::Info, line);
            return;
        }
        match serde_json::from_str::<Said>(line) {
            Ok(Said::Check { check, ok }) => self.program_check(&check, ok),
            Ok(Said::Metric {
                metric,
                value,
                kind,
                time,
            }) => {
                let value = Value {
                    metric: &metric,
                    kind: match kind {
                        Kind::Counter => MetricKind::Counter,
                        Kind::Gauge => MetricKind::Gauge,
                        Kind::Rate => MetricKind::Rate,
                        Kind::Trend => MetricKind::Trend,
                    },
                    time,
                    value,
                };
                self.add(value);
            }
            Err(_) => self.say(LogLevel::Info, line),
        }
    }

    fn program_check(&mut self, name: &str, ok: bool) {
        {
            let mut telemetry = self.agent.telemetry.borrow_mut();
            telemetry.check(self.instance, "", name, ok);
        }
        self.add(rate("checks", ok));
    }

    fn add(&self, value: Value<'_>) {
        let now = self.agent.clock.now();
        let scenario = &*self.scenario;
        let tag = |tag: &str| (tag == "scenario").then_some(scenario);
        self.agent
            .telemetry
            .borrow_mut()
            .metrics
            .add(value, now, tag);
    }
}

/// An agent that is killed takes its programs along.
fn die_with_the_agent(command: &mut Command) {
    let die = || nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(std::io::Error::from);
    // SAFETY: between fork and exec only one system call is made, and nothing is allocated.
    #[expect(unsafe_code, reason = "only the child itself can ask for the signal")]
    unsafe {
        command.pre_exec(die);
    }
}

/// Lines of a pipe; what is longer than the bound is cut.
struct Lines<R> {
    pipe: Option<R>,
    buffer: Vec<u8>,
    /// The rest of a line that was cut is skipped.
    skipping: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(pipe: Option<R>) -> Lines<R> {
        Lines {
            pipe,
            buffer: Vec::new(),
            skipping: false,
        }
    }

    fn open(&self) -> bool {
        self.pipe.is_some()
    }

    /// The next line; `None` when there is none yet or ever. Safe to cancel.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                if !std::mem::take(&mut self.skipping) {
                    return Some(text(&line));
                }
                continue;
            }
            if self.buffer.len() > LINE_BYTES_MAX {
                let line = std::mem::take(&mut self.buffer);
                if !std::mem::replace(&mut self.skipping, true) {
                    return Some(text(&line));
                }
            }
            let pipe = self.pipe.as_mut()?;
            match pipe.read_buf(&mut self.buffer).await {
                Ok(bytes) if bytes > 0 => {}
                _ => {
                    self.pipe = None;
                    let line = std::mem::take(&mut self.buffer);
                    return (!line.is_empty() && !self.skipping).then(|| text(&line));
                }
            }
        }
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end().to_owned()
}
