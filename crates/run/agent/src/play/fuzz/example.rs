//! A recorded request that is changed, and what has to be sent before it.

use std::collections::BTreeSet;
use std::rc::Rc;

use cohort_model::CaseRequest;

use crate::play::take::{Spot, Take};

/// A request that is changed.
#[derive(Clone, Debug)]
pub(super) struct Example {
    pub(super) capsule: u32,
    pub(super) take: Rc<Take>,
    pub(super) spot: Spot,
    pub(super) number: u32,
    pub(super) shown: CaseRequest,
    /// Numbers that are sent for it, and those of the whole iteration.
    pub(super) keep: Vec<u32>,
    pub(super) rest: Vec<u32>,
}

impl Example {
    pub(super) fn new(capsule: u32, take: &Rc<Take>, spot: Spot, number: u32) -> Self {
        let (track, scene, ..) = spot;
        let of_scene: Vec<u32> = take
            .numbers
            .range((track, scene, 0, 0)..(track, scene + 1, 0, 0))
            .map(|(_, number)| *number)
            .collect();
        let keep = needed(take, &of_scene, number);
        Self {
            capsule,
            take: Rc::clone(take),
            spot,
            number,
            shown: take.requests[number as usize].clone(),
            keep,
            rest: of_scene,
        }
    }

    pub(super) fn request(&self) -> &cohort_scenario::Request {
        let (track, scene, call, place) = self.spot;
        &self.take.parts[track].recording.scenes[scene].calls[call].requests[place]
    }
}

/// Of the requests of an iteration those without which this one would mean something else: whose answers it uses, and, where one of
/// these changes something, all before it that do.
fn needed(take: &Take, of_scene: &[u32], number: u32) -> Vec<u32> {
    let of = |number: u32| take.requests.get(number as usize);
    let changes = |number: u32| {
        let safe = ["GET", "HEAD", "OPTIONS"];
        of(number).is_some_and(|request| !safe.contains(&request.method.as_str()))
    };
    let mut keep: BTreeSet<u32> = BTreeSet::from([number]);
    let mut open = vec![number];
    while let Some(one) = open.pop() {
        let uses = of(one).into_iter().flat_map(|request| &request.uses);
        let mut needs: Vec<u32> = uses.map(|value| value.request).collect();
        if changes(one) {
            let before = of_scene.iter().copied().filter(|before| *before < one);
            needs.extend(before.filter(|before| changes(*before)));
        }
        for need in needs {
            if of_scene.contains(&need) && keep.insert(need) {
                open.push(need);
            }
        }
    }
    keep.into_iter().collect()
}
