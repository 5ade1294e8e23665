//! One case: from a failure to what matters.
//!
//! A case is busy with one [`Step`] at a time. Runs may be under way side by side; each remembers the step
//! that asked for it, and one whose step is over still counts where all runs count (in the book, in the
//! beliefs while hunting), but not in the comparisons of a later step.
//!
//! What is *named* rests on runs that were begun after it was suspected ([`step::Prove`]); all
//! before only decides what to suspect.

mod advance;
mod batch;
mod beliefs;
mod book;
pub(crate) mod chance;
mod cheap;
mod claim;
mod compare;
mod contrast;
mod cover;
mod degree;
pub(crate) mod evidence;
mod explain;
mod finish;
mod hunt;
mod input;
mod less;
mod menu;
mod pace;
mod prior;
mod prove;
mod recipes;
mod rivals;
mod runs;
mod stand;
mod step;
mod surroundings;
mod telling;
mod untold;
mod words;

use std::collections::{BTreeSet, VecDeque};

use cohort_model::{
    Arm, CasePart, CaseVerdict, Cause, Condition, ConditionKind, Recipe, Stage, Symptom,
    SymptomKind, Usage,
};

use crate::{Hunt, Limits, Sighting};
use batch::Starts;
use beliefs::Beliefs;
use book::Book;
use chance::Chance;
use cheap::Cheap;
use evidence::Tally;
use menu::{Place, menu};
use pace::Pace;
use prior::{Clues, Prior, keeps_failing};
use recipes::Company;
pub(crate) use runs::Ended;
use runs::Flight;
use stand::Stand;
use step::{Step, Trial};

/// Runs of an old recipe after which it is taken to be gone, at most.
const AGAIN_RUNS_MAX: u32 = 10;

/// Run time for the question whether it always fails, seconds.
const ALWAYS_S: f64 = 1.0;

/// What a case begins with.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// It was seen in ordinary work.
    Seen {
        /// Passing runs of the same subject so far.
        passes: u32,
        /// It was crowded.
        crowded: bool,
    },
    /// It failed otherwise while another case was tried, as this recipe has it.
    Provoked(Recipe),
    /// It was closed in an earlier campaign.
    Known {
        /// The smallest recipe.
        smallest: Recipe,
        /// How often that failed, 0 to 1.
        rate: f64,
        /// What had become of it.
        verdict: CaseVerdict,
    },
    /// It has not failed; it is tried on request.
    Hunted {
        /// How sure.
        hunt: Hunt,
        /// What it may depend on: tests that may have to run before it or beside it.
        company: Vec<CasePart>,
    },
}

/// What an experiment is set up with.
#[derive(Clone, Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) seed: u64,
    pub(crate) case: u32,
    pub(crate) cores: f64,
    pub(crate) memory: u64,
    pub(crate) able: &'a BTreeSet<ConditionKind>,
    pub(crate) limits: Limits,
    pub(crate) symptom: Option<&'a Symptom>,
    pub(crate) parts: Vec<CasePart>,
    pub(crate) usage: Usage,
    pub(crate) origin: Origin,
    /// Variables of the environment that it may need.
    pub(crate) variables: Vec<String>,
}

/// One case, and all that was tried of it.
#[derive(Clone, Debug)]
pub(crate) struct Experiment {
    origin: Origin,
    /// The original, on another instance.
    plain: Recipe,
    host: (f64, u64),
    usage: Usage,
    /// That is not known yet: what can be varied, and how likely each matters.
    unmeasured: Option<(BTreeSet<ConditionKind>, Prior)>,
    limits: Limits,
    chance: Chance,
    beliefs: Beliefs,
    /// Probability that it still fails without what ran before, without what ran beside.
    keeps: (f64, f64),
    pace: Pace,
    book: Book,
    step: Step,
    /// How many steps there were.
    steps: u32,
    flights: Vec<Flight>,
    stand: Stand,
    begun: u32,
    /// Runs that say something, and those that failed with the symptom.
    all: Tally,
    /// Runs while beliefs were learned from them.
    mixed: Tally,
    /// The same, by [`Company`].
    company_seen: [Tally; 4],
    hunted: u32,
    /// How often something was asked for while hunting.
    hunts: u32,
    /// Run time of that, of plain runs and of all, seconds.
    hunted_s: (f64, f64),
    cheap: Cheap,
    /// Runs in other company than the original's.
    mingled: u32,
    /// Run time of the present step, seconds.
    step_s: f64,
    /// Comparisons that led nowhere.
    refuted: u32,
    /// Failures under a seed that did not come again with it.
    seeds_not: u32,
    starts: Starts,
    strange: u32,
    spent_s: f64,
    restarts: u32,
    suspected: Vec<Condition>,
    /// Plain runs, the latest last: it failed.
    plain_log: VecDeque<bool>,
    /// What was run for proofs, by recipe.
    proofs: Vec<(Recipe, Tally)>,
    /// It failed before any plain run was made: this is repeated once one has passed.
    caught: Option<Recipe>,
    /// It was not seen to fail before it was tried, and then it did so by not ending.
    hangs: bool,
    /// Variables of the environment that it may need, until that was tried.
    variables: Vec<String>,
    /// Those that it needs.
    needed: Vec<CasePart>,
    /// What it reads, until it was tried how much of that it needs.
    input: Option<String>,
    /// It was tried which parts can be left out, of this recipe.
    parts_tried: Option<Recipe>,
    found: Found,
}

/// What is known in the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) causes: Vec<Cause>,
    pub(crate) smallest: Option<Arm>,
    pub(crate) minimal: bool,
    pub(crate) always: bool,
    pub(crate) returned: bool,
    pub(crate) runs_to_first: Option<u32>,
    pub(crate) verdict: Option<CaseVerdict>,
    pub(crate) remarks: Vec<String>,
    /// Without what is named, all else held.
    passing: Option<Recipe>,
}

impl Experiment {
    /// Sets a case up.
    pub(crate) fn new(setup: Setup<'_>) -> Self {
        let crowded = matches!(setup.origin, Origin::Seen { crowded: true, .. });
        let prior = Prior::new(&Clues {
            symptom: setup.symptom,
            usage: &setup.usage,
            crowded,
        });
        let place = Place {
            able: setup.able,
            cores: setup.cores,
            memory: setup.memory,
            usage: &setup.usage,
            parts: &setup.parts,
        };
        let dishes = menu(&place, &prior);
        let unseen = setup.symptom.is_none().then_some(setup.limits.share_start);
        let cheap = Cheap::new(&place, &prior, unseen);
        let plain = Recipe {
            parts: setup.parts,
            ..Recipe::default()
        };
        let step = match &setup.origin {
            Origin::Seen { .. } => Step::Control(Trial::new(plain.clone())),
            Origin::Provoked(recipe) => Step::Repeat(Trial::new(recipes::repeats(recipe))),
            Origin::Known { smallest, .. } => Step::Again(Trial::new(recipes::repeats(smallest))),
            Origin::Hunted { .. } => Step::Hunt,
        };
        let provoked = matches!(setup.origin, Origin::Provoked(_));
        let stand = Stand::new(setup.symptom, setup.limits.stacks, provoked);
        let mut experiment = Self {
            chance: Chance::new(setup.seed, u64::from(setup.case)),
            beliefs: Beliefs::new(dishes, &setup.usage, setup.cores),
            keeps: keeps_failing(setup.symptom, crowded),
            pace: Pace::new(&setup.usage, &plain.parts),
            origin: setup.origin,
            plain,
            host: (setup.cores, setup.memory),
            usage: setup.usage,
            unmeasured: (setup.usage.wall_us == 0).then(|| (setup.able.clone(), prior)),
            limits: setup.limits,
            book: Book::default(),
            step,
            steps: 0,
            flights: Vec::new(),
            stand,
            begun: 0,
            all: Tally::default(),
            mixed: Tally::default(),
            company_seen: [Tally::default(); 4],
            hunted: 0,
            hunts: 0,
            hunted_s: (0.0, 0.0),
            cheap,
            mingled: 0,
            step_s: 0.0,
            refuted: 0,
            seeds_not: 0,
            starts: Starts::default(),
            strange: 0,
            spent_s: 0.0,
            restarts: 0,
            suspected: Vec::new(),
            plain_log: VecDeque::new(),
            proofs: Vec::new(),
            caught: None,
            hangs: false,
            parts_tried: None,
            variables: setup.variables,
            needed: Vec::new(),
            input: None,
            found: Found::default(),
        };
        experiment.refuse_the_impossible();
        experiment
    }

    /// It was seen in the ordinary work of this campaign, too: an old case is back.
    pub(crate) fn seen_again(&mut self, sighting: &Sighting<'_>) {
        if matches!(self.origin, Origin::Known { .. }) {
            self.found.returned = true;
            self.origin = Origin::Seen {
                passes: sighting.passes,
                crowded: sighting.crowded,
            };
            self.plain.parts.clone_from(&sighting.parts);
            self.usage = sighting.usage;
            self.pace = Pace::new(&sighting.usage, &sighting.parts);
            if matches!(self.step, Step::Closed) && self.all.failed == 0 {
                self.found.verdict = None;
                self.enter(Step::Control(Trial::new(self.plain.clone())));
            }
        }
    }

    /// What was tried on request failed: now there is a symptom that says what is likely to matter.
    pub(crate) fn shows(&mut self, symptom: &Symptom, able: &BTreeSet<ConditionKind>) {
        let prior = Prior::new(&Clues {
            symptom: Some(symptom),
            usage: &self.usage,
            crowded: false,
        });
        let dishes = menu(
            &Place {
                able,
                cores: self.host.0,
                memory: self.host.1,
                usage: &self.usage,
                parts: &self.plain.parts,
            },
            &prior,
        );
        self.beliefs.reweigh(&dishes);
        self.hangs = matches!(symptom.kind, SymptomKind::Hang | SymptomKind::Timeout);
        self.stand = Stand::new(Some(symptom), self.limits.stacks, false);
        self.keeps = keeps_failing(Some(symptom), false);
    }

    /// How many runs the present step takes before it concludes that it always fails, or is gone.
    fn always_runs(&self) -> u32 {
        match (&self.step, &self.origin) {
            (Step::Again(_), Origin::Known { rate, .. }) => {
                let needed = (0.05_f64.ln() / (1.0 - rate.clamp(0.05, 0.9)).ln()).ceil();
                (needed as u32).clamp(3, AGAIN_RUNS_MAX)
            }
            // A test that fails half of the time fails five times in a row once in 32; one that is known to pass
            // is asked more.
            (_, Origin::Seen { passes: 0, .. }) => self.affordable(ALWAYS_S, (5, 12)),
            _ => self.affordable(3.0 * ALWAYS_S, (7, 24)),
        }
    }

    /// So many plain runs as fit into `seconds`, at least and at most.
    fn affordable(&self, seconds: f64, (least, most): (u32, u32)) -> u32 {
        let runs = seconds / self.pace.seconds(Company::All).max(1e-3);
        (runs as u32).clamp(least, most)
    }

    fn enter(&mut self, step: Step) {
        self.steps += 1;
        self.step_s = 0.0;
        self.step = step;
    }

    /// How far it is.
    pub(crate) fn stage(&self) -> Stage {
        self.step.stage(self.found.runs_to_first.is_some())
    }

    /// What is known so far.
    pub(crate) fn found(&self) -> &Found {
        &self.found
    }

    /// What was tried, the control first.
    pub(crate) fn arms(&self) -> Vec<Arm> {
        self.book.arms(&self.plain)
    }

    /// Run time so far, what is under way included, seconds.
    pub(crate) fn spent_s(&self) -> f64 {
        self.spent_s + self.flights.iter().map(|one| one.expected_s).sum::<f64>()
    }

    /// Runs begun.
    pub(crate) fn begun(&self) -> u32 {
        self.begun
    }

    /// What a plain run takes, seconds.
    pub(crate) fn plain_s(&self) -> f64 {
        self.pace.seconds(Company::All)
    }

    /// Nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.flights.is_empty()
    }
}
