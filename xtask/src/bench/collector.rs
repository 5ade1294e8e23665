//! What the telemetry collector costs with eight instances at 10 Hz: by its own account, from the
//! event stream, and from outside, from the scheduler's account of its thread.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::contender::Contender;
use super::measure::{History, Prepared};
use super::row::{Row, Target};
use super::rows::Bench;
use super::suite::Suite;
use crate::error::Error;
use crate::run;

/// Instances that are to be there while it is measured.
const INSTANCES: usize = 8;

/// Percent of one core.
const BOUND_PERCENT: f64 = 1.0;

/// What the collector's thread is called.
const THREAD: &str = "telemetry";

/// How often the thread's account is read.
const LOOK_MS: u64 = 100;

/// One row for each way of measuring.
pub(crate) fn rows(bench: &Bench, suite: &Suite) -> Result<Vec<Row>, Error> {
    let (mut own, mut outside) = (Vec::new(), Vec::new());
    for _ in 0..bench.runs.min(3) {
        let events = bench.tools.work.join("logs/collector-events.jsonl");
        run::write(&events, "")?;
        let flags = vec!["--events".into(), events.to_string_lossy().into_owned()];
        let contender = Contender::Cohort(flags);
        let prepared = Prepared::new(&contender, suite, &bench.tools, History::None)?;
        let mut command = contender.command(suite, &bench.tools, prepared.junit())?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let failed = |source| Error::Start {
            program: "cohort".into(),
            source,
        };
        let mut child = command.spawn().map_err(failed)?;
        let mut seen = Vec::new();
        while child.try_wait().map_err(failed)?.is_none() {
            seen.extend(thread_cpu_s(child.id()).map(|cpu_s| (std::time::Instant::now(), cpu_s)));
            std::thread::sleep(Duration::from_millis(LOOK_MS));
        }
        own.extend(own_percent(&run::read(&events)?));
        if let (Some((start, from_s)), Some((end, to_s))) = (seen.first(), seen.last()) {
            outside.push(100.0 * (to_s - from_s) / (*end - *start).as_secs_f64());
        }
    }
    let row = |how: &str, rounds: &[f64]| {
        let name = format!("collector, {INSTANCES} instances at 10 Hz, {how}");
        Row::new(name, "% of a core", rounds, Target::Below(BOUND_PERCENT))
    };
    Ok(vec![
        row("by its own account", &own),
        row("from outside", &outside),
    ])
}

/// CPU of the collector over the time in which all instances were sampled. None when they never
/// were at once.
fn own_percent(events: &str) -> Option<f64> {
    let mut full: Vec<(u64, u64)> = Vec::new();
    for record in events
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
    {
        batches(&record, &mut |at_us, cpu_us, instances| {
            if instances >= INSTANCES {
                full.push((at_us, cpu_us));
            }
        });
    }
    let ((start_us, from_us), (end_us, to_us)) = (full.first()?, full.last()?);
    let elapsed_us = end_us
        .checked_sub(*start_us)
        .filter(|elapsed| *elapsed > 0)?;
    Some(100.0 * (to_us - from_us) as f64 / elapsed_us as f64)
}

/// Calls `each` with time, collector's CPU and number of instances of every sample batch, wherever
/// in the record it stands.
fn batches(value: &Value, each: &mut dyn FnMut(u64, u64, usize)) {
    match value {
        Value::Object(fields) => {
            if let Some(cpu_us) = fields
                .get("collector")
                .and_then(|c| c.get("cpu_us")?.as_u64())
            {
                let at_us = fields.get("at").and_then(Value::as_u64).unwrap_or(0);
                let instances = fields
                    .get("instances")
                    .and_then(Value::as_array)
                    .map_or(0, Vec::len);
                each(at_us, cpu_us, instances);
            }
            fields.values().for_each(|field| batches(field, each));
        }
        Value::Array(items) => items.iter().for_each(|item| batches(item, each)),
        _ => {}
    }
}

/// CPU that the collector's thread used so far, seconds: `/proc/PID/task/TID/schedstat`, first
/// number, nanoseconds (Documentation/scheduler/sched-stats). None before it runs.
fn thread_cpu_s(pid: u32) -> Option<f64> {
    let mut found: BTreeMap<String, f64> = BTreeMap::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))
        .ok()?
        .flatten()
    {
        let text = |file: &str| std::fs::read_to_string(Path::new(&task.path()).join(file)).ok();
        let Some(name) = text("comm") else { continue };
        let Some(nanoseconds) =
            text("schedstat").and_then(|s| s.split(' ').next()?.parse::<f64>().ok())
        else {
            continue;
        };
        *found.entry(name.trim().to_string()).or_default() += nanoseconds / 1e9;
    }
    found
        .iter()
        .find(|(name, _)| name.contains(THREAD))
        .map(|(_, cpu_s)| *cpu_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_time_with_all_instances_counts() {
        let batch = |at: u64, cpu: u64, instances: usize| {
            serde_json::json!({"record": "seen", "at": at, "observations": [{"sampled": {
                "at": at, "instances": vec![0; instances], "collector": {"cpu_us": cpu}}}]})
            .to_string()
        };
        let events = [
            batch(0, 0, 1),
            batch(1_000_000, 5_000, 8),
            r#"{"record":"decided"}"#.to_string(),
            batch(3_000_000, 15_000, 8),
            batch(9_000_000, 90_000, 2),
        ];
        assert_eq!(own_percent(&events.join("\n")), Some(0.5));
        assert_eq!(own_percent(&events[0]), None);
    }
}
