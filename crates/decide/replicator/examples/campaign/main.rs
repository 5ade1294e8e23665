//! How the replicator does on simulated bugs:
//! `cargo run --release -p cohort-replicator --example campaign [SEED [TIMES [NAME]]]`.
//!
//! One row a kind of bug: how many were reproduced within the limits of a case; runs until it failed again
//! against those of plain rerunning (geometric mean); how often what is right was named, something else that acts
//! too, something that does nothing; by which factor thresholds are off; runs of a case in all. At the end,
//! what a step costs while 200 different failures are open. With a name, each case of that kind.
//!
//! `... --example campaign real [SECONDS [TIMES [NAME]]]`: bugs as they are in real suites, with what tries cost there,
//! on request and after a sighting.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "reads what to run, and measures what a step costs"
)]

mod bugs;
mod real;
#[allow(dead_code, reason = "shared with the tests")]
mod world;

use std::time::Instant;

use cohort_model::{At, Condition, Subject, TestId, ThreadId};
use cohort_replicator::{Replicator, Sighting};
use world::{ROOM, Total, World, settings};

fn main() {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if_eq("real").is_some() {
        return real_bugs(arguments);
    }
    let mut number = |otherwise| {
        let next = arguments.next();
        next.and_then(|one| one.parse().ok()).unwrap_or(otherwise)
    };
    let (seed, times) = (number(1), number(20));
    let name = arguments.next();
    let mut kinds = bugs::all();
    kinds.retain(|bug| name.as_ref().is_none_or(|name| bug.name == name));
    println!(
        "bug                      reproduced  runs/plain  right  other  wrong  threshold x  runs"
    );
    let mut all = Total::default();
    for (name, total) in &world::measure(&kinds, seed, times, 2) {
        row(name, total);
        all.0.extend(total.0.iter().cloned());
    }
    row("all", &all);
    if name.is_some() {
        each(&kinds, seed, times);
    } else {
        println!("a step with 200 cases: {:.1} us", step_us());
    }
}

/// Bugs as they are in real suites.
fn real_bugs(mut arguments: impl Iterator<Item = String>) {
    let mut number = |otherwise: f64| {
        let next = arguments.next();
        next.and_then(|one| one.parse().ok()).unwrap_or(otherwise)
    };
    let (seconds, times) = (number(20.0), number(10.0) as u64);
    let name = arguments.next();
    println!("{seconds} s, {times} times: on request | after a sighting");
    println!("bug                      reproduced  right  wrong  named after s | always");
    let mut all = [real::Row::default(); 2];
    let mut flakes = [real::Row::default(); 2];
    for bug in real::all() {
        if name
            .as_ref()
            .is_some_and(|name| !bug.name.contains(name.as_str()))
        {
            continue;
        }
        print!("{:24}", bug.name);
        for (place, stress) in [true, false].into_iter().enumerate() {
            let one = real::measure(&bug, 1, times, seconds, stress);
            told(&one);
            let sum = if bug.right.is_empty() {
                &mut flakes
            } else {
                &mut all
            };
            add(&mut sum[place], one);
        }
        println!();
        if name.is_some() {
            (0..times).for_each(|time| real::show(&bug, 1 + 7_919 * time, seconds, true));
        }
    }
    for (name, sum) in [("with a cause", all), ("without", flakes)] {
        print!("{name:24}");
        sum.iter().for_each(told);
        println!();
    }
}

fn add(sum: &mut real::Row, one: real::Row) {
    sum.campaigns += one.campaigns;
    sum.reproduced += one.reproduced;
    sum.right += one.right;
    sum.wrong += one.wrong;
    sum.named_s += one.named_s;
    sum.always += one.always;
}

fn told(row: &real::Row) {
    let share = |part: u32| 100.0 * f64::from(part) / f64::from(row.campaigns.max(1));
    print!(
        " {:9.0}% {:5.0}% {:5.0}% {:7.1} {:5.0}% |",
        share(row.reproduced),
        share(row.right),
        share(row.wrong),
        row.named_s / f64::from(row.campaigns.max(1)),
        share(row.always),
    );
}

fn row(name: &str, total: &Total) {
    println!(
        "{name:24} {:9.0}%  {:10.3} {:5.0}% {:5.0}% {:5.0}%  {:11.2} {:5.0}",
        100.0 * total.reproduced(),
        total.ratio(),
        100.0 * total.right(),
        100.0 * total.otherwise(),
        100.0 * total.wrong(),
        total.threshold(),
        total.runs(),
    );
}

/// Every case of one kind of bug.
fn each(kinds: &[bugs::Bug], seed: u64, times: u64) {
    for bug in kinds {
        for time in 0..times {
            let own = seed + 1_000 * time;
            let mut world = World::new(bug, own);
            let (case, tried) = world.campaign(own, 2);
            println!(
                "\n{:?}: {:?} after {} runs",
                world.drawn,
                case.verdict,
                tried.len()
            );
            for cause in &case.causes {
                let kind = cause.condition.as_ref().map(Condition::kind);
                println!(
                    "  {kind:?} {:?} with {:?} without {:?} threshold {:?}",
                    cause.parts, cause.with, cause.without, cause.threshold
                );
            }
            for remark in &case.remarks {
                println!("  {remark}");
            }
        }
    }
}

/// Mean cost of asking for a run and of its end, microseconds.
fn step_us() -> f64 {
    let kinds = bugs::all();
    let mut replicator = Replicator::new(settings(1));
    let mut worlds: Vec<World> = Vec::new();
    for nth in 0..200_u32 {
        let world = World::new(&kinds[nth as usize % kinds.len()], u64::from(nth));
        let mut symptom = world.symptom();
        symptom.frames[0].function = format!("test_{nth}");
        let sighting = Sighting {
            subject: Subject::Test(TestId(nth)),
            thread: ThreadId(nth),
            ..world.sighting(&symptom, 3)
        };
        replicator.sighted(At(0), &sighting);
        worlds.push(world);
    }
    let mut spent_us = 0.0;
    let mut steps = 0_u32;
    while steps < 5_000 {
        let began = Instant::now();
        let Some(next) = replicator.next(At(0), ROOM) else {
            break;
        };
        spent_us += began.elapsed().as_secs_f64() * 1e6;
        let nth = next.case.index().saturating_sub(1) % worlds.len();
        let mut outcome = worlds[nth].run(&next.recipe);
        if let Some(symptom) = &mut outcome.symptom
            && let Some(frame) = symptom.frames.first_mut()
        {
            frame.function = format!("test_{nth}");
        }
        let began = Instant::now();
        replicator.ended(At(0), next.case, &next.recipe, outcome);
        spent_us += began.elapsed().as_secs_f64() * 1e6;
        steps += 1;
    }
    spent_us / f64::from(steps.max(1))
}
