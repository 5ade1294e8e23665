//! Stretches of a series in which more fail than before and after.

use cohort_model::At;

use super::FAILED_MIN;
use super::series::Cell;

/// How much likelier, in nats, two rates than one must be: beyond what chance makes of the best of
/// some thousand stretches, asked every second for hours.
const GAIN_MIN: f64 = 16.0;
/// Times as many fail, at least.
const TIMES_MIN: f64 = 3.0;
/// Times as many fail in a second: when calls become fewer, those that fail late are not more than before.
const TIMES_A_SECOND_MIN: f64 = 2.0;
/// What was before is known from so many calls, and so long, microseconds.
const CALLS_BEFORE_MIN: f64 = 20.0;
const BEFORE_US: u64 = 2_000_000;
/// Stretches taken out of one series.
const STRETCHES_MAX: usize = 4;

/// A stretch of a series, and what was before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    /// Cells.
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) since: At,
    pub(super) until: At,
    pub(super) failed: f64,
    pub(super) calls: f64,
    pub(super) failed_before: f64,
    pub(super) calls_before: f64,
    /// Nats by which two rates are likelier than one.
    pub(super) gain: f64,
}

impl Stretch {
    pub(super) fn rate(&self) -> f64 {
        self.failed / self.calls.max(1.0)
    }

    pub(super) fn span_us(&self) -> u64 {
        self.until.since(self.since)
    }

    pub(super) fn confidence(&self) -> f64 {
        (1.0 - (-self.gain / 4.0).exp()).clamp(0.5, 0.9999)
    }
}

/// Bursts of a series, and its cells outside of them.
pub(super) fn without_bursts(cells: &[Cell]) -> (Vec<Stretch>, Vec<Cell>) {
    let mut places: Vec<usize> = (0..cells.len()).collect();
    let mut bursts = Vec::new();
    while bursts.len() < STRETCHES_MAX {
        let left: Vec<Cell> = places.iter().map(|place| cells[*place]).collect();
        let Some(found) = best(&left, false).filter(|found| found.gain >= GAIN_MIN) else {
            break;
        };
        let burst = Stretch {
            from: places[found.from],
            to: places[found.to - 1] + 1,
            ..found
        };
        places.drain(found.from..found.to);
        bursts.push(burst);
    }
    let rest = places.iter().map(|place| cells[*place]).collect();
    (bursts, rest)
}

/// The stretch up to the end from which on more fail, sure or not.
pub(super) fn rising(cells: &[Cell]) -> Option<Stretch> {
    best(cells, true)
}

/// The likeliest stretch of higher rate that has something before it.
fn best(cells: &[Cell], to_the_end: bool) -> Option<Stretch> {
    let mut sums = vec![(0.0, 0.0, 0.0)];
    let (mut failed, mut calls, mut span_s) = (0.0, 0.0, 0.0);
    for cell in cells {
        failed += cell.failed;
        calls += cell.calls;
        span_s += cell.at.since(cell.from) as f64 / 1e6;
        sums.push((failed, calls, span_s));
    }
    if failed < FAILED_MIN {
        return None;
    }
    let began = cells.first()?.from;
    let whole = likelihood(failed, calls);
    let mut found: Option<Stretch> = None;
    // A stretch begins and ends with a cell in which calls failed.
    let failing = |place: &usize| cells[*place].failed > 0.0;
    for from in (1..cells.len()).filter(failing) {
        let (failed_before, calls_before, before_s) = sums[from];
        let known = calls_before >= CALLS_BEFORE_MIN && cells[from].from.since(began) >= BEFORE_US;
        if !known {
            continue;
        }
        let first_end = if to_the_end { cells.len() } else { from + 1 };
        for to in (first_end..=cells.len()).filter(|to| to_the_end || failing(&(to - 1))) {
            let inside = (sums[to].0 - failed_before, sums[to].1 - calls_before);
            let outside = (failed - inside.0, calls - inside.1);
            let usual = (outside.0 + 0.5) / (outside.1 + 1.0);
            if inside.0 < FAILED_MIN || inside.0 < TIMES_MIN * usual * inside.1 {
                continue;
            }
            let inside_s = sums[to].2 - before_s;
            let usual_a_second = outside.0 / (span_s - inside_s).max(1e-3);
            if inside.0 < TIMES_A_SECOND_MIN * usual_a_second * inside_s {
                continue;
            }
            let gain = likelihood(inside.0, inside.1) + likelihood(outside.0, outside.1) - whole;
            if found.as_ref().is_none_or(|best| gain > best.gain) {
                found = Some(Stretch {
                    from,
                    to,
                    since: cells[from].from,
                    until: cells[to - 1].at,
                    failed: inside.0,
                    calls: inside.1,
                    failed_before,
                    calls_before,
                    gain,
                });
            }
        }
    }
    found
}

/// Logarithm of the likelihood of so many failures at the rate that makes them likeliest.
fn likelihood(failed: f64, calls: f64) -> f64 {
    let passed = calls - failed;
    let part = |of: f64| {
        if of > 0.0 {
            of * (of / calls).ln()
        } else {
            0.0
        }
    };
    part(failed) + part(passed)
}
