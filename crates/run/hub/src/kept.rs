//! The cases of this project, over campaigns.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use cohort_model::{
    Case, CaseId, CasePart, CaseVerdict, KnownCase, Plan, Rate, Recipe, Stage, Subject, SuiteKind,
    TestId,
};
use cohort_replicator::sameness::Fingerprint;
use cohort_store::{Cases, Error, KeptCase, Project};

use crate::Past;

/// Closed cases that a campaign tries again; the latest ones.
const KNOWN_MAX: usize = 20;

/// What is kept of cases, and how it is told from the numbers of one plan to those of another.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    store: Cases,
    suite: SuiteKind,
}

/// What a case belongs to.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) campaign: &'a str,
    pub(crate) command: &'a [String],
    /// Names of the tests, by their number.
    pub(crate) names: &'a [String],
}

impl Kept {
    pub(crate) fn open(project: &Project, suite: SuiteKind) -> Self {
        Self {
            store: project.cases(),
            suite,
        }
    }

    pub(crate) fn next_case(&self) -> Result<u32, Error> {
        Ok(self.store.next_id()?.0)
    }

    /// What earlier campaigns saw fail of the tests of `plan`.
    pub(crate) fn known(&self, plan: &Plan) -> Result<Vec<KnownCase>, Error> {
        let names = plan.tests.iter().enumerate();
        let numbers: HashMap<&str, TestId> = names
            .map(|(place, test)| (test.name.as_str(), TestId(place as u32)))
            .collect();
        // What cannot be read is told of by who is asked for it.
        let (mut kept, _) = self.store.list()?;
        kept.retain(|one| one.suite == self.suite && is_worth_it(one.case.verdict));
        kept.sort_by_key(|one| std::cmp::Reverse((one.last_unix_s, one.case.case)));
        let mut known: Vec<KnownCase> = kept
            .iter()
            .filter_map(|one| told(one, &numbers))
            .take(KNOWN_MAX)
            .collect();
        known.sort_by_key(|one| one.case);
        Ok(known)
    }

    /// What earlier campaigns saw fail of a server, as far as what plays it (a file of this name) is there.
    pub(crate) fn known_of_server(&self, play: &str) -> Vec<KnownCase> {
        let Ok((mut kept, _)) = self.store.list() else {
            // What cannot be read is told of by who is asked for it.
            return Vec::new();
        };
        kept.retain(|one| {
            let file = self.store.directory(one.case.case).join(play);
            one.suite == self.suite && is_worth_it(one.case.verdict) && file.is_file()
        });
        kept.sort_by_key(|one| std::cmp::Reverse((one.last_unix_s, one.case.case)));
        let told = |one: &KeptCase| {
            let smallest = one.case.smallest.as_ref()?;
            Some(KnownCase {
                case: one.case.case,
                subject: one.case.subject.clone(),
                symptom: one.case.symptom.clone()?,
                smallest: smallest.recipe.clone(),
                rate: f64::from(smallest.rate.failed) / f64::from(smallest.rate.runs.max(1)),
                verdict: one.case.verdict.unwrap_or(CaseVerdict::Sometimes),
                age_us: one.case.age_us,
                bound_us: one.case.bound_us,
            })
        };
        let mut known: Vec<KnownCase> = kept.iter().filter_map(told).take(KNOWN_MAX).collect();
        known.sort_by_key(|one| one.case);
        known
    }

    /// Keeps what is known of a case now.
    pub(crate) fn keep(&self, case: Case, origin: Origin<'_>) -> Result<KeptCase, Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let unix_s = now.map_or(0, |since| since.as_secs());
        let before = self.store.read(case.case).ok();
        let name = |test: TestId| origin.names.get(test.index()).cloned();
        let subject = match &case.subject {
            Subject::Test(test) => name(*test).unwrap_or_default(),
            Subject::Service(endpoint) => endpoint.clone(),
        };
        let numbers = tests_of(&case).into_iter();
        let tests: BTreeMap<u32, String> = numbers
            .filter_map(|test| Some((test.0, name(test)?)))
            .collect();
        let fingerprint = case.symptom.as_ref().map(Fingerprint::of);
        let mut kept = KeptCase::new(case, self.suite, origin.campaign, unix_s);
        kept.name = subject;
        kept.tests = tests;
        kept.fingerprint = fingerprint.map_or_else(String::new, |one| one.to_string());
        kept.command = origin.command.to_vec();
        if let Some(before) = before {
            kept.first_unix_s = before.first_unix_s;
        }
        self.store.write(&kept)?;
        Ok(kept)
    }

    /// Where all of a case is.
    pub(crate) fn directory(&self, case: CaseId) -> PathBuf {
        self.store.directory(case)
    }

    /// Where the capsule of a case is.
    pub(crate) fn capsule(&self, case: CaseId) -> PathBuf {
        self.store.capsule(case)
    }

    /// Keeps what an interrupted campaign knew and did not come to keep.
    pub(crate) fn keep_past(&self, campaign: &str, past: &Past) -> Result<(), Error> {
        let names: Vec<String> = past
            .plan
            .tests
            .iter()
            .map(|test| test.name.clone())
            .collect();
        for case in past.cases.values() {
            let is_kept = self.store.read(case.case).is_ok_and(|kept| {
                kept.case.stage == Stage::Closed || kept.case.arms.len() >= case.arms.len()
            });
            if !is_kept {
                let origin = Origin {
                    campaign,
                    command: &past.start.command,
                    names: &names,
                };
                self.keep(case.clone(), origin)?;
            }
        }
        Ok(())
    }

    /// Removes the oldest when there are very many; says so.
    pub(crate) fn tidy(&self) -> Option<String> {
        let removed = self.store.remove_oldest().ok()?;
        let first = removed.first()?;
        let others = removed.len() - 1;
        Some(match others {
            0 => format!("{first}, the oldest closed edge case, was deleted"),
            _ => format!("{first} and {others} other closed edge cases, the oldest, were deleted"),
        })
    }
}

/// Whether a case of an earlier campaign is tried again: it failed more than once, or was not done with.
fn is_worth_it(verdict: Option<CaseVerdict>) -> bool {
    !matches!(
        verdict,
        Some(CaseVerdict::NotReproduced | CaseVerdict::NotTried | CaseVerdict::Unsuspicious)
    )
}

/// A kept case in the numbers of a plan; none when a test of it is no longer there.
fn told(kept: &KeptCase, numbers: &HashMap<&str, TestId>) -> Option<KnownCase> {
    let number = |test: TestId| {
        let name = kept.tests.get(&test.0)?;
        numbers.get(name.as_str()).copied()
    };
    let subject = match &kept.case.subject {
        Subject::Test(_) => Subject::Test(*numbers.get(kept.name.as_str())?),
        Subject::Service(_) => return None,
    };
    let smallest = kept.case.smallest.as_ref();
    let (mut recipe, rate) = smallest.map_or_else(
        || (Recipe::default(), Rate::default()),
        |arm| (arm.recipe.clone(), arm.rate),
    );
    for part in &mut recipe.parts {
        if let CasePart::Before(test) | CasePart::Beside(test) = part {
            *test = number(*test)?;
        }
    }
    Some(KnownCase {
        case: kept.case.case,
        subject,
        symptom: kept.case.symptom.clone()?,
        smallest: recipe,
        rate: f64::from(rate.failed) / f64::from(rate.runs.max(1)),
        verdict: kept.case.verdict.unwrap_or(CaseVerdict::NotTried),
        age_us: kept.case.age_us,
        bound_us: kept.case.bound_us,
    })
}

/// All tests that a case speaks of.
fn tests_of(case: &Case) -> BTreeSet<TestId> {
    let arms = case.arms.iter().chain(&case.smallest);
    let parts = arms.flat_map(|arm| &arm.recipe.parts);
    let parts = parts.chain(case.causes.iter().flat_map(|cause| &cause.parts));
    let mut tests: BTreeSet<TestId> = parts
        .filter_map(|part| match part {
            CasePart::Before(test) | CasePart::Beside(test) => Some(*test),
            _ => None,
        })
        .collect();
    if let Subject::Test(test) = case.subject {
        tests.insert(test);
    }
    tests
}
