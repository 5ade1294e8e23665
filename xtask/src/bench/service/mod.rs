//! `cargo xtask bench service`: campaigns of a service. What driving costs beside Locust and Goose;
//! what is found of the defects planted in `examples/shop`, and how soon; what is found where nothing
//! is wrong; what the judges make of recorded data; what specializing is good for.

mod campaign;
mod effect;
mod examples;
mod helpers;
mod planted;
pub(super) mod process;
mod quiet;
mod threads;
mod throughput;
mod trivial;

use std::path::PathBuf;
use std::process::ExitCode;

use super::row::Row;
use super::{Options, Told, cohort};
use crate::error::Error;
use crate::run;

/// What all groups need.
struct Bench<'a> {
    options: &'a Options,
    /// Where everything is generated, fetched and logged.
    work: PathBuf,
}

impl Bench<'_> {
    /// The binary that is measured; built when no other is named.
    fn cohort(&self) -> Result<PathBuf, Error> {
        cohort(self.options.cohort.as_deref())
    }
}

/// Measures one group.
type Measure = fn(&Bench) -> Result<Vec<Row>, Error>;

/// All groups, the quick ones first.
const GROUPS: [(&str, Measure); 10] = [
    ("judging", examples::judging),
    ("handing-over", examples::handing_over),
    ("throughput", throughput::rows),
    ("threads", threads::rows),
    ("planted", planted::rows),
    ("effect", effect::rows),
    ("crowded", effect::crowded),
    ("quiet-shop", quiet::shop),
    ("quiet-nginx", quiet::nginx),
    ("quiet-redis", quiet::redis),
];

/// Groups of helpers.
const HELPERS: [(&str, Measure); 3] = [
    ("visits", helpers::visits),
    ("costs", helpers::costs),
    ("named", helpers::named),
];

pub(super) fn service(options: &Options) -> Result<ExitCode, Error> {
    run_groups("service", &GROUPS, options)
}

pub(super) fn helpers(options: &Options) -> Result<ExitCode, Error> {
    run_groups("helpers", &HELPERS, options)
}

/// Runs all groups that are asked for. Success only if every target holds.
fn run_groups(
    name: &'static str,
    all: &[(&str, Measure)],
    options: &Options,
) -> Result<ExitCode, Error> {
    let groups = all.iter().filter(|(name, _)| options.wants(name));
    let groups: Vec<&(&str, Measure)> = groups.collect();
    if options.list || groups.is_empty() {
        all.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(if options.list {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(2)
        });
    }
    let bench = Bench {
        options,
        work: run::target_dir().join("bench/service"),
    };
    let mut told = Told::new(name, options.json);
    for (name, measure) in groups {
        eprintln!("{name}");
        told.group(name, measure(&bench))?;
    }
    Ok(told.end())
}
