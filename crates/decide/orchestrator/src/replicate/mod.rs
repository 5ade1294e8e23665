//! Edge cases are tried again on instances of their own while the ordinary work goes on.
//!
//! ```text
//!   a failing thread --sighted--> Replicator --next, when there is room--> TryCase
//!                                     ^                                      |
//!                                     +------------- outcome <---------------+
//! ```
//!
//! While other tests wait, tries get their share of the cores' time, and a case that was not tried yet
//! is tried at once. What has to run quietly runs without them. When the ordinary work is done they get
//! all cores, until nothing is worth trying any more or their time is used up.
//!
//! Promise: no verdict, no cost that is remembered and no order of the ordinary work rests on a try.

mod build;
mod driver;
mod end;
mod limit;
mod long;
mod repeat;
mod sight;
mod start;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cohort_model::{
    At, Batch, Budget, CaseId, CasePart, CasePlan, CaseWork, InstanceId, KillReason, Policy,
    Reason, Recipe, Subject, TestCase, TestId, ThreadId,
};
use cohort_replicator::{Hunt, Try};

use crate::{Orchestrator, Step};
use build::Builds;
use driver::Driver;
use long::Long;

/// Most other tests that one which is tried on request may depend on.
const NEIGHBOURS_MAX: usize = 40;

/// A test that fails alone at least at this part of its rate in company does not fail for its company.
const AS_OFTEN: f64 = 0.4;

/// Runs alone in which about so many failures should have been seen tell that company matters, or does not.
const MISSED: f64 = 3.0;
/// What fails too seldom to be told by so many runs alone is not taken to fail for its company.
const ALONE_RUNS: f64 = 200.0;

/// An instance for tries.
#[derive(Clone, Copy, Debug)]
struct Place {
    opened: bool,
    thread: Option<ThreadId>,
    /// Its memory limit, bytes, and its share of a CPU under contention.
    given: (u64, u32),
}

/// A try under way.
#[derive(Clone, Debug)]
struct Attempt {
    case: CaseId,
    test: TestId,
    recipe: Recipe,
    batch: Option<Batch>,
    place: InstanceId,
    started: At,
    limit_us: u64,
    /// It may stand still so long.
    still_us: u64,
    /// When it was seen to do something last, and what its instance had used of CPU and storage by then.
    moved: (At, u64),
    killed: Option<KillReason>,
    /// It has all memory there is.
    has_all: bool,
    /// Another try of its test ran at the same time.
    overlapped: bool,
    /// It is of another test, to compare with.
    compares: bool,
    /// It builds the program of its test.
    builds: bool,
}

/// How tries of a test went beside another one of the same test, and alone. Once one failed beside another
/// they run one at a time: what they share outside their instances (the project's directory, ports) may be
/// why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Company {
    /// Runs in company, and how many of them failed.
    beside: (u32, u32),
    /// The same alone.
    alone: (u32, u32),
}

impl Company {
    /// Whether company may be why it fails: it failed so, and alone not at all or far more seldom, though so many
    /// runs alone would have shown it; or there were too few of these to tell.
    fn matters(self) -> bool {
        let share = |(runs, failed): (u32, u32)| f64::from(failed) / f64::from(runs.max(1));
        let (beside, alone) = (share(self.beside), share(self.alone));
        if self.beside.1 == 0 || alone > 0.0 && alone >= AS_OFTEN * beside {
            return false;
        }
        let runs = f64::from(self.alone.0);
        let at_least = least(self.beside.1) / f64::from(self.beside.0.max(1));
        runs < (MISSED / beside).min(ALONE_RUNS) || runs * at_least >= MISSED
    }
}

/// How many failures are to be expected at least where `failed` were seen: the lower end of the 90 % interval of a
/// Poisson rate (Wilson and Hilferty 1931, "The distribution of chi-square").
fn least(failed: u32) -> f64 {
    let seen = f64::from(failed);
    let cube = 1.0 - 1.0 / (9.0 * seen) - 1.645 / (3.0 * seen.sqrt());
    seen * cube.max(0.0).powi(3)
}

/// All that is known of edge cases and of the tries under way.
#[derive(Debug)]
pub(crate) struct Replication {
    plan: CasePlan,
    cores: f64,
    driver: Driver,
    places: BTreeMap<InstanceId, Place>,
    attempts: BTreeMap<ThreadId, Attempt>,
    /// Tests that ran before on an instance, the latest last.
    before: BTreeMap<InstanceId, VecDeque<TestId>>,
    /// Tests that ran beside a thread.
    beside: BTreeMap<ThreadId, Vec<TestId>>,
    /// Passing runs by test.
    passes: Vec<u32>,
    /// Wall time by test, of a failing run of the ordinary work or of a passing try, microseconds.
    walls_us: BTreeMap<TestId, f64>,
    /// How long failing runs take, by test.
    long: BTreeMap<TestId, Long>,
    /// When the first case was opened.
    since: Option<At>,
    /// CPU time of ended tries, microseconds.
    spent_us: f64,
    /// When the ordinary work was done.
    done: Option<At>,
    open_failures: u32,
    /// Tries one after the other that could not be run, though nobody ended them.
    fruitless: u32,
    /// Whether tries of a test disturb each other.
    company: BTreeMap<TestId, Company>,
    /// Tries that wait for another one of the same test to end.
    held: VecDeque<Try>,
    /// Other tests whose lines are recorded for a case, which says nothing about that case.
    beside_case: VecDeque<(CaseId, TestId)>,
    /// Cases for which that was asked.
    compared: BTreeSet<CaseId>,
    /// Programs that tell which lines they run.
    builds: Builds,
    /// Tests that are tried alone, each with all memory there is.
    hungry: BTreeSet<TestId>,
    /// Cases that were opened in this step.
    fresh: u32,
    /// Something failed in this campaign.
    has_failed: bool,
    /// Nothing more is tried.
    over: bool,
    begun: bool,
}

impl Replication {
    pub(crate) fn new(plan: &CasePlan, tests: &[TestCase], sticky: bool, budget: &Budget) -> Self {
        let driver = Driver::new(plan, sticky, budget);
        Self {
            plan: plan.clone(),
            cores: budget.cores,
            driver,
            places: BTreeMap::new(),
            attempts: BTreeMap::new(),
            before: BTreeMap::new(),
            beside: BTreeMap::new(),
            passes: vec![0; tests.len()],
            walls_us: BTreeMap::new(),
            long: BTreeMap::new(),
            since: None,
            spent_us: 0.0,
            done: None,
            open_failures: 0,
            fruitless: 0,
            company: BTreeMap::new(),
            held: VecDeque::new(),
            beside_case: VecDeque::new(),
            compared: BTreeSet::new(),
            builds: Builds::default(),
            hungry: BTreeSet::new(),
            fresh: 0,
            has_failed: false,
            over: false,
            begun: false,
        }
    }

    /// Whether nothing more is tried and nothing is under way.
    pub(crate) fn is_done(&self) -> bool {
        let settled = self.driver.is_settled() && self.beside_case.is_empty();
        self.attempts.is_empty() && (self.over || settled)
    }

    /// Tries under way.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts.len() as u32
    }

    fn most(&self) -> usize {
        (self.cores.ceil() as usize).max(1)
    }

    /// What is asked for on request is begun with the first step.
    fn begin(&mut self, at: At, all: &[TestCase]) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        if let (Some(CaseWork::Stress { tests, rate, doubt }), Driver::Replicator(replicator)) =
            (&self.plan.only, &mut self.driver)
        {
            for &test in tests {
                let hunt = Hunt {
                    p: *rate,
                    alpha: *doubt,
                };
                replicator.suspect(at, Subject::Test(test), neighbours(test, all), hunt);
            }
        }
        if self.plan.only.is_some() || !self.plan.known.is_empty() {
            self.since = Some(at);
        }
    }
}

/// Tests of the same group, which one may depend on: those that are nearest to it in the plan.
fn neighbours(test: TestId, all: &[TestCase]) -> Vec<CasePart> {
    let Some(own) = all.get(test.index()) else {
        return Vec::new();
    };
    let mut near: Vec<usize> = (0..all.len())
        .filter(|&other| {
            let case = &all[other];
            other != test.index()
                && case.group == own.group
                && !case.ignored
                && case.broken.is_none()
        })
        .collect();
    near.sort_by_key(|other| other.abs_diff(test.index()));
    near.truncate(NEIGHBOURS_MAX);
    near.sort_unstable();
    let parts = near.into_iter();
    parts
        .map(|other| CasePart::Before(TestId(other as u32)))
        .collect()
}

impl Orchestrator {
    /// Whether the ordinary work is done, as far as it is going to be.
    pub(crate) fn is_ordinary_done(&self) -> bool {
        self.threads.is_empty() && (self.stopping || self.waiting() == 0)
    }

    /// Tries under way.
    pub(crate) fn attempts(&self) -> u32 {
        self.replication
            .as_ref()
            .map_or(0, |replication| replication.attempts())
    }

    /// One step of reproducing: begins tries, ends those that took too long, and says what is news.
    pub(crate) fn replicate(&mut self, at: At, step: &mut Step) {
        let ordinary_done = self.is_ordinary_done();
        let Some(replication) = &mut self.replication else {
            return;
        };
        replication.begin(at, &self.plan.tests);
        if ordinary_done && replication.done.is_none() {
            replication.done = Some(at);
        }
        if self.interrupted {
            self.end_replication(at, "the campaign was stopped before more was tried", step);
        } else if let Some(why) = self.is_time_over(at) {
            self.end_replication(at, &why, step);
        } else {
            self.limit_attempts(at, step);
            self.end_useless_build(step);
            self.start_attempts(at, step);
        }
        if let Some(replication) = &mut self.replication {
            replication.fresh = 0;
            step.cases.extend(replication.driver.news(at));
        }
    }

    /// What was seen for the first time in this step is tried at once, before anything else is begun.
    pub(crate) fn try_at_once(&mut self, at: At, step: &mut Step) {
        let fresh = self.replication.as_ref().is_some_and(|one| one.fresh > 0);
        if fresh && !self.interrupted {
            self.start_attempts(at, step);
        }
    }

    /// A thread runs; when it is a try, its time counts from now.
    pub(crate) fn attempt_started(&mut self, at: At, thread: ThreadId) {
        let attempts = self.replication.as_mut().map(|one| &mut one.attempts);
        if let Some(attempt) = attempts.and_then(|attempts| attempts.get_mut(&thread)) {
            attempt.started = at;
            attempt.moved.0 = at;
        }
    }

    /// A place for tries is there.
    pub(crate) fn place_opened(&mut self, instance: InstanceId) {
        if let Some(replication) = &mut self.replication
            && let Some(place) = replication.places.get_mut(&instance)
        {
            place.opened = true;
            replication.open_failures = 0;
        }
    }

    /// Whether it was one for tries that is lost.
    pub(crate) fn place_lost(&mut self, instance: InstanceId) -> bool {
        let Some(replication) = &mut self.replication else {
            return false;
        };
        replication.before.remove(&instance);
        let Some(place) = replication.places.remove(&instance) else {
            return false;
        };
        replication.open_failures += u32::from(!place.opened);
        self.promises.release(instance);
        true
    }

    /// A place for tries reached its memory limit.
    pub(crate) fn place_held(&mut self, instance: InstanceId, step: &mut Step) {
        let Some(replication) = &mut self.replication else {
            return;
        };
        let Some(place) = replication.places.get_mut(&instance) else {
            return;
        };
        let Some(thread) = place.thread else {
            return;
        };
        let had = place.given.0;
        if let Some(raised) = self.promises.raise(instance) {
            place.given.0 = self.promises.promise(instance, raised);
            let reason = Reason::MemoryHeld { had };
            let command = start::specialize(instance, place.given);
            step.decide(command, reason);
            return;
        }
        let has_all = self.promises.of(instance) == self.promises.budget();
        if let Some(attempt) = replication.attempts.get_mut(&thread) {
            attempt.has_all = has_all;
        }
        let reason = Reason::MemoryExhausted { had };
        self.kill_attempt(thread, KillReason::Memory, reason, step);
    }

    /// Whether edge cases are tried at all under the fixed policy or another.
    pub(crate) fn has_standby(&self) -> bool {
        self.policy == Policy::Adaptive
    }
}

#[cfg(test)]
mod tests {
    use super::Company;

    fn matters(beside: (u32, u32), alone: (u32, u32)) -> bool {
        Company { beside, alone }.matters()
    }

    #[test]
    fn company_matters_where_it_fails_so_and_not_alone() {
        assert!(!matters((500, 0), (0, 0)));
        // It is not known yet.
        assert!(matters((20, 1), (0, 0)));
        assert!(matters((20, 1), (50, 0)));
        // One failure early may be chance.
        assert!(!matters((20, 1), (100, 0)));
        assert!(!matters((3, 1), (30, 0)));
        // Several are not.
        assert!(matters((6, 3), (100, 0)));
        assert!(matters((6, 3), (100, 2)));
        // As often alone, or nearly.
        assert!(!matters((6, 3), (6, 2)));
        assert!(!matters((400, 4), (100, 1)));
        // Too seldom to be told: it does not take half of the cores for ever.
        assert!(!matters((5000, 1), (200, 0)));
    }
}
