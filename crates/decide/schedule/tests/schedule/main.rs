//! Executors, against a simulated world, and against what k6's documentation says of them.

mod simulation;

use cohort_schedule::Options;
use proptest::prelude::*;
use serde_json::{Value, json};
use simulation::{Nature, Simulation};

const SECOND: u64 = 1_000_000;

fn options(value: &Value) -> Options {
    Options::parse(value).expect("the options are good")
}

fn scenario(value: &Value) -> Options {
    options(&json!({ "scenarios": { "one": value } }))
}

fn calm(iteration_us: u64) -> Nature {
    Nature {
        seed: 5,
        boot_us: 1_000,
        iteration_us,
        loss: 0,
    }
}

#[test]
fn shared_iterations_as_documented() {
    let of = scenario(&json!({
        "executor": "shared-iterations", "vus": 10, "iterations": 200, "maxDuration": "30s"
    }));
    let world = Simulation::run(&of, calm(SECOND / 2));
    assert_eq!(world.seen[0].totals.done, 200);
    assert_eq!(world.seen[0].living_most, 10);
    assert_eq!(world.seen[0].totals.dropped, 0);
    // About 10 s: 200 iterations of half a second by 10 threads.
    let ended = world.ended_at.expect("it ended");
    assert!((8 * SECOND..14 * SECOND).contains(&ended), "{ended}");
}

#[test]
fn per_vu_iterations_as_documented() {
    let of = scenario(&json!({
        "executor": "per-vu-iterations", "vus": 10, "iterations": 20, "maxDuration": "30s"
    }));
    let world = Simulation::run(&of, calm(SECOND / 4));
    assert_eq!(world.seen[0].totals.done, 200);
    assert!(world.seen[0].numbers.values().all(|times| *times == 1));
}

#[test]
fn what_is_not_begun_in_time_is_dropped() {
    let of = scenario(&json!({
        "executor": "per-vu-iterations", "vus": 2, "iterations": 1000, "maxDuration": "5s",
        "gracefulStop": "1s"
    }));
    let world = Simulation::run(&of, calm(SECOND / 10));
    let totals = world.seen[0].totals;
    assert_eq!(totals.done + totals.dropped, 2000);
    assert!((60..150).contains(&totals.done), "{totals:?}");
    let last = world.seen[0].begun.last().copied();
    assert!(last < Some(5 * SECOND));
    assert!(world.ended_at <= Some(6 * SECOND));
}

#[test]
fn constant_vus_iterate_all_the_time_and_scenarios_start_when_told() {
    let of = options(&json!({ "scenarios": {
        "early": { "executor": "constant-vus", "vus": 3, "duration": "10s" },
        "late": { "executor": "constant-vus", "vus": 2, "duration": "5s", "startTime": "20s" },
    }}));
    let world = Simulation::run(&of, calm(SECOND / 10));
    let (early, late) = (&world.seen[0], &world.seen[1]);
    assert!(early.begun.iter().all(|at| *at < 10 * SECOND));
    assert!(
        (250..350).contains(&early.begun.len()),
        "{}",
        early.begun.len()
    );
    assert_eq!(
        late.begun.first(),
        Some(&(20 * SECOND)),
        "started ahead, on time"
    );
    assert!(
        late.begun
            .iter()
            .all(|at| (20 * SECOND..25 * SECOND).contains(at))
    );
}

#[test]
fn ramping_vus_follow_the_line() {
    let of = scenario(&json!({
        "executor": "ramping-vus", "startVUs": 0, "gracefulRampDown": "0s", "gracefulStop": "0s",
        "stages": [
            { "duration": "20s", "target": 10 },
            { "duration": "10s", "target": 0 },
            { "duration": "10s", "target": 5 },
        ],
    }));
    let world = Simulation::run(&of, calm(SECOND / 50));
    let at = |second: f64| {
        let until = (second * 1e6) as u64;
        let seen = world.seen[0].working.iter().rev();
        seen.filter(|(at, _)| *at <= until).map(|(_, n)| *n).next()
    };
    for (second, threads) in [
        (1.9, 0),
        (4.1, 2),
        (10.5, 5),
        (19.9, 9),
        (20.5, 10),
        (25.5, 5),
        (35.0, 2),
    ] {
        assert_eq!(at(second), Some(threads), "at {second} s");
    }
    assert_eq!(world.seen[0].living_most, 10);
}

#[test]
fn an_iteration_that_outlives_its_grace_is_cut_off() {
    let of = scenario(&json!({
        "executor": "ramping-vus", "startVUs": 2, "gracefulRampDown": "3s", "gracefulStop": "4s",
        "stages": [{ "duration": "2s", "target": 2 }, { "duration": "0s", "target": 1 },
                   { "duration": "10s", "target": 1 }],
    }));
    let world = Simulation::run(&of, calm(1_000 * SECOND));
    let ended = world.ended_at;
    assert_eq!(ended, Some(16 * SECOND));
    let working = &world.seen[0].working;
    assert!(working.iter().any(|(at, n)| *at == 5 * SECOND && *n == 1));
}

#[test]
fn an_arrival_rate_brings_more_threads_when_it_must() {
    let of = scenario(&json!({
        "executor": "constant-arrival-rate", "rate": 100, "duration": "20s",
        "preAllocatedVUs": 2, "maxVUs": 30,
    }));
    let world = Simulation::run(&of, calm(SECOND / 10));
    let seen = &world.seen[0];
    assert_eq!(seen.timed, 2000);
    assert_eq!(seen.totals.done + seen.totals.dropped, 2000);
    // Ten are needed on the average; the first second or so is lost to too few.
    assert!((8..=30).contains(&seen.living_most), "{}", seen.living_most);
    assert!(seen.totals.dropped < 200, "{:?}", seen.totals);
}

#[test]
fn an_abort_ends_everything() {
    use cohort_schedule::{Order, Schedule, ScheduleEvent};
    let of = scenario(&json!({ "executor": "constant-vus", "vus": 1, "duration": "10s" }));
    let mut schedule = Schedule::new(&of, 1);
    let started = schedule.step(0, &[]);
    let Some(Order::Start { thread, .. }) = started.first() else {
        panic!("{started:?}");
    };
    let thread = *thread;
    let permitted = schedule.step(10, &[ScheduleEvent::ThreadStarted(thread)]);
    assert!(matches!(permitted[..], [Order::Permit(_)]));
    let stopped = schedule.step(20, &[ScheduleEvent::Abort { graceful_us: 7 }]);
    assert!(stopped.contains(&Order::Stop {
        thread,
        graceful_us: 7
    }));
    let over = schedule.step(30, &[ScheduleEvent::ThreadEnded(thread)]);
    assert_eq!(over.last(), Some(&Order::AllFinished));
}

#[test]
fn a_recovered_thread_that_says_it_is_idle_gets_its_permit_anew() {
    use cohort_schedule::{Order, Permit, Schedule, ScheduleEvent};
    let of = scenario(&json!({ "executor": "per-vu-iterations", "vus": 1, "iterations": 10 }));
    let mut schedule = Schedule::new(&of, 1);
    let started = schedule.step(0, &[]);
    let Some(Order::Start { thread, .. }) = started.first() else {
        panic!("{started:?}");
    };
    let thread = *thread;
    let count = |n, first| [Order::Permit(Permit::Count { thread, n, first })];
    let (idle, done) = (
        ScheduleEvent::ThreadIdle(thread),
        ScheduleEvent::Iterated { thread, ok: true },
    );
    assert_eq!(schedule.step(5, &[idle]), count(10, 0));
    assert_eq!(schedule.step(6, &[done, done, done, idle]), count(7, 3));
}

#[test]
fn a_thread_that_never_starts_is_not_tried_all_the_time() {
    use cohort_schedule::{Order, Schedule, ScheduleEvent};
    let of = scenario(&json!({ "executor": "constant-vus", "vus": 1, "duration": "10s" }));
    let mut schedule = Schedule::new(&of, 1);
    let (mut now, mut events, mut starts) = (0, Vec::new(), 0);
    while now < 10 * SECOND {
        for order in schedule.step(now, &std::mem::take(&mut events)) {
            if let Order::Start { thread, .. } = order {
                starts += 1;
                events.push(ScheduleEvent::ThreadEnded(thread));
            }
        }
        if events.is_empty() {
            let due = schedule.next_due_us().unwrap_or(u64::MAX);
            assert!(due > now, "due at {due} in the past of {now}");
            now = due;
        }
    }
    assert!((3..10).contains(&starts), "{starts}");
}

fn any_scenario() -> impl Strategy<Value = Value> {
    let stages = proptest::collection::vec((0u64..4, 0u64..8), 1..5).prop_map(|mut stages| {
        stages.push((1, 2));
        let stage = |(seconds, target): &(u64, u64)| json!({ "duration": format!("{seconds}s"), "target": target });
        stages.iter().map(stage).collect::<Vec<_>>()
    });
    let numbers = (1u64..8, 1u64..60, 1u64..5, 0u64..4, 0u64..3);
    (0..6, numbers, stages).prop_map(|(kind, (vus, n, seconds, start, grace), stages)| {
        let mut value = match kind {
            0 => json!({ "executor": "shared-iterations", "vus": vus, "iterations": vus + n, "maxDuration": "1h" }),
            1 => json!({ "executor": "per-vu-iterations", "vus": vus, "iterations": n, "maxDuration": "1h" }),
            2 => json!({ "executor": "constant-vus", "vus": vus, "duration": format!("{seconds}s") }),
            3 => json!({ "executor": "ramping-vus", "startVUs": vus, "stages": stages, "gracefulRampDown": format!("{grace}s") }),
            4 => json!({ "executor": "constant-arrival-rate", "rate": n, "duration": format!("{seconds}s"),
                         "preAllocatedVUs": vus, "maxVUs": vus * 2 }),
            _ => json!({ "executor": "ramping-arrival-rate", "startRate": n, "stages": stages,
                         "preAllocatedVUs": vus, "maxVUs": vus * 2 }),
        };
        value["startTime"] = json!(format!("{start}s"));
        value["gracefulStop"] = json!(format!("{grace}s"));
        value
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_executor_keeps_its_promises(
        one in any_scenario(),
        two in any_scenario(),
        seed in any::<u64>(),
        boot_us in 0u64..2_000_000,
        iteration_us in 30_000u64..600_000,
        loss in 0u64..12,
    ) {
        let of = options(&json!({ "scenarios": { "one": one, "two": two } }));
        let loss = if loss < 4 { 0 } else { loss };
        let world = Simulation::run(&of, Nature { seed, boot_us, iteration_us, loss });
        prop_assert!(world.ended_at.is_some(), "it never ended");
        for (scenario, seen) in of.scenarios.iter().zip(&world.seen) {
            prop_assert!(seen.living_most as u64 <= scenario.executor.vus_max());
            prop_assert!(seen.begun.iter().all(|at| (scenario.start_us..=scenario.end_us()).contains(at)));
            prop_assert!(seen.numbers.values().all(|times| *times == 1));
            if let Some(planned) = scenario.executor.iterations() {
                prop_assert_eq!(seen.totals.done, planned);
                prop_assert_eq!(seen.begun.len() as u64, planned + seen.lost);
                prop_assert!(seen.numbers.keys().copied().eq(0..planned));
            } else {
                prop_assert!(world.ended_at.is_some_and(|end| end <= of.longest_us()));
            }
        }
    }
}
