//! The handle of one instance.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cohort_host::InstanceReader;
use cohort_host::cgroup::IoLimit;
use cohort_model::{ExceptionSeen, InstanceId, Share};
use tokio::sync::{mpsc, oneshot, watch};

use crate::Error;
use crate::body::{Body, Order};
use crate::ground::Ground;
use crate::log::{Line, Record};
use crate::nest::Nest;

/// Orders on their way.
const ORDERS_MAX: usize = 32;

/// How an instance is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// See there.
    pub state: State,
    /// Where it is reached; none before its first start.
    pub address: Option<SocketAddr>,
    /// First process of its server; none when it does not run.
    pub pid: Option<i32>,
    /// How often its server was started.
    pub life: u32,
    /// How often it ended unasked.
    pub crashes: u32,
}

/// What an instance does.
///
/// ```text
/// Stopped --start--> Starting --ready--> Ready --stop--> Stopping --> Stopped
///                      |  ^  \--never ready--> Failed      |
///                      |  |                                |
///                      +--+--- Crashed <---ends unasked----+
///                   after a pause    \--too often--> Failed
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No server runs, none is to.
    Stopped,
    /// Its server runs and is not ready yet.
    Starting,
    /// It answers.
    Ready,
    /// It was asked to end.
    Stopping,
    /// It ended unasked, and is started again after a pause.
    Crashed,
    /// It was never ready, or crashed too often. A start tries again.
    Failed,
}

/// One instance. Dropping the last handle ends it, unseen.
#[derive(Clone, Debug)]
pub struct Instance {
    id: InstanceId,
    scratch: PathBuf,
    orders: mpsc::Sender<Order>,
    status: watch::Receiver<Status>,
    record: Arc<Record>,
}

impl Instance {
    /// Makes it; its server is started by [`Instance::start`].
    pub(crate) async fn make(
        ground: &Arc<Ground>,
        id: InstanceId,
        share: Share,
    ) -> Result<Self, Error> {
        let nest = Nest::make(ground, id, share).await?;
        let scratch = nest.scratch.clone();
        let record = Arc::new(Record::new(id));
        let (tell, status) = watch::channel(Status {
            state: State::Stopped,
            address: None,
            pid: None,
            life: 0,
            crashes: 0,
        });
        let (orders, received) = mpsc::channel(ORDERS_MAX);
        let body = Body::new(ground.clone(), nest, id, share, record.clone(), tell);
        tokio::spawn(body.run(received));
        Ok(Self {
            id,
            scratch,
            orders,
            status,
            record,
        })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> InstanceId {
        self.id
    }

    /// Its scratch directory.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// How it is now.
    #[must_use]
    pub fn status(&self) -> Status {
        *self.status.borrow()
    }

    /// What it wrote.
    #[must_use]
    pub fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// The last lines that it wrote.
    #[must_use]
    pub fn last_lines(&self, most: usize) -> Vec<Line> {
        self.record.last_lines(most)
    }

    /// Exceptions that it wrote and that were not told yet: without waiting for more lines of them.
    #[must_use]
    pub fn exceptions_by_now(&self) -> Vec<ExceptionSeen> {
        self.record.exceptions_by_now()
    }

    /// Waits until its status is as wanted, and gives it.
    ///
    /// # Errors
    /// When it is closed before.
    pub async fn until(&self, wanted: impl FnMut(&Status) -> bool) -> Result<Status, Error> {
        let mut status = self.status.clone();
        let closed = self.closed();
        status
            .wait_for(wanted)
            .await
            .map(|it| *it)
            .map_err(|_| closed)
    }

    /// Starts its server, unless it runs. Events tell what becomes of it.
    ///
    /// # Errors
    /// When it is closed.
    pub async fn start(&self) -> Result<(), Error> {
        self.order(Order::Start).await
    }

    /// Stops its server and starts it again, once; or starts it.
    ///
    /// # Errors
    /// When it is closed.
    pub async fn restart(&self) -> Result<(), Error> {
        self.order(Order::Restart).await
    }

    /// Stops its server: the stop signal, and after the grace SIGKILL to everything in the instance.
    /// Returns once nothing of it is left.
    ///
    /// # Errors
    /// When it is closed.
    pub async fn stop(&self) -> Result<(), Error> {
        self.end(None).await
    }

    /// The same with another grace: a server that hangs does not use its own.
    ///
    /// # Errors
    /// When it is closed.
    pub async fn stop_within(&self, grace: Duration) -> Result<(), Error> {
        self.end(Some(grace)).await
    }

    async fn end(&self, grace: Option<Duration>) -> Result<(), Error> {
        let (done, told) = oneshot::channel();
        self.order(Order::Stop { grace, done }).await?;
        told.await.map_err(|_| self.closed())
    }

    /// Sets its limits while it runs: CPU, memory (beyond, the kernel kills), network in each direction.
    /// Gives what is in force: one that holds more memory than it is to have keeps its old limit, and
    /// one on the host's network has no limit of it.
    ///
    /// # Errors
    /// When it is closed, or the host refuses.
    pub async fn set(&self, share: Share) -> Result<Share, Error> {
        let (tell, told) = oneshot::channel();
        self.order(Order::Set(share, tell)).await?;
        told.await.map_err(|_| self.closed())?
    }

    /// Limits what it reads from and writes to the disk of its scratch directory. `false` where the host
    /// cannot.
    ///
    /// # Errors
    /// When it is closed, or the host refuses.
    pub async fn set_io(&self, limit: IoLimit) -> Result<bool, Error> {
        let (tell, told) = oneshot::channel();
        self.order(Order::SetIo(limit, tell)).await?;
        told.await.map_err(|_| self.closed())?
    }

    /// Its telemetry, for the collector, and its control groups. Good until it is closed or its init is
    /// lost, so take it anew with each [`crate::What::Started`].
    ///
    /// # Errors
    /// When it is closed.
    pub async fn reader(&self) -> Result<(InstanceReader, Vec<PathBuf>), Error> {
        let (tell, told) = oneshot::channel();
        self.order(Order::Read(tell)).await?;
        told.await.map_err(|_| self.closed())?
    }

    /// Stops its server and removes it; gives what could not be removed, in words.
    pub async fn close(self) -> Vec<String> {
        let (done, told) = oneshot::channel();
        match self.order(Order::Close(done)).await {
            Ok(()) => told.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    async fn order(&self, order: Order) -> Result<(), Error> {
        let sent = self.orders.send(order).await;
        sent.map_err(|_| self.closed())
    }

    fn closed(&self) -> Error {
        Error::Closed { instance: self.id }
    }
}
