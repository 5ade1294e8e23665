//! The Behavior Analyzer: told what happens and what was read, it says what that means.
//!
//! Same input, same findings: no clock, no randomness, no order but that of instances and time.
//! A batch of n instances costs O(n log n) with small constants; the one heavy judgement (growth)
//! is made at most [`LEAKS_PER_BATCH`] times a batch, and those left over have their turn in the
//! next. Whatever is said of an unknown instance is left out.

use std::collections::BTreeMap;

use cohort_model::{At, Estimate, Finding, FindingKind, InstanceId, SampleBatch, TestId};

use crate::findings::Active;
use crate::findings::burst::Failures;
use crate::instance::{Running, Surroundings, Watched};
use crate::settings::{Settings, us};
use crate::windows::{Host, Reading};

/// Series of growth judged per batch.
const LEAKS_PER_BATCH: u32 = 8;

/// Watches all instances of a campaign.
#[derive(Clone, Debug)]
pub struct Analyzer {
    settings: Settings,
    instances: BTreeMap<InstanceId, Watched>,
    host: Host,
    failures: Failures,
    /// Where the latest failure was.
    failed_on: Option<InstanceId>,
    /// Kinds that hold of the campaign as a whole.
    active: Active,
}

impl Analyzer {
    /// An analyzer that knows no instance yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Analyzer {
            instances: BTreeMap::new(),
            host: Host::new(us(settings.waiting_s), settings.cores),
            failures: Failures::new(us(settings.burst_s)),
            failed_on: None,
            active: Active::default(),
            settings,
        }
    }

    /// `instance` exists since `at`, with nothing used yet. `memory_limit` in bytes; zero or
    /// `u64::MAX`: none.
    pub fn instance_opened(&mut self, at: At, instance: InstanceId, memory_limit: u64) {
        self.instances
            .insert(instance, Watched::new(at, memory_limit, &self.settings));
    }

    /// `instance` is no more.
    pub fn instance_closed(&mut self, instance: InstanceId) {
        self.instances.remove(&instance);
    }

    /// `instance` may use `memory_limit` bytes from now on.
    pub fn limit_changed(&mut self, instance: InstanceId, memory_limit: u64) {
        if let Some(watched) = self.instances.get_mut(&instance) {
            watched.memory_limit = memory_limit;
        }
    }

    /// What `instance` took in until now, to run its first thread, is no growth.
    pub fn instance_warmed(&mut self, instance: InstanceId) {
        if let Some(watched) = self.instances.get_mut(&instance) {
            watched.warmed();
        }
    }

    /// `test`, of which `expected` was predicted, runs on `instance` since `at`.
    pub fn thread_started(
        &mut self,
        at: At,
        instance: InstanceId,
        test: TestId,
        expected: &Estimate,
    ) {
        if let Some(watched) = self.instances.get_mut(&instance) {
            let running = Running {
                test,
                started: at,
                expected: *expected,
            };
            watched.begin(at, running, self.settings.warm);
        }
    }

    /// The thread on `instance` ended.
    pub fn thread_ended(&mut self, at: At, instance: InstanceId, failed: bool) {
        self.failures.ended(at, failed);
        if failed {
            self.failed_on = Some(instance);
        }
        if let Some(watched) = self.instances.get_mut(&instance) {
            watched.end(self.settings.warm);
        }
    }

    /// The thread on `source` runs on `target` from `at` on. Its counters and its memory's charge
    /// start anew there, so nothing sampled before says anything of it.
    pub fn thread_moved(&mut self, at: At, source: InstanceId, target: InstanceId) {
        if source == target {
            return;
        }
        let warm = self.settings.warm;
        let running = self
            .instances
            .get_mut(&source)
            .and_then(|watched| watched.end(warm));
        if let (Some(running), Some(watched)) = (running, self.instances.get_mut(&target)) {
            watched.begin(at, running, warm);
        }
    }

    /// Takes new telemetry. Returns the findings that begin with it, in the order of its samples.
    pub fn observe(&mut self, batch: &SampleBatch) -> Vec<Finding> {
        self.host.observe(batch.at, &batch.host);
        let mut leaks_left = LEAKS_PER_BATCH;
        let mut around = Surroundings {
            settings: &self.settings,
            idle_cores: self.host.idle_cores(us(self.settings.waiting_s)),
            leaks_left: &mut leaks_left,
        };
        let mut findings = Vec::new();
        for sample in &batch.instances {
            if let Some(watched) = self.instances.get_mut(&sample.instance) {
                let reading = Reading::of(batch.at, sample);
                watched.observe(sample.instance, reading, &mut around, &mut findings);
            }
        }
        findings.extend(self.failure_burst(batch.at));
        findings
    }

    fn failure_burst(&mut self, at: At) -> Option<Finding> {
        let instance = self.failed_on?;
        let kind = FindingKind::FailureBurst;
        let (confidence, evidence) = self.active.apply(kind, self.failures.judge(at))?;
        Some(Finding {
            kind,
            instance,
            test: None,
            at,
            confidence,
            evidence,
        })
    }

    /// Cores that the thread on `instance` used over the last 0.3 s, or since it started when that
    /// is less. None when there is no thread, or not enough was sampled since it started.
    #[must_use]
    pub fn cores_used(&self, instance: InstanceId) -> Option<f64> {
        self.instances.get(&instance)?.cores_used()
    }

    /// Cores that it would have used alone, at least: those used, and the share of the time in which
    /// some task of it was ready but had to wait (PSI `some`). What a crowded thread is seen using
    /// says little of what it needs. The same as [`Analyzer::cores_used`] where the host has no PSI.
    #[must_use]
    pub fn cores_wanted(&self, instance: InstanceId) -> Option<f64> {
        self.instances.get(&instance)?.cores_wanted()
    }

    /// Microseconds at `now` since the thread on `instance` was last seen to use CPU (above half a
    /// percent of a core), move bytes, or change its number of tasks; at most since it started
    /// here. Zero without a thread. When sampling itself stops, this goes on counting.
    #[must_use]
    pub fn stalled_for_us(&self, instance: InstanceId, now: At) -> u64 {
        self.instances
            .get(&instance)
            .map_or(0, |watched| watched.stalled_for_us(now))
    }

    /// Anonymous memory of `instance` when it was last sampled, bytes.
    #[must_use]
    pub fn memory_anon(&self, instance: InstanceId) -> Option<u64> {
        self.instances.get(&instance)?.memory_anon()
    }
}
