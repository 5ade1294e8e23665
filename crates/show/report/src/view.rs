//! All that a face shows, folded from the records of one campaign.
//!
//! ```text
//! Started -> Planned -> (Seen -> Decided)* -> Ended
//!               ^______________________|   after an interruption
//! ```
//!
//! Promise: the same records give the same view, whether they come live or from the log; applying a
//! record takes time in proportion to that record alone; nothing is counted twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cohort_model::{
    Allotment, At, CampaignEnd, CampaignStart, Case, CaseId, Collector, Command, Decision, Finding,
    FindingKind, HostSample, InstanceId, InstanceSample, KillReason, Observation, Part, Plan,
    Reason, Recipe, Record, SampleBatch, Specialty, TestId, TestResult, ThreadEnd, ThreadId,
    Verdict,
};

use crate::forecast::{Cost, Forecast};

mod questions;

/// Results by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Passed, load-sensitive ones included.
    pub passed: usize,
    /// Failed by themselves.
    pub failed: usize,
    /// Failed, as they were meant to.
    pub expected_failures: usize,
    /// Not run: skipped by themselves, or listed as ignored.
    pub skipped: usize,
    /// Died of a signal.
    pub crashed: usize,
    /// Killed at a time limit.
    pub timed_out: usize,
    /// Killed for memory.
    pub out_of_memory: usize,
    /// Stopped before they ended.
    pub aborted: usize,
}

impl Counts {
    fn add(&mut self, verdict: Verdict) {
        *match verdict {
            Verdict::Passed => &mut self.passed,
            Verdict::Failed => &mut self.failed,
            Verdict::ExpectedFailure => &mut self.expected_failures,
            Verdict::Skipped => &mut self.skipped,
            Verdict::Crashed => &mut self.crashed,
            Verdict::TimedOut => &mut self.timed_out,
            Verdict::OutOfMemory => &mut self.out_of_memory,
            Verdict::Aborted => &mut self.aborted,
        } += 1;
    }

    /// All that have a result.
    #[must_use]
    pub fn concluded(&self) -> usize {
        self.passed + self.expected_failures + self.skipped + self.aborted + self.failures()
    }

    /// All that ran and failed, in whichever way.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.failed + self.crashed + self.timed_out + self.out_of_memory
    }
}

/// One execution.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreadView {
    /// Of which test.
    pub test: TestId,
    /// Where it runs, or ran last.
    pub instance: InstanceId,
    /// When it was started.
    pub started: At,
    /// How it ended; `None` while it runs.
    pub end: Option<ThreadEnd>,
}

/// An edge case that is tried right now.
#[derive(Clone, Debug, PartialEq)]
pub struct TryView {
    /// Which.
    pub case: CaseId,
    /// Where.
    pub instance: InstanceId,
    /// How.
    pub recipe: Recipe,
    /// Since when.
    pub started: At,
}

/// One open instance.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceView {
    /// What it is for.
    pub specialty: Specialty,
    /// What it may use.
    pub allotment: Allotment,
    /// What runs on it; more than one only after a hand-over.
    pub threads: Vec<ThreadId>,
    /// Its latest sample.
    pub sample: Option<(At, InstanceSample)>,
    /// Cores it used between its latest two samples.
    pub cores: f64,
}

/// A second try of a test, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Which test.
    pub test: TestId,
    /// The new execution.
    pub thread: ThreadId,
    /// [`Reason::Crowded`] or [`Reason::MemoryRetry`].
    pub reason: Reason,
}

/// A finding that came once or more.
#[derive(Clone, Debug, PartialEq)]
pub struct Noted {
    /// How often.
    pub times: u32,
    /// The one with the highest confidence.
    pub strongest: Finding,
}

/// What a finding is about; the same one again is counted, not kept.
pub type FindingKey = (FindingKind, InstanceId, Option<TestId>);

/// The state of a campaign as far as its records go.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The first record.
    pub start: Option<CampaignStart>,
    /// The tests.
    pub plan: Plan,
    /// The last record.
    pub end: Option<CampaignEnd>,
    /// Results of the tests of the plan.
    pub counts: Counts,
    /// The same with the tests within tests (doc tests, cases of a custom harness) in place of what
    /// ran them.
    pub cases: Counts,
    /// Tests that failed crowded and passed quiet, in the order of their results.
    pub load_sensitive: Vec<TestId>,
    /// Tests with a failing result (those that were stopped aside), in the order of their results.
    pub failures: Vec<TestId>,
    /// Tests that failed once and have no result yet, with that execution: they are to be tried again.
    pub failed_once: BTreeMap<TestId, ThreadId>,
    /// Edge cases, each as last told.
    pub edge_cases: BTreeMap<CaseId, Case>,
    /// Tries of edge cases that are under way. They are no executions of the plan.
    pub tries: BTreeMap<ThreadId, TryView>,
    /// Open instances.
    pub instances: BTreeMap<InstanceId, InstanceView>,
    /// Running executions.
    pub running: BTreeSet<ThreadId>,
    /// Most executions at once.
    pub concurrency_max: usize,
    /// Second tries.
    pub retries: Vec<Retry>,
    /// Executions that were killed: why, and by which limit.
    pub kills: HashMap<ThreadId, (KillReason, Reason)>,
    /// Executions that were moved to another instance while they ran.
    pub hand_overs: usize,
    /// Instances that ended unasked, with the reason.
    pub lost: Vec<(InstanceId, String)>,
    /// What the analyzer concluded.
    pub findings: BTreeMap<FindingKey, Noted>,
    /// CPU that executions used, microseconds.
    pub cpu_us: u64,
    /// Cores that the whole campaign used between the latest two samples.
    pub cores: f64,
    /// The latest sample of the host.
    pub host: Option<(At, HostSample)>,
    /// The collector's own account.
    pub collector: Collector,
    results: Vec<Option<TestResult>>,
    threads: HashMap<ThreadId, ThreadView>,
    forecast: Forecast,
    at: At,
    before_us: u64,
    closed_pressure_us: u64,
    first_start: Option<At>,
    last_end: At,
    /// When the last test had its result.
    tested: Option<At>,
}

impl View {
    /// Takes in one record.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Started(start) => {
                self.start = Some(start.clone());
                self.end = None;
            }
            Record::Planned(plan) => self.plan(plan),
            Record::Seen { at, observations } => {
                self.advance(*at);
                for observation in observations {
                    self.observe(observation);
                }
            }
            Record::Decided {
                at,
                cases,
                findings,
                decisions,
            } => {
                self.advance(*at);
                for case in cases {
                    self.edge_cases.insert(case.case, case.clone());
                }
                for finding in findings {
                    self.note(finding);
                }
                for decision in decisions {
                    self.decide(decision);
                }
            }
            Record::Ended(end) => self.end = Some(end.clone()),
            Record::ServicePlanned(_)
            | Record::ServiceSeen { .. }
            | Record::ServiceDecided { .. }
            | Record::ServiceTotals(_) => {}
        }
    }

    /// A clock that went back was started anew by a resumed campaign: its time is added up.
    fn advance(&mut self, at: At) {
        if at < self.at {
            self.before_us += self.at.0;
        }
        self.at = at;
    }

    fn plan(&mut self, plan: &Plan) {
        self.plan = plan.clone();
        self.plan.concluded.clear();
        self.counts = Counts::default();
        self.cases = Counts::default();
        self.load_sensitive.clear();
        self.failures.clear();
        self.failed_once.clear();
        self.instances.clear();
        self.running.clear();
        self.tries.clear();
        self.results = vec![None; plan.tests.len()];
        self.forecast = Forecast::of(plan);
        self.tested = None;
        for result in &plan.concluded {
            self.conclude(result);
        }
    }

    fn observe(&mut self, observation: &Observation) {
        match observation {
            Observation::ThreadEnded(end) => self.end_thread(end),
            Observation::ThreadMoved { thread, target } => self.move_thread(*thread, *target),
            Observation::InstanceLost { instance, reason } => {
                self.close(*instance);
                self.lost.push((*instance, reason.clone()));
            }
            Observation::Sampled(batch) => self.sample(batch),
            Observation::InstanceOpened { .. }
            | Observation::ThreadStarted { .. }
            | Observation::ThreadYielded { .. }
            | Observation::MemoryHeld { .. }
            | Observation::Interrupted
            | Observation::Tick => {}
        }
    }

    fn end_thread(&mut self, end: &ThreadEnd) {
        if let Some(tried) = self.tries.remove(&end.thread) {
            self.cpu_us += end.usage.user_us + end.usage.system_us;
            if let Some(instance) = self.instances.get_mut(&tried.instance) {
                instance.threads.retain(|id| *id != end.thread);
            }
            return;
        }
        let Some(thread) = self.threads.get_mut(&end.thread) else {
            return;
        };
        if !self.running.remove(&end.thread) {
            return;
        }
        thread.end = Some(end.clone());
        let stopped = matches!(
            self.kills.get(&end.thread),
            Some((KillReason::Interrupted, _))
        );
        if end.verdict.is_failure() && end.verdict != Verdict::Aborted && !stopped {
            self.failed_once.insert(thread.test, end.thread);
        }
        self.last_end = self.at;
        self.cpu_us += end.usage.user_us + end.usage.system_us;
        self.forecast.learn(Cost::of(&end.usage));
        if let Some(instance) = self.instances.get_mut(&thread.instance) {
            instance.threads.retain(|id| *id != end.thread);
        }
    }

    fn move_thread(&mut self, id: ThreadId, target: InstanceId) {
        let Some(thread) = self.threads.get_mut(&id) else {
            return;
        };
        if thread.instance == target || !self.running.contains(&id) {
            return;
        }
        if let Some(source) = self.instances.get_mut(&thread.instance) {
            source.threads.retain(|other| *other != id);
        }
        if let Some(target) = self.instances.get_mut(&target) {
            target.threads.push(id);
        }
        thread.instance = target;
        self.hand_overs += 1;
    }

    fn sample(&mut self, batch: &SampleBatch) {
        if let Some((at, earlier)) = &self.host {
            self.cores = cores(
                batch.at.since(*at),
                earlier.campaign_cpu_us,
                batch.host.campaign_cpu_us,
            );
        }
        self.host = Some((batch.at, batch.host));
        self.collector = batch.collector;
        for sample in &batch.instances {
            let Some(instance) = self.instances.get_mut(&sample.instance) else {
                continue;
            };
            if let Some((at, earlier)) = &instance.sample {
                instance.cores = cores(batch.at.since(*at), earlier.cpu_us, sample.cpu_us);
            }
            instance.sample = Some((batch.at, *sample));
        }
    }

    fn note(&mut self, finding: &Finding) {
        let noted = self
            .findings
            .entry((finding.kind, finding.instance, finding.test))
            .or_insert_with(|| Noted {
                times: 0,
                strongest: finding.clone(),
            });
        noted.times += 1;
        if finding.confidence > noted.strongest.confidence {
            noted.strongest = finding.clone();
        }
    }

    fn decide(&mut self, decision: &Decision) {
        match &decision.command {
            Command::OpenInstance {
                instance,
                specialty,
                allotment,
            } => {
                self.instances.entry(*instance).or_insert(InstanceView {
                    specialty: *specialty,
                    allotment: *allotment,
                    threads: Vec::new(),
                    sample: None,
                    cores: 0.0,
                });
            }
            Command::Specialize {
                instance,
                specialty,
                allotment,
            } => {
                if let Some(instance) = self.instances.get_mut(instance) {
                    instance.specialty = *specialty;
                    instance.allotment = *allotment;
                }
            }
            Command::CloseInstance { instance } => self.close(*instance),
            Command::StartThread {
                thread,
                test,
                instance,
            } => {
                self.start_thread(*thread, *test, *instance);
                if matches!(
                    decision.reason,
                    Reason::Crowded { .. } | Reason::MemoryRetry
                ) {
                    let reason = decision.reason.clone();
                    self.retries.push(Retry {
                        test: *test,
                        thread: *thread,
                        reason,
                    });
                }
            }
            Command::Conclude(result) => self.conclude(result),
            Command::KillThread { thread, why } => {
                let kill = (*why, decision.reason.clone());
                self.kills.entry(*thread).or_insert(kill);
            }
            Command::TryCase {
                thread,
                case,
                instance,
                recipe,
                ..
            } => {
                let tried = TryView {
                    case: *case,
                    instance: *instance,
                    recipe: recipe.clone(),
                    started: self.at,
                };
                self.try_case(*thread, tried);
            }
            Command::HandOverThread { .. } | Command::Instrument { .. } | Command::Finish => {}
        }
    }

    fn start_thread(&mut self, id: ThreadId, test: TestId, instance: InstanceId) {
        if !self.running.insert(id) {
            return;
        }
        self.threads.insert(
            id,
            ThreadView {
                test,
                instance,
                started: self.at,
                end: None,
            },
        );
        self.first_start.get_or_insert(self.at);
        self.concurrency_max = self.concurrency_max.max(self.running.len());
        self.forecast.take_up(test);
        if let Some(instance) = self.instances.get_mut(&instance) {
            instance.threads.push(id);
        }
    }

    fn try_case(&mut self, id: ThreadId, tried: TryView) {
        if self.tries.contains_key(&id) {
            return;
        }
        if let Some(instance) = self.instances.get_mut(&tried.instance) {
            instance.threads.push(id);
        }
        self.tries.insert(id, tried);
    }

    fn close(&mut self, instance: InstanceId) {
        let Some(closed) = self.instances.remove(&instance) else {
            return;
        };
        if let Some((_, sample)) = closed.sample {
            self.closed_pressure_us += sample.cpu_pressure_us;
        }
    }

    fn conclude(&mut self, result: &TestResult) {
        let Some(slot) = self.results.get_mut(result.test.index()) else {
            return;
        };
        if slot.is_some() {
            return;
        }
        *slot = Some(result.clone());
        self.failed_once.remove(&result.test);
        self.forecast.take_up(result.test);
        self.counts.add(result.verdict);
        if result.verdict.is_failure() && result.verdict != Verdict::Aborted {
            self.failures.push(result.test);
        }
        if result.load_sensitive {
            self.load_sensitive.push(result.test);
        }
        let last = result.threads.last().and_then(|id| self.threads.get(id));
        let end = last.and_then(|thread| thread.end.as_ref());
        let parts = end.and_then(|end| end.parts.as_deref());
        for part in parts.unwrap_or_default() {
            self.cases.add(part.verdict);
        }
        if !stand_for(parts, result.verdict) {
            self.cases.add(result.verdict);
        }
        if self.not_run() == 0 {
            self.tested.get_or_insert(self.at);
        }
    }
}

/// Whether the tests within a test say all there is to say of it: not when it failed and none of
/// them did.
pub(crate) fn stand_for(parts: Option<&[Part]>, verdict: Verdict) -> bool {
    let failed = |parts: &[Part]| parts.iter().any(|part| part.verdict.is_failure());
    parts.is_some_and(|parts| !verdict.is_failure() || failed(parts))
}

/// Average cores between two readings of a cumulative counter, both in microseconds.
fn cores(elapsed_us: u64, earlier_us: u64, later_us: u64) -> f64 {
    if elapsed_us == 0 {
        return 0.0;
    }
    later_us.saturating_sub(earlier_us) as f64 / elapsed_us as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{self, Scenario};

    const SECOND_US: u64 = 1_000_000;

    #[test]
    fn a_mixed_campaign_is_counted() {
        let view = scenario::view(&scenario::mixed());
        let counts = Counts {
            passed: 3,
            failed: 1,
            skipped: 1,
            crashed: 1,
            ..Counts::default()
        };
        assert_eq!(view.counts, counts);
        assert_eq!(view.not_run(), 1);
        assert_eq!(view.failures, [TestId(1), TestId(3)]);
        assert_eq!(view.load_sensitive, [TestId(2)]);
        assert_eq!(view.retries.len(), 2);
        assert_eq!(view.hand_overs, 1);
        assert_eq!(view.running.len(), 0);
        assert_eq!(view.elapsed_us(view.at()), 11 * SECOND_US);
        assert_eq!(view.testing_us(), Some(11 * SECOND_US));
        assert_eq!(view.cpu_us, 11 * SECOND_US / 2);
        assert!((view.cores - 1.5).abs() < 1e-9);
        assert!((view.instances[&InstanceId(1)].cores - 0.1).abs() < 1e-9);
        assert_eq!(view.findings.len(), 1);
        assert!(view.failed());
    }

    #[test]
    fn repeated_records_change_nothing() {
        let records = scenario::mixed();
        let once = scenario::view(&records);
        let mut twice = View::default();
        for record in &records {
            twice.apply(record);
            if matches!(record, Record::Seen { .. } | Record::Decided { .. }) {
                let findings = twice.findings.clone();
                let retries = twice.retries.clone();
                twice.apply(record);
                twice.findings = findings;
                twice.retries = retries;
            }
        }
        assert_eq!(twice.counts, once.counts);
        assert_eq!(twice.cpu_us, once.cpu_us);
        assert_eq!(twice.hand_overs, once.hand_overs);
        assert_eq!(twice.failures, once.failures);
    }

    #[test]
    fn a_resumed_campaign_keeps_its_results_and_its_time() {
        let mut first = Scenario::new(&["a", "b", "c"]).run(0, Verdict::Failed, 3);
        first.start(1, 0, Reason::Static);
        let mut again = Scenario::new(&["a", "b", "c"]);
        again
            .plan()
            .concluded
            .push(scenario::result(0, Verdict::Failed, &[ThreadId(0)]));
        let again = again.run(1, Verdict::Passed, 2);
        let view = scenario::view(&[first.records, again.records].concat());
        assert_eq!(
            view.counts,
            Counts {
                passed: 1,
                failed: 1,
                ..Counts::default()
            }
        );
        assert_eq!(view.not_run(), 1);
        assert_eq!(view.failures, [TestId(0)]);
        assert_eq!(view.elapsed_us(view.at()), 5 * SECOND_US);
        assert_eq!(view.testing_us(), None, "several sittings");
    }

    #[test]
    fn parts_are_counted_in_place_of_what_ran_them() {
        let parts = [
            ("a", Verdict::Passed),
            ("b", Verdict::Skipped),
            ("c", Verdict::Passed),
        ];
        let view = Scenario::new(&["doc"])
            .whole(0, Verdict::Passed, &parts)
            .view();
        assert_eq!(
            view.cases,
            Counts {
                passed: 2,
                skipped: 1,
                ..Counts::default()
            }
        );
        assert_eq!(view.counts.passed, 1);
        let none = Scenario::new(&["doc"])
            .whole(0, Verdict::Passed, &[])
            .view();
        assert_eq!((none.cases, none.counts.passed), (Counts::default(), 1));
    }

    #[test]
    fn instances_come_and_go() {
        let mut scenario = Scenario::new(&["a", "b"]);
        scenario.open(0, Specialty::General, 100);
        scenario.open(1, Specialty::General, 100);
        let thread = scenario.start(0, 0, Reason::Static);
        scenario.see(vec![Observation::ThreadMoved {
            thread,
            target: InstanceId(1),
        }]);
        let view = scenario.view();
        assert_eq!(view.instances[&InstanceId(0)].threads, []);
        assert_eq!(view.instances[&InstanceId(1)].threads, [thread]);
        scenario.pressure(7);
        let allotment = Allotment {
            cpu_weight: 900,
            memory: 1,
        };
        let (instance, specialty) = (InstanceId(1), Specialty::Cpu);
        scenario.decide(vec![
            (
                Command::CloseInstance {
                    instance: InstanceId(0),
                },
                Reason::Idle,
            ),
            (
                Command::Specialize {
                    instance,
                    specialty,
                    allotment,
                },
                Reason::Idle,
            ),
        ]);
        let reason = "killed".to_owned();
        let view = scenario.view();
        assert_eq!(view.instances.len(), 1);
        assert_eq!(view.instances[&instance].allotment, allotment);
        assert_eq!(
            view.cpu_pressure_us(),
            7,
            "kept when the instance is closed"
        );
        scenario.see(vec![Observation::InstanceLost {
            instance,
            reason: reason.clone(),
        }]);
        assert_eq!(scenario.view().lost, [(instance, reason)]);
    }

    #[test]
    fn damaged_records_do_not_panic() {
        let mut scenario = Scenario::new(&[]);
        scenario.start(4_000_000_000, 9, Reason::Static);
        scenario.end(scenario::end(ThreadId(0), Verdict::Passed, 1));
        scenario.end(scenario::end(ThreadId(77), Verdict::Passed, 1));
        scenario.conclude(scenario::result(u32::MAX, Verdict::Passed, &[ThreadId(5)]));
        let view = scenario.view();
        assert_eq!(view.counts, Counts::default());
        assert_eq!(view.test_name(TestId(3)), "(unknown test)");
    }
}
