//! A machine: one script in one JavaScript engine on one stack.
//!
//! ```text
//!              first answer               answer
//!   made ───────────────────> running <──────────── waiting for what it called
//!    │                           │ ─────────────────────^  │
//!    │ replay, replay_more       │        call             │ Terminate
//!    v                           v                         v
//!   replaying ─finish_replay─> waiting     ended <─────────┘
//! ```
//!
//! Promise: the stack of a machine is left only by running to its end. A machine that is dropped is terminated first, so
//! that the engine unwinds its own frames; should it not end even then, its stack is given up rather than unwound by force.

use std::mem::ManuallyDrop;
use std::rc::Rc;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};

use crate::birth::Birth;
use crate::call::{Answer, Call, Ended, Reply};
use crate::core::{Core, Ending, Fed};
use crate::engine::{STACK_BYTES, live};
use crate::exchange::{Exchange, part};
use crate::journal::{Entry, Given, Journal, Record, Tail, print};
use crate::note::Note;
use crate::recording::Dice;
use crate::script::Script;

/// How often a machine that is dropped is told to end.
const PATIENCE: usize = 1_000;

/// What follows the last answer of a recording may compute so long, microseconds.
const RELIVE_US_MAX: u64 = 2_000_000;

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
    #[error(
        "no stack for a scenario thread: {0}; see vm.max_map_count and the limit of address space"
    )]
    Stack(#[from] std::io::Error),
}

/// Why a machine did not come to the state its journal leads to.
#[derive(Debug, thiserror::Error)]
pub enum Diverged {
    /// It could not be made at all.
    #[error(transparent)]
    Birth(#[from] BirthError),
    /// The journal cannot be read, or does not go on where the one before ended.
    #[error("the journal of a scenario thread is unusable: {0}")]
    Journal(String),
    /// The script did something else than the journal says.
    #[error(
        "answer {at} of the journal is '{found}', but the script {wants}: the script, the birth or the version of Cohort is \
         not the one that wrote the journal"
    )]
    Otherwise {
        /// Number of the answer, from 0.
        at: u64,
        /// What the journal holds.
        found: String,
        /// What the script did.
        wants: String,
    },
}

/// One scenario thread. It belongs to the thread of the operating system it was made on (it is neither `Send` nor `Sync`):
/// to move it, replay its journal elsewhere.
pub struct Machine {
    core: Rc<Core>,
    stack: ManuallyDrop<Coroutine<Fed, Call, Ended, DefaultStack>>,
    waits_for: Option<Call>,
    journal: Journal,
    /// Answers are kept in the journal.
    keeps_journal: bool,
    /// Answers replayed so far.
    replayed: u64,
    /// The last answer of what is being replayed: what comes next may say where it was interrupted.
    held_back: Option<Entry>,
    /// Whether the last answer that was replayed is still being worked on: what is said about it was said before.
    muted: bool,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (vu, waits_for) = (self.core.birth.vu, self.waits_for.as_ref().map(Call::kind));
        f.debug_struct("Machine")
            .field("vu", &vu)
            .field("waits_for", &waits_for)
            .finish_non_exhaustive()
    }
}

impl Machine {
    /// Makes a machine, which waits for its first answer: [`Reply::Resume`].
    ///
    /// # Errors
    /// When the system has no memory for its stack.
    pub fn new(script: &Script, birth: Birth) -> Result<Self, BirthError> {
        let core = Rc::new(Core::new(script, birth));
        let own = core.clone();
        let stack = Coroutine::with_stack(
            DefaultStack::new(STACK_BYTES)?,
            move |yielder, first: Fed| {
                own.enter(yielder);
                own.hear(&first);
                own.born_us.set(first.at_us);
                if own.ending.borrow().is_some() {
                    Ended::Terminated
                } else {
                    live(&own)
                }
            },
        );
        Ok(Self {
            core,
            stack: ManuallyDrop::new(stack),
            waits_for: None,
            journal: Journal::new(),
            keeps_journal: true,
            replayed: 0,
            held_back: None,
            muted: false,
        })
    }

    /// Gives the machine what it waits for and runs it until it needs something again.
    ///
    /// # Panics
    /// When the reply does not fit the call, the machine has ended, or its replay is not finished: mistakes of the caller.
    pub fn resume(&mut self, answer: Answer) -> Step {
        assert!(
            !self.is_replaying(),
            "a replay is to be finished before the machine goes on"
        );
        let Answer { at_us, reply } = answer;
        let fits = match &self.waits_for {
            None => matches!(reply, Reply::Resume | Reply::Terminate),
            Some(call) => reply.fits(call),
        };
        let waits_for = self.waits_for.as_ref().map_or("start", Call::kind);
        assert!(
            fits,
            "a machine that waits for '{waits_for}' was answered '{}'",
            reply.kind()
        );
        let at_us = at_us.max(self.core.now_us.get());
        let given = self.given(reply);
        if self.is_recorded(&given) {
            self.journal.append(Entry {
                at_us,
                given: given.clone(),
            });
        }
        self.feed(at_us, given);
        let mut notes = self.core.notes.take();
        if self.muted {
            notes.clear();
            self.muted = self.is_paused();
        }
        Step {
            call: self
                .waits_for
                .clone()
                .unwrap_or(Call::Ended(Ended::Terminated)),
            notes,
        }
    }

    fn is_paused(&self) -> bool {
        matches!(self.waits_for, Some(Call::Pause { .. }))
    }

    fn given(&self, reply: Reply) -> Given {
        match reply {
            Reply::Responses(outcomes) => {
                let print = self.waits_for.as_ref().map_or(0, print);
                let exchanges = outcomes
                    .into_iter()
                    .map(|outcome| Rc::new(Exchange::new(outcome, part::ALL)));
                Given::Exchanges(print, exchanges.collect())
            }
            Reply::Interrupt { reason } if matches!(self.waits_for, Some(Call::Pause { .. })) => {
                Given::Stop {
                    polls: self.core.polls.get(),
                    reason,
                }
            }
            reply => Given::Reply(reply),
        }
    }

    fn is_recorded(&self, given: &Given) -> bool {
        match given {
            _ if !self.keeps_journal => false,
            Given::Reply(Reply::Terminate) => false,
            Given::Reply(Reply::Resume) => !self.is_paused(),
            _ => true,
        }
    }

    fn feed(&mut self, at_us: u64, given: Given) {
        let (reply, exchanges) = match given {
            Given::Reply(reply) => (reply, Vec::new()),
            Given::Exchanges(_, exchanges) => (Reply::Responses(Vec::new()), exchanges),
            Given::Stop { reason, .. } => (Reply::Interrupt { reason }, Vec::new()),
        };
        let call = match self.stack.resume(Fed {
            at_us,
            reply,
            exchanges,
        }) {
            CoroutineResult::Yield(call) => call,
            CoroutineResult::Return(ended) => Call::Ended(ended),
        };
        self.waits_for = Some(call);
    }

    /// What the machine waits for; `None` before its first answer.
    pub fn waits_for(&self) -> Option<&Call> {
        self.waits_for.as_ref()
    }

    /// Who the machine is.
    pub fn birth(&self) -> &Birth {
        &self.core.birth
    }

    /// The journal of all its answers. For a hand-off it says all there is to say about the machine's state unless the
    /// machine is at a [`Call::Pause`]: then it is somewhere in a computation that only goes on here.
    pub fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// Lets go of the journal, and keeps none from here on: the machine goes on, but can no longer be brought back
    /// elsewhere.
    pub fn forget_journal(&mut self) {
        self.journal = Journal::new();
        self.keeps_journal = false;
    }

    /// The next answer as it is to be appended to a file, from which [`replay_records`](Self::replay_records) brings the
    /// machine back; `None` when it need not be kept. To be taken before the machine is resumed with the answer.
    pub fn record(&self, answer: &Answer) -> Option<Record> {
        let paused = match &self.waits_for {
            Some(Call::Pause { .. }) if answer.reply == Reply::Resume => return None,
            Some(Call::Pause { .. }) => Some(self.core.polls.get()),
            _ => None,
        };
        (answer.reply != Reply::Terminate).then(|| Record {
            answer: answer.clone(),
            paused,
        })
    }

    /// Where its random numbers stand.
    #[must_use]
    pub fn dice(&self) -> Dice {
        Dice(self.core.rng.borrow().clone())
    }

    /// Its random numbers go on from there.
    pub(crate) fn set_dice(&mut self, dice: &Dice) {
        self.core.rng.replace(dice.0.clone());
    }

    /// Replays answers of which the machine keeps no journal of its own.
    pub(crate) fn relive(
        &mut self,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<(), Diverged> {
        self.replay_entries(entries.into_iter().collect())
    }

    /// Ends such a replay. What is computed after the last answer is computed to its end, unless that takes too long.
    pub(crate) fn finish_relive(&mut self) -> Result<(), Diverged> {
        self.finish_replay()?;
        while let Some(Call::Pause { computed_us }) = self.waits_for
            && computed_us < RELIVE_US_MAX
        {
            self.feed(self.core.now_us.get(), Given::Reply(Reply::Resume));
        }
        Ok(())
    }

    /// Resumes with an answer that may partly be of a recording.
    pub(crate) fn resume_given(&mut self, at_us: u64, given: Given) -> Vec<Note> {
        let at_us = at_us.max(self.core.now_us.get());
        self.feed(at_us, given);
        self.core.notes.take()
    }

    /// The time of its last answer, microseconds since 1970.
    pub(crate) fn now_us(&self) -> u64 {
        self.core.now_us.get()
    }

    /// Why it cannot go on, when an answer that was left out of a journal was looked at.
    pub(crate) fn strayed(&self) -> Option<String> {
        match &*self.core.ending.borrow() {
            Some(Ending::Diverged(reason)) => Some(reason.clone()),
            _ => None,
        }
    }

    /// Whether this is what its iterations are given as what `setup()` returned, JSON.
    pub fn is_given(&self, data: Option<&str>) -> bool {
        self.core.data.borrow().as_deref() == data
    }

    /// Makes a machine and brings it to the state the journal leads to. It makes no calls and says nothing on the way. The
    /// last answer is held back until more comes or [`finish_replay`](Self::finish_replay) is called.
    ///
    /// # Errors
    /// When script, birth and journal do not belong together.
    pub fn replay(script: &Script, birth: Birth, journal: &Journal) -> Result<Self, Diverged> {
        let mut machine = Self::new(script, birth)?;
        machine.replay_more(&journal.all())?;
        Ok(machine)
    }

    /// Goes on with a replay by what has come since.
    ///
    /// # Errors
    /// When the tail does not begin where the machine's journal ends, or does not belong to it.
    pub fn replay_more(&mut self, tail: &Tail) -> Result<(), Diverged> {
        let entries = self.journal.extend(tail).map_err(Diverged::Journal)?;
        self.replay_entries(entries)
    }

    /// Goes on with a replay by answers as they were given: what a file holds to which each was appended as it came.
    ///
    /// # Errors
    /// When they do not belong to the machine.
    pub fn replay_records(
        &mut self,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<(), Diverged> {
        for record in records {
            let entry = record.into_entry();
            self.journal.append(entry.clone());
            self.replay_entries(vec![entry])?;
        }
        Ok(())
    }

    /// Ends a replay: from now on the machine is resumed. It waits for what the original waited for after the last answer of
    /// the journal (or, where the original was in a long computation, possibly for [`Call::Pause`]).
    ///
    /// # Errors
    /// When the last answer does not belong to the machine.
    pub fn finish_replay(&mut self) -> Result<(), Diverged> {
        self.core.replaying.set(false);
        if let Some(entry) = self.held_back.take() {
            self.replay_one(entry)?;
        }
        self.core.notes.take();
        self.muted = self.is_paused();
        Ok(())
    }

    /// Whether a replay was begun and not [finished](Self::finish_replay).
    #[must_use]
    pub fn is_replaying(&self) -> bool {
        self.held_back.is_some() || self.core.replaying.get()
    }

    /// Takes in what has come since, to be replayed bit by bit with [`replay_some`](Self::replay_some): others that run on
    /// this thread of the operating system need not wait for the whole of it.
    ///
    /// # Errors
    /// When the tail does not begin where the machine's journal ends, or is damaged.
    pub fn take_in(&mut self, tail: &Tail) -> Result<Stretch, Diverged> {
        let entries = self.journal.extend(tail).map_err(Diverged::Journal)?;
        self.core.replaying.set(true);
        Ok(Stretch {
            entries: entries.into(),
        })
    }

    /// Replays at most so many answers of what was taken in.
    ///
    /// # Errors
    /// When they do not belong to the machine.
    pub fn replay_some(&mut self, stretch: &mut Stretch, at_most: usize) -> Result<(), Diverged> {
        let count = at_most.min(stretch.entries.len());
        self.replay_entries(stretch.entries.drain(..count).collect())
    }

    fn replay_entries(&mut self, entries: Vec<Entry>) -> Result<(), Diverged> {
        self.core.replaying.set(true);
        for entry in entries {
            if let Given::Stop { polls, .. } = entry.given {
                self.core.stop_at.set(Some(polls));
            }
            if let Some(before) = self.held_back.replace(entry) {
                self.replay_one(before)?;
            }
        }
        Ok(())
    }

    fn replay_one(&mut self, entry: Entry) -> Result<(), Diverged> {
        let at = self.replayed;
        let otherwise = |found: &str, wants: String| Diverged::Otherwise {
            at,
            found: found.into(),
            wants,
        };
        let found = entry.given.kind();
        let fits = match (&entry.given, &self.waits_for) {
            (Given::Reply(reply), None) => matches!(reply, Reply::Resume),
            (Given::Reply(reply), Some(call)) => reply.fits(call),
            (Given::Exchanges(hash, exchanges), Some(call @ Call::Http(requests))) => {
                exchanges.len() == requests.len() && (*hash == 0 || *hash == print(call))
            }
            (Given::Stop { .. }, Some(Call::Pause { .. })) => true,
            _ => false,
        };
        if !fits {
            return Err(otherwise(found, self.does()));
        }
        if matches!(entry.given, Given::Stop { .. }) {
            self.core.stop_at.set(None);
        }
        self.feed(entry.at_us, entry.given);
        self.core.notes.borrow_mut().clear();
        self.replayed += 1;
        let ending = self.core.ending.borrow().clone();
        match ending {
            Some(Ending::Diverged(reason)) => Err(otherwise(found, reason)),
            _ => Ok(()),
        }
    }

    fn does(&self) -> String {
        match &self.waits_for {
            None => "has not begun".into(),
            Some(Call::Http(requests)) => {
                let shown: Vec<_> = requests
                    .iter()
                    .map(|request| format!("{} {}", request.method, request.url))
                    .collect();
                format!("sends {}", shown.join(", "))
            }
            Some(Call::Ended(_)) => "has ended".into(),
            Some(call) => format!("wants '{}'", call.kind()),
        }
    }
}

/// Answers that a machine took in and has not replayed yet.
#[derive(Debug, Default)]
pub struct Stretch {
    entries: std::collections::VecDeque<Entry>,
}

impl Stretch {
    /// Whether all of it is replayed.
    pub fn is_over(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if !self.stack.started() {
            // Nothing of the engine exists yet: the closure is dropped, no frame is unwound.
            #[expect(unsafe_code, reason = "dropped once, here")]
            unsafe {
                ManuallyDrop::drop(&mut self.stack);
            }
            return;
        }
        let at_us = self.core.now_us.get();
        for _ in 0..PATIENCE {
            if self.stack.done() {
                break;
            }
            self.feed(at_us, Given::Reply(Reply::Terminate));
        }
        if self.stack.done() {
            #[expect(unsafe_code, reason = "dropped once, here")]
            unsafe {
                ManuallyDrop::drop(&mut self.stack);
            }
        }
    }
}
