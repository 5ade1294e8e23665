//! What stands in the event log, in order. The same records are the contract with every face
//! (terminal, summary, JUnit, `--events`).

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    Area, At, Case, CasePlan, Change, Decision, Finding, GroupId, Isolation, Observation, Policy,
    ServiceDecision, ServiceFinding, ServicePlan, ServiceSeen, ServiceTotals, SuiteKind, TestCase,
    TestHistory, TestResult,
};

/// What the campaign may use of this host.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Budget {
    /// Cores.
    pub cores: f64,
    /// Memory for the instances, bytes.
    pub memory: u64,
    /// Most instances at once.
    pub instances: u32,
    /// A thread that runs longer is killed, microseconds.
    pub timeout_us: u64,
    /// A thread that stands still longer is killed, microseconds.
    pub stall_us: u64,
    /// Whether a thread that reaches its memory limit is held (cgroups) or nothing can be enforced.
    pub holds_memory: bool,
}

/// First record of a campaign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CampaignStart {
    /// [`crate::FORMAT`].
    pub format: u32,
    /// Name of the campaign, unique in its project.
    pub campaign: String,
    /// Version of Cohort.
    pub version: String,
    /// Which adapter.
    pub suite: SuiteKind,
    /// The suite's command as given.
    pub command: Vec<String>,
    /// Where the command ran, relative to the project that keeps the campaign; empty: in its root.
    #[serde(default)]
    pub directory: String,
    /// Seconds since 1970 when it started.
    pub unix_s: u64,
    /// Microseconds that building and listing took before it started.
    #[serde(default)]
    pub preparing_us: u64,
    /// What it may use.
    pub budget: Budget,
    /// How it decides.
    pub policy: Policy,
    /// Namespaces of its instances.
    pub isolation: Isolation,
    /// What this host cannot do for it, one sentence each.
    pub missing: Vec<String>,
    /// A load-sensitive test fails the campaign.
    pub strict: bool,
}

/// The tests of the campaign, or, after an interruption, what is left of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// Names of the groups, by [`crate::GroupId`].
    pub groups: Vec<String>,
    /// All tests, by [`crate::TestId`].
    pub tests: Vec<TestCase>,
    /// What is known of them from earlier campaigns, by test id. Absent: never seen.
    #[serde(
        default,
        deserialize_with = "numbered",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub history: BTreeMap<u32, TestHistory>,
    /// Results that already stand, from before an interruption.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub concluded: Vec<TestResult>,
    /// Tests of one group are cheaper one after the other on the same instance (warm workers).
    pub sticky: bool,
    /// An instance is costly to open (its worker collects the tests anew), so it has to pay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub costly_instances: bool,
    /// Most threads at once that the user's own arguments allow (`--test-threads`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads_max: Option<u32>,
    /// The campaign stops at this many failed tests (`--maxfail`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures_max: Option<u32>,
    /// Groups whose tests run one after the other on one instance, whatever that costs in time
    /// (`--dist loadfile`).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub together: BTreeSet<GroupId>,
    /// How edge cases are tried again; none: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cases: Option<CasePlan>,
}

/// Reads numbers back that JSON wrote as the names of an object; within a tagged enum serde takes them
/// for text.
pub(crate) fn numbered<'de, D, T>(input: D) -> Result<BTreeMap<u32, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let named = BTreeMap::<String, T>::deserialize(input)?;
    let number = |(name, value): (String, _)| Ok((name.parse().map_err(Error::custom)?, value));
    named.into_iter().map(number).collect()
}

/// How a campaign ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Every test has a result.
    Complete,
    /// The user stopped it.
    Interrupted,
    /// Something that Cohort needs went away (a full disk, a lost collector).
    Broken,
}

/// Last record of a campaign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CampaignEnd {
    /// How.
    pub ending: Ending,
    /// In words, when something went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Exit code of the suite's own runner, when it found fault though no test failed (too little
    /// covered, a plugin that broke).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite_exit: Option<i32>,
}

/// One record of the event log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// The campaign started, or was resumed.
    Started(CampaignStart),
    /// Its tests are known; deciding begins anew from here.
    Planned(Plan),
    /// What the orchestrator was told in one step. Logged before it decides.
    Seen {
        /// When.
        at: At,
        /// What.
        observations: Vec<Observation>,
    },
    /// What it concluded and decided in that step.
    Decided {
        /// When.
        at: At,
        /// What the analyzer concluded.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        findings: Vec<Finding>,
        /// Edge cases of which more is known now.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        cases: Vec<Case>,
        /// What is to be done.
        decisions: Vec<Decision>,
    },
    /// What a campaign of a service is to be; deciding begins from here.
    ServicePlanned(ServicePlan),
    /// What the orchestrator of a service was told in one step. Logged before it decides.
    ServiceSeen {
        /// When.
        at: At,
        /// What.
        seen: Vec<ServiceSeen>,
    },
    /// What it concluded and decided in that step.
    ServiceDecided {
        /// When.
        at: At,
        /// What the analyzer concluded, or what became of an earlier conclusion.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        findings: Vec<ServiceFinding>,
        /// The areas, when they are seen anew.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        areas: Vec<Area>,
        /// Edge cases of which more is known now.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        cases: Vec<Case>,
        /// Changes begun or judged.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        changes: Vec<Change>,
        /// What is to be done.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        decisions: Vec<ServiceDecision>,
    },
    /// What the scenario of a service came to.
    ServiceTotals(ServiceTotals),
    /// The campaign ended.
    Ended(CampaignEnd),
}
