//! Helpers: small services beside one instance, for as long as there is a reason.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ServiceFindingKind;

/// A helper that can be had, as far as it matters whether it is wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HelperOffer {
    /// Its name, which no other has.
    pub name: String,
    /// Suspicions that it can tell more about.
    pub detects: Vec<ServiceFindingKind>,
    /// CPU that it is expected to use, cores.
    pub cores: f64,
    /// How long it looks, microseconds; it ends by itself then.
    pub looks_us: u64,
    /// The median latency of its instance may rise by this factor.
    pub slowdown_max: f64,
    /// Whether it looks at an instance that is well too, where there is one, to compare them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compares: bool,
    /// Names of helpers that it gets along with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alongside: Vec<String>,
}

/// Which helpers a campaign may deploy, and what they may use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HelperPlan {
    /// For one suspicion the first that detects it is asked first.
    pub offers: Vec<HelperOffer>,
    /// CPU that all together may use, cores.
    pub cores: f64,
    /// Rest between two deployments of one helper to one instance, microseconds. Twice as long after each failure.
    pub rest_us: u64,
}

/// One thing that a helper found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HelperTold {
    /// In one sentence, as a person wants it.
    pub sentence: String,
    /// The function that it is about, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// Where that is: `src/cart.rs:88`, when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Of a weakness: the rule that it breaks, such as `open-redirect`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rule: String,
}

/// How a deployment ended that was not withdrawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "ending", rename_all = "snake_case")]
pub enum HelperEnding {
    /// It has told what it found, be it nothing.
    Done,
    /// It cannot look at what this instance runs.
    Unfit,
    /// It could look, and this host lacks what it needs.
    Missing {
        /// What, and how to get it, a sentence each.
        lacks: Vec<String>,
    },
    /// It could not be started, crashed, or what it printed is not understood.
    Failed {
        /// Why, in words.
        why: String,
    },
}

/// Why a helper is taken away before it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum HelperWithdrawal {
    /// The finding ended, or was none.
    ReasonGone,
    /// Its instance is gone.
    InstanceGone,
    /// It should have ended by itself.
    Overdue,
    /// It uses more CPU than it may.
    Costly {
        /// Measured, cores.
        cores: f64,
        /// Expected, cores.
        expected: f64,
    },
    /// It slows its instance down.
    Harmful {
        /// Median latency with it over that without.
        slowdown: f64,
        /// The most that was allowed.
        bound: f64,
    },
}
