//! From one step to the next.

use cohort_model::Condition;

use super::contrast::contrast;
use super::evidence::Tally;
use super::recipes::{copies, is_stable, repeats, under};
use super::runs::Flight;
use super::step::{Step, Trial};
use super::{Experiment, Origin};

/// Evidence from mixed runs that is worth a proof, while hunting and at its end.
pub(super) const SUSPICIOUS: f64 = 10.0;
const SUSPICIOUS_AT_LAST: f64 = 2.0;

/// Run time after which a recipe that failed at most once again is left, seconds; and in plain runs, in addition.
const REPEAT_S: f64 = 3.0;
const REPEAT_TIMES: f64 = 6.0;

/// From so long on a run is dear that takes so many times as long as a plain one, seconds.
const REPEAT_DEAR_S: f64 = 2.0;
const REPEAT_DEAR_TIMES: f64 = 6.0;

impl Experiment {
    /// Takes every step for which the runs so far suffice.
    pub(super) fn advance(&mut self) {
        while let Some(step) = self.follow() {
            self.enter(step);
        }
        if !matches!(self.step, Step::Closed)
            && self.flights.is_empty()
            && let Some(limit) = self.limit_reached()
        {
            self.found.remarks.push(limit);
            self.say_suspicion();
            self.close();
        }
    }

    /// A run of the present step failed with the symptom.
    pub(super) fn caught(&mut self, flight: &Flight, seconds: f64) {
        if !matches!(self.step, Step::Hunt) {
            return;
        }
        if matches!(self.origin, Origin::Hunted { .. }) {
            self.origin = Origin::Seen {
                passes: self.all.runs - self.all.failed,
                crowded: false,
            };
            // What it took until then was for another question.
            self.hunted = 0;
            self.limits.runs = self.limits.runs.saturating_add(self.begun);
            self.limits.seconds += self.spent_s;
        }
        let plain = self.book.of(&self.plain);
        if flight.plan == self.plain && self.all.failed == self.all.runs {
            // Perhaps it always does.
            self.enter(Step::Control(Trial {
                tally: plain,
                ..Trial::new(self.plain.clone())
            }));
        } else if flight.plan != self.plain && plain.runs == 0 {
            // Perhaps it always does, whatever is varied.
            self.caught =
                Some(repeats(&flight.run)).filter(|_| !self.is_dear_to_repeat(flight, seconds));
            self.enter(Step::Control(Trial::new(self.plain.clone())));
        } else if flight.plan != self.plain && !self.is_dear_to_repeat(flight, seconds) {
            self.enter(Step::Repeat(Trial::new(repeats(&flight.run))));
        }
    }

    /// Where a failing run takes long (what hangs takes its time limit), a mix that failed is not repeated and taken
    /// apart, each step of which would take as long: its conditions are asked by themselves, the cheap ones first.
    fn is_dear_to_repeat(&self, flight: &Flight, seconds: f64) -> bool {
        let several = flight.plan.conditions.len() > 1 && !is_stable(&flight.plan);
        let is_dear = seconds > REPEAT_DEAR_S && seconds > REPEAT_DEAR_TIMES * self.plain_s();
        several && (self.hangs || is_dear)
    }

    fn follow(&mut self) -> Option<Step> {
        match &mut self.step {
            Step::Again(_) => self.follow_again(),
            Step::Control(_) => self.follow_control(),
            Step::Hunt => self.follow_hunt(),
            Step::Repeat(_) => self.follow_repeat(),
            Step::Single(_) => self.follow_single(),
            Step::Narrow(_) => self.follow_narrow(),
            Step::Prove(_) => self.follow_prove(),
            Step::Rivals(_) => self.follow_rivals(),
            Step::Degree(degree) => {
                degree.follow();
                if !degree.is_done() {
                    return None;
                }
                let degree = degree.clone();
                Some(self.follow_degree(&degree))
            }
            Step::Parts(_) => self.follow_parts(),
            Step::Environment(_) => self.follow_environment(),
            Step::Input(_) => self.follow_input(),
            Step::Cover(cover) => cover.is_done().then(|| self.closing()),
            Step::Closed => None,
        }
    }

    fn follow_again(&mut self) -> Option<Step> {
        let runs = self.always_runs();
        let Step::Again(trial) = &self.step else {
            return None;
        };
        let tally = trial.tally;
        if tally.failed == 0 && tally.runs < runs {
            return None;
        }
        let plan = trial.plan.clone();
        Some(self.tried_again(&plan, tally))
    }

    fn follow_control(&mut self) -> Option<Step> {
        let runs = self.always_runs();
        let Step::Control(trial) = &self.step else {
            return None;
        };
        let tally = trial.tally;
        if tally.failed < tally.runs {
            let caught = self.caught.take();
            return Some(caught.map_or(Step::Hunt, |plan| Step::Repeat(Trial::new(plan))));
        }
        if tally.runs < runs {
            return None;
        }
        self.found.always = true;
        let control = trial.clone();
        Some(self.ask_for_company(&control))
    }

    fn follow_hunt(&mut self) -> Option<Step> {
        if !self.is_hunt_over() || !self.flights.is_empty() {
            return None;
        }
        if let Some(step) = self.suspicion(SUSPICIOUS_AT_LAST) {
            return Some(step);
        }
        Some(self.finish_unexplained())
    }

    /// A condition whose runs failed more often than those without it, over all mixed runs.
    pub(super) fn suspicion(&mut self, level: f64) -> Option<Step> {
        let mut best: Option<(f64, Condition)> = None;
        for belief in &self.beliefs.all {
            if belief.seen.failed < 2 || self.suspected.contains(&belief.condition) {
                continue;
            }
            let rest = Tally {
                runs: self.mixed.runs.saturating_sub(belief.seen.runs),
                failed: self.mixed.failed.saturating_sub(belief.seen.failed),
            };
            let alone = under(&self.plain, vec![belief.condition.clone()]);
            let evidence = contrast(belief.seen, rest, copies(&alone));
            if evidence >= level && best.as_ref().is_none_or(|(most, _)| evidence > *most) {
                best = Some((evidence, belief.condition.clone()));
            }
        }
        let (_, condition) = best?;
        let plan = under(&self.plain, vec![condition]);
        Some(self.prove(plan, true, None))
    }

    fn follow_repeat(&mut self) -> Option<Step> {
        let Step::Repeat(trial) = &self.step else {
            return None;
        };
        let (plan, tally) = (trial.plan.clone(), trial.tally);
        let control = self.book.of(&self.plain);
        let usual = if control.failed > 0 {
            control.estimate()
        } else {
            0.0
        };
        // Several copies fail more often by chance alone.
        let usual = 1.0 - (1.0 - usual).powf(copies(&plan));
        let enough = usual + 0.2 * (1.0 - usual);
        let twice = tally.failed == tally.runs && tally.runs >= 2 && usual < 0.3;
        let good = twice
            || tally.failed >= 3 && tally.share() >= enough
            || tally.failed >= 5 && tally.share() >= 0.6 * enough && usual < 0.05;
        if good {
            self.counts_for_proof(&Trial {
                tally,
                ..Trial::new(plan.clone())
            });
            return Some(self.narrow(plan, tally));
        }
        let none = if is_stable(&plan) { 2 } else { 5 };
        let too_dear = self.step_s > REPEAT_S + REPEAT_TIMES * self.plain_s();
        let dud = tally.runs >= 2 && tally.failed <= 1 && too_dear
            || tally.runs >= none && tally.failed == 0
            || tally.runs >= 6 && tally.share() < usual
            || tally.runs >= 6 && tally.failed <= 1
            || tally.runs >= 20;
        if !dud {
            return None;
        }
        let places = self.beliefs.places(
            &plan
                .conditions
                .iter()
                .map(|condition| self.beliefs.planned(condition))
                .collect::<Vec<_>>(),
        );
        if places.len() > 1 {
            // Which of them got the credit is not known.
            self.beliefs.doubt(&places, tally.runs - tally.failed);
        }
        let seeded = |one: &Condition| matches!(one, Condition::Seed { .. });
        self.seeds_not += u32::from(plan.conditions.iter().any(seeded) && is_stable(&plan));
        Some(self.suspicion(SUSPICIOUS).unwrap_or(Step::Hunt))
    }
}
