//! Who runs a suite: Cohort and its peers. Each starts from built test binaries, and asks cargo
//! itself whether they are fresh: that is part of its time.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::suite::{Language, Suite};
use crate::error::Error;
use crate::run;

/// One way to run a suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// Cohort, with more of its own flags.
    Cohort(Vec<String>),
    /// cargo-nextest: its default, or so many tests at once.
    Nextest(Option<u32>),
    /// cargo-nextest on one test only.
    NextestOnly(String),
    /// `pytest -n auto` with this `--dist`.
    Xdist(&'static str),
}

impl Contender {
    /// Cohort as anyone runs it.
    pub(crate) fn cohort() -> Contender {
        Contender::Cohort(Vec::new())
    }

    /// The name in rows and of log files.
    pub(crate) fn name(&self) -> String {
        match self {
            Contender::Cohort(_) => "cohort".into(),
            Contender::Nextest(None) => "nextest".into(),
            Contender::Nextest(Some(jobs)) => format!("nextest -j {jobs}"),
            Contender::NextestOnly(_) => "nextest, one test".into(),
            Contender::Xdist(dist) => format!("xdist --dist {dist}"),
        }
    }

    /// The command that runs the suite and writes `junit`.
    pub(crate) fn command(
        &self,
        suite: &Suite,
        tools: &Tools,
        junit: &Path,
    ) -> Result<Command, Error> {
        let mut command = match self {
            Contender::Cohort(flags) => {
                let mut command = Command::new(&tools.cohort);
                command
                    .arg("run")
                    .args(flags)
                    .arg("--junit")
                    .arg(junit)
                    .arg("--");
                match suite.language {
                    Language::Rust => command.args(["cargo", "test"]),
                    Language::Pytest => command.arg("pytest"),
                };
                command
            }
            Contender::Nextest(jobs) => {
                let mut command = nextest(tools, junit)?;
                if let Some(jobs) = jobs {
                    command.arg("-j").arg(jobs.to_string());
                }
                command
            }
            Contender::NextestOnly(test) => {
                let mut command = nextest(tools, junit)?;
                command.arg("-E").arg(format!("test(={test})"));
                command
            }
            Contender::Xdist(dist) => {
                let mut command = Command::new("pytest");
                command.args(["-n", "auto", "--dist", dist, "--quiet"]);
                command.arg(format!("--junitxml={}", junit.display()));
                command
            }
        };
        command.args(&suite.args).current_dir(&suite.dir);
        tools.clean_environment(&mut command, suite);
        Ok(command)
    }
}

fn nextest(tools: &Tools, junit: &Path) -> Result<Command, Error> {
    let config = tools.work.join("nextest.toml");
    run::write(
        &config,
        &format!("[profile.default.junit]\npath = {junit:?}\n"),
    )?;
    let mut command = Command::new("cargo");
    command.args(["nextest", "run", "--no-fail-fast", "--tool-config-file"]);
    command.arg(format!("cohort-bench:{}", config.display()));
    Ok(command)
}

/// What the contenders need.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    /// The binary under test.
    pub cohort: PathBuf,
    /// The folder of the Python that has pytest and pytest-xdist; none if it could not be made.
    pub python_bin: Option<PathBuf>,
    /// Where everything is generated, unpacked and logged.
    pub work: PathBuf,
}

impl Tools {
    /// Cargo tells its children about the package it runs; a suite must not see this one's. Python's
    /// environment comes first on PATH, so that `pytest` and `python` are the same for all.
    pub(crate) fn clean_environment(&self, command: &mut Command, suite: &Suite) {
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let of_cargo = text.starts_with("CARGO") && text != "CARGO_HOME";
            if of_cargo || matches!(&*text, "LD_LIBRARY_PATH" | "RUST_BACKTRACE" | "PYTHONPATH") {
                command.env_remove(name);
            }
        }
        if let (Language::Pytest, Some(bin)) = (suite.language, &self.python_bin) {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let path = std::iter::once(bin.clone()).chain(std::env::split_paths(&path));
            // A folder with `:` in its name cannot be on PATH; then pytest is not found, and said so.
            if let Ok(path) = std::env::join_paths(path) {
                command.env("PATH", path);
            }
            command.env("PYTHONPATH", suite.dir.join(&suite.python_path));
        }
    }
}
