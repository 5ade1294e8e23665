//! Measures what one batch of samples costs the analyzer, and one estimate the cost model.
//!
//! `cargo run --release -p cohort-analyzer --example batch`. 1,000 instances, every tenth of them
//! growing all the time, sampled ten times a second for two minutes; 100,000 tests.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a measuring program reads the clock"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cohort_analyzer::leak::{Rule, judge};
use cohort_analyzer::{Analyzer, CostModel, Settings};
use cohort_model::{
    At, Collector, GroupId, HostSample, InstanceId, InstanceSample, Plan, SampleBatch, TestCase,
    TestHistory, TestId, Usage,
};

const INSTANCES: u32 = 1_000;
const TESTS: u32 = 100_000;
const BATCHES: u64 = 1_200;

fn main() {
    let plan = plan();
    let started = Instant::now();
    let mut model = CostModel::new(&plan, 64.0);
    println!("cost model of {TESTS} tests: {:?}", started.elapsed());
    let started = Instant::now();
    let sum: f64 = (0..TESTS)
        .map(|test| model.test(TestId(test)).wall_us.p90)
        .sum();
    println!(
        "one estimate: {:?} (sum {sum:.0})",
        started.elapsed() / TESTS
    );
    let started = Instant::now();
    for test in 0..TESTS {
        model.learn(
            TestId(test),
            &Usage {
                wall_us: u64::from(test),
                ..Usage::default()
            },
        );
    }
    println!("one end learned: {:?}", started.elapsed() / TESTS);

    let mut analyzer = Analyzer::new(Settings::new(64.0, false));
    for n in 0..INSTANCES {
        analyzer.instance_opened(At(0), InstanceId(n), 1 << 30);
        analyzer.thread_started(At(1), InstanceId(n), TestId(n), &model.test(TestId(n)));
    }
    let values: Vec<f64> = (0..90).map(|n| f64::from(n * n % 17 + n)).collect();
    let started = Instant::now();
    let leaks = (0..1_000)
        .filter(|_| judge(&values, Rule::Shape).is_leak())
        .count();
    println!("growth judged: {:?} ({leaks})", started.elapsed() / 1_000);
    let mut took = Vec::new();
    let mut findings: BTreeMap<String, u32> = BTreeMap::new();
    for step in 1..=BATCHES {
        let batch = batch(step);
        let started = Instant::now();
        let found = analyzer.observe(&batch);
        took.push(started.elapsed());
        for finding in found {
            *findings.entry(format!("{:?}", finding.kind)).or_default() += 1;
        }
    }
    took.sort_unstable();
    let at = |share: f64| -> Duration { took[((took.len() - 1) as f64 * share) as usize] };
    println!(
        "a batch of {INSTANCES}: median {:?}, p99 {:?}, most {:?}",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    println!("findings: {findings:?}");
}

fn plan() -> Plan {
    let case = |n: u32| TestCase {
        name: n.to_string(),
        group: GroupId(n / 100),
        ignored: false,
        lock: None,
        whole: false,
        broken: None,
    };
    let usage = |n: u32| Usage {
        wall_us: u64::from(n) * 10,
        user_us: 5,
        memory_peak: 1 << 20,
        ..Usage::default()
    };
    let history = |n: u32| TestHistory {
        usage: (n..n + 8).map(usage).collect(),
        runs: 8,
        ..TestHistory::default()
    };
    Plan {
        groups: (0..TESTS / 100).map(|n| n.to_string()).collect(),
        tests: (0..TESTS).map(case).collect(),
        history: (0..TESTS / 2).map(|n| (n, history(n))).collect(),
        ..Plan::default()
    }
}

fn batch(step: u64) -> SampleBatch {
    let sample = |n: u32| {
        let use_us = u64::from(n % 10) * 10_000;
        let scattered = (step * 1_000 + u64::from(n)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 41;
        let grown = if n % 10 == 3 {
            step * 100_000 + scattered
        } else {
            scattered
        };
        InstanceSample {
            cpu_us: step * use_us,
            memory_anon: (64 << 20) + grown,
            io_read: step,
            processes: 1,
            tasks: 1,
            open_files: 3,
            ..InstanceSample::empty(InstanceId(n))
        }
    };
    SampleBatch {
        at: At(step * 100_000),
        host: HostSample {
            busy_us: step * 4_500_000,
            ..HostSample::default()
        },
        instances: (0..INSTANCES).map(sample).collect(),
        collector: Collector::default(),
    }
}
