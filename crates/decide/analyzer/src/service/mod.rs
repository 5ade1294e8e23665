//! The Behavior Analyzer for campaigns of a service: told what is seen of its instances, it says
//! what that means.
//!
//! ```text
//!   what is seen -> seconds and spans of each instance (bounded) -> judges -> conclusions
//!                                                                                 |
//!                     findings: new, updated, over  <- book (begun once, ended once)
//! ```
//!
//! Pure: no clock, no randomness; the same calls give the same findings. Every judge is
//! conservative: it is asked every second, of every endpoint and instance, for hours, and must not
//! cry out over a warm-up, a filling cache, a collector's sawtooth, a periodic batch, a change of
//! load, a busy host, or our own change of an allotment.

mod answers;
mod areas;
mod attribution;
mod book;
mod endings;
mod ends;
mod errors;
mod fit;
mod hangs;
mod latency;
mod leaks;
mod limits;
mod locks;
mod modes;
mod recent;
mod record;
mod suspects;
mod turns;
mod view;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use cohort_model::{
    Area, At, CallSeen, Exit, HostSample, InstanceId, LoadWindow, Purpose, SampleBatch,
    ServiceCommand, ServiceFinding, ServicePlan, ServiceSeen, Share, ThreadId,
};

use answers::Answers;
use areas::Together;
use book::{Book, Conclusion};
use ends::{Ended, Ends};
use errors::Errors;
use record::{Counters, HostUse, Second, Watched};
use view::{Floor, View};

pub use recent::Recent;

/// Requests kept of an endpoint: the slowest of late.
const EXEMPLARS_MAX: usize = 4;
/// After this many windows the slowest of them fade, by this factor a window.
const EXEMPLAR_FADES: f64 = 0.99;
/// The host is busy: less than this share of its cores is idle, or its tasks wait for CPU in this
/// share of the time.
const HOST_IDLE_MIN: f64 = 0.05;
const HOST_PRESSURE_MAX: f64 = 0.7;
/// Seconds between two searches for what needs one look now and then.
const SLOW_JUDGES_EVERY: u64 = 2;

/// What the analyzer is told at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServiceSettings {
    /// Cores of the host that the campaign may use.
    pub cores: f64,
}

impl ServiceSettings {
    /// As `plan` has it.
    #[must_use]
    pub fn of(plan: &ServicePlan) -> ServiceSettings {
        let usable = plan.cores.is_finite() && plan.cores >= 0.1;
        ServiceSettings {
            cores: if usable { plan.cores } else { 1.0 },
        }
    }
}

/// The host at one time.
#[derive(Clone, Copy, Debug)]
struct HostSeen {
    at: At,
    sample: HostSample,
}

/// Watches all instances of a campaign of a service.
#[derive(Clone, Debug)]
pub struct ServiceAnalyzer {
    settings: ServiceSettings,
    names: BTreeMap<u32, String>,
    instances: BTreeMap<InstanceId, Watched>,
    placed: BTreeMap<ThreadId, InstanceId>,
    host: Option<HostSeen>,
    host_before: Option<HostSeen>,
    is_host_busy: bool,
    /// Endpoints of the area that an instance leans to.
    leaning: BTreeMap<InstanceId, BTreeSet<u32>>,
    floors: BTreeMap<u32, Floor>,
    exemplars: BTreeMap<u32, Vec<(f64, CallSeen)>>,
    answers: Answers,
    errors: Errors,
    ends: Ends,
    together: Together,
    book: Book,
    concluded: u64,
}

impl ServiceAnalyzer {
    /// An analyzer that has seen nothing yet.
    #[must_use]
    pub fn new(settings: ServiceSettings) -> ServiceAnalyzer {
        ServiceAnalyzer {
            settings,
            names: BTreeMap::new(),
            instances: BTreeMap::new(),
            placed: BTreeMap::new(),
            host: None,
            host_before: None,
            is_host_busy: false,
            leaning: BTreeMap::new(),
            floors: BTreeMap::new(),
            exemplars: BTreeMap::new(),
            answers: Answers::default(),
            errors: Errors::default(),
            ends: Ends::default(),
            together: Together::default(),
            book: Book::default(),
            concluded: 0,
        }
    }

    /// Takes what was seen at `at`. What says nothing of behaviour is left out.
    pub fn observe(&mut self, at: At, seen: &ServiceSeen) {
        match seen {
            ServiceSeen::EndpointNamed { endpoint, name } => {
                self.names.insert(endpoint.0, name.clone());
            }
            ServiceSeen::InstanceReady { instance, .. } => {
                self.instances
                    .entry(*instance)
                    .or_default()
                    .became_ready(at);
            }
            ServiceSeen::InstanceExited {
                instance,
                exit,
                last_lines,
                calls,
                ..
            } => {
                let ended = Ended {
                    instance: *instance,
                    exit,
                    lines: last_lines,
                    calls,
                };
                self.exited(at, &ended);
            }
            // Its last process has ended, or is ended.
            ServiceSeen::InstanceFailed { instance, .. } => self.answers.ended(at, *instance),
            ServiceSeen::ShareSet { instance, share } => self.share_set(at, *instance, *share),
            ServiceSeen::Sampled(batch) => self.sampled(batch),
            ServiceSeen::Loaded { windows } => self.loaded(windows),
            ServiceSeen::Excepted { exceptions } => {
                for exception in exceptions {
                    self.answers.excepted(at, exception);
                }
            }
            ServiceSeen::ThreadsCalled { threads } => self.together.called(threads),
            ServiceSeen::ThreadPlaced { thread, instance } => self.moved(*thread, Some(*instance)),
            ServiceSeen::HandedOver { thread, target, .. } => self.moved(*thread, Some(*target)),
            ServiceSeen::ThreadsEnded { threads } => {
                for thread in threads {
                    self.moved(*thread, None);
                }
            }
            _ => {}
        }
    }

    /// What the orchestrator ordered: an instance that is restarted or closed is down from now on,
    /// and says nothing of the software.
    pub fn ordered(&mut self, at: At, command: &ServiceCommand) {
        match command {
            ServiceCommand::Restart { instance } => {
                if let Some(watched) = self.instances.get_mut(instance) {
                    watched.exited(at);
                }
            }
            ServiceCommand::Close { instance } => {
                self.instances.remove(instance);
            }
            ServiceCommand::Specialize { instance, purpose } => {
                self.specialized(at, *instance, purpose);
            }
            _ => {}
        }
    }

    /// Instances that lean to an area each swapped threads: those of the others are strange to each.
    fn specialized(&mut self, at: At, instance: InstanceId, purpose: &Purpose) {
        let endpoints: Option<BTreeSet<u32>> = match purpose {
            Purpose::Leaning { area } => {
                let areas = self.areas();
                let area = areas.iter().find(|known| known.name == *area);
                area.map(|area| area.endpoints.iter().map(|id| id.0).collect())
            }
            _ => None,
        };
        match endpoints {
            Some(endpoints) => self.leaning.insert(instance, endpoints),
            None => self.leaning.remove(&instance),
        };
        for (id, watched) in &mut self.instances {
            let own = self.leaning.get(id);
            let all = self.leaning.values().flatten().copied();
            let others = all.filter(|endpoint| own.is_some_and(|own| !own.contains(endpoint)));
            watched.strange_are(at, others.collect());
        }
        if let Some(watched) = self.instances.get_mut(&instance) {
            let apart = matches!(purpose, Purpose::Suspect { .. } | Purpose::Area { .. });
            watched.kept_apart(at, apart);
        }
    }

    fn exited(&mut self, at: At, ended: &Ended<'_>) {
        let watched = self.instances.entry(ended.instance).or_default();
        watched.exited(at);
        if *ended.exit == Exit::Asked {
            return;
        }
        if watched.crashes.len() == 16 {
            watched.crashes.remove(0);
        }
        watched.crashes.push(at);
        self.answers.ended(at, ended.instance);
        let looping = ends::is_loop(&watched.crashes, at);
        let under_way = under_way(watched);
        self.ends.crashed(at, ended, &under_way, looping);
    }

    fn share_set(&mut self, at: At, instance: InstanceId, share: Share) {
        let watched = self.instances.entry(instance).or_default();
        let other = watched.share.is_some_and(|before| {
            (share.cores / before.cores.max(1e-6)).ln().abs() > 0.2
                || share.network != before.network
        });
        if other {
            watched.changed = Some(at);
        }
        watched.share = Some(share);
    }

    fn sampled(&mut self, batch: &SampleBatch) {
        self.host = Some(HostSeen {
            at: batch.at,
            sample: batch.host,
        });
        for sample in &batch.instances {
            let watched = self.instances.entry(sample.instance).or_default();
            watched.sampled(Counters {
                at: batch.at,
                sample: *sample,
            });
        }
    }

    fn loaded(&mut self, windows: &[LoadWindow]) {
        let host = self.host_use();
        self.is_host_busy = host.busy;
        self.host_before = self.host;
        for window in windows {
            let watched = self.instances.entry(window.instance).or_default();
            watched.push(window, host);
            let usual = under_way(watched);
            let now = watched.seconds.back().map_or(0.0, Second::under_way);
            let wrong = self.answers.load(window, now);
            self.errors.load(window);
            if let Some(second) = watched.seconds.back_mut() {
                for e in &mut second.endpoints {
                    e.wrong = wrong.get(&e.endpoint).copied().unwrap_or(0.0);
                }
            }
            self.ends
                .broke(window.at, window.instance, &window.broken, &usual);
            self.together.spans(&window.spans);
            for (endpoint, calls) in &window.endpoints {
                self.floors
                    .entry(*endpoint)
                    .or_default()
                    .add(&calls.latency);
            }
            for call in &window.slowest {
                self.keep(call);
            }
        }
    }

    /// Keeps the slowest requests of late of each endpoint, each only once.
    fn keep(&mut self, call: &CallSeen) {
        let kept = self.exemplars.entry(call.endpoint.0).or_default();
        for (weight, _) in kept.iter_mut() {
            *weight *= EXEMPLAR_FADES;
        }
        let weight = call.took_us as f64;
        if let Some(same) = kept
            .iter_mut()
            .find(|(_, known)| known.request == call.request && known.body == call.body)
        {
            same.0 = same.0.max(weight);
            same.1.took_us = same.1.took_us.max(call.took_us);
        } else {
            kept.push((weight, call.clone()));
        }
        kept.sort_by(|a, b| b.0.total_cmp(&a.0));
        kept.truncate(EXEMPLARS_MAX);
    }

    /// Whether the host was busy between the two latest windows of load, so that everything is slow
    /// now and then.
    #[must_use]
    pub fn is_host_busy(&self) -> bool {
        self.is_host_busy
    }

    /// What was done on the host since the last windows of load.
    fn host_use(&self) -> HostUse {
        let (Some(before), Some(now)) = (self.host_before, self.host) else {
            return HostUse::default();
        };
        let span_us = now.at.since(before.at);
        if span_us == 0 {
            return HostUse::default();
        }
        let rate = |of: fn(&HostSample) -> u64| {
            let (from, to) = (of(&before.sample), of(&now.sample));
            to.saturating_sub(from) as f64 / span_us as f64
        };
        let used = rate(|host| host.busy_us);
        let pressure = rate(|host| host.cpu_pressure_us);
        let instances = rate(|host| host.campaign_cpu_us);
        HostUse {
            busy: used > (1.0 - HOST_IDLE_MIN) * self.settings.cores
                || pressure > HOST_PRESSURE_MAX,
            instances,
            others: (used - instances).max(0.0),
        }
    }

    fn moved(&mut self, thread: ThreadId, target: Option<InstanceId>) {
        let source = match target {
            Some(target) => self.placed.insert(thread, target),
            None => self.placed.remove(&thread),
        };
        if let Some(watched) = source.and_then(|s| self.instances.get_mut(&s)) {
            watched.threads = watched.threads.saturating_sub(1);
        }
        if let Some(target) = target {
            self.instances.entry(target).or_default().threads += 1;
        }
    }

    /// The campaign ends: what is said next is the last word.
    pub fn end(&mut self) {
        self.answers.end();
        self.errors.end();
        self.book.end();
    }

    /// Draws conclusions from all that was seen until `at`; meant to be called every second. Gives
    /// what is news: findings that begin, that change (same number), and that are over.
    pub fn conclude(&mut self, at: At) -> Vec<ServiceFinding> {
        self.concluded += 1;
        let mut drawn = Vec::new();
        let mut held = Vec::new();
        let mut answers = std::mem::take(&mut self.answers);
        let mut errors = std::mem::take(&mut self.errors);
        let mut ends = std::mem::take(&mut self.ends);
        let view = self.view();
        answers.conclude(&view, at, &mut drawn);
        let said = |instance, at| answers.said_around(instance, at);
        ends.conclude(&view, said, &mut drawn);
        hangs::conclude(&view, at, &mut drawn);
        errors.conclude(&view, at, &mut drawn);
        limits::conclude(&view, at, &mut drawn, &mut held);
        locks::conclude(&view, at, &mut drawn);
        leaks::conclude(&view, at, &mut drawn);
        turns::conclude(&view, &mut drawn);
        latency::against_peers(&view, at, &mut drawn, &mut held);
        if self.concluded.is_multiple_of(SLOW_JUDGES_EVERY) {
            latency::growing(&view, at, &mut drawn);
            latency::against_past(&view, at, &mut drawn);
            modes::conclude(&view, at, &mut drawn);
        }
        self.answers = answers;
        self.errors = errors;
        self.ends = ends;
        self.entered(at, &drawn, &held)
    }

    fn entered(&mut self, at: At, drawn: &[Conclusion], held: &[book::Key]) -> Vec<ServiceFinding> {
        let mut said = Vec::new();
        for conclusion in drawn {
            self.book.draw(at, conclusion, &mut said);
        }
        for key in held {
            self.book.hold(key, at);
        }
        let mut book = std::mem::take(&mut self.book);
        let view = self.view();
        let how = |finding: &_, last| endings::end_of(&view, finding, last, at);
        book.settle(at, how, &mut said);
        self.book = book;
        said
    }

    fn view(&self) -> View<'_> {
        View {
            settings: &self.settings,
            names: &self.names,
            instances: &self.instances,
            floors: &self.floors,
            exemplars: &self.exemplars,
            book: &self.book,
        }
    }

    /// Areas of the software, from what was called together so far; empty while too little was.
    #[must_use]
    pub fn areas(&self) -> Vec<Area> {
        self.together.areas(&self.names)
    }
}

/// Mean calls under way by endpoint, over the latest half minute (Little's law).
fn under_way(watched: &Watched) -> BTreeMap<u32, f64> {
    let mut sums: BTreeMap<u32, f64> = BTreeMap::new();
    let mut span_s = 0.0;
    for second in watched.seconds.iter().rev().take(30) {
        span_s += second.span_s;
        for e in &second.endpoints {
            *sums.entry(e.endpoint).or_default() += e.sum_us / 1e6;
        }
    }
    for sum in sums.values_mut() {
        *sum /= f64::max(span_s, 1.0);
    }
    sums
}
