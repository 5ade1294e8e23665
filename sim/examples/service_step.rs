//! What one step of the conductor costs, with many instances and threads:
//! `cargo run --release -p cohort-sim --example service_step [instances] [threads]`.

use std::time::Instant;

use cohort_model::{At, Policy, ServiceSeen};
use cohort_orchestrator::service::Conductor;
use cohort_sim::service::{Crash, Defect, ServiceHost, ServiceNeeds, service_plan};

fn main() {
    let mut numbers = std::env::args().skip(1).map(|arg| arg.parse::<u32>());
    let mut number = |default: u32| match numbers.next() {
        Some(Ok(given)) => given,
        _ => default,
    };
    let (instances, threads) = (number(64), number(2_000));
    let second = 1_000_000;
    let needs = ServiceNeeds {
        threads: (0..threads).map(|_| (0, 0)).collect(),
        duration_us: 40 * second,
        crashes: vec![Crash {
            at_us: 20 * second,
            instance: 1,
            again: true,
        }],
        defects: vec![Defect {
            endpoint: 1,
            instance: Some(2),
            onset_us: 10 * second,
            factor: 8.0,
            growth: 0.0,
            locks: false,
        }],
        ..ServiceNeeds::default()
    };
    let plan = service_plan(instances, Policy::Adaptive, &needs);
    let mut conductor = Conductor::new(plan.clone());
    let mut host = ServiceHost::new(plan, &needs);
    let (mut beats, mut others) = (Vec::new(), Vec::new());
    let (mut seen, mut now) = (vec![ServiceSeen::Tick], 0);
    while !conductor.is_finished() {
        if !seen.is_empty() {
            let is_beat = seen
                .iter()
                .any(|seen| matches!(seen, ServiceSeen::Loaded { .. }));
            let began = Instant::now();
            let step = conductor.step(At(now), &seen);
            let took_us = began.elapsed().as_secs_f64() * 1e6;
            if is_beat { &mut beats } else { &mut others }.push(took_us);
            host.obey(&step);
        }
        seen = host.tick();
        now += 10_000;
    }
    println!("{instances} instances, {threads} threads");
    show("steps with the reports of a second", &mut beats);
    show("other steps", &mut others);
}

fn show(what: &str, took_us: &mut [f64]) {
    took_us.sort_by(f64::total_cmp);
    let at = |part: f64| took_us[((took_us.len() - 1) as f64 * part) as usize];
    println!(
        "{what}: {} of them, median {:.0} us, p99 {:.0} us, longest {:.0} us",
        took_us.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}
