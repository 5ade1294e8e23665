//! The JUnit XML report of a service's campaign: what CI shows as tests.
//!
//! A test case for each fault that was found, each edge case, each threshold and each check, and one for the campaign
//! itself. Promise: it has a failure or an error exactly where the exit code is not that of success.
//! So a check that did not always hold passes, and says how often: what is to be made of it is said by
//! a threshold on `checks`. An edge case passes too: where it is a fault, that has failed.

use std::io::Write;
use std::time::Duration;

use cohort_model::{CheckTotal, Ending, ServiceFinding, ThresholdTotal};
use quick_junit::{NonSuccessKind, Property, Report, TestCase as Case, TestCaseStatus, TestSuite};

use super::view::ServiceView;
use super::words as own;
use crate::case::most_telling_first;
use crate::case::verdict::sentence;
use crate::junit::{Error, name, text};
use crate::words;

/// Writes the report.
///
/// # Errors
/// What the writer reports.
pub fn junit(view: &ServiceView, out: &mut dyn Write) -> Result<(), Error> {
    let command = view.start.as_ref().map(|start| start.command.join(" "));
    let took = Duration::from_micros(view.at().0);
    let mut report = Report::new(name(command.as_deref().unwrap_or("cohort")));
    report.set_time(took);
    let totals = view.totals.as_ref();
    let thresholds = totals.iter().flat_map(|totals| &totals.thresholds);
    let checks = totals.iter().flat_map(|totals| &totals.checks);
    let suites = [
        ("campaign", vec![campaign(view, took)]),
        ("faults", view.faults().map(|it| fault(view, it)).collect()),
        ("edge cases", edge_cases(view)),
        ("thresholds", thresholds.map(threshold).collect()),
        ("checks", checks.map(check).collect()),
    ];
    for (title, cases) in suites {
        if cases.is_empty() {
            continue;
        }
        let mut suite = TestSuite::new(title);
        suite.add_test_cases(cases.into_iter().map(|mut case: Case| {
            case.set_classname(title);
            case
        }));
        report.add_test_suite(suite);
    }
    report.serialize(out)?;
    Ok(())
}

fn failed(why: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_message(text(why));
    status
}

/// What it fails for beside faults and thresholds, which have cases of their own.
fn campaign(view: &ServiceView, took: Duration) -> Case {
    let said = view.end.as_ref().and_then(|end| end.message.clone());
    let mut troubles = view.troubles();
    match view.end.as_ref().map(|end| end.ending) {
        Some(Ending::Complete) => {}
        Some(Ending::Broken) => troubles.push("it broke off".to_owned()),
        Some(Ending::Interrupted) => troubles.push("it was stopped before its end".to_owned()),
        None => troubles.push("it has no end".to_owned()),
    }
    let status = if troubles.is_empty() {
        TestCaseStatus::success()
    } else {
        troubles.extend(said);
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(text(&troubles.join("; ")));
        let reasons = view.instances.iter().filter_map(|(id, instance)| {
            let reason = instance.failure.as_ref()?;
            Some(format!("{id}: {reason}"))
        });
        let reasons: Vec<String> = reasons.collect();
        if !reasons.is_empty() {
            status.set_description(text(&reasons.join("\n")));
        }
        status
    };
    let mut case = Case::new("the campaign came to its end", status);
    case.set_time(took);
    case
}

fn fault(view: &ServiceView, finding: &ServiceFinding) -> Case {
    let kind = own::kind(finding.kind);
    let place = finding.endpoint.map_or_else(
        || own::instances(finding),
        |id| view.endpoint(id).to_owned(),
    );
    let mut status = failed(&finding.sentence);
    status.set_type(kind);
    let mut told = vec![format!(
        "{}, since {:.0} s",
        own::instances(finding),
        finding.since.seconds()
    )];
    told.extend(super::helpers::told(finding));
    told.extend(finding.excerpts.iter().cloned());
    status.set_description(text(&told.join("\n")));
    Case::new(name(&format!("{kind}: {place}")), status)
}

/// What is known of each edge case, the most telling first.
fn edge_cases(view: &ServiceView) -> Vec<Case> {
    let of = |edge: &cohort_model::Case| {
        let known = sentence(edge, &|test| test.to_string());
        let title = format!("{}: {known}", edge.case);
        let mut case = Case::new(name(&title), TestCaseStatus::success());
        let again = format!("cohort repro {}", edge.case);
        case.add_property(Property::new("again", again));
        case
    };
    let cases = most_telling_first(view.cases.values());
    cases.into_iter().map(of).collect()
}

fn threshold(threshold: &ThresholdTotal) -> Case {
    let value = threshold
        .value
        .map_or_else(|| "nothing".to_owned(), words::decimal);
    let status = if threshold.held {
        TestCaseStatus::success()
    } else {
        failed(&format!("{value} was measured"))
    };
    let title = format!("{} {}", threshold.metric, threshold.expression);
    let mut case = Case::new(name(&title), status);
    case.add_property(Property::new("measured", value));
    case
}

fn check(check: &CheckTotal) -> Case {
    let mut case = Case::new(name(&check.name), TestCaseStatus::success());
    if check.failed > 0 {
        let all = check.passed + check.failed;
        let failed = format!("{} of {}", check.failed, all);
        case.add_property(Property::new("failed", failed));
    }
    case
}
