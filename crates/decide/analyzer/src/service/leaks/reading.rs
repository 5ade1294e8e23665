//! What one instance held from time to time, beside the calls that it answered.

use cohort_model::At;

/// A part of the time in which about as many threads ran counts from so many readings on.
const PART_MIN: usize = 5;
/// Readings after a change of the number of threads that are still settling.
const SETTLING: usize = 2;

/// What was held at one time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) at: At,
    pub(super) value: f64,
    /// The same, with all that threads hold.
    pub(super) whole: f64,
    /// Calls since the reading before; of steady ones, since the first.
    pub(super) calls: f64,
    /// Scenario threads then.
    pub(super) threads: f64,
}

/// All parts of the time in which about as many threads ran, put together so that there is no step
/// between them: what is held for a thread that comes, and freed when it leaves, is left out, and what
/// goes on growing is not lost from sight whenever threads are handed over. The latest is as it is.
pub(super) fn steady(readings: &[Reading]) -> Vec<Reading> {
    let (mut kept, mut calls, mut step): (Vec<Reading>, f64, f64) = (Vec::new(), 0.0, 0.0);
    for part in parts(readings) {
        if let Some(last) = kept.last() {
            step = last.value - part[0].value;
        }
        for (place, reading) in part.iter().enumerate() {
            calls += if place == 0 { 0.0 } else { reading.calls };
            kept.push(Reading {
                value: reading.value + step,
                calls,
                ..*reading
            });
        }
    }
    for reading in &mut kept {
        reading.value -= step;
    }
    kept
}

/// Those in which about as many threads ran as at their beginning.
fn parts(readings: &[Reading]) -> Vec<&[Reading]> {
    let mut parts = Vec::new();
    let mut begin = 0;
    while begin < readings.len() {
        let rest = &readings[begin..];
        let near = (0.15 * rest[0].threads).max(1.01);
        let changed = |reading: &Reading| (reading.threads - rest[0].threads).abs() > near;
        let length = rest.iter().position(changed).unwrap_or(rest.len());
        if length >= PART_MIN {
            parts.push(&rest[..length]);
        }
        begin += length + SETTLING;
    }
    parts
}

pub(super) fn mean(part: &[Reading]) -> f64 {
    part.iter().map(|reading| reading.value).sum::<f64>() / part.len().max(1) as f64
}

/// From the first to the last.
pub(super) fn seconds(readings: &[Reading]) -> f64 {
    match readings {
        [first, .., last] => last.at.since(first.at) as f64 / 1e6,
        _ => 0.0,
    }
}

/// The same, with the window or span of the first.
pub(super) fn lasted_s(readings: &[Reading]) -> f64 {
    let n = readings.len().max(2) as f64;
    seconds(readings) * n / (n - 1.0)
}

/// Whether calls come more slowly in the later half.
pub(super) fn calls_get_fewer(series: &[Reading]) -> bool {
    let rate = |from: &Reading, to: &Reading| {
        (to.calls - from.calls) / (to.at.since(from.at) as f64).max(1.0)
    };
    let (Some(first), Some(last)) = (series.first(), series.last()) else {
        return false;
    };
    let middle = &series[series.len() / 2];
    rate(middle, last) < rate(first, middle)
}

/// The same readings at equal numbers of calls from each to the next; none where there were none.
pub(super) fn by_calls(series: &[Reading]) -> Option<Vec<f64>> {
    let (first, last) = (series.first()?, series.last()?);
    if last.calls <= first.calls {
        return None;
    }
    let step = (last.calls - first.calls) / (series.len() - 1) as f64;
    let mut after = 1;
    let values = (0..series.len()).map(|place| {
        let wanted = first.calls + step * place as f64;
        while after < series.len() - 1 && series[after].calls < wanted {
            after += 1;
        }
        let (before, next) = (&series[after - 1], &series[after]);
        let part = (wanted - before.calls) / (next.calls - before.calls).max(1e-9);
        before.value + part.clamp(0.0, 1.0) * (next.value - before.value)
    });
    Some(values.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(held: impl Fn(f64, f64) -> f64) -> Vec<Reading> {
        (0..60u32)
            .map(|t| {
                let threads = [9.0, 4.0, 13.0][(t / 20) as usize];
                let value = held(f64::from(t), threads);
                Reading {
                    at: At(u64::from(t) * 1_000_000),
                    value,
                    whole: value,
                    calls: threads,
                    threads,
                }
            })
            .collect()
    }

    #[test]
    fn what_threads_hold_is_left_out_and_what_grows_goes_on() {
        let steady_at = |held: fn(f64, f64) -> f64| -> Vec<f64> {
            steady(&readings(held)).iter().map(|r| r.value).collect()
        };
        let of_threads = steady_at(|_, threads| 100.0 * threads);
        assert!(
            of_threads
                .iter()
                .all(|value| (value - 1_300.0).abs() < 1e-9)
        );
        let grows = steady_at(|t, threads| 100.0 * threads + t);
        assert_eq!(grows.last(), Some(&1_359.0));
        // Two changes, and with each three steps from one reading to the next.
        assert!(
            (grows[0] - (1_359.0 - 59.0 + 6.0)).abs() < 1e-9,
            "{grows:?}"
        );
    }

    #[test]
    fn a_ramp_is_no_steady_time() {
        let mut ramp = readings(|_, _| 0.0);
        for (t, reading) in ramp.iter_mut().enumerate() {
            reading.threads = t as f64;
        }
        assert!(steady(&ramp[..12]).is_empty());
    }
}
