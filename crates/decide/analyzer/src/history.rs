//! What one test did in its latest runs, and what that makes likely for the next.
//!
//! The middle is the median of the latest eight runs, each weighing [`DECAY`] of the next younger
//! one: a run that was disturbed once does not count, a test that changed is followed within a few
//! runs. The spread is that of the logarithms around it, pulled toward [`Spread::prior`] as if
//! [`Spread::prior_weight`] more runs had shown it, so that one run does not look certain.
//! `examples/duration.rs` measures this beside the plain rules.

use cohort_model::{Quantiles, Usage};

/// Runs remembered of each test.
pub const RUNS_MAX: usize = 8;
/// Weight of a run relative to the next younger one.
const DECAY: f64 = 0.85;
/// The standard normal deviate that one in ten exceeds.
pub(crate) const Z90: f64 = 1.2816;

/// How far runs of one test are expected to differ before enough of them are known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    /// Added before taking logarithms: differences below it mean nothing.
    pub(crate) floor: f64,
    /// Standard deviation of the logarithm.
    pub(crate) prior: f64,
    /// Runs that the prior counts for.
    pub(crate) prior_weight: f64,
}

/// Wall time in microseconds: below a millisecond all is alike.
pub(crate) const WALL: Spread = Spread {
    floor: 1_000.0,
    prior: 0.5,
    prior_weight: 2.0,
};
/// Cores.
pub(crate) const CORES: Spread = Spread {
    floor: 0.02,
    prior: 0.3,
    prior_weight: 2.0,
};
/// Bytes: below a mebibyte all is alike.
pub(crate) const MEMORY: Spread = Spread {
    floor: 1_048_576.0,
    prior: 0.15,
    prior_weight: 2.0,
};

/// The latest values of one quantity, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    values: [f64; RUNS_MAX],
    length: usize,
}

impl Recent {
    /// Adds the newest value; the oldest is dropped when there are more than [`RUNS_MAX`].
    pub fn push(&mut self, value: f64) {
        if self.length == RUNS_MAX {
            self.values.copy_within(1.., 0);
            self.length -= 1;
        }
        self.values[self.length] = value;
        self.length += 1;
    }

    /// Whether nothing was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The values, oldest first.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values[..self.length]
    }

    /// Values with their weights, youngest first (weight 1).
    fn weighted(&self) -> impl Iterator<Item = (f64, f64)> {
        let mut weight = 1.0 / DECAY;
        self.values().iter().rev().map(move |value| {
            weight *= DECAY;
            (*value, weight)
        })
    }

    /// Median with weights, between the two values next to the middle; zero when empty.
    #[must_use]
    pub fn middle(&self) -> f64 {
        let mut sorted = [(0.0, 0.0); RUNS_MAX];
        let sorted = &mut sorted[..self.length];
        for (slot, pair) in sorted.iter_mut().zip(self.weighted()) {
            *slot = pair;
        }
        sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let half = sorted.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
        let mut before = 0.0;
        let mut below: Option<(f64, f64)> = None;
        for &mut (value, weight) in sorted {
            let place = before + weight / 2.0;
            match below {
                _ if place < half => below = Some((value, place)),
                None => return value,
                Some((low, at)) => return low + (value - low) * (half - at) / (place - at),
            }
            before += weight;
        }
        below.map_or(0.0, |(value, _)| value)
    }

    pub(crate) fn quantiles(&self, spread: Spread) -> Quantiles {
        let p50 = self.middle();
        let centre = (p50 + spread.floor).ln();
        let mut weights = spread.prior_weight;
        let mut squares = spread.prior_weight * spread.prior * spread.prior;
        for (value, weight) in self.weighted() {
            let off = (value + spread.floor).ln() - centre;
            weights += weight;
            squares += weight * off * off;
        }
        let deviation = (squares / weights).sqrt();
        Quantiles {
            p50,
            p90: (centre + Z90 * deviation).exp() - spread.floor,
        }
    }
}

/// The latest runs of one test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs {
    pub(crate) wall_us: Recent,
    pub(crate) cores: Recent,
    /// Only of runs whose memory was seen.
    pub(crate) memory: Recent,
    pub(crate) count: u32,
}

impl Runs {
    pub(crate) fn push(&mut self, usage: &Usage) {
        // What it would need with nothing beside it: a crowd must not teach that a test is slow, or
        // that it uses little CPU.
        let wall_us = usage.undisturbed_us() as f64;
        self.wall_us.push(wall_us);
        self.cores.push(usage.cpu_us() as f64 / wall_us.max(1.0));
        if usage.memory_peak > 0 {
            self.memory.push(usage.memory_peak as f64);
        }
        self.count = self.count.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recent(values: &[f64]) -> Recent {
        let mut recent = Recent::default();
        for value in values {
            recent.push(*value);
        }
        recent
    }

    #[test]
    fn one_disturbed_run_does_not_count() {
        let middle = recent(&[10.0, 10.0, 10.0, 10.0, 900.0]).middle();
        assert!((middle - 10.0).abs() < 1e-9, "{middle}");
    }

    #[test]
    fn a_change_is_followed_within_four_of_eight_runs() {
        let middle = recent(&[10.0, 10.0, 10.0, 10.0, 50.0, 50.0, 50.0, 50.0]).middle();
        assert!(middle > 30.0, "{middle}");
    }

    #[test]
    fn only_the_latest_eight_are_kept() {
        let values: Vec<f64> = (0..20).map(f64::from).collect();
        assert_eq!(recent(&values).values(), &values[12..]);
    }

    #[test]
    fn more_equal_runs_make_it_surer() {
        let one = recent(&[1e6]).quantiles(WALL);
        let eight = recent(&[1e6; 8]).quantiles(WALL);
        assert!(one.p90 > eight.p90 && eight.p90 > 1e6, "{one:?} {eight:?}");
    }
}
