//! What an instance runs into: all CPU there is, others that take it, or the limits that it was
//! given. States, no faults.
//!
//! An instance that waits for CPU is one of these, and the sentence says which:
//! - it uses all that its limit allows: *throttled* when the kernel holds it back, else *saturated*;
//! - all cores of the host are used, most of that by the instances: *saturated*;
//! - all are used, most of that by others (programs that are none of ours, or the driver of the load):
//!   the *host is busy*.

use cohort_model::{At, InstanceId, Measured, ServiceFindingKind};

use super::View;
use super::book::{Conclusion, Key};
use super::record::{Second, Watched};
use super::words;
use crate::findings::{confidence, measured};

/// Seconds over which means are taken, and windows that need be there.
const REACH_S: f64 = 6.0;
const WINDOWS_MIN: usize = 4;
/// Shares from which on a state begins, and below which it no longer holds.
const USED: (f64, f64) = (0.9, 0.75);
const PRESSED: (f64, f64) = (0.5, 0.3);
const THROTTLED: (f64, f64) = (0.15, 0.05);
const NETWORK: (f64, f64) = (0.9, 0.75);
const FULL: (f64, f64) = (0.9, 0.85);
const RECLAIMING: (f64, f64) = (0.1, 0.05);
/// Share of the host's cores from which on there is no more to be had.
const HOST_FULL: f64 = 0.85;
/// Below this use, waiting for CPU is no want of it. Cores.
const USE_MIN: f64 = 0.05;
const NEEDS: u32 = 3;
const PATIENCE_US: u64 = 6_000_000;

/// The state of one kind on one instance.
enum State {
    Begins(f64, String, Vec<Measured>),
    Holds,
    Not,
}

pub(super) fn conclude(view: &View<'_>, at: At, drawn: &mut Vec<Conclusion>, held: &mut Vec<Key>) {
    for (instance, watched) in view.instances.iter().filter(|(_, w)| !w.down) {
        let seconds: Vec<&Second> = watched.recent(REACH_S).collect();
        if seconds.len() < WINDOWS_MIN || at.since(seconds[seconds.len() - 1].at) > 4_000_000 {
            continue;
        }
        let means = Means::of(&seconds);
        let [saturated, busy] = cpu(view, *instance, watched, &means);
        let states = [
            saturated,
            busy,
            throttled(*instance, watched, &means),
            network(*instance, watched, &means),
            memory(*instance, watched, &means),
        ];
        for (kind, state) in states {
            let key = Key {
                kind,
                endpoint: None,
                detail: instance.to_string(),
            };
            match state {
                State::Begins(confidence, sentence, evidence) => drawn.push(Conclusion {
                    key,
                    instances: vec![*instance],
                    endpoint: None,
                    since: seconds[0].at,
                    confidence,
                    sentence,
                    evidence,
                    excerpts: Vec::new(),
                    needs: NEEDS,
                    patience: PATIENCE_US,
                    amount: 0.0,
                }),
                State::Holds => held.push(key),
                State::Not => {}
            }
        }
    }
}

struct Means {
    cores: f64,
    /// Of all instances together, and of others on the host.
    instances: f64,
    others: f64,
    throttled: f64,
    cpu_pressure: f64,
    memory_pressure: f64,
    network: f64,
    memory: f64,
}

impl Means {
    fn of(seconds: &[&Second]) -> Means {
        let mean = |of: fn(&Second) -> f64| {
            seconds.iter().map(|s| of(s)).sum::<f64>() / seconds.len() as f64
        };
        Means {
            cores: mean(|s| s.cores.unwrap_or(0.0)),
            instances: mean(|s| s.host.instances),
            others: mean(|s| s.host.others),
            throttled: mean(|s| s.throttled),
            cpu_pressure: mean(|s| s.cpu_pressure),
            memory_pressure: mean(|s| s.memory_pressure),
            network: mean(|s| s.network),
            memory: mean(|s| s.memory),
        }
    }
}

/// Who has the CPU that an instance waits for.
struct Cpu {
    /// What it may use, and what the host has, cores.
    available: f64,
    cores: f64,
    /// It uses all that it may.
    full: bool,
    /// It waits, and so far as is known for what is used up.
    pressed: bool,
    /// Others use more of the host than all instances do.
    others: bool,
    /// Held back by a limit of ours, which is another state.
    limited: bool,
}

impl Cpu {
    fn of(view: &View<'_>, watched: &Watched, means: &Means) -> Cpu {
        let cores = view.settings.cores.max(0.01);
        let limit = watched.share.map_or(f64::INFINITY, |share| share.cores);
        let available = limit.min(cores).max(0.01);
        let instances = means.instances.max(means.cores);
        let taken = instances + means.others >= HOST_FULL * cores;
        Cpu {
            available,
            cores,
            full: means.cores >= USED.0 * available,
            pressed: means.cpu_pressure >= PRESSED.0 && means.cores >= USE_MIN && taken,
            others: means.others > instances,
            limited: means.throttled >= THROTTLED.1 && limit < cores,
        }
    }

    fn why(&self, means: &Means) -> String {
        let Cpu {
            available, cores, ..
        } = self;
        if self.full && *available < *cores {
            return format!("that is all that its limit of {available:.2} allows");
        }
        if self.full {
            return format!("that is all of the {cores:.2} that there are");
        }
        format!(
            "no more is to be had, since all instances together use {:.2} of the {cores:.2} cores, and programs outside of them {:.2}",
            means.instances.max(means.cores),
            means.others
        )
    }
}

/// Saturated, or on a busy host.
fn cpu(
    view: &View<'_>,
    instance: InstanceId,
    watched: &Watched,
    means: &Means,
) -> [(ServiceFindingKind, State); 2] {
    use ServiceFindingKind::{CpuSaturation, HostBusy};
    let cpu = Cpu::of(view, watched, means);
    let used = means.cores / cpu.available;
    let waits = words::percent(means.cpu_pressure);
    let sure = confidence(used, USED.1, 1.0).max(confidence(means.cpu_pressure, PRESSED.0, 1.0));
    let evidence = vec![
        measured("cpu used", means.cores, "cores"),
        measured("cpu there is", cpu.available, "cores"),
        measured("waited for cpu", means.cpu_pressure, "share of time"),
        measured("held back by a limit", means.throttled, "share of time"),
        measured("cpu of all instances", means.instances, "cores"),
        measured("cpu of others on the host", means.others, "cores"),
    ];
    let busy = cpu.pressed && cpu.others && !cpu.full;
    let states = if cpu.limited {
        (State::Not, State::Not)
    } else if busy {
        let sentence = format!(
            "{instance} gets {:.2} cores and waits for CPU in {waits} of the time, because the host is busy with others: programs outside of the instances, the driver of the load among them, use {:.2} of its {:.2} cores.",
            means.cores, means.others, cpu.cores
        );
        (State::Not, State::Begins(sure, sentence, evidence))
    } else if cpu.full || cpu.pressed {
        let waits = match waits.as_str() {
            "0 %" => String::new(),
            waits => format!(" and waits for CPU in {waits} of the time"),
        };
        let why = cpu.why(means);
        let sentence = format!("{instance} uses {:.2} cores{waits}: {why}.", means.cores);
        (State::Begins(sure, sentence, evidence), State::Not)
    } else if used >= USED.1 || means.cpu_pressure >= PRESSED.1 {
        (State::Holds, State::Holds)
    } else {
        (State::Not, State::Not)
    };
    [(CpuSaturation, states.0), (HostBusy, states.1)]
}

fn throttled(
    instance: InstanceId,
    watched: &Watched,
    means: &Means,
) -> (ServiceFindingKind, State) {
    let kind = ServiceFindingKind::Throttled;
    let limit = watched.share.map_or(0.0, |share| share.cores);
    let state = if means.throttled >= THROTTLED.0 {
        State::Begins(
            confidence(means.throttled, THROTTLED.0, 0.5),
            format!(
                "{instance} is held back by its limit of {limit:.2} cores in {} of the time.",
                words::percent(means.throttled)
            ),
            vec![
                measured("held back by a limit", means.throttled, "share of time"),
                measured("cpu used", means.cores, "cores"),
                measured("limit", limit, "cores"),
            ],
        )
    } else if means.throttled >= THROTTLED.1 {
        State::Holds
    } else {
        State::Not
    };
    (kind, state)
}

fn network(instance: InstanceId, watched: &Watched, means: &Means) -> (ServiceFindingKind, State) {
    let kind = ServiceFindingKind::NetworkLimit;
    let Some(limit) = watched.share.and_then(|share| share.network) else {
        return (kind, State::Not);
    };
    let used = means.network / (limit as f64).max(1.0);
    let state = if used >= NETWORK.0 {
        State::Begins(
            confidence(used, NETWORK.1, 1.0),
            format!(
                "{instance} uses {} of the {:.1} Mbit/s that it was given.",
                words::percent(used),
                limit as f64 / 1e6
            ),
            vec![
                measured("network used", means.network, "bits/s"),
                measured("limit", limit as f64, "bits/s"),
            ],
        )
    } else if used >= NETWORK.1 {
        State::Holds
    } else {
        State::Not
    };
    (kind, state)
}

fn memory(instance: InstanceId, watched: &Watched, means: &Means) -> (ServiceFindingKind, State) {
    let kind = ServiceFindingKind::MemoryPressure;
    let limit = watched
        .share
        .map_or(0.0, |share| share.memory as f64)
        .max(1.0);
    let limited = limit > 1.0 && limit < 1e18;
    let full = if limited { means.memory / limit } else { 0.0 };
    let state = if full >= FULL.0 || means.memory_pressure >= RECLAIMING.0 {
        State::Begins(
            confidence(full, FULL.1, 1.0).max(confidence(means.memory_pressure, 0.0, 0.5)),
            memory_said(instance, means, limited.then_some(limit)),
            vec![
                measured("anonymous memory", means.memory, "bytes"),
                measured("limit", limit, "bytes"),
                measured("waited for memory", means.memory_pressure, "share of time"),
            ],
        )
    } else if full >= FULL.1 || means.memory_pressure >= RECLAIMING.1 {
        State::Holds
    } else {
        State::Not
    };
    (kind, state)
}

fn memory_said(instance: InstanceId, means: &Means, limit: Option<f64>) -> String {
    let holds = words::bytes(means.memory);
    let of = limit.map_or_else(String::new, |limit| {
        format!(" of the {} that it may have", words::bytes(limit))
    });
    let waits = match words::percent(means.memory_pressure).as_str() {
        "0 %" => String::new(),
        waits => format!(", and waits for memory in {waits} of the time"),
    };
    format!("{instance} holds {holds}{of}{waits}.")
}
