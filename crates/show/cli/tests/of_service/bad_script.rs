//! Scripts that cannot be run, or do what nobody wants: refused by line, or bounded and reported.

use super::common::Suite;
use super::{Campaign, assert_said};

#[test]
fn what_is_not_supported_or_makes_no_sense_is_refused_by_line() {
    let default = "export default function () {}\n";
    for (script, said) in [
        (
            "export default function () {\n  f(;\n}\n",
            "load.js:2:5: SyntaxError",
        ),
        (
            "import ws from 'k6/ws';\n",
            "load.js:1:16: the module 'k6/ws' is not supported",
        ),
        (
            "import x from 'https://x.example/x.js';\n",
            "load.js:1:15: 'https://x.example/x.js' is on the network",
        ),
        (
            "import x from './absent.js';\n",
            "which load.js:1:15 imports: No such file",
        ),
        (
            "export const options = { vuss: 3 };\n",
            "there is no option 'vuss': did you mean 'vus'?",
        ),
        (
            "export const options = { scenarios: { a: { executor: 'constant-vus', vus: 1, duration: '1s', exec: 'buy' } } };\n",
            "the scenario 'a' runs 'buy', which the script does not export",
        ),
        ("throw new Error('no such user');\n", "no such user"),
    ] {
        let suite = Campaign {
            script: format!("{script}{default}"),
            ..Campaign::default()
        }
        .write();
        let ended = suite.run(&[]);
        assert_said(&ended, 2, &["cohort: ", said]);
        assert_eq!(ended.stdout, "", "{ended:?}");
        assert!(!suite.root().join(".cohort/campaigns/1").exists());
    }
}

#[test]
fn no_script_and_no_service() {
    let suite = Campaign {
        scenario: "script = \"absent.js\"",
        ..Campaign::default()
    }
    .write();
    assert_said(&suite.run(&[]), 2, &["cohort.toml:", "there is no script "]);
    let ended = suite.run(&["--script", "other.js"]);
    assert_said(&ended, 2, &["cannot read other.js, which is the script"]);
    let suite = Suite::empty();
    let ended = suite.run(&["--vus", "3"]);
    let said = "cohort: --vus: only a campaign of a service knows it; write a cohort.toml with";
    assert_said(&ended, 2, &[said]);
    let suite = Campaign::default().write();
    let ended = suite.run(&["--vus", "0"]);
    assert_said(&ended, 2, &["--vus", "at least 1"]);
}

#[test]
fn an_endless_loop_is_cut_off() {
    let mut campaign = Campaign::of("get('/items/1'); if (__VU === 1 && at === 3) { for (;;) {} }");
    campaign.script += "export const options = { scenarios: { a: \
        { executor: 'constant-vus', vus: 2, duration: '3s', gracefulStop: '300ms' } } };\n";
    let suite = campaign.write();
    let ended = suite.run(&[]);
    let wanted = [
        "error            1 x the scenario has ended, ",
        " at load.js:10:",
    ];
    assert_said(&ended, 0, &wanted);
    // The other thread was not held up by it.
    let others = suite
        .calls()
        .iter()
        .filter(|call| call.starts_with("2 "))
        .count();
    assert!(others > 5, "{others} calls of the other thread: {ended:?}");
    suite.assert_no_call_twice();
    suite.assert_all_gone(&ended);
}

#[test]
fn memory_without_bound_is_bounded() {
    let suite =
        Campaign::of("get('/items/1'); const a = []; for (;;) a.push(new Uint8Array(1e6).fill(7))")
            .write();
    let ended = suite.run_for("1s");
    let wanted = [
        " x out of memory: a scenario thread may use 64 MiB; keep less in variables at load.js:10:",
        " iterations failed; ",
    ];
    assert_said(&ended, 1, &wanted);
    suite.assert_all_gone(&ended);
}

#[test]
fn a_setup_that_fails_ends_the_campaign() {
    let mut campaign = Campaign::of("get('/items/1')");
    campaign.script += "export function setup() { fail('no user could be made'); }\n";
    let suite = campaign.write();
    let ended = suite.run(&[]);
    let wanted = [
        "failed           the scenario ended itself; ",
        "; setup() of the script failed on i",
        "no user could be made at load.js:13:",
    ];
    assert_said(&ended, 1, &wanted);
    assert!(!ended.stderr.contains("setup()"), "{ended:?}");
    suite.assert_replays();
    suite.assert_all_gone(&ended);
}

#[test]
fn what_fails_before_and_after_the_iterations_is_told() {
    for (script, said) in [
        (
            "if (__VU > 0) { fail('not here'); }\n",
            "; a thread could not begin or go on: ",
        ),
        (
            "export function teardown() { fail('not there'); }\n",
            "; teardown() of the script failed on i0: ",
        ),
        (
            "export function setup() { sleep(60); }\nexport const options = { setupTimeout: '1s' };\n",
            "; setup() of the script failed on i0: it took longer than the 1 s that it is given\n",
        ),
    ] {
        let mut campaign = Campaign::of("get('/items/1')");
        campaign.script += script;
        let suite = campaign.write();
        let ended = suite.run(&["--instances", "1", "--vus", "2", "--duration", "1s"]);
        assert_said(&ended, 1, &["failed           ", said]);
        suite.assert_replays();
    }
}

#[test]
fn a_setup_that_returns_nothing_gives_nothing() {
    let mut campaign = Campaign::of("if (data !== undefined) fail('data'); get('/items/1')");
    campaign.script += "export function setup() {}\n";
    let suite = campaign.write();
    let ended = suite.run(&["--vus", "2", "--iterations", "4"]);
    assert_said(&ended, 0, &["nothing found    4 calls and 4 iterations"]);
}

#[test]
fn an_error_and_a_call_of_somebody_else_are_told() {
    let suite = Campaign::of("http.get('http://else.example/x'); null.x").write();
    let ended = suite.run_for("1s");
    let wanted = [
        " x else.example:80 is neither the instance nor allowed, so nothing was sent: ",
        " x TypeError: cannot read property 'x' of null at load.js:10:",
        " iterations failed; ",
    ];
    assert_said(&ended, 1, &wanted);
    suite.assert_replays();
}

#[test]
fn broken_files_make_no_script() {
    let suite = Suite::empty();
    for (source, text, said) in [
        ("from-har", "{\"log\": {\"entries\": [", "file: line 1"),
        (
            "from-har",
            "{\"log\": {}}",
            "file: log.entries: expected the list of what was recorded",
        ),
        ("from-har", "\u{16}\u{fffd}", "expected a HAR file: JSON"),
        (
            "from-openapi",
            "openapi: 3.0.0\npaths:\n  /x: [\n",
            "unclosed bracket '[' at line 3",
        ),
        (
            "from-openapi",
            "openapi: 3.0.0\npaths: {}\n",
            "file: paths: no operation that could be called",
        ),
        (
            "from-openapi",
            "a: 1\n",
            "file: openapi: expected the version of the specification",
        ),
        (
            "from-openapi",
            "\u{16}\u{fffd}",
            "expected an OpenAPI 3.0 or 3.1 or Swagger 2.0",
        ),
    ] {
        suite.write("file", text);
        let ended = suite.cohort(&["script", source, "file", "-o", "made.js"]);
        assert_said(&ended, 2, &["cohort: ", said]);
        assert!(!suite.root().join("made.js").exists(), "{text:?}");
    }
    // Wrong arguments: nothing to read, a directory, a file that is there already.
    suite.write("there.js", "// mine");
    for (file, output, said) in [
        ("missing.har", "made.js", "read "),
        (".", "made.js", "read "),
        ("good.har", "there.js", "create "),
    ] {
        suite.write("good.har", GOOD);
        let ended = suite.cohort(&["script", "from-har", file, "-o", output]);
        assert_said(&ended, 2, &["cohort: ", said]);
    }
}

const GOOD: &str = r#"{"log": {"entries": [{"startedDateTime": "2024-01-01T00:00:00.000Z", "time": 1,
    "request": {"method": "GET", "url": "http://localhost/a", "headers": []},
    "response": {"status": 200, "headers": [], "content": {"mimeType": "application/json"}}}]}}"#;
