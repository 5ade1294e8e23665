//! The journal of a machine: every answer it was given, compactly.
//!
//! Answers wait in order until nothing about them can get smaller (the script has let go of the response, or they are too
//! many), and are then written into one run of bytes: the kind, the time since the answer before, and what it says. Bodies
//! and header values go into a table, each once. What the script did not look at is left out: it will not look in a replay
//! either.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::call::{Answer, Call, Permit, Reply};
use crate::exchange::{Exchange, part};
use crate::http::{Response, Timings, TransportError};

/// Answers that may wait for getting smaller.
const WAITING: usize = 64;
/// Bytes from which something goes into the table.
const TABLE_FROM: usize = 12;

/// An answer as the machine works with it.
#[derive(Clone, Debug)]
pub(crate) enum Given {
    Reply(Reply),
    /// A fingerprint of the requests, and their outcomes.
    Exchanges(u16, Vec<Rc<Exchange>>),
    /// An interrupt of a computation, and when: after so many polls.
    Stop { polls: u64, reason: String },
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at_us: u64,
    pub(crate) given: Given,
}

impl Given {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Reply(reply) => reply.kind(),
            Self::Exchanges(..) => "responses",
            Self::Stop { .. } => "interrupt",
        }
    }

    fn is_settled(&self) -> bool {
        match self {
            Self::Exchanges(_, exchanges) => exchanges.iter().all(|exchange| exchange.settled()),
            _ => true,
        }
    }
}

/// One answer in full, for a file to which each is appended as it comes: see [`Machine::record`](crate::Machine::record).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The answer.
    pub answer: Answer,
    /// How far the machine was in a long computation ([`Call::Pause`]); `None` when it was in none.
    pub(crate) paused: Option<u64>,
}

impl Record {
    pub(crate) fn into_entry(self) -> Entry {
        let given = match self.answer.reply {
            Reply::Interrupt { reason } if self.paused.is_some() => Given::Stop {
                polls: self.paused.unwrap_or_default(),
                reason,
            },
            Reply::Responses(outcomes) => {
                let exchanges = outcomes.into_iter().map(|outcome| Rc::new(Exchange::new(outcome, part::ALL)));
                Given::Exchanges(0, exchanges.collect())
            }
            reply => Given::Reply(reply),
        };
        Entry {
            at_us: self.answer.at_us,
            given,
        }
    }
}

/// A fingerprint of the requests of a call, never 0.
pub(crate) fn print(call: &Call) -> u16 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    if let Call::Http(requests) = call {
        for request in requests {
            add(request.method.as_bytes());
            add(request.url.as_bytes());
            add(&request.body[..request.body.len().min(4096)]);
        }
    }
    ((hash ^ (hash >> 16) ^ (hash >> 32) ^ (hash >> 48)) as u16).max(1)
}

/// A place in a journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Answers before it.
    pub answers: u64,
    /// Bytes of the log before it.
    pub(crate) bytes: u64,
    /// Bodies and header values before it.
    pub(crate) blobs: u64,
}

/// The answers between two places of a journal, as they are sent or written to a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// Where it begins.
    pub from: Position,
    /// Where it ends.
    pub to: Position,
    pub(crate) log: Vec<u8>,
    pub(crate) blobs: Vec<Vec<u8>>,
}

impl Tail {
    /// Size in bytes.
    pub fn bytes(&self) -> usize {
        self.log.len() + self.blobs.iter().map(Vec::len).sum::<usize>()
    }
}

/// Everything a machine was answered, in order.
#[derive(Debug, Default)]
pub struct Journal {
    waiting: VecDeque<Entry>,
    log: Vec<u8>,
    answers: u64,
    table: Table,
    /// Time and permit that the next answer is written against.
    last_us: u64,
    last_permit: [u64; 9],
}

#[derive(Debug, Default)]
struct Table {
    blobs: Vec<Rc<[u8]>>,
    by_hash: HashMap<u64, u32>,
    bytes: usize,
}

impl Table {
    fn hash(bytes: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        hasher.finish()
    }

    fn add(&mut self, bytes: &[u8]) -> u64 {
        let hash = Self::hash(bytes);
        if let Some(known) = self.by_hash.get(&hash)
            && *self.blobs[*known as usize] == *bytes
        {
            return u64::from(*known);
        }
        self.push(hash, bytes)
    }

    fn push(&mut self, hash: u64, bytes: &[u8]) -> u64 {
        let id = self.blobs.len();
        self.blobs.push(bytes.into());
        self.bytes += bytes.len() + 32;
        if let Ok(id) = u32::try_from(id) {
            self.by_hash.entry(hash).or_insert(id);
        }
        id as u64
    }
}

impl Journal {
    /// An empty journal.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many answers it holds.
    pub fn len(&self) -> u64 {
        self.answers + self.waiting.len() as u64
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size in bytes, bodies and headers included; about.
    pub fn bytes(&self) -> usize {
        let waiting: usize = self
            .waiting
            .iter()
            .map(|entry| match &entry.given {
                Given::Exchanges(_, exchanges) => exchanges.iter().map(|exchange| exchange.body_bytes() + 512).sum(),
                _ => 64,
            })
            .sum();
        self.log.capacity() + self.table.bytes + waiting
    }

    /// Where what is written ends: all answers but those that may still get smaller.
    pub fn position(&self) -> Position {
        Position {
            answers: self.answers,
            bytes: self.log.len() as u64,
            blobs: self.table.blobs.len() as u64,
        }
    }

    /// What is written after a place, which is what to send ahead while the machine goes on: the last few answers, which may
    /// still get smaller, are not among it.
    ///
    /// # Panics
    /// When the place is not one of this journal.
    pub fn since(&self, from: Position) -> Tail {
        let to = self.position();
        Tail {
            from,
            to,
            log: self.log[usize::try_from(from.bytes).unwrap_or(usize::MAX)..].to_vec(),
            blobs: self.table.blobs[usize::try_from(from.blobs).unwrap_or(usize::MAX)..].iter().map(|blob| blob.to_vec()).collect(),
        }
    }

    /// Writes down all answers, the last few as they are, and returns everything after a place: the end of a hand-off.
    pub fn rest(&mut self, from: Position) -> Tail {
        self.settle(true);
        self.since(from)
    }

    pub(crate) fn all(&self) -> Tail {
        debug_assert!(self.waiting.is_empty(), "a journal to be replayed is made with `extend`");
        self.since(Position::default())
    }

    pub(crate) fn append(&mut self, entry: Entry) {
        self.waiting.push_back(entry);
        self.settle(false);
    }

    fn settle(&mut self, all: bool) {
        while let Some(entry) = self.waiting.front() {
            // The newest may yet be looked at.
            let newest = self.waiting.len() == 1;
            if !all && (newest || !entry.given.is_settled() && self.waiting.len() <= WAITING) {
                return;
            }
            if let Some(entry) = self.waiting.pop_front() {
                self.write(&entry);
            }
        }
    }

    fn write(&mut self, entry: &Entry) {
        let mut pen = Pen {
            log: &mut self.log,
            table: &mut self.table,
        };
        pen.entry(entry, &mut self.last_us, &mut self.last_permit);
        self.answers += 1;
    }

    /// Appends what another journal gave out with [`since`](Self::since) or [`rest`](Self::rest).
    ///
    /// # Errors
    /// When it does not begin where this one ends, or is damaged: in words.
    pub(crate) fn extend(&mut self, tail: &Tail) -> Result<Vec<Entry>, String> {
        self.settle(true);
        let here = self.position();
        if tail.from != here {
            return Err(format!("it goes on after answer {}, but there are {}", tail.from.answers, here.answers));
        }
        let blobs_before = self.table.blobs.len();
        for blob in &tail.blobs {
            self.table.push(Table::hash(blob), blob);
        }
        let mut eye = Eye {
            rest: &tail.log,
            table: &self.table,
        };
        let (mut entries, mut last_us, mut last_permit) = (Vec::new(), self.last_us, self.last_permit);
        while !eye.rest.is_empty() {
            match eye.entry(&mut last_us, &mut last_permit) {
                Some(entry) => entries.push(entry),
                None => {
                    self.table.blobs.truncate(blobs_before);
                    self.table.by_hash.retain(|_, id| (*id as usize) < blobs_before);
                    return Err(format!("answer {} cannot be read", here.answers + entries.len() as u64));
                }
            }
        }
        self.log.extend_from_slice(&tail.log);
        (self.last_us, self.last_permit) = (last_us, last_permit);
        self.answers += entries.len() as u64;
        if self.position() == tail.to { Ok(entries) } else { Err("it ends elsewhere than it says".into()) }
    }

    /// A journal of what another gave out from its beginning.
    ///
    /// # Errors
    /// When it does not begin at the beginning, or is damaged: in words.
    pub fn from_tails<'a>(tails: impl IntoIterator<Item = &'a Tail>) -> Result<Self, String> {
        let mut journal = Self::new();
        for tail in tails {
            journal.extend(tail)?;
        }
        Ok(journal)
    }
}

const RESUME: u8 = 0;
const BEGIN: u8 = 1;
const EXCHANGES: u8 = 2;
const WOKEN: u8 = 3;
const NOW: u8 = 4;
const INTERRUPT: u8 = 5;
const STOP: u8 = 6;
/// Bit of an outcome's parts: there is no response.
const FAILED: u8 = 0x80;

/// Headers that a machine reads itself.
fn is_own(name: &str) -> bool {
    ["location", "set-cookie", "content-encoding"].iter().any(|own| name.eq_ignore_ascii_case(own))
}

fn numbers(permit: &Permit) -> [u64; 9] {
    let around = &permit.around;
    [
        permit.in_vu,
        permit.in_scenario,
        permit.in_instance,
        u64::from(permit.progress_permille),
        around.iterations_completed,
        around.iterations_interrupted,
        around.vus_active,
        around.vus_initialized,
        around.test_run_us,
    ]
}

/// Writes.
struct Pen<'a> {
    log: &'a mut Vec<u8>,
    table: &'a mut Table,
}

impl Pen<'_> {
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.log.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.log.push(value as u8);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if bytes.len() < TABLE_FROM {
            self.number((bytes.len() as u64) << 1);
            self.log.extend_from_slice(bytes);
        } else {
            let id = self.table.add(bytes);
            self.number(id << 1 | 1);
        }
    }

    fn entry(&mut self, entry: &Entry, last_us: &mut u64, last_permit: &mut [u64; 9]) {
        let kind = match &entry.given {
            Given::Exchanges(..) => EXCHANGES,
            Given::Stop { .. } => STOP,
            Given::Reply(reply) => match reply {
                Reply::Begin(_) => BEGIN,
                Reply::Woken => WOKEN,
                Reply::Now => NOW,
                Reply::Interrupt { .. } => INTERRUPT,
                Reply::Resume | Reply::Terminate | Reply::Responses(_) => RESUME,
            },
        };
        self.log.push(kind);
        self.number(entry.at_us.saturating_sub(*last_us));
        *last_us = entry.at_us.max(*last_us);
        match &entry.given {
            Given::Reply(Reply::Begin(permit)) => {
                for (value, last) in numbers(permit).into_iter().zip(last_permit) {
                    let change = value.wrapping_sub(*last) as i64;
                    self.number((change << 1 ^ (change >> 63)) as u64);
                    *last = value;
                }
            }
            Given::Reply(Reply::Interrupt { reason }) => self.bytes(reason.as_bytes()),
            Given::Reply(_) => {}
            Given::Stop { polls, reason } => {
                self.number(*polls);
                self.bytes(reason.as_bytes());
            }
            Given::Exchanges(print, exchanges) => {
                self.log.extend_from_slice(&print.to_le_bytes());
                self.number(exchanges.len() as u64);
                for exchange in exchanges {
                    self.exchange(exchange);
                }
            }
        }
    }

    fn exchange(&mut self, exchange: &Exchange) {
        match &*exchange.outcome.borrow() {
            Err(error) => {
                self.log.push(FAILED);
                self.number(u64::from(error.code));
                self.bytes(error.message.as_bytes());
                self.timings(&error.timings);
            }
            Ok(response) => {
                let parts = exchange.needed() & exchange.kept;
                self.log.push(parts);
                self.response(response, parts);
            }
        }
    }

    fn response(&mut self, response: &Response, parts: u8) {
        self.number(u64::from(response.status));
        let kept = |name: &str| parts & part::HEADERS != 0 || is_own(name);
        self.number(response.headers.iter().filter(|(name, _)| kept(name)).count() as u64);
        for (name, value) in response.headers.iter().filter(|(name, _)| kept(name)) {
            self.bytes(name.as_bytes());
            self.bytes(value.as_bytes());
        }
        if parts & part::BODY != 0 {
            self.bytes(&response.body);
        }
        if parts & part::REST != 0 {
            self.bytes(response.proto.as_bytes());
            self.bytes(response.remote_ip.as_bytes());
            self.number(u64::from(response.remote_port));
            self.timings(&response.timings);
        }
    }

    fn timings(&mut self, timings: &Timings) {
        for us in [
            timings.blocked_us,
            timings.connecting_us,
            timings.tls_us,
            timings.sending_us,
            timings.waiting_us,
            timings.receiving_us,
        ] {
            self.number(us);
        }
    }
}

/// Reads; `None` when there is nothing sensible to read.
struct Eye<'a> {
    rest: &'a [u8],
    table: &'a Table,
}

impl Eye<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn short(&mut self) -> Option<u16> {
        u16::try_from(self.number()?).ok()
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let head = self.number()?;
        let size = usize::try_from(head >> 1).ok()?;
        if head & 1 == 1 {
            return self.table.blobs.get(size).map(|blob| blob.to_vec());
        }
        let bytes = self.rest.get(..size)?.to_vec();
        self.rest = &self.rest[size..];
        Some(bytes)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?).ok()
    }

    fn entry(&mut self, last_us: &mut u64, last_permit: &mut [u64; 9]) -> Option<Entry> {
        let kind = self.byte()?;
        let at_us = last_us.checked_add(self.number()?)?;
        *last_us = at_us;
        let given = match kind {
            RESUME => Given::Reply(Reply::Resume),
            WOKEN => Given::Reply(Reply::Woken),
            NOW => Given::Reply(Reply::Now),
            BEGIN => Given::Reply(Reply::Begin(self.permit(last_permit)?)),
            INTERRUPT => Given::Reply(Reply::Interrupt { reason: self.text()? }),
            STOP => Given::Stop {
                polls: self.number()?,
                reason: self.text()?,
            },
            EXCHANGES => {
                let print = u16::from_le_bytes([self.byte()?, self.byte()?]);
                let count = self.number()?;
                let exchanges: Option<Vec<_>> = (0..count).map(|_| self.exchange().map(Rc::new)).collect();
                Given::Exchanges(print, exchanges?)
            }
            _ => return None,
        };
        Some(Entry { at_us, given })
    }

    fn permit(&mut self, last: &mut [u64; 9]) -> Option<Permit> {
        for value in last.iter_mut() {
            let change = self.number()?;
            *value = value.wrapping_add(((change >> 1) as i64 ^ -((change & 1) as i64)) as u64);
        }
        let mut permit = Permit {
            in_vu: last[0],
            in_scenario: last[1],
            in_instance: last[2],
            progress_permille: u16::try_from(last[3]).ok()?,
            ..Permit::default()
        };
        permit.around.iterations_completed = last[4];
        permit.around.iterations_interrupted = last[5];
        permit.around.vus_active = last[6];
        permit.around.vus_initialized = last[7];
        permit.around.test_run_us = last[8];
        Some(permit)
    }

    fn exchange(&mut self) -> Option<Exchange> {
        let parts = self.byte()?;
        if parts == FAILED {
            let error = TransportError {
                code: self.short()?,
                message: self.text()?,
                timings: self.timings()?,
            };
            return Some(Exchange::new(Err(error), part::ALL));
        }
        let mut response = Response {
            status: self.short()?,
            ..Response::default()
        };
        for _ in 0..self.number()? {
            let header = (self.text()?, self.text()?);
            response.headers.push(header);
        }
        if parts & part::BODY != 0 {
            response.body = self.bytes()?;
        }
        if parts & part::REST != 0 {
            response.proto = self.text()?;
            response.remote_ip = self.text()?;
            response.remote_port = self.short()?;
            response.timings = self.timings()?;
        }
        Some(Exchange::new(Ok(response), parts))
    }

    fn timings(&mut self) -> Option<Timings> {
        Some(Timings {
            blocked_us: self.number()?,
            connecting_us: self.number()?,
            tls_us: self.number()?,
            sending_us: self.number()?,
            waiting_us: self.number()?,
            receiving_us: self.number()?,
        })
    }
}
