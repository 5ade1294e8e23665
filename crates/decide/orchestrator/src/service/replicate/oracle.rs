//! Whether a play shows its case.

use cohort_model::{At, CaseId, InstanceSample, Played, Recipe, Symptom, SymptomKind, Usage};
use cohort_replicator::Outcome;
use cohort_replicator::sameness::same;

use super::Cases;
use super::attempt::Play;
use super::capsule::{Gauge, What};

/// What grows by at least so much with each repetition grows: bytes.
const MEMORY_A_ROUND: f64 = 2_048.0;
/// And in all: less may be the allocator's.
const MEMORY_MIN: f64 = 400_000.0;
/// Descriptors or threads.
const COUNT_A_ROUND: f64 = 0.25;
/// A call that takes so many times what it took in the first rounds got slower.
const SLOWER_TIMES: f64 = 1.5;

impl Cases {
    /// What a play says about its case.
    pub(super) fn outcome(&self, play: &Play, played: &Played) -> Outcome {
        let usage = Usage {
            wall_us: played.took_us,
            ..Usage::default()
        };
        let (symptom, tells) = self.verdict(play, played);
        Outcome {
            passed: tells && symptom.is_none(),
            symptom,
            usage,
            missing: played.missing.clone(),
            passed_before: 0,
        }
    }

    /// The symptom it showed, and whether it says anything when it showed none.
    fn verdict(&self, play: &Play, played: &Played) -> (Option<Symptom>, bool) {
        let tells = played.void.is_empty();
        let case = self.replicator.cases().find(|case| case.case == play.case);
        let Some(known) = case.and_then(|case| case.symptom.as_ref()) else {
            return (None, false);
        };
        let Some(capsule) = self.capsules.get(play.capsule as usize) else {
            return (None, false);
        };
        let shown = match capsule.gauge {
            _ if *known != capsule.symptom => self.odd(play, known, played),
            Gauge::Odd => self.odd(play, known, played),
            Gauge::Slow(bound_us) => {
                let of = |number: &u32| {
                    let request = capsule.requests.get(*number as usize);
                    request.is_some_and(|request| request.endpoint == capsule.subject)
                };
                let slow =
                    |(number, _, longest): &(u32, u64, u64)| of(number) && *longest >= bound_us;
                played.took.iter().any(slow).then(|| known.clone())
            }
            Gauge::Slower => {
                let of = |number: &u32| {
                    let request = capsule.requests.get(*number as usize);
                    request.is_some_and(|request| request.endpoint == capsule.subject)
                };
                let slower = |(number, times): &(u32, f64)| of(number) && *times >= SLOWER_TIMES;
                played.slower.iter().any(slower).then(|| known.clone())
            }
            Gauge::Grows(what) => match self.growth(play, what) {
                Some(grows) => grows.then(|| known.clone()),
                None => return (None, false),
            },
        };
        (shown, tells)
    }

    /// What went odd: as the case has it, else another crash or exception, which is a case of its own.
    fn odd(&self, play: &Play, known: &Symptom, played: &Played) -> Option<Symptom> {
        let subject = self.subject_of(play.case).unwrap_or_default();
        let is_it = |(endpoint, symptom): &&(String, Symptom)| {
            let about = subject.is_empty()
                || endpoint == subject
                || !matches!(
                    symptom.kind,
                    SymptomKind::ErrorAnswer | SymptomKind::WrongAnswer | SymptomKind::Hang
                );
            about && same(known, symptom)
        };
        let of_its_own = |(_, symptom): &&(String, Symptom)| {
            matches!(
                symptom.kind,
                SymptomKind::Signal
                    | SymptomKind::Abort
                    | SymptomKind::Sanitizer
                    | SymptomKind::Exception
                    | SymptomKind::OutOfMemory
            )
        };
        let found = played.odd.iter().find(is_it);
        let found = found.or_else(|| played.odd.iter().find(of_its_own));
        found.map(|(_, symptom)| symptom.clone())
    }

    /// Whether its instance grew over the second half of a play; `None`: not read often enough.
    fn growth(&self, play: &Play, what: What) -> Option<bool> {
        let (ended, played) = play.over.as_ref()?;
        let replica = self.replicas.get(&play.instance)?;
        let began = played.first_sent?;
        let middle = At(began.0 + ended.since(began) / 2);
        let readings = &replica.readings;
        let (from, first) = readings.iter().find(|(at, _)| *at >= middle)?;
        let (to, last) = readings.back()?;
        let until = At(to.0.min(ended.0 + 500_000));
        if until <= *from {
            return None;
        }
        let part = ended.since(*from) as f64 / ended.since(began).max(1) as f64;
        let rounds = (f64::from(play.rounds) * part).max(1.0);
        let grown = level(last, what) - level(first, what);
        let least = match what {
            What::Memory => (MEMORY_A_ROUND * rounds).max(MEMORY_MIN),
            What::Descriptors | What::Threads => (COUNT_A_ROUND * rounds).max(4.0),
        };
        Some(grown >= least)
    }

    /// A play that could not be begun says nothing.
    pub(super) fn void(&mut self, at: At, case: CaseId, recipe: &Recipe) {
        let outcome = Outcome {
            symptom: None,
            passed: false,
            usage: Usage::default(),
            missing: Vec::new(),
            passed_before: 0,
        };
        self.replicator.ended(at, case, recipe, outcome);
    }
}

fn level(sample: &InstanceSample, what: What) -> f64 {
    match what {
        What::Memory => sample.memory_anon as f64,
        What::Descriptors => f64::from(sample.open_files),
        What::Threads => f64::from(sample.tasks),
    }
}
