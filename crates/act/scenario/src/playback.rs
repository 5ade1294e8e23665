//! A recorded iteration, played again: some of its requests are sent anew, the others are answered as they were.
//!
//! ```text
//!   begin(scene) ──> cue: Requests, Sleep, Pause ──> answer, woken, go_on ──> cue ... ──> Over
//! ```
//!
//! The script is the same, and so are its random numbers and times; what is sent anew is answered anew, so that tokens and ids are
//! those of the server that it is played against. Where the script, for such an answer, asks for something else than it did,
//! the recording is followed from the next call that is like one of its own.
//!
//! Promise: what the original asked for and is not to be sent anew is never handed out as live.

use crate::call::{Call, Ended, Reply};
use crate::exchange::{Exchange, part};
use crate::http::{Outcome, Request, Timings, TransportError, error_code};
use crate::journal::{Entry, Given, print};
use crate::machine::{Diverged, Machine};
use crate::note::Note;
use crate::recording::{Recording, SceneCall};

use std::rc::Rc;

/// What a playback waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Cue {
    /// These requests are to be sent or answered as they were.
    Requests {
        /// What is asked for now.
        requests: Vec<Request>,
        /// The recorded call that they are, by its place in the scene; `None`: the original did not ask for this.
        call: Option<usize>,
    },
    /// Time is to pass.
    Sleep {
        /// For how long, microseconds.
        us: u64,
    },
    /// A long computation gives way to others.
    Pause {
        /// For how long it has computed, microseconds.
        computed_us: u64,
    },
    /// The iteration is over.
    Over,
    /// The machine cannot go on: why, in words.
    Ended(String),
}

/// How one request is answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// It was sent.
    Live(Outcome),
    /// As in the recording.
    AsRecorded,
}

/// A machine that plays iterations of a recording.
#[derive(Debug)]
pub struct Playback<'r> {
    recording: &'r Recording,
    machine: Machine,
    scene: usize,
    /// The next call of the scene that was not played.
    next_call: usize,
    /// The next answer of the scene that was not given.
    next_entry: usize,
    /// The iteration has begun.
    begun: bool,
    notes: Vec<Note>,
}

impl<'r> Playback<'r> {
    /// A machine that is ready for an iteration. Where iterations know of earlier ones, all before it are re-executed.
    /// `data`: what `setup()` returned where it is played, when that is known.
    ///
    /// # Errors
    /// As for a replay.
    ///
    /// # Panics
    /// When the recording has no such scene.
    pub fn new(
        recording: &'r Recording,
        scene: usize,
        data: Option<Option<String>>,
    ) -> Result<Self, Diverged> {
        let begins_at = recording.scenes[scene].entries.start;
        let first = recording.scenes[0].entries.start;
        let before = if recording.remembers {
            begins_at
        } else {
            first
        };
        let mut machine = Machine::new(&recording.script, recording.birth.clone())?;
        machine.forget_journal();
        machine.relive(recording.entries[..before].iter().map(Entry::again))?;
        machine.finish_relive()?;
        let mut playback = Self {
            recording,
            machine,
            scene,
            next_call: 0,
            next_entry: 0,
            begun: false,
            notes: Vec::new(),
        };
        if let Some(data) = data
            && !playback.machine.is_given(data.as_deref())
        {
            let at_us = playback.machine.now_us();
            playback.feed(at_us, Given::Reply(Reply::Data(data)));
        }
        Ok(playback)
    }

    /// Begins an iteration of the recording.
    ///
    /// # Panics
    /// When there is no such scene, or an iteration is under way.
    pub fn begin(&mut self, scene: usize) {
        assert!(
            self.machine.waits_for() == Some(&Call::Iterate),
            "an iteration is played to its end before the next one begins"
        );
        let played = &self.recording.scenes[scene];
        self.scene = scene;
        self.next_call = 0;
        self.next_entry = played.entries.start + 1;
        self.begun = true;
        self.machine.set_dice(&played.dice);
        let begin = self.recording.entries[played.entries.start].again();
        self.feed(begin.at_us, begin.given);
    }

    /// What it waits for now.
    pub fn cue(&mut self) -> Cue {
        loop {
            if let Some(reason) = self.machine.strayed() {
                return Cue::Ended(reason);
            }
            match self.machine.waits_for() {
                None | Some(Call::Now) => {
                    let at_us = self.take_time(|reply| matches!(reply, Reply::Now));
                    self.feed(at_us, Given::Reply(Reply::Now));
                }
                Some(Call::Iterate) => return Cue::Over,
                Some(Call::Sleep { us }) => return Cue::Sleep { us: *us },
                Some(Call::Pause { computed_us }) => {
                    return Cue::Pause {
                        computed_us: *computed_us,
                    };
                }
                Some(Call::Ended(ended)) => return Cue::Ended(in_words(ended)),
                Some(Call::Http(requests)) => {
                    let requests = requests.clone();
                    let call = self.like(&requests);
                    return Cue::Requests { requests, call };
                }
            }
        }
    }

    /// The recorded call that is most like this one.
    fn like(&self, requests: &[Request]) -> Option<usize> {
        let calls = &self.recording.scenes[self.scene].calls;
        let open = || {
            (self.next_call..calls.len()).filter(|at| calls[*at].requests.len() == requests.len())
        };
        let all = |at: usize, same: fn(&Request, &Request) -> bool| {
            let pairs = calls[at].requests.iter().zip(requests);
            pairs.into_iter().all(|(had, has)| same(had, has))
        };
        open().find(|at| all(*at, is_shaped_like))
    }

    /// Answers the requests of the last cue, each as it is told.
    ///
    /// # Panics
    /// When there are not as many answers as requests.
    pub fn answer(&mut self, call: Option<usize>, told: Vec<Told>) {
        let recorded = call.map(|at| &self.recording.scenes[self.scene].calls[at]);
        let exchanges = told
            .into_iter()
            .enumerate()
            .map(|(place, told)| match told {
                Told::Live(outcome) => Rc::new(Exchange::new(outcome, part::ALL)),
                Told::AsRecorded => Rc::new(self.as_recorded(recorded, place)),
            });
        let exchanges: Vec<_> = exchanges.collect();
        let waited = self.machine.waits_for().cloned();
        let count = match &waited {
            Some(Call::Http(requests)) => requests.len(),
            _ => 0,
        };
        assert!(
            count == exchanges.len(),
            "{count} requests were given {} answers",
            exchanges.len()
        );
        let at_us = recorded
            .and_then(|call| call.answered_us)
            .unwrap_or_else(|| self.machine.now_us());
        if let Some(at) = call {
            self.next_call = at + 1;
            if let Some(entry) = self.recording.scenes[self.scene].calls[at].entry {
                self.next_entry = self.next_entry.max(entry + 1);
            }
        }
        let print = waited.as_ref().map_or(0, print);
        self.feed(at_us, Given::Exchanges(print, exchanges));
    }

    fn as_recorded(&self, call: Option<&SceneCall>, place: usize) -> Exchange {
        let entry = call.and_then(|call| self.recording.entries.get(call.entry?));
        match entry.map(|entry| &entry.given) {
            Some(Given::Exchanges(_, exchanges)) if place < exchanges.len() => {
                exchanges[place].again()
            }
            _ => Exchange::new(Err(not_sent()), part::ALL),
        }
    }

    /// The sleep of the last cue is over.
    pub fn woken(&mut self) {
        let us = match self.machine.waits_for() {
            Some(Call::Sleep { us }) => *us,
            _ => return,
        };
        let until_us = self.machine.now_us() + us;
        let at_us = self.take_time(|reply| matches!(reply, Reply::Woken));
        self.feed(at_us.max(until_us), Given::Reply(Reply::Woken));
    }

    /// The pause of the last cue is over.
    pub fn go_on(&mut self) {
        let at_us = self.machine.now_us();
        self.feed(at_us, Given::Reply(Reply::Resume));
    }

    /// The iteration ends here.
    pub fn interrupt(&mut self, reason: &str) {
        let at_us = self.machine.now_us();
        let reason = reason.to_owned();
        self.feed(at_us, Given::Reply(Reply::Interrupt { reason }));
    }

    /// What the script said since the last time.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// The time of the next answer of this kind in the scene; where there is none, time stands still.
    fn take_time(&mut self, kind: fn(&Reply) -> bool) -> u64 {
        let end = self.recording.scenes[self.scene].entries.end;
        let is_it = |at: &usize| matches!(&self.recording.entries[*at].given, Given::Reply(reply) if kind(reply));
        // Not beyond what is asked for in between: that is still to come.
        let is_call =
            |at: &usize| matches!(&self.recording.entries[*at].given, Given::Exchanges(..));
        let found = (self.next_entry.min(end)..end)
            .take_while(|at| !is_call(at))
            .find(is_it);
        match found {
            Some(at) if self.begun => {
                self.next_entry = at + 1;
                self.recording.entries[at].at_us
            }
            _ => self.machine.now_us(),
        }
    }

    fn feed(&mut self, at_us: u64, given: Given) {
        let notes = self.machine.resume_given(at_us, given);
        self.notes.extend(notes);
    }
}

/// For the script, of a request that has no answer and is not sent anew.
fn not_sent() -> TransportError {
    TransportError {
        code: error_code::GENERIC,
        message: "left out of this play".to_owned(),
        timings: Timings::default(),
    }
}

fn in_words(ended: &Ended) -> String {
    match ended {
        Ended::Failed(failure) => failure.message.clone(),
        Ended::Returned(_) | Ended::Terminated => "it ended".to_owned(),
    }
}

/// Whether two requests differ in values only: those parts of the path that may be numbers or tokens, the query's values, headers
/// and bodies.
fn is_shaped_like(had: &Request, has: &Request) -> bool {
    let path = |url: &str| url.split(['?', '#']).next().unwrap_or_default().to_owned();
    let (had_path, has_path) = (path(&had.url), path(&has.url));
    let (mut left, mut right) = (had_path.split('/'), has_path.split('/'));
    if had.method != has.method {
        return false;
    }
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some(one), Some(other)) if one == other || (varies(one) && varies(other)) => {}
            _ => return false,
        }
    }
}

fn varies(segment: &str) -> bool {
    segment.len() >= 16 || segment.bytes().any(|byte| byte.is_ascii_digit())
}
