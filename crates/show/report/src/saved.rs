//! What adapting saved, as an estimate: the same tests with their measured durations, in the order
//! of the plan, each given to the first free of as many fixed lanes as there are cores (Graham's
//! list scheduling, 1966), against the time the campaign took.
//!
//! Tests that ran crowded took longer than they would have in such a lane, so the time in which they
//! waited for CPU (the kernel's pressure stall information) is taken off first. Where the host does
//! not tell it, nothing is claimed. Locks between tests are left out, which favours the fixed lanes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::view::View;

/// Less than this is noise, and not worth a word.
const WORTH_SAYING: f64 = 0.02;

/// A saving, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    /// Fixed lanes it is compared with.
    pub(crate) lanes: usize,
    /// What they would have taken.
    pub(crate) fixed_us: u64,
    /// From the first start of a test to the last end.
    pub(crate) taken_us: u64,
}

/// The saving, when there is one, it can be told, and it is worth saying.
pub(crate) fn saved(view: &View) -> Option<Saved> {
    let taken_us = view.testing_us()?;
    let lanes = lanes(view)?;
    let walls: Vec<u64> = view
        .results()
        .filter_map(|result| Some(view.deciding_end(result)?.usage.wall_us))
        .collect();
    let total_us: u64 = walls.iter().sum();
    let waited_us = view.cpu_pressure_us();
    if waited_us == 0 && view.concurrency_max > lanes {
        return None;
    }
    let undisturbed = 1.0 - waited_us.min(total_us) as f64 / total_us.max(1) as f64;
    let fixed_us = (schedule_us(&walls, lanes) as f64 * undisturbed) as u64;
    let worth = fixed_us as f64 > taken_us as f64 * (1.0 + WORTH_SAYING);
    worth.then_some(Saved {
        lanes,
        fixed_us,
        taken_us,
    })
}

/// Whole cores of the budget, at least one.
pub(crate) fn lanes(view: &View) -> Option<usize> {
    Some((view.start.as_ref()?.budget.cores as usize).max(1))
}

/// End of the last of `walls_us`, each started in order on the lane that is free first.
fn schedule_us(walls_us: &[u64], lanes: usize) -> u64 {
    let mut free: BinaryHeap<Reverse<u64>> = (0..lanes.max(1)).map(|_| Reverse(0)).collect();
    let mut end_us = 0;
    for wall_us in walls_us {
        let Some(Reverse(start_us)) = free.pop() else {
            break;
        };
        let end = start_us.saturating_add(*wall_us);
        end_us = end_us.max(end);
        free.push(Reverse(end));
    }
    end_us
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn lanes_are_filled_in_order() {
        assert_eq!(schedule_us(&[], 2), 0);
        assert_eq!(schedule_us(&[5, 3, 3, 1], 2), 6);
        assert_eq!(schedule_us(&[1, 1, 1, 6], 2), 7, "the long one last");
        assert_eq!(schedule_us(&[5, 3], 9), 5);
    }

    #[test]
    fn four_waiting_tests_at_once_save_half() {
        let mut scenario = Scenario::new(&["a", "b", "c", "d"]);
        scenario.sleep_all_at_once(10_000_000);
        assert_eq!(
            saved(&scenario.view()),
            None,
            "crowded, and the host does not tell the price"
        );
        scenario.pressure(4_000_000);
        let saved = saved(&scenario.view()).unwrap();
        assert_eq!(
            saved,
            Saved {
                lanes: 2,
                fixed_us: 18_000_000,
                taken_us: 10_000_000
            }
        );
    }

    #[test]
    fn a_fixed_schedule_saves_nothing() {
        let mut scenario = Scenario::new(&["a", "b"]);
        scenario.sleep_all_at_once(10_000_000);
        assert_eq!(saved(&scenario.view()), None);
    }
}
