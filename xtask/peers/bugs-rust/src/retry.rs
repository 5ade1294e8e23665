//! When something is tried again.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

/// How long it is waited before each attempt but the first: twice as long each time, and up to half as
/// long again, so that not all come at once.
pub fn pauses(first: Duration, attempts: u32) -> Vec<Duration> {
    (0..attempts)
        .map(|attempt| {
            let pause = first * 2_u32.pow(attempt);
            pause + pause.mul_f64(share() / 2.0)
        })
        .collect()
}

/// Anything from 0 to 1.
fn share() -> f64 {
    let number = RandomState::new().hash_one("pause");
    (number >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow() {
        let pauses = pauses(Duration::from_millis(10), 5);
        assert!(pauses.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn all_attempts_fit_into_the_deadline() {
        let all: Duration = pauses(Duration::from_millis(10), 5).iter().sum();
        assert!(all <= Duration::from_millis(445), "it takes {all:?}");
    }
}
