//! Conclusions of the Behavior Analyzer, with their evidence.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{At, InstanceId, TestId};

/// What was concluded.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Needs CPU all the time and gets as much as it is allowed.
    CpuSaturation,
    /// Sleeps or blocks while CPU is idle.
    Waiting,
    /// Close to its memory limit, or reclaiming.
    MemoryPressure,
    /// Memory grows steadily, beyond warm-up and without levelling off.
    MemoryLeak,
    /// No CPU, no IO, no switch for long.
    Stall,
    /// Many failures in a short time.
    FailureBurst,
    /// Far slower than its own history.
    Slow,
}

/// One number of the evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measured {
    /// What was measured, in words (`cpu used`).
    pub what: String,
    /// The value.
    pub value: f64,
    /// Its unit (`cores`, `bytes/s`, `s`).
    pub unit: String,
}

/// A conclusion, and what it rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// Where.
    pub instance: InstanceId,
    /// The test it is about, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<TestId>,
    /// When it was concluded.
    pub at: At,
    /// 0 to 1.
    pub confidence: f64,
    /// In numbers.
    pub evidence: Vec<Measured>,
}
