//! One task that owns an instance: every order, report and clock comes to it, one after the other.
//!
//! ```text
//!           .--start------------- Down <---stop, never ready, given up---.
//!           v                      ^                                     |
//!        Launching --started--> Running --ended--> asked to? --no--> how often? --pause--> Pausing --.
//!           ^                                        | restart                                       |
//!           `----------------------------------------+-----------------------------------------------'
//! ```
//!
//! Promise: a server is launched only in `Down` and `Pausing`, when nothing of the one before is left.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cohort_host::InstanceReader;
use cohort_host::cgroup::IoLimit;
use cohort_host::init::{Ended, FromInit, ToInit};
use cohort_model::{Exit, InstanceId, Share};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::event::{Outbox, What};
use crate::forward::Forwarder;
use crate::ground::{Ground, chain};
use crate::instance::{State, Status};
use crate::launch;
use crate::log::{Attached, Record};
use crate::nest::{Nest, remove_scratch};
use crate::readiness::{IsReady, NotReady};
use crate::restart::{Crashes, Next};
use crate::{Error, ports};

/// The thread of an init that the server is.
pub(crate) const THREAD: u32 = 0;
/// Longest wait for the last of what an ended server wrote.
const LAST_LINES_WITHIN: Duration = Duration::from_millis(500);
/// Lines that go with a crash.
const CRASH_LINES: usize = 30;
/// Lines that go with the reason why it is not ready.
const REASON_LINES: usize = 10;
/// Ports that are tried when others were faster.
const PORTS_MAX: u32 = 5;

/// What an instance is told.
#[derive(Debug)]
pub(crate) enum Order {
    Start,
    Restart,
    Stop(oneshot::Sender<()>),
    Set(Share, oneshot::Sender<Result<Share, Error>>),
    SetIo(IoLimit, oneshot::Sender<Result<bool, Error>>),
    Read(oneshot::Sender<Result<InstanceReader, Error>>),
    Close(oneshot::Sender<Vec<String>>),
}

#[derive(Debug)]
enum Stage {
    Down,
    /// The init was told to start it.
    Launching(Box<Running>),
    Running(Box<Running>),
    Pausing {
        until: Instant,
    },
}

/// A server's life.
#[derive(Debug)]
struct Running {
    since: Instant,
    /// The same, for lines.
    began: SystemTime,
    ready: Option<Instant>,
    attached: Option<Attached>,
    forwarder: Option<Forwarder>,
    /// Why it is being ended.
    ending: Option<Ending>,
    oom_kills: u64,
}

#[derive(Debug)]
enum Ending {
    Stop,
    Restart,
    NeverReady(String),
    PortTaken,
}

/// What comes to the body.
#[derive(Debug)]
enum Input {
    Order(Order),
    /// No handle is left.
    Orphaned,
    Report(FromInit),
    InitLost,
    Probed(Result<IsReady, NotReady>),
    PauseOver,
    Nothing,
}

/// See there.
pub(crate) struct Body {
    ground: Arc<Ground>,
    id: InstanceId,
    /// None once it could not be made anew.
    nest: Option<Nest>,
    share: Share,
    record: Arc<Record>,
    status: watch::Sender<Status>,
    outbox: Outbox,
    stage: Stage,
    probe: Option<JoinHandle<Result<IsReady, NotReady>>>,
    crashes: Crashes,
    was_ready: bool,
    ports_tried: u32,
    address: Option<SocketAddr>,
    stopping: Vec<oneshot::Sender<()>>,
}

impl Body {
    pub(crate) fn new(
        ground: Arc<Ground>,
        nest: Nest,
        id: InstanceId,
        share: Share,
        record: Arc<Record>,
        status: watch::Sender<Status>,
    ) -> Self {
        ground
            .logs
            .watch(&record, launch::log_files(&ground, &nest, id));
        Self {
            outbox: Outbox::new(id, ground.events.clone()),
            crashes: Crashes::new(ground.spec.restart),
            ground,
            id,
            nest: Some(nest),
            share,
            record,
            status,
            stage: Stage::Down,
            probe: None,
            was_ready: false,
            ports_tried: 0,
            address: None,
            stopping: Vec::new(),
        }
    }

    /// Lives until it is closed.
    pub(crate) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            match self.next(&mut orders).await {
                Input::Order(Order::Close(done)) => {
                    let left = self.close().await;
                    // Whoever closed it may count on nothing being held any more; nobody may wait.
                    let _ = done.send(left);
                    return;
                }
                Input::Orphaned => {
                    self.close().await;
                    return;
                }
                Input::Order(order) => self.obey(order).await,
                Input::Report(report) => self.hear(report).await,
                Input::InitLost => self.init_lost().await,
                Input::Probed(result) => self.probed(result).await,
                Input::PauseOver => self.launch().await,
                Input::Nothing => {}
            }
        }
    }

    async fn next(&mut self, orders: &mut mpsc::Receiver<Order>) -> Input {
        let until = match &self.stage {
            Stage::Pausing { until } => Some(*until),
            _ => None,
        };
        let (nest, probe) = (&mut self.nest, &mut self.probe);
        let report = async {
            match nest {
                Some(nest) => nest.init.hear().await,
                None => std::future::pending().await,
            }
        };
        let probed = async {
            match probe {
                Some(probe) => probe.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            order = orders.recv() => order.map_or(Input::Orphaned, Input::Order),
            report = report => report.map_or(Input::InitLost, Input::Report),
            result = probed => {
                self.probe = None;
                // One that was aborted or panicked is none that could be ready.
                result.map_or(Input::Nothing, Input::Probed)
            }
            () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                Input::PauseOver
            }
            () = self.outbox.flush() => Input::Nothing,
        }
    }

    async fn obey(&mut self, order: Order) {
        // Who asked may not wait any more: then nobody is told.
        match order {
            Order::Start => {
                if matches!(self.stage, Stage::Down | Stage::Pausing { .. }) {
                    self.crashes.forgive();
                    self.launch().await;
                }
            }
            Order::Restart => match &self.stage {
                Stage::Down | Stage::Pausing { .. } => {
                    self.crashes.forgive();
                    self.launch().await;
                }
                _ => self.end_server(Ending::Restart).await,
            },
            Order::Stop(done) => {
                self.stopping.push(done);
                match &self.stage {
                    Stage::Down | Stage::Pausing { .. } => self.stopped(),
                    _ => self.end_server(Ending::Stop).await,
                }
            }
            Order::Set(share, tell) => {
                let set = self.set(share);
                let _ = tell.send(set);
            }
            Order::SetIo(limit, tell) => {
                let set = self.nest().and_then(|nest| nest.set_io(&limit));
                let _ = tell.send(set);
            }
            Order::Read(tell) => {
                let reader = self.nest().and_then(Nest::reader);
                let _ = tell.send(reader);
            }
            Order::Close(_) => {}
        }
    }

    fn nest(&self) -> Result<&Nest, Error> {
        let instance = self.id;
        self.nest.as_ref().ok_or(Error::Closed { instance })
    }

    fn set(&mut self, share: Share) -> Result<Share, Error> {
        let instance = self.id;
        let nest = self.nest.as_mut().ok_or(Error::Closed { instance })?;
        self.share = nest.set(&share)?;
        Ok(self.share)
    }

    /// Starts the server. Nothing of the one before is left.
    async fn launch(&mut self) {
        self.stage = Stage::Down;
        if let Err(reason) = self.try_launch().await {
            self.never_ready(reason);
        }
    }

    async fn try_launch(&mut self) -> Result<(), String> {
        let address = self.choose_address()?;
        self.address = Some(address);
        let Some(nest) = &mut self.nest else {
            return Err("its init could not be made anew".to_owned());
        };
        let attached = self.ground.logs.attach(&self.record, nest.pipes.clone());
        let attached = attached
            .await
            .map_err(|error| format!("its output cannot be read: {error}"))?;
        let serve = launch::serve(&self.ground, nest, self.id, address);
        self.stage = Stage::Launching(Box::new(Running {
            since: Instant::now(),
            began: SystemTime::now(),
            ready: None,
            attached: Some(attached),
            forwarder: None,
            ending: None,
            oom_kills: nest.oom_kills(),
        }));
        // One that is gone is heard of.
        let told = nest.init.tell(&ToInit::Serve(serve)).await;
        told.map_err(|error| chain(&error))?;
        self.show(|status| {
            status.state = State::Starting;
            status.address = Some(address);
            status.life += 1;
        });
        Ok(())
    }

    fn choose_address(&mut self) -> Result<SocketAddr, String> {
        let own = self.nest.as_ref().and_then(Nest::own_address);
        if let Some(own) = own {
            return Ok(SocketAddr::new(own, self.ground.own_port()));
        }
        let at = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        if let Some(port) = self.ground.spec.port {
            return if ports::is_free(port) {
                Ok(at(port))
            } else {
                Err(format!(
                    "port {port} of this host is in use already; end whoever listens there, or write {{port}} in the command"
                ))
            };
        }
        match self.address {
            Some(address) if self.ports_tried == 0 && ports::is_free(address.port()) => Ok(address),
            before => {
                if let Some(before) = before {
                    self.ground.ports.give_back(before.port());
                }
                let port = self.ground.ports.take().map_err(|error| chain(&error))?;
                Ok(at(port))
            }
        }
    }

    async fn hear(&mut self, report: FromInit) {
        match report {
            FromInit::Started { pid, .. } => self.started(pid).await,
            FromInit::StartFailed { message, .. } => {
                self.stage = Stage::Down;
                self.never_ready(message);
            }
            FromInit::Ended(ended) => self.ended(ended).await,
            FromInit::Ready { .. } | FromInit::SetupFailed { .. } => {}
        }
    }

    async fn started(&mut self, pid: i32) {
        let Stage::Launching(mut running) = std::mem::replace(&mut self.stage, Stage::Down) else {
            return;
        };
        if let Some(attached) = &mut running.attached {
            attached.writers = None;
        }
        if let (Some(nest), Some(address)) = (&self.nest, self.address) {
            let probe = launch::probe(&self.ground, nest, self.id, address, &self.record);
            self.probe = Some(tokio::spawn(probe.wait()));
        }
        let ending = running.ending.take();
        self.stage = Stage::Running(running);
        self.show(|status| status.pid = Some(pid));
        let life = self.status.borrow().life;
        self.outbox.push(What::Started { pid, life });
        if let Some(ending) = ending {
            self.end_server(ending).await;
        }
    }

    async fn probed(&mut self, result: Result<IsReady, NotReady>) {
        let Stage::Running(running) = &mut self.stage else {
            return;
        };
        if running.ending.is_some() {
            return;
        }
        match (result, self.address) {
            (Ok(ready), Some(address)) => {
                running.ready = Some(Instant::now());
                running.forwarder = ready.forwarder;
                let what = What::Ready {
                    took: running.since.elapsed(),
                    address,
                    forwarded: running.forwarder.is_some(),
                };
                self.was_ready = true;
                self.ports_tried = 0;
                self.show(|status| status.state = State::Ready);
                self.outbox.push(what);
            }
            (Ok(_), None) => {}
            (Err(NotReady::PortTaken), _) => self.end_server(Ending::PortTaken).await,
            (Err(NotReady::Never(seen)), _) => {
                let within = self.ground.spec.ready_within;
                let reason = format!("it was not ready within {within:?}: {seen}");
                self.end_server(Ending::NeverReady(reason)).await;
            }
        }
    }

    /// Has the init end it; the first reason counts, but a stop counts over all others.
    async fn end_server(&mut self, ending: Ending) {
        let running = match &mut self.stage {
            Stage::Launching(running) => {
                // Done once it is started.
                running.ending = Some(ending);
                return;
            }
            Stage::Running(running) => running,
            Stage::Down | Stage::Pausing { .. } => return,
        };
        let is_first = running.ending.is_none();
        if is_first || matches!(ending, Ending::Stop) {
            running.ending = Some(ending);
        }
        if let Some(probe) = self.probe.take() {
            probe.abort();
        }
        self.show(|status| status.state = State::Stopping);
        let stop = self.ground.spec.stop;
        let order = ToInit::Stop {
            thread: THREAD,
            signal: stop.signal,
            grace_ms: u32::try_from(stop.grace.as_millis()).unwrap_or(u32::MAX),
        };
        if let (true, Some(nest)) = (is_first, &mut self.nest) {
            // One that is gone is heard of.
            let _ = nest.init.tell(&order).await;
        }
    }

    /// The server ended, and nothing of it is left.
    async fn ended(&mut self, ended: Ended) {
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
                self.outbox.push(What::NeverReady {
                    reason: with_lines(&reason, &life.lines),
                });
                self.crashed(life);
            }
            Some(Ending::NeverReady(reason)) => self.never_ready(with_lines(&reason, &life.lines)),
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
        let lines = self.record.last_lines(CRASH_LINES);
        let lines = lines.into_iter().filter(|line| line.at >= running.began);
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
            lines: lines.map(|line| line.text).collect(),
            left_behind: ended.left_behind,
        }
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
            format!(
                "; {left_behind} processes that it left behind were killed: it must stay in the foreground"
            )
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

    fn never_ready(&mut self, reason: String) {
        self.stage = Stage::Down;
        self.outbox.push(What::NeverReady { reason });
        self.show(|status| status.state = State::Failed);
        self.tell_stopped();
    }

    fn stopped(&mut self) {
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
    async fn init_lost(&mut self) {
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

    async fn close(&mut self) -> Vec<String> {
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

    fn show(&self, change: impl FnOnce(&mut Status)) {
        self.status.send_modify(change);
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
