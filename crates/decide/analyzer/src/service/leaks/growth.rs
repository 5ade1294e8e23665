//! Whether one resource of one instance grows without end.
//!
//! Growth is judged beside time, and where calls became fewer also beside the calls: so much a call,
//! call after call, is a leak, however slowly the calls come. To ask whether growth slows down, the
//! same two are looked at.

use cohort_model::{At, InstanceId};

use super::Resource;
use super::reading::{Reading, by_calls, calls_get_fewer, lasted_s, mean, seconds, steady};
use crate::leak::{LeakVerdict, READINGS_MIN, Rule, judge};
use crate::service::record::Watched;
use crate::statistics::autocorrelation;

/// Trend that a leak of a running service needs (it is judged again and again).
const TREND_Z_MIN: f64 = 4.5;
/// The shorter reaches, seconds.
const REACHES_S: [f64; 2] = [40.0, 120.0];
/// Growth must have been watched for so long since it began, seconds.
const GROWING_S: f64 = 22.0;
/// So much of the growth must be seen, too, with what threads hold that came and left.
const WHOLE_SHARE: f64 = 0.5;
/// Growth that slows down must have gone on for so long, seconds, and at its end it still grows at
/// this share of its mean rate at least.
const SLOWING_S: f64 = 120.0;
const SLOWING_RATE_MIN: f64 = 0.8;
/// Growth of which cannot be told yet that its rate at the end is at least this share of its mean rate
/// must have gone on for so long, seconds.
const SURELY_MIN: f64 = 0.9;
const PATIENT_S: f64 = 60.0;
/// Its rate at the end over its mean rate is below this when it slows down at all.
const SLOWER: f64 = 0.95;

/// Growth of one resource of one instance that is a leak.
#[derive(Clone, Debug)]
pub(super) struct Growth {
    pub(super) instance: InstanceId,
    pub(super) verdict: LeakVerdict,
    pub(super) per_second: f64,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) since: At,
}

/// Whether `resource` of an instance grows without end.
pub(super) fn growth(
    instance: InstanceId,
    watched: &Watched,
    resource: Resource,
) -> Option<Growth> {
    let spans = watched.history.spans().iter().map(|span| Reading {
        at: span.at,
        value: resource.of_span(span),
        whole: resource.of_span(span),
        calls: span.endpoints.values().map(|(calls, _)| calls).sum(),
        threads: span.threads,
    });
    let all = steady(&spans.collect::<Vec<_>>());
    if let Some(found) = judged(instance, &all, f64::NEG_INFINITY, resource) {
        return Some(found);
    }
    if slows_over_all(&all) {
        return None;
    }
    let reach = |seconds: f64| {
        let recent = watched.recent(seconds).map(|second| Reading {
            at: second.at,
            value: resource.of_second(second),
            whole: resource.of_second(second),
            calls: second.calls,
            threads: second.threads,
        });
        let recent = steady(&recent.collect::<Vec<_>>());
        let begin = recent.first()?.at;
        // The spans before; and the earlier seconds, which no span may hold yet.
        let highest = all
            .iter()
            .filter(|reading| reading.at < begin)
            .map(|reading| reading.value)
            .fold(f64::NEG_INFINITY, f64::max);
        judged(instance, &recent, highest, resource)
    };
    REACHES_S.iter().find_map(|seconds| reach(*seconds))
}

/// Growth of all time that gives out says what to think of its latest part.
fn slows_over_all(all: &[Reading]) -> bool {
    let ends = all.len() / 8;
    if ends == 0 {
        return false;
    }
    let (from, to) = (mean(&all[..ends]), mean(&all[all.len() - ends..]));
    let since = since_it_began(all, from, to);
    gives_out(since)
}

/// `highest`: the most that was seen before the series; growth counts beyond it.
fn judged(
    instance: InstanceId,
    series: &[Reading],
    highest: f64,
    resource: Resource,
) -> Option<Growth> {
    if series.len() < READINGS_MIN {
        return None;
    }
    let quarter = series.len() / 4;
    let (from, to) = (
        mean(&series[..quarter]),
        mean(&series[series.len() - quarter..]),
    );
    let (least, share) = resource.rise_min(from);
    let rise_min = least.max(share * from);
    if to - from.max(highest) < rise_min {
        return None;
    }
    // What was freed when threads left was theirs.
    let whole = |place: usize| series[place].whole;
    if whole(series.len() - 1) - whole(0) < WHOLE_SHARE * (to - from) {
        return None;
    }
    let since = since_it_began(series, from, to);
    if lasted_s(since) < GROWING_S || gives_out(since) {
        return None;
    }
    let leaks = |values: &[f64]| {
        let verdict = judge(values, Rule::Shape);
        (verdict.is_leak() && verdict.trend_z >= TREND_Z_MIN).then_some(verdict)
    };
    let by_time: Vec<f64> = series.iter().map(|reading| reading.value).collect();
    let verdict = leaks(&by_time)
        .or_else(|| leaks(&by_calls(series).filter(|_| calls_get_fewer(series))?))?;
    let step_s = seconds(series) / (series.len() - 1) as f64;
    let (began, slope) = hinge(&by_time);
    Some(Growth {
        instance,
        verdict,
        per_second: slope / step_s.max(1e-3),
        from,
        to,
        since: series[began].at,
    })
}

/// Where growth began, and by how much it grows from one value to the next: the best fit of a line that is
/// level at first and rises from some place on.
fn hinge(values: &[f64]) -> (usize, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let (mut best, mut explained) = ((0, 0.0), f64::NEG_INFINITY);
    for start in 0..values.len() * 4 / 5 {
        let (mut sum, mut squares, mut products) = (0.0, 0.0, 0.0);
        for (t, value) in values[start..].iter().enumerate() {
            let rise = t as f64;
            sum += rise;
            squares += rise * rise;
            products += rise * (value - mean);
        }
        let spread = (squares - sum * sum / n).max(1e-12);
        if products > 0.0 && products * products / spread > explained {
            explained = products * products / spread;
            best = (start, products / spread);
        }
    }
    best
}

/// The readings since the growth from one level to the other began: what was flat before would hide
/// how it goes on.
fn since_it_began(series: &[Reading], from: f64, to: f64) -> &[Reading] {
    let began = series
        .iter()
        .rposition(|reading| reading.value < from + 0.05 * (to - from))
        .map_or(0, |place| place + 1)
        .min(series.len() / 4 * 3);
    &series[began..]
}

/// Whether growth slows down so that it is not believed (yet), or may do so for all that can be told.
fn gives_out(since: &[Reading]) -> bool {
    let lasted = lasted_s(since);
    let by_time: Vec<f64> = since.iter().map(|reading| reading.value).collect();
    let by_calls = by_calls(since);
    let either = |is: &dyn Fn(&[f64]) -> bool| is(&by_time) || by_calls.as_deref().is_some_and(is);
    let steady = |values: &[f64]| Bend::of(values).is_none_or(|bend| bend.surely() >= SURELY_MIN);
    if lasted < PATIENT_S && !either(&steady) {
        return true;
    }
    let gives_out = |values: &[f64]| {
        let slows = |values: &[f64]| Bend::of(values).filter(Bend::slows);
        slows(values).is_some_and(|bend| {
            let later = &values[values.len() / 2..];
            lasted < SLOWING_S || bend.end_rate < SLOWING_RATE_MIN || slows(later).is_some()
        })
    };
    gives_out(&by_time)
        && (!calls_get_fewer(since) || by_calls.is_none_or(|values| gives_out(&values)))
}

/// How growth bends, from the quadratic term of a least squares fit, allowing for neighbouring values
/// being alike.
#[derive(Clone, Copy, Debug)]
struct Bend {
    /// The rate at the end over the mean rate.
    end_rate: f64,
    /// Its standard error.
    error: f64,
}

impl Bend {
    /// None of few values, and of what does not grow.
    fn of(values: &[f64]) -> Option<Bend> {
        if values.len() < 8 {
            return None;
        }
        let n = values.len() as f64;
        let place = |t: usize| 2.0 * t as f64 / (n - 1.0) - 1.0;
        let mean = values.iter().sum::<f64>() / n;
        let squares = (0..values.len()).map(|t| place(t).powi(2)).sum::<f64>();
        let slope = (0..values.len()).map(|t| place(t) * values[t]).sum::<f64>() / squares;
        let shape: Vec<f64> = (0..values.len())
            .map(|t| place(t).powi(2) - squares / n)
            .collect();
        let shape_squares = shape.iter().map(|b| b * b).sum::<f64>().max(1e-12);
        let products = shape.iter().zip(values).map(|(b, v)| b * v);
        let bend = products.sum::<f64>() / shape_squares;
        let residuals: Vec<f64> = (0..values.len())
            .map(|t| values[t] - mean - slope * place(t) - bend * shape[t])
            .collect();
        // That of few values is estimated too low (Kendall's correction).
        let memory = autocorrelation(&residuals);
        let memory = (memory + (1.0 + 4.0 * memory) / n).clamp(0.0, 0.95);
        let variance = residuals.iter().map(|r| r * r).sum::<f64>() / (n - 3.0).max(1.0);
        let error = (variance / shape_squares * (1.0 + memory) / (1.0 - memory)).sqrt();
        (slope > 0.0).then(|| Bend {
            end_rate: (slope + 2.0 * bend) / slope.max(1e-12),
            error: 2.0 * error / slope.max(1e-12),
        })
    }

    /// Beyond doubt: 1.5 standard errors (to wait is cheap).
    fn slows(&self) -> bool {
        self.end_rate < SLOWER && self.end_rate < 1.0 - 1.5 * self.error
    }

    /// The rate at the end over the mean rate is at least this, in nineteen of twenty cases.
    fn surely(&self) -> f64 {
        self.end_rate - 1.65 * self.error
    }
}

#[cfg(test)]
mod tests {
    use super::super::NEEDS;
    use super::*;

    fn series(shape: impl Fn(f64) -> f64) -> Vec<f64> {
        (0..60)
            .map(|t| shape(f64::from(t)) + f64::from(t * 7919 % 13))
            .collect()
    }

    #[test]
    fn a_filling_cache_slows_down_and_a_leak_does_not() {
        let bend = |values: Vec<f64>| Bend::of(&values).unwrap();
        let leak = bend(series(|t| 50.0 * t));
        assert!(!leak.slows() && leak.surely() > 0.95, "{leak:?}");
        let filling = bend(series(|t| 3000.0 * (1.0 - (-t / 40.0).exp())));
        assert!(filling.slows() && filling.end_rate < 0.7, "{filling:?}");
        assert!(!bend(series(|t| t * t)).slows(), "it gets faster");
    }

    #[test]
    fn growth_begins_where_it_leaves_the_level() {
        let (began, slope) = hinge(&series(|t| 50.0 * (t - 20.0).max(0.0)));
        assert!((19..=21).contains(&began), "{began}");
        assert!((slope - 50.0).abs() < 2.0, "{slope}");
    }

    /// Calls that come more and more slowly; `held`: what is held after so many of them.
    fn on_a_busy_host(held: impl Fn(f64) -> f64) -> Vec<Reading> {
        (0..40)
            .map(|t| {
                let calls = 2_000.0 * (1.0 - (-f64::from(t) / 25.0).exp());
                Reading {
                    at: At(u64::try_from(t).unwrap_or(0) * 1_000_000),
                    value: held(calls) + f64::from(t * 7919 % 3),
                    whole: held(calls),
                    threads: 8.0,
                    calls,
                }
            })
            .collect()
    }

    #[test]
    fn so_much_a_call_is_a_leak_though_calls_get_fewer() {
        let files =
            |series: &[Reading]| judged(InstanceId(0), series, f64::NEG_INFINITY, Resource::Files);
        let leak = on_a_busy_host(|calls| 50.0 + 0.1 * calls);
        assert!(files(&leak).is_some());
        let filling = on_a_busy_host(|calls| 50.0 + 150.0 * (1.0 - (-calls / 800.0).exp()));
        assert!(files(&filling).is_none());
    }

    /// Megabytes held, second by second, by a JavaScript server that keeps nothing for long.
    const COLLECTED_FIRST: [f64; 71] = [
        13.7, 13.9, 14.6, 15.0, 16.5, 18.0, 18.8, 19.4, 19.4, 19.9, 20.9, 20.9, 21.6, 21.8, 23.1,
        25.0, 25.7, 26.0, 27.8, 29.7, 29.7, 29.7, 30.7, 30.9, 30.9, 31.7, 31.8, 31.8, 32.0, 33.6,
        33.6, 33.6, 34.7, 34.8, 34.9, 35.2, 36.8, 36.8, 37.3, 37.9, 39.9, 41.7, 43.7, 45.4, 45.1,
        45.1, 44.9, 45.0, 45.0, 45.0, 45.0, 45.3, 47.2, 49.1, 51.3, 52.1, 52.1, 52.1, 52.1, 52.1,
        52.1, 52.1, 52.1, 52.1, 52.1, 52.1, 52.1, 52.1, 52.1, 47.5, 47.5,
    ];
    /// Megabytes held, second by second, by a JavaScript server that keeps nothing for long.
    const COLLECTED_SECOND: [f64; 71] = [
        13.4, 14.2, 14.5, 15.0, 16.7, 17.4, 18.8, 19.0, 19.4, 19.5, 20.3, 20.8, 21.1, 21.8, 22.0,
        22.7, 22.9, 24.7, 26.5, 26.7, 28.0, 30.7, 30.7, 30.8, 30.8, 32.0, 32.1, 32.3, 33.7, 34.1,
        34.2, 34.4, 35.2, 35.3, 35.4, 36.1, 36.2, 36.4, 36.9, 38.1, 38.1, 38.2, 38.2, 40.2, 42.6,
        44.5, 45.0, 45.0, 46.1, 48.2, 50.1, 51.4, 51.5, 51.5, 51.5, 51.5, 51.5, 51.5, 51.5, 51.2,
        51.2, 51.2, 51.4, 51.4, 48.9, 48.9, 48.9, 48.9, 48.9, 49.1, 49.0,
    ];

    #[test]
    fn a_heap_that_is_not_collected_yet_is_no_leak() {
        for held in [&COLLECTED_FIRST[..], &COLLECTED_SECOND[..]] {
            let readings: Vec<Reading> = held
                .iter()
                .enumerate()
                .map(|(t, megabytes)| Reading {
                    at: At(t as u64 * 1_000_000),
                    value: megabytes * 1e6,
                    whole: megabytes * 1e6,
                    calls: 42.0 * t as f64,
                    threads: 4.0,
                })
                .collect();
            let mut in_a_row = 0;
            for until in READINGS_MIN..readings.len() {
                let found = judged(
                    InstanceId(0),
                    &readings[..until],
                    f64::NEG_INFINITY,
                    Resource::Memory,
                );
                in_a_row = if found.is_some() { in_a_row + 1 } else { 0 };
                assert!(in_a_row < NEEDS, "after {until} s: {found:?}");
            }
        }
    }
}
