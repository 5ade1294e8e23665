//! The analyzer from outside: scripted instances, and arbitrary ones.

use cohort_analyzer::{Analyzer, Settings};
use cohort_model::{
    At, Collector, Estimate, Finding, FindingKind, HostSample, InstanceId, InstanceSample,
    Quantiles, SampleBatch, TestId,
};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;
const STEP_US: u64 = 100_000;

fn sample(instance: u32) -> InstanceSample {
    InstanceSample {
        processes: 1,
        tasks: 1,
        open_files: 3,
        ..InstanceSample::empty(InstanceId(instance))
    }
}

fn expected(wall_s: f64, cores: f64, runs: u32) -> Estimate {
    let same = |value: f64| Quantiles {
        p50: value,
        p90: value,
    };
    Estimate {
        wall_us: same(wall_s * 1e6),
        cores: same(cores),
        memory: same(1e8),
        runs,
    }
}

/// One instance that is sampled ten times a second on a host of two cores.
struct Scene {
    analyzer: Analyzer,
    now: At,
    state: InstanceSample,
    busy_us: u64,
    findings: Vec<Finding>,
}

impl Scene {
    fn new(warm: bool) -> Scene {
        let mut analyzer = Analyzer::new(Settings::new(2.0, warm));
        analyzer.instance_opened(At(0), InstanceId(0), 1024 * MIB);
        Scene {
            analyzer,
            now: At(0),
            state: sample(0),
            busy_us: 0,
            findings: Vec::new(),
        }
    }

    fn start(&mut self, test: u32, expected: &Estimate) {
        self.analyzer
            .thread_started(self.now, InstanceId(0), TestId(test), expected);
    }

    /// Runs for `seconds`, using `cores`, while others use `others`; `change` is made each step.
    fn run(
        &mut self,
        seconds: f64,
        cores: f64,
        others: f64,
        mut change: impl FnMut(&mut InstanceSample),
    ) {
        for _ in 0..(seconds * 10.0).round() as u32 {
            self.now = self.now.plus_us(STEP_US);
            self.state.cpu_us += (cores * STEP_US as f64) as u64;
            self.busy_us += ((cores + others) * STEP_US as f64) as u64;
            change(&mut self.state);
            let batch = SampleBatch {
                at: self.now,
                host: HostSample {
                    busy_us: self.busy_us,
                    ..HostSample::default()
                },
                instances: vec![self.state],
                collector: Collector::default(),
            };
            self.findings.extend(self.analyzer.observe(&batch));
        }
    }

    fn kinds(&self) -> Vec<FindingKind> {
        self.findings.iter().map(|f| f.kind).collect()
    }

    fn count(&self, kind: FindingKind) -> usize {
        self.findings.iter().filter(|f| f.kind == kind).count()
    }
}

#[test]
fn a_computing_test_saturates_after_a_second_and_is_reported_once() {
    let mut scene = Scene::new(false);
    scene.run(1.0, 0.0, 0.0, |_| ());
    scene.start(7, &expected(0.1, 1.0, 0));
    scene.run(0.9, 1.0, 0.0, |_| ());
    assert_eq!(scene.kinds(), []);
    scene.run(5.0, 1.0, 0.0, |_| ());
    assert_eq!(scene.kinds(), [FindingKind::CpuSaturation]);
    let finding = &scene.findings[0];
    assert_eq!(finding.test, Some(TestId(7)));
    assert!(
        finding.confidence > 0.9 && finding.at < At(2_200_000),
        "{finding:?}"
    );
    assert!((finding.evidence[0].value - 1.0).abs() < 0.01);
    scene.run(2.0, 0.3, 0.0, |_| ());
    scene.run(2.0, 1.0, 0.0, |_| ());
    assert_eq!(
        scene.count(FindingKind::CpuSaturation),
        2,
        "again after it had ended"
    );
}

#[test]
fn a_sleeping_test_waits_only_beside_idle_cpu() {
    let mut scene = Scene::new(false);
    scene.start(1, &expected(0.1, 1.0, 0));
    scene.run(2.0, 0.0, 2.0, |_| ());
    assert_eq!(scene.kinds(), []);
    scene.run(1.0, 0.0, 0.5, |_| ());
    assert_eq!(scene.kinds(), [FindingKind::Waiting]);
}

#[test]
fn nothing_is_said_of_cpu_before_it_was_sampled() {
    let mut scene = Scene::new(false);
    scene.start(1, &expected(0.1, 1.0, 0));
    assert_eq!(scene.analyzer.cores_used(InstanceId(0)), None);
    scene.run(0.2, 0.5, 0.0, |_| ());
    assert!((scene.analyzer.cores_used(InstanceId(0)).unwrap() - 0.5).abs() < 0.01);
    scene.analyzer.thread_ended(scene.now, InstanceId(0), false);
    assert_eq!(scene.analyzer.cores_used(InstanceId(0)), None);
    // At once the next: what the first used since the last sample must not be taken for its own.
    scene.state.cpu_us += 50_000_000;
    scene.start(2, &expected(0.1, 1.0, 0));
    scene.run(0.1, 0.0, 0.0, |_| ());
    assert_eq!(scene.analyzer.cores_used(InstanceId(0)), None);
    scene.run(0.1, 0.2, 0.0, |_| ());
    assert!((scene.analyzer.cores_used(InstanceId(0)).unwrap() - 0.2).abs() < 0.01);
}

#[test]
fn a_crowded_thread_wants_more_than_it_gets() {
    let mut scene = Scene::new(false);
    scene.start(1, &expected(0.1, 1.0, 0));
    scene.run(1.0, 0.25, 1.75, |s| s.cpu_pressure_us += 75_000);
    assert!((scene.analyzer.cores_used(InstanceId(0)).unwrap() - 0.25).abs() < 0.01);
    assert!((scene.analyzer.cores_wanted(InstanceId(0)).unwrap() - 1.0).abs() < 0.01);
    assert_eq!(scene.kinds(), [FindingKind::CpuSaturation]);
}

#[test]
fn a_host_that_can_tell_nothing_is_no_evidence() {
    let mut scene = Scene::new(false);
    scene.start(1, &expected(0.1, 1.0, 0));
    scene.run(20.0, 0.0, 0.0, |s| s.tasks = 0);
    assert_eq!(scene.kinds(), []);
    assert_eq!(scene.analyzer.cores_used(InstanceId(0)), None);
    assert_eq!(scene.analyzer.stalled_for_us(InstanceId(0), scene.now), 0);
}

#[test]
fn a_stall_counts_from_the_last_sign_of_life() {
    let mut scene = Scene::new(false);
    scene.start(1, &expected(0.1, 1.0, 0));
    scene.run(3.0, 1.0, 1.0, |_| ());
    scene.run(8.0, 0.0, 2.0, |_| ());
    assert_eq!(
        scene.analyzer.stalled_for_us(InstanceId(0), scene.now),
        8_000_000
    );
    scene.run(0.1, 0.0, 2.0, |s| s.io_read += 1);
    assert_eq!(scene.analyzer.stalled_for_us(InstanceId(0), scene.now), 0);
    scene.run(9.9, 0.0, 2.0, |_| ());
    assert_eq!(scene.count(FindingKind::Stall), 0);
    scene.run(1.0, 0.0, 2.0, |_| ());
    assert_eq!(scene.count(FindingKind::Stall), 1);
}

#[test]
fn memory_near_its_limit_is_pressure_until_the_limit_is_raised() {
    let mut scene = Scene::new(false);
    scene.start(1, &expected(0.1, 1.0, 0));
    scene.run(1.0, 0.5, 1.0, |s| s.memory_anon = 1000 * MIB);
    assert_eq!(scene.kinds(), [FindingKind::MemoryPressure]);
    assert_eq!(scene.analyzer.memory_anon(InstanceId(0)), Some(1000 * MIB));
    scene.analyzer.limit_changed(InstanceId(0), 2048 * MIB);
    scene.run(1.0, 0.5, 1.0, |_| ());
    scene.run(1.0, 0.5, 1.0, |s| s.memory_anon = 2000 * MIB);
    assert_eq!(scene.count(FindingKind::MemoryPressure), 2);
}

#[test]
fn steady_growth_is_a_leak_and_a_warm_up_is_none() {
    let mut leaking = Scene::new(false);
    leaking.start(1, &expected(0.1, 1.0, 0));
    leaking.run(30.0, 0.5, 1.5, |s| s.memory_anon += MIB);
    assert_eq!(leaking.kinds(), [FindingKind::MemoryLeak]);

    let mut settling = Scene::new(false);
    settling.start(1, &expected(0.1, 1.0, 0));
    settling.run(30.0, 0.5, 1.5, |s| {
        s.memory_anon += (400 * MIB - s.memory_anon) / 20;
    });
    assert_eq!(settling.kinds(), []);
}

#[test]
fn a_warm_worker_leaks_across_its_tests_and_a_process_per_test_does_not() {
    for (warm, leaks) in [(true, 1), (false, 0)] {
        let mut scene = Scene::new(warm);
        for test in 0..30 {
            scene.start(test, &expected(0.1, 1.0, 0));
            scene.run(1.0, 0.5, 1.5, |s| s.memory_anon += MIB);
            scene.analyzer.thread_ended(scene.now, InstanceId(0), false);
        }
        assert_eq!(scene.count(FindingKind::MemoryLeak), leaks, "warm: {warm}");
    }
}

#[test]
fn slow_needs_a_history_to_be_slow_against() {
    for (runs, found) in [(0, 0), (2, 0), (3, 1)] {
        let mut scene = Scene::new(false);
        scene.start(1, &expected(1.0, 1.0, runs));
        scene.run(2.9, 0.5, 1.5, |_| ());
        assert_eq!(scene.count(FindingKind::Slow), 0);
        scene.run(3.0, 0.5, 1.5, |_| ());
        assert_eq!(scene.count(FindingKind::Slow), found, "{runs} runs");
    }
}

#[test]
fn failures_in_a_row_are_a_burst() {
    let mut scene = Scene::new(false);
    for n in 0..200 {
        scene.start(n, &expected(0.1, 1.0, 0));
        scene.run(0.1, 0.5, 1.5, |_| ());
        scene
            .analyzer
            .thread_ended(scene.now, InstanceId(0), n >= 190);
    }
    scene.run(0.1, 0.0, 0.0, |_| ());
    assert_eq!(scene.count(FindingKind::FailureBurst), 1);
    assert!(
        scene
            .findings
            .iter()
            .all(|f| f.kind != FindingKind::FailureBurst || f.test.is_none())
    );
}

#[test]
fn a_moved_thread_is_followed_to_its_target() {
    let mut scene = Scene::new(false);
    scene.analyzer.instance_opened(At(0), InstanceId(1), 0);
    scene.start(9, &expected(0.1, 1.0, 0));
    scene.run(0.5, 1.0, 0.0, |_| ());
    scene
        .analyzer
        .thread_moved(scene.now, InstanceId(0), InstanceId(1));
    assert_eq!(scene.analyzer.cores_used(InstanceId(0)), None);
    scene.state = sample(1);
    scene.run(3.0, 1.0, 0.0, |_| ());
    assert!((scene.analyzer.cores_used(InstanceId(1)).unwrap() - 1.0).abs() < 0.01);
    assert_eq!(scene.kinds(), [FindingKind::CpuSaturation]);
    assert_eq!(scene.findings[0].instance, InstanceId(1));
    assert_eq!(scene.findings[0].test, Some(TestId(9)));
}

#[derive(Clone, Debug)]
enum Call {
    Opened(u64, u32, u64),
    Closed(u32),
    Limit(u32, u64),
    Started(u64, u32, u32, f64, u32),
    Ended(u64, u32, bool),
    Moved(u64, u32, u32),
    Observe(u64, u64, Vec<[u64; 8]>),
}

/// Mostly times that follow each other, now and then anything.
fn any_time() -> impl Strategy<Value = u64> {
    prop_oneof![4 => (0..400u64).prop_map(|n| n * STEP_US), 1 => any::<u64>()]
}

fn any_call() -> impl Strategy<Value = Call> {
    let numbers = prop_oneof![4 => 0..1u64 << 40, 1 => any::<u64>()];
    let id = 0..4u32;
    prop_oneof![
        1 => (any_time(), id.clone(), any::<u64>()).prop_map(|(t, i, m)| Call::Opened(t, i, m)),
        1 => id.clone().prop_map(Call::Closed),
        1 => (id.clone(), any::<u64>()).prop_map(|(i, m)| Call::Limit(i, m)),
        3 => (any_time(), id.clone(), any::<u32>(), any::<f64>(), 0..5u32)
            .prop_map(|(t, i, test, wall, runs)| Call::Started(t, i, test, wall, runs)),
        2 => (any_time(), id.clone(), any::<bool>()).prop_map(|(t, i, f)| Call::Ended(t, i, f)),
        1 => (any_time(), id.clone(), id).prop_map(|(t, a, b)| Call::Moved(t, a, b)),
        8 => (any_time(), numbers.clone(), proptest::collection::vec(proptest::array::uniform8(numbers), 0..4))
            .prop_map(|(t, busy, values)| Call::Observe(t, busy, values)),
    ]
}

fn play(calls: &[Call], warm: bool) -> Vec<Finding> {
    let mut analyzer = Analyzer::new(Settings::new(2.0, warm));
    let mut found = Vec::new();
    for call in calls {
        match call.clone() {
            Call::Opened(at, i, limit) => analyzer.instance_opened(At(at), InstanceId(i), limit),
            Call::Closed(i) => analyzer.instance_closed(InstanceId(i)),
            Call::Limit(i, limit) => analyzer.limit_changed(InstanceId(i), limit),
            Call::Started(at, i, test, wall, runs) => {
                analyzer.thread_started(
                    At(at),
                    InstanceId(i),
                    TestId(test),
                    &expected(wall, wall, runs),
                );
            }
            Call::Ended(at, i, failed) => analyzer.thread_ended(At(at), InstanceId(i), failed),
            Call::Moved(at, a, b) => analyzer.thread_moved(At(at), InstanceId(a), InstanceId(b)),
            Call::Observe(at, busy_us, values) => {
                let read = |(i, v): (usize, &[u64; 8])| InstanceSample {
                    cpu_us: v[0],
                    throttled_us: v[1],
                    memory_anon: v[2],
                    io_read: v[3],
                    cpu_pressure_us: v[4],
                    memory_pressure_us: v[5],
                    tasks: v[6] as u32,
                    net_sent: Some(v[7]),
                    scratch: None,
                    ..sample(i as u32)
                };
                found.extend(analyzer.observe(&SampleBatch {
                    at: At(at),
                    host: HostSample {
                        busy_us,
                        ..HostSample::default()
                    },
                    instances: values.iter().enumerate().map(read).collect(),
                    collector: Collector::default(),
                }));
                for i in (0..5).map(InstanceId) {
                    assert!(
                        analyzer
                            .cores_used(i)
                            .is_none_or(|c| c.is_finite() && c >= 0.0)
                    );
                    let _ = (analyzer.stalled_for_us(i, At(at)), analyzer.memory_anon(i));
                }
            }
        }
    }
    found
}

proptest! {
    #[test]
    fn any_calls_give_finite_findings_and_the_same_ones_twice(
        mut calls in proptest::collection::vec(any_call(), 0..120),
        ordered: bool,
        warm: bool,
    ) {
        if ordered {
            calls.sort_by_key(|call| match call {
                Call::Opened(at, ..) | Call::Started(at, ..) | Call::Ended(at, ..)
                | Call::Moved(at, ..) | Call::Observe(at, ..) => *at,
                Call::Closed(_) | Call::Limit(..) => 100 * STEP_US,
            });
        }
        let found = play(&calls, warm);
        for finding in &found {
            prop_assert!((0.0..=1.0).contains(&finding.confidence), "{finding:?}");
            prop_assert!(finding.evidence.iter().all(|m| m.value.is_finite()), "{finding:?}");
        }
        prop_assert_eq!(found, play(&calls, warm));
    }
}
