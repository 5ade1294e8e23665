//! What is tried first, once each, before it competes with all else.
//!
//! - Of a test that has not failed yet nothing is known, so its first tries hold much at once: one run asks many
//!   questions ([`first`]). Which of them come first was learned: the order that needs the fewest runs on the bugs
//!   of the benchmark, each judged by an order that was fitted without it (`cargo xtask bench cases --rows orders`).
//! - Then, and first where something failed that may follow from it, what costs no more than a plain run: another
//!   time, zone, locale, order of directories, seed. One run of it mostly decides. After the first few, which hold
//!   most of it, every other run is of something else: a race does not wait for the last of the time zones.

use std::collections::VecDeque;

use cohort_model::{Condition, ConditionKind, Recipe};

use super::Experiment;
use super::menu::{Family, Place, cheap, family, first, opening};
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
    /// So many of them come before all else.
    at_once: u32,
    /// So many had their turn.
    begun: u32,
    /// Nothing had failed; then, whether a run begins with a runner that starts slowly.
    unseen: Option<bool>,
    /// What comes before all of that, of a test that has not failed.
    opening: Vec<Condition>,
}

impl Cheap {
    /// All of them. They come first when nothing is known of the failure, or nothing speaks for something else.
    /// `unseen`: nothing has failed; whether a run begins with a runner that starts slowly.
    pub(super) fn new(place: &Place<'_>, prior: &Prior, unseen: Option<bool>) -> Self {
        let most = |of: &dyn Fn(ConditionKind) -> bool| {
            let kinds = place.able.iter().filter(|kind| of(**kind));
            kinds.map(|kind| prior.of(*kind)).fold(0.0, f64::max)
        };
        let is_world = |kind: ConditionKind| family(kind) == Family::World;
        let world = most(&is_world);
        let others = most(&|kind| !is_world(kind));
        let mut cheap = Self {
            left: VecDeque::new(),
            first: unseen.is_some() || world * LIKELIER > others,
            at_once: FIRST,
            begun: 0,
            unseen,
            opening: opening(place),
        };
        cheap.reckon(place);
        cheap
    }

    /// What a run takes is known now.
    pub(super) fn reckon(&mut self, place: &Place<'_>) {
        let worlds = cheap(place);
        let mut anew: VecDeque<Vec<Condition>> = VecDeque::new();
        if let Some(slow_start) = self.unseen {
            anew.extend(first(place, slow_start));
            self.at_once = anew.len() as u32;
        }
        // What was mixed with others may have been hidden by them: it comes once more.
        anew.extend(worlds);
        anew.drain(..anew.len().min(self.begun as usize));
        self.left = anew;
    }
}

impl Experiment {
    /// What comes before all of that, of a test that has not failed.
    pub(super) fn opening(&self) -> Recipe {
        let known = |one: &&Condition| self.beliefs.all.iter().any(|own| own.condition == **one);
        let conditions = self.cheap.opening.iter().filter(known);
        Recipe {
            parts: Company::All.of(&self.plain.parts),
            conditions: conditions.cloned().collect(),
            ..Recipe::default()
        }
    }

    /// The next of them, when it is its turn.
    pub(super) fn cheap(&mut self) -> Option<Recipe> {
        let is_due = if self.cheap.first {
            self.cheap.begun < self.cheap.at_once || self.hunts.is_multiple_of(2)
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
