//! Hand-written campaigns for the tests of this crate.

use cohort_model::{
    Allotment, At, Budget, CampaignEnd, CampaignStart, Case, CasePlan, CaseWork, Collector,
    Command, Decision, Ending, Finding, FindingKind, GroupId, HostSample, InstanceId,
    InstanceSample, Isolation, Measured, Observation, Part, Plan, Policy, Reason, Recipe, Record,
    SampleBatch, Specialty, Subject, SuiteKind, TestCase, TestHistory, TestId, TestResult,
    ThreadEnd, ThreadId, Usage, Verdict,
};

use crate::view::View;

pub(crate) const MIB: u64 = 1 << 20;
const SECOND_US: u64 = 1_000_000;

/// A campaign under construction: one thread after the other unless said otherwise, one second each.
pub(crate) struct Scenario {
    pub(crate) records: Vec<Record>,
    at: At,
    threads: u32,
}

impl Scenario {
    /// Two cores, and the named tests in one group.
    pub(crate) fn new(names: &[&str]) -> Scenario {
        let case = |name: &&str| TestCase {
            name: (*name).to_owned(),
            group: GroupId(0),
            ignored: false,
            lock: None,
            whole: false,
            broken: None,
        };
        let plan = Plan {
            groups: vec!["demo".to_owned()],
            tests: names.iter().map(case).collect(),
            ..Plan::default()
        };
        let records = vec![Record::Started(start()), Record::Planned(plan)];
        Scenario {
            records,
            at: At(0),
            threads: 0,
        }
    }

    pub(crate) fn plan(&mut self) -> &mut Plan {
        match &mut self.records[1] {
            Record::Planned(plan) => plan,
            other => panic!("the second record is the plan, not {other:?}"),
        }
    }

    pub(crate) fn view(&self) -> View {
        view(&self.records)
    }

    pub(crate) fn wait(&mut self, us: u64) -> At {
        self.at = self.at.plus_us(us);
        self.at
    }

    pub(crate) fn see(&mut self, observations: Vec<Observation>) {
        self.records.push(Record::Seen {
            at: self.at,
            observations,
        });
    }

    pub(crate) fn decide(&mut self, decisions: Vec<(Command, Reason)>) {
        let decisions = decisions
            .into_iter()
            .map(|(command, reason)| Decision { command, reason })
            .collect();
        self.records.push(Record::Decided {
            at: self.at,
            cases: Vec::new(),
            findings: Vec::new(),
            decisions,
        });
    }

    pub(crate) fn find(&mut self, finding: Finding) {
        self.records.push(Record::Decided {
            at: self.at,
            cases: Vec::new(),
            findings: vec![finding],
            decisions: Vec::new(),
        });
    }

    /// What is known of an edge case now.
    pub(crate) fn tell(&mut self, case: Case) {
        self.records.push(Record::Decided {
            at: self.at,
            cases: vec![case],
            findings: Vec::new(),
            decisions: Vec::new(),
        });
    }

    /// Starts a try of an edge case.
    pub(crate) fn try_case(&mut self, case: &Case, instance: u32, recipe: Recipe) -> ThreadId {
        let thread = ThreadId(self.threads);
        self.threads += 1;
        let Subject::Test(test) = case.subject else {
            panic!("of a test");
        };
        let (case, stage) = (case.case, case.stage);
        let instance = InstanceId(instance);
        let command = Command::TryCase {
            thread,
            case,
            test,
            instance,
            recipe,
            batch: None,
            limit_us: None,
        };
        self.decide(vec![(command, Reason::Case { case, stage })]);
        thread
    }

    /// Edge cases are tried for at most so long after the last test.
    pub(crate) fn reproducing(&mut self, after_us: u64, only: Option<CaseWork>) {
        self.plan().cases = Some(CasePlan {
            share: 0.25,
            after_us,
            seed: 1,
            able: std::collections::BTreeSet::new(),
            coverage: 0,
            instrument: false,
            variables: Vec::new(),
            variants: Vec::new(),
            first_case: 1,
            known: Vec::new(),
            only,
        });
    }

    pub(crate) fn open(&mut self, instance: u32, specialty: Specialty, cpu_weight: u32) {
        let allotment = Allotment {
            cpu_weight,
            memory: 256 * MIB,
        };
        let instance = InstanceId(instance);
        self.decide(vec![(
            Command::OpenInstance {
                instance,
                specialty,
                allotment,
            },
            Reason::Room {
                free_cores: 1.0,
                free_memory: 512 * MIB,
                cores: 0.5,
                memory: 64 * MIB,
            },
        )]);
    }

    pub(crate) fn start(&mut self, test: u32, instance: u32, reason: Reason) -> ThreadId {
        let thread = ThreadId(self.threads);
        self.threads += 1;
        let (test, instance) = (TestId(test), InstanceId(instance));
        self.decide(vec![(
            Command::StartThread {
                thread,
                test,
                instance,
            },
            reason,
        )]);
        thread
    }

    /// Every end of an execution so far.
    pub(crate) fn ends(&mut self) -> impl Iterator<Item = &mut ThreadEnd> {
        let seen = self.records.iter_mut().filter_map(|record| match record {
            Record::Seen { observations, .. } => Some(observations),
            _ => None,
        });
        seen.flatten().filter_map(|observation| match observation {
            Observation::ThreadEnded(end) => Some(end),
            _ => None,
        })
    }

    pub(crate) fn end(&mut self, end: ThreadEnd) {
        self.see(vec![Observation::ThreadEnded(end)]);
    }

    pub(crate) fn conclude(&mut self, result: TestResult) {
        self.decide(vec![(Command::Conclude(result), Reason::Ended)]);
    }

    /// Starts, ends and concludes one execution of `seconds`.
    pub(crate) fn run(mut self, test: u32, verdict: Verdict, seconds: u64) -> Scenario {
        let thread = self.start(test, 0, Reason::Static);
        self.wait(seconds * SECOND_US);
        self.end(end(thread, verdict, seconds * SECOND_US));
        self.conclude(result(test, verdict, &[thread]));
        self
    }

    /// As [`Scenario::run`], with tests within it.
    pub(crate) fn whole(
        mut self,
        test: u32,
        verdict: Verdict,
        parts: &[(&str, Verdict)],
    ) -> Scenario {
        let thread = self.start(test, 0, Reason::Static);
        self.wait(SECOND_US);
        let part = |(name, verdict): &(&str, Verdict)| Part {
            name: (*name).to_owned(),
            verdict: *verdict,
        };
        let parts = Some(parts.iter().map(part).collect());
        self.end(ThreadEnd {
            parts,
            ..end(thread, verdict, SECOND_US)
        });
        self.conclude(result(test, verdict, &[thread]));
        self
    }

    pub(crate) fn complete(mut self) -> Scenario {
        self.records.push(Record::Ended(CampaignEnd {
            ending: Ending::Complete,
            message: None,
            suite_exit: None,
        }));
        self
    }

    /// Every test of the plan at the same time, sleeping.
    pub(crate) fn sleep_all_at_once(&mut self, us: u64) {
        let tests = u32::try_from(self.plan().tests.len()).unwrap();
        for test in 0..tests {
            self.open(test, Specialty::Waiting, 100);
            self.start(test, test, Reason::Static);
        }
        self.wait(us);
        for test in 0..tests {
            let usage = Usage {
                wall_us: us,
                ..Usage::default()
            };
            self.end(ThreadEnd {
                usage,
                ..end(ThreadId(test), Verdict::Passed, us)
            });
            self.conclude(result(test, Verdict::Passed, &[ThreadId(test)]));
        }
    }

    /// Instance 0 has waited for CPU for so long.
    pub(crate) fn pressure(&mut self, cpu_pressure_us: u64) {
        let sample = InstanceSample {
            cpu_pressure_us,
            ..sample(0, 0)
        };
        self.sample(vec![sample], 0);
    }

    pub(crate) fn sample(&mut self, instances: Vec<InstanceSample>, campaign_cpu_us: u64) {
        let host = HostSample {
            campaign_cpu_us,
            campaign_memory: 310 * MIB,
            ..HostSample::default()
        };
        let collector = Collector {
            readings: 1_204,
            dropped: 0,
            cpu_us: self.at.0 / 500,
        };
        self.see(vec![Observation::Sampled(SampleBatch {
            at: self.at,
            host,
            instances,
            collector,
        })]);
    }
}

pub(crate) fn view(records: &[Record]) -> View {
    let mut view = View::default();
    for record in records {
        view.apply(record);
    }
    view
}

pub(crate) fn start() -> CampaignStart {
    CampaignStart {
        format: cohort_model::FORMAT,
        campaign: "2026-01-01-a".to_owned(),
        version: "0.1.0".to_owned(),
        suite: SuiteKind::Cargo,
        command: vec!["cargo".to_owned(), "test".to_owned()],
        directory: String::new(),
        unix_s: 1_767_225_600,
        preparing_us: 0,
        budget: Budget {
            cores: 2.0,
            memory: 2048 * MIB,
            instances: 64,
            timeout_us: 3600 * SECOND_US,
            stall_us: 600 * SECOND_US,
            holds_memory: true,
        },
        policy: Policy::Adaptive,
        isolation: Isolation::default(),
        missing: Vec::new(),
        strict: false,
    }
}

pub(crate) fn end(thread: ThreadId, verdict: Verdict, wall_us: u64) -> ThreadEnd {
    let failed = verdict == Verdict::Failed;
    let usage = Usage {
        wall_us,
        user_us: wall_us / 2,
        memory_peak: 12 * MIB,
        ..Usage::default()
    };
    ThreadEnd {
        thread,
        verdict,
        exit_code: (verdict != Verdict::Crashed).then_some(if failed { 101 } else { 0 }),
        signal: (verdict == Verdict::Crashed).then_some(11),
        usage,
        message: failed.then(|| "assertion failed: 1 == 2".to_owned()),
        parts: None,
        symptom: None,
        unapplied: Vec::new(),
        input: None,
        passed_before: 0,
        left_behind: 0,
        output_dropped: 0,
    }
}

pub(crate) fn result(test: u32, verdict: Verdict, threads: &[ThreadId]) -> TestResult {
    TestResult {
        test: TestId(test),
        verdict,
        threads: threads.to_vec(),
        load_sensitive: false,
        memory_retried: false,
    }
}

pub(crate) fn sample(instance: u32, cpu_us: u64) -> InstanceSample {
    InstanceSample {
        cpu_us,
        memory: 14 * MIB,
        memory_peak: 16 * MIB,
        memory_anon: 10 * MIB,
        memory_file: 4 * MIB,
        processes: 1,
        tasks: 1,
        open_files: 4,
        ..InstanceSample::empty(InstanceId(instance))
    }
}

pub(crate) fn leak() -> Finding {
    let measured = |what: &str, value, unit: &str| Measured {
        what: what.to_owned(),
        value,
        unit: unit.to_owned(),
    };
    Finding {
        kind: FindingKind::MemoryLeak,
        instance: InstanceId(0),
        test: Some(TestId(1)),
        at: At(0),
        confidence: 0.97,
        evidence: vec![
            measured("growth", 1.5 * MIB as f64, "bytes/s"),
            measured("p", 0.003, ""),
        ],
    }
}

/// One of nearly everything.
pub(crate) fn mixed() -> Vec<Record> {
    let mut scenario = Scenario::new(&[
        "parse::ok",
        "parse::bad",
        "net::crowded",
        "net::crash",
        "big",
        "later",
        "never",
    ]);
    scenario.plan().tests[5].ignored = true;
    let remembered = Usage {
        wall_us: SECOND_US,
        ..Usage::default()
    };
    let history = TestHistory {
        usage: vec![remembered],
        runs: 1,
        ..TestHistory::default()
    };
    scenario.plan().history.insert(0, history);
    scenario.open(0, Specialty::General, 100);
    scenario.open(1, Specialty::Quiet, 300);
    scenario.conclude(result(5, Verdict::Skipped, &[]));
    scenario = scenario
        .run(0, Verdict::Passed, 1)
        .run(1, Verdict::Failed, 2)
        .run(3, Verdict::Crashed, 1);
    let first = scenario.start(2, 0, Reason::Static);
    scenario.wait(SECOND_US);
    scenario.sample(vec![sample(0, 0), sample(1, 0)], 0);
    scenario.end(end(first, Verdict::Failed, SECOND_US));
    let second = scenario.start(
        2,
        1,
        Reason::Crowded {
            threads: 6,
            waited: 0.0,
        },
    );
    scenario.find(leak());
    scenario.wait(SECOND_US);
    scenario.sample(
        vec![sample(0, SECOND_US / 2), sample(1, SECOND_US / 10)],
        SECOND_US * 3 / 2,
    );
    scenario.end(end(second, Verdict::Passed, SECOND_US));
    scenario.conclude(TestResult {
        load_sensitive: true,
        ..result(2, Verdict::Passed, &[first, second])
    });
    let first = scenario.start(4, 0, Reason::Static);
    scenario.wait(SECOND_US);
    let mut killed = end(first, Verdict::OutOfMemory, SECOND_US);
    killed.usage.memory_peak = 256 * MIB;
    scenario.end(killed);
    let second = scenario.start(4, 1, Reason::MemoryRetry);
    scenario.see(vec![Observation::ThreadMoved {
        thread: second,
        target: InstanceId(0),
    }]);
    scenario.wait(4 * SECOND_US);
    let mut passed = end(second, Verdict::Passed, 4 * SECOND_US);
    passed.usage.memory_peak = 900 * MIB;
    scenario.end(passed);
    scenario.conclude(TestResult {
        memory_retried: true,
        ..result(4, Verdict::Passed, &[first, second])
    });
    let message = Some("stopped by Ctrl-C".to_owned());
    scenario.records.push(Record::Ended(CampaignEnd {
        ending: Ending::Interrupted,
        message,
        suite_exit: None,
    }));
    scenario.records
}
