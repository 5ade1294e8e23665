//! A capsule: all that is needed to play recorded threads again, in one file.
//!
//! ```text
//!   magic | postcard of Capsule
//! ```

use std::io;
use std::path::{Path, PathBuf};

use cohort_fuzzer::Edit;
use cohort_model::ThreadId;
use cohort_scenario::{Birth, Bundle, Record, Recorded, Reply};
use serde::{Deserialize, Serialize};

use super::take::Spot;
use crate::agent::Agent;
use crate::journal::{self, Recovered};
use crate::protocol::{CaptureOrder, How, ThreadTaken};

/// How every capsule begins.
const MAGIC: [u8; 8] = *b"COHPLAY2";
/// Largest capsule that is read, bytes.
const BYTES_MAX: u64 = 256 << 20;

/// What failed with a capsule.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file.
    #[error("keep the capsule {path:?}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no capsule, or is damaged.
    #[error(
        "read the capsule {path:?}: {what}; it is to be one of this version of Cohort, whole and unchanged"
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// No thread of it can be played.
    #[error("play any of its threads again: {0}")]
    Nothing(String),
}

/// Recorded threads with their script.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capsule {
    /// The script.
    pub bundle: Bundle,
    /// Origins that stand for the instance.
    pub base_urls: Vec<String>,
    /// Iterations may know of earlier ones.
    pub remembers: bool,
    /// Its threads, the most important one first.
    pub tracks: Vec<Track>,
    /// Requests that are sent otherwise than they were recorded, by where they are: track, iteration, call, place in the call.
    pub edits: Vec<(Spot, Vec<Edit>)>,
}

/// One recorded thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// Which.
    pub thread: ThreadId,
    /// Who it is.
    pub birth: Birth,
    /// What it was answered.
    pub recorded: Recorded,
    /// Only this iteration counts, from 0.
    pub iteration: Option<u64>,
    /// The last so many count.
    pub last: u32,
}

impl Capsule {
    /// From the journals of threads that may be running.
    pub(crate) fn capture(
        agent: &Agent,
        order: &CaptureOrder,
        remarks: &mut Vec<String>,
    ) -> Result<Capsule, Error> {
        let Some(script) = &agent.script else {
            let why = "programs drive, and what they send is not recorded";
            return Err(Error::Nothing(why.to_owned()));
        };
        let mut tracks = Vec::new();
        for taken in &order.threads {
            match track(taken, agent.remembers) {
                Ok(track) => tracks.push(track),
                Err(why) => remarks.push(format!("{} is not in the capsule: {why}", taken.thread)),
            }
        }
        if tracks.is_empty() {
            let why = remarks.last().cloned().unwrap_or_default();
            return Err(Error::Nothing(why));
        }
        Ok(Capsule {
            bundle: script.bundle().clone(),
            base_urls: agent.client.settings.base_urls.clone(),
            remembers: agent.remembers,
            tracks,
            edits: Vec::new(),
        })
    }

    /// Writes it; the file is whole or not there.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let failed = |source| Error::File {
            path: path.to_owned(),
            source,
        };
        let mut bytes = MAGIC.to_vec();
        let body = postcard::to_allocvec(self).map_err(|error| Error::Damaged {
            path: path.to_owned(),
            what: error.to_string(),
        })?;
        bytes.extend_from_slice(&body);
        let new = path.with_extension("new");
        std::fs::write(&new, bytes).map_err(failed)?;
        std::fs::rename(&new, path).map_err(failed)
    }

    /// Reads one.
    ///
    /// # Errors
    /// The file cannot be read, or is none of this version.
    pub fn read(path: &Path) -> Result<Capsule, Error> {
        let failed = |source| Error::File {
            path: path.to_owned(),
            source,
        };
        let damaged = |what: String| Error::Damaged {
            path: path.to_owned(),
            what,
        };
        let bytes = std::fs::metadata(path).map_err(failed)?.len();
        if bytes > BYTES_MAX {
            return Err(damaged(format!(
                "it has {bytes} bytes, and at most {BYTES_MAX} are read"
            )));
        }
        let bytes = std::fs::read(path).map_err(failed)?;
        let body = bytes
            .strip_prefix(&MAGIC)
            .ok_or_else(|| damaged("it does not begin as one".to_owned()))?;
        postcard::from_bytes(body).map_err(|error| damaged(error.to_string()))
    }
}

/// What a journal holds of the iterations that count.
fn track(taken: &ThreadTaken, remembers: bool) -> Result<Track, String> {
    let found = journal::recover(&taken.journal).map_err(|error| error.to_string())?;
    if found.beyond {
        return Err("its journal grew beyond its limit".to_owned());
    }
    let How::Script { birth } = &found.how else {
        return Err("it is a program, and what that sends is not recorded".to_owned());
    };
    let mut birth = (**birth).clone();
    let iteration = taken.iteration;
    let late = (!remembers)
        .then(|| late(&found, iteration, taken.last))
        .flatten();
    let recorded = match late {
        Some(recorded) => {
            birth.setup_data.clone_from(&taken.data);
            recorded
        }
        None => whole(found, iteration),
    };
    Ok(Track {
        thread: taken.thread,
        birth,
        recorded,
        iteration,
        last: taken.last,
    })
}

/// Number of the iteration that an answer begins.
fn begins(record: &Record) -> Option<u64> {
    match &record.answer.reply {
        Reply::Begin(permit) => Some(permit.in_vu),
        _ => None,
    }
}

/// Only the iterations that count, when they were recorded one by one. Of the last ones those that were are enough.
fn late(found: &Recovered, iteration: Option<u64>, last: u32) -> Option<Recorded> {
    let number = |place: u64| found.records.get(place as usize).and_then(begins);
    let begun: Vec<u64> = found.dice.iter().map(|(place, _)| *place).collect();
    let begun: Vec<u64> = begun
        .into_iter()
        .filter(|place| number(*place).is_some())
        .collect();
    let first = match iteration {
        Some(_) => begun.iter().position(|place| number(*place) == iteration)?,
        None => begun.len().saturating_sub(last as usize),
    };
    let begin = *begun.get(first)?;
    let next = begun.get(first + 1).filter(|_| iteration.is_some());
    let end = next.map_or(found.records.len() as u64, |place| *place);
    let dice = found.dice.iter();
    let within = dice.filter(|(place, _)| (begin..end).contains(place));
    Some(Recorded {
        tails: Vec::new(),
        records: found.records[begin as usize..end as usize].to_vec(),
        dice: within
            .map(|(place, dice)| (place - begin, dice.clone()))
            .collect(),
        late: true,
    })
}

/// All of it, up to the end of the iteration that counts.
fn whole(found: Recovered, iteration: Option<u64>) -> Recorded {
    let mut records = found.records;
    let beyond = |record: &Record| begins(record) > iteration;
    if iteration.is_some()
        && let Some(end) = records.iter().position(beyond)
    {
        records.truncate(end);
    }
    Recorded {
        tails: found.tails,
        dice: Vec::new(),
        records,
        late: false,
    }
}
