//! `cargo xtask bench cases`: edge cases that are tried again, on small bugs with known causes.
//!
//! `plain`, `stress-ng` and `cohort` are three ways to make a bug fail, given the same time, one after the
//! other on each bug. A run is one execution of the test: a try with four copies counts as four.
//!
//! - **Reproduced** is what failed in a campaign and then failed again in a try, and was taken for the same by
//!   its fingerprint.
//! - **Runs** are those to the first failure that is the bug's own (`says` in `bugs.toml`). What plain rerunning
//!   needs is reckoned from the rate that was measured beside it, at up to ten failures, so no luck is in it:
//!   the geometric mean of runs at that rate ([`plain::runs_to_first`]), since that is what single campaigns are
//!   averaged by. Where no plain run failed, the rate counts as if the next one had, and the output says how many
//!   such bounds there are. Where Cohort saw no failure it counts as no better than plain.
//! - **Right** is a case whose first cause is one of the label's; **wrong** one that names anything else at all.
//!
//! The rest measures parts: where the fault is, which failures are the same, how soon a case is tried, and what
//! disturbance costs.

mod bugs;
mod campaign;
mod compare;
mod matrix;
mod orders;
mod parts;
mod plain;
mod score;
mod told;

use std::path::PathBuf;
use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::row::Row;
use super::{Options, Told, cohort};
use crate::error::Error;
use crate::run;
use bugs::Bugs;
use compare::Ways;

/// Files that a process may have open, in a login shell of most systems; it is set for all ways, since some
/// machines allow far more.
const OPEN_FILES: u64 = 1024;

const ROWS: [&str; 9] = [
    "plain",
    "stress-ng",
    "cohort",
    "localize",
    "fingerprints",
    "detect",
    "disturb",
    "matrix",
    "orders",
];

/// Rows for which Cohort need not be built.
const WITHOUT_COHORT: [&str; 3] = ["plain", "stress-ng", "orders"];

/// What all rows need.
struct Bench<'a> {
    options: &'a Options,
    bugs: Bugs,
    cohort: PathBuf,
    work: PathBuf,
}

/// Runs all rows that are asked for. Success only if every target holds.
pub(super) fn cases(options: &Options) -> Result<ExitCode, Error> {
    // What takes long and is kept in a file is measured only when it is asked for by name.
    let asked = |row: &&str| *row != "matrix" || !options.rows.is_empty();
    let wanted: Vec<&str> = ROWS
        .into_iter()
        .filter(|row| options.wants(row))
        .filter(asked)
        .collect();
    if options.list || wanted.is_empty() {
        ROWS.iter().for_each(|row| println!("{row}"));
        return Ok(if options.list {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(2)
        });
    }
    limit_open_files();
    let work = run::target_dir().join("bench/cases");
    let bench = Bench {
        options,
        bugs: Bugs::prepare(&work, &options.bugs)?,
        cohort: match wanted.iter().all(|row| WITHOUT_COHORT.contains(row)) {
            true => PathBuf::new(),
            false => cohort(options.cohort.as_deref())?,
        },
        work,
    };
    let mut told = Told::new("cases", options.json);
    let has = |row| wanted.contains(&row);
    if has("plain") || has("stress-ng") || has("cohort") {
        let ways = Ways {
            bugs: &bench.bugs,
            cohort: &bench.cohort,
            work: &bench.work,
            budget: options.budget,
            cohort_budget: options.cohort_budget.unwrap_or(options.budget),
            campaigns: options.campaigns,
            plain: has("plain"),
            noise: has("stress-ng"),
            stressed: has("cohort"),
        };
        told.group("reproducing", Ok(reproducing(&ways)))?;
    }
    for (row, measure) in parts::PARTS {
        if has(row) {
            eprintln!("{row}");
            told.group(row, measure(&bench))?;
        }
    }
    Ok(told.end())
}

fn reproducing(ways: &Ways) -> Vec<Row> {
    let mut all = Vec::new();
    for bug in ways.bugs.flaky() {
        match ways.compare(bug) {
            Ok(one) => {
                one.lines().iter().for_each(|line| eprintln!("  {line}"));
                all.push(one);
            }
            Err(error) => eprintln!("  {}: left out: {error}", bug.name),
        }
    }
    score::rows(
        &all,
        (ways.budget.as_secs_f64(), ways.cohort_budget.as_secs_f64()),
    )
}

/// Lowers the soft limit, never raises it.
fn limit_open_files() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // A limit that cannot be lowered was lower already.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, soft.min(OPEN_FILES), hard);
    }
}
