//! A histogram as it travels: only the buckets that hold something.

use serde::{Deserialize, Serialize};

/// Values with their counts. Values are whole *thousandths* of the metric's unit, so that a latency
/// in milliseconds, which is k6's unit, is in microseconds here. Mergeable: add the counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// How many values.
    pub count: u64,
    /// Their exact sum, thousandths.
    pub sum: f64,
    /// The smallest, exact, thousandths.
    pub min: f64,
    /// The largest, exact, thousandths.
    pub max: f64,
    /// Middle of each bucket of an HDR histogram that is not empty, ascending, and its count.
    pub buckets: Vec<(i64, u64)>,
}

impl Histogram {
    /// Adds the values of another one.
    pub fn merge(&mut self, other: &Histogram) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            self.clone_from(other);
            return;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        let mut merged = Vec::with_capacity(self.buckets.len() + other.buckets.len());
        let mut ours = self.buckets.iter().copied().peekable();
        let mut theirs = other.buckets.iter().copied().peekable();
        loop {
            let next = match (ours.peek(), theirs.peek()) {
                (Some(one), Some(two)) if one.0 == two.0 => {
                    let sum = (one.0, one.1 + two.1);
                    theirs.next();
                    ours.next();
                    sum
                }
                (Some(one), Some(two)) if one.0 > two.0 => {
                    let next = *two;
                    theirs.next();
                    next
                }
                (Some(one), _) => {
                    let next = *one;
                    ours.next();
                    next
                }
                (None, Some(two)) => {
                    let next = *two;
                    theirs.next();
                    next
                }
                (None, None) => break,
            };
            merged.push(next);
        }
        self.buckets = merged;
    }

    /// The value below which `share` (0 to 1) of the values lie, thousandths; `None` when empty.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let rank = (share.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (value, count) in &self.buckets {
            seen += count;
            if seen >= rank {
                return Some((*value as f64).clamp(self.min, self.max));
            }
        }
        Some(self.max)
    }

    /// The mean, thousandths; `None` when empty.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[(i64, u64)]) -> Histogram {
        let count = values.iter().map(|(_, count)| count).sum();
        Histogram {
            count,
            sum: values.iter().map(|(v, c)| (*v as f64) * (*c as f64)).sum(),
            min: values.first().map_or(0.0, |v| v.0 as f64),
            max: values.last().map_or(0.0, |v| v.0 as f64),
            buckets: values.to_vec(),
        }
    }

    #[test]
    fn merged_is_as_if_recorded_together() {
        let mut one = of(&[(1, 1), (5, 2), (9, 1)]);
        one.merge(&of(&[(0, 1), (5, 1), (20, 4)]));
        assert_eq!(one, of(&[(0, 1), (1, 1), (5, 3), (9, 1), (20, 4)]));
        let mut empty = Histogram::default();
        empty.merge(&one);
        assert_eq!(empty, one);
        one.merge(&Histogram::default());
        assert_eq!(empty, one);
    }

    #[test]
    fn quantiles_are_values_that_occurred() {
        let all = of(&[(10, 50), (20, 49), (300, 1)]);
        assert_eq!(all.quantile(0.5), Some(10.0));
        assert_eq!(all.quantile(0.95), Some(20.0));
        assert_eq!(all.quantile(0.99), Some(20.0));
        assert_eq!(all.quantile(1.0), Some(300.0));
        assert_eq!(Histogram::default().quantile(0.5), None);
    }
}
