//! One scenario thread: its machine, and the side of the hand-off protocol that this agent has in it.
//!
//! ```text
//!            Replay               Run                         Freeze, between two calls
//!   absent ----------> copy ----------------> running ------------------------------> frozen
//!      ^                                       |   ^                                    | |
//!      |                             its end   |   +------------- Run (given back) -----+ |
//!      +---------------------------------------+--------------------- Discard ------------+
//! ```
//!
//! Promise: a request is only written while [`Side::holds`] the current lease; each answer is in the
//! journal on disk before the next request's intent, and the intent before the request.

mod calls;
mod hand_off;
mod notes;
mod program;

pub(crate) use notes::{in_words, log_level};

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use cohort_handoff::{Input, Side, ToSide};
use cohort_model::{At, InstanceId};
use cohort_scenario::{Call, Ended, Machine, Position, Reply, Tail};

use hand_off::CopyReplay;

use crate::agent::{Agent, Handle};
use crate::call::Caller;
use crate::http::Connections;
use crate::journal::{JournalFile, Stands};
use crate::mailbox::Order;
use crate::protocol::{DriverProgram, EndWhy, Epoch, How, Iterated, LogLevel, Luggage, SideOrder};

/// How long a thread that may leave gently goes on with its iteration, microseconds. Shorter than the
/// hub's patience with a hand-off.
const GENTLE_US: u64 = 3_000_000;

/// What a thread is, as long as it is here.
pub(crate) struct Thread {
    agent: Rc<Agent>,
    handle: Rc<Handle>,
    side: Side,
    how: Option<How>,
    scenario: Rc<str>,
    body: Option<Body>,
    /// It has the lease and goes on.
    running: bool,
    /// It is to stop at the next place between two calls.
    freezing: bool,
    epoch: Epoch,
    instance: InstanceId,
    journal: Rc<RefCell<Option<JournalFile>>>,
    connections: Rc<Connections>,
    last_endpoint: Rc<Cell<Option<u32>>>,
    /// The instance of its iteration is another one by now, or was started again: it need not know what
    /// the iteration asks for.
    moved: bool,
    permits: OwnPermits,
    stop: Option<Stop>,
    /// When the sleep it is in ends.
    wake: Option<At>,
    /// When its next request may be sent, where requests are limited.
    turn: Option<At>,
    /// When it was frozen, here or on the other side.
    frozen: Option<At>,
    /// Ends of the stretches of journal that were sent ahead.
    sent: Vec<Position>,
    /// Replays that are under way.
    replays: VecDeque<CopyReplay>,
    /// What it took to replay the copy, microseconds.
    replay_us: u64,
    /// Requests of the current call that a dead agent may have sent.
    unsure: Vec<u32>,
    /// Counts copies: what belongs to an earlier one is not for a later one.
    copies: u64,
    why: Option<EndWhy>,
    /// Its journal grew beyond the limit, and is gone: it stays with this agent.
    beyond: bool,
    told_stranded: bool,
    /// Orders to leave, until its iteration ends.
    gentle: Option<Gentle>,
}

/// Orders that can wait for the end of an iteration.
struct Gentle {
    /// Until then, and not longer.
    until: At,
    order: Box<SideOrder>,
}

/// What does the work.
enum Body {
    /// A script.
    Script(Box<Machine>, Pending),
    /// Any program; each run of it is one iteration.
    Program(Rc<DriverProgram>),
}

/// What the machine waits for.
#[derive(Clone, Debug)]
enum Pending {
    /// Its first answer.
    Birth,
    Iterate,
    Http(Rc<Vec<cohort_scenario::Request>>),
    Sleep(u64),
    Now,
    Pause(u64),
    Ended(Rc<Ended>),
}

impl Pending {
    fn of(call: Call) -> Pending {
        match call {
            Call::Iterate => Pending::Iterate,
            Call::Http(requests) => Pending::Http(Rc::new(requests)),
            Call::Sleep { us } => Pending::Sleep(us),
            Call::Now => Pending::Now,
            Call::Pause { computed_us } => Pending::Pause(computed_us),
            Call::Ended(ended) => Pending::Ended(Rc::new(ended)),
        }
    }
}

/// Permits of the thread's own, and how it counts.
#[derive(Clone, Copy, Debug, Default)]
struct OwnPermits {
    free_until: At,
    left: u64,
    /// An arrival: the iteration of this number is to begin now.
    assigned: Option<u64>,
    begun: u64,
    idle: bool,
}

/// It was told to end.
#[derive(Clone, Copy, Debug)]
struct Stop {
    /// When the grace is over.
    deadline: At,
    /// Its iteration was cut off.
    cut: bool,
}

impl Thread {
    pub(crate) fn new(agent: Rc<Agent>, handle: Rc<Handle>, side: Side) -> Thread {
        Thread {
            agent,
            handle,
            side,
            how: None,
            scenario: Rc::from(""),
            body: None,
            running: false,
            freezing: false,
            epoch: Epoch::default(),
            instance: InstanceId(0),
            journal: Rc::default(),
            connections: Rc::default(),
            last_endpoint: Rc::default(),
            moved: false,
            permits: OwnPermits::default(),
            stop: None,
            wake: None,
            turn: None,
            frozen: None,
            sent: Vec::new(),
            replays: VecDeque::new(),
            replay_us: 0,
            unsure: Vec::new(),
            copies: 0,
            why: None,
            beyond: false,
            told_stranded: false,
            gentle: None,
        }
    }

    /// Lives until there is no copy of the thread here any more.
    pub(crate) async fn live(mut self) {
        loop {
            // Iterations that ask for nothing would keep everybody else from running.
            tokio::task::consume_budget().await;
            self.take_orders();
            self.leave_gently();
            if self.running && self.freezing && self.may_freeze() {
                self.freeze();
            } else if self.running {
                self.advance().await;
            } else if self.is_replaying() {
                self.replay_for_a_while();
                tokio::task::yield_now().await;
            } else if self.body.is_none() && !self.side.waits() {
                if self.agent.leave(&self.handle, &self.side) {
                    return;
                }
            } else {
                self.rest().await;
            }
        }
    }

    /// Until something comes; a hub that does not hear of an end is told again.
    async fn rest(&mut self) {
        const AGAIN: tokio::time::Duration = tokio::time::Duration::from_secs(2);
        if self.side.waits() {
            if tokio::time::timeout(AGAIN, self.handle.mailbox.wait())
                .await
                .is_err()
            {
                self.step(Input::Timeout);
            }
        } else {
            self.handle.mailbox.wait().await;
        }
    }

    /// Takes what was told, wherever the thread stands. Nothing here waits.
    fn take_orders(&mut self) {
        while let Some(order) = self.handle.mailbox.take() {
            match order {
                Order::Side(order) if self.can_wait(&order) => self.postpone(order),
                Order::Side(order) => self.hear(*order),
                Order::Free(until) => self.permits.free_until = until,
                Order::Count(iterations) => self.permits.left += iterations,
                Order::Begin(number) => self.assign(number),
                Order::Look => {}
                Order::Stop(graceful_us) => self.told_to_stop(graceful_us),
            }
        }
    }

    /// Whether an order can wait for the end of the iteration under way.
    fn can_wait(&self, order: &SideOrder) -> bool {
        let leaves = matches!(order.says, ToSide::Freeze { .. } | ToSide::Move { .. });
        order.gently && leaves && self.running && self.is_within_iteration()
    }

    /// A program's runs are its iterations.
    fn is_within_iteration(&self) -> bool {
        match &self.body {
            Some(Body::Script(_, pending)) => !matches!(pending, Pending::Birth | Pending::Iterate),
            _ => false,
        }
    }

    /// What is said again in the meantime is the same order, and waits no longer for that.
    fn postpone(&mut self, order: Box<SideOrder>) {
        let until = match &self.gentle {
            Some(known) if known.order.says == order.says => known.until,
            _ => self.agent.clock.now().plus_us(GENTLE_US),
        };
        self.gentle = Some(Gentle { until, order });
    }

    /// Hears what was postponed, once it can wait no longer or need not.
    fn leave_gently(&mut self) {
        let now = self.agent.clock.now();
        let within = self.running && self.is_within_iteration();
        if let Some(gentle) = self.gentle.take_if(|gentle| !within || now >= gentle.until) {
            self.hear(*gentle.order);
        }
    }

    fn told_to_stop(&mut self, graceful_us: u64) {
        let deadline = self.agent.clock.now().plus_us(graceful_us);
        let cut = self.stop.is_some_and(|stop| stop.cut);
        self.stop = Some(Stop { deadline, cut });
    }

    fn assign(&mut self, number: u64) {
        let taken = self.running && !self.freezing && self.permits.assigned.is_none();
        if taken && self.stop.is_none() {
            self.permits.assigned = Some(number);
            return;
        }
        let other = self.agent.permits.borrow_mut().give_back(&self.scenario);
        if let Some(other) = other {
            self.agent.tell(other, Order::Begin(number));
        }
    }

    /// Answers what the body waits for and lets it run to its next call.
    async fn advance(&mut self) {
        match &self.body {
            Some(Body::Script(_, pending)) => {
                let pending = pending.clone();
                self.answer(pending).await;
            }
            Some(Body::Program(program)) => {
                let program = Rc::clone(program);
                self.run_program(&program).await;
            }
            None => self.running = false,
        }
    }

    /// A program can only be told where to go when it begins, and a long computation is nowhere.
    fn may_freeze(&self) -> bool {
        match &self.body {
            Some(Body::Script(_, pending)) => !matches!(pending, Pending::Pause(_)),
            _ => false,
        }
    }

    /// Who makes the thread's requests.
    fn caller(&self) -> Caller {
        Caller {
            agent: Rc::clone(&self.agent),
            thread: self.handle.thread,
            handle: Some(Rc::clone(&self.handle)),
            scenario: Rc::clone(&self.scenario),
            connections: Rc::clone(&self.connections),
            journal: Rc::clone(&self.journal),
            last_endpoint: Rc::clone(&self.last_endpoint),
        }
    }

    /// Resumes the machine, and records the answer before anything comes of it.
    fn resume(&mut self, reply: Reply) {
        let at_us = self.agent.clock.unix_us(self.agent.clock.now());
        let answer = cohort_scenario::Answer::new(at_us, reply);
        let Some(Body::Script(machine, _)) = &mut self.body else {
            return;
        };
        if self.agent.cases && matches!(answer.reply, Reply::Begin(_)) {
            let dice = machine.dice();
            self.record(|file| file.dice(&dice).map(|()| false));
        }
        let Some(Body::Script(machine, _)) = &mut self.body else {
            return;
        };
        let fold = match &answer.reply {
            // Copied for the record it would be copied twice: bodies are large.
            Reply::Responses(outcomes) => self.record(|file| file.responses(at_us, outcomes)),
            _ => match machine.record(&answer) {
                Some(record) => self.record(|file| file.answer(&record)),
                None => false,
            },
        };
        let Some(Body::Script(machine, pending)) = &mut self.body else {
            return;
        };
        let step = machine.resume(answer);
        *pending = Pending::of(step.call);
        if let Pending::Sleep(us) = pending {
            self.wake = Some(self.agent.clock.now().plus_us(*us));
        }
        let ended = match pending {
            Pending::Ended(ended) => Some(Rc::clone(ended)),
            _ => None,
        };
        self.take_notes(step.notes);
        if fold {
            self.fold_journal();
        }
        if let Some(ended) = ended {
            self.end_of_machine(&ended);
        }
    }

    fn end_of_machine(&mut self, ended: &Ended) {
        let why = match ended {
            Ended::Failed(failure) => EndWhy::Failed {
                message: in_words(failure),
            },
            Ended::Returned(_) | Ended::Terminated => match self.stop {
                Some(Stop { cut: true, .. }) => EndWhy::Interrupted,
                _ => EndWhy::Stopped,
            },
        };
        self.end(why);
    }

    /// The thread came to its own end.
    fn end(&mut self, why: EndWhy) {
        if self.why.is_some() {
            return;
        }
        self.why = Some(why.clone());
        self.stop_running();
        if let Some(journal) = &mut *self.journal.borrow_mut() {
            // The hub is told anyway; this is for the case that both die now.
            let _ = journal.ended();
        }
        self.agent.post_ended(self.handle.thread, self.epoch, why);
        self.step(Input::Ended);
    }

    /// It holds no lease any more.
    fn stop_running(&mut self) {
        self.running = false;
        self.turn = None;
        self.handle.running.set(false);
        self.handle.calling_since.set(None);
        let mut permits = self.agent.permits.borrow_mut();
        permits.unset_idle(&self.scenario, self.handle.thread);
        self.permits.idle = false;
        let lost = self.permits.assigned.take();
        if let Some(number) = lost
            && let Some(other) = permits.give_back(&self.scenario)
        {
            drop(permits);
            self.agent.tell(other, Order::Begin(number));
        }
    }

    fn say_iterated(&self, done: u32, failed: u32) {
        self.agent.telemetry.borrow_mut().iterated(Iterated {
            thread: self.handle.thread,
            epoch: self.epoch,
            done,
            failed,
            idle: self.permits.idle,
        });
    }

    fn say(&self, level: LogLevel, text: &str) {
        let now = self.agent.clock.now();
        let thread = Some(self.handle.thread);
        self.agent
            .telemetry
            .borrow_mut()
            .line(now, thread, level, text);
    }

    fn whole_journal(&mut self) -> Option<Tail> {
        match &mut self.body {
            Some(Body::Script(machine, _)) => Some(machine.journal().rest(Position::default())),
            _ => None,
        }
    }

    fn stands(&self) -> Stands {
        Stands {
            begun: self.permits.begun,
            wake_unix_us: self.wake.map_or(0, |wake| self.agent.clock.unix_us(wake)),
        }
    }

    fn luggage(&self) -> Luggage {
        Luggage {
            frozen: self.frozen.unwrap_or_default(),
            wake: self.wake,
            begun: self.permits.begun,
            iterations_left: self.permits.left,
            free_until: self.permits.free_until,
            stopping: self.stop.map(|stop| stop.deadline),
        }
    }
}
