//! Playing recorded threads again: what the hub asks for, and what is answered.

use std::path::PathBuf;

use cohort_model::{At, CaseRequest, InstanceId, ThreadId};
use serde::{Deserialize, Serialize};

use super::settings::Address;

/// Threads whose recordings are to be kept together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaptureOrder {
    /// Number of the capsule.
    pub capsule: u32,
    /// Which threads, the most important one first.
    pub threads: Vec<ThreadTaken>,
    /// The capsule is written to this file.
    pub file: PathBuf,
    /// Most requests in it.
    pub requests_max: u32,
}

/// One thread of a capsule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreadTaken {
    /// Which.
    pub thread: ThreadId,
    /// Its journal; may still be written to.
    pub journal: PathBuf,
    /// Only this iteration of it, by its number in the thread, from 0; `None`: the last ones.
    pub iteration: Option<u64>,
    /// How many of the last ones.
    pub last: u32,
    /// What `setup()` returned where it is, JSON.
    pub data: Option<String>,
}

/// A capsule was made or read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Captured {
    /// Which.
    pub capsule: u32,
    /// Its requests, in the order in which they were sent: their places are their numbers; or why there is no capsule.
    pub requests: Result<Vec<CaseRequest>, String>,
    /// What is not in it, in words.
    pub remarks: Vec<String>,
}

/// A capsule is to be played.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlayOrder {
    /// Number of this play, never used before.
    pub play: u32,
    /// Which capsule.
    pub capsule: u32,
    /// Against which instance.
    pub instance: InstanceId,
    /// Where that listens.
    pub address: Address,
    /// What `setup()` returned there, JSON; `None` when that is not known.
    pub data: Option<Option<String>>,
    /// Numbers of the requests that are sent; the others are answered as they were.
    pub keep: Vec<u32>,
    /// Pieces of query and body that are left out, by request.
    pub without: Vec<(u32, String)>,
    /// So many plays of it at once.
    pub copies: u32,
    /// One after the other so often.
    pub rounds: u32,
    /// It is over with the first call that is waited for in vain, and is repeated for a few seconds at most.
    pub hangs: bool,
    /// What grows meanwhile is measured: half of them is told, and they are fewer when they take long.
    pub grows: bool,
    /// Sleeps, and the times at which threads began, are as they were; else as short as possible.
    pub in_time: bool,
    /// Longest time an answer is waited for, microseconds.
    pub patience_us: u64,
    /// Longest time of all of it, microseconds.
    pub timeout_us: u64,
}

/// What came of a play.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Played {
    /// Which.
    pub play: u32,
    /// Of which capsule.
    pub capsule: u32,
    /// When the first request was sent.
    pub first_sent: Option<At>,
    /// When it was over.
    pub ended: At,
    /// Answers, by request; the last entry of those that the original did not ask for has no number.
    pub answers: Vec<PlayedAnswers>,
    /// Checks that failed on answers to what was sent: name, endpoint, how often.
    pub failed_checks: Vec<(String, String, u64)>,
    /// Why a thread could not be played, in words.
    pub strayed: Option<String>,
    /// Its time was over before it was.
    pub cut: bool,
    /// Repetitions after half of them was told.
    pub rounds_late: u32,
}

/// How one request was answered, over all copies and rounds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlayedAnswers {
    /// Its number in the capsule; `None`: the original did not ask for it.
    pub request: Option<u32>,
    /// `POST /items`.
    pub endpoint: String,
    /// Answers by status.
    pub statuses: Vec<(u16, u64)>,
    /// No answer, by the reason in words.
    pub errors: Vec<(super::TransportError, u64)>,
    /// Beginning of the first answer from 500 on.
    pub said: String,
    /// How long each took, answered or not, microseconds, in order; at most the first thousand.
    pub took_us: Vec<u64>,
}

/// Something odd that a thread met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OddCall {
    /// When.
    pub at: At,
    /// Whose.
    pub thread: ThreadId,
    /// In which of its iterations, from 0.
    pub iteration: u64,
    /// On which instance.
    pub instance: InstanceId,
    /// `POST /items`.
    pub endpoint: String,
    /// What.
    pub oddity: Oddity,
    /// What was said: the beginning of the answer, or the error.
    pub said: String,
}

/// What kind of odd thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Oddity {
    /// An answer from 500 on.
    Status(u16),
    /// No answer.
    Broken(super::TransportError),
    /// A check of this name failed.
    Check(String),
}
