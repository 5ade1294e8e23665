//! Exit codes of the binary. The table in the README and in `cohort --help` is printed from here.

use std::fmt::Write;
use std::process::ExitCode;

/// How a command of Cohort ended, as its caller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; of a campaign: every test passed or was skipped.
    Passed = 0,
    /// A test failed, crashed, timed out, ran out of memory or was stopped.
    Failed = 1,
    /// Wrong arguments, or a wrong `cohort.toml`.
    Usage = 2,
    /// The suite is not known, does not build, or cannot list its tests.
    Suite = 3,
    /// This host or Cohort itself failed.
    Host = 4,
    /// There is no test to run.
    NoTests = 5,
    /// `--strict`, and all that failed is that tests are load-sensitive.
    LoadSensitive = 6,
    /// A replay decided differently than the record.
    Differs = 7,
    /// Another Cohort runs in this project.
    Busy = 8,
    /// Stopped by the user; 128 + SIGINT, as shells have it.
    Interrupted = 130,
}

/// Every code with its meaning.
pub(crate) const TABLE: [(Exit, &str); 10] = [
    (
        Exit::Passed,
        "all tests passed or were skipped; of a server: nothing found, and thresholds held; of \
         `repro`: it failed again",
    ),
    (
        Exit::Failed,
        "a test failed or stopped the run, or the suite's own runner found fault; of a server: \
         a fault was found, an edge case failed again, or a threshold was missed; of `repro`: it did not fail",
    ),
    (
        Exit::Usage,
        "wrong arguments, configuration, script or capsule",
    ),
    (
        Exit::Suite,
        "the suite is not known, does not build, or cannot list its tests; the server does not build",
    ),
    (Exit::Host, "the host or Cohort itself failed"),
    (Exit::NoTests, "there is no test to run"),
    (
        Exit::LoadSensitive,
        "only load-sensitive tests, with --strict",
    ),
    (Exit::Differs, "a replay decided differently"),
    (Exit::Busy, "another Cohort runs in this project"),
    (Exit::Interrupted, "interrupted"),
];

impl Exit {
    /// The number.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// The table as `--help` shows it.
pub(crate) fn help() -> String {
    let mut text = "Exit codes:\n".to_owned();
    for (exit, meaning) in TABLE {
        writeln!(text, "  {:>3}  {meaning}", exit.code()).expect("a string takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_its_own() {
        let codes: BTreeSet<u8> = TABLE.iter().map(|(exit, _)| exit.code()).collect();
        assert_eq!(codes.len(), TABLE.len());
        assert_eq!(Exit::Interrupted.code(), 130);
        assert!(
            help().contains("\n    8  another Cohort runs in this project\n"),
            "{}",
            help()
        );
    }
}
