//! How often each bug fails under each recipe that may be among the first tries of a hunt (`peers/arms.toml`).
//!
//! The recipes are applied by `cohort under` to the test's own command, without an instance: a limit of CPU is
//! that which `cohort under` keeps where there is no control group. What comes of it is written to `matrix.json`
//! in the folder of the benchmark, beside what was measured there before; `peers/matrix.json` is one such file,
//! and what `orders` goes by.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::row::{Row, Target};
use super::Bench;
use super::bugs::{Bug, Bugs};
use super::plain::{self, Limits, cores};
use crate::error::Error;
use crate::run;

/// Tries of one recipe on one bug at most, and failures after which its rate is known well enough.
const TRIES: u32 = 12;
const FAILURES: u32 = 6;
/// No try is begun after so long.
const LONGEST: Duration = Duration::from_secs(3);

/// One recipe.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arm {
    /// `schedule+world-0`
    pub name: String,
    /// As `cohort under` takes them; a seed of -1 is another one each time.
    conditions: Vec<Value>,
}

/// What came of tries.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Cell {
    pub tries: u32,
    pub failures: u32,
    /// Failed in another way.
    pub others: u32,
}

/// By bug and arm.
pub(super) type Matrix = BTreeMap<String, BTreeMap<String, Cell>>;

#[derive(Deserialize)]
struct Arms {
    arm: Vec<Arm>,
}

impl Arm {
    /// Runs that one try is.
    pub(super) fn copies(&self) -> u32 {
        let mut conditions = self.conditions.iter();
        let copies = conditions.find(|one| one["condition"] == "copies");
        let count = copies.and_then(|copies| copies["count"].as_u64());
        count.map_or(1, |count| u32::try_from(count).unwrap_or(1))
    }

    /// An order to `cohort under`, with seeds that no other try has.
    fn order(&self, seed: u64) -> Value {
        let mut conditions = self.conditions.clone();
        for one in &mut conditions {
            if one["seed"] == -1 {
                one["seed"] = json!(seed);
            }
        }
        json!({"conditions": conditions, "fallback": ["cpu_limit", "memory_limit", "disk_rate"]})
    }
}

/// What `peers/arms.toml` says.
pub(super) fn arms() -> Result<Vec<Arm>, Error> {
    let text = run::read(&run::root().join("xtask/peers/arms.toml"))?;
    let arms: Arms = toml::from_str(&text).map_err(Error::Labels)?;
    Ok(arms.arm)
}

/// A matrix that was written before; an empty one where there is none.
pub(super) fn read(path: &Path) -> Matrix {
    let text = run::read(path).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Measures all bugs that are asked for under all arms.
pub(super) fn measure(bench: &Bench) -> Result<Vec<Row>, Error> {
    let kept = bench.work.join("matrix.json");
    let mut matrix = read(&kept);
    let arms = arms()?;
    let mut tries = Vec::new();
    for bug in bench.bugs.flaky() {
        let row = matrix.entry(bug.name.clone()).or_default();
        let mut shown = Vec::new();
        for arm in &arms {
            let cell = cell(bench, bug, arm)?;
            shown.push(format!("{} {}/{}", arm.name, cell.failures, cell.tries));
            tries.push(f64::from(cell.tries));
            row.insert(arm.name.clone(), cell);
        }
        eprintln!("  {:<24} {}", bug.name, shown.join(", "));
        let text = serde_json::to_string_pretty(&matrix).unwrap_or_default();
        run::write(&kept, &text)?;
    }
    let name = format!("tries of a bug under a recipe, in {}", kept.display());
    Ok(vec![Row::new(name, "tries", &tries, Target::None)])
}

fn cell(bench: &Bench, bug: &Bug, arm: &Arm) -> Result<Cell, Error> {
    let folder = bench.work.join("orders");
    run::make_dir(&folder)?;
    let seeds = AtomicU64::new(1000);
    let command = |lane: u64, tests: &[String]| {
        let path = folder.join(format!("{lane}.json"));
        let order = arm.order(seeds.fetch_add(7919, Ordering::SeqCst));
        run::write(&path, &order.to_string())?;
        Ok(under(bench, bug, &path, tests))
    };
    let limits = Limits {
        budget: LONGEST,
        runs: TRIES,
        failures: FAILURES,
        lanes: if arm.copies() > 1 { 1 } else { cores() },
    };
    let seen = plain::rerun_as(bug, vec![bug.test.clone()], &command, limits)?;
    Ok(Cell {
        tries: seen.runs,
        failures: seen.failures,
        others: seen.others,
    })
}

/// The test's own command under an order.
fn under(bench: &Bench, bug: &Bug, order: &PathBuf, tests: &[String]) -> Command {
    let bugs: &Bugs = &bench.bugs;
    let plainly = bugs.plainly(bug, tests);
    let mut command = Command::new(&bench.cohort);
    command.arg("under").arg("--order").arg(order).arg("--");
    command.arg(plainly.get_program()).args(plainly.get_args());
    bugs.surround(bug, &mut command);
    command
}
