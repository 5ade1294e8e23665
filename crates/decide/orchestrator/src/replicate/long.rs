//! How long a failing run of a test takes.
//!
//! A test with a time limit of its own says by itself what is wrong, when it is given that time: one that is ended
//! before looks like another failure. One that hangs says nothing, however long it stands still; once that was seen,
//! it is ended soon.

use cohort_model::{ConditionKind, Recipe};

/// One that was seen to stand still is ended when it does nothing for so long, microseconds ...
const STILL_US: u64 = 500_000;
/// ... and where a runner starts first.
const STILL_US_STICKY: u64 = 1_500_000;
/// Or this many times what its test usually takes.
const STILL_TIMES: f64 = 5.0;

/// What is known of the longest failing run of a test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Long {
    /// It ended by itself after so long, microseconds.
    spoke_us: u64,
    /// It was ended, and had done nothing for most of its time.
    still: bool,
}

impl Long {
    /// A run failed after `wall_us`; `still_us`: it had done nothing for so long when it was ended for taking too long.
    pub(super) fn failed(&mut self, wall_us: u64, still_us: Option<u64>) {
        match still_us {
            None => self.spoke_us = self.spoke_us.max(wall_us),
            Some(still_us) => self.still |= 2 * still_us > wall_us,
        }
    }

    /// It has a time limit of its own, or may have one: what it says then tells more than that it stands still.
    pub(super) fn speaks(&self) -> bool {
        self.spoke_us > STILL_US
    }

    /// How long a run may take, and how long it may stand still, microseconds, where that is otherwise `usual` and it
    /// usually takes `wall_us`.
    pub(super) fn limits_us(
        self,
        (limit_us, still_us): (u64, u64),
        wall_us: f64,
        (recipe, sticky): (&Recipe, bool),
    ) -> (u64, u64) {
        let spoken_us = self.spoke_us + self.spoke_us / 2;
        let limits = (limit_us.max(spoken_us), still_us.max(spoken_us));
        if !self.still || self.spoke_us > 0 || recipe.stacks || is_late(recipe) {
            return limits;
        }
        let least = if sticky { STILL_US_STICKY } else { STILL_US };
        let soon = least.max((wall_us * STILL_TIMES) as u64);
        (limits.0, limits.1.min(soon))
    }
}

/// Something in it makes a program wait that does not hang.
fn is_late(recipe: &Recipe) -> bool {
    use ConditionKind::{CpuLimit, DiskDelay, DiskRate, NetworkDelay, NetworkLoss, NetworkRate};
    let late = [
        CpuLimit,
        DiskDelay,
        DiskRate,
        NetworkDelay,
        NetworkRate,
        NetworkLoss,
    ];
    let conditions = recipe.conditions.iter();
    conditions
        .map(|one| one.kind())
        .any(|kind| late.contains(&kind))
}

#[cfg(test)]
mod tests {
    use cohort_model::{Condition, Recipe};

    use super::Long;

    #[test]
    fn what_has_a_limit_of_its_own_is_given_that_time() {
        let mut long = Long::default();
        long.failed(3_000_000, None);
        let plain = Recipe::default();
        let limits = long.limits_us((2_000_000, 2_000_000), 5_000.0, (&plain, false));
        assert_eq!(limits, (4_500_000, 4_500_000));
    }

    #[test]
    fn what_hangs_is_ended_soon_but_not_where_it_may_only_be_late() {
        let mut long = Long::default();
        long.failed(10_000_000, Some(9_990_000));
        let plain = Recipe::default();
        let usual = (2_000_000, 2_000_000);
        assert_eq!(long.limits_us(usual, 5_000.0, (&plain, false)).1, 500_000);
        assert_eq!(
            long.limits_us(usual, 300_000.0, (&plain, true)).1,
            1_500_000
        );
        let late = Recipe {
            conditions: vec![Condition::DiskDelay { us: 10_000 }],
            ..Recipe::default()
        };
        assert_eq!(long.limits_us(usual, 5_000.0, (&late, false)), usual);
        long.failed(10_000_000, Some(1_000));
        long.failed(4_000_000, None);
        assert_eq!(long.limits_us(usual, 5_000.0, (&plain, false)).1, 6_000_000);
    }
}
