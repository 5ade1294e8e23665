//! The side that has, or had, the right to run.
//!
//! ```text
//!            Freeze              stands still
//!   Running ---------> Freezing ------------> Frozen
//!      ^ |                |                     |
//!      | +--- ended ---> Over <--- ended -------+ (never: what is frozen does nothing)
//!      +---- GiveBack ----+-------- GiveBack ---+
//! ```
//!
//! Promise: after `Frozen` was said nothing runs here until a later epoch is given.

use crate::{Effect, Epoch, Input, Output, ToHub, ToSide};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum State {
    Running,
    Freezing { next: Epoch, from: u64 },
    Frozen { next: Epoch, at: u64 },
    Over,
}

/// The side that has, or had, the right to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    epoch: Epoch,
    state: State,
}

impl Source {
    pub(crate) fn new(epoch: Epoch) -> Source {
        Source {
            epoch,
            state: State::Running,
        }
    }

    /// The epoch it runs, or ran, under.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The epoch, while it may run.
    #[must_use]
    pub fn holds(&self) -> Option<Epoch> {
        matches!(self.state, State::Running | State::Freezing { .. }).then_some(self.epoch)
    }

    /// Whether the thread came to its own end here.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Takes one input; what does not concern a source in its epoch is without effect.
    pub(crate) fn step(&mut self, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Hub(message) => self.hear(message, out),
            Input::Frozen { at } => {
                if let State::Freezing { next, from } = self.state {
                    self.state = State::Frozen { next, at };
                    self.say_frozen(from, out);
                }
            }
            Input::Ended => {
                if self.holds().is_some() {
                    self.state = State::Over;
                    self.say_where(out);
                }
            }
            Input::Timeout if self.is_over() => self.say_where(out),
            Input::Timeout | Input::Replayed { .. } | Input::Diverged { .. } => {}
        }
    }

    fn hear(&mut self, message: ToSide, out: &mut Vec<Output>) {
        match message {
            ToSide::Prepare { epoch, next, from } if epoch == self.epoch => {
                if self.state == State::Running {
                    out.push(Output::Do(Effect::SendJournal { next, from }));
                } else if self.is_over() {
                    self.say_where(out);
                }
            }
            ToSide::Freeze { epoch, next, from } if epoch == self.epoch => {
                self.freeze(next, from, out);
            }
            ToSide::GiveBack { epoch, instance } | ToSide::Move { epoch, instance }
                if epoch > self.epoch && !self.is_over() =>
            {
                *self = Source::new(epoch);
                out.push(Output::Do(Effect::Run { epoch, instance }));
                self.say_where(out);
            }
            ToSide::GiveBack { epoch, .. } | ToSide::Move { epoch, .. }
                if epoch == self.epoch || self.is_over() =>
            {
                self.say_where(out);
            }
            _ => {}
        }
    }

    fn freeze(&mut self, next: Epoch, from: u64, out: &mut Vec<Output>) {
        match &mut self.state {
            State::Running => {
                self.state = State::Freezing { next, from };
                out.push(Output::Do(Effect::Freeze));
            }
            State::Freezing { .. } => {}
            State::Frozen { next: of, .. } if *of == next => self.say_frozen(from, out),
            State::Frozen { .. } => {}
            State::Over => self.say_where(out),
        }
    }

    fn say_frozen(&self, from: u64, out: &mut Vec<Output>) {
        if let State::Frozen { next, at } = self.state {
            out.push(Output::Send(ToHub::Frozen {
                epoch: self.epoch,
                next,
                from,
                at,
            }));
        }
    }

    /// Tells the hub that the thread runs, or has ended, under this epoch.
    pub(crate) fn say_where(&self, out: &mut Vec<Output>) {
        let epoch = self.epoch;
        match self.state {
            State::Running | State::Freezing { .. } => {
                out.push(Output::Send(ToHub::Resumed { epoch }));
            }
            State::Over => out.push(Output::Send(ToHub::Ended { epoch })),
            State::Frozen { .. } => {}
        }
    }
}
