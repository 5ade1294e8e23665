//! The files of `--junit` and `--events`: what stands in them is the last campaign's, whole.

mod common;

use std::fs;
use std::os::unix::fs::symlink;

use common::Suite;

const RUN: [&str; 7] = [
    "run",
    "--progress",
    "none",
    "--junit",
    "out.xml",
    "--events",
    "events",
];
/// A list that fails.
const UNLISTABLE: &str = "[suite]\nlist = \"exit 4\"\nrun = \"true\"\n";

#[test]
fn a_campaign_that_does_not_begin_leaves_the_last_reports() {
    let suite = Suite::new(&["a", "b"], "exit 0");
    assert_eq!(suite.cohort(&RUN).code, Some(0));
    let (xml, events) = (suite.read("out.xml"), suite.read("events"));
    assert!(xml.contains("tests=\"2\""), "{xml}");
    let config = suite.read("cohort.toml");
    suite.write("cohort.toml", UNLISTABLE);
    assert_eq!(suite.cohort(&RUN).code, Some(3));
    assert_eq!(suite.read("out.xml"), xml);
    assert_eq!(suite.read("events"), events);
    suite.write("cohort.toml", &config);
    suite.write("names", "a\n");
    assert_eq!(suite.cohort(&RUN).code, Some(0));
    let xml = suite.read("out.xml");
    assert!(xml.contains("tests=\"1\""), "{xml}");
    let started = suite
        .read("events")
        .matches("\"record\":\"started\"")
        .count();
    assert_eq!(started, 1);
}

#[test]
fn a_report_that_came_to_nothing_leaves_nothing() {
    let suite = Suite::empty();
    suite.write("cohort.toml", UNLISTABLE);
    let ended = suite.cohort(&["run", "--junit", "out.xml"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(!suite.root().join("out.xml").exists());
}

#[test]
fn a_place_that_cannot_be_written_is_known_before_any_test_runs() {
    let suite = Suite::new(&["a"], "touch ran");
    for flag in ["--junit", "--events"] {
        let ended = suite.cohort(&["run", flag, "."]);
        assert_eq!(ended.code, Some(4), "{ended:?}");
        assert!(!suite.root().join("ran").exists(), "{ended:?}");
    }
}

#[test]
fn a_link_stays_one_and_nothing_is_left_beside_it() {
    let suite = Suite::new(&["a"], "exit 0");
    fs::create_dir(suite.root().join("kept")).unwrap();
    symlink("kept/out.xml", suite.root().join("out.xml")).unwrap();
    for _ in 0..2 {
        assert_eq!(suite.cohort(&RUN).code, Some(0));
        assert!(suite.root().join("out.xml").is_symlink());
        let xml = suite.read("kept/out.xml");
        assert!(xml.trim_end().ends_with("</testsuites>"), "{xml}");
        assert_eq!(fs::read_dir(suite.root().join("kept")).unwrap().count(), 1);
    }
}

#[test]
fn standard_output_takes_a_report_beside_the_summary() {
    let suite = Suite::new(&["a"], "exit 0");
    let words = "run --progress none --junit /dev/stdout --events /dev/stdout";
    let words: Vec<&str> = words.split(' ').collect();
    let ended = suite.cohort(&words);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for part in [
        "{\"record\":\"started\"",
        "1 passed",
        "<?xml",
        "</testsuites>",
    ] {
        assert!(ended.stdout.contains(part), "{part} in {ended:?}");
    }
}
