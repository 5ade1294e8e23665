//! What a case is made of: recorded requests, and how a play of them is judged.

use std::collections::{BTreeMap, BTreeSet};

use cohort_model::{
    At, CaseId, CasePart, CaseRequest, CaseThread, ConditionKind, InstanceId, KnownCase, OddCall,
    ServiceCommand, ServiceReason, Subject, Symptom, SymptomKind, ThreadId, Usage,
};
use cohort_replicator::Sighting;
use cohort_replicator::sameness::same;

use super::gauge::Gauge;
use super::sight::{SLOW_US_MIN, of_call};
use super::{Cases, Conductor, ServiceStep};

/// Capsules of one campaign, and so cases.
pub(super) const CAPSULES_MAX: usize = 60;
/// Different symptoms of one endpoint.
const OF_ENDPOINT_MAX: usize = 8;
/// A play is taken to take at least so long, microseconds, until it is known.
const PLAY_US: u64 = 200_000;
/// What slows a server down.
const SLOWS: [ConditionKind; 10] = [
    ConditionKind::CpuLimit,
    ConditionKind::Cpus,
    ConditionKind::MemoryLimit,
    ConditionKind::DiskRate,
    ConditionKind::DiskDelay,
    ConditionKind::NetworkDelay,
    ConditionKind::NetworkRate,
    ConditionKind::NetworkLoss,
    ConditionKind::Noise,
    ConditionKind::Schedule,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Asked,
    Here,
    Lost,
}

/// Recordings of the threads that something odd was seen with.
#[derive(Debug)]
pub(super) struct Capsule {
    /// The endpoint's name; empty: it is about the whole server.
    pub(super) subject: String,
    pub(super) symptom: Symptom,
    pub(super) gauge: Gauge,
    pub(super) thread: ThreadId,
    /// Where it was seen.
    pub(super) instance: InstanceId,
    pub(super) asked: At,
    pub(super) state: State,
    pub(super) requests: Vec<CaseRequest>,
    /// An address (with its query) that the slow call went to.
    pub(super) request: String,
    /// How long the server had run where it was seen, microseconds.
    pub(super) age_us: u64,
    /// What is recorded in it.
    pub(super) threads: Vec<CaseThread>,
    /// A server came to its end.
    pub(super) is_of_end: bool,
    /// How that looked, where an exception was told before it was known that the server ended with it.
    pub(super) end: Option<Symptom>,
    /// The call got no answer.
    pub(super) is_unanswered: bool,
    /// Endpoints that it may be about; none: it is not known.
    pub(super) suspects: Vec<String>,
    /// What was taken for the same meanwhile.
    pub(super) joined: Vec<Sight>,
    /// The finding that it was made for.
    pub(super) finding: Option<u32>,
    /// It takes the place of another one, of which less was known.
    pub(super) instead: Option<u32>,
    /// It was kept by an earlier campaign.
    pub(super) known: Option<KnownCase>,
    /// Requests that are never left out.
    pub(super) stays: BTreeSet<u32>,
}

impl Capsule {
    /// Its recordings are on their way.
    pub(super) fn waits(&self) -> bool {
        self.state == State::Asked
    }

    pub(super) fn lose(&mut self) {
        self.state = State::Lost;
    }

    /// Whether something odd is of the same bug, as far as is known by now.
    fn is_of(&self, sight: &Sight) -> bool {
        let common = |name: &String| self.suspects.contains(name);
        let unknown = self.suspects.is_empty() || sight.suspects.is_empty();
        // The end of a server is the same whichever call it is told with.
        let may_be = match self.is_of_end && sight.is_of_end {
            true => unknown || sight.suspects.iter().any(common),
            false => self.subject == sight.subject,
        };
        if self.known.is_some() && self.state == State::Lost {
            return false;
        }
        let alike = |symptom: &Symptom| same(symptom, &sight.symptom);
        (may_be || !sight.symptom.frames.is_empty())
            && (alike(&self.symptom) || self.end.as_ref().is_some_and(alike))
    }

    /// The same with more threads, instead of this one.
    pub(super) fn again_with(&self, at: At, threads: &[CaseThread], own: u32) -> Capsule {
        Capsule {
            subject: String::new(),
            symptom: self.symptom.clone(),
            gauge: self.gauge.clone(),
            thread: threads.first().map_or(self.thread, |one| one.thread),
            instance: self.instance,
            asked: at,
            state: State::Asked,
            requests: Vec::new(),
            request: String::new(),
            age_us: self.age_us,
            threads: threads.to_vec(),
            is_of_end: true,
            end: self.end.clone(),
            is_unanswered: true,
            suspects: Vec::new(),
            joined: Vec::new(),
            finding: self.finding,
            instead: Some(own),
            known: None,
            stays: BTreeSet::new(),
        }
    }

    /// What is recorded may not be the slowest call there was: it is to show what it is made of.
    fn set_bound(&mut self) {
        if let Gauge::Slow(bound_us) = &mut self.gauge {
            let of = self
                .requests
                .iter()
                .filter(|one| one.endpoint == self.subject);
            if let Some(slowest) = of.map(|one| one.took_us).max() {
                *bound_us = (*bound_us).min((slowest * 7 / 10).max(SLOW_US_MIN));
            }
        }
    }

    /// It does not show as it was recorded: calls may have become slow by what others did for long.
    pub(super) fn becomes_slower(&mut self) {
        self.gauge = Gauge::Slower;
    }

    /// What tells its case from others of the same symptom.
    fn about(&self) -> Subject {
        match self.subject.as_str() {
            "" => Subject::Service(self.suspects.join(" or ")),
            name => Subject::Service(name.to_owned()),
        }
    }

    /// The requests of a recipe, and those whose answers they use.
    pub(super) fn closure(&self, parts: &[CasePart]) -> Vec<u32> {
        let mut kept: BTreeSet<u32> = BTreeSet::new();
        let mut open: Vec<u32> = parts.iter().filter_map(number).collect();
        if !open.is_empty() {
            open.extend(&self.stays);
        }
        while let Some(number) = open.pop() {
            if let Some(request) = self.requests.get(number as usize)
                && kept.insert(number)
            {
                open.extend(request.uses.iter().map(|value| value.request));
            }
        }
        kept.into_iter().collect()
    }

    /// The parts that the case is opened with.
    pub(super) fn parts(&self) -> Vec<CasePart> {
        let known = self.known.as_ref().map(|known| &known.smallest.parts);
        if let Some(parts) = known.filter(|parts| !parts.is_empty()) {
            let requests = parts.iter().filter(|part| number(part).is_some());
            return requests.cloned().collect();
        }
        let numbers: Vec<u32> = match &self.gauge {
            Gauge::Odd | Gauge::Hangs => (0..self.requests.len() as u32).collect(),
            Gauge::Slow(_) => self.slow_parts(),
            Gauge::Slower | Gauge::Grows(_) => self.repeated_parts(),
        };
        numbers.into_iter().map(CasePart::Request).collect()
    }

    /// The iteration with the slowest call of the endpoint, and those of other threads at that time.
    fn slow_parts(&self) -> Vec<u32> {
        let of = |request: &&CaseRequest| request.endpoint == self.subject;
        let named = |request: &&CaseRequest| {
            !self.request.is_empty()
                && format!("{} {}", request.method, request.url) == self.request
        };
        let all = || self.requests.iter().filter(of);
        let slowest = all()
            .filter(named)
            .max_by_key(|request| request.took_us)
            .or_else(|| all().max_by_key(|request| request.took_us));
        let Some(slowest) = slowest else {
            return (0..self.requests.len() as u32).collect();
        };
        let until_us = slowest.after_us + slowest.took_us;
        let overlaps = |request: &CaseRequest| {
            request.after_us < until_us && request.after_us + request.took_us > slowest.after_us
        };
        let mut iterations: BTreeSet<(ThreadId, u64)> = BTreeSet::new();
        iterations.insert((slowest.thread, slowest.iteration));
        for request in self.requests.iter().filter(|request| overlaps(request)) {
            iterations.insert((request.thread, request.iteration));
        }
        self.of_iterations(&iterations)
    }

    /// One iteration of each thread, with a call of the endpoint where there is one.
    fn repeated_parts(&self) -> Vec<u32> {
        let calls =
            |request: &&CaseRequest| self.subject.is_empty() || request.endpoint == self.subject;
        let mut iterations: BTreeSet<(ThreadId, u64)> = BTreeSet::new();
        for request in self.requests.iter().filter(calls) {
            let known = iterations
                .iter()
                .any(|(thread, _)| *thread == request.thread);
            // Where the endpoint is known one visitor is enough.
            let enough = !self.subject.is_empty() && !iterations.is_empty();
            if !known && !enough {
                iterations.insert((request.thread, request.iteration));
            }
        }
        if self.gauge == Gauge::Slower {
            // What others do may be why: the longest iteration of each.
            let mut longest: BTreeMap<ThreadId, BTreeMap<u64, u32>> = BTreeMap::new();
            for request in &self.requests {
                let of = longest.entry(request.thread).or_default();
                *of.entry(request.iteration).or_default() += 1;
            }
            for (thread, of) in longest {
                let known = iterations.iter().any(|(one, _)| *one == thread);
                if let Some((iteration, _)) = of.iter().max_by_key(|(_, count)| **count)
                    && !known
                {
                    iterations.insert((thread, *iteration));
                }
            }
        }
        self.of_iterations(&iterations)
    }

    fn of_iterations(&self, iterations: &BTreeSet<(ThreadId, u64)>) -> Vec<u32> {
        let of = |request: &CaseRequest| iterations.contains(&(request.thread, request.iteration));
        let numbered = (0..).zip(&self.requests);
        numbered
            .filter(|(_, request)| of(request))
            .map(|(number, _)| number)
            .collect()
    }

    /// How long a play of it takes at first sight, microseconds.
    fn expected_us(&self) -> u64 {
        let ends = self.requests.iter().map(|one| one.took_us);
        PLAY_US + ends.sum::<u64>().min(20_000_000)
    }
}

pub(super) fn number(part: &CasePart) -> Option<u32> {
    match part {
        CasePart::Request(number) => Some(*number),
        _ => None,
    }
}

/// What is to be kept of something odd.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    pub(super) subject: String,
    pub(super) symptom: Symptom,
    pub(super) gauge: Gauge,
    pub(super) instance: InstanceId,
    pub(super) threads: Vec<CaseThread>,
    pub(super) request: String,
    /// A server came to its end, and these endpoints may be why; none: it is not known.
    pub(super) is_of_end: bool,
    /// The call got no answer.
    pub(super) is_unanswered: bool,
    pub(super) suspects: Vec<String>,
    pub(super) finding: Option<u32>,
}

impl Sight {
    /// Of a call that got no answer, whatever is known to be why.
    pub(super) fn unanswered(symptom: Symptom, call: &OddCall) -> Self {
        Self {
            subject: String::new(),
            gauge: match symptom.kind {
                SymptomKind::Hang => Gauge::Hangs,
                _ => Gauge::Odd,
            },
            symptom,
            instance: call.instance,
            threads: vec![of_call(call)],
            request: String::new(),
            is_of_end: false,
            is_unanswered: true,
            suspects: Vec::new(),
            finding: None,
        }
    }
}

impl Cases {
    /// The capsule of this, when there is one.
    pub(super) fn known(&self, sight: &Sight) -> Option<u32> {
        let mut capsules = (0..).zip(&self.capsules);
        let found = capsules.find(|(_, capsule)| capsule.is_of(sight));
        found.map(|(number, _)| number)
    }

    /// Whether something with these frames was taken up, whichever call it was told with.
    pub(super) fn knows(&self, symptom: &Symptom) -> bool {
        let placed = !symptom.frames.is_empty();
        placed && self.capsules.iter().any(|one| same(&one.symptom, symptom))
    }

    /// It was seen again.
    fn again(&mut self, at: At, number: u32, thread: ThreadId) {
        let Some(capsule) = self.capsules.get(number as usize) else {
            return;
        };
        if capsule.state != State::Here || !self.of_case.values().any(|known| *known == number) {
            return;
        }
        let sighting = Sighting {
            subject: capsule.about(),
            thread,
            symptom: &capsule.symptom,
            parts: Vec::new(),
            usage: Usage::default(),
            crowded: false,
            passes: 1,
        };
        self.replicator.sighted(at, &sighting);
    }

    /// That what slows a server down makes it slow is known beforehand.
    pub(super) fn rule_out(&mut self, case: CaseId, number: u32) {
        let gauge = self.capsules.get(number as usize).map(|one| &one.gauge);
        if !matches!(gauge, None | Some(Gauge::Odd | Gauge::Hangs)) {
            self.replicator.rule_out(case, &SLOWS);
        }
    }

    /// Opens the case of a capsule that has come.
    fn open_case(&mut self, at: At, number: u32) {
        let Some(capsule) = self.capsules.get(number as usize) else {
            return;
        };
        let usage = Usage {
            wall_us: capsule.expected_us(),
            ..Usage::default()
        };
        let sighting = Sighting {
            subject: capsule.about(),
            thread: capsule.thread,
            symptom: &capsule.symptom,
            // What can be left out is found here: see `cut`.
            parts: Vec::new(),
            usage,
            crowded: false,
            // Others did the same before, and nothing was odd.
            passes: 1,
        };
        let case = self.replicator.sighted(at, &sighting);
        self.rule_out(case, number);
        self.of_case.entry(case).or_insert(number);
    }
}

impl Conductor {
    /// Something odd was seen: its threads' recordings are asked for, unless they were before.
    pub(super) fn sight(&mut self, at: At, sight: Sight, step: &mut ServiceStep) {
        let place = self.places.get(&sight.instance);
        let age_us = place.map_or(0, |place| at.since(place.ready_since));
        let Some(cases) = &mut self.cases else {
            return;
        };
        let thread = sight.threads.first().map_or(ThreadId(0), |one| one.thread);
        if let Some(known) = cases.known(&sight) {
            cases.again(at, known, thread);
            if let Some(capsule) = cases.capsules.get_mut(known as usize)
                && sight.is_of_end
            {
                capsule.join(sight);
            }
            return;
        }
        let alike = |capsule: &&Capsule| capsule.subject == sight.subject;
        let crowded = cases.capsules.iter().filter(alike).count() >= OF_ENDPOINT_MAX;
        if cases.capsules.len() >= CAPSULES_MAX || crowded || cases.over || sight.threads.is_empty()
        {
            return;
        }
        let number = cases.capsules.len() as u32;
        if sight.is_of_end
            && let Some(crashed) = cases.crashed.get_mut(&sight.instance)
        {
            crashed.1 = Some(number);
        }
        let (instance, threads) = (sight.instance, sight.threads.clone());
        cases.capsules.push(Capsule::of_sight(at, sight, age_us));
        let command = ServiceCommand::Capture {
            capsule: number,
            instance,
            threads,
        };
        step.decide(command, ServiceReason::EdgeCase, None);
    }

    /// Recordings have come.
    pub(super) fn see_captured(
        &mut self,
        at: At,
        (number, requests): (u32, &[CaseRequest]),
        (failed, _remarks): (&str, &[String]),
    ) {
        let Some(cases) = &mut self.cases else {
            return;
        };
        let Some(capsule) = cases.capsules.get_mut(number as usize) else {
            return;
        };
        if !failed.is_empty() || requests.is_empty() {
            capsule.state = State::Lost;
            return;
        }
        capsule.state = State::Here;
        capsule.requests = requests.to_vec();
        capsule.set_bound();
        if cases.recall(number) {
            return;
        }
        let Some(capsule) = cases.capsules.get(number as usize) else {
            return;
        };
        match capsule.instead {
            Some(old) if cases.of_case.values().any(|known| *known == old) => {
                cases.take_place(number, old);
            }
            _ => cases.open_case(at, number),
        }
    }
}
