//! `cohort show` and `cohort replay`: campaigns that are over; and what is written of one.

use std::collections::BTreeMap;
use std::path::Path;

use cohort_hub::Replay;
use cohort_model::{CaseWork, Record, SuiteKind, TestId, ThreadId};
use cohort_report::case::{self, Dossier};
use cohort_report::sarif::sarif;
use cohort_report::summary::Summary;
use cohort_report::{Output, View};
use cohort_store::{Campaign, Project, Stream};

use crate::arguments;
use crate::exit::Exit;
use crate::faces;
use crate::failure::Failure;
use crate::report::JunitFile;
use crate::run::Place;
use crate::{say, service};

/// The report with pictures, in a campaign's directory.
pub(crate) const PAGE: &str = "report.html";
/// Findings about security, in a campaign's directory.
const SARIF: &str = "results.sarif";
/// Edge cases on that page at most.
const PAGE_CASES_MAX: usize = 200;

pub(crate) fn show(
    directory: &Path,
    campaign: &arguments::Campaign,
    junit: Option<&Path>,
    color: bool,
) -> Result<Exit, Failure> {
    let place = Place::of_campaigns(directory)?;
    let campaign = shown(&place.project, campaign.name.as_deref())?;
    if is_of_a_service(&campaign)? {
        let view = service::view(&campaign)?;
        let running = view.end.is_none() && is_running(&place.project, &campaign);
        service::write_page(&view, &campaign)?;
        service::write_summary(&view, &campaign, (&place.root, running), color)?;
        if let Some(path) = junit {
            JunitFile::open(path)?.write_service(&view)?;
        }
        return Ok(Exit::Passed);
    }
    let view = view(&campaign)?;
    let running = view.end.is_none() && is_running(&place.project, &campaign);
    write_page(&view, &campaign)?;
    let told = Told {
        running,
        cases_max: usize::MAX,
    };
    write_summary(&view, &campaign, &place.root, &told, color)?;
    if let Some(path) = junit {
        JunitFile::open(path)?.write(&view, &campaign)?;
    }
    Ok(Exit::Passed)
}

pub(crate) fn replay(directory: &Path, campaign: &arguments::Campaign) -> Result<Exit, Failure> {
    let place = Place::of_campaigns(directory)?;
    let campaign = place.project.campaign(campaign.name.as_deref())?;
    let Replay {
        steps,
        decisions,
        difference,
    } = cohort_hub::replay(campaign.log_reader()?)?;
    let name = campaign.name();
    say::print(|out| match &difference {
        None => writeln!(
            out,
            "identical: {decisions} decisions in {steps} steps of campaign {name}"
        ),
        Some(difference) => {
            let (step, at) = (difference.step, difference.at.seconds());
            writeln!(
                out,
                "different: step {step} of campaign {name} at {at:.3} s"
            )?;
            writeln!(out, "then: {:?}", difference.then)?;
            writeln!(out, "now:  {:?}", difference.now)
        }
    })?;
    Ok(difference.map_or(Exit::Passed, |_| Exit::Differs))
}

/// The campaign of that name, else the latest that was more than another look at one case (`cohort repro`).
fn shown(project: &Project, name: Option<&str>) -> Result<Campaign, Failure> {
    let latest = project.campaign(name)?;
    if name.is_some() || !is_repeated(&latest) {
        return Ok(latest);
    }
    // They are numbered, and the oldest are gone.
    let mut number = latest.name().parse::<u64>().unwrap_or_default();
    while number > 1 {
        number -= 1;
        match project.campaign(Some(&number.to_string())) {
            Ok(earlier) if is_repeated(&earlier) => {}
            Ok(earlier) => return Ok(earlier),
            Err(_) => break,
        }
    }
    Ok(latest)
}

/// Whether all that a campaign did was to run one recipe again.
fn is_repeated(campaign: &Campaign) -> bool {
    let Ok(log) = campaign.log_reader() else {
        return false;
    };
    // Its plan is the second record.
    let mut first = log.take(2).filter_map(Result::ok);
    first.any(|record| match record {
        Record::Planned(plan) => {
            let only = plan.cases.and_then(|cases| cases.only);
            matches!(only, Some(CaseWork::Repeat { .. }))
        }
        _ => false,
    })
}

/// Whether a campaign is one of a service, by the first record of its log.
fn is_of_a_service(campaign: &Campaign) -> Result<bool, Failure> {
    let first = campaign.log_reader()?.next().transpose()?;
    let suite = first.and_then(|record| match record {
        Record::Started(start) => Some(start.suite),
        _ => None,
    });
    Ok(suite == Some(SuiteKind::Service))
}

/// Whether a campaign without an end is under way, rather than killed.
fn is_running(project: &Project, campaign: &Campaign) -> bool {
    let latest = project.campaign(None);
    latest.is_ok_and(|latest| latest.name() == campaign.name()) && project.is_busy()
}

/// A campaign as far as its log goes.
pub(crate) fn view(campaign: &Campaign) -> Result<View, Failure> {
    let mut view = View::default();
    for record in campaign.log_reader()? {
        view.apply(&record?);
    }
    Ok(view)
}

/// The kept output of a thread.
pub(crate) fn output(campaign: &Campaign, thread: ThreadId) -> Option<Output> {
    let read = |stream| {
        let bytes = campaign.output(thread, stream).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (report, stdout) = (read(Stream::Report), read(Stream::Stdout));
    let mut all = report;
    if !all.is_empty() && !stdout.is_empty() {
        all.push('\n');
    }
    all.push_str(&stdout);
    let output = Output {
        stdout: all,
        stderr: read(Stream::Stderr),
    };
    (output != Output::default()).then_some(output)
}

/// Where a campaign is kept, as the user would type it in `root`.
pub(crate) fn directory(campaign: &Campaign, root: &Path) -> String {
    let path = campaign.path();
    path.strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string()
}

/// Writes the report with pictures into the campaign's directory, when there is an edge case to show.
pub(crate) fn write_page(view: &View, campaign: &Campaign) -> Result<(), Failure> {
    if view.edge_cases.is_empty() {
        return Ok(());
    }
    write_sarif(sarif([].iter(), view.edge_cases.values()), campaign)?;
    let path = campaign.path().join(PAGE);
    let tests = (0..).map(TestId).zip(&view.plan.tests);
    let names: BTreeMap<TestId, String> = tests.map(|(id, test)| (id, test.name.clone())).collect();
    let cases = case::most_telling_first(view.edge_cases.values()).into_iter();
    let told_by = format!("campaign {}", campaign.name());
    let dossiers: Vec<Dossier> = cases
        .take(PAGE_CASES_MAX)
        .map(|case| {
            let others = view.edge_cases.values();
            Dossier::of(case, names.clone(), &told_by, others)
        })
        .collect();
    std::fs::write(&path, case::page(view, &dossiers)).map_err(|source| Failure::File {
        action: "write the report",
        path,
        source,
    })
}

/// Writes findings about security into the campaign's directory, when there are some.
pub(crate) fn write_sarif(text: Option<String>, campaign: &Campaign) -> Result<(), Failure> {
    let Some(text) = text else {
        return Ok(());
    };
    let path = campaign.path().join(SARIF);
    std::fs::write(&path, text).map_err(|source| Failure::File {
        action: "write the findings about security",
        path,
        source,
    })
}

/// How a campaign is summed up.
pub(crate) struct Told {
    /// It is under way.
    pub(crate) running: bool,
    /// Edge cases at most.
    pub(crate) cases_max: usize,
}

pub(crate) fn write_summary(
    view: &View,
    campaign: &Campaign,
    root: &Path,
    told: &Told,
    color: bool,
) -> Result<(), Failure> {
    let directory = directory(campaign, root);
    let page = format!("{directory}/{PAGE}");
    let summary = Summary {
        view,
        outputs: &|thread| output(campaign, thread),
        directory: &directory,
        page: (!view.edge_cases.is_empty()).then_some(page.as_str()),
        running: told.running,
        cases_max: told.cases_max,
        width: faces::columns(),
        color,
    };
    say::print(|out| summary.write(out))
}

/// Passes on what the suite's own runner wrote.
pub(crate) fn pass_on(stdout: &[u8], stderr: &[u8]) -> Result<(), Failure> {
    say::pass_on(stderr);
    say::print(|out| out.write_all(stdout))
}
