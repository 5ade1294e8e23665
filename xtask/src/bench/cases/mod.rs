//! `cargo xtask bench cases`: edge cases that are tried again, on small bugs with known causes.
//!
//! `plain`, `stress-ng` and `cohort` are three ways to make a bug fail, given the same time, one after the
//! other on each bug; what is compared is compared only when both were run. A run is one execution of the
//! test: a try with four copies counts as four. Plain runs that never failed count as their budget, so the
//! ratio is an upper bound for Cohort where it reproduced a bug. The rest measures parts: where the fault is,
//! which failures are the same, how soon a case is tried, and what disturbance costs.

mod bugs;
mod campaign;
mod compare;
mod parts;
mod plain;

use std::path::PathBuf;
use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{Options, Told, cohort};
use crate::error::Error;
use crate::run;
use bugs::Bugs;
use compare::Ways;

/// Files that a process may have open, in a login shell of most systems; it is set for all ways, since some
/// machines allow far more.
const OPEN_FILES: u64 = 1024;

const ROWS: [&str; 7] = [
    "plain",
    "stress-ng",
    "cohort",
    "localize",
    "fingerprints",
    "detect",
    "disturb",
];

/// What all rows need.
struct Bench<'a> {
    options: &'a Options,
    bugs: Bugs,
    cohort: PathBuf,
    work: PathBuf,
}

/// Runs all rows that are asked for. Success only if every target holds.
pub(super) fn cases(options: &Options) -> Result<ExitCode, Error> {
    let wanted: Vec<&str> = ROWS.into_iter().filter(|row| options.wants(row)).collect();
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
        cohort: cohort(options.cohort.as_deref())?,
        work,
    };
    let mut told = Told::new("cases", options.json);
    let has = |row| wanted.contains(&row);
    let ways = Ways {
        plain: has("plain"),
        noise: has("stress-ng"),
        cohort: has("cohort"),
    };
    if ways.plain || ways.noise || ways.cohort {
        told.group("reproducing", bench.reproducing(ways))?;
    }
    for (row, measure) in parts::PARTS {
        if has(row) {
            eprintln!("{row}");
            told.group(row, measure(&bench))?;
        }
    }
    Ok(told.end())
}

impl Bench<'_> {
    fn reproducing(&self, ways: Ways) -> Result<Vec<super::row::Row>, Error> {
        let mut all = Vec::new();
        for bug in self.bugs.flaky() {
            let one = compare::compare(
                &self.bugs,
                bug,
                ways,
                self.options.budget,
                &self.cohort,
                &self.work,
            );
            match one {
                Ok(one) => {
                    eprintln!("  {}", one.line());
                    all.push(one);
                }
                Err(error) => eprintln!("  {}: left out: {error}", bug.name),
            }
        }
        Ok(compare::rows(&all))
    }
}

/// Lowers the soft limit, never raises it.
fn limit_open_files() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // A limit that cannot be lowered was lower already.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, soft.min(OPEN_FILES), hard);
    }
}
