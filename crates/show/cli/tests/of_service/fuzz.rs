//! Recorded requests, changed: what breaks becomes an edge case, and what cannot be changed is told.

use super::{Campaign, Suite, assert_said, shown};

/// Signs in, and orders with the token that it was given.
const ORDERS: &str = "const json = { 'Content-Type': 'application/json' }; \
     const token = http.post(U + '/sign-in', JSON.stringify({ name: 'ann' }), { headers: json }).json('token'); \
     http.post(U + '/orders', JSON.stringify({ code: 'AB-17', pieces: 2 }), { headers: Object.assign({ 'X-Token': token }, json) })";

fn desk(words: &str) -> Suite {
    let command = format!(r#"["python3", "desk.py", "{{port}}"{words}]"#);
    let campaign = Campaign {
        command: &command,
        sut: "instances = 1\nnetwork = \"host\"",
        ..Campaign::of(ORDERS)
    };
    let suite = campaign.write();
    suite.write("desk.py", include_str!("desk.py"));
    suite
}

#[test]
fn what_a_changed_request_breaks_is_a_case_that_can_be_run_again() {
    let suite = desk("");
    let flags = ["--vus", "2", "--duration", "3s", "--fuzz", "10s"];
    let ended = suite.run(&[&flags[..], &["--reproduce-for", "30s"]].concat());
    assert_said(&ended, 1, &["fuzzed  ", "recorded requests at 2 endpoints"]);
    let found = suite.all("seen", "seen", "fuzz_found");
    let of = |kind: &str| {
        let is_it = |one: &&serde_json::Value| one["symptom"]["kind"] == kind;
        let one = found.iter().find(is_it);
        one.unwrap_or_else(|| panic!("no {kind} in {found:#?}\n{}", shown(&ended)))
    };
    assert_eq!(of("error_answer")["endpoint"], "POST /orders");
    let cut = of("error_answer")["edits"][0].as_str().unwrap();
    assert!(cut.starts_with("/code of the body is"), "{cut}");
    assert_eq!(of("signal")["endpoint"], "POST /orders");
    // The one that ends the server fails every time, and takes signing in before it.
    let cases = suite.cases();
    let crash = cases
        .iter()
        .find(|case| case["symptom"]["kind"] == "signal");
    let crash = crash.unwrap_or_else(|| panic!("{cases:#?}\n{}", shown(&ended)));
    let as_it_was = &crash["arms"][0]["rate"];
    let (failed, runs) = (&as_it_was["failed"], &as_it_was["runs"]);
    assert!(runs.as_u64() >= Some(3), "{crash:#}\n{}", shown(&ended));
    assert_eq!(failed, runs, "{crash:#}\n{}", shown(&ended));
    let kept = suite.smallest(crash);
    assert_eq!(kept, ["POST /sign-in", "POST /orders"], "{crash:#}");
    // What ordinary threads met is as healthy as it was.
    assert_eq!(
        ended.stderr.matches("exited").count(),
        0,
        "{}",
        shown(&ended)
    );
    suite.assert_replays();
    suite.assert_all_gone(&ended);
    let name = format!("EC-{}", crash["case"]);
    let again = suite.cohort(&["repro", &name, "--runs", "3"]);
    assert_said(&again, 0, &["failed again in 3 of 3 runs"]);
    let examples = suite.read(".cohort/campaigns/1/examples.json");
    assert!(examples.contains("POST /orders"), "{examples}");
    assert!(examples.contains("left-out"), "{examples}");
    assert!(!examples.contains("\"pieces\\\":-"), "{examples}");
}

#[test]
fn requests_that_hold_nothing_to_change_are_told() {
    let campaign = Campaign {
        sut: "instances = 1\nnetwork = \"host\"",
        ..Campaign::of("http.get(U + '/health')")
    };
    let suite = campaign.write();
    let ended = suite.run(&["--vus", "1", "--duration", "2s", "--fuzz", "5s"]);
    let why = "not fuzzed       the recorded requests hold nothing that can be changed";
    assert_said(&ended, 0, &[why]);
}

#[test]
fn requests_that_are_answered_oddly_as_they_are_are_not_changed() {
    let campaign = Campaign {
        sut: "instances = 1\nnetwork = \"host\"",
        ..Campaign::of("get('/flaky/4')")
    };
    let suite = campaign.write();
    let flags = ["--vus", "1", "--duration", "2s", "--fuzz", "5s"];
    let ended = suite.run(&[&flags[..], &["--reproduce-for", "5s"]].concat());
    let why = "not fuzzed       no recorded request is usable; the last one, GET /flaky/4: it is answered oddly";
    assert_said(&ended, 1, &[why]);
}

#[test]
fn a_server_that_does_not_come_up_again_is_told() {
    let suite = desk(r#", "lock""#);
    let flags = ["--vus", "1", "--duration", "2s", "--fuzz", "15s"];
    let ended = suite.run(&[&flags[..], &["--reproduce-for", "5s"]].concat());
    let why = "its server did not come up again after what was sent to it";
    assert_said(&ended, 1, &["not fuzzed", why]);
    suite.assert_all_gone(&ended);
}

/// One carrier of those that it says there are breaks it; nobody asks for that one.
const CARRIERS: &str = r#"
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KNOWN = ["post", "zeppelin"]
API = {"openapi": "3.0.0", "paths": {"/parcels": {"post": {"requestBody": {"content": {"application/json": {"schema": {
    "type": "object", "properties": {"carrier": {"type": "string", "enum": KNOWN}}}}}}}}}}

class Office(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_):
        pass
    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer(200, API if self.path == "/openapi.json" else {})
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            carrier = json.loads(body)["carrier"]
        except (ValueError, LookupError, TypeError, RecursionError):
            return self.answer(400, {})
        if carrier not in KNOWN:
            return self.answer(422, {"error": "no such carrier"})
        self.answer(*((201, {}) if carrier == "post" else (500, {"error": "no price"})))

ThreadingHTTPServer(("", int(sys.argv[1])), Office).serve_forever()
"#;

#[test]
fn what_a_server_says_of_its_own_api_is_tried() {
    let campaign = Campaign {
        command: r#"["python3", "office.py", "{port}"]"#,
        sut: "instances = 1\nnetwork = \"host\"",
        ..Campaign::of("http.post(U + '/parcels', JSON.stringify({ carrier: 'post' }))")
    };
    let suite = campaign.write();
    suite.write("office.py", CARRIERS);
    let flags = ["--vus", "1", "--duration", "2s", "--fuzz", "8s"];
    let ended = suite.run(&[&flags[..], &["--reproduce-for", "10s"]].concat());
    assert_said(&ended, 1, &["a changed request broke something"]);
    let found = suite.all("seen", "seen", "fuzz_found");
    let cut = found[0]["edits"][0].as_str().unwrap_or_default();
    assert!(cut.contains("zeppelin"), "{found:#?}");
    suite.assert_all_gone(&ended);
}
