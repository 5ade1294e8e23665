use cohort_model::{
    At, Ending, Exit, InstanceId, Record, ServiceCommand, ServiceDecision, ServiceReason,
    ServiceSeen, ThreadId, ThresholdTotal,
};

use super::scenario::leaking;
use super::*;

fn view() -> ServiceView {
    let mut view = ServiceView::default();
    leaking().iter().for_each(|record| view.apply(record));
    view
}

#[test]
fn the_summary_says_what_where_and_why() {
    let view = view();
    let summary = ServiceSummary {
        view: &view,
        directory: ".cohort/campaigns/1",
        running: false,
        width: 100,
        color: false,
    };
    let mut out = Vec::new();
    summary.write(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let expected = "\
memory leak      POST /cart  i1  since 1 s, told at 4 s
                 memory grows by 2.1 MiB/s; calls of POST /cart explain it: 41 KiB each
                 | anon 20 MiB -> 90 MiB
endpoints            calls  errors      p50      p95      p99
                       800      10   1.0 ms   4.0 ms    90 ms  POST /cart
instances            calls  errors      p50      p95      p99
                       400       5   1.0 ms   4.0 ms    90 ms  i0  general  1 core, 512 MiB  1 crash
                       400       5   1.0 ms   4.0 ms    90 ms  i1  watching POST /cart: memory leak  1 core, 512 MiB
check failed     4 of 400  status is 200
trend            time_in_cart  avg 12 ms, count 40
handed over      1 thread to better suited instances; pause p50 640 us, p99 640 us
adapted          1 change: 0 kept, 1 undone, 0 unclear
driver           900 ms of CPU, itself late by 300 us (p99)
record           .cohort/campaigns/1
pictures         .cohort/campaigns/1/report.html
found            1 fault; 1 of 40 iterations failed; 800 calls and 40 iterations, 2 without an answer on 2 instances in 16.0 s
";
    assert_eq!(text, expected);
}

#[test]
fn lines_come_when_something_happens_and_now_and_then() {
    let mut view = ServiceView::default();
    let mut lines = Lines::new(false);
    let mut said = Vec::new();
    for record in leaking() {
        view.apply(&record);
        said.extend(lines.after(&view, &record));
    }
    let expected = [
        "starting         2 instances, 2 cores and 1 GiB for all",
        "ready            i0  after 120 ms",
        "ready            i1  after 140 ms",
        "memory leak      i1  memory grows by 2.1 MiB/s; calls of POST /cart explain it: 41 KiB each",
        "specialized      i1  watching POST /cart: memory leak",
        "exited           i0  ended by signal 6 after 5.00 s; it is started again",
        "running          16.0 s: 2 threads on 1 instance, 800 calls, 2 without an answer, 1 fault",
    ];
    assert_eq!(said, expected);
}

#[test]
fn it_is_said_what_goes_on_from_the_first_start_to_the_last_end() {
    let mut view = ServiceView::default();
    let mut said = vec![view.doing()];
    let mut apply = |record: &Record| {
        view.apply(record);
        if said.last() != Some(&view.doing()) {
            said.push(view.doing());
        }
    };
    let mut records = leaking();
    let end = records.pop().unwrap();
    let at = At(17_000_000);
    records.iter().for_each(&mut apply);
    let threads = vec![ThreadId(0), ThreadId(1)];
    let seen = vec![ServiceSeen::ThreadsEnded { threads }];
    apply(&Record::ServiceSeen { at, seen });
    let close = |instance| ServiceDecision {
        command: ServiceCommand::Close { instance },
        reason: ServiceReason::Begin,
        change: None,
    };
    apply(&Record::ServiceDecided {
        at,
        cases: Vec::new(),
        findings: Vec::new(),
        areas: Vec::new(),
        changes: Vec::new(),
        decisions: vec![close(InstanceId(0)), close(InstanceId(1))],
    });
    for instance in [InstanceId(1), InstanceId(0)] {
        let gone = ServiceSeen::InstanceExited {
            instance,
            exit: Exit::Asked,
            lived_us: 0,
            last_lines: Vec::new(),
            calls: Vec::new(),
            again: false,
        };
        let seen = vec![gone];
        apply(&Record::ServiceSeen { at, seen });
    }
    apply(&end);
    let expected = [
        "0 of 0 instances ready, no thread yet",
        "0 of 2 instances ready, no thread yet",
        "2 threads on 2 instances",
        "2 threads on 1 instance",
        "no thread on 1 instance",
        "ending 2 instances",
        "ended 1 of 2 instances",
        "ended 2 of 2 instances",
    ];
    assert_eq!(said, expected);
}

fn xml(view: &ServiceView) -> Vec<String> {
    let mut out = Vec::new();
    junit(view, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    quick_junit::Report::deserialize_from_str(&text).unwrap();
    text.lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn junit_has_a_case_for_each_fault_threshold_and_check() {
    let mut view = view();
    let totals = view.totals.as_mut().unwrap();
    for (expression, held) in [("p(95)<500", false), ("p(50)<500", true)] {
        totals.thresholds.push(ThresholdTotal {
            metric: "http_req_duration{kind:item}".to_owned(),
            expression: expression.to_owned(),
            value: Some(512.7),
            held,
        });
    }
    view.failed_iterations = 0;
    let expected = [
        r#"<?xml version="1.0" encoding="UTF-8"?>"#,
        r#"<testsuites name="cohort" tests="5" skipped="0" failures="2" errors="0" time="16.000">"#,
        r#"<testsuite name="campaign" tests="1" skipped="0" errors="0" failures="0">"#,
        r#"<testcase name="the campaign came to its end" classname="campaign" time="16.000"/>"#,
        "</testsuite>",
        r#"<testsuite name="faults" tests="1" skipped="0" errors="0" failures="1">"#,
        r#"<testcase name="memory leak: POST /cart" classname="faults">"#,
        r#"<failure message="memory grows by 2.1 MiB/s; calls of POST /cart explain it: 41 KiB each" type="memory leak">i1, since 1 s"#,
        r#"anon 20 MiB -&gt; 90 MiB</failure>"#,
        "</testcase>",
        "</testsuite>",
        r#"<testsuite name="thresholds" tests="2" skipped="0" errors="0" failures="1">"#,
        r#"<testcase name="http_req_duration{kind:item} p(95)&lt;500" classname="thresholds">"#,
        "<properties>",
        r#"<property name="measured" value="513"/>"#,
        "</properties>",
        r#"<failure message="513 was measured"/>"#,
        "</testcase>",
        r#"<testcase name="http_req_duration{kind:item} p(50)&lt;500" classname="thresholds">"#,
        "<properties>",
        r#"<property name="measured" value="513"/>"#,
        "</properties>",
        "</testcase>",
        "</testsuite>",
        r#"<testsuite name="checks" tests="1" skipped="0" errors="0" failures="0">"#,
        r#"<testcase name="status is 200" classname="checks">"#,
        "<properties>",
        r#"<property name="failed" value="4 of 400"/>"#,
        "</properties>",
        "</testcase>",
        "</testsuite>",
        "</testsuites>",
    ];
    assert_eq!(xml(&view), expected);
}

#[test]
fn a_finding_that_was_withdrawn_is_told_and_counted_as_no_fault() {
    let mut view = view();
    for finding in view.findings.values_mut() {
        finding.ended = true;
        finding.withdrawn = true;
    }
    let mut out = Vec::new();
    let summary = ServiceSummary {
        view: &view,
        directory: ".cohort/campaigns/1",
        running: false,
        width: 100,
        color: false,
    };
    summary.write(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("withdrawn: it was none"), "{text}");
    assert!(!text.contains("1 fault"), "{text}");
    assert_eq!(view.faults().count(), 0);
    let cases = xml(&view);
    assert!(!cases.iter().any(|line| line.contains("name=\"faults\"")));
}

#[test]
fn junit_says_what_kept_a_campaign_from_its_end() {
    let case = |view: &ServiceView| {
        let lines = xml(view);
        let about = |line: &&String| line.starts_with("<error");
        lines.iter().find(about).cloned().unwrap_or_default()
    };
    let mut view = view();
    assert_eq!(
        case(&view),
        r#"<error message="1 of 40 iterations failed"/>"#
    );
    view.failed_iterations = 0;
    view.instances.values_mut().next().unwrap().failure = Some("it was not ready\nx".to_owned());
    assert_eq!(
        case(&view),
        r#"<error message="1 of 2 instances failed">i0: it was not ready"#
    );
    view.instances.values_mut().for_each(|it| it.failure = None);
    let end = view.end.as_mut().unwrap();
    end.ending = Ending::Interrupted;
    end.message = Some("stopped by the user".to_owned());
    assert_eq!(
        case(&view),
        r#"<error message="it was stopped before its end; stopped by the user"/>"#
    );
    view.end = None;
    assert_eq!(case(&view), r#"<error message="it has no end"/>"#);
}

#[test]
fn a_frame_keeps_to_its_size() {
    let view = view();
    for (width, height) in [(120, 10), (40, 4), (10, 1), (80, 0)] {
        let frame = frame(&view, At(9_000_000), width, height, false);
        assert!(frame.len() <= height);
        assert!(
            frame.iter().all(|line| crate::words::width(line) <= width),
            "{frame:#?}"
        );
    }
    let frame = frame(&view, At(9_000_000), 120, 10, false);
    assert!(
        frame[0].starts_with(
            "9.00 s of 1 m 00 s  2 threads on 1 instance  800 calls  200/s  2 without an answer  1 fault"
        ),
        "{}",
        frame[0]
    );
    assert!(
        frame.iter().any(|line| line.contains("memory leak")),
        "{frame:#?}"
    );
}

#[test]
fn the_page_escapes_what_others_wrote() {
    let mut view = view();
    let name = view.endpoints.values_mut().next().unwrap();
    *name = "GET /<script>alert(1)</script>".to_owned();
    let page = page(&view);
    assert!(page.contains("GET /&lt;script&gt;"));
    assert!(!page.contains("<script"));
    assert_eq!(page.matches("<svg").count(), 6);
    assert!(page.contains("41 KiB each"));
    assert!(page.contains("undone"));
    assert!(page.contains("since 1 s, told at 4 s"));
    assert!(page.contains("time_in_cart"));
    assert!(page.contains("4 of 400 failed"));
    assert!(!page.contains("http_req_duration"));
}

#[test]
fn a_program_whose_runs_fail_is_no_success() {
    let mut view = ServiceView::default();
    let records = leaking();
    for record in &records {
        match record {
            Record::ServicePlanned(plan) => {
                let mut plan = plan.clone();
                plan.hands_over = false;
                view.apply(&Record::ServicePlanned(plan));
            }
            Record::ServiceDecided { .. } => {}
            record => view.apply(record),
        }
    }
    assert_eq!(view.failures(), ["1 of 40 iterations failed"]);
    let summary = ServiceSummary {
        view: &view,
        directory: "x",
        running: false,
        width: 100,
        color: false,
    };
    let mut out = Vec::new();
    summary.write(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let last = text.lines().last().unwrap();
    assert!(
        last.starts_with("failed           1 of 40 iterations failed; 800 calls"),
        "{last}"
    );
    assert!(last.contains("1 check did not always hold"), "{last}");
}

#[test]
fn instances_that_fail_alike_are_told_once_with_what_the_first_wrote() {
    let mut view = ServiceView::default();
    let mut lines = Lines::new(false);
    let mut said = Vec::new();
    for record in scenario::never_ready() {
        view.apply(&record);
        said.extend(lines.after(&view, &record));
    }
    let expected = [
        "starting         2 instances, 2 cores and 1 GiB for all",
        "running          11.0 s: 0 of 2 instances ready, no thread yet, 0 iterations, 0 faults",
        "restarted        i0",
        "failed           i0  it was not ready within 20s: connections to 10.0.0.2:80 are refused",
        "failed           i1  it was not ready within 20s: connections to 10.0.0.3:80 are refused",
    ];
    assert_eq!(said, expected);
    let summary = ServiceSummary {
        view: &view,
        directory: "x",
        running: false,
        width: 100,
        color: false,
    };
    let mut out = Vec::new();
    summary.write(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let head = "\
failed           i0, i1  it was not ready within 20s: connections to 10.0.0.2:80 are refused; its last lines:
                 |   booting 0
instances ";
    assert!(text.starts_with(head), "{text}");
    let page = page(&view);
    assert_eq!(page.matches("<b>failed</b> i0, i1").count(), 1);
    assert!(page.contains("booting 0"));
}
