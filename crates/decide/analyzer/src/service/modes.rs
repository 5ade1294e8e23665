//! Some inputs of an endpoint burn far more CPU than others.
//!
//! Its latency then has two modes, and the instance's CPU follows the slow one: CPU of each second
//! is fitted by all calls, by the slow calls that were running in it, and by whether other endpoints
//! had slow calls in it (least squares, no negative part). A pause of the whole process, or a batch of its own, slows the calls of every endpoint
//! alike; so the slow calls must be this endpoint's far more than the others'.

use std::collections::BTreeMap;

use cohort_model::{At, InstanceId, ServiceFindingKind};

use super::View;
use super::book::{Conclusion, Key};
use super::fit::non_negative;
use super::record::{COARSE, Second, coarse_bound_us};
use super::words;
use crate::findings::measured;
use crate::statistics::{median, poisson_tail};

/// How far back, seconds.
const REACH_S: f64 = 90.0;
/// Slow: at least this many times the median of the endpoint, and this long, microseconds.
const SLOW_RATIO: f64 = 8.0;
const SLOW_MIN_US: f64 = 64_000.0;
/// Slow calls, and windows that hold one, at least.
const CALLS_MIN: f64 = 4.0;
const WINDOWS_MIN: usize = 4;
/// Share of its calls that are slow, at most: else it is simply slow.
const SHARE_MAX: f64 = 0.35;
/// Calls that are far from usual and not yet slow, for each slow one, at most: two modes.
const BETWEEN_MAX: f64 = 4.0;
/// Slow calls over those that a pause of the whole process would make, and how likely that many
/// are then.
const ENRICHED_MIN: f64 = 4.0;
const CHANCE: f64 = 1e-3;
/// The same where slow calls of others come only beside slow ones of it: it blocks them. Windows with
/// slow calls of others, at least, and the share of them that hold a slow one of it.
const BLOCKS_ENRICHED_MIN: f64 = 2.0;
const BLOCKS_CHANCE: f64 = 1e-6;
const BLOCKED_MIN: usize = 8;
const BLOCKS_MIN: f64 = 0.85;
/// CPU of a slow call: seconds, and as a share of its latency.
const CPU_MIN_S: f64 = 0.04;
const CPU_SHARE_MIN: f64 = 0.12;
/// Standard errors by which it is above zero.
const SURE: f64 = 4.0;
const PATIENCE_US: u64 = 90_000_000;
/// Times what they took before the first slow call from which on even the fastest calls of late are
/// slower, so that it is not some inputs; windows on each side, and how far late reaches, seconds.
const SHIFTED_RATIO: f64 = 1.7;
const SHIFTED_WINDOWS_MIN: usize = 4;
const LATE_S: f64 = 12.0;
/// Share of its calls of late, since the first slow one, that are slow, at most.
const SLOW_OF_LATE_MAX: f64 = 0.5;

pub(super) fn conclude(view: &View<'_>, at: At, drawn: &mut Vec<Conclusion>) {
    let endpoints = view.all_endpoints();
    let all: BTreeMap<u32, [f64; COARSE]> =
        endpoints.iter().map(|e| (*e, counts(view, *e))).collect();
    let fitted = endpoints.iter().flat_map(|endpoint| {
        suspects(view, &all, *endpoint)
            .into_iter()
            .filter_map(|suspect| burn(view, &all, &suspect).map(|burn| (suspect, burn)))
    });
    // Slow calls of one endpoint slow others down; the one that explains the CPU best is to blame.
    let best = fitted.max_by(|a, b| a.1.sureness.total_cmp(&b.1.sureness));
    if let Some((suspect, burn)) = best {
        drawn.push(concluded(view, &suspect, &burn, at));
    }
}

/// An endpoint whose latency has two modes.
struct Suspect {
    endpoint: u32,
    /// First coarse bucket that counts as slow.
    bucket: usize,
    usual_us: f64,
    slow_us: f64,
    slow: f64,
    share: f64,
    others: f64,
    /// Slow calls of others come only beside its own.
    blocks: bool,
    instances: Vec<InstanceId>,
    since: At,
}

/// One for each latency from which on calls of the endpoint could count as slow: the host slows
/// calls down as well, more or less, so the CPU has to say where slow begins.
fn suspects(view: &View<'_>, all: &BTreeMap<u32, [f64; COARSE]>, endpoint: u32) -> Vec<Suspect> {
    let counts = &all[&endpoint];
    let total: f64 = counts.iter().sum();
    // What never ends burns CPU, and slows the others of its endpoint.
    let another = view.has_one_input(endpoint) || view.hangs(endpoint);
    let Some(usual_us) = quantile(counts, 0.5).filter(|_| !another) else {
        return Vec::new();
    };
    let least_us = (SLOW_RATIO * usual_us / 1.5).max(SLOW_MIN_US);
    let suspect = |bucket: usize| {
        let slow: f64 = counts[bucket..].iter().sum();
        let share = slow / total.max(1.0);
        let usual = (SLOW_RATIO * usual_us).max(1.0);
        let between: f64 = (0..bucket)
            .filter(|b| coarse_bound_us(*b) / 2.0 >= usual)
            .map(|b| counts[b])
            .sum();
        if slow < CALLS_MIN || share > SHARE_MAX || between > BETWEEN_MAX * slow {
            return None;
        }
        let (instances, windows, since) = where_slow(view, endpoint, bucket);
        let (others, by_chance) = others_slow(all, endpoint, bucket, total * usual_us);
        let chance = poisson_tail(by_chance, slow);
        let enriched = slow >= ENRICHED_MIN * by_chance && chance < CHANCE;
        let blocks = slow >= BLOCKS_ENRICHED_MIN * by_chance
            && chance < BLOCKS_CHANCE
            && blocks_others(view, all, endpoint, bucket);
        if windows < WINDOWS_MIN
            || !(enriched || blocks)
            || all_slower(view, endpoint, bucket, since)
        {
            return None;
        }
        Some(Suspect {
            endpoint,
            bucket,
            usual_us,
            slow_us: quantile(counts, 1.0 - share / 2.0)?,
            slow,
            share,
            others,
            blocks,
            instances,
            since,
        })
    };
    (0..COARSE)
        .filter(|bucket| coarse_bound_us(*bucket) / 2.0 >= least_us)
        .filter_map(suspect)
        .collect()
}

fn counts(view: &View<'_>, endpoint: u32) -> [f64; COARSE] {
    let mut counts = [0.0; COARSE];
    for second in view.recent(REACH_S) {
        if let Some(e) = second.endpoint(endpoint) {
            for (sum, count) in counts.iter_mut().zip(e.coarse) {
                *sum += f64::from(count);
            }
        }
    }
    counts
}

/// Upper bound of the bucket, less a third, in which the quantile lies, microseconds.
fn quantile(counts: &[f64; COARSE], q: f64) -> Option<f64> {
    let total: f64 = counts.iter().sum();
    let mut seen = 0.0;
    (0..COARSE)
        .find(|bucket| {
            seen += counts[*bucket];
            total > 0.0 && seen >= q * total
        })
        .map(|bucket| coarse_bound_us(bucket) / 1.4)
}

/// Instances with slow calls, how many windows hold one, and when the first was.
fn where_slow(view: &View<'_>, endpoint: u32, bucket: usize) -> (Vec<InstanceId>, usize, At) {
    let mut instances = Vec::new();
    let (mut windows, mut since) = (0, At(u64::MAX));
    for (instance, watched) in view.instances {
        let slow = |s: &&Second| {
            s.endpoint(endpoint)
                .is_some_and(|e| e.calls_beyond(bucket) > 0.0)
        };
        let here = watched.recent(REACH_S).filter(slow).count();
        if here > 0 {
            instances.push(*instance);
            windows += here;
            let first = watched.recent(REACH_S).find(slow).map(|s| s.at);
            since = since.min(first.unwrap_or(since));
        }
    }
    (instances, windows, since)
}

/// Whether it is all calls that got slower, by then or bit by bit: of late most are slow, or even the
/// fastest take far longer than before the first slow one.
fn all_slower(view: &View<'_>, endpoint: u32, bucket: usize, since: At) -> bool {
    let fastest = |seconds: &mut dyn Iterator<Item = &Second>| {
        let all = seconds.filter_map(|s| s.endpoint(endpoint));
        let mut fastest: Vec<f64> = all.filter(|e| e.calls > 0.0).map(|e| e.p10_us).collect();
        (fastest.len() >= SHIFTED_WINDOWS_MIN).then(|| median(&mut fastest))
    };
    let before = fastest(&mut view.recent(REACH_S).filter(|s| s.at < since));
    let late = || view.recent(LATE_S).filter(|s| s.at >= since);
    let latest = fastest(&mut late());
    let shifted = before
        .zip(latest)
        .is_some_and(|(before, latest)| latest >= SHIFTED_RATIO * before);
    let (slow, calls) = late()
        .filter_map(|s| s.endpoint(endpoint))
        .fold((0.0, 0.0_f64), |sums, e| {
            (sums.0 + e.calls_beyond(bucket), sums.1 + e.calls)
        });
    shifted || slow > SLOW_OF_LATE_MAX * calls.max(CALLS_MIN)
}

/// Calls of all other endpoints that are about as slow (a bucket less: a pause of one length adds to
/// what they take otherwise), and slow against their own median; and how many
/// of this endpoint would be, if it were the whole process that stands still at times: as many for
/// each second under way. `exposed_us`: time that its calls are under way.
fn others_slow(
    all: &BTreeMap<u32, [f64; COARSE]>,
    endpoint: u32,
    bucket: usize,
    exposed_us: f64,
) -> (f64, f64) {
    let (mut slow, mut others_us) = (0.0, 0.0);
    for (_, counts) in all.iter().filter(|(other, _)| **other != endpoint) {
        let Some(usual_us) = quantile(counts, 0.5) else {
            continue;
        };
        others_us += counts.iter().sum::<f64>() * usual_us;
        slow += (bucket.saturating_sub(1)..COARSE)
            .filter(|b| coarse_bound_us(*b) / 2.0 >= SLOW_RATIO * usual_us / 1.5)
            .map(|b| counts[b])
            .sum::<f64>();
    }
    // One or two more may come any time; without others, nothing is known of pauses.
    let share = (exposed_us / others_us.max(1.0)).min(1.0);
    (slow, (slow + 2.0) * share)
}

/// CPU that slow calls burn.
struct Burn {
    seconds: f64,
    error: f64,
    sureness: f64,
}

fn burn(view: &View<'_>, all: &BTreeMap<u32, [f64; COARSE]>, suspect: &Suspect) -> Option<Burn> {
    let (mut cpu, mut calls, mut slow) = (Vec::new(), Vec::new(), Vec::new());
    // Whether calls of other endpoints were slow too: CPU of such a window may be a pause's.
    let mut paused = Vec::new();
    let least = slow_from(all, suspect.endpoint);
    for watched in view.instances.values() {
        let seconds: Vec<&Second> = watched.recent(REACH_S).collect();
        let running = running(&seconds, suspect);
        for (second, running) in seconds.iter().zip(running) {
            let Some(cores) = second.cores else { continue };
            cpu.push(cores * second.span_s);
            calls.push(second.calls);
            slow.push(running);
            // What it blocks itself is no pause beside it.
            let pause = !suspect.blocks && others_slow_in(second, &least, suspect.bucket);
            paused.push(f64::from(u8::from(pause)));
        }
    }
    let fit = non_negative(&[calls, slow, paused], &cpu)?;
    let (seconds, error) = (fit.coefficients[1], fit.errors[1]);
    let sure = seconds > SURE * error
        && seconds >= CPU_MIN_S
        && seconds >= CPU_SHARE_MIN * suspect.slow_us / 1e6;
    sure.then(|| Burn {
        seconds,
        error,
        sureness: seconds / error.max(1e-9),
    })
}

/// By other endpoint, from which latency on a call of it is slow, microseconds.
fn slow_from(all: &BTreeMap<u32, [f64; COARSE]>, endpoint: u32) -> BTreeMap<u32, f64> {
    let others = all.iter().filter(|(other, _)| **other != endpoint);
    others
        .filter_map(|(other, counts)| Some((*other, SLOW_RATIO * quantile(counts, 0.5)? / 1.5)))
        .collect()
}

/// Whether a window holds calls of others that are about as slow as `bucket`.
fn others_slow_in(second: &Second, least: &BTreeMap<u32, f64>, bucket: usize) -> bool {
    second.endpoints.iter().any(|e| {
        least.get(&e.endpoint).is_some_and(|least_us| {
            (bucket.saturating_sub(1)..COARSE)
                .any(|b| e.coarse[b] > 0 && coarse_bound_us(b) / 2.0 >= *least_us)
        })
    })
}

/// Whether (nearly) each window in which calls of others are slow holds a slow one of it: pauses of
/// the whole process would come without as well.
fn blocks_others(
    view: &View<'_>,
    all: &BTreeMap<u32, [f64; COARSE]>,
    endpoint: u32,
    bucket: usize,
) -> bool {
    let least = slow_from(all, endpoint);
    let (mut blocked, mut beside) = (0, 0);
    for second in view.recent(REACH_S) {
        if others_slow_in(second, &least, bucket) {
            blocked += 1;
            let slow = second
                .endpoint(endpoint)
                .is_some_and(|e| e.calls_beyond(bucket) > 0.0);
            beside += usize::from(slow);
        }
    }
    blocked >= BLOCKED_MIN && beside as f64 >= BLOCKS_MIN * blocked as f64
}

/// For every window, how much of slow calls ran in it, in calls: a call ends in its window, and
/// ran in those before for as long as it took.
fn running(seconds: &[&Second], suspect: &Suspect) -> Vec<f64> {
    let mut running = vec![0.0; seconds.len()];
    for (place, second) in seconds.iter().enumerate() {
        let Some(e) = second.endpoint(suspect.endpoint) else {
            continue;
        };
        for bucket in suspect.bucket..COARSE {
            let count = f64::from(e.coarse[bucket]);
            if count == 0.0 {
                continue;
            }
            let took_s = coarse_bound_us(bucket) / 1.4e6;
            // It ended, on average, in the middle of its window.
            let (mut left_s, mut within_s) = (took_s, second.span_s / 2.0);
            for earlier in (0..=place).rev() {
                let part_s = left_s.min(within_s);
                running[earlier] += count * part_s / took_s;
                left_s -= part_s;
                within_s = seconds[earlier].span_s;
                if left_s <= 0.0 {
                    break;
                }
            }
        }
    }
    running
}

fn concluded(view: &View<'_>, suspect: &Suspect, burn: &Burn, at: At) -> Conclusion {
    let excerpts = view.exemplars(suspect.endpoint);
    let example = excerpts
        .first()
        .map_or_else(String::new, |e| format!(", such as {e}"));
    Conclusion {
        key: Key::of(ServiceFindingKind::CpuBlowUp, Some(suspect.endpoint)),
        instances: suspect.instances.clone(),
        endpoint: None,
        since: suspect.since.min(at),
        confidence: (0.6 + burn.sureness / 40.0).min(0.99),
        sentence: format!(
            "{} of the calls of {} take {} instead of {} and burn {} of CPU each{example}.",
            words::percent(suspect.share),
            view.name(suspect.endpoint),
            words::time(suspect.slow_us),
            words::time(suspect.usual_us),
            words::time(burn.seconds * 1e6),
        ),
        evidence: vec![
            measured("slow calls", suspect.slow, "calls"),
            measured("share of its calls", suspect.share, "share"),
            measured("slow calls of other endpoints", suspect.others, "calls"),
            measured("cpu of a slow call", burn.seconds, "s"),
            measured("standard error of that", burn.error, "s"),
            measured("latency of a slow call", suspect.slow_us / 1e3, "ms"),
            measured("median latency", suspect.usual_us / 1e3, "ms"),
        ],
        excerpts,
        needs: 2,
        patience: PATIENCE_US,
        amount: suspect.slow,
    }
}
