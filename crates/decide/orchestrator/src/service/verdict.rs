//! What a change did: after against before, and against the instances that it did not touch, so that
//! what all of them saw alike (more load, a busier host) cancels.

use std::collections::BTreeMap;

use cohort_allocator::Resource;
use cohort_model::{At, Change, ChangeVerdict, InstanceId};

use super::load::Profile;
use super::trial::{Deed, Parts, Trial};
use super::weigh::RECENT_US;
use super::{BEAT_US, Conductor};

/// Fewer calls in a window tell nothing.
const CALLS_MIN: f64 = 30.0;
/// Latency at least so much lower, relative, is help.
pub(super) const LOWER: f64 = 0.97;
/// What gave may get so much slower.
const DONORS_MAX: f64 = 1.15;
/// What got something for nothing may get so much slower.
const WORSE: f64 = 1.15;
/// Calls may fail so much more often, as a part of all and relative to before.
const FAILED_MORE: f64 = 0.01;
const FAILED_TIMES: f64 = 1.5;
/// A part of memory in use at least so much smaller is help.
const EASED: f64 = 0.95;
/// The campaign may get through so much less of what it did before.
const RATE_MIN: f64 = 0.95;
/// When the number of threads changed more than this, relative, a rate tells nothing.
const THREADS_CHANGE_MAX: f64 = 0.5;
/// A rate is taken over at least so long, microseconds.
const SINCE_US_MIN: u64 = 2_000_000;
/// Fewer iterations tell nothing.
const ITERATIONS_MIN: u64 = 20;

/// What a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Helped,
    InVain,
    Unclear,
}

/// Iterations a second of one thread, over all instances, of late.
pub(super) fn rate_per_thread(conductor: &Conductor, at: At) -> f64 {
    rate_over(conductor, at, RECENT_US)
}

/// The same, without the time before `since`, when all was different; but over some time at least.
pub(super) fn rate_per_thread_since(conductor: &Conductor, at: At, since: At) -> f64 {
    let us = at.since(since).clamp(SINCE_US_MIN, RECENT_US);
    rate_over(conductor, at, us - us % BEAT_US)
}

fn rate_over(conductor: &Conductor, at: At, us: u64) -> f64 {
    iterations(conductor, at, us) as f64 / (us as f64 / 1e6) / conductor.threads.len().max(1) as f64
}

fn iterations(conductor: &Conductor, at: At, us: u64) -> u64 {
    let recent = |&&(then, _): &&(At, u64)| at.since(then) < us;
    conductor
        .iterated
        .iter()
        .filter(recent)
        .map(|&(_, count)| count)
        .sum()
}

/// The record of a change of shares that is about to be tried.
pub(super) fn describe(
    conductor: &Conductor,
    number: u32,
    resource: Resource,
    gifts: &[(InstanceId, f64)],
    donors: &[(InstanceId, f64)],
) -> Change {
    let part = |&(id, amount): &(InstanceId, f64), sign: f64| {
        let share = conductor.ledger.ordered(id);
        let had = share.and_then(|share| resource.of(&share)).unwrap_or(0.0);
        let now = resource.words(had + sign * amount);
        format!("{id} gets {now} ({})", resource.words(had))
    };
    let parts: Vec<String> = gifts
        .iter()
        .map(|gift| part(gift, 1.0))
        .chain(donors.iter().map(|donor| part(donor, -1.0)))
        .collect();
    let receiver = gifts.first().map_or(InstanceId(0), |&(id, _)| id);
    let amount = gifts.first().map_or(0.0, |&(_, amount)| amount);
    let had = conductor
        .ledger
        .ordered(receiver)
        .and_then(|share| resource.of(&share))
        .unwrap_or(0.0);
    let grown = (had + amount) / had.max(resource.floor());
    let (measure, before) = match resource {
        Resource::Memory => (
            format!("part of its memory that {receiver} uses"),
            memory_part(conductor, receiver).unwrap_or(0.0),
        ),
        _ => (
            format!("mean latency of {receiver}, ms"),
            mean_ms(&conductor.recent, receiver),
        ),
    };
    // What is free is given without a need: it is only not to do harm.
    let helps = !donors.is_empty() || gifts.len() == 1;
    Change {
        number,
        what: parts.join(", "),
        measure,
        before,
        expected: if helps { before / grown } else { before },
        measured: None,
        verdict: ChangeVerdict::Pending,
    }
}

fn mean_ms(recent: &BTreeMap<InstanceId, Profile>, instance: InstanceId) -> f64 {
    recent
        .get(&instance)
        .map_or(0.0, |profile| profile.mean_us() / 1e3)
}

/// Mean latency of some instances lately, milliseconds.
pub(super) fn mean_ms_of(conductor: &Conductor, ids: &[InstanceId]) -> f64 {
    let mut sum = Profile::default();
    for own in ids.iter().filter_map(|id| conductor.recent.get(id)) {
        sum.add(own);
    }
    sum.mean_us() / 1e3
}

fn memory_part(conductor: &Conductor, instance: InstanceId) -> Option<f64> {
    let used = conductor.places.get(&instance)?.meter.used()?;
    let share = conductor.ledger.ordered(instance)?;
    Some(used.memory as f64 / (share.memory.max(1)) as f64)
}

/// Judges a change that has been in force long enough, with what was measured.
pub(super) fn judge(conductor: &Conductor, at: At, trial: &Trial) -> (Judgement, Option<f64>) {
    match &trial.deed {
        Deed::Gather { .. } => judge_rate(conductor, at, trial),
        Deed::Shares(parts) => judge_shares(conductor, trial, parts),
        Deed::Lean { lower } => judge_lean(conductor, trial, *lower),
    }
}

fn judge_rate(conductor: &Conductor, at: At, trial: &Trial) -> (Judgement, Option<f64>) {
    let rate = rate_per_thread(conductor, at);
    let had = trial.threads.max(1) as f64;
    let changed = (conductor.threads.len() as f64 - had).abs() / had;
    let judgement =
        if changed > THREADS_CHANGE_MAX || iterations(conductor, at, RECENT_US) < ITERATIONS_MIN {
            Judgement::Unclear
        } else if rate >= RATE_MIN * trial.change.before {
            Judgement::Helped
        } else {
            Judgement::InVain
        };
    (judgement, Some(rate))
}

/// Latency of some instances now, over that before, for the same calls.
fn factor(conductor: &Conductor, trial: &Trial, ids: &[InstanceId]) -> Option<f64> {
    let (mut now, mut before) = (Profile::default(), Profile::default());
    for id in ids {
        now.add(conductor.recent.get(id)?);
        before.add(trial.before.get(id)?);
    }
    let enough = now.calls() >= CALLS_MIN && before.calls() >= CALLS_MIN;
    now.over(&before).filter(|_| enough)
}

/// Latency of the instances that a change does not touch, now over before; 1 when there are none.
fn control(conductor: &Conductor, trial: &Trial) -> f64 {
    let untouched = |id: &InstanceId| !trial.involved.contains(id) && trial.before.contains_key(id);
    let ids: Vec<InstanceId> = conductor.recent.keys().copied().filter(untouched).collect();
    factor(conductor, trial, &ids).unwrap_or(1.0)
}

/// Latency of some instances lately over that in as much time before, for the same calls.
pub(super) fn drift(conductor: &Conductor, at: At, ids: &[InstanceId]) -> Option<f64> {
    let [from, middle] = [2, 1].map(|times| At(at.0.saturating_sub(times * RECENT_US)));
    let (mut now, mut before) = (Profile::default(), Profile::default());
    for id in ids {
        let load = &conductor.places.get(id)?.load;
        now.add(&load.between(middle, at));
        before.add(&load.between(from, middle));
    }
    let enough = now.calls() >= CALLS_MIN && before.calls() >= CALLS_MIN;
    now.over(&before).filter(|_| enough)
}

/// Faster than before by more than what changed by itself, and what it asks for does not fail there: a visitor of one instance may be unknown to
/// another.
fn judge_lean(conductor: &Conductor, trial: &Trial, lower: f64) -> (Judgement, Option<f64>) {
    let Some(got) = factor(conductor, trial, &trial.involved) else {
        return (Judgement::Unclear, None);
    };
    let got = got / control(conductor, trial);
    let failed = |profiles: &BTreeMap<InstanceId, Profile>| {
        let involved = trial.involved.iter().filter_map(|id| profiles.get(id));
        let (failed, calls) = involved.fold((0.0, 0.0), |(failed, calls), own| {
            (failed + own.failed(), calls + own.calls())
        });
        failed / f64::max(calls, 1.0)
    };
    let (now, before) = (failed(&conductor.recent), failed(&trial.before));
    let fails = now > before + FAILED_MORE && now > FAILED_TIMES * before;
    let measured = trial.change.before * got;
    (helped_when(got <= lower && !fails), Some(measured))
}

fn judge_shares(
    conductor: &Conductor,
    trial: &Trial,
    Parts {
        resource,
        gifts,
        donors,
    }: &Parts,
) -> (Judgement, Option<f64>) {
    let ids = |parts: &[(InstanceId, f64)]| parts.iter().map(|&(id, _)| id).collect::<Vec<_>>();
    let control = control(conductor, trial);
    let gave = factor(conductor, trial, &ids(donors)).map(|factor| factor / control);
    let harmed = gave.is_some_and(|gave| gave > DONORS_MAX);
    let got = factor(conductor, trial, &ids(gifts)).map(|factor| factor / control);
    let given = donors.is_empty() && gifts.len() > 1;
    if *resource == Resource::Memory && !given {
        let part = gifts
            .first()
            .and_then(|&(id, _)| memory_part(conductor, id));
        let eased = part.is_some_and(|part| part <= EASED * trial.change.before);
        return (helped_when(eased && !harmed), part);
    }
    let measured = got.map(|got| trial.change.before * got);
    let judgement = match got {
        None if given => Judgement::Helped,
        None => Judgement::Unclear,
        Some(got) if given => helped_when(got <= WORSE),
        Some(got) => helped_when(got <= LOWER && !harmed),
    };
    (judgement, measured)
}

fn helped_when(helped: bool) -> Judgement {
    if helped {
        Judgement::Helped
    } else {
        Judgement::InVain
    }
}
