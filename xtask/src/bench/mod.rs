//! `cargo xtask bench suite`: Cohort side by side with cargo-nextest and pytest-xdist, in one run
//! on one machine, on published suites and on made ones. `cargo xtask bench service` ([`service`]): its
//! campaigns of a service beside Locust and Goose, and what they find. `cargo xtask bench cases`
//! ([`cases`]): what is made of small bugs with known causes. Progress goes to standard error,
//! rows to standard output. Nothing is stored but what it unpacked, built and logged in the target
//! directory.

mod cases;
mod collector;
mod contender;
mod fuzz;
mod junit;
mod made;
mod measure;
mod memory;
mod published;
mod row;
mod rows;
mod service;
mod suite;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use contender::Tools;
use row::{Row, Target};
use rows::Bench;
use suite::Character;

use crate::error::Error;
use crate::{run, test};

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    json: bool,
    list: bool,
    runs: usize,
    /// Measure this binary; else Cohort is built as it is released.
    cohort: Option<PathBuf>,
    /// Parts of names of groups; all when empty.
    rows: Vec<String>,
    /// How long a service that is in order is watched for false findings, minutes.
    minutes: u64,
    /// Folder of the recorded data on which judges are measured.
    data: Option<PathBuf>,
    /// How long one bug may be tried in one way.
    budget: Duration,
    /// The same for a campaign of Cohort; none: as for the other ways.
    cohort_budget: Option<Duration>,
    /// Parts of names of bugs; all when empty.
    bugs: Vec<String>,
    /// Campaigns on each bug.
    campaigns: usize,
}

impl Options {
    fn parse(args: &[&str]) -> Result<Options, Error> {
        let mut options = Options {
            json: false,
            list: false,
            runs: 5,
            cohort: None,
            rows: Vec::new(),
            minutes: 10,
            data: None,
            budget: Duration::from_mins(5),
            cohort_budget: None,
            bugs: Vec::new(),
            campaigns: 1,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let wrong = |expected| Error::Option {
                option: (*arg).to_string(),
                expected,
            };
            match *arg {
                "--json" => options.json = true,
                "--list" => options.list = true,
                "--cohort" => {
                    let path = args.next();
                    let path = path.ok_or_else(|| wrong("the path of a cohort binary"))?;
                    options.cohort = Some(PathBuf::from(path));
                }
                "--data" => {
                    let path = args.next();
                    let path = path.ok_or_else(|| wrong("a folder with recorded data"))?;
                    options.data = Some(PathBuf::from(path));
                }
                "--runs" => {
                    let runs = positive(args.next());
                    options.runs = runs.ok_or_else(|| wrong("a number of rounds, at least 1"))?;
                }
                "--minutes" => {
                    let minutes = positive(args.next());
                    options.minutes =
                        minutes.ok_or_else(|| wrong("a number of minutes, at least 1"))?;
                }
                "--rows" => {
                    let rows = args.next();
                    let rows = rows.ok_or_else(|| wrong("names, with commas between"))?;
                    options.rows = rows.split(',').map(String::from).collect();
                }
                "--campaigns" => {
                    let campaigns = positive(args.next());
                    options.campaigns =
                        campaigns.ok_or_else(|| wrong("a number of campaigns, at least 1"))?;
                }
                "--budget" => {
                    let budget = args.next().and_then(|text| duration(text));
                    options.budget = budget.ok_or_else(|| wrong("a time such as 30s or 5m"))?;
                }
                "--cohort-budget" => {
                    let budget = args.next().and_then(|text| duration(text));
                    options.cohort_budget =
                        Some(budget.ok_or_else(|| wrong("a time such as 30s or 5m"))?);
                }
                "--bugs" => {
                    let bugs = args.next();
                    let bugs = bugs.ok_or_else(|| wrong("names, with commas between"))?;
                    options.bugs = bugs.split(',').map(String::from).collect();
                }
                _ => {
                    return Err(wrong(
                        "--json, --list, --runs N, --rows A,B, --cohort FILE, --minutes N, --data DIR, --budget TIME, --cohort-budget TIME, --bugs A,B or --campaigns N",
                    ));
                }
            }
        }
        Ok(options)
    }

    fn wants(&self, group: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|part| group.contains(part.as_str()))
    }
}

/// A number that is at least 1.
fn positive<T: std::str::FromStr + PartialOrd + Default>(word: Option<&&str>) -> Option<T> {
    let number = word?.parse().ok()?;
    (number > T::default()).then_some(number)
}

/// `30s` or `5m`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = number.parse::<u64>().ok()?.checked_mul(match unit {
        "s" => 1,
        "m" => 60,
        _ => return None,
    })?;
    (seconds > 0).then_some(Duration::from_secs(seconds))
}

/// Rows that are measured together.
enum Group {
    Published(published::Published),
    Made(made::Made),
    Collector,
    Deciding,
}

impl Group {
    fn all() -> Vec<Group> {
        let mut groups = vec![Group::Deciding, Group::Collector];
        groups.extend(made::MADE.map(Group::Made));
        groups.extend(published::PUBLISHED.map(Group::Published));
        groups
    }

    fn name(&self) -> &'static str {
        match self {
            Group::Published(published) => published.name,
            Group::Made(made) => made.name,
            Group::Collector => "collector",
            Group::Deciding => "deciding",
        }
    }

    fn measure(&self, bench: &mut Bench) -> Result<Vec<Row>, Error> {
        let suite = match self {
            Group::Deciding => return deciding(),
            Group::Collector => {
                let suite = made::SAMPLED.prepare(&bench.tools)?;
                return collector::rows(bench, &suite);
            }
            Group::Published(published) => published.prepare(&bench.tools)?,
            Group::Made(made) => made.prepare(&bench.tools)?,
        };
        match suite.character {
            Character::Hungry => memory::rows(bench, &suite),
            _ => bench.rows(&suite),
        }
    }
}

/// Runs all groups that are asked for. Success only if every target holds.
pub(crate) fn suite(args: &[&str]) -> Result<ExitCode, Error> {
    let options = Options::parse(args)?;
    let groups: Vec<Group> = Group::all()
        .into_iter()
        .filter(|g| options.wants(g.name()))
        .collect();
    if options.list || groups.is_empty() {
        Group::all()
            .iter()
            .for_each(|group| println!("{}", group.name()));
        return Ok(if options.list {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(2)
        });
    }
    let mut bench = Bench {
        tools: tools(options.cohort.as_deref())?,
        runs: options.runs,
        new_failures: Vec::new(),
        cohort_runs: 0,
    };
    let mut told = Told::new("suite", options.json);
    for group in groups {
        eprintln!("{}", group.name());
        told.group(group.name(), group.measure(&mut bench))?;
    }
    if bench.cohort_runs > 0 {
        bench
            .new_failures
            .iter()
            .for_each(|new| eprintln!("not so with the peer: {new}"));
        let name = format!(
            "failures that the peers do not have, {} runs",
            bench.cohort_runs
        );
        told.row(Row::new(
            name,
            "tests",
            &[bench.new_failures.len() as f64],
            Target::AtMost(0.0),
        ))?;
    }
    Ok(told.end())
}

/// `cargo xtask bench service`.
pub(crate) fn service(args: &[&str]) -> Result<ExitCode, Error> {
    service::service(&Options::parse(args)?)
}

/// Runs `cargo xtask bench fuzz`.
pub(crate) fn fuzz(args: &[&str]) -> Result<ExitCode, Error> {
    fuzz::fuzz(&Options::parse(args)?)
}

/// `cargo xtask bench helpers`.
pub(crate) fn helpers(args: &[&str]) -> Result<ExitCode, Error> {
    service::helpers(&Options::parse(args)?)
}

/// `cargo xtask bench cases`.
pub(crate) fn cases(args: &[&str]) -> Result<ExitCode, Error> {
    cases::cases(&Options::parse(args)?)
}

/// Rows, as they become known.
struct Told {
    bench: &'static str,
    json: bool,
    rows: Vec<Row>,
}

impl Told {
    fn new(bench: &'static str, json: bool) -> Told {
        let rows = Vec::new();
        Told { bench, json, rows }
    }

    fn row(&mut self, row: Row) -> Result<(), Error> {
        let bench = self.bench.to_string();
        let row = Row { bench, ..row };
        if self.json {
            println!("{}", serde_json::to_string(&row).map_err(Error::Metadata)?);
        } else {
            eprintln!("  {}", row.line());
        }
        self.rows.push(row);
        Ok(())
    }

    /// The rows of a group, or one that says it was left out.
    fn group(&mut self, name: &str, measured: Result<Vec<Row>, Error>) -> Result<(), Error> {
        let rows = measured.unwrap_or_else(|error| {
            eprintln!("  left out: {error}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                eprintln!("    because: {cause}");
                source = cause.source();
            }
            vec![Row::new(
                format!("{name}: left out"),
                "",
                &[],
                Target::AtMost(0.0),
            )]
        });
        rows.into_iter().try_for_each(|row| self.row(row))
    }

    /// The table; success only if every target holds.
    fn end(self) -> ExitCode {
        if !self.json {
            println!("{}", row::head());
            self.rows.iter().for_each(|row| println!("{}", row.line()));
        }
        if self.rows.iter().any(|row| row.holds == Some(false)) {
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }
}

/// The binary to measure: the one that is named, or Cohort as it is released, built now.
fn cohort(named: Option<&Path>) -> Result<PathBuf, Error> {
    let cohort = match named {
        Some(path) => path.to_path_buf(),
        None => {
            let build = ["build", "--release", "--quiet", "--package", "cohort"];
            run::output(run::cargo().args(build))?;
            run::target_dir().join("release/cohort")
        }
    };
    Ok(std::path::absolute(&cohort).unwrap_or(cohort))
}

/// What the contenders on suites need.
fn tools(named: Option<&Path>) -> Result<Tools, Error> {
    let cohort = cohort(named)?;
    let work = run::target_dir().join("bench");
    let packages = published::python_packages();
    let python = test::environment(&work.join("python"), &packages);
    let python = python
        .inspect_err(|error| eprintln!("without pytest suites: {error}"))
        .ok();
    Ok(Tools {
        cohort,
        python_bin: python.and_then(|python| Some(python.parent()?.to_path_buf())),
        work,
    })
}

/// One step of the orchestrator at full size: the simulator measures it and prints the row.
fn deciding() -> Result<Vec<Row>, Error> {
    let example = [
        "run",
        "--release",
        "--quiet",
        "--package",
        "cohort-sim",
        "--example",
        "step",
    ];
    let text = run::output(run::cargo().args(example))?;
    let rows = text.lines().filter(|line| line.starts_with('{'));
    rows.map(|line| serde_json::from_str(line).map_err(Error::Metadata))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_understood_or_refused() {
        let options = Options::parse(&["--json", "--runs", "10", "--rows", "made-rust,collector"]);
        let options = options.expect("right options");
        assert_eq!((options.json, options.runs), (true, 10));
        assert!(options.wants("made-rust-empty") && options.wants("collector"));
        assert!(!options.wants("made-pytest-empty"));
        let options = Options::parse(&["--budget", "2m", "--bugs", "rust,order"]);
        let options = options.expect("right options");
        assert_eq!(options.budget, Duration::from_secs(120));
        assert_eq!(options.bugs, ["rust", "order"]);
        for wrong in [
            &["--runs"][..],
            &["--runs", "0"],
            &["--rows"],
            &["--fast"],
            &["--budget", "5"],
            &["--budget", "0s"],
        ] {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn groups_have_names_of_their_own() {
        let mut names: Vec<&str> = Group::all().iter().map(Group::name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
