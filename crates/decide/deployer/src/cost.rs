//! Whether a helper costs what it may.

use cohort_model::{HelperOffer, HelperWithdrawal as Withdrawal};

use crate::terms::Cost;

/// Measures in a row beyond the bound before it counts: one alone may be the host's doing.
const BEYOND_MAX: u32 = 3;
/// A helper may use so much more than it is expected to: expectations are of other hosts.
const CORES_FACTOR: f64 = 2.0;
/// And so much at least, cores: below that the measure is coarse.
const CORES_LEAST: f64 = 0.02;

/// Measures of one deployment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meter {
    /// Last CPU measured, cores.
    pub(crate) cores: f64,
    costly: u32,
    harmful: u32,
}

impl Meter {
    /// Takes a measure in; why the helper has to go, when it has.
    pub(crate) fn take(&mut self, cost: Cost, offer: &HelperOffer) -> Option<Withdrawal> {
        self.cores = cost.cores;
        let most = (offer.cores * CORES_FACTOR).max(CORES_LEAST);
        self.costly = if cost.cores > most {
            self.costly + 1
        } else {
            0
        };
        match cost.slowdown {
            Some(slowdown) if slowdown > offer.slowdown_max => self.harmful += 1,
            Some(_) => self.harmful = 0,
            None => {}
        }
        if self.harmful >= BEYOND_MAX {
            return Some(Withdrawal::Harmful {
                slowdown: cost.slowdown.unwrap_or(offer.slowdown_max),
                bound: offer.slowdown_max,
            });
        }
        (self.costly >= BEYOND_MAX).then_some(Withdrawal::Costly {
            cores: cost.cores,
            expected: offer.cores,
        })
    }
}
