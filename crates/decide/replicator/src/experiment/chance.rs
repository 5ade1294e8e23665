//! Chance that can be replayed: the same seed, the same draws.

/// A source of random numbers (xoshiro256++, Blackman and Vigna 2019, seeded by splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Chance([u64; 4]);

impl Chance {
    /// One whose draws follow from `seed` and, so that cases do not share draws, `stream`.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut state = seed ^ stream.wrapping_mul(0xD1B5_4A32_D192_ED03);
        Self(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        }))
    }

    /// Any number.
    pub(crate) fn number(&mut self) -> u64 {
        let state = &mut self.0;
        let drawn = state[0]
            .wrapping_add(state[3])
            .rotate_left(23)
            .wrapping_add(state[0]);
        let moved = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= moved;
        state[3] = state[3].rotate_left(45);
        drawn
    }

    /// Above 0 and below 1, uniform.
    pub(crate) fn share(&mut self) -> f64 {
        ((self.number() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Whether something of this probability happens.
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        self.share() < probability
    }

    /// Any order of these.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = (self.number() % (last as u64 + 1)) as usize;
            items.swap(last, other);
        }
    }

    /// A small seed for a condition: easy to read and to type.
    pub(crate) fn seed(&mut self) -> u64 {
        self.number() >> 44
    }

    /// From a beta distribution with both parameters above 0, by two gamma draws.
    pub(crate) fn beta(&mut self, a: f64, b: f64) -> f64 {
        let one = self.gamma(a);
        let other = self.gamma(b);
        if one + other > 0.0 {
            one / (one + other)
        } else {
            a / (a + b)
        }
    }

    /// From a gamma distribution of scale 1 (Marsaglia and Tsang 2000; below shape 1 by their power
    /// of a uniform number).
    fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let raised = self.gamma(shape + 1.0);
            return raised * self.share().powf(1.0 / shape);
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.share().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// From the standard normal distribution (Box and Muller 1958).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.share().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.share()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::Chance;

    #[test]
    fn the_same_seed_gives_the_same_draws() {
        let mut one = Chance::new(7, 1);
        let mut other = Chance::new(7, 1);
        let mut apart = Chance::new(7, 2);
        let drawn: Vec<u64> = (0..8).map(|_| one.number()).collect();
        assert_eq!(drawn, (0..8).map(|_| other.number()).collect::<Vec<_>>());
        assert_ne!(drawn, (0..8).map(|_| apart.number()).collect::<Vec<_>>());
    }

    #[test]
    fn beta_draws_have_the_mean_and_the_spread_of_the_distribution() {
        let mut chance = Chance::new(3, 0);
        for (a, b) in [(0.3, 4.0), (2.0, 5.0), (20.0, 3.0)] {
            let draws: Vec<f64> = (0..20_000).map(|_| chance.beta(a, b)).collect();
            let mean = draws.iter().sum::<f64>() / draws.len() as f64;
            let variance =
                draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64;
            let expected = a * b / ((a + b) * (a + b) * (a + b + 1.0));
            assert!((mean - a / (a + b)).abs() < 0.01, "mean {mean} of {a}, {b}");
            assert!(
                (variance - expected).abs() < 0.1 * expected,
                "variance {variance} of {a}, {b}"
            );
        }
    }
}
