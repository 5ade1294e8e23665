//! Changing recorded requests of a campaign, and what came of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How recorded requests are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FuzzPlan {
    /// How long in all, microseconds. While edge cases are tried on the instance that it would have, it waits.
    pub time_us: u64,
    /// All that is drawn at random follows from it.
    pub seed: u64,
}

/// What a round of it came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FuzzRound {
    /// Iterations that were played with a changed request.
    pub trials: u64,
    /// Requests that were sent for them.
    pub requests: u64,
    /// Trials that were answered as none before.
    pub new: u64,
    /// Requests that are changed, all rounds together.
    pub examples: u64,
    /// Endpoints of these.
    pub endpoints: u64,
    /// How long it took, microseconds.
    pub took_us: u64,
    /// The server did not answer any more.
    pub down: bool,
    /// Why nothing could be changed, in words; empty when something could.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unusable: String,
}
