//! The judge on generated shapes, with noise of every seed that the property test draws.

use proptest::prelude::*;

use super::*;

/// Noise of standard deviation about 1 from a seed (sum of uniforms, xorshift).
fn noise(seed: u64, n: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..n)
        .map(|_| (0..12).map(|_| uniform()).sum::<f64>() - 6.0)
        .collect()
}

fn series(seed: u64, n: usize, shape: impl Fn(f64) -> f64) -> Vec<f64> {
    noise(seed, n)
        .iter()
        .enumerate()
        .map(|(t, e)| shape(t as f64 / n as f64) + e)
        .collect()
}

fn verdict(values: &[f64]) -> LeakVerdict {
    judge(values, Rule::Shape)
}

proptest! {
    #[test]
    fn steady_growth_is_a_leak(seed: u64, n in 60usize..600, growth in 8.0..100.0f64, start in 0.0..0.5f64) {
        let v = verdict(&series(seed, n, |x| 100.0 + growth * ((x - start).max(0.0) / (1.0 - start))));
        prop_assert!(v.is_leak(), "{v:?}");
        prop_assert!(v.slope_per_sample > 0.0 && !v.step && !v.leveled_off);
    }

    #[test]
    fn warm_up_is_none(seed: u64, n in 60usize..600, growth in 8.0..100.0f64, constant in 0.02..0.2f64) {
        let values = series(seed, n, |x| 100.0 + growth * (1.0 - (-x / constant).exp()));
        let v = verdict(&values);
        prop_assert!(!v.is_leak(), "{v:?}");
    }

    #[test]
    fn one_step_is_none(seed: u64, n in 60usize..600, height in 8.0..100.0f64, place in 0.1..0.85f64) {
        let v = verdict(&series(seed, n, |x| if x < place { 100.0 } else { 100.0 + height }));
        prop_assert!(!v.is_leak(), "{v:?}");
    }

    #[test]
    fn a_sawtooth_is_none(seed: u64, n in 120usize..600, height in 3.0..50.0f64, teeth in 4.0..20.0f64) {
        let v = verdict(&series(seed, n, |x| 100.0 + height * (x * teeth).fract()));
        prop_assert!(!v.is_leak(), "{v:?}");
    }

    #[test]
    fn a_daily_wave_is_none(seed: u64, n in 60usize..600, height in 3.0..50.0f64, phase in 0.0..1.0f64) {
        let v = verdict(&series(seed, n, |x| 100.0 + height * (std::f64::consts::TAU * (2.0 * x + phase)).sin()));
        prop_assert!(!v.is_leak(), "{v:?}");
    }

    #[test]
    fn falling_is_none(seed: u64, n in 60usize..600, fall in 5.0..100.0f64) {
        prop_assert!(!verdict(&series(seed, n, |x| 200.0 - fall * x)).is_leak());
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
fn flat_noise_is_almost_never_a_leak() {
    let leaks = (0..1000)
        .filter(|seed| verdict(&series(*seed, 200, |_| 100.0)).is_leak())
        .count();
    assert!(leaks <= 5, "{leaks} of 1000 flat series called a leak");
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
    assert!(
        judge(&step, Rule::Trend).is_leak(),
        "the baseline is fooled by a step"
    );
}

#[test]
fn too_few_readings_are_no_leak() {
    let line: Vec<f64> = (0..READINGS_MIN as u32 - 1).map(f64::from).collect();
    assert!(!verdict(&line).is_leak());
}
#[test]
fn zz_count() {
    let mut fp = [0usize; 3]; let mut fn_ = 0; let mut r = 1u64;
    let mut u = || { r ^= r << 13; r ^= r >> 7; r ^= r << 17; (r >> 11) as f64 / (1u64 << 53) as f64 };
    for seed in 0..20000u64 {
        let n = 120 + (u() * 480.0) as usize; let (h, t) = (3.0 + 47.0 * u(), 4.0 + 16.0 * u());
        fp[0] += usize::from(verdict(&series(seed, n, |x| 100.0 + h * (x * t).fract())).is_leak());
        let ph = u();
        fp[1] += usize::from(verdict(&series(seed, n, |x| 100.0 + h * (std::f64::consts::TAU * (2.0 * x + ph)).sin())).is_leak());
        fp[2] += usize::from(verdict(&series(seed, n, |_| 100.0)).is_leak());
        let (g, s) = (8.0 + 92.0 * u(), 0.5 * u());
        fn_ += usize::from(!verdict(&series(seed, n, |x| 100.0 + g * ((x - s).max(0.0) / (1.0 - s)))).is_leak());
    }
    println!("COUNT sawtooth {} wave {} flat {} missed ramps {}", fp[0], fp[1], fp[2], fn_);
}
