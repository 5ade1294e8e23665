//! One case: from a failure to what matters.
//!
//! A case is busy with one [`Step`] at a time. Runs may be under way side by side; each remembers the step
//! that asked for it, and one whose step is over still counts where all runs count (in the book, in the
//! beliefs while hunting), but not in the comparisons of a later step.
//!
//! What is *named* rests on runs that were begun after it was suspected ([`step::Prove`]); all
//! before only decides what to suspect.

mod advance;
mod beliefs;
mod book;
pub(crate) mod chance;
mod degree;
pub(crate) mod evidence;
mod finish;
mod menu;
mod pace;
mod prior;
mod recipes;
mod step;

use std::collections::BTreeSet;

use cohort_model::{
    Arm, CasePart, CaseVerdict, Cause, Condition, ConditionKind, Recipe, Stage, Symptom, Usage,
};

use crate::{Hunt, Limits, Room, Sighting};
use beliefs::Beliefs;
use book::Book;
use chance::Chance;
use evidence::Tally;
use menu::{Place, menu};
use pace::Pace;
use prior::{Clues, Prior, keeps_failing};
use recipes::{Company, copies, drawn};
use step::{Step, Trial};

/// Share of a case's limits that goes into looking for a recipe.
const HUNT_SHARE: f64 = 0.6;
/// While hunting, one run in so many is a plain one.
const PLAIN_EVERY: u32 = 8;
/// Runs of an old recipe after which it is taken to be gone, at most.
const AGAIN_RUNS_MAX: u32 = 10;

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
    Hunted(Hunt),
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
}

/// A run under way.
#[derive(Clone, Debug)]
struct Flight {
    plan: Recipe,
    run: Recipe,
    /// The step that asked for it, and for which of its plans.
    step: u32,
    place: usize,
    /// Expected run time, seconds.
    expected_s: f64,
}

/// How a run ended, for the case it was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With the symptom of the case.
    Failed,
    /// It passed.
    Passed,
    /// With another symptom.
    Otherwise,
    /// It says nothing.
    Void,
}

/// What an experiment asks for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) recipe: Recipe,
    pub(crate) cores: f64,
    pub(crate) memory: u64,
}

/// One case, and all that was tried of it.
#[derive(Clone, Debug)]
pub(crate) struct Experiment {
    origin: Origin,
    /// The original, on another instance.
    plain: Recipe,
    host: (f64, u64),
    usage: Usage,
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
    begun: u32,
    /// Runs that say something, and those that failed with the symptom.
    all: Tally,
    /// Runs while beliefs were learned from them.
    mixed: Tally,
    /// The same, by [`Company`].
    company_seen: [Tally; 4],
    hunted: u32,
    strange: u32,
    spent_s: f64,
    restarts: u32,
    suspected: Vec<Condition>,
    /// What was run for proofs, by recipe.
    proofs: Vec<(Recipe, Tally)>,
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
        let dishes = menu(
            &Place {
                able: setup.able,
                cores: setup.cores,
                memory: setup.memory,
                usage: &setup.usage,
                parts: &setup.parts,
            },
            &prior,
        );
        let plain = Recipe {
            parts: setup.parts,
            ..Recipe::default()
        };
        let step = match &setup.origin {
            Origin::Seen { .. } => Step::Control(Trial::new(plain.clone())),
            Origin::Provoked(recipe) => Step::Repeat(Trial::new(recipes::repeats(recipe))),
            Origin::Known { smallest, .. } => Step::Again(Trial::new(smallest.clone())),
            Origin::Hunted(_) => Step::Hunt,
        };
        let mut experiment = Self {
            chance: Chance::new(setup.seed, u64::from(setup.case)),
            beliefs: Beliefs::new(dishes, &setup.usage, setup.cores),
            keeps: keeps_failing(setup.symptom, crowded),
            pace: Pace::new(&setup.usage, &plain.parts),
            origin: setup.origin,
            plain,
            host: (setup.cores, setup.memory),
            usage: setup.usage,
            limits: setup.limits,
            book: Book::default(),
            step,
            steps: 0,
            flights: Vec::new(),
            begun: 0,
            all: Tally::default(),
            mixed: Tally::default(),
            company_seen: [Tally::default(); 4],
            hunted: 0,
            strange: 0,
            spent_s: 0.0,
            restarts: 0,
            suspected: Vec::new(),
            proofs: Vec::new(),
            parts_tried: None,
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

    /// How many runs the present step takes before it concludes that it always fails, or is gone.
    fn always_runs(&self) -> u32 {
        match (&self.step, &self.origin) {
            (Step::Again(_), Origin::Known { rate, .. }) => {
                let needed = (0.05_f64.ln() / (1.0 - rate.clamp(0.05, 0.9)).ln()).ceil();
                (needed as u32).clamp(3, AGAIN_RUNS_MAX)
            }
            (_, Origin::Seen { passes: 0, .. }) => 3,
            _ => 5,
        }
    }

    /// What to run next, if anything is worth it now and fits.
    pub(crate) fn next(&mut self, room: Room) -> Option<Asked> {
        if self.limit_reached().is_some() {
            return None;
        }
        let always_runs = self.always_runs();
        let hunting = matches!(self.step, Step::Hunt);
        let (place, mut plan) = if hunting {
            (0, self.hunt()?)
        } else {
            self.step.want(always_runs)?
        };
        let need = |plan: &Recipe| (self.usage.memory_peak as f64 * copies(plan)) as u64;
        if hunting && need(&plan) > room.memory {
            plan.conditions
                .retain(|condition| condition.kind() != ConditionKind::Copies);
        }
        let memory = need(&plan);
        if memory > room.memory {
            self.step.ended_unbegun(place);
            return None;
        }
        let run = drawn(&plan, &mut self.chance);
        let expected_s = self.expected_s(&plan);
        self.step.began(place);
        self.begun += 1;
        self.hunted += u32::from(hunting);
        self.flights.push(Flight {
            plan,
            run: run.clone(),
            step: self.steps,
            place,
            expected_s,
        });
        let wanted = self.usage.cores().max(0.1) * copies(&run);
        Some(Asked {
            cores: wanted.min(self.host.0).min(limit_of(&run)),
            recipe: run,
            memory,
        })
    }

    /// One plan of the hunt.
    fn hunt(&mut self) -> Option<Recipe> {
        if self.is_hunt_over() {
            return None;
        }
        // On request, every other run is the plain one: its rate is what was asked for. Otherwise some are,
        // so that something can be said about it in the end.
        let plain_every = match self.origin {
            Origin::Hunted(_) => 2,
            _ => PLAIN_EVERY,
        };
        if self.hunted % plain_every == plain_every - 1 {
            return Some(self.plain.clone());
        }
        let company = self.company();
        let places = self
            .beliefs
            .pick(&mut self.chance, self.pace.seconds(company));
        let conditions = places
            .iter()
            .map(|place| self.beliefs.all[*place].condition.clone())
            .collect();
        Some(Recipe {
            parts: company.of(&self.plain.parts),
            conditions,
            coverage: false,
        })
    }

    /// Which of what ran before and beside is kept in this run: by what it costs, and how likely it is
    /// needed.
    fn company(&mut self) -> Company {
        let all = [
            Company::All,
            Company::Before,
            Company::Beside,
            Company::Alone,
        ];
        let lengths = all.map(|company| company.of(&self.plain.parts).len());
        if lengths[0] == lengths[3] || self.chance.happens(0.3) {
            return Company::All;
        }
        let before = self
            .chance
            .beta(3.0 * self.keeps.0, 3.0 * (1.0 - self.keeps.0));
        let beside = self
            .chance
            .beta(3.0 * self.keeps.1, 3.0 * (1.0 - self.keeps.1));
        let keeps = [1.0, beside, before, before * beside];
        let worth = |place: usize| keeps[place] / (0.3 + self.pace.seconds(all[place]));
        let mut best = 0;
        for place in 1..4 {
            if worth(place) > worth(best) {
                best = place;
            }
        }
        all[best]
    }

    fn company_of(&self, plan: &Recipe) -> Company {
        [Company::All, Company::Before, Company::Beside]
            .into_iter()
            .find(|company| company.of(&self.plain.parts).len() == plan.parts.len())
            .unwrap_or(Company::Alone)
    }

    fn expected_s(&self, plan: &Recipe) -> f64 {
        let places = self.beliefs.places(&plan.conditions);
        self.pace.seconds(self.company_of(plan)) * self.beliefs.slowdown(&places)
    }

    /// A run has ended.
    pub(crate) fn ended(
        &mut self,
        recipe: &Recipe,
        ended: Ended,
        usage: &Usage,
        missing: &[ConditionKind],
    ) {
        let Some(at) = self.flights.iter().position(|one| one.run == *recipe) else {
            return;
        };
        let flight = self.flights.remove(at);
        let seconds = usage.wall_us as f64 / 1e6;
        self.spent_s += seconds;
        let says = match ended {
            Ended::Failed => Some(true),
            Ended::Passed => Some(false),
            Ended::Otherwise | Ended::Void => None,
        };
        let lacking = flight
            .plan
            .conditions
            .iter()
            .any(|condition| missing.contains(&condition.kind()));
        self.count(&flight, ended, seconds, lacking);
        if flight.step == self.steps {
            // A run without one of its conditions is no run of this plan.
            self.step.ended(flight.place, says.filter(|_| !lacking));
        }
        if lacking {
            self.lacks(missing);
        }
        if says == Some(true) && flight.step == self.steps && !lacking {
            self.caught(&flight);
        }
        self.advance();
    }

    /// Counts a run wherever all runs count.
    fn count(&mut self, flight: &Flight, ended: Ended, seconds: f64, lacking: bool) {
        let places = self.beliefs.places(&flight.plan.conditions);
        let company = self.company_of(&flight.plan);
        match ended {
            Ended::Void => return,
            Ended::Otherwise => {
                self.strange += 1;
                self.beliefs.strange(&places);
                return;
            }
            Ended::Failed | Ended::Passed => {}
        }
        let failed = ended == Ended::Failed;
        self.all.add(failed);
        if failed && self.found.runs_to_first.is_none() {
            self.found.runs_to_first = Some(self.all.runs + self.strange);
        }
        if seconds > 0.0 && !lacking {
            if places.is_empty() {
                self.pace.learn(company, seconds);
            } else if flight.plan.conditions.len() == places.len() {
                let plain = self.pace.seconds(company).max(1e-3);
                self.beliefs.took(&places, seconds / plain);
            }
        }
        if lacking {
            return;
        }
        self.book.add(&flight.plan, &flight.run, failed);
        if flight.plan.conditions.len() == places.len() {
            self.beliefs.learn(&places, failed);
            self.mixed.add(failed);
            self.company_seen[company as usize].add(failed);
        }
    }

    /// Some conditions cannot be set here: they are not tried again.
    fn lacks(&mut self, missing: &[ConditionKind]) {
        for kind in missing {
            self.beliefs.forget(*kind);
        }
        let needs = |plan: &Recipe| {
            plan.conditions
                .iter()
                .any(|condition| missing.contains(&condition.kind()))
        };
        if self.step.plans().iter().any(|plan| needs(plan)) {
            self.enter(Step::Hunt);
        }
    }

    fn enter(&mut self, step: Step) {
        self.steps += 1;
        if cfg!(feature = "trace") {
            eprintln!("TRACE {} {}", self.begun, step.trace());
        }
        self.step = step;
    }

    /// A limit that is reached, in words.
    fn limit_reached(&self) -> Option<String> {
        let under_way: f64 = self.flights.iter().map(|flight| flight.expected_s).sum();
        if self.begun >= self.limits.runs {
            Some(format!(
                "The limit of {} runs was reached.",
                self.limits.runs
            ))
        } else if self.spent_s + under_way >= self.limits.seconds {
            Some(format!(
                "The limit of {:.0} s of run time was reached.",
                self.limits.seconds
            ))
        } else {
            None
        }
    }

    fn is_hunt_over(&self) -> bool {
        if let Origin::Hunted(hunt) = &self.origin
            && self.all.failed == 0
        {
            return self.plain_begun() >= runs_for(*hunt);
        }
        let share = match self.origin {
            Origin::Provoked(_) => 0.0,
            // There is nothing else to spend it on.
            _ if self.all.failed == 0 => 1.0,
            // It fails often enough as it is: what is looked for is only why.
            _ if self.fails_plainly() => 0.3,
            _ => HUNT_SHARE,
        };
        f64::from(self.hunted) >= share * f64::from(self.limits.runs)
            || self.spent_s >= share * self.limits.seconds
    }

    /// It fails without any condition, and not just once.
    fn fails_plainly(&self) -> bool {
        let plain = self.book.of(&self.plain);
        plain.failed >= 3 && plain.share() >= 0.08
    }

    fn plain_begun(&self) -> u32 {
        let flying = self
            .flights
            .iter()
            .filter(|flight| flight.plan == self.plain)
            .count();
        self.book.of(&self.plain).runs + flying as u32
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

/// Plain runs without a failure after which the rate is surely below `hunt.p`. With none failed, the
/// number of runs is fixed beforehand, so looking meanwhile costs nothing: `(1 - p)^n < alpha`.
pub(crate) fn runs_for(hunt: Hunt) -> u32 {
    let p = hunt.p.clamp(1e-6, 0.999);
    let alpha = hunt.alpha.clamp(1e-9, 0.999);
    (alpha.ln() / (1.0 - p).ln()).floor() as u32 + 1
}

fn limit_of(recipe: &Recipe) -> f64 {
    recipe
        .conditions
        .iter()
        .find_map(|condition| match condition {
            Condition::CpuLimit { cores } => Some(*cores),
            _ => None,
        })
        .unwrap_or(f64::INFINITY)
}
