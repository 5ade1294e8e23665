//! All cases of a campaign.

use std::collections::BTreeMap;

use cohort_model::{
    Arm, At, Case, CaseId, CaseVerdict, Condition, Noise, Rate, Recipe, Stage, Subject,
};

use crate::same::same;
use crate::{Hunt, Known, Outcome, Room, Settings, Sighting, Try};

/// All cases of a campaign: which is tried next, and what is known of each.
#[derive(Debug)]
pub struct Replicator {
    settings: Settings,
    next_case: u32,
    known: Vec<Known>,
    cases: BTreeMap<CaseId, Open>,
}

#[derive(Debug)]
struct Open {
    shown: Case,
    recipes: Vec<Recipe>,
    given: u32,
    under_way: u32,
    changed: bool,
}

impl Replicator {
    /// One without cases.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            next_case: settings.first_case,
            settings,
            known: Vec::new(),
            cases: BTreeMap::new(),
        }
    }

    /// A case that an earlier campaign closed: it is tried again, and its return is named.
    pub fn remember(&mut self, known: Known) {
        self.next_case = self.next_case.max(known.case.0 + 1);
        self.known.push(known);
    }

    /// Something odd was seen: opens a case, or joins the one of the same subject with the same symptom.
    pub fn sighted(&mut self, at: At, sighting: &Sighting<'_>) -> CaseId {
        let joined = self.cases.values_mut().find(|open| {
            open.shown.subject == sighting.subject
                && open
                    .shown
                    .symptom
                    .as_ref()
                    .is_some_and(|symptom| same(symptom, sighting.symptom))
        });
        if let Some(open) = joined {
            if !open.shown.sightings.contains(&sighting.thread) {
                open.shown.sightings.push(sighting.thread);
            }
            return open.shown.case;
        }
        let id = self.open(at, sighting.subject.clone(), sighting.parts.clone());
        if let Some(open) = self.cases.get_mut(&id) {
            open.shown.symptom = Some(sighting.symptom.clone());
            open.shown.sightings.push(sighting.thread);
        }
        id
    }

    /// Tries something that has not failed, until its failure rate is surely below `hunt.p`.
    pub fn suspect(&mut self, at: At, subject: Subject, hunt: Hunt) -> CaseId {
        let _ = hunt;
        self.open(at, subject, Vec::new())
    }

    fn open(&mut self, at: At, subject: Subject, parts: Vec<cohort_model::CasePart>) -> CaseId {
        let id = CaseId(self.next_case);
        self.next_case += 1;
        let control = Recipe {
            parts,
            ..Recipe::default()
        };
        let recipes: Vec<Recipe> = std::iter::once(control.clone())
            .chain(
                [
                    Condition::CpuLimit { cores: 0.2 },
                    Condition::Schedule { seed: 1 },
                    Condition::Copies { count: 4 },
                    Condition::Noise {
                        noise: Noise::Cpu,
                        tasks: 4,
                    },
                ]
                .into_iter()
                .filter(|condition| self.settings.able.contains(&condition.kind()))
                .map(|condition| Recipe {
                    conditions: vec![condition],
                    ..control.clone()
                }),
            )
            .collect();
        let shown = Case {
            case: id,
            subject,
            symptom: None,
            sightings: Vec::new(),
            since: at,
            returned: false,
            stage: Stage::Open,
            verdict: None,
            arms: recipes
                .iter()
                .enumerate()
                .map(|(place, recipe)| Arm {
                    recipe: recipe.clone(),
                    control: place == 0,
                    rate: Rate::default(),
                })
                .collect(),
            runs_to_first: None,
            causes: Vec::new(),
            smallest: None,
            minimal: false,
            remarks: Vec::new(),
        };
        self.cases.insert(
            id,
            Open {
                shown,
                recipes,
                given: 0,
                under_way: 0,
                changed: true,
            },
        );
        id
    }

    /// What to run next, if there is anything worth it that fits; it counts as under way from now on.
    pub fn next(&mut self, _at: At, _room: Room) -> Option<Try> {
        let limit = self.settings.limits.runs;
        let open = self
            .cases
            .values_mut()
            .filter(|open| open.shown.stage != Stage::Closed && open.given < limit)
            .min_by_key(|open| open.given)?;
        let recipe = open.recipes[open.given as usize % open.recipes.len()].clone();
        open.given += 1;
        open.under_way += 1;
        if open.shown.stage == Stage::Open {
            open.shown.stage = Stage::Reproducing;
            open.changed = true;
        }
        Some(Try {
            case: open.shown.case,
            subject: open.shown.subject.clone(),
            recipe,
            stage: open.shown.stage,
            cores: 1.0,
            memory: 0,
        })
    }

    /// A try ended. Returns the case that was opened or joined because it failed otherwise.
    pub fn ended(
        &mut self,
        at: At,
        case: CaseId,
        recipe: &Recipe,
        outcome: Outcome,
    ) -> Option<CaseId> {
        let limit = self.settings.limits.runs;
        let open = self.cases.get_mut(&case)?;
        open.under_way = open.under_way.saturating_sub(1);
        let known = open.shown.symptom.clone();
        let other = match (&outcome.symptom, &known) {
            (Some(new), Some(old)) => !same(new, old),
            _ => false,
        };
        let counted = outcome.passed || outcome.symptom.is_some();
        if let Some(arm) = open.shown.arms.iter_mut().find(|arm| arm.recipe == *recipe)
            && counted
        {
            arm.rate.runs += 1;
            arm.rate.failed += u32::from(outcome.symptom.is_some() && !other);
            arm.rate.high = 1.0;
        }
        let failed: u32 = open.shown.arms.iter().map(|arm| arm.rate.failed).sum();
        if open.given >= limit && open.under_way == 0 {
            open.shown.stage = Stage::Closed;
            open.shown.verdict = Some(if failed > 0 {
                CaseVerdict::Sometimes
            } else {
                CaseVerdict::NotReproduced
            });
            open.changed = true;
        }
        let subject = open.shown.subject.clone();
        let symptom = outcome.symptom.filter(|_| other)?;
        Some(self.sighted(
            at,
            &Sighting {
                subject,
                thread: cohort_model::ThreadId(0),
                symptom: &symptom,
                parts: recipe.parts.clone(),
                usage: outcome.usage,
                crowded: false,
                passes: 1,
            },
        ))
    }

    /// Cases of which more is known than at the last call.
    pub fn news(&mut self, _at: At) -> Vec<Case> {
        self.cases
            .values_mut()
            .filter_map(|open| std::mem::take(&mut open.changed).then(|| open.shown.clone()))
            .collect()
    }

    /// Ends all cases that are still open: nothing more is tried in this campaign, because of `why` (one
    /// sentence).
    pub fn finish(&mut self, _at: At, why: &str) {
        for open in self.cases.values_mut() {
            if open.shown.stage != Stage::Closed {
                open.shown.stage = Stage::Closed;
                open.shown.verdict = Some(CaseVerdict::NotReproduced);
                open.shown.remarks.push(why.to_owned());
                open.changed = true;
            }
        }
    }

    /// Nothing is worth trying any more.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.cases
            .values()
            .all(|open| open.shown.stage == Stage::Closed)
    }

    /// All cases, by number.
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        self.cases.values().map(|open| &open.shown)
    }
}
