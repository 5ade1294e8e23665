//! Where a case stands: in what is kept of the project's cases, in a capsule, else in the log of a
//! campaign that ended before it could be kept.

use std::collections::BTreeMap;

use cohort_model::{CampaignStart, Case, CaseId, CasePart, Record, Subject, SuiteKind, TestId};
use cohort_report::View;
use cohort_report::service::ServiceView;
use cohort_store::{Campaign, KeptCase, Project};

use crate::failure::Failure;

/// Campaigns whose logs are looked through for a case that is not kept, the latest first.
const LOGS_READ_MAX: u64 = 20;

/// A case, and what is left of the campaign that told it.
pub(crate) struct Found {
    pub(crate) case: Case,
    /// Names of the tests that it speaks of, as far as they are known.
    pub(crate) names: BTreeMap<TestId, String>,
    /// Other cases of the project.
    pub(crate) others: Vec<Case>,
    /// Where it is told, as it stands in a sentence: `campaign 7`, `capsule x`.
    pub(crate) told_by: String,
    /// That campaign, unless it is deleted since.
    pub(crate) campaign: Option<Campaign>,
    /// How its suite is run.
    pub(crate) suite: Suite,
    /// Requests of the smallest recipe, each as a line to type.
    pub(crate) requests: Vec<String>,
    /// What was recorded of a server's case, when it is not kept with the project's cases.
    pub(crate) play: Option<Vec<u8>>,
    /// What the failing run printed, when it is kept elsewhere than with the campaign.
    pub(crate) output: Option<String>,
}

/// How the suite of a case is run.
#[derive(Clone, Debug)]
pub(crate) struct Suite {
    pub(crate) kind: SuiteKind,
    pub(crate) command: Vec<String>,
    /// Where, relative to the project; empty: in its root.
    pub(crate) directory: String,
    /// How the campaign began that told it.
    pub(crate) start: Option<CampaignStart>,
}

impl Suite {
    fn of(start: CampaignStart) -> Self {
        Self {
            kind: start.suite,
            command: start.command.clone(),
            directory: start.directory.clone(),
            start: Some(start),
        }
    }
}

impl Found {
    /// The case of this number.
    pub(crate) fn read(project: &Project, id: CaseId) -> Result<Self, Failure> {
        let cases = project.cases();
        match cases.read(id) {
            Ok(kept) => Ok(Self::of_kept(project, kept)),
            Err(missing @ cohort_store::Error::NoCase { .. }) => {
                in_logs(project, id)?.ok_or(Failure::Store(missing))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn of_kept(project: &Project, kept: KeptCase) -> Self {
        let campaign = project.campaign(Some(&kept.campaign)).ok();
        let start = campaign.as_ref().and_then(start);
        let requests = match (kept.suite, &campaign) {
            (SuiteKind::Service, Some(campaign)) => Told::read(campaign).ok(),
            _ => None,
        };
        let requests = requests.map_or_else(Vec::new, |told| told.service.requests_of(&kept.case));
        let mut names: BTreeMap<TestId, String> = kept
            .tests
            .iter()
            .map(|(test, name)| (TestId(*test), name.clone()))
            .collect();
        if let Subject::Test(test) = kept.case.subject {
            names.insert(test, kept.name);
        }
        let suite = start.map_or_else(
            || Suite {
                kind: kept.suite,
                command: kept.command,
                directory: String::new(),
                start: None,
            },
            Suite::of,
        );
        Self {
            names,
            others: others(project, &kept.campaign),
            told_by: format!("campaign {}", kept.campaign),
            campaign,
            suite,
            requests,
            play: None,
            output: None,
            case: kept.case,
        }
    }

    /// The name of a test that it speaks of.
    pub(crate) fn name(&self, test: TestId) -> Option<&str> {
        self.names.get(&test).map(String::as_str)
    }
}

/// How a campaign began.
fn start(campaign: &Campaign) -> Option<CampaignStart> {
    let first = campaign.log_reader().ok()?.next()?;
    match first.ok()? {
        Record::Started(start) => Some(start),
        _ => None,
    }
}

/// What a campaign's log says of cases.
struct Told {
    start: Option<CampaignStart>,
    cases: BTreeMap<CaseId, Case>,
    tests: Vec<String>,
    service: ServiceView,
}

impl Told {
    fn read(campaign: &Campaign) -> Result<Self, Failure> {
        let (mut suite, mut service) = (View::default(), ServiceView::default());
        for record in campaign.log_reader()? {
            let record = record?;
            // Samples and the like tell nothing of cases, and are most of a log.
            if matches!(record, Record::Seen { .. }) {
                continue;
            }
            suite.apply(&record);
            service.apply(&record);
        }
        // One that only counts how often a recipe fails does not say what the case is.
        let mut cases = match suite.is_repeating() {
            true => BTreeMap::new(),
            false => suite.edge_cases,
        };
        cases.extend(service.cases.clone());
        let tests = suite.plan.tests.into_iter();
        Ok(Self {
            start: suite.start,
            cases,
            tests: tests.map(|test| test.name).collect(),
            service,
        })
    }
}

fn in_logs(project: &Project, id: CaseId) -> Result<Option<Found>, Failure> {
    let Ok(latest) = project.campaign(None) else {
        return Ok(None);
    };
    let latest: u64 = latest.name().parse().unwrap_or(0);
    for number in (latest.saturating_sub(LOGS_READ_MAX) + 1..=latest).rev() {
        let Ok(campaign) = project.campaign(Some(&number.to_string())) else {
            continue;
        };
        let told = Told::read(&campaign)?;
        let (Some(case), Some(start)) = (told.cases.get(&id).cloned(), told.start.clone()) else {
            continue;
        };
        let requests = told.service.requests_of(&case);
        return Ok(Some(Found {
            names: names(&case, &told.tests),
            others: told.cases.into_values().collect(),
            told_by: format!("campaign {}", campaign.name()),
            campaign: Some(campaign),
            suite: Suite::of(start),
            requests,
            play: None,
            output: None,
            case,
        }));
    }
    Ok(None)
}

/// Kept cases of one campaign: the numbers of tests of another one mean other tests.
fn others(project: &Project, campaign: &str) -> Vec<Case> {
    let (all, _) = project.cases().list().unwrap_or_default();
    let others = all.into_iter().filter(|kept| kept.campaign == campaign);
    others.map(|kept| kept.case).collect()
}

fn names(case: &Case, tests: &[String]) -> BTreeMap<TestId, String> {
    let arms = case.arms.iter().chain(&case.smallest);
    let parts = arms.map(|arm| &arm.recipe.parts);
    let parts = parts.chain(case.causes.iter().map(|cause| &cause.parts));
    let mentioned = parts.flatten().filter_map(|part| match part {
        CasePart::Before(test) | CasePart::Beside(test) => Some(*test),
        _ => None,
    });
    let own = match case.subject {
        Subject::Test(test) => Some(test),
        Subject::Service(_) => None,
    };
    let name = |test: TestId| Some((test, tests.get(test.index())?.clone()));
    mentioned.chain(own).filter_map(name).collect()
}
