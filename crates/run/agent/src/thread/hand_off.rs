//! Carrying out the hand-off protocol for one thread: the bytes, the copy, the lease.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use cohort_handoff::{Effect, Epoch, Input, Output, ToHub, ToSide};
use cohort_model::{At, InstanceId};
use cohort_scenario::{Birth, Machine, Position, Record, Role, Stretch, Tail};

use super::{Body, Pending, Stop, Thread};
use crate::journal::{self, JournalFile, Recovered};
use crate::protocol::{Cargo, Freight, How, Luggage, SideOrder};

/// How long a replay keeps others from running.
const TURN: Duration = Duration::from_millis(1);
/// Answers that are replayed between two looks at the clock.
const AT_ONCE: usize = 16;

/// A copy that is being brought to where the journal says.
pub(super) struct CopyReplay {
    epoch: Epoch,
    /// Answers it has then.
    to: u64,
    steps: VecDeque<ReplayStep>,
    /// Why it cannot be done.
    failed: Option<String>,
    arrived: Arrived,
}

enum ReplayStep {
    Stretch(Stretch),
    Records(Vec<Record>),
}

/// What came with the message that is being carried out.
#[derive(Default)]
struct Arrived {
    journal: Cargo,
    luggage: Option<Luggage>,
    /// What the file in `journal` says.
    found: Option<Result<Recovered, String>>,
    /// It is a grant: nothing more will come.
    last: bool,
    /// When it came.
    at: At,
    /// Why the copy did not follow.
    diverged: String,
}

impl Thread {
    /// Takes a message of the protocol.
    pub(super) fn hear(&mut self, order: SideOrder) {
        if let Some(how) = order.how
            && self.how.is_none()
        {
            self.set_how(how);
        }
        let found = match &order.journal {
            Cargo::File(path) => Some(self.read(path)),
            _ => None,
        };
        let mut arrived = Arrived {
            journal: order.journal,
            luggage: order.luggage,
            found,
            last: matches!(order.says, ToSide::Grant { .. }),
            at: self.agent.clock.now(),
            diverged: "it has no copy of this thread".to_owned(),
        };
        self.carry_out(Input::Hub(order.says), &mut arrived);
        self.replay_for_a_while();
    }

    /// Tells the side what happened here.
    pub(super) fn step(&mut self, input: Input) {
        self.carry_out(input, &mut Arrived::default());
    }

    fn set_how(&mut self, how: How) {
        self.scenario = match &how {
            How::Script { birth } => birth.scenario.name.as_str().into(),
            How::Program(program) => program.scenario.as_str().into(),
        };
        self.how = Some(how);
    }

    fn carry_out(&mut self, input: Input, arrived: &mut Arrived) {
        for output in self.side.step(input) {
            match output {
                Output::Send(says) => self.send(says, arrived),
                Output::Do(Effect::SendJournal { next, from }) => self.send_journal(next, from),
                Output::Do(Effect::Replay { epoch, from, to }) => {
                    let replay = self.begin_replay(epoch, from, to, arrived);
                    self.replays.push_back(replay);
                }
                Output::Do(Effect::Run { epoch, instance }) => self.run(epoch, instance, arrived),
                // What it sent ahead is no use without the rest, which is not kept any more.
                Output::Do(Effect::Freeze) if self.beyond => {
                    let message = self.beyond_message();
                    self.say_unmovable(message);
                }
                Output::Do(Effect::Freeze) => self.freezing = true,
                Output::Do(Effect::Discard) => self.discard(),
            }
        }
    }

    fn send(&mut self, says: ToHub, arrived: &Arrived) {
        let with = match says {
            ToHub::Frozen { from, .. } => {
                let from = self.position(from);
                match &mut self.body {
                    Some(Body::Script(machine, _)) => {
                        let tail = machine.journal().rest(from);
                        Freight::Frozen(tail, self.luggage())
                    }
                    _ => Freight::Nothing,
                }
            }
            ToHub::Prepared { .. } => Freight::Prepared {
                replay_us: self.replay_us,
            },
            ToHub::Resumed { .. } => {
                let now = self.agent.clock.now();
                Freight::Resumed {
                    pause_us: self.frozen.take().map_or(0, |frozen| now.since(frozen)),
                    begun: self.permits.begun,
                }
            }
            ToHub::Diverged { .. } => Freight::Diverged(arrived.diverged.clone()),
            _ => Freight::Nothing,
        };
        self.agent.post_side(self.handle.thread, says, with);
    }

    /// Where the journal stood when it held so many answers.
    fn position(&self, answers: u64) -> Position {
        self.sent
            .iter()
            .rev()
            .find(|position| position.answers == answers)
            .copied()
            .unwrap_or_default()
    }

    fn send_journal(&mut self, next: Epoch, from: u64) {
        if matches!(self.body, Some(Body::Program(_))) {
            return self
                .say_unmovable("it is a program: it is placed anew when it ends".to_owned());
        }
        if self.journal_is_beyond() {
            let message = self.beyond_message();
            return self.say_unmovable(message);
        }
        let position = self.position(from);
        let Some(Body::Script(machine, _)) = &mut self.body else {
            return;
        };
        let tail = machine.journal().since(position);
        self.sent.push(tail.to);
        let says = ToHub::JournalPart {
            next,
            from: tail.from.answers,
            to: tail.to.answers,
        };
        self.agent
            .post_side(self.handle.thread, says, Freight::Answers(tail));
    }

    /// Begins to bring the copy to where the journal says.
    fn begin_replay(
        &mut self,
        epoch: Epoch,
        from: u64,
        to: u64,
        arrived: &mut Arrived,
    ) -> CopyReplay {
        let mut replay = CopyReplay {
            epoch,
            to,
            steps: VecDeque::new(),
            failed: None,
            arrived: std::mem::take(arrived),
        };
        let begun = match &replay.arrived.journal {
            Cargo::File(_) => self.rebuild(to, &replay.arrived),
            Cargo::Nothing if to == 0 => self.make().map(|()| VecDeque::new()),
            Cargo::Nothing if self.answers() == to => Ok(VecDeque::new()),
            Cargo::Nothing => Err(format!("answers {from} to {to} did not come")),
            Cargo::Answers(tail) => self.extend(tail),
        };
        match begun {
            Ok(steps) => replay.steps = steps,
            Err(message) => replay.failed = Some(message),
        }
        replay
    }

    /// Whether a copy is being brought to where the journal says.
    pub(super) fn is_replaying(&self) -> bool {
        !self.replays.is_empty()
    }

    /// Goes on with it until it is done, or others are to have their turn.
    pub(super) fn replay_for_a_while(&mut self) {
        let began = Instant::now();
        while began.elapsed() < TURN
            && let Some(mut replay) = self.replays.pop_front()
        {
            if replay.failed.is_none()
                && let Some(mut step) = replay.steps.pop_front()
            {
                match self.take_step(&mut step) {
                    Ok(true) => {}
                    Ok(false) => replay.steps.push_front(step),
                    Err(message) => replay.failed = Some(message),
                }
                self.replays.push_front(replay);
            } else {
                self.end_replay(replay);
            }
        }
        self.replay_us += began.elapsed().as_micros() as u64;
    }

    /// Replays some of it; true when all of it is.
    fn take_step(&mut self, step: &mut ReplayStep) -> Result<bool, String> {
        let Some(Body::Script(machine, _)) = &mut self.body else {
            return Err("there is no copy to go on with".to_owned());
        };
        let result = match step {
            ReplayStep::Stretch(stretch) => {
                let result = machine.replay_some(stretch, AT_ONCE);
                result.map(|()| stretch.is_over())
            }
            ReplayStep::Records(records) => {
                let some = AT_ONCE.min(records.len());
                let result = machine.replay_records(records.drain(..some));
                result.map(|()| records.is_empty())
            }
        };
        result.map_err(|error| error.to_string())
    }

    /// Tells the side how it went.
    fn end_replay(&mut self, replay: CopyReplay) {
        let CopyReplay {
            epoch,
            to,
            failed,
            mut arrived,
            ..
        } = replay;
        let ended = match failed {
            Some(message) => Err(message),
            None => self.settle_replay(to, &arrived),
        };
        let input = match ended {
            Ok(()) => Input::Replayed { epoch, at: to },
            Err(message) => {
                arrived.diverged = message;
                Input::Diverged { epoch }
            }
        };
        self.carry_out(input, &mut arrived);
    }

    fn settle_replay(&mut self, to: u64, arrived: &Arrived) -> Result<(), String> {
        let at = self.answers();
        if at < to {
            return Err(format!(
                "its copy has {at} answers after {to} were replayed"
            ));
        }
        if arrived.last {
            self.finish_replay()?;
        }
        let rebuilt = match &arrived.journal {
            Cargo::Answers(_) => None,
            Cargo::File(_) if to > 0 => self.whole_journal(),
            _ => return Ok(()),
        };
        let tail = match (&rebuilt, &arrived.journal) {
            (Some(all), _) => all,
            (None, Cargo::Answers(tail)) => tail,
            _ => return Ok(()),
        };
        match &mut *self.journal.borrow_mut() {
            Some(file) => file.tail(tail).map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    fn answers(&mut self) -> u64 {
        match &mut self.body {
            Some(Body::Script(machine, _)) => machine.journal().len(),
            _ => 0,
        }
    }

    fn birth(&self) -> Result<Birth, String> {
        match &self.how {
            Some(How::Script { birth }) if birth.role == Role::Iterations => Ok((**birth).clone()),
            Some(How::Script { .. }) => Err("its birth is not that of a thread".to_owned()),
            Some(How::Program(_)) => Err("it is a program".to_owned()),
            None => Err("nobody said what it is".to_owned()),
        }
    }

    fn create_journal(&mut self) -> Result<(), String> {
        let Some(how) = &self.how else {
            return Err("nobody said what it is".to_owned());
        };
        let file = JournalFile::create(&self.agent.journals, self.handle.thread, how)
            .map_err(|error| error.to_string())?;
        *self.journal.borrow_mut() = Some(file);
        Ok(())
    }

    /// A thread that begins, or a copy from the beginning: what was under way with another copy is void.
    fn make(&mut self) -> Result<(), String> {
        self.replays.clear();
        if let Some(How::Program(program)) = &self.how {
            self.body = Some(Body::Program(program.clone().into()));
            return Ok(());
        }
        let birth = self.birth()?;
        let script = self.agent.script.clone().ok_or("there is no script")?;
        let machine = Machine::new(&script, birth).map_err(|error| error.to_string())?;
        self.create_journal()?;
        self.body = Some(Body::Script(Box::new(machine), Pending::Birth));
        Ok(())
    }

    /// A copy of a thread, or more of one.
    fn extend(&mut self, tail: &Tail) -> Result<VecDeque<ReplayStep>, String> {
        if tail.from.answers == 0 {
            self.make()?;
        }
        match &mut self.body {
            Some(Body::Script(machine, _)) => {
                let stretch = machine.take_in(tail).map_err(|error| error.to_string())?;
                Ok(VecDeque::from([ReplayStep::Stretch(stretch)]))
            }
            _ => Err("there is no copy to go on with".to_owned()),
        }
    }

    /// Nothing more is to be replayed.
    fn finish_replay(&mut self) -> Result<(), String> {
        if let Some(Body::Script(machine, _)) = &mut self.body {
            machine.finish_replay().map_err(|error| error.to_string())?;
            self.look_at_machine();
        }
        Ok(())
    }

    /// Reads the journal of a dead agent.
    fn read(&self, path: &Path) -> Result<Recovered, String> {
        let found = journal::recover(path).map_err(|error| error.to_string())?;
        if found.thread != self.handle.thread {
            return Err(format!("{path:?} is the journal of {}", found.thread));
        }
        if found.beyond {
            return Err(format!("its journal {path:?} grew beyond its limit"));
        }
        Ok(found)
    }

    /// A thread whose agent is dead.
    fn rebuild(&mut self, to: u64, arrived: &Arrived) -> Result<VecDeque<ReplayStep>, String> {
        let found = match &arrived.found {
            Some(Ok(found)) => found,
            Some(Err(message)) => return Err(message.clone()),
            None => return Err("its journal was not read".to_owned()),
        };
        let answers = found.answers_in_all();
        if answers != to {
            return Err(format!(
                "its journal has {answers} answers where {to} were expected"
            ));
        }
        self.set_how(found.how.clone());
        self.make()?;
        let mut steps = VecDeque::new();
        if let Some(Body::Script(machine, _)) = &mut self.body {
            for tail in &found.tails {
                let stretch = machine.take_in(tail).map_err(|error| error.to_string())?;
                steps.push_back(ReplayStep::Stretch(stretch));
            }
            steps.push_back(ReplayStep::Records(found.records.clone()));
        }
        Ok(steps)
    }

    /// What the file of a dead agent says besides its answers.
    fn take_over(&mut self, found: Recovered) {
        self.permits.begun = found.begun;
        self.unsure = found.intents;
        if let Some(Body::Script(_, Pending::Sleep(us))) = &self.body {
            let wake_unix_us = match found.wake_unix_us {
                0 => found.last_unix_us + us,
                recorded => recorded,
            };
            self.wake = Some(self.agent.clock.at_of_unix_us(wake_unix_us));
        }
    }

    fn look_at_machine(&mut self) {
        if let Some(Body::Script(machine, pending)) = &mut self.body {
            *pending = match machine.waits_for() {
                Some(call) => Pending::of(call.clone()),
                None => Pending::Birth,
            };
        }
    }

    /// The copy that is here is the thread now.
    fn run(&mut self, epoch: Epoch, instance: InstanceId, arrived: &mut Arrived) {
        let luggage = arrived.luggage.take();
        let found = arrived.found.take();
        let changed = luggage.is_some() || found.is_some();
        if let Some(luggage) = luggage {
            self.frozen = Some(luggage.frozen);
            self.wake = luggage.wake;
            self.permits.begun = luggage.begun;
            self.permits.left = luggage.iterations_left;
            self.permits.free_until = luggage.free_until;
            self.stop = luggage.stopping.map(|deadline| Stop {
                deadline,
                cut: false,
            });
        }
        if let Some(Ok(found)) = found {
            self.frozen = Some(arrived.at);
            self.take_over(found);
        }
        // A grant of just what the copy has already replayed brings nothing.
        let unfinished =
            matches!(&self.body, Some(Body::Script(machine, _)) if machine.is_replaying());
        if (changed || unfinished)
            && let Err(message) = self.finish_replay()
        {
            arrived.diverged = message;
        }
        let stands = self.stands();
        if changed && let Some(file) = &mut *self.journal.borrow_mut() {
            // Without it a later recovery counts iterations from the wrong number; nothing is lost.
            let _ = file.stands(stands);
        }
        self.handle
            .iteration
            .set(self.permits.begun.saturating_sub(1));
        self.epoch = epoch;
        self.moved |= self.is_within_iteration() && (changed || self.instance != instance);
        self.instance = instance;
        self.handle.instance.set(instance);
        self.told_stranded = false;
        self.freezing = false;
        self.running = true;
        self.handle.running.set(true);
        self.sent.clear();
    }

    /// Between two calls: nothing is sent under this lease any more.
    pub(super) fn freeze(&mut self) {
        self.freezing = false;
        self.frozen = Some(self.agent.clock.now());
        self.stop_running();
        let at = self.answers();
        self.step(Input::Frozen { at });
    }

    fn discard(&mut self) {
        self.copies += 1;
        self.replays.clear();
        self.stop_running();
        self.freezing = false;
        self.body = None;
        self.connections.close();
        if let Some(file) = self.journal.borrow_mut().take() {
            // That of one that came to its end may show how something came about.
            if !(self.agent.cases && self.why.is_some()) {
                file.remove();
            }
        }
        self.handle.journal_bytes.set(0);
        self.permits = super::OwnPermits::default();
        self.stop = None;
        self.wake = None;
        self.frozen = None;
        self.sent.clear();
        self.unsure.clear();
        self.replay_us = 0;
        self.beyond = false;
        self.how = None;
    }
}
