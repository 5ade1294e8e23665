//! Whether a helper costs what it may.

use cohort_model::{HelperOffer, HelperWithdrawal as Withdrawal};

use crate::terms::Cost;

/// Measures before it counts: one alone may be the host's doing.
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
    /// Sum of all measures, cores, and how many there were.
    all: f64,
    measures: u32,
    harmful: u32,
}

impl Meter {
    /// Takes a measure in; why the helper has to go, when it has.
    pub(crate) fn take(&mut self, cost: Cost, offer: &HelperOffer) -> Option<Withdrawal> {
        self.cores = cost.cores;
        let most = (offer.cores * CORES_FACTOR).max(CORES_LEAST);
        self.all += cost.cores;
        self.measures += 1;
        // On average: what was recorded for long is read in a moment.
        let average = self.all / f64::from(self.measures);
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
        (self.measures >= BEYOND_MAX && average > most).then_some(Withdrawal::Costly {
            cores: average,
            expected: offer.cores,
        })
    }
}
