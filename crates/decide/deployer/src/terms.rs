//! What goes into the deployer and what comes out.

use cohort_model::{InstanceId, ServiceFindingKind};

/// What the deployer is told once.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Helpers that can be had here. For one suspicion the first that detects it is asked first.
    pub offers: Vec<Offer>,
    /// CPU that all helpers together may use, cores.
    pub cores: f64,
    /// Rest between two deployments of one helper to one instance, microseconds. Twice as long after each failure.
    pub rest_us: u64,
}

/// A helper, as far as it matters whether it is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
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
    /// Names of helpers that it gets along with.
    pub alongside: Vec<String>,
}

/// Something the deployer wants done. Safe to repeat.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Start a helper beside an instance.
    Deploy {
        /// Number of the deployment, never used before.
        deployment: u32,
        /// Name of the helper.
        helper: String,
        /// Beside which instance.
        instance: InstanceId,
        /// Number of the finding that is the reason.
        finding: u32,
    },
    /// Take it away.
    Withdraw {
        /// Which.
        deployment: u32,
        /// Why.
        why: Withdrawal,
    },
}

/// Why a helper is taken away.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Withdrawal {
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

/// What a helper costs, measured over about a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// CPU of its own, cores.
    pub cores: f64,
    /// Median latency of its instance over that without it; `None` where too few calls were answered to tell.
    pub slowdown: Option<f64>,
}

/// How a deployment ended that was not withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It has told what it found, be it nothing.
    Done,
    /// It could not be started, crashed, or what it printed is not understood.
    Failed,
}
