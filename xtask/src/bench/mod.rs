//! `cargo xtask bench suite`: Cohort side by side with cargo-nextest and pytest-xdist, in one run
//! on one machine, on published suites and on made ones. Progress goes to standard error, rows to
//! standard output. Nothing is stored but what it unpacked, built and logged in the target
//! directory.

mod collector;
mod contender;
mod junit;
mod made;
mod measure;
mod memory;
mod published;
mod row;
mod rows;
mod suite;

use std::path::PathBuf;
use std::process::ExitCode;

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
}

impl Options {
    fn parse(args: &[&str]) -> Result<Options, Error> {
        let mut options = Options {
            json: false,
            list: false,
            runs: 5,
            cohort: None,
            rows: Vec::new(),
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
                    let path = args
                        .next()
                        .ok_or_else(|| wrong("the path of a cohort binary"))?;
                    options.cohort = Some(PathBuf::from(path));
                }
                "--runs" => {
                    let runs = args
                        .next()
                        .and_then(|runs| runs.parse().ok())
                        .filter(|n| *n > 0);
                    options.runs = runs.ok_or_else(|| wrong("a number of rounds, at least 1"))?;
                }
                "--rows" => {
                    let rows = args
                        .next()
                        .ok_or_else(|| wrong("names, with commas between"))?;
                    options.rows = rows.split(',').map(String::from).collect();
                }
                _ => {
                    return Err(wrong(
                        "--json, --list, --runs N, --rows A,B or --cohort FILE",
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
        tools: tools(options.cohort.clone())?,
        runs: options.runs,
        new_failures: Vec::new(),
        cohort_runs: 0,
    };
    let mut rows = Vec::new();
    let mut tell = |row: Row| -> Result<(), Error> {
        if options.json {
            println!("{}", serde_json::to_string(&row).map_err(Error::Metadata)?);
        } else {
            eprintln!("  {}", row.line());
        }
        rows.push(row);
        Ok(())
    };
    for group in groups {
        eprintln!("{}", group.name());
        let measured = group.measure(&mut bench).unwrap_or_else(|error| {
            eprintln!("  left out: {error}");
            vec![Row::new(
                format!("{}: left out", group.name()),
                "",
                &[],
                Target::AtMost(0.0),
            )]
        });
        measured.into_iter().try_for_each(&mut tell)?;
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
        tell(Row::new(
            name,
            "tests",
            &[bench.new_failures.len() as f64],
            Target::AtMost(0.0),
        ))?;
    }
    if !options.json {
        println!("{}", row::head());
        rows.iter().for_each(|row| println!("{}", row.line()));
    }
    let missed = rows.iter().any(|row| row.holds == Some(false));
    Ok(if missed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Builds Cohort as it is released, and makes the Python environment.
fn tools(cohort: Option<PathBuf>) -> Result<Tools, Error> {
    let cohort = match cohort {
        Some(path) => path,
        None => {
            let build = ["build", "--release", "--quiet", "--package", "cohort"];
            run::output(run::cargo().args(build))?;
            run::target_dir().join("release/cohort")
        }
    };
    let work = run::target_dir().join("bench");
    let packages = published::python_packages();
    let python = test::environment(&work.join("python"), &packages);
    let python = python
        .inspect_err(|error| eprintln!("without pytest suites: {error}"))
        .ok();
    Ok(Tools {
        cohort: std::path::absolute(&cohort).unwrap_or(cohort),
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
        for wrong in [&["--runs"][..], &["--runs", "0"], &["--rows"], &["--fast"]] {
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
