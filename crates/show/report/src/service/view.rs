//! A campaign of a service as far as its records go.

use std::collections::{BTreeMap, BTreeSet};

use cohort_model::{
    Area, At, CampaignEnd, CampaignStart, Case, CaseId, CasePart, CaseRequest, CaseVerdict, Change,
    ChangeVerdict, EndpointId, EndpointWindow, Exit, HelperTold, InstanceId, Purpose, Record,
    SampleBatch, ServiceCommand, ServiceDecision, ServiceFinding, ServicePlan, ServiceReason,
    ServiceSeen, ServiceTotals, Share, Stage, SymptomKind, ThreadId,
};

use super::fuzz::FuzzSum;
use super::series::{Point, Series};
use crate::case::words::series;
use crate::case::{curl, most_telling_first};
use crate::words;

/// Pauses of hand-overs kept for their quantiles; later ones replace older ones.
const PAUSES_MAX: usize = 10_000;

/// Metrics of its own that are kept of an instance.
const OWN_MAX: usize = 60;

/// What is known of one instance.
#[derive(Clone, Debug, Default)]
pub struct ServiceInstance {
    /// It answers.
    pub ready: bool,
    /// It is to be gone for good.
    pub closed: bool,
    /// Nothing of it is left.
    pub gone: bool,
    /// What it is for.
    pub purpose: Purpose,
    /// What it may use.
    pub share: Option<Share>,
    /// Its threads now.
    pub threads: u32,
    /// Times its process ended unasked.
    pub crashes: u32,
    /// Why it could not be started, or not any more.
    pub failure: Option<String>,
    /// What it did, over time.
    pub series: Series,
    /// Calls of all its endpoints.
    pub calls: EndpointWindow,
    /// What it last said of itself, by metric, with the unit.
    pub own: BTreeMap<String, (f64, String)>,
    last: Option<(At, u64)>,
}

/// A helper that was sent out.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// Its name.
    pub helper: String,
    /// Beside which instance.
    pub instance: InstanceId,
    /// The finding that it is to explain.
    pub finding: Option<u32>,
}

/// A campaign of a service.
#[derive(Clone, Debug, Default)]
pub struct ServiceView {
    /// How it started.
    pub start: Option<CampaignStart>,
    /// What it was to be.
    pub plan: Option<ServicePlan>,
    /// How it ended.
    pub end: Option<CampaignEnd>,
    /// What the scenario came to.
    pub totals: Option<ServiceTotals>,
    /// Names of endpoints.
    pub endpoints: BTreeMap<EndpointId, String>,
    /// Calls by endpoint.
    pub calls: BTreeMap<EndpointId, EndpointWindow>,
    /// The instances.
    pub instances: BTreeMap<InstanceId, ServiceInstance>,
    /// Findings by number, each as last told.
    pub findings: BTreeMap<u32, ServiceFinding>,
    /// Edge cases, each as last told.
    pub cases: BTreeMap<CaseId, Case>,
    /// When each finding was first told.
    pub told: BTreeMap<u32, At>,
    /// Changes by number, each as last told.
    pub changes: BTreeMap<u32, Change>,
    /// Areas as last seen.
    pub areas: Vec<Area>,
    /// Where each thread is.
    pub threads: BTreeMap<ThreadId, InstanceId>,
    /// Threads that were handed over.
    pub handed_over: u64,
    /// Hand-overs that came to nothing.
    pub stayed: u64,
    /// How long threads stood still when handed over, microseconds.
    pub pauses_us: Vec<u64>,
    /// Iterations that ended.
    pub iterations: u64,
    /// Of those, with an error of the script.
    pub failed_iterations: u64,
    /// Weaknesses that were found.
    pub weaknesses: Vec<HelperTold>,
    /// Helpers that were deployed, and beside which instance, by their number.
    pub helpers: BTreeMap<u32, Deployed>,
    /// What changed requests came to.
    pub fuzz: FuzzSum,
    at: At,
    /// The scenario is over.
    scenario_over: bool,
    /// Plays of edge cases that ended since.
    plays: u64,
    /// Instances on which edge cases are tried again: nobody is served by them.
    replicas: BTreeSet<InstanceId>,
    /// Requests by the number of their capsule.
    captured: BTreeMap<u32, Vec<CaseRequest>>,
    /// Of which capsule each case was tried last.
    capsules: BTreeMap<CaseId, u32>,
}

impl ServiceView {
    /// Takes in one record.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Started(start) => self.start = Some(start.clone()),
            Record::ServicePlanned(plan) => self.plan = Some(plan.clone()),
            Record::ServiceSeen { at, seen } => {
                self.at = *at;
                for seen in seen {
                    self.see(*at, seen);
                }
            }
            Record::ServiceDecided {
                at,
                findings,
                areas,
                cases,
                changes,
                decisions,
            } => {
                self.at = *at;
                for case in cases {
                    self.cases.insert(case.case, case.clone());
                }
                for finding in findings {
                    self.told.entry(finding.number).or_insert(*at);
                    self.findings.insert(finding.number, finding.clone());
                }
                if !areas.is_empty() {
                    self.areas.clone_from(areas);
                }
                for change in changes {
                    self.changes.insert(change.number, change.clone());
                }
                for decision in decisions {
                    self.decide(decision);
                }
            }
            Record::ServiceTotals(totals) => self.totals = Some(totals.clone()),
            Record::Ended(end) => self.end = Some(end.clone()),
            Record::Planned(_) | Record::Seen { .. } | Record::Decided { .. } => {}
        }
    }

    /// The time of the last record.
    #[must_use]
    pub fn at(&self) -> At {
        self.at
    }

    /// The name of an endpoint.
    #[must_use]
    pub fn endpoint(&self, endpoint: EndpointId) -> &str {
        self.endpoints.get(&endpoint).map_or("?", String::as_str)
    }

    /// Calls of all endpoints: answered, and broken.
    #[must_use]
    pub fn calls_total(&self) -> (u64, u64) {
        let calls = self.calls.values();
        calls.fold((0, 0), |(calls, broken), window| {
            (calls + window.calls, broken + window.broken)
        })
    }

    /// Whether the scenario is over, and what was odd is tried again.
    #[must_use]
    pub(crate) fn is_reproducing(&self) -> bool {
        self.scenario_over && self.cases.values().any(|case| case.stage != Stage::Closed)
    }

    /// Which cases are tried again after the scenario, in few words.
    fn reproducing(&self) -> String {
        let open = self
            .cases
            .values()
            .filter(|case| case.stage != Stage::Closed);
        let names: Vec<String> = open.map(|case| case.case.to_string()).collect();
        format!(
            "the scenario is over, {} tried again: {}",
            match names.as_slice() {
                [one] => format!("{one} is"),
                all => format!("{} are", series(all)),
            },
            words::counted(self.plays, "play")
        )
    }

    /// What goes on, in few words: threads run, edge cases are tried again, or instances are started or closed.
    #[must_use]
    pub fn doing(&self) -> String {
        if self.is_reproducing() {
            return self.reproducing();
        }
        let count = |is: fn(&ServiceInstance) -> bool| {
            self.instances.values().filter(|it| is(it)).count() as u64
        };
        let all = self.instances.len() as u64;
        let instances = words::counted(all, "instance");
        let ready = count(|it| it.ready);
        if all > 0 && count(|it| it.closed) == all {
            return match count(|it| it.gone) {
                0 => format!("ending {instances}"),
                gone => format!("ended {gone} of {instances}"),
            };
        }
        if self.threads.is_empty() && self.iterations == 0 {
            return format!("{ready} of {instances} ready, no thread yet");
        }
        let threads = match self.threads.len() as u64 {
            0 => "no thread".to_owned(),
            threads => words::counted(threads, "thread"),
        };
        format!("{threads} on {}", words::counted(ready, "instance"))
    }

    /// Faults of the software that were found.
    pub fn faults(&self) -> impl Iterator<Item = &ServiceFinding> {
        self.findings.values().filter(|finding| finding.is_fault())
    }

    /// Changes that came to this.
    #[must_use]
    pub fn changes_that(&self, verdict: ChangeVerdict) -> usize {
        let changes = self.changes.values();
        changes.filter(|change| change.verdict == verdict).count()
    }

    /// A quantile of the pauses of handed-over threads, microseconds.
    #[must_use]
    pub fn pause_us(&self, q: f64) -> Option<u64> {
        let mut sorted = self.pauses_us.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        sorted.get((last as f64 * q).round() as usize).copied()
    }

    /// What makes it fail beside faults that were found: thresholds that were missed, edge cases that failed again where no
    /// fault tells of them, instances that never answered, iterations with an error, a scenario that ended itself or never came to anything.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        let thresholds = self.totals.iter().flat_map(|totals| &totals.thresholds);
        let missed = thresholds.filter(|threshold| !threshold.held).count() as u64;
        if missed > 0 {
            failures.push(format!("{} missed", words::counted(missed, "threshold")));
        }
        let again = self.broken_again();
        if again > 0 && self.fuzz.found.is_empty() && self.faults().next().is_none() {
            failures.push(format!(
                "{} failed again",
                words::counted(again, "edge case")
            ));
        }
        failures.extend(self.troubles());
        failures
    }

    /// The same without thresholds.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        let mut failures = Vec::new();
        let dead = self.instances.values().filter(|it| it.failure.is_some());
        let dead = dead.count() as u64;
        if dead > 0 {
            failures.push(format!(
                "{} of {} failed",
                words::number(dead),
                words::counted(self.instances.len() as u64, "instance")
            ));
        }
        match self.fuzz.found.len() as u64 {
            0 => {}
            1 => failures.push("a changed request broke something".to_owned()),
            more => failures.push(format!(
                "changed requests broke {} things",
                words::number(more)
            )),
        }
        if self.failed_iterations > 0 {
            failures.push(format!(
                "{} of {} failed",
                words::number(self.failed_iterations),
                words::counted(self.iterations, "iteration")
            ));
        }
        let (answered, broken) = self.calls_total();
        if answered == 0 && broken > 0 {
            failures.push("no call was answered".to_owned());
        }
        if self.totals.as_ref().is_some_and(|it| it.aborted.is_some()) {
            failures.push("the scenario ended itself".to_owned());
        }
        if self.end.is_some() && self.iterations == 0 && answered + broken == 0 {
            failures.push("no iteration came to its end".to_owned());
        }
        failures
    }

    /// Edge cases in which the server broke under the calls of threads, or said that it had, and did so again when it was tried.
    fn broken_again(&self) -> u64 {
        let again = self.cases.values().filter(|case| {
            use CaseVerdict::{Always, Conditional, Sometimes};
            let failed = matches!(case.verdict, Some(Always | Conditional | Sometimes));
            let kind = case.symptom.as_ref().map(|symptom| symptom.kind);
            let broke = |kind| !matches!(kind, SymptomKind::WrongAnswer | SymptomKind::Slow);
            failed && !case.sightings.is_empty() && kind.is_some_and(broke)
        });
        again.count() as u64
    }

    /// Requests of the smallest recipe of a case, each as a line to type.
    #[must_use]
    pub fn requests_of(&self, case: &Case) -> Vec<String> {
        let capsule = self.capsules.get(&case.case);
        let requests = capsule.and_then(|capsule| self.captured.get(capsule));
        let parts = case.smallest.iter().flat_map(|arm| &arm.recipe.parts);
        let kept = parts.filter_map(|part| match part {
            CasePart::Request(place) => requests?.get(*place as usize),
            _ => None,
        });
        kept.map(curl).collect()
    }

    /// Edge cases of which more is tried, the most telling first.
    pub(crate) fn open_cases(&self) -> Vec<&Case> {
        let open = self.cases.values();
        most_telling_first(open.filter(|case| case.stage != Stage::Closed))
    }

    /// Whether edge cases are tried again on an instance.
    pub(crate) fn is_replica(&self, instance: InstanceId) -> bool {
        self.replicas.contains(&instance)
    }

    /// Whether this is about an instance on which edge cases are tried again.
    pub(crate) fn is_of_replica(&self, seen: &ServiceSeen) -> bool {
        match seen {
            ServiceSeen::InstanceReady { instance, .. }
            | ServiceSeen::InstanceExited { instance, .. }
            | ServiceSeen::InstanceFailed { instance, .. }
            | ServiceSeen::ShareSet { instance, .. } => self.is_replica(*instance),
            _ => false,
        }
    }

    fn see(&mut self, at: At, seen: &ServiceSeen) {
        if self.is_of_replica(seen) {
            return;
        }
        match seen {
            ServiceSeen::HelperEnded { told, .. } => {
                let weak = told.iter().filter(|it| !it.rule.is_empty());
                self.weaknesses.extend(weak.cloned());
            }
            ServiceSeen::EndpointNamed { endpoint, name } => {
                self.endpoints.insert(*endpoint, name.clone());
            }
            ServiceSeen::InstanceReady { instance, .. } => {
                self.instance(*instance).ready = true;
            }
            ServiceSeen::InstanceExited { instance, exit, .. } => {
                let instance = self.instance(*instance);
                instance.ready = false;
                instance.gone = instance.closed && *exit == Exit::Asked;
                instance.crashes += u32::from(*exit != Exit::Asked);
            }
            ServiceSeen::InstanceFailed { instance, reason } => {
                let instance = self.instance(*instance);
                instance.ready = false;
                instance.failure = Some(reason.clone());
            }
            ServiceSeen::ShareSet { instance, share } => {
                self.instance(*instance).share = Some(*share);
            }
            ServiceSeen::CaseCaptured {
                capsule, requests, ..
            } => {
                self.captured.insert(*capsule, requests.clone());
            }
            ServiceSeen::Sampled(batch) => self.sampled(batch),
            ServiceSeen::Loaded { windows } => self.load(windows),
            ServiceSeen::ThreadPlaced { thread, instance } => self.put(*thread, *instance),
            ServiceSeen::HandedOver {
                thread,
                target,
                pause_us,
                ..
            } => {
                self.put(*thread, *target);
                let place = self.handed_over as usize % PAUSES_MAX;
                if place < self.pauses_us.len() {
                    self.pauses_us[place] = *pause_us;
                } else {
                    self.pauses_us.push(*pause_us);
                }
                self.handed_over += 1;
            }
            ServiceSeen::HandOverFailed { .. } => self.stayed += 1,
            ServiceSeen::Fuzzed { .. } | ServiceSeen::FuzzFound { .. } => self.fuzz.see(seen),
            ServiceSeen::ScheduleDone => self.scenario_over = true,
            ServiceSeen::CaseTried { .. } => self.plays += u64::from(self.scenario_over),
            ServiceSeen::ThreadsEnded { threads } => {
                for thread in threads {
                    if let Some(instance) = self.threads.remove(thread) {
                        let instance = self.instance(instance);
                        instance.threads = instance.threads.saturating_sub(1);
                    }
                }
            }
            ServiceSeen::Iterated { iterations, failed } => {
                self.iterations += iterations;
                self.failed_iterations += failed;
            }
            ServiceSeen::Excepted { .. }
            | ServiceSeen::ThreadsCalled { .. }
            | ServiceSeen::ThreadsWanted { .. }
            | ServiceSeen::Interrupted
            | ServiceSeen::OddCalls { .. }
            | ServiceSeen::CrashRead { .. }
            | ServiceSeen::HelperStarted { .. }
            | ServiceSeen::HelperUsed { .. }
            | ServiceSeen::Tick => {
                self.at = at;
            }
        }
    }

    fn sampled(&mut self, batch: &SampleBatch) {
        let replicas = self.replicas.clone();
        let all = batch.instances.iter();
        for sample in all.filter(|one| !replicas.contains(&one.instance)) {
            let instance = self.instance(sample.instance);
            let last = instance.last.replace((batch.at, sample.cpu_us));
            let cores = last.map_or(0.0, |(then, cpu_us)| {
                let span = batch.at.since(then).max(1) as f64;
                sample.cpu_us.saturating_sub(cpu_us) as f64 / span
            });
            let memory = sample.memory_anon.max(1);
            instance
                .series
                .sample(batch.at, cores, memory, sample.open_files);
        }
    }

    fn load(&mut self, windows: &[cohort_model::LoadWindow]) {
        for window in windows {
            let mut all = EndpointWindow::default();
            for (endpoint, calls) in &window.endpoints {
                all.merge(calls);
                let endpoint = EndpointId(*endpoint);
                self.calls.entry(endpoint).or_default().merge(calls);
            }
            let seconds = window.span_us.max(1) as f64 / 1e6;
            let point = Point {
                at: window.at,
                calls: all.calls as f64 / seconds,
                errors: (all.broken + all.classes[4]) as f64 / seconds,
                p95_us: all.quantile_us(0.95),
                ..Point::default()
            };
            let instance = self.instance(window.instance);
            for metric in &window.metrics {
                let said = (metric.value, metric.unit.clone());
                if instance.own.len() < OWN_MAX || instance.own.contains_key(&metric.name) {
                    instance.own.insert(metric.name.clone(), said);
                }
            }
            instance.series.load(&point);
            instance.calls.merge(&all);
        }
    }

    fn decide(&mut self, decision: &ServiceDecision) {
        match &decision.command {
            ServiceCommand::OpenReplica { instance, .. } => {
                self.replicas.insert(*instance);
            }
            ServiceCommand::TryCase { case, capsule, .. } => {
                self.capsules.insert(*case, *capsule);
            }
            ServiceCommand::Allot { instance, .. }
            | ServiceCommand::Specialize { instance, .. }
            | ServiceCommand::Close { instance }
                if self.replicas.contains(instance) => {}
            ServiceCommand::Open { instance, share }
            | ServiceCommand::Allot { instance, share } => {
                self.instance(*instance).share = Some(*share);
            }
            ServiceCommand::Specialize { instance, purpose } => {
                self.instance(*instance).purpose = purpose.clone();
            }
            ServiceCommand::Close { instance } => {
                let instance = self.instance(*instance);
                instance.closed = true;
                instance.ready = false;
            }
            ServiceCommand::Deploy {
                deployment,
                helper,
                instance,
                ..
            } => {
                let finding = match decision.reason {
                    ServiceReason::Found { finding } => Some(finding),
                    _ => None,
                };
                let it = Deployed {
                    helper: helper.clone(),
                    instance: *instance,
                    finding,
                };
                self.helpers.insert(*deployment, it);
            }
            _ => {}
        }
    }

    fn put(&mut self, thread: ThreadId, instance: InstanceId) {
        if let Some(before) = self.threads.insert(thread, instance) {
            let before = self.instance(before);
            before.threads = before.threads.saturating_sub(1);
        }
        self.instance(instance).threads += 1;
    }

    fn instance(&mut self, instance: InstanceId) -> &mut ServiceInstance {
        self.instances.entry(instance).or_default()
    }
}
