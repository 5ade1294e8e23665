//! Runs `under` with an order of its own, in a directory of its own.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "only tests use it"
)]

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use cohort_conditions::Report;
use tempfile::TempDir;

/// An order, and where it is carried out.
pub(crate) struct Under {
    directory: TempDir,
    variables: Vec<(String, String)>,
}

impl Under {
    /// With this order, to which the path of a report is added when it is one.
    pub(crate) fn new(order: &str) -> Under {
        let directory = TempDir::new().expect("a directory");
        std::fs::create_dir(directory.path().join("tmp")).expect("a directory");
        let report = directory.path().join("report.json");
        let text = match order.trim_end().strip_suffix('}') {
            Some(rest) => {
                let comma = if rest.trim() == "{" { "" } else { "," };
                format!(
                    "{rest}{comma} \"report\": {:?}}}",
                    report.display().to_string()
                )
            }
            None => order.to_owned(),
        };
        std::fs::write(directory.path().join("order.json"), text).expect("written");
        Under {
            directory,
            variables: Vec::new(),
        }
    }

    /// With a variable around it.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Under {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The value of a variable that was set around it.
    pub(crate) fn variable(&self, name: &str) -> &str {
        let found = self.variables.iter().find(|(it, _)| it == name);
        found.map_or("", |(_, value)| value)
    }

    /// A path in its directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// To run a program under it.
    pub(crate) fn command(&self, program: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_under"));
        command
            .arg("--order")
            .arg(self.path("order.json"))
            .arg("--")
            .args(program)
            .current_dir(self.directory.path())
            .env("TMPDIR", self.path("tmp"))
            .envs(self.variables.iter().cloned())
            // cargo's: the loader would look for libraries there first.
            .env_remove("LD_LIBRARY_PATH")
            .stdin(Stdio::null());
        command
    }

    /// Runs a program under it.
    pub(crate) fn run(&self, program: &[&str]) -> Output {
        self.command(program).output().expect("started")
    }

    /// Runs a script of sh under it.
    pub(crate) fn shell(&self, script: &str) -> Output {
        self.run(&["sh", "-c", script])
    }

    /// What it reported.
    pub(crate) fn report(&self) -> Report {
        let text = std::fs::read(self.path("report.json")).expect("a report");
        serde_json::from_slice(&text).expect("JSON")
    }
}

/// The lines of a text.
pub(crate) fn lines(text: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(text)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Whether there is a process of this id that has not ended.
pub(crate) fn alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    !state.is_empty() && !state.starts_with('Z')
}

/// Waits for a state, for at most half a minute.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < Duration::from_secs(30), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether this host can apply a kind of condition; says so aloud when it cannot.
pub(crate) fn can(kind: &str) -> bool {
    for (able, answer) in cohort_conditions::able() {
        if serde_json::to_value(able).expect("JSON") == kind {
            if let Err(why) = &answer {
                eprintln!("left out: {kind}: {why}");
            }
            return answer.is_ok();
        }
    }
    panic!("{kind} is no kind of condition");
}

/// A Python, when there is one; says so aloud when there is none.
pub(crate) fn python() -> Option<String> {
    // The program itself: a wrapper script would start others.
    let output = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output();
    match output {
        Ok(output) if output.status.success() => lines(&output.stdout).first().cloned(),
        _ => {
            eprintln!("left out: there is no python3");
            None
        }
    }
}
