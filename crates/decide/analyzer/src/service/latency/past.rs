//! Endpoints that answer slower than they did, on all instances together.

use std::collections::BTreeMap;

use cohort_model::{At, ServiceFindingKind};

use super::{
    Cell, DIFFERENCE_MIN_US, OWN_CHANGE_US, PATIENCE_US, RATIO_ALONE_MIN, RATIO_BUSY_MIN,
    RATIO_MIN, specific,
};
use crate::changepoint::change_since;
use crate::findings::measured;
use crate::service::View;
use crate::service::book::{Conclusion, Key};
use crate::service::words;
use crate::statistics::median;

/// Seconds in a cell of the comparison with the past, and how far it reaches.
const CELL_S: f64 = 2.0;
const PAST_S: f64 = 120.0;

pub(in crate::service) fn conclude(view: &View<'_>, at: At, drawn: &mut Vec<Conclusion>) {
    let cells = pooled(view, at);
    let mut endpoints: Vec<u32> = cells
        .iter()
        .flat_map(|c| c.endpoints.keys().copied())
        .collect();
    endpoints.sort_unstable();
    endpoints.dedup();
    for endpoint in endpoints {
        if view.explained(endpoint) {
            continue;
        }
        if let Some(conclusion) = slower(view, &cells, endpoint) {
            drawn.push(conclusion);
        }
    }
}

/// Cells of [`CELL_S`] over all instances.
fn pooled(view: &View<'_>, at: At) -> Vec<Cell> {
    let mut cells: BTreeMap<u64, (Cell, f64)> = BTreeMap::new();
    for watched in view.instances.values() {
        for second in watched.recent(PAST_S) {
            if at.since(second.at) as f64 / 1e6 > PAST_S {
                continue;
            }
            let number = second.at.0 / (CELL_S * 1e6) as u64;
            let (cell, count) = cells.entry(number).or_insert_with(|| {
                (
                    Cell {
                        at: second.at,
                        threads: 0.0,
                        busy: 0.0,
                        endpoints: BTreeMap::new(),
                    },
                    0.0,
                )
            });
            *count += 1.0;
            cell.threads += second.threads;
            cell.busy += f64::from(u8::from(second.host_busy));
            for e in second.endpoints.iter().filter(|e| e.is_timed()) {
                let entry = cell.endpoints.entry(e.endpoint).or_insert((0.0, 0.0));
                let total = entry.0 + e.calls;
                // Means of logarithms, weighted by calls.
                entry.1 = (entry.1 * entry.0 + e.p50_us.max(1.0).ln() * e.calls) / total;
                entry.0 = total;
            }
        }
    }
    cells
        .into_values()
        .map(|(mut cell, count)| {
            cell.threads /= count;
            cell.busy /= count;
            for entry in cell.endpoints.values_mut() {
                entry.1 = entry.1.exp();
            }
            cell
        })
        .collect()
}

fn slower(view: &View<'_>, cells: &[Cell], endpoint: u32) -> Option<Conclusion> {
    let series = specific(cells, endpoint);
    let values: Vec<f64> = series.values.iter().map(|(_, v)| *v).collect();
    let change = change_since(&values)?;
    let ratio = (change.after - change.before).exp();
    let place = series.values[change.at].0;
    let raw = |range: &[(usize, f64)]| {
        let mut latencies: Vec<f64> = range
            .iter()
            .map(|(place, _)| cells[*place].endpoints[&endpoint].1)
            .collect();
        median(&mut latencies)
    };
    let (before_us, after_us) = (
        raw(&series.values[..change.at]),
        raw(&series.values[change.at..]),
    );
    let mean = |range: &[Cell], of: fn(&Cell) -> f64| {
        range.iter().map(of).sum::<f64>() / range.len().max(1) as f64
    };
    let (earlier, later) = cells.split_at(place);
    let more_load = mean(later, |c| c.threads) > 1.25 * mean(earlier, |c| c.threads).max(1.0);
    let busier = mean(later, |c| c.busy) > mean(earlier, |c| c.busy) + 0.2;
    let ratio_min = if series.controls >= 2 && !more_load {
        RATIO_MIN
    } else if series.controls >= 2 || (!more_load && !busier && mean(later, |c| c.busy) < 0.3) {
        RATIO_ALONE_MIN
    } else if !more_load && !busier {
        // Not even a host that is busy all the time makes of one endpoint this much.
        RATIO_BUSY_MIN
    } else {
        return None;
    };
    let since = cells[place].at;
    let own_change = view.instances.values().any(|w| {
        w.changed
            .is_some_and(|c| c.since(since).max(since.since(c)) < OWN_CHANGE_US)
    });
    // The latest cells must be slow still.
    let latest = &values[values.len() - 3..];
    let holds = latest
        .iter()
        .all(|v| *v > f64::midpoint(change.before, change.after));
    let slow = ratio >= ratio_min
        && after_us >= RATIO_MIN * before_us
        && after_us - before_us >= DIFFERENCE_MIN_US;
    if !slow || !holds || (own_change && ratio < 2.0 * ratio_min) {
        return None;
    }
    Some(Conclusion {
        key: Key::of(ServiceFindingKind::SlowEndpoint, Some(endpoint)),
        instances: view.answering(endpoint),
        endpoint: None,
        since,
        confidence: change.confidence.min(0.99),
        sentence: format!(
            "{} answers in {} since {:.0} s, before in {}, and other endpoints do not explain it.",
            view.name(endpoint),
            words::time(after_us),
            since.seconds(),
            words::time(before_us),
        ),
        evidence: vec![
            measured("median latency before", before_us / 1e3, "ms"),
            measured("median latency since", after_us / 1e3, "ms"),
            measured("beyond what other endpoints share", ratio, "times"),
            measured(
                "other endpoints compared",
                series.controls as f64,
                "endpoints",
            ),
        ],
        excerpts: view.exemplars(endpoint),
        needs: 3,
        patience: PATIENCE_US,
        amount: after_us,
    })
}
