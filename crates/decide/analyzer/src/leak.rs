//! Is this memory leaking? A pure function of one series of equally spaced readings.
//!
//! Two questions, both of which a leak must answer with yes:
//! - *Does it rise?* Mann-Kendall on block medians, corrected for ties, one-sided p < 0.001.
//! - *Does steady growth explain it at least about as well as growth that is over?* The best ramp
//!   (flat, then rising to the end) is compared, by squared error, with the best single step and
//!   the best saturating rise that has levelled off before the end.
//!
//! Both are statistical: of flat noise about one series in a thousand is called a leak. A sawtooth
//! whose period is close to two blocks can drift against them and look like growth, rarely.
//!
//! The first question alone is the plain baseline ([`Rule::Trend`]); it calls every level shift and
//! every warm-up a leak. `examples/leak.rs` measures both side by side.

use crate::statistics::{autocorrelation, mann_kendall_z, median, normal_tail, theil_sen};

/// Points judged: a longer series is cut into this many blocks at most, and their medians are used.
const POINTS_MAX: usize = 48;
/// Fewer readings than this are never called a leak.
pub const READINGS_MIN: usize = 16;
/// Values further from zero are left out like those that are not finite: their squares are not.
const VALUE_MAX: f64 = 1e150;
/// One-sided p = 0.001 of the standard normal distribution.
const TREND_Z_MIN: f64 = 3.09;
/// Squared error of the best finished growth over that of steady growth; below it, it is finished.
const SHAPE_RATIO_MIN: f64 = 0.8;
/// Time constants of saturating growth, in shares of the series.
const TIME_CONSTANTS: [f64; 6] = [
    1.0 / 48.0,
    1.0 / 24.0,
    1.0 / 12.0,
    1.0 / 6.0,
    1.0 / 4.0,
    1.0 / 3.0,
];
/// Time constants after which a saturating rise counts as over (95 % of it).
const SETTLED_AFTER: f64 = 3.0;
/// Latest start of a ramp, as a share of the series: less of it is no steady growth.
const RAMP_START_MAX: f64 = 0.75;

/// Which questions are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// Trend and shape.
    #[default]
    Shape,
    /// The plain baseline: trend alone.
    Trend,
}

/// What was found, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LeakVerdict {
    /// Zero or above: a leak; the further, the clearer. -1 and below: nothing of the kind.
    pub score: f64,
    /// Theil-Sen slope, in units of the values per reading.
    pub slope_per_sample: f64,
    /// Mann-Kendall trend, as a standard normal deviate.
    pub trend_z: f64,
    /// Probability of such a trend by chance, allowing for neighbouring readings being alike
    /// (variance inflated by (1 + r) / (1 - r), r being the residuals' correlation at lag one).
    pub p_value: f64,
    /// Squared error of the best finished growth over that of steady growth, at most 100.
    pub shape_ratio: f64,
    /// It grew and is best explained by growth that has levelled off.
    pub leveled_off: bool,
    /// It grew and is best explained by one step up.
    pub step: bool,
}

impl LeakVerdict {
    /// Whether this is a leak.
    #[must_use]
    pub fn is_leak(&self) -> bool {
        self.score >= 0.0
    }
}

/// Judges equally spaced readings, oldest first. Values that are not finite are left out. The cost
/// is bounded (O(48^2), tens of microseconds) but for one pass over the readings.
#[must_use]
pub fn judge(values: &[f64], rule: Rule) -> LeakVerdict {
    let (points, block) = decimate(values);
    if points.len() < READINGS_MIN {
        return LeakVerdict {
            score: -1.0,
            p_value: 1.0,
            ..LeakVerdict::default()
        };
    }
    let trend_z = mann_kendall_z(&points);
    let slope_per_sample = theil_sen(&points) / block as f64;
    let shape = Shape::of(&points);
    let trend_score = trend_z / TREND_Z_MIN - 1.0;
    let score = match rule {
        Rule::Trend => trend_score,
        Rule::Shape => trend_score.min(shape.ratio / SHAPE_RATIO_MIN - 1.0),
    };
    let finished = trend_z >= TREND_Z_MIN && shape.ratio < SHAPE_RATIO_MIN;
    LeakVerdict {
        score,
        slope_per_sample,
        trend_z,
        p_value: normal_tail(trend_z / ((1.0 + shape.memory) / (1.0 - shape.memory)).sqrt()),
        shape_ratio: shape.ratio,
        leveled_off: finished && shape.saturation < shape.step,
        step: finished && shape.saturation >= shape.step,
    }
}

/// Medians of at most [`POINTS_MAX`] equal blocks, and the readings in each; what does not fill a
/// block is left out at the old end.
fn decimate(values: &[f64]) -> (Vec<f64>, usize) {
    let mut finite: Vec<f64> = values
        .iter()
        .copied()
        .filter(|v| v.abs() <= VALUE_MAX)
        .collect();
    let block = finite.len().div_ceil(POINTS_MAX).max(1);
    let skip = finite.len() % block;
    let points = finite[skip..].chunks_exact_mut(block).map(median).collect();
    (points, block)
}

/// Squared errors of the competing explanations.
struct Shape {
    step: f64,
    saturation: f64,
    ratio: f64,
    /// Correlation of what the ramp leaves unexplained, at lag one.
    memory: f64,
}

impl Shape {
    fn of(points: &[f64]) -> Shape {
        let fit = Fit::new(points);
        let (ramp, start, slope) = fit.best_ramp();
        let step = fit.best_step();
        let saturation = fit.best_saturation();
        // Rounding must not decide between two explanations that are both exact.
        let rounding = fit.total * 1e-9 + f64::MIN_POSITIVE;
        let residuals: Vec<f64> = points
            .iter()
            .enumerate()
            .map(|(t, v)| v - slope * t.saturating_sub(start) as f64)
            .collect();
        Shape {
            step,
            saturation,
            ratio: ((step.min(saturation) + rounding) / (ramp + rounding)).min(100.0),
            memory: autocorrelation(&residuals),
        }
    }
}

/// Least squares of `a + b g(t)` for one shape `g` after another, over the same points.
struct Fit {
    centred: Vec<f64>,
    total: f64,
}

impl Fit {
    fn new(points: &[f64]) -> Fit {
        let mean = points.iter().sum::<f64>() / points.len() as f64;
        let centred: Vec<f64> = points.iter().map(|v| v - mean).collect();
        let total = centred.iter().map(|v| v * v).sum();
        Fit { centred, total }
    }

    /// Squared error and `b` for a shape that is zero before `start` and `rise[t - start]` after.
    /// A shape that would have to fall (`b` <= 0) explains nothing.
    fn rising(&self, start: usize, rise: &[f64]) -> (f64, f64) {
        let (mut sum, mut squares, mut product) = (0.0, 0.0, 0.0);
        for (value, g) in self.centred[start..].iter().zip(rise) {
            sum += g;
            squares += g * g;
            product += g * value;
        }
        let spread = squares - sum * sum / self.centred.len() as f64;
        if spread <= 1e-12 || product <= 0.0 {
            return (self.total, 0.0);
        }
        (
            (self.total - product * product / spread).max(0.0),
            product / spread,
        )
    }

    fn best_ramp(&self) -> (f64, usize, f64) {
        let n = self.centred.len();
        let rise: Vec<f64> = (0..n).map(|t| t as f64).collect();
        let mut best = (self.total, 0, 0.0);
        for start in (0..(n as f64 * RAMP_START_MAX) as usize).step_by(2) {
            let (error, slope) = self.rising(start, &rise);
            if error < best.0 {
                best = (error, start, slope);
            }
        }
        best
    }

    fn best_step(&self) -> f64 {
        let n = self.centred.len();
        let rise = vec![1.0; n];
        (2..n - 2)
            .map(|start| self.rising(start, &rise).0)
            .fold(self.total, f64::min)
    }

    fn best_saturation(&self) -> f64 {
        let n = self.centred.len();
        let mut best = self.total;
        for share in TIME_CONSTANTS {
            let constant = share * n as f64;
            let rise: Vec<f64> = (0..n)
                .map(|t| 1.0 - (-(t as f64) / constant).exp())
                .collect();
            let last_start = (n as f64 - SETTLED_AFTER * constant).max(0.0) as usize;
            for start in (0..=last_start.min(n - 2)).step_by(2) {
                best = best.min(self.rising(start, &rise).0);
            }
        }
        best
    }
}

#[cfg(test)]
#[path = "leak_tests.rs"]
mod tests;
