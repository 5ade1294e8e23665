//! What a machine says in passing, and its journal on disk.

use cohort_scenario::{Answered, Failure, FailureKind, Level, Note};

use super::Thread;
use crate::http::Target;
use crate::journal::{self, JournalFile};
use crate::protocol::{FromAgent, LogLevel, OddCall, Oddity};
use crate::telemetry::{EndpointNumber, counter, find, rate, trend};

impl Thread {
    pub(super) fn take_notes(&mut self, notes: Vec<Note>) {
        for note in notes {
            match note {
                Note::Sample(sample) => {
                    let now = self.agent.clock.now();
                    let mut telemetry = self.agent.telemetry.borrow_mut();
                    telemetry.metrics.sample(&sample, &self.scenario, now);
                }
                Note::Check {
                    name,
                    passed,
                    group,
                    tags,
                    of,
                } => {
                    let endpoint = match of {
                        Some(of) => self.endpoint_of(&of),
                        None => self.last_endpoint.get(),
                    };
                    self.check((&name, passed), endpoint, &group, &tags);
                }
                Note::Log { level, message } => self.say(log_level(level), &message),
                Note::Group { path, duration_us } => {
                    self.time("group_duration", duration_us, &path);
                }
                Note::Iteration {
                    failure,
                    duration_us,
                } => self.iterated(failure.as_ref(), duration_us),
                Note::Abort { message } => self.agent.post(FromAgent::Abort {
                    thread: self.handle.thread,
                    message,
                }),
            }
        }
    }

    /// The endpoint that a response came from; none when it is of another host, and when it is an error that
    /// is told as such, maybe in another window.
    fn endpoint_of(&self, answered: &Answered) -> Option<EndpointNumber> {
        if answered.status == 0 || answered.status >= 500 {
            return None;
        }
        let Ok(Target::Instance { path, .. }) = self.agent.resolve(&answered.url) else {
            return None;
        };
        let name = (self.agent).endpoint(&answered.method, answered.name.as_deref(), path.as_str());
        let mut telemetry = self.agent.telemetry.borrow_mut();
        Some(telemetry.windows.number(&name))
    }

    fn check(
        &self,
        (name, passed): (&str, bool),
        endpoint: Option<EndpointNumber>,
        group: &str,
        tags: &[(String, String)],
    ) {
        let now = self.agent.clock.now();
        let mut telemetry = self.agent.telemetry.borrow_mut();
        telemetry.check(self.instance, group, name, passed);
        // What another instance was told before is no fault of this one.
        if !passed
            && !self.moved
            && let Some(endpoint) = endpoint
        {
            telemetry
                .windows
                .check_failed(self.instance, endpoint, name);
            let endpoint = telemetry.windows.name(endpoint).to_owned();
            self.agent.tell_odd(|| OddCall {
                at: now,
                thread: self.handle.thread,
                iteration: self.handle.iteration.get(),
                instance: self.instance,
                endpoint,
                oddity: Oddity::Check(name.to_owned()),
                said: String::new(),
            });
        }
        let scenario = &*self.scenario;
        telemetry
            .metrics
            .add(rate("checks", passed), now, |tag| match tag {
                "check" => Some(name),
                "group" => Some(group),
                "scenario" => Some(scenario),
                other => find(tags, other),
            });
    }

    fn time(&self, metric: &str, duration_us: u64, group: &str) {
        let now = self.agent.clock.now();
        let scenario = &*self.scenario;
        let value = trend(metric, duration_us as f64 / 1_000.0);
        let mut telemetry = self.agent.telemetry.borrow_mut();
        telemetry.metrics.add(value, now, |tag| match tag {
            "group" => Some(group),
            "scenario" => Some(scenario),
            _ => None,
        });
    }

    /// An iteration of a script ended. One that was cut off is not counted as done, as in k6; one that
    /// computed for too long is, and failed.
    fn iterated(&mut self, failure: Option<&Failure>, duration_us: u64) {
        // An endless loop is interrupted too, but was not cut off by the end of its time.
        let stopped = self.stop.is_some_and(|stop| stop.cut);
        let cut = failure.is_some_and(|failure| match failure.kind {
            FailureKind::Aborted => true,
            FailureKind::Interrupted => stopped,
            _ => false,
        });
        if let Some(failure) = failure
            && failure.kind != FailureKind::Aborted
        {
            self.say(LogLevel::Error, &in_words(failure));
        }
        self.finish_iteration(failure.is_some(), cut, duration_us);
    }

    /// Counts an iteration that ended.
    pub(super) fn finish_iteration(&mut self, failed: bool, cut: bool, duration_us: u64) {
        {
            let mut counts = self.agent.counts.borrow_mut();
            counts.vus_active = counts.vus_active.saturating_sub(1);
            if cut {
                counts.iterations_interrupted += 1;
            } else {
                counts.iterations_completed += 1;
            }
        }
        if !cut {
            let now = self.agent.clock.now();
            let scenario = &*self.scenario;
            let tag = |tag: &str| (tag == "scenario").then_some(scenario);
            let mut telemetry = self.agent.telemetry.borrow_mut();
            telemetry.metrics.add(counter("iterations", 1.0), now, tag);
            drop(telemetry);
            self.time("iteration_duration", duration_us, "");
            self.say_iterated(1, u32::from(failed));
        }
        if self.agent.client.settings.no_thread_connection_reuse {
            self.connections.close();
        }
    }

    /// Records an answer; true when the journal is to be folded after it took effect.
    pub(super) fn record(
        &mut self,
        write: impl FnOnce(&mut JournalFile) -> Result<bool, journal::Error>,
    ) -> bool {
        let mut journal = self.journal.borrow_mut();
        let Some(file) = &mut *journal else {
            return false;
        };
        let recorded = write(file);
        self.handle.journal_bytes.set(file.bytes() as u64);
        match recorded {
            Ok(fold) => fold,
            Err(error) => {
                drop(journal);
                self.cannot_record(&error.to_string());
                false
            }
        }
    }

    /// Replaces the answers one by one by the machine's own, smaller journal, or gives up on it.
    pub(super) fn fold_journal(&mut self) {
        let Some(all) = self.whole_journal() else {
            return;
        };
        if self.journal_is_beyond() {
            // What is about to leave does so with its journal; else it is looked at again.
            if !self.freezing {
                self.give_up_journal();
            }
            return;
        }
        let stands = self.stands();
        let folded = match &mut *self.journal.borrow_mut() {
            Some(file) => file.fold(&all, stands),
            None => Ok(()),
        };
        if let Err(error) = folded {
            self.cannot_record(&error.to_string());
        }
    }

    /// The thread goes on without a journal, which would take ever more memory and time.
    fn give_up_journal(&mut self) {
        let message = self.beyond_message();
        if let Some(file) = &mut *self.journal.borrow_mut() {
            // When even this cannot be written the file ends in whole answers.
            let _ = file.give_up();
        }
        if let Some(super::Body::Script(machine, _)) = &mut self.body {
            machine.forget_journal();
        }
        self.beyond = true;
        self.say_unmovable(message);
    }

    /// Without its journal on disk a thread goes on, but would be lost with its agent.
    fn cannot_record(&mut self, message: &str) {
        self.journal.borrow_mut().take();
        self.say(
            LogLevel::Error,
            &format!("the thread would be lost with its agent from now on: {message}"),
        );
    }

    pub(super) fn journal_is_beyond(&mut self) -> bool {
        let max = self.agent.journal_bytes_max;
        if self.beyond {
            return true;
        }
        match &mut self.body {
            Some(super::Body::Script(machine, _)) => machine.journal().bytes() as u64 > max,
            _ => false,
        }
    }

    pub(super) fn beyond_message(&self) -> String {
        let max = match self.agent.journal_bytes_max {
            bytes @ ..0x10_0000 => format!("{bytes} bytes"),
            bytes => format!("{} MiB", bytes >> 20),
        };
        format!(
            "its journal is larger than {max} after {} iterations: it stays with its agent",
            self.permits.begun
        )
    }

    pub(super) fn say_unmovable(&mut self, message: String) {
        self.agent.post(FromAgent::Unmovable {
            thread: self.handle.thread,
            epoch: self.epoch,
            message,
        });
    }
}

pub(crate) fn log_level(level: Level) -> LogLevel {
    match level {
        Level::Debug => LogLevel::Debug,
        Level::Info => LogLevel::Info,
        Level::Warn => LogLevel::Warn,
        Level::Error => LogLevel::Error,
    }
}

/// A failure for a person: what was thrown, and where.
pub(crate) fn in_words(failure: &Failure) -> String {
    match failure.at.as_str() {
        "" => failure.message.clone(),
        at => format!("{} at {at}", failure.message),
    }
}
