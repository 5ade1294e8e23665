//! The real program on real servers: what it finds, what it says of what cannot work, and that it
//! leaves nothing behind, however it ends.

#[path = "../common/mod.rs"]
mod common;

mod bad_script;
mod bad_server;
mod cases;
mod ending;
mod faults;
mod fuzz;
mod healthy;
mod helpers;
mod secure;
mod set_up;
mod weaknesses;

use std::path::Path;

use common::{Ended, Suite, wait_until};
use serde_json::Value;

/// A campaign to be: the parts of `cohort.toml`, and the script.
struct Campaign<'a> {
    /// As in TOML.
    command: &'a str,
    /// `ready` and its time limit.
    ready: &'a str,
    /// Further lines of `[sut]`.
    sut: &'a str,
    /// Who calls; further lines of `[scenario]`.
    scenario: &'a str,
    /// Text of `load.js`.
    script: String,
}

impl Default for Campaign<'_> {
    fn default() -> Self {
        Self {
            command: r#"["python3", "server.py", "{port}"]"#,
            ready: r#"{ http = "/health", timeout = "30s" }"#,
            sut: "instances = 2\nnetwork = \"host\"",
            scenario: "script = \"load.js\"",
            script: String::new(),
        }
    }
}

impl Campaign<'_> {
    /// Of the usual server under a script whose iterations do this.
    fn of(iteration: &str) -> Self {
        Self {
            script: script(iteration),
            ..Self::default()
        }
    }

    fn write(&self) -> Suite {
        let Self {
            command,
            ready,
            sut,
            scenario,
            script,
        } = self;
        let suite = Suite::empty();
        suite.write("server.py", include_str!("server.py"));
        suite.write("load.js", script);
        suite.write(
            "cohort.toml",
            &format!(
                "[sut]\ncommand = {command}\nready = {ready}\n{sut}\n\
                 [scenario]\nbase_url = \"http://localhost:8080\"\n{scenario}\n"
            ),
        );
        suite
    }
}

/// A script of this iteration. In it, `get(path)` calls the service under the name of thread and
/// iteration, and `at` is the number of calls that this thread made before.
fn script(iteration: &str) -> String {
    format!("{HEAD}export default function (data) {{\n  {iteration};\n  sleep(0.02);\n}}\n")
}

/// What every script begins with: 8 lines.
const HEAD: &str = "\
import http from 'k6/http';
import { check, fail, sleep } from 'k6';
const U = 'http://localhost:8080';
let at = -1;
function get(path, params) {
  at += 1;
  return http.get(U + path, Object.assign({ headers: { 'X-Call': `${__VU} ${at}` } }, params));
}
";

impl Suite {
    /// `cohort run` with two threads for so long; what is odd is not tried again (see `cases`).
    fn run_for(&self, duration: &str) -> Ended {
        self.run(&["--no-reproduce", "--vus", "2", "--duration", duration])
    }

    /// The totals of the scenario, from the events.
    fn totals(&self) -> Value {
        let mut events = self.events().into_iter();
        let totals = events.find(|event| event["record"] == "service_totals");
        totals.expect("every campaign has totals")
    }

    /// What each call said of itself, as the servers wrote it down.
    fn calls(&self) -> Vec<String> {
        self.read("access").lines().map(str::to_owned).collect()
    }

    /// No call of a thread was made twice.
    fn assert_no_call_twice(&self) {
        let mut calls = self.calls();
        // `setup()` and `teardown()` name themselves, and run at each instance.
        calls.retain(|call| call.starts_with(|first: char| first.is_ascii_digit()));
        let all = calls.len();
        assert!(all > 0, "no call was made");
        calls.sort();
        calls.dedup();
        assert_eq!(calls.len(), all, "a call was made twice");
    }

    /// No process, control group, scratch directory or bridge is left.
    fn assert_all_gone(&self, ended: &Ended) {
        wait_until("all processes to be gone", || self.processes().is_empty());
        self.assert_nothing_left(ended);
        self.assert_no_bridge(ended.pid);
    }

    fn assert_no_bridge(&self, pid: u32) {
        let prefix = format!("co{pid:x}-");
        let is_its =
            |link: std::fs::DirEntry| link.file_name().to_string_lossy().starts_with(&prefix);
        // The kernel removes the devices of a network that nobody is in when it has time.
        wait_until("bridges to be gone", || {
            let mut links = std::fs::read_dir("/sys/class/net").unwrap().flatten();
            !links.any(is_its)
        });
    }

    /// Processes that were started for a campaign here: their environment names its directory.
    fn processes(&self) -> Vec<String> {
        let home = self.root().parent().unwrap().display().to_string();
        let of_ours = |process: &Path| {
            let environment = std::fs::read(process.join("environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(&home)
        };
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        all.map(|entry| entry.path())
            .filter(|process| of_ours(process))
            .map(|process| process.display().to_string())
            .collect()
    }
}

/// Each of these is in what was printed: the summary or the progress.
fn assert_said(ended: &Ended, code: i32, wanted: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", shown(ended));
    for wanted in wanted {
        let said = ended.stdout.contains(wanted) || ended.stderr.contains(wanted);
        assert!(said, "no {wanted:?} in\n{}", shown(ended));
    }
}

fn shown(ended: &Ended) -> String {
    format!(
        "exit code {:?}\n{}\n{}",
        ended.code, ended.stderr, ended.stdout
    )
}
