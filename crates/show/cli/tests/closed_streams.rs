//! Who reads what Cohort writes may go away: nothing ends because of it.

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use common::{Suite, wait_until};

const NAMES: [&str; 3] = ["a", "b", "c"];
/// All wait for the file `go`; then one fails.
const SCRIPT: &str =
    "touch waits; until test -e go; do sleep 0.01; done; echo $1 >> ran; test $1 != b";
const RUN: [&str; 5] = ["run", "--progress", "plain", "--junit", "out.xml"];

fn code(mut child: Child) -> Option<i32> {
    wait_until("the end", || child.try_wait().unwrap().is_some());
    child.wait().unwrap().code()
}

fn assert_all_ran(suite: &Suite, child: Child) {
    assert_eq!(code(child), Some(1));
    for name in NAMES {
        // One that fails in a crowd is tried again.
        assert!(suite.count("ran", name) >= 1, "{name}");
    }
    let xml = suite.read("out.xml");
    assert!(
        xml.contains("tests=\"3\" skipped=\"0\" failures=\"1\""),
        "{xml}"
    );
}

#[test]
fn a_reader_of_stderr_that_goes_away_ends_no_campaign() {
    let suite = Suite::new(&NAMES, SCRIPT);
    let mut child = suite.start_into(&RUN, Stdio::null(), Stdio::piped());
    let mut line = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut line).unwrap();
    assert!(!line.is_empty());
    drop(stderr);
    suite.write("go", "");
    assert_all_ran(&suite, child);
}

#[test]
fn a_full_disk_under_stderr_ends_no_campaign() {
    let suite = Suite::new(&NAMES, SCRIPT);
    suite.write("go", "");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let child = suite.start_into(&RUN, Stdio::null(), full);
    assert_all_ran(&suite, child);
}

#[test]
fn a_full_disk_under_stdout_does_not_cost_the_report() {
    let suite = Suite::new(&["a"], "exit 0");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let child = suite.start_into(&RUN, full, Stdio::null());
    assert_eq!(code(child), Some(4));
    assert!(suite.read("out.xml").contains("tests=\"1\""));
}

#[test]
fn a_reader_of_stdout_that_is_gone_is_no_failure() {
    let suite = Suite::new(&NAMES, "exit 0");
    assert_eq!(suite.run(&[]).code, Some(0));
    for words in [
        &["run", "--dry-run"][..],
        &["replay"],
        &["show"],
        &["doctor"],
        &["schema"],
        &["completions", "bash"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut child = suite.start_into(words, writer, Stdio::piped());
        let mut said = String::new();
        let mut stderr = child.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        assert_eq!((code(child), said.as_str()), (Some(0), ""), "{words:?}");
    }
}
