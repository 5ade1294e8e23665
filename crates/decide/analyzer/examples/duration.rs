//! Measures the cost model's wall times beside plain rules on recorded CI histories.
//!
//! `cargo run --release -p cohort-analyzer --example duration -- FILE.csv.gz...` with columns
//! `cycle`, `test`, `duration` (seconds), in order of time. Cycles are replayed in order; each is
//! predicted before it is learned. Scored are executions in the last 40 % of the cycles.
#![expect(
    clippy::disallowed_types,
    reason = "an evaluation program reads its data from a file"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use cohort_analyzer::CostModel;
use cohort_model::{GroupId, Plan, Quantiles, TestCase, TestId, Usage};
use flate2::read::GzDecoder;

/// First share of the cycles, which are learned but not scored.
const LEARNED: f64 = 0.6;
/// Seconds added before comparing as ratios, as the data's own metrics do.
const FLOOR_S: f64 = 0.001;

struct Execution {
    cycle: u32,
    test: u32,
    seconds: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    if files.is_empty() {
        return Err("usage: duration FILE.csv.gz...".into());
    }
    for file in files {
        let executions = read(Path::new(&file))?;
        println!(
            "{}: {} executions",
            Path::new(&file).display(),
            executions.len()
        );
        for (seen, what) in [(true, "tests seen before"), (false, "new tests")] {
            println!(
                "  {what:18} {:>9} {:>9} {:>9} {:>9} {:>9}",
                "scored", "MAE s", "logMAE", "within2x", "below p90"
            );
            for (name, score) in replay(&executions, seen) {
                score.print(name);
            }
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<Execution>, Box<dyn Error>> {
    let file = File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut lines = BufReader::new(GzDecoder::new(file)).lines();
    let header = lines.next().ok_or("an empty file")??;
    let column = |name: &str| {
        header
            .split(',')
            .position(|h| h == name)
            .ok_or(format!("no column {name}"))
    };
    let (cycle, test, duration) = (column("cycle")?, column("test")?, column("duration")?);
    let mut executions = Vec::new();
    for line in lines {
        let line = line?;
        let cells: Vec<&str> = line.split(',').collect();
        executions.push(Execution {
            cycle: cells[cycle].parse()?,
            test: cells[test].parse()?,
            seconds: cells[duration].parse()?,
        });
    }
    Ok(executions)
}

/// A plain rule's memory of one test.
#[derive(Clone, Copy, Default)]
struct Plain {
    last: f64,
    moving: f64,
    sum: f64,
    count: f64,
}

impl Plain {
    fn learn(&mut self, seconds: f64) {
        self.moving = if self.count > 0.0 {
            0.7 * self.moving + 0.3 * seconds
        } else {
            seconds
        };
        self.last = seconds;
        self.sum += seconds;
        self.count += 1.0;
    }
}

#[derive(Default)]
struct Score {
    count: f64,
    absolute: f64,
    logarithmic: f64,
    within_twice: f64,
    below_p90: f64,
}

impl Score {
    fn add(&mut self, predicted: Quantiles, seconds: f64) {
        let ratio = ((predicted.p50 + FLOOR_S) / (seconds + FLOOR_S)).ln().abs();
        self.count += 1.0;
        self.absolute += (predicted.p50 - seconds).abs();
        self.logarithmic += ratio;
        self.within_twice += f64::from(u8::from(ratio < std::f64::consts::LN_2));
        self.below_p90 += f64::from(u8::from(seconds <= predicted.p90));
    }

    fn print(&self, name: &str) {
        let mean = |sum: f64| sum / self.count.max(1.0);
        println!(
            "  {name:18} {:9} {:9.4} {:9.4} {:9.4} {:9.4}",
            self.count,
            mean(self.absolute),
            mean(self.logarithmic),
            mean(self.within_twice),
            mean(self.below_p90)
        );
    }
}

fn replay(executions: &[Execution], seen: bool) -> BTreeMap<&'static str, Score> {
    let tests = executions.iter().map(|e| e.test + 1).max().unwrap_or(0);
    let mut model = CostModel::new(&plan(tests), 2.0);
    let mut plain = vec![Plain::default(); tests as usize];
    let mut all = Plain::default();
    let mut scores: BTreeMap<&'static str, Score> = BTreeMap::new();
    let cycles: Vec<&[Execution]> = executions.chunk_by(|a, b| a.cycle == b.cycle).collect();
    let first_scored = (cycles.len() as f64 * LEARNED) as usize;
    for (index, cycle) in cycles.iter().enumerate() {
        for e in cycle.iter().filter(|_| index >= first_scored) {
            let rule = plain[e.test as usize];
            if (rule.count > 0.0) != seen {
                continue;
            }
            let wall = model.test(TestId(e.test)).wall_us;
            let mut add = |name, p50: f64, p90: f64| {
                scores
                    .entry(name)
                    .or_default()
                    .add(Quantiles { p50, p90 }, e.seconds);
            };
            add("cost model", wall.p50 / 1e6, wall.p90 / 1e6);
            if seen {
                add("last", rule.last, rule.last);
                add("ewma 0.3", rule.moving, rule.moving);
                add("mean", rule.sum / rule.count, rule.sum / rule.count);
            } else {
                let mean = all.sum / all.count.max(1.0);
                add("mean of all", mean, mean);
            }
        }
        for e in *cycle {
            plain[e.test as usize].learn(e.seconds);
            all.learn(e.seconds);
            let usage = Usage {
                wall_us: (e.seconds * 1e6) as u64,
                ..Usage::default()
            };
            model.learn(TestId(e.test), &usage);
        }
    }
    scores
}

/// A plan that names no group, so a new test is predicted from all others.
fn plan(tests: u32) -> Plan {
    let case = |n: u32| TestCase {
        name: n.to_string(),
        group: GroupId(0),
        ignored: false,
        lock: None,
        whole: false,
        broken: None,
    };
    Plan {
        tests: (0..tests).map(case).collect(),
        ..Plan::default()
    }
}
