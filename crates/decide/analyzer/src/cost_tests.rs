//! The cost model from prior to own history.

use cohort_model::{TestCase, TestHistory};
use proptest::prelude::*;

use super::*;

fn plan(groups: u32, per_group: u32) -> Plan {
    let case = |n: u32| TestCase {
        name: format!("t{n}"),
        group: GroupId(n / per_group),
        ignored: false,
        lock: None,
        whole: n == 0,
        broken: None,
    };
    Plan {
        groups: (0..groups).map(|g| format!("g{g}")).collect(),
        tests: (0..groups * per_group).map(case).collect(),
        ..Plan::default()
    }
}

fn usage(wall_ms: u64, cores: f64, mebibytes: u64) -> Usage {
    Usage {
        wall_us: wall_ms * 1000,
        user_us: (wall_ms as f64 * 1000.0 * cores) as u64,
        memory_peak: mebibytes << 20,
        ..Usage::default()
    }
}

#[test]
fn nothing_known_gives_the_prior() {
    let estimate = CostModel::new(&plan(1, 2), 2.0).test(TestId(1));
    assert_eq!(estimate.runs, 0);
    assert!(
        (estimate.wall_us.p50 - 100_000.0).abs() < 1.0,
        "{estimate:?}"
    );
    assert!((estimate.cores.p50 - 1.0).abs() < 1e-9);
    assert!((estimate.memory.p50 - 64.0 * 1_048_576.0).abs() < 1.0);
    assert!(estimate.memory.p90 > 3.0 * estimate.memory.p50);
}

#[test]
fn a_whole_test_needs_all_cores_until_it_was_seen() {
    let mut model = CostModel::new(&plan(1, 2), 4.0);
    assert!((model.test(TestId(0)).cores.p50 - 4.0).abs() < 1e-9);
    model.learn(TestId(0), &usage(500, 1.0, 20));
    assert!((model.test(TestId(0)).cores.p50 - 1.0).abs() < 1e-3);
}

#[test]
fn own_history_decides() {
    let mut plan = plan(2, 10);
    let usage_seen = vec![
        usage(900, 0.1, 30),
        usage(1000, 0.1, 33),
        usage(1100, 0.1, 90),
    ];
    plan.history.insert(
        3,
        TestHistory {
            usage: usage_seen,
            runs: 3,
            ..TestHistory::default()
        },
    );
    let estimate = CostModel::new(&plan, 2.0).test(TestId(3));
    assert_eq!(estimate.runs, 3);
    assert!(
        (0.9e6..1.1e6).contains(&estimate.wall_us.p50),
        "{estimate:?}"
    );
    assert!(
        estimate.memory.p90 >= (90u64 << 20) as f64,
        "never below what it once needed"
    );
    assert!((estimate.cores.p50 - 0.1).abs() < 0.01);
}

#[test]
fn neighbours_are_believed_the_more_the_more_ended() {
    let mut model = CostModel::new(&plan(2, 100), 2.0);
    for n in 0..50 {
        model.learn(TestId(n), &usage(2000, 0.01, 10));
    }
    for n in 100..150 {
        model.learn(TestId(n), &usage(5, 1.0, 200));
    }
    let sleeping = model.test(TestId(60));
    let short = model.test(TestId(160));
    assert!(
        (1.7e6..2.1e6).contains(&sleeping.wall_us.p50),
        "{sleeping:?}"
    );
    assert!(
        sleeping.cores.p50 < 0.05 && short.cores.p50 > 0.8,
        "{sleeping:?} {short:?}"
    );
    assert!((3e3..8e3).contains(&short.wall_us.p50), "{short:?}");
    assert!(short.memory.p50 > 10.0 * sleeping.memory.p50);
    assert_eq!(sleeping.runs, 0);
}

#[test]
fn running_neighbours_are_evidence_before_any_ends() {
    let mut model = CostModel::new(&plan(2, 100), 2.0);
    for _ in 0..20 {
        model.observe_running(GroupId(0), 0.01, 0.01);
    }
    let seen = model.group(GroupId(0)).cores.p50;
    let other = model.group(GroupId(1)).cores.p50;
    assert!(seen < 0.15, "{seen}");
    assert!(
        other < 0.5,
        "the whole campaign is evidence for a group of which nothing is known: {other}"
    );
}

#[test]
fn what_is_over_at_once_says_little_of_cores() {
    let mut model = CostModel::new(&plan(1, 100), 2.0);
    for n in 1..20 {
        model.learn(TestId(n), &usage(2, 0.9, 10));
    }
    model.learn(TestId(20), &usage(1000, 0.01, 10));
    let cores = model.group(GroupId(0)).cores.p50;
    assert!(cores < 0.1, "{cores}");
}

#[test]
fn memory_that_the_host_cannot_tell_is_taken_from_neighbours() {
    let mut model = CostModel::new(&plan(1, 2), 2.0);
    model.learn(TestId(1), &usage(100, 1.0, 0));
    assert!(model.test(TestId(1)).memory.p50 > 1e6);
}

fn any_usage() -> impl Strategy<Value = Usage> {
    (0..1u64 << 50, 0..1u64 << 50, 0..1u64 << 50).prop_map(|(wall_us, user_us, memory_peak)| {
        Usage {
            wall_us,
            user_us,
            memory_peak,
            ..Usage::default()
        }
    })
}

proptest! {
    #[test]
    fn estimates_are_finite_ordered_and_within_the_host(
        ends in proptest::collection::vec((0u32..25, any_usage()), 0..60),
        live in proptest::collection::vec((0u32..5, any::<f64>(), any::<f64>()), 0..60),
    ) {
        let mut model = CostModel::new(&plan(2, 10), 2.0);
        for (test, usage) in &ends {
            model.learn(TestId(*test), usage);
        }
        for (group, cores, weight) in live {
            model.observe_running(GroupId(group), cores, weight);
        }
        for test in (0..25).map(TestId) {
            let e = model.test(test);
            for q in [e.wall_us, e.cores, e.memory] {
                prop_assert!(q.p50.is_finite() && q.p90.is_finite(), "{e:?}");
                prop_assert!(q.p50 >= 0.0 && q.p90 >= q.p50 * (1.0 - 1e-9), "{e:?}");
            }
            prop_assert!(e.cores.p90 <= 2.0);
        }
    }
}
