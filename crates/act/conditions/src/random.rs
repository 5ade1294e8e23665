//! Numbers that follow from a seed: no statistics rest on them, and nothing secret does.

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random(u64);

/// One step of SplitMix64's output function: any two inputs give unrelated outputs.
#[must_use]
pub(crate) fn mixed(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Of two numbers one, so that neither can be seen in it.
#[must_use]
pub(crate) fn joined(a: u64, b: u64) -> u64 {
    mixed(a.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ mixed(b.wrapping_add(0xd1b5_4a32_d192_ed03)))
}

/// Of a number and bytes one (FNV-1a, then mixed).
#[must_use]
pub(crate) fn joined_bytes(a: u64, bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ mixed(a);
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    mixed(hash)
}

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(mixed(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// At least 0, less than 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True in this share of cases.
    pub(crate) fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// Less than `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        let index = usize::try_from(self.below(of.len() as u64)).ok()?;
        of.get(index).copied()
    }

    /// From `low` to `high`, each order of magnitude as likely as another.
    pub(crate) fn across(&mut self, low: f64, high: f64) -> f64 {
        low * (high / low).powf(self.unit())
    }

    /// With this mean, as the times between events that do not know each other.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            for (byte, of_word) in chunk.iter_mut().zip(word) {
                *byte = of_word;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_and_another_gives_others() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            let mut bytes = [0; 33];
            random.fill(&mut bytes);
            bytes
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
        assert_ne!(joined(1, 2), joined(2, 1));
    }

    #[test]
    fn draws_stay_within_their_bounds() {
        let mut random = Random::new(1);
        let mut sum = 0.0;
        for _ in 0..10_000 {
            assert!((50.0..20_000.0).contains(&random.across(50.0, 20_000.0)));
            assert!(random.below(7) < 7);
            sum += random.exponential(2.0);
        }
        assert!((1.8..2.2).contains(&(sum / 10_000.0)), "{sum}");
    }
}
