//! Weaknesses: looked for when the scenario is over, told as faults and as SARIF.

use super::{Campaign, assert_said, shown};

/// A server with one weakness that has nothing to do with what it is asked, and one that has.
const SERVER: &str = r##"
import sys, urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        if self.path == "/health":
            self.send_response(204)
            self.end_headers()
            return
        to = query.get("to", [""])[0]
        safe = to.startswith("/") and not to.startswith(("//", "/\\"))
        self.send_response(302 if safe or sys.argv[2] == "weak" else 400)
        self.send_header("Location", to.replace("\r", "").replace("\n", ""))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler).serve_forever()
"##;

fn run(how: &str) -> (super::Suite, crate::common::Ended) {
    let command = format!(r#"["python3", "weak.py", "{{port}}", "{how}"]"#);
    let suite = Campaign {
        command: &command,
        sut: "instances = 1",
        script: super::script("http.get(`${U}/go?to=/home`, { redirects: 0 })"),
        ..Campaign::default()
    }
    .write();
    suite.write("weak.py", SERVER);
    let file = suite.read("cohort.toml");
    suite.write(
        "cohort.toml",
        &format!("{file}\n[helpers.scan]\nenabled = true\n"),
    );
    let ended = suite.run_for("3s");
    suite.assert_replays();
    suite.assert_all_gone(&ended);
    (suite, ended)
}

#[test]
fn one_is_a_fault_and_stands_in_sarif() {
    let (suite, ended) = run("weak");
    assert_said(
        &ended,
        1,
        &[
            "deployed",
            "scanner",
            "sends visitors to any site",
            "1 fault; ",
        ],
    );
    let sarif = suite.read(".cohort/campaigns/1/results.sarif");
    assert!(sarif.contains("\"ruleId\": \"open-redirect\""), "{sarif}");
    let directory = suite.root().join(".cohort/campaigns/1/helpers/scanner");
    let plan = directory.join("plan.json");
    assert!(directory.is_dir() && !plan.exists(), "{}", shown(&ended));
}

#[test]
fn without_one_the_campaign_passes() {
    let (suite, ended) = run("well");
    assert_said(&ended, 0, &["deployed", "scanner", "nothing found"]);
    let sarif = suite.root().join(".cohort/campaigns/1/results.sarif");
    assert!(!sarif.exists());
}
