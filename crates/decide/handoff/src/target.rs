//! The side that makes a copy of a thread by executing its journal again.
//!
//! Promises: nothing runs here before the grant, and before all of the granted journal is
//! executed; an epoch whose copy diverged never runs here.

use cohort_model::InstanceId;

use crate::{Effect, Epoch, Input, Output, ToHub, ToSide};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Granted {
    at: u64,
    instance: InstanceId,
}

/// The side that makes a copy of a thread by executing its journal again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    epoch: Epoch,
    /// Entries handed to the copy; `None` while there is no copy.
    received: Option<u64>,
    /// Entries that the copy has executed.
    replayed: Option<u64>,
    granted: Option<Granted>,
    diverged: bool,
}

impl Target {
    pub(crate) fn new(epoch: Epoch) -> Target {
        Target {
            epoch,
            received: None,
            replayed: None,
            granted: None,
            diverged: false,
        }
    }

    /// The epoch it is to have.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether its copy did not follow the journal.
    #[must_use]
    pub fn is_diverged(&self) -> bool {
        self.diverged
    }

    /// Whether it was granted the thread and has executed all of its journal.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.granted
            .is_some_and(|granted| self.replayed == Some(granted.at))
    }

    /// Takes one input; what does not concern this attempt is without effect.
    pub(crate) fn step(&mut self, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Hub(ToSide::JournalPart { next, from, to }) if next == self.epoch => {
                self.receive(from, to, out);
            }
            Input::Hub(ToSide::Grant {
                epoch,
                from,
                at,
                instance,
            }) if epoch == self.epoch => {
                self.grant(from, Granted { at, instance }, out);
            }
            Input::Replayed { epoch, at } if epoch == self.epoch => {
                self.replayed = Some(at);
                self.report(out);
            }
            Input::Diverged { epoch } if epoch == self.epoch => self.diverge(out),
            _ => {}
        }
    }

    fn receive(&mut self, from: u64, to: u64, out: &mut Vec<Output>) {
        if self.granted.is_none() {
            self.extend(from, to, out);
            // Also when nothing new came: the hub may not have heard how far this is.
            self.report(out);
        }
    }

    fn grant(&mut self, from: u64, granted: Granted, out: &mut Vec<Output>) {
        if from > self.received.unwrap_or(0) {
            self.diverge(out);
        } else if self.granted.is_none() {
            self.granted = Some(granted);
            self.extend(from, granted.at, out);
            self.report(out);
        }
    }

    /// Hands entries to the copy when they join on to those that it has.
    fn extend(&mut self, from: u64, to: u64, out: &mut Vec<Output>) {
        let begins = self.received.is_none() && from == 0;
        let goes_on = self
            .received
            .is_some_and(|received| from <= received && received < to);
        if begins || goes_on {
            let from = self.received.unwrap_or(0);
            self.received = Some(to);
            out.push(Output::Do(Effect::Replay {
                epoch: self.epoch,
                from,
                to,
            }));
        }
    }

    fn report(&self, out: &mut Vec<Output>) {
        let epoch = self.epoch;
        match self.granted {
            Some(granted) if self.is_complete() => {
                let instance = granted.instance;
                out.push(Output::Do(Effect::Run { epoch, instance }));
                out.push(Output::Send(ToHub::Resumed { epoch }));
            }
            Some(_) => {}
            None if self.received == self.replayed => {
                let at = self.replayed.unwrap_or(0);
                out.push(Output::Send(ToHub::Prepared { next: epoch, at }));
            }
            None => {}
        }
    }

    fn diverge(&mut self, out: &mut Vec<Output>) {
        self.diverged = true;
        out.push(Output::Send(ToHub::Diverged { epoch: self.epoch }));
    }
}
