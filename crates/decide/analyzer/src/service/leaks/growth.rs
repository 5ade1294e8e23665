//! Whether one resource of one instance grows without end.
//!
//! Growth is judged beside time, and where calls became fewer also beside the calls: so much a call,
//! call after call, is a leak, however slowly the calls come. To ask whether growth slows down, the
//! same two are looked at.

use cohort_model::{At, InstanceId};

use super::Resource;
use crate::leak::{LeakVerdict, READINGS_MIN, Rule, judge};
use crate::service::record::Watched;
use crate::statistics::autocorrelation;

/// Trend that a leak of a running service needs (it is judged again and again).
const TREND_Z_MIN: f64 = 4.5;
/// The shorter reaches, seconds.
const REACHES_S: [f64; 2] = [40.0, 120.0];
/// Growth must have been watched for so long since it began, seconds.
const GROWING_S: f64 = 22.0;
/// Growth that slows down must have gone on for so long, seconds, and at its end it still grows at
/// this share of its mean rate at least.
const SLOWING_S: f64 = 120.0;
const SLOWING_RATE_MIN: f64 = 0.8;

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

/// What was held at one time, and all calls answered until then.
#[derive(Clone, Copy, Debug)]
struct Reading {
    at: At,
    value: f64,
    calls: f64,
}

/// Whether `resource` of an instance grows without end.
pub(super) fn growth(
    instance: InstanceId,
    watched: &Watched,
    resource: Resource,
) -> Option<Growth> {
    let spans = watched.history.steady();
    let mut calls = 0.0;
    let all: Vec<Reading> = spans
        .iter()
        .map(|span| {
            calls += span.endpoints.values().map(|(calls, _)| calls).sum::<f64>();
            Reading {
                at: span.at,
                value: resource.of_span(span),
                calls,
            }
        })
        .collect();
    if let Some(found) = judged(instance, &all, f64::NEG_INFINITY, resource) {
        return Some(found);
    }
    if slows_over_all(&all) {
        return None;
    }
    let steady_since = spans.first().map_or(At(u64::MAX), |s| s.at);
    let reach = |seconds: f64| {
        let mut calls = 0.0;
        let recent: Vec<Reading> = watched
            .recent(seconds)
            .filter(|s| s.at >= steady_since)
            .map(|second| {
                calls += second.calls;
                Reading {
                    at: second.at,
                    value: resource.of_second(second),
                    calls,
                }
            })
            .collect();
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

fn mean(part: &[Reading]) -> f64 {
    part.iter().map(|reading| reading.value).sum::<f64>() / part.len().max(1) as f64
}

/// From the first to the last.
fn seconds(readings: &[Reading]) -> f64 {
    match readings {
        [first, .., last] => last.at.since(first.at) as f64 / 1e6,
        _ => 0.0,
    }
}

/// The same, with the window or span of the first.
fn lasted_s(readings: &[Reading]) -> f64 {
    let n = readings.len().max(2) as f64;
    seconds(readings) * n / (n - 1.0)
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
    let (least, share) = resource.rise_min();
    let rise_min = least.max(share * from);
    if to - from.max(highest) < rise_min {
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
    let verdict = leaks(&by_time).or_else(|| leaks(&by_calls(series)?))?;
    let length_s = seconds(series);
    let step_s = length_s / (series.len() - 1) as f64;
    let per_second = if verdict.slope_per_sample > 0.0 {
        verdict.slope_per_sample / step_s.max(1e-3)
    } else {
        (to - from) / length_s.max(1.0)
    };
    let age_us = ((to - from) / per_second.max(1e-9) * 1e6).clamp(0.0, length_s * 1e6);
    Some(Growth {
        instance,
        verdict,
        per_second,
        from,
        to,
        since: At(series[series.len() - 1].at.0.saturating_sub(age_us as u64)),
    })
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

/// Whether growth slows down so that it is not believed (yet).
fn gives_out(since: &[Reading]) -> bool {
    let values: Vec<f64> = since.iter().map(|reading| reading.value).collect();
    let gives_out = |rate: f64| lasted_s(since) < SLOWING_S || rate < SLOWING_RATE_MIN;
    slowing(&values).is_some_and(gives_out)
        && by_calls(since).is_none_or(|values| slowing(&values).is_some_and(gives_out))
}

/// The same readings at equal numbers of calls from each to the next, where calls became fewer: none
/// where they did not.
fn by_calls(series: &[Reading]) -> Option<Vec<f64>> {
    let (first, last) = (series.first()?, series.last()?);
    let middle = series.get(series.len() / 2)?;
    let rate = |from: &Reading, to: &Reading| {
        (to.calls - from.calls) / (to.at.since(from.at) as f64).max(1.0)
    };
    if rate(middle, last) >= rate(first, middle) {
        return None;
    }
    let step = (last.calls - first.calls) / (series.len() - 1) as f64;
    let mut after = 1;
    let values = (0..series.len()).map(|place| {
        let wanted = first.calls + step * place as f64;
        while after < series.len() - 1 && series[after].calls < wanted {
            after += 1;
        }
        let (before, next) = (&series[after - 1], &series[after]);
        let part = (wanted - before.calls) / (next.calls - before.calls).max(1e-9);
        before.value + part.clamp(0.0, 1.0) * (next.value - before.value)
    });
    Some(values.collect())
}

/// When the growth slows down beyond doubt: its rate at the end over its mean rate. From the
/// quadratic term of a least squares fit, 1.5 standard errors below zero (to wait is cheap), allowing for
/// neighbouring values being alike.
fn slowing(values: &[f64]) -> Option<f64> {
    if values.len() < 8 {
        return None;
    }
    let n = values.len() as f64;
    let place = |t: usize| 2.0 * t as f64 / (n - 1.0) - 1.0;
    let mean = values.iter().sum::<f64>() / n;
    let squares = (0..values.len()).map(|t| place(t).powi(2)).sum::<f64>();
    let slope = (0..values.len()).map(|t| place(t) * values[t]).sum::<f64>() / squares;
    let bend_shape: Vec<f64> = (0..values.len())
        .map(|t| place(t).powi(2) - squares / n)
        .collect();
    let bend_squares: f64 = bend_shape.iter().map(|b| b * b).sum();
    let bend = bend_shape
        .iter()
        .zip(values)
        .map(|(b, v)| b * v)
        .sum::<f64>()
        / bend_squares.max(1e-12);
    let residuals: Vec<f64> = (0..values.len())
        .map(|t| values[t] - mean - slope * place(t) - bend * bend_shape[t])
        .collect();
    let memory = autocorrelation(&residuals);
    let variance = residuals.iter().map(|r| r * r).sum::<f64>() / (n - 3.0).max(1.0);
    let error = (variance / bend_squares.max(1e-12) * (1.0 + memory) / (1.0 - memory)).sqrt();
    let end_rate = (slope + 2.0 * bend) / slope.max(1e-12);
    (bend < -1.5 * error && slope > 0.0 && end_rate < 0.9).then_some(end_rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(shape: impl Fn(f64) -> f64) -> Vec<f64> {
        (0..60)
            .map(|t| shape(f64::from(t)) + f64::from(t * 7919 % 13))
            .collect()
    }

    #[test]
    fn a_filling_cache_slows_down_and_a_leak_does_not() {
        assert!(slowing(&series(|t| 50.0 * t)).is_none());
        let filling = slowing(&series(|t| 3000.0 * (1.0 - (-t / 40.0).exp())));
        assert!(filling.is_some_and(|rate| rate < 0.7), "{filling:?}");
        assert!(slowing(&series(|t| t * t)).is_none(), "it gets faster");
    }

    /// Calls that come more and more slowly; `held`: what is held after so many of them.
    fn on_a_busy_host(held: impl Fn(f64) -> f64) -> Vec<Reading> {
        (0..40)
            .map(|t| {
                let calls = 2_000.0 * (1.0 - (-f64::from(t) / 25.0).exp());
                Reading {
                    at: At(u64::try_from(t).unwrap_or(0) * 1_000_000),
                    value: held(calls) + f64::from(t * 7919 % 3),
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
}
