//! `setup()` against several instances, each with a state of its own.

use super::{Campaign, assert_said};

/// Visitors with a token that only the process knows that gave it.
fn script(iteration: &str) -> String {
    format!(
        "import http from 'k6/http';
import {{ check, sleep }} from 'k6';
const U = 'http://localhost:8080';
export function setup() {{
  return {{ token: http.post(`${{U}}/session`, 'x').json('token') }};
}}
export default function (data) {{
  const own = http.get(`${{U}}/own`, {{ headers: {{ 'X-Token': data.token }} }});
  check(own, {{ 'it is known here': (r) => r.status === 200 || r.status === 0 }});
  {iteration};
  sleep(0.02);
}}
export function teardown(data) {{
  const own = http.get(`${{U}}/own`, {{ headers: {{ 'X-Token': data.token, 'X-Call': 'teardown' }} }});
  if (own.status !== 200) {{ throw new Error(`unknown: ${{data.token}}`); }}
}}
"
    )
}

#[test]
fn each_instance_is_set_up_and_threads_are_given_what_it_returned() {
    let suite = Campaign {
        script: script(""),
        ..Campaign::default()
    }
    .write();
    let ended = suite.run(&["--vus", "4", "--duration", "3s"]);
    assert_said(&ended, 0, &["it is known here", "nothing found"]);
    assert_eq!(suite.calls(), ["teardown", "teardown"]);
    suite.assert_all_gone(&ended);
}

#[test]
fn an_instance_that_comes_back_is_set_up_again_before_threads_come() {
    // Thread 1 ends each instance that it is on, once; the process that is started then has another token.
    let crash = "if (__VU === 1 && (__ITER === 10 || __ITER === 60)) http.get(`${U}/crash/13`)";
    let suite = Campaign {
        script: script(crash),
        ..Campaign::default()
    }
    .write();
    let ended = suite.run(&["--vus", "4", "--duration", "8s"]);
    assert_said(&ended, 1, &["crash"]);
    let totals = suite.totals();
    let checks = totals["checks"].as_array().unwrap();
    let known = checks
        .iter()
        .find(|check| check["name"] == "it is known here");
    let known = known.expect("a check");
    assert_eq!(known["failed"], 0, "{known}");
    assert!(known["passed"].as_u64() > Some(200), "{known}");
    let ready = suite
        .events()
        .into_iter()
        .filter(|event| event["record"] == "service_seen");
    let seen = ready.flat_map(|event| event["seen"].as_array().cloned().unwrap_or_default());
    let ready = seen.filter(|seen| seen["seen"] == "instance_ready").count();
    assert!(ready >= 3, "{ready} times an instance was ready");
    suite.assert_all_gone(&ended);
}

#[test]
fn what_can_be_set_up_once_is_set_up_once() {
    // As with a database that instances share: who comes second is refused.
    let script = script("").replace(
        "  return { token",
        "  if (http.post(`${U}/first`, 'x').status !== 201) { throw new Error('it is there'); }\n  return { token",
    );
    let script = script.replace(
        "r.status === 200 ||",
        "r.status === 200 || r.status === 401 ||",
    );
    let suite = Campaign {
        script,
        ..Campaign::default()
    }
    .write();
    let ended = suite.run(&["--vus", "4", "--duration", "2s"]);
    let said = "Error: it is there at load.js:5:";
    assert_said(
        &ended,
        0,
        &[
            said,
            "given what it returned on another instance",
            "nothing found",
        ],
    );
    assert_eq!(suite.calls(), ["teardown"]);
    suite.assert_all_gone(&ended);
}
