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

use crate::call::{Answer, Call, Reply};
use crate::exchange::{Exchange, part};

mod code;

use code::{Eye, Pen};

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
    Stop {
        polls: u64,
        reason: String,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at_us: u64,
    pub(crate) given: Given,
}

impl Entry {
    /// The same answer for another machine: what a script looks at, and lets go of, is its own.
    pub(crate) fn again(&self) -> Self {
        let given = match &self.given {
            Given::Exchanges(print, exchanges) => Given::Exchanges(
                *print,
                exchanges
                    .iter()
                    .map(|exchange| Rc::new(exchange.again()))
                    .collect(),
            ),
            other => other.clone(),
        };
        Self {
            at_us: self.at_us,
            given,
        }
    }
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
                let exchanges = outcomes
                    .into_iter()
                    .map(|outcome| Rc::new(Exchange::new(outcome, part::ALL)));
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
                Given::Exchanges(_, exchanges) => exchanges
                    .iter()
                    .map(|exchange| exchange.body_bytes() + 512)
                    .sum(),
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
            blobs: self.table.blobs[usize::try_from(from.blobs).unwrap_or(usize::MAX)..]
                .iter()
                .map(|blob| blob.to_vec())
                .collect(),
        }
    }

    /// Writes down all answers, the last few as they are, and returns everything after a place: the end of a hand-off.
    pub fn rest(&mut self, from: Position) -> Tail {
        self.settle(true);
        self.since(from)
    }

    pub(crate) fn all(&self) -> Tail {
        debug_assert!(
            self.waiting.is_empty(),
            "a journal to be replayed is made with `extend`"
        );
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
            return Err(format!(
                "it goes on after answer {}, but there are {}",
                tail.from.answers, here.answers
            ));
        }
        let blobs_before = self.table.blobs.len();
        for blob in &tail.blobs {
            self.table.push(Table::hash(blob), blob);
        }
        let mut eye = Eye {
            rest: &tail.log,
            table: &self.table,
        };
        let (mut entries, mut last_us, mut last_permit) =
            (Vec::new(), self.last_us, self.last_permit);
        while !eye.rest.is_empty() {
            match eye.entry(&mut last_us, &mut last_permit) {
                Some(entry) => entries.push(entry),
                None => {
                    self.table.blobs.truncate(blobs_before);
                    self.table
                        .by_hash
                        .retain(|_, id| (*id as usize) < blobs_before);
                    return Err(format!(
                        "answer {} cannot be read",
                        here.answers + entries.len() as u64
                    ));
                }
            }
        }
        self.log.extend_from_slice(&tail.log);
        (self.last_us, self.last_permit) = (last_us, last_permit);
        self.answers += entries.len() as u64;
        if self.position() == tail.to {
            Ok(entries)
        } else {
            Err("it ends elsewhere than it says".into())
        }
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
