//! Series whose changes are known, over many fixed draws, and what must hold of any series.

use proptest::prelude::*;

use super::*;

struct Draw(u64);

impl Draw {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn noise(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

fn series(seed: u64, n: usize, shape: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut draw = Draw(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    (0..n)
        .map(|t| shape(t as f64 / n as f64) + draw.noise())
        .collect()
}

/// Of 100 draws of each length.
fn count(shape: impl Fn(f64) -> f64 + Copy, right: impl Fn(&[f64]) -> bool) -> usize {
    (0..100)
        .filter(|seed| right(&series(seed + 1, [60, 150, 300][*seed as usize % 3], shape)))
        .count()
}

#[test]
fn noise_lines_curves_and_waves_do_not_change() {
    let none = |values: &[f64]| changes(values).is_empty();
    assert!(count(|_| 5.0, none) >= 97, "noise");
    assert!(count(|x| 40.0 * x, none) >= 97, "line");
    assert!(count(|x| 60.0 * x * x, none) >= 97, "curve");
    assert!(count(|x| 2.0 * (x * 200.0).sin(), none) >= 97, "wave");
}

#[test]
fn a_step_and_a_bend_are_found_where_they_are() {
    let one_near = |values: &[f64]| {
        let found = changes(values);
        found.len() == 1 && found[0].abs_diff(values.len() * 2 / 5) <= values.len() / 10
    };
    assert!(
        count(|x| if x < 0.4 { 0.0 } else { 4.0 }, one_near) >= 95,
        "step"
    );
    let bend = |x: f64| 60.0 * (x - 0.4).max(0.0);
    assert!(count(bend, one_near) >= 90, "bend");
}

#[test]
fn several_levels_and_long_series() {
    let levels = |x: f64| [0.0, 8.0, 2.0, 12.0][(x * 4.0) as usize];
    let found = changes(&series(7, 200, levels));
    assert!(found.len() == 3, "{found:?}");
    for (at, wanted) in found.iter().zip([50, 100, 150]) {
        assert!(at.abs_diff(wanted) <= 2, "{found:?}");
    }
    let long = changes(&series(8, 5_000, |x| if x < 0.5 { 0.0 } else { 3.0 }));
    assert!(long.len() == 1 && long[0].abs_diff(2_500) <= 10, "{long:?}");
}

#[test]
fn a_level_that_changed_is_said_with_both_levels() {
    let rightly = count(
        |x| if x < 0.6 { 10.0 } else { 14.0 },
        |values| {
            change_since(values).is_some_and(|c| {
                c.at.abs_diff(values.len() * 3 / 5) <= 6
                    && (c.before - 10.0).abs() < 1.0
                    && (c.after - 14.0).abs() < 1.0
            })
        },
    );
    assert!(rightly >= 90, "{rightly}");
    let quiet = count(|_| 10.0, |values| change_since(values).is_none());
    assert!(quiet >= 98, "{quiet}");
}

#[test]
fn exact_levels_without_noise() {
    let mut values = vec![4.0; 20];
    assert_eq!(change_since(&values), None);
    values.extend([9.0; 20]);
    let change = change_since(&values).unwrap();
    assert_eq!(change.at, 20);
    assert_eq!(changes(&values), [20]);
    assert!(changes(&[1.0; 50]).is_empty() && changes(&[]).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn anything_gives_rising_places_inside(values in proptest::collection::vec(any::<f64>(), 0..200)) {
        let found = changes(&values);
        prop_assert!(found.windows(2).all(|w| w[0] < w[1]));
        prop_assert!(found.iter().all(|at| *at > 0 && *at < values.len()));
        if let Some(change) = change_since(&values) {
            prop_assert!(change.at < values.len() && change.before.is_finite() && change.after.is_finite());
        }
    }

    #[test]
    fn scale_and_level_do_not_matter(seed: u64, factor in 0.001..1000.0f64, level in -1e4..1e4f64) {
        let values = series(seed, 120, |x| if x < 0.3 { 0.0 } else { 5.0 });
        let moved: Vec<f64> = values.iter().map(|v| v * factor + level).collect();
        prop_assert_eq!(changes(&values), changes(&moved));
    }
}
