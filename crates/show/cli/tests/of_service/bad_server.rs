//! Servers that cannot be used: each is told in words that help, and the campaign ends in bounded time.

use std::net::TcpListener;

use super::{Campaign, assert_said};

const CALLS: &str = "get('/items/1')";

#[test]
fn one_that_never_gets_ready() {
    let suite = Campaign {
        command: r#"["sh", "-c", "echo still loading; sleep 60"]"#,
        ready: r#"{ http = "/health", timeout = "1s" }"#,
        ..Campaign::of(CALLS)
    }
    .write();
    let ended = suite.run(&["--junit", "out.xml"]);
    let wanted = [
        "failed           i0  it was not ready within 1s: connections to 127.0.0.1:",
        "still loading",
        "failed           2 of 2 instances failed; ",
        "; the scenario did not begin: no instance got ready\n",
    ];
    assert_said(&ended, 1, &wanted);
    let junit = suite.read("out.xml");
    let error = r#"<error message="2 of 2 instances failed; "#;
    assert!(
        junit.contains(error) && junit.contains("still loading"),
        "{junit}"
    );
    suite.assert_replays();
    suite.assert_all_gone(&ended);
}

#[test]
fn one_that_exits_at_once() {
    let suite = Campaign {
        command: r#"["sh", "-c", "echo no configuration >&2; exit 3"]"#,
        sut: "instances = 2\nnetwork = \"host\"\nrestarts = 2",
        ..Campaign::of(CALLS)
    }
    .write();
    let ended = suite.run(&[]);
    let wanted = [
        "ended with exit code 3 after ",
        "failed           i0  it exited with code 3 ",
        " its last lines:\n",
        "no configuration\n",
        "the scenario did not begin: no instance got ready\n",
    ];
    assert_said(&ended, 1, &wanted);
    suite.assert_replays();
    suite.assert_all_gone(&ended);
}

#[test]
fn one_that_ignores_its_port() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let suite = Campaign {
        // It is told one, and takes another.
        command: &format!(r#"["python3", "server.py", "{port}", "{{port}}"]"#),
        ready: r#"{ http = "/health", timeout = "2s" }"#,
        sut: "instances = 1\nnetwork = \"host\"",
        ..Campaign::of(CALLS)
    }
    .write();
    let ended = suite.run(&[]);
    let listens = format!("it listens on 127.0.0.1:{port} instead: write {{port}} in its command");
    assert_said(&ended, 1, &["it was not ready within 2s: ", &listens]);
    suite.assert_all_gone(&ended);
}

#[test]
fn one_that_dies_every_second() {
    let suite = Campaign {
        command: r#"["sh", "-c", "python3 server.py {port} & sleep 1; exit 7"]"#,
        ..Campaign::of(CALLS)
    }
    .write();
    let ended = suite.run_for("5s");
    let wanted = [
        "crash            i0, i1",
        "2 instances ended by themselves with code 7, ",
        " times in all",
        " crashes\n",
        "found            1 fault; ",
    ];
    assert_said(&ended, 1, &wanted);
    suite.assert_no_call_twice();
    suite.assert_replays();
    suite.assert_all_gone(&ended);
}

#[test]
fn one_that_answers_garbage() {
    let suite = Campaign::of("get('/garbage')").write();
    let ended = suite.run_for("6s");
    let wanted = [
        "errors           GET /garbage",
        "All calls of GET /garbage get no answer (not HTTP), since the beginning: ",
        "x no answer to GET /garbage: malformed HTTP response: ",
        " without an answer on 2 instances",
    ];
    assert_said(&ended, 1, &wanted);
    suite.assert_no_call_twice();
    suite.assert_replays();
}

#[test]
fn one_that_is_ready_in_another_language() {
    let suite = Campaign {
        ready: r#"{ http = "/garbage", timeout = "2s" }"#,
        ..Campaign::of(CALLS)
    }
    .write();
    let ended = suite.run(&[]);
    assert_said(&ended, 1, &["answers what is not HTTP: "]);
}

#[test]
fn one_that_never_ends_a_response() {
    let suite = Campaign::of("get('/endless', { timeout: '300ms' })").write();
    let ended = suite.run_for("1500ms");
    let wanted = [
        " x no answer to GET /endless: request timeout\n",
        "no call was answered; ",
    ];
    assert_said(&ended, 1, &wanted);
    suite.assert_all_gone(&ended);
}

#[test]
fn one_that_sends_no_open_telemetry_for_it() {
    let suite = Campaign::of(
        "if (at < 0) { \
         check(get('/nonsense'), { 'it is refused': (r) => r.json('status') === 400 }); }",
    )
    .write();
    let ended = suite.run_for("2s");
    let wanted = [
        "cohort: 127.0.0.1 sent to /v1/traces what is not OTLP: ",
        "check held       2 of 2  it is refused\n",
    ];
    assert_said(&ended, 0, &wanted);
    suite.assert_replays();
}

#[test]
fn one_whose_port_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let sut = format!("instances = 1\nnetwork = \"host\"\nport = {port}");
    let suite = Campaign {
        sut: &sut,
        ..Campaign::of(CALLS)
    }
    .write();
    let ended = suite.run(&[]);
    let said = format!("port {port} of this host is in use already; end whoever listens there");
    assert_said(&ended, 1, &[&said, "no instance got ready"]);
    let two = suite.run(&["--instances", "2"]);
    assert_said(
        &two,
        3,
        &["they would fight for it; write {port} in the command"],
    );
    suite.assert_all_gone(&two);
}

#[test]
fn one_that_cannot_be_started_or_built() {
    let suite = Campaign {
        command: r#"["frobnicate", "{port}"]"#,
        ..Campaign::of(CALLS)
    }
    .write();
    let ended = suite.run(&[]);
    let wanted = [
        "start \"frobnicate\": not executed (No such file",
        "2 of 2 instances failed; ",
    ];
    assert_said(&ended, 1, &wanted);
    let suite = Campaign {
        sut: r#"build = ["sh", "-c", "echo no compiler; exit 9"]"#,
        ..Campaign::of(CALLS)
    }
    .write();
    let ended = suite.run(&[]);
    assert_said(&ended, 3, &["exited with code 9\nno compiler"]);
    let suite = Campaign {
        command: r#"["python3", "server.py", "{prot}"]"#,
        ..Campaign::of(CALLS)
    }
    .write();
    let ended = suite.run(&[]);
    assert_said(&ended, 3, &["{prot} stands for nothing; {port}, {host}"]);
    assert!(!suite.root().join(".cohort/campaigns/1").exists());
    suite.assert_all_gone(&ended);
}
