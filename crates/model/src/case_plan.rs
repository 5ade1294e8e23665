//! What a campaign of a suite is to do about edge cases.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{CaseId, CaseVerdict, ConditionKind, Recipe, Subject, Symptom, TestId};

/// How edge cases are tried again in a campaign of a suite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CasePlan {
    /// Share of the cores' time that it may take while other tests wait, 0 to 1.
    pub share: f64,
    /// How long it may go on after the last test, microseconds.
    pub after_us: u64,
    /// All that is drawn at random follows from it.
    pub seed: u64,
    /// What can be varied here.
    pub able: BTreeSet<ConditionKind>,
    /// Failing and passing runs of a case, of each so many, whose lines are recorded; 0: none.
    #[serde(default)]
    pub coverage: u32,
    /// Programs have to be built anew before their lines can be recorded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub instrument: bool,
    /// Variables of the environment that a test may need, by name; without those that every program needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<String>,
    /// Other builds of a server, on which what was reproduced is played too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<String>,
    /// The number of the first case that is opened.
    pub first_case: u32,
    /// What earlier campaigns closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<KnownCase>,
    /// The campaign is for this alone, and no test is run for its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<CaseWork>,
}

/// A campaign that is for edge cases alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "work", rename_all = "snake_case")]
pub enum CaseWork {
    /// Tests that have not failed are run under varied conditions, until the probability that one fails
    /// more often than `rate` is below `doubt`.
    Stress {
        /// Which.
        tests: Vec<TestId>,
        /// Failure rate that would be too much, 0 to 1.
        rate: f64,
        /// Probability of being wrong about it, 0 to 1.
        doubt: f64,
    },
    /// One recipe is run so many times, and it is counted how often it fails.
    Repeat {
        /// Which case it is of.
        case: CaseId,
        /// Its test.
        test: TestId,
        /// How it looked; none: whatever fails counts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        symptom: Option<Box<Symptom>>,
        /// How it is run.
        recipe: Recipe,
        /// How many times.
        runs: u32,
    },
}

/// A case that an earlier campaign closed, in the words of this one's plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KnownCase {
    /// Its number.
    pub case: CaseId,
    /// What it is about.
    pub subject: Subject,
    /// How it looked.
    pub symptom: Symptom,
    /// The smallest recipe that was seen to fail.
    pub smallest: Recipe,
    /// How often that failed then, 0 to 1; 0 when it is not known.
    pub rate: f64,
    /// What had become of it.
    pub verdict: CaseVerdict,
    /// It showed only on a server that had run for so long, microseconds; 0: on any.
    #[serde(default, skip_serializing_if = "is_zero_us")]
    pub age_us: u64,
    /// A call of its endpoint that takes so long is slow, microseconds; 0: that is not what it is about.
    #[serde(default, skip_serializing_if = "is_zero_us")]
    pub bound_us: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
fn is_zero_us(us: &u64) -> bool {
    *us == 0
}
