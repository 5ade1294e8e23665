//! What deciding costs: the dearest steps of an orchestrator with 1,000 instances and 100,000 tests
//! pending. Prints one row of the benchmark.

use std::time::Instant;

use cohort_model::{
    At, Budget, Collector, Command, HostSample, InstanceId, InstanceSample, Observation, Policy,
    SampleBatch, ThreadEnd, ThreadId, Usage, Verdict,
};
use cohort_orchestrator::Orchestrator;
use cohort_sim::plan;

const INSTANCES: u32 = 1_000;
const TESTS: usize = 100_000;
const STEPS: u64 = 200;
const TARGET_MS: f64 = 5.0;

fn main() {
    let budget = Budget {
        cores: f64::from(INSTANCES),
        memory: 1 << 44,
        instances: INSTANCES,
        timeout_us: 3_600_000_000,
        stall_us: 3_600_000_000,
        holds_memory: true,
    };
    let mut orchestrator = Orchestrator::new(budget, Policy::Adaptive, plan(TESTS, 500, false), 0);
    let first = orchestrator.step(At(0), &[Observation::Tick]);
    let mut running: Vec<(ThreadId, InstanceId)> = Vec::new();
    note_starts(&first.decisions, &mut running);
    let mut times = Vec::new();
    for number in 1..=STEPS {
        let at = At(number * 50_000);
        let mut seen = vec![Observation::Sampled(sample(at, number, running.len()))];
        let ended: Vec<_> = running.drain(..running.len().min(20)).collect();
        seen.extend(
            ended
                .iter()
                .map(|&(thread, _)| Observation::ThreadEnded(end(thread))),
        );
        let begun = Instant::now();
        let step = orchestrator.step(at, &seen);
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        note_starts(&step.decisions, &mut running);
    }
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    let row = serde_json::json!({
        "bench": "suite", "row": "deciding, one step, 1,000 instances, 100,000 tests pending (p99)",
        "value": at(0.99), "low": at(0.5), "high": at(1.0), "unit": "ms",
        "target": TARGET_MS, "holds": at(0.99) < TARGET_MS,
    });
    println!("{row}");
}

fn note_starts(decisions: &[cohort_model::Decision], running: &mut Vec<(ThreadId, InstanceId)>) {
    for decision in decisions {
        if let Command::StartThread {
            thread, instance, ..
        } = decision.command
        {
            running.push((thread, instance));
        }
    }
}

fn end(thread: ThreadId) -> ThreadEnd {
    ThreadEnd {
        thread,
        verdict: Verdict::Passed,
        exit_code: Some(0),
        signal: None,
        usage: Usage {
            wall_us: 1_000_000,
            user_us: 900_000,
            memory_peak: 8 << 20,
            ..Usage::default()
        },
        message: None,
        parts: None,
        symptom: None,
        unapplied: Vec::new(),
        input: None,
        passed_before: 0,
        left_behind: 0,
        output_dropped: 0,
    }
}

/// Every instance is read, as at the collector's full rate.
fn sample(at: At, number: u64, running: usize) -> SampleBatch {
    let busy_us = at.0 * running as u64;
    SampleBatch {
        at,
        host: HostSample {
            busy_us,
            campaign_cpu_us: busy_us,
            memory_available: 1 << 44,
            ..HostSample::default()
        },
        instances: (0..INSTANCES)
            .map(|instance| InstanceSample {
                cpu_us: at.0,
                memory: 8 << 20,
                memory_peak: 8 << 20,
                memory_anon: (8 << 20) + number * 4096,
                processes: 2,
                tasks: 2,
                open_files: 9,
                ..InstanceSample::empty(InstanceId(instance))
            })
            .collect(),
        collector: Collector::default(),
    }
}
