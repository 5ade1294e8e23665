//! When something counts as a finding. Times are in seconds, so nothing depends on how often
//! instances are sampled.

use crate::leak::Rule;

/// What the analyzer is told at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Cores that the campaign may use.
    pub cores: f64,
    /// One process runs many tests (warm workers): its memory is followed across them.
    pub warm: bool,
    /// Seconds of full use, or of being held back, that are a saturation.
    pub saturation_s: f64,
    /// Seconds without work beside idle CPU that are waiting.
    pub waiting_s: f64,
    /// Seconds of memory pressure that are a finding.
    pub pressure_s: f64,
    /// Seconds of growth before it is judged.
    pub leak_s: f64,
    /// How growth is judged.
    pub leak_rule: Rule,
    /// Seconds without any sign of life that are a stall.
    pub stall_s: f64,
    /// Seconds in which many failures are a burst.
    pub burst_s: f64,
    /// Seconds beyond its own history that make a test slow (and three times its p90).
    pub slow_s: f64,
}

impl Settings {
    /// The usual thresholds. `cores` below 0.1, or not finite, counts as one core.
    #[must_use]
    pub fn new(cores: f64, warm: bool) -> Self {
        Settings {
            cores: if cores.is_finite() && cores >= 0.1 {
                cores
            } else {
                1.0
            },
            warm,
            saturation_s: 1.0,
            waiting_s: 0.5,
            pressure_s: 0.5,
            leak_s: 10.0,
            leak_rule: Rule::Shape,
            stall_s: 10.0,
            burst_s: 5.0,
            slow_s: 1.0,
        }
    }
}

/// Whole microseconds; a negative time is none.
pub(crate) fn us(seconds: f64) -> u64 {
    (seconds * 1e6) as u64
}
