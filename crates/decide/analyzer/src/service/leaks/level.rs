//! Growth that was taken for a leak, and went no further.

use cohort_model::{At, ServiceFinding};

use super::Resource;
use crate::service::View;
use crate::service::record::{Second, Watched};

/// Growth since it was last judged to be a leak is at most this share of the growth until then, in the
/// same time.
const SHARE_MAX: f64 = 0.25;
/// Windows from which a value is taken.
const WINDOWS: usize = 3;

/// Whether what was found to leak has levelled off on all of its instances, though they are the same
/// processes and go on working. `last`: when it was last judged to be a leak.
pub(in crate::service) fn level_off(
    view: &View<'_>,
    finding: &ServiceFinding,
    last: At,
    at: At,
) -> bool {
    let resource = Resource::ALL
        .into_iter()
        .find(|resource| resource.kind() == finding.kind);
    let Some(resource) = resource else {
        return false;
    };
    finding.instances.iter().all(|instance| {
        let watched = view.instances.get(instance);
        watched.is_some_and(|watched| is_level(resource, watched, (finding.since, last, at)))
    })
}

fn is_level(resource: Resource, watched: &Watched, (since, last, at): (At, At, At)) -> bool {
    let same = !watched.down && watched.ready.is_some_and(|ready| ready <= since);
    let part = |from: At, to: At| {
        let within = move |second: &&Second| second.at > from && second.at <= to;
        watched.seconds.iter().filter(within).collect::<Vec<_>>()
    };
    let (before, after) = (part(since, last), part(last, at));
    let calls = |seconds: &[&Second]| seconds.iter().map(|s| s.calls).sum::<f64>();
    let (Some(grew), Some(grows)) = (rate(resource, &before), rate(resource, &after)) else {
        return false;
    };
    // What is asked for less grows less, too.
    let per_window = |seconds: &[&Second]| calls(seconds) / seconds.len().max(1) as f64;
    let works = per_window(&after) >= 0.5 * per_window(&before);
    same && works && grows <= SHARE_MAX * grew
}

/// Growth in a second, from the first windows to the last.
fn rate(resource: Resource, seconds: &[&Second]) -> Option<f64> {
    let mean = |some: &[&Second]| {
        let values = some.iter().map(|second| resource.of_second(second));
        values.sum::<f64>() / some.len() as f64
    };
    let first = seconds.get(..WINDOWS)?;
    let last = &seconds[seconds.len() - WINDOWS..];
    let span_us = last[0].at.since(first[0].at);
    (span_us > 0).then(|| (mean(last) - mean(first)) / (span_us as f64 / 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(calls: impl Fn(u64) -> f64, memory: impl Fn(f64) -> f64) -> Watched {
        let seconds = (1..=80u64).map(|second| Second {
            at: At(second * 1_000_000),
            calls: calls(second),
            memory: memory(second as f64),
            ..Second::default()
        });
        let mut watched = Watched::default();
        watched.ready = Some(At(0));
        watched.seconds = seconds.collect();
        watched
    }

    fn levels(watched: &Watched) -> bool {
        let second = |second: u64| At(second * 1_000_000);
        is_level(
            Resource::Memory,
            watched,
            (second(5), second(45), second(80)),
        )
    }

    #[test]
    fn what_fills_levels_off_and_what_leaks_does_not() {
        let steady = |_| 50.0;
        let filled = watched(steady, |s| 4e5 * s.min(45.0));
        assert!(levels(&filled));
        assert!(!levels(&watched(steady, |s| 4e5 * s)));
        // Nobody asks any more.
        let rests = |second| if second > 45 { 0.0 } else { 50.0 };
        assert!(!levels(&watched(rests, |s| 4e5 * s.min(45.0))));
        // A new process has leaked nothing yet.
        let mut again = filled;
        again.ready = Some(At(50_000_000));
        assert!(!levels(&again));
    }
}
