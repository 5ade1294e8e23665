//! Calls are under way and none is answered: of a whole instance, or of one endpoint while others are.

use std::collections::BTreeMap;

use cohort_model::{At, InstanceId, ServiceFindingKind};

use super::View;
use super::book::{Conclusion, Key};
use super::record::{EndpointSecond, Second, Watched};
use super::words;
use crate::findings::measured;

/// Seconds without an answer that are a hang; and as a multiple of the longest call ever seen.
const HANG_S: f64 = 10.0;
const HANG_LONGEST: f64 = 5.0;
/// The same for what was never answered, so that nothing is known of how long that takes: an
/// instance, and an endpoint.
const NEVER_S: f64 = 15.0;
const NEVER_ENDPOINT_S: f64 = 20.0;
/// CPU use, cores, above which it does something; then it takes this many times as long to be sure.
const IDLE_CORES_MAX: f64 = 0.05;
const COMPUTING_TIMES: f64 = 2.0;
/// Calls that time out, at least, where none is under way for long enough.
const TIMED_OUT_MIN: f64 = 3.0;
/// Windows older than this say nothing of now, microseconds.
const STALE_US: u64 = 5_000_000;
/// An instance that hangs again after it was restarted hangs still.
const PATIENCE_US: u64 = 45_000_000;

pub(super) fn conclude(view: &View<'_>, at: At, drawn: &mut Vec<Conclusion>) {
    // By the one endpoint that they wait for, when it is one: all who call may come to wait for it.
    let mut whole: BTreeMap<Option<u32>, Vec<Still>> = BTreeMap::new();
    let mut parts: BTreeMap<u32, Vec<Part>> = BTreeMap::new();
    let up = view.instances.iter().filter(|(_, w)| !w.down);
    for (instance, watched) in up {
        let Some(newest) = watched.seconds.back() else {
            continue;
        };
        if at.since(newest.at) > STALE_US {
            continue;
        }
        if let Some(still) = Still::of(*instance, watched, newest) {
            whole.entry(still.only()).or_default().push(still);
        } else if watched.still_s == 0.0 {
            let waiting = newest.endpoints.iter();
            let hanging = waiting.filter_map(|e| Part::of(*instance, watched, newest, e));
            for part in hanging {
                parts.entry(part.endpoint).or_default().push(part);
            }
        }
    }
    for (only, still) in &whole {
        drawn.push(instances_hang(view, *only, still));
    }
    for (endpoint, parts) in parts {
        if !whole.contains_key(&Some(endpoint)) {
            drawn.push(endpoint_hangs(view, endpoint, &parts));
        }
    }
}

/// An instance that answers nothing.
struct Still {
    instance: InstanceId,
    seconds: f64,
    since: At,
    waiting: Vec<u32>,
    calls: f64,
    cores: f64,
    never: bool,
}

impl Still {
    fn of(instance: InstanceId, watched: &Watched, newest: &Second) -> Option<Still> {
        let longest_s = longest_s(watched.seconds.iter().flat_map(|s| &s.endpoints));
        let never = watched.seconds.iter().all(|s| s.calls == 0.0);
        let still = || {
            let silent = watched.seconds.iter().rev().take_while(|s| s.calls == 0.0);
            silent.filter_map(|s| s.cores)
        };
        let cores = still().sum::<f64>() / still().count().max(1) as f64;
        let times = if cores > IDLE_CORES_MAX {
            COMPUTING_TIMES
        } else {
            1.0
        };
        let least_s = if never { NEVER_S } else { HANG_S };
        let waiting = newest.endpoints.iter().filter(|e| e.waits());
        (watched.still_s >= times * least_s.max(HANG_LONGEST * longest_s)).then(|| Still {
            instance,
            seconds: watched.still_s,
            since: before(newest, watched.still_s),
            waiting: waiting.map(|e| e.endpoint).collect(),
            calls: newest.in_flight,
            cores,
            never,
        })
    }

    fn only(&self) -> Option<u32> {
        match self.waiting[..] {
            [one] => Some(one),
            _ => None,
        }
    }
}

fn instances_hang(view: &View<'_>, only: Option<u32>, all: &[Still]) -> Conclusion {
    let instances: Vec<InstanceId> = all.iter().map(|still| still.instance).collect();
    let mut waiting: Vec<u32> = all.iter().flat_map(|s| s.waiting.iter().copied()).collect();
    waiting.sort_unstable();
    waiting.dedup();
    let names: Vec<String> = waiting.iter().map(|e| view.name(*e)).collect();
    let calls: f64 = all.iter().map(|still| still.calls).sum();
    let seconds = all.iter().map(|still| still.seconds).fold(0.0, f64::max);
    let cores: f64 = all.iter().map(|still| still.cores).sum();
    let (who, it) = match instances[..] {
        [one] => (format!("Instance {one} hangs"), "it"),
        _ => (format!("{} hang", words::instances(&instances)), "they"),
    };
    let answered = if all.iter().all(|still| still.never) {
        "none was ever answered".to_owned()
    } else {
        format!("none was answered for {seconds:.0} s")
    };
    let does = match (cores > IDLE_CORES_MAX, it) {
        (false, "it") => "it uses no CPU".to_owned(),
        (false, _) => "they use no CPU".to_owned(),
        (true, "it") => format!("it computes all the time ({cores:.2} cores)"),
        (true, _) => format!("they compute all the time ({cores:.2} cores)"),
    };
    Conclusion {
        key: Key::of(ServiceFindingKind::Hang, only),
        instances,
        endpoint: None,
        since: all.iter().map(|s| s.since).min().unwrap_or_default(),
        confidence: 0.95,
        sentence: format!(
            "{who}: {} ({}) {} under way, {answered}, and {does}.",
            words::counted(calls, "call"),
            words::list(&names),
            words::are(calls),
        ),
        evidence: vec![
            measured("without an answer", seconds, "s"),
            measured("calls under way", calls, "calls"),
            measured("cpu used", cores, "cores"),
        ],
        excerpts: waiting
            .iter()
            .flat_map(|endpoint| view.asked_for(*endpoint, seconds))
            .collect(),
        needs: 2,
        patience: PATIENCE_US,
        amount: 0.0,
    }
}

/// An endpoint with calls that are not answered on an instance that answers others.
struct Part {
    endpoint: u32,
    instance: InstanceId,
    seconds: f64,
    since: At,
    calls: f64,
    timed_out: f64,
    /// Other calls of it were answered meanwhile.
    answered: f64,
    usual_us: f64,
    never: bool,
}

impl Part {
    fn of(
        instance: InstanceId,
        watched: &Watched,
        newest: &Second,
        now: &EndpointSecond,
    ) -> Option<Part> {
        let endpoint = now.endpoint;
        let known = || watched.seconds.iter().filter_map(|s| s.endpoint(endpoint));
        let calls: f64 = known().map(|e| e.calls).sum();
        let sum_us: f64 = known().map(|e| e.sum_us).sum();
        let never = calls == 0.0;
        let least_s = if never {
            NEVER_ENDPOINT_S
        } else {
            HANG_S.max(HANG_LONGEST * longest_s(known()))
        };
        let silence = Silence::of(watched, endpoint);
        let times_out = silence.seconds >= least_s && silence.timed_out >= TIMED_OUT_MIN;
        let oldest_s = now.oldest_us / 1e6;
        if oldest_s < least_s && !times_out {
            return None;
        }
        let seconds = if times_out {
            silence.seconds.max(oldest_s)
        } else {
            oldest_s
        };
        let since = before(newest, seconds);
        // Those that came before it are answered in its first seconds.
        let from = since.plus_us(2_000_000);
        let meanwhile = watched.seconds.iter().filter(|s| s.at > from);
        Some(Part {
            endpoint,
            instance,
            seconds,
            since,
            calls: now.in_flight,
            timed_out: silence.timed_out,
            answered: meanwhile
                .filter_map(|s| s.endpoint(endpoint))
                .map(|e| e.calls)
                .sum(),
            usual_us: sum_us / calls.max(1.0),
            never,
        })
    }
}

/// The latest time in which no call of an endpoint was answered though there were some.
struct Silence {
    seconds: f64,
    timed_out: f64,
}

impl Silence {
    fn of(watched: &Watched, endpoint: u32) -> Silence {
        let mut silence = Silence {
            seconds: 0.0,
            timed_out: 0.0,
        };
        // Between two calls that time out there may be none.
        let mut idle_s = 0.0;
        for second in watched.seconds.iter().rev() {
            match second.endpoint(endpoint) {
                Some(e) if e.calls > 0.0 => break,
                Some(e) if e.waits() => {
                    silence.seconds += second.span_s + idle_s;
                    silence.timed_out += e.timed_out;
                    idle_s = 0.0;
                }
                _ => idle_s += second.span_s,
            }
        }
        silence
    }
}

fn endpoint_hangs(view: &View<'_>, endpoint: u32, parts: &[Part]) -> Conclusion {
    let instances: Vec<InstanceId> = parts.iter().map(|part| part.instance).collect();
    let sum = |of: fn(&Part) -> f64| parts.iter().map(of).sum::<f64>();
    let (calls, timed_out) = (sum(|p| p.calls), sum(|p| p.timed_out));
    let answered = sum(|p| p.answered);
    let seconds = parts.iter().map(|p| p.seconds).fold(0.0, f64::max);
    let usual_us = parts.iter().map(|p| p.usual_us).fold(0.0, f64::max);
    let name = view.name(endpoint);
    let on = words::instances(&instances);
    let mut ends = Vec::new();
    if calls >= 1.0 {
        let all = words::counted(calls, "call");
        ends.push(format!("{all} {} under way", words::are(calls)));
    }
    if timed_out >= 1.0 {
        ends.push(format!("{timed_out:.0} timed out"));
    }
    let ends = ends.join(", ");
    let sentence = if parts.iter().all(|part| part.never) {
        format!("{name} hangs on {on}: no call was ever answered ({ends}), while others are.")
    } else if answered >= 1.0 {
        let usual = words::time(usual_us);
        format!(
            "Calls of {name} hang on {on}: {ends}, the oldest for {seconds:.0} s, while others of it are answered in {usual}."
        )
    } else {
        let usual = words::time(usual_us);
        format!(
            "{name} hangs on {on}: no call was answered for {seconds:.0} s ({ends}), while other endpoints answer; before, it took {usual}."
        )
    };
    Conclusion {
        key: Key::of(ServiceFindingKind::Hang, Some(endpoint)),
        instances,
        endpoint: None,
        since: parts
            .iter()
            .map(|part| part.since)
            .min()
            .unwrap_or_default(),
        // To start the instance anew would end what it still does well.
        confidence: 0.75,
        sentence,
        evidence: vec![
            measured("without an answer", seconds, "s"),
            measured("calls under way", calls, "calls"),
            measured("timed out", timed_out, "calls"),
            measured("answered meanwhile", answered, "calls"),
            measured("latency before", usual_us / 1e3, "ms"),
        ],
        excerpts: view.asked_for(endpoint, seconds),
        needs: 2,
        patience: PATIENCE_US,
        amount: 0.0,
    }
}

fn longest_s<'a>(seconds: impl Iterator<Item = &'a EndpointSecond>) -> f64 {
    seconds.map(|e| e.longest_us / 1e6).fold(0.0, f64::max)
}

/// So many seconds before the end of a window.
fn before(newest: &Second, seconds: f64) -> At {
    At(newest.at.0.saturating_sub((seconds * 1e6) as u64))
}
