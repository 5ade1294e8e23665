//! A recorded thread, read: its iterations, what each asked for, and what it was answered.
//!
//! A journal holds answers only. What was asked is had again by re-executing the script against them. An iteration can be
//! played again alone (see [`crate::Playback`]) when it is known where the random numbers stood as it began, and when the script
//! knows nothing of earlier iterations; else all before it is re-executed first.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::birth::Birth;
use crate::call::{Call, Reply};
use crate::http::{Outcome, Request};
use crate::journal::{Entry, Given, Journal, Record, Tail};
use crate::machine::{Diverged, Machine};
use crate::rng::Rng;
use crate::script::Script;

/// Where the random numbers of a machine stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dice(pub(crate) Rng);

/// What a thread was answered, as it is kept and sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// Answers that were folded.
    pub tails: Vec<Tail>,
    /// Those that came one by one after them.
    pub records: Vec<Record>,
    /// Where the random numbers stood as iterations began, by the place of that answer among `records`.
    pub dice: Vec<(u64, Dice)>,
    /// It begins with an iteration, and not with the thread: its script knows nothing of earlier ones.
    pub late: bool,
}

/// A recorded thread, read.
#[derive(Debug)]
pub struct Recording {
    pub(crate) script: Script,
    pub(crate) birth: Birth,
    pub(crate) entries: Vec<Entry>,
    /// What it did, in order.
    pub scenes: Vec<Scene>,
    /// Iterations may know of earlier ones.
    pub(crate) remembers: bool,
}

/// One recorded iteration.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Its number among those of its thread, from 0.
    pub in_vu: u64,
    /// When it began, microseconds since 1970.
    pub began_us: u64,
    /// When its last answer was given.
    pub ended_us: u64,
    /// What it called, in order.
    pub calls: Vec<SceneCall>,
    pub(crate) dice: Dice,
    /// Its first answer, and the one after its last.
    pub(crate) entries: Range<usize>,
}

/// Requests that were sent at once.
#[derive(Clone, Debug)]
pub struct SceneCall {
    /// When, as far as is known, microseconds since 1970.
    pub sent_us: u64,
    /// When all were answered; `None`: they were not, as far as was recorded.
    pub answered_us: Option<u64>,
    /// What was sent.
    pub requests: Vec<Request>,
    /// Its answer.
    pub(crate) entry: Option<usize>,
}

impl Recording {
    /// Reads what was kept, and re-executes it to learn what was asked. `remembers`: [`Script::remembers`], or that cookies outlive
    /// iterations.
    ///
    /// # Errors
    /// When it is damaged, or does not belong to script and birth.
    pub fn read(
        script: &Script,
        birth: Birth,
        recorded: &Recorded,
        remembers: bool,
    ) -> Result<Self, Diverged> {
        let mut entries = Vec::new();
        if recorded.late {
            let at_us = recorded
                .records
                .first()
                .map_or(0, |first| first.answer.at_us);
            let given = Given::Reply(Reply::Resume);
            entries.push(Entry { at_us, given });
        }
        let mut journal = Journal::new();
        for tail in &recorded.tails {
            entries.extend(journal.extend(tail).map_err(Diverged::Journal)?);
        }
        let folded = entries.len();
        entries.extend(recorded.records.iter().cloned().map(Record::into_entry));
        let mut recording = Self {
            script: script.clone(),
            birth,
            entries,
            scenes: Vec::new(),
            remembers,
        };
        let dice = recorded.dice.iter();
        let dice: Vec<(usize, &Dice)> = dice
            .map(|(place, dice)| (folded + *place as usize, dice))
            .collect();
        recording.learn(&dice)?;
        Ok(recording)
    }

    /// The answer to one request of a call, as far as the script looked at it.
    #[must_use]
    pub fn outcome(&self, call: &SceneCall, place: usize) -> Option<Outcome> {
        match &self.entries.get(call.entry?)?.given {
            Given::Exchanges(_, exchanges) => Some(exchanges.get(place)?.outcome.borrow().clone()),
            _ => None,
        }
    }

    /// Whether iterations may know of earlier ones.
    #[must_use]
    pub fn remembers(&self) -> bool {
        self.remembers
    }

    /// Re-executes all of it.
    fn learn(&mut self, dice: &[(usize, &Dice)]) -> Result<(), Diverged> {
        let mut machine = Machine::new(&self.script, self.birth.clone())?;
        machine.forget_journal();
        let mut last_us = 0;
        for (index, entry) in self.entries.iter().enumerate() {
            // The answer before takes effect; this one is held back.
            machine.relive([entry.again()])?;
            if let Ok(known) = dice.binary_search_by_key(&index, |(place, _)| *place)
                && !self.remembers
            {
                machine.set_dice(dice[known].1);
            }
            match (&entry.given, machine.waits_for()) {
                (Given::Reply(Reply::Begin(permit)), _) => self.scenes.push(Scene {
                    in_vu: permit.in_vu,
                    began_us: entry.at_us,
                    ended_us: entry.at_us,
                    calls: Vec::new(),
                    dice: machine.dice(),
                    entries: index..index + 1,
                }),
                (Given::Exchanges(..), Some(Call::Http(requests))) => {
                    let requests = requests.clone();
                    add(
                        &mut self.scenes,
                        requests,
                        (last_us, Some(entry.at_us)),
                        Some(index),
                    );
                }
                _ => {}
            }
            if let Some(scene) = self.scenes.last_mut() {
                scene.ended_us = entry.at_us;
                scene.entries.end = index + 1;
            }
            last_us = entry.at_us;
        }
        machine.finish_relive()?;
        if let Some(Call::Http(requests)) = machine.waits_for() {
            add(&mut self.scenes, requests.clone(), (last_us, None), None);
        }
        Ok(())
    }
}

fn add(
    scenes: &mut [Scene],
    requests: Vec<Request>,
    (sent_us, answered_us): (u64, Option<u64>),
    entry: Option<usize>,
) {
    if let Some(scene) = scenes.last_mut() {
        scene.calls.push(SceneCall {
            sent_us,
            answered_us,
            requests,
            entry,
        });
    }
}
