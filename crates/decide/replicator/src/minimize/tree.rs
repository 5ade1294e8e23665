//! Minimization of what has parts: whole branches first, then what is in those that are left.
//!
//! Hierarchical delta debugging (Misherghi & Su, ICSE 2006): level by level, the smallest set of branches that
//! still fails is looked for; those that are left out take all that hangs on them along. When something was
//! left out, the levels are gone through once more, until nothing is.
//!
//! For a service: threads, their iterations, the requests in these, the pieces of their bodies.

use super::judge::Count;
use super::search::{Candidate, Minimizer, Smallest};

/// The levels are gone through at most so often.
const PASSES: u32 = 3;

/// A part with what it consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch<T> {
    /// What it adds itself, before its children do; nothing, where it only holds others together.
    pub own: Vec<T>,
    /// What hangs on it and goes when it goes.
    pub children: Vec<Branch<T>>,
}

impl<T> Branch<T> {
    /// One item that nothing hangs on.
    #[must_use]
    pub fn leaf(item: T) -> Branch<T> {
        Branch {
            own: vec![item],
            children: Vec::new(),
        }
    }

    /// Others, held together.
    #[must_use]
    pub fn group(children: Vec<Branch<T>>) -> Branch<T> {
        Branch {
            own: Vec::new(),
            children,
        }
    }
}

/// In the order in which a tree is read: a branch, then all that hangs on it.
#[derive(Clone, Debug)]
struct Node<T> {
    own: Vec<T>,
    depth: usize,
    /// The place after the last one that hangs on it.
    end: usize,
    kept: bool,
}

/// Finds the smallest tree that still fails.
#[derive(Clone, Debug)]
pub struct TreeMinimizer<T> {
    nodes: Vec<Node<T>>,
    /// Of the whole tree.
    whole: Count,
    depth: usize,
    pass: u32,
    /// Something was left out in this pass.
    changed: bool,
    /// Every level of this pass was shown to be minimal.
    minimal: bool,
    level: Minimizer<usize>,
    /// Runs under way: what was run, and the branches of the level that it consists of.
    under_way: Vec<(Vec<T>, Vec<usize>)>,
    /// What was run on any level.
    seen: Vec<(Vec<T>, Count)>,
    finished: bool,
}

impl<T: Clone + Eq> TreeMinimizer<T> {
    /// Of the branches, which together failed as often as `known` tells, in at most `runs_max` runs.
    #[must_use]
    pub fn new(branches: Vec<Branch<T>>, known: Count, runs_max: u32) -> TreeMinimizer<T> {
        let mut nodes = Vec::new();
        flatten(branches, 0, &mut nodes);
        let mut tree = TreeMinimizer {
            nodes,
            whole: known,
            depth: 0,
            pass: 1,
            changed: false,
            minimal: true,
            level: Minimizer::new(Vec::new(), known, runs_max),
            under_way: Vec::new(),
            seen: Vec::new(),
            finished: false,
        };
        tree.enter(0, known, runs_max);
        tree
    }

    /// What to run next; `None`: nothing, or nothing before a run under way has ended.
    #[expect(
        clippy::should_implement_trait,
        reason = "a later call can have an answer again"
    )]
    pub fn next(&mut self) -> Option<Candidate<T>> {
        while !self.finished {
            self.advance();
            let chosen = self.level.next()?;
            let kept = self.items(&chosen.kept);
            if let Some(at) = self.seen.iter().position(|(list, _)| *list == kept) {
                let (_, count) = self.seen.remove(at);
                self.level.unspent(&chosen);
                self.level.learned(&chosen.kept, count);
                self.advance();
                continue;
            }
            self.under_way.push((kept.clone(), chosen.kept));
            return Some(Candidate { kept });
        }
        None
    }

    /// A run has ended: with the symptom, or by passing.
    pub fn ended(&mut self, candidate: &Candidate<T>, failed: bool) {
        let mut count = Count::default();
        count.add(failed);
        if let Some(branches) = self.take(&candidate.kept) {
            self.level.ended(&Candidate { kept: branches }, failed);
            self.advance();
        }
    }

    /// A run has ended without telling anything (another symptom, a lost instance).
    pub fn withdrawn(&mut self, candidate: &Candidate<T>) {
        if let Some(branches) = self.take(&candidate.kept) {
            self.level.withdrawn(&Candidate { kept: branches });
            self.advance();
        }
    }

    /// Nothing is left to try, or no run is left to try it with, and none is under way.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.under_way.is_empty() && (self.finished || self.level.runs_left() == 0)
    }

    /// Runs that may still be begun.
    #[must_use]
    pub fn runs_left(&self) -> u32 {
        self.level.runs_left()
    }

    /// The best so far; `None` when nothing was seen to fail.
    #[must_use]
    pub fn smallest(&self) -> Option<Smallest<T>> {
        let best = self.level.smallest()?;
        Some(Smallest {
            kept: self.items(&best.kept),
            count: best.count,
            comparable: best.comparable,
            minimal: self.finished && self.minimal && best.minimal,
        })
    }

    fn take(&mut self, kept: &[T]) -> Option<Vec<usize>> {
        let at = self.under_way.iter().position(|(list, _)| list == kept)?;
        Some(self.under_way.swap_remove(at).1)
    }

    /// All that is kept, where of this level only `branches` are.
    fn items(&self, branches: &[usize]) -> Vec<T> {
        let mut items = Vec::new();
        let mut place = 0;
        while let Some(node) = self.nodes.get(place) {
            let out = node.depth == self.depth && !branches.contains(&place);
            if out || !node.kept {
                place = node.end;
                continue;
            }
            items.extend(node.own.iter().cloned());
            place += 1;
        }
        items
    }

    /// Branches of a level that hold anything.
    fn branches(&self, depth: usize) -> Vec<usize> {
        let mut found = Vec::new();
        let mut place = 0;
        while let Some(node) = self.nodes.get(place) {
            if !node.kept {
                place = node.end;
                continue;
            }
            if node.depth == depth && self.holds_anything(place) {
                found.push(place);
            }
            place += 1;
        }
        found
    }

    fn holds_anything(&self, branch: usize) -> bool {
        let mut place = branch;
        while place < self.nodes[branch].end {
            let node = &self.nodes[place];
            if !node.kept {
                place = node.end;
                continue;
            }
            if !node.own.is_empty() {
                return true;
            }
            place += 1;
        }
        false
    }

    fn enter(&mut self, depth: usize, known: Count, runs_max: u32) {
        self.depth = depth;
        let level = Minimizer::new(self.branches(depth), known, runs_max);
        self.level = level.compared_with(self.whole);
    }

    /// Goes on to the next level where this one is done, and to the next pass after the last.
    fn advance(&mut self) {
        while !self.finished && self.under_way.is_empty() && self.level.is_settled() {
            let Some(best) = self.level.smallest() else {
                self.finished = true;
                return;
            };
            let before = self.branches(self.depth);
            self.remember();
            self.minimal &= best.minimal;
            for branch in before {
                if !best.kept.contains(&branch) {
                    self.nodes[branch].kept = false;
                    self.changed = true;
                }
            }
            let runs = self.level.runs_left();
            let deeper = self.depth + 1;
            if !self.branches(deeper).is_empty() {
                self.enter(deeper, best.count, runs);
            } else if self.changed && self.depth > 0 && self.pass < PASSES {
                self.pass += 1;
                self.changed = false;
                self.minimal = true;
                self.enter(0, best.count, runs);
            } else {
                self.minimal &= !self.changed || self.depth == 0;
                self.finished = true;
            }
        }
    }

    /// What was run on this level may be asked for on another.
    fn remember(&mut self) {
        for (branches, count) in self.level.tried() {
            let list = self.items(&branches);
            match self.seen.iter_mut().find(|(seen, _)| *seen == list) {
                Some((_, sum)) if sum.runs < count.runs => *sum = count,
                Some(_) => {}
                None => self.seen.push((list, count)),
            }
        }
    }
}

fn flatten<T>(branches: Vec<Branch<T>>, depth: usize, nodes: &mut Vec<Node<T>>) {
    for branch in branches {
        let place = nodes.len();
        nodes.push(Node {
            own: branch.own,
            depth,
            end: place + 1,
            kept: true,
        });
        flatten(branch.children, depth + 1, nodes);
        nodes[place].end = nodes.len();
    }
}
