//! Measures the analyzer of a service in a small simulated world: how long after its onset each
//! kind of fault is named, how often with the right endpoint, what else is said meanwhile; and what
//! is said where nothing is wrong.
//!
//! `cargo run --release -p cohort-analyzer --example service -- [SEEDS] [HEALTHY_SECONDS] [NAME]`

#![expect(
    clippy::disallowed_methods,
    reason = "an evaluation program is told by its arguments what to run"
)]

#[path = "../tests/service/sim.rs"]
mod sim;

use std::collections::BTreeMap;

use cohort_model::{EndpointId, ServiceFinding, ServiceFindingKind as Kind};
use sim::{Event, ORDER, PRODUCTS, SEARCH, Setup, TOTAL};

struct Fault {
    name: &'static str,
    event: Event,
    kind: Kind,
    endpoint: Option<u32>,
    /// Findings that come with it and are no mistake.
    beside: &'static [Kind],
}

const fn fault(
    name: &'static str,
    event: Event,
    kind: Kind,
    endpoint: Option<u32>,
    beside: &'static [Kind],
) -> Fault {
    Fault {
        name,
        event,
        kind,
        endpoint,
        beside,
    }
}

const SLOW: &[Kind] = &[Kind::SlowEndpoint];
const FAULTS: [Fault; 19] = [
    fault(
        "memory leak 1 MB/s",
        Event::MemoryLeak(60e3),
        Kind::MemoryLeak,
        Some(ORDER),
        &[],
    ),
    fault(
        "memory leak 5 MB/s",
        Event::MemoryLeak(300e3),
        Kind::MemoryLeak,
        Some(ORDER),
        &[],
    ),
    fault(
        "descriptor leak",
        Event::FileLeak,
        Kind::DescriptorLeak,
        Some(SEARCH),
        &[],
    ),
    fault(
        "thread leak",
        Event::ThreadLeak,
        Kind::ThreadLeak,
        Some(ORDER),
        &[],
    ),
    fault(
        "growing query",
        Event::Growing,
        Kind::GrowingLatency,
        Some(TOTAL),
        SLOW,
    ),
    fault(
        "lock across 40 ms",
        Event::Lock(0.040),
        Kind::LockContention,
        Some(ORDER),
        SLOW,
    ),
    fault(
        "lock across 60 ms",
        Event::Lock(0.060),
        Kind::LockContention,
        Some(ORDER),
        SLOW,
    ),
    fault("crash", Event::Crash, Kind::Crash, Some(SEARCH), &[]),
    fault("race", Event::Race, Kind::WrongAnswer, Some(TOTAL), &[]),
    fault(
        "cpu blow-up",
        Event::BlowUp,
        Kind::CpuBlowUp,
        Some(SEARCH),
        &[],
    ),
    fault("errors", Event::Errors, Kind::ErrorBurst, Some(ORDER), &[]),
    fault(
        "few errors",
        Event::FewErrors,
        Kind::Errors,
        Some(ORDER),
        &[],
    ),
    fault(
        "half are slow",
        Event::HalfSlow,
        Kind::SlowEndpoint,
        Some(PRODUCTS),
        &[],
    ),
    fault("calls hang", Event::CallHang, Kind::Hang, Some(SEARCH), &[]),
    fault(
        "endpoint hangs",
        Event::EndpointHang,
        Kind::Hang,
        Some(SEARCH),
        &[Kind::ErrorBurst],
    ),
    fault(
        "slow since",
        Event::Slow,
        Kind::SlowEndpoint,
        Some(PRODUCTS),
        &[],
    ),
    fault(
        "slow instance",
        Event::SlowInstance,
        Kind::SlowEndpoint,
        None,
        &[],
    ),
    fault("hang", Event::Hang, Kind::Hang, None, SLOW),
    fault(
        "exception",
        Event::Exception,
        Kind::Exception,
        Some(ORDER),
        &[Kind::ErrorBurst],
    ),
];

const HARMLESS: [(&str, Event); 15] = [
    ("healthy", Event::Healthy),
    ("cache fills, 10 s", Event::Fill(10.0, 60e6)),
    ("cache fills, 30 s", Event::Fill(30.0, 100e6)),
    ("cache fills, 60 s", Event::Fill(60.0, 100e6)),
    ("cache fills, 120 s", Event::Fill(120.0, 300e6)),
    ("collector", Event::Collector),
    ("batches", Event::Batch),
    ("more threads", Event::Ramp),
    ("smaller allotment", Event::Allotment),
    ("asked restart", Event::Restart),
    ("busy host", Event::BusyHost),
    ("slow disk", Event::SlowDisk),
    ("healthy, crowded", Event::Healthy),
    ("slow disk, crowded", Event::SlowDisk),
    ("more threads, crowded", Event::Ramp),
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |or: u64| arguments.next().and_then(|a| a.parse().ok()).unwrap_or(or);
    let (seeds, seconds) = (number(8), number(300));
    let only = arguments.next();
    let wanted = |name: &str| {
        only.as_ref()
            .is_none_or(|only| name.contains(only.as_str()))
    };
    println!(
        "{:20} {:>6} {:>8} {:>7} {:>7}  else said (runs)",
        "fault", "found", "endpoint", "median", "latest"
    );
    for fault in FAULTS.iter().filter(|f| wanted(f.name)) {
        measure(fault, seeds, only.is_some());
    }
    println!(
        "{:20} {:>6}  findings of faults (runs of {seconds} s)",
        "harmless", "quiet"
    );
    for (name, event) in HARMLESS.iter().filter(|(name, _)| wanted(name)) {
        let mut said: BTreeMap<String, u64> = BTreeMap::new();
        let mut quiet = 0;
        for seed in 0..seeds {
            let mut setup = Setup {
                seconds,
                ..Setup::new(*event, seed)
            };
            if name.contains("crowded") {
                setup.threads = 24;
                setup.think_s = 0.01;
            }
            let found = sim::run(&setup);
            let kinds = kinds(&found, |f| f.kind.is_fault());
            quiet += u64::from(kinds.is_empty());
            for kind in kinds {
                *said.entry(kind).or_default() += 1;
            }
            tell(&found, only.is_some());
        }
        println!("{name:20} {quiet:>3}/{seeds:<2}  {said:?}");
    }
}

fn measure(fault: &Fault, seeds: u64, aloud: bool) {
    let mut delays = Vec::new();
    let (mut named, mut beside) = (0, BTreeMap::<String, u64>::new());
    for seed in 0..seeds {
        let mut setup = Setup::new(fault.event, seed);
        if matches!(fault.event, Event::Lock(_)) {
            setup.threads = 12;
            setup.think_s = 0.04;
        }
        let found = sim::run(&setup);
        tell(&found, aloud);
        let right = |f: &ServiceFinding| f.kind == fault.kind && !f.ended;
        if let Some((at, _)) = found.iter().find(|(_, f)| right(f)) {
            delays.push(at - setup.onset as f64);
        }
        let endpoint = fault.endpoint.map(EndpointId);
        named += u64::from(
            found
                .iter()
                .any(|(_, f)| right(f) && (fault.endpoint.is_none() || f.endpoint == endpoint))
                && !found.iter().any(|(_, f)| {
                    right(f) && f.endpoint.is_some() && endpoint.is_some() && f.endpoint != endpoint
                }),
        );
        for kind in kinds(&found, |f| {
            f.kind.is_fault() && f.kind != fault.kind && !fault.beside.contains(&f.kind)
        }) {
            *beside.entry(kind).or_default() += 1;
        }
    }
    delays.sort_unstable_by(f64::total_cmp);
    let median = delays.get(delays.len() / 2).copied().unwrap_or(f64::NAN);
    let latest = delays.last().copied().unwrap_or(f64::NAN);
    println!(
        "{:20} {:>3}/{seeds:<2} {named:>5}/{seeds:<2} {median:>6.0}s {latest:>6.0}s  {beside:?}",
        fault.name,
        delays.len()
    );
}

fn kinds(found: &[(f64, ServiceFinding)], wanted: impl Fn(&ServiceFinding) -> bool) -> Vec<String> {
    let mut kinds: Vec<String> = found
        .iter()
        .filter(|(_, f)| wanted(f))
        .map(|(_, f)| format!("{:?}", f.kind))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn tell(found: &[(f64, ServiceFinding)], aloud: bool) {
    for (at, f) in found.iter().filter(|_| aloud) {
        let over = if f.ended { " (over)" } else { "" };
        println!(
            "  {at:5.0} #{} {:?}{over} {:.2} {}",
            f.number, f.kind, f.confidence, f.sentence
        );
        for excerpt in &f.excerpts {
            println!("        | {excerpt}");
        }
    }
}
