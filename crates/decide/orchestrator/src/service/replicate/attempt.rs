//! Plays: which is next, where, and what became of it.

use std::collections::BTreeMap;

use cohort_model::{
    At, CaseId, CasePart, Condition, ConditionKind, InstanceId, Played, Recipe, ServiceCommand,
    ServiceReason, Stage, Subject, Symptom, SymptomKind,
};
use cohort_replicator::minimize::Candidate;
use cohort_replicator::sameness::same;
use cohort_replicator::{Room, Try};

use super::super::{Conductor, ServiceStep};
use super::Cases;
use super::capsule::Capsule;
use super::cut::Cut;
use super::gauge::Gauge;

/// A play that takes longer than this is given up, microseconds.
const PLAY_US_MAX: u64 = 60_000_000;
/// What never was slow in so many plays is looked for in what came before.
const UNSEEN_MIN: u32 = 3;

/// A play under way.
#[derive(Clone, Debug)]
pub(in super::super) struct Play {
    pub(super) case: CaseId,
    pub(super) capsule: u32,
    pub(super) instance: InstanceId,
    pub(super) recipe: Recipe,
    /// Conditions that its server would have had to be started under: it is one that has run for a while.
    unmade: Vec<ConditionKind>,
    /// How long its server had run, microseconds.
    pub(super) age_us: u64,
    pub(super) begun: At,
    /// It is for this: what can be left out.
    pub(super) cut: Option<Candidate<CasePart>>,
    /// It is on this other build.
    variant: Option<String>,
    /// It is over, since then; what was read of its instance is waited for.
    pub(super) over: Option<(At, Played)>,
    /// It was told to end.
    ended: bool,
}

impl Conductor {
    pub(super) fn begin_plays(&mut self, at: At, step: &mut ServiceStep) {
        while let Some((instance, next)) = self.next_play(at) {
            self.begin_play(at, instance, next, step);
        }
    }

    /// What is played next, and where.
    fn next_play(&mut self, at: At) -> Option<(InstanceId, Next)> {
        let room = Room {
            cores: self.plan.cores,
            memory: self.plan.memory,
            start: true,
        };
        let cases = self.cases.as_mut()?;
        if cases.over || cases.is_done() {
            return None;
        }
        let free = cases.free(at);
        if !cases.is_ready_for_first(&free)
            && let Some(next) = self.next_elsewhere(at, room)
        {
            return Some(next);
        }
        let cases = self.cases.as_mut()?;
        if free.is_empty() {
            return None;
        }
        if let Some(cut) = cases.next_cut(at, &free) {
            return Some(cut);
        }
        // What can be left out goes on when nothing else is to be tried.
        cases
            .next_try(at, room, &free)
            .or_else(|| cases.any_cut(at, &free))
            .or_else(|| cases.next_on_variant(at, &free))
    }

    /// What was never tried, while no replica is ready for it: on an ordinary instance.
    fn next_elsewhere(&mut self, at: At, room: Room) -> Option<(InstanceId, Next)> {
        let instance = self.ordinary_stage(self.cases.as_ref()?)?;
        let cases = self.cases.as_mut()?;
        let next = cases.replicator.next(at, room)?;
        if cases.tried.contains(&next.case) || !cases.is_harmless(next.case) {
            cases.void(at, next.case, &next.recipe);
            return None;
        }
        Some((instance, Next::of(next)))
    }

    fn begin_play(&mut self, at: At, instance: InstanceId, next: Next, step: &mut ServiceStep) {
        let Some(cases) = &mut self.cases else {
            return;
        };
        let Some(capsule) = cases.capsule_of(next.case) else {
            // It was opened by a play of another case, whose requests it is made of.
            cases.void(at, next.case, &next.recipe);
            return;
        };
        let number = cases.of_case.get(&next.case).copied().unwrap_or_default();
        let parts = match &next.cut {
            Some(cut) => cut.kept.clone(),
            None => cases.parts_of(next.case),
        };
        let keep = capsule.closure(&parts);
        let told = match &next.cut {
            Some(_) => cases.cuts.get(&next.case).is_some_and(Cut::has_pieces),
            None => cases.tells_pieces(next.case),
        };
        let without = capsule.without(&parts, &keep, told);
        if keep.is_empty() {
            // Nothing is sent, and nothing comes of that.
            if let Some(cut) = &next.cut {
                cases.cut_ended(next.case, cut, Some(false));
            } else {
                cases.void(at, next.case, &next.recipe);
            }
            return;
        }
        let (together, rounds) = capsule.gauge.rounds();
        let grows = capsule.gauge.grows();
        let hangs = capsule.gauge.hangs();
        let patience_us = capsule.gauge.patience_us(cases.longest_usual_us());
        let copies = copies(&next.recipe) * together;
        let of = |number: &u32| capsule.requests.get(*number as usize);
        let in_time = capsule.gauge.in_time(keep.iter().filter_map(of));
        let is_first = cases.tried.insert(next.case);
        let play = cases.next_play;
        cases.next_play += 1;
        cases.end_fuzz_on(instance, step);
        let (recipe, unmade) = cases.as_it_can_be(at, &next, instance);
        let (mut fresh, age_us) =
            cases.take_stage(at, (play, instance), (next.case, &recipe), is_first);
        if next.variant.is_some() {
            fresh = true;
            cases.begins_otherwise(instance);
        }
        cases.plays.insert(
            play,
            Play {
                case: next.case,
                capsule: number,
                instance,
                recipe: next.recipe,
                cut: next.cut,
                variant: next.variant.clone(),
                unmade,
                age_us,
                begun: at,
                over: None,
                ended: false,
            },
        );
        let command = ServiceCommand::TryCase {
            case: next.case,
            capsule: number,
            play,
            instance,
            recipe,
            variant: next.variant.unwrap_or_default(),
            keep,
            without,
            fresh,
            copies,
            rounds,
            hangs,
            grows,
            in_time,
            patience_us,
        };
        step.decide(command, ServiceReason::EdgeCase, None);
    }

    /// A play is over.
    pub(super) fn see_tried(&mut self, at: At, play: u32, played: &Played) {
        let Some(cases) = &mut self.cases else {
            return;
        };
        if let Some(known) = cases.plays.get_mut(&play) {
            known.over = Some((at, played.clone()));
        }
        self.judge_plays(at);
    }

    /// Those that took too long, or that nothing is heard of.
    pub(super) fn limit_plays(&mut self, at: At, step: &mut ServiceStep) {
        let Some(cases) = &mut self.cases else {
            return;
        };
        let all = cases.over;
        let mut lost = Vec::new();
        for (&number, play) in &mut cases.plays {
            let age_us = at.since(play.begun);
            if play.over.is_none() && !play.ended && (all || age_us > PLAY_US_MAX) {
                play.ended = true;
                let command = ServiceCommand::EndPlay { play: number };
                step.decide(command, ServiceReason::EdgeCase, None);
            } else if age_us > 2 * PLAY_US_MAX {
                lost.push(number);
            }
        }
        for number in lost {
            cases.end_play(number);
        }
    }

    /// What plays that are over tell, once all of it can be known.
    pub(super) fn judge_plays(&mut self, at: At) {
        let Some(cases) = &mut self.cases else {
            return;
        };
        let due = |play: &&Play| play.over.is_some();
        let due: Vec<u32> = cases
            .plays
            .iter()
            .filter(|(_, play)| due(play))
            .map(|(&number, _)| number)
            .collect();
        for number in due {
            let Some(play) = cases.end_play(number) else {
                continue;
            };
            if play.over.iter().any(|(_, played)| played.hung()) {
                // Whatever is played on it next would wait, too.
                cases.begins_otherwise(play.instance);
            }
            if let (Some((_, played)), Some(variant)) = (&play.over, &play.variant) {
                cases.variant_ended(&play, variant, played);
                continue;
            }
            if let Some((_, played)) = &play.over {
                if play.cut.is_none() && cases.of_case.get(&play.case) != Some(&play.capsule) {
                    // It is made of more by now. How old the server was that showed it is known all the same.
                    let outcome = cases.outcome(&play, played);
                    if cases.is_of(play.case, outcome.symptom.as_ref()) {
                        cases.note_age(&play, true);
                    }
                    cases.void(at, play.case, &play.recipe);
                    continue;
                }
                cases.note_growth(&play, played);
                let mut outcome = cases.outcome(&play, played);
                let shown = cases.is_of(play.case, outcome.symptom.as_ref());
                cases.note_beside(&play, played, shown);
                if (shown || outcome.passed) && !cases.note_age(&play, shown) {
                    outcome.passed = false;
                }
                let is_known = cases.needs_old(play.case) || !cases.wants_old(play.case);
                if shown || is_known {
                    outcome.missing.extend(&play.unmade);
                } else if !play.unmade.is_empty() {
                    // Whether it takes such a server is not known yet.
                    outcome.passed = false;
                }
                if let Some(cut) = &play.cut {
                    let is_it = cases.is_of(play.case, outcome.symptom.as_ref());
                    let tells = is_it || outcome.passed || outcome.symptom.is_some();
                    cases.cut_ended(play.case, cut, tells.then_some(is_it));
                    continue;
                }
                if let Some(other) = cases.replicator.ended(at, play.case, &play.recipe, outcome) {
                    cases.of_case.entry(other).or_insert(play.capsule);
                }
                cases.look_at_the_past(play.case);
            }
        }
    }
}

/// So many plays at once are a condition of a recipe.
fn copies(recipe: &Recipe) -> u32 {
    let count = recipe
        .conditions
        .iter()
        .find_map(|condition| match condition {
            Condition::Copies { count } => Some(*count),
            _ => None,
        });
    count.unwrap_or(1).max(1)
}

/// What is played next.
pub(super) struct Next {
    pub(super) case: CaseId,
    pub(super) recipe: Recipe,
    pub(super) cut: Option<Candidate<CasePart>>,
    /// On another build.
    pub(super) variant: Option<String>,
}

impl Next {
    fn of(next: Try) -> Next {
        let (case, recipe) = (next.case, next.recipe);
        Next {
            case,
            recipe,
            cut: None,
            variant: None,
        }
    }
}

impl Cases {
    /// What the replicator wants to be tried next and that can be, on one of these.
    fn next_try(
        &mut self,
        at: At,
        room: Room,
        free: &[(InstanceId, u64)],
    ) -> Option<(InstanceId, Next)> {
        // What has to wait for its server to grow old is not asked for: each try that is not made counts as one.
        let open = self.replicator.cases();
        let open = open.filter(|case| case.stage != Stage::Closed);
        let rooms: BTreeMap<CaseId, Room> = open
            .filter_map(|case| {
                let instance = self.stage_of(at, case.case, free)?;
                let start = !self.stays(at, case.case, instance);
                Some((case.case, Room { start, ..room }))
            })
            .collect();
        let next = self
            .replicator
            .next_of(at, |case| rooms.get(&case).copied())?;
        let instance = self.stage_of(at, next.case, free)?;
        Some((instance, Next::of(next)))
    }

    /// What to leave out next, when it is its turn: it has two of three.
    fn next_cut(&mut self, at: At, free: &[(InstanceId, u64)]) -> Option<(InstanceId, Next)> {
        let untried = self
            .replicator
            .cases()
            .any(|case| case.stage == Stage::Open);
        let (cuts, others) = self.turns;
        if untried || cuts > 2 * others + 2 {
            self.turns.1 += 1;
            return None;
        }
        self.any_cut(at, free)
    }

    /// The same, whosever turn it is.
    fn any_cut(&mut self, at: At, free: &[(InstanceId, u64)]) -> Option<(InstanceId, Next)> {
        let open = self.cuts.iter().filter(|(_, cut)| !cut.is_done());
        let mut cuts: Vec<(u32, CaseId)> = open.map(|(&case, cut)| (cut.under_way, case)).collect();
        cuts.sort_unstable();
        for (_, case) in cuts {
            let Some(instance) = self.stage_of(at, case, free) else {
                continue;
            };
            let cut = self.cuts.get_mut(&case)?;
            if let Some(candidate) = cut.next() {
                self.turns.0 += 1;
                let next = Next {
                    case,
                    recipe: cut.recipe(&candidate),
                    cut: Some(candidate),
                    variant: None,
                };
                return Some((instance, next));
            }
        }
        None
    }

    /// A slow call that is not slow when it is made again may be so by what came before it: that is repeated then.
    fn look_at_the_past(&mut self, case: CaseId) {
        let known = self.replicator.cases().find(|known| known.case == case);
        let Some(control) = known.and_then(|known| known.arms.iter().find(|arm| arm.control))
        else {
            return;
        };
        let (runs, failed) = (control.rate.runs, control.rate.failed);
        let number = self.of_case.get(&case).copied().unwrap_or_default();
        if runs >= UNSEEN_MIN
            && failed == 0
            && !self.wants_old(case)
            && let Some(capsule) = self.capsules.get_mut(number as usize)
            && matches!(capsule.gauge, Gauge::Slow(_))
        {
            capsule.becomes_slower();
        }
    }

    /// Whether a symptom is that of a case.
    pub(super) fn is_of(&self, case: CaseId, symptom: Option<&Symptom>) -> bool {
        let known = self.replicator.cases().find(|known| known.case == case);
        let known = known.and_then(|known| known.symptom.as_ref());
        symptom.is_some_and(|symptom| known.is_some_and(|known| same(known, symptom)))
    }

    pub(super) fn capsule_of(&self, case: CaseId) -> Option<&Capsule> {
        let number = self.of_case.get(&case)?;
        self.capsules.get(*number as usize)
    }

    /// Whether it can do no harm to those who are on the same instance.
    pub(super) fn is_harmless(&self, case: CaseId) -> bool {
        let symptom = self.replicator.cases().find(|known| known.case == case);
        let symptom = symptom.and_then(|known| known.symptom.as_ref());
        symptom.is_some_and(|symptom| {
            matches!(
                symptom.kind,
                SymptomKind::ErrorAnswer | SymptomKind::WrongAnswer
            )
        })
    }

    /// The place of a play is free.
    fn end_play(&mut self, number: u32) -> Option<Play> {
        let play = self.plays.remove(&number)?;
        if let Some(replica) = self.replicas.get_mut(&play.instance)
            && replica.play == Some(number)
        {
            replica.play = None;
        }
        Some(play)
    }

    /// What a case is about, as it is compared.
    pub(super) fn subject_of(&self, case: CaseId) -> Option<&str> {
        let case = self.replicator.cases().find(|known| known.case == case)?;
        match &case.subject {
            Subject::Service(endpoint) => Some(endpoint),
            Subject::Test(_) => None,
        }
    }
}
