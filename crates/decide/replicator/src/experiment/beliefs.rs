//! What each condition is believed to do, and which of them to put into one run.
//!
//! A run under several conditions fails unless each of them leaves it alone (noisy or), so one run that
//! passes speaks against all of them, and one that fails is shared out among them. Beliefs are beta
//! distributions; what is tried is the best by numbers drawn from them (Thompson 1933), per second of run time.
//! Some conditions get in each other's way (what is slowed down is not fast enough for a race any more), hence the
//! *cocktails* differ: each leaves out some, and few of them hold more than one condition that slows down.

use cohort_model::{Condition, ConditionKind, Usage};

use super::chance::Chance;
use super::evidence::Tally;
use super::menu::{Family, crowd, family, is_heavy, slowdown, slows};
use super::recipes::{NEW_EACH_RUN, seed_of, with_seed};

/// Weight of a prior, in runs; of what mostly decides with the first run.
const PRIOR_RUNS: f64 = 7.0;
const PRIOR_RUNS_DECIDED: f64 = 1.5;
/// Probability that one more condition in a cocktail hides what the others do.
const HIDES: f64 = 0.06;
/// Cocktails that compete for one run.
const COCKTAILS: usize = 12;
/// Most conditions of one cocktail that act on its timing.
const TIMING_MAX: usize = 2;
/// Share of cocktails that hold only one such: what one of them does need not be taken apart.
const ONE_TIMING: f64 = 0.7;
/// What it costs to begin a run and to take its end, beside its run time, seconds.
const START_S: f64 = 0.03;
/// Most times that a run is taken to last longer than a plain one.
const SLOWER_MAX: f64 = 2_000.0;
/// Above this share of runs that failed in another way because of it, a condition is not mixed with others.
const STRANGE_MAX: f64 = 0.45;

/// Share of runs that do not go by what they tell, once it failed again.
const UNTOLD: f64 = 0.1;

/// What a run shall be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// It has failed again: now what tells why is worth most.
    pub(super) repeatable: bool,
    /// Failure rate of a plain run, above 0.
    pub(super) usual: f64,
    /// Probability that a failure follows from a seed, 0 to 1.
    pub(super) seeded: f64,
    /// Copies may be mixed with others.
    pub(super) copied: bool,
    /// No condition in it makes it last more times as long as a plain one.
    pub(super) slower_max: f64,
    /// What it is started under can be chosen.
    pub(super) start: bool,
}

/// One condition at one degree.
#[derive(Clone, Debug)]
pub(super) struct Belief {
    /// Which.
    pub(super) condition: Condition,
    /// Failures that are put down to it, the prior included.
    a: f64,
    /// Runs that passed under it, the prior included.
    b: f64,
    /// Runs under it that failed in another way.
    strange: f64,
    /// Expected rate before the first run.
    pub(super) weight: f64,
    /// How many times longer a run takes.
    slowdown: f64,
    /// All its runs while hunting, alone and with others.
    pub(super) seen: Tally,
    /// Its runs as the only condition.
    pub(super) alone: Tally,
    /// When it failed as the only one for the first time: its runs until then, and the plain ones.
    pub(super) suspected: Option<(Tally, Tally)>,
}

impl Belief {
    /// Whether a run may be under it.
    fn can(&self, wish: Wish) -> bool {
        self.slowdown <= wish.slower_max && (wish.start || !self.condition.is_of_start())
    }

    /// Share of its runs in which it is to blame for another failure; above 0.
    fn strangeness(&self) -> f64 {
        (self.strange + 0.05) / (f64::from(self.seen.runs) + 1.0)
    }

    /// Expected rate.
    pub(super) fn mean(&self) -> f64 {
        self.a / (self.a + self.b)
    }
}

/// The same world is the same again, unless it follows from a seed that is new each time.
fn prior_runs(condition: &Condition) -> f64 {
    let anew = seed_of(condition) == Some(NEW_EACH_RUN);
    if family(condition.kind()) == Family::World && !anew {
        PRIOR_RUNS_DECIDED
    } else {
        PRIOR_RUNS
    }
}

/// What is believed of all conditions of a case.
#[derive(Clone, Debug)]
pub(super) struct Beliefs {
    /// Each condition at each degree.
    pub(super) all: Vec<Belief>,
    /// The plain run.
    plain: (f64, f64),
}

impl Beliefs {
    /// Before the first run.
    pub(super) fn new(menu: Vec<(Condition, f64)>, usage: &Usage, host_cores: f64) -> Self {
        let mut beliefs = Self {
            all: Vec::new(),
            plain: (0.02, 1.0),
        };
        beliefs.add(menu, usage, host_cores);
        beliefs
    }

    /// Adds those of a menu that are not among them. What a run takes under the others is reckoned anew, where
    /// that was not seen yet.
    pub(super) fn add(&mut self, menu: Vec<(Condition, f64)>, usage: &Usage, host_cores: f64) {
        for belief in &mut self.all {
            if belief.seen.runs == 0 {
                belief.slowdown = slowdown(&belief.condition, usage, host_cores);
            }
        }
        for (condition, weight) in menu {
            if self.all.iter().any(|one| one.condition == condition) {
                continue;
            }
            self.all.push(Belief {
                a: prior_runs(&condition) * weight,
                b: prior_runs(&condition) * (1.0 - weight),
                strange: 0.0,
                weight,
                slowdown: slowdown(&condition, usage, host_cores),
                seen: Tally::default(),
                alone: Tally::default(),
                suspected: None,
                condition,
            });
        }
    }

    /// More is known of the failure than when the weights were taken: others take their place.
    pub(super) fn reweigh(&mut self, menu: &[(Condition, f64)]) {
        for belief in &mut self.all {
            let found = menu.iter().find(|(one, _)| *one == belief.condition);
            if let Some((_, weight)) = found {
                let more = prior_runs(&belief.condition) * (weight - belief.weight);
                belief.a = (belief.a + more).max(0.02);
                belief.b = (belief.b - more).max(0.2);
                belief.weight = *weight;
            }
        }
    }

    /// Which of them are in a plan, by place.
    pub(super) fn places(&self, conditions: &[Condition]) -> Vec<usize> {
        (0..self.all.len())
            .filter(|place| conditions.contains(&self.all[*place].condition))
            .collect()
    }

    /// A condition of a run as it is among them: by itself, or with a seed that is drawn anew.
    pub(super) fn planned(&self, condition: &Condition) -> Condition {
        if self.all.iter().any(|one| one.condition == *condition) {
            return condition.clone();
        }
        match seed_of(condition) {
            Some(_) => with_seed(condition, NEW_EACH_RUN),
            None => condition.clone(),
        }
    }

    /// Takes some away: they cannot be set here.
    pub(super) fn forget(&mut self, conditions: &[Condition]) {
        let kept = |belief: &Belief| !conditions.contains(&belief.condition);
        self.all.retain(kept);
    }

    /// How many times longer a run under all these is expected to take.
    pub(super) fn slowdown(&self, places: &[usize]) -> f64 {
        places
            .iter()
            .map(|place| self.all[*place].slowdown)
            .product::<f64>()
            .min(SLOWER_MAX)
    }

    /// A run under these took `ratio` times as long as a plain one: put down to the slowest of them.
    pub(super) fn took(&mut self, places: &[usize], ratio: f64) {
        let expected = self.slowdown(places);
        let slowest = places.iter().copied().max_by(|one, other| {
            self.all[*one]
                .slowdown
                .total_cmp(&self.all[*other].slowdown)
        });
        if let Some(place) = slowest {
            let belief = &mut self.all[place];
            // The first run tells most.
            let trust = if belief.seen.runs < 2 { 0.8 } else { 0.4 };
            let correction = (ratio / expected).clamp(0.02, 200.0).powf(trust);
            belief.slowdown = (belief.slowdown * correction).clamp(0.5, SLOWER_MAX);
        }
    }

    /// A run under these passed or failed.
    pub(super) fn learn(&mut self, places: &[usize], failed: bool) {
        let plain = self.plain.0 / (self.plain.0 + self.plain.1);
        let total: f64 = plain + places.iter().map(|at| self.all[*at].mean()).sum::<f64>();
        let hidden = (1.0 - HIDES).powi(places.len().saturating_sub(1) as i32);
        for place in places {
            let belief = &mut self.all[*place];
            belief.seen.add(failed);
            if places.len() == 1 {
                belief.alone.add(failed);
            }
            if failed {
                belief.a += belief.mean() / total;
            } else {
                belief.b += hidden;
            }
        }
        if failed {
            self.plain.0 += plain / total;
        } else {
            self.plain.1 += hidden;
        }
    }

    /// So many runs under these passed.
    pub(super) fn learn_passes(&mut self, places: &[usize], runs: u32) {
        let hidden = (1.0 - HIDES).powi(places.len().saturating_sub(1) as i32) * f64::from(runs);
        for place in places {
            let belief = &mut self.all[*place];
            belief.seen.add_passes(runs);
            if places.len() == 1 {
                belief.alone.add_passes(runs);
            }
            belief.b += hidden;
        }
        self.plain.1 += hidden;
    }

    /// A run under these failed in another way: one of them may hide what is looked for, most likely one
    /// that was there when that happened before. It says little against any of them.
    pub(super) fn strange(&mut self, places: &[usize]) {
        let total: f64 = places.iter().map(|at| self.all[*at].strangeness()).sum();
        for place in places {
            let belief = &mut self.all[*place];
            belief.strange += belief.strangeness() / total;
            belief.b += 0.2 + belief.strangeness().min(0.8);
            belief.seen.add(false);
            if places.len() == 1 {
                belief.alone.add(false);
            }
        }
    }

    /// The failure that these got credit for did not come again.
    pub(super) fn doubt(&mut self, places: &[usize], runs: u32) {
        for place in places {
            self.all[*place].b += f64::from(runs) * 0.7;
        }
    }

    /// What to run next: places of conditions, none for a plain run. Until it failed again, what fails most in a second
    /// of run time by the numbers drawn; from then on mostly what tells most in a second.
    pub(super) fn pick(&self, chance: &mut Chance, plain_s: f64, wish: Wish) -> Vec<usize> {
        let telling = wish.repeatable && !chance.happens(UNTOLD);
        let mut chosen = match telling {
            true => self.most_telling(chance, plain_s, wish),
            false => self.most_failing(chance, plain_s, wish),
        };
        // What costs nothing beside it makes what fails repeatable.
        let world = |at: &usize| family(self.all[*at].condition.kind()) == Family::World;
        if chosen.len() == 1 && chosen.iter().all(world) {
            self.with_seed(&mut chosen);
        }
        chosen
    }

    /// What fails most in a second of run time, by rates drawn from what is believed (Thompson 1933).
    fn most_failing(&self, chance: &mut Chance, plain_s: f64, wish: Wish) -> Vec<usize> {
        let drawn: Vec<f64> = self
            .all
            .iter()
            .map(|belief| chance.beta(belief.a, belief.b))
            .collect();
        let plain = chance.beta(self.plain.0, self.plain.1);
        let mut best: (f64, Vec<usize>) = (plain / (START_S + plain_s), Vec::new());
        let can = |place: &usize| self.all[*place].can(wish);
        let single = (0..drawn.len()).filter(can).max_by(|one, other| {
            let worth = |place: usize| drawn[place] / self.cost(&[place], plain_s);
            worth(*one).total_cmp(&worth(*other))
        });
        let mut rivals: Vec<Vec<usize>> = single.map(|place| vec![place]).into_iter().collect();
        let cocktails = (0..COCKTAILS).map(|_| {
            let copied = wish.copied && (!wish.repeatable || chance.happens(0.3));
            self.cocktail(chance, &drawn, Wish { copied, ..wish })
        });
        rivals.extend(cocktails);
        for rival in rivals {
            let promise = self.promise(&rival, &drawn, (plain, !wish.repeatable));
            let worth = promise / self.cost(&rival, plain_s);
            if worth > best.0 {
                best = (worth, rival);
            }
        }
        best.1
    }

    /// The condition that tells most in a second of run time, give or take a half.
    fn most_telling(&self, chance: &mut Chance, plain_s: f64, wish: Wish) -> Vec<usize> {
        let mut best: (f64, Vec<usize>) = (0.0, Vec::new());
        for (place, belief) in self.all.iter().enumerate() {
            let about = 0.5 + chance.share();
            let told = about * belief.tells(wish) / self.cost(&[place], plain_s);
            if told > best.0 && belief.can(wish) {
                best = (told, vec![place]);
            }
        }
        best.1
    }

    /// Probability of a failure by the numbers drawn: one of them does it, and none hides it.
    fn promise(&self, places: &[usize], drawn: &[f64], (plain, chances): (f64, bool)) -> f64 {
        let copies = places
            .iter()
            .filter(|_| chances)
            .find_map(|at| match self.all[*at].condition {
                Condition::Copies { count } => Some(f64::from(count)),
                _ => None,
            })
            .unwrap_or(1.0);
        let mut spared = (1.0 - plain).powf(copies);
        let mut open = 1.0;
        for (nth, place) in places.iter().enumerate() {
            let belief = &self.all[*place];
            spared *= 1.0 - drawn[*place];
            open *= 1.0 - belief.strangeness().min(1.0);
            if nth > 0 && family(belief.condition.kind()) != Family::World {
                open *= 1.0 - HIDES;
            }
        }
        (1.0 - spared) * open
    }

    fn cost(&self, places: &[usize], plain_s: f64) -> f64 {
        START_S + plain_s * self.slowdown(places)
    }

    /// One cocktail: the most promising that get along, some left out by chance.
    fn cocktail(&self, chance: &mut Chance, drawn: &[f64], wish: Wish) -> Vec<usize> {
        let mut order: Vec<usize> = (0..drawn.len()).collect();
        order.sort_by(|one, other| drawn[*other].total_cmp(&drawn[*one]));
        let slow_allowed = chance.happens(0.6);
        let scarce_allowed = chance.happens(0.35);
        let timing_max = if chance.happens(ONE_TIMING) {
            1
        } else {
            TIMING_MAX
        };
        let mut chosen: Vec<usize> = Vec::new();
        let (mut timing, mut scarce, mut slow) = (0, 0, 0);
        for place in order {
            let condition = &self.all[place].condition;
            let kind = condition.kind();
            if chosen
                .iter()
                .any(|at| self.all[*at].condition.kind() == kind)
            {
                continue;
            }
            let fits = match family(kind) {
                Family::Timing if slows(condition) => {
                    slow_allowed && slow < 2 && timing < timing_max
                }
                Family::Timing => timing < timing_max,
                Family::Scarce => scarce_allowed && scarce == 0,
                Family::World => true,
            };
            let left_out = match kind {
                _ if family(kind) == Family::World => 0.3,
                _ => 0.25,
            };
            let heavy = |at: &usize| is_heavy(self.all[*at].condition.kind());
            let crowds = |at: &usize| crowd(&self.all[*at].condition, condition);
            if chosen.iter().any(crowds)
                || kind == ConditionKind::Copies && !wish.copied
                || is_heavy(kind) && chosen.iter().any(heavy)
                || !self.all[place].can(wish)
            {
                continue;
            }
            let hides = self.all[place].strangeness();
            if !fits || hides > STRANGE_MAX || chance.happens(left_out) || chance.happens(hides) {
                continue;
            }
            match family(kind) {
                Family::Timing => {
                    timing += 1;
                    slow += usize::from(slows(condition));
                }
                Family::Scarce => scarce += 1,
                Family::World => {}
            }
            chosen.push(place);
        }
        self.with_seed(&mut chosen);
        chosen
    }

    /// A run whose randomness follows from a seed can be repeated, so all have one but those of several copies:
    /// copies that share a seed are no further chances, and which of several seeds it was would not be known.
    fn with_seed(&self, chosen: &mut Vec<usize>) {
        let kind = |place: &usize| self.all[*place].condition.kind();
        let copied = chosen.iter().any(|at| kind(at) == ConditionKind::Copies);
        chosen.retain(|at| !copied || kind(at) != ConditionKind::Seed);
        if !copied
            && !chosen.iter().any(|at| kind(at) == ConditionKind::Seed)
            && let Some(place) = (0..self.all.len()).find(|at| kind(at) == ConditionKind::Seed)
        {
            chosen.push(place);
        }
    }
}
