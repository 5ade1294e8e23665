//! The hub: one loop that turns everything that happens into observations, has the orchestrator
//! decide, and carries its decisions out.
//!
//! ```text
//!   inits, pytest, telemetry, signals ─▶ events ─▶ observations ─▶ log ─▶ step ─▶ log ─▶ deeds
//!                                                                               └▶ faces
//! ```
//!
//! Promise: what is decided was logged first, with all it rests on; what is shown was logged
//! first; and when the campaign ends, however it ends, nothing that was made for it is left.

mod attempts;
mod capsules;
mod cases;
mod closing;
mod deeds;
mod discover;
mod event;
mod ground;
mod instance;
mod instrument;
mod keeper;
mod kept;
mod ledger;
mod located;
mod past;
mod python;
mod recipe_run;
mod seat;
pub mod service;
mod shell;
mod stood;
mod surroundings;
mod symptoms;
mod threads;
mod workers;

pub use cases::{Cases, Repeat, Work};
pub use ledger::Face;
pub use past::{Difference, Past, PastError, Replay, replay};
pub use seat::{Seat, Seated, sit};

use std::path::PathBuf;

use cohort_host::HostBudget;
use cohort_model::{Budget, CampaignEnd, Estimate, Isolation, Plan, Policy};
use cohort_store::{Campaign, Project};
pub use cohort_workload::Show;
use cohort_workload::{Progress, Suite};

/// What a campaign is to be.
pub struct Setup {
    /// Where it is kept. Its lock is held by the caller.
    pub project: Project,
    /// Directory of the project.
    pub root: PathBuf,
    /// What is run.
    pub suite: Suite,
    /// What it may use. Whether memory can be held is found out.
    pub budget: Budget,
    /// How it decides.
    pub policy: Policy,
    /// Namespaces of its instances.
    pub isolation: Isolation,
    /// A load-sensitive test fails the campaign.
    pub strict: bool,
    /// Readings of an instance in a second.
    pub hz: f64,
    /// How edge cases are tried again; none: they are not.
    pub cases: Option<Cases>,
    /// An interrupted campaign that is to be finished.
    pub resume: Option<(Campaign, Past)>,
    /// This very program: its argument `instance-init` starts the init of an instance.
    pub executable: PathBuf,
    /// Told how far discovery is.
    pub progress: Box<dyn FnMut(Progress) + Send>,
}

/// What would be run, and what is expected of it.
#[derive(Debug)]
pub struct Preview {
    /// The tests.
    pub plan: Plan,
    /// What each is expected to need.
    pub estimates: Vec<Estimate>,
    /// What may be used.
    pub budget: Budget,
    /// What limits that.
    pub host: HostBudget,
    /// What the suite's adapter has to say.
    pub notes: Vec<String>,
    /// What this host cannot do.
    pub missing: Vec<String>,
}

/// What became of a campaign.
#[derive(Debug)]
pub struct Outcome {
    /// Where it is kept.
    pub campaign: Campaign,
    /// How it ended.
    pub end: CampaignEnd,
    /// What the suite's adapter had to say.
    pub notes: Vec<String>,
    /// What the suite's own runner said at its end.
    pub said: String,
    /// What could not be removed, in words.
    pub left: Vec<String>,
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The suite cannot be built or listed.
    #[error(transparent)]
    Suite(#[from] cohort_workload::Error),
    /// pytest cannot collect.
    #[error(transparent)]
    Pytest(#[from] cohort_workload::pytest::Error),
    /// The campaign directory cannot be used.
    #[error(transparent)]
    Store(#[from] cohort_store::Error),
    /// Control groups said no.
    #[error(transparent)]
    Group(#[from] cohort_host::cgroup::Error),
    /// An init cannot be started.
    #[error(transparent)]
    Init(#[from] cohort_host::init::Error),
    /// A message to an init cannot be written.
    #[error(transparent)]
    Frame(#[from] cohort_host::init::protocol::Error),
    /// A message to pytest cannot be written.
    #[error(transparent)]
    Line(#[from] cohort_workload::pytest::protocol::Error),
    /// The collector cannot be started.
    #[error(transparent)]
    Telemetry(#[from] cohort_telemetry::Error),
    /// The system said no.
    #[error("{what}")]
    Host {
        /// What was tried.
        what: String,
        /// What it said.
        source: std::io::Error,
    },
    /// A test that is named is not there.
    #[error("none of the {tests} tests is or holds `{wanted}`; `cohort run --dry-run` lists some")]
    NoSuchTest {
        /// As it was named.
        wanted: String,
        /// How many tests there are.
        tests: usize,
    },
    /// The user stopped it before it began.
    #[error("stopped before any test was run")]
    Stopped,
    /// The script, or what it asks for, makes no sense; with its file and line.
    #[error("{0}")]
    Scenario(String),
    /// The server cannot be had.
    #[error(transparent)]
    Service(#[from] cohort_service::Error),
}

/// Runs a campaign to its end. `faces` is called once the campaign has a directory, and told which
/// output the user's own arguments ask to see.
///
/// # Errors
/// Anything that keeps it from beginning; what goes wrong later is in its [`Outcome`].
pub fn run(
    setup: Setup,
    faces: impl FnOnce(&Campaign, Show) -> Vec<Box<dyn Face>>,
) -> Result<Outcome, Error> {
    runtime()?.block_on(async move {
        let discovered = discover::discover(setup, false).await?;
        shell::conduct(discovered, faces).await
    })
}

/// Finds out what would be run, and runs nothing.
///
/// # Errors
/// As [`run`].
pub fn preview(setup: Setup) -> Result<Preview, Error> {
    runtime()?.block_on(async move {
        let discovered = discover::discover(setup, true).await?;
        Ok(discovered.preview().await)
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Host {
            what: "start the event loop".to_owned(),
            source,
        })
}
