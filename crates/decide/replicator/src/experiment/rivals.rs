//! Other conditions that may do the same as the one that was found: the strongest is named, and of
//! several that are as strong the plainest.

use cohort_model::{Condition, ConditionKind, Noise, Recipe};

use super::Experiment;
use super::contrast::contrast;
use super::evidence::{Scale, Tally};
use super::menu::{Family, family};
use super::prove::Proved;
use super::recipes::{copies, under};
use super::step::{Step, Trial};

/// Most other conditions that are looked at whether they do the same.
pub(super) const RIVALS_MAX: usize = 5;
/// Runs of a rival that is not ruled out.
pub(super) const RIVAL_RUNS: u32 = 8;

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

impl Rivals {
    /// Whether more runs of one are needed.
    pub(super) fn is_open(&self, trial: &Trial) -> bool {
        match self.scale.reading(trial.tally) {
            Some(false) => false,
            _ => trial.tally.runs < RIVAL_RUNS,
        }
    }

    pub(super) fn want(&self) -> Option<usize> {
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

impl Experiment {
    /// What may do the same as a condition, at the degree that is likeliest to.
    pub(super) fn rivals(
        &self,
        leader: &Condition,
        plan: &Recipe,
        itself: bool,
    ) -> Vec<(Condition, Trial)> {
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

    pub(super) fn follow_rivals(&mut self) -> Option<Step> {
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
}

/// Share of failures, for one of its copies: more copies fail more often without doing more.
pub(super) fn by_chance(tally: Tally, plan: &Recipe) -> f64 {
    let copies = copies(plan);
    if copies > 1.0 {
        1.0 - (1.0 - tally.estimate()).powf(1.0 / copies)
    } else {
        tally.share()
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
            Noise::Cpu => 2.0,
            Noise::Disk => 1.0,
            Noise::Memory => 0.0,
        },
        _ => 0.0,
    }
}
