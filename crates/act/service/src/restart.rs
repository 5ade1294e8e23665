//! When a server that crashed is started again. Pure.
//!
//! ```text
//! crash --ready for long--> counted from one again --pause--> started
//!   |---quick, fewer than allowed in a row--------longer pause--> started
//!   `---quick, once too often--> given up
//! ```

use std::time::Duration;

use crate::spec::Restart;

/// Crashes of one instance so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crashes {
    rules: Restart,
    in_a_row: u32,
    total: u32,
}

/// What to do after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    StartAfter(Duration),
    GiveUp,
}

impl Crashes {
    pub(crate) fn new(rules: Restart) -> Self {
        Self {
            rules,
            in_a_row: 0,
            total: 0,
        }
    }

    /// It crashed, having been ready for so long; none: it never was.
    pub(crate) fn crashed(&mut self, ready_for: Option<Duration>) -> Next {
        self.total = self.total.saturating_add(1);
        if ready_for.is_some_and(|time| time > self.rules.quick) {
            self.in_a_row = 0;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.in_a_row >= self.rules.quick_crashes_max {
            return Next::GiveUp;
        }
        let doubled = 2_u32.saturating_pow(self.in_a_row - 1);
        let pause = self.rules.pause.saturating_mul(doubled);
        Next::StartAfter(pause.min(self.rules.pause_max))
    }

    /// It is started on purpose: what was before is forgiven.
    pub(crate) fn forgive(&mut self) {
        self.in_a_row = 0;
    }

    pub(crate) fn in_a_row(&self) -> u32 {
        self.in_a_row
    }

    pub(crate) fn total(&self) -> u32 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn crashes() -> Crashes {
        Crashes::new(Restart {
            quick_crashes_max: 4,
            quick: 1000 * MS,
            pause: 100 * MS,
            pause_max: 300 * MS,
        })
    }

    #[test]
    fn quick_crashes_in_a_row_are_given_up() {
        let mut crashes = crashes();
        let next: Vec<Next> = [None, Some(MS), None, Some(10 * MS)]
            .map(|ready_for| crashes.crashed(ready_for))
            .into();
        assert_eq!(
            next,
            [
                Next::StartAfter(100 * MS),
                Next::StartAfter(200 * MS),
                Next::StartAfter(300 * MS),
                Next::GiveUp
            ]
        );
        crashes.forgive();
        assert_eq!(crashes.crashed(None), Next::StartAfter(100 * MS));
    }

    #[test]
    fn one_that_worked_between_is_never_given_up() {
        let mut crashes = crashes();
        for _ in 0..100 {
            assert_eq!(
                crashes.crashed(Some(60_000 * MS)),
                Next::StartAfter(100 * MS)
            );
        }
        assert_eq!(crashes.total(), 100);
    }
}
