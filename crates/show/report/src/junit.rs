//! The JUnit XML report: one test suite per group, one test case per test.
//!
//! A test that ran whole and named the tests within it is reported as those; it appears itself only
//! when it failed in a way that none of them accounts for. A test that passed at the second try is a
//! `flakyFailure` of a passed test case, as Maven Surefire writes it, with a property that says why.
//! Tests of pytest have the names that pytest's own `--junitxml` gives them.

use std::io::Write;
use std::time::Duration;

use cohort_model::{
    GroupId, Part, Subject, SuiteKind, TestCase, TestId, TestResult, ThreadEnd, ThreadId, Verdict,
};
use quick_junit::{
    NonSuccessKind, Property, Report, SerializeError, TestCase as Case, TestCaseStatus, TestRerun,
    TestSuite, XmlString,
};

use crate::case::verdict;
use crate::view::{View, stand_for};
use crate::{Outputs, sentence};

/// Why no report was written.
#[derive(Debug, thiserror::Error)]
#[error("write the JUnit report")]
pub struct Error(#[from] SerializeError);

/// Writes the report. Kept output stands with tests that did not pass.
///
/// # Errors
/// What the writer reports.
pub fn write(view: &View, outputs: Outputs<'_>, out: &mut dyn Write) -> Result<(), Error> {
    let command = view.start.as_ref().map(|start| start.command.join(" "));
    let mut report = Report::new(name(command.as_deref().unwrap_or("cohort")));
    report.set_time(Duration::from_micros(view.elapsed_us(view.at())));
    for suite in suites(view, outputs) {
        report.add_test_suite(suite);
    }
    report.serialize(out)?;
    Ok(())
}

fn suites(view: &View, outputs: Outputs<'_>) -> Vec<TestSuite> {
    let groups = (0..).map(GroupId).take(view.plan.groups.len());
    let mut suites: Vec<(TestSuite, Duration)> = groups
        .map(|group| (TestSuite::new(name(view.group_name(group))), Duration::ZERO))
        .collect();
    for (id, test) in (0..).map(TestId).zip(&view.plan.tests) {
        let Some((suite, time)) = suites.get_mut(test.group.index()) else {
            continue;
        };
        let once = view.result_once(id);
        let Some(result) = view.result(id).or(once.as_ref()) else {
            suite.add_test_case(not_run(view, test));
            continue;
        };
        let reporter = Reporter {
            view,
            outputs,
            test,
            result,
        };
        suite.add_test_cases(reporter.cases());
        *time += reporter.time().unwrap_or_default();
    }
    suites.retain(|(suite, _)| suite.tests > 0);
    suites
        .into_iter()
        .map(|(mut suite, time)| {
            suite.set_time(time);
            suite
        })
        .collect()
}

fn not_run(view: &View, test: &TestCase) -> Case {
    let mut case = case_of(view, test, TestCaseStatus::skipped());
    case.status
        .set_message("not run: the campaign ended before");
    case
}

fn case_of(view: &View, test: &TestCase, status: TestCaseStatus) -> Case {
    let is_pytest = (view.start.as_ref()).is_some_and(|start| start.suite == SuiteKind::Pytest);
    let (class, own) = if is_pytest {
        pytest_names(&test.name)
    } else {
        (view.group_name(test.group).to_owned(), test.name.clone())
    };
    let mut case = Case::new(name(&own), status);
    case.set_classname(name(&class));
    case
}

/// Class and name of a test by its node id: what `mangle_test_address` in pytest's `junitxml.py` makes
/// of it. Parameters, in brackets at the end, may hold anything.
fn pytest_names(id: &str) -> (String, String) {
    let (address, parameters) = id.split_at(id.find('[').unwrap_or(id.len()));
    let mut names: Vec<String> = address.split("::").map(str::to_owned).collect();
    let module = names[0].replace('/', ".");
    names[0] = module.strip_suffix(".py").unwrap_or(&module).to_owned();
    let own = names.pop().unwrap_or_default() + parameters;
    (names.join("."), own)
}

/// Writes one result.
struct Reporter<'a> {
    view: &'a View,
    outputs: Outputs<'a>,
    test: &'a TestCase,
    result: &'a TestResult,
}

impl Reporter<'_> {
    fn end(&self) -> Option<&ThreadEnd> {
        self.view.deciding_end(self.result)
    }

    fn time(&self) -> Option<Duration> {
        self.end()
            .map(|end| Duration::from_micros(end.usage.wall_us))
    }

    fn cases(&self) -> Vec<Case> {
        let parts = self.end().and_then(|end| end.parts.as_deref());
        let within = parts.unwrap_or_default().iter();
        let mut cases: Vec<Case> = within.map(|part| self.part(part)).collect();
        if !stand_for(parts, self.result.verdict) {
            cases.push(self.whole());
        }
        cases
    }

    fn part(&self, part: &Part) -> Case {
        let mut case = Case::new(name(part.name.trim()), status(part.verdict));
        case.set_classname(name(self.view.group_name(self.test.group)));
        if part.verdict.is_failure() {
            let verdict = sentence::verdict(part.verdict);
            case.status
                .set_message(text(&format!("{verdict} in {}", self.test.name)));
            self.add_output(&mut case);
            self.add_edge_cases(&mut case);
        }
        case
    }

    /// Names the edge cases of the test, each with its verdict in one sentence.
    fn add_edge_cases(&self, case: &mut Case) {
        let names = |test| self.view.test_name(test).to_owned();
        let own = Subject::Test(self.result.test);
        let cases = self.view.edge_cases.values();
        for edge_case in cases.filter(|it| it.subject == own) {
            let sentence = verdict::sentence(edge_case, &names);
            let value = format!("{}: {sentence}", edge_case.case);
            case.add_property(Property::new("edge_case", name(&value)));
        }
    }

    fn whole(&self) -> Case {
        let status = match self.view.broken(self.result.test) {
            Some(_) => TestCaseStatus::non_success(NonSuccessKind::Error),
            None => status(self.result.verdict),
        };
        let mut case = case_of(self.view, self.test, status);
        if let Some(time) = self.time() {
            case.set_time(time);
        }
        if self.result.verdict != Verdict::Passed
            && let Some(end) = self.end()
        {
            case.status.set_type(match end.verdict {
                Verdict::ExpectedFailure => "pytest.xfail",
                verdict => sentence::verdict(verdict),
            });
            case.status.set_message(text(&message(self.view, end)));
            self.add_output(&mut case);
        }
        if let Some(why) = self.view.broken(self.result.test) {
            case.status.set_type("cannot be run");
            case.status.set_description(text(why));
        }
        for thread in self.earlier() {
            if let Some(end) = self.view.thread_end(*thread) {
                case.status.add_rerun(self.rerun(end));
            }
        }
        if self.result.load_sensitive {
            let why = sentence::load_sensitive(self.view, self.result);
            case.add_property(Property::new("load_sensitive", why));
        }
        if self.result.memory_retried {
            case.add_property(Property::new("memory_retried", "true"));
        }
        self.add_edge_cases(&mut case);
        case
    }

    /// Executions before the one that decided.
    fn earlier(&self) -> &[ThreadId] {
        self.result
            .threads
            .split_last()
            .map_or(&[], |(_, earlier)| earlier)
    }

    fn rerun(&self, end: &ThreadEnd) -> TestRerun {
        let mut rerun = TestRerun::new(non_success(end.verdict));
        rerun.set_time(Duration::from_micros(end.usage.wall_us));
        rerun.set_type(sentence::verdict(end.verdict));
        rerun.set_message(text(&message(self.view, end)));
        if let Some(output) = (self.outputs)(end.thread) {
            if !output.stdout.is_empty() {
                rerun.set_system_out(text(&output.stdout));
            }
            if !output.stderr.is_empty() {
                rerun.set_system_err(text(&output.stderr));
            }
        }
        rerun
    }

    fn add_output(&self, case: &mut Case) {
        let Some(output) = self.end().and_then(|end| (self.outputs)(end.thread)) else {
            return;
        };
        if !output.stdout.is_empty() {
            case.set_system_out(text(&output.stdout));
        }
        if !output.stderr.is_empty() {
            case.set_system_err(text(&output.stderr));
        }
    }
}

/// `name` for an attribute, in which a reader would take a line end or a tab for a space (XML 1.0,
/// section 3.3.3).
pub(crate) fn name(name: &str) -> XmlString {
    let escaped = name.replace('\n', "\\n").replace('\r', "\\r");
    text(&escaped.replace('\t', "\\t"))
}

/// What XML 1.0 can hold of `text` (its section 2.2 knows two characters less than `XmlString`).
pub(crate) fn text(text: &str) -> XmlString {
    XmlString::new(text.replace(['\u{fffe}', '\u{ffff}'], ""))
}

/// Why it failed. What Cohort itself did to it comes first: its own words are those of its end.
fn message(view: &View, end: &ThreadEnd) -> String {
    let how = sentence::how(view, end);
    match (&end.message, view.kills.contains_key(&end.thread)) {
        (Some(said), true) => format!("{how}: {said}"),
        (Some(said), false) => said.clone(),
        (None, _) => how,
    }
}

fn status(verdict: Verdict) -> TestCaseStatus {
    match verdict {
        Verdict::Passed => TestCaseStatus::success(),
        // As pytest writes what it calls xfailed.
        Verdict::ExpectedFailure | Verdict::Skipped => TestCaseStatus::skipped(),
        other => TestCaseStatus::non_success(non_success(other)),
    }
}

/// A failure is what the test itself reported; an error is what happened to it.
fn non_success(verdict: Verdict) -> NonSuccessKind {
    match verdict {
        Verdict::Failed => NonSuccessKind::Failure,
        _ => NonSuccessKind::Error,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Output;
    use crate::scenario::{self, Scenario};

    fn xml(view: &View) -> String {
        let outputs = |thread: ThreadId| {
            (thread != ThreadId(99)).then(|| Output {
                stdout: format!("\u{1b}[31mout of {thread}\u{1b}[0m\u{0}\u{ffff} ]]> <&"),
                stderr: String::new(),
            })
        };
        let mut out = Vec::new();
        write(view, &outputs, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_mixed_campaign() {
        let xml = xml(&scenario::view(&scenario::mixed()));
        let lines: Vec<&str> = xml.lines().collect();
        assert_eq!(
            lines,
            [
                r#"<?xml version="1.0" encoding="UTF-8"?>"#,
                r#"<testsuites name="cargo test" tests="7" skipped="2" failures="1" errors="1" time="11.000">"#,
                r#"    <testsuite name="demo" tests="7" skipped="2" errors="1" failures="1" time="9.000">"#,
                r#"        <testcase name="parse::ok" classname="demo" time="1.000"/>"#,
                r#"        <testcase name="parse::bad" classname="demo" time="2.000">"#,
                r#"            <failure message="assertion failed: 1 == 2" type="failed"/>"#,
                "            <system-out>out of t1 ]]&gt; &lt;&amp;</system-out>",
                "        </testcase>",
                r#"        <testcase name="net::crowded" classname="demo" time="1.000">"#,
                "            <properties>",
                r#"                <property name="load_sensitive" value="failed with 5 threads beside it, passed alone"/>"#,
                "            </properties>",
                r#"            <flakyFailure time="1.000" message="assertion failed: 1 == 2" type="failed">"#,
                "                <system-out>out of t3 ]]&gt; &lt;&amp;</system-out>",
                "            </flakyFailure>",
                "        </testcase>",
                r#"        <testcase name="net::crash" classname="demo" time="1.000">"#,
                r#"            <error message="SIGSEGV (signal 11), 1.00 s" type="crashed"/>"#,
                "            <system-out>out of t2 ]]&gt; &lt;&amp;</system-out>",
                "        </testcase>",
                r#"        <testcase name="big" classname="demo" time="4.000">"#,
                "            <properties>",
                r#"                <property name="memory_retried" value="true"/>"#,
                "            </properties>",
                r#"            <flakyError time="1.000" message="killed at 256 MiB, 1.00 s" type="out of memory">"#,
                "                <system-out>out of t5 ]]&gt; &lt;&amp;</system-out>",
                "            </flakyError>",
                "        </testcase>",
                r#"        <testcase name="later" classname="demo">"#,
                "            <skipped/>",
                "        </testcase>",
                r#"        <testcase name="never" classname="demo">"#,
                r#"            <skipped message="not run: the campaign ended before"/>"#,
                "        </testcase>",
                "    </testsuite>",
                "</testsuites>",
            ]
        );
    }

    #[test]
    fn parts_stand_for_the_test_that_ran_them() {
        let parts = [
            ("a (line 1)", Verdict::Passed),
            ("b (line 9)", Verdict::Failed),
        ];
        let xml = xml(&Scenario::new(&["doc tests"])
            .whole(0, Verdict::Failed, &parts)
            .view());
        assert!(
            xml.contains(r#"tests="2" skipped="0" errors="0" failures="1""#),
            "{xml}"
        );
        assert!(xml.contains(r#"message="failed in doc tests""#), "{xml}");
        assert!(!xml.contains(r#"name="doc tests""#), "{xml}");
    }

    #[test]
    fn a_whole_test_that_fails_beyond_its_parts_is_reported_itself() {
        let parts = [("a (line 1)", Verdict::Passed)];
        let xml = xml(&Scenario::new(&["doc tests"])
            .whole(0, Verdict::Crashed, &parts)
            .view());
        assert!(
            xml.contains(r#"tests="2" skipped="0" errors="1" failures="0""#),
            "{xml}"
        );
        assert!(xml.contains(r#"name="doc tests""#), "{xml}");
    }

    #[test]
    fn line_ends_and_tabs_stay_in_names() {
        let xml = xml(&Scenario::new(&["a\nb\tc"])
            .run(0, Verdict::Passed, 1)
            .view());
        assert!(xml.contains(r#"<testcase name="a\nb\tc" "#), "{xml}");
    }

    #[test]
    fn tests_of_pytest_have_pytests_own_names() {
        let tests = [
            (
                "tests/test_a.py::TestX::test_y[p::q/r.py]",
                "tests.test_a.TestX",
                "test_y[p::q/r.py]",
            ),
            ("test_b.py::test_z", "test_b", "test_z"),
            ("src/doc.py::src.doc.f", "src.doc", "src.doc.f"),
            ("tests/test_c.py", "", "tests.test_c"),
        ];
        let mut scenario = Scenario::new(&tests.map(|(id, _, _)| id)).run(0, Verdict::Passed, 1);
        if let cohort_model::Record::Started(start) = &mut scenario.records[0] {
            start.suite = SuiteKind::Pytest;
        }
        let xml = xml(&scenario.view());
        for (_, class, name) in tests {
            let written = format!(r#"<testcase name="{name}" classname="{class}""#);
            assert!(xml.contains(&written), "no {written} in {xml}");
        }
    }

    proptest! {
        #[test]
        fn any_name_gives_xml_that_can_be_read(name in any::<String>()) {
            let xml = xml(&Scenario::new(&[&name]).run(0, Verdict::Failed, 1).view());
            let report = Report::deserialize_from_str(&xml);
            prop_assert!(report.is_ok(), "{xml}");
        }
    }
}
