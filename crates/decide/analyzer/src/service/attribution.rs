//! Which endpoint's calls make something grow? Every endpoint is tried as the one explanation of
//! all growth (so much a call, never negative), and so is time alone (so much a second). Readings
//! of a resource and windows of calls are not taken at the same moment, so each explanation may
//! lag by a part of a window. By likelihood, the best must explain the growth clearly better than
//! time does.
//!
//! Endpoints that are always called together cannot be told apart by counting. Those that explain
//! it about as well as the best are suspects all; the one that does the most work is named first,
//! and the others are named with it.

use std::collections::BTreeMap;

/// Fewer rows say nothing.
const ROWS_MIN: usize = 12;
/// By how much the log likelihood of time alone must be less, and within which others are as good.
const MARGIN: f64 = 7.0;
/// Share of the growth that it must account for.
const SHARE: (f64, f64) = (0.6, 1.5);
/// Lags tried, in windows.
const LAGS: [f64; 4] = [0.0, 0.1, 0.2, 0.35];
/// More suspects than this name none.
const SUSPECTS_MAX: usize = 4;

/// Growth in some time, and the calls in it and in the same time before.
pub(super) struct Row {
    pub(super) growth: f64,
    pub(super) seconds: f64,
    pub(super) calls: BTreeMap<u32, f64>,
    pub(super) before: BTreeMap<u32, f64>,
}

/// The endpoints that explain it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Blamed {
    pub(super) endpoint: u32,
    /// Those that are called together with it, and explain it about as well.
    pub(super) others: Vec<u32>,
    /// Growth by one call.
    pub(super) per_call: f64,
    /// Share of all growth that its calls account for.
    pub(super) share: f64,
}

/// One explanation.
#[derive(Clone, Copy, Debug)]
struct Explanation {
    error: f64,
    factor: f64,
    total: f64,
}

impl Explanation {
    fn of(rows: &[Row], amount: impl Fn(&Row) -> f64) -> Explanation {
        let (mut squares, mut products, mut total, mut growth) = (0.0, 0.0, 0.0, 0.0);
        for row in rows {
            let x = amount(row);
            squares += x * x;
            products += x * row.growth;
            total += x;
            growth += row.growth * row.growth;
        }
        let factor = if squares > 0.0 {
            f64::max(products / squares, 0.0)
        } else {
            0.0
        };
        // Rounding must not decide between two explanations that are both exact.
        let rounding = growth * 1e-6 + f64::MIN_POSITIVE;
        Explanation {
            error: (growth - factor * products).max(0.0) + rounding,
            factor,
            total,
        }
    }

    fn likelihood(&self, rows: usize) -> f64 {
        -(rows as f64) / 2.0 * self.error.ln()
    }
}

/// `work`: how much a call of an endpoint does, to choose among those that are as likely.
pub(super) fn blame(rows: &[Row], work: impl Fn(u32) -> f64) -> Option<Blamed> {
    if rows.len() < ROWS_MIN {
        return None;
    }
    let growth: f64 = rows.iter().map(|row| row.growth).sum();
    let time = Explanation::of(rows, |row| row.seconds).likelihood(rows.len());
    let mut endpoints: Vec<u32> = rows.iter().flat_map(|r| r.calls.keys().copied()).collect();
    endpoints.sort_unstable();
    endpoints.dedup();
    let of =
        |calls: &BTreeMap<u32, f64>, endpoint: u32| calls.get(&endpoint).copied().unwrap_or(0.0);
    let mut found: Vec<(f64, u32, Explanation)> = endpoints
        .into_iter()
        .filter_map(|endpoint| {
            let lagging = |lag: f64| {
                Explanation::of(rows, |row| {
                    (1.0 - lag) * of(&row.calls, endpoint) + lag * of(&row.before, endpoint)
                })
            };
            let best = LAGS
                .into_iter()
                .map(lagging)
                .min_by(|a, b| a.error.total_cmp(&b.error))?;
            Some((best.likelihood(rows.len()), endpoint, best))
        })
        .collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    let best = found.first()?.0;
    if std::env::var("DBG").is_ok() { eprintln!("rows {} time {:.1}: {:?}", rows.len(), time, found.iter().map(|f| (f.1, (f.0*10.0).round()/10.0, f.2.factor)).collect::<Vec<_>>()); }
    let share = |e: &Explanation| e.factor * e.total / growth.max(f64::MIN_POSITIVE);
    found.retain(|(likelihood, _, e)| {
        best - likelihood <= MARGIN
            && likelihood - time >= MARGIN
            && (SHARE.0..=SHARE.1).contains(&share(e))
    });
    if found.len() > SUSPECTS_MAX {
        return None;
    }
    let first = found
        .iter()
        .map(|(_, endpoint, _)| *endpoint)
        .max_by(|a, b| work(*a).total_cmp(&work(*b)))?;
    let (_, endpoint, explanation) = found.iter().find(|f| f.1 == first)?;
    Some(Blamed {
        endpoint: *endpoint,
        others: found.iter().map(|f| f.1).filter(|e| *e != first).collect(),
        per_call: explanation.factor,
        share: share(explanation),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(growth: impl Fn(f64, f64) -> f64, b: impl Fn(u32) -> f64) -> Vec<Row> {
        let calls = |n: u32| BTreeMap::from([(1, f64::from(n * 7 % 11)), (2, b(n))]);
        (1..31)
            .map(|n| Row {
                growth: growth(f64::from(n * 7 % 11), b(n)) + f64::from(n * 5 % 3) - 1.0,
                seconds: 1.0,
                calls: calls(n),
                before: calls(n - 1),
            })
            .collect()
    }

    #[test]
    fn the_one_that_explains_it_is_named_with_its_amount() {
        let found = blame(&rows(|a, _| 64.0 * a, |n| f64::from(n * 5 % 13)), |_| 1.0).unwrap();
        assert_eq!((found.endpoint, found.others.len()), (1, 0));
        assert!((found.per_call - 64.0).abs() < 1.0, "{found:?}");
    }

    #[test]
    fn what_is_always_called_together_is_named_together() {
        let together = rows(|a, _| 64.0 * a, |n| f64::from(n * 7 % 11));
        let found = blame(&together, f64::from).unwrap();
        assert_eq!(
            (found.endpoint, &found.others[..]),
            (2, &[1][..]),
            "2 does more"
        );
    }

    #[test]
    fn what_grows_with_time_is_nobodys() {
        assert_eq!(
            blame(&rows(|_, _| 64.0, |n| f64::from(n * 5 % 13)), |_| 1.0),
            None
        );
    }
}
