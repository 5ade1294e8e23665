//! Asking a server one thing at a time over HTTP/1.1, whatever it answers and however long it takes.
//!
//! Promise: a connection goes to the one address that it was made for; what an answer says about other places is only read.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::plan::Plan;
use crate::tls;

/// An answer is waited for so long.
const PATIENCE: Duration = Duration::from_secs(3);
/// Answers that come too late in a row until nothing more is asked.
const LATE_MAX: u32 = 3;
/// So much of one is read, bytes.
const BYTES_MAX: usize = 256 << 10;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query, as they are sent.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// What is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// As text, cut to a bounded length.
    pub(crate) body: String,
}

impl Answer {
    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let of = self.headers.iter();
        let mut of = of.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        of.next().map(|(_, value)| value.as_str())
    }

    /// All headers of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let of = self.headers.iter();
        of.filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_html(&self) -> bool {
        match self.header("content-type") {
            Some(kind) => kind.to_ascii_lowercase().contains("html"),
            // Browsers guess then.
            None => self.body.trim_start().starts_with('<'),
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Not in time.
    Late,
    /// Nobody listens.
    Refused,
    /// It broke off, or was no HTTP.
    Off,
}

/// Who asks: with the cookies that it was given.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    tls: Option<Arc<rustls::ClientConfig>>,
    cookies: BTreeMap<String, String>,
    /// Sent with each request.
    headers: Vec<(String, String)>,
    /// What an answer gave to be shown with later requests (RFC 6750).
    bearer: Option<String>,
    /// Nothing is asked after that.
    until: Instant,
    /// Requests that were answered too late, one after the other.
    late: u32,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, plan: &Plan, until: Instant) -> Self {
        Self {
            address,
            tls: plan.tls.then(tls::config).flatten(),
            cookies: BTreeMap::new(),
            headers: plan.headers.clone(),
            bearer: None,
            until,
            late: 0,
        }
    }

    /// Whether nothing is asked any more: there is no time, or the server does not answer.
    pub(crate) fn is_given_up(&self) -> bool {
        !self.has_time() || self.late >= LATE_MAX
    }

    /// Whether there is time for more.
    fn has_time(&self) -> bool {
        Instant::now() < self.until
    }

    pub(crate) fn ask(&mut self, request: &Request) -> Result<Answer, Broken> {
        let until = (Instant::now() + PATIENCE).min(self.until);
        let asked = self.exchange(request, until);
        self.late = match asked {
            Err(Broken::Late) => self.late + 1,
            _ => 0,
        };
        if let Ok(answer) = &asked {
            if let Some(bearer) = bearer(answer) {
                self.bearer = Some(bearer);
            }
            for set in answer.all("set-cookie") {
                let pair = set.split(';').next().unwrap_or_default();
                if let Some((name, value)) = pair.split_once('=') {
                    let name = name.trim().to_owned();
                    match value.trim() {
                        "" => self.cookies.remove(&name),
                        value => self.cookies.insert(name, value.to_owned()),
                    };
                }
            }
        }
        asked
    }

    fn exchange(&self, request: &Request, until: Instant) -> Result<Answer, Broken> {
        let stream = TcpStream::connect_timeout(&self.address, left(until)?);
        let stream = stream.map_err(|error| kind(error.kind()))?;
        let text = self.written(request);
        match &self.tls {
            None => speak(Timed { stream, until }, text.as_bytes(), request),
            Some(config) => {
                let session = tls::session(config, self.address.ip()).ok_or(Broken::Off)?;
                let stream = Timed { stream, until };
                let stream = rustls::StreamOwned::new(session, stream);
                speak(stream, text.as_bytes(), request)
            }
        }
    }

    fn written(&self, request: &Request) -> String {
        let mut text = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
        text.push_str(&format!("Host: {}\r\n", self.address));
        text.push_str("User-Agent: cohort-scan\r\nAccept: */*\r\nConnection: close\r\n");
        let bearer = self.bearer.as_ref();
        let bearer = bearer.map(|token| ("Authorization".to_owned(), format!("Bearer {token}")));
        // What was said first counts.
        let mut said: Vec<&str> = Vec::new();
        for (name, value) in request.headers.iter().chain(&self.headers).chain(&bearer) {
            if !said.iter().any(|it| it.eq_ignore_ascii_case(name)) {
                text.push_str(&format!("{name}: {value}\r\n"));
                said.push(name);
            }
        }
        if !self.cookies.is_empty() {
            let all = self.cookies.iter();
            let all: Vec<String> = all.map(|(name, value)| format!("{name}={value}")).collect();
            text.push_str(&format!("Cookie: {}\r\n", all.join("; ")));
        }
        if !request.body.is_empty() || !["GET", "HEAD"].contains(&request.method.as_str()) {
            text.push_str(&format!("Content-Length: {}\r\n", request.body.len()));
        }
        text.push_str("\r\n");
        text.push_str(&request.body);
        text
    }
}

/// The token that an answer gives to whoever logged in, by the names that are usual for it.
fn bearer(answer: &Answer) -> Option<String> {
    const NAMES: [&str; 5] = ["access_token", "accessToken", "token", "jwt", "id_token"];
    let body: serde_json::Value = serde_json::from_str(&answer.body).ok()?;
    let token = NAMES.iter().find_map(|name| body.get(name)?.as_str())?;
    let fits =
        answer.status < 300 && !token.is_empty() && token.bytes().all(|it| it.is_ascii_graphic());
    fits.then(|| token.to_owned())
}

/// A stream each read and write of which ends at a point in time.
struct Timed {
    stream: TcpStream,
    until: Instant,
}

impl Timed {
    fn left(&self) -> std::io::Result<Option<Duration>> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        Ok(Some(left))
    }
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(into)
    }
}

impl Write for Timed {
    fn write(&mut self, from: &[u8]) -> std::io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(from)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

fn left(until: Instant) -> Result<Duration, Broken> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Broken::Late);
    }
    Ok(left)
}

fn kind(kind: ErrorKind) -> Broken {
    match kind {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Broken::Late,
        ErrorKind::ConnectionRefused => Broken::Refused,
        _ => Broken::Off,
    }
}

fn speak(mut stream: impl Read + Write, text: &[u8], request: &Request) -> Result<Answer, Broken> {
    // A server may answer and close before it has read all.
    let written = stream.write_all(text).and_then(|()| stream.flush());
    let mut read = Vec::new();
    let mut piece = [0; 16 << 10];
    let mut failed = written.err().map(|error| kind(error.kind()));
    loop {
        if is_whole(&read, request) || read.len() > BYTES_MAX {
            break;
        }
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => read.extend_from_slice(&piece[..count]),
            Err(error) => {
                failed = failed.or(Some(kind(error.kind())));
                break;
            }
        }
    }
    parse(&read).ok_or(failed.unwrap_or(Broken::Off))
}

fn head_end(read: &[u8]) -> Option<usize> {
    read.windows(4).position(|four| four == b"\r\n\r\n")
}

fn is_whole(read: &[u8], request: &Request) -> bool {
    let Some(end) = head_end(read) else {
        return false;
    };
    if request.method == "HEAD" {
        return true;
    }
    let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    match length.and_then(|length| length.trim().parse::<usize>().ok()) {
        Some(length) => read.len() >= end.saturating_add(4).saturating_add(length),
        None => head.contains("chunked") && read.ends_with(b"0\r\n\r\n"),
    }
}

fn parse(read: &[u8]) -> Option<Answer> {
    let end = head_end(read)?;
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let first = lines.next()?;
    let status = first.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer {
        status: status.parse().ok()?,
        headers,
        body: String::new(),
    };
    let body = &read[end + 4..];
    let chunked = answer.header("transfer-encoding");
    let body = match chunked.is_some_and(|it| it.to_ascii_lowercase().contains("chunked")) {
        true => unchunked(body),
        false => body.to_vec(),
    };
    answer.body = String::from_utf8_lossy(&body).into_owned();
    Some(answer)
}

/// As far as it makes sense.
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|two| two == b"\r\n") {
        let size = String::from_utf8_lossy(&body[..end]);
        let size = size.split(';').next().unwrap_or_default().trim();
        let Ok(size) = usize::from_str_radix(size, 16) else {
            break;
        };
        let begin = end + 2;
        let stop = begin.saturating_add(size).min(body.len());
        whole.extend_from_slice(&body[begin..stop]);
        if size == 0 || stop + 2 > body.len() {
            break;
        }
        body = &body[stop + 2..];
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whatever_their_form() {
        let answer = parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n");
        assert_eq!(answer.expect("an answer").body, "abcde");
        let cut =
            parse(b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc");
        assert_eq!(cut.expect("an answer").body, "abc");
        assert_eq!(parse(b"SSH-2.0-x\r\n\r\n"), None);
        assert_eq!(parse(b"HTTP/1.1 soon\r\n\r\n"), None);
    }
}
