//! The bugs in `xtask/peers`, with what is known of each (`bugs.toml`), built and ready to be run.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::error::Error;
use crate::{run, test};

/// What the bugs in Python are run with.
const PACKAGES: [&str; 2] = ["pytest", "coverage"];

/// How plain rerunning runs a bug's test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Plain {
    /// Nothing but the test.
    #[default]
    Alone,
    /// The whole file, in another order each time.
    Shuffled,
}

/// One bug and its label.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bug {
    /// `rust-lost-update`
    pub name: String,
    /// The test that shows it.
    pub test: String,
    /// In words.
    pub cause: String,
    /// Kinds of conditions each of which names the cause right; `before` is another test.
    #[serde(default)]
    pub conditions: Vec<String>,
    /// The test that has to run before.
    #[serde(default)]
    pub before: Option<String>,
    /// How it is rerun plainly.
    #[serde(default)]
    pub plain: Plain,
    /// Failing share of plain runs when it was written; none: it always fails.
    #[serde(default)]
    pub base: Option<f64>,
    /// Part of what it says when it fails: anything else is another failure.
    #[serde(default)]
    pub says: String,
    /// File with the failing statement.
    #[serde(default)]
    pub fault: Option<String>,
}

impl Bug {
    /// It is written in Python, else in Rust.
    pub(super) fn is_python(&self) -> bool {
        self.name.starts_with("python-")
    }

    /// It fails always, and what is asked for is the statement.
    pub(super) fn is_deterministic(&self) -> bool {
        self.fault.is_some()
    }

    /// Whether `said` is of this bug.
    pub(super) fn is_said(&self, said: &str) -> bool {
        said.contains(&self.says)
    }
}

#[derive(Deserialize)]
struct Labels {
    bug: Vec<Bug>,
}

/// Copies of both projects, built.
pub(super) struct Bugs {
    /// All of them, in the order of the file.
    pub all: Vec<Bug>,
    rust: PathBuf,
    python: PathBuf,
    /// The binary with the tests in Rust.
    tests: PathBuf,
    /// The folder of the Python that has pytest; none if it could not be made.
    python_bin: Option<PathBuf>,
}

/// What `bugs.toml` says.
pub(super) fn labels() -> Result<Vec<Bug>, Error> {
    let text = run::read(&peers().join("bugs.toml"))?;
    let labels: Labels = toml::from_str(&text).map_err(Error::Labels)?;
    Ok(labels.bug)
}

fn peers() -> PathBuf {
    run::root().join("xtask/peers")
}

impl Bugs {
    /// Copies and builds what is asked for by name; all when nothing is.
    pub(super) fn prepare(work: &Path, wanted: &[String]) -> Result<Bugs, Error> {
        let mut all = labels()?;
        all.retain(|bug| {
            wanted.is_empty() || wanted.iter().any(|part| bug.name.contains(part.as_str()))
        });
        let (rust, python) = (work.join("rust"), work.join("python"));
        for (from, to) in [("bugs-rust", &rust), ("bugs-python", &python)] {
            run::remove_dir(to)?;
            copy(&peers().join(from), to)?;
        }
        let python_bin = test::environment(&work.join("environment"), &PACKAGES);
        let python_bin = python_bin
            .inspect_err(|error| eprintln!("  without bugs in Python: {error}"))
            .ok()
            .and_then(|python| Some(python.parent()?.to_path_buf()));
        if python_bin.is_none() {
            all.retain(|bug| !bug.is_python());
        }
        let tests = build(&rust)?;
        Ok(Bugs {
            all,
            rust,
            python,
            tests,
            python_bin,
        })
    }

    /// Those that fail now and then.
    pub(super) fn flaky(&self) -> impl Iterator<Item = &Bug> {
        self.all.iter().filter(|bug| !bug.is_deterministic())
    }

    /// The project that a bug is in.
    pub(super) fn folder(&self, bug: &Bug) -> &Path {
        if bug.is_python() {
            &self.python
        } else {
            &self.rust
        }
    }

    /// Runs tests of a bug's project once in a process of their own, as one would by hand.
    pub(super) fn plainly(&self, bug: &Bug, tests: &[String]) -> Command {
        let mut command = if bug.is_python() {
            let mut command = Command::new("pytest");
            command.args(["-q", "-p", "no:cacheprovider"]);
            command
        } else {
            let mut command = Command::new(&self.tests);
            command.arg("--exact");
            command
        };
        command.args(tests);
        self.surround(bug, &mut command);
        command
    }

    /// The suite's own command, for those tests only: what Cohort is given.
    pub(super) fn suite(&self, bug: &Bug, tests: &[String]) -> Vec<String> {
        let words: &[&str] = if bug.is_python() {
            &["pytest"]
        } else {
            &["cargo", "test", "--lib", "--"]
        };
        let words = words.iter().map(|word| (*word).to_owned());
        words.chain(tests.iter().cloned()).collect()
    }

    /// Directory and environment of everything that is run on a bug.
    pub(super) fn surround(&self, bug: &Bug, command: &mut Command) {
        command.current_dir(self.folder(bug));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let of_cargo = text.starts_with("CARGO") && text != "CARGO_HOME";
            if of_cargo || matches!(&*text, "LD_LIBRARY_PATH" | "RUST_BACKTRACE" | "PYTHONPATH") {
                command.env_remove(name);
            }
        }
        let bin = self.python_bin.iter().cloned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        // A folder with `:` in its name cannot be on PATH; then pytest is not found, and said so.
        if let Ok(path) = std::env::join_paths(bin.chain(std::env::split_paths(&path))) {
            command.env("PATH", path);
        }
        command.env("PYTHONDONTWRITEBYTECODE", "1");
    }

    /// All tests of a bug's file, in the order of the file.
    pub(super) fn neighbours(&self, bug: &Bug) -> Result<Vec<String>, Error> {
        let file = bug.test.split("::").next().unwrap_or_default().to_owned();
        let mut command = self.plainly(bug, &[file]);
        let text = run::output(command.args(["--collect-only"]))?;
        let tests = text.lines().filter(|line| line.contains("::"));
        Ok(tests.map(str::to_owned).collect())
    }

    /// The line marked as the failing statement, from 1.
    pub(super) fn fault(&self, bug: &Bug) -> Result<Option<(String, usize)>, Error> {
        let Some(file) = &bug.fault else {
            return Ok(None);
        };
        let text = run::read(&self.folder(bug).join(file))?;
        let line = text.lines().position(|line| line.ends_with("the fault"));
        Ok(line.map(|line| (file.clone(), line + 1)))
    }
}

/// Sources only.
fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let unreadable = |source| Error::File {
        path: from.to_path_buf(),
        action: "read",
        source,
    };
    for entry in std::fs::read_dir(from).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let made = matches!(
            entry.file_name().to_str(),
            Some("target" | ".cohort" | "__pycache__" | ".pytest_cache")
        );
        if made {
            continue;
        }
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            run::write(&target, &run::read(&path)?)?;
        }
    }
    Ok(())
}

/// Builds the tests in Rust, and gives the binary.
fn build(folder: &Path) -> Result<PathBuf, Error> {
    let mut command = Command::new("cargo");
    command.args([
        "test",
        "--lib",
        "--no-run",
        "--quiet",
        "--message-format=json",
    ]);
    command.current_dir(folder);
    let text = run::output(&mut command)?;
    let executable = text.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    });
    executable
        .ok_or_else(|| Error::Missing("cargo named no test binary for the bugs in Rust".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kinds of conditions as the event log has them.
    const KINDS: [&str; 19] = [
        "before",
        "clock",
        "copies",
        "cpu_limit",
        "cpus",
        "directory_order",
        "disk_delay",
        "disk_rate",
        "locale",
        "memory_limit",
        "network_delay",
        "network_loss",
        "network_rate",
        "noise",
        "open_files",
        "schedule",
        "seed",
        "time_zone",
        "variable",
    ];

    #[test]
    fn labels_are_whole() {
        let labels = labels().expect("bugs.toml");
        let mut names: Vec<&str> = labels.iter().map(|bug| bug.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), labels.len(), "names are used once");
        for bug in &labels {
            assert!(!bug.cause.is_empty(), "{}", bug.name);
            assert_ne!(bug.base.is_some(), bug.is_deterministic(), "{}", bug.name);
            assert_eq!(
                bug.conditions.contains(&"before".into()),
                bug.before.is_some(),
                "{}",
                bug.name
            );
            for kind in &bug.conditions {
                assert!(KINDS.contains(&kind.as_str()), "{}: {kind}", bug.name);
            }
        }
    }

    #[test]
    fn plain_runs_fail_now_and_then() {
        // Nothing that a plain run varies makes it another time zone; what needs a test before it fails alone.
        let others = ["python-time-zone", "python-order-brittle"];
        for bug in labels().expect("bugs.toml") {
            let Some(base) = bug.base else { continue };
            let is_rare = (0.001..=0.05).contains(&base);
            assert_eq!(is_rare, !others.contains(&&*bug.name), "{}", bug.name);
        }
    }

    #[test]
    fn both_languages_have_their_share() {
        let labels = labels().expect("bugs.toml");
        let count = |python| {
            let flaky = labels.iter().filter(|bug| !bug.is_deterministic());
            flaky.filter(|bug| bug.is_python() == python).count()
        };
        assert!(count(true) >= 12 && count(false) >= 12);
    }

    #[test]
    fn every_failing_statement_is_marked_once() {
        for bug in labels().expect("bugs.toml") {
            let Some(file) = &bug.fault else { continue };
            let project = if bug.is_python() {
                "bugs-python"
            } else {
                "bugs-rust"
            };
            let text = run::read(&peers().join(project).join(file)).expect("a file");
            let marked = text.lines().filter(|line| line.ends_with("the fault"));
            assert_eq!(marked.count(), 1, "{}", bug.name);
        }
    }
}
