//! Endpoints that are slow: against the other instances, against their own past, or more and more.
//!
//! What makes everything slow (load, a busy host, a smaller allotment) is no fault of an endpoint.
//! The other endpoints are the control: from the logarithm of an endpoint's median latency, that
//! by which the others have risen at the same time (their median) is taken away. Where there is no
//! control, load and host must have stayed as they were.

use std::collections::BTreeMap;

use cohort_model::{At, InstanceId, ServiceFindingKind};

use super::View;
use super::book::{Conclusion, Key};
use super::record::{Span, Watched};
use super::words;
use crate::changepoint::change_since;
use crate::findings::measured;
use crate::leak::{READINGS_MIN, Rule, judge};
use crate::statistics::{median, normal_tail};

/// Times its peers, its past, its beginning from which on an endpoint is slow; and by so much at
/// least, microseconds.
const RATIO_MIN: f64 = 2.0;
const DIFFERENCE_MIN_US: f64 = 8_000.0;
/// The same for what grows steadily.
const GROWN_MIN: (f64, f64) = (1.8, 5_000.0);
/// Without other endpoints as control, or under changing load, this ratio.
const RATIO_ALONE_MIN: f64 = 3.0;
/// The latest time, which is judged by itself too, seconds.
const LATE_S: f64 = 45.0;
/// Trend of growing latency.
const TREND_Z_MIN: f64 = 4.5;
/// Seconds in a cell of the comparison with the past, and how far it reaches.
const CELL_S: f64 = 2.0;
const PAST_S: f64 = 120.0;
/// The latest time in which peers are compared, seconds; and calls on each side.
const PEERS_S: f64 = 12.0;
const PEER_CALLS_MIN: f64 = 24.0;
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
            Some((place, latency.max(1.0).ln() - median(&mut shared)))
        })
        .collect();
    Specific {
        values,
        controls: usual.len(),
    }
}

fn cell_of(span: &Span) -> Cell {
    Cell {
        at: span.at,
        threads: span.threads,
        busy: span.busy,
        endpoints: span.endpoints.clone(),
    }
}

/// Endpoints that get slower and slower while the others do not.
pub(super) fn growing(view: &View<'_>, _at: At, drawn: &mut Vec<Conclusion>) {
    for (instance, watched) in view.instances.iter().filter(|(_, w)| !w.down) {
        let steady = watched.history.steady();
        let whole = watched.history.spans();
        // What began late is no large part of all time.
        let latest: Vec<Span> = watched.recent(LATE_S).map(Span::of).collect();
        for endpoint in view.endpoints_of(watched) {
            let same_load = steady.len() == whole.len();
            let found = grown(steady, endpoint, same_load)
                .or_else(|| grown(whole, endpoint, false))
                .or_else(|| grown(&latest, endpoint, same_load));
            // Behind a lock latencies rise at once, and wander.
            let behind = view.book.holds(ServiceFindingKind::LockContention, None);
            if let Some(found) = found.filter(|_| !behind) {
                drawn.push(found.conclusion(view, *instance, watched, endpoint));
            }
        }
    }
}

struct Grown {
    from_us: f64,
    to_us: f64,
    seconds: f64,
    since: At,
    trend_z: f64,
    controls: usize,
}

fn grown(spans: &[Span], endpoint: u32, steady: bool) -> Option<Grown> {
    if spans.len() < READINGS_MIN {
        return None;
    }
    let cells: Vec<Cell> = spans.iter().map(cell_of).collect();
    let series = specific(&cells, endpoint);
    if series.values.len() < READINGS_MIN + 2 || series.values.len() * 3 < cells.len() {
        return None;
    }
    // Of each three the middle one: a single slow window is nothing.
    let latency: Vec<f64> = series
        .values
        .windows(3)
        .map(|three| median(&mut [three[0].1, three[1].1, three[2].1]).exp())
        .collect();
    let raw: Vec<f64> = series
        .values
        .iter()
        .map(|(place, _)| cells[*place].endpoints[&endpoint].1)
        .collect();
    let third = latency.len() / 3;
    let ends = |of: &[f64]| {
        (
            median(&mut of[..third].to_vec()),
            median(&mut of[of.len() - third..].to_vec()),
        )
    };
    let ((from, to), (raw_from, raw_to)) = (ends(&latency), ends(&raw));
    let controlled = series.controls >= 2;
    let busy = cells.iter().map(|c| c.busy).sum::<f64>() / cells.len() as f64;
    let ratio_min = if controlled && steady {
        GROWN_MIN.0
    } else if controlled || (steady && busy < 0.3) {
        RATIO_ALONE_MIN
    } else {
        return None;
    };
    let enough = to >= ratio_min * from
        && raw_to >= ratio_min * raw_from
        && raw_to - raw_from >= GROWN_MIN.1;
    if !enough {
        return None;
    }
    let verdict = judge(&latency, Rule::Shape);
    if !verdict.is_leak() || verdict.trend_z < TREND_Z_MIN {
        return None;
    }
    // It began after the last time at which it was hardly slower than at first.
    let began = latency
        .iter()
        .rposition(|value| *value < from + 0.05 * (to - from))
        .unwrap_or(0);
    let since = cells[series.values[began].0].at;
    Some(Grown {
        from_us: raw_from,
        to_us: raw_to,
        seconds: cells[cells.len() - 1].at.since(since) as f64 / 1e6,
        since,
        trend_z: verdict.trend_z,
        controls: series.controls,
    })
}

impl Grown {
    fn conclusion(
        &self,
        view: &View<'_>,
        instance: InstanceId,
        watched: &Watched,
        endpoint: u32,
    ) -> Conclusion {
        let writes: f64 = watched
            .history
            .spans()
            .iter()
            .flat_map(|s| s.endpoints.iter())
            .filter(|(e, _)| view.writes(**e))
            .map(|(_, (calls, _))| calls)
            .sum();
        let beside = if self.controls > 0 {
            " while other endpoints do not"
        } else {
            " under the same load"
        };
        let data = if writes >= 1.0 {
            format!(", after {writes:.0} writes")
        } else {
            String::new()
        };
        Conclusion {
            key: Key::of(ServiceFindingKind::GrowingLatency, Some(endpoint)),
            instances: vec![instance],
            endpoint: None,
            since: self.since,
            confidence: (1.0 - normal_tail(self.trend_z) * 1e3).clamp(0.6, 0.99),
            sentence: format!(
                "{} gets slower and slower{beside}: {} -> {} in {:.0} s on {instance}{data}.",
                view.name(endpoint),
                words::time(self.from_us),
                words::time(self.to_us),
                self.seconds,
            ),
            evidence: vec![
                measured("median latency at first", self.from_us / 1e3, "ms"),
                measured("median latency at last", self.to_us / 1e3, "ms"),
                measured("over", self.seconds, "s"),
                measured("trend", self.trend_z, "standard deviations"),
                measured("writes so far", writes, "calls"),
            ],
            excerpts: Vec::new(),
            needs: 3,
            patience: PATIENCE_US,
            amount: self.to_us,
        }
    }
}

/// Endpoints that answer slower than they did, on all instances together.
pub(super) fn against_past(view: &View<'_>, at: At, drawn: &mut Vec<Conclusion>) {
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
            for e in second.endpoints.iter().filter(|e| e.calls > 0.0) {
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

/// Instances on which an endpoint is slower than on the others.
pub(super) fn against_peers(view: &View<'_>, at: At, drawn: &mut Vec<Conclusion>) {
    let mut known: BTreeMap<u32, Vec<Peer>> = BTreeMap::new();
    for (instance, watched) in view.instances.iter().filter(|(_, w)| !w.down) {
        if watched.changed_within(at, OWN_CHANGE_US) {
            continue;
        }
        for (endpoint, peer) in peers(*instance, watched) {
            known.entry(endpoint).or_default().push(peer);
        }
    }
    for (endpoint, peers) in known {
        if peers.len() < 2 || view.explained(endpoint) {
            continue;
        }
        for (place, peer) in peers.iter().enumerate() {
            let others: Vec<&Peer> = peers
                .iter()
                .enumerate()
                .filter(|(p, _)| *p != place)
                .map(|(_, other)| other)
                .collect();
            if let Some(conclusion) = slower_than(view, endpoint, peer, &others) {
                drawn.push(conclusion);
            }
        }
    }
}

/// One endpoint on one instance in the latest time.
struct Peer {
    instance: InstanceId,
    medians: Vec<f64>,
    under_way: f64,
    /// CPU for each call that is under way could be short.
    held_back: bool,
    since: At,
}

fn peers(instance: InstanceId, watched: &Watched) -> BTreeMap<u32, Peer> {
    let mut peers: BTreeMap<u32, (Peer, f64)> = BTreeMap::new();
    let seconds = watched.recent(PEERS_S).count().max(1) as f64;
    for second in watched.recent(PEERS_S) {
        for e in second.endpoints.iter().filter(|e| e.calls > 0.0) {
            let (peer, calls) = peers.entry(e.endpoint).or_insert_with(|| {
                let peer = Peer {
                    instance,
                    medians: Vec::new(),
                    under_way: 0.0,
                    held_back: false,
                    since: second.at,
                };
                (peer, 0.0)
            });
            peer.medians.push(e.p50_us);
            peer.under_way += second.under_way() / seconds;
            peer.held_back |= second.throttled > 0.1 || second.cpu_pressure > 0.5;
            *calls += e.calls;
        }
    }
    peers
        .into_iter()
        .filter(|(_, (peer, calls))| *calls >= PEER_CALLS_MIN && peer.medians.len() >= 6)
        .map(|(endpoint, (peer, _))| (endpoint, peer))
        .collect()
}

fn slower_than(
    view: &View<'_>,
    endpoint: u32,
    peer: &Peer,
    others: &[&Peer],
) -> Option<Conclusion> {
    let mut own = peer.medians.clone();
    let own_us = median(&mut own);
    let mut levels: Vec<f64> = others
        .iter()
        .map(|other| median(&mut other.medians.clone()))
        .collect();
    let others_us = median(&mut levels);
    let slowest = levels.last().copied().unwrap_or(0.0);
    let load = others.iter().map(|o| o.under_way).fold(0.0, f64::max);
    // Nearly every second of its own is slower than nearly all of theirs.
    let beyond = own.iter().filter(|us| **us > RATIO_MIN * slowest).count();
    let slow = own_us >= RATIO_MIN * slowest.max(others_us)
        && own_us - others_us >= DIFFERENCE_MIN_US
        && beyond * 4 >= own.len() * 3
        && !peer.held_back;
    // Calls under way rise with latency too, by Little's law: more than that is more load.
    let load_explains = peer.under_way > 1.5 * load.max(1.0) * own_us / others_us.max(1.0);
    if !slow || load_explains {
        return None;
    }
    Some(Conclusion {
        key: Key {
            kind: ServiceFindingKind::SlowEndpoint,
            endpoint: Some(endpoint),
            detail: format!("peers {}", peer.instance),
        },
        instances: vec![peer.instance],
        endpoint: None,
        since: peer.since,
        confidence: 0.9,
        sentence: format!(
            "{} takes {} on {}, and {} on the other instances.",
            view.name(endpoint),
            words::time(own_us),
            peer.instance,
            words::time(others_us),
        ),
        evidence: vec![
            measured("median latency here", own_us / 1e3, "ms"),
            measured("median latency elsewhere", others_us / 1e3, "ms"),
            measured("instances compared", others.len() as f64, "instances"),
        ],
        excerpts: view.exemplars(endpoint),
        needs: 6,
        patience: PATIENCE_US,
        amount: own_us,
    })
}
