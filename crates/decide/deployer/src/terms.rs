//! What goes into the deployer and what comes out.

use cohort_model::{HelperWithdrawal, InstanceId};

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
        /// One that is well, which it is compared with.
        reference: Option<InstanceId>,
        /// Number of the finding that is the reason.
        finding: u32,
    },
    /// Take it away.
    Withdraw {
        /// Which.
        deployment: u32,
        /// Why.
        why: HelperWithdrawal,
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
