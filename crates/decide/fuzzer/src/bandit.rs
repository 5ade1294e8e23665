//! Which of several is tried next: Thompson sampling, where what counts as a success is that something new was seen.
//!
//! Beta distributions of whole numbers are drawn as the share of one sum of exponential variables in two (Devroye 1986, IX.4).

use crate::random::Random;

/// Once so many tries are counted, all counts are halved: what was new is so only once.
const COUNTED_MAX: u32 = 24;

/// What came of trying one thing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Arm {
    hits: u32,
    misses: u32,
}

impl Arm {
    pub(crate) fn count(&mut self, hit: bool) {
        match hit {
            true => self.hits += 1,
            false => self.misses += 1,
        }
        if self.hits + self.misses > COUNTED_MAX {
            self.hits /= 2;
            self.misses /= 2;
        }
    }

    fn draw(self, random: &mut Random) -> f64 {
        let mut sum = |count: u32| -> f64 { (0..=count).map(|_| -random.unit().ln()).sum() };
        let (hits, misses) = (sum(self.hits), sum(self.misses));
        hits / (hits + misses).max(f64::MIN_POSITIVE)
    }
}

/// The place of the arm that is tried; none of none.
pub(crate) fn choose(arms: impl Iterator<Item = Arm>, random: &mut Random) -> Option<usize> {
    let drawn: Vec<f64> = arms.map(|arm| arm.draw(random)).collect();
    let best = (0..)
        .zip(drawn)
        .max_by(|(_, one), (_, other)| one.total_cmp(other));
    best.map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_more_is_tried_more() {
        let mut random = Random::new(7);
        let mut arms = [Arm::default(); 3];
        let mut chosen = [0_u32; 3];
        for _ in 0..600 {
            let at = choose(arms.iter().copied(), &mut random).unwrap();
            chosen[at] += 1;
            arms[at].count(at == 1 && random.once_in(3));
        }
        assert!(chosen[1] > chosen[0] + chosen[2], "{chosen:?}");
        assert!(chosen[0] > 10 && chosen[2] > 10, "{chosen:?}");
    }
}
