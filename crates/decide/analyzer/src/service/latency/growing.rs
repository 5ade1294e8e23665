//! Endpoints that get slower and slower while the others do not.

use cohort_model::{At, InstanceId, ServiceFindingKind};

use super::{Cell, PATIENCE_US, RATIO_ALONE_MIN, specific};
use crate::findings::measured;
use crate::leak::{READINGS_MIN, Rule, judge};
use crate::service::View;
use crate::service::book::{Conclusion, Key};
use crate::service::record::{Span, Watched};
use crate::service::words;
use crate::statistics::{median, normal_tail};

/// Times its beginning from which on an endpoint grew slow; and by so much at least, microseconds.
const GROWN_MIN: (f64, f64) = (1.8, 5_000.0);
/// The latest time, which is judged by itself too, seconds.
const LATE_S: f64 = 45.0;
/// Values since it began to grow, at least, and how much slower, at least, the later half of them is
/// than the earlier: what does not grow any more since it began to is slow from then on, not growing.
const SINCE_MIN: usize = 8;
const GROWS_ON: f64 = 1.15;
/// Times the squared error of steady growth that the best step, or growth that is over, leaves at
/// least. Of growth they leave several times as much; of a step among scattered values about the same.
const SHAPE_MIN: f64 = 1.3;
/// So long after an instance was kept for other endpoints, microseconds.
const STRANGE_US: u64 = 60_000_000;
/// Trend of growing latency.
const TREND_Z_MIN: f64 = 4.5;

fn cell_of(span: &Span) -> Cell {
    Cell {
        at: span.at,
        threads: span.threads,
        busy: span.busy,
        endpoints: span.endpoints.clone(),
    }
}

pub(in crate::service) fn conclude(view: &View<'_>, at: At, drawn: &mut Vec<Conclusion>) {
    for (instance, watched) in view.instances.iter().filter(|(_, w)| !w.down) {
        let steady = watched.history.steady();
        let whole = watched.history.spans();
        // What began late is no large part of all time.
        let latest: Vec<Span> = watched.recent(LATE_S).map(Span::of).collect();
        for endpoint in view.endpoints_of(watched) {
            if watched.is_strange(at, endpoint, STRANGE_US) {
                continue;
            }
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
    let steadily = verdict.is_leak() && verdict.shape_ratio >= SHAPE_MIN;
    if !steadily || verdict.trend_z < TREND_Z_MIN {
        return None;
    }
    // It began after the last time at which it was hardly slower than at first.
    let began = latency
        .iter()
        .rposition(|value| *value < from + 0.05 * (to - from))
        .unwrap_or(0);
    let late = &latency[began..];
    let halves = late.split_at(late.len() / 2);
    let grows_on = late.len() >= SINCE_MIN
        && median(&mut halves.1.to_vec()) >= GROWS_ON * median(&mut halves.0.to_vec());
    if !grows_on {
        return None;
    }
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
            format!(", after {}", words::counted(writes, "write"))
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
