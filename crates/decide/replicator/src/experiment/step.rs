//! What a case is busy with. Each step holds the recipes it compares and says which to run next.
//!
//! ```text
//!   Again -> Control -> Hunt <-> Repeat -> Narrow -> Prove -> Rivals -> Degree -> Parts -> Prove -> Cover
//!                |       ^  \                          |                            ^
//!                |       +---\--- not the cause -------+                            |
//!                |            +---- nothing found: closed                           |
//!                +---- fails always ------------------------------------------------+
//! ```

use cohort_model::{Condition, Recipe, Stage};

use super::degree::Degree;
use super::evidence::{Scale, Tally, contrast};
use super::recipes::copies;
use crate::minimize::{Candidate, Minimizer};

/// Evidence at which a condition is named: the probability that one that does not matter reaches it, at any
/// time, is at most its inverse.
pub(super) const PROOF: f64 = 40.0;
/// Runs of each side from which on a comparison with less evidence than that is given up.
const GIVE_UP: [(u32, f64); 5] = [(8, 0.02), (30, 0.12), (60, 0.6), (100, 3.0), (160, PROOF)];
/// Runs of one comparison that may be under way at once.
const AHEAD: u32 = 4;

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
    fn wanted_by(&self, scale: Scale) -> bool {
        self.flying < scale.least_left(self.tally)
    }
}

/// What is said to matter.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Claimed {
    /// This condition.
    Condition(Condition),
    /// What ran before or beside it.
    Parts,
}

/// One thing that is said to matter, and the recipe that differs in nothing else.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    /// What.
    pub(super) what: Claimed,
    /// The recipe without it.
    pub(super) without: Trial,
}

/// Whether what is claimed matters: with and without it, all else held, by fresh runs only.
#[derive(Clone, Debug)]
pub(super) struct Prove {
    /// With everything.
    pub(super) with: Trial,
    /// Each claim.
    pub(super) claims: Vec<Claim>,
    /// Other conditions that may do the same are looked at afterwards.
    pub(super) rivals: bool,
    /// What is named when this one cannot be proved after all.
    pub(super) instead: Option<Box<Proved>>,
    /// It fails so seldom that both sides run as several copies: the recipe without them.
    pub(super) single: Option<Recipe>,
}

/// What was proved.
#[derive(Clone, Debug)]
pub(super) struct Proved {
    /// The recipe.
    pub(super) with: Trial,
    /// Each with its evidence.
    pub(super) claims: Vec<Claim>,
}

impl Prove {
    /// Evidence for one claim.
    pub(super) fn evidence(&self, claim: &Claim) -> f64 {
        let chances = copies(&self.with.plan) / copies(&claim.without.plan);
        contrast(self.with.tally, claim.without.tally, chances.max(1.0))
    }

    /// Whether it is proved; none: not decided yet.
    pub(super) fn reading(&self, claim: &Claim) -> Option<bool> {
        let evidence = self.evidence(claim);
        let runs = self.with.tally.runs.min(claim.without.tally.runs);
        let give_up = GIVE_UP
            .iter()
            .any(|(from, least)| runs >= *from && evidence < *least);
        if evidence >= PROOF {
            Some(true)
        } else if give_up {
            Some(false)
        } else {
            None
        }
    }

    fn want(&self) -> Option<usize> {
        let (place, open) = self
            .claims
            .iter()
            .enumerate()
            .filter(|(_, claim)| self.reading(claim).is_none())
            .min_by_key(|(_, claim)| claim.without.begun())?;
        let flying = self.with.flying + self.claims.iter().map(|c| c.without.flying).sum::<u32>();
        if flying >= AHEAD {
            return None;
        }
        if self.with.begun() <= open.without.begun() {
            Some(0)
        } else {
            Some(place + 1)
        }
    }
}

/// Other conditions, each alone, that may do the same.
#[derive(Clone, Debug)]
pub(super) struct Rivals {
    /// What does it so far.
    pub(super) leader: Proved,
    /// That is proved already.
    pub(super) proved: bool,
    /// How it ends without any of this.
    pub(super) without: Tally,
    /// Each of the others.
    pub(super) others: Vec<(Condition, Trial)>,
    /// When the cause is a seed: other seeds.
    pub(super) other_seeds: bool,
    /// When a rival is like the leader.
    pub(super) scale: Scale,
}

/// Runs of a rival that is not ruled out.
pub(super) const RIVAL_RUNS: u32 = 8;

impl Rivals {
    /// Whether more runs of one are needed.
    pub(super) fn is_open(&self, trial: &Trial) -> bool {
        match self.scale.reading(trial.tally) {
            Some(false) => false,
            _ => trial.tally.runs < RIVAL_RUNS,
        }
    }

    fn want(&self) -> Option<usize> {
        self.others
            .iter()
            .enumerate()
            .filter(|(_, (_, trial))| {
                self.is_open(trial) && trial.flying < 2 && trial.begun() < RIVAL_RUNS
            })
            .min_by_key(|(_, (_, trial))| trial.begun())
            .map(|(place, _)| place)
    }
}

/// Which lines run is recorded, in runs that fail and in runs that pass.
#[derive(Clone, Debug)]
pub(super) struct Cover {
    /// Failing and passing recipe.
    pub(super) trials: Vec<Trial>,
    /// So many that fail and so many that pass are wanted.
    pub(super) wanted: u32,
}

impl Cover {
    fn is_open(&self, place: usize) -> bool {
        let tally = self.trials[place].tally;
        let enough = if place == 0 {
            tally.failed
        } else {
            tally.runs - tally.failed
        };
        enough < self.wanted && tally.runs < 4 * self.wanted
    }

    fn want(&self) -> Option<usize> {
        (0..self.trials.len())
            .filter(|place| self.is_open(*place) && self.trials[*place].begun() < 4 * self.wanted)
            .filter(|place| self.trials[*place].flying < AHEAD)
            .min_by_key(|place| self.trials[*place].begun())
    }

    /// Nothing more is wanted.
    pub(super) fn is_done(&self) -> bool {
        !(0..self.trials.len()).any(|place| self.is_open(place))
    }
}

/// Which of the items of a recipe are needed.
#[derive(Clone, Debug)]
pub(super) struct Less<T> {
    /// The whole.
    pub(super) plan: Recipe,
    /// How the whole ended so far.
    pub(super) known: Tally,
    /// What decides it.
    pub(super) search: Minimizer<T>,
    /// Lists under way or ended: what the place of a run stands for.
    pub(super) asked: Vec<Candidate<T>>,
}

/// Whether one condition of a recipe does it by itself: the likeliest ones are asked first.
#[derive(Clone, Debug)]
pub(super) struct Single {
    /// The whole.
    pub(super) plan: Recipe,
    /// How the whole ended so far.
    pub(super) known: Tally,
    /// Which condition of it.
    pub(super) place: usize,
    /// That one.
    pub(super) trial: Trial,
    /// When it does.
    pub(super) scale: Scale,
    /// Those that do not, with their runs.
    pub(super) ruled_out: Vec<(usize, Tally)>,
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
    Parts(Less<cohort_model::CasePart>),
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
            Step::Repeat(trial) => (trial.flying < 3).then(|| (0, trial.plan.clone())),
            Step::Prove(prove) => prove.want().map(|place| {
                let trial = match place {
                    0 => &prove.with,
                    _ => &prove.claims[place - 1].without,
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
                    parts: candidate.kept.clone(),
                    ..less.plan.clone()
                };
                less.asked.push(candidate);
                (less.asked.len() - 1, plan)
            }),
            Step::Cover(cover) => cover
                .want()
                .map(|place| (place, cover.trials[place].plan.clone())),
            Step::Hunt | Step::Closed => None,
        }
    }

    /// The trial at a place, where the step has trials.
    fn trial(&mut self, place: usize) -> Option<&mut Trial> {
        match self {
            Step::Again(trial) | Step::Control(trial) | Step::Repeat(trial) => Some(trial),
            Step::Prove(prove) => match place.checked_sub(1) {
                None => Some(&mut prove.with),
                Some(place) => prove.claims.get_mut(place).map(|claim| &mut claim.without),
            },
            Step::Rivals(rivals) => rivals.others.get_mut(place).map(|(_, trial)| trial),
            Step::Single(single) => Some(&mut single.trial),
            Step::Degree(degree) => degree.trial.as_mut(),
            Step::Cover(cover) => cover.trials.get_mut(place),
            Step::Hunt | Step::Narrow(_) | Step::Parts(_) | Step::Closed => None,
        }
    }

    pub(super) fn trace(&self) -> String {
        let name = match self {
            Step::Again(_) => "again",
            Step::Control(_) => "control",
            Step::Hunt => "hunt",
            Step::Repeat(_) => "repeat",
            Step::Single(_) => "single",
            Step::Narrow(less) => {
                return format!("narrow {:?} {:?}", less.known, less.plan.conditions);
            }
            Step::Prove(_) => "prove",
            Step::Rivals(_) => "rivals",
            Step::Degree(_) => "degree",
            Step::Parts(_) => "parts",
            Step::Cover(_) => "cover",
            Step::Closed => "closed",
        };
        format!(
            "{name} {:?}",
            self.plans()
                .iter()
                .map(|p| &p.conditions)
                .collect::<Vec<_>>()
        )
    }

    /// The plans it is about.
    pub(super) fn plans(&self) -> Vec<&Recipe> {
        match self {
            Step::Again(trial) | Step::Control(trial) | Step::Repeat(trial) => vec![&trial.plan],
            Step::Single(single) => vec![&single.trial.plan],
            Step::Narrow(less) => vec![&less.plan],
            Step::Parts(less) => vec![&less.plan],
            Step::Prove(prove) => vec![&prove.with.plan],
            Step::Rivals(rivals) => vec![&rivals.leader.with.plan],
            Step::Degree(degree) => vec![&degree.proved.with.plan],
            Step::Cover(cover) => cover.trials.iter().map(|trial| &trial.plan).collect(),
            Step::Hunt | Step::Closed => Vec::new(),
        }
    }

    /// What was wanted does not fit now: it is asked for again later.
    pub(super) fn ended_unbegun(&mut self, place: usize) {
        if matches!(self, Step::Narrow(_) | Step::Parts(_)) {
            self.ended(place, None);
        }
    }

    /// A run of the plan at this place has begun.
    pub(super) fn began(&mut self, place: usize) {
        if let Some(trial) = self.trial(place) {
            trial.flying += 1;
        }
    }

    /// It ended; none: it says nothing.
    pub(super) fn ended(&mut self, place: usize, failed: Option<bool>) {
        match self {
            Step::Narrow(less) => less.ended(place, failed),
            Step::Parts(less) => less.ended(place, failed),
            _ => {
                if let Some(trial) = self.trial(place) {
                    trial.flying = trial.flying.saturating_sub(1);
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
            Step::Parts(_) | Step::Cover(_) => Stage::Minimizing,
            Step::Closed => Stage::Closed,
            _ => Stage::Explaining,
        }
    }
}

impl<T: Clone + Eq> Less<T> {
    fn ended(&mut self, place: usize, failed: Option<bool>) {
        let candidate = self.asked[place].clone();
        match failed {
            Some(failed) => self.search.ended(&candidate, failed),
            None => self.search.withdrawn(&candidate),
        }
    }
}
