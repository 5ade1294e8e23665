//! Rules that every campaign of a service keeps, tried on random services.

use cohort_model::{
    Change, ChangeVerdict, EndpointId, InstanceId, Policy, Purpose, ServiceCommand,
    ServiceDecision, ServicePlan, ServiceReason, ServiceSeen, ThreadId,
};
use cohort_orchestrator::service::{Conductor, ServiceStep};
use cohort_sim::service::{
    Crash, Defect, ScenarioNeeds, ServiceNeeds, ServiceOutcome, run_service, service_plan,
};
use proptest::prelude::*;

fn scenario(name: &str, calls: &[(u32, u64, u64)], think_us: u64) -> ScenarioNeeds {
    ScenarioNeeds {
        name: name.to_owned(),
        calls: calls.to_vec(),
        think_us,
    }
}

/// Threads that browse, and a few that ask for reports.
fn two_areas(threads: usize, reporting: usize) -> ServiceNeeds {
    ServiceNeeds {
        scenarios: vec![
            scenario("browse", &[(0, 3_000, 5_000), (1, 5_000, 10_000)], 100_000),
            scenario("report", &[(2, 10_000, 10_000)], 100_000),
        ],
        threads: (0..threads)
            .map(|id| (0, usize::from(id % threads.div_ceil(reporting).max(1) == 0)))
            .collect(),
        duration_us: 90_000_000,
        ..ServiceNeeds::default()
    }
}

fn both(instances: u32, needs: &ServiceNeeds) -> (ServiceOutcome, ServiceOutcome) {
    let run = |policy| run_service(&service_plan(instances, policy, needs), needs, true);
    (run(Policy::Adaptive), run(Policy::Static))
}

fn without_hand_overs(instances: u32, needs: &ServiceNeeds) -> (ServiceOutcome, ServiceOutcome) {
    let run = |policy| {
        let plan = ServicePlan {
            hands_over: false,
            ..service_plan(instances, policy, needs)
        };
        run_service(&plan, needs, true)
    };
    (run(Policy::Adaptive), run(Policy::Static))
}

fn commands(outcome: &ServiceOutcome) -> Vec<&ServiceCommand> {
    let steps = outcome.steps.iter();
    steps
        .flat_map(|(_, _, step)| &step.decisions)
        .map(|decision| &decision.command)
        .collect()
}

fn verdicts(outcome: &ServiceOutcome, verdict: ChangeVerdict) -> usize {
    let is = |change: &&Change| change.verdict == verdict;
    outcome.changes.values().filter(is).count()
}

#[test]
fn the_static_policy_changes_nothing() {
    let mut needs = two_areas(24, 6);
    needs.defects = vec![Defect {
        endpoint: 2,
        instance: Some(1),
        onset_us: 10_000_000,
        factor: 6.0,
        growth: 0.0,
        locks: false,
    }];
    needs.crashes = vec![Crash {
        at_us: 40_000_000,
        instance: 0,
        again: true,
    }];
    let (_, fixed) = both(3, &needs);
    let changes = |command: &&&ServiceCommand| {
        !matches!(
            command,
            ServiceCommand::Open { .. }
                | ServiceCommand::Place { .. }
                | ServiceCommand::Close { .. }
                | ServiceCommand::Finish
        )
    };
    let all = commands(&fixed);
    assert_eq!(all.iter().filter(changes).count(), 0);
    assert_eq!(fixed.placed.len(), 24);
}

fn slow_on(instance: Option<u32>, endpoint: u32, factor: f64) -> Defect {
    Defect {
        endpoint,
        instance,
        onset_us: 0,
        factor,
        growth: 0.0,
        locks: false,
    }
}

/// One instance of four has more to compute than its cores allow.
fn one_is_short_of_cores() -> ServiceNeeds {
    ServiceNeeds {
        scenarios: vec![scenario(
            "browse",
            &[(0, 4_000, 5_000), (1, 4_000, 10_000)],
            150_000,
        )],
        threads: (0..16).map(|_| (0, 0)).collect(),
        defects: vec![slow_on(Some(0), 0, 8.0), slow_on(Some(0), 1, 8.0)],
        duration_us: 60_000_000,
        ..ServiceNeeds::default()
    }
}

fn of_resource<'a>(outcome: &'a ServiceOutcome, word: &str) -> Vec<&'a Change> {
    let changes = outcome.changes.values();
    changes
        .filter(|change| change.what.contains(word))
        .collect()
}

#[test]
fn cores_go_where_they_are_short_and_stay_when_that_helped() {
    let needs = one_is_short_of_cores();
    let (adaptive, fixed) = both(4, &needs);
    println!(
        "cores: {} iterations, static {}",
        adaptive.iterations, fixed.iterations
    );
    let kept = of_resource(&adaptive, "i0 gets")
        .into_iter()
        .find(|change| change.verdict == ChangeVerdict::Kept)
        .expect("a change that helped");
    let measured = kept.measured.expect("measured");
    assert!(measured < kept.before, "{kept:?}");
    assert!(
        adaptive.shares[&InstanceId(0)].cores > 0.6,
        "{:?}",
        adaptive.shares
    );
    assert!(adaptive.iterations * 100 > fixed.iterations * 103);
}

#[test]
fn a_change_that_does_harm_is_undone_and_not_tried_again_at_once() {
    let mut needs = one_is_short_of_cores();
    needs.perverse = vec![0];
    let (adaptive, _) = without_hand_overs(4, &needs);
    let tried = of_resource(&adaptive, "i0 gets 0.6");
    assert_eq!(tried.len(), 1, "{:?}", adaptive.changes);
    assert_eq!(tried[0].verdict, ChangeVerdict::Undone);
    assert!(tried[0].measured > Some(tried[0].before));
    let undone = |step: &ServiceStep| {
        let change = tried[0].number;
        let is = |decision: &ServiceDecision| decision.reason == ServiceReason::Undo { change };
        step.decisions
            .iter()
            .filter(|decision| is(decision))
            .count()
    };
    let undone: usize = adaptive.steps.iter().map(|(_, _, step)| undone(step)).sum();
    assert!(undone >= 2, "{undone} limits were set back");
    assert!(
        (adaptive.shares[&InstanceId(0)].cores - 0.5).abs() < 0.02,
        "{:?}",
        adaptive.shares
    );
}

#[test]
fn memory_goes_where_it_is_short() {
    let mut needs = two_areas(12, 3);
    needs.memory = (30 << 20, 0);
    needs.leaking = vec![(2, 100_000)];
    let (adaptive, _) = both(3, &needs);
    let kept = of_resource(&adaptive, "i2 gets 3");
    println!("{kept:?}");
    assert!(
        kept.iter()
            .any(|change| change.verdict == ChangeVerdict::Kept),
        "{:?}",
        adaptive.changes
    );
    assert!(adaptive.shares[&InstanceId(2)].memory > 256 << 20);
}

#[test]
fn threads_leave_an_instance_that_crashes_and_come_back() {
    let mut needs = two_areas(24, 6);
    needs.boot_us = 8_000_000;
    for scenario in &mut needs.scenarios {
        scenario.think_us = 300_000;
    }
    needs.crashes = [20, 50]
        .map(|s| Crash {
            at_us: s * 1_000_000,
            instance: 1,
            again: true,
        })
        .into();
    let (adaptive, fixed) = both(3, &needs);
    println!(
        "crashes: {} iterations, static {}",
        adaptive.iterations, fixed.iterations
    );
    assert!(adaptive.iterations > fixed.iterations);
    assert!(adaptive.handed_over >= 16, "{}", adaptive.handed_over);
    let reasons = adaptive
        .steps
        .iter()
        .flat_map(|(_, _, step)| &step.decisions);
    let back = |decision: &&ServiceDecision| {
        let to = |command: &ServiceCommand| {
            matches!(
                command,
                ServiceCommand::HandOver {
                    target: InstanceId(1),
                    ..
                }
            )
        };
        to(&decision.command) && decision.reason == ServiceReason::Balance
    };
    assert!(reasons.filter(back).count() >= 4);
}

#[test]
fn what_an_instance_had_that_fails_for_good_goes_to_the_others() {
    let mut needs = two_areas(24, 6);
    needs.crashes = vec![Crash {
        at_us: 20_000_000,
        instance: 1,
        again: false,
    }];
    let (adaptive, fixed) = both(3, &needs);
    println!(
        "failed: {} iterations, static {}",
        adaptive.iterations, fixed.iterations
    );
    let cores: f64 = [0, 2]
        .map(|id| adaptive.shares[&InstanceId(id)].cores)
        .iter()
        .sum();
    assert!(cores > 1.4, "{:?}", adaptive.shares);
    assert!(adaptive.iterations > fixed.iterations);
    let closed = adaptive
        .steps
        .iter()
        .flat_map(|(_, _, step)| &step.decisions)
        .any(|decision| {
            decision.command
                == ServiceCommand::Close {
                    instance: InstanceId(1),
                }
                && matches!(decision.reason, ServiceReason::Failed { .. })
        });
    assert!(closed);
}

#[test]
fn a_campaign_without_an_instance_that_starts_ends_and_says_why() {
    let needs = ServiceNeeds {
        broken: vec![0, 1],
        ..ServiceNeeds::default()
    };
    let (outcome, _) = both(2, &needs);
    let (_, _, last) = outcome.steps.last().expect("a step");
    let end = last.decisions.last().expect("a decision");
    assert_eq!(end.command, ServiceCommand::Finish);
    let ServiceReason::Failed { why } = &end.reason else {
        panic!("{end:?}");
    };
    assert_eq!(why, "none of 2 instances is left; i0: it does not answer");
    assert!(outcome.wall_us < 5_000_000);
}

/// An area of which the planted defect hurts everything beside it, on every instance.
fn an_area_that_wears_out() -> ServiceNeeds {
    let mut needs = two_areas(40, 8);
    needs.defects = vec![Defect {
        onset_us: 15_000_000,
        growth: 0.05,
        ..slow_on(None, 2, 6.0)
    }];
    needs
}

#[test]
fn the_threads_of_a_slow_area_are_gathered_and_more_gets_done() {
    let (adaptive, fixed) = both(4, &an_area_that_wears_out());
    println!(
        "slow area: {} iterations, static {}",
        adaptive.iterations, fixed.iterations
    );
    let (at, kept) = specialized(&adaptive).expect("an instance that is kept for it");
    let ServiceCommand::Specialize {
        instance,
        purpose: Purpose::Suspect { endpoint, .. },
    } = kept
    else {
        panic!("{kept:?}");
    };
    println!("{instance} kept for it from {at:.0} s on");
    assert_eq!(*endpoint, Some(EndpointId(2)));
    let change = &adaptive.changes[&1];
    assert_eq!(change.verdict, ChangeVerdict::Kept);
    let measured = change.measured.expect("measured");
    assert!(measured > change.before, "{change:?}");
    // The same campaign in which nothing is changed does as much until then, and less after.
    let (begun, judged) = trial(&adaptive, change.number);
    assert_eq!(done_before(&adaptive, begun), done_before(&fixed, begun));
    let after = |outcome: &ServiceOutcome| {
        (done_before(outcome, judged) - done_before(outcome, judged - 5_000_000)) as f64
    };
    println!(
        "in the 5 s that are measured: {} iterations, static {}",
        after(&adaptive),
        after(&fixed)
    );
    assert!(after(&adaptive) > 1.15 * after(&fixed));
    assert!(adaptive.iterations * 100 > fixed.iterations * 105);
}

/// When a change was begun and when it was judged, microseconds.
fn trial(outcome: &ServiceOutcome, number: u32) -> (u64, u64) {
    let of = |step: &ServiceStep, pending: bool| {
        let mut changes = step.changes.iter();
        let is = |change: &Change| (change.verdict == ChangeVerdict::Pending) == pending;
        changes.any(|change| change.number == number && is(change))
    };
    let when = |pending| {
        let found = outcome.steps.iter().find(|(_, _, step)| of(step, pending));
        found.expect("a step").0.0
    };
    (when(true), when(false))
}

/// Iterations that were told until then.
fn done_before(outcome: &ServiceOutcome, at_us: u64) -> u64 {
    let told = outcome.steps.iter().take_while(|(at, ..)| at.0 <= at_us);
    let seen = told.flat_map(|(_, seen, _)| seen);
    seen.map(|seen| match seen {
        ServiceSeen::Iterated { iterations, .. } => *iterations,
        _ => 0,
    })
    .sum()
}

fn specialized(outcome: &ServiceOutcome) -> Option<(f64, &ServiceCommand)> {
    outcome.steps.iter().find_map(|(at, _, step)| {
        let mut commands = step.decisions.iter().map(|decision| &decision.command);
        let is = |command: &&ServiceCommand| matches!(command, ServiceCommand::Specialize { .. });
        Some((at.seconds(), commands.find(is)?))
    })
}

#[test]
fn what_is_slow_on_one_instance_shows_there_alone_while_the_others_have_room() {
    let mut needs = two_areas(40, 8);
    for scenario in &mut needs.scenarios {
        scenario.think_us = 500_000;
    }
    needs.defects = vec![Defect {
        onset_us: 15_000_000,
        ..slow_on(Some(1), 2, 12.0)
    }];
    let (adaptive, fixed) = both(4, &needs);
    println!(
        "slow on one: {} iterations, static {}",
        adaptive.iterations, fixed.iterations
    );
    let (_, kept) = specialized(&adaptive).expect("an instance that is kept for it");
    assert!(
        matches!(
            kept,
            ServiceCommand::Specialize {
                instance: InstanceId(1),
                purpose: Purpose::Suspect { .. }
            }
        ),
        "{kept:?}"
    );
    // Both kinds of threads were on it; at the end those that do not call the endpoint have left, and
    // some that do are still with others, to compare.
    let mut on = std::collections::BTreeMap::new();
    for (_, _, step) in &adaptive.steps {
        for decision in &step.decisions {
            match decision.command {
                ServiceCommand::Place { thread, instance } => on.insert(thread, instance),
                ServiceCommand::HandOver { thread, target, .. } => on.insert(thread, target),
                _ => None,
            };
        }
    }
    let reports = |thread: &ThreadId| needs.threads[thread.index()].1 == 1;
    let there = on.iter().filter(|(_, place)| place.0 == 1);
    let (members, strangers): (Vec<&ThreadId>, Vec<&ThreadId>) = there
        .map(|(thread, _)| thread)
        .partition(|thread| reports(thread));
    assert!(
        !members.is_empty() && strangers.is_empty(),
        "{members:?} {strangers:?}"
    );
    assert!(
        on.iter()
            .any(|(thread, place)| place.0 != 1 && reports(thread))
    );
    assert!(adaptive.iterations * 100 >= fixed.iterations * 99);
}

fn arbitrary_needs() -> impl Strategy<Value = ServiceNeeds> {
    let defect = (
        0..3_u32,
        prop::option::of(0..4_u32),
        0..40_u64,
        1.0..8.0_f64,
        any::<bool>(),
    );
    let crash = (1..60_u64, 0..4_u32, prop::bool::weighted(0.7));
    let late = (
        0..800_u64,
        prop::sample::select(vec![0, 0, 10, 60]),
        prop::option::weighted(0.2, 5..50_u64),
        prop::collection::vec(0..4_u32, 0..2),
        100..4_000_u64,
    );
    (
        prop::collection::vec((0..20_u64, 0..2_usize), 1..40),
        prop::collection::vec(defect, 0..3),
        prop::collection::vec(crash, 0..5),
        late,
        (10..45_u64, 0..100_u64, 20..600_u64),
    )
        .prop_map(
            |(threads, defects, crashes, late, (seconds, leak, think_ms))| {
                let mut needs = two_areas(1, 1);
                for scenario in &mut needs.scenarios {
                    scenario.think_us = think_ms * 1_000;
                }
                ServiceNeeds {
                    threads: threads
                        .iter()
                        .map(|&(s, scenario)| (s * 1_000_000, scenario))
                        .collect(),
                    duration_us: seconds * 1_000_000,
                    interrupted_us: late.2.map(|s| s * 1_000_000),
                    boot_us: late.4 * 1_000,
                    broken: late.3,
                    crashes: crashes
                        .iter()
                        .map(|&(s, instance, again)| Crash {
                            at_us: s * 1_000_000,
                            instance,
                            again,
                        })
                        .collect(),
                    defects: defects
                        .iter()
                        .map(|&(endpoint, instance, s, factor, locks)| Defect {
                            endpoint,
                            instance,
                            onset_us: s * 1_000_000,
                            factor,
                            growth: 0.0,
                            locks,
                        })
                        .collect(),
                    late_us: late.0 * 1_000,
                    hand_overs_failing: late.1,
                    memory: (32 << 20, leak * 1_000),
                    ..needs
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The host checks each command: shares in force within the budget, changes small, threads placed
    /// once and never where nobody answers, instances closed once; and that it ends.
    #[test]
    fn every_campaign_keeps_the_rules(
        needs in arbitrary_needs(),
        instances in 1..5_u32,
        fixed in any::<bool>(),
        hands_over in prop::bool::weighted(0.85),
        seed in 0..1000_u64,
    ) {
        let policy = if fixed { Policy::Static } else { Policy::Adaptive };
        let plan = ServicePlan { seed, hands_over, ..service_plan(instances, policy, &needs) };
        let outcome = run_service(&plan, &needs, true);
        prop_assert!(outcome.open.is_empty(), "left open: {:?}", outcome.open);
        prop_assert!(outcome.ordered_per_s_max <= 20, "{} in a second", outcome.ordered_per_s_max);
        prop_assert_eq!(verdicts(&outcome, ChangeVerdict::Pending), 0);
        let all_broken = (0..instances).all(|id| needs.broken.contains(&id));
        if needs.interrupted_us.is_none() && needs.crashes.is_empty() && !all_broken {
            let wanted = |&&(us, _): &&(u64, usize)| us + 15_000_000 < needs.duration_us;
            let wanted = needs.threads.iter().filter(wanted).count();
            prop_assert!(outcome.placed.len() >= wanted, "{} of {wanted}", outcome.placed.len());
        }
        let ends = commands(&outcome).into_iter().filter(|c| **c == ServiceCommand::Finish).count();
        prop_assert_eq!(ends, 1);
        let mut came = std::collections::BTreeMap::new();
        for (at, _, step) in &outcome.steps {
            for decision in &step.decisions {
                // What is on record can be read back.
                let json = serde_json::to_string(decision).expect("a decision as JSON");
                let read: ServiceDecision = serde_json::from_str(&json).expect("a decision from JSON");
                prop_assert_eq!(&read, decision);
                let ServiceCommand::HandOver { thread, .. } = decision.command else {
                    continue;
                };
                let before = came.insert(thread, at.0);
                let stayed = before.is_none_or(|before| at.0 - before >= 5_000_000);
                prop_assert!(stayed || decision.reason == ServiceReason::Restarting, "{thread} at {at:?}");
            }
        }
        let mut again = Conductor::new(plan);
        for (at, seen, step) in &outcome.steps {
            prop_assert_eq!(&again.step(*at, seen), step);
        }
    }
}
