//! What earlier campaigns saw fail again is tried again in this one, from what was kept of it; it costs no time after the scenario.

use std::collections::BTreeSet;

use cohort_model::{At, CaseId, InstanceId, KnownCase, Stage, Subject, SymptomKind, ThreadId};
use cohort_replicator::Known;

use super::Cases;
use super::age::Age;
use super::capsule::{Capsule, State};
use super::gauge::Gauge;

impl Capsule {
    /// Of a case that was kept: its requests are on their way.
    fn kept(known: &KnownCase) -> Option<Capsule> {
        let Subject::Service(subject) = &known.subject else {
            return None;
        };
        let gauge = Gauge::of_kept(&known.symptom, known.bound_us)?;
        let ends = matches!(
            known.symptom.kind,
            SymptomKind::Signal | SymptomKind::Abort | SymptomKind::OutOfMemory
        );
        Some(Capsule {
            subject: subject.clone(),
            symptom: known.symptom.clone(),
            gauge,
            thread: ThreadId(0),
            // Nowhere in this campaign.
            instance: InstanceId(u32::MAX),
            asked: At(0),
            state: State::Asked,
            requests: Vec::new(),
            request: String::new(),
            age_us: known.age_us,
            threads: Vec::new(),
            is_of_end: ends,
            end: None,
            is_unanswered: ends,
            suspects: vec![subject.clone()],
            joined: Vec::new(),
            finding: None,
            instead: None,
            known: Some(known.clone()),
            stays: BTreeSet::new(),
        })
    }
}

impl Cases {
    /// Capsules of what was kept, in the order of the plan: the hub reads them under these numbers.
    pub(super) fn remember_all(&mut self) {
        for known in &self.plan.known {
            self.capsules.extend(Capsule::kept(known));
        }
    }

    /// The requests of a kept case have come. False: it is none of those.
    pub(super) fn recall(&mut self, number: u32) -> bool {
        let Some(known) = self
            .capsules
            .get(number as usize)
            .and_then(|capsule| capsule.known.clone())
        else {
            return false;
        };
        let mut smallest = known.smallest.clone();
        // What is played is what the capsule tells.
        smallest.parts.clear();
        self.replicator.remember(Known {
            case: known.case,
            subject: known.subject,
            symptom: known.symptom,
            smallest,
            rate: known.rate,
            verdict: known.verdict,
        });
        self.rule_out(known.case, number);
        self.of_case.insert(known.case, number);
        if known.age_us > 0 {
            self.ages.insert(known.case, Age::of_kept(known.age_us));
        }
        true
    }

    /// Whether all that is open was kept by an earlier campaign and is not back: nobody waits for that.
    pub(super) fn only_known(&self) -> bool {
        let kept: BTreeSet<CaseId> = self.plan.known.iter().map(|known| known.case).collect();
        let open = |case: &&cohort_model::Case| case.stage != Stage::Closed;
        let is_kept = |case: &cohort_model::Case| kept.contains(&case.case) && !case.returned;
        let waits = self
            .capsules
            .iter()
            .any(|one| one.waits() && one.known.is_none());
        !kept.is_empty()
            && !waits
            && !self.has_untold()
            && self.replicator.cases().filter(open).all(is_kept)
    }
}
