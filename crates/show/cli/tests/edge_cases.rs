//! What fails is tried again by the real program, on real suites: seen in its events and in what it keeps.
//!
//! The tests on pytest need an interpreter that has it: `COHORT_TEST_PYTHON`. Without one each says so
//! and leaves itself out.

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::{Ended, Suite, pytest, wait_until};
use serde_json::Value;

/// Each edge case as it was told last, by its number.
fn cases(suite: &Suite) -> BTreeMap<u64, Value> {
    let events = suite.events();
    let decided = events.iter().filter(|event| event["record"] == "decided");
    let all = decided.flat_map(|event| event["cases"].as_array().into_iter().flatten());
    all.map(|case| (case["case"].as_u64().unwrap(), case.clone()))
        .collect()
}

/// The only one that a test of the suite showed. (A try may show another one, under its conditions.)
fn case(suite: &Suite) -> Value {
    let mut all: Vec<Value> = cases(suite).into_values().collect();
    all.retain(|case| !case["sightings"].as_array().is_none_or(Vec::is_empty));
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

/// It failed, or on a busy host it failed and passed alone.
fn assert_failed_at_first(ended: &Ended) {
    assert!(matches!(ended.code, Some(0 | 1)), "{ended:?}");
}

/// Decisions with this command: when, and what.
fn decisions(suite: &Suite, command: &str) -> Vec<(u64, Value)> {
    let mut found = Vec::new();
    for event in suite.events() {
        for decision in event["decisions"].as_array().into_iter().flatten() {
            if decision["command"] == command {
                found.push((event["at"].as_u64().unwrap(), decision.clone()));
            }
        }
    }
    found
}

/// Observations of this kind: when, and what.
fn seen(suite: &Suite, kind: &str) -> Vec<(u64, Value)> {
    let mut found = Vec::new();
    for event in suite.events() {
        for observation in event["observations"].as_array().into_iter().flatten() {
            if observation["seen"] == kind {
                found.push((event["at"].as_u64().unwrap(), observation.clone()));
            }
        }
    }
    found
}

/// Names of the conditions that are said to matter.
fn causes(case: &Value) -> Vec<String> {
    let causes = case["causes"].as_array().into_iter().flatten();
    causes
        .filter_map(|cause| Some(cause["condition"]["condition"].as_str()?.to_owned()))
        .collect()
}

fn run_pytest(suite: &Suite, pytest: &str, time: &str) -> Ended {
    let words = ["--reproduce-for", time, "--", pytest];
    suite.run(&[&words[..], &["-p", "no:cacheprovider"]].concat())
}

/// A shell test's first lines: it fails the first time it is run, as it does when `$bad` is set later.
const FIRST_TIME: &str = "test -e \"$1.ran\" || bad=1; touch \"$1.ran\"\n";
const LAST_WORD: &str =
    "\ntest -z \"$bad\" || { echo 'assertion failed: it broke' >&2; exit 3; }\n";

fn first_and_then(what: &str) -> Suite {
    Suite::new(&["a"], &format!("{FIRST_TIME}{what}{LAST_WORD}"))
}

#[test]
fn what_always_fails_is_tried_at_once_elsewhere_and_closed_after_few_runs() {
    let script = "test $1 != bad || { echo \"assertion failed: no $1\" >&2; exit 1; }; sleep 0.05";
    let suite = Suite::new(&["a", "b", "bad", "c", "d", "e"], script);
    let ended = suite.run(&["--reproduce-for", "60s"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let case = case(&suite);
    assert_eq!(
        (&case["stage"], &case["verdict"]),
        (&"closed".into(), &"always".into())
    );
    let tries = decisions(&suite, "try_case");
    assert!((3..=40).contains(&tries.len()), "{} tries", tries.len());
    let thread = &case["sightings"][0];
    let starts = decisions(&suite, "start_thread");
    let original = starts.iter().find(|(_, start)| &start["thread"] == thread);
    let ends = seen(&suite, "thread_ended");
    let failed = ends.iter().find(|(_, end)| &end["thread"] == thread);
    let (at, first) = &tries[0];
    assert_ne!(first["instance"], original.unwrap().1["instance"]);
    assert_eq!(*at, failed.unwrap().0, "not in the step that showed it");
    let results = decisions(&suite, "conclude");
    assert_eq!(results.len(), 6, "a try is no result");
    let kept = suite.read(".cohort/cases/EC-1/case.json");
    assert!(kept.contains("\"name\": \"bad\""), "{kept}");
    suite.assert_replays();
    suite.assert_nothing_left(&ended);
}

#[test]
fn what_fails_only_once_ever_is_not_reproduced_and_the_time_for_it_is_bounded() {
    let suite = first_and_then("");
    let since = Instant::now();
    let ended = suite.run(&["--reproduce-for", "3s"]);
    let took = since.elapsed();
    assert_failed_at_first(&ended);
    assert!(took < Duration::from_secs(30), "{took:?}");
    let first = case(&suite);
    assert_eq!(first["verdict"], "not_reproduced", "{first}");
    assert!(decisions(&suite, "try_case").len() > 3);
    suite.assert_nothing_left(&ended);
    // The next campaign is a good one, and knows nothing that is worth another look.
    let ended = suite.run(&[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(decisions(&suite, "try_case").len(), 0);
}

#[test]
fn without_reproducing_nothing_is_tried_again() {
    let suite = Suite::new(&["a"], "exit 1");
    let ended = suite.run(&["--no-reproduce"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(decisions(&suite, "try_case").len() + cases(&suite).len(), 0);
    let ended = suite.run(&["--policy", "static"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(decisions(&suite, "try_case").len(), 0);
}

#[test]
fn a_test_that_disturbs_itself_fails_again_with_copies() {
    // Two at once, and one of them finds the file of the other. Tries have a directory each, and copies share that of theirs:
    // what runs beside a try without copies is nothing to it.
    let race = "echo $$ > \"$TMPDIR/shared\"; sleep 0.05; test \"$(cat \"$TMPDIR/shared\")\" = $$ || bad=1";
    let suite = first_and_then(race);
    let ended = suite.run(&["--reproduce-for", "60s"]);
    assert_failed_at_first(&ended);
    let case = case(&suite);
    assert_eq!(case["verdict"], "conditional", "{case:#}");
    assert!(causes(&case).contains(&"copies".to_owned()), "{case:#}");
}

#[test]
fn a_test_that_is_too_slow_under_little_cpu_has_cpu_named() {
    let slow = "before=$(date +%s%N); i=0; while test $i -lt 40000; do i=$((i+1)); done\n\
                test $(( ($(date +%s%N) - before) / 1000000 )) -lt 250 || bad=1";
    let suite = first_and_then(slow);
    let ended = suite.run(&["--reproduce-for", "60s"]);
    assert_failed_at_first(&ended);
    let case = case(&suite);
    let failed = |arm: &&Value| arm["control"] == true && arm["rate"]["failed"] != 0;
    if case["arms"]
        .as_array()
        .unwrap()
        .iter()
        .any(|arm| failed(&arm))
    {
        eprintln!("LEFT OUT: this host is so busy that the test is slow by itself");
        return;
    }
    let of_cpu = ["cpu_limit", "cpus", "noise", "copies"];
    let causes = causes(&case);
    let named = causes.iter().any(|cause| of_cpu.contains(&cause.as_str()));
    assert!(named, "{case:#}");
}

#[test]
fn two_hundred_different_failures_are_all_told_of_in_bounded_time() {
    let names: Vec<String> = (0..200).map(|number| format!("t{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let suite = Suite::new(&names, "echo \"assertion failed: no $1 here\" >&2; exit 1");
    let since = Instant::now();
    let ended = suite.run(&["--reproduce-for", "5s"]);
    let took = since.elapsed();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(took < Duration::from_secs(60), "{took:?}");
    let all = cases(&suite);
    let mut subjects: Vec<u64> = all
        .values()
        .filter_map(|case| case["subject"]["test"].as_u64())
        .collect();
    subjects.sort_unstable();
    subjects.dedup();
    assert_eq!(subjects.len(), 200, "each has its case");
    for case in all.values() {
        assert_eq!(case["stage"], "closed", "{case}");
        let untried = case["verdict"] == "not_tried" || case["verdict"] == "not_reproduced";
        let told = !case["remarks"].as_array().is_none_or(Vec::is_empty);
        assert!(told || !untried, "dropped without a line: {case}");
    }
    suite.assert_replays();
    suite.assert_nothing_left(&ended);
}

#[test]
fn a_case_that_needs_more_memory_than_there_is_ends() {
    let suite = Suite::new(
        &["a", "b"],
        // One process: of several, the kernel may end another than the one that takes the memory.
        "test $1 = b || awk 'BEGIN { s = \"x\"; while (length(s) < 300000000) s = s s }'",
    );
    let ended = suite.run(&["--memory", "128MiB", "--reproduce-for", "10s"]);
    let held = suite.events()[0]["budget"]["holds_memory"] == true;
    if !held {
        eprintln!("LEFT OUT: holding memory needs control groups and the right to use them");
        return;
    }
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let case = case(&suite);
    assert_eq!(case["symptom"]["kind"], "out_of_memory", "{case:#}");
    assert_eq!(case["stage"], "closed", "{case:#}");
    assert_eq!(suite.verdicts()["b"], "passed");
    suite.assert_nothing_left(&ended);
}

#[test]
fn a_try_that_damages_its_scratch_directory_says_so_and_the_next_gets_another_one() {
    let script = "ls \"$TMPDIR\" >/dev/null || exit 9\n\
                  rm -rf \"$TMPDIR\"; echo 'assertion failed: gone' >&2; exit 1";
    let suite = Suite::new(&["a"], script);
    let ended = suite.run(&["--reproduce-for", "20s"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let case = case(&suite);
    assert_eq!(case["verdict"], "always", "{case:#}");
    let ends = seen(&suite, "thread_ended");
    let said = |end: &Value| {
        end["message"]
            .as_str()
            .unwrap_or("")
            .contains("damaged its scratch")
    };
    let damaged = ends.iter().filter(|(_, end)| said(end)).count();
    assert!(damaged >= 3, "{ends:#?}");
    let lost = ends.iter().filter(|(_, end)| end["exit_code"] == 9);
    assert_eq!(lost.count(), 0, "a damaged directory was given to the next");
    suite.assert_nothing_left(&ended);
}

#[test]
fn who_stops_while_it_reproduces_has_the_results_of_the_suite() {
    let suite = first_and_then("");
    let running = suite.start(&["run", "--progress", "plain", "--events", "events"]);
    let tried = || suite.read("events").contains("try_case");
    wait_until("a try", tried);
    let since = Instant::now();
    running.signal(2);
    let ended = running.end();
    assert!(since.elapsed() < Duration::from_secs(20), "{ended:?}");
    assert_failed_at_first(&ended);
    assert!(
        suite.read("events").contains("\"ending\":\"complete\""),
        "{ended:?}"
    );
    assert!(!suite.read(".cohort/cases/EC-1/case.json").is_empty());
    suite.assert_nothing_left(&ended);
}

#[test]
fn killed_while_it_reproduces_the_case_is_gone_on_with_when_it_is_resumed() {
    // The suite waits for its last test, and the case has runs enough before it for that.
    let script = "case $1 in\n\
                  waits) while ! test -e go; do sleep 0.01; done;;\n\
                  bad) echo run >> tried; sleep 0.02; echo 'assertion failed: it broke' >&2; exit 3;;\n\
                  esac\n";
    let suite = Suite::new(&["bad", "waits"], script);
    let run = suite.start(&["run", "--events", "events", "--reproduce-for", "20s"]);
    wait_until("a try", || {
        suite.read("events").contains("\"command\":\"try_case\"")
            && suite.read("tried").lines().count() > 1
    });
    run.signal(9);
    let killed = run.end();
    suite.write("go", "");
    let before = suite.read("tried").lines().count();
    let resumed = suite.cohort(&["resume"]);
    assert_eq!(resumed.code, Some(1), "{resumed:?}");
    let kept: Value = serde_json::from_str(&suite.read(".cohort/cases/EC-1/case.json")).unwrap();
    let case = &kept["case"];
    assert_eq!(case["stage"], "closed", "{case:#}");
    let failed = |arm: &Value| arm["rate"]["failed"].as_u64().unwrap_or_default();
    let arms = case["arms"].as_array().into_iter().flatten();
    assert!(arms.map(failed).sum::<u64>() > 0, "{case:#}");
    assert!(suite.read("tried").lines().count() > before, "{resumed:?}");
    // The result stood, and it is the same case.
    assert_eq!(suite.read(".cohort/cases/EC-2/case.json"), "");
    assert!(resumed.stdout.contains("EC-1"), "{resumed:?}");
    suite.assert_nothing_left(&killed);
    suite.assert_nothing_left(&resumed);
    suite.assert_replays();
}

#[test]
fn a_flaky_test_of_cargo_is_tried_again_under_its_symptom() {
    let suite = Suite::empty();
    let manifest = "[package]\nname = 'flaky'\nversion = '0.1.0'\nedition = '2021'\n";
    suite.write("Cargo.toml", manifest);
    std::fs::create_dir(suite.root().join("src")).unwrap();
    suite.write(
        "src/lib.rs",
        "#[test] fn fine() {}\n\
         #[test] fn flaky() {\n\
             let first = !std::path::Path::new(\"ran\").exists();\n\
             std::fs::write(\"ran\", \"\").unwrap();\n\
             let number = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();\n\
             let odd = number.subsec_nanos() / 64 % 2;\n\
             assert_eq!(odd * u32::from(!first) + u32::from(first), 0);\n\
         }\n",
    );
    let ended = suite.run(&["--reproduce-for", "6s", "--", "cargo", "test", "--offline"]);
    assert_failed_at_first(&ended);
    let case = case(&suite);
    assert_eq!(case["symptom"]["class"], "rust panic", "{case:#}");
    let failed = |arm: &Value| arm["rate"]["failed"].as_u64().unwrap_or(0);
    let arms = case["arms"].as_array().unwrap();
    assert!(arms.iter().map(failed).sum::<u64>() > 0, "{case:#}");
    suite.assert_replays();
}

#[test]
fn a_test_that_fails_after_another_one_is_told_with_that_one() {
    let Some(pytest) = pytest() else { return };
    let suite = Suite::empty();
    let mut text = "STATE = []\ndef test_culprit(): STATE.append(1)\n".to_owned();
    for number in 0..6 {
        text.push_str(&format!("def test_other_{number}(): pass\n"));
    }
    text.push_str("def test_victim(): assert not STATE\n");
    suite.write("test_order.py", &text);
    let ended = suite.run(&[
        "--instances",
        "1",
        "--reproduce-for",
        "60s",
        "--",
        &pytest,
        "-p",
        "no:cacheprovider",
    ]);
    assert_failed_at_first(&ended);
    let case = case(&suite);
    assert_eq!(case["verdict"], "conditional", "{case:#}");
    let parts = &case["smallest"]["recipe"]["parts"];
    assert_eq!(parts, &serde_json::json!([{"before": 0}]), "{case:#}");
}

#[test]
fn a_try_whose_time_is_over_before_the_test_began_says_nothing_of_it() {
    let Some(pytest) = pytest() else { return };
    let suite = Suite::empty();
    suite.write(
        "test_late.py",
        "import os, time\n\
         if os.path.exists('ran'):\n\
         \x20   time.sleep(1000)\n\
         def test_it():\n\
         \x20   open('ran', 'w').close()\n\
         \x20   assert False\n",
    );
    let ended = run_pytest(&suite, &pytest, "25s");
    assert_failed_at_first(&ended);
    let killed = decisions(&suite, "kill_thread");
    let limited = |one: &&(u64, Value)| one.1["why"] == "stalled" || one.1["why"] == "timeout";
    assert!(killed.iter().any(|one| limited(&one)), "{ended:?}");
    for case in cases(&suite).values() {
        let kind = &case["symptom"]["kind"];
        assert!(kind != "timeout" && kind != "hang", "{case:#}");
    }
    suite.assert_nothing_left(&ended);
}

#[test]
fn a_test_that_depends_on_the_hash_seed_has_the_seed_named() {
    let Some(pytest) = pytest() else { return };
    let suite = Suite::empty();
    suite.write(
        "test_seed.py",
        "import os\n\
         def test_hash():\n\
         \x20   first = not os.path.exists('ran')\n\
         \x20   open('ran', 'w').close()\n\
         \x20   assert hash('cohort') % 4 and not first\n",
    );
    let ended = run_pytest(&suite, &pytest, "60s");
    assert_failed_at_first(&ended);
    let case = case(&suite);
    assert!(causes(&case).contains(&"seed".to_owned()), "{case:#}");
}
