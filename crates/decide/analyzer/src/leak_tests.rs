//! The judge on generated shapes. It is a statistical test with a rate of error by design
//! (one-sided p < 0.001), so shapes with noise are counted over many fixed draws and held to a
//! rate; that no draw at all may go wrong would be true only by luck. What must always hold
//! (finite numbers, no leak in what falls, exact shapes) is a property or a case of its own.

use proptest::prelude::*;

use super::*;

/// Draws of each shape.
const DRAWS: u64 = 1_000;
/// Wrong verdicts allowed among them: 0.3 %, three times the nominal rate.
const WRONG_MAX: usize = 3;

/// Uniform numbers from 0 to 1, from a seed (xorshift).
struct Draw(u64);

impl Draw {
    fn new(seed: u64) -> Draw {
        Draw(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// `n` readings of `shape` over 0 to 1, with noise of standard deviation 1.
    fn series(&mut self, n: usize, shape: impl Fn(f64) -> f64) -> Vec<f64> {
        let noise = |draw: &mut Draw| (0..12).map(|_| draw.unit()).sum::<f64>() - 6.0;
        (0..n)
            .map(|t| shape(t as f64 / n as f64) + noise(self))
            .collect()
    }
}

fn verdict(values: &[f64]) -> LeakVerdict {
    judge(values, Rule::Shape)
}

/// How many of [`DRAWS`] series of `make` are not judged as they should be.
fn wrong(is_leak: bool, make: impl Fn(&mut Draw, usize) -> Vec<f64>) -> usize {
    let judged_wrong = |seed: &u64| {
        let mut draw = Draw::new(seed + 1);
        let n = draw.between(60.0, 600.0) as usize;
        verdict(&make(&mut draw, n)).is_leak() != is_leak
    };
    (0..DRAWS).filter(judged_wrong).count()
}

#[test]
fn steady_growth_is_a_leak() {
    let wrong = wrong(true, |draw, n| {
        let (growth, start) = (draw.between(8.0, 100.0), draw.between(0.0, 0.5));
        draw.series(n, |x| {
            100.0 + growth * ((x - start).max(0.0) / (1.0 - start))
        })
    });
    assert!(wrong <= WRONG_MAX, "{wrong} of {DRAWS} missed");
}

#[test]
fn warm_up_is_none() {
    let wrong = wrong(false, |draw, n| {
        let (growth, constant) = (draw.between(8.0, 100.0), draw.between(0.02, 0.2));
        draw.series(n, |x| 100.0 + growth * (1.0 - (-x / constant).exp()))
    });
    assert!(wrong <= WRONG_MAX, "{wrong} of {DRAWS} called a leak");
}

#[test]
fn one_step_is_none() {
    let wrong = wrong(false, |draw, n| {
        let (height, place) = (draw.between(8.0, 100.0), draw.between(0.1, 0.85));
        draw.series(n, |x| if x < place { 100.0 } else { 100.0 + height })
    });
    assert!(wrong <= WRONG_MAX, "{wrong} of {DRAWS} called a leak");
}

#[test]
fn a_sawtooth_is_none() {
    let wrong = wrong(false, |draw, n| {
        let (height, teeth) = (draw.between(3.0, 50.0), draw.between(4.0, 20.0));
        draw.series(n, |x| 100.0 + height * (x * teeth).fract())
    });
    assert!(wrong <= WRONG_MAX, "{wrong} of {DRAWS} called a leak");
}

#[test]
fn a_daily_wave_is_none() {
    let wrong = wrong(false, |draw, n| {
        let (height, phase) = (draw.between(3.0, 50.0), draw.unit());
        draw.series(n, |x| {
            100.0 + height * (std::f64::consts::TAU * (2.0 * x + phase)).sin()
        })
    });
    assert!(wrong <= WRONG_MAX, "{wrong} of {DRAWS} called a leak");
}

#[test]
fn flat_noise_is_none() {
    let wrong = wrong(false, |draw, n| draw.series(n, |_| 100.0));
    assert!(wrong <= WRONG_MAX, "{wrong} of {DRAWS} called a leak");
}

#[test]
fn the_plain_rule_is_fooled_by_steps_and_warm_ups() {
    let mut draw = Draw::new(1);
    let step = draw.series(200, |x| if x < 0.5 { 100.0 } else { 120.0 });
    let warm_up = draw.series(200, |x| 100.0 + 50.0 * (1.0 - (-x / 0.1).exp()));
    for values in [step, warm_up] {
        assert!(judge(&values, Rule::Trend).is_leak());
        assert!(!verdict(&values).is_leak());
    }
}

proptest! {
    #[test]
    fn falling_is_none(seed: u64, n in 60usize..600, fall in 5.0..100.0f64) {
        prop_assert!(!verdict(&Draw::new(seed).series(n, |x| 200.0 - fall * x)).is_leak());
    }

    #[test]
    fn anything_gives_finite_numbers(values in proptest::collection::vec(any::<f64>(), 0..200)) {
        let v = verdict(&values);
        for number in [v.score, v.slope_per_sample, v.trend_z, v.p_value, v.shape_ratio] {
            prop_assert!(number.is_finite(), "{v:?}");
        }
    }
}

#[test]
fn exact_shapes_without_noise() {
    let line: Vec<f64> = (0..100).map(f64::from).collect();
    assert!(verdict(&line).is_leak());
    let flat = [7.0; 100];
    assert!(!verdict(&flat).is_leak());
    let mut step = vec![1.0; 50];
    step.extend([9.0; 50]);
    let v = verdict(&step);
    assert!(!v.is_leak() && v.step, "{v:?}");
    let settled: Vec<f64> = (0..200)
        .map(|t| 50.0 * (1.0 - (-f64::from(t) / 20.0).exp()))
        .collect();
    let v = verdict(&settled);
    assert!(!v.is_leak() && v.leveled_off, "{v:?}");
}

#[test]
fn too_few_readings_are_no_leak() {
    let line: Vec<f64> = (0..READINGS_MIN as u32 - 1).map(f64::from).collect();
    assert!(!verdict(&line).is_leak());
}
