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

mod ending;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cohort_host::InstanceReader;
use cohort_host::cgroup::IoLimit;
use cohort_host::init::{FromInit, ToInit};
use cohort_model::{InstanceId, Share};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::event::{Outbox, What};
use crate::forward::Forwarder;
use crate::ground::Ground;
use crate::instance::{State, Status};
use crate::launch;
use crate::log::{Attached, Record};
use crate::nest::Nest;
use crate::readiness::{IsReady, NotReady, Probe};
use crate::restart::Crashes;
use crate::{Error, ports};
use cohort_host::chain;

/// The thread of an init that the server is.
pub(crate) const THREAD: u32 = 0;

/// What an instance is told.
#[derive(Debug)]
pub(crate) enum Order {
    Start,
    Restart,
    Stop {
        /// None: that of the spec.
        grace: Option<Duration>,
        done: oneshot::Sender<()>,
    },
    Set(Share, oneshot::Sender<Result<Share, Error>>),
    SetIo(IoLimit, oneshot::Sender<Result<bool, Error>>),
    Read(oneshot::Sender<Result<(InstanceReader, Vec<PathBuf>), Error>>),
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
    /// Looks out from the beginning, so that a line that comes at once is not missed.
    probe: Option<Probe>,
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
    /// What its server is given to end by itself.
    grace: Duration,
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
            grace: ground.spec.stop.grace,
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
            Order::Restart => {
                self.grace = self.ground.spec.stop.grace;
                match &self.stage {
                    Stage::Down | Stage::Pausing { .. } => {
                        self.crashes.forgive();
                        self.launch().await;
                    }
                    _ => self.end_server(Ending::Restart).await,
                }
            }
            Order::Stop { grace, done } => {
                self.stopping.push(done);
                self.grace = grace.unwrap_or(self.ground.spec.stop.grace);
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
                let reader = self
                    .nest()
                    .and_then(|nest| Ok((nest.reader()?, nest.groups())));
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
        let probe = launch::probe(&self.ground, nest, self.id, address, &self.record);
        self.stage = Stage::Launching(Box::new(Running {
            since: Instant::now(),
            began: SystemTime::now(),
            ready: None,
            attached: Some(attached),
            probe: Some(probe),
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
            Some(address) if self.ports_tried == 0 && ports::is_free(address.port()) => {
                Ok(at(address.port()))
            }
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
        self.probe = running.probe.take().map(|probe| tokio::spawn(probe.wait()));
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
            (Ok(ready), Some(told)) => {
                let address = ready.address.unwrap_or(told);
                self.address = Some(address);
                running.ready = Some(Instant::now());
                running.forwarder = ready.forwarder;
                let what = What::Ready {
                    took: running.since.elapsed(),
                    address,
                    forwarded: running.forwarder.is_some(),
                };
                self.was_ready = true;
                self.ports_tried = 0;
                self.show(|status| {
                    status.state = State::Ready;
                    status.address = Some(address);
                });
                self.outbox.push(what);
            }
            (Ok(_), None) => {}
            (Err(NotReady::PortTaken), _) => self.end_server(Ending::PortTaken).await,
            (Err(NotReady::Never(seen)), _) => self.end_never_ready(&seen).await,
        }
    }

    async fn end_never_ready(&mut self, seen: &str) {
        if let Stage::Running(running) = &self.stage {
            let reason = self.why_never_ready(running, seen);
            self.end_server(Ending::NeverReady(reason)).await;
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
            grace_ms: u32::try_from(self.grace.as_millis()).unwrap_or(u32::MAX),
        };
        if let (true, Some(nest)) = (is_first, &mut self.nest) {
            // One that is gone is heard of.
            let _ = nest.init.tell(&order).await;
        }
    }

    fn show(&self, change: impl FnOnce(&mut Status)) {
        self.status.send_modify(change);
    }
}
