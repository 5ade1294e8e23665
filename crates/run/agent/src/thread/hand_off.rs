//! Carrying out the hand-off protocol for one thread: the bytes, the copy, the lease.

use std::path::Path;
use std::time::Instant;

use cohort_handoff::{Effect, Epoch, Input, Output, ToHub, ToSide};
use cohort_model::{At, InstanceId};
use cohort_scenario::{Birth, Journal, Machine, Position, Role, Tail};

use super::{Body, Pending, Stop, Thread};
use crate::journal::{self, JournalFile, Recovered};
use crate::protocol::{Cargo, Freight, How, Luggage, SideOrder};

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
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for output in self.side.step(input) {
                match output {
                    Output::Send(says) => self.send(says, arrived),
                    Output::Do(Effect::SendJournal { next, from }) => {
                        self.send_journal(next, from);
                    }
                    Output::Do(Effect::Replay { epoch, from, to }) => {
                        inputs.push(self.replay(epoch, from, to, arrived));
                    }
                    Output::Do(Effect::Run { epoch, instance }) => {
                        self.run(epoch, instance, arrived);
                    }
                    Output::Do(Effect::Freeze) => self.freezing = true,
                    Output::Do(Effect::Discard) => self.discard(),
                }
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

    /// Brings the copy to where the journal says, and gives what to tell the side.
    fn replay(&mut self, epoch: Epoch, from: u64, to: u64, arrived: &mut Arrived) -> Input {
        let began = Instant::now();
        let cargo = std::mem::take(&mut arrived.journal);
        let replayed = match &cargo {
            Cargo::File(_) => self.rebuild(to, arrived),
            Cargo::Nothing if to == 0 => self.make(),
            Cargo::Nothing if self.answers() == to => Ok(()),
            Cargo::Nothing => Err(format!("answers {from} to {to} did not come")),
            Cargo::Answers(tail) => self.extend(tail),
        };
        let replayed = replayed.and_then(|()| match arrived.last {
            true => self.finish_replay(),
            false => Ok(()),
        });
        arrived.journal = cargo;
        self.replay_us += began.elapsed().as_micros() as u64;
        let at = self.answers();
        match replayed {
            Ok(()) if at >= to || to == 0 => Input::Replayed { epoch, at: to },
            Ok(()) => {
                arrived.diverged = format!("its copy has {at} answers after {to} were replayed");
                Input::Diverged { epoch }
            }
            Err(message) => {
                arrived.diverged = message;
                Input::Diverged { epoch }
            }
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

    /// A thread that begins.
    fn make(&mut self) -> Result<(), String> {
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
    fn extend(&mut self, tail: &Tail) -> Result<(), String> {
        if tail.from.answers == 0 {
            let birth = self.birth()?;
            let script = self.agent.script.clone().ok_or("there is no script")?;
            let journal = Journal::from_tails([tail])?;
            let machine =
                Machine::replay(&script, birth, &journal).map_err(|error| error.to_string())?;
            self.create_journal()?;
            self.body = Some(Body::Script(Box::new(machine), Pending::Birth));
        } else {
            match &mut self.body {
                Some(Body::Script(machine, _)) => machine
                    .replay_more(tail)
                    .map_err(|error| error.to_string())?,
                _ => return Err("there is no copy to go on with".to_owned()),
            }
        }
        if let Some(file) = &mut *self.journal.borrow_mut() {
            file.tail(tail).map_err(|error| error.to_string())?;
        }
        Ok(())
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
    fn rebuild(&mut self, to: u64, arrived: &mut Arrived) -> Result<(), String> {
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
        if to == 0 {
            return self.make();
        }
        let birth = self.birth()?;
        let script = self.agent.script.clone().ok_or("there is no script")?;
        let mut machine = Machine::replay(&script, birth, &found.journal()?)
            .and_then(|mut machine| {
                machine.replay_records(found.records.iter().cloned())?;
                machine.finish_replay()?;
                Ok(machine)
            })
            .map_err(|error| error.to_string())?;
        self.create_journal()?;
        if let Some(file) = &mut *self.journal.borrow_mut() {
            let all = machine.journal().rest(Position::default());
            file.tail(&all).map_err(|error| error.to_string())?;
        }
        self.body = Some(Body::Script(Box::new(machine), Pending::Birth));
        self.look_at_machine();
        Ok(())
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
        if changed && let Err(message) = self.finish_replay() {
            arrived.diverged = message;
        }
        let stands = self.stands();
        if changed && let Some(file) = &mut *self.journal.borrow_mut() {
            // Without it a later recovery counts iterations from the wrong number; nothing is lost.
            let _ = file.stands(stands);
        }
        self.epoch = epoch;
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
        self.stop_running();
        self.freezing = false;
        self.body = None;
        self.connections.close();
        if let Some(file) = self.journal.borrow_mut().take() {
            file.remove();
        }
        self.handle.journal_bytes.set(0);
        self.permits = super::OwnPermits::default();
        self.stop = None;
        self.wake = None;
        self.frozen = None;
        self.sent.clear();
        self.unsure.clear();
        self.replay_us = 0;
        self.how = None;
    }
}
