//! From which degree on it fails: bisection, where each answer is a sequential test.

use cohort_model::{Condition, Recipe};

use super::evidence::{Scale, Tally};
use super::recipes::under;
use super::step::{Proved, Trial};

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
