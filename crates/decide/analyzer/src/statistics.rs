//! The few statistics that the analyzer rests on. All are pure, and finite for finite input.

/// Sorts `values` and gives the median; zero when there is none.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[half],
        _ => f64::midpoint(values[half - 1], values[half]),
    }
}

/// Theil-Sen slope per step: the median of the slopes of all pairs (Sen 1968). O(n^2 log n).
pub(crate) fn theil_sen(values: &[f64]) -> f64 {
    let mut slopes = Vec::with_capacity(values.len() * values.len() / 2);
    for (i, earlier) in values.iter().enumerate() {
        for (distance, later) in values[i + 1..].iter().enumerate() {
            slopes.push((later - earlier) / (distance + 1) as f64);
        }
    }
    median(&mut slopes)
}

/// Mann-Kendall trend statistic as a standard normal deviate, corrected for ties (Kendall 1975).
/// Positive: it rises. Zero for fewer than three values, or when all are equal. O(n^2).
pub(crate) fn mann_kendall_z(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mut concordance = 0.0;
    for (i, earlier) in values.iter().enumerate() {
        for later in &values[i + 1..] {
            concordance += match later.total_cmp(earlier) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.0,
                std::cmp::Ordering::Less => -1.0,
            };
        }
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let ties: f64 = sorted
        .chunk_by(|a, b| a.total_cmp(b).is_eq())
        .map(|equal| {
            let t = equal.len() as f64;
            t * (t - 1.0) * (2.0 * t + 5.0)
        })
        .sum();
    let variance = (n * (n - 1.0) * (2.0 * n + 5.0) - ties) / 18.0;
    if values.len() < 3 || variance <= 0.0 {
        0.0
    } else {
        concordance / variance.sqrt()
    }
}

/// Correlation of neighbouring values, 0 to 0.99 (a negative one counts as none).
pub(crate) fn autocorrelation(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    let total: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    let neighbours: f64 = values
        .windows(2)
        .map(|w| (w[0] - mean) * (w[1] - mean))
        .sum();
    if total > 0.0 {
        (neighbours / total).clamp(0.0, 0.99)
    } else {
        0.0
    }
}

/// Probability that a standard normal deviate exceeds `z` (Abramowitz and Stegun 26.2.17, error
/// below 1e-7).
pub(crate) fn normal_tail(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let polynomial = t
        * (0.319_381_530
            + t * (-0.356_563_782
                + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let tail = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * polynomial;
    if z >= 0.0 { tail } else { 1.0 - tail }
}

/// Upper bound of the probability that a Poisson variable of mean `expected` reaches `seen`
/// (Chernoff: `exp(-m) (e m / k)^k` for `k > m`), 0 to 1. O(1) for any count.
pub(crate) fn poisson_tail(expected: f64, seen: f64) -> f64 {
    if seen <= expected {
        return 1.0;
    }
    let expected = expected.max(1e-9);
    (seen - expected - seen * (seen / expected).ln()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert!((median(&mut [3.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
        assert!((median(&mut [4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-12);
        assert!(median(&mut []).abs() < 1e-12);
        assert!((theil_sen(&[1.0, 3.0, 5.0, 100.0, 9.0]) - 2.0).abs() < 1.0);
        assert!((normal_tail(1.644_853_6) - 0.05).abs() < 1e-6);
        assert!((normal_tail(-1.644_853_6) - 0.95).abs() < 1e-6);
        assert!((normal_tail(0.0) - 0.5).abs() < 1e-6);
    }

    #[test]
    fn mann_kendall_of_a_rising_row_of_ten() {
        // S = 45, Var(S) = 10 * 9 * 25 / 18 = 125.
        let rising: Vec<f64> = (0..10).map(f64::from).collect();
        assert!((mann_kendall_z(&rising) - 45.0 / 125.0_f64.sqrt()).abs() < 1e-12);
        let falling: Vec<f64> = rising.iter().rev().copied().collect();
        assert!((mann_kendall_z(&falling) + 45.0 / 125.0_f64.sqrt()).abs() < 1e-12);
        assert!(mann_kendall_z(&[5.0; 10]).abs() < 1e-12);
    }

    #[test]
    fn poisson_bound_is_above_the_exact_tail() {
        // P(X >= 5 | 1) = 0.00366.
        let bound = poisson_tail(1.0, 5.0);
        assert!(bound > 0.003_66 && bound < 0.03, "{bound}");
        assert!((poisson_tail(3.0, 2.0) - 1.0).abs() < 1e-12);
    }
}
