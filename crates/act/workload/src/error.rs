//! What can keep a suite from being recognized, built or listed.

use std::io;
use std::path::{Path, PathBuf};

/// Why a suite cannot be run. Each message names what is wrong and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing in the directory says what its tests are.
    #[error(
        "no test suite in {}: looked for {looked_for}\n\
         say what to run in one of these ways:\n  \
         cohort run -- cargo test\n  \
         cohort run -- pytest\n  \
         a `cohort.toml` with, for any other suite,\n    \
         [suite]\n    \
         list = \"command that prints one test per line\"\n    \
         run = \"command that runs one test, {{test}}\"\n  \
         a `cohort.toml` with, for a server under load,\n    \
         [sut]\n    \
         command = \"./server --port {{port}}\"\n    \
         [scenario]\n    \
         script = \"load.js\"",
        .root.display()
    )]
    NoSuite {
        /// Where was looked.
        root: PathBuf,
        /// For what.
        looked_for: &'static str,
    },
    /// More than one suite could be meant.
    #[error(
        "{} holds two test suites; say which to run:\n  cohort run -- cargo test\n  cohort run -- pytest",
        .root.display()
    )]
    TwoSuites {
        /// Where.
        root: PathBuf,
    },
    /// The command is none that Cohort knows.
    #[error(
        "`{command}` is no test suite that Cohort knows: expected `cargo test ...`, `pytest ...` or \
         `python -m pytest ...`; for any other suite put `list` and `run` under [suite] in cohort.toml"
    )]
    UnknownCommand {
        /// As given.
        command: String,
    },
    /// cargo, but not its `test`.
    #[error("`{command}` does not run cargo's tests: expected `cargo test ...`{hint}")]
    CargoSubcommand {
        /// As given.
        command: String,
        /// What else to do, beginning with a separator; may be empty.
        hint: &'static str,
    },
    /// An option that makes no sense under Cohort.
    #[error("`{option}` cannot be used here: {instead}")]
    Option {
        /// As given.
        option: String,
        /// Why, and what to do instead.
        instead: &'static str,
    },
    /// Half of an exec suite.
    #[error("[suite] in cohort.toml has `{present}` but no `{missing}`: a suite needs both")]
    HalfExec {
        /// The key that is there.
        present: &'static str,
        /// The key that is not.
        missing: &'static str,
    },
    /// A program could not be started.
    #[error("cannot run `{program}`: {}", not_started(program, r#source))]
    Start {
        /// Which.
        program: String,
        /// Why. The message says it in better words than the system's (`r#`: thiserror would chain it).
        r#source: io::Error,
    },
    /// It was stopped from outside.
    #[error("stopped before any test was run")]
    Stopped,
    /// cargo ended without running the tests; it has already said why.
    #[error("the suite does not build: cargo's messages are above")]
    Build {
        /// cargo's exit code.
        code: i32,
    },
    /// What cargo would run could not be written down or read back.
    #[error("cannot keep what cargo would run in {}: is there room, and may files be written there?", .path.display())]
    Record {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The list command of an exec suite failed.
    #[error("the list command `{command}` failed ({how}){said}")]
    List {
        /// As configured.
        command: String,
        /// Exit code or signal, in words.
        how: String,
        /// What it said last, beginning with a separator; may be empty.
        said: String,
    },
    /// The list command of an exec suite printed something that is no text.
    #[error("the list command `{command}` printed a test name that is not UTF-8: {name}")]
    ListText {
        /// As configured.
        command: String,
        /// The name, with its bytes escaped.
        name: String,
    },
    /// An exec suite listed a test twice.
    #[error(
        "the list command `{command}` printed these tests more than once: {names}; each name must be unique"
    )]
    Duplicates {
        /// As configured.
        command: String,
        /// The first few, separated by commas.
        names: String,
    },
    /// A pytest suite cannot be run.
    #[error(transparent)]
    Pytest(#[from] crate::pytest::Error),
}

fn not_started(program: &str, why: &io::Error) -> String {
    if why.kind() != io::ErrorKind::NotFound {
        return why.to_string();
    }
    let missing = if program.contains('/') && Path::new(program).exists() {
        "the interpreter that its first line names is missing"
    } else if program.contains('/') {
        "there is no such file"
    } else {
        "no such program on PATH"
    };
    format!("{missing}; is it installed, or its virtual environment active?")
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_program_that_does_not_start_is_said_why_once() {
        for (program, kind, why) in [
            (
                "pytest",
                io::ErrorKind::NotFound,
                "no such program on PATH; is it installed, or its virtual environment active?",
            ),
            (
                ".venv/bin/pytest",
                io::ErrorKind::NotFound,
                "there is no such file; is it installed, or its virtual environment active?",
            ),
            (
                "cargo",
                io::ErrorKind::PermissionDenied,
                "permission denied",
            ),
        ] {
            let error = Error::Start {
                program: program.to_owned(),
                source: kind.into(),
            };
            assert_eq!(error.to_string(), format!("cannot run `{program}`: {why}"));
            assert!(error.source().is_none(), "{error}");
        }
    }
}
