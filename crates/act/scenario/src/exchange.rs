//! An outcome of a request as the machine holds it: shared by the script's `Response` and the journal, which need not keep
//! what the script has not looked at and cannot look at any more.

use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;

use crate::http::{Response, TransportError};

/// Parts of a response that a script may look at; bits of a set.
pub(crate) mod part {
    pub(crate) const BODY: u8 = 1;
    pub(crate) const HEADERS: u8 = 2;
    /// Timings, protocol and address of the peer.
    pub(crate) const REST: u8 = 4;
    pub(crate) const ALL: u8 = BODY | HEADERS | REST;
}

#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) outcome: RefCell<Result<Response, TransportError>>,
    /// What there is to see: all of it, but for a response that comes from a journal.
    pub(crate) kept: u8,
    /// What the script has seen.
    seen: Cell<u8>,
    /// Whether the script can see no more of it.
    gone: Cell<bool>,
}

impl Exchange {
    pub(crate) fn new(outcome: Result<Response, TransportError>, kept: u8) -> Self {
        Self {
            outcome: RefCell::new(outcome),
            kept,
            seen: Cell::new(0),
            gone: Cell::new(false),
        }
    }

    /// As it came, for another script to look at.
    pub(crate) fn again(&self) -> Self {
        Self::new(self.outcome.borrow().clone(), self.kept)
    }

    /// The parts the journal must keep, as far as is known now.
    pub(crate) fn needed(&self) -> u8 {
        if self.gone.get() {
            self.seen.get()
        } else {
            self.kept
        }
    }

    /// Whether nothing about it will change any more.
    pub(crate) fn settled(&self) -> bool {
        self.gone.get()
    }

    pub(crate) fn body_bytes(&self) -> usize {
        self.outcome
            .borrow()
            .as_ref()
            .map_or(0, |response| response.body.len())
    }
}

/// The script's hold on an exchange. When it goes, what was not seen goes with it.
#[derive(Debug)]
pub(crate) struct Hold {
    exchange: Rc<Exchange>,
    /// Bytes of bodies the machine holds in all.
    held_bytes: Rc<Cell<usize>>,
    own_bytes: usize,
}

impl Hold {
    pub(crate) fn new(exchange: Rc<Exchange>, held_bytes: &Rc<Cell<usize>>) -> Self {
        let own_bytes = exchange.body_bytes();
        held_bytes.set(held_bytes.get() + own_bytes);
        Self {
            exchange,
            held_bytes: held_bytes.clone(),
            own_bytes,
        }
    }

    /// What came, for the machine itself: status, where it leads and its cookies are always kept.
    pub(crate) fn peek(&self) -> Ref<'_, Result<Response, TransportError>> {
        self.exchange.outcome.borrow()
    }

    /// The exchange, of which the script now looks at some parts; the error are those that were not kept.
    pub(crate) fn look(&self, parts: u8) -> Result<&RefCell<Result<Response, TransportError>>, u8> {
        self.exchange.seen.set(self.exchange.seen.get() | parts);
        match parts & !self.exchange.kept {
            0 => Ok(&self.exchange.outcome),
            missing => Err(missing),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.exchange.gone.set(true);
        self.held_bytes.set(self.held_bytes.get() - self.own_bytes);
        if self.exchange.seen.get() & part::BODY == 0
            && let Ok(response) = &mut *self.exchange.outcome.borrow_mut()
        {
            response.body = Vec::new();
        }
    }
}
