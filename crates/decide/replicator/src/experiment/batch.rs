//! How many runs one try makes, one after the other.
//!
//! To begin a try costs more than a short test does, so it may run its recipe several times. It ends with
//! the first failure, so no failure is seen less closely than in a try of one run; and it is bounded in time,
//! so that who waits for the instance, or for what this plan comes to, does not wait long.
//!
//! Promise: each run is a run of the recipe as a try of its own would be, but for one thing: where a
//! runner that starts slowly is forked (pytest), what was drawn at its start (the hash seed) is the same in
//! all runs of a batch ([`Limits::share_start`](crate::Limits)). There, what failed in a batch is repeated by tries of one run, in
//! runners of their own; a batch has at most one failure, and both sides of a proof have batches of the same
//! size, or none where one side cannot be forked, so that how it is run is no reason to fail more often.

use cohort_model::{Batch, Condition, ConditionKind, Recipe};

use super::Experiment;
use super::evidence::Tally;
use super::recipes::{NEW_EACH_RUN, is_stable, seed_of};
use super::step::Step;

/// While a plan goes on passing, a try of it makes so many times the runs that were made so far: all plans are
/// tried a little before any of them is tried much.
const MORE: u32 = 8;

/// Most runs of one of the first tries on request.
const EARLY_RUNS: u32 = 4;

/// Runs alone that are worth it to learn whether what failed in a batch fails in a runner of its own.
const OWN_RUNS: f64 = 30.0;

/// Plain runs, by how their runner was started.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Starts {
    /// Several of them share one.
    shared: Tally,
    /// Each has its own.
    own: Tally,
}

impl Starts {
    fn of(&mut self, in_batch: bool) -> &mut Tally {
        match in_batch {
            true => &mut self.shared,
            false => &mut self.own,
        }
    }

    /// Whether it failed only where the start is shared, and a run with its own start may tell more.
    fn is_open(self) -> bool {
        let enough = 3.0 / self.shared.share().max(1e-9);
        self.is_odd() && f64::from(self.own.runs) < enough.min(OWN_RUNS)
    }

    fn is_odd(self) -> bool {
        self.shared.failed > 0 && self.own.failed == 0
    }
}

impl Experiment {
    /// A plain run of a batch, or one of its own, ended.
    pub(super) fn note_start(&mut self, plan: &Recipe, in_batch: bool, runs: Tally) {
        if self.limits.share_start && *plan == self.plain {
            let seen = self.starts.of(in_batch);
            *seen = seen.plus(runs);
        }
    }

    /// Says so when it only ever failed in runs that share their runner's start.
    pub(super) fn say_start(&mut self) {
        let Starts { shared, own } = self.starts;
        if self.starts.is_odd() {
            let how = match own.runs {
                0 => "in one of its own it was not run".to_owned(),
                1 => "in one of its own it passed once".to_owned(),
                runs => format!("in one of its own it passed all {runs} times"),
            };
            self.found.remarks.push(format!(
                "As it was at first it failed in {} of {} runs that were forked from one interpreter; {how}.",
                shared.failed, shared.runs
            ));
        }
    }

    /// Several runs of `plan`, the first of which is `run`; none: one run.
    pub(super) fn batch(&self, plan: &Recipe, run: &Recipe) -> Option<Batch> {
        let limited = |kind| matches!(kind, ConditionKind::MemoryLimit | ConditionKind::Clock);
        let once = run.stacks
            || run.coverage
            || self.unmeasured.is_some()
            || plan.conditions.iter().any(|one| limited(one.kind()));
        if once {
            return None;
        }
        // What is not begun in time would only be waited for.
        let hunting = matches!(self.step, Step::Hunt);
        let fits = (self.limits.batch_us as f64 / 1e6 / self.expected_s(plan)).ceil() as u32;
        let most = if hunting { u32::MAX } else { fits };
        let runs = self.runs_wanted(plan).min(most).min(self.limits.batch);
        let stepped = plan.conditions.iter();
        let stepped = stepped.filter(|one| seed_of(one) == Some(NEW_EACH_RUN));
        (runs > 1).then(|| Batch {
            runs,
            us: self.limits.batch_us,
            stepped: stepped.map(|one| one.kind()).collect(),
        })
    }

    fn runs_wanted(&self, plan: &Recipe) -> u32 {
        let seen = self.book.of(plan);
        let apart = self.limits.share_start;
        match &self.step {
            Step::Prove(prove) if apart && prove.with.plan.conditions.iter().any(is_of_start) => 1,
            Step::Repeat(_) | Step::Single(_) if apart => 1,
            Step::Hunt
                if apart
                    && *plan == self.plain
                    && self.starts.is_open()
                    && self.hunts.is_multiple_of(2) =>
            {
                1
            }
            Step::Hunt => {
                // The same world again is the same again.
                let told = plan.conditions.iter().any(|one| seed_of(one).is_some());
                if !plan.conditions.is_empty() && !told && is_stable(plan) {
                    1
                } else if self.is_early() {
                    seen.runs.min(EARLY_RUNS)
                } else {
                    seen.runs.saturating_mul(MORE)
                }
            }
            Step::Repeat(trial) => {
                let enough = if is_stable(plan) { 2 } else { 5 };
                u32::saturating_sub(enough, trial.begun())
            }
            Step::Single(single) => {
                let trial = &single.trial;
                let left = single.scale.least_left(trial.tally);
                left.saturating_sub(trial.flying)
            }
            Step::Degree(degree) => {
                let scale = degree.scale;
                let trial = degree.trial.as_ref();
                trial.map_or(1, |trial| {
                    let left = scale.least_left(trial.tally);
                    left.saturating_sub(trial.flying)
                })
            }
            Step::Prove(prove) => prove.batch_runs(),
            _ => 1,
        }
    }

    /// How long a try is expected to take of which one run takes `each` seconds.
    pub(super) fn batch_s(&self, each: f64, batch: Option<&Batch>) -> f64 {
        let Some(batch) = batch else {
            return each;
        };
        let last = batch.us as f64 / 1e6 + each;
        (f64::from(batch.runs) * each).min(last)
    }
}

/// Whether it is about the start of a runner, or needs several of them.
fn is_of_start(condition: &Condition) -> bool {
    matches!(
        condition.kind(),
        ConditionKind::Seed
            | ConditionKind::DirectoryOrder
            | ConditionKind::Clock
            | ConditionKind::Copies
    )
}
