//! Where does a series begin to behave otherwise? Pure functions of equally spaced values.
//!
//! [`changes`] looks back on a whole series. It compares, by a penalized likelihood:
//! - the best division into 1 to [`CHANGES_MAX`] + 1 straight lines (exact, by dynamic
//!   programming), each change priced at [`PRICE`] x ln n;
//! - no change, but a smooth curve (a polynomial of degree 2 to 4), so bending is not breaking.
//!
//! Neighbouring values that are alike count for less: the gain is weighted by
//! `sqrt((1 - r) / (1 + r))`, r being the correlation at lag one of what the richest division
//! leaves unexplained. There is nothing else to set. `examples/changepoint.rs` measures it beside
//! AMOC and binary segmentation with their usual parameters.
//!
//! [`change_since`](level::change_since) is the same question asked while a series is still
//! growing: has its level changed since some time, and does it hold to the end?

mod level;
mod lines;

pub use level::{Change, change_since};

use crate::statistics::autocorrelation;
use lines::Lines;

/// Changes named at most, and values a change needs at least (rounded up).
const CHANGES_MAX: usize = 5;
const VALUES_PER_CHANGE: usize = 30;
/// What a change must gain, in units of ln n: its place, a level and a slope, and some.
const PRICE: f64 = 3.5;
/// What a degree of a smooth curve must gain.
const DEGREE_PRICE: f64 = 2.0;
const DEGREE_MAX: usize = 4;
/// Shortest piece, as a share of the series, and its bounds.
const PIECE_SHARE: usize = 25;
const PIECE_MIN: usize = 4;
const PIECE_MAX: usize = 12;
/// A longer series is cut into this many blocks at most; a change is then named by its block.
const POINTS_MAX: usize = 1024;
/// What is left unexplained counts as this share of the variance at least.
const NOISE_MIN: f64 = 1e-6;

/// Indices at which a new behaviour begins, rising; empty when nothing changes. Values that are
/// not finite stand for their neighbour before. O(n^2) up to 1024 values, then linear.
#[must_use]
pub fn changes(values: &[f64]) -> Vec<usize> {
    let (points, block) = standardized(values);
    let n = points.len();
    if n < 2 * PIECE_MIN {
        return Vec::new();
    }
    let piece = (n / PIECE_SHARE)
        .clamp(PIECE_MIN, PIECE_MAX)
        .min((n / 5).max(2));
    let most = n.div_ceil(VALUES_PER_CHANGE).min(CHANGES_MAX);
    let lines = Lines::of(&points);
    let divisions = lines.divisions(piece, most);
    let richest = divisions.last().map_or(&[][..], |d| &d.starts);
    let memory = autocorrelation(&lines.residuals(&points, richest));
    let weight = ((1.0 - memory) / (1.0 + memory)).sqrt();
    let unit = (n as f64).ln();
    let criterion = |error: f64, price: f64| {
        weight * n as f64 * (error / n as f64).max(NOISE_MIN).ln() + price * unit
    };
    let smooth = (2..=DEGREE_MAX)
        .map(|degree| {
            criterion(
                lines::polynomial_error(&points, degree),
                DEGREE_PRICE * (degree - 1) as f64,
            )
        })
        .fold(f64::INFINITY, f64::min);
    let mut best = (smooth, &[][..]);
    for division in &divisions {
        let value = criterion(division.error, PRICE * division.starts.len() as f64);
        if value < best.0 {
            best = (value, &division.starts);
        }
    }
    best.1.iter().map(|start| start * block).collect()
}

/// Means of blocks with mean zero and variance one, and how many values a block holds.
fn standardized(values: &[f64]) -> (Vec<f64>, usize) {
    let mut last = values
        .iter()
        .copied()
        .find(|v| v.is_finite())
        .unwrap_or(0.0);
    let scale = values
        .iter()
        .filter(|v| v.is_finite())
        .fold(0.0_f64, |most, v| most.max(v.abs()));
    let scale = if scale > 0.0 { scale } else { 1.0 };
    let filled: Vec<f64> = values
        .iter()
        .map(|v| {
            if v.is_finite() {
                last = *v;
            }
            last / scale
        })
        .collect();
    let block = filled.len().div_ceil(POINTS_MAX).max(1);
    let mut points: Vec<f64> = filled
        .chunks(block)
        .map(|chunk| chunk.iter().sum::<f64>() / chunk.len() as f64)
        .collect();
    let n = points.len().max(1) as f64;
    let mean = points.iter().sum::<f64>() / n;
    let variance = points.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
    let deviation = if variance > 1e-24 {
        variance.sqrt()
    } else {
        1.0
    };
    for point in &mut points {
        *point = (*point - mean) / deviation;
    }
    (points, block)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
