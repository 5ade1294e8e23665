//! Specialization of what is healthy: threads of one area gather on one instance, those of another on
//! another, so that each instance is asked for less that is different, and what an area does shows
//! where it is.
//!
//! ```text
//!   before    i0: A A A A B B B B     i1: A A A A B B B B     two instances swap threads
//!   after     i0: A A A A A A B B     i1: A A B B B B B B     some stay, to compare
//! ```
//!
//! Swapped, so that neither has more to do. It is tried as a change, one pair at a time: when calls
//! are not answered faster for it, or more of them fail, the threads that are left go back.

use std::collections::BTreeMap;

use cohort_model::{
    At, Change, ChangeVerdict, EndpointId, InstanceId, Purpose, ServiceReason, ThreadId,
};

use super::state::{Stage, Thread};
use super::swap::part_in;
use super::trial::Deed;
use super::verdict;
use super::{Conductor, ServiceStep, Vain};

/// An instance that leans to an area takes its new threads as long as it is not fuller than others by
/// this.
const FULLER: f64 = 1.25;
/// Latency may have changed by itself by so much, as a logarithm.
const DRIFT_MAX: f64 = 0.15;
/// After it was tried in vain, microseconds; twice as long each time.
const VAIN_US: u64 = 120_000_000;

/// Two instances that lean to an area each.
#[derive(Clone, Debug)]
pub(super) struct Lean {
    /// The change it was tried as.
    pub(super) change: u32,
    /// Which instance leans to which area.
    pub(super) sides: [(InstanceId, String); 2],
    /// Threads that were swapped: where each was, and where it is to be.
    pub(super) swapped: BTreeMap<ThreadId, (InstanceId, InstanceId)>,
    /// They are where they are to be; from then on they go where they are needed.
    arranged: bool,
    /// They are to go back.
    undone: bool,
}

impl Lean {
    pub(super) fn new(
        sides: [(InstanceId, String); 2],
        swapped: BTreeMap<ThreadId, (InstanceId, InstanceId)>,
    ) -> Self {
        Self {
            change: 0,
            sides,
            swapped,
            arranged: false,
            undone: false,
        }
    }

    fn goal(&self, thread: ThreadId) -> Option<InstanceId> {
        let &(home, away) = self.swapped.get(&thread)?;
        Some(if self.undone { home } else { away })
    }

    pub(super) fn has(&self, instance: InstanceId) -> bool {
        self.sides.iter().any(|(id, _)| *id == instance)
    }
}

impl Conductor {
    /// Tries a pair, while there is nothing else to follow.
    pub(super) fn begin_lean(&mut self, at: At, step: &mut ServiceStep) {
        let is_trying = |lean: &Lean| self.trials.iter().any(|t| t.change.number == lean.change);
        let busy = !self.gathers.is_empty() || self.leans.iter().any(is_trying);
        let vain = self.is_vain(Vain::Lean, at);
        if busy || vain || !self.is_known(at) || !self.leads(at).is_empty() {
            return;
        }
        let Some(lean) = self.best_swap(at) else {
            return;
        };
        // What gets warm gets faster by itself.
        let ids = lean.sides.each_ref().map(|(id, _)| *id);
        let drift = verdict::drift(self, at, &ids).map(|drift| drift.ln().abs());
        if let Some(drift) = drift.filter(|&drift| drift <= DRIFT_MAX) {
            let lower = verdict::LOWER.min((-drift).exp());
            self.try_lean(at, lean, lower, step);
        }
    }

    fn try_lean(&mut self, at: At, mut lean: Lean, lower: f64, step: &mut ServiceStep) {
        let number = self.next_change();
        lean.change = number;
        let [(here, first), (there, second)] = lean.sides.clone();
        let before = verdict::mean_ms_of(self, &[here, there]);
        let change = Change {
            number,
            what: format!(
                "{here} and {there} swap {} threads: {here} leans to {first}, {there} to {second}",
                lean.swapped.len()
            ),
            measure: format!("mean latency of {here} and {there} for the same calls, ms"),
            before,
            expected: before * lower,
            measured: None,
            verdict: ChangeVerdict::Pending,
        };
        let share = |conductor: &Self, area: &str| {
            let of_area = |thread: &&Thread| {
                let area_of = conductor.area_of(thread);
                area_of.is_some_and(|index| conductor.areas[index].name == area)
            };
            let members = conductor.threads.values().filter(of_area).count();
            members as f64 / conductor.threads.len().max(1) as f64
        };
        self.begin_arranging(at, (Deed::Lean { lower }, change), vec![here, there], step);
        for (instance, area) in lean.sides.clone() {
            let share = share(self, &area);
            let reason = ServiceReason::Area {
                area: area.clone(),
                share,
            };
            let purpose = Purpose::Leaning { area };
            self.specialize(instance, purpose, (reason, Some(number)), step);
        }
        self.leans.push(lean);
    }

    /// Looks which threads are where they are to be.
    pub(super) fn arrange_leans(&mut self) {
        for index in 0..self.leans.len() {
            let lean = &self.leans[index];
            let misplaced = lean.swapped.keys().any(|&id| {
                let thread = self.threads.get(&id);
                thread.is_some_and(|thread| {
                    Some(thread.on) != lean.goal(id) || thread.stage != Stage::Runs
                })
            });
            self.leans[index].arranged |= !misplaced;
        }
    }

    /// Whether the threads of a change are where they are to be; `None` when it is no more.
    pub(super) fn lean_is_arranged(&self, change: u32) -> Option<bool> {
        let lean = self.leans.iter().find(|lean| lean.change == change)?;
        Some(lean.arranged)
    }

    /// Which threads an instance is to have, while some are on their way for a lean of it.
    pub(super) fn lean_wants(&self, instance: InstanceId) -> Option<Vec<ThreadId>> {
        let open = |lean: &&Lean| !lean.arranged && lean.has(instance);
        let lean = self.leans.iter().find(open)?;
        let is_to_be = |&(&id, thread): &(&ThreadId, &Thread)| {
            lean.goal(id).map_or(thread.on, |goal| goal) == instance
        };
        let threads = self.threads.iter().filter(is_to_be);
        Some(threads.map(|(&id, _)| id).collect())
    }

    /// Why a thread that is swapped, or goes back, goes there.
    pub(super) fn lean_reason(
        &self,
        thread: ThreadId,
        target: InstanceId,
    ) -> Option<(ServiceReason, Option<u32>)> {
        let takes = |lean: &&Lean| !lean.arranged && lean.goal(thread) == Some(target);
        let lean = self.leans.iter().find(takes)?;
        let change = lean.change;
        if lean.undone {
            return Some((ServiceReason::Undo { change }, Some(change)));
        }
        let (_, name) = lean.sides.iter().find(|(id, _)| *id == target)?;
        let area = self.areas.iter().find(|area| area.name == *name)?;
        let calls = &self.threads.get(&thread)?.calls;
        let reason = ServiceReason::Area {
            area: name.clone(),
            share: part_in(calls, area),
        };
        Some((reason, Some(change)))
    }

    /// The instance that leans to what a scenario calls, when it is not fuller than it should be.
    pub(super) fn leaning_to(&self, scenario: usize, emptiest: InstanceId) -> Option<InstanceId> {
        let area = self.area_of_calls(&self.scenarios[scenario].calls)?;
        let name = &self.areas[area].name;
        let least = self.places.get(&emptiest)?.fullness();
        let sides = self.leans.iter().filter(|lean| !lean.undone);
        let mut sides = sides.flat_map(|lean| &lean.sides);
        let (instance, _) = sides.find(|(id, known)| {
            let place = self.places.get(id);
            known == name
                && place.is_some_and(|place| {
                    place.is_ready() && place.fullness() <= FULLER * least.max(1.0)
                })
        })?;
        Some(*instance)
    }

    /// Whether an instance is asked for less of an endpoint than others by our doing, so that it may be
    /// slower there for it.
    pub(super) fn leans_elsewhere(&self, instance: InstanceId, endpoint: u32) -> bool {
        let area = self.area_name(EndpointId(endpoint));
        let of_it = |lean: &&Lean| lean.has(instance);
        let sides = self.leans.iter().filter(of_it).flat_map(|lean| &lean.sides);
        let mut others = sides.filter(|(id, _)| *id != instance);
        others.any(|(_, known)| *known == area)
    }

    /// The threads of a change that was in vain go back.
    pub(super) fn undo_lean(&mut self, at: At, change: u32, step: &mut ServiceStep) {
        self.note_vain(Vain::Lean, at, VAIN_US);
        let Some(lean) = self.leans.iter_mut().find(|lean| lean.change == change) else {
            return;
        };
        lean.undone = true;
        lean.arranged = false;
        for (instance, _) in lean.sides.clone() {
            let reason = ServiceReason::Undo { change };
            self.specialize(instance, Purpose::General, (reason, Some(change)), step);
        }
    }

    /// It is no more; its threads are where they are.
    pub(super) fn forget_lean(&mut self, change: u32) {
        self.leans.retain(|lean| lean.change != change);
    }

    /// Instances that are needed for something that was found lean to nothing any more.
    pub(super) fn drop_leans_of(&mut self, instances: &[InstanceId], step: &mut ServiceStep) {
        let (gone, kept): (Vec<Lean>, Vec<Lean>) = std::mem::take(&mut self.leans)
            .into_iter()
            .partition(|lean| instances.iter().any(|&id| lean.has(id)));
        self.leans = kept;
        for (instance, _) in gone.iter().flat_map(|lean| lean.sides.clone()) {
            let leans = |place: &super::state::Place| {
                place.is_alive() && matches!(place.purpose, Purpose::Leaning { .. })
            };
            if self.places.get(&instance).is_some_and(leans) {
                let about = (ServiceReason::Balance, None);
                self.specialize(instance, Purpose::General, about, step);
            }
        }
    }

    /// What was found goes first: what is being tried for its own sake is left.
    pub(super) fn yield_to_leads(&mut self, at: At, step: &mut ServiceStep) {
        let trying: Vec<u32> = self
            .trials
            .iter()
            .filter(|trial| matches!(trial.deed, Deed::Lean { .. }))
            .map(|trial| trial.change.number)
            .collect();
        if trying.is_empty() || self.leads(at).is_empty() {
            return;
        }
        let of_trying = |lean: &&Lean| trying.contains(&lean.change);
        let sides = self.leans.iter().filter(of_trying);
        let instances: Vec<InstanceId> = sides
            .flat_map(|lean| lean.sides.iter().map(|(id, _)| *id))
            .collect();
        self.drop_leans_of(&instances, step);
    }
}
