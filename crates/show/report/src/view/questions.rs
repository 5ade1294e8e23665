//! What faces ask a view.

use cohort_model::{At, Case, CaseWork, GroupId, Stage, TestId, TestResult, ThreadEnd, ThreadId};

use super::{ThreadView, View};

impl View {
    /// Tests of the plan.
    #[must_use]
    pub fn total(&self) -> usize {
        self.plan.tests.len()
    }

    /// Why a test cannot be run at all.
    #[must_use]
    pub fn broken(&self, test: TestId) -> Option<&str> {
        self.plan.tests.get(test.index())?.broken.as_deref()
    }

    /// Tests that have no result.
    #[must_use]
    pub fn not_run(&self) -> usize {
        self.total() - self.counts.concluded()
    }

    /// Edge cases that more is tried of.
    pub fn open_cases(&self) -> impl Iterator<Item = &Case> {
        let cases = self.edge_cases.values();
        cases.filter(|case| case.stage != Stage::Closed)
    }

    /// Whether the campaign is for edge cases alone, and no test is run for its result.
    #[must_use]
    pub fn is_for_cases(&self) -> bool {
        let plan = self.plan.cases.as_ref();
        plan.is_some_and(|plan| plan.only.is_some())
    }

    /// Whether the campaign runs one recipe of an edge case again and again.
    #[must_use]
    pub fn is_repeating(&self) -> bool {
        let only = self.plan.cases.as_ref().and_then(|plan| plan.only.as_ref());
        matches!(only, Some(CaseWork::Repeat { .. }))
    }

    /// Whether only edge cases are left to be tried: every test has its result.
    #[must_use]
    pub fn only_cases_left(&self) -> bool {
        let done = self.is_for_cases() || self.tested.is_some() && self.running.is_empty();
        done && self.end.is_none() && (!self.tries.is_empty() || self.open_cases().next().is_some())
    }

    /// Microseconds for which edge cases are tried at most from `now` on, when nothing else is left.
    #[must_use]
    pub fn cases_left_us(&self, now: At) -> Option<u64> {
        let after_us = self.plan.cases.as_ref()?.after_us;
        let since = if self.is_for_cases() {
            At(0)
        } else {
            self.tested?
        };
        Some(after_us.saturating_sub(now.since(since)))
    }

    /// What would be the result of a test that failed once, were it not tried again.
    #[must_use]
    pub fn result_once(&self, test: TestId) -> Option<TestResult> {
        let thread = *self.failed_once.get(&test)?;
        let own = self.thread(thread)?.end.as_ref()?.verdict;
        let killed = self.kills.get(&thread);
        Some(TestResult {
            test,
            verdict: killed.map_or(own, |(why, _)| why.verdict(own)),
            threads: vec![thread],
            load_sensitive: false,
            memory_retried: false,
        })
    }

    /// The time of the latest record, on the clock of the campaign.
    #[must_use]
    pub fn at(&self) -> At {
        self.at
    }

    /// Microseconds that the campaign has run at `now`, earlier sittings included.
    #[must_use]
    pub fn elapsed_us(&self, now: At) -> u64 {
        self.before_us + now.0.max(self.at.0)
    }

    /// Microseconds from the first start of a test to the last end; `None` when nothing ended, or in
    /// several sittings.
    #[must_use]
    pub fn testing_us(&self) -> Option<u64> {
        let first = self
            .first_start
            .filter(|first| self.before_us == 0 && self.last_end > *first)?;
        Some(self.last_end.since(first))
    }

    /// Name of a test; never fails, so that a damaged log can still be shown.
    #[must_use]
    pub fn test_name(&self, test: TestId) -> &str {
        self.plan
            .tests
            .get(test.index())
            .map_or("(unknown test)", |case| case.name.as_str())
    }

    /// Name of a group.
    #[must_use]
    pub fn group_name(&self, group: GroupId) -> &str {
        self.plan
            .groups
            .get(group.index())
            .map_or("(unknown group)", String::as_str)
    }

    /// The result of a test, once it has one.
    #[must_use]
    pub fn result(&self, test: TestId) -> Option<&TestResult> {
        self.results.get(test.index())?.as_ref()
    }

    /// All results, in the order of the plan.
    pub fn results(&self) -> impl Iterator<Item = &TestResult> {
        self.results.iter().flatten()
    }

    /// One execution.
    #[must_use]
    pub fn thread(&self, thread: ThreadId) -> Option<&ThreadView> {
        self.threads.get(&thread)
    }

    /// Tests that had run before an execution in the same process, where one runs several.
    #[must_use]
    pub fn ran_before(&self, thread: ThreadId) -> u64 {
        let of_plan = self.plan.sticky;
        let Some(own) = self.threads.get(&thread).filter(|_| of_plan) else {
            return 0;
        };
        let before = self.threads.values().filter(|other| {
            other.instance == own.instance && other.started < own.started && other.end.is_some()
        });
        before.count() as u64
    }

    /// How an execution ended.
    #[must_use]
    pub fn thread_end(&self, thread: ThreadId) -> Option<&ThreadEnd> {
        self.threads.get(&thread)?.end.as_ref()
    }

    /// The end of the execution that decided a result.
    #[must_use]
    pub fn deciding_end(&self, result: &TestResult) -> Option<&ThreadEnd> {
        self.thread_end(*result.threads.last()?)
    }

    /// Microseconds until the end at `now`, if enough is known to say so. From history where there
    /// is any, and from what the tests took so far where there is none.
    #[must_use]
    pub fn left_us(&self, now: At) -> Option<u64> {
        let cores = self.start.as_ref()?.budget.cores;
        let running = self.running.iter().filter_map(|id| self.threads.get(id));
        let running: Vec<_> = running
            .map(|thread| (thread.test, now.since(thread.started)))
            .collect();
        self.forecast.left_us(&running, cores)
    }

    /// Time in which executions waited for CPU that others used, microseconds, summed over all
    /// instances (PSI `some`); zero where the host cannot tell.
    #[must_use]
    pub fn cpu_pressure_us(&self) -> u64 {
        let open = self
            .instances
            .values()
            .filter_map(|instance| instance.sample.as_ref());
        self.closed_pressure_us + open.map(|(_, sample)| sample.cpu_pressure_us).sum::<u64>()
    }

    /// Whether the campaign fails: a failure, a load-sensitive test when that is to fail it, or fault
    /// that the suite's own runner found beyond its tests.
    #[must_use]
    pub fn failed(&self) -> bool {
        let strict = self.start.as_ref().is_some_and(|start| start.strict);
        self.counts.failures() + self.counts.aborted > 0
            || strict && !self.load_sensitive.is_empty()
            || self
                .end
                .as_ref()
                .is_some_and(|end| end.suite_exit.is_some())
    }
}
