//! Which endpoint's calls make something grow? Every endpoint is tried as the one explanation of
//! all growth (so much a call, never negative), and so is time alone (so much a second). The best
//! is named only when it explains the growth and every other explanation is clearly worse, by
//! likelihood. Endpoints that are always called together cannot be told apart, and then none is.

use std::collections::BTreeMap;

/// Fewer rows say nothing.
const ROWS_MIN: usize = 10;
/// By how much the log likelihood of the next best explanation must be less.
const MARGIN: f64 = 7.0;
/// Share of the growth that it must account for.
const SHARE: (f64, f64) = (0.6, 1.5);

/// Growth in some time, and the calls in it.
pub(super) struct Row {
    pub(super) growth: f64,
    pub(super) seconds: f64,
    pub(super) calls: Vec<(u32, f64)>,
}

/// The endpoint that explains it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Blamed {
    pub(super) endpoint: u32,
    /// Growth by one call.
    pub(super) per_call: f64,
    /// Share of all growth that its calls account for.
    pub(super) share: f64,
}

/// Sums over rows for one explanation `x`: of x squared, of x times growth, of x.
#[derive(Clone, Copy, Default)]
struct Sums {
    squares: f64,
    products: f64,
    total: f64,
}

impl Sums {
    fn add(&mut self, x: f64, growth: f64) {
        self.squares += x * x;
        self.products += x * growth;
        self.total += x;
    }

    fn factor(&self) -> f64 {
        if self.squares > 0.0 {
            (self.products / self.squares).max(0.0)
        } else {
            0.0
        }
    }

    fn error(&self, growth_squares: f64) -> f64 {
        (growth_squares - self.factor() * self.products).max(0.0)
    }
}

pub(super) fn blame(rows: &[Row]) -> Option<Blamed> {
    if rows.len() < ROWS_MIN {
        return None;
    }
    let mut by_endpoint: BTreeMap<u32, Sums> = BTreeMap::new();
    let mut time = Sums::default();
    let (mut growth, mut squares) = (0.0, 0.0);
    for row in rows {
        growth += row.growth;
        squares += row.growth * row.growth;
        time.add(row.seconds, row.growth);
        for (endpoint, calls) in &row.calls {
            by_endpoint
                .entry(*endpoint)
                .or_default()
                .add(*calls, row.growth);
        }
    }
    let (endpoint, best) = by_endpoint
        .iter()
        .min_by(|a, b| a.1.error(squares).total_cmp(&b.1.error(squares)))?;
    // Rounding must not decide between two explanations that are both exact.
    let rounding = squares * 1e-6 + f64::MIN_POSITIVE;
    let likelihood =
        |sums: &Sums| -(rows.len() as f64) / 2.0 * (sums.error(squares) + rounding).ln();
    let next = by_endpoint
        .iter()
        .filter(|(other, _)| *other != endpoint)
        .map(|(_, sums)| sums)
        .chain([&time])
        .map(likelihood)
        .fold(f64::NEG_INFINITY, f64::max);
    let share = best.factor() * best.total / growth.max(f64::MIN_POSITIVE);
    let clear = likelihood(best) - next >= MARGIN && (SHARE.0..=SHARE.1).contains(&share);
    clear.then_some(Blamed {
        endpoint: *endpoint,
        per_call: best.factor(),
        share,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(growth: impl Fn(f64, f64) -> f64, b: impl Fn(u32) -> f64) -> Vec<Row> {
        (0..30)
            .map(|n| {
                let a = f64::from(n * 7 % 11);
                Row {
                    growth: growth(a, b(n)) + f64::from(n * 5 % 3) - 1.0,
                    seconds: 1.0,
                    calls: vec![(1, a), (2, b(n))],
                }
            })
            .collect()
    }

    #[test]
    fn the_one_that_explains_it_is_named_with_its_amount() {
        let found = blame(&rows(|a, _| 64.0 * a, |n| f64::from(n * 5 % 13))).unwrap();
        assert_eq!(found.endpoint, 1);
        assert!((found.per_call - 64.0).abs() < 1.0, "{found:?}");
    }

    #[test]
    fn what_is_always_called_together_is_not_told_apart() {
        let together = rows(|a, _| 64.0 * a, |n| f64::from(n * 7 % 11));
        assert_eq!(blame(&together), None);
    }

    #[test]
    fn what_grows_with_time_is_nobodys() {
        assert_eq!(blame(&rows(|_, _| 64.0, |n| f64::from(n * 5 % 13))), None);
    }
}
