//! From which degree on it fails: bisection, where each answer is a sequential test.

use cohort_model::{Condition, Recipe};

use super::evidence::{Scale, Tally};
use super::prove::Proved;
use super::recipes::under;
use super::step::Trial;

/// Neighbouring degrees that differ by less than this factor are not told apart.
const FINE: f64 = 1.2;
/// Most degrees that are tried.
const DEGREES_MAX: u32 = 8;
/// Most runs at one degree.
const RUNS_MAX: u32 = 12;

/// The degree of a condition in its unit (see [`cohort_model::Cause::threshold`]); none when it has none.
pub(super) fn degree_of(condition: &Condition) -> Option<f64> {
    match condition {
        Condition::CpuLimit { cores } => Some(*cores),
        Condition::MemoryLimit { bytes } => Some(*bytes as f64),
        Condition::DiskRate { bytes_s } => Some(*bytes_s as f64),
        Condition::DiskDelay { us } | Condition::NetworkDelay { us } => Some(*us as f64),
        Condition::NetworkRate { bits_s } => Some(*bits_s as f64),
        Condition::NetworkLoss { share } => Some(*share),
        Condition::Noise { tasks, .. } => Some(f64::from(*tasks)),
        Condition::Copies { count } => Some(f64::from(*count)),
        Condition::OpenFiles { count } => Some(*count as f64),
        _ => None,
    }
}

/// The same condition at another degree.
fn at_degree(condition: &Condition, degree: f64) -> Condition {
    match condition {
        Condition::CpuLimit { .. } => Condition::CpuLimit {
            cores: (degree * 1000.0).round() / 1000.0,
        },
        Condition::MemoryLimit { .. } => Condition::MemoryLimit {
            bytes: degree as u64,
        },
        Condition::DiskRate { .. } => Condition::DiskRate {
            bytes_s: degree as u64,
        },
        Condition::DiskDelay { .. } => Condition::DiskDelay { us: degree as u64 },
        Condition::NetworkDelay { .. } => Condition::NetworkDelay { us: degree as u64 },
        Condition::NetworkRate { .. } => Condition::NetworkRate {
            bits_s: degree as u64,
        },
        Condition::NetworkLoss { .. } => Condition::NetworkLoss {
            share: (degree * 1e4).round() / 1e4,
        },
        Condition::Noise { noise, .. } => Condition::Noise {
            noise: *noise,
            tasks: degree as u32,
        },
        Condition::Copies { .. } => Condition::Copies {
            count: degree as u32,
        },
        Condition::OpenFiles { .. } => Condition::OpenFiles {
            count: degree as u64,
        },
        other => other.clone(),
    }
}

/// A degree that is as good as none, and the nearest to it that is worth a try.
fn ease(condition: &Condition, failing: f64, host_cores: f64, peak: u64) -> (f64, f64) {
    match condition {
        Condition::CpuLimit { .. } => (host_cores, host_cores),
        Condition::MemoryLimit { .. } => {
            let enough = (peak as f64 * 1.5).max(failing * 2.0);
            (enough, enough)
        }
        Condition::DiskRate { .. } => (1e9, 1e9),
        Condition::NetworkRate { .. } => (1e10, 1e10),
        Condition::OpenFiles { .. } => {
            (1024.0_f64.max(failing * 2.0), 1024.0_f64.max(failing * 2.0))
        }
        Condition::Copies { .. } => (1.0, 1.0),
        Condition::Noise { .. } => (0.0, 0.5),
        Condition::NetworkLoss { .. } => (0.0, failing / 100.0),
        _ => (0.0, (failing / 200.0).max(20.0)),
    }
}

/// Counts are whole numbers, and few: neighbours are told apart.
fn is_count(condition: &Condition) -> bool {
    matches!(
        condition,
        Condition::Noise { .. } | Condition::Copies { .. }
    )
}

/// A search for the degree from which on one condition of a proved recipe makes it fail.
#[derive(Clone, Debug)]
pub(super) struct Degree {
    /// What was proved.
    pub(super) proved: Proved,
    /// Which of its claims.
    pub(super) claim: usize,
    condition: Condition,
    /// A degree that passes: at first none at all.
    pub(super) passes: f64,
    /// The same, as it is reckoned with.
    passes_near: f64,
    /// A degree that fails.
    pub(super) fails: f64,
    /// What is tried now.
    pub(super) trial: Option<Trial>,
    degree: f64,
    tried: u32,
    /// When a degree fails.
    pub(super) scale: Scale,
}

impl Degree {
    /// For a condition with degrees.
    pub(super) fn new(
        proved: Proved,
        claim: usize,
        condition: &Condition,
        without: Tally,
        host: (f64, u64),
    ) -> Option<Self> {
        let fails = degree_of(condition)?;
        let (passes, passes_near) = ease(condition, fails, host.0, host.1);
        let mut degree = Self {
            scale: Scale::between(without.share(), proved.with.tally.share(), 8.0, RUNS_MAX),
            proved,
            claim,
            condition: condition.clone(),
            passes,
            passes_near,
            fails,
            trial: None,
            degree: fails,
            tried: 0,
        };
        degree.prepare();
        Some(degree)
    }

    fn middle(&self) -> f64 {
        let middle = (self.passes_near * self.fails).sqrt();
        if is_count(&self.condition) {
            ((self.passes_near.floor() + self.fails) / 2.0).floor()
        } else {
            middle
        }
    }

    fn is_fine(&self) -> bool {
        let (low, high) = if self.passes_near < self.fails {
            (self.passes_near, self.fails)
        } else {
            (self.fails, self.passes_near)
        };
        if is_count(&self.condition) {
            high - low.floor() <= 1.0
        } else {
            high / low.max(1e-9) <= FINE
        }
    }

    fn prepare(&mut self) {
        self.trial = None;
        if self.is_fine() || self.tried >= DEGREES_MAX {
            return;
        }
        let condition = at_degree(&self.condition, self.middle());
        // What is run is rounded; what is told is what was run.
        self.degree = degree_of(&condition).unwrap_or(self.fails);
        let conditions = self
            .plan()
            .conditions
            .iter()
            .map(|other| {
                if other.kind() == condition.kind() {
                    condition.clone()
                } else {
                    other.clone()
                }
            })
            .collect();
        self.tried += 1;
        self.trial = Some(Trial::new(under(self.plan(), conditions)));
    }

    fn plan(&self) -> &Recipe {
        &self.proved.with.plan
    }

    /// Takes the answer at the present degree, if there is one, and goes to the next.
    pub(super) fn follow(&mut self) {
        let Some(trial) = &self.trial else {
            return;
        };
        match self.scale.reading(trial.tally) {
            Some(true) => self.fails = self.degree,
            Some(false) => {
                self.passes = self.degree;
                self.passes_near = self.degree;
            }
            None => return,
        }
        self.prepare();
    }

    /// Nothing more to try.
    pub(super) fn is_done(&self) -> bool {
        self.trial.is_none()
    }
}

#[cfg(test)]
mod tests {
    use cohort_model::{Condition, Recipe};

    use super::{Degree, degree_of};
    use crate::experiment::chance::Chance;
    use crate::experiment::evidence::Tally;
    use crate::experiment::prove::Proved;
    use crate::experiment::step::Trial;

    /// Bisects for a program that fails with probability `share` beyond `place`.
    fn bisected(condition: &Condition, share: f64, fails: impl Fn(f64) -> bool) -> (f64, f64, u32) {
        let plan = Recipe {
            conditions: vec![condition.clone()],
            ..Recipe::default()
        };
        let runs = 20;
        let failed = (share * f64::from(runs)).round() as u32;
        let with = Trial {
            tally: Tally { runs, failed },
            ..Trial::new(plan)
        };
        let proved = Proved {
            with,
            claims: Vec::new(),
        };
        let none = Tally { runs, failed: 0 };
        let mut degree =
            Degree::new(proved, 0, condition, none, (4.0, 100 << 20)).expect("a degree");
        let mut chance = Chance::new(1, 1);
        let mut count = 0;
        while let Some(trial) = &mut degree.trial {
            let at = degree_of(&trial.plan.conditions[0]).expect("a degree");
            trial.tally.add(fails(at) && chance.happens(share));
            count += 1;
            degree.follow();
        }
        (degree.passes, degree.fails, count)
    }

    #[test]
    fn a_limit_of_cpu_is_found_from_above() {
        let limit = Condition::CpuLimit { cores: 0.1 };
        let (passes, fails, runs) = bisected(&limit, 1.0, |cores| cores < 0.6);
        assert!(
            fails < 0.6 && passes >= 0.6 && passes / fails <= 1.2,
            "{passes} {fails}"
        );
        assert!(runs < 25, "{runs} runs");
    }

    #[test]
    fn a_delay_is_found_from_below_though_answers_are_noisy() {
        let delay = Condition::DiskDelay { us: 50_000 };
        let (passes, fails, _) = bisected(&delay, 0.6, |us| us > 7_000.0);
        assert!(passes < fails && fails / passes < 1.3, "{passes} {fails}");
        assert!(fails > 5_000.0 && passes < 10_000.0, "{passes} {fails}");
    }

    #[test]
    fn counts_are_whole() {
        let copies = Condition::Copies { count: 8 };
        let (passes, fails, _) = bisected(&copies, 1.0, |count| count > 2.5);
        assert_eq!((passes, fails), (2.0, 3.0));
        let noise = Condition::Noise {
            noise: cohort_model::Noise::Cpu,
            tasks: 4,
        };
        let (passes, fails, _) = bisected(&noise, 1.0, |tasks| tasks > 0.5);
        assert_eq!((passes, fails), (0.0, 1.0), "none at all passes");
    }

    #[test]
    fn what_has_no_degree_has_no_threshold() {
        assert_eq!(degree_of(&Condition::Seed { seed: 5 }), None);
        assert_eq!(degree_of(&Condition::Cpus { count: 1 }), None);
    }
}
