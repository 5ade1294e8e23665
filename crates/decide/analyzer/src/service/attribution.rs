//! Which endpoint's calls make something grow? Every endpoint is tried as the one explanation of
//! all growth (so much a call, never negative), and so is time alone (so much a second). Readings
//! of a resource and windows of calls are taken at the same moment as far as possible; but memory is
//! accounted for later, so each explanation may lag by a part of a window, and what a call keeps it may
//! take at any part of its way. A reading that is too high makes the growth to it too large and that from
//! it too small; explanations are compared with this taken into account. By likelihood, the best must explain the growth clearly better than
//! time does.
//!
//! Endpoints that are always called together cannot be told apart by counting. Those that explain
//! it about as well as the best are suspects all; the one that does the most work is named first,
//! and the others are named with it. When they are too many, or calls come so evenly that time explains
//! it as well, none is blamed: of those that are called equally often, it is only said how much a call
//! of each would be.

use std::collections::BTreeMap;

use super::fit::correlation;

/// Fewer rows say nothing.
const ROWS_MIN: usize = 12;
/// By how much the log likelihood of time alone must be less, and within which others are as good.
const MARGIN: f64 = 7.0;
/// Calls that come perfectly evenly explain exactly what time does.
const ROUNDING: f64 = 1e-6;
/// Share of the growth that it must account for.
const SHARE: (f64, f64) = (0.6, 1.5);
/// Lags tried, in windows: what is counted is read as it is, and memory is accounted for a little later,
/// in lumps.
const LAGS_COUNTED: [f64; 4] = [0.0, 0.1, 0.2, 0.35];
const LAGS: [f64; 8] = [0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0];
/// Parts of a call's way at which what it keeps may be taken.
const PARTS: [f64; 2] = [0.0, 0.5];
/// Shares of a reading's error that the next reading does not have: none, where growth itself is uneven;
/// most, where growth is even and only readings are not.
const ERRORS_OVER: [f64; 4] = [0.0, 0.4, 0.7, 0.9];
/// Growth goes with calls under way when they correlate so.
const HELD_MIN: f64 = 0.15;
/// More suspects than this name none.
const SUSPECTS_MAX: usize = 4;
/// Times the work of each other suspect from which on one of several is blamed.
const FAR_MORE: f64 = 3.0;
/// What is counted comes in whole numbers a call: so close to one, and at most so many.
const WHOLE: f64 = 0.03;
const WHOLE_MAX: f64 = 4.0;
/// By so much may readings be off: connections and files that are open for a moment.
const WHOLE_READING: f64 = 6.0;
/// A group is called equally often: within this, relative. Fewer calls say nothing.
const EQUALLY: f64 = 0.03;
const GROUP_CALLS_MIN: f64 = 100.0;
const GROUP_MAX: usize = 8;

/// Growth in some time, and the calls in it and in the same time before.
pub(super) struct Row {
    pub(super) growth: f64,
    pub(super) seconds: f64,
    /// It begins where the row before it ends.
    pub(super) follows: bool,
    pub(super) calls: BTreeMap<u32, Calls>,
    pub(super) before: BTreeMap<u32, Calls>,
}

/// Calls of one endpoint: how many ended, and how many more were under way at the end than at the
/// beginning.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Calls {
    pub(super) ended: f64,
    pub(super) more_under_way: f64,
}

impl Calls {
    /// Those that got to this part of their way.
    fn reached(self, part: f64) -> f64 {
        self.ended + (1.0 - part) * self.more_under_way
    }
}

/// The endpoints that explain it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Blamed {
    pub(super) endpoint: u32,
    /// It stands out: there are no others, or it does far more work than they do.
    pub(super) alone: bool,
    /// Those that are called together with it, and explain it about as well.
    pub(super) others: Vec<u32>,
    /// Growth by one call.
    pub(super) per_call: f64,
    /// Share of all growth that its calls account for.
    pub(super) share: f64,
}

/// What calls have to do with it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Blame {
    /// They explain it.
    Calls(Blamed),
    /// They may: those that are called equally often, and growth by a call of one.
    Group { endpoints: Vec<u32>, per_call: f64 },
}

/// One explanation.
#[derive(Clone, Copy, Debug)]
struct Explanation {
    error: f64,
    factor: f64,
    total: f64,
}

impl Explanation {
    /// The best of the fits by how much of a reading's error is over with the next one.
    fn of(rows: &[Row], held: &[f64], amount: impl Fn(usize) -> f64) -> Explanation {
        let fits = ERRORS_OVER.map(|over| Explanation::fit(rows, held, &amount, over));
        let best = fits.into_iter().min_by(|a, b| a.error.total_cmp(&b.error));
        best.unwrap_or(Explanation {
            error: f64::INFINITY,
            factor: 0.0,
            total: 0.0,
        })
    }

    /// What a reading has too much, by `over` of it the growth to the next has too little: both sides are
    /// summed up accordingly, as long as rows follow one another.
    fn fit(rows: &[Row], held: &[f64], amount: impl Fn(usize) -> f64, over: f64) -> Explanation {
        let (mut xx, mut xy, mut xz, mut zz, mut zy) = (0.0, 0.0, 0.0, 0.0, 0.0);
        let (mut x, mut y, mut z, mut total, mut growth) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (place, row) in rows.iter().enumerate() {
            let kept = if row.follows { over } else { 0.0 };
            let amount = amount(place);
            x = amount + kept * x;
            y = row.growth + kept * y;
            z = held[place] + kept * z;
            (xx, xy, xz) = (xx + x * x, xy + x * y, xz + x * z);
            (zz, zy) = (zz + z * z, zy + z * y);
            total += amount;
            growth += y * y;
        }
        let apart = xx * zz - xz * xz;
        let alone = (if xx > 0.0 { xy / xx } else { 0.0 }, 0.0);
        let both = ((xy * zz - zy * xz) / apart, (zy * xx - xy * xz) / apart);
        let is_both = apart > 1e-6 * xx * zz && both.0 >= 0.0 && both.1 > 0.0;
        let (factor, each) = if is_both { both } else { alone };
        let factor = f64::max(factor, 0.0);
        let products = xy
            + if factor > 0.0 {
                each * zy / factor
            } else {
                0.0
            };
        // Rounding must not decide between two explanations that are both exact.
        let rounding = rows.iter().map(|row| row.growth * row.growth).sum::<f64>() * 1e-6;
        Explanation {
            error: (growth - factor * products).max(0.0) + rounding + f64::MIN_POSITIVE,
            factor,
            total,
        }
    }

    /// Share of all growth that it accounts for.
    fn share(&self, growth: f64) -> f64 {
        self.factor * self.total / growth.max(f64::MIN_POSITIVE)
    }

    fn likelihood(&self, rows: usize) -> f64 {
        -(rows as f64) / 2.0 * self.error.ln()
    }
}

/// `counted`: it comes in whole numbers. `work`: how much a call of an endpoint does, to choose among
/// those that are as likely.
pub(super) fn blame(rows: &[Row], counted: bool, work: impl Fn(u32) -> f64) -> Option<Blame> {
    if rows.len() < ROWS_MIN {
        return None;
    }
    let growth: f64 = rows.iter().map(|row| row.growth).sum();
    let held = held(rows);
    let time = Explanation::of(rows, &held, |place| rows[place].seconds).likelihood(rows.len());
    let likely = likely(
        rows,
        &held,
        growth,
        if counted { &LAGS_COUNTED } else { &LAGS },
    );
    if likely.first()?.likelihood < time - ROUNDING {
        return None;
    }
    explaining(growth, time, &likely, work)
        .map(Blame::Calls)
        .or_else(|| group(rows, growth, &likely, counted))
}

/// What calls hold only while they are under way (a connection, a file, a buffer) is no growth that stays:
/// of the endpoint where it shows most, how many more are under way, row by row.
fn held(rows: &[Row]) -> Vec<f64> {
    let growth: Vec<f64> = rows.iter().map(|row| row.growth).collect();
    let mut endpoints: Vec<u32> = rows.iter().flat_map(|r| r.calls.keys().copied()).collect();
    endpoints.sort_unstable();
    endpoints.dedup();
    let columns = endpoints.iter().map(|endpoint| -> Vec<f64> {
        let more = |row: &Row| row.calls.get(endpoint).map_or(0.0, |c| c.more_under_way);
        rows.iter().map(more).collect()
    });
    columns
        .map(|column| (correlation(&column, &growth), column))
        .filter(|(together, _)| *together > HELD_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(|| vec![0.0; rows.len()], |(_, column)| column)
}

/// An endpoint as the explanation, and its likelihood.
struct Suspect {
    endpoint: u32,
    likelihood: f64,
    explanation: Explanation,
}

/// Endpoints that explain all growth about as well as the best, which is first.
fn likely(rows: &[Row], held: &[f64], growth: f64, lags: &[f64]) -> Vec<Suspect> {
    let mut endpoints: Vec<u32> = rows.iter().flat_map(|r| r.calls.keys().copied()).collect();
    endpoints.sort_unstable();
    endpoints.dedup();
    let of = |calls: &BTreeMap<u32, Calls>, endpoint: u32| {
        calls.get(&endpoint).copied().unwrap_or_default()
    };
    let mut found: Vec<Suspect> = endpoints
        .into_iter()
        .filter_map(|endpoint| {
            let calls: Vec<(Calls, Calls)> = rows
                .iter()
                .map(|row| (of(&row.calls, endpoint), of(&row.before, endpoint)))
                .collect();
            let lagging = |lag: f64, part: f64| {
                Explanation::of(rows, held, |place| {
                    let (now, before) = calls[place];
                    (1.0 - lag) * now.reached(part) + lag * before.reached(part)
                })
            };
            // What is read at once may be taken at any part of a call's way.
            let at_once = PARTS.map(|part| lagging(0.0, part));
            let explanation = lags
                .iter()
                .map(|lag| lagging(*lag, 1.0))
                .chain(at_once)
                .min_by(|a, b| a.error.total_cmp(&b.error))?;
            Some(Suspect {
                endpoint,
                likelihood: explanation.likelihood(rows.len()),
                explanation,
            })
        })
        .collect();
    found.sort_by(|a, b| b.likelihood.total_cmp(&a.likelihood));
    let best = found.first().map_or(0.0, |suspect| suspect.likelihood);
    found.retain(|suspect| {
        best - suspect.likelihood <= MARGIN
            && (SHARE.0..=SHARE.1).contains(&suspect.explanation.share(growth))
    });
    found
}

/// Those that do so far better than time does, when they are few.
fn explaining(
    growth: f64,
    time: f64,
    likely: &[Suspect],
    work: impl Fn(u32) -> f64,
) -> Option<Blamed> {
    // Those that are as likely as the best are suspects, whether or not they too are clear of time.
    if likely.first()?.likelihood - time < MARGIN || likely.len() > SUSPECTS_MAX {
        return None;
    }
    let first = likely
        .iter()
        .rev()
        .max_by(|a, b| work(a.endpoint).total_cmp(&work(b.endpoint)))?;
    let others = likely.iter().filter(|s| s.endpoint != first.endpoint);
    let most = others.map(|s| work(s.endpoint)).fold(0.0, f64::max);
    Some(Blamed {
        endpoint: first.endpoint,
        alone: likely.len() == 1 || (most > 0.0 && work(first.endpoint) >= FAR_MORE * most),
        others: likely
            .iter()
            .map(|suspect| suspect.endpoint)
            .filter(|endpoint| *endpoint != first.endpoint)
            .collect(),
        per_call: first.explanation.factor,
        share: first.explanation.share(growth),
    })
}

/// The largest group of likely endpoints that are called equally often: of what is counted, with a whole
/// number a call.
fn group(rows: &[Row], growth: f64, likely: &[Suspect], counted: bool) -> Option<Blame> {
    let total = |endpoint: u32| -> f64 {
        let calls = rows.iter().filter_map(|row| row.calls.get(&endpoint));
        calls.map(|calls| calls.ended).sum()
    };
    let whole = |calls: f64| {
        let nearest = (growth / calls).round();
        let off = (growth - nearest * calls).abs();
        (1.0..=WHOLE_MAX).contains(&nearest) && off <= WHOLE * growth + WHOLE_READING
    };
    let candidates: Vec<(u32, f64)> = likely
        .iter()
        .map(|suspect| (suspect.endpoint, total(suspect.endpoint)))
        .filter(|(_, calls)| *calls >= GROUP_CALLS_MIN && (!counted || whole(*calls)))
        .collect();
    let like = |of: f64| -> Vec<u32> {
        let near = |calls: f64| (calls / of - 1.0).abs() <= EQUALLY;
        let members = candidates.iter().filter(|(_, calls)| near(*calls));
        members.map(|(endpoint, _)| *endpoint).collect()
    };
    let (mut endpoints, calls) = candidates
        .iter()
        .map(|(_, calls)| (like(*calls), *calls))
        .max_by_key(|(endpoints, _)| endpoints.len())?;
    // Most of those that are likely are in it; nearly all where no whole number speaks for it.
    let most = if counted { 0.5 } else { 0.75 };
    let few = (endpoints.len() as f64) < most * likely.len() as f64;
    if growth <= 0.0 || endpoints.len() > GROUP_MAX || few {
        return None;
    }
    endpoints.sort_unstable();
    Some(Blame::Group {
        endpoints,
        per_call: growth / calls,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(ended: f64) -> Calls {
        Calls {
            ended,
            more_under_way: 0.0,
        }
    }

    fn rows(growth: impl Fn(f64, f64) -> f64, b: impl Fn(u32) -> f64) -> Vec<Row> {
        let calls = |n: u32| BTreeMap::from([(1, ended(f64::from(n * 7 % 11))), (2, ended(b(n)))]);
        (1..31)
            .map(|n| Row {
                growth: growth(f64::from(n * 7 % 11), b(n)) + f64::from(n * 5 % 3) - 1.0,
                seconds: 1.0,
                follows: n > 1,
                calls: calls(n),
                before: calls(n - 1),
            })
            .collect()
    }

    fn blamed(rows: &[Row], work: impl Fn(u32) -> f64) -> Blamed {
        match blame(rows, false, work) {
            Some(Blame::Calls(blamed)) => blamed,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_one_that_explains_it_is_named_with_its_amount() {
        let found = blamed(&rows(|a, _| 64.0 * a, |n| f64::from(n * 5 % 13)), |_| 1.0);
        assert_eq!((found.endpoint, found.others.len()), (1, 0));
        assert!((found.per_call - 64.0).abs() < 1.0, "{found:?}");
    }

    #[test]
    fn what_is_always_called_together_is_named_together() {
        let together = rows(|a, _| 64.0 * a, |n| f64::from(n * 7 % 11));
        let found = blamed(&together, f64::from);
        assert_eq!(
            (found.endpoint, &found.others[..]),
            (2, &[1][..]),
            "2 does more"
        );
    }

    #[test]
    fn what_grows_with_time_is_nobodys() {
        let steadily = rows(|_, _| 64.0, |n| f64::from(n * 5 % 13));
        assert_eq!(blame(&steadily, false, |_| 1.0), None);
    }

    #[test]
    fn what_is_called_evenly_is_named_as_a_group_by_its_whole_number() {
        let evenly: Vec<Row> = (0..30)
            .map(|n| {
                let calls = BTreeMap::from([
                    (1, ended(12.0)),
                    (2, ended(12.0)),
                    (3, ended(5.0 + f64::from(n % 2))),
                ]);
                Row {
                    growth: f64::from(11 + n % 3),
                    seconds: 1.0,
                    follows: n > 0,
                    before: calls.clone(),
                    calls,
                }
            })
            .collect();
        let group = Blame::Group {
            endpoints: vec![1, 2],
            per_call: 1.0,
        };
        assert_eq!(blame(&evenly, true, |_| 1.0), Some(group));
    }
}
