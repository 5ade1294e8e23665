//! Instances with calls under way on which nothing moves.

use cohort_model::{At, InstanceId, ServiceFindingKind};

use super::View;
use super::book::{Conclusion, Key};
use super::record::Watched;
use crate::findings::measured;

/// Seconds without an answer that are a hang; and as a multiple of the longest call ever seen.
const HANG_S: f64 = 10.0;
const HANG_LONGEST: f64 = 5.0;
/// CPU use above which it does something.
const HANG_CORES_MAX: f64 = 0.05;

pub(super) fn conclude(view: &View<'_>, at: At, drawn: &mut Vec<Conclusion>) {
    for (instance, watched) in view.instances.iter().filter(|(_, w)| !w.down) {
        if let Some(conclusion) = hang(view, *instance, watched, at) {
            drawn.push(conclusion);
        }
    }
}

fn hang(view: &View<'_>, instance: InstanceId, watched: &Watched, at: At) -> Option<Conclusion> {
    let newest = watched.seconds.back()?;
    let longest_s = watched
        .seconds
        .iter()
        .flat_map(|s| &s.endpoints)
        .map(|e| e.longest_us / 1e6)
        .fold(0.0, f64::max);
    let threshold = HANG_S.max(HANG_LONGEST * longest_s);
    let answered = watched.seconds.iter().any(|s| s.calls > 0.0);
    if watched.still_s < threshold || !answered || at.since(newest.at) > 5_000_000 {
        return None;
    }
    let still = || {
        watched
            .seconds
            .iter()
            .rev()
            .take_while(|s| s.calls == 0.0)
            .filter(|s| !s.warm_up)
    };
    let cores: f64 = still().filter_map(|s| s.cores).sum::<f64>() / still().count().max(1) as f64;
    if cores > HANG_CORES_MAX {
        return None;
    }
    let waiting: Vec<&super::record::EndpointSecond> = newest
        .endpoints
        .iter()
        .filter(|e| e.in_flight >= 1.0)
        .collect();
    let endpoint = match waiting[..] {
        [one] => Some(one.endpoint),
        _ => None,
    };
    let names: Vec<String> = waiting
        .iter()
        .take(3)
        .map(|e| view.name(e.endpoint))
        .collect();
    Some(Conclusion {
        key: Key::of(ServiceFindingKind::Hang, None),
        instances: vec![instance],
        endpoint,
        since: At(newest.at.0.saturating_sub((watched.still_s * 1e6) as u64)),
        confidence: 0.95,
        sentence: format!(
            "Instance {instance} hangs: {:.0} calls ({}) are under way, none was answered for {:.0} s, and it uses no CPU.",
            newest.in_flight,
            names.join(", "),
            watched.still_s,
        ),
        evidence: vec![
            measured("without an answer", watched.still_s, "s"),
            measured("calls under way", newest.in_flight, "calls"),
            measured("cpu used", cores, "cores"),
        ],
        excerpts: Vec::new(),
        needs: 2,
        patience: 5_000_000,
        amount: 0.0,
    })
}
