//! Campaigns of a service: instances of a server under scenario threads.
//!
//! ```text
//!   agents, servers, telemetry, schedule, signals ─▶ events ─▶ seen ─▶ log ─▶ step ─▶ log ─▶ deeds
//!                                                                               └▶ faces
//! ```
//!
//! Promise: as for suites: what is decided was logged first, with all it rests on; and when the
//! campaign ends, however it ends, nothing that was made for it is left.

mod address;
mod agents;
mod begin;
mod calm;
mod deeds;
mod event;
mod examples;
mod fuzz;
mod hear;
mod helpers;
mod keep;
mod masked;
mod metrics;
mod once;
mod open;
mod orders;
mod place;
mod plan;
mod profiles;
mod reference;
mod repeat;
mod replicas;
mod scan;
mod script_log;
mod seat;
mod shell;
mod spans;
mod symptoms;
mod tally;
mod threads;
mod typed;

pub use begin::preview;
pub use cohort_service::Variant;
pub use fuzz::ServiceFuzz;
pub use helpers::ServiceHelpers;
pub use open::run;
pub use repeat::{ServiceRepeat, ServiceRepeated, repeat};
pub use scan::ServiceScan;
pub use seat::{ServiceSeat, ServiceSeated, sit};

/// What the hidden command `agent` is: drives scenario threads for the hub at its standard input.
/// Gives the exit code.
#[must_use]
pub fn agent() -> std::process::ExitCode {
    cohort_agent::main_agent(0)
}

use std::collections::BTreeMap;
use std::path::PathBuf;

use cohort_model::Policy;
use cohort_store::Project;

/// When an instance may be called.
#[derive(Clone, Debug, PartialEq)]
pub enum Ready {
    /// A request to this path is answered with this status, or with any below 400.
    Http {
        /// The path.
        path: String,
        /// The status; any below 400 when `None`.
        status: Option<u16>,
    },
    /// Its port takes connections.
    Tcp,
    /// A line of its log holds this.
    Log(String),
}

/// The software under test as a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Sut {
    /// Its command; `{port}`, `{instance}`, `{scratch}` and `{host}` stand for what each instance has.
    pub command: Vec<String>,
    /// Run once before.
    pub build: Option<Vec<String>>,
    /// Other builds of it, on which reproduced edge cases are played too.
    pub variants: Vec<Variant>,
    /// Where it runs.
    pub directory: PathBuf,
    /// Added to its environment; may hold the same words in braces.
    pub env: BTreeMap<String, String>,
    /// The port it listens on, when that cannot be chosen.
    pub port: Option<u16>,
    /// When an instance may be called; `None`: found out.
    pub ready: Option<Ready>,
    /// How long it may take until then, microseconds.
    pub ready_timeout_us: u64,
    /// The signal that ends it.
    pub stop_signal: i32,
    /// How long it may take over ending, microseconds.
    pub stop_grace_us: u64,
    /// Quick crashes in a row before it is given up.
    pub restarts: u32,
    /// Each instance has a network of its own, where the host permits it.
    pub own_network: bool,
    /// It is spoken to over TLS. Its certificate is not checked: it cannot know its address.
    pub tls: bool,
    /// Bits in a second for each instance, each way.
    pub rate: Option<u64>,
    /// A file of its output is as large as this at most, bytes.
    pub log_bytes: u64,
    /// That many files are kept.
    pub log_files: u32,
    /// It is told where to send OpenTelemetry.
    pub otel: bool,
}

/// Who calls the service.
#[derive(Clone, Debug, PartialEq)]
pub enum Driver {
    /// A k6 script.
    Script(PathBuf),
    /// A program of the user's.
    Program(Vec<String>),
}

/// The scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Who calls.
    pub driver: Driver,
    /// What stands for an instance in the script's addresses; `None`: found out.
    pub base_url: Option<String>,
    /// Other hosts that may be called.
    pub allow: Vec<String>,
    /// Environment of the script (`__ENV`) or program.
    pub env: BTreeMap<String, String>,
    /// Threads at once, whatever the script says.
    pub vus: Option<u32>,
    /// How long they run, whatever the script says, microseconds.
    pub duration_us: Option<u64>,
    /// Iterations of all together, whatever the script says.
    pub iterations: Option<u64>,
    /// Seed of all that is random.
    pub seed: u64,
}

/// How edge cases of a service are tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServiceCases {
    /// Share of what there is that it may take while the scenario runs, 0 to 1.
    pub share: f64,
    /// How long it may go on after the scenario, microseconds.
    pub after_us: u64,
}

/// What a service's campaign is to be.
pub struct ServiceSetup {
    /// Where it is kept. Its lock is held by the caller.
    pub project: Project,
    /// Directory of the project.
    pub root: PathBuf,
    /// The server.
    pub sut: Sut,
    /// Its instances.
    pub instances: u32,
    /// The scenario.
    pub scenario: Scenario,
    /// Cores for all instances.
    pub cores: f64,
    /// Memory for all instances, bytes.
    pub memory: u64,
    /// How it decides.
    pub policy: Policy,
    /// How edge cases are tried again; none: they are not.
    pub cases: Option<ServiceCases>,
    /// Whether recorded requests are changed; none: they are not.
    pub fuzz: Option<ServiceFuzz>,
    /// Which helpers are deployed on suspicion; none: none are.
    pub helpers: Option<ServiceHelpers>,
    /// Readings of an instance in a second.
    pub hz: f64,
    /// This very program.
    pub executable: PathBuf,
}

/// What would be run.
#[derive(Clone, Debug)]
pub struct Preview {
    /// Threads at once at most.
    pub threads_max: u32,
    /// How long at most, microseconds.
    pub duration_us: u64,
    /// Each scenario, in words.
    pub scenarios: Vec<String>,
    /// What the user should know.
    pub notes: Vec<String>,
}
