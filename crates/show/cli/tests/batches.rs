//! A try is several runs, one after the other: seen in what the runs themselves leave, and in the record.
//!
//! The test on pytest needs an interpreter that has it: `COHORT_TEST_PYTHON`. Without one it says so and
//! leaves itself out.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Suite, pytest};
use serde_json::Value;

/// Every try that has ended: its decision and its end.
fn tries(suite: &Suite) -> Vec<(Value, Value)> {
    let (mut begun, mut stopped) = (BTreeMap::new(), BTreeSet::new());
    let mut ended: Vec<(Value, Value)> = Vec::new();
    for event in suite.events() {
        for seen in event["observations"].as_array().into_iter().flatten() {
            let thread = seen["thread"].as_u64().unwrap_or(u64::MAX);
            if seen["seen"] == "thread_ended"
                && let Some(decision) = begun.remove(&thread)
            {
                ended.push((decision, seen.clone()));
            }
        }
        for decision in event["decisions"].as_array().into_iter().flatten() {
            let thread = decision["thread"].as_u64().unwrap_or(u64::MAX);
            if decision["command"] == "try_case" {
                begun.insert(thread, decision.clone());
            } else if decision["why"] == "interrupted" {
                stopped.insert(thread);
            }
        }
    }
    for (_, end) in &mut ended {
        let is_stopped = stopped.contains(&number(&end["thread"]));
        end["stopped"] = Value::Bool(is_stopped && end["verdict"] != "passed");
    }
    ended
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// Runs that a try made and that tell something: the last one does not, when it was ended for others' sake.
fn runs((_, end): &(Value, Value)) -> u64 {
    u64::from(end["stopped"] != true) + number(&end["passed_before"])
}

fn is_plain((decision, _): &(Value, Value)) -> bool {
    let is_empty = |name: &str| {
        let all = decision["recipe"][name].as_array();
        all.is_none_or(Vec::is_empty)
    };
    is_empty("conditions") && is_empty("parts")
}

/// The last told of the only case that failed.
fn failed_case(suite: &Suite) -> Value {
    let events = suite.events();
    let all = events.iter().rev();
    let mut all = all.flat_map(|event| event["cases"].as_array().into_iter().flatten());
    all.find(|case| !case["symptom"].is_null())
        .cloned()
        .unwrap_or_default()
}

#[test]
fn every_run_of_a_try_is_counted() {
    // Fails once, in its 60th run, whichever try that is in.
    let script = "echo run >> runs\n\
                  if test \"$(wc -l < runs)\" -ge 60 && mkdir once 2>/dev/null; then\n\
                  echo 'assertion failed: it broke' >&2; exit 3; fi\n";
    let suite = Suite::new(&["a"], script);
    let ended = suite.cohort(&["run", "--stress", "a", "--for", "6s", "--events", "events"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let all = tries(&suite);
    let batched = all.iter().filter(|one| number(&one.1["passed_before"]) > 0);
    assert!(batched.count() > 0, "no try made several runs: {all:#?}");
    // One copy of a test that runs beside others is a run of the test, but no run of its own.
    let copied = |one: &&(Value, Value)| one.0["recipe"].to_string().contains("copies");
    let told: u64 = all.iter().filter(|one| !copied(one)).map(runs).sum();
    let made = suite.read("runs").lines().count() as u64;
    assert!(told <= made, "{told} runs are told of and {made} were made");
    let case = failed_case(&suite);
    let message = case["symptom"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("it broke"), "{case:#}");
    let arms = case["arms"].as_array().unwrap();
    let control = arms.iter().find(|arm| arm["control"] == true).unwrap();
    let plain: u64 = all.iter().filter(|one| is_plain(one)).map(runs).sum();
    assert_eq!(number(&control["rate"]["runs"]), plain, "{case:#}");
    suite.assert_replays();
    suite.assert_nothing_left(&ended);
}

#[test]
fn what_a_try_leaves_lying_costs_it_no_instance() {
    let script = "touch \"$TMPDIR/file\"; mkdir -p \"$TMPDIR/a/b\"; ln -s /nowhere \"$TMPDIR/link\"\n\
                  echo 'assertion failed: it broke' >&2; exit 3\n";
    let suite = Suite::new(&["a"], script);
    let ended = suite.run(&["--reproduce-for", "20s"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(tries(&suite).len() > 2, "{ended:?}");
    for (decision, end) in tries(&suite) {
        let said = end["message"].as_str().unwrap_or_default();
        assert!(!said.contains("damaged"), "{decision:#} {end:#}");
    }
}

#[test]
fn a_run_that_stands_still_ends_its_try_alone() {
    // The 30th run hangs.
    let script = "echo run >> runs\n\
                  if test \"$(wc -l < runs)\" -ge 30 && mkdir once 2>/dev/null; then exec sleep 1000; fi\n";
    let suite = Suite::new(&["a"], script);
    let ended = suite.cohort(&["run", "--stress", "a", "--for", "20s", "--events", "events"]);
    let all = tries(&suite);
    let is_hung = |one: &&(Value, Value)| {
        let kind = &one.1["symptom"]["kind"];
        kind == "timeout" || kind == "hang"
    };
    // (What is set on purpose may slow others down so much.)
    assert!(all.iter().any(|one| is_hung(&one)), "{ended:?} {all:#?}");
    let told: u64 = all.iter().map(runs).sum();
    assert!(
        told > 60,
        "the rest of the time went into the hang: {told} runs"
    );
    suite.assert_nothing_left(&ended);
}

#[test]
fn of_failures_at_once_each_is_tried_before_any_is_tried_again() {
    let names: Vec<String> = (0..12).map(|number| format!("t{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let suite = Suite::new(&names, "echo \"assertion failed: no $1 here\" >&2; exit 1");
    let ended = suite.run(&["--reproduce-for", "10s"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let (mut known, mut tried) = (BTreeSet::new(), BTreeSet::new());
    let mut again = 0;
    for event in suite.events() {
        for decision in event["decisions"].as_array().into_iter().flatten() {
            if decision["command"] != "try_case" {
                continue;
            }
            let case = number(&decision["case"]);
            if !tried.insert(case) {
                let untried = known.difference(&tried).count();
                assert_eq!(untried, 0, "{case} is tried again before these: {known:?}");
                again += 1;
            }
        }
        for case in event["cases"].as_array().into_iter().flatten() {
            known.insert(number(&case["case"]));
        }
    }
    assert_eq!(tried.len(), 12, "{ended:?}");
    assert!(again > 0);
}

#[test]
fn runs_of_pytest_are_forked_from_one_interpreter_and_know_nothing_of_each_other() {
    let Some(pytest) = pytest() else { return };
    let suite = Suite::empty();
    suite.write(
        "test_forked.py",
        "import os, sys\n\
         MARK = []\n\
         def test_it(tmp_path, capsys):\n\
         \x20   assert not MARK and not list(tmp_path.iterdir()), 'not its own'\n\
         \x20   MARK.append(1)\n\
         \x20   (tmp_path / 'litter').write_text('x')\n\
         \x20   print('run', os.getpid())\n\
         \x20   with open('runs', 'a') as file:\n\
         \x20       file.write('%d %d %d\\n' % (os.getpid(), os.getppid(), hash('cohort')))\n\
         \x20   if sum(1 for _ in open('runs')) >= 25 and not os.path.exists('once'):\n\
         \x20       os.mkdir('once')\n\
         \x20       assert False, 'it broke'\n",
    );
    let words = [
        "run", "--events", "events", "--stress", "test_it", "--for", "30s", "--",
    ];
    let ended = suite.cohort(&[&words[..], &[&pytest, "-p", "no:cacheprovider"]].concat());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let case = failed_case(&suite);
    let message = case["symptom"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("it broke"), "{case:#}");
    // From one interpreter: one parent, one hash seed, processes of their own.
    let mut forked: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for line in suite.read("runs").lines() {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let run = (words[0].clone(), words[2].clone());
        forked.entry(words[1].clone()).or_default().push(run);
    }
    let most = forked.values().max_by_key(|runs| runs.len()).unwrap();
    assert!(most.len() > 3, "{forked:?}");
    let processes: BTreeSet<_> = most.iter().map(|run| &run.0).collect();
    let seeds: BTreeSet<_> = most.iter().map(|run| &run.1).collect();
    assert_eq!((processes.len(), seeds.len()), (most.len(), 1));
    let all = tries(&suite);
    let plain: u64 = all.iter().filter(|one| is_plain(one)).map(runs).sum();
    let arms = case["arms"].as_array().unwrap();
    let control = arms.iter().find(|arm| arm["control"] == true).unwrap();
    assert_eq!(number(&control["rate"]["runs"]), plain, "{case:#}");
    suite.assert_replays();
    suite.assert_nothing_left(&ended);
}
