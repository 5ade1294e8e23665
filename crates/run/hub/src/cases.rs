//! What a campaign is to do about edge cases, in the words of its user and of its plan.

use std::collections::BTreeSet;
use std::time::Duration;

use cohort_host::cgroup::Controller;
use cohort_model::{
    CaseId, CasePlan, CaseWork, ConditionKind, Plan, Recipe, SuiteKind, Symptom, TestId,
};

use crate::ground::Ground;
use crate::kept::Kept;
use crate::surroundings;
use crate::{Error, Setup};

/// Failing runs, and passing ones, that tell where the code differs.
const COVERAGE_RUNS: u32 = 3;

/// How edge cases are tried again.
#[derive(Clone, Debug)]
pub struct Cases {
    /// Share of the cores' time that it may take while other tests wait, 0 to 1.
    pub share: f64,
    /// How long it may go on after the last test; for [`Work::Stress`] how long it goes on at most.
    pub after: Duration,
    /// What the campaign is for.
    pub work: Work,
}

impl Default for Cases {
    /// As `cohort run` does without being told otherwise.
    fn default() -> Self {
        Self {
            share: 0.25,
            after: Duration::from_secs(60),
            work: Work::Suite,
        }
    }
}

/// What a campaign is for.
#[derive(Clone, Debug, Default)]
pub enum Work {
    /// The tests; what fails is tried again beside them and after them.
    #[default]
    Suite,
    /// `cohort run --stress TEST --for TIME`: no test is run for its result. Those whose name is, or
    /// else holds, `test` are tried under varied conditions on all instances, until the probability
    /// that one fails more often than `rate` is below `doubt`, or [`Cases::after`] is over.
    Stress {
        /// A name, or a part of names.
        test: String,
        /// Failure rate that would be too much, 0 to 1.
        rate: f64,
        /// Probability of being wrong about it, 0 to 1.
        doubt: f64,
    },
    /// `cohort repro`: no test is run for its result. One recipe is run `runs` times, as many at once as
    /// there are cores, and it is counted how often it fails.
    Repeat(Box<Repeat>),
}

/// A recipe to be run again.
#[derive(Clone, Debug)]
pub struct Repeat {
    /// Which case it is of; told in the records.
    pub case: CaseId,
    /// The name of its test.
    pub test: String,
    /// How it looked; none: whatever fails counts.
    pub symptom: Option<Symptom>,
    /// How it is run; its tests are numbered as in `tests`.
    pub recipe: Recipe,
    /// The names of the tests that the recipe's parts speak of, by their number.
    pub tests: Vec<(TestId, String)>,
    /// How many times.
    pub runs: u32,
}

impl Cases {
    /// Whether a test that has not failed is tried on request.
    pub(crate) fn is_stress(&self) -> bool {
        matches!(self.work, Work::Stress { .. })
    }

    /// The same in the numbers of a plan.
    ///
    /// # Errors
    /// When a test that is named is not in the plan.
    pub(crate) fn plan(
        &self,
        setup: &Setup,
        ground: &Ground,
        plan: &Plan,
    ) -> Result<CasePlan, Error> {
        let only = match &self.work {
            Work::Suite => None,
            Work::Stress { test, rate, doubt } => Some(CaseWork::Stress {
                tests: matching(plan, test)?,
                rate: *rate,
                doubt: *doubt,
            }),
            Work::Repeat(repeat) => Some(repeat.work(plan)?),
        };
        let store = Kept::open(&setup.project, setup.suite.kind());
        if let Some((campaign, past)) = &setup.resume {
            store.keep_past(campaign.name(), past)?;
        }
        Ok(CasePlan {
            share: self.share,
            after_us: u64::try_from(self.after.as_micros()).unwrap_or(u64::MAX),
            seed: seed(setup),
            able: able(ground),
            coverage: COVERAGE_RUNS,
            instrument: setup.suite.kind() == SuiteKind::Cargo,
            variables: surroundings::variables(),
            variants: Vec::new(),
            first_case: store.next_case()?,
            known: if only.is_some() {
                Vec::new()
            } else {
                store.known(plan)?
            },
            only,
        })
    }
}

/// What can be varied on this host, by a control group or without.
fn able(ground: &Ground) -> BTreeSet<ConditionKind> {
    let able = cohort_conditions::able().into_iter();
    let grouped = [
        (Controller::Cpu, ConditionKind::CpuLimit),
        (Controller::Memory, ConditionKind::MemoryLimit),
    ];
    let grouped = grouped.into_iter();
    let grouped = grouped.filter(|(controller, _)| ground.limits(*controller));
    able.filter(|(_, answer)| answer.is_ok())
        .map(|(kind, _)| kind)
        .chain(grouped.map(|(_, kind)| kind))
        .collect()
}

/// Another one for each campaign, so that not the same few conditions are tried each day.
fn seed(setup: &Setup) -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_nanos() as u64);
    match &setup.resume {
        Some((_, past)) => past.plan.cases.as_ref().map_or(now, |cases| cases.seed),
        None => now,
    }
}

/// The tests of that name, else those whose names hold it.
fn matching(plan: &Plan, wanted: &str) -> Result<Vec<TestId>, Error> {
    let runnable = |test: &TestId| {
        let case = &plan.tests[test.index()];
        !case.ignored && case.broken.is_none()
    };
    let all = || (0..plan.tests.len() as u32).map(TestId).filter(runnable);
    let name = |test: &TestId| plan.tests[test.index()].name.as_str();
    let exact: Vec<TestId> = all().filter(|test| name(test) == wanted).collect();
    if !exact.is_empty() {
        return Ok(exact);
    }
    let holding: Vec<TestId> = all().filter(|test| name(test).contains(wanted)).collect();
    if holding.is_empty() {
        return Err(Error::NoSuchTest {
            wanted: wanted.to_owned(),
            tests: plan.tests.len(),
        });
    }
    Ok(holding)
}

impl Repeat {
    fn work(&self, plan: &Plan) -> Result<CaseWork, Error> {
        let find = |wanted: &str| {
            let place = plan.tests.iter().position(|test| test.name == wanted);
            place
                .map(|place| TestId(place as u32))
                .ok_or_else(|| Error::NoSuchTest {
                    wanted: wanted.to_owned(),
                    tests: plan.tests.len(),
                })
        };
        let mut recipe = self.recipe.clone();
        for part in &mut recipe.parts {
            let (cohort_model::CasePart::Before(test) | cohort_model::CasePart::Beside(test)) =
                part
            else {
                continue;
            };
            let named = self.tests.iter().find(|(number, _)| number == test);
            let Some((_, name)) = named else {
                return Err(Error::NoSuchTest {
                    wanted: test.to_string(),
                    tests: plan.tests.len(),
                });
            };
            *test = find(name)?;
        }
        Ok(CaseWork::Repeat {
            case: self.case,
            test: find(&self.test)?,
            symptom: self.symptom.clone().map(Box::new),
            recipe,
            runs: self.runs,
        })
    }
}
