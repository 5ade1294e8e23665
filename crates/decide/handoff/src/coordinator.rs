//! The hub's part: who has a thread, and what is under way with it.
//!
//! ```text
//!             Place                     HandOff              Prepared
//!   Homeless ------> Granting    Running -----> Preparing ------------> Freezing
//!      ^                |  Resumed  ^  ^            |                      |  | Frozen
//!      |                +-----------+  |            | abort                |  +-------> Granting
//!      |                               +------------+                      | abort
//!      |                               +------------- Returning <----------+   (also from Running:
//!      +-- the last one that had it died   Resumed     ^                        Move)
//!                                                      +--- Granting, when the target is no more
//!                                                           and the source's copy is still true
//!   any --- Ended ---> Over
//! ```
//!
//! Promises: an epoch is offered once, to one side. A grant is only made when nobody holds the
//! thread: its holder said `Frozen`, or died. A grant is only taken back when the one it was made
//! to said that it will never run it, or died. What is not answered is said again.

use std::collections::BTreeMap;

use cohort_model::InstanceId;
use serde::{Deserialize, Serialize};

use crate::{Abort, AgentId, Epoch, Order, Standing, ToHub, ToSide};

/// How patient the coordinator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Settings {
    /// After so many timeouts without progress a hand-off is given up.
    pub tries_max: u8,
    /// How often the journal is sent ahead before the source is frozen. The second time only what
    /// came since, so the tail is short however long the first took. At least once.
    pub rounds: u8,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            tries_max: 5,
            rounds: 2,
        }
    }
}

/// Where a thread is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The agent that runs it.
    pub agent: AgentId,
    /// Where its requests go.
    pub instance: InstanceId,
}

/// What happens to a thread, as the hub sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// A side said something.
    Heard(AgentId, ToHub),
    /// A side's process was reaped; its journal file for this thread holds so many entries (zero
    /// when there is none).
    Died {
        /// Whose process.
        agent: AgentId,
        /// Entries in its journal file.
        journal: u64,
    },
    /// A home for a thread that is [`Standing::Homeless`]: a new one, or one whose agent died.
    Place(Place),
    /// The thread is to go there. Without effect unless [`Standing::Runs`].
    HandOff(Place),
    /// The hand-off under way is no longer wanted. Without effect after the grant.
    Cancel,
    /// Nothing was heard for a while and [`Coordinator::waits`] holds.
    Timeout,
}

/// The holder of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Lease {
    pub(crate) agent: AgentId,
    pub(crate) epoch: Epoch,
}

/// A hand-off before its grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Attempt {
    pub(crate) holder: Lease,
    pub(crate) target: Place,
    /// The target's epoch, when it comes to that.
    pub(crate) next: Epoch,
    pub(crate) tries: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum State {
    Homeless,
    Running(Lease),
    Preparing {
        attempt: Attempt,
        /// End of the last part that went to the target in this round.
        sent: Option<u64>,
        prepared: u64,
        rounds_left: u8,
    },
    Freezing {
        attempt: Attempt,
        from: u64,
    },
    Granting {
        to: Place,
        epoch: Epoch,
        from: u64,
        at: u64,
        /// Whose frozen copy is as long as the grant, and would be right to go on with.
        source: Option<AgentId>,
    },
    Returning {
        /// With the epoch that the holder may still be in.
        holder: Lease,
        epoch: Epoch,
        instance: InstanceId,
        /// Whether this is a move rather than the end of a failed hand-off.
        is_move: bool,
    },
    Over,
}

/// The hub's part in one thread.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Coordinator {
    pub(crate) settings: Settings,
    pub(crate) state: State,
    /// The last one that was offered or set aside for an attempt.
    pub(crate) epoch: Epoch,
    /// Where the thread's requests went when it was last heard to run.
    pub(crate) instance: InstanceId,
    /// Length of the longest journal that is known.
    pub(crate) journal: u64,
    /// Agents that may still have a void copy, with its epoch.
    pub(crate) void: BTreeMap<AgentId, Epoch>,
}

impl Coordinator {
    /// Of a thread that nobody has yet.
    #[must_use]
    pub fn new(settings: Settings) -> Coordinator {
        Coordinator {
            settings,
            state: State::Homeless,
            epoch: Epoch::default(),
            instance: InstanceId(0),
            journal: 0,
            void: BTreeMap::new(),
        }
    }

    /// Takes one event; gives what is to be done, in this order.
    pub fn step(&mut self, event: Event) -> Vec<Order> {
        let mut out = Vec::new();
        match event {
            Event::Heard(agent, message) => self.hear(agent, message, &mut out),
            Event::Died { agent, journal } => self.died(agent, journal, &mut out),
            Event::Place(place) => {
                if self.state == State::Homeless {
                    self.grant(place, 0, None, &mut out);
                }
            }
            Event::HandOff(place) => self.hand_off(place, &mut out),
            Event::Cancel => self.abort(Abort::Cancelled, &mut out),
            Event::Timeout => self.timeout(&mut out),
        }
        out
    }

    /// How the thread stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self.state {
            State::Homeless => Standing::Homeless,
            State::Running(lease) => Standing::Runs(lease.agent, lease.epoch, self.instance),
            State::Preparing { attempt, .. } | State::Freezing { attempt, .. } => {
                Standing::Leaving(attempt.holder.agent)
            }
            State::Granting { to, epoch, .. } => Standing::Granted(to.agent, epoch),
            State::Returning { holder, epoch, .. } => Standing::Granted(holder.agent, epoch),
            State::Over => Standing::Over,
        }
    }

    /// Whether an answer is due, so that [`Event::Timeout`] is to be said when none comes.
    #[must_use]
    pub fn waits(&self) -> bool {
        let settled = matches!(
            self.state,
            State::Homeless | State::Running(_) | State::Over
        );
        !settled || !self.void.is_empty()
    }

    fn hear(&mut self, agent: AgentId, message: ToHub, out: &mut Vec<Order>) {
        match message {
            ToHub::JournalPart { next, from, to } => self.relay(agent, next, from, to, out),
            ToHub::Prepared { next, at } => self.prepared(agent, next, at, out),
            ToHub::Frozen {
                epoch, next, at, ..
            } => self.frozen(Lease { agent, epoch }, next, at, out),
            ToHub::Resumed { epoch } => self.resumed(Lease { agent, epoch }, out),
            ToHub::Diverged { epoch } => self.diverged(Lease { agent, epoch }, out),
            ToHub::Dropped { epoch } => {
                if self.void.get(&agent).is_some_and(|void| *void <= epoch) {
                    self.void.remove(&agent);
                }
            }
            ToHub::Ended { epoch } => self.ended(Lease { agent, epoch }, out),
        }
    }

    fn hand_off(&mut self, target: Place, out: &mut Vec<Order>) {
        let State::Running(holder) = self.state else {
            return;
        };
        if target.agent == holder.agent {
            if target.instance != self.instance {
                self.go_on(holder, target.instance, true, out);
            }
            return;
        }
        self.epoch = self.epoch.next();
        let attempt = Attempt {
            holder,
            target,
            next: self.epoch,
            tries: 0,
        };
        self.prepare(attempt, 0, self.settings.rounds.max(1), out);
    }

    /// Begins a round: asks the source for what the target does not have.
    fn prepare(&mut self, attempt: Attempt, from: u64, rounds: u8, out: &mut Vec<Order>) {
        self.state = State::Preparing {
            attempt,
            sent: None,
            prepared: from,
            rounds_left: rounds - 1,
        };
        self.ask_again(out);
    }

    fn relay(&mut self, agent: AgentId, part: Epoch, from: u64, to: u64, out: &mut Vec<Order>) {
        if let State::Preparing { attempt, sent, .. } = &mut self.state
            && attempt.next == part
            && attempt.holder.agent == agent
        {
            *sent = (*sent).max(Some(to));
            let next = attempt.next;
            let part = ToSide::JournalPart { next, from, to };
            out.push(Order::Send(attempt.target.agent, part));
        }
    }

    fn prepared(&mut self, agent: AgentId, next: Epoch, at: u64, out: &mut Vec<Order>) {
        let State::Preparing {
            attempt,
            sent,
            prepared,
            rounds_left,
        } = &mut self.state
        else {
            return;
        };
        if attempt.next != next || attempt.target.agent != agent {
            return;
        }
        if at > *prepared {
            *prepared = at;
            attempt.tries = 0;
        }
        if sent.is_none_or(|sent| *prepared < sent) {
            return;
        }
        let (attempt, from, rounds) = (*attempt, *prepared, *rounds_left);
        if rounds > 0 {
            self.prepare(attempt, from, rounds, out);
        } else {
            self.state = State::Freezing { attempt, from };
            self.ask_again(out);
        }
    }

    fn frozen(&mut self, source: Lease, next: Epoch, at: u64, out: &mut Vec<Order>) {
        let State::Freezing { attempt, from } = self.state else {
            return;
        };
        if attempt.holder == source && attempt.next == next {
            self.journal = self.journal.max(at);
            self.offer(attempt.target, next, from, Some(source.agent), out);
        }
    }

    fn resumed(&mut self, lease: Lease, out: &mut Vec<Order>) {
        match self.state {
            State::Granting {
                to, epoch, source, ..
            } if to.agent == lease.agent && epoch == lease.epoch => {
                self.runs(lease, to.instance, out);
                if let Some(source) = source {
                    self.void_at(source, epoch, out);
                }
            }
            State::Returning {
                holder,
                epoch,
                instance,
                ..
            } if holder.agent == lease.agent && epoch == lease.epoch => {
                self.runs(lease, instance, out);
            }
            _ => {}
        }
    }

    fn runs(&mut self, lease: Lease, instance: InstanceId, out: &mut Vec<Order>) {
        self.state = State::Running(lease);
        self.instance = instance;
        out.push(Order::Runs(lease.agent, lease.epoch, instance));
    }

    fn ended(&mut self, by: Lease, out: &mut Vec<Order>) {
        let target = match self.state {
            State::Running(holder) if holder == by => None,
            State::Preparing { attempt, .. } | State::Freezing { attempt, .. }
                if attempt.holder == by =>
            {
                Some(attempt.target.agent)
            }
            State::Granting {
                to, epoch, source, ..
            } if to.agent == by.agent && epoch == by.epoch => source,
            State::Returning { holder, epoch, .. }
                if holder.agent == by.agent && (by.epoch == holder.epoch || by.epoch == epoch) =>
            {
                None
            }
            State::Over => {
                // It did not hear that it may forget the thread, and will say so until it does.
                let epoch = self.epoch;
                out.push(Order::Send(by.agent, ToSide::Drop { epoch }));
                return;
            }
            _ => return,
        };
        self.state = State::Over;
        for agent in [Some(by.agent), target].into_iter().flatten() {
            self.void_at(agent, self.epoch, out);
        }
        out.push(Order::Ended);
    }

    /// Grants the whole known journal under a new epoch. Only when nobody holds the thread.
    pub(crate) fn grant(
        &mut self,
        to: Place,
        from: u64,
        source: Option<AgentId>,
        out: &mut Vec<Order>,
    ) {
        self.epoch = self.epoch.next();
        self.offer(to, self.epoch, from, source, out);
    }

    /// Grants the whole known journal under the epoch set aside for it.
    pub(crate) fn offer(
        &mut self,
        to: Place,
        epoch: Epoch,
        from: u64,
        source: Option<AgentId>,
        out: &mut Vec<Order>,
    ) {
        self.state = State::Granting {
            to,
            epoch,
            from,
            at: self.journal,
            source,
        };
        self.ask_again(out);
    }

    /// Lets the one that has the only living copy go on under a new epoch.
    pub(crate) fn go_on(
        &mut self,
        holder: Lease,
        instance: InstanceId,
        is_move: bool,
        out: &mut Vec<Order>,
    ) {
        self.epoch = self.epoch.next();
        self.state = State::Returning {
            holder,
            epoch: self.epoch,
            instance,
            is_move,
        };
        self.ask_again(out);
    }

    /// Has an agent drop every copy of `epoch` or older, until it says that it has.
    pub(crate) fn void_at(&mut self, agent: AgentId, epoch: Epoch, out: &mut Vec<Order>) {
        let void = self.void.entry(agent).or_default();
        *void = (*void).max(epoch);
        let epoch = *void;
        out.push(Order::Send(agent, ToSide::Drop { epoch }));
    }

    /// Says (again) what the state waits for an answer to.
    pub(crate) fn ask_again(&self, out: &mut Vec<Order>) {
        let (agent, message) = match self.state {
            State::Homeless | State::Running(_) | State::Over => return,
            State::Preparing {
                attempt, prepared, ..
            } => {
                let message = ToSide::Prepare {
                    epoch: attempt.holder.epoch,
                    next: attempt.next,
                    from: prepared,
                };
                (attempt.holder.agent, message)
            }
            State::Freezing { attempt, from } => {
                let message = ToSide::Freeze {
                    epoch: attempt.holder.epoch,
                    next: attempt.next,
                    from,
                };
                (attempt.holder.agent, message)
            }
            State::Granting {
                to,
                epoch,
                from,
                at,
                ..
            } => {
                let message = ToSide::Grant {
                    epoch,
                    from,
                    at,
                    instance: to.instance,
                };
                (to.agent, message)
            }
            State::Returning {
                holder,
                epoch,
                instance,
                is_move,
            } => {
                let message = if is_move {
                    ToSide::Move { epoch, instance }
                } else {
                    ToSide::GiveBack { epoch, instance }
                };
                (holder.agent, message)
            }
        };
        out.push(Order::Send(agent, message));
    }
}
