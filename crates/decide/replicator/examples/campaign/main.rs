//! How the replicator does on simulated bugs: `cargo run --release -p cohort-replicator --example campaign
//! [SEED [TIMES [NAME]]]`.

#[allow(dead_code, reason = "shared with the tests")]
mod bugs;
#[allow(dead_code, reason = "shared with the tests")]
mod world;

use world::Total;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let seed = arguments
        .next()
        .and_then(|one| one.parse().ok())
        .unwrap_or(1);
    let times = arguments
        .next()
        .and_then(|one| one.parse().ok())
        .unwrap_or(20);
    let name = arguments.next();
    let mut kinds = bugs::all();
    if let Some(name) = &name {
        kinds.retain(|bug| bug.name == name);
    }
    println!(
        "{:24} reproduced  runs/plain  right  other  wrong  threshold x  runs",
        "bug"
    );
    let row = |name: &str, total: &Total| {
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
    };
    let totals = world::measure(&kinds, seed, times, 2);
    let mut all = Total::default();
    for (name, total) in &totals {
        row(name, total);
        all.0.extend(total.0.iter().cloned());
    }
    row("all", &all);
    if name.is_some() && times > 1 {
        for time in 0..times {
            let own = seed + 1_000 * time;
            let mut world = world::World::new(&kinds[0], own);
            let (case, tried) = world.campaign(own, 2);
            let named: Vec<_> = case
                .causes
                .iter()
                .map(|cause| (&cause.condition, &cause.parts, cause.with, cause.without))
                .collect();
            println!(
                "{:?} {:?} runs {} {named:?} {:?}",
                world.drawn,
                case.verdict,
                tried.len(),
                case.remarks
            );
        }
    }
    if times == 1 {
        for (nth, bug) in kinds.iter().enumerate() {
            let own = seed + 1_000_003 * nth as u64;
            let mut world = world::World::new(bug, own);
            let (case, tried) = world.campaign(own, 2);
            println!("\n{} {:?}", bug.name, world.drawn);
            for (turn, recipe) in tried.iter().enumerate() {
                println!(
                    "  {turn:3} parts {} {:?}",
                    recipe.parts.len(),
                    recipe.conditions
                );
            }
            println!(
                "{:?} {:?} {:#?} {:#?}",
                case.verdict, case.runs_to_first, case.causes, case.remarks
            );
        }
    }
}
