//! Reading the journal of a dead agent's thread.

use std::path::Path;

use cohort_model::ThreadId;
use cohort_scenario::{Dice, Record, Reply, Tail};
use serde::de::DeserializeOwned;

use super::{Error, Kind, MAGIC, Stands};
use crate::protocol::How;

/// What a journal says about its thread; what the hub needs to place it anew.
#[derive(Clone, Debug, PartialEq)]
pub struct Survey {
    /// Which thread.
    pub thread: ThreadId,
    /// What it is.
    pub how: How,
    /// Answers in it.
    pub answers: u64,
    /// Iterations it has begun.
    pub begun: u64,
    /// It came to its end.
    pub ended: bool,
    /// It grew beyond its limit: the thread cannot be rebuilt.
    pub beyond: bool,
}

/// Reads what a journal says about its thread.
///
/// # Errors
///
/// When the file cannot be read, or is no journal.
pub fn survey(path: &Path) -> Result<Survey, Error> {
    let recovered = recover(path)?;
    Ok(Survey {
        answers: recovered.answers_in_all(),
        thread: recovered.thread,
        how: recovered.how,
        begun: recovered.begun,
        ended: recovered.ended,
        beyond: recovered.beyond,
    })
}

/// A thread as its journal says.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) thread: ThreadId,
    pub(crate) how: How,
    /// What was replayed or folded.
    pub(crate) tails: Vec<Tail>,
    /// What came one by one after that.
    pub(crate) records: Vec<Record>,
    /// Where the random numbers stood as iterations began, by the place of that answer among the records.
    pub(crate) dice: Vec<(u64, Dice)>,
    /// Places in the current call of requests that may have been sent.
    pub(crate) intents: Vec<u32>,
    pub(crate) begun: u64,
    /// When the last answer was given.
    pub(crate) last_unix_us: u64,
    /// When the sleep it is in ends, where that was recorded; else 0.
    pub(crate) wake_unix_us: u64,
    pub(crate) ended: bool,
    pub(crate) beyond: bool,
}

impl Recovered {
    pub(crate) fn answers_in_all(&self) -> u64 {
        let replayed = self.tails.last().map_or(0, |tail| tail.to.answers);
        replayed + self.records.len() as u64
    }
}

/// Reads all of it.
pub(crate) fn recover(path: &Path) -> Result<Recovered, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })?;
    parse(&bytes).map_err(|what| Error::Damaged {
        path: path.to_owned(),
        what,
    })
}

fn parse(bytes: &[u8]) -> Result<Recovered, String> {
    let mut rest = bytes
        .strip_prefix(&MAGIC)
        .ok_or("it does not begin as a journal of this version")?;
    let Some((Kind::Head, head)) = next(&mut rest)? else {
        return Err("it has no head".to_owned());
    };
    let (thread, how) = decode::<(ThreadId, How)>(head, "head")?;
    let mut found = Recovered {
        thread,
        how,
        tails: Vec::new(),
        records: Vec::new(),
        dice: Vec::new(),
        intents: Vec::new(),
        begun: 0,
        last_unix_us: 0,
        wake_unix_us: 0,
        ended: false,
        beyond: false,
    };
    while let Some((kind, record)) = next(&mut rest)? {
        found.add(kind, record)?;
    }
    Ok(found)
}

impl Recovered {
    fn add(&mut self, kind: Kind, record: &[u8]) -> Result<(), String> {
        match kind {
            Kind::Head => return Err("it has two heads".to_owned()),
            Kind::Tail => {
                self.tails.push(decode(record, "stretch of answers")?);
                self.intents.clear();
            }
            Kind::Answer => {
                let record = decode::<Record>(record, "answer")?;
                if matches!(record.answer.reply, Reply::Begin(_)) {
                    self.begun += 1;
                }
                self.last_unix_us = record.answer.at_us;
                self.wake_unix_us = 0;
                self.records.push(record);
                self.intents.clear();
            }
            Kind::Dice => {
                let place = self.records.len() as u64;
                self.dice.push((place, decode(record, "dice")?));
            }
            Kind::Intent => self.intents.push(decode(record, "intent")?),
            Kind::Stands => {
                let stands = decode::<Stands>(record, "standing")?;
                self.begun = stands.begun;
                self.wake_unix_us = stands.wake_unix_us;
            }
            Kind::Ended => self.ended = true,
            Kind::Beyond => self.beyond = true,
        }
        Ok(())
    }
}

/// The next record, `None` at the end of what was written.
fn next<'b>(rest: &mut &'b [u8]) -> Result<Option<(Kind, &'b [u8])>, String> {
    let Some((length, body)) = rest.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length == 0 {
        return Ok(None);
    }
    let record = body
        .get(..length)
        .ok_or_else(|| format!("a record of {length} bytes goes beyond its end"))?;
    *rest = body.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    let kind = match record[0] {
        1 => Kind::Head,
        2 => Kind::Tail,
        3 => Kind::Answer,
        4 => Kind::Intent,
        5 => Kind::Ended,
        6 => Kind::Beyond,
        7 => Kind::Stands,
        8 => Kind::Dice,
        other => return Err(format!("it has a record of the unknown kind {other}")),
    };
    Ok(Some((kind, &record[1..])))
}

fn decode<T: DeserializeOwned>(record: &[u8], what: &str) -> Result<T, String> {
    postcard::from_bytes(record).map_err(|error| format!("its {what} is damaged: {error}"))
}
