//! What a machine is told once, when it is made: who it is and what it is to run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Bytes of JavaScript heap a machine may use when nobody says otherwise.
pub const MEMORY_LIMIT_BYTES: usize = 64 << 20;

/// Everything that distinguishes one machine from another of the same script. Together with the script and the journal
/// it determines the state of a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Birth {
    /// What the machine is for.
    pub role: Role,
    /// Number of the virtual user over the whole campaign, from 1 (`__VU`, `exec.vu.idInTest`). 0 for setup and teardown.
    pub vu: u64,
    /// Number of the virtual user on its agent, from 1 (`exec.vu.idInInstance`).
    pub vu_in_instance: u64,
    /// Seed of `Math.random` and `crypto.randomBytes`; mixed with `vu`, so that all machines may be given the same one.
    pub seed: u64,
    /// `__ENV`: the campaign's environment, overridden by the scenario's `env`.
    pub env: BTreeMap<String, String>,
    /// What `setup()` returned, as JSON; `None` when there is none or it returned nothing.
    pub setup_data: Option<String>,
    /// Bytes of JavaScript heap and of held response bodies the machine may use.
    pub memory_limit_bytes: usize,
    /// What URLs that begin with `/` are appended to, and `__ENV.BASE_URL` where the environment does not say otherwise.
    pub base_url: String,
    /// The scenario the machine works for.
    pub scenario: ScenarioInfo,
    /// Tags of every sample and request of the machine (options `tags` and the scenario's `tags`).
    pub tags: BTreeMap<String, String>,
    /// The options in force as JSON (`exec.test.options`); `None` takes what the script exports.
    pub options: Option<String>,
}

/// What a machine is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Role {
    /// Runs iterations of the scenario's function, one for each permit, until it is terminated.
    Iterations,
    /// Runs `setup()` once and ends with what it returned.
    Setup,
    /// Runs `teardown(data)` once and ends.
    Teardown,
    /// Runs `handleSummary(data)` once and ends with what it returned: an object of file name (or `stdout`, `stderr`) to text.
    Summary {
        /// The data handed to the function, as JSON.
        data: String,
    },
}

/// A scenario, as `k6/execution` tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScenarioInfo {
    /// Its name (`default` where the script names none).
    pub name: String,
    /// Its executor, as k6 calls it: `shared-iterations`, `per-vu-iterations`, `constant-vus`, ...
    pub executor: String,
    /// The exported function an iteration calls.
    pub exec: String,
    /// When it began, in microseconds since 1970.
    pub start_unix_us: u64,
}

impl Default for ScenarioInfo {
    fn default() -> Self {
        Self {
            name: "default".into(),
            executor: "per-vu-iterations".into(),
            exec: "default".into(),
            start_unix_us: 0,
        }
    }
}

impl Default for Birth {
    fn default() -> Self {
        Self {
            role: Role::Iterations,
            vu: 1,
            vu_in_instance: 1,
            seed: 0,
            env: BTreeMap::new(),
            setup_data: None,
            memory_limit_bytes: MEMORY_LIMIT_BYTES,
            base_url: String::new(),
            scenario: ScenarioInfo::default(),
            tags: BTreeMap::new(),
            options: None,
        }
    }
}
