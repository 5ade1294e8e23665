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
    assert!(
        ended.stdout.contains(&format!("edge cases     {sentence}")),
        "{ended:?}"
    );
    assert!(
        ended.stderr.contains("\nEC-1           opened: `always`"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("; tried again on i"), "{ended:?}");
    assert!(
        ended.stderr.contains("\nEC-1           closed: `always`"),
        "{ended:?}"
    );
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
    assert!(
        shown
            .stdout
            .starts_with("EC-1           `always` fails every time"),
        "{shown:?}"
    );
    assert!(shown.stdout.contains("total is 3, not 4"), "{shown:?}");
    assert!(
        shown.stdout.contains("again          cohort repro EC-1"),
        "{shown:?}"
    );
    assert!(
        shown.stdout.lines().all(|line| line.chars().count() <= 100),
        "{shown:?}"
    );

    let markdown = suite.cohort(&["show", "EC-1", "--markdown"]);
    assert!(
        markdown
            .stdout
            .starts_with("# EC-1\n\n`always` fails every time"),
        "{markdown:?}"
    );
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
    assert!(
        again
            .stdout
            .starts_with("EC-1 failed again in 3 of 3 runs, as before ("),
        "{again:?}"
    );
    suite.assert_nothing_left(&again);

    suite.write("mended", "");
    let mended = suite.cohort(&["repro", "EC-1", "--runs", "4"]);
    assert_eq!(mended.code, Some(1), "{mended:?}");
    assert!(
        mended.stdout.starts_with("EC-1 did not fail: 0 of 4 runs"),
        "{mended:?}"
    );
    let kept = suite.cohort(&["show", "EC-1"]);
    assert!(
        kept.stdout.contains("fails every time"),
        "what was found stands: {kept:?}"
    );
    // The campaign is the one that found it, not the last look at it.
    let shown = suite.cohort(&["show"]);
    assert!(shown.stdout.contains("2 tests: "), "{shown:?}");
}

#[test]
fn nothing_is_tried_again_when_that_is_not_wanted() {
    let suite = suite();
    let ended = suite.run(&["--no-reproduce"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        !ended.stderr.contains("EC-1") && !ended.stdout.contains("EC-1"),
        "{ended:?}"
    );
}

#[test]
fn reproducing_can_be_stopped_and_the_results_stand() {
    // Once in its life it fails, so there is much to try.
    let suite = Suite::new(
        &["once"],
        "[ -e seen ] && exit 0; touch seen; echo strange; exit 1\n",
    );
    let running = suite.start(&["run", "--progress", "plain", "--reproduce-for", "1h"]);
    wait_until("only edge cases to be left", || {
        running.said().contains("Ctrl-C ends it")
    });
    running.signal(SIGINT);
    let ended = running.end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stdout.contains("failed         1 test: 1 failed"),
        "{ended:?}"
    );
    // How far it came until then is a matter of time.
    let told = [
        "EC-1  `once` did not fail again in ",
        "EC-1  `once` was not tried again: the campaign was stopped",
    ];
    assert!(
        told.iter().any(|told| ended.stdout.contains(told)),
        "{ended:?}"
    );
    suite.assert_nothing_left(&ended);
}

#[test]
fn a_test_is_stressed_on_request() {
    let suite = suite();
    let words = [
        "run",
        "--progress",
        "plain",
        "--stress",
        "fin",
        "--below",
        "20%",
    ];
    let ended = suite.cohort(&[&words[..], &["--for", "90s"]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.stderr.contains("stressing 1 of 2 tests: fine\n"),
        "{ended:?}"
    );
    assert!(
        ended.stdout.contains("`fine` did not fail in "),
        "{ended:?}"
    );
    assert!(ended.stdout.contains("passed         "), "{ended:?}");

    let ended = suite.cohort(&["run", "--stress", "always", "--for", "20s"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stdout.contains("`always` fails every time: "),
        "{ended:?}"
    );
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
    one_line(
        &suite.cohort(&["show", "EC-1", "--junit", "x.xml"]),
        2,
        "--junit",
    );
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

mod from_elsewhere {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use cohort_capsule::{Capsule, Manifest, Ran};
    use cohort_model::{
        Arm, At, Case, CaseId, CaseVerdict, Condition, Rate, Recipe, Stage, Subject, SuiteKind,
        Symptom, SymptomKind, TestId,
    };

    use super::*;

    /// A case of `test`, which fails with `X=1`.
    fn case() -> Case {
        let recipe = Recipe {
            conditions: vec![Condition::Variable {
                name: "X".to_owned(),
                value: Some("1".to_owned()),
            }],
            ..Recipe::default()
        };
        let rate = Rate {
            runs: 12,
            failed: 12,
            low: 0.7,
            high: 1.0,
        };
        Case {
            case: CaseId(41),
            subject: Subject::Test(TestId(5)),
            symptom: Some(Symptom {
                kind: SymptomKind::Failure,
                class: "exit code 1".to_owned(),
                message: "X is 1".to_owned(),
                frames: Vec::new(),
            }),
            sightings: Vec::new(),
            since: At(0),
            returned: false,
            stage: Stage::Closed,
            verdict: Some(CaseVerdict::Conditional),
            arms: Vec::new(),
            runs_to_first: Some(3),
            causes: Vec::new(),
            smallest: Some(Arm {
                recipe,
                control: false,
                rate,
            }),
            minimal: true,
            request: String::new(),
            age_us: 0,
            bound_us: 0,
            variants: Vec::new(),
            remarks: Vec::new(),
        }
    }

    fn capsule(test: &str) -> Capsule {
        let ran = Ran::Test {
            suite: SuiteKind::Exec,
            command: Vec::new(),
            program: "sh".to_owned(),
            args: Vec::new(),
            directory: String::new(),
        };
        let mut manifest = Manifest::new(case(), test, ran, "0.1.0", 1);
        manifest.host.cores = 4_000;
        manifest.left_out = vec!["SOME_TOKEN".to_owned()];
        manifest.environment = BTreeMap::from([("FLAVOUR".to_owned(), "sour".to_owned())]);
        let mut capsule = Capsule::new(manifest);
        capsule
            .attach_log("logs/original/stdout", b"X is 1\n")
            .unwrap();
        capsule
    }

    /// A project whose `picky` fails with `X=1`, and the capsule of that.
    fn project() -> (Suite, PathBuf) {
        let suite = Suite::new(
            &["fine", "picky"],
            "case $1 in picky) [ \"$X\" != 1 ] || { echo X is 1; exit 1; } ;; esac\n",
        );
        let path = suite.root().join("EC-41.capsule");
        capsule("picky").write(&path).unwrap();
        (suite, path)
    }

    #[test]
    fn it_is_run_in_a_checkout_and_what_differs_is_said() {
        let (suite, path) = project();
        let shown = suite.cohort(&["show", "EC-41.capsule"]);
        assert_eq!(shown.code, Some(0), "{shown:?}");
        let sentence = "EC-41          `picky` fails with X=1: 12 of 12 runs.";
        assert!(shown.stdout.starts_with(sentence), "{shown:?}");
        assert!(shown.stdout.contains("| X is 1"), "{shown:?}");

        let again = suite.cohort(&["repro", path.to_str().unwrap(), "--runs", "2"]);
        assert_eq!(again.code, Some(0), "{again:?}");
        let said = "EC-41 failed again in 2 of 2 runs, as before (12 of 12): `picky` with X=1";
        assert!(again.stdout.starts_with(said), "{again:?}");
        let note = |text: &str| {
            let note = format!("cohort: not as where it was seen: {text}");
            assert!(again.stderr.contains(&note), "{note} is not in {again:?}");
        };
        note("there are 4000 cores there and ");
        note("the environment differs in FLAVOUR");
        note("left out of it as secret, and not set here: SOME_TOKEN");
        suite.assert_nothing_left(&again);
        let kept = suite.cohort(&["show", "EC-41"]);
        assert_eq!(
            kept.code,
            Some(2),
            "it is no case of this project: {kept:?}"
        );
    }

    #[test]
    fn a_shell_where_it_fails_ends_without_a_trace() {
        let (suite, _) = project();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cohort"));
        command.args(["repro", "EC-41.capsule", "--shell"]);
        command.env("SHELL", "/bin/sh");
        let mut running = suite.spawn_with_input(command);
        running.tell(
            "again > said; echo \"code $?, X=$X\" >> said; touch \"$TMPDIR/mine\"
             case $TMPDIR in */tmp/cohort-*) echo scratch >> said ;; esac
             sleep 1000 & echo $! > sleeper; exit 3\n",
        );
        let ended = running.end();
        assert_eq!(
            ended.code,
            Some(0),
            "a shell's own end is no word on the case: {ended:?}"
        );
        assert_eq!(
            suite.read("said"),
            "X is 1\ncode 1, X=1\nscratch\n",
            "{ended:?}"
        );
        assert!(
            ended.stderr.contains("EC-41: `picky` with X=1\n"),
            "{ended:?}"
        );
        assert!(
            ended
                .stderr
                .contains("again  runs the test once, as above:"),
            "{ended:?}"
        );
        let sleeper = suite.read("sleeper");
        let path = format!("/proc/{}", sleeper.trim());
        // Without control groups what it left running in the background is the user's own affair.
        if std::path::Path::new("/sys/fs/cgroup").exists() && nix::unistd::geteuid().is_root() {
            wait_until("what it left running to end", || {
                !std::path::Path::new(&path).exists()
            });
        }
        suite.assert_nothing_left(&ended);
    }

    #[test]
    fn a_test_that_is_not_here() {
        let (suite, path) = project();
        capsule("gone").write(&path).unwrap();
        let ended = suite.cohort(&["repro", "EC-41.capsule"]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains("`gone`"), "{ended:?}");
    }

    #[test]
    fn damaged_capsules_get_one_sentence() {
        let (suite, path) = project();
        let whole = fs::read(&path).unwrap();
        let mut edited = whole.clone();
        let middle = whole.len() / 2;
        edited[middle] ^= 0x55;
        let wrong: [(&[u8], &str); 4] = [
            (&whole[..middle], "is cut short"),
            (&edited, "EC-41.capsule"),
            (b"", "it is empty"),
            (b"not a capsule at all", "is no capsule"),
        ];
        for (bytes, said) in wrong {
            fs::write(&path, bytes).unwrap();
            for command in ["repro", "show"] {
                one_line(&suite.cohort(&[command, "EC-41.capsule"]), 2, said);
            }
        }
    }
}
