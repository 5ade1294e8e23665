//! The port: who may connect, how many at once, and the receiver's handle.

mod answer;
mod body;
mod request;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cohort_model::{At, InstanceId};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use crate::complaint::Complaint;
use crate::environment::environment;
use crate::reduce::Store;
use crate::window::{Account, InstanceWindow};

/// Connections at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// Requests at a time on one connection of HTTP/2.
const STREAMS_MAX: u32 = 16;
/// Requests whose bodies are read at a time: with their size, the most memory that they use.
const BODIES_MAX: usize = 16;
/// A request's head has to arrive within this time.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// After a failed accept (no descriptors left), the next try is this much later.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The receiver could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It would be open to other hosts.
    #[error(
        "receive OpenTelemetry on {0}: that is every address of this host; give loopback or the address of the campaign's own bridge"
    )]
    Everywhere(IpAddr),
    /// The address cannot be bound.
    #[error("receive OpenTelemetry on {address}: {source}; is it an address of this host?")]
    Bind {
        /// The address.
        address: IpAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The handle of a receiver, which runs on the tokio runtime that it was started on. Dropped, it
/// closes its port and all connections.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    store: Mutex<Store>,
    bodies: Semaphore,
}

impl Shared {
    /// Held for the work of one request, never while waiting for anything.
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receiver {
    /// Binds a free port on `address`, which is loopback or the address of a bridge.
    ///
    /// # Errors
    /// The address means every address, or is none of this host.
    pub async fn start(address: IpAddr) -> Result<Self, Error> {
        if address.is_unspecified() {
            return Err(Error::Everywhere(address));
        }
        let bind = |source| Error::Bind { address, source };
        let listener = TcpListener::bind((address, 0)).await.map_err(bind)?;
        let bound = listener.local_addr().map_err(bind)?;
        let shared = Arc::new(Shared {
            store: Mutex::default(),
            bodies: Semaphore::new(BODIES_MAX),
        });
        Ok(Self {
            address: bound,
            accepting: tokio::spawn(accept(listener, Arc::clone(&shared))),
            shared,
        })
    }

    /// Where it listens, for both gRPC and HTTP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to put into the environment of `instance`: the standard `OTEL_*` variables. What the
    /// user set under the same names should win, but for `OTEL_RESOURCE_ATTRIBUTES`: the user's is
    /// given here, and ours are put behind it.
    #[must_use]
    pub fn environment(
        &self,
        instance: InstanceId,
        campaign: &str,
        resource_attributes: Option<&str>,
    ) -> Vec<(String, String)> {
        environment(self.address, instance, campaign, resource_attributes)
    }

    /// From now on, what `instance` tells is kept. `address` is the one it sends from, when it has
    /// one of its own; it counts where an SDK does not tell our resource attribute.
    pub fn watch(&self, instance: InstanceId, address: Option<IpAddr>) {
        self.shared.store().watch(instance, address);
    }

    /// From now on it is not; what was not taken is gone.
    pub fn unwatch(&self, instance: InstanceId) {
        self.shared.store().unwatch(instance);
    }

    /// What arrived since the last call, one window an instance that told anything. To be called
    /// each second: the bounds are those of one window.
    #[must_use]
    pub fn take(&self, now: At) -> Vec<InstanceWindow> {
        self.shared.store().take(now)
    }

    /// Peers that for the first time sent something that is not OTLP.
    #[must_use]
    pub fn take_complaints(&self) -> Vec<Complaint> {
        self.shared.store().complaints.take()
    }

    /// How often each of these did, up to now.
    #[must_use]
    pub fn complaint_counts(&self) -> Vec<(IpAddr, u64)> {
        let store = self.shared.store();
        let counts = store.complaints.counts();
        counts.iter().map(|(peer, count)| (*peer, *count)).collect()
    }

    /// What was received since the start.
    #[must_use]
    pub fn account(&self) -> Account {
        self.shared.store().account
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // Connections live in the task's own set, and end with it.
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        while connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, peer)) => {
                connections.spawn(connection(stream, peer.ip(), Arc::clone(&shared)));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection(stream: TcpStream, peer: IpAddr, shared: Arc<Shared>) {
    // Only delays answers when it fails.
    let _ = stream.set_nodelay(true);
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX);
    let service = service_fn(|request| request::handle(request, peer, Arc::clone(&shared)));
    let served = server.serve_connection(TokioIo::new(stream), service).await;
    // A peer that goes away in the middle is none of our business; one that speaks no HTTP is.
    if let Err(error) = served
        && error
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_parse)
    {
        let mut store = shared.store();
        store.account.malformed += 1;
        let instance = store.at(peer);
        let sentence =
            format!("{peer} sent what is not HTTP to the port for OpenTelemetry: {error}");
        store.complaints.note(peer, instance, sentence);
    }
}
