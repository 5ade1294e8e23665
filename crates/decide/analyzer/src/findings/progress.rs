//! Stalls, and tests that are slow against their own history.

use cohort_model::Estimate;

use crate::findings::{Judgement, confidence, measured};
use crate::windows::Window;

/// CPU use below which nothing is done. Cores.
const CPU_FLOOR: f64 = 0.005;
/// Times its p90 from which on a test is slow.
const SLOW_RATIO: f64 = 3.0;
/// Own runs that a history needs.
const SLOW_RUNS_MIN: u32 = 3;

/// Whether anything was done in the window.
pub(crate) fn shows_life(window: &Window) -> bool {
    window.cores >= CPU_FLOOR || window.moved > 0 || window.tasks_changed
}

/// `still_s`: seconds without a sign of life.
pub(crate) fn stall(still_s: f64, threshold_s: f64) -> Judgement {
    if still_s < threshold_s {
        return Judgement::Ends;
    }
    Judgement::Begins(
        confidence(still_s, threshold_s, 6.0 * threshold_s),
        vec![measured("without cpu, io or new tasks", still_s, "s")],
    )
}

/// `margin_s`: seconds beyond p90 that it takes at least. Ends only with its thread.
pub(crate) fn slow(elapsed_s: f64, expected: &Estimate, margin_s: f64) -> Judgement {
    let p90_s = expected.wall_us.p90 / 1e6;
    let known = expected.runs >= SLOW_RUNS_MIN && p90_s.is_finite() && p90_s > 0.0;
    if !known || elapsed_s <= SLOW_RATIO * p90_s || elapsed_s <= p90_s + margin_s {
        return Judgement::Stays;
    }
    Judgement::Begins(
        confidence(f64::from(expected.runs), 0.0, 8.0),
        vec![
            measured("elapsed", elapsed_s, "s"),
            measured("nine in ten took at most", p90_s, "s"),
            measured("earlier runs", f64::from(expected.runs), "runs"),
        ],
    )
}
