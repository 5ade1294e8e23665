//! A machine: one script in one JavaScript engine on one stack.

use crate::birth::Birth;
use crate::call::{Answer, Call};
use crate::journal::{Journal, Tail};
use crate::note::Note;
use crate::script::Script;

/// What a machine did until it needed something.
#[derive(Debug)]
pub struct Step {
    /// What it needs now.
    pub call: Call,
    /// What it said on the way.
    pub notes: Vec<Note>,
}

/// Why a machine cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BirthError {
    /// The system gave no memory for its stack.
    #[error("no stack for a scenario thread: {0}")]
    Stack(#[from] std::io::Error),
}

/// Why a machine did not come to the state its journal leads to.
#[derive(Debug, thiserror::Error)]
pub enum Diverged {
    /// It could not be made at all.
    #[error(transparent)]
    Birth(#[from] BirthError),
}

/// One scenario thread. It belongs to the thread of the operating system it was made on (it is neither `Send` nor `Sync`).
pub struct Machine {
    journal: Journal,
}

impl Machine {
    /// Makes a machine, which waits for its first answer: [`Reply::Resume`](crate::Reply::Resume).
    ///
    /// # Errors
    /// When the system has no memory for its stack.
    pub fn new(_script: &Script, _birth: Birth) -> Result<Self, BirthError> {
        unimplemented!()
    }

    /// Gives the machine what it waits for and runs it until it needs something again.
    ///
    /// # Panics
    /// When the reply does not fit the call: that is a mistake of the caller.
    pub fn resume(&mut self, _answer: Answer) -> Step {
        unimplemented!()
    }

    /// What the machine waits for; `None` before its first answer.
    pub fn waits_for(&self) -> Option<&Call> {
        unimplemented!()
    }

    /// The journal of all its answers.
    pub fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// Makes a machine and brings it to the state the journal leads to. It makes no calls and says nothing on the way.
    ///
    /// # Errors
    /// When script, birth and journal do not belong together.
    pub fn replay(_script: &Script, _birth: Birth, _journal: &Journal) -> Result<Self, Diverged> {
        unimplemented!()
    }

    /// Goes on with a replay by what has come since.
    ///
    /// # Errors
    /// When the tail does not begin where the machine's journal ends, or does not belong to it.
    pub fn replay_more(&mut self, _tail: &Tail) -> Result<(), Diverged> {
        unimplemented!()
    }

    /// Goes on with a replay by answers as they were given (a file to which each was appended as it came).
    ///
    /// # Errors
    /// When they do not belong to the machine.
    pub fn replay_answers(&mut self, _answers: &[Answer]) -> Result<(), Diverged> {
        unimplemented!()
    }
}
