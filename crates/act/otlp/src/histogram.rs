//! Latencies of one operation in one window: sixteen buckets to each power of two.

/// Buckets to a power of two, and the values that have a bucket each.
const STEPS: u64 = 16;
const STEPS_LOG2: u32 = STEPS.ilog2();
/// Above 2^36 us (19 hours) all is one.
const BUCKETS: usize = ((36 - STEPS_LOG2 as usize) + 1) * STEPS as usize;

/// Counts by size, in 2 KiB at most: only as many buckets are held as the largest value needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    buckets: Vec<u32>,
    count: u64,
    total: u64,
    max: u64,
}

impl Histogram {
    pub(crate) fn record(&mut self, value: u64) {
        let bucket = bucket(value);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] = self.buckets[bucket].saturating_add(1);
        self.count += 1;
        self.total = self.total.saturating_add(value);
        self.max = self.max.max(value);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    /// The value that `part` (0 to 1) of all do not exceed, at most 1/16 above it.
    pub(crate) fn quantile(&self, part: f64) -> u64 {
        let wanted = (self.count as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, &count) in self.buckets.iter().enumerate() {
            seen += u64::from(count);
            if seen >= wanted {
                return highest(bucket).min(self.max);
            }
        }
        self.max
    }
}

fn bucket(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let shift = value.ilog2() - STEPS_LOG2;
    let bucket = u64::from(shift) * STEPS + (value >> shift);
    (bucket as usize).min(BUCKETS - 1)
}

/// The largest value of a bucket.
fn highest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    ((bucket % STEPS + STEPS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_bucket_ends_where_the_next_begins() {
        for at in 0..BUCKETS - 1 {
            assert_eq!(bucket(highest(at)), at);
            assert_eq!(bucket(highest(at) + 1), at + 1);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    proptest! {
        #[test]
        fn a_quantile_is_at_most_a_sixteenth_too_large(
            mut values in prop::collection::vec(0_u64..1 << 35, 1..200), part in 0.0_f64..1.0
        ) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|value| histogram.record(*value));
            values.sort_unstable();
            let place = ((values.len() as f64 * part).ceil().max(1.0) as usize) - 1;
            let (exact, got) = (values[place], histogram.quantile(part));
            prop_assert!(got >= exact && got <= exact + exact / 16 + 1, "{exact} {got}");
            prop_assert_eq!(histogram.count(), values.len() as u64);
            prop_assert_eq!(histogram.total(), values.iter().sum::<u64>());
            prop_assert_eq!(histogram.max(), values[values.len() - 1]);
        }
    }
}
