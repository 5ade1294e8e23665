//! How a server's life ends, and what follows.
//!
//! ```text
//! asked to stop --> Down             never ready, never was --> Failed
//! asked to restart --> launched      its port was taken --> launched on another
//! unasked, or not ready any more --> a pause, or given up
//! ```

use std::time::Duration;

use cohort_host::init::Ended;
use cohort_model::Exit;
use tokio::time::{Instant, timeout};

use super::{Body, Ending, Running, Stage, THREAD};
use crate::event::What;
use crate::instance::State;
use crate::nest::{Nest, remove_scratch};
use crate::ports;
use crate::restart::Next;
use cohort_host::chain;

/// Longest wait for the last of what an ended server wrote.
const LAST_LINES_WITHIN: Duration = Duration::from_millis(500);
/// Lines that go with a crash.
const CRASH_LINES: usize = 30;
/// Lines that go with the reason why it is not ready.
const REASON_LINES: usize = 10;
/// Ports that are tried when others were faster.
const PORTS_MAX: u32 = 5;

impl Body {
    /// The server ended, and nothing of it is left.
    pub(super) async fn ended(&mut self, ended: Ended) {
        let running = match std::mem::replace(&mut self.stage, Stage::Down) {
            Stage::Running(running) | Stage::Launching(running) => *running,
            other => {
                self.stage = other;
                return;
            }
        };
        let life = self.take_leave(running, &ended).await;
        match life.ending {
            Some(Ending::Stop) => {
                self.exited(life, None);
                self.stopped();
            }
            Some(Ending::Restart) => {
                self.exited(life, Some(Duration::ZERO));
                self.launch().await;
            }
            Some(Ending::NeverReady(reason)) if self.was_ready => {
                let life = Life {
                    ending: None,
                    ..life
                };
                self.outbox.push(What::NeverReady { reason });
                self.crashed(life);
            }
            Some(Ending::NeverReady(reason)) => self.never_ready(reason),
            Some(Ending::PortTaken) => self.port_taken().await,
            None if self.lost_its_port(&life) => self.port_taken().await,
            None => self.crashed(life),
        }
    }

    /// Stops all that went with its life, and gives what is to be told of it.
    async fn take_leave(&mut self, mut running: Running, ended: &Ended) -> Life {
        if let Some(probe) = self.probe.take() {
            probe.abort();
        }
        drop(running.forwarder.take());
        if let Some(attached) = running.attached.take() {
            drop(attached.writers);
            // Without them a crash would still be told, only with fewer lines.
            let _ = timeout(LAST_LINES_WITHIN, attached.all_read).await;
        }
        self.show(|status| status.pid = None);
        let lines = self.lines_of(&running);
        let oom_kills = self.nest.as_ref().map_or(0, Nest::oom_kills);
        Life {
            lived: running.since.elapsed(),
            ready_for: running.ready.map(|ready| ready.elapsed()),
            exit: match (&running.ending, ended.exit_code, ended.signal) {
                (Some(_), ..) => Exit::Asked,
                (None, _, Some(libc::SIGKILL)) if oom_kills > running.oom_kills => {
                    Exit::OutOfMemory
                }
                (None, _, Some(signal)) => Exit::Signal { signal },
                (None, code, None) => Exit::Code {
                    code: code.unwrap_or(0),
                },
            },
            ending: running.ending,
            lines,
            left_behind: ended.left_behind,
        }
    }

    /// The last that it wrote in this life.
    fn lines_of(&self, running: &Running) -> Vec<String> {
        let lines = self.record.last_lines(CRASH_LINES).into_iter();
        let lines = lines.filter(|line| line.at >= running.began);
        lines.map(|line| line.text).collect()
    }

    /// Why it is stopped, with what it wrote before: how it then goes down explains nothing.
    pub(super) fn why_never_ready(&self, running: &Running, seen: &str) -> String {
        let within = self.ground.spec.ready_within;
        let reason = format!("it was not ready within {within:?}: {seen}");
        with_lines(&reason, &self.lines_of(running))
    }

    /// It ended before it was ready, and somebody else has its port.
    fn lost_its_port(&self, life: &Life) -> bool {
        let shares = self
            .nest
            .as_ref()
            .is_some_and(|nest| nest.own_address().is_none());
        life.ready_for.is_none()
            && shares
            && self.ground.spec.has_port()
            && self
                .address
                .is_some_and(|address| !ports::is_free(address.port()))
    }

    async fn port_taken(&mut self) {
        self.ports_tried += 1;
        let port = self.address.map_or(0, |address| address.port());
        if self.ground.spec.port.is_some() || self.ports_tried >= PORTS_MAX {
            self.never_ready(format!(
                "somebody else on this host listens on its port {port}; end it, or run as root, where instances have a network of their own"
            ));
        } else {
            self.launch().await;
        }
    }

    fn crashed(&mut self, life: Life) {
        self.status.send_modify(|status| status.crashes += 1);
        let left_behind = life.left_behind;
        match self.crashes.crashed(life.ready_for) {
            Next::StartAfter(pause) => {
                self.stage = Stage::Pausing {
                    until: Instant::now() + pause,
                };
                self.exited(life, Some(pause));
                self.show(|status| status.state = State::Crashed);
            }
            Next::GiveUp => {
                let reason = self.why_given_up(&life, left_behind);
                self.exited(life, None);
                self.outbox.push(What::GivenUp { reason });
                self.show(|status| status.state = State::Failed);
            }
        }
    }

    fn why_given_up(&self, life: &Life, left_behind: u32) -> String {
        let how = match &life.exit {
            Exit::Code { code } => format!("exited with code {code}"),
            Exit::Signal { signal } => format!("was ended by signal {signal}"),
            Exit::OutOfMemory => "was killed for memory".to_owned(),
            Exit::Asked => "was not ready in time".to_owned(),
        };
        let often = match (self.crashes.in_a_row(), self.was_ready) {
            (1, _) => "and is not to be started again".to_owned(),
            (often, false) => format!("{often} times in a row, and was never ready"),
            (often, true) => format!("{often} times in a row, soon after it was started"),
        };
        let hint = if left_behind > 0 && life.exit == (Exit::Code { code: 0 }) {
            let killed = match left_behind {
                1 => "a process that it left behind was".to_owned(),
                many => format!("{many} processes that it left behind were"),
            };
            format!("; {killed} killed: it must stay in the foreground")
        } else {
            String::new()
        };
        with_lines(&format!("it {how} {often}{hint}"), &life.lines)
    }

    fn exited(&mut self, life: Life, again: Option<Duration>) {
        let crashes = self.crashes.total();
        self.outbox.push(What::Exited {
            exit: life.exit,
            lived: life.lived,
            last_lines: life.lines,
            left_behind: life.left_behind,
            again,
            crashes,
        });
    }

    pub(super) fn never_ready(&mut self, reason: String) {
        self.stage = Stage::Down;
        self.outbox.push(What::NeverReady { reason });
        self.show(|status| status.state = State::Failed);
        self.tell_stopped();
    }

    pub(super) fn stopped(&mut self) {
        self.stage = Stage::Down;
        self.show(|status| status.state = State::Stopped);
        self.tell_stopped();
    }

    fn tell_stopped(&mut self) {
        for done in self.stopping.drain(..) {
            let _ = done.send(());
        }
    }

    /// Somebody killed the init; its direct children died with it. A new one takes its place.
    pub(super) async fn init_lost(&mut self) {
        let left = match self.nest.take() {
            Some(nest) => nest.end().await,
            None => Vec::new(),
        };
        match Nest::make(&self.ground, self.id, self.share).await {
            Ok(nest) => self.nest = Some(nest),
            Err(error) => {
                let reason = format!(
                    "its init was lost, and no new one can be made: {}",
                    chain(&error)
                );
                self.never_ready([vec![reason], left].concat().join("; "));
                return;
            }
        }
        self.ended(Ended {
            thread: THREAD,
            signal: Some(libc::SIGKILL),
            ..Ended::default()
        })
        .await;
    }

    pub(super) async fn close(&mut self) -> Vec<String> {
        self.grace = self.ground.spec.stop.grace;
        self.end_server(Ending::Stop).await;
        let within = self.ground.spec.stop.grace + Duration::from_secs(10);
        let deadline = Instant::now() + within;
        while let (Stage::Launching(_) | Stage::Running(_), Some(nest)) =
            (&self.stage, &mut self.nest)
        {
            match tokio::time::timeout_at(deadline, nest.init.hear()).await {
                Ok(Ok(report)) => self.hear(report).await,
                // The init is gone or hangs; what follows ends it and all it started.
                _ => break,
            }
        }
        self.stage = Stage::Down;
        self.tell_stopped();
        self.show(|status| status.state = State::Stopped);
        self.ground.logs.unwatch(self.id);
        if let Some(address) = self.address {
            self.ground.ports.give_back(address.port());
        }
        let mut left = match self.nest.take() {
            Some(nest) => {
                let scratch = nest.scratch.clone();
                let left = nest.end().await;
                [left, remove_scratch(scratch).await].concat()
            }
            None => Vec::new(),
        };
        left.retain(|line| !line.is_empty());
        left
    }
}

/// What is to be told of a server that ended.
#[derive(Debug)]
struct Life {
    lived: Duration,
    ready_for: Option<Duration>,
    exit: Exit,
    ending: Option<Ending>,
    lines: Vec<String>,
    left_behind: u32,
}

fn with_lines(reason: &str, lines: &[String]) -> String {
    let last = &lines[lines.len().saturating_sub(REASON_LINES)..];
    if last.is_empty() {
        return format!("{reason}; it wrote nothing");
    }
    format!("{reason}; its last lines:\n  {}", last.join("\n  "))
}
