//! Edge cases as a user meets them: found, shown, run again, and asked for in every wrong way.

mod common;

use std::fs;

use common::{Ended, Suite, wait_until};
use serde_json::Value;

const SIGINT: i32 = 2;

/// `always` fails whenever it is run, unless a file says that it is mended; `fine` passes.
const SCRIPT: &str = "\
case $1 in
always) [ -e mended ] || { echo 'thread main panicked: total is 3, not 4' >&2; exit 1; } ;;
esac
";

fn suite() -> Suite {
    Suite::new(&["fine", "always"], SCRIPT)
}

/// A campaign in which `always` fails, and is tried again until nothing is left to learn.
fn found() -> (Suite, Ended) {
    let suite = suite();
    let ended = suite.run(&["--reproduce-for", "60s", "--junit", "junit.xml"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    suite.assert_nothing_left(&ended);
    (suite, ended)
}

#[track_caller]
fn one_line(ended: &Ended, code: i32, said: &str) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert_eq!(ended.stderr.trim_end().lines().count(), 1, "{ended:?}");
    assert!(ended.stderr.contains(said), "{said} is not in {ended:?}");
}

#[test]
fn a_failure_arrives_reproduced() {
    let (suite, ended) = found();
    let sentence = "EC-1  `always` fails every time: ";
    assert!(ended.stdout.contains(&format!("edge cases     {sentence}")), "{ended:?}");
    assert!(ended.stderr.contains("\nEC-1           opened: `always`"), "{ended:?}");
    assert!(ended.stderr.contains("; tried again on i"), "{ended:?}");
    assert!(ended.stderr.contains("\nEC-1           closed: `always`"), "{ended:?}");
    let junit = suite.read("junit.xml");
    let property = "<property name=\"edge_case\" value=\"EC-1: `always` fails every time: ";
    assert!(junit.contains(property), "{junit}");
    suite.assert_replays();

    let shown = suite.cohort(&["show"]);
    assert!(shown.stdout.contains(sentence), "{shown:?}");
    assert!(shown.stdout.contains("pictures       "), "{shown:?}");
    let page = suite.read(".cohort/campaigns/1/report.html");
    assert!(page.contains("<h3>EC-1</h3>"), "{page}");
    assert!(!page.contains("<script"), "{page}");
}

#[test]
fn a_case_has_a_page() {
    let (suite, _) = found();
    let shown = suite.cohort(&["show", "ec-1"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.starts_with("EC-1           `always` fails every time"), "{shown:?}");
    assert!(shown.stdout.contains("total is 3, not 4"), "{shown:?}");
    assert!(shown.stdout.contains("again          cohort repro EC-1"), "{shown:?}");
    assert!(shown.stdout.lines().all(|line| line.chars().count() <= 100), "{shown:?}");

    let markdown = suite.cohort(&["show", "EC-1", "--markdown"]);
    assert!(markdown.stdout.starts_with("# EC-1\n\n`always` fails every time"), "{markdown:?}");
    let json = suite.cohort(&["show", "EC-1", "--json"]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["case"]["verdict"], "always");
    assert_eq!(json["again"]["command"], "cohort repro EC-1");
}

#[test]
fn a_case_is_run_again() {
    let (suite, _) = found();
    let again = suite.cohort(&["repro", "EC-1", "--runs", "3"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stdout.starts_with("EC-1 failed again in 3 of 3 runs, as before ("), "{again:?}");
    suite.assert_nothing_left(&again);

    suite.write("mended", "");
    let mended = suite.cohort(&["repro", "EC-1", "--runs", "4"]);
    assert_eq!(mended.code, Some(1), "{mended:?}");
    assert!(mended.stdout.starts_with("EC-1 did not fail: 0 of 4 runs"), "{mended:?}");
    let kept = suite.cohort(&["show", "EC-1"]);
    assert!(kept.stdout.contains("fails every time"), "what was found stands: {kept:?}");
}

#[test]
fn nothing_is_tried_again_when_that_is_not_wanted() {
    let suite = suite();
    let ended = suite.run(&["--no-reproduce"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(!ended.stderr.contains("EC-1") && !ended.stdout.contains("EC-1"), "{ended:?}");
}

#[test]
fn reproducing_can_be_stopped_and_the_results_stand() {
    // Once in its life it fails, so there is much to try.
    let suite = Suite::new(&["once"], "[ -e seen ] && exit 0; touch seen; echo strange; exit 1\n");
    let running = suite.start(&["run", "--progress", "plain", "--reproduce-for", "1h"]);
    wait_until("only edge cases to be left", || running.said().contains("Ctrl-C ends it"));
    running.signal(SIGINT);
    let ended = running.end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("failed         1 test: 1 failed"), "{ended:?}");
    assert!(ended.stdout.contains("`once` did not fail again in"), "{ended:?}");
    suite.assert_nothing_left(&ended);
}

#[test]
fn a_test_is_stressed_on_request() {
    let suite = suite();
    let words = ["run", "--progress", "plain", "--stress", "fin", "--below", "20%"];
    let ended = suite.cohort(&[&words[..], &["--for", "90s"]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("stressing 1 of 2 tests: fine\n"), "{ended:?}");
    assert!(ended.stdout.contains("`fine` did not fail in "), "{ended:?}");
    assert!(ended.stdout.contains("passed         "), "{ended:?}");

    let ended = suite.cohort(&["run", "--stress", "always", "--for", "20s"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("`always` fails every time"), "{ended:?}");
    suite.assert_nothing_left(&ended);
}

#[test]
fn cases_and_tests_that_are_not_there() {
    let suite = suite();
    one_line(&suite.cohort(&["show", "EC-7"]), 2, "no case EC-7");
    one_line(&suite.cohort(&["repro", "EC-7"]), 2, "no case EC-7");
    one_line(&suite.cohort(&["repro", "absent"]), 2, "absent");
    one_line(&suite.cohort(&["run", "--stress", "absent"]), 2, "`absent`");
    one_line(&suite.cohort(&["show", "--json"]), 2, "an edge case");
    one_line(&suite.cohort(&["show", "EC-1", "--junit", "x.xml"]), 2, "--junit");
}

#[test]
fn a_record_that_cannot_be_read() {
    let (suite, _) = found();
    let path = suite.root().join(".cohort/cases/EC-1/case.json");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    for command in ["show", "repro"] {
        one_line(&suite.cohort(&[command, "EC-1"]), 4, "case.json");
    }
    fs::write(&path, "{\"format\": 999}").unwrap();
    for command in ["show", "repro"] {
        one_line(&suite.cohort(&[command, "EC-1"]), 4, "use a newer Cohort");
    }
}
