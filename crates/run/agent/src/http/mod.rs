//! The HTTP client of scenario threads: one exchange at a time, over connections that are the thread's own.
//!
//! Promise: a request that may change something is never sent again once one byte of it was written. A
//! connection that turned out to be closed before that is replaced by a new one. A request that changes nothing
//! (GET, HEAD, OPTIONS, TRACE) is sent once more, over a new connection, when a kept-alive one ends without a
//! byte of an answer: servers close these at any time, after an error for instance, and Go's client, which k6
//! uses, does the same. How the first one ended is what the script sees if that fails too.

mod connection;
mod failure;
mod request;
mod route;
mod stream;
mod tls;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cohort_scenario::{Outcome, Request, ResponseType, Timings, error_code};
use http::uri::PathAndQuery;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::protocol::{Address, HostHeader, HttpSettings, TransportError};
use connection::{BodyUse, Broken, Http1, Http2, Received};
pub(crate) use failure::Failure;
pub(crate) use route::{Routes, Target, origin};
use stream::{Counted, Stream, Traffic};

/// How long a name's addresses are kept.
const NAME_KEPT: Duration = Duration::from_secs(300);

/// Kept-alive connections that are tried before a new one is opened.
const IDLE_TRIES_MAX: u32 = 8;

/// What all threads of an agent share.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) settings: HttpSettings,
    /// With certificates checked, and not.
    tls: [OnceCell<Result<Arc<rustls::ClientConfig>, String>>; 2],
    names: RefCell<HashMap<String, (Vec<IpAddr>, Instant)>>,
}

/// The open connections of one thread.
#[derive(Default)]
pub(crate) struct Connections {
    idle: RefCell<Vec<Open>>,
}

/// One open connection.
struct Open {
    address: Address,
    peer: SocketAddr,
    /// It leads to an instance: of no use after the thread has moved.
    instance: bool,
    http: Http,
}

enum Http {
    One(Http1),
    Two(Http2),
}

/// One request, ready to go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Going<'r> {
    pub(crate) request: &'r Request,
    /// To whom.
    pub(crate) address: &'r Address,
    pub(crate) path: &'r PathAndQuery,
    /// The origin as the script knows it, when it goes to an instance.
    pub(crate) script_origin: Option<&'r str>,
}

/// How an exchange went.
#[derive(Debug)]
pub(crate) struct Exchanged {
    /// For the script.
    pub(crate) outcome: Outcome,
    /// For the windows, when there was no answer.
    pub(crate) failed: Option<TransportError>,
    /// Bytes written.
    pub(crate) sent: u64,
    /// Bytes read.
    pub(crate) received: u64,
}

/// How far an exchange has come; what a timeout leaves behind.
#[derive(Debug)]
struct Progress {
    began: Instant,
    connecting_us: Cell<u64>,
    tls_us: Cell<u64>,
    /// When there was a connection.
    acquired: Cell<Option<Instant>>,
    traffic: RefCell<Option<(Rc<Traffic>, u64, u64)>>,
}

impl Progress {
    fn new() -> Progress {
        Progress {
            began: Instant::now(),
            connecting_us: Cell::new(0),
            tls_us: Cell::new(0),
            acquired: Cell::new(None),
            traffic: RefCell::new(None),
        }
    }

    fn acquire(&self, traffic: &Rc<Traffic>, fresh: bool) {
        self.acquired.set(Some(Instant::now()));
        let (sent, received) = match fresh {
            true => (0, 0),
            false => (traffic.sent.get(), traffic.received.get()),
        };
        *self.traffic.borrow_mut() = Some((Rc::clone(traffic), sent, received));
    }

    fn bytes(&self) -> (u64, u64) {
        match &*self.traffic.borrow() {
            Some((traffic, sent, received)) => (
                traffic.sent.get().saturating_sub(*sent),
                traffic.received.get().saturating_sub(*received),
            ),
            None => (0, 0),
        }
    }

    /// Of an exchange that ended now, with or without an answer.
    fn timings(&self, received: Option<&Received>) -> Timings {
        let (connecting_us, tls_us) = (self.connecting_us.get(), self.tls_us.get());
        let acquired = self.acquired.get();
        let until_acquired = us(self.began, acquired.unwrap_or_else(Instant::now));
        let mut timings = Timings {
            blocked_us: until_acquired.saturating_sub(connecting_us + tls_us),
            connecting_us,
            tls_us,
            ..Timings::default()
        };
        match (acquired, received) {
            (Some(acquired), Some(received)) => {
                let timed = &received.timed;
                timings.sending_us = us(acquired, timed.sent);
                timings.waiting_us = us(timed.sent.max(acquired), timed.first);
                timings.receiving_us = us(timed.first, timed.last);
            }
            (Some(acquired), None) => timings.waiting_us = us(acquired, Instant::now()),
            _ => {}
        }
        timings
    }
}

fn us(from: Instant, to: Instant) -> u64 {
    to.saturating_duration_since(from).as_micros() as u64
}

impl Client {
    pub(crate) fn new(settings: HttpSettings) -> Client {
        Client {
            settings,
            tls: Default::default(),
            names: RefCell::new(HashMap::new()),
        }
    }

    /// One exchange. It ends after the request's timeout at the latest.
    pub(crate) async fn exchange(&self, mine: &Connections, going: Going<'_>) -> Exchanged {
        let progress = Progress::new();
        let timeout = Duration::from_micros(going.request.timeout_us);
        let work = self.attempt(mine, going, &progress);
        let result = match tokio::time::timeout(timeout, work).await {
            Ok(result) => result,
            Err(_) => Err(Failure::timeout()),
        };
        let (sent, received) = progress.bytes();
        let (outcome, failed) = match result {
            Ok((answer, peer)) => {
                let timings = progress.timings(Some(&answer));
                let response = request::response(answer, timings, peer, going);
                (Ok(response), None)
            }
            Err(failure) => (
                Err(cohort_scenario::TransportError {
                    code: failure.code,
                    message: failure.message,
                    timings: progress.timings(None),
                }),
                Some(failure.kind),
            ),
        };
        Exchanged {
            outcome,
            failed,
            sent,
            received,
        }
    }

    async fn attempt(
        &self,
        mine: &Connections,
        going: Going<'_>,
        progress: &Progress,
    ) -> Result<(Received, SocketAddr), Failure> {
        let body = BodyUse {
            keep: going.request.response_type != ResponseType::None,
            bytes_max: self.settings.body_bytes_max,
        };
        // Made before anything is opened: what makes no sense costs no connection.
        let (head, bytes) = request::outgoing(&self.settings, going)?;
        let host = self.host_of(going);
        let mut tries = 0;
        let mut ended: Option<Failure> = None;
        loop {
            tries += 1;
            let idle = if tries <= IDLE_TRIES_MAX && ended.is_none() {
                mine.take(going).await
            } else {
                None
            };
            let (mut open, fresh) = match idle {
                Some(open) => (open, false),
                None => match self.open(going, progress).await {
                    Ok(open) => (open, true),
                    Err(failure) => return Err(ended.unwrap_or(failure)),
                },
            };
            let outgoing = request::complete(&head, &bytes, &open.http, going, &host)?;
            let result = match &mut open.http {
                Http::One(http) => {
                    progress.acquire(&http.traffic, fresh);
                    http.exchange(outgoing, body).await
                }
                Http::Two(http) => {
                    progress.acquire(&http.traffic, fresh);
                    let mut http = http.clone();
                    if fresh && !self.settings.no_connection_reuse {
                        // Requests of the same batch may share it from now on.
                        mine.keep(open.again(&http));
                    }
                    http.exchange(outgoing, body).await
                }
            };
            match result {
                Ok(received) => {
                    let peer = open.peer;
                    if !self.settings.no_connection_reuse && matches!(open.http, Http::One(_)) {
                        mine.keep(open);
                    }
                    return Ok((received, peer));
                }
                Err(Broken {
                    unsent: Some(_), ..
                }) if !fresh => {}
                Err(Broken { failure, .. })
                    if !fresh && failure.is_end() && progress.bytes().1 == 0 && is_safe(going) =>
                {
                    ended = Some(failure);
                }
                Err(Broken { failure, .. }) => return Err(ended.unwrap_or(failure)),
            }
        }
    }

    async fn open(&self, going: Going<'_>, progress: &Progress) -> Result<Open, Failure> {
        let address = going.address;
        let began = Instant::now();
        let (tcp, peer) = self.connect(address).await?;
        progress.connecting_us.set(us(began, Instant::now()));
        // Without it small requests may be held back for 40 ms; it cannot fail on an open socket.
        let _ = tcp.set_nodelay(true);
        let (counted, traffic) = Counted::new(tcp);
        let http = if address.tls {
            let began = Instant::now();
            let stream = self.handshake(going, counted).await?;
            progress.tls_us.set(us(began, Instant::now()));
            let second = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let stream = Stream::Tls(Box::new(stream));
            if second {
                Http::Two(Http2::begin(stream, traffic).await?)
            } else {
                Http::One(Http1::begin(stream, traffic).await?)
            }
        } else {
            Http::One(Http1::begin(Stream::Plain(counted), traffic).await?)
        };
        Ok(Open {
            address: address.clone(),
            peer,
            instance: going.script_origin.is_some(),
            http,
        })
    }

    async fn connect(&self, address: &Address) -> Result<(TcpStream, SocketAddr), Failure> {
        let addresses = self.resolve(&address.host).await?;
        let mut failure = None;
        for ip in addresses {
            let peer = SocketAddr::new(ip, address.port);
            match TcpStream::connect(peer).await {
                Ok(tcp) => return Ok((tcp, peer)),
                Err(error) => failure = failure.or(Some(Failure::connecting(&error))),
            }
        }
        Err(failure.unwrap_or_else(|| no_such_host(&address.host)))
    }

    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Failure> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![ip]);
        }
        if let Some((addresses, since)) = self.names.borrow().get(host)
            && since.elapsed() < NAME_KEPT
        {
            return Ok(addresses.clone());
        }
        let found = tokio::net::lookup_host((host, 0))
            .await
            .map_err(|_| no_such_host(host))?;
        let mut addresses: Vec<IpAddr> = found.map(|found| found.ip()).collect();
        addresses.sort_by_key(IpAddr::is_ipv6);
        addresses.dedup();
        self.names
            .borrow_mut()
            .insert(host.to_owned(), (addresses.clone(), Instant::now()));
        Ok(addresses)
    }

    async fn handshake(
        &self,
        going: Going<'_>,
        counted: Counted,
    ) -> Result<tokio_rustls::client::TlsStream<Counted>, Failure> {
        let tls = |message: String| Failure::new(TransportError::Tls, error_code::TLS, message);
        let address = going.address;
        let is_instance = going.script_origin.is_some();
        let settings = &self.settings;
        let unchecked = settings.insecure || (settings.insecure_instances && is_instance);
        let configuration = self.tls[usize::from(unchecked)]
            .get_or_init(|| tls::configuration(unchecked, settings.http2))
            .clone()
            .map_err(tls)?;
        let name = ServerName::try_from(address.host.clone())
            .map_err(|error| tls(format!("tls: {:?}: {error}", address.host)))?;
        TlsConnector::from(configuration)
            .connect(name, counted)
            .await
            .map_err(|error| Failure::handshake(&error))
    }

    /// `Host` of a request.
    fn host_of(&self, going: Going<'_>) -> String {
        match (self.settings.host_header, going.script_origin) {
            (HostHeader::Script, Some(origin)) => match origin.split_once("://") {
                Some((_, authority)) => authority.to_owned(),
                None => origin.to_owned(),
            },
            _ => route::authority(going.address),
        }
    }
}

/// Whether a request changes nothing (RFC 9110, 9.2.1).
fn is_safe(going: Going<'_>) -> bool {
    matches!(
        going.request.method.as_str(),
        "GET" | "HEAD" | "OPTIONS" | "TRACE"
    )
}

fn no_such_host(host: &str) -> Failure {
    Failure::new(
        TransportError::Dns,
        error_code::DNS_NO_SUCH_HOST,
        format!("lookup {host}: no such host"),
    )
}

impl Open {
    fn again(&self, http: &Http2) -> Open {
        Open {
            address: self.address.clone(),
            peer: self.peer,
            instance: self.instance,
            http: Http::Two(http.clone()),
        }
    }
}

impl Connections {
    /// A connection that is still open, as far as this side can know.
    async fn take(&self, going: Going<'_>) -> Option<Open> {
        loop {
            let mut open = {
                let mut idle = self.idle.borrow_mut();
                let instance = going.script_origin.is_some();
                if instance {
                    idle.retain(|open| !open.instance || open.address == *going.address);
                }
                let place = idle.iter().rposition(|open| {
                    open.address == *going.address && open.instance == instance
                })?;
                match &idle[place].http {
                    Http::Two(http) if http.is_open() => return Some(idle[place].again(http)),
                    _ => idle.swap_remove(place),
                }
            };
            if let Http::One(http) = &mut open.http
                && http.is_open().await
            {
                return Some(open);
            }
        }
    }

    fn keep(&self, open: Open) {
        self.idle.borrow_mut().push(open);
    }

    /// Closes all that are not in use.
    pub(crate) fn close(&self) {
        self.idle.borrow_mut().clear();
    }
}

#[cfg(test)]
impl Connections {
    /// Whether there is one to this address that is still open; one that is not is let go of.
    async fn take_if_open(&self, address: &Address) -> bool {
        let Some(mut open) = self.idle.borrow_mut().pop() else {
            return false;
        };
        assert_eq!(open.address, *address);
        if let Http::One(http) = &mut open.http
            && http.is_open().await
        {
            self.keep(open);
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests;
