//! Memory, descriptors and threads that grow without end, and whose calls make them grow.
//!
//! A resource of an instance is judged by [`crate::leak`] over three reaches: all its steady time
//! since it was ready, and the latest 40 and 120 seconds (a leak that begins late is no large part
//! of all time). In the shorter ones only growth beyond everything seen before counts, so that a
//! tooth of a collector's saw is none. Growth that slows down (negative curvature) has to go on
//! for longer before it is believed: a cache fills that way.

use cohort_model::{At, InstanceId, ServiceFindingKind};

use super::View;
use super::attribution::{self, Row};
use super::book::{Conclusion, Key};
use super::record::{Second, Span, Watched};
use super::words;
use crate::findings::{confidence_of_chance, measured};
use crate::leak::{LeakVerdict, READINGS_MIN, Rule, judge};
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
/// How many times in a row it must be judged so.
const NEEDS: u32 = 3;
/// It is over when it was not judged so for this long.
const PATIENCE_US: u64 = 30_000_000;

/// What can leak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    Memory,
    Files,
    Tasks,
}

impl Resource {
    const ALL: [Resource; 3] = [Resource::Memory, Resource::Files, Resource::Tasks];

    fn kind(self) -> ServiceFindingKind {
        match self {
            Resource::Memory => ServiceFindingKind::MemoryLeak,
            Resource::Files => ServiceFindingKind::DescriptorLeak,
            Resource::Tasks => ServiceFindingKind::ThreadLeak,
        }
    }

    fn of_span(self, span: &Span) -> f64 {
        match self {
            Resource::Memory => span.memory,
            Resource::Files => span.files,
            Resource::Tasks => span.tasks,
        }
    }

    fn of_second(self, second: &Second) -> f64 {
        match self {
            Resource::Memory => second.memory,
            Resource::Files => second.files,
            Resource::Tasks => second.tasks,
        }
    }

    /// Growth from the end of one window to that of the next.
    fn grown(self, from: &Second, to: &Second) -> Option<f64> {
        let place = match self {
            Resource::Memory => 0,
            Resource::Files => 1,
            Resource::Tasks => 2,
        };
        Some(to.at_end?[place] - from.at_end?[place])
    }

    /// Growth below this is not worth a word: of itself, and as a share of where it began.
    fn rise_min(self) -> (f64, f64) {
        match self {
            Resource::Memory => (5.0 * 1_048_576.0, 0.1),
            Resource::Files => (20.0, 0.25),
            Resource::Tasks => (12.0, 0.25),
        }
    }

    fn amount(self, count: f64) -> String {
        match self {
            Resource::Memory => words::bytes(count),
            Resource::Files if count < 9.5 => format!("{count:.1} descriptors"),
            Resource::Files => format!("{count:.0} descriptors"),
            Resource::Tasks if count < 9.5 => format!("{count:.1} threads"),
            Resource::Tasks => format!("{count:.0} threads"),
        }
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Resource::Memory => ("memory", "bytes"),
            Resource::Files => ("open descriptors", "descriptors"),
            Resource::Tasks => ("threads", "threads"),
        }
    }
}

/// Growth of one resource of one instance that is a leak.
struct Growth {
    instance: InstanceId,
    verdict: LeakVerdict,
    per_second: f64,
    from: f64,
    to: f64,
    since: At,
}

pub(super) fn conclude(view: &View<'_>, at: At, drawn: &mut Vec<Conclusion>) {
    for resource in Resource::ALL {
        let leaking: Vec<Growth> = view
            .instances
            .iter()
            .filter(|(_, watched)| !watched.down)
            .filter_map(|(instance, watched)| growth(*instance, watched, resource))
            .collect();
        if let Some(conclusion) = concluded(view, resource, &leaking, at) {
            drawn.push(conclusion);
        }
    }
}

fn growth(instance: InstanceId, watched: &Watched, resource: Resource) -> Option<Growth> {
    let spans = watched.history.steady();
    let all: Vec<(At, f64)> = spans.iter().map(|s| (s.at, resource.of_span(s))).collect();
    if let Some(found) = judged(instance, &all, f64::NEG_INFINITY, resource) {
        return Some(found);
    }
    if slows_over_all(&all) {
        return None;
    }
    let steady_since = spans.first().map_or(At(u64::MAX), |s| s.at);
    let reach = |seconds: f64| {
        let recent: Vec<(At, f64)> = watched
            .recent(seconds)
            .filter(|s| s.at >= steady_since)
            .map(|s| (s.at, resource.of_second(s)))
            .collect();
        let begin = recent.first()?.0;
        // The spans before; and the earlier seconds, which no span may hold yet.
        let highest = all
            .iter()
            .filter(|(time, _)| *time < begin)
            .map(|(_, value)| *value)
            .fold(f64::NEG_INFINITY, f64::max);
        judged(instance, &recent, highest, resource)
    };
    REACHES_S.iter().find_map(|seconds| reach(*seconds))
}

/// Growth of all time that gives out says what to think of its latest part.
fn slows_over_all(all: &[(At, f64)]) -> bool {
    let values: Vec<f64> = all.iter().map(|(_, value)| *value).collect();
    let ends = values.len() / 8;
    let (Some((first, _)), true) = (all.first(), ends > 0) else {
        return false;
    };
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (from, to) = (mean(&values[..ends]), mean(&values[values.len() - ends..]));
    let length_s = all[all.len() - 1].0.since(*first) as f64 / 1e6;
    let (grown, slows) = since_it_began(&values, from, to);
    gives_out(slows, grown as f64 / values.len() as f64 * length_s)
}

/// `highest`: the most that was seen before the series; growth counts beyond it.
fn judged(
    instance: InstanceId,
    series: &[(At, f64)],
    highest: f64,
    resource: Resource,
) -> Option<Growth> {
    if series.len() < READINGS_MIN {
        return None;
    }
    let values: Vec<f64> = series.iter().map(|(_, value)| *value).collect();
    let quarter = values.len() / 4;
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len().max(1) as f64;
    let (from, to) = (
        mean(&values[..quarter]),
        mean(&values[values.len() - quarter..]),
    );
    let (least, share) = resource.rise_min();
    let rise_min = least.max(share * from);
    if to - from.max(highest) < rise_min {
        return None;
    }
    let verdict = judge(&values, Rule::Shape);
    if !verdict.is_leak() || verdict.trend_z < TREND_Z_MIN {
        return None;
    }
    let length_s = series[series.len() - 1].0.since(series[0].0) as f64 / 1e6;
    let step_s = length_s / (series.len() - 1) as f64;
    let (grown, slows) = since_it_began(&values, from, to);
    let grown_s = grown as f64 * step_s;
    if grown_s < GROWING_S || gives_out(slows, grown_s) {
        return None;
    }
    let per_second = verdict.slope_per_sample / step_s.max(1e-3);
    let age_us = ((to - from) / per_second.max(1e-9) * 1e6).clamp(0.0, length_s * 1e6);
    Some(Growth {
        instance,
        verdict,
        per_second,
        from,
        to,
        since: At(series[series.len() - 1].0.0.saturating_sub(age_us as u64)),
    })
}

/// Readings since the growth from one level to the other began, and how it slows down since then:
/// what was flat before would hide it.
fn since_it_began(values: &[f64], from: f64, to: f64) -> (usize, Option<f64>) {
    let began = values
        .iter()
        .rposition(|value| *value < from + 0.05 * (to - from))
        .map_or(0, |place| place + 1)
        .min(values.len() / 4 * 3);
    (values.len() - began, slowing(&values[began..]))
}

/// Growth that slows down so is not believed (yet).
fn gives_out(slows: Option<f64>, grown_s: f64) -> bool {
    slows.is_some_and(|rate| grown_s < SLOWING_S || rate < SLOWING_RATE_MIN)
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

fn concluded(
    view: &View<'_>,
    resource: Resource,
    leaking: &[Growth],
    at: At,
) -> Option<Conclusion> {
    let clearest = leaking
        .iter()
        .max_by(|a, b| a.per_second.total_cmp(&b.per_second))?;
    let work = |endpoint| match resource {
        // What is kept is mostly what was made for the answer.
        Resource::Memory => view.mean_answer(endpoint),
        Resource::Files | Resource::Tasks => view.floor_us(endpoint).unwrap_or(0.0),
    };
    let blamed = attribution::blame(&rows(view, resource, leaking), work);
    let (what, unit) = resource.words();
    let instances: Vec<InstanceId> = leaking.iter().map(|g| g.instance).collect();
    let mut sentence = format!(
        "{} of {} grow{} by {} a second without levelling off ({} -> {})",
        capital(what),
        words::instances(&instances),
        if resource == Resource::Memory {
            "s"
        } else {
            ""
        },
        resource.amount(clearest.per_second),
        resource.amount(clearest.from),
        resource.amount(clearest.to),
    );
    let mut evidence = vec![
        measured("growth", clearest.per_second, &format!("{unit}/s")),
        measured("grown by", clearest.to - clearest.from, unit),
        measured("trend by chance", clearest.verdict.p_value, "probability"),
        measured(
            "finished growth fits worse by",
            clearest.verdict.shape_ratio,
            "times",
        ),
    ];
    if let Some(blamed) = &blamed {
        sentence.push_str(&format!(
            "; calls of {} explain it: {} each",
            view.name(blamed.endpoint),
            resource.amount(blamed.per_call)
        ));
        let others: Vec<String> = blamed.others.iter().map(|e| view.name(*e)).collect();
        if !others.is_empty() {
            sentence.push_str(&format!(
                " (or those of {}, which are called together with it)",
                others.join(", ")
            ));
        }
        evidence.push(measured(
            "per call",
            blamed.per_call,
            &format!("{unit}/call"),
        ));
        evidence.push(measured("explained by its calls", blamed.share, "share"));
    }
    sentence.push('.');
    Some(Conclusion {
        key: Key::of(resource.kind(), None),
        instances,
        endpoint: blamed.as_ref().map(|b| b.endpoint),
        since: leaking.iter().map(|g| g.since).min().unwrap_or(at),
        confidence: confidence_of_chance(clearest.verdict.p_value * 10.0).max(0.6),
        sentence,
        evidence,
        excerpts: Vec::new(),
        needs: NEEDS,
        patience: PATIENCE_US,
        amount: clearest.to - clearest.from,
    })
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

/// Growth beside calls from one window to the next, of all instances: those that grow and those
/// that do not.
fn rows(view: &View<'_>, resource: Resource, leaking: &[Growth]) -> Vec<Row> {
    let since = leaking.iter().map(|g| g.since).min().unwrap_or(At(0));
    let mut rows = Vec::new();
    for watched in view.instances.values() {
        let seconds: Vec<&Second> = watched
            .recent(f64::INFINITY)
            .filter(|s| s.at >= since)
            .collect();
        for three in seconds.windows(3) {
            if (three[1].threads - three[2].threads).abs() > 0.5 {
                continue;
            }
            let Some(growth) = resource.grown(three[1], three[2]) else {
                continue;
            };
            let calls = |second: &Second| {
                second
                    .endpoints
                    .iter()
                    .map(|e| (e.endpoint, e.calls))
                    .collect()
            };
            rows.push(Row {
                growth,
                seconds: three[2].span_s,
                calls: calls(three[2]),
                before: calls(three[1]),
            });
        }
    }
    rows
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
}
