//! Suites behind one interface: which suite is it, what are its tests, how is one run, how did it go.
//!
//! ```text
//! Request --recognize--> Suite::Cargo, Suite::Exec --discover--> Discovered { plan, launches }
//!                          |                             launches.launch(test) -> what to execute
//!                          |                             launches.judge(test, exit) -> verdict, parts
//!                          +---> Suite::Pytest: collector and warm workers, see `pytest`
//! ```
//!
//! Nothing here runs a test: a [`Launch`] says how, whoever holds the instance does it. Verdict, exit
//! code and output are what the suite's own runner would give.

pub mod cargo;
mod discovery;
pub mod environment;
mod error;
pub mod exec;
mod input;
pub mod pytest;
mod recognize;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cohort_model::{Part, Plan, SuiteKind, TestId, Verdict};

pub use discovery::{Discovery, Stop};
pub use error::Error;
pub use recognize::{project_root, recognize};

/// What the user asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Directory of the project; absolute.
    pub root: PathBuf,
    /// The suite's command as given after `--`; empty when none was given.
    pub command: Vec<String>,
    /// The `[suite]` table of the project's `cohort.toml`.
    pub config: SuiteConfig,
}

/// The `[suite]` table of `cohort.toml`, checked for unknown keys by who read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SuiteConfig {
    /// The suite's command, used when none is given on the command line.
    pub command: Vec<String>,
    /// Shell command that prints the names of the tests.
    pub list: Option<String>,
    /// Shell command that runs one test; `{test}` stands for its name, see [`exec`].
    pub run: Option<String>,
    /// Variables added to the environment of everything the suite runs; not `TMPDIR`, which the instance
    /// sets.
    pub env: BTreeMap<String, String>,
}

/// A recognized suite. Cargo and exec suites are discovered here, by their own `discover`; a pytest
/// suite is discovered by its collector process, to which the hub speaks.
#[derive(Clone, Debug)]
pub enum Suite {
    /// `cargo test`.
    Cargo(cargo::Cargo),
    /// `pytest`.
    Pytest(pytest::Pytest),
    /// One command lists the tests, another runs one.
    Exec(exec::Exec),
}

impl Suite {
    /// Which adapter.
    #[must_use]
    pub fn kind(&self) -> SuiteKind {
        match self {
            Suite::Cargo(_) => SuiteKind::Cargo,
            Suite::Pytest(_) => SuiteKind::Pytest,
            Suite::Exec(_) => SuiteKind::Exec,
        }
    }

    /// The suite's command, as it would be typed without Cohort.
    #[must_use]
    pub fn command(&self) -> Vec<String> {
        match self {
            Suite::Cargo(cargo) => cargo.command(),
            Suite::Pytest(pytest) => pytest.command(),
            Suite::Exec(exec) => exec.command(),
        }
    }
}

/// How far discovery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The suite's build tool works (and speaks for itself on stderr).
    Building,
    /// Tests are being listed.
    Listing {
        /// Programs that have answered.
        done: usize,
        /// Programs that are asked.
        of: usize,
    },
}

/// Which output the user's own arguments ask to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Show {
    /// That of failed tests.
    #[default]
    Failed,
    /// That of every test, once it ended (`--show-output`).
    All,
    /// That of every test, while it runs (`--nocapture`).
    Live,
}

/// The tests of a cargo or exec suite and how to run them.
#[derive(Debug)]
pub struct Discovered {
    /// Groups and tests; history and concluded results are left empty.
    pub plan: Plan,
    /// How to run each.
    pub launches: Launches,
    /// Which output is to be shown.
    pub show: Show,
    /// What the user should know of how this suite is run, one sentence each.
    pub notes: Vec<String>,
}

/// How to run each test of a plan, and what its end means.
#[derive(Debug)]
pub enum Launches {
    /// Of a cargo suite.
    Cargo(cargo::Launches),
    /// Of an exec suite.
    Exec(exec::Launches),
}

impl Launches {
    /// What to execute for `test`.
    ///
    /// # Panics
    /// When `test` is not in the plan these launches came with.
    #[must_use]
    pub fn launch(&self, test: TestId) -> Launch {
        match self {
            Launches::Cargo(launches) => launches.launch(test),
            Launches::Exec(launches) => launches.launch(test),
        }
    }

    /// What the test reads, where it is a file of data.
    ///
    /// # Panics
    /// When `test` is not in the plan these launches came with.
    #[must_use]
    pub fn input(&self, test: TestId) -> Option<String> {
        match self {
            Launches::Exec(launches) => input::text(&launches.input(test)?),
            Launches::Cargo(_) => None,
        }
    }

    /// What to execute for `test`, which is to read another file of the same name in `folder`; none where it reads
    /// none.
    ///
    /// # Panics
    /// When `test` is not in the plan these launches came with.
    #[must_use]
    pub fn launch_on(&self, test: TestId, folder: &Path) -> Option<(Launch, PathBuf)> {
        match self {
            Launches::Exec(launches) => {
                let file = folder.join(launches.input(test)?.file_name()?);
                Some((launches.launch_on(&file), file))
            }
            Launches::Cargo(_) => None,
        }
    }

    /// Those of a cargo suite, whose programs can be built anew.
    #[must_use]
    pub fn cargo(&self) -> Option<&cargo::Launches> {
        match self {
            Launches::Cargo(launches) => Some(launches),
            Launches::Exec(_) => None,
        }
    }

    /// The same, to be told what was built.
    pub fn cargo_mut(&mut self) -> Option<&mut cargo::Launches> {
        match self {
            Launches::Cargo(launches) => Some(launches),
            Launches::Exec(_) => None,
        }
    }

    /// What the end of an execution of `test` means.
    ///
    /// # Panics
    /// When `test` is not in the plan these launches came with.
    #[must_use]
    pub fn judge(&self, test: TestId, exit: &Exit<'_>) -> Judged {
        match self {
            Launches::Cargo(launches) => launches.judge(test, exit),
            Launches::Exec(launches) => launches.judge(test, exit),
        }
    }
}

/// A process to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Absolute, or a name to be found along `PATH`.
    pub program: PathBuf,
    /// Without the program's own name.
    pub args: Vec<OsString>,
    /// The whole environment: nothing is inherited beyond it. The instance sets `TMPDIR`.
    pub env: Arc<[(OsString, OsString)]>,
    /// Working directory.
    pub cwd: PathBuf,
}

/// How a process ended, with the output that was kept (of long output at least its end).
#[derive(Clone, Copy, Debug, Default)]
pub struct Exit<'a> {
    /// Exit code, when it exited.
    pub code: Option<i32>,
    /// Signal number, when one ended it.
    pub signal: Option<i32>,
    /// Standard output.
    pub stdout: &'a [u8],
    /// Standard error.
    pub stderr: &'a [u8],
}

/// What the end of a process means for its test.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Passed, failed, skipped or crashed.
    pub verdict: Verdict,
    /// One line that says why it failed, when there is one.
    pub message: Option<String>,
    /// Tests within it, when it ran whole and said which they are. There may be none.
    pub parts: Option<Vec<Part>>,
}

impl Judged {
    fn new(verdict: Verdict, message: Option<String>) -> Self {
        Judged {
            verdict,
            message,
            parts: None,
        }
    }
}
