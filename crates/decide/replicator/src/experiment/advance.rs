//! From one step to the next.

use cohort_model::{Cause, Condition, ConditionKind, Recipe};

use super::degree::Degree;
use super::evidence::{Scale, Tally, contrast};
use super::menu::{Family, family};
use super::recipes::{NEW_EACH_RUN, copies, repeats, seed_of, under, with_seed};
use super::step::{Claim, Claimed, Less, Prove, Proved, RIVAL_RUNS, Rivals, Single, Step, Trial};
use super::{Experiment, Flight, Origin};
use crate::minimize::{Count, Minimizer};

/// Most runs of one search for what can be left out.
const LESS_RUNS: u32 = 220;
/// The same among conditions.
const NARROW_RUNS: u32 = 90;
/// So many conditions of a recipe are tried by themselves first.
const SINGLES: usize = 2;
/// Below this share of failures a recipe is compared as so many copies at once.
const SELDOM: f64 = 0.25;
const AMPLIFIED: u32 = 4;
/// Most recipes whose runs for a proof are remembered.
const PROOFS_MAX: usize = 32;
/// More conditions than that are not believed to be needed together unless it was seen of each.
const NEEDED_MAX: usize = 3;
/// So often a wrong suspicion leads back to hunting.
const RESTARTS_MAX: u32 = 4;
/// Evidence from mixed runs that is worth a proof, while hunting and at its end.
const SUSPICIOUS: (f64, f64) = (15.0, 2.0);
/// Share of failures from which on degrees are bisected: below, each degree takes too many runs.
const DEGREE_SHARE: f64 = 0.25;
/// Share of failures from which on others that may do the same are looked at: what does more would have been
/// noticed before.
const RIVAL_SHARE: f64 = 0.25;
/// Most of them.
const RIVALS_MAX: usize = 5;

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
            self.close();
        }
    }

    /// A run of the present step failed with the symptom.
    pub(super) fn caught(&mut self, flight: &Flight) {
        if !matches!(self.step, Step::Hunt) {
            return;
        }
        if matches!(self.origin, Origin::Hunted(_)) {
            self.origin = Origin::Seen {
                passes: self.all.runs.max(1),
                crowded: false,
            };
        }
        if flight.plan != self.plain {
            self.enter(Step::Repeat(Trial::new(repeats(&flight.run))));
        }
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
            return Some(Step::Hunt);
        }
        if tally.runs < runs {
            return None;
        }
        self.found.always = true;
        Some(self.fewer_parts(self.plain.clone(), tally))
    }

    fn follow_hunt(&mut self) -> Option<Step> {
        if !self.is_hunt_over() || !self.flights.is_empty() {
            return None;
        }
        if let Some(step) = self.suspicion(SUSPICIOUS.1) {
            return Some(step);
        }
        Some(self.finish_unexplained())
    }

    /// A condition whose runs failed more often than those without it, over all mixed runs.
    fn suspicion(&mut self, level: f64) -> Option<Step> {
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
        let usual = if control.runs >= 4 {
            control.share()
        } else {
            0.0
        };
        let enough = usual + 0.2 * (1.0 - usual);
        let good = tally.failed >= 3 && tally.share() >= enough
            || tally.failed >= 5 && tally.share() >= 0.6 * enough && usual < 0.05;
        if good {
            return Some(self.narrow(plan, tally));
        }
        let dud = tally.runs >= 5 && tally.failed == 0
            || tally.runs >= 10 && tally.failed <= 1
            || tally.runs >= 20;
        if !dud {
            return None;
        }
        let places = self.beliefs.places(
            &plan
                .conditions
                .iter()
                .map(|condition| match seed_of(condition) {
                    Some(_) => with_seed(condition, NEW_EACH_RUN),
                    None => condition.clone(),
                })
                .collect::<Vec<_>>(),
        );
        self.beliefs.doubt(&places, tally.runs - tally.failed);
        Some(self.suspicion(SUSPICIOUS.0).unwrap_or(Step::Hunt))
    }

    /// Which conditions of a recipe that fails are needed: the likeliest first, so that it alone is tried soon.
    fn narrow(&mut self, mut plan: Recipe, tally: Tally) -> Step {
        let weight = |condition: &Condition| {
            let fresh = match seed_of(condition) {
                Some(_) => with_seed(condition, NEW_EACH_RUN),
                None => condition.clone(),
            };
            self.beliefs
                .places(std::slice::from_ref(&fresh))
                .first()
                .map_or(0.5, |place| self.beliefs.all[*place].mean())
        };
        plan.conditions
            .sort_by(|one, other| weight(other).total_cmp(&weight(one)));
        if plan.conditions.is_empty() {
            return self.fewer_parts(plan, tally);
        }
        self.single(plan, tally, Vec::new())
    }

    fn single(&self, plan: Recipe, known: Tally, ruled_out: Vec<(usize, Tally)>) -> Step {
        let place = ruled_out.len();
        // What is known from few runs may be much less in truth, and one of several does not all they do.
        let usual = self.book.of(&self.plain).share();
        let runs = f64::from(known.runs);
        let error = (known.estimate() * (1.0 - known.estimate()) / (runs + 1.0)).sqrt();
        let safe = (known.estimate() - error).max(0.5 * known.estimate());
        let scale = Scale::between(usual, 0.8 * safe, 10.0, 40);
        let alone = under(&plan, vec![plan.conditions[place].clone()]);
        Step::Single(Single {
            plan,
            known,
            place,
            trial: Trial::new(alone),
            scale,
            ruled_out,
        })
    }

    fn follow_single(&mut self) -> Option<Step> {
        let Step::Single(single) = &self.step else {
            return None;
        };
        let enough = single.scale.reading(single.trial.tally)?;
        let single = single.clone();
        if enough {
            return Some(self.prove(single.trial.plan, true, None));
        }
        let mut ruled_out = single.ruled_out;
        ruled_out.push((single.place, single.trial.tally));
        if ruled_out.len() < SINGLES.min(single.plan.conditions.len()) {
            return Some(self.single(single.plan, single.known, ruled_out));
        }
        if single.plan.conditions.len() < 2 {
            let plan = under(&single.plan, Vec::new());
            if plan.parts == self.plain.parts {
                return Some(Step::Hunt);
            }
        }
        let items: Vec<usize> = (0..single.plan.conditions.len()).collect();
        let mut search = Minimizer::new(items, count(single.known), NARROW_RUNS);
        for (place, tally) in ruled_out {
            search.learned(&[place], count(tally));
        }
        Some(Step::Narrow(Less {
            plan: single.plan,
            known: single.known,
            search,
            asked: Vec::new(),
        }))
    }

    fn follow_narrow(&mut self) -> Option<Step> {
        let Step::Narrow(less) = &self.step else {
            return None;
        };
        if !less.search.is_done() {
            return None;
        }
        let kept = less.search.smallest();
        let sure = kept.as_ref().is_some_and(|smallest| {
            smallest.minimal || smallest.comparable && smallest.kept.len() <= NEEDED_MAX
        });
        let conditions: Vec<Condition> = kept
            .iter()
            .flat_map(|smallest| &smallest.kept)
            .map(|place| less.plan.conditions[*place].clone())
            .collect();
        let plan = under(&less.plan, conditions);
        let tally = kept.map_or(less.known, |smallest| Tally {
            runs: smallest.count.runs,
            failed: smallest.count.failed,
        });
        if plan.conditions.is_empty() {
            // What is left of the original is enough; it is no chance that it failed so often.
            return Some(self.fewer_parts(plan, tally));
        }
        if !sure {
            return Some(self.astray());
        }
        if plan.conditions.len() == 1 {
            return Some(self.prove(plan, true, None));
        }
        Some(self.simpler(plan, tally))
    }

    /// A suspicion led nowhere.
    fn astray(&mut self) -> Step {
        self.restarts += 1;
        if self.restarts > RESTARTS_MAX {
            return self.finish_unexplained();
        }
        self.suspicion(SUSPICIOUS.0).unwrap_or(Step::Hunt)
    }

    /// Several conditions are needed together; perhaps one that is harsher does the same.
    fn simpler(&mut self, plan: Recipe, tally: Tally) -> Step {
        let mut others: Vec<(Condition, Trial)> = Vec::new();
        for condition in &plan.conditions {
            for (other, trial) in self.rivals(condition, &plan, true) {
                if others.len() < RIVALS_MAX && others.iter().all(|(known, _)| *known != other) {
                    others.push((other, trial));
                }
            }
        }
        let without = self.book.of(&self.plain);
        let scale = Scale::between(without.share(), tally.share(), 6.0, RIVAL_RUNS);
        let with = Trial {
            tally,
            ..Trial::new(plan)
        };
        Step::Rivals(Rivals {
            leader: Proved {
                with,
                claims: Vec::new(),
            },
            proved: false,
            without,
            others,
            other_seeds: false,
            scale,
        })
    }

    /// With each condition of the plan, and without it.
    fn prove(&mut self, plan: Recipe, rivals: bool, instead: Option<Box<Proved>>) -> Step {
        let Some(copied) = self.amplified(&plan) else {
            return self.prove_as_is(plan, rivals, instead);
        };
        let step = self.prove_as_is(copied, rivals, instead);
        let Step::Prove(mut prove) = step else {
            return step;
        };
        // The copies are no cause, but the same on both sides.
        prove.claims.retain(|claim| match &claim.what {
            Claimed::Condition(condition) => condition.kind() != ConditionKind::Copies,
            Claimed::Parts => true,
        });
        prove.single = Some(plan);
        Step::Prove(prove)
    }

    /// The same recipe as several copies, where it fails so seldom that a comparison takes long: of more
    /// copies some are likelier to fail, with and without what is claimed.
    fn amplified(&self, plan: &Recipe) -> Option<Recipe> {
        let [condition] = &plan.conditions[..] else {
            return None;
        };
        let seldom = self.book.of(plan);
        let copies = Condition::Copies { count: AMPLIFIED };
        let able = self.beliefs.places(std::slice::from_ref(&copies));
        let slowed = super::menu::slows(condition) || condition.kind() == ConditionKind::Copies;
        let fits = seldom.runs >= 4 && seldom.share() < SELDOM;
        if able.is_empty() || slowed || !fits || seed_of(condition).is_some_and(|seed| seed != 0) {
            return None;
        }
        Some(under(plan, vec![condition.clone(), copies]))
    }

    fn prove_as_is(&mut self, plan: Recipe, rivals: bool, instead: Option<Box<Proved>>) -> Step {
        for condition in &plan.conditions {
            let fresh = match seed_of(condition) {
                Some(_) => with_seed(condition, NEW_EACH_RUN),
                None => condition.clone(),
            };
            self.suspected.push(fresh);
        }
        let claims = plan
            .conditions
            .iter()
            .map(|condition| {
                let rest = plan
                    .conditions
                    .iter()
                    .filter(|other| *other != condition)
                    .cloned()
                    .collect();
                Claim {
                    what: Claimed::Condition(condition.clone()),
                    without: self.continued(under(&plan, rest)),
                }
            })
            .collect();
        Step::Prove(Prove {
            with: self.continued(plan),
            claims,
            rivals,
            instead,
            single: None,
        })
    }

    /// A comparison goes on where an earlier one of the same recipes ended: what was begun for a proof
    /// counts for it.
    fn continued(&self, plan: Recipe) -> Trial {
        let earlier = self.proofs.iter().find(|(known, _)| *known == plan);
        let tally = earlier.map(|(_, tally)| *tally).unwrap_or_default();
        Trial {
            tally,
            ..Trial::new(plan)
        }
    }

    /// Remembers what was run for a proof.
    fn keep_proof(&mut self, trial: &Trial) {
        self.proofs.retain(|(plan, _)| *plan != trial.plan);
        self.proofs.push((trial.plan.clone(), trial.tally));
        if self.proofs.len() > PROOFS_MAX {
            self.proofs.remove(0);
        }
    }

    fn follow_prove(&mut self) -> Option<Step> {
        let Step::Prove(prove) = &self.step else {
            return None;
        };
        let readings: Vec<Option<bool>> = prove
            .claims
            .iter()
            .map(|claim| prove.reading(claim))
            .collect();
        if readings.iter().any(Option::is_none) {
            return None;
        }
        let prove = prove.clone();
        self.keep_proof(&prove.with);
        for claim in &prove.claims {
            self.keep_proof(&claim.without);
        }
        let wrong = readings.iter().position(|reading| *reading == Some(false));
        let proved = Proved {
            with: prove.with,
            claims: prove.claims,
        };
        let Some(wrong) = wrong else {
            if let Some(single) = prove.single {
                return Some(self.proved_by_copies(&proved, single));
            }
            return Some(self.proved(proved, prove.rivals));
        };
        if proved.claims[wrong].what == Claimed::Parts {
            if let Some(whole) = self.parts_tried.take()
                && whole.parts.len() > proved.with.plan.parts.len()
            {
                // Too much was left out; that some of it matters may be shown all the same.
                self.parts_tried = Some(proved.with.plan);
                self.found.minimal = false;
                return Some(self.prove_parts(whole));
            }
            // They may matter, but it was not shown; what was shown is kept.
            return Some(self.finish(proved.with.plan, proved.with.tally, false));
        }
        if let Some(single) = prove.single {
            // What does little may do nothing under so many copies: once more without them.
            return Some(self.prove_as_is(single, prove.rivals, prove.instead));
        }
        if let Some(instead) = prove.instead {
            return Some(self.proved(*instead, false));
        }
        if proved.claims.len() > 1 {
            let plan = proved.claims[wrong].without.plan.clone();
            return Some(self.prove(plan, prove.rivals, None));
        }
        Some(self.astray())
    }

    /// It was shown with copies on both sides: the cause is named with these rates, and what is kept is the
    /// recipe without them, if it was seen to fail.
    fn proved_by_copies(&mut self, proved: &Proved, single: Recipe) -> Step {
        self.name(proved, None);
        let alone = self.book.of(&single);
        self.found.remarks.push(format!(
            "By itself it fails seldom ({} of {} runs), so it was compared with {AMPLIFIED} copies at once on both sides.",
            alone.failed, alone.runs
        ));
        if alone.failed == 0 {
            return self.finish(proved.with.plan.clone(), proved.with.tally, false);
        }
        self.keep_smallest(&single, alone);
        self.fewer_parts(single, alone)
    }

    fn proved(&mut self, proved: Proved, rivals: bool) -> Step {
        self.keep_smallest(&proved.with.plan, proved.with.tally);
        if proved.claims.iter().any(|c| c.what == Claimed::Parts) {
            self.name(&proved, None);
            return self.finish(proved.with.plan, proved.with.tally, true);
        }
        if rivals
            && let [
                Claim {
                    what: Claimed::Condition(condition),
                    ..
                },
            ] = &proved.claims[..]
        {
            let others = self.rivals(condition, &proved.with.plan, false);
            if !others.is_empty() {
                let without = proved.claims[0].without.tally;
                let scale = Scale::between(without.share(), proved.with.tally.share(), 6.0, 8);
                return Step::Rivals(Rivals {
                    proved: true,
                    without,
                    other_seeds: condition.kind() == ConditionKind::Seed,
                    leader: proved,
                    others,
                    scale,
                });
            }
        }
        self.measure(proved)
    }

    /// What may do the same as a condition, at the degree that is likeliest to.
    fn rivals(&self, leader: &Condition, plan: &Recipe, itself: bool) -> Vec<(Condition, Trial)> {
        let alike = |kind: ConditionKind| match leader.kind() {
            ConditionKind::Seed => kind == ConditionKind::Seed,
            own => (itself || kind != own) && kin(own, kind),
        };
        let mut best: Vec<(f64, f64, Condition)> = Vec::new();
        for belief in &self.beliefs.all {
            let kind = belief.condition.kind();
            let hopeless = belief.alone.runs >= 4 && belief.alone.failed == 0
                || belief.seen.runs >= 12 && belief.seen.failed == 0;
            if !alike(kind) || hopeless {
                continue;
            }
            let weight = harshness(&belief.condition);
            let promise = belief.mean();
            match best.iter_mut().find(|one| one.2.kind() == kind) {
                Some(one) => {
                    one.1 = one.1.max(promise);
                    if one.0 < weight {
                        *one = (weight, one.1, belief.condition.clone());
                    }
                }
                None => best.push((weight, promise, belief.condition.clone())),
            }
        }
        best.sort_by(|one, other| other.1.total_cmp(&one.1));
        best.truncate(RIVALS_MAX);
        best.into_iter()
            .map(|(_, _, condition)| {
                let trial = Trial::new(under(plan, vec![condition.clone()]));
                (condition, trial)
            })
            .collect()
    }

    fn follow_rivals(&mut self) -> Option<Step> {
        let Step::Rivals(rivals) = &self.step else {
            return None;
        };
        if rivals.others.iter().any(|(_, trial)| rivals.is_open(trial)) {
            return None;
        }
        let rivals = rivals.clone();
        if rivals.other_seeds {
            self.say_other_seeds(&rivals);
            return Some(self.measure(rivals.leader));
        }
        let with = rivals.leader.with.tally;
        let share = by_chance(with, &rivals.leader.with.plan);
        let place = rivals.leader.with.plan.conditions.iter();
        let place: u32 = place.map(|one| plainness(one.kind()).max(1)).sum();
        let least = if rivals.proved { 20.0 } else { 2.0 };
        let mut best: Option<(f64, &Condition)> = None;
        for (condition, trial) in &rivals.others {
            if contrast(trial.tally, rivals.without, copies(&trial.plan)) < least {
                continue;
            }
            if rivals.proved {
                self.say_alternative(condition, trial.tally);
            }
            let own = by_chance(trial.tally, &trial.plan);
            let plainer = plainness(condition.kind()) < place;
            let better = own > share + 0.2 || (own >= share - 0.15 && plainer);
            let worth = own - 0.05 * f64::from(plainness(condition.kind()));
            if better && best.is_none_or(|(most, _)| worth > most) {
                best = Some((worth, condition));
            }
        }
        let better = best.map(|(_, condition)| {
            let plan = under(&rivals.leader.with.plan, vec![condition.clone()]);
            (condition, plan)
        });
        Some(match (better, rivals.proved) {
            (None, true) => self.measure(rivals.leader),
            (None, false) => self.prove(rivals.leader.with.plan, false, None),
            (Some((_, plan)), false) => self.prove(plan, true, None),
            (Some((condition, plan)), true) => {
                self.unsay_alternative(condition);
                for condition in rivals.leader.with.plan.conditions.clone() {
                    self.say_alternative(&condition, with);
                }
                self.prove(plan, false, Some(Box::new(rivals.leader)))
            }
        })
    }

    /// Names what was proved, and looks for the degree from which on it holds.
    fn measure(&mut self, proved: Proved) -> Step {
        self.name(&proved, None);
        self.keep_smallest(&proved.with.plan, proved.with.tally);
        let share = proved.with.tally.share();
        for (place, claim) in proved.claims.iter().enumerate() {
            let Claimed::Condition(condition) = &claim.what else {
                continue;
            };
            let without = claim.without.tally;
            if share - without.share() < DEGREE_SHARE {
                continue;
            }
            let host = (self.host.0, self.usage.memory_peak);
            let condition = condition.clone();
            if let Some(degree) = Degree::new(proved.clone(), place, &condition, without, host)
                && !degree.is_done()
            {
                return Step::Degree(degree);
            }
        }
        self.fewer_parts(proved.with.plan, proved.with.tally)
    }

    fn follow_degree(&mut self, degree: &Degree) -> Step {
        let threshold = (degree.passes, degree.fails);
        self.name(&degree.proved, Some((degree.claim, threshold)));
        let proved = &degree.proved;
        self.fewer_parts(proved.with.plan.clone(), proved.with.tally)
    }

    /// These are the causes.
    fn name(&mut self, proved: &Proved, threshold: Option<(usize, (f64, f64))>) {
        self.found.passing = proved.claims.first().map(|c| c.without.plan.clone());
        let causes = proved.claims.iter().enumerate().map(|(place, claim)| {
            let (condition, parts) = match &claim.what {
                Claimed::Condition(condition) => {
                    (Some(self.as_run(&proved.with.plan, condition)), Vec::new())
                }
                Claimed::Parts => (None, company(&proved.with.plan)),
            };
            Cause {
                condition,
                parts,
                with: proved.with.tally.rate(),
                without: claim.without.tally.rate(),
                threshold: threshold.filter(|one| one.0 == place).map(|one| one.1),
            }
        });
        let causes: Vec<Cause> = causes.collect();
        if causes.iter().all(|cause| cause.condition.is_none()) {
            self.found.causes.extend(causes);
        } else {
            self.found.causes = causes;
        }
    }

    /// A condition of a plan as it was in a run, one that failed if there is one.
    fn as_run(&self, plan: &Recipe, condition: &Condition) -> Condition {
        self.book
            .run_of(plan)
            .and_then(|run| {
                run.conditions
                    .iter()
                    .find(|one| one.kind() == condition.kind())
            })
            .unwrap_or(condition)
            .clone()
    }

    /// Which parts of a recipe are needed.
    pub(super) fn fewer_parts(&mut self, plan: Recipe, tally: Tally) -> Step {
        if plan.parts.is_empty() || tally.failed == 0 {
            return self.finish(plan, tally, true);
        }
        self.parts_tried = Some(plan.clone());
        let search = Minimizer::new(plan.parts.clone(), count(tally), LESS_RUNS);
        Step::Parts(Less {
            plan,
            known: tally,
            search,
            asked: Vec::new(),
        })
    }

    fn follow_parts(&mut self) -> Option<Step> {
        let Step::Parts(less) = &self.step else {
            return None;
        };
        if !less.search.is_done() {
            return None;
        }
        let Some(smallest) = less.search.smallest() else {
            let (plan, known) = (less.plan.clone(), less.known);
            return Some(self.finish(plan, known, false));
        };
        let plan = Recipe {
            parts: smallest.kept.clone(),
            ..less.plan.clone()
        };
        let tally = Tally {
            runs: smallest.count.runs,
            failed: smallest.count.failed,
        };
        if company(&plan).is_empty() {
            return Some(self.finish(plan, tally, smallest.minimal));
        }
        self.found.minimal = smallest.minimal;
        Some(self.prove_parts(plan))
    }

    /// With what ran before and beside, and without any of it.
    fn prove_parts(&self, plan: Recipe) -> Step {
        let mut without = plan.clone();
        let needed = company(&plan);
        without.parts.retain(|part| !needed.contains(part));
        Step::Prove(Prove {
            with: self.continued(plan),
            claims: vec![Claim {
                what: Claimed::Parts,
                without: self.continued(without),
            }],
            rivals: false,
            instead: None,
            single: None,
        })
    }
}

/// What ran before and beside.
fn company(plan: &Recipe) -> Vec<cohort_model::CasePart> {
    use cohort_model::CasePart;
    plan.parts
        .iter()
        .filter(|part| matches!(part, CasePart::Before(_) | CasePart::Beside(_)))
        .cloned()
        .collect()
}

/// Share of failures, for one of its copies: more copies fail more often without doing more.
fn by_chance(tally: Tally, plan: &Recipe) -> f64 {
    let copies = copies(plan);
    if copies > 1.0 {
        1.0 - (1.0 - tally.estimate()).powf(1.0 / copies)
    } else {
        tally.share()
    }
}

fn count(tally: Tally) -> Count {
    Count {
        runs: tally.runs,
        failed: tally.failed,
    }
}

/// Both can be the reason of the same failure: everything that is late or busy, everything about time.
fn kin(one: ConditionKind, other: ConditionKind) -> bool {
    use ConditionKind as Kind;
    let of_time = |kind| matches!(kind, Kind::TimeZone | Kind::Clock | Kind::Locale);
    let timing = |kind| family(kind) == Family::Timing;
    timing(one) && timing(other) || of_time(one) && of_time(other)
}

/// Of several that do the same, the one that is easiest to understand and to set again is named: lower.
fn plainness(kind: ConditionKind) -> u32 {
    use ConditionKind as Kind;
    match kind {
        Kind::CpuLimit | Kind::TimeZone | Kind::MemoryLimit => 0,
        Kind::DiskDelay | Kind::NetworkDelay | Kind::Clock | Kind::Seed => 1,
        Kind::DiskRate | Kind::NetworkRate | Kind::Cpus | Kind::DirectoryOrder => 2,
        Kind::Copies | Kind::NetworkLoss | Kind::Locale | Kind::OpenFiles => 3,
        Kind::Noise | Kind::Variable => 4,
        Kind::Schedule => 5,
    }
}

/// Among the degrees of one kind: which is likeliest to show what the kind does.
fn harshness(condition: &Condition) -> f64 {
    match condition {
        Condition::CpuLimit { cores } => -(cores - 0.15).abs(),
        Condition::MemoryLimit { bytes } => -(*bytes as f64),
        Condition::OpenFiles { count } => -(*count as f64),
        Condition::DiskDelay { us } | Condition::NetworkDelay { us } => *us as f64,
        Condition::Copies { count } => f64::from(*count),
        Condition::Noise { noise, .. } => match noise {
            cohort_model::Noise::Cpu => 2.0,
            cohort_model::Noise::Disk => 1.0,
            cohort_model::Noise::Memory => 0.0,
        },
        _ => 0.0,
    }
}
