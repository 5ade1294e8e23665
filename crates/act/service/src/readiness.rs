//! Waits until a server is ready, and can say what it saw when it is not.
//!
//! ```text
//! refused --listens on its loopback only--> forwarder, or its IPv6 address --> once more
//!    |----listens on another port-----------> said in the reason; when it was not told one: gone to
//!    `----a stranger listens on its port----> port taken
//! ```

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::forward::Forwarder;
use crate::listeners::Members;
use crate::spec::Ready;

/// Between two tries, at first ...
const PAUSE_FIRST: Duration = Duration::from_millis(5);
/// ... and at most.
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// Longest wait for a connection, and for an answer on it, of one try.
const TRY_MAX: Duration = Duration::from_secs(5);
/// One that was told no port and listens on one of its own is taken at its word after this.
const SETTLED: Duration = Duration::from_millis(500);
/// Longest beginning of an answer in which its status is looked for, bytes.
const ANSWER_BYTES_MAX: usize = 4096;

/// What is waited for.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) ready: Ready,
    pub(crate) within: Duration,
    pub(crate) address: SocketAddr,
    /// Else it may listen on a port of its own, when it listens on no other.
    pub(crate) is_told_its_port: bool,
    /// The instance has a network of its own, in which `address` is.
    pub(crate) own_network: bool,
    pub(crate) members: Members,
    /// Fires when the awaited line was written.
    pub(crate) line: Option<oneshot::Receiver<()>>,
}

/// A server that is ready.
#[derive(Debug, Default)]
pub(crate) struct IsReady {
    /// To be kept as long as the server runs.
    pub(crate) forwarder: Option<Forwarder>,
    /// Where it is reached, when not where it was told to listen.
    pub(crate) address: Option<SocketAddr>,
}

/// Why it is not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotReady {
    /// Time is up; what was seen last, in words.
    Never(String),
    /// Somebody else listens on the port.
    PortTaken,
}

impl Probe {
    /// Waits. To be dropped when the server ends before.
    pub(crate) async fn wait(mut self) -> Result<IsReady, NotReady> {
        let deadline = Instant::now() + self.within;
        if let Ready::Alive { time } = self.ready {
            sleep(time.min(self.within)).await;
            return Ok(self.take_at_its_word().await);
        }
        if let Some(line) = self.line.take() {
            return match timeout(self.within, line).await {
                Ok(Ok(())) => Ok(self.take_at_its_word().await),
                _ => Err(NotReady::Never(self.no_line())),
            };
        }
        self.connect_until(deadline).await
    }

    /// It is ready; where, is looked for.
    async fn take_at_its_word(&mut self) -> IsReady {
        let own = self.only_port();
        if let Some(port) = own {
            self.address.set_port(port);
        }
        IsReady {
            forwarder: self.forwarder_if_needed().await,
            address: self.other_family().or(own.map(|_| self.address)),
        }
    }

    fn no_line(&self) -> String {
        match &self.ready {
            Ready::LogLine { pattern } => format!("it wrote no line with `{pattern}`"),
            _ => "it wrote no such line".to_owned(),
        }
    }

    async fn connect_until(&mut self, deadline: Instant) -> Result<IsReady, NotReady> {
        let mut forwarder = None;
        let mut moved = None;
        let mut pause = PAUSE_FIRST;
        let mut elsewhere_since = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let seen = match timeout(left.min(TRY_MAX), self.try_once()).await {
                Ok(Ok(())) if self.is_answered_by_another() => return Err(NotReady::PortTaken),
                Ok(Ok(())) => {
                    return Ok(IsReady {
                        forwarder,
                        address: moved,
                    });
                }
                Ok(Err(seen)) => seen,
                Err(_) => Seen::Silent,
            };
            if seen == Seen::Refused && forwarder.is_none() {
                forwarder = self.forwarder_if_needed().await;
                if forwarder.is_some() {
                    continue;
                }
                if let (None, Some(other)) = (moved, self.other_family()) {
                    self.address = other;
                    moved = Some(other);
                    continue;
                }
                if let (None, Some(port)) = (moved, self.only_port())
                    && elsewhere_since.get_or_insert_with(Instant::now).elapsed() >= SETTLED
                {
                    self.address.set_port(port);
                    moved = Some(self.address);
                    continue;
                }
            }
            if Instant::now() + pause >= deadline {
                return Err(NotReady::Never(self.describe(&seen)));
            }
            sleep(pause).await;
            pause = (pause * 3 / 2).min(PAUSE_MAX);
        }
    }

    fn is_answered_by_another(&self) -> bool {
        !self.own_network && self.members.is_port_of_another(self.address.port())
    }

    /// One that listens on its loopback address alone is passed on to.
    async fn forwarder_if_needed(&self) -> Option<Forwarder> {
        if !self.own_network {
            return None;
        }
        let listeners = self.members.listeners();
        let mut on_port = listeners
            .iter()
            .filter(|listener| listener.port == self.address.port());
        let inner = on_port.clone().find(|listener| listener.is_loopback())?;
        if on_port.any(|listener| !listener.is_loopback()) {
            return None;
        }
        let inner = SocketAddr::new(inner.address, inner.port);
        Forwarder::start(self.members.init, self.address, inner)
            .await
            .ok()
    }

    /// "localhost" is `::1` to some, and nothing else: then that is where it is reached.
    fn other_family(&self) -> Option<SocketAddr> {
        if self.own_network || self.address.is_ipv6() {
            return None;
        }
        let listeners = self.members.listeners();
        let mut on_port = listeners
            .iter()
            .filter(|listener| listener.port == self.address.port())
            .peekable();
        on_port.peek()?;
        on_port
            .all(|listener| listener.address == Ipv6Addr::LOCALHOST)
            .then(|| SocketAddr::from((Ipv6Addr::LOCALHOST, self.address.port())))
    }

    /// The port that it listens on, when that is one, and not the one in `PORT`.
    fn only_port(&self) -> Option<u16> {
        if self.is_told_its_port {
            return None;
        }
        let mut listeners = self.members.listeners().into_iter();
        let port = listeners.next()?.port;
        let alone = listeners.all(|listener| listener.port == port);
        (alone && port != self.address.port()).then_some(port)
    }

    async fn try_once(&self) -> Result<(), Seen> {
        let Ready::Http { url, status } = &self.ready else {
            return connect(self.address).await.map(drop);
        };
        let (authority, path) = split_url(url);
        let address = authority
            .and_then(|it| it.parse().ok())
            .unwrap_or(self.address);
        let mut stream = connect(address).await?;
        let host = authority.map_or_else(|| self.address.to_string(), str::to_owned);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: cohort\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        let broken = |error: io::Error| Seen::Broken(error.to_string());
        stream.write_all(request.as_bytes()).await.map_err(broken)?;
        let mut answer = Vec::new();
        loop {
            let mut piece = [0; 512];
            let bytes = stream.read(&mut piece).await.map_err(broken)?;
            answer.extend_from_slice(&piece[..bytes]);
            if bytes == 0 || answer.contains(&b'\n') || answer.len() > ANSWER_BYTES_MAX {
                return judge(&answer, *status);
            }
        }
    }

    fn describe(&self, seen: &Seen) -> String {
        let address = self.address;
        let seen = match seen {
            Seen::Refused => format!("connections to {address} are refused"),
            Seen::Silent => format!("{address} does not answer"),
            Seen::Broken(why) => format!("the connection to {address} broke: {why}"),
            Seen::Status(status) => match &self.ready {
                Ready::Http { url, .. } => format!("GET {url} is answered with status {status}"),
                _ => format!("it is answered with status {status}"),
            },
            Seen::Garbage(text) => format!("{address} answers what is not HTTP: {text:?}"),
        };
        let listeners = self.members.listeners();
        if listeners.is_empty() {
            return format!("{seen}; {}", self.on_no_port());
        }
        let elsewhere: Vec<String> = listeners
            .iter()
            .filter(|listener| listener.port != address.port())
            .map(|listener| SocketAddr::new(listener.address, listener.port).to_string())
            .collect();
        if elsewhere.is_empty() {
            return seen;
        }
        format!(
            "{seen}; it listens on {} instead: write {{port}} in its command, or set port",
            elsewhere.join(" and ")
        )
    }
}

impl Probe {
    fn on_no_port(&self) -> String {
        let sockets = self.members.unix_listeners();
        if sockets.is_empty() {
            return "it listens on no port".to_owned();
        }
        format!(
            "it listens on no port, but on {}: Unix sockets are not called; have it listen on {{host}}:{{port}}",
            sockets.join(" and ")
        )
    }
}

/// What a try came to see.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Refused,
    Silent,
    Broken(String),
    Status(u16),
    Garbage(String),
}

async fn connect(address: SocketAddr) -> Result<TcpStream, Seen> {
    TcpStream::connect(address)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => Seen::Refused,
            io::ErrorKind::TimedOut => Seen::Silent,
            _ => Seen::Broken(error.to_string()),
        })
}

/// `http://authority/path` or a path.
fn split_url(url: &str) -> (Option<&str>, &str) {
    match url.strip_prefix("http://") {
        None => (None, url),
        Some(rest) => match rest.find('/') {
            Some(at) => (Some(&rest[..at]), &rest[at..]),
            None => (Some(rest), "/"),
        },
    }
}

fn judge(answer: &[u8], wanted: Option<u16>) -> Result<(), Seen> {
    let line = answer
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let status = line
        .strip_prefix("HTTP/")
        .and_then(|rest| rest.split(' ').nth(1)?.trim().parse::<u16>().ok());
    match status {
        None => Err(Seen::Garbage(line.chars().take(60).collect())),
        Some(status) => {
            let fits = wanted.map_or((200..400).contains(&status), |wanted| wanted == status);
            if fits {
                Ok(())
            } else {
                Err(Seen::Status(status))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_judged() {
        assert_eq!(judge(b"HTTP/1.1 204 No Content\r\n", None), Ok(()));
        assert_eq!(judge(b"HTTP/1.1 302\r\n", None), Ok(()));
        assert_eq!(judge(b"HTTP/1.1 404 Not\r\n", Some(404)), Ok(()));
        assert_eq!(judge(b"HTTP/1.0 503 x\r\n", None), Err(Seen::Status(503)));
        for garbage in [b"SSH-2.0".as_slice(), b"", b"HTTP/1.1 abc\n", b"\xff\xfe"] {
            assert!(matches!(judge(garbage, None), Err(Seen::Garbage(_))));
        }
    }

    #[test]
    fn urls() {
        assert_eq!(split_url("/a?b"), (None, "/a?b"));
        assert_eq!(split_url("http://1.2.3.4:5/a"), (Some("1.2.3.4:5"), "/a"));
        assert_eq!(split_url("http://1.2.3.4:5"), (Some("1.2.3.4:5"), "/"));
    }
}
