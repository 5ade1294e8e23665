//! Whether a play shows its case.

use cohort_model::{At, CaseId, Grown, Played, Recipe, Symptom, SymptomKind, Usage};
use cohort_replicator::Outcome;
use cohort_replicator::sameness::same;

use super::Cases;
use super::attempt::Play;
use super::gauge::{Gauge, What};

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
            Gauge::Odd | Gauge::Hangs => (self.odd(play, known, played)).filter(|odd| {
                odd.kind != SymptomKind::ErrorAnswer || !self.is_another(play, played)
            }),
            Gauge::Slow(_) | Gauge::Slower => {
                let is_its = |number: u32| {
                    let request = capsule.requests.get(number as usize);
                    request.is_some_and(|request| request.endpoint == capsule.subject)
                };
                let took_long = capsule.gauge.took_long(played, is_its);
                took_long.then(|| known.clone())
            }
            Gauge::Grows(what) => match &played.grown {
                Some(grown) => self.grows(play, what, grown).then(|| known.clone()),
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
        // An exception with which the server ended is shown by such an end too.
        let capsule = self.capsules.get(play.capsule as usize);
        let end = capsule.and_then(|capsule| capsule.end.as_ref());
        let is_end = |end: &Symptom| played.odd.iter().any(|(_, symptom)| same(end, symptom));
        if end.is_some_and(is_end) {
            return Some(known.clone());
        }
        let found = played.odd.iter().find(is_it);
        let found = found.or_else(|| played.odd.iter().find(of_its_own));
        found.map(|(_, symptom)| symptom.clone())
    }

    /// Whether its instance grew, with each repetition nearly as much as the case did as it was.
    fn grows(&self, play: &Play, what: What, grown: &Grown) -> bool {
        let usual = self.growth.get(&play.case).copied().unwrap_or_default();
        what.grew(grown, usual)
    }

    /// What the case as it was grows by is what its parts are compared with.
    pub(super) fn note_growth(&mut self, play: &Play, played: &Played) {
        let gauge = self.capsules.get(play.capsule as usize);
        let (Some(Gauge::Grows(what)), Some(grown)) = (gauge.map(|one| &one.gauge), &played.grown)
        else {
            return;
        };
        if play.cut.is_none() && play.recipe.conditions.is_empty() && what.grew(grown, 0.0) {
            let each = what.level(grown).0 / f64::from(grown.rounds.max(1));
            // What grows little once may be what an allocator holds back: it is no measure.
            let known = self.growth.entry(play.case).or_insert(each);
            *known = known.max(each);
        }
    }

    /// Which exceptions came with the answers by which a case shows, as it was: what is left of it comes with them too.
    pub(super) fn note_beside(&mut self, play: &Play, played: &Played, shown: bool) {
        let seen: Vec<Symptom> = exceptions(played).cloned().collect();
        if !shown || play.cut.is_some() || seen.is_empty() {
            return;
        }
        let known = (self.beside.entry(play.case)).or_insert_with(|| seen.clone());
        known.retain(|one| seen.iter().any(|other| same(one, other)));
    }

    /// Whether what is left of a case answers with an error for another reason: many servers say the same of all of
    /// them, and only their logs tell.
    fn is_another(&self, play: &Play, played: &Played) -> bool {
        let Some(known) = self
            .beside
            .get(&play.case)
            .filter(|known| !known.is_empty())
        else {
            return false;
        };
        let mut seen = exceptions(played).peekable();
        play.cut.is_some()
            && seen.peek().is_some()
            && !seen.any(|one| known.iter().any(|other| same(one, other)))
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

/// What its server wrote of exceptions.
fn exceptions(played: &Played) -> impl Iterator<Item = &Symptom> {
    let odd = played.odd.iter().map(|(_, symptom)| symptom);
    odd.filter(|symptom| symptom.kind == SymptomKind::Exception)
}
