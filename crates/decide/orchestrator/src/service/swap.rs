//! Which threads two instances would swap, to lean to an area each.

use std::collections::BTreeMap;

use cohort_model::{Area, At, InstanceId, ThreadId};

use super::Conductor;
use super::lean::Lean;
use super::state::{Calls, Stage, Thread};

/// A thread is of an area when so much of its calls go there.
const AREA_SHARE: f64 = 0.6;
/// What a thread is expected to call, by its scenario, counts like so many calls of its own.
const SCENARIO_CALLS: f64 = 20.0;
/// Fewer threads of an area on an instance are not worth a swap.
const THREADS_MIN: usize = 2;
/// One in so many of them is swapped.
const SWAPPED_PART: usize = 2;

/// Which part of some calls goes to an area, 0 to 1.
pub(super) fn part_in(calls: &Calls, area: &Area) -> f64 {
    let of_area: f64 = area.endpoints.iter().map(|&id| calls.of(id)).sum();
    if calls.total > 0.0 {
        of_area / calls.total
    } else {
        0.0
    }
}

impl Conductor {
    /// The area that a thread is of, by position; `None` when it calls this and that.
    pub(super) fn area_of(&self, thread: &Thread) -> Option<usize> {
        let mut calls = thread.calls.clone();
        let scenario = &self.scenarios[thread.scenario].calls;
        for &(endpoint, count) in &scenario.by {
            let expected = SCENARIO_CALLS * count / scenario.total.max(1.0);
            match calls.by.iter_mut().find(|(known, _)| *known == endpoint) {
                Some((_, sum)) => *sum += expected,
                None => calls.by.push((endpoint, expected)),
            }
            calls.total += expected;
        }
        self.area_of_calls(&calls)
    }

    pub(super) fn area_of_calls(&self, calls: &Calls) -> Option<usize> {
        let of_it = |area: &Area| part_in(calls, area) >= AREA_SHARE;
        self.areas.iter().position(of_it)
    }

    /// Threads of each area, by instance.
    fn by_area(&self) -> Vec<BTreeMap<InstanceId, Vec<ThreadId>>> {
        let mut by_area = vec![BTreeMap::new(); self.areas.len()];
        for (&id, thread) in &self.threads {
            if thread.stage == Stage::Runs
                && let Some(area) = self.area_of(thread)
            {
                let there: &mut Vec<ThreadId> = by_area[area].entry(thread.on).or_default();
                there.push(id);
            }
        }
        by_area
    }

    /// The two areas that have most threads for the instances that lean to them, and the two instances
    /// that can swap most of these.
    pub(super) fn best_swap(&self, at: At) -> Option<Lean> {
        let by_area = self.by_area();
        let crowd = |area: usize| {
            let threads: usize = by_area[area].values().map(Vec::len).sum();
            let name = &self.areas[area].name;
            let sides = self.leans.iter().flat_map(|lean| &lean.sides);
            threads as f64 / (1 + sides.filter(|(_, known)| known == name).count()) as f64
        };
        let mut order: Vec<usize> = (0..by_area.len()).collect();
        order.sort_by(|&a, &b| crowd(b).total_cmp(&crowd(a)).then(a.cmp(&b)));
        let &[first, second, ..] = order.as_slice() else {
            return None;
        };
        let free: Vec<InstanceId> = self
            .ready()
            .filter(|&(id, place)| {
                place.change.is_none()
                    && !self.is_judged(id, at)
                    && !self.leans.iter().any(|lean| lean.has(id))
            })
            .map(|(id, _)| id)
            .collect();
        let threads = |area: usize, on: InstanceId| by_area[area].get(&on).map_or(&[][..], |v| v);
        let count = |area: usize, on: InstanceId| threads(area, on).len();
        // Those that lean the other way already would be mixed.
        let leans = |&(here, there): &(InstanceId, InstanceId)| {
            count(first, here) >= count(second, here) && count(second, there) >= count(first, there)
        };
        let swaps = |&(here, there): &(InstanceId, InstanceId)| {
            count(second, here).min(count(first, there))
        };
        let pairs = free.iter().flat_map(|&here| {
            let others = free.iter().filter(move |&&there| there != here);
            others.map(move |&there| (here, there))
        });
        let (here, there) = pairs
            .filter(leans)
            .max_by(|a, b| swaps(a).cmp(&swaps(b)).then(b.cmp(a)))?;
        let most = swaps(&(here, there));
        if most < THREADS_MIN {
            return None;
        }
        let (leave, come) = (threads(second, here), threads(first, there));
        let leave = leave.iter().take(most / SWAPPED_PART);
        let come = come.iter().take(most / SWAPPED_PART);
        let name = |area: usize| self.areas[area].name.clone();
        let swapped = leave
            .map(|&id| (id, (here, there)))
            .chain(come.map(|&id| (id, (there, here))));
        let sides = [(here, name(first)), (there, name(second))];
        Some(Lean::new(sides, swapped.collect()))
    }
}
