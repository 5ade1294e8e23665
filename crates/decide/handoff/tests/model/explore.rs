//! Breadth first through every state that can be reached.
//!
//! States are told apart by a fingerprint of 128 bits, as TLC and SPIN do: with a million of them
//! the odds that two share one are below one in 10^26.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};

use crate::world::{Action, World};

/// More than this many states are more than a test should take.
const STATES_MAX: usize = 1_000_000;

/// What was found.
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) settled: usize,
    /// What is wrong, and the shortest way there; `None` when all promises hold.
    pub(crate) fault: Option<(&'static str, Vec<Action>)>,
}

#[derive(Default)]
struct Fingerprint(u128);

impl Hasher for Fingerprint {
    fn finish(&self) -> u64 {
        self.0 as u64
    }

    fn write(&mut self, bytes: &[u8]) {
        // FNV-1a of 128 bits.
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b);
        }
    }
}

fn fingerprint(world: &World) -> u128 {
    let mut hasher = Fingerprint(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
    world.hash(&mut hasher);
    hasher.0
}

#[derive(Default)]
struct Graph {
    numbers: BTreeMap<u128, u32>,
    came_by: Vec<Option<(u32, Action)>>,
    /// By state, those from which a fair action leads to it.
    fair_from: Vec<Vec<u32>>,
    settled: Vec<u32>,
}

impl Graph {
    fn path(&self, mut state: u32) -> Vec<Action> {
        let mut path = Vec::new();
        while let Some((from, action)) = self.came_by[state as usize] {
            path.push(action);
            state = from;
        }
        path.reverse();
        path
    }

    /// The number of a state, and whether it is new.
    fn number(&mut self, world: &World, came_by: Option<(u32, Action)>) -> (u32, bool) {
        let next = self.came_by.len() as u32;
        let number = *self.numbers.entry(fingerprint(world)).or_insert(next);
        if number == next {
            self.came_by.push(came_by);
            self.fair_from.push(Vec::new());
            if world.is_settled() {
                self.settled.push(number);
            }
        }
        (number, number == next)
    }

    /// A state from which fair delivery and time alone never lead to a settled one.
    fn stuck(&self) -> Option<u32> {
        let mut good = vec![false; self.came_by.len()];
        let mut queue: VecDeque<u32> = self.settled.iter().copied().collect();
        while let Some(state) = queue.pop_front() {
            if !std::mem::replace(&mut good[state as usize], true) {
                queue.extend(&self.fair_from[state as usize]);
            }
        }
        good.iter().position(|good| !good).map(|state| state as u32)
    }
}

/// Visits every state that can be reached from `world`, and checks the promises in each.
pub(crate) fn explore(world: World) -> Explored {
    let mut graph = Graph::default();
    graph.number(&world, None);
    let mut queue = VecDeque::from([(0, world)]);
    while let Some((from, world)) = queue.pop_front() {
        if graph.came_by.len() > STATES_MAX {
            return found(&graph, Some(("too many states", Vec::new())));
        }
        for action in world.actions() {
            let next = world.after(action);
            let (number, is_new) = graph.number(&next, Some((from, action)));
            if let Some(broken) = next.broken {
                return found(&graph, Some((broken, graph.path(number))));
            }
            if action.is_fair() {
                graph.fair_from[number as usize].push(from);
            }
            if is_new {
                queue.push_back((number, next));
            }
        }
    }
    let stuck = graph.stuck();
    let fault = stuck.map(|state| {
        (
            "the thread is lost or something stays behind",
            graph.path(state),
        )
    });
    found(&graph, fault)
}

fn found(graph: &Graph, fault: Option<(&'static str, Vec<Action>)>) -> Explored {
    Explored {
        states: graph.came_by.len(),
        settled: graph.settled.len(),
        fault,
    }
}
