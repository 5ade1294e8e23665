//! The real program runs suites on real pytest; what pytest itself writes at the end of a session is
//! compared with what it writes alone.
//!
//! Needs an interpreter that has pytest, pytest-cov and pytest-xdist: `COHORT_TEST_PYTHON`. Without one
//! each test says so and leaves itself out.

mod common;

use std::process::Command;

use common::{Ended, Suite, pytest};

/// `cohort run -- pytest WORDS`.
fn run(suite: &Suite, pytest: &str, words: &[&str]) -> Ended {
    suite.run(&[&["--", pytest, "-p", "no:cacheprovider"], words].concat())
}

/// pytest alone.
fn alone(suite: &Suite, pytest: &str, words: &[&str]) -> Ended {
    let mut command = Command::new(pytest);
    command.args(["-p", "no:cacheprovider"]).args(words);
    suite.spawn(command).end()
}

/// `classname`, `name` and what is within each test case of a JUnit report, in order.
fn cases(suite: &Suite, name: &str) -> Vec<String> {
    let xml = suite.read(name);
    let cases = xml.split("<testcase ").skip(1);
    cases
        .map(|case| {
            let case = case.split("</testsuite>").next().unwrap();
            let attribute = |name: &str| {
                let after = case.split(&format!("{name}=\"")).nth(1);
                after.and_then(|rest| rest.split('"').next()).unwrap_or("")
            };
            let tags = ["<failure", "<skipped", "<property "];
            let within: Vec<&str> = tags.into_iter().filter(|tag| case.contains(tag)).collect();
            format!(
                "{} {} {within:?}",
                attribute("classname"),
                attribute(" name")
            )
        })
        .collect()
}

const OUTCOMES: &str = "\
import pytest

@pytest.mark.parametrize('number', range(20))
def test_number(number):
    assert number != 7

@pytest.mark.skip(reason='not now')
def test_skipped(): pass

@pytest.mark.xfail(reason='known')
def test_expected(): assert 0

def test_property(record_property):
    record_property('key', 'value')

class TestInside:
    @pytest.mark.parametrize('text', ['a::b/c.py', 'line\\nline'])
    def test_text(self, text): pass
";

#[test]
fn pytests_own_reports_are_as_without_cohort() {
    let Some(pytest) = pytest() else { return };
    let suite = Suite::empty();
    suite.write("test_outcomes.py", OUTCOMES);
    suite.write(
        "conftest.py",
        "def pytest_sessionfinish(session, exitstatus):\n\
         \x20   open('finished', 'a').write('%d\\n' % exitstatus)\n\
         def pytest_terminal_summary(terminalreporter):\n\
         \x20   count = len(terminalreporter.stats['passed'])\n\
         \x20   terminalreporter.write_line('conftest counts %d' % count)\n",
    );
    let ended = run(
        &suite,
        &pytest,
        &["--junit-xml=ours.xml", "-o", "junit_family=xunit1", "-rs"],
    );
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(suite.read("finished"), "1\n");
    assert!(ended.stdout.contains("conftest counts 22"), "{ended:?}");
    assert!(
        ended.stdout.contains("SKIPPED [1] test_outcomes.py"),
        "{ended:?}"
    );
    let words = ["--junit-xml=alone.xml", "-o", "junit_family=xunit1"];
    alone(&suite, &pytest, &words);
    assert_eq!(cases(&suite, "ours.xml"), cases(&suite, "alone.xml"));
    assert_eq!(cases(&suite, "ours.xml").len(), 25);
}

#[test]
fn a_worker_that_died_is_a_failure_in_pytests_report_too() {
    let Some(pytest) = pytest() else { return };
    let suite = Suite::empty();
    suite.write(
        "test_dies.py",
        "import os\ndef test_dies(): os._exit(3)\ndef test_other(): pass\n",
    );
    let ended = run(&suite, &pytest, &["--junit-xml=ours.xml"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let cases = cases(&suite, "ours.xml");
    assert!(
        cases.contains(&"test_dies test_dies [\"<failure\"]".to_owned()),
        "{cases:?}"
    );
    assert!(suite.read("ours.xml").contains("exited with code 3"));
}

#[test]
fn the_failed_ones_are_run_again_on_request() {
    let Some(pytest) = pytest() else { return };
    let suite = Suite::empty();
    suite.write("test_outcomes.py", OUTCOMES);
    let ended = suite.run(&["--", &pytest]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let ended = suite.run(&["--", &pytest, "--lf"]);
    assert!(ended.stdout.contains("1 test: 1 failed"), "{ended:?}");
    suite.write("test_outcomes.py", &OUTCOMES.replace("number != 7", "True"));
    let ended = suite.run(&["--", &pytest, "--lf"]);
    assert!(ended.stdout.contains("1 test: 1 passed"), "{ended:?}");
    let ended = suite.run(&["--", &pytest, "--lf"]);
    assert!(
        ended
            .stdout
            .contains("25 tests: 23 passed, 1 failed as expected, 1 skipped"),
        "{ended:?}"
    );
}

#[test]
fn coverage_is_that_of_all_workers() {
    let Some(pytest) = pytest() else { return };
    for conftest in ["", "opened = open('side', 'w')\n"] {
        let suite = Suite::empty();
        suite.write("conftest.py", conftest);
        suite.write(
            "covered.py",
            "def a():\n    return 1\ndef b():\n    return 2\ndef c():\n    return 3\n",
        );
        suite.write(
            "test_covered.py",
            "import covered, time\n\
             def test_a():\n    time.sleep(0.2)\n    covered.a()\n\
             def test_b():\n    time.sleep(0.2)\n    covered.b()\n",
        );
        let words = ["--cov=covered", "--cov-report=term-missing"];
        let ended = run(&suite, &pytest, &words);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let line = |ended: &Ended| {
            let line = ended
                .stdout
                .lines()
                .find(|line| line.starts_with("covered.py"));
            line.map(str::to_owned)
        };
        assert_eq!(
            line(&ended),
            line(&alone(&suite, &pytest, &words)),
            "{ended:?}"
        );
        let ended = run(&suite, &pytest, &["--cov=covered", "--cov-fail-under=100"]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stdout.contains("no test failed"), "{ended:?}");
    }
}

#[test]
fn it_stops_at_the_first_failure_when_pytest_would() {
    let Some(pytest) = pytest() else { return };
    let suite = Suite::empty();
    let tests = (0..200).map(|number| {
        format!("def test_{number}():\n    time.sleep(0.05)\n    assert {number} != 3\n")
    });
    suite.write(
        "test_many.py",
        &("import time\n".to_owned() + &tests.collect::<String>()),
    );
    let ended = run(&suite, &pytest, &["-x"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stdout.contains("stopped after the first failure"),
        "{ended:?}"
    );
    assert!(ended.stdout.contains("not run"), "{ended:?}");
    let replayed = suite.cohort(&["replay"]);
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
}

#[test]
fn what_cannot_be_collected_fails_while_the_rest_runs() {
    let Some(pytest) = pytest() else { return };
    let suite = Suite::empty();
    suite.write("test_broken.py", "import no_such_module\n");
    suite.write("test_whole.py", "def test_whole(): pass\n");
    let ended = run(&suite, &pytest, &["--continue-on-collection-errors"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stdout.contains("2 tests: 1 failed, 1 passed"),
        "{ended:?}"
    );
    assert!(
        ended.stdout.contains("No module named 'no_such_module'"),
        "{ended:?}"
    );
    let ended = run(&suite, &pytest, &[]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
}

#[test]
fn tests_that_belong_together_stay_together() {
    let Some(pytest) = pytest() else { return };
    let suite = Suite::empty();
    let text = "import os, time, pytest\n\
        @pytest.mark.parametrize('number', range(12))\n\
        def test_n(number):\n\
        \x20   time.sleep(0.03)\n\
        \x20   open('pids-' + __name__, 'a').write('%d\\n' % os.getpid())\n";
    for name in ["test_a.py", "test_b.py"] {
        suite.write(name, text);
    }
    let ended = run(&suite, &pytest, &["-n4", "--dist", "loadfile"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for name in ["pids-test_a", "pids-test_b"] {
        let pids = suite.read(name);
        let mut pids: Vec<&str> = pids.lines().collect();
        assert_eq!(pids.len(), 12);
        pids.dedup();
        assert_eq!(pids.len(), 1, "{name}: {pids:?}");
    }
}

#[test]
fn instances_that_are_costly_to_open_are_few_while_little_is_left_to_do() {
    let Some(pytest) = pytest() else { return };
    let suite = Suite::empty();
    suite.write(
        "conftest.py",
        "import time\n\
         opened = open('side', 'w')\n\
         while time.process_time() < 0.5: pass\n",
    );
    let tests = (0..40).map(|number| format!("def test_{number}(): time.sleep(0.01)\n"));
    suite.write(
        "test_many.py",
        &("import time\n".to_owned() + &tests.collect::<String>()),
    );
    let ended = run(&suite, &pytest, &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let events = suite.events();
    let decisions = events
        .iter()
        .flat_map(|event| event["decisions"].as_array())
        .flatten();
    let opened = decisions
        .filter(|decision| decision["command"] == "open_instance")
        .count();
    let cores = events[0]["budget"]["cores"].as_f64().unwrap();
    assert!(
        opened as f64 <= 2.0 * cores.ceil(),
        "{opened} instances on {cores} cores"
    );
    assert!(!ended.stdout.contains("memory leak"), "{ended:?}");
}

#[test]
fn what_is_no_run_of_tests_is_passed_on() {
    let Some(pytest) = pytest() else { return };
    let suite = Suite::empty();
    suite.write("test_one.py", "def test_one(): pass\n");
    let ended = run(&suite, &pytest, &["--collect-only", "-q"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("test_one.py::test_one"), "{ended:?}");
}

#[test]
fn uncaptured_output_is_shown() {
    let Some(pytest) = pytest() else { return };
    let suite = Suite::empty();
    suite.write("test_says.py", "def test_says(): print('said aloud')\n");
    let ended = run(&suite, &pytest, &["-s"]);
    assert!(ended.stdout.contains("    said aloud\n"), "{ended:?}");
}

/// Fails in a crowd only, or always, in the process that ran it before.
const STATEFUL: &str = "\
import time, pytest
state = []

def test_first_use():
    time.sleep(0.3)
    first = not state
    state.append(1)
    assert not first, 'fails on first use'

@pytest.mark.parametrize('number', range(30))
def test_other(number): time.sleep(0.3)
";

#[test]
fn a_failure_is_no_success_because_its_process_remembers_it() {
    let Some(pytest) = pytest() else { return };
    let suite = Suite::empty();
    suite.write("test_stateful.py", STATEFUL);
    for _ in 0..2 {
        let ended = run(&suite, &pytest, &[]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stdout.contains("fails on first use"), "{ended:?}");
    }
}

#[test]
fn the_garbage_collector_of_a_worker_is_as_in_plain_pytest() {
    let Some(pytest) = pytest() else { return };
    let suite = Suite::empty();
    suite.write(
        "test_garbage.py",
        "import gc, weakref\n\
         class Node: pass\n\
         node = Node(); node.me = node; alive = weakref.ref(node)\n\
         def test_collected():\n\
         \x20   global node\n\
         \x20   del node\n\
         \x20   gc.collect()\n\
         \x20   assert alive() is None\n\
         \x20   assert gc.get_freeze_count() == 0\n",
    );
    let ended = run(&suite, &pytest, &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn coverage_of_everything_is_that_of_the_suite() {
    let Some(pytest) = pytest() else { return };
    let suite = Suite::empty();
    suite.write("test_one.py", "def test_one(): pass\n");
    let total = |ended: &Ended| {
        let line = ended.stdout.lines().find(|line| line.starts_with("TOTAL"));
        line.map(str::to_owned)
    };
    let ended = run(&suite, &pytest, &["--cov"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let expected = total(&alone(&suite, &pytest, &["--cov"]));
    assert!(expected.is_some());
    assert_eq!(total(&ended), expected, "{ended:?}");
}

#[test]
fn a_test_that_stops_the_session_is_named_and_the_session_ends() {
    let Some(pytest) = pytest() else { return };
    let suite = Suite::empty();
    suite.write(
        "test_stops.py",
        "import pytest, time\n\
         def test_stops(): pytest.exit('enough')\n\
         @pytest.mark.parametrize('number', range(20))\n\
         def test_other(number): time.sleep(1)\n",
    );
    let ended = run(&suite, &pytest, &["--junit-xml=junit.xml"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended
            .stdout
            .contains("test_stops.py::test_stops stopped the run: Exit: enough"),
        "{ended:?}"
    );
    let junit = suite.read("junit.xml");
    assert!(junit.ends_with("</testsuites>"), "{junit} {ended:?}");
}

#[test]
fn stepwise_goes_on_where_it_stopped() {
    let Some(pytest) = pytest() else { return };
    let suite = Suite::empty();
    let text = |good: bool| {
        let tests = (0..6).map(|number| {
            let holds = if good || number != 3 { "True" } else { "False" };
            format!("def test_{number}(): assert {holds}\n")
        });
        tests.collect::<String>()
    };
    suite.write("test_steps.py", &text(false));
    for _ in 0..2 {
        let ended = suite.run(&["--", &pytest, "--sw"]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stdout.contains("1 failed"), "{ended:?}");
    }
    suite.write("test_steps.py", &text(true));
    let ended = suite.run(&["--", &pytest, "--sw"]);
    assert!(ended.stdout.contains("3 tests: 3 passed"), "{ended:?}");
}

#[test]
fn without_a_terminal_reporter_and_with_words_of_a_plugin() {
    let Some(pytest) = pytest() else { return };
    let suite = Suite::empty();
    suite.write("test_one.py", "def test_one(): pass\n");
    let ended = run(&suite, &pytest, &["-p", "no:terminal"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    suite.write(
        "conftest.py",
        "def pytest_report_teststatus(report, config):\n\
         \x20   if report.when == 'call' and report.passed: return 'great', 'G', 'GREAT'\n",
    );
    let ended = run(&suite, &pytest, &[]);
    assert!(ended.stdout.contains("1 test: 1 passed"), "{ended:?}");
}
