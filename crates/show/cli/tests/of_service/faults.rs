//! Services that do wrong: each fault is named, with its place.

use super::{Campaign, assert_said};

#[test]
fn a_crash_on_a_rare_input_is_found_with_its_request() {
    let suite =
        Campaign::of("get(__VU === 1 && at === 19 ? '/crash/13?why=rare' : '/crash/1')").write();
    let ended = suite.run_for("3s");
    let wanted = [
        "found            1 fault; ",
        "crash            GET /crash/{}",
        "was ended by signal 11 (SIGSEGV)",
        "| GET /crash/13?why=rare",
        "; it is started again",
        "  1 crash\n",
    ];
    assert_said(&ended, 1, &wanted);
    // Both were started, and the one that crashed once more.
    assert_eq!(ended.stderr.matches("ready  ").count(), 3, "{ended:?}");
    // The thread that hit it went on, elsewhere meanwhile: it lost one call, and repeated none.
    assert!(suite.calls().iter().any(|call| call == "1 22"), "{ended:?}");
    suite.assert_no_call_twice();
    suite.assert_replays();
    suite.assert_all_gone(&ended);
}

#[test]
fn a_crash_at_the_very_end_is_found_too() {
    let suite = Campaign::of("get('/crash/13')").write();
    let ended = suite.run(&["--vus", "1", "--iterations", "1"]);
    let wanted = [
        "found            1 fault; ",
        "crash            GET /crash/{}",
    ];
    assert_said(&ended, 1, &wanted);
    suite.assert_replays();
    suite.assert_all_gone(&ended);
}

#[test]
fn a_wrong_answer_is_found_by_the_check_that_fails() {
    let suite = Campaign::of(
        "const n = __ITER % 10; \
         check(get(`/total/${n}`), { 'the total is right': (r) => r.json('total') === n })",
    )
    .write();
    let ended = suite.run_for("3s");
    let wanted = [
        "found            1 fault; ",
        "wrong answer     GET /total/{}",
        "the check \"the total is right\" failed on ",
        "check failed ",
    ];
    assert_said(&ended, 1, &wanted);
    suite.assert_replays();
}

#[test]
fn an_exception_is_grouped_and_named_with_its_place() {
    let suite = Campaign::of("get(`/price/${__ITER % 20}`)").write();
    let ended = suite.run_for("3s");
    let line = 1 + include_str!("server.py")
        .lines()
        .position(|line| line.contains("raise ValueError"))
        .unwrap();
    let place = format!("server.py:{line})");
    let wanted = [
        "found            1 fault; ",
        "exception        GET /price/{}",
        "python ValueError: no price for 13 at price (",
        &place,
    ];
    assert_said(&ended, 1, &wanted);
    suite.assert_replays();
}

#[test]
fn a_burst_of_errors_is_found() {
    let suite = Campaign::of("get('/burst')").write();
    let ended = suite.run_for("6s");
    let wanted = [
        "error burst      GET /burst",
        " calls of GET /burst failed ",
    ];
    assert_said(&ended, 1, &wanted);
    suite.assert_replays();
}

#[test]
fn errors_from_the_beginning_are_no_burst_and_told_once() {
    // The check fails on the same answers, and says no more than their status.
    let suite = Campaign::of(
        "check(get(`/flaky/${__ITER % 10}`), { 'status is 200': (r) => r.status === 200 })",
    )
    .write();
    let ended = suite.run_for("4s");
    let wanted = [
        "found            1 fault; ",
        "errors           GET /flaky/{}",
        "of the calls of GET /flaky/{} answer 503, since the beginning: ",
    ];
    assert_said(&ended, 1, &wanted);
    suite.assert_replays();
}

#[test]
fn a_check_that_fails_on_a_404_is_a_wrong_answer() {
    let suite = Campaign::of(
        "check(get(`/gone/${__ITER % 10}`), \
         { 'status is 200': (r) => r.status === 200, 'it has a number': (r) => r.json('number') >= 0 })",
    )
    .write();
    let ended = suite.run_for("3s");
    let wanted = [
        "found            1 fault; ",
        "wrong answer     GET /gone/{}",
        " and 1 check more failed on ",
        " were 4xx.",
    ];
    assert_said(&ended, 1, &wanted);
    suite.assert_replays();
}

#[test]
fn failing_runs_of_a_driver_program_count() {
    let suite = Campaign {
        scenario: "driver = [\"python3\", \"drive.py\"]\nenv = { USERS = \"3\" }",
        ..Campaign::default()
    }
    .write();
    let drive = "\
import os, sys, urllib.request
number = int(os.environ['COHORT_ITERATION'])
request = urllib.request.Request(os.environ['COHORT_BASE_URL'] + '/items/1')
request.add_header('X-Call', os.environ['COHORT_THREAD'] + ' ' + str(number))
assert urllib.request.urlopen(request).status == 200 and os.environ['USERS'] == '3'
if number == 1:
    sys.exit('the totals differ')
if number == 3:
    print('FAIL: the cart is empty')
";
    suite.write("drive.py", drive);
    let ended = suite.run(&["--vus", "1", "--iterations", "4"]);
    let wanted = [
        "failed           2 of 4 iterations failed; ",
        "error            1 x the driver ended with exit status: 1",
        "error            1 x FAIL: the cart is empty\n",
        "check failed     1 of 1  the cart is empty\n",
    ];
    assert_said(&ended, 1, &wanted);
    assert_eq!(suite.calls(), ["0 0", "0 1", "0 2", "0 3"]);
    suite.assert_replays();
    suite.assert_all_gone(&ended);
}

#[test]
fn a_missed_threshold_is_no_success() {
    let mut campaign = Campaign::of("get('/items/1')");
    campaign.script +=
        "export const options = { thresholds: { http_req_duration: ['max<0.001'] } };\n";
    let suite = campaign.write();
    let ended = suite.run_for("1s");
    let wanted = [
        "threshold missed http_req_duration max<0.001: ",
        "failed           1 threshold missed; ",
    ];
    assert_said(&ended, 1, &wanted);
}
