//! What costs no more than a plain run comes first: another time, zone, locale, order of directories, seed. One
//! run of it mostly decides, so each is tried once, and then it competes with all else. After the first few, which
//! hold most of it, every other run is of something else: a race does not wait for the last of the time zones.

use std::collections::VecDeque;

use cohort_model::{Condition, ConditionKind, Recipe};

use super::Experiment;
use super::menu::{Family, Place, cheap, family};
use super::prior::Prior;
use super::recipes::Company;

/// Another kind has to be so many times as likely for these to wait.
const LIKELIER: f64 = 4.0;
/// So many runs what is likelier has for itself.
const LIKELIER_RUNS: u32 = 6;
/// So many of these come before anything else, where they come first.
const FIRST: u32 = 3;

/// The cocktails that were not tried yet.
#[derive(Clone, Debug)]
pub(super) struct Cheap {
    left: VecDeque<Vec<Condition>>,
    /// Some come before all else; otherwise, after some others, every other run is one of them.
    first: bool,
    /// So many had their turn.
    begun: u32,
}

impl Cheap {
    /// All of them. They come first when nothing is known of the failure, or nothing speaks for something else.
    pub(super) fn new(place: &Place<'_>, prior: &Prior, has_failed: bool) -> Self {
        let most = |of: &dyn Fn(ConditionKind) -> bool| {
            let kinds = place.able.iter().filter(|kind| of(**kind));
            kinds.map(|kind| prior.of(*kind)).fold(0.0, f64::max)
        };
        let is_world = |kind: ConditionKind| family(kind) == Family::World;
        let world = most(&is_world);
        let others = most(&|kind| !is_world(kind));
        Self {
            left: cheap(place).into(),
            first: !has_failed || world * LIKELIER > others,
            begun: 0,
        }
    }

    /// What a run takes is known now.
    pub(super) fn reckon(&mut self, place: &Place<'_>) {
        let mut anew: VecDeque<Vec<Condition>> = cheap(place).into();
        anew.drain(..anew.len() - self.left.len().min(anew.len()));
        self.left = anew;
    }
}

impl Experiment {
    /// The next of them, when it is its turn.
    pub(super) fn cheap(&mut self) -> Option<Recipe> {
        let is_due = if self.cheap.first {
            self.cheap.begun < FIRST || self.hunts.is_multiple_of(2)
        } else {
            self.hunted >= LIKELIER_RUNS && !self.hunted.is_multiple_of(2)
        };
        if !is_due {
            return None;
        }
        let mut conditions = self.cheap.left.pop_front()?;
        self.cheap.begun += 1;
        let known = |one: &Condition| self.beliefs.all.iter().any(|own| own.condition == *one);
        conditions.retain(known);
        Some(Recipe {
            parts: Company::All.of(&self.plain.parts),
            conditions,
            ..Recipe::default()
        })
    }
}
