//! At most so many requests a second over all threads (k6: `rps`). Turns are evenly spaced and are not
//! saved up: who comes after a pause is let go at once, and the next one a whole space later.

use std::cell::Cell;

use cohort_model::At;

/// The part of this agent: each of so many agents sends an equal share.
#[derive(Debug)]
pub(crate) struct Pace {
    space_ns: u64,
    next_ns: Cell<u64>,
}

impl Pace {
    pub(crate) fn new(requests_per_s: u64, agents: u32) -> Pace {
        let all_ns = 1_000_000_000 * u64::from(agents.max(1));
        let space_ns = all_ns.div_ceil(requests_per_s.max(1));
        Pace {
            space_ns,
            next_ns: Cell::new(0),
        }
    }

    /// When the next request may be sent; nobody else is given this turn.
    pub(crate) fn take(&self, now: At) -> At {
        let turn_ns = self.next_ns.get().max(now.0.saturating_mul(1_000));
        self.next_ns.set(turn_ns + self.space_ns);
        At(turn_ns.div_ceil(1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_evenly_spaced_and_not_saved_up() {
        let pace = Pace::new(1_500, 1);
        let turns: Vec<u64> = (0..1_501).map(|_| pace.take(At(7)).0).collect();
        assert_eq!((turns[0], turns[1], turns[1_500]), (7, 674, 1_000_008));
        assert_eq!(pace.take(At(9_000_000)), At(9_000_000));
        assert_eq!(pace.take(At(9_000_000)), At(9_000_667));
        // Two agents share what is allowed.
        let half = Pace::new(10, 2);
        assert_eq!((half.take(At(0)), half.take(At(0))), (At(0), At(200_000)));
    }
}
