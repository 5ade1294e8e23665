//! Testing Orchestration Engine: which work goes to which instance next. Pure: a campaign replays
//! to the same decisions from the same observations.
//!
//! ```text
//!   observations ─▶ see ─▶ analyze ─▶ limits ─▶ memory ─▶ admit ─▶ settle ─▶ decisions
//! ```
//!
//! Work is done in phases, each begun when nothing of the one before waits (but the last two come first
//! once what is to be tried again could be the last failure that the plan allows):
//!
//! 1. *main*: all tests, as many at once as CPU and memory allow;
//! 2. *calm*: tests that are known to be sensitive to timing, beside idle CPU or no more at once than
//!    cores;
//! 3. *largest*: tests that were killed for memory, alone, each with the whole memory;
//! 4. *quiet*: tests that failed in a crowd, alone (or, when there are very many, no more at once
//!    than cores, which is no crowd either).
//!
//! Promise: every test is concluded exactly once, unless the campaign is stopped.

mod admit;
mod disk;
mod end;
mod memory;
mod queue;
mod replicate;
mod see;
pub mod service;
mod state;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cohort_allocator::{CpuRoom, Promises, critical_us, lanes_always};
use cohort_analyzer::{Analyzer, CostModel, Settings};
use cohort_model::{
    At, Budget, Case, Command, Decision, Finding, FindingKind, HostSample, InstanceId, KillReason,
    Observation, Plan, Policy, Reason, Specialty, TestId, TestResult, ThreadId, Verdict,
};

use queue::Queue;
use replicate::Replication;
use state::{Attempt, Lane, Progress, Run};

/// Instances that fail to open one after the other before the campaign is given up.
const OPEN_FAILURES_MAX: u32 = 3;

/// What a step came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// What the analyzer concluded.
    pub findings: Vec<Finding>,
    /// Edge cases of which more is known now.
    pub cases: Vec<Case>,
    /// What is to be done, in this order.
    pub decisions: Vec<Decision>,
}

impl Step {
    fn decide(&mut self, command: Command, reason: Reason) {
        self.decisions.push(Decision { command, reason });
    }
}

/// The state that decisions rest on.
#[derive(Debug)]
pub struct Orchestrator {
    budget: Budget,
    policy: Policy,
    plan: Plan,
    analyzer: Analyzer,
    costs: CostModel,
    queue: Queue,
    cpu: CpuRoom,
    promises: Promises,
    /// Most instances: those of the budget, or fewer when the host was seen not to hold as many.
    instances_max: u32,
    /// A test that was seen before and took longer than this, microseconds, is critical.
    critical_us: f64,
    host: HostSample,
    lanes: BTreeMap<InstanceId, Lane>,
    threads: BTreeMap<ThreadId, Run>,
    progress: Vec<Progress>,
    unconcluded: usize,
    locks: BTreeSet<u32>,
    calm: VecDeque<TestId>,
    largest: VecDeque<TestId>,
    quiet: VecDeque<TestId>,
    next_instance: u32,
    next_thread: u32,
    open_failures: u32,
    /// Longest time from the opening of an instance to its first thread, microseconds.
    opening_us: Option<f64>,
    /// Tests that failed for good.
    failures: usize,
    started: bool,
    /// No more tests are begun.
    stopping: bool,
    /// All is to end now.
    interrupted: bool,
    replication: Option<Replication>,
    finished: bool,
}

impl Orchestrator {
    /// For the tests of `plan` that are not concluded yet. Ids of instances and threads start at
    /// `first_id`, so that a resumed campaign does not use one twice.
    #[must_use]
    pub fn new(budget: Budget, policy: Policy, plan: Plan, first_id: u32) -> Self {
        let costs = CostModel::new(&plan, budget.cores);
        let mut progress = vec![Progress::default(); plan.tests.len()];
        for result in &plan.concluded {
            progress[result.test.index()].concluded = true;
        }
        // A campaign for edge cases alone runs no test for its result.
        let only = plan
            .cases
            .as_ref()
            .is_some_and(|cases| cases.only.is_some());
        let open: Vec<TestId> = (0..plan.tests.len())
            .filter(|&index| !progress[index].concluded && !only)
            .map(|index| TestId(index as u32))
            .collect();
        let sensitive = |test: &TestId| {
            policy == Policy::Adaptive
                && plan
                    .history
                    .get(&test.0)
                    .is_some_and(|known| known.load_sensitive > 0)
                && !plan.together.contains(&plan.tests[test.index()].group)
        };
        let to_run = |test: &&TestId| {
            let case = &plan.tests[test.index()];
            !case.ignored && case.broken.is_none()
        };
        let (calm, main): (Vec<TestId>, Vec<TestId>) = open
            .iter()
            .filter(to_run)
            .partition(|&test| sensitive(test));
        let queue = Queue::new(&plan, &main, &costs, (policy, budget.cores));
        let work_us = |&test: &TestId| {
            let estimate = costs.test(test);
            estimate.wall_us.p50 * estimate.cores.p50
        };
        let work_us: f64 = main.iter().map(work_us).sum();
        let replication = plan
            .cases
            .as_ref()
            .map(|cases| Replication::new(cases, &plan.tests, plan.sticky, &budget));
        Self {
            critical_us: critical_us(work_us, budget.cores),
            analyzer: Analyzer::new(Settings::new(budget.cores, plan.sticky)),
            cpu: CpuRoom::new(budget.cores),
            promises: Promises::new(budget.memory, budget.instances),
            instances_max: budget.instances,
            host: HostSample::default(),
            lanes: BTreeMap::new(),
            threads: BTreeMap::new(),
            unconcluded: open.len(),
            progress,
            locks: BTreeSet::new(),
            calm: calm.into(),
            largest: VecDeque::new(),
            quiet: VecDeque::new(),
            next_instance: first_id,
            next_thread: first_id,
            open_failures: 0,
            opening_us: None,
            failures: 0,
            started: false,
            stopping: false,
            interrupted: false,
            replication,
            finished: false,
            budget,
            policy,
            plan,
            costs,
            queue,
        }
    }

    /// Takes in what was seen by `at` and says what is to be done. Each call is one step; time
    /// never goes back between calls.
    pub fn step(&mut self, at: At, observations: &[Observation]) -> Step {
        let mut step = Step::default();
        if !self.started {
            self.started = true;
            self.conclude_unrun(&mut step);
            // First of all: it is made while the tests are still being found.
            self.stand_by(&mut step);
        }
        for observation in observations {
            self.see(at, observation, &mut step);
        }
        self.try_at_once(at, &mut step);
        if self.stopping {
            self.kill_all(&mut step);
        } else {
            self.follow_findings(at, &mut step);
            self.enforce_limits(at, &mut step);
            self.relieve_memory(&mut step);
            self.relieve_disk(observations, &mut step);
            self.admit(at, &mut step);
        }
        self.replicate(at, &mut step);
        self.settle(&mut step);
        step
    }

    /// Whether the last step ended the campaign.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Tests without a result.
    #[must_use]
    pub fn unconcluded(&self) -> usize {
        self.unconcluded
    }

    /// What `test` is expected to need now.
    #[must_use]
    pub fn estimate(&self, test: TestId) -> cohort_model::Estimate {
        self.costs.test(test)
    }

    /// Tests that wait for a lane, in whatever phase.
    fn waiting(&self) -> usize {
        self.queue.len() + self.calm.len() + self.largest.len() + self.quiet.len()
    }

    /// Threads that run and are not just cleaning up.
    fn running(&self) -> u32 {
        self.threads.values().filter(|run| !run.yielded).count() as u32
    }

    /// Threads that are no crowd: one a core.
    fn calm_threads(&self) -> u32 {
        lanes_always(self.budget.cores)
    }

    /// Concludes the tests that are not run at all.
    fn conclude_unrun(&mut self, step: &mut Step) {
        if self.unconcluded == 0 {
            return;
        }
        for index in 0..self.plan.tests.len() {
            let case = &self.plan.tests[index];
            let (verdict, reason) = match (&case.broken, case.ignored) {
                (Some(_), _) => (Verdict::Failed, Reason::Broken),
                (None, true) => (Verdict::Skipped, Reason::Ignored),
                (None, false) => continue,
            };
            if !self.progress[index].concluded {
                let result = TestResult {
                    test: TestId(index as u32),
                    verdict,
                    threads: Vec::new(),
                    load_sensitive: false,
                    memory_retried: false,
                };
                self.conclude(result, reason, step);
            }
        }
    }

    fn conclude(&mut self, result: TestResult, reason: Reason, step: &mut Step) {
        self.progress[result.test.index()].concluded = true;
        self.unconcluded -= 1;
        self.failures += usize::from(result.verdict.is_failure());
        self.stopping |= self.failures_reached();
        step.decide(Command::Conclude(result), reason);
    }

    /// Whether as many tests failed as the plan allows.
    #[must_use]
    pub fn failures_reached(&self) -> bool {
        let most = self.plan.failures_max;
        most.is_some_and(|most| self.failures >= most as usize)
    }

    /// Whether that is so, or will be when the tests that are to be tried again fail again: they are
    /// tried before any other test is begun.
    fn failures_loom(&self) -> bool {
        let again = |run: &&Run| run.attempt != Attempt::First;
        let trying = self.threads.values().filter(again).count();
        let pending = self.failures + trying + self.largest.len() + self.quiet.len();
        let most = self.plan.failures_max;
        most.is_some_and(|most| pending >= most as usize)
    }

    fn kill(&mut self, thread: ThreadId, why: KillReason, reason: Reason, step: &mut Step) {
        let Some(run) = self.threads.get_mut(&thread) else {
            return;
        };
        if run.killed.is_none() {
            run.killed = Some(why);
            step.decide(Command::KillThread { thread, why }, reason);
        }
    }

    fn kill_all(&mut self, step: &mut Step) {
        let all: Vec<ThreadId> = self.threads.keys().copied().collect();
        for thread in all {
            self.kill(thread, KillReason::Interrupted, Reason::Stopping, step);
        }
    }

    /// Kills what runs or stands still too long.
    fn enforce_limits(&mut self, at: At, step: &mut Step) {
        let mut over = Vec::new();
        for (&thread, run) in &self.threads {
            let held = self.lanes.get(&run.place).is_some_and(|lane| lane.held);
            if held || run.killed.is_some() {
                continue;
            }
            if at.since(run.started) > self.budget.timeout_us {
                over.push((thread, KillReason::Timeout, self.budget.timeout_us));
            } else if at.since(run.started) > self.budget.stall_us
                && self.analyzer.stalled_for_us(run.place, at) > self.budget.stall_us
            {
                over.push((thread, KillReason::Stalled, self.budget.stall_us));
            }
        }
        for (thread, why, limit_us) in over {
            let seconds = limit_us as f64 / 1e6;
            self.kill(thread, why, Reason::Limit { seconds }, step);
        }
    }

    /// Gives each instance the specialty that its thread is seen to need, and hands a thread that
    /// computes in an instance for waiting ones over to one that is for computing.
    fn follow_findings(&mut self, at: At, step: &mut Step) {
        if self.policy == Policy::Static {
            return;
        }
        for index in 0..step.findings.len() {
            let (kind, instance, confidence) = {
                let finding = &step.findings[index];
                (finding.kind, finding.instance, finding.confidence)
            };
            let Some(lane) = self.lanes.get(&instance) else {
                continue;
            };
            let (Some(thread), Some(specialty)) = (
                lane.thread,
                cohort_allocator::specialty_found(lane.specialty, kind),
            ) else {
                continue;
            };
            let reason = Reason::Found { kind, confidence };
            let outgrown =
                kind == FindingKind::CpuSaturation && lane.specialty == Specialty::Waiting;
            if outgrown && self.budget.holds_memory && !self.plan.sticky {
                self.hand_over(at, thread, reason, step);
            } else {
                self.set(instance, (specialty, None), (reason, step));
            }
        }
    }

    /// Ends the campaign when there is nothing left to wait for.
    fn settle(&mut self, step: &mut Step) {
        for lane in self.lanes.values_mut() {
            // A lane that was given nothing in the step in which it yielded cleans up entirely.
            lane.yielded = false;
        }
        // A try is company as any other is.
        let running = self.running() + self.attempts();
        for run in self.threads.values_mut() {
            run.crowd.threads_max = run.crowd.threads_max.max(running);
        }
        let idle =
            self.is_ordinary_done() && self.replication.as_ref().is_none_or(Replication::is_done);
        if idle && !self.finished {
            self.finished = true;
            let reason = if self.stopping {
                Reason::Stopping
            } else {
                Reason::Ended
            };
            step.decide(Command::Finish, reason);
        }
    }
}
