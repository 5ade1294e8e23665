//! Endpoints that are slow: against the other instances, against their own past, or more and more.
//!
//! What makes everything slow (load, a busy host, a smaller allotment) is no fault of an endpoint.
//! The other endpoints are the control: from the logarithm of an endpoint's median latency, that
//! by which the others have risen at the same time (their median) is taken away. Where there is no
//! control, load and host must have stayed as they were.

mod growing;
mod past;
mod peers;

use std::collections::BTreeMap;

use cohort_model::At;

use crate::statistics::median;

pub(super) use growing::conclude as growing;
pub(super) use past::conclude as against_past;
pub(super) use peers::conclude as against_peers;

/// Times its peers, its past, from which on an endpoint is slow; and by so much at
/// least, microseconds.
const RATIO_MIN: f64 = 2.0;
const DIFFERENCE_MIN_US: f64 = 8_000.0;
/// Without other endpoints as control, or under changing load, this ratio.
const RATIO_ALONE_MIN: f64 = 3.0;
/// The same on a host that is busy, and was as busy before.
const RATIO_BUSY_MIN: f64 = 8.0;
const PATIENCE_US: u64 = 20_000_000;
/// Our own change of an allotment explains what begins within this time of it.
const OWN_CHANGE_US: u64 = 6_000_000;

/// Latency by endpoint at one time: calls and median, microseconds.
struct Cell {
    at: At,
    threads: f64,
    busy: f64,
    endpoints: BTreeMap<u32, (f64, f64)>,
}

/// The logarithm of the latency of one endpoint, cell by cell, with what all share taken away.
struct Specific {
    /// Place of the cell, and value.
    values: Vec<(usize, f64)>,
    /// Endpoints that served as control.
    controls: usize,
}

fn specific(cells: &[Cell], endpoint: u32) -> Specific {
    let mut levels: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for cell in cells {
        for (other, (_, latency)) in &cell.endpoints {
            levels
                .entry(*other)
                .or_default()
                .push(latency.max(1.0).ln());
        }
    }
    // A control is called in most cells.
    levels.retain(|other, known| *other != endpoint && known.len() * 3 >= cells.len() * 2);
    let usual: BTreeMap<u32, f64> = levels
        .iter_mut()
        .map(|(other, known)| (*other, median(known)))
        .collect();
    let values = cells
        .iter()
        .enumerate()
        .filter_map(|(place, cell)| {
            let (_, latency) = cell.endpoints.get(&endpoint)?;
            let mut shared: Vec<f64> = usual
                .iter()
                .filter_map(|(other, level)| {
                    Some(cell.endpoints.get(other)?.1.max(1.0).ln() - level)
                })
                .collect();
            Some((place, latency.max(1.0).ln() - shared_by_most(&mut shared)))
        })
        .collect();
    Specific {
        values,
        controls: usual.len(),
    }
}

/// By how much controls have risen: their median, and of two in the middle what both have, since what
/// only half of them do is not shared.
fn shared_by_most(rises: &mut [f64]) -> f64 {
    rises.sort_unstable_by(f64::total_cmp);
    let Some(last) = rises.len().checked_sub(1) else {
        return 0.0;
    };
    let (lower, upper) = (rises[last / 2], rises[last.div_ceil(2)]);
    lower.max(0.0) + upper.min(0.0)
}

#[cfg(test)]
mod tests {
    use super::shared_by_most;

    #[test]
    fn what_half_of_the_controls_do_is_not_shared() {
        let cases: [(&[f64], f64); 6] = [
            (&[], 0.0),
            (&[0.7], 0.7),
            (&[2.0, 0.1], 0.1),
            (&[-2.0, -0.3], -0.3),
            (&[-2.0, 1.0], 0.0),
            (&[3.0, -1.0, 0.5], 0.5),
        ];
        for (rises, shared) in cases {
            let found = shared_by_most(&mut rises.to_vec());
            assert!((found - shared).abs() < 1e-9, "{rises:?}: {found}");
        }
    }
}
