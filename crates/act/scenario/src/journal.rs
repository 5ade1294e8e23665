//! The journal of a machine: every answer it was given, compactly.

use serde::{Deserialize, Serialize};

use crate::call::Answer;

/// Everything a machine was answered, in order.
#[derive(Clone, Debug, Default)]
pub struct Journal {}

/// A place in a journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Answers before it.
    pub answers: u64,
    /// Bytes of the log before it.
    pub(crate) bytes: u64,
    /// Bodies and headers before it.
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

impl Journal {
    /// An empty journal.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many answers it holds.
    pub fn len(&self) -> u64 {
        unimplemented!()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size in bytes, bodies and headers included.
    pub fn bytes(&self) -> usize {
        unimplemented!()
    }

    /// Where it ends now.
    pub fn position(&self) -> Position {
        unimplemented!()
    }

    /// What came after a place: all of it, or with `settled` only what will not get smaller any more, which is what to send
    /// ahead while the machine runs on.
    pub fn since(&mut self, _from: Position, _settled: bool) -> Tail {
        unimplemented!()
    }

    /// Appends what another journal gave out with [`since`](Self::since).
    ///
    /// # Errors
    /// When it does not begin where this one ends, or is damaged: in words.
    pub fn extend(&mut self, _tail: &Tail) -> Result<(), String> {
        unimplemented!()
    }

    /// Appends one answer in full.
    pub fn push(&mut self, _answer: &Answer) {
        unimplemented!()
    }
}
