//! One test in a process of its own, after those that are to run before it in the same process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cohort_model::{ThreadEnd, ThreadId, Usage, Verdict};
use serde::{Deserialize, Serialize};

use super::protocol::{Ended, Outcome};
use super::{ATTEMPT_NAME, Output, Pytest, end};
use crate::Launch;

/// What is run, and where it says what came of it.
#[derive(Clone, Debug)]
pub struct Single<'a> {
    /// Names of the plan in order; the last one is what it is about.
    pub names: &'a [String],
    /// The seed of pytest-randomly.
    pub seed: Option<&'a str>,
    /// What [`Pytest::plugin_write`] returned.
    pub plugin_dir: &'a Path,
    /// Its own temporary directory; exists.
    pub tmpdir: &'a Path,
    /// An empty directory for its order and its report; more than one process may write there.
    pub directory: &'a Path,
    /// Tells its order from others in the same directory.
    pub label: &'a str,
    /// The number by which suites tell parallel workers apart.
    pub worker: u32,
    /// It ends as pytest ends, for what is written then.
    pub finish: bool,
    /// It is run several times, each time in a process that is forked once all is imported and collected.
    pub batch: Option<SingleBatch>,
}

/// How often it is run. It ends with the first run that does not pass; where it cannot be forked, after one.
#[derive(Clone, Debug, Serialize)]
pub struct SingleBatch {
    /// Most runs.
    pub runs: u32,
    /// No further run begins after this time, microseconds.
    pub us: u64,
    /// A file in which the number of runs that passed before the one under way stands, as text.
    pub progress: PathBuf,
    /// A directory that is emptied before each further run.
    pub scratch: Option<PathBuf>,
}

#[derive(Serialize)]
struct Order<'a> {
    names: &'a [String],
    report: PathBuf,
    seed: Option<&'a str>,
    basetemp: PathBuf,
    finish: bool,
    batch: Option<&'a SingleBatch>,
}

/// What is written while and after it runs.
#[derive(Deserialize)]
#[serde(default)]
struct Report {
    begun: bool,
    outcome: Option<String>,
    message: Option<String>,
    text: String,
    sections: Vec<(String, String)>,
    dropped: u64,
    duration: f64,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            begun: false,
            outcome: None,
            message: None,
            text: String::new(),
            sections: Vec::new(),
            dropped: 0,
            duration: 0.0,
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub enum SingleEnd {
    /// The test ended.
    Ended(Box<(ThreadEnd, Output)>),
    /// Its process ended, or was ended, while the test ran.
    Begun,
    /// Its process ended before the test began.
    NotBegun,
    /// The test was not found; why.
    Missing(String),
}

impl Pytest {
    /// Writes the order, and says how it is carried out.
    ///
    /// # Errors
    /// When the order cannot be written.
    pub fn single_launch(&self, single: &Single<'_>) -> io::Result<Launch> {
        let order = Order {
            names: single.names,
            report: single.directory.join(format!("{}.report", single.label)),
            seed: single.seed,
            basetemp: single.tmpdir.join(format!("pytest-{}", single.label)),
            finish: single.finish,
            batch: single.batch.as_ref(),
        };
        let path = single.directory.join(format!("{}.order", single.label));
        fs::write(&path, serde_json::to_vec(&order)?)?;
        let worker = BTreeMap::from([
            ("PYTEST_XDIST_WORKER", format!("gw{}", single.worker)),
            ("PYTEST_XDIST_WORKER_COUNT", (single.worker + 1).to_string()),
        ]);
        let mut more: Vec<(&str, OsString)> = vec![
            ("COHORT_ATTEMPT", path.into()),
            ("TMPDIR", single.tmpdir.into()),
        ];
        more.extend(worker.into_iter().map(|(name, value)| (name, value.into())));
        Ok(self.launch_with(ATTEMPT_NAME, single.plugin_dir, more))
    }
}

impl SingleEnd {
    /// Reads what was written by the processes of one order: where there are several, a failure
    /// outweighs the rest.
    #[must_use]
    pub fn read(directory: &Path, label: &str, thread: ThreadId) -> Self {
        let prefix = format!("{label}.report.");
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut best = SingleEnd::NotBegun;
        for entry in entries {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if !name.starts_with(&prefix) || name.ends_with(".new") {
                continue;
            }
            let report = fs::read(entry.path()).ok();
            let report = report.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            let read = report.map_or(SingleEnd::Begun, |report| Self::of(report, thread));
            if read.weight() > best.weight() {
                best = read;
            }
        }
        best
    }

    fn of(report: Report, thread: ThreadId) -> Self {
        let Some(word) = report.outcome else {
            return if report.begun {
                SingleEnd::Begun
            } else {
                SingleEnd::NotBegun
            };
        };
        let outcome = match word.as_str() {
            "passed" => Outcome::Passed,
            "error" => Outcome::Error,
            "skipped" => Outcome::Skipped,
            "xfailed" => Outcome::Xfailed,
            "xpassed" => Outcome::Xpassed,
            "missing" => return SingleEnd::Missing(report.message.unwrap_or_default()),
            _ => Outcome::Failed,
        };
        let ended = Ended {
            thread,
            outcome,
            message: report.message,
            text: report.text,
            sections: report.sections,
            dropped: report.dropped,
            duration: report.duration,
            usage: Usage::default(),
            stop: None,
            last: true,
        };
        SingleEnd::Ended(Box::new(end(ended)))
    }

    fn weight(&self) -> u32 {
        match self {
            SingleEnd::NotBegun => 0,
            SingleEnd::Missing(_) => 1,
            SingleEnd::Ended(end) if end.0.verdict == Verdict::Skipped => 2,
            SingleEnd::Ended(end) if !end.0.verdict.is_failure() => 3,
            SingleEnd::Begun => 4,
            SingleEnd::Ended(_) => 5,
        }
    }
}
