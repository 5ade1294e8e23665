//! Calls wait for each other though CPU is idle.
//!
//! Signs, all of which must hold on an instance over the latest seconds:
//! - several calls are under way, and neither its CPU nor the host's is what they wait for;
//! - two endpoints or more take several times the least they were ever seen to take (their floor),
//!   and do so together: their latencies rise and fall as one, or even their fastest calls wait;
//! - one endpoint is served one call at a time: throughput x the least it takes of late is about one
//!   (Little's law for one server). It is the one that holds; the others wait.

use std::collections::BTreeMap;

use cohort_model::{At, InstanceId, ServiceFindingKind};

use super::View;
use super::book::{Conclusion, Key};
use super::fit::{correlation, deviation};
use super::record::{COARSE, Second, Watched, coarse_bound_us};
use super::words;
use crate::findings::measured;

const REACH_S: f64 = 12.0;
const WINDOWS_MIN: usize = 8;
/// Calls under way, and of those waiting, at least.
const UNDER_WAY_MIN: f64 = 1.5;
const WAITING_CALLS_MIN: f64 = 0.4;
/// Use of CPU, as a share of what the instance may use, at most; and share of time without it.
const CPU_MAX: f64 = 0.6;
const PRESSURE_MAX: f64 = 0.4;
const THROTTLED_MAX: f64 = 0.05;
/// Times its floor from which on an endpoint waits, and how long it waits at least, microseconds.
const WAITING_RATIO: f64 = 3.0;
const WAITING_MIN_US: f64 = 5_000.0;
const CALLS_MIN: f64 = 10.0;
/// Latencies that rise and fall as one.
const TOGETHER: f64 = 0.7;
const DEVIATION_MIN: f64 = 0.15;
/// How near the share of calls that waited (this long, microseconds) must be to that in which it is
/// held, and the mean wait to half a hold in that share, as a range of ratios.
const WAITED_MIN_US: f64 = 3_000.0;
const WAITED_NEAR: f64 = 0.3;
const WAIT_NEAR: (f64, f64) = (0.4, 5.0);
/// Share of the time in which the host may be busy at most.
const HOST_BUSY_MAX: f64 = 0.25;
/// How long other endpoints wait beside a lock, as a share of what those behind a lock do.
const OTHERS_WAIT_MAX: f64 = 0.4;
/// Where all others queue: of the windows with so many calls, the share in which some waited and some
/// did not, at least (what merely slows everything down slows all calls of a time); and times what
/// it takes alone that the one that holds takes, at least, since it meets itself too.
const MIXED_CALLS_MIN: f64 = 4.0;
const MIXED_MIN: f64 = 0.7;
const HOLDER_RATIO: f64 = 1.2;
/// Times what it takes alone from which on the one that holds has to queue.
const QUEUED_RATIO: f64 = 1.5;
/// Throughput x floor of the one that holds.
const SERVED_ONE_BY_ONE: (f64, f64) = (0.4, 1.5);
/// CPU used, as a share of the time that calls take alone, at most: else they simply compute (one
/// thread that computes serves one by one, too).
const COMPUTED_MAX: f64 = 0.6;
const PATIENCE_US: u64 = 30_000_000;

pub(super) fn conclude(view: &View<'_>, _at: At, drawn: &mut Vec<Conclusion>) {
    for (instance, watched) in view.instances.iter().filter(|(_, w)| !w.down) {
        if let Some(conclusion) = contended(view, *instance, watched) {
            drawn.push(conclusion);
        }
    }
}

/// One endpoint over the reach.
#[derive(Default)]
struct Waiter {
    endpoint: u32,
    calls: f64,
    sum_us: f64,
    /// Least it was ever seen to take, and of late.
    floor_us: f64,
    least_us: f64,
    /// Mean latency by window, in logarithms.
    means: Vec<(usize, f64)>,
    p10_us: f64,
    p50_us: f64,
    /// Calls that waited.
    waited: f64,
    /// Windows with several calls, and those of them in which some waited and some did not.
    windows: f64,
    mixed: f64,
}

impl Waiter {
    fn mean_us(&self) -> f64 {
        self.sum_us / self.calls.max(1.0)
    }

    fn waits(&self) -> bool {
        self.calls >= CALLS_MIN
            && self.mean_us() >= WAITING_RATIO * self.floor_us
            && self.mean_us() - self.floor_us >= WAITING_MIN_US
    }

    /// How many of its calls are served at once, when that is about one: throughput x the least
    /// it took of late; or, when it always has to wait, the least it ever took.
    fn held(&self, span_s: f64) -> Option<f64> {
        let rate = self.calls / span_s;
        [self.least_us, self.floor_us]
            .into_iter()
            .map(|us| rate * us / 1e6)
            .find(|share| (SERVED_ONE_BY_ONE.0..=SERVED_ONE_BY_ONE.1).contains(share))
            .filter(|_| self.calls >= CALLS_MIN)
    }

    /// Even its fastest calls take far longer than its floor.
    fn shifted(&self) -> bool {
        self.p10_us >= WAITING_RATIO * self.floor_us && self.p10_us >= 0.4 * self.p50_us
    }

    /// Whether it waits as often as the lock is held, and about as long as that lasts: a call that
    /// comes at any time finds it held in that share of the time, and half of a hold still to go.
    fn queues(&self, share: f64, hold_us: f64) -> bool {
        let waited = self.waited / self.calls.max(1.0);
        let wait_us = self.mean_us() - self.floor_us;
        let expected_us = share.min(1.0) * hold_us / 2.0;
        (waited - share.min(1.0)).abs() <= WAITED_NEAR
            && (WAIT_NEAR.0 * expected_us..=WAIT_NEAR.1 * expected_us).contains(&wait_us)
    }

    /// Whether it waits together with the one that holds, which takes `hold_us` at least.
    fn with(&self, holder: &Waiter, hold_us: f64) -> bool {
        let theirs: BTreeMap<usize, f64> = holder.means.iter().copied().collect();
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for (place, own) in &self.means {
            if let Some(value) = theirs.get(place) {
                a.push(*own);
                b.push(*value);
            }
        }
        let together = a.len() >= WINDOWS_MIN
            && correlation(&a, &b) >= TOGETHER
            && deviation(&a) >= DEVIATION_MIN
            && deviation(&b) >= DEVIATION_MIN;
        // Where all wait always, the one that holds has to wait for itself too.
        together
            || (self.shifted() && holder.shifted() && holder.mean_us() >= QUEUED_RATIO * hold_us)
    }
}

fn contended(view: &View<'_>, instance: InstanceId, watched: &Watched) -> Option<Conclusion> {
    let seconds: Vec<&Second> = watched.recent(REACH_S).collect();
    if seconds.len() < WINDOWS_MIN {
        return None;
    }
    let span_s: f64 = seconds.iter().map(|s| s.span_s).sum();
    let mean = |of: &dyn Fn(&Second) -> f64| {
        seconds.iter().map(|s| of(s)).sum::<f64>() / seconds.len() as f64
    };
    let under_way = mean(&Second::under_way);
    let cores = mean(&|s| s.cores.unwrap_or(f64::INFINITY));
    let may_use = watched
        .share
        .map_or(view.settings.cores, |share| share.cores)
        .min(view.settings.cores)
        .max(0.05);
    let idle = cores <= CPU_MAX * may_use
        && mean(&|s| s.cpu_pressure) <= PRESSURE_MAX
        && mean(&|s| s.throttled) <= THROTTLED_MAX
        && under_way >= UNDER_WAY_MIN;
    if !idle {
        return None;
    }
    let known = waiters(view, &seconds);
    let (holder, share) = known
        .iter()
        .filter_map(|w| w.held(span_s).map(|share| (w, share)))
        .max_by(|a, b| a.0.sum_us.total_cmp(&b.0.sum_us))?;
    let hold_us = share / (holder.calls / span_s).max(1e-9) * 1e6;
    let together: Vec<&Waiter> = known
        .iter()
        .filter(|w| w.endpoint != holder.endpoint && w.waits() && w.with(holder, hold_us))
        .collect();
    let queuing: Vec<&Waiter> = known
        .iter()
        .filter(|w| w.endpoint != holder.endpoint && w.waits() && w.queues(share, hold_us))
        .collect();
    let together = if others_do_not_wait(&known, holder, &queuing)
        || all_others_queue(&known, holder, hold_us, &queuing)
    {
        queuing
    } else {
        together
    };
    let waiting: f64 = together
        .iter()
        .map(|w| (w.mean_us() - w.floor_us) / 1e6 * w.calls / span_s)
        .sum();
    // Where anything waits for CPU, any of these may.
    if mean(&|s| f64::from(u8::from(s.host_busy))) > HOST_BUSY_MAX {
        return None;
    }
    // Time that calls of the others take alone, a second.
    let alone: f64 = known
        .iter()
        .filter(|w| w.endpoint != holder.endpoint)
        .map(|w| w.calls / span_s * w.floor_us / 1e6)
        .sum();
    if together.is_empty() || waiting < WAITING_CALLS_MIN || cores > COMPUTED_MAX * (share + alone)
    {
        return None;
    }
    Some(concluded(
        view,
        instance,
        holder,
        &together,
        &Numbers {
            share,
            hold_us,
            under_way,
            cores,
            futexes: mean(&|s| s.futexes),
            since: seconds[0].at,
        },
    ))
}

/// Whether other endpoints wait so much less that those who wait do so for the one that holds.
fn others_do_not_wait(known: &[Waiter], holder: &Waiter, together: &[&Waiter]) -> bool {
    let excess = |w: &Waiter| w.mean_us() - w.floor_us;
    if together.is_empty() {
        return false;
    }
    let least = together
        .iter()
        .map(|w| excess(w))
        .fold(f64::INFINITY, f64::min);
    let others: Vec<&Waiter> = known
        .iter()
        .filter(|w| {
            w.calls >= CALLS_MIN
                && w.endpoint != holder.endpoint
                && together.iter().all(|t| t.endpoint != w.endpoint)
        })
        .collect();
    let quick = others
        .iter()
        .filter(|w| excess(w) <= OTHERS_WAIT_MAX * least)
        .count();
    quick >= 2 && quick * 3 >= others.len() * 2
}

/// Whether all others, two or more, wait as often and as long as the one that holds makes them, each
/// as soon as it is met: neither always nor never.
fn all_others_queue(known: &[Waiter], holder: &Waiter, hold_us: f64, queuing: &[&Waiter]) -> bool {
    let others = known
        .iter()
        .filter(|w| w.calls >= CALLS_MIN && w.endpoint != holder.endpoint);
    let mixed = |w: &&Waiter| w.windows >= WINDOWS_MIN as f64 && w.mixed >= MIXED_MIN * w.windows;
    queuing.len() >= 2
        && queuing.len() == others.count()
        && queuing.iter().all(mixed)
        && holder.mean_us() >= HOLDER_RATIO * hold_us
}

fn waiters(view: &View<'_>, seconds: &[&Second]) -> Vec<Waiter> {
    let mut known: BTreeMap<u32, Waiter> = BTreeMap::new();
    for (place, second) in seconds.iter().enumerate() {
        for e in &second.endpoints {
            let (Some(mean), Some(floor_us)) = (e.mean_us(), view.floor_us(e.endpoint)) else {
                continue;
            };
            let waiter = known.entry(e.endpoint).or_default();
            waiter.endpoint = e.endpoint;
            waiter.floor_us = floor_us;
            if waiter.calls == 0.0 || e.p10_us < waiter.least_us {
                waiter.least_us = e.p10_us;
            }
            waiter.calls += e.calls;
            waiter.sum_us += e.sum_us;
            let least_us = (WAITING_RATIO * floor_us).max(WAITED_MIN_US);
            let bucket = (0..COARSE).find(|b| coarse_bound_us(*b) / 2.0 >= least_us);
            let waited = bucket.map_or(0.0, |bucket| e.calls_beyond(bucket));
            waiter.waited += waited;
            if e.calls >= MIXED_CALLS_MIN {
                waiter.windows += 1.0;
                let mixed = waited >= 1.0 && waited <= e.calls - 1.0;
                waiter.mixed += f64::from(u8::from(mixed));
            }
            waiter.p10_us += e.p10_us * e.calls;
            waiter.p50_us += e.p50_us * e.calls;
            waiter.means.push((place, mean.max(1.0).ln()));
        }
    }
    for waiter in known.values_mut() {
        waiter.p10_us /= waiter.calls.max(1.0);
        waiter.p50_us /= waiter.calls.max(1.0);
    }
    known.into_values().collect()
}

struct Numbers {
    share: f64,
    hold_us: f64,
    under_way: f64,
    cores: f64,
    futexes: f64,
    since: At,
}

fn concluded(
    view: &View<'_>,
    instance: InstanceId,
    holder: &Waiter,
    together: &[&Waiter],
    numbers: &Numbers,
) -> Conclusion {
    let names: Vec<String> = together.iter().map(|w| view.name(w.endpoint)).collect();
    let mut evidence = vec![
        measured("served one by one", numbers.share, "calls at once"),
        measured("calls under way", numbers.under_way, "calls"),
        measured("cpu used", numbers.cores, "cores"),
        measured("latency of the holder", holder.mean_us() / 1e3, "ms"),
        measured("least it takes", numbers.hold_us / 1e3, "ms"),
        measured(
            "endpoints that wait with it",
            together.len() as f64,
            "endpoints",
        ),
    ];
    if numbers.futexes > 0.0 {
        evidence.push(measured("futex calls", numbers.futexes, "calls/s"));
    }
    Conclusion {
        key: Key::of(ServiceFindingKind::LockContention, Some(holder.endpoint)),
        instances: vec![instance],
        endpoint: None,
        since: numbers.since,
        confidence: 0.9,
        sentence: format!(
            "Calls of {} are served one at a time ({} each) while CPU is idle, and {} wait{} for them: {:.0} calls are under way at once.",
            view.name(holder.endpoint),
            words::time(numbers.hold_us),
            words::list(&names),
            if together.len() == 1 { "s" } else { "" },
            numbers.under_way,
        ),
        evidence,
        excerpts: Vec::new(),
        needs: 4,
        patience: PATIENCE_US,
        amount: 0.0,
    }
}
