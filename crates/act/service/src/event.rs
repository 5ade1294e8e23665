//! What instances tell the hub.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use cohort_model::{ExceptionSeen, Exit, InstanceId, ServiceSeen};

/// Events of one instance that wait for a hub that does not listen; then the oldest are dropped.
const WAITING_MAX: usize = 256;

/// Something happened to an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// To which.
    pub instance: InstanceId,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Its server was started.
    Started {
        /// Its first process.
        pid: i32,
        /// Which start of this instance, from 1.
        life: u32,
    },
    /// It answers, or whatever its readiness asks for.
    Ready {
        /// From its start.
        took: Duration,
        /// Where it is reached; may differ from life to life.
        address: SocketAddr,
        /// Its server listens on the loopback address only, and connections are passed on to it.
        forwarded: bool,
    },
    /// It was not ready in time, or could not be started, and is stopped.
    NeverReady {
        /// Why, what was seen and what to do, with its last lines.
        reason: String,
    },
    /// Its server ended.
    Exited {
        /// How.
        exit: Exit,
        /// From its start.
        lived: Duration,
        /// The end of what it wrote.
        last_lines: Vec<String>,
        /// Processes that still ran when it ended, and were killed.
        left_behind: u32,
        /// When it is started again; none: it is not.
        again: Option<Duration>,
        /// Crashes so far.
        crashes: u32,
    },
    /// It is not started again.
    GivenUp {
        /// Why.
        reason: String,
    },
    /// Exceptions in its log, since the last report.
    Exceptions(Vec<ExceptionSeen>),
}

impl Event {
    /// What the orchestrator is told of it, if anything.
    #[must_use]
    pub fn seen(&self) -> Option<ServiceSeen> {
        let us = |time: &Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let instance = self.instance;
        match &self.what {
            What::Started { .. } => None,
            What::Ready { took, .. } => Some(ServiceSeen::InstanceReady {
                instance,
                took_us: us(took),
            }),
            What::NeverReady { reason } | What::GivenUp { reason } => {
                Some(ServiceSeen::InstanceFailed {
                    instance,
                    reason: reason.clone(),
                })
            }
            What::Exited {
                exit,
                lived,
                last_lines,
                again,
                ..
            } => Some(ServiceSeen::InstanceExited {
                instance,
                exit: exit.clone(),
                lived_us: us(lived),
                last_lines: last_lines.clone(),
                calls: Vec::new(),
                again: again.is_some(),
            }),
            What::Exceptions(exceptions) => Some(ServiceSeen::Excepted {
                exceptions: exceptions.clone(),
            }),
        }
    }
}

/// Events on their way, so that an instance never waits for the hub while the hub waits for it.
#[derive(Debug)]
pub(crate) struct Outbox {
    instance: InstanceId,
    waiting: VecDeque<Event>,
    events: tokio::sync::mpsc::Sender<Event>,
}

impl Outbox {
    pub(crate) fn new(instance: InstanceId, events: tokio::sync::mpsc::Sender<Event>) -> Self {
        Self {
            instance,
            waiting: VecDeque::new(),
            events,
        }
    }

    pub(crate) fn push(&mut self, what: What) {
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Event {
            instance: self.instance,
            what,
        });
        self.send_ready();
    }

    /// Sends what there is room for.
    fn send_ready(&mut self) {
        while !self.waiting.is_empty() {
            match self.events.try_reserve() {
                Ok(permit) => {
                    if let Some(event) = self.waiting.pop_front() {
                        permit.send(event);
                    }
                }
                Err(tokio::sync::mpsc::error::TrySendError::Closed(())) => self.waiting.clear(),
                Err(tokio::sync::mpsc::error::TrySendError::Full(())) => return,
            }
        }
    }

    /// Waits until something that had no room was sent; for ever when nothing waits.
    pub(crate) async fn flush(&mut self) {
        if self.waiting.is_empty() {
            return std::future::pending().await;
        }
        let sent = self.events.reserve().await.map(|permit| {
            if let Some(event) = self.waiting.pop_front() {
                permit.send(event);
            }
        });
        if sent.is_err() {
            self.waiting.clear();
        }
    }
}
