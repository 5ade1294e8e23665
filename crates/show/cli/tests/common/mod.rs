//! A made suite of small shell scripts, and the real program run on it.
//!
//! Promise: every run has a deadline, and [`Suite::assert_nothing_left`] looks for what a run must not leave.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// No run may take longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(10);

/// A project of its own, with a temp dir of its own.
pub(crate) struct Suite {
    directory: TempDir,
}

/// A program under way.
pub(crate) struct Running {
    pub(crate) child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) pid: u32,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The test interpreter's pytest, where there is one.
pub(crate) fn pytest() -> Option<String> {
    let python = std::env::var("COHORT_TEST_PYTHON").unwrap_or_default();
    let pytest = Path::new(&python).with_file_name("pytest");
    if pytest.exists() {
        return Some(pytest.to_string_lossy().into_owned());
    }
    eprintln!("LEFT OUT: set COHORT_TEST_PYTHON to an interpreter that has pytest");
    None
}

impl Suite {
    /// Tests of these names; `script` gets the name as `$1`, and as `$T` the path prefix of its notes.
    pub(crate) fn new(names: &[&str], script: &str) -> Self {
        let suite = Self::empty();
        suite.write("names", &(names.join("\n") + "\n"));
        suite.write("test.sh", script);
        suite.write(
            "cohort.toml",
            "[suite]\nlist = \"cat names\"\nrun = \"sh ./test.sh {test}\"\n",
        );
        suite
    }

    /// A project without anything.
    pub(crate) fn empty() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("project")).unwrap();
        fs::create_dir(directory.path().join("tmp")).unwrap();
        Self { directory }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("project")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.root().join(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.root().join(name)).unwrap_or_default()
    }

    /// How often `line` stands in the file `name`.
    pub(crate) fn count(&self, name: &str, line: &str) -> usize {
        self.read(name)
            .lines()
            .filter(|other| *other == line)
            .count()
    }

    /// The program with these words, its streams in files of the private directory.
    pub(crate) fn start(&self, words: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cohort"));
        command.args(words);
        self.spawn(command)
    }

    /// Hands the whole project to another user.
    pub(crate) fn give_to(&self, user: u32) {
        let mut paths = vec![self.directory.path().to_path_buf()];
        while let Some(path) = paths.pop() {
            std::os::unix::fs::chown(&path, Some(user), None).unwrap();
            let inside = fs::read_dir(&path).into_iter().flatten().flatten();
            paths.extend(inside.map(|entry| entry.path()));
        }
    }

    pub(crate) fn spawn(&self, command: Command) -> Running {
        self.spawn_from(command, Stdio::null())
    }

    /// Its input is a pipe: [`Running::tell`].
    pub(crate) fn spawn_with_input(&self, command: Command) -> Running {
        self.spawn_from(command, Stdio::piped())
    }

    /// The program with these words and these streams.
    pub(crate) fn start_into(
        &self,
        words: &[&str],
        stdout: impl Into<Stdio>,
        stderr: impl Into<Stdio>,
    ) -> Child {
        Command::new(env!("CARGO_BIN_EXE_cohort"))
            .args(words)
            .current_dir(self.root())
            .env("TMPDIR", self.directory.path().join("tmp"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap()
    }

    fn spawn_from(&self, mut command: Command, stdin: Stdio) -> Running {
        let name = |stream: &str| {
            let number = fs::read_dir(self.directory.path()).unwrap().count();
            self.directory.path().join(format!("{number}.{stream}"))
        };
        let stdout = name("stdout");
        let out = File::create(&stdout).unwrap();
        let stderr = name("stderr");
        let child = command
            .current_dir(self.root())
            .env("TMPDIR", self.directory.path().join("tmp"))
            .env("NO_COLOR", "1")
            .stdin(stdin)
            .stdout(out)
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        Running {
            child,
            stdout,
            stderr,
        }
    }

    pub(crate) fn cohort(&self, words: &[&str]) -> Ended {
        self.start(words).end()
    }

    /// `cohort run` with plain progress and events.
    pub(crate) fn run(&self, words: &[&str]) -> Ended {
        self.cohort(&[&["run", "--progress", "plain", "--events", "events"], words].concat())
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        let text = self.read("events");
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))
        };
        text.lines().map(parse).collect()
    }

    /// The verdict of each test by its name, from the events.
    pub(crate) fn verdicts(&self) -> BTreeMap<String, String> {
        let mut names = Vec::new();
        let mut verdicts = BTreeMap::new();
        for event in self.events() {
            for test in event["tests"].as_array().into_iter().flatten() {
                names.push(test["name"].as_str().unwrap().to_owned());
            }
            for decision in event["decisions"].as_array().into_iter().flatten() {
                if decision["command"] == "conclude" {
                    let test = decision["test"].as_u64().unwrap() as usize;
                    let verdict = decision["verdict"].as_str().unwrap().to_owned();
                    verdicts.insert(names[test].clone(), verdict);
                }
            }
        }
        verdicts
    }

    /// No scratch directory and no control group of that run is left.
    pub(crate) fn assert_nothing_left(&self, ended: &Ended) {
        let prefix = format!("cohort-{}-", ended.pid);
        let mut left = named(&self.directory.path().join("tmp"), &prefix, 1);
        left.extend(named(Path::new("/sys/fs/cgroup"), &prefix, 8));
        assert!(left.is_empty(), "left behind: {left:?}");
    }

    /// The latest campaign decides the same again.
    pub(crate) fn assert_replays(&self) {
        let replay = self.cohort(&["replay"]);
        assert_eq!(replay.code, Some(0), "{replay:?}");
        assert!(replay.stdout.starts_with("identical: "), "{replay:?}");
    }
}

fn named(folder: &Path, prefix: &str, depth: usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push(entry.path());
        } else if depth > 1 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(named(&entry.path(), prefix, depth - 1));
        }
    }
    found
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it said on standard error so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    pub(crate) fn tell(&mut self, text: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn signal(&self, signal: i32) {
        let sent = Command::new("kill")
            .args([format!("-{signal}"), self.pid().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits for the end; past the deadline it is killed and the test fails.
    pub(crate) fn end(mut self) -> Ended {
        let limit = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break Some(status);
            }
            if Instant::now() > limit {
                self.child.kill().unwrap();
                self.child.wait().unwrap();
                break None;
            }
            std::thread::sleep(POLL);
        };
        let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        let ended = Ended {
            pid: self.pid(),
            code: status.and_then(|status| status.code()),
            stdout: read(&self.stdout),
            stderr: read(&self.stderr),
        };
        assert!(status.is_some(), "still ran after {DEADLINE:?}: {ended:?}");
        ended
    }
}

/// Polls until `holds`; panics past the deadline.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < limit, "still waiting for {what}");
        std::thread::sleep(POLL);
    }
}
