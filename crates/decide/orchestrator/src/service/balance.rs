//! Every instance that answers gets threads by its weight; those that are kept for a suspicion are
//! left out.

use cohort_model::{At, InstanceId, ThreadId};

use super::state::Place;
use super::{Conductor, ServiceStep};

/// Instances whose numbers of threads differ less than this from what they are to have are even, in
/// threads.
const UNEVEN_MIN: f64 = 2.0;
/// The same, relative.
const UNEVEN_PART: f64 = 0.1;

/// How far an instance is from the number of threads that it is to have.
struct Level {
    id: InstanceId,
    wanted: f64,
    has: f64,
    /// Nothing more may leave it now.
    stuck: bool,
}

impl Level {
    fn over(&self) -> f64 {
        self.has - self.wanted
    }
}

impl Conductor {
    pub(super) fn balance(&mut self, at: At, step: &mut ServiceStep) {
        let mut levels = self.levels(at);
        while let Some((from, to)) = uneven(&levels) {
            let (source, target) = (levels[from].id, levels[to].id);
            let Some(thread) = self.movable(at, source) else {
                levels[from].stuck = true;
                continue;
            };
            let reason = (self.balance_reason(source), None);
            if !self.hand_over_calmly(at, thread, target, reason, step) {
                return;
            }
            levels[from].has -= 1.0;
            levels[to].has += 1.0;
        }
    }

    fn levels(&self, at: At) -> Vec<Level> {
        let taking: Vec<(InstanceId, &Place)> = self
            .ready()
            .filter(|(id, place)| at >= place.accepts_from && !self.is_gathering(*id))
            .collect();
        let weights: f64 = taking.iter().map(|(_, place)| place.weight).sum();
        let threads: usize = taking.iter().map(|(_, place)| place.threads.len()).sum();
        let level = |&(id, place): &(InstanceId, &Place)| Level {
            id,
            wanted: threads as f64 * place.weight / weights,
            has: place.threads.len() as f64,
            stuck: false,
        };
        taking.iter().map(level).collect()
    }

    /// A thread that may leave an instance; the youngest, which has least of a past there.
    fn movable(&self, at: At, source: InstanceId) -> Option<ThreadId> {
        let threads = &self.places.get(&source)?.threads;
        let may = |id: &&ThreadId| self.threads.get(*id).is_some_and(|t| t.may_leave(at));
        threads.iter().rev().find(may).copied()
    }
}

/// The instance that has most too many threads and the one that misses most, unless they are even.
fn uneven(levels: &[Level]) -> Option<(usize, usize)> {
    let from = (0..levels.len())
        .filter(|&index| !levels[index].stuck)
        .max_by(|&a, &b| levels[a].over().total_cmp(&levels[b].over()))?;
    let to = (0..levels.len())
        .filter(|&index| index != from)
        .min_by(|&a, &b| levels[a].over().total_cmp(&levels[b].over()))?;
    let gap = levels[from].over() - levels[to].over();
    let least = UNEVEN_MIN.max(UNEVEN_PART * levels[from].wanted);
    (gap >= least && levels[from].has > 1.0).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(id: u32, wanted: f64, has: f64) -> Level {
        Level {
            id: InstanceId(id),
            wanted,
            has,
            stuck: false,
        }
    }

    #[test]
    fn small_differences_are_left_alone() {
        assert_eq!(uneven(&[level(0, 5.5, 6.0), level(1, 5.5, 5.0)]), None);
        assert_eq!(
            uneven(&[level(0, 100.0, 104.0), level(1, 100.0, 96.0)]),
            None
        );
        let found = uneven(&[level(0, 5.0, 2.0), level(1, 5.0, 8.0)]);
        assert_eq!(found, Some((1, 0)));
        assert_eq!(uneven(&[level(0, 0.1, 1.0)]), None);
    }
}
