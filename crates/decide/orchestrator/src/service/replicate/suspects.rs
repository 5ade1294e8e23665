//! Which request it was: when a server ends, all that is under way there is left without an answer, and each of those requests may be
//! why. What is left of them when the case is cut names it, also in the finding.
//!
//! Promise: what is told late is taken in, unless it failed again without that.

use cohort_model::{
    At, Case, CaseId, CasePart, CaseThread, EndpointId, InstanceId, OddCall, Oddity,
    ServiceCommand, ServiceFinding, ServiceFindingKind, ServiceReason, Subject, Symptom,
    SymptomKind,
};

use super::super::{Conductor, ServiceStep};
use super::Cases;
use super::capsule::{Capsule, Sight, number};
use super::sight::{AFTER_CRASH_US, THREADS_MAX, near, of_call};

/// Sights that were taken for another case are kept until it is known which request that one is about.
const JOINED_MAX: usize = 8;
/// Longest request that is named, characters.
const REQUEST_CHARS_MAX: usize = 160;

/// What a case tells of a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Explanation {
    case: CaseId,
    /// The request that provokes it.
    request: String,
    endpoint: Option<EndpointId>,
    /// Where a server stands when it crashes of it: `total (cart.c:12)`.
    place: Option<String>,
}

/// Where a crash of a case is.
fn place_of(case: &Case) -> Option<String> {
    let symptom = case.symptom.as_ref()?;
    let crashed = matches!(symptom.kind, SymptomKind::Signal | SymptomKind::Abort);
    let frame = symptom.frames.iter().find(|frame| frame.own)?;
    let place = match (frame.file.as_str(), frame.line) {
        ("", _) => frame.function.clone(),
        (file, 0) => format!("{} ({file})", frame.function),
        (file, line) => format!("{} ({file}:{line})", frame.function),
    };
    crashed.then_some(place)
}

impl Capsule {
    /// The request that provokes it, when one of these does, with its endpoint.
    fn culprit(&self, kept: &[CasePart]) -> Option<(String, String)> {
        let requests = kept
            .iter()
            .filter_map(number)
            .filter_map(|number| self.requests.get(number as usize));
        let requests: Vec<_> = requests.collect();
        let one = match requests.as_slice() {
            [one] => one,
            all => all
                .iter()
                .rev()
                .find(|request| request.endpoint == self.subject)?,
        };
        let request = format!("{} {}", one.method, one.url);
        let short: String = request.chars().take(REQUEST_CHARS_MAX).collect();
        let dots = if short.len() < request.len() {
            "..."
        } else {
            ""
        };
        Some((format!("{short}{dots}"), one.endpoint.clone()))
    }

    /// It was taken for the same as this one.
    pub(super) fn join(&mut self, sight: Sight) {
        if self.joined.len() < JOINED_MAX {
            self.joined.push(sight);
        }
    }
}

impl Cases {
    /// What a case is about is named once something was left out of it.
    pub(super) fn name_request(&self, case: &mut Case, kept: &[CasePart]) {
        let capsule = self.capsule_of(case.case);
        let Some((request, endpoint)) = capsule.and_then(|capsule| capsule.culprit(kept)) else {
            return;
        };
        case.request = request;
        if case.subject == Subject::Service(String::new()) {
            case.subject = Subject::Service(endpoint);
        }
    }

    /// Calls that broke when a server ended, told after its end was: the capsule that they belong to.
    pub(super) fn late(&mut self, calls: &[OddCall]) -> Vec<(u32, CaseThread)> {
        let mut late = Vec::new();
        for call in calls {
            let Some(&(_, number)) = self.crashed.get(&call.instance) else {
                continue;
            };
            let timed_out = matches!(&call.oddity, Oddity::Broken(why) if why == "timed out");
            let Some(capsule) = number.and_then(|number| self.capsules.get(number as usize)) else {
                continue;
            };
            let thread = of_call(call);
            let is_of_it = capsule.instance == call.instance
                && near(call.at, capsule.asked) <= AFTER_CRASH_US
                && !capsule.threads.contains(&thread);
            if is_of_it && !timed_out && !late.contains(&(number.unwrap_or_default(), thread)) {
                late.push((number.unwrap_or_default(), thread));
            }
        }
        late
    }

    /// The exception that was told just before a server ended was its last word: both are one case. False when there was none.
    pub(super) fn join_end(&mut self, at: At, instance: InstanceId, end: &Symptom) -> bool {
        let mut capsules = (0..).zip(&mut self.capsules);
        let found = capsules.find(|(_, capsule)| {
            capsule.instance == instance
                && capsule.is_unanswered
                && capsule.symptom.kind == SymptomKind::Exception
                && near(capsule.asked, at) <= AFTER_CRASH_US
        });
        let Some((number, capsule)) = found else {
            return false;
        };
        capsule.end = Some(end.clone());
        capsule.is_of_end = true;
        self.crashed.insert(instance, (at, Some(number)));
        true
    }

    /// Whether a case that is played from this capsule has failed again.
    fn failed_again(&self, capsule: u32) -> bool {
        let of = |case: &&Case| self.of_case.get(&case.case) == Some(&capsule);
        let mut cases = self.replicator.cases().filter(of);
        cases.any(|case| case.arms.iter().any(|arm| arm.rate.failed > 0))
    }

    /// The case of the capsule in whose place this one comes, when it is to take that.
    pub(super) fn take_place(&mut self, number: u32, instead: u32) -> Option<CaseId> {
        if self.failed_again(instead) {
            return None;
        }
        let of = |(_, known): &(&CaseId, &u32)| **known == instead;
        let case = self.of_case.iter().find(of).map(|(case, _)| *case)?;
        self.of_case.insert(case, number);
        self.cuts.remove(&case);
        Some(case)
    }
}

impl Conductor {
    /// Recordings of those that were told late are asked for, together with those that are known.
    pub(super) fn take_in_late(
        &mut self,
        at: At,
        late: &[(u32, CaseThread)],
        step: &mut ServiceStep,
    ) {
        let Some(cases) = &mut self.cases else {
            return;
        };
        let mut of: Vec<u32> = late.iter().map(|(number, _)| *number).collect();
        of.dedup();
        for old in of {
            if cases.failed_again(old) || cases.over {
                continue;
            }
            let Some(capsule) = cases.capsules.get(old as usize) else {
                continue;
            };
            let known = capsule.threads.iter().copied();
            let new = late.iter().filter(|(number, _)| *number == old);
            let mut threads: Vec<CaseThread> = new.map(|(_, thread)| *thread).collect();
            // Threads of which no call is known to have broken were a guess.
            threads.extend(known.filter(|thread| thread.iteration.is_some()));
            threads.truncate(THREADS_MAX);
            let next = capsule.again_with(at, &threads, old);
            let instance = capsule.instance;
            let number = cases.capsules.len() as u32;
            cases.capsules.push(next);
            if let Some(crashed) = cases.crashed.get_mut(&instance) {
                crashed.1 = Some(number);
            }
            let command = ServiceCommand::Capture {
                capsule: number,
                instance,
                threads,
            };
            step.decide(command, ServiceReason::EdgeCase, None);
        }
    }

    /// Findings say what cases know: which request it is.
    pub(super) fn explain_findings(&mut self, at: At, told: &[Case], step: &mut ServiceStep) {
        for case in told.iter().filter(|case| !case.request.is_empty()) {
            let (endpoint, other) = match &case.subject {
                Subject::Service(name) => (self.endpoint_named(name), self.leave(case, name)),
                Subject::Test(_) => continue,
            };
            for sight in other {
                self.sight(at, sight, step);
            }
            let numbers = self.findings_of(case);
            for number in numbers {
                let told = Explanation {
                    case: case.case,
                    request: case.request.clone(),
                    endpoint,
                    place: place_of(case),
                };
                if self.explained.insert(number, told.clone()).as_ref() == Some(&told) {
                    continue;
                }
                if let Some(heard) = self.heard.get(&number) {
                    let mut finding = heard.clone();
                    finding.at = at;
                    self.explain(&mut finding);
                    step.findings.push(finding);
                }
            }
        }
    }

    /// A finding as it is told.
    pub(in super::super) fn explain(&self, finding: &mut ServiceFinding) {
        let Some(explanation) = self.explained.get(&finding.number) else {
            return;
        };
        let Explanation {
            case,
            request,
            endpoint,
            place,
        } = explanation;
        let sentence = finding.sentence.trim_end_matches('.');
        let place = match place {
            Some(place) if !sentence.contains(place) => format!(" at {place}"),
            _ => String::new(),
        };
        finding.sentence = format!("{sentence}; {request} provokes it{place} ({case}).");
        finding.endpoint = finding.endpoint.or(*endpoint);
        let is_it = |excerpt: &String| excerpt.starts_with(request.as_str());
        if let Some(place) = finding.excerpts.iter().position(is_it) {
            finding.excerpts[..=place].rotate_right(1);
        }
    }

    fn endpoint_named(&self, name: &str) -> Option<EndpointId> {
        let mut all = self.endpoints.iter();
        all.find(|(_, known)| *known == name).map(|(id, _)| *id)
    }

    /// Findings that are about what a case is about.
    fn findings_of(&self, case: &Case) -> Vec<u32> {
        let Some(cases) = &self.cases else {
            return Vec::new();
        };
        let Some(capsule) = cases.capsule_of(case.case) else {
            return Vec::new();
        };
        // A case may have been opened by a play of another.
        let is = |known: &Symptom, symptom: &Symptom| {
            // Where it stands may have been found by a play.
            let placed = known.frames.is_empty() || known.frames == symptom.frames;
            let same = (known.kind, &known.class) == (symptom.kind, &symptom.class);
            placed && same && known.message == symptom.message
        };
        let ends = capsule.end.as_ref();
        let is_it = |symptom: &Symptom| {
            is(&capsule.symptom, symptom) || ends.is_some_and(|end| is(end, symptom))
        };
        if !case.symptom.as_ref().is_some_and(is_it) {
            return Vec::new();
        }
        let ends_with_it = |finding: &ServiceFinding| {
            capsule.is_of_end
                && finding.kind == ServiceFindingKind::Crash
                && finding.instances.contains(&capsule.instance)
                && near(finding.since, capsule.asked) <= AFTER_CRASH_US
        };
        let findings = self.heard.values().filter(|finding| !finding.withdrawn);
        findings
            .filter(|finding| capsule.finding == Some(finding.number) || ends_with_it(finding))
            .map(|finding| finding.number)
            .collect()
    }

    /// It is known now which endpoint a case is about: what was taken for the same and is about others is none of it.
    fn leave(&mut self, case: &Case, endpoint: &str) -> Vec<Sight> {
        let Some(cases) = self.cases.as_mut().filter(|_| case.minimal) else {
            return Vec::new();
        };
        let Some(&number) = cases.of_case.get(&case.case) else {
            return Vec::new();
        };
        let Some(capsule) = cases.capsules.get_mut(number as usize) else {
            return Vec::new();
        };
        capsule.suspects = vec![endpoint.to_owned()];
        let joined = std::mem::take(&mut capsule.joined).into_iter();
        let is_other = |sight: &Sight| {
            !sight.suspects.is_empty() && !sight.suspects.iter().any(|known| known == endpoint)
        };
        joined.filter(is_other).collect()
    }
}

/// The endpoints of calls.
pub(super) fn endpoints(calls: &[OddCall], name: impl Fn(EndpointId) -> String) -> Vec<String> {
    let mut names: Vec<String> = calls.iter().map(|call| name(call.endpoint)).collect();
    names.sort();
    names.dedup();
    names
}

/// When the server of an instance came to its end, and the capsule of that.
pub(super) type Crashed = std::collections::BTreeMap<InstanceId, (At, Option<u32>)>;
