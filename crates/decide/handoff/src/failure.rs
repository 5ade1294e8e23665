//! What the coordinator does when a side dies, diverges or is silent.
//!
//! Promise: no guess is made about a side that may be alive. Before the grant the source goes on;
//! after it the target has the thread until it is dead or says that it will never run it.

use crate::coordinator::{Attempt, Lease, State};
use crate::{Abort, AgentId, Coordinator, Order, Place, ToSide};

impl Coordinator {
    pub(crate) fn died(&mut self, agent: AgentId, journal: u64, out: &mut Vec<Order>) {
        self.void.remove(&agent);
        // Journals of one thread are prefixes of each other, so the longest is the true one.
        self.journal = self.journal.max(journal);
        match self.state {
            State::Homeless | State::Over => {}
            State::Running(holder) => {
                if holder.agent == agent {
                    self.make_homeless(out);
                }
            }
            State::Preparing {
                attempt, prepared, ..
            } => self.died_before_grant(agent, attempt, prepared, out),
            State::Freezing { attempt, from } => {
                self.died_before_grant(agent, attempt, from, out);
            }
            State::Granting { to, at, source, .. } => {
                if to.agent == agent {
                    self.target_died(at, source, out);
                } else if source == Some(agent) {
                    self.forget_source();
                }
            }
            State::Returning { holder, .. } => {
                if holder.agent == agent {
                    self.make_homeless(out);
                }
            }
        }
    }

    fn died_before_grant(
        &mut self,
        agent: AgentId,
        attempt: Attempt,
        prepared: u64,
        out: &mut Vec<Order>,
    ) {
        if agent == attempt.holder.agent {
            // The target's copy only lacks what lies in the journal file.
            self.offer(attempt.target, attempt.next, prepared, None, out);
        } else if agent == attempt.target.agent {
            self.abort(Abort::TargetDied, out);
        }
    }

    fn target_died(&mut self, at: u64, source: Option<AgentId>, out: &mut Vec<Order>) {
        let Some(agent) = source else {
            return self.make_homeless(out);
        };
        if self.journal == at {
            self.return_to(agent, Abort::TargetDied, out);
        } else {
            // It ran before it died: the source's copy is behind.
            let instance = self.instance;
            self.grant(Place { agent, instance }, 0, None, out);
            out.push(Order::Aborted(Abort::TargetDied));
        }
    }

    fn forget_source(&mut self) {
        if let State::Granting { source, .. } = &mut self.state {
            *source = None;
        }
    }

    pub(crate) fn diverged(&mut self, lease: Lease, out: &mut Vec<Order>) {
        match self.state {
            State::Preparing { attempt, .. } | State::Freezing { attempt, .. }
                if attempt.target.agent == lease.agent && attempt.next == lease.epoch =>
            {
                self.abort(Abort::Diverged, out);
            }
            State::Granting {
                to, epoch, source, ..
            } if to.agent == lease.agent && epoch == lease.epoch => match source {
                Some(source) => self.return_to(source, Abort::Diverged, out),
                None => self.abandon(out),
            },
            State::Returning { holder, epoch, .. }
                if holder.agent == lease.agent && epoch == lease.epoch =>
            {
                self.make_homeless(out);
            }
            _ => {}
        }
    }

    pub(crate) fn timeout(&mut self, out: &mut Vec<Order>) {
        let tries_max = self.settings.tries_max;
        if let State::Preparing { attempt, .. } | State::Freezing { attempt, .. } = &mut self.state
        {
            attempt.tries += 1;
            if attempt.tries > tries_max {
                return self.abort(Abort::Silent, out);
            }
        }
        self.ask_again(out);
        for (agent, epoch) in &self.void {
            out.push(Order::Send(*agent, ToSide::Drop { epoch: *epoch }));
        }
    }

    /// Gives up the hand-off under way, when it is not yet granted.
    pub(crate) fn abort(&mut self, why: Abort, out: &mut Vec<Order>) {
        let attempt = match self.state {
            State::Preparing { attempt, .. } => {
                self.state = State::Running(attempt.holder);
                attempt
            }
            State::Freezing { attempt, .. } => {
                self.go_on(attempt.holder, self.instance, false, out);
                attempt
            }
            _ => return,
        };
        if why != Abort::TargetDied {
            self.void_at(attempt.target.agent, attempt.next, out);
        }
        out.push(Order::Aborted(why));
    }

    /// After the grant: the target will never run, and the frozen copy of the source is true.
    fn return_to(&mut self, agent: AgentId, why: Abort, out: &mut Vec<Order>) {
        // It is frozen under some older epoch; which does not matter any more.
        let epoch = self.epoch;
        self.go_on(Lease { agent, epoch }, self.instance, false, out);
        out.push(Order::Aborted(why));
    }

    fn make_homeless(&mut self, out: &mut Vec<Order>) {
        self.state = State::Homeless;
        out.push(Order::Homeless);
    }

    fn abandon(&mut self, out: &mut Vec<Order>) {
        self.state = State::Over;
        out.push(Order::Abandoned);
    }
}
