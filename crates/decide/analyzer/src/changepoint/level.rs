//! Has the level of a growing series changed, and does the change hold to its end?
//!
//! The place is that at which medians before and after leave the least unexplained (least absolute
//! deviations). Their difference, in units of its own standard error (from the median deviation
//! within each side, so a few spikes are nothing; inflated for neighbouring values being alike),
//! must exceed what chance gives the greatest of as many differences as there are places.

use crate::statistics::{autocorrelation, median, normal_tail};

/// Values on either side, at least.
const SIDE_MIN: usize = 5;
/// Only this many values, the latest, are looked at.
const VALUES_MAX: usize = 512;
/// Places tried at most; the best one is then refined to a single value.
const PLACES_MAX: usize = 64;
/// Probability of naming a change where there is none.
const CHANCE: f64 = 1e-4;
/// Correlation that is allowed for at least: telemetry is never independent.
const MEMORY_MIN: f64 = 0.2;

/// A change of level that holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Index of the first value after it.
    pub at: usize,
    /// Median before it.
    pub before: f64,
    /// Median after it.
    pub after: f64,
    /// One less the probability of it by chance, at most 0.9999.
    pub confidence: f64,
}

/// The change of level that explains `series` best, when there is one beyond chance. Values that
/// are not finite are left out of the medians. O(n log n) with a bounded number of places.
#[must_use]
pub fn change_since(series: &[f64]) -> Option<Change> {
    let skipped = series.len().saturating_sub(VALUES_MAX);
    let (places, values): (Vec<usize>, Vec<f64>) = series
        .iter()
        .copied()
        .enumerate()
        .skip(skipped)
        .filter(|(_, v)| v.abs() < 1e150)
        .unzip();
    let n = values.len();
    if n < 2 * SIDE_MIN {
        return None;
    }
    let tried = n - 2 * SIDE_MIN + 1;
    let stride = tried.div_ceil(PLACES_MAX);
    let error = |at: usize| away(&values[..at]) + away(&values[at..]);
    let best_of = |from: usize, to: usize, stride: usize| {
        (from..to)
            .step_by(stride)
            .min_by(|a, b| error(*a).total_cmp(&error(*b)))
    };
    let coarse = best_of(SIDE_MIN, n - SIDE_MIN + 1, stride)?;
    let near = best_of(
        coarse.saturating_sub(stride).max(SIDE_MIN),
        (coarse + stride).min(n - SIDE_MIN) + 1,
        1,
    )?;
    let found = split(&values, near)?;
    let chance = (2.0 * normal_tail(found.z.abs()) * tried as f64).min(1.0);
    (chance < CHANCE).then_some(Change {
        at: places[near],
        before: found.before,
        after: found.after,
        confidence: (1.0 - chance).min(0.9999),
    })
}

/// How far the values are from their median, in all.
fn away(values: &[f64]) -> f64 {
    let centre = median(&mut values.to_vec());
    values.iter().map(|v| (v - centre).abs()).sum()
}

struct Split {
    before: f64,
    after: f64,
    z: f64,
}

fn split(values: &[f64], at: usize) -> Option<Split> {
    let (left, right) = values.split_at(at);
    let before = median(&mut left.to_vec());
    let after = median(&mut right.to_vec());
    let residuals: Vec<f64> = left
        .iter()
        .map(|v| v - before)
        .chain(right.iter().map(|v| v - after))
        .collect();
    let memory = autocorrelation(&residuals).max(MEMORY_MIN);
    let error = |part: &[f64], centre: f64| {
        let mut away: Vec<f64> = part.iter().map(|v| (v - centre).abs()).collect();
        // 1.4826: standard deviation of a normal by its median deviation; 1.2533: standard error
        // of a median by that of a mean; few values: their spread is known less well.
        let spread = 1.4826 * median(&mut away) * (1.0 + 2.0 / part.len() as f64);
        (1.2533 * spread).powi(2) / part.len() as f64
    };
    let scale = before.abs().max(after.abs());
    // Equal values have no spread: what rounding could do is not a change.
    let variance = (error(left, before) + error(right, after)) * (1.0 + memory) / (1.0 - memory)
        + (1e-9 * scale).powi(2);
    (variance > 0.0).then(|| Split {
        before,
        after,
        z: (after - before) / variance.sqrt(),
    })
}
