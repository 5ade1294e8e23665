//! Changing recorded requests: what the hub asks for, and what is answered.

use std::path::PathBuf;

use cohort_model::{InstanceId, ThreadId};
use serde::{Deserialize, Serialize};

use super::play::Oddity;
use super::settings::Address;

/// Recorded iterations are to be played with requests that are changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FuzzOrder {
    /// Number of this round of it.
    pub fuzz: u32,
    /// Capsules whose requests are examples; those of earlier rounds count too.
    pub capsules: Vec<u32>,
    /// Against which instance.
    pub instance: InstanceId,
    /// Where that listens.
    pub address: Address,
    /// What `setup()` returned there, JSON; `None` when that is not known.
    pub data: Option<Option<String>>,
    /// All that is drawn at random follows from it; only that of the first round counts.
    pub seed: u64,
    /// A description of the API (OpenAPI 3, JSON).
    pub openapi: Option<String>,
    /// What is found is written to files here.
    pub directory: PathBuf,
    /// So many iterations at once.
    pub lanes: u32,
    /// How long, microseconds.
    pub for_us: u64,
    /// Longest time an answer is waited for, microseconds.
    pub patience_us: u64,
}

/// A changed request led to something odd.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FuzzFound {
    /// A capsule that plays it again.
    pub file: PathBuf,
    /// Whose iteration it was.
    pub thread: ThreadId,
    /// Which of its iterations, from 0.
    pub iteration: u64,
    /// Against which instance.
    pub instance: InstanceId,
    /// The endpoint that answered oddly.
    pub endpoint: String,
    /// What is odd.
    pub oddity: Oddity,
    /// The beginning of the answer.
    pub said: String,
    /// It is one of several that were under way as the server ended: the next round tells which it was.
    pub is_suspect: bool,
    /// What was changed, in words.
    pub edits: Vec<String>,
}

/// A round is over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fuzzed {
    /// Which.
    pub fuzz: u32,
    /// Iterations with a changed request.
    pub trials: u64,
    /// Requests that were sent for them.
    pub requests: u64,
    /// Trials of which something was new.
    pub new: u64,
    /// Requests that are changed, all rounds together.
    pub examples: u64,
    /// Endpoints of these.
    pub endpoints: u64,
    /// How long it took, microseconds.
    pub took_us: u64,
    /// The server does not answer any more.
    pub down: bool,
    /// Why nothing can be changed, in words; empty when something can.
    pub unusable: String,
}
