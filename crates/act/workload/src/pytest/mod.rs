//! pytest: one collector process, warm workers that are sent tests one at a time.
//!
//! ```text
//! Pytest::collector_launch --> collector --collected--> plan
//!                                 | fork                          Fork.worker
//!                                 v
//!                              worker  <--run, next-- hub         Ended --> ThreadEnd, Output
//! Pytest::worker_launch ---->  worker  (where forking is not safe)
//! ```
//!
//! The user's own command is run, with one plugin more (`-p cohort_worker`), so that interpreter,
//! configuration and plugins are the user's. Nothing here starts or reads anything but the plugin's
//! own file: the hub holds the socket and speaks [`protocol`].

pub mod protocol;
mod single;
mod word;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cohort_model::{GroupId, Plan, TestCase, ThreadEnd, Verdict};

use crate::Launch;
use crate::environment::Variables;
use protocol::{Collected, Ended, Outcome};
pub use single::{Single, SingleBatch, SingleEnd};
pub(crate) use word::word;

/// The Python side.
const PLUGIN: &str = include_str!("../../python/cohort_worker.py");
/// One test in a process of its own.
const ATTEMPT: &str = include_str!("../../python/cohort_attempt.py");
/// What both share.
const COMMON: &str = include_str!("../../python/cohort_common.py");
/// What Python imports. Its code has no file of its own, so nothing that measures the suite takes it
/// for a part of it.
const LOADER: &str = "\
with open(__file__[: -len(\"py\")] + \"txt\", encoding=\"utf-8\") as source:
    exec(compile(source.read(), \"<cohort>\", \"exec\"))
";
/// Its module name.
const PLUGIN_NAME: &str = "cohort_worker";
/// The same of a single try.
const ATTEMPT_NAME: &str = "cohort_attempt";
/// The same of what both share.
const COMMON_NAME: &str = "cohort_common";
/// Bytes of pytest's own words that an error shows, counted from their end.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// What keeps pytest from being run. Texts are pytest's own.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command is another.
    #[error(
        "`{command}` does not run pytest: expected a command such as `pytest`, `python -m pytest` or \
         `uv run pytest`"
    )]
    NoPytest {
        /// As given.
        command: String,
    },
    /// The plugin could not be written.
    #[error("write pytest's plugin to {}: {source}; is the temporary directory writable?", .path.display())]
    Plugin {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Exit code 2, or errors while collecting.
    #[error("pytest could not collect the tests:\n{text}")]
    Interrupted {
        /// What pytest printed.
        text: String,
    },
    /// Exit code 4.
    #[error("pytest refused its arguments:\n{text}")]
    Usage {
        /// What pytest printed.
        text: String,
    },
    /// Exit code 5.
    #[error("pytest found no tests:\n{text}")]
    NoTests {
        /// What pytest printed.
        text: String,
    },
    /// Exit code 0: it was asked for something else than to run tests (`--collect-only`).
    #[error("pytest ran no tests, since it was asked for something else")]
    NotRun {
        /// What it printed.
        stdout: Vec<u8>,
        /// The same, on standard error.
        stderr: Vec<u8>,
    },
    /// Any other end before the list came.
    #[error(
        "pytest ended ({how}) before it listed its tests; does the command run by itself? it said:\n{text}"
    )]
    Ended {
        /// Exit code or signal, in words.
        how: String,
        /// What pytest printed.
        text: String,
    },
}

impl Error {
    /// The exit code that pytest itself would give.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            Error::NotRun { .. } => 0,
            Error::Interrupted { .. } => 2,
            Error::NoPytest { .. } | Error::Usage { .. } => 4,
            Error::NoTests { .. } => 5,
            Error::Plugin { .. } | Error::Ended { .. } => 3,
        }
    }

    /// What it means that the collector ended without anything to run.
    #[must_use]
    pub fn of_collector(
        code: Option<i32>,
        signal: Option<i32>,
        stdout: &[u8],
        stderr: &[u8],
    ) -> Self {
        let text = said(stdout, stderr);
        match (code, signal) {
            (Some(0), _) => Error::NotRun {
                stdout: stdout.to_owned(),
                stderr: stderr.to_owned(),
            },
            (Some(1 | 2), _) => Error::Interrupted { text },
            (Some(4), _) => Error::Usage { text },
            (Some(5), _) => Error::NoTests { text },
            (Some(code), _) => Error::Ended {
                how: format!("exit code {code}"),
                text,
            },
            (None, Some(signal)) => Error::Ended {
                how: format!("signal {signal}"),
                text,
            },
            (None, None) => Error::Ended {
                how: "lost".to_owned(),
                text,
            },
        }
    }
}

fn said(stdout: &[u8], stderr: &[u8]) -> String {
    let mut text = String::new();
    for stream in [stdout, stderr] {
        let end = &stream[stream.len().saturating_sub(TEXT_BYTES_MAX)..];
        let part = String::from_utf8_lossy(end);
        if !text.is_empty() && !part.trim().is_empty() {
            text.push('\n');
        }
        text.push_str(part.trim());
    }
    text
}

/// A pytest suite.
#[derive(Clone, Debug)]
pub struct Pytest {
    root: PathBuf,
    command: Vec<String>,
    /// Index of the word `pytest` in `command`.
    word: usize,
    env: Variables,
}

/// What every process of a suite is started with.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// The hub's socket.
    pub socket: &'a Path,
    /// What the process is to say in its hello.
    pub token: &'a str,
    /// What [`Pytest::plugin_write`] returned.
    pub plugin_dir: &'a Path,
    /// Its own temporary directory; exists and is empty. A collector that leaves a file there is not
    /// forked, since all forks would share that file.
    pub tmpdir: &'a Path,
}

/// What a worker that is launched anew is to be.
#[derive(Clone, Copy, Debug)]
pub struct Anew<'a> {
    /// Its number.
    pub worker: u32,
    /// [`protocol::Fork::basetemp`].
    pub basetemp: &'a Path,
    /// [`Collected::seed`].
    pub seed: Option<&'a str>,
    /// [`Collected::reports_all`].
    pub reports_all: bool,
}

impl Pytest {
    /// A suite in `root` (absolute) by the user's `command`, in the environment `env`.
    ///
    /// # Errors
    /// When `command` does not run pytest.
    pub fn new(root: PathBuf, command: &[String], env: Variables) -> Result<Self, Error> {
        let word = word(command).ok_or_else(|| Error::NoPytest {
            command: shell_words::join(command),
        })?;
        Ok(Pytest {
            root,
            command: command.to_vec(),
            word,
            env,
        })
    }

    /// The suite's command, as it would be typed without Cohort.
    #[must_use]
    pub fn command(&self) -> Vec<String> {
        self.command.clone()
    }

    /// Writes the plugin into a new directory `plugin` below `dir` that only this user can read.
    ///
    /// # Errors
    /// When that directory or file cannot be made.
    pub fn plugin_write(dir: &Path) -> Result<PathBuf, Error> {
        let path = dir.join("plugin");
        let write = |name: &str, extension: &str, text: &str| {
            let file = path.join(name).with_extension(extension);
            let mut open = fs::OpenOptions::new();
            let open = open.write(true).create_new(true).mode(0o600).open(file);
            open.and_then(|mut file| file.write_all(text.as_bytes()))
        };
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .and_then(|()| {
                let modules = [
                    (PLUGIN_NAME, PLUGIN),
                    (ATTEMPT_NAME, ATTEMPT),
                    (COMMON_NAME, COMMON),
                ];
                modules.into_iter().try_for_each(|(name, text)| {
                    write(name, "txt", text).and_then(|()| write(name, "py", LOADER))
                })
            })
            .map_err(|source| Error::Plugin {
                path: path.clone(),
                source,
            })?;
        Ok(path)
    }

    /// The process that collects, and forks workers if it can.
    #[must_use]
    pub fn collector_launch(&self, start: &Start<'_>) -> Launch {
        self.launch(start, Vec::new())
    }

    /// A worker that collects for itself.
    #[must_use]
    pub fn worker_launch(&self, start: &Start<'_>, anew: &Anew<'_>) -> Launch {
        let mut more = vec![
            ("COHORT_WORKER", OsString::from(anew.worker.to_string())),
            ("COHORT_BASETEMP", anew.basetemp.into()),
        ];
        more.extend(anew.seed.map(|seed| ("COHORT_SEED", seed.into())));
        let all = anew.reports_all.then_some(("COHORT_REPORTS", "all".into()));
        more.extend(all);
        self.launch(start, more)
    }

    fn launch(&self, start: &Start<'_>, more: Vec<(&str, OsString)>) -> Launch {
        let own = [
            ("COHORT_SOCKET", start.socket.into()),
            ("COHORT_TOKEN", start.token.into()),
            ("COHORT_TMPDIR", start.tmpdir.into()),
            ("TMPDIR", start.tmpdir.into()),
        ];
        let more = own.into_iter().chain(more).collect();
        self.launch_with(PLUGIN_NAME, start.plugin_dir, more)
    }

    /// The user's runner on these tests alone, in this order, as it would be typed; `seed` is that of
    /// pytest-randomly, where there is one.
    #[must_use]
    pub fn plain_launch(&self, names: &[String], seed: Option<&str>) -> Launch {
        let mut words = self.command[..=self.word].to_vec();
        let seed = seed.map(|seed| format!("--randomly-seed={seed}"));
        words.extend(
            seed.into_iter()
                .flat_map(|seed| [seed, "--randomly-dont-reorganize".to_owned()]),
        );
        words.extend(names.iter().cloned());
        self.launch_of(words, self.env.clone())
    }

    /// The user's command with one plugin more.
    fn launch_with(&self, plugin: &str, plugin_dir: &Path, more: Vec<(&str, OsString)>) -> Launch {
        let mut env = self.env.clone();
        let mut paths = plugin_dir.as_os_str().to_owned();
        if let Some(before) = env
            .get(OsStr::new("PYTHONPATH"))
            .filter(|before| !before.is_empty())
        {
            paths.push(":");
            paths.push(before);
        }
        env.extend(
            std::iter::once(("PYTHONPATH", paths))
                .chain(more)
                .map(|(name, value)| (name.into(), value)),
        );
        let mut words = self.command.clone();
        words.splice(
            self.word + 1..=self.word,
            ["-p".to_owned(), plugin.to_owned()],
        );
        self.launch_of(words, env)
    }

    fn launch_of(&self, mut words: Vec<String>, env: Variables) -> Launch {
        let program = PathBuf::from(words.remove(0));
        let is_name = program.components().count() == 1 && !program.is_absolute();
        Launch {
            program: if is_name {
                program
            } else {
                self.root.join(program)
            },
            args: words.into_iter().map(OsString::from).collect(),
            env: env.into_iter().collect(),
            cwd: self.root.clone(),
        }
    }
}

/// The plan: tests in pytest's order, grouped by file or by what is to stay together. Files that are
/// skipped whole, or cannot be collected while the rest is run, stand at the end as tests that are not
/// run, as pytest counts them.
#[must_use]
pub fn plan(collected: &Collected) -> Plan {
    let mut plan = Plan {
        sticky: true,
        failures_max: (collected.maxfail > 0).then_some(collected.maxfail),
        ..Plan::default()
    };
    let (mut names, mut groups) = (BTreeSet::new(), BTreeMap::new());
    let tests = collected.tests.iter().map(|test| {
        let together = test.together.as_deref();
        let group = (together.unwrap_or(&test.group), together.is_some());
        (&test.id, group, false, None)
    });
    let skipped = collected.skipped.iter();
    let skipped = skipped.map(|one| (&one.id, (file_of(&one.id), false), true, None));
    let broken = collected.errors.iter();
    let broken = broken.map(|one| (&one.id, (file_of(&one.id), false), false, Some(&one.text)));
    for (id, (group, together), ignored, broken) in tests.chain(skipped).chain(broken) {
        if !names.insert(id.as_str()) {
            continue;
        }
        let group = *groups.entry(group).or_insert_with(|| {
            plan.groups.push(group.to_owned());
            GroupId(u32::try_from(plan.groups.len() - 1).expect("fewer files than 2^32"))
        });
        plan.tests.push(TestCase {
            name: id.clone(),
            group,
            ignored,
            lock: None,
            whole: false,
            broken: broken.cloned(),
        });
        if together {
            plan.together.insert(group);
        }
    }
    plan
}

fn file_of(id: &str) -> &str {
    id.split("::").next().unwrap_or_default()
}

/// What a test wrote, and what pytest says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Captured standard output of set-up, call and clean-up.
    pub stdout: String,
    /// Captured standard error of the same.
    pub stderr: String,
    /// Tracebacks and captured log, as pytest prints them; empty unless something failed.
    pub report: String,
}

/// The end of a test in the words of the model, and its output.
#[must_use]
pub fn end(ended: Ended) -> (ThreadEnd, Output) {
    let verdict = match ended.outcome {
        Outcome::Passed | Outcome::Xpassed => Verdict::Passed,
        Outcome::Xfailed => Verdict::ExpectedFailure,
        Outcome::Failed | Outcome::Error => Verdict::Failed,
        Outcome::Skipped => Verdict::Skipped,
    };
    let mut output = Output {
        report: ended.text,
        ..Output::default()
    };
    for (title, content) in ended.sections {
        match title.split(' ').nth(1) {
            Some("stdout") => output.stdout.push_str(&content),
            Some("stderr") => output.stderr.push_str(&content),
            _ if verdict.is_failure() => {
                output
                    .report
                    .push_str(&format!("\n--- {title} ---\n{content}"));
            }
            _ => {}
        }
    }
    let end = ThreadEnd {
        thread: ended.thread,
        verdict,
        exit_code: None,
        signal: None,
        usage: ended.usage,
        message: ended.message,
        parts: None,
        symptom: None,
        unapplied: Vec::new(),
        input: None,
        passed_before: 0,
        left_behind: 0,
        output_dropped: ended.dropped,
    };
    (end, output)
}

#[cfg(test)]
mod tests {
    use super::protocol::{Found, Uncollected};
    use super::*;

    fn pytest(command: &str) -> Result<Pytest, Error> {
        let command = shell_words::split(command).unwrap();
        Pytest::new(PathBuf::from("/project"), &command, Variables::new())
    }

    fn launched(command: &str) -> String {
        let start = Start {
            socket: Path::new("/run/s"),
            token: "t",
            plugin_dir: Path::new("/run/plugin"),
            tmpdir: Path::new("/run/tmp"),
        };
        let launch = pytest(command).unwrap().collector_launch(&start);
        let mut words = vec![launch.program.to_string_lossy().into_owned()];
        words.extend(
            launch
                .args
                .iter()
                .map(|word| word.to_string_lossy().into_owned()),
        );
        shell_words::join(words)
    }

    #[test]
    fn the_plugin_is_named_right_behind_the_word() {
        for (command, expected) in [
            ("pytest", "pytest -p cohort_worker"),
            (
                "pytest -k 'a b' tests/pytest",
                "pytest -p cohort_worker -k 'a b' tests/pytest",
            ),
            (
                "python -X dev -m pytest -q",
                "python -X dev -m pytest -p cohort_worker -q",
            ),
            (
                "uv run --with pytest pytest x",
                "uv run --with pytest pytest -p cohort_worker x",
            ),
            (
                "uv run --frozen pytest",
                "uv run --frozen pytest -p cohort_worker",
            ),
            ("poetry run py.test", "poetry run py.test -p cohort_worker"),
            (
                "venv/bin/pytest",
                "/project/venv/bin/pytest -p cohort_worker",
            ),
            ("/venv/bin/pytest", "/venv/bin/pytest -p cohort_worker"),
            (
                "env A=b/pytest coverage run -m pytest",
                "env 'A=b/pytest' coverage run -m pytest -p cohort_worker",
            ),
        ] {
            assert_eq!(launched(command), expected);
        }
    }

    #[test]
    fn a_command_without_the_word_is_refused() {
        let error = pytest("make check").unwrap_err();
        assert!(error.to_string().contains("`make check`"), "{error}");
    }

    #[test]
    fn an_own_pythonpath_stays_behind_the_plugins() {
        let env = Variables::from([("PYTHONPATH".into(), "/mine".into())]);
        let pytest = Pytest::new("/project".into(), &["pytest".to_owned()], env).unwrap();
        let (socket, plugin_dir, tmpdir) = (Path::new("/s"), Path::new("/plugin"), Path::new("/t"));
        let start = Start {
            socket,
            token: "t",
            plugin_dir,
            tmpdir,
        };
        let anew = Anew {
            worker: 3,
            basetemp: Path::new("/b"),
            seed: None,
            reports_all: false,
        };
        let launch = pytest.worker_launch(&start, &anew);
        let value = |name: &str| {
            launch
                .env
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.clone())
        };
        assert_eq!(value("PYTHONPATH"), Some("/plugin:/mine".into()));
        assert_eq!(value("COHORT_WORKER"), Some("3".into()));
        assert_eq!(value("COHORT_SEED"), None);
    }

    #[test]
    fn the_plan_keeps_the_order_and_counts_skipped_files() {
        let found = |id: &str, group: &str| Found {
            id: id.to_owned(),
            group: group.to_owned(),
            together: None,
        };
        let skipped = Uncollected {
            id: "c.py".to_owned(),
            text: "no module".to_owned(),
        };
        let collected = Collected {
            tests: vec![
                found("b.py::x", "b.py"),
                found("a.py::y", "a.py"),
                found("b.py::z", "b.py"),
            ],
            hash: String::new(),
            errors: Vec::new(),
            stopped: false,
            skipped: vec![skipped],
            forkable: true,
            why_not: None,
            notes: Vec::new(),
            maxfail: 0,
            reports_all: false,
            live: false,
            seed: None,
        };
        let plan = plan(&collected);
        assert_eq!(plan.groups, ["b.py", "a.py", "c.py"]);
        let tests: Vec<_> = plan
            .tests
            .iter()
            .map(|test| (test.name.as_str(), test.group.0, test.ignored))
            .collect();
        assert_eq!(
            tests,
            [
                ("b.py::x", 0, false),
                ("a.py::y", 1, false),
                ("b.py::z", 0, false),
                ("c.py", 2, true)
            ]
        );
        assert!(plan.sticky);
    }

    #[test]
    fn exit_codes_are_pytests_own() {
        for (code, expected) in [(2, 2), (4, 4), (5, 5), (3, 3)] {
            let error = Error::of_collector(Some(code), None, b"out", b"err\n");
            assert_eq!(error.exit_code(), expected);
            assert!(error.to_string().ends_with("out\nerr"), "{error}");
        }
    }
}
