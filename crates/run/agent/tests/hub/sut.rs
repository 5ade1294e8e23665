//! A server for tests: it keeps an access log, sets cookies, and can be told to misbehave.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "a part of each test binary and example, which use different parts of it"
)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cohort_agent::protocol::Address;

/// One request as the server saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub port: u16,
    pub method: String,
    pub path: String,
    pub cookie: String,
    pub host: String,
    pub body: Vec<u8>,
}

impl Seen {
    /// A value of its query.
    pub fn query(&self, name: &str) -> &str {
        let query = self.path.split_once('?').map_or("", |(_, query)| query);
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map_or("", |(_, value)| value)
    }
}

pub type Log = Arc<Mutex<Vec<Seen>>>;

/// How a request is answered.
pub type Answer = Arc<dyn Fn(&Seen, &mut TcpStream) -> bool + Send + Sync>;

/// Listens on a port of its own; `answer` writes the response and says whether the connection is kept.
pub fn serve(log: &Log, answer: Answer) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
            std::thread::spawn(move || converse(stream, port, &log, &answer));
        }
    });
    Address {
        tls: false,
        host: "127.0.0.1".to_owned(),
        port,
    }
}

fn converse(mut stream: TcpStream, port: u16, log: &Log, answer: &Answer) {
    stream.set_nodelay(true).unwrap();
    let mut buffer = Vec::new();
    while let Some(seen) = read_request(&mut stream, &mut buffer, port) {
        log.lock().unwrap().push(seen.clone());
        if !answer(&seen, &mut stream) {
            return;
        }
    }
}

fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>, port: u16) -> Option<Seen> {
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let header = |name: &str| {
                head.lines()
                    .filter_map(|line| line.split_once(": "))
                    .find(|(key, _)| key.eq_ignore_ascii_case(name))
                    .map_or(String::new(), |(_, value)| value.to_owned())
            };
            let length: usize = header("content-length").parse().unwrap_or(0);
            if buffer.len() >= end + 4 + length {
                let body = buffer[end + 4..end + 4 + length].to_vec();
                buffer.drain(..end + 4 + length);
                let mut first = head.lines().next().unwrap_or("").split(' ');
                return Some(Seen {
                    port,
                    method: first.next().unwrap_or("").to_owned(),
                    path: first.next().unwrap_or("").to_owned(),
                    cookie: header("cookie"),
                    host: header("host"),
                    body,
                });
            }
        }
        match stream.read(&mut chunk) {
            Ok(bytes) if bytes > 0 => buffer.extend_from_slice(&chunk[..bytes]),
            _ => return None,
        }
    }
}

/// Answers 200 with the counter of the url as a cookie, after some time.
pub fn counting(delay: Duration) -> Answer {
    Arc::new(move |seen: &Seen, stream: &mut TcpStream| {
        std::thread::sleep(delay);
        let body = format!("body of {}", seen.query("n"));
        let response = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nSet-Cookie: last={}; Path=/\r\n\r\n{body}",
            body.len(),
            seen.query("n"),
        );
        stream.write_all(response.as_bytes()).is_ok()
    })
}

/// What each thread sent, in order.
pub fn by_thread(log: &Log) -> BTreeMap<u32, Vec<Seen>> {
    let mut threads: BTreeMap<u32, Vec<Seen>> = BTreeMap::new();
    for seen in log.lock().unwrap().iter() {
        if let Ok(thread) = seen.query("t").parse() {
            threads.entry(thread).or_default().push(seen.clone());
        }
    }
    threads
}

/// Each thread's counter goes up by one from zero, and its cookie is that of the request before, except
/// at the beginning of an iteration of so many requests, when k6 empties the jar.
pub fn assert_exactly_once(log: &Log, iteration: usize) -> u64 {
    let mut requests = 0;
    for (thread, seen) in by_thread(log) {
        for (place, one) in seen.iter().enumerate() {
            assert_eq!(one.query("n"), place.to_string(), "thread {thread}");
            let cookie = match place % iteration {
                0 => String::new(),
                _ => format!("last={}", place - 1),
            };
            assert_eq!(one.cookie, cookie, "thread {thread}, request {place}");
            requests += 1;
        }
    }
    requests
}
