//! What stands in the first entry of a capsule.

use std::collections::BTreeMap;

use cohort_model::{Case, Condition, SuiteKind, TestId};
use serde::{Deserialize, Serialize};

use crate::{Build, FORMAT, Host};

/// What a case is, what ran, and under which conditions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format. Stays the first field in every version.
    pub(crate) format: u32,
    /// Version of the program that made it.
    pub made_by: String,
    /// When, seconds since 1970.
    pub made_unix_s: u64,
    /// All that is known of the case.
    pub case: Case,
    /// Name of the test, or the endpoint.
    pub name: String,
    /// Of its symptom.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fingerprint: String,
    /// Names of the tests that the case speaks of by number (what ran before and beside it).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tests: BTreeMap<TestId, String>,
    /// What was run.
    pub ran: Ran,
    /// The environment, without what was left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Names of variables whose values were left out since they are, or look like, secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// The seed that the suite or the load was run with, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// What it may use when it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allotted: Option<Allotted>,
    /// What was set otherwise when it failed, if anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Of which build it is.
    #[serde(default)]
    pub build: Build,
    /// On what it ran.
    pub host: Host,
    /// What was too large to be kept whole, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub omitted: Vec<String>,
    /// What follows in the file; filled in as it is written.
    #[serde(default)]
    pub(crate) entries: Vec<Entry>,
}

/// What was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Ran {
    /// One test of a suite.
    Test {
        /// Which adapter.
        suite: SuiteKind,
        /// The suite's command as it would be typed without Cohort.
        command: Vec<String>,
        /// What was executed: relative to the project's directory when it is in it.
        program: String,
        /// Its arguments.
        args: Vec<String>,
        /// Working directory, relative to the project's; empty: that one.
        directory: String,
    },
    /// Requests to a server.
    Service {
        /// The server's command.
        command: Vec<String>,
        /// Names of attachments: the threads' journals, in their order.
        journals: Vec<String>,
        /// Name of the attachment that holds the script; empty when there is none.
        script: String,
    },
}

/// What an instance could use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Allotted {
    /// Cores it may use at most; 0: all of the host's.
    pub cores: f64,
    /// Memory in bytes.
    pub memory: u64,
    /// More threads than cores ran, or it waited for a CPU.
    pub crowded: bool,
}

/// An attachment as it is told in the manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Bytes.
    pub(crate) size: u64,
    /// SHA-256, hexadecimal.
    pub(crate) sha256: String,
}

impl Manifest {
    /// Of a case that `ran`; `made_by` is the version of the program, `unix_s` seconds since 1970.
    #[must_use]
    pub fn new(case: Case, name: &str, ran: Ran, made_by: &str, unix_s: u64) -> Self {
        Self {
            format: FORMAT,
            made_by: made_by.to_owned(),
            made_unix_s: unix_s,
            case,
            name: name.to_owned(),
            fingerprint: String::new(),
            tests: BTreeMap::new(),
            ran,
            environment: BTreeMap::new(),
            left_out: Vec::new(),
            seed: None,
            allotted: None,
            conditions: Vec::new(),
            build: Build::default(),
            host: Host::default(),
            omitted: Vec::new(),
            entries: Vec::new(),
        }
    }
}
