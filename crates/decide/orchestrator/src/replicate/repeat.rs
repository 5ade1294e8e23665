//! One recipe, run so many times: how often does it fail?

use cohort_model::{
    Arm, At, Batch, Case, CaseId, CaseVerdict, Condition, ConditionKind, Rate, Recipe, Stage,
    Subject, Symptom, TestId, ThreadId,
};
use cohort_replicator::sameness::same;
use cohort_replicator::{Outcome, Try};

/// Standard deviations of an interval that holds 95 times in 100.
const DEVIATIONS: f64 = 1.96;
/// Between two reports of how far it is, microseconds.
const NEWS_US: u64 = 500_000;

/// Most runs of one try.
const BATCH_RUNS_MAX: u32 = 32;
/// None of them begins after this time, microseconds.
const BATCH_US: u64 = 300_000;

/// The runs of one recipe.
#[derive(Debug)]
pub(super) struct Repeat {
    case: CaseId,
    test: TestId,
    symptom: Option<Symptom>,
    recipe: Recipe,
    runs: u32,
    /// Several runs of one try would share what their runner drew at its start.
    share_start: bool,
    under_way: u32,
    passed: u32,
    failed: u32,
    otherwise: u32,
    since: Option<At>,
    told: Option<(At, u32)>,
    remarks: Vec<String>,
}

impl Repeat {
    pub(super) fn new(
        (case, test): (CaseId, TestId),
        symptom: Option<Symptom>,
        recipe: Recipe,
        (runs, share_start): (u32, bool),
    ) -> Self {
        Self {
            share_start,
            case,
            test,
            symptom,
            recipe,
            runs,
            under_way: 0,
            passed: 0,
            failed: 0,
            otherwise: 0,
            since: None,
            told: None,
            remarks: Vec::new(),
        }
    }

    fn counted(&self) -> u32 {
        self.passed + self.failed + self.otherwise
    }

    pub(super) fn is_settled(&self) -> bool {
        self.counted() >= self.runs
    }

    pub(super) fn next(&mut self) -> Option<Try> {
        let left = self.runs.saturating_sub(self.counted() + self.under_way);
        if left == 0 {
            return None;
        }
        let runs = self.batch_runs().min(left);
        self.under_way += runs;
        Some(Try {
            case: self.case,
            subject: Subject::Test(self.test),
            recipe: self.recipe.clone(),
            stage: Stage::Reproducing,
            cores: 1.0,
            memory: 0,
            batch: (runs > 1).then(|| Batch {
                runs,
                us: BATCH_US,
                stepped: Vec::new(),
            }),
        })
    }

    /// Runs of the next try: the more the surer it passes, since a try ends with its first failure.
    fn batch_runs(&self) -> u32 {
        let once = |one: &Condition| {
            matches!(
                one.kind(),
                ConditionKind::MemoryLimit | ConditionKind::Clock
            )
        };
        if self.share_start || self.recipe.stacks || self.recipe.conditions.iter().any(once) {
            return 1;
        }
        let failed = self.failed + self.otherwise;
        (self.counted() / (2 * failed + 1)).clamp(1, BATCH_RUNS_MAX)
    }

    /// A try of `runs` runs ended.
    pub(super) fn ended(&mut self, runs: u32, outcome: &Outcome) {
        self.under_way = self.under_way.saturating_sub(runs);
        self.passed += outcome.passed_before;
        for kind in &outcome.missing {
            let remark = format!("{kind:?} could not be set here, so it was run without it");
            if !self.remarks.contains(&remark) {
                self.remarks.push(remark);
            }
        }
        match &outcome.symptom {
            Some(seen) if self.symptom.as_ref().is_none_or(|own| same(own, seen)) => {
                self.failed += 1;
                self.symptom.get_or_insert_with(|| seen.clone());
            }
            Some(_) => self.otherwise += 1,
            None if outcome.passed => self.passed += 1,
            None => {}
        }
    }

    pub(super) fn finish(&mut self, why: &str) {
        if !self.is_settled() {
            self.remarks.push(why.to_owned());
        }
        self.runs = self.runs.min(self.counted());
    }

    pub(super) fn news(&mut self, at: At) -> Vec<Case> {
        let since = *self.since.get_or_insert(at);
        let settled = self.is_settled() && self.under_way == 0;
        let due = match self.told {
            None => true,
            Some((_, runs)) if runs == u32::MAX => false,
            Some((when, runs)) => settled || at.since(when) >= NEWS_US && runs != self.counted(),
        };
        if !due {
            return Vec::new();
        }
        self.told = Some((at, if settled { u32::MAX } else { self.counted() }));
        vec![self.shown(since, settled)]
    }

    fn shown(&self, since: At, settled: bool) -> Case {
        let arm = Arm {
            recipe: self.recipe.clone(),
            control: false,
            rate: rate(self.counted(), self.failed),
        };
        let verdict = match (self.failed, self.counted()) {
            (0, _) => CaseVerdict::NotReproduced,
            (failed, runs) if failed == runs => CaseVerdict::Always,
            _ => CaseVerdict::Sometimes,
        };
        let mut remarks = self.remarks.clone();
        if self.otherwise > 0 {
            remarks.push(format!(
                "{} of {} runs failed otherwise",
                self.otherwise,
                self.counted()
            ));
        }
        Case {
            case: self.case,
            request: String::new(),
            age_us: 0,
            bound_us: 0,
            subject: Subject::Test(self.test),
            symptom: self.symptom.clone(),
            sightings: Vec::<ThreadId>::new(),
            since,
            returned: false,
            stage: if settled {
                Stage::Closed
            } else {
                Stage::Reproducing
            },
            verdict: settled.then_some(verdict),
            arms: vec![arm.clone()],
            runs_to_first: None,
            causes: Vec::new(),
            smallest: (self.failed > 0).then_some(arm),
            minimal: false,
            variants: Vec::new(),
            remarks,
        }
    }
}

/// Wilson's interval of a rate (Wilson 1927, "Probable inference, the law of succession, and
/// statistical inference").
fn rate(runs: u32, failed: u32) -> Rate {
    if runs == 0 {
        return Rate {
            high: 1.0,
            ..Rate::default()
        };
    }
    let (n, p, z) = (
        f64::from(runs),
        f64::from(failed) / f64::from(runs),
        DEVIATIONS,
    );
    let scale = 1.0 + z * z / n;
    let middle = (p + z * z / (2.0 * n)) / scale;
    let half = z / scale * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    Rate {
        runs,
        failed,
        low: (middle - half).max(0.0),
        high: (middle + half).min(1.0),
    }
}
