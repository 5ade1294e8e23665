//! What is odd enough to be tried again.
//!
//! A call without an answer may be the end of its server, or an exception that nobody caught: it is told as what it is once that is
//! known, or once it was waited for long enough.

use std::collections::{BTreeMap, BTreeSet};

use cohort_model::{
    At, CaseThread, EndpointId, ExceptionSeen, InstanceId, LoadWindow, OddCall, Oddity,
    ServiceFinding, ServiceFindingKind, Symptom, SymptomKind, ThreadId,
};

use super::super::weigh::HANG_SURE;
use super::super::{Conductor, ServiceStep};
use super::Cases;
use super::capsule::Sight;
use super::gauge::{Gauge, What};
use super::suspects;

/// Why a call got no answer is waited for so long, microseconds.
const UNANSWERED_US: u64 = 800_000;
/// An exception belongs to an odd call of its instance that is at most so far from it, microseconds.
const TOGETHER_US: u64 = 1_500_000;
/// An exception may be the last word of a server, which is told when it has ended, microseconds.
const EXCEPTION_US: u64 = 120_000;
/// What is seen so long before or after the end of a server is due to that, microseconds.
pub(super) const AFTER_CRASH_US: u64 = 2_500_000;
/// Calls of a server that hung break off until so long after it was told to start anew, microseconds.
const AFTER_RESTART_US: u64 = 15_000_000;
/// A call that timed out is told with the hang of its server, if that answers nothing; it takes so long until that is known,
/// microseconds.
const HANG_US: u64 = 25_000_000;
/// Calls without an answer that may belong to one end of a server.
const UNANSWERED_MAX: usize = 200;
/// Threads of one capsule.
pub(super) const THREADS_MAX: usize = 64;
/// Iterations of a thread among which the one that matters is looked for.
const ITERATIONS: u32 = 15;
/// Threads of the capsule of a server that hangs, and iterations of each: the one that does not go on.
const HUNG_THREADS_MAX: usize = 24;
const HUNG_ITERATIONS: u32 = 1;
/// Threads that are asked for what an endpoint needs.
const CALLERS_MAX: usize = 4;
/// A call is slow when it takes so many times the usual.
const SLOW_TIMES: f64 = 4.0;
/// And at least so long, microseconds.
pub(super) const SLOW_US_MIN: u64 = 20_000;

/// How an endpoint usually answers.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Usual {
    /// Least median of a window, microseconds.
    median_us: Option<u64>,
    /// The slowest call of late: how long, whose, and what was asked for.
    slowest: Option<(u64, ThreadId, String)>,
}

impl Cases {
    /// How long any call usually takes at the longest, microseconds.
    pub(super) fn longest_usual_us(&self) -> Option<u64> {
        let usual = self.usual.values().flat_map(|usual| {
            let slowest = usual.slowest.as_ref().map(|slowest| slowest.0);
            usual.median_us.into_iter().chain(slowest)
        });
        usual.max()
    }

    /// Calls without an answer that were waited for long enough are told as they are.
    fn tell_unanswered(&mut self, at: At, sights: &mut Vec<(EndpointId, Sight)>) {
        let is_due = |call: &OddCall| {
            let waited_us = at.since(call.at);
            let answered = self.answered.get(&call.instance);
            let answers = answered.is_some_and(|answered| *answered > call.at);
            let may_hang = timed_out(call) && !answers && self.done.is_none();
            waited_us >= if may_hang { HANG_US } else { UNANSWERED_US }
        };
        let (due, waiting): (Vec<OddCall>, Vec<OddCall>) =
            self.unanswered.drain(..).partition(is_due);
        self.unanswered = waiting.into();
        for call in due {
            let Oddity::Broken(why) = &call.oddity else {
                continue;
            };
            let kind = match timed_out(&call) {
                true => SymptomKind::Hang,
                false => SymptomKind::ErrorAnswer,
            };
            let sight = Sight::unanswered(symptom(kind, why, ""), &call);
            sights.push((call.endpoint, sight));
        }
    }
}

impl Conductor {
    /// What is usual is learned from ordinary windows.
    pub(super) fn see_usual(&mut self, windows: &[LoadWindow]) {
        let Some(cases) = &mut self.cases else {
            return;
        };
        for window in windows {
            if window.endpoints.values().any(|calls| calls.calls > 0) {
                // What was answered in it came after its beginning.
                let since = At(window.at.0.saturating_sub(window.span_us));
                cases.answered.insert(window.instance, since);
            }
            for (endpoint, calls) in &window.endpoints {
                let usual = cases.usual.entry(EndpointId(*endpoint)).or_default();
                if let Some(median) = calls.quantile_us(0.5) {
                    usual.median_us = Some(usual.median_us.map_or(median, |had| had.min(median)));
                }
                // What was slow once is not looked for for ever.
                if let Some(slowest) = &mut usual.slowest {
                    slowest.0 = slowest.0 * 9 / 10;
                }
            }
            for call in &window.slowest {
                let usual = cases.usual.entry(call.endpoint).or_default();
                if usual
                    .slowest
                    .as_ref()
                    .is_none_or(|slowest| slowest.0 < call.took_us)
                {
                    usual.slowest = Some((call.took_us, call.thread, call.request.clone()));
                }
            }
        }
    }

    pub(super) fn see_odd(&mut self, at: At, call: &OddCall, step: &mut ServiceStep) {
        let subject = self.endpoint_name(call.endpoint);
        let symptom = match &call.oddity {
            Oddity::Status(status) => {
                if let Some(cases) = &mut self.cases {
                    cases.failed_answers.push_back((call.at, call.instance));
                    if cases.failed_answers.len() > UNANSWERED_MAX {
                        cases.failed_answers.pop_front();
                    }
                }
                symptom(SymptomKind::ErrorAnswer, &status.to_string(), &call.said)
            }
            Oddity::Check(name) => symptom(SymptomKind::WrongAnswer, name, name),
            Oddity::Broken(_) => {
                if let Some(cases) = &mut self.cases {
                    cases.unanswered.push_back(call.clone());
                    if cases.unanswered.len() > UNANSWERED_MAX {
                        cases.unanswered.pop_front();
                    }
                }
                return;
            }
        };
        let sight = Sight {
            subject,
            symptom,
            gauge: Gauge::Odd,
            instance: call.instance,
            threads: vec![of_call(call)],
            request: String::new(),
            is_of_end: false,
            is_unanswered: false,
            suspects: Vec::new(),
            finding: None,
        };
        self.sight(at, sight, step);
    }

    /// A server came to its end: all calls that this left without an answer are suspects.
    pub(super) fn see_crash(
        &mut self,
        at: At,
        instance: InstanceId,
        symptom: &Symptom,
        step: &mut ServiceStep,
    ) {
        let Some(cases) = &mut self.cases else {
            return;
        };
        if cases.replicas.contains_key(&instance) {
            return;
        }
        let all = std::mem::take(&mut cases.unanswered);
        cases.crashed.insert(instance, (at, None));
        let (of, others): (Vec<OddCall>, Vec<OddCall>) =
            all.into_iter().partition(|call| call.instance == instance);
        cases.unanswered = others.into();
        cases
            .exceptions
            .retain(|(_, exception)| exception.instance != instance);
        if cases.join_end(at, instance, symptom) {
            // Its calls are told late, and taken in with those.
            cases.unanswered.extend(of);
            return;
        }
        let mut threads: Vec<CaseThread> = of.iter().map(of_call).collect();
        threads.dedup();
        threads.truncate(THREADS_MAX);
        let subject = match of.as_slice() {
            [] => String::new(),
            [first, rest @ ..] if rest.iter().all(|one| one.endpoint == first.endpoint) => {
                self.endpoint_name(first.endpoint)
            }
            _ => String::new(),
        };
        if threads.is_empty() {
            threads = self.threads_on(instance, 2);
        }
        let sight = Sight {
            subject,
            symptom: symptom.clone(),
            gauge: Gauge::Odd,
            instance,
            threads,
            request: String::new(),
            is_of_end: true,
            is_unanswered: true,
            suspects: suspects::endpoints(&of, |id| self.endpoint_name(id)),
            finding: None,
        };
        self.sight(at, sight, step);
    }

    pub(super) fn see_exception(
        &mut self,
        at: At,
        exception: &ExceptionSeen,
        step: &mut ServiceStep,
    ) {
        let Some(cases) = &mut self.cases else {
            return;
        };
        if exception.plain_line || cases.replicas.contains_key(&exception.instance) {
            return;
        }
        let known = cases.knows(&exception.symptom());
        if !known && cases.exceptions.len() < UNANSWERED_MAX {
            cases.exceptions.push_back((at, exception.clone()));
        }
        self.explain_unanswered(at, step);
    }

    /// Joins exceptions and calls without an answer; what was waited for long enough is told as it is.
    pub(super) fn explain_unanswered(&mut self, at: At, step: &mut ServiceStep) {
        let restarted = self.places.iter();
        let restarted: BTreeMap<InstanceId, (At, At)> = restarted
            .filter_map(|(&id, place)| {
                let then = place.restarted?;
                let latest = then.plus_us(AFTER_RESTART_US);
                // What breaks off once it is ready again is a call to the new server.
                let again = Some(place.ready_since).filter(|ready| *ready > then);
                Some((id, (then, again.map_or(latest, |ready| ready.min(latest)))))
            })
            .collect();
        let hung: BTreeSet<InstanceId> = self.hung().collect();
        let Some(cases) = &mut self.cases else {
            return;
        };
        let mut sights: Vec<(EndpointId, Sight)> = Vec::new();
        // What an end left without an answer is told with it, and so is what was written then.
        let crashed = cases.crashed.clone();
        let of_end = |instance: InstanceId, seen: At| {
            crashed
                .get(&instance)
                .is_some_and(|(at, _)| near(*at, seen) <= AFTER_CRASH_US)
        };
        // It was ended because it hung, which is a case of its own.
        let is_of_restart = |call: &OddCall| {
            let restart = restarted.get(&call.instance);
            restart.is_some_and(|(then, until)| (*then..=*until).contains(&call.at))
        };
        let is_of_hang = |call: &OddCall| timed_out(call) && hung.contains(&call.instance);
        cases
            .unanswered
            .retain(|call| !is_of_restart(call) && !is_of_hang(call));
        let unanswered = std::mem::take(&mut cases.unanswered);
        let (ended, open): (Vec<OddCall>, Vec<OddCall>) = unanswered
            .into_iter()
            .partition(|call| of_end(call.instance, call.at));
        cases.unanswered = open.into();
        let late = cases.late(&ended);
        cases
            .exceptions
            .retain(|(seen, exception)| !of_end(exception.instance, *seen));
        let exceptions = std::mem::take(&mut cases.exceptions);
        for (since, exception) in exceptions {
            let is_its = |call: &&OddCall| {
                call.instance == exception.instance && near(call.at, since) <= TOGETHER_US
            };
            let ripe = at.since(since) >= EXCEPTION_US;
            // It may have been answered by an error, which is a case itself.
            let answered = cases.failed_answers.iter();
            let answered = answered.filter(|(_, instance)| *instance == exception.instance);
            let answered_us = answered.map(|(answered, _)| near(*answered, since)).min();
            let nearest = |call: &OddCall| {
                ripe && answered_us.is_none_or(|answered_us| near(call.at, since) < answered_us)
            };
            if let Some(call) = cases
                .unanswered
                .iter()
                .find(is_its)
                .cloned()
                .filter(nearest)
            {
                cases.unanswered.retain(|other| {
                    !(other.instance == call.instance && other.endpoint == call.endpoint)
                });
                let sight = Sight::unanswered(exception.symptom(), &call);
                sights.push((call.endpoint, sight));
            } else if at.since(since) < UNANSWERED_US {
                cases.exceptions.push_back((since, exception));
            }
            // Else it came with an answer that is a case itself, or with none that was odd.
        }
        cases.tell_unanswered(at, &mut sights);
        self.take_in_late(at, &late, step);
        for (endpoint, mut sight) in sights {
            sight.subject = self.endpoint_name(endpoint);
            self.sight(at, sight, step);
        }
    }

    /// Findings that are about more than one call.
    pub(in super::super) fn take_up_findings(&mut self, at: At, step: &mut ServiceStep) {
        let Some(cases) = &self.cases else {
            return;
        };
        let new: Vec<ServiceFinding> = self
            .open
            .values()
            .map(|open| &open.finding)
            .filter(|finding| !finding.withdrawn && !cases.taken_up.contains(&finding.number))
            .cloned()
            .collect();
        for finding in new {
            if let Some(cases) = &mut self.cases {
                cases.taken_up.push(finding.number);
            }
            if let Some(sight) = self.of_finding(&finding) {
                self.sight(at, sight, step);
            }
        }
    }

    /// Instances that answer nothing.
    fn hung(&self) -> impl Iterator<Item = InstanceId> {
        let findings = self.open.values().map(|open| &open.finding);
        let hangs = findings.filter(|finding| {
            finding.kind == ServiceFindingKind::Hang && finding.confidence >= HANG_SURE
        });
        hangs.flat_map(|finding| finding.instances.iter().copied())
    }

    /// Threads that wait for an instance that hangs: those whose calls timed out last, then all others on it.
    fn hung_threads(&self, instance: InstanceId) -> Vec<CaseThread> {
        let unanswered = self.cases.iter().flat_map(|cases| &cases.unanswered);
        let its = unanswered.filter(|call| call.instance == instance && timed_out(call));
        let mut threads: Vec<CaseThread> = Vec::new();
        for thread in its
            .map(of_call)
            .chain(self.threads_on(instance, HUNG_ITERATIONS))
        {
            if !threads.iter().any(|known| known.thread == thread.thread) {
                threads.push(thread);
            }
        }
        threads.truncate(HUNG_THREADS_MAX);
        threads
    }

    fn of_finding(&self, finding: &ServiceFinding) -> Option<Sight> {
        use ServiceFindingKind as Kind;
        let (kind, class, gauge) = match finding.kind {
            Kind::MemoryLeak => (SymptomKind::Leak, "memory", Gauge::Grows(What::Memory)),
            Kind::DescriptorLeak => (
                SymptomKind::Leak,
                "descriptors",
                Gauge::Grows(What::Descriptors),
            ),
            Kind::ThreadLeak => (SymptomKind::Leak, "threads", Gauge::Grows(What::Threads)),
            Kind::GrowingLatency => (SymptomKind::Slow, "slower and slower", Gauge::Slower),
            Kind::SlowEndpoint | Kind::CpuBlowUp | Kind::LockContention => {
                (SymptomKind::Slow, "slow", Gauge::Slow(0))
            }
            Kind::Hang => (SymptomKind::Hang, "timed out", Gauge::Hangs),
            _ => return None,
        };
        let instance = *finding.instances.first()?;
        let endpoint = finding.endpoint;
        let cases = self.cases.as_ref()?;
        let usual = endpoint.and_then(|endpoint| cases.usual.get(&endpoint));
        let slowest = usual.and_then(|usual| usual.slowest.clone());
        let gauge = match gauge {
            Gauge::Slow(_) => Gauge::Slow(self.bound_us(endpoint?)?),
            other => other,
        };
        let mut threads = Vec::new();
        if matches!(gauge, Gauge::Slow(_))
            && let Some((_, thread, _)) = &slowest
        {
            threads.push(CaseThread {
                thread: *thread,
                iteration: None,
                last: ITERATIONS,
            });
        }
        let last = if matches!(gauge, Gauge::Slow(_)) {
            ITERATIONS
        } else {
            3
        };
        if kind == SymptomKind::Hang {
            threads = self.hung_threads(instance);
        }
        // What others do elsewhere has nothing to do with it that some wait for ever.
        let mut callers = match threads.is_empty() || kind != SymptomKind::Hang {
            true => self.callers(endpoint, instance),
            false => Vec::new(),
        };
        if kind == SymptomKind::Slow {
            // What others do may be why.
            callers.extend(self.callers(None, instance));
        }
        for thread in callers {
            if !threads.iter().any(|one| one.thread == thread) {
                threads.push(CaseThread {
                    thread,
                    iteration: None,
                    last,
                });
            }
        }
        let usual_us = usual.and_then(|usual| usual.median_us);
        let said = match (&slowest, usual_us) {
            (Some((took_us, _, _)), Some(usual_us)) if kind == SymptomKind::Slow => {
                let ms = |us: u64| us.div_ceil(1_000);
                format!("{} ms where {} ms is usual", ms(*took_us), ms(usual_us))
            }
            _ => String::new(),
        };
        Some(Sight {
            subject: endpoint.map_or_else(String::new, |endpoint| self.endpoint_name(endpoint)),
            symptom: symptom(kind, class, &said),
            gauge,
            instance,
            threads,
            request: slowest.map_or_else(String::new, |(_, _, request)| request),
            is_of_end: false,
            is_unanswered: false,
            suspects: Vec::new(),
            finding: Some(finding.number),
        })
    }

    /// From how long on a call of an endpoint is slow, microseconds.
    fn bound_us(&self, endpoint: EndpointId) -> Option<u64> {
        let usual = self.cases.as_ref()?.usual.get(&endpoint)?;
        let median = usual.median_us? as f64;
        let slowest = usual.slowest.as_ref().map_or(0, |slowest| slowest.0) as f64;
        let bound = (SLOW_TIMES * median).min((slowest / 2.0).max(2.0 * median));
        Some((bound as u64).max(SLOW_US_MIN))
    }

    /// Threads that call an endpoint, those on an instance first; of none, one of each scenario.
    fn callers(&self, endpoint: Option<EndpointId>, instance: InstanceId) -> Vec<ThreadId> {
        let mut found: Vec<(bool, ThreadId)> = Vec::new();
        let mut scenarios: BTreeMap<usize, u32> = BTreeMap::new();
        let gone = self.gone.iter().map(|(id, thread)| (id, thread));
        for (&id, thread) in self.threads.iter().chain(gone) {
            let calls = endpoint.is_none_or(|endpoint| thread.calls.of(endpoint) > 0.0);
            let of = scenarios.entry(thread.scenario).or_default();
            if calls && (endpoint.is_some() || *of == 0) {
                *of += 1;
                found.push((thread.on != instance, id));
            }
        }
        found.sort_unstable();
        found.truncate(CALLERS_MAX);
        found.into_iter().map(|(_, id)| id).collect()
    }

    fn threads_on(&self, instance: InstanceId, last: u32) -> Vec<CaseThread> {
        let of = self
            .threads
            .iter()
            .filter(|(_, thread)| thread.on == instance);
        of.take(THREADS_MAX)
            .map(|(&thread, _)| CaseThread {
                thread,
                iteration: None,
                last,
            })
            .collect()
    }
}

fn timed_out(call: &OddCall) -> bool {
    matches!(&call.oddity, Oddity::Broken(why) if why == "timed out")
}

pub(super) fn near(one: At, other: At) -> u64 {
    one.0.abs_diff(other.0)
}

pub(super) fn of_call(call: &OddCall) -> CaseThread {
    CaseThread {
        thread: call.thread,
        iteration: Some(call.iteration),
        last: 1,
    }
}

fn symptom(kind: SymptomKind, class: &str, message: &str) -> Symptom {
    Symptom {
        kind,
        class: class.to_owned(),
        message: message.to_owned(),
        frames: Vec::new(),
    }
}
