//! What a case is busy with. Each step holds the recipes it compares and says which to run next.
//!
//! ```text
//!   Again -> Control -> Hunt <---> Repeat -> Single -> Narrow      (which conditions are needed)
//!               |         ^                     \       /
//!               |         |                      v     v
//!               |         +-- not the cause --- Prove <-> Rivals   (do they matter; does another do the same)
//!               |                                 |
//!               |                                 v
//!               +------- fails always -------> Degree, Parts, Environment, Input -> Prove -> Cover -> Closed
//! ```

use cohort_model::{CasePart, Recipe, Stage};

use super::cover::Cover;
use super::degree::Degree;
use super::evidence::{Scale, Tally};
use super::explain::Single;
use super::input::Cut;
use super::less::Less;
use super::prove::Prove;
use super::rivals::Rivals;

/// One plan, and its runs within this step.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    /// What is run.
    pub(super) plan: Recipe,
    /// How that ended.
    pub(super) tally: Tally,
    /// Runs under way.
    pub(super) flying: u32,
}

impl Trial {
    /// Not run yet.
    pub(super) fn new(plan: Recipe) -> Self {
        Self {
            plan,
            tally: Tally::default(),
            flying: 0,
        }
    }

    /// Ended and under way.
    pub(super) fn begun(&self) -> u32 {
        self.tally.runs + self.flying
    }

    /// Whether one more run is worth it before those under way have ended.
    pub(super) fn wanted_by(&self, scale: Scale) -> bool {
        self.flying < scale.least_left(self.tally)
    }
}

/// What a case is busy with.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The smallest recipe of an earlier campaign.
    Again(Trial),
    /// The original on another instance.
    Control(Trial),
    /// A recipe under which it fails is looked for.
    Hunt,
    /// Whether that recipe fails again.
    Repeat(Trial),
    /// Whether one of its conditions is enough.
    Single(Single),
    /// Which of its conditions are needed.
    Narrow(Less<usize>),
    /// Whether they matter.
    Prove(Prove),
    /// Whether others do the same.
    Rivals(Rivals),
    /// From which degree on.
    Degree(Degree),
    /// Which parts are needed.
    Parts(Less<CasePart>),
    /// Which variables of the environment are needed.
    Environment(Less<String>),
    /// How much of its input is needed.
    Input(Box<Cut>),
    /// Which lines run.
    Cover(Cover),
    /// Nothing more.
    Closed,
}

impl Step {
    /// Which of its plans is to be run next, and the plan itself; none: none before one under way has
    /// ended. Not for hunting, where plans are made up.
    pub(super) fn want(&mut self, always_runs: u32) -> Option<(usize, Recipe)> {
        match self {
            Step::Again(trial) => (trial.begun() < always_runs && trial.tally.failed == 0)
                .then(|| (0, trial.plan.clone())),
            Step::Control(trial) => (trial.begun() < always_runs
                && trial.tally.failed == trial.tally.runs)
                .then(|| (0, trial.plan.clone())),
            Step::Repeat(trial) => {
                let at_once = if trial.tally.runs < 2 { 2 } else { 3 };
                (trial.flying < at_once).then(|| (0, trial.plan.clone()))
            }
            Step::Prove(prove) => prove.want().map(|place| {
                let trial = match place {
                    0 => &prove.with,
                    _ => &prove.claims[place - 1].without.trial,
                };
                (place, trial.plan.clone())
            }),
            Step::Rivals(rivals) => rivals
                .want()
                .map(|place| (place, rivals.others[place].1.plan.clone())),
            Step::Single(single) => single
                .trial
                .wanted_by(single.scale)
                .then(|| (0, single.trial.plan.clone())),
            Step::Degree(degree) => degree
                .trial
                .as_ref()
                .filter(|trial| trial.wanted_by(degree.scale))
                .map(|trial| (0, trial.plan.clone())),
            Step::Narrow(less) => less.search.next().map(|candidate| {
                let conditions = candidate
                    .kept
                    .iter()
                    .map(|place| less.plan.conditions[*place].clone())
                    .collect();
                less.asked.push(candidate);
                let plan = super::recipes::under(&less.plan, conditions);
                (less.asked.len() - 1, plan)
            }),
            Step::Parts(less) => less.search.next().map(|candidate| {
                let plan = Recipe {
                    parts: super::less::in_order(&candidate.kept, &less.plan.parts),
                    ..less.plan.clone()
                };
                less.asked.push(candidate);
                (less.asked.len() - 1, plan)
            }),
            Step::Environment(less) => less.search.next().map(|candidate| {
                let plan = super::surroundings::keeping(less, &candidate.kept);
                less.asked.push(candidate);
                (less.asked.len() - 1, plan)
            }),
            Step::Input(cut) => cut.want(),
            Step::Cover(cover) => cover
                .want()
                .map(|place| (place, cover.trials[place].plan.clone())),
            Step::Hunt | Step::Closed => None,
        }
    }

    /// The trial at a place, where the step has trials.
    pub(super) fn trial(&mut self, place: usize) -> Option<&mut Trial> {
        match self {
            Step::Again(trial) | Step::Control(trial) | Step::Repeat(trial) => Some(trial),
            Step::Prove(prove) => match place.checked_sub(1) {
                None => Some(&mut prove.with),
                Some(place) => prove
                    .claims
                    .get_mut(place)
                    .map(|claim| &mut claim.without.trial),
            },
            Step::Rivals(rivals) => rivals.others.get_mut(place).map(|(_, trial)| trial),
            Step::Single(single) => Some(&mut single.trial),
            Step::Degree(degree) => degree.trial.as_mut(),
            Step::Cover(cover) => cover.trials.get_mut(place),
            Step::Hunt
            | Step::Narrow(_)
            | Step::Parts(_)
            | Step::Environment(_)
            | Step::Input(_)
            | Step::Closed => None,
        }
    }

    /// The plans it is about.
    pub(super) fn plans(&self) -> Vec<&Recipe> {
        match self {
            Step::Again(trial) | Step::Control(trial) | Step::Repeat(trial) => vec![&trial.plan],
            Step::Single(single) => vec![&single.trial.plan],
            Step::Narrow(less) => vec![&less.plan],
            Step::Parts(less) => vec![&less.plan],
            Step::Environment(less) => vec![&less.plan],
            Step::Input(cut) => vec![&cut.plan],
            Step::Prove(prove) => vec![&prove.with.plan],
            Step::Rivals(rivals) => vec![&rivals.leader.with.plan],
            Step::Degree(degree) => vec![&degree.proved.with.plan],
            Step::Cover(cover) => cover.trials.iter().map(|trial| &trial.plan).collect(),
            Step::Hunt | Step::Closed => Vec::new(),
        }
    }

    /// What was wanted does not fit now: it is asked for again later.
    pub(super) fn ended_unbegun(&mut self, place: usize) {
        if matches!(
            self,
            Step::Narrow(_) | Step::Parts(_) | Step::Environment(_) | Step::Input(_)
        ) {
            self.ended(place, (1, 0, None));
        }
    }

    /// So many runs of the plan at this place have begun, one after the other.
    pub(super) fn began(&mut self, place: usize, runs: u32) {
        if let Some(trial) = self.trial(place) {
            trial.flying += runs;
        }
    }

    /// Of so many runs that were begun some passed, and the last one ended; none: it says nothing.
    pub(super) fn ended(&mut self, place: usize, (runs, passes, failed): (u32, u32, Option<bool>)) {
        match self {
            Step::Narrow(less) => less.ended(place, failed),
            Step::Parts(less) => less.ended(place, failed),
            Step::Environment(less) => less.ended(place, failed),
            Step::Input(cut) => cut.ended(place, failed),
            _ => {
                if let Some(trial) = self.trial(place) {
                    trial.flying = trial.flying.saturating_sub(runs);
                    trial.tally.add_passes(passes);
                    if let Some(failed) = failed {
                        trial.tally.add(failed);
                    }
                }
            }
        }
    }

    /// What the user is told the case is busy with, when it has failed again and when it has not.
    pub(super) fn stage(&self, reproduced: bool) -> Stage {
        match self {
            Step::Again(_) | Step::Control(_) => Stage::Reproducing,
            Step::Hunt | Step::Repeat(_) if !reproduced => Stage::Reproducing,
            Step::Parts(_) | Step::Environment(_) | Step::Input(_) | Step::Cover(_) => {
                Stage::Minimizing
            }
            Step::Closed => Stage::Closed,
            _ => Stage::Explaining,
        }
    }
}
