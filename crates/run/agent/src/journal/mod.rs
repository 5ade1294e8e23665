//! The journal of a thread on disk: what it takes to rebuild the thread after its agent was killed.
//!
//! ```text
//!   magic | record | record | ... | zeros
//!   record = length (4 bytes, written last) | kind (1 byte) | postcard | padding to 4 bytes
//!   kinds:   Head, then any of Tail, Stands, Answer, Intent, Dice; Ended or Beyond at the end
//! ```
//!
//! Before a request is written to a socket its *intent* is written here, and its answer before the
//! next intent. So after a death each request is known to be answered, or never sent, or unsure; the
//! unsure one is answered as failed, and never sent again.
//!
//! The file is written through shared memory: no system call a record, and nothing is lost when the
//! process is killed. (It is not synced: a crash of the host ends the campaign anyway.)

mod map;
mod read;

use std::io;
use std::path::{Path, PathBuf};

use cohort_model::ThreadId;
use cohort_scenario::{Dice, Outcome, Record, Response, Tail, Timings};
use serde::{Deserialize, Serialize, Serializer};

use crate::protocol::How;
use map::Map;
pub(crate) use read::{Recovered, recover};
pub use read::{Survey, survey};

/// How every journal begins.
const MAGIC: [u8; 8] = *b"COHJRNL1";
/// Size of a new file, bytes.
const BYTES_MIN: usize = 16 << 10;
/// Answers are folded into one `Tail` when they take this much more than the last one did, bytes.
const FOLD_BYTES_MIN: usize = 256 << 10;

/// What failed with a journal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file.
    #[error("keep the journal {path:?}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no journal, or is damaged.
    #[error("read the journal {path:?}: {what}")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    /// What the thread is.
    Head = 1,
    /// Many answers.
    Tail = 2,
    /// One answer.
    Answer = 3,
    /// A request of the current call is about to be written.
    Intent = 4,
    /// The thread came to its end.
    Ended = 5,
    /// It grew beyond its limit: from here on nothing was recorded.
    Beyond = 6,
    /// What answers that were replayed do not tell.
    Stands = 7,
    /// Where the random numbers stand as the iteration begins that the next answer permits.
    Dice = 8,
}

/// How a thread stands where it is not told answer by answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stands {
    /// Iterations it has begun.
    pub(crate) begun: u64,
    /// When the sleep that it is in ends, microseconds since 1970; 0 when it is in none.
    pub(crate) wake_unix_us: u64,
}

/// The journal of one thread, being written.
#[derive(Debug)]
pub(crate) struct JournalFile {
    path: PathBuf,
    map: Map,
    /// End of the last record.
    end: usize,
    /// Where answers go that came one by one.
    folded: usize,
    head: Vec<u8>,
    /// Nothing more is recorded.
    beyond: bool,
}

/// The name of a thread's journal in its agent's journal directory.
#[must_use]
pub fn file_name(thread: ThreadId) -> String {
    format!("{thread}.journal")
}

impl JournalFile {
    /// A new journal in `directory`; an older one of the thread is overwritten.
    pub(crate) fn create(
        directory: &Path,
        thread: ThreadId,
        how: &How,
    ) -> Result<JournalFile, Error> {
        let path = directory.join(file_name(thread));
        let head = postcard::to_allocvec(&(thread, how)).map_err(|error| Error::Damaged {
            path: path.clone(),
            what: format!("its head cannot be written: {error}"),
        })?;
        let map = Map::create(&path, BYTES_MIN).map_err(|source| Error::File {
            path: path.clone(),
            source,
        })?;
        let mut file = JournalFile {
            path,
            map,
            end: 0,
            folded: 0,
            head,
            beyond: false,
        };
        file.begin()?;
        Ok(file)
    }

    fn begin(&mut self) -> Result<(), Error> {
        self.map.slice()[..MAGIC.len()].copy_from_slice(&MAGIC);
        self.end = MAGIC.len();
        let head = std::mem::take(&mut self.head);
        let written = self.append(Kind::Head, &Raw(&head));
        self.head = head;
        self.folded = self.end;
        written
    }

    /// Bytes that are in use.
    pub(crate) fn bytes(&self) -> usize {
        self.end
    }

    /// Records answers that were replayed.
    pub(crate) fn tail(&mut self, tail: &Tail) -> Result<(), Error> {
        let written = self.append(Kind::Tail, tail);
        self.folded = self.end;
        written
    }

    /// Records how the thread stands after them.
    pub(crate) fn stands(&mut self, stands: Stands) -> Result<(), Error> {
        self.append(Kind::Stands, &stands)
    }

    /// Records an answer. Gives true when it is time for [`JournalFile::fold`].
    pub(crate) fn answer(&mut self, record: &Record) -> Result<bool, Error> {
        self.append(Kind::Answer, record)?;
        Ok(self.is_long())
    }

    /// The same for responses, without a copy of them.
    pub(crate) fn responses(&mut self, at_us: u64, outcomes: &[Outcome]) -> Result<bool, Error> {
        let answer = AnswerOut {
            at_us,
            reply: ReplyOut::Responses(Outcomes(outcomes)),
        };
        // Encodes as a `Record` of an answer that came in no computation.
        self.append(Kind::Answer, &(answer, None::<u64>))?;
        Ok(self.is_long())
    }

    fn is_long(&self) -> bool {
        let single = self.end - self.folded;
        !self.beyond && single > FOLD_BYTES_MIN.max(self.folded)
    }

    /// Records where the random numbers stand as an iteration begins.
    pub(crate) fn dice(&mut self, dice: &Dice) -> Result<(), Error> {
        self.append(Kind::Dice, dice)
    }

    /// Records that the request of this place in the current call is about to be written.
    pub(crate) fn intent(&mut self, request: u32) -> Result<(), Error> {
        self.append(Kind::Intent, &request)
    }

    /// Records that the thread is over.
    pub(crate) fn ended(&mut self) -> Result<(), Error> {
        self.append(Kind::Ended, &())
    }

    /// Replaces everything by the whole journal, which is smaller than the answers one by one.
    pub(crate) fn fold(&mut self, all: &Tail, stands: Stands) -> Result<(), Error> {
        let new_path = self.path.with_extension("new");
        let failed = |source| Error::File {
            path: new_path.clone(),
            source,
        };
        let mut new = JournalFile {
            map: Map::create(&new_path, BYTES_MIN).map_err(failed)?,
            path: new_path.clone(),
            end: 0,
            folded: 0,
            head: std::mem::take(&mut self.head),
            beyond: false,
        };
        new.begin()?;
        new.tail(all)?;
        new.stands(stands)?;
        std::fs::rename(&new_path, &self.path).map_err(failed)?;
        new.path = std::mem::take(&mut self.path);
        *self = new;
        Ok(())
    }

    /// Stops recording: the thread cannot be rebuilt from here on.
    pub(crate) fn give_up(&mut self) -> Result<(), Error> {
        self.append(Kind::Beyond, &())?;
        self.beyond = true;
        Ok(())
    }

    /// Removes the file.
    pub(crate) fn remove(self) {
        // What is left behind lies in the campaign's scratch directory and goes with it.
        let _ = std::fs::remove_file(&self.path);
    }

    fn append(&mut self, kind: Kind, what: &impl Serialize) -> Result<(), Error> {
        if self.beyond {
            return Ok(());
        }
        loop {
            let (start, capacity) = (self.end, self.map.bytes());
            // The next record's length stays zero: there is always room for it.
            let room = capacity.saturating_sub(start + 12);
            let slice = self.map.slice();
            if room > 0 {
                match postcard::to_slice(what, &mut slice[start + 5..start + 5 + room]) {
                    Ok(written) => {
                        let length = written.len() + 1;
                        slice[start + 4] = kind as u8;
                        self.map.publish(start, length as u32);
                        self.end = (start + 4 + length).next_multiple_of(4);
                        return Ok(());
                    }
                    Err(postcard::Error::SerializeBufferFull) => slice[start + 5..].fill(0),
                    Err(error) => {
                        return Err(Error::Damaged {
                            path: self.path.clone(),
                            what: format!("a record cannot be written: {error}"),
                        });
                    }
                }
            }
            self.map.grow(capacity * 2).map_err(|source| Error::File {
                path: self.path.clone(),
                source,
            })?;
        }
    }
}

/// Bytes that are postcard already.
struct Raw<'b>(&'b [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple;
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for byte in self.0 {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }
}

/// What is written as one piece; the derived encoding of `Vec<u8>` is the same, byte by byte.
struct Body<'b>(&'b [u8]);

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Encodes as [`cohort_scenario::Answer`] does.
#[derive(Serialize)]
struct AnswerOut<'a> {
    at_us: u64,
    reply: ReplyOut<'a>,
}

/// Encodes as [`cohort_scenario::Reply`] does; only what has bodies is here.
#[derive(Serialize)]
enum ReplyOut<'a> {
    #[expect(
        dead_code,
        reason = "keeps the number of the next variant what it is in `Reply`"
    )]
    Begin,
    Responses(Outcomes<'a>),
}

struct Outcomes<'a>(&'a [Outcome]);

#[derive(Serialize)]
struct ResponseOut<'a> {
    status: u16,
    proto: &'a str,
    headers: &'a [(String, String)],
    body: Body<'a>,
    timings: Timings,
    remote_ip: &'a str,
    remote_port: u16,
}

impl Serialize for Outcomes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            self.0
                .iter()
                .map(|outcome| outcome.as_ref().map(response_out)),
        )
    }
}

fn response_out(response: &Response) -> ResponseOut<'_> {
    ResponseOut {
        status: response.status,
        proto: &response.proto,
        headers: &response.headers,
        body: Body(&response.body),
        timings: response.timings,
        remote_ip: &response.remote_ip,
        remote_port: response.remote_port,
    }
}

#[cfg(test)]
mod tests;
