//! The memory of one instance since its series began, in bounded room: means of equally long
//! spans of time, which are joined two by two whenever there would be too many.

use cohort_model::At;

/// Spans kept.
const SPANS_MAX: usize = 96;
/// Length of the first spans, microseconds.
const SPAN_US_FIRST: u64 = 100_000;

/// A series of memory readings over any time.
#[derive(Clone, Debug)]
pub(crate) struct Growth {
    means: Vec<f64>,
    span_us: u64,
    began: Option<At>,
    latest: At,
    /// The span that is being filled: sum and count.
    sum: f64,
    count: f64,
    span_ends: At,
}

impl Growth {
    pub(crate) fn new() -> Growth {
        Growth {
            means: Vec::new(),
            span_us: SPAN_US_FIRST,
            began: None,
            latest: At(0),
            sum: 0.0,
            count: 0.0,
            span_ends: At(0),
        }
    }

    /// Starts anew.
    pub(crate) fn restart(&mut self) {
        self.means.clear();
        self.span_us = SPAN_US_FIRST;
        self.began = None;
        self.sum = 0.0;
        self.count = 0.0;
    }

    /// Adds a reading. O(1), but for joining now and then.
    pub(crate) fn push(&mut self, at: At, bytes: u64) {
        if self.began.is_none() {
            self.began = Some(at);
            self.span_ends = At(at.0.saturating_add(self.span_us));
        }
        if at >= self.span_ends && self.count > 0.0 {
            self.means.push(self.sum / self.count);
            self.sum = 0.0;
            self.count = 0.0;
            if self.means.len() == SPANS_MAX {
                self.means = self
                    .means
                    .chunks(2)
                    .map(|pair| f64::midpoint(pair[0], pair[1]))
                    .collect();
                self.span_us = self.span_us.saturating_mul(2);
            }
            self.span_ends = At(at.0.saturating_add(self.span_us));
        }
        self.sum += bytes as f64;
        self.count += 1.0;
        self.latest = at;
    }

    /// Seconds since the series began.
    pub(crate) fn seconds(&self) -> f64 {
        self.began
            .map_or(0.0, |began| self.latest.since(began) as f64 / 1e6)
    }

    /// The series without its first tenth, which is warm-up, and the mean seconds from one value
    /// to the next (readings may have been lost between).
    pub(crate) fn settled(&self) -> (&[f64], f64) {
        let step_s = self.seconds() / self.means.len().max(1) as f64;
        (&self.means[self.means.len() / 10..], step_s)
    }

    /// Mean of the last quarter less that of the first, and the latter, bytes: a cheap first look.
    pub(crate) fn rise(&self) -> (f64, f64) {
        let (values, _) = self.settled();
        let quarter = (values.len() / 4).max(1).min(values.len());
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len().max(1) as f64;
        let first = mean(&values[..quarter]);
        (mean(&values[values.len() - quarter..]) - first, first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_length_stays_bounded_and_keeps_its_line() {
        let mut growth = Growth::new();
        for n in 0..100_000u64 {
            growth.push(At(n * 100_000), n * 1000);
        }
        let (values, step_s) = growth.settled();
        assert!((40..SPANS_MAX).contains(&values.len()), "{}", values.len());
        let slope = (values[values.len() - 1] - values[0]) / (values.len() - 1) as f64 / step_s;
        assert!((slope / 10_000.0 - 1.0).abs() < 0.1, "{slope} bytes/s");
        assert!((growth.seconds() - 9999.9).abs() < 0.1);
        let (rise, first) = growth.rise();
        assert!(rise > first, "{rise} {first}");
    }

    #[test]
    fn restart_forgets() {
        let mut growth = Growth::new();
        growth.push(At(0), 5);
        growth.push(At(1_000_000), 5);
        growth.restart();
        assert!(growth.seconds().abs() < 1e-12 && growth.settled().0.is_empty());
    }
}
