//! One agent's part in one thread: source, target, or neither.
//!
//! ```text
//!            JournalPart / Grant            the grant's journal is executed
//!   Absent ---------------------> Target ---------------------------------> Source
//!     ^  ^                          |                                         |
//!     |  +--- Drop, diverged -------+          JournalPart / Grant of a later |
//!     +----------------- Drop ------------------------------------------------+ epoch: Target again
//! ```
//!
//! Keep a `Side` (a few words) until the thread is over, also when it is absent: it remembers the
//! epochs it must never run.

use cohort_model::InstanceId;

use crate::{Epoch, Source, Target, ToHub, ToSide};

/// What happens to a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Input {
    /// The hub says something.
    Hub(ToSide),
    /// [`Effect::Freeze`] is done: the thread stands between two calls, `at` entries recorded.
    Frozen {
        /// Length of the journal.
        at: u64,
    },
    /// [`Effect::Replay`] is done: the copy has executed the journal up to `at`.
    Replayed {
        /// The replay's epoch.
        epoch: Epoch,
        /// Entries executed.
        at: u64,
    },
    /// The copy asked for something else than its journal holds, or could not be made.
    Diverged {
        /// The replay's epoch.
        epoch: Epoch,
    },
    /// The running thread came to its own end.
    Ended,
    /// Nothing was heard for a while and [`Side::waits`] holds.
    Timeout,
}

/// What the agent is to do, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Output {
    /// Tell the hub.
    Send(ToHub),
    /// Do something with the copy of the thread that is here.
    Do(Effect),
}

/// Something to be done with the copy of the thread that is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Send [`ToHub::JournalPart`] with the journal from `from` to its present end. The thread
    /// goes on running.
    SendJournal {
        /// The attempt it is for.
        next: Epoch,
        /// First entry.
        from: u64,
    },
    /// Execute these entries again, in a new copy when `from` is zero; then say
    /// [`Input::Replayed`] or [`Input::Diverged`]. Entries that were executed before are skipped.
    Replay {
        /// What to say it with.
        epoch: Epoch,
        /// First entry.
        from: u64,
        /// One past the last entry.
        to: u64,
    },
    /// Run: the copy is the thread now, under `epoch`, and may send requests to `instance`. One
    /// that already runs, or is frozen or about to be, simply goes on.
    Run {
        /// The epoch it runs under.
        epoch: Epoch,
        /// Where its requests go.
        instance: InstanceId,
    },
    /// Stop between two calls, then say [`Input::Frozen`]. Off when [`Effect::Run`] comes first.
    Freeze,
    /// Throw the copy away.
    Discard,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Role {
    #[default]
    Absent,
    Target(Target),
    Source(Source),
}

/// One agent's part in one thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Side {
    role: Role,
    /// The youngest epoch that will never run here (again).
    void: Epoch,
}

impl Side {
    /// Takes one input. Order, repetition and age of the hub's messages do not matter.
    pub fn step(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Hub(message) => self.hear(message, &mut out),
            Input::Replayed { .. } | Input::Diverged { .. } => self.replayed(input, &mut out),
            Input::Frozen { .. } | Input::Ended | Input::Timeout => {
                if let Role::Source(source) = &mut self.role {
                    source.step(input, &mut out);
                }
            }
        }
        out
    }

    /// The epoch under which the thread may run here now.
    #[must_use]
    pub fn holds(&self) -> Option<Epoch> {
        match &self.role {
            Role::Source(source) => source.holds(),
            _ => None,
        }
    }

    /// Whether a copy of the thread is here, running or not.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.role != Role::Absent
    }

    /// Whether [`Input::Timeout`] is to be said when nothing is heard for a while.
    #[must_use]
    pub fn waits(&self) -> bool {
        matches!(&self.role, Role::Source(source) if source.is_over())
    }

    fn hear(&mut self, message: ToSide, out: &mut Vec<Output>) {
        match message {
            ToSide::Prepare { .. }
            | ToSide::Freeze { .. }
            | ToSide::GiveBack { .. }
            | ToSide::Move { .. } => self.hear_as_source(message, out),
            ToSide::JournalPart { next, .. } => {
                if self.make_target(next, out)
                    && let Role::Target(target) = &mut self.role
                {
                    target.step(Input::Hub(message), out);
                }
            }
            ToSide::Grant { epoch, .. } => {
                if self.make_target(epoch, out)
                    && let Role::Target(target) = &mut self.role
                {
                    target.step(Input::Hub(message), out);
                    self.settle(out);
                } else {
                    self.answer_old_grant(epoch, out);
                }
            }
            ToSide::Drop { epoch } => self.drop_until(epoch, out),
        }
    }

    fn hear_as_source(&mut self, message: ToSide, out: &mut Vec<Output>) {
        if let Role::Source(source) = &mut self.role {
            source.step(Input::Hub(message), out);
            return;
        }
        // Without a copy there is nothing to go on with: the hub has to recover the thread.
        if let ToSide::GiveBack { epoch, .. } | ToSide::Move { epoch, .. } = message {
            self.void = self.void.max(epoch);
            out.push(Output::Send(ToHub::Diverged { epoch }));
        }
    }

    /// Makes this the target of the attempt `next`, unless that is void or behind. A copy of an
    /// older attempt, or one that was frozen and handed over, is void by now.
    fn make_target(&mut self, next: Epoch, out: &mut Vec<Output>) -> bool {
        let epoch = match &self.role {
            _ if next <= self.void => return false,
            Role::Absent => Epoch::default(),
            Role::Target(target) => target.epoch(),
            // A holder is never a target: what says so is not from our coordinator.
            Role::Source(source) if source.holds().is_some() => return false,
            Role::Source(source) => source.epoch(),
        };
        if next > epoch {
            self.discard(out);
            self.void = self.void.max(epoch);
            self.role = Role::Target(Target::new(next));
        }
        next >= epoch && matches!(self.role, Role::Target(_))
    }

    /// A grant that cannot be taken (now): it was taken before, or never will be.
    fn answer_old_grant(&self, epoch: Epoch, out: &mut Vec<Output>) {
        match &self.role {
            Role::Source(source) if source.epoch() == epoch => source.say_where(out),
            _ if epoch <= self.void => out.push(Output::Send(ToHub::Diverged { epoch })),
            _ => {}
        }
    }

    fn replayed(&mut self, input: Input, out: &mut Vec<Output>) {
        if let Role::Target(target) = &mut self.role {
            target.step(input, out);
            self.settle(out);
        }
    }

    /// After a step of the target: it may have become the source, or have diverged.
    fn settle(&mut self, out: &mut Vec<Output>) {
        let Role::Target(target) = &self.role else {
            return;
        };
        let epoch = target.epoch();
        if target.is_diverged() {
            self.discard(out);
            self.void = self.void.max(epoch);
        } else if target.is_complete() {
            self.role = Role::Source(Source::new(epoch));
        }
    }

    fn drop_until(&mut self, epoch: Epoch, out: &mut Vec<Output>) {
        self.void = self.void.max(epoch);
        let here = match &self.role {
            Role::Absent => None,
            Role::Target(target) => Some(target.epoch()),
            Role::Source(source) => Some(source.epoch()),
        };
        if here.is_some_and(|here| here <= epoch) {
            self.discard(out);
        }
        out.push(Output::Send(ToHub::Dropped { epoch }));
    }

    fn discard(&mut self, out: &mut Vec<Output>) {
        if self.is_present() {
            out.push(Output::Do(Effect::Discard));
        }
        self.role = Role::Absent;
    }
}
