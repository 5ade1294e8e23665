//! Edge cases of services: what was odd in a call, which requests a case is made of, and what came of playing them again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{At, ConditionKind, EndpointId, InstanceId, Symptom, SymptomKind, ThreadId};

/// A call that went odd, told at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OddCall {
    /// When it was answered, or given up.
    pub at: At,
    /// Who called.
    pub thread: ThreadId,
    /// In which iteration of that thread, from 0.
    pub iteration: u64,
    /// Which instance.
    pub instance: InstanceId,
    /// Which endpoint.
    pub endpoint: EndpointId,
    /// How.
    pub oddity: Oddity,
    /// Beginning of what was answered, or the error in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub said: String,
}

/// How a call went odd.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Oddity {
    /// An answer of this status, from 500 on.
    Status(u16),
    /// No answer, and why (`connection reset`).
    Broken(String),
    /// A check of this name failed on its answer.
    Check(String),
}

/// One request of a case. Agents send it in a form that has no names, so no field is ever left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CaseRequest {
    /// Whose it was.
    pub thread: ThreadId,
    /// In which iteration of that thread, from 0.
    pub iteration: u64,
    /// Requests of one thread with the same number were sent at once.
    pub call: u32,
    /// When it was sent, after the first of the case, microseconds.
    pub after_us: u64,
    /// `POST /items`.
    pub endpoint: String,
    /// `GET`, `POST`, ...
    pub method: String,
    /// Path and query; the whole address when it goes to another host.
    pub url: String,
    /// Headers that the script set, and cookies.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The body when it is text, cut to a bounded length.
    #[serde(default)]
    pub body: String,
    /// Status of its answer; 0: there was none.
    pub status: u16,
    /// How long that took, microseconds.
    pub took_us: u64,
    /// What it uses of earlier answers: it is never sent without the requests that these answer.
    #[serde(default)]
    pub uses: Vec<CaseValue>,
    /// Pieces of its query (`?page`) and its body (`/items/0/id`) that could be left out.
    #[serde(default)]
    pub pieces: Vec<String>,
}

/// A value of a request that came with an earlier answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CaseValue {
    /// The value, as it was then.
    pub value: String,
    /// Number of the request whose answer held it.
    pub request: u32,
    /// Where in that answer: `cookie session`, `body.token`.
    pub place: String,
}

/// How an instance grew over the second half of a play.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Grown {
    /// Repetitions in that time.
    pub rounds: u32,
    /// Anonymous memory, bytes.
    pub memory: i64,
    /// Open descriptors.
    pub descriptors: i64,
    /// Threads.
    pub threads: i64,
}

/// What a play of a case showed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Played {
    /// When the first request was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sent: Option<At>,
    /// How long all of it took, microseconds.
    pub took_us: u64,
    /// Requests that were sent.
    pub sent: u64,
    /// All that was odd, each with the endpoint that it is about (empty: the whole server).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub odd: Vec<(String, Symptom)>,
    /// How long each request took, by its number, microseconds: median (of several at once, of the slowest of them), and the longest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub took: Vec<(u32, u64, u64)>,
    /// How the latency of each request grew from the first third of the rounds to the last, by its number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slower: Vec<(u32, f64)>,
    /// What its instance grew by while it was repeated, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grown: Option<Grown>,
    /// Conditions that could not be applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<ConditionKind>,
    /// Why it says nothing: the instance was not ready, the script went another way, its time was over.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub void: String,
}

impl Played {
    /// Whether a call was waited for in vain: its server may wait for ever.
    #[must_use]
    pub fn hung(&self) -> bool {
        let mut odd = self.odd.iter();
        odd.any(|(_, symptom)| symptom.kind == SymptomKind::Hang)
    }
}
