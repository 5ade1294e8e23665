//! Campaigns of a service: what its instances are seen doing, what is concluded, what is decided.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    At, CaseId, CasePlan, CaseRequest, EndpointId, Frame, FuzzPlan, FuzzRound, HelperEnding,
    HelperPlan, HelperTold, HelperWithdrawal, InstanceId, Measured, OddCall, Played, Policy,
    Recipe, SampleBatch, Symptom, SymptomKind, ThreadId,
};

/// What an instance of a service may use now. `None`: no limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Share {
    /// Cores, as a limit.
    pub cores: f64,
    /// Memory, bytes.
    pub memory: u64,
    /// Bits in a second on its network, each way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<u64>,
}

/// What an instance of a service is for at present.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "for", rename_all = "snake_case")]
pub enum Purpose {
    /// Every kind of thread.
    #[default]
    General,
    /// Threads that exercise one area.
    Area {
        /// Name of the area.
        area: String,
    },
    /// Most of its threads exercise one area; some of others stay, to compare.
    Leaning {
        /// Name of the area.
        area: String,
    },
    /// Threads that were taken off other instances, so that a suspicion shows alone.
    Suspect {
        /// The suspicion.
        kind: ServiceFindingKind,
        /// The endpoint it is about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        endpoint: Option<EndpointId>,
    },
    /// Edge cases are tried again on it; no thread comes to it.
    Reproducing,
}

/// Calls of one endpoint of one instance in one window of time, as those who called saw them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EndpointWindow {
    /// Answered calls.
    pub calls: u64,
    /// Answers by class: 1xx, 2xx, 3xx, 4xx, 5xx.
    pub classes: [u64; 5],
    /// Calls that got no answer (refused, reset, timed out, no HTTP).
    pub broken: u64,
    /// What failed calls ended in: an error of the server by its status (`503`), or why there was no
    /// answer (`timed out`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failures: BTreeMap<String, u64>,
    /// Checks of the script that failed on an answer of this endpoint that was no error of the server
    /// (5xx), by their name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed_checks: BTreeMap<String, u64>,
    /// Bytes sent.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
    /// Latency: sum over answered calls, microseconds.
    pub latency_sum_us: u64,
    /// Latency histogram: (upper bound in microseconds, calls), ascending, no empty buckets; buckets are
    /// at most a tenth wide, relative to their value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latency: Vec<(u64, u64)>,
    /// Calls that were under way at the end of the window.
    pub in_flight: u32,
    /// How long the oldest of those had been, microseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub oldest_us: u64,
    /// Least time between two answers that one agent received, microseconds; none with fewer than two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closest_us: Option<u64>,
}

impl EndpointWindow {
    /// Latency below which the share `q` (0 to 1) of the answered calls lies, microseconds.
    #[must_use]
    pub fn quantile_us(&self, q: f64) -> Option<u64> {
        let total: u64 = self.latency.iter().map(|(_, calls)| calls).sum();
        let rank = (q.clamp(0.0, 1.0) * total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        self.latency.iter().find_map(|&(bound, calls)| {
            seen += calls;
            (seen >= rank).then_some(bound)
        })
    }

    /// Mean latency of the answered calls, microseconds.
    #[must_use]
    pub fn mean_us(&self) -> Option<f64> {
        (self.calls > 0).then(|| self.latency_sum_us as f64 / self.calls as f64)
    }

    /// Adds the calls of another window of the same endpoint.
    pub fn merge(&mut self, other: &EndpointWindow) {
        self.calls += other.calls;
        for (own, more) in self.classes.iter_mut().zip(other.classes) {
            *own += more;
        }
        self.broken += other.broken;
        for (name, count) in &other.failures {
            *self.failures.entry(name.clone()).or_default() += count;
        }
        for (name, count) in &other.failed_checks {
            *self.failed_checks.entry(name.clone()).or_default() += count;
        }
        self.sent += other.sent;
        self.received += other.received;
        self.latency_sum_us += other.latency_sum_us;
        let mut merged: BTreeMap<u64, u64> = self.latency.iter().copied().collect();
        for &(bound, calls) in &other.latency {
            *merged.entry(bound).or_default() += calls;
        }
        self.latency = merged.into_iter().collect();
        self.in_flight += other.in_flight;
        self.oldest_us = self.oldest_us.max(other.oldest_us);
        self.closest_us = [self.closest_us, other.closest_us]
            .into_iter()
            .flatten()
            .min();
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// A call worth showing: the slowest of its window, or one that was under way when its instance crashed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallSeen {
    /// Which endpoint.
    pub endpoint: EndpointId,
    /// Who called.
    pub thread: ThreadId,
    /// Method and path with its query, cut to a bounded length.
    pub request: String,
    /// Beginning of the body, when it was text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// How long it took, or had been under way, microseconds.
    pub took_us: u64,
}

/// What one instance was asked to do in one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadWindow {
    /// Which instance.
    pub instance: InstanceId,
    /// End of the window.
    pub at: At,
    /// Its length, microseconds.
    pub span_us: u64,
    /// By endpoint.
    #[serde(default, deserialize_with = "crate::log::numbered")]
    pub endpoints: BTreeMap<u32, EndpointWindow>,
    /// Slowest call of each endpoint, when it stands out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slowest: Vec<CallSeen>,
    /// Calls whose connection broke before an answer came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broken: Vec<CallSeen>,
    /// System calls in the window, by kind; empty where that is not permitted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub system_calls: BTreeMap<String, u64>,
    /// What the instance says of itself (OpenTelemetry).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<SpanWindow>,
    /// Its own metrics (OpenTelemetry).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<OwnMetric>,
}

/// A metric that an instance tells of itself: a level, or what was added to a sum in the window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OwnMetric {
    /// Its name, with its attributes in braces.
    pub name: String,
    /// As the instance wrote it (UCUM).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// In that unit; of a distribution the sum of what was observed.
    pub value: f64,
}

/// Spans of one operation of one instance in one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpanWindow {
    /// Route, or name of the span.
    pub operation: String,
    /// Spans that ended.
    pub calls: u64,
    /// Of those, with an error.
    pub errors: u64,
    /// Sum of their durations, microseconds.
    pub sum_us: u64,
    /// Longest, microseconds.
    pub longest_us: u64,
    /// Operations beneath, with the sum of their durations, microseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beneath: Vec<(String, u64)>,
}

/// Exceptions of one kind on one instance, since the last report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExceptionSeen {
    /// Which instance.
    pub instance: InstanceId,
    /// Equal for the same bug.
    pub fingerprint: String,
    /// Language or source, and class: `rust panic`, `python ValueError`.
    pub kind: String,
    /// One message of it.
    pub message: String,
    /// Innermost frame of the program's own code, when told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub frame: String,
    /// A line with a level of error, and no exception: weaker evidence.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plain_line: bool,
    /// How many.
    pub count: u64,
}

impl ExceptionSeen {
    /// What it looks like as odd behaviour.
    #[must_use]
    pub fn symptom(&self) -> Symptom {
        let frame = (!self.frame.is_empty()).then(|| Frame::read(&self.frame));
        let is_report = self.kind.ends_with("Sanitizer") || self.kind.contains("Sanitizer ");
        Symptom {
            kind: match is_report {
                true => SymptomKind::Sanitizer,
                false => SymptomKind::Exception,
            },
            class: self.kind.clone(),
            message: self.message.clone(),
            frames: frame.into_iter().collect(),
        }
    }
}

/// How the process of an instance ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum Exit {
    /// It was asked to.
    Asked,
    /// By itself, with this code.
    Code {
        /// The code.
        code: i32,
    },
    /// By a signal.
    Signal {
        /// Its number.
        signal: i32,
    },
    /// Killed for memory.
    OutOfMemory,
}

/// What the orchestrator of a service is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "seen", rename_all = "snake_case")]
pub enum ServiceSeen {
    /// An endpoint is called for the first time.
    EndpointNamed {
        /// Its id from now on.
        endpoint: EndpointId,
        /// `GET /products/{}`.
        name: String,
    },
    /// An instance answers.
    InstanceReady {
        /// Which.
        instance: InstanceId,
        /// From its start, microseconds.
        took_us: u64,
    },
    /// The process of an instance ended.
    InstanceExited {
        /// Which.
        instance: InstanceId,
        /// How.
        exit: Exit,
        /// From its start, microseconds.
        lived_us: u64,
        /// Last lines of its log.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        last_lines: Vec<String>,
        /// Calls that were under way.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        calls: Vec<CallSeen>,
        /// It will be started again by itself.
        again: bool,
    },
    /// An instance could not be started, or not any more.
    InstanceFailed {
        /// Which.
        instance: InstanceId,
        /// Why, in words.
        reason: String,
    },
    /// An allotment is in force.
    ShareSet {
        /// Which instance.
        instance: InstanceId,
        /// What.
        share: Share,
    },
    /// New telemetry.
    Sampled(SampleBatch),
    /// What instances were asked in the last window.
    Loaded {
        /// One for each instance.
        windows: Vec<LoadWindow>,
    },
    /// Exceptions in logs or telemetry.
    Excepted {
        /// Each kind.
        exceptions: Vec<ExceptionSeen>,
    },
    /// Which endpoints each thread called since the last report.
    ThreadsCalled {
        /// By thread: calls by endpoint.
        threads: Vec<(ThreadId, Vec<(EndpointId, u64)>)>,
    },
    /// The schedule wants threads to begin.
    ThreadsWanted {
        /// Which, and in which scenario.
        threads: Vec<(ThreadId, String)>,
    },
    /// A thread runs.
    ThreadPlaced {
        /// Which.
        thread: ThreadId,
        /// Where.
        instance: InstanceId,
    },
    /// Threads ended.
    ThreadsEnded {
        /// Which.
        threads: Vec<ThreadId>,
    },
    /// A thread was handed over.
    HandedOver {
        /// Which.
        thread: ThreadId,
        /// From where.
        source: InstanceId,
        /// To where.
        target: InstanceId,
        /// It stood still for so long, microseconds.
        pause_us: u64,
    },
    /// A thread stays where it was.
    HandOverFailed {
        /// Which.
        thread: ThreadId,
        /// Where it is.
        source: InstanceId,
        /// Why, in words.
        reason: String,
    },
    /// Iterations ended since the last report.
    Iterated {
        /// All.
        iterations: u64,
        /// Of those, interrupted by an error of the script.
        failed: u64,
    },
    /// The schedule wants nothing any more.
    ScheduleDone,
    /// The campaign is to end now.
    Interrupted,
    /// Calls that went odd, told as they were answered; of many of one kind only some are.
    OddCalls {
        /// Each.
        calls: Vec<OddCall>,
    },
    /// What the end of a server looked like, as its last words tell.
    CrashRead {
        /// Which instance.
        instance: InstanceId,
        /// How it looked.
        symptom: Box<Symptom>,
    },
    /// A round of changing recorded requests is over.
    Fuzzed {
        /// Its number.
        fuzz: u32,
        /// On which instance.
        instance: InstanceId,
        /// What it came to.
        round: FuzzRound,
    },
    /// A changed request led to something odd.
    FuzzFound {
        /// Its number.
        found: u32,
        /// Whose iteration it was.
        thread: CaseThread,
        /// On which instance.
        instance: InstanceId,
        /// The endpoint that was odd.
        endpoint: String,
        /// How it looked.
        symptom: Box<Symptom>,
        /// How it looked that the server came to its end, when it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end: Option<Box<Symptom>>,
        /// What was changed, in words.
        edits: Vec<String>,
    },
    /// Recordings were put together.
    CaseCaptured {
        /// Number of the capsule.
        capsule: u32,
        /// Its requests in the order in which they were sent: their places are their numbers.
        requests: Vec<CaseRequest>,
        /// Why there is none, in words; empty when there is.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        failed: String,
        /// What is not in it, in words.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        remarks: Vec<String>,
    },
    /// A play is over.
    CaseTried {
        /// Its number.
        play: u32,
        /// Of which case.
        case: CaseId,
        /// On which instance.
        instance: InstanceId,
        /// What it showed.
        played: Played,
    },
    /// A helper runs.
    HelperStarted {
        /// Number of its deployment.
        deployment: u32,
    },
    /// What a helper used in the last second or so.
    HelperUsed {
        /// Number of its deployment.
        deployment: u32,
        /// CPU, cores.
        cores: f64,
    },
    /// A helper ended by itself.
    HelperEnded {
        /// Number of its deployment.
        deployment: u32,
        /// How.
        #[serde(flatten)]
        ending: HelperEnding,
        /// What it found.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        told: Vec<HelperTold>,
        /// Files that it left, relative to the campaign's directory.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        artifacts: Vec<PathBuf>,
    },
    /// Time passed.
    Tick,
}

/// What can be concluded of a service.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ServiceFindingKind {
    /// Memory grows steadily, beyond warm-up and without levelling off.
    MemoryLeak,
    /// Open descriptors do.
    DescriptorLeak,
    /// Threads or processes do.
    ThreadLeak,
    /// An endpoint answers slower than its peers, or than it used to.
    SlowEndpoint,
    /// An endpoint gets slower steadily, as its data grows.
    GrowingLatency,
    /// Some inputs of an endpoint burn far more CPU than others.
    CpuBlowUp,
    /// Calls wait for each other though CPU is idle.
    LockContention,
    /// As much CPU as there is, and it would take more.
    CpuSaturation,
    /// Others on the host take the CPU that it would use.
    HostBusy,
    /// Held back by the CPU limit that it was given.
    Throttled,
    /// As much network as it was given.
    NetworkLimit,
    /// Close to its memory limit, or reclaiming.
    MemoryPressure,
    /// Many more errors than before, from some time on.
    ErrorBurst,
    /// Calls of an endpoint fail now and then, or all, at a rate that does not change.
    Errors,
    /// An exception in its log or telemetry.
    Exception,
    /// A check of the script fails.
    WrongAnswer,
    /// Its process ended unasked.
    Crash,
    /// Calls are under way, of an instance or of an endpoint, and none is answered.
    Hang,
    /// Somebody who means harm could make use of it.
    Weakness,
}

impl ServiceFindingKind {
    /// Whether it is a fault of the software, and not a state of its load or limits.
    #[must_use]
    pub fn is_fault(self) -> bool {
        !matches!(
            self,
            Self::CpuSaturation
                | Self::HostBusy
                | Self::Throttled
                | Self::NetworkLimit
                | Self::MemoryPressure
        )
    }
}

/// A conclusion about a service, and what it rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceFinding {
    /// Number within the campaign; an update has the number of what it updates.
    pub number: u32,
    /// What.
    pub kind: ServiceFindingKind,
    /// Where it shows.
    pub instances: Vec<InstanceId>,
    /// The endpoint it is about, when that could be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointId>,
    /// When it was concluded, or last confirmed.
    pub at: At,
    /// When it began, as far as can be told.
    pub since: At,
    /// It is over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
    /// It turned out to have been none, and is no fault any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
    /// 0 to 1.
    pub confidence: f64,
    /// What, where and why, in one sentence.
    pub sentence: String,
    /// In numbers.
    pub evidence: Vec<Measured>,
    /// The exception, the request, the last lines of a log: what a person would want to see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excerpts: Vec<String>,
    /// What helpers found of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<HelperTold>,
    /// Files that helpers left about it, relative to the campaign's directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<PathBuf>,
}

impl ServiceFinding {
    /// Whether it is a fault of the software, as far as is known by now.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        self.kind.is_fault() && !self.withdrawn
    }
}

/// Something the orchestrator of a service wants done. Safe to repeat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum ServiceCommand {
    /// Make and start an instance.
    Open {
        /// Its id, never used before.
        instance: InstanceId,
        /// What it may use.
        share: Share,
    },
    /// Change what an instance may use, while it runs.
    Allot {
        /// Which.
        instance: InstanceId,
        /// What it may use now.
        share: Share,
    },
    /// Change what an instance is for.
    Specialize {
        /// Which.
        instance: InstanceId,
        /// What it is for now.
        purpose: Purpose,
    },
    /// Make and start an instance on which edge cases are tried again. It is set up as others are, and no thread comes to it.
    OpenReplica {
        /// Its id, never used before.
        instance: InstanceId,
        /// What it may use.
        share: Share,
    },
    /// Put the recordings of threads together, so that they can be played again.
    Capture {
        /// Number of the capsule.
        capsule: u32,
        /// Where the threads were.
        instance: InstanceId,
        /// Which, the most important one first; an iteration of each, or that many of the last ones.
        threads: Vec<CaseThread>,
    },
    /// Play a case.
    TryCase {
        /// Which case.
        case: CaseId,
        /// Which capsule it is made of.
        capsule: u32,
        /// Number of the play, never used before.
        play: u32,
        /// On which instance.
        instance: InstanceId,
        /// How.
        recipe: Recipe,
        /// The other build that its server is started as; empty: the ordinary one.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        variant: String,
        /// Requests that are sent: those of the recipe, and those whose answers they use.
        keep: Vec<u32>,
        /// Pieces of them that are left out, by request.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        without: Vec<(u32, String)>,
        /// The instance begins anew before.
        fresh: bool,
        /// So many plays of it at once.
        copies: u32,
        /// So often one after the other.
        rounds: u32,
        /// It is over with the first call that is waited for in vain, and is repeated for a few seconds at most.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        hangs: bool,
        /// It is measured how the instance grows meanwhile.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        grows: bool,
        /// Sleeps, and when threads begin, are as they were; else as short as possible.
        in_time: bool,
        /// How long an answer is waited for, microseconds.
        patience_us: u64,
    },
    /// End a play at once.
    EndPlay {
        /// Which.
        play: u32,
    },
    /// Play recorded iterations with changed requests on an instance to which no thread comes.
    Fuzz {
        /// Number of this round, never used before.
        fuzz: u32,
        /// On which instance.
        instance: InstanceId,
        /// Capsules whose requests are changed.
        capsules: Vec<u32>,
        /// All that is drawn at random follows from it.
        seed: u64,
        /// How long, microseconds.
        for_us: u64,
        /// So many iterations at once.
        lanes: u32,
        /// The instance begins anew before.
        fresh: bool,
    },
    /// End that at once.
    EndFuzz {
        /// Which round.
        fuzz: u32,
    },
    /// Keep what it found as a capsule.
    KeepFound {
        /// Number of what was found.
        found: u32,
        /// Number of the capsule from now on.
        capsule: u32,
    },
    /// Start a helper beside an instance.
    Deploy {
        /// Number of the deployment, never used before.
        deployment: u32,
        /// Name of the helper.
        helper: String,
        /// Beside which instance.
        instance: InstanceId,
        /// One that is well, which it is compared with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<InstanceId>,
    },
    /// Take a helper away.
    Withdraw {
        /// Number of its deployment.
        deployment: u32,
    },
    /// Begin a thread here.
    Place {
        /// Which.
        thread: ThreadId,
        /// Where.
        instance: InstanceId,
    },
    /// Hand a running thread over.
    HandOver {
        /// Which.
        thread: ThreadId,
        /// From where.
        source: InstanceId,
        /// To where.
        target: InstanceId,
    },
    /// Stop and start the process of an instance.
    Restart {
        /// Which.
        instance: InstanceId,
    },
    /// End an instance.
    Close {
        /// Which.
        instance: InstanceId,
    },
    /// All is done.
    Finish,
}

/// A thread whose recording is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CaseThread {
    /// Which.
    pub thread: ThreadId,
    /// This iteration of it, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iteration: Option<u64>,
    /// Else so many of the last ones.
    pub last: u32,
}

/// Why a command was given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum ServiceReason {
    /// The scenario is over, and weaknesses are looked for.
    Survey,
    /// Something odd is to be tried again.
    EdgeCase,
    /// Something odd is looked for.
    Fuzzing,
    /// The campaign begins.
    Begin,
    /// The schedule asks for it.
    Scheduled,
    /// A finding.
    Found {
        /// Its number.
        finding: u32,
    },
    /// It needs more, or less, than it has.
    Need {
        /// What (`cores`, `memory`, `network`).
        what: String,
        /// Wanted, in the unit of the share.
        wanted: f64,
        /// Had.
        had: f64,
    },
    /// Its threads exercise this area most.
    Area {
        /// Name of the area.
        area: String,
        /// Share of their calls in it, 0 to 1.
        share: f64,
    },
    /// Its instance answers slower than the others.
    SlowAgainstPeers {
        /// Its latency over that of the peers.
        ratio: f64,
    },
    /// Its instance is down, or about to be.
    Restarting,
    /// Instances are loaded unevenly.
    Balance,
    /// An instance could not be started, or not any more.
    Failed {
        /// Why, in words.
        why: String,
    },
    /// A change that did not help is undone.
    Undo {
        /// The change. Named otherwise on record, where it stands beside the change that a decision belongs to.
        #[serde(rename = "undoes")]
        change: u32,
    },
    /// A helper is taken away.
    Helper(HelperWithdrawal),
    /// The fixed rule of the static policy.
    Static,
    /// The user, or the end of the campaign.
    Stopping,
}

/// A command on record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceDecision {
    /// What is to be done.
    #[serde(flatten)]
    pub command: ServiceCommand,
    /// Why.
    #[serde(flatten)]
    pub reason: ServiceReason,
    /// The change it belongs to, whose effect is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<u32>,
}

/// A change of allotment or specialty, what was expected of it, and what it did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Its number.
    pub number: u32,
    /// In words: `i1 gets 1.0 cores (0.5)`.
    pub what: String,
    /// What is measured: `calls/s of i1`.
    pub measure: String,
    /// Before.
    pub before: f64,
    /// Expected after.
    pub expected: f64,
    /// Measured after; `None` while it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<f64>,
    /// What became of it.
    pub verdict: ChangeVerdict,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeVerdict {
    /// Not measured yet.
    Pending,
    /// It helped, or did no harm, and stands.
    Kept,
    /// It did not help and was undone.
    Undone,
    /// Something else happened meanwhile, so that nothing can be said.
    Unclear,
}

/// Endpoints that are exercised together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Area {
    /// Name.
    pub name: String,
    /// Its endpoints.
    pub endpoints: Vec<EndpointId>,
}

/// What a campaign of a service is to be: second record of its log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServicePlan {
    /// Instances at the beginning.
    pub instances: u32,
    /// Cores for all of them.
    pub cores: f64,
    /// Memory for all of them, bytes.
    pub memory: u64,
    /// Bits in a second for all of them, when that is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<u64>,
    /// How it decides.
    pub policy: Policy,
    /// Seed of all that is random.
    pub seed: u64,
    /// Most threads at once, by the schedule.
    pub threads_max: u32,
    /// How long the schedule takes at most, microseconds.
    pub duration_us: u64,
    /// CPU limits are enforced.
    pub limits_cpu: bool,
    /// Threads can be handed over (they are scripts, and no programs of the user's).
    pub hands_over: bool,
    /// Threads know nothing of earlier iterations, so that they may be handed over between two of them where
    /// nothing is wrong.
    #[serde(default)]
    pub leans: bool,
    /// How edge cases are tried again; `None`: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cases: Option<CasePlan>,
    /// Which helpers are deployed on suspicion; `None`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helpers: Option<HelperPlan>,
    /// Whether recorded requests are changed; `None`: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuzz: Option<FuzzPlan>,
}

/// A check of the script, over the whole campaign.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckTotal {
    /// Its name, with the groups it is in.
    pub name: String,
    /// How often it held.
    pub passed: u64,
    /// How often it did not.
    pub failed: u64,
}

/// A threshold of the script, at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThresholdTotal {
    /// Its metric, with its tags.
    pub metric: String,
    /// As written: `p(95)<500`.
    pub expression: String,
    /// What was measured; `None` when nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Whether it held.
    pub held: bool,
}

/// A metric of the script, built in or its own, at the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricTotal {
    /// Its name, with its tags when it is one of a threshold.
    pub name: String,
    /// `counter`, `gauge`, `rate` or `trend`.
    pub kind: String,
    /// Its values hold times, milliseconds.
    pub is_time: bool,
    /// `count`, `rate`, `avg`, `p(95)` ...
    pub values: BTreeMap<String, f64>,
}

/// What the scenario came to: next to last record of a campaign of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceTotals {
    /// Checks, in the order of the script as far as it is known.
    pub checks: Vec<CheckTotal>,
    /// Thresholds.
    pub thresholds: Vec<ThresholdTotal>,
    /// Metrics, by name.
    pub metrics: Vec<MetricTotal>,
    /// Iterations that could not begin in time because no thread was free.
    pub dropped_iterations: u64,
    /// Iterations that ended with an error of the script, and one such error.
    pub failed_iterations: u64,
    /// First lines of errors, with how many of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<(String, u64)>,
    /// CPU that driving the threads took, microseconds.
    pub driver_cpu_us: u64,
    /// How late the driver itself was, 99th percentile over its windows, microseconds.
    pub driver_lag_p99_us: u64,
    /// The script ended the campaign itself, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aborted: Option<String>,
}
