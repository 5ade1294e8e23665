//! Cases on other builds of the same server: what a sanitizer, or a build with more checks, says of what was reproduced.
//!
//! A case that failed again is played on each of them when nothing is left to be tried of it, in its smallest form.

use cohort_model::{
    At, Case, CaseId, InstanceId, OnVariant, Played, Recipe, Stage, SymptomKind, VARIANT_PLAYS,
};

use super::Cases;
use super::attempt::{Next, Play};
use super::capsule::Capsule;
use super::cut::Cut;
use super::gauge::Gauge;

/// A case on one of them.
#[derive(Clone, Debug)]
pub(super) struct Tried {
    pub(super) told: OnVariant,
    /// Plays under way.
    under_way: u32,
}

impl Cases {
    /// Whether nothing is to be played on another build any more.
    pub(super) fn variants_are_done(&self) -> bool {
        self.wanted().is_none()
    }

    /// The next play on another build, on one of these.
    pub(super) fn next_on_variant(
        &mut self,
        at: At,
        free: &[(InstanceId, u64)],
    ) -> Option<(InstanceId, Next)> {
        let (case, variant) = self.wanted()?;
        let instance = self.stage_of(at, case, free)?;
        let conditions = self.cuts.get(&case).map(Cut::conditions);
        let next = Next {
            case,
            recipe: Recipe {
                conditions: conditions.unwrap_or_default(),
                ..Recipe::default()
            },
            cut: None,
            variant: Some(variant.clone()),
        };
        let all = self.on_variants.entry(case).or_default();
        match all.iter_mut().find(|one| one.told.variant == variant) {
            Some(one) => one.under_way += 1,
            None => all.push(Tried {
                told: OnVariant {
                    variant,
                    ..OnVariant::default()
                },
                under_way: 1,
            }),
        }
        Some((instance, next))
    }

    /// What is played next there: a case that failed again, of which nothing else is to be tried.
    fn wanted(&self) -> Option<(CaseId, String)> {
        let closed = self.replicator.cases();
        let closed =
            closed.filter(|case| case.stage == Stage::Closed && case.runs_to_first.is_some());
        for case in closed.map(|case| case.case) {
            let is_cut = self.cuts.get(&case).is_none_or(Cut::is_done);
            let is_odd = |capsule: &Capsule| matches!(capsule.gauge, Gauge::Odd | Gauge::Hangs);
            let fits = self.capsule_of(case).is_some_and(is_odd) && !self.wants_old(case);
            if !is_cut || !fits {
                continue;
            }
            let known = self.on_variants.get(&case);
            let is_open = |variant: &&String| {
                let one =
                    known.and_then(|all| all.iter().find(|one| one.told.variant == **variant));
                one.is_none_or(|Tried { told, under_way }| {
                    let plays = told.plays + under_way;
                    plays < VARIANT_PLAYS && told.symptom.is_none() && told.void.is_empty()
                })
            };
            if let Some(variant) = self.plan.variants.iter().find(is_open) {
                return Some((case, variant.clone()));
            }
        }
        None
    }

    /// Builds on which it could have been played, had there been time, in a sentence.
    pub(super) fn unplayed(&self, case: &Case) -> Option<String> {
        let is_odd = |capsule: &Capsule| matches!(capsule.gauge, Gauge::Odd | Gauge::Hangs);
        let fits = self.capsule_of(case.case).is_some_and(is_odd) && case.runs_to_first.is_some();
        let is_told = |name: &&String| case.variants.iter().any(|one| one.variant == **name);
        let left: Vec<&str> = (self.plan.variants.iter())
            .filter(|name| !is_told(name))
            .map(String::as_str)
            .collect();
        (self.over && fits && !left.is_empty())
            .then(|| format!("There was no time left to play it on {}.", left.join(", ")))
    }

    /// What a play on another build told: a report of a sanitizer before all else.
    pub(super) fn variant_ended(&mut self, play: &Play, variant: &str, played: &Played) {
        let own = self.outcome(play, played).symptom;
        let own = own.filter(|own| self.is_of(play.case, Some(own)));
        let reports = played.odd.iter().map(|(_, symptom)| symptom);
        let report = reports
            .filter(|symptom| symptom.kind == SymptomKind::Sanitizer)
            .max_by_key(|symptom| symptom.frames.len());
        let all = self.on_variants.entry(play.case).or_default();
        let Some(one) = all.iter_mut().find(|one| one.told.variant == variant) else {
            return;
        };
        one.under_way = one.under_way.saturating_sub(1);
        let one = &mut one.told;
        one.plays += 1;
        one.failed += u32::from(own.is_some() || report.is_some());
        if let Some(report) = report {
            one.symptom.get_or_insert_with(|| report.clone());
        }
        // What one play showed stands, whatever became of another.
        if one.failed == 0 && !played.void.is_empty() {
            one.void.clone_from(&played.void);
        }
    }
}
