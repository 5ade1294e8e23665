//! Where a case stands: in what is kept of the project's cases, else in the log of a campaign that
//! ended before it could be kept.

use std::collections::BTreeMap;

use cohort_model::{CampaignStart, Case, CaseId, CasePart, Record, TestId};
use cohort_report::View;
use cohort_report::service::ServiceView;
use cohort_store::{Campaign, KeptCase, Project};

use crate::failure::Failure;

/// Campaigns whose logs are looked through for a case that is not kept, the latest first.
const LOGS_READ_MAX: usize = 20;

/// A case, and what is left of the campaign that told it.
pub(crate) struct Found {
    pub(crate) case: Case,
    /// Names of the tests that it speaks of, as far as they are known.
    pub(crate) names: BTreeMap<TestId, String>,
    /// Other cases of the project.
    pub(crate) others: Vec<Case>,
    /// The name of the campaign that told it last.
    pub(crate) told_by: String,
    /// That campaign, unless it is deleted since.
    pub(crate) campaign: Option<Campaign>,
    /// How it began.
    pub(crate) start: Option<CampaignStart>,
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
        let told = campaign.as_ref().and_then(|it| Told::read(it).ok());
        let mut found = Self {
            names: names(&kept.case, told.as_ref()),
            others: others(project, kept.case.case),
            told_by: kept.campaign,
            start: told.and_then(|told| told.start),
            campaign,
            case: kept.case,
        };
        if let cohort_model::Subject::Test(test) = found.case.subject {
            found.names.insert(test, kept.name);
        }
        found
    }

    /// The name of a test that it speaks of.
    pub(crate) fn name(&self, test: TestId) -> Option<&str> {
        self.names.get(&test).map(String::as_str)
    }
}

/// What a campaign's log says of cases.
struct Told {
    start: Option<CampaignStart>,
    cases: BTreeMap<CaseId, Case>,
    tests: Vec<String>,
}

impl Told {
    fn read(campaign: &Campaign) -> Result<Self, Failure> {
        let (mut suite, mut service) = (View::default(), ServiceView::default());
        for record in campaign.log_reader()? {
            let record = record?;
            match &record {
                // Samples and the like tell nothing of cases, and are most of a log.
                Record::Seen { .. } | Record::ServiceSeen { .. } => continue,
                _ => {}
            }
            suite.apply(&record);
            service.apply(&record);
        }
        let mut cases = suite.edge_cases;
        cases.extend(service.cases);
        let tests = suite.plan.tests.into_iter();
        Ok(Self {
            start: suite.start,
            cases,
            tests: tests.map(|test| test.name).collect(),
        })
    }
}

fn in_logs(project: &Project, id: CaseId) -> Result<Option<Found>, Failure> {
    let Ok(latest) = project.campaign(None) else {
        return Ok(None);
    };
    let latest: u64 = latest.name().parse().unwrap_or(0);
    let numbers = (1..=latest).rev().take(LOGS_READ_MAX);
    for number in numbers {
        let Ok(campaign) = project.campaign(Some(&number.to_string())) else {
            continue;
        };
        let told = Told::read(&campaign)?;
        let Some(case) = told.cases.get(&id).cloned() else {
            continue;
        };
        let mut others = others(project, id);
        others.extend(told.cases.values().filter(|it| it.case != id).cloned());
        return Ok(Some(Found {
            names: names(&case, Some(&told)),
            others,
            told_by: campaign.name().to_owned(),
            campaign: Some(campaign),
            start: told.start,
            case,
        }));
    }
    Ok(None)
}

/// Cases that are kept beside one of them, of the same campaign: numbers of tests of another one
/// mean other tests.
fn others(project: &Project, id: CaseId) -> Vec<Case> {
    let Ok((all, _)) = project.cases().list() else {
        return Vec::new();
    };
    let campaign = all.iter().find(|kept| kept.case.case == id);
    let campaign = campaign.map(|kept| kept.campaign.clone());
    let same = |kept: &KeptCase| Some(&kept.campaign) == campaign.as_ref();
    let others = all.into_iter().filter(|kept| same(kept));
    others.map(|kept| kept.case).collect()
}

fn names(case: &Case, told: Option<&Told>) -> BTreeMap<TestId, String> {
    let recipes = case
        .arms
        .iter()
        .chain(&case.smallest)
        .map(|arm| &arm.recipe.parts);
    let causes = case.causes.iter().map(|cause| &cause.parts);
    let parts = recipes.chain(causes).flatten();
    let mut tests: Vec<TestId> = parts
        .filter_map(|part| match part {
            CasePart::Before(test) | CasePart::Beside(test) => Some(*test),
            _ => None,
        })
        .collect();
    if let cohort_model::Subject::Test(test) = case.subject {
        tests.push(test);
    }
    let name = |test: TestId| told?.tests.get(test.index()).cloned();
    let named = tests
        .into_iter()
        .filter_map(|test| Some((test, name(test)?)));
    named.collect()
}
