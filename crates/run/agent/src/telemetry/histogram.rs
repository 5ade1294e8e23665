//! An HDR histogram with what it loses: exact sum, smallest and largest.

use hdrhistogram::Histogram as Hdr;

use crate::protocol::Histogram;

/// Values in thousandths of a unit, counted. Emptied whenever it is taken.
#[derive(Debug)]
pub(crate) struct Counted {
    positive: Hdr<u32>,
    /// Made when the first negative value comes.
    negative: Option<Hdr<u32>>,
    digits: u8,
    sum: f64,
    min: f64,
    max: f64,
}

/// Values beyond this are counted as this; 2^50 thousandths, 36 years in milliseconds.
const VALUE_MAX: f64 = (1_u64 << 50) as f64;

impl Counted {
    /// Exact to so many decimal digits.
    pub(crate) fn new(digits: u8) -> Counted {
        Counted {
            positive: empty(digits),
            negative: None,
            digits,
            sum: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }

    /// A value in thousandths. What is no number is left out.
    pub(crate) fn record(&mut self, thousandths: f64) {
        if thousandths.is_nan() {
            return;
        }
        let value = thousandths.clamp(-VALUE_MAX, VALUE_MAX);
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        let rounded = value.abs().round() as u64;
        let side = if value < 0.0 {
            self.negative.get_or_insert_with(|| empty(self.digits))
        } else {
            &mut self.positive
        };
        // It makes room for what is larger than all before; the bound above is within its range.
        let _ = side.record(rounded);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.min > self.max
    }

    /// What was counted since the last time.
    pub(crate) fn take(&mut self) -> Histogram {
        if self.is_empty() {
            return Histogram::default();
        }
        let mut buckets = Vec::new();
        if let Some(negative) = &mut self.negative {
            for step in negative.iter_recorded() {
                let value = negative.median_equivalent(step.value_iterated_to());
                buckets.push((-(value as i64), u64::from(step.count_at_value())));
            }
            buckets.reverse();
            negative.reset();
        }
        for step in self.positive.iter_recorded() {
            let value = self.positive.median_equivalent(step.value_iterated_to());
            buckets.push((value as i64, u64::from(step.count_at_value())));
        }
        self.positive.reset();
        let taken = Histogram {
            count: buckets.iter().map(|(_, count)| count).sum(),
            sum: self.sum,
            min: self.min,
            max: self.max,
            buckets,
        };
        (self.sum, self.min, self.max) = (0.0, f64::INFINITY, f64::NEG_INFINITY);
        taken
    }
}

fn empty(digits: u8) -> Hdr<u32> {
    match Hdr::new(digits) {
        Ok(empty) => empty,
        Err(_) => unreachable!("1 to 5 digits are allowed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_the_digits_and_the_rest_is_exact() {
        let mut counted = Counted::new(3);
        for value in 1..=10_000 {
            counted.record(f64::from(value));
        }
        let taken = counted.take();
        assert_eq!((taken.count, taken.min, taken.max), (10_000, 1.0, 10_000.0));
        assert_eq!(taken.sum, 50_005_000.0);
        let p99 = taken.quantile(0.99).unwrap();
        assert!((p99 - 9_900.0).abs() <= 10.0, "{p99}");
        assert_eq!(counted.take(), Histogram::default());
    }

    #[test]
    fn negative_and_strange_values_are_kept_in_order() {
        let mut counted = Counted::new(3);
        for value in [5.0, -2_000.0, f64::NAN, -10.0, f64::INFINITY] {
            counted.record(value);
        }
        let taken = counted.take();
        assert_eq!(taken.count, 4);
        assert_eq!(taken.min, -2_000.0);
        assert!(taken.buckets.windows(2).all(|two| two[0].0 < two[1].0));
    }
}
