//! Looking for a recipe under which it fails.

use cohort_model::{CasePart, Recipe};

use super::beliefs::Wish;
use super::recipes::Company;
use super::runs::Flight;
use super::{Experiment, Origin};
use crate::Hunt;

/// Share of a case's limits that goes into looking for a recipe once it failed again.
const HUNT_SHARE: f64 = 0.95;
/// Most runs of a hunt where nothing failed again, whatever the limits are; a fifth of it otherwise.
const HUNT_MAX: u32 = 100_000;
/// Share of a hunt's run time that is for plain runs; and once it is counted how often they pass.
const PLAIN_SHARE: f64 = 0.125;
const PLAIN_SHARE_COUNTED: f64 = 0.5;
/// Once it failed again, plain runs are what all others are compared with.
const PLAIN_SHARE_TELLING: f64 = 0.2;
/// Probability that a failure follows from a seed; and once one did not come again with its seed.
const SEEDED: f64 = 0.5;
const SEEDED_NOT: f64 = 0.15;
/// A run is dear that takes so many times as long as a plain one, and so many seconds more.
const DEAR: f64 = 4.0;
const DEAR_S: f64 = 0.2;
/// Tries of a hunt on request in which it is more looked for a failure than counted how often it passes.
const SOON: u32 = 64;
/// The first tries of these, in which plain runs are one of so many.
const EARLY: u32 = 32;
const PLAIN_EVERY: u32 = 6;
/// On request, one run in so many is in other company, the first of them soon: what another test leaves behind is told
/// by one run.
const MINGLED_EVERY: u32 = 8;
const MINGLED_FIRST: u32 = 2;

impl Experiment {
    /// One plan of the hunt; `start`: what it is started under can be chosen.
    pub(super) fn hunt(&mut self, start: bool) -> Option<Recipe> {
        if self.is_hunt_over() {
            return None;
        }
        if self.unmeasured.is_some() {
            return self.begin_hunt();
        }
        if self.is_plain_due() {
            return Some(self.plain.clone());
        }
        let cheap = |own: &mut Self| start.then(|| own.cheap()).flatten();
        if let Some(plan) = self.mingle().or_else(|| cheap(self)) {
            return Some(plan);
        }
        let company = self.company();
        let plain_s = self.pace.seconds(company);
        let wish = Wish {
            repeatable: self.all.failed > 0,
            usual: self.usual(),
            seeded: SEEDED * SEEDED_NOT.powi(self.seeds_not.min(20) as i32),
            // As it fails by itself, copies fail more often without doing more.
            copied: self.book.of(&self.plain).failed == 0,
            slower_max: if self.all.failed == 0 && self.is_dear_under_way(plain_s) {
                DEAR
            } else {
                f64::INFINITY
            },
            start,
        };
        let places = self.beliefs.pick(&mut self.chance, plain_s, wish);
        let conditions = places
            .iter()
            .map(|place| self.beliefs.all[*place].condition.clone())
            .collect();
        Some(Recipe {
            parts: company.of(&self.plain.parts),
            conditions,
            ..Recipe::default()
        })
    }

    /// How often a plain run is expected to fail, above 0.
    fn usual(&self) -> f64 {
        let plain = self.book.of(&self.plain);
        (f64::from(plain.failed) + 0.3) / (f64::from(plain.runs) + 3.0)
    }

    /// On request, half of the time is for plain runs: their rate is what was asked for. Otherwise some is, so that
    /// something can be said about it in the end.
    fn is_plain_due(&self) -> bool {
        let counted = matches!(self.origin, Origin::Hunted { .. }) && self.hunts >= SOON;
        let share = match counted {
            true => PLAIN_SHARE_COUNTED,
            false if self.all.failed > 0 => PLAIN_SHARE_TELLING,
            false => PLAIN_SHARE,
        };
        if self.is_early() && self.plain_begun() * PLAIN_EVERY > self.hunted {
            return false;
        }
        let (plain_s, all_s) = self.hunted_s;
        plain_s + 0.5 * self.pace.seconds(Company::All) < share * all_s
    }

    /// On request, and among the first tries: what is varied is more likely to fail than what is not, so that is
    /// asked first, and no try is many runs.
    pub(super) fn is_early(&self) -> bool {
        let on_request = matches!(self.origin, Origin::Hunted { .. });
        on_request && self.all.failed == 0 && self.hunts < EARLY
    }

    /// What it uses is not known: the opening is made alone, as it fails most often of all, and what were made beside it
    /// would be in vain. When it passes, it tells what others cost; otherwise a plain run does.
    fn begin_hunt(&self) -> Option<Recipe> {
        let opens = matches!(self.origin, Origin::Hunted { .. });
        let begins = opens && self.all.runs == 0;
        if begins && !self.flights.is_empty() {
            return None;
        }
        if begins || opens && self.is_plain_under_way() {
            return Some(self.opening());
        }
        Some(self.plain.clone())
    }

    fn is_plain_under_way(&self) -> bool {
        self.flights.iter().any(|flight| flight.plan == self.plain)
    }

    /// One run that takes far longer than a plain one is enough at a time: beside it there is room for many that do
    /// not.
    fn is_dear_under_way(&self, plain_s: f64) -> bool {
        let most = DEAR * plain_s + DEAR_S;
        self.flights.iter().any(|flight| flight.expected_s > most)
    }

    /// On request: the test after others and beside them, in the order that a suite does not have, in its own, and then
    /// after some of them in any order.
    fn mingle(&mut self) -> Option<Recipe> {
        let Origin::Hunted { company, .. } = &self.origin else {
            return None;
        };
        if company.is_empty() || self.hunts < MINGLED_FIRST + MINGLED_EVERY * self.mingled {
            return None;
        }
        let before = |part: &&CasePart| matches!(part, CasePart::Before(_));
        let mut parts: Vec<CasePart> = match self.mingled {
            0 => company.iter().filter(before).rev().cloned().collect(),
            1 => company.iter().filter(before).cloned().collect(),
            _ => {
                let chance = &mut self.chance;
                let some = company.iter().filter(|_| chance.happens(0.5));
                let mut some: Vec<CasePart> = some.cloned().collect();
                chance.shuffle(&mut some);
                some
            }
        };
        self.mingled += 1;
        if parts.is_empty() {
            parts.clone_from(company);
        }
        Some(Recipe {
            parts,
            ..Recipe::default()
        })
    }

    /// Which of what ran before and beside is kept in this run: by what it costs, and how likely it is
    /// needed.
    pub(super) fn company(&mut self) -> Company {
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

    pub(super) fn company_of(&self, plan: &Recipe) -> Company {
        [Company::All, Company::Before, Company::Beside]
            .into_iter()
            .find(|company| company.of(&self.plain.parts).len() == plan.parts.len())
            .unwrap_or(Company::Alone)
    }

    pub(super) fn is_hunt_over(&self) -> bool {
        if let Origin::Hunted { hunt, .. } = &self.origin
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
        // Where there is no limit, it is looked for long, and then explained by what is known.
        let usual = if self.all.failed == 0 {
            HUNT_MAX
        } else {
            HUNT_MAX / 5
        };
        let runs = self.limits.runs.min(usual);
        f64::from(self.hunted) >= share * f64::from(runs)
            || self.spent_s >= share * self.limits.seconds
    }

    /// It fails without any condition, and not just once.
    pub(super) fn fails_plainly(&self) -> bool {
        let plain = self.book.of(&self.plain);
        plain.failed >= 3 && plain.share() >= 0.08
    }

    pub(super) fn plain_begun(&self) -> u32 {
        let flying = self
            .flights
            .iter()
            .filter(|flight| flight.plan == self.plain)
            .map(Flight::runs)
            .sum::<u32>();
        self.book.of(&self.plain).runs + flying
    }

    /// The part of the limits that is used, 0 to 1 and a little more.
    pub(super) fn used(&self) -> f64 {
        let usual = f64::from(self.limits.runs.min(HUNT_MAX / 5));
        let runs = f64::from(self.hunted) / usual.max(1.0);
        runs.max(self.spent_s / self.limits.seconds.max(1e-9))
    }

    /// A limit that is reached, in words.
    pub(super) fn limit_reached(&self) -> Option<String> {
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
}

/// Plain runs without a failure after which the rate is surely below `hunt.p`. With none failed, the
/// number of runs is fixed beforehand, so looking meanwhile costs nothing: `(1 - p)^n < alpha`.
pub(crate) fn runs_for(hunt: Hunt) -> u32 {
    let p = hunt.p.clamp(1e-6, 0.999);
    let alpha = hunt.alpha.clamp(1e-9, 0.999);
    (alpha.ln() / (1.0 - p).ln()).floor() as u32 + 1
}
