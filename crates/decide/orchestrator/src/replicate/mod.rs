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

mod end;
mod repeat;
mod sight;
mod start;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cohort_model::{
    At, Budget, Case, CaseId, CasePlan, CaseWork, Command, InstanceId, KillReason, Policy, Reason,
    Recipe, Stage, Subject, TestId, ThreadId,
};
use cohort_replicator::{Hunt, Known, Limits, Replicator, Room, Settings, Try};

use crate::{Orchestrator, Step};
use repeat::Repeat;

/// What waits to run quietly waits so long for tries to end by themselves, microseconds.
const QUIET_WAIT_US: u64 = 1_000_000;
/// Failing runs of a crash or a hang in which it is told where its threads stand.
const STACKS_RUNS: u32 = 2;
/// Instances for tries that fail to open one after the other before nothing more is tried.
const OPEN_FAILURES_MAX: u32 = 3;

/// Tries that cannot be run one after the other before nothing more is tried.
const FRUITLESS_MAX: u32 = 20;
/// Without cgroups: below this part of the budget left on the host, the youngest try has to go.
const AVAILABLE_PART_MIN: f64 = 0.1;

/// When nothing failed, cases of earlier campaigns are tried for this part of the time that the tests
/// took ...
const GOOD_RUN_PART: u64 = 10;
/// ... and at least so long, microseconds.
const GOOD_RUN_US: u64 = 2_000_000;

/// An instance for tries.
#[derive(Clone, Copy, Debug)]
struct Place {
    opened: bool,
    thread: Option<ThreadId>,
    /// Its memory limit, bytes.
    memory: u64,
}

/// A try under way.
#[derive(Clone, Debug)]
struct Attempt {
    case: CaseId,
    test: TestId,
    recipe: Recipe,
    place: InstanceId,
    started: At,
    limit_us: u64,
    killed: Option<KillReason>,
    /// It has all memory there is.
    has_all: bool,
    /// Another try of its test ran at the same time.
    overlapped: bool,
    /// It is of another test, to compare with.
    compares: bool,
}

/// How tries of a test went since they run one at a time. That begins when one failed while another one
/// ran: what they share outside their instances (the project's directory, ports) may be why.
#[derive(Clone, Copy, Debug, Default)]
struct Apart {
    runs: u32,
    failed: u32,
    /// It fails without company as well, so company is not why.
    over: bool,
}

/// What says which try is next.
#[derive(Debug)]
enum Driver {
    Replicator(Box<Replicator>),
    Repeat(Box<Repeat>),
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
    /// When the first case was opened.
    since: Option<At>,
    /// CPU time of ended tries, microseconds.
    spent_us: f64,
    /// When the ordinary work was done.
    done: Option<At>,
    open_failures: u32,
    /// Tries one after the other that could not be run, though nobody ended them.
    fruitless: u32,
    /// Tests whose tries might disturb each other: one at a time.
    apart: BTreeMap<TestId, Apart>,
    /// Tries that wait for another one of the same test to end.
    held: VecDeque<Try>,
    /// Other tests whose lines are recorded for a case, which says nothing about that case.
    beside_case: VecDeque<(CaseId, TestId)>,
    /// Cases for which that was asked.
    compared: BTreeSet<CaseId>,
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
    pub(crate) fn new(plan: &CasePlan, tests: usize, budget: &Budget) -> Self {
        let driver = match &plan.only {
            Some(CaseWork::Repeat {
                case,
                test,
                symptom,
                recipe,
                runs,
            }) => Driver::Repeat(Box::new(Repeat::new(
                (*case, *test),
                symptom.as_deref().cloned(),
                recipe.clone(),
                *runs,
            ))),
            _ => Driver::Replicator(Box::new(replicator(plan, budget))),
        };
        Self {
            plan: plan.clone(),
            cores: budget.cores,
            driver,
            places: BTreeMap::new(),
            attempts: BTreeMap::new(),
            before: BTreeMap::new(),
            beside: BTreeMap::new(),
            passes: vec![0; tests],
            since: None,
            spent_us: 0.0,
            done: None,
            open_failures: 0,
            fruitless: 0,
            apart: BTreeMap::new(),
            held: VecDeque::new(),
            beside_case: VecDeque::new(),
            compared: BTreeSet::new(),
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
    fn begin(&mut self, at: At) {
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
                replicator.suspect(at, Subject::Test(test), hunt);
            }
        }
        if self.plan.only.is_some() || !self.plan.known.is_empty() {
            self.since = Some(at);
        }
    }
}

fn replicator(plan: &CasePlan, budget: &Budget) -> Replicator {
    let seconds = plan.after_us as f64 / 1e6 * budget.cores.max(1.0);
    let usual = Limits {
        coverage: plan.coverage,
        stacks: STACKS_RUNS,
        ..Limits::default()
    };
    let limits = if plan.only.is_some() {
        Limits {
            runs: u32::MAX,
            seconds,
            seconds_all: seconds,
            ..usual
        }
    } else {
        Limits {
            seconds: usual.seconds.max(seconds),
            seconds_all: usual.seconds_all.max(seconds),
            ..usual
        }
    };
    let mut replicator = Replicator::new(Settings {
        seed: plan.seed,
        cores: budget.cores,
        memory: budget.memory,
        able: plan.able.clone(),
        first_case: plan.first_case,
        limits,
    });
    for known in &plan.known {
        replicator.remember(Known {
            case: known.case,
            subject: known.subject.clone(),
            symptom: known.symptom.clone(),
            smallest: known.smallest.clone(),
            rate: known.rate,
            verdict: known.verdict,
        });
    }
    replicator
}

impl Driver {
    fn is_settled(&self) -> bool {
        match self {
            Driver::Replicator(replicator) => replicator.is_settled(),
            Driver::Repeat(repeat) => repeat.is_settled(),
        }
    }

    fn next(&mut self, at: At, room: Room) -> Option<Try> {
        match self {
            Driver::Replicator(replicator) => replicator.next(at, room),
            Driver::Repeat(repeat) => repeat.next(),
        }
    }

    /// Whether some case was not tried at all yet.
    fn has_untried(&self) -> bool {
        match self {
            Driver::Replicator(replicator) => {
                let untried = |case: &Case| case.stage == Stage::Open;
                replicator
                    .cases()
                    .any(|case| untried(case) && !case.sightings.is_empty())
            }
            Driver::Repeat(_) => false,
        }
    }

    fn finish(&mut self, at: At, why: &str) {
        match self {
            Driver::Replicator(replicator) => replicator.finish(at, why),
            Driver::Repeat(repeat) => repeat.finish(why),
        }
    }

    fn news(&mut self, at: At) -> Vec<Case> {
        match self {
            Driver::Replicator(replicator) => replicator.news(at),
            Driver::Repeat(repeat) => repeat.news(at),
        }
    }
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
        replication.begin(at);
        if ordinary_done && replication.done.is_none() {
            replication.done = Some(at);
        }
        if self.interrupted {
            self.end_replication(at, "the campaign was stopped before more was tried", step);
        } else if let Some(why) = self.is_time_over(at) {
            self.end_replication(at, &why, step);
        } else {
            self.limit_attempts(at, step);
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

    /// Why nothing more may be tried, if so.
    fn is_time_over(&self, at: At) -> Option<String> {
        let replication = self.replication.as_ref()?;
        if replication.open_failures >= OPEN_FAILURES_MAX {
            return Some("no instance could be opened to try it again".to_owned());
        }
        if replication.fruitless >= FRUITLESS_MAX {
            return Some("tries could not be run here".to_owned());
        }
        let done = replication.done?;
        let mut after_us = replication.plan.after_us;
        if !replication.has_failed && replication.plan.only.is_none() {
            // Only what earlier campaigns saw is tried: that may not make a good run much longer.
            after_us = after_us.min((done.0 / GOOD_RUN_PART).max(GOOD_RUN_US));
        }
        (at.since(done) >= after_us).then(|| {
            let seconds = after_us as f64 / 1e6;
            match replication.plan.only {
                Some(_) => format!("the time for it, {seconds:.0} s, is used up"),
                None => format!(
                    "the time for reproducing, {seconds:.0} s after the last test, was used up"
                ),
            }
        })
    }

    fn end_replication(&mut self, at: At, why: &str, step: &mut Step) {
        let Some(replication) = &mut self.replication else {
            return;
        };
        replication.over = true;
        let all: Vec<ThreadId> = replication.attempts.keys().copied().collect();
        for thread in all {
            self.kill_attempt(thread, KillReason::Interrupted, Reason::Stopping, step);
        }
        self.give_back_held(at);
        if let Some(replication) = &mut self.replication
            && replication.attempts.is_empty()
        {
            replication.driver.finish(at, why);
        }
    }

    fn kill_attempt(&mut self, thread: ThreadId, why: KillReason, reason: Reason, step: &mut Step) {
        let attempts = self.replication.as_mut().map(|one| &mut one.attempts);
        if let Some(attempt) = attempts.and_then(|attempts| attempts.get_mut(&thread))
            && attempt.killed.is_none()
        {
            attempt.killed = Some(why);
            step.decide(Command::KillThread { thread, why }, reason);
        }
    }

    /// Kills tries that take too long, and those that what has to run quietly waits for.
    fn limit_attempts(&mut self, at: At, step: &mut Step) {
        let quiet_waits = self.quiet_is_next() && self.threads.is_empty();
        let Some(replication) = &self.replication else {
            return;
        };
        let mut over = Vec::new();
        for (&thread, attempt) in &replication.attempts {
            let age_us = at.since(attempt.started);
            if age_us > attempt.limit_us {
                let seconds = attempt.limit_us as f64 / 1e6;
                over.push((thread, KillReason::Timeout, Reason::Limit { seconds }));
            } else if quiet_waits && age_us > QUIET_WAIT_US {
                let reason = Reason::Crowded {
                    threads: replication.attempts(),
                    waited: 0.0,
                };
                over.push((thread, KillReason::Interrupted, reason));
            }
        }
        over.extend(self.relieved());
        for (thread, why, reason) in over {
            self.kill_attempt(thread, why, reason, step);
        }
    }

    /// Who has to go when the host runs short of memory and nothing is held: a try before any test.
    fn relieved(&self) -> Option<(ThreadId, KillReason, Reason)> {
        let replication = self.replication.as_ref()?;
        let (short, had) = (self.is_memory_short(), self.host.memory_available);
        let going = replication
            .attempts
            .values()
            .any(|one| one.killed.is_some());
        let (&thread, _) = replication.attempts.iter().next_back()?;
        let reason = Reason::MemoryExhausted { had };
        (short && !going).then_some((thread, KillReason::Memory, reason))
    }

    pub(crate) fn is_memory_short(&self) -> bool {
        let had = self.host.memory_available;
        let least = (self.budget.memory as f64 * AVAILABLE_PART_MIN) as u64;
        !self.budget.holds_memory && had > 0 && had < least
    }

    /// Whether the next ordinary test, or one that runs, is one that wants nothing beside it.
    fn quiet_is_next(&self) -> bool {
        let apart = !self.calm.is_empty() || !self.largest.is_empty() || !self.quiet.is_empty();
        self.queue.len() == 0 && apart && !self.stopping
    }

    /// A thread runs; when it is a try, its time counts from now.
    pub(crate) fn attempt_started(&mut self, at: At, thread: ThreadId) {
        let attempts = self.replication.as_mut().map(|one| &mut one.attempts);
        if let Some(attempt) = attempts.and_then(|attempts| attempts.get_mut(&thread)) {
            attempt.started = at;
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
        let had = place.memory;
        if let Some(raised) = self.promises.raise(instance) {
            place.memory = self.promises.promise(instance, raised);
            let reason = Reason::MemoryHeld { had };
            let command = start::specialize(instance, place.memory);
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
