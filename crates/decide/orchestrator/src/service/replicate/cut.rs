//! What can be left out of a case: threads, their iterations, requests, and pieces of these.
//!
//! While the replicator looks for conditions that matter, it plays what is left by now; what is cut is cut under the conditions under
//! which the case is known to show: none, when it shows often enough as it was.

use std::collections::BTreeSet;

use cohort_model::{
    Arm, Case, CaseId, CasePart, CaseRequest, Condition, Rate, Recipe, Stage, Subject, ThreadId,
};
use cohort_replicator::minimize::{Branch, Candidate, Count, Smallest, TreeMinimizer};

use super::Cases;
use super::capsule::{Capsule, number};
use super::gauge::Gauge;
use super::guess::{Guessed, Guesses};

/// Plays of one case for it.
const RUNS_MAX: u32 = 250;
/// As it was, a case is cut when it showed at least so often, and in so many of its plays.
const FAILED_MIN: u32 = 2;
const RATE_MIN: f64 = 0.25;
/// Most copies at once.
const COPIES_MAX: u32 = 8;
/// With copies of it at once it is cut before it is known whether it takes them, when it showed at least so often, and in so many
/// of these plays.
const COPIED_MIN: u32 = 3;
const COPIED_RATE_MIN: f64 = 0.75;
/// Requests of which there are more than this are cut without a look at their pieces.
const PIECES_FOR: usize = 40;

/// Of a check that fails also where what came before is left out.
const RESTS: &str =
    "Whatever changes something before the check is kept: without it the check fails of itself.";

/// What can be left out of each iteration of one thread.
type Iterations = Vec<(u64, Vec<Branch<CasePart>>)>;

/// What is left out of one case.
#[derive(Debug)]
pub(super) struct Cut {
    tree: TreeMinimizer<CasePart>,
    /// What is tried before.
    guesses: Guesses,
    conditions: Vec<Condition>,
    /// Guesses are played under this instead: less of the case takes more copies of it at once.
    crowded: Option<Vec<Condition>>,
    /// Pieces of requests are among what can be left out.
    pieces: bool,
    /// Plays under way.
    pub(super) under_way: u32,
    /// Nothing more is tried.
    pub(super) over: bool,
}

impl Cut {
    /// What it is played under.
    pub(super) fn conditions(&self) -> Vec<Condition> {
        self.conditions.clone()
    }

    /// Pieces are among what can be left out.
    pub(super) fn has_pieces(&self) -> bool {
        self.pieces
    }

    pub(super) fn next(&mut self) -> Option<Candidate<CasePart>> {
        if self.over {
            return None;
        }
        let next = match self.guesses.is_over() {
            true => self.tree.next()?,
            false => self.guesses.next()?,
        };
        self.under_way += 1;
        Some(next)
    }

    /// How a candidate is played.
    pub(super) fn recipe(&self, candidate: &Candidate<CasePart>) -> Recipe {
        let crowded = self.crowded.as_ref().filter(|_| !self.guesses.is_over());
        Recipe {
            parts: candidate.kept.clone(),
            conditions: crowded.unwrap_or(&self.conditions).clone(),
            ..Recipe::default()
        }
    }

    /// A play has ended: it showed the case, or not, or says nothing.
    pub(super) fn ended(
        &mut self,
        candidate: &Candidate<CasePart>,
        shown: Option<bool>,
    ) -> Guessed {
        self.under_way = self.under_way.saturating_sub(1);
        if !self.guesses.is_over() {
            return self.guesses.ended(candidate, shown);
        }
        match shown {
            Some(shown) => self.tree.ended(candidate, shown),
            None => self.tree.withdrawn(candidate),
        }
        Guessed::Open
    }

    /// What is cut from now on, which shows so often.
    fn begin_with(&mut self, branches: Vec<Branch<CasePart>>, count: Count) {
        self.tree = TreeMinimizer::new(branches, count, RUNS_MAX);
    }

    pub(super) fn is_done(&self) -> bool {
        self.over || self.guesses.is_over() && self.tree.is_done()
    }

    fn smallest(&self) -> Option<Smallest<CasePart>> {
        self.tree.smallest()
    }
}

impl Capsule {
    /// Threads, iterations, requests, and their pieces.
    fn branches(&self, parts: &[CasePart]) -> Vec<Branch<CasePart>> {
        let numbers = parts.iter().filter_map(number);
        let numbers: Vec<u32> = numbers.filter(|one| !self.stays.contains(one)).collect();
        let with_pieces = has_pieces(parts);
        let of = |number: u32| self.requests.get(number as usize);
        let request = |number: u32| Branch {
            own: vec![CasePart::Request(number)],
            children: of(number)
                .filter(|_| with_pieces)
                .into_iter()
                .flat_map(|request| request.pieces.iter())
                .map(|piece| Branch::leaf(CasePart::Piece(number, piece.clone())))
                .collect(),
        };
        let key = |number: u32| {
            of(number).map(|request: &CaseRequest| (request.thread, request.iteration))
        };
        let mut threads: Vec<(ThreadId, Iterations)> = Vec::new();
        for number in numbers {
            let Some((thread, iteration)) = key(number) else {
                continue;
            };
            let at = threads.iter().position(|(known, _)| *known == thread);
            let at = at.unwrap_or_else(|| {
                threads.push((thread, Vec::new()));
                threads.len() - 1
            });
            let iterations = &mut threads[at].1;
            match iterations.iter_mut().find(|(known, _)| *known == iteration) {
                Some((_, branches)) => branches.push(request(number)),
                None => iterations.push((iteration, vec![request(number)])),
            }
        }
        let grouped = threads.into_iter().map(|(_, iterations)| {
            let iterations = iterations
                .into_iter()
                .map(|(_, branches)| Branch::group(branches));
            Branch::group(iterations.collect())
        });
        grouped.collect()
    }

    /// Pieces that are not among the parts; `told`: those that are kept are.
    pub(super) fn without(
        &self,
        parts: &[CasePart],
        keep: &[u32],
        told: bool,
    ) -> Vec<(u32, String)> {
        let pieces = keep.iter().flat_map(|number| {
            let request = self.requests.get(*number as usize);
            let pieces = request
                .into_iter()
                .flat_map(|request| request.pieces.iter());
            pieces.map(move |piece| (*number, piece.clone()))
        });
        // What is kept for the sake of its answer alone is kept whole.
        let named = |number: u32| parts.contains(&CasePart::Request(number));
        pieces
            .filter(|(number, piece)| {
                told && named(*number) && !parts.contains(&CasePart::Piece(*number, piece.clone()))
            })
            .collect()
    }
}

impl Cases {
    /// Begins to cut cases that are known to show.
    pub(super) fn begin_cuts(&mut self) {
        let mut found: Vec<(CaseId, Vec<Condition>, Count)> = Vec::new();
        for case in self.replicator.cases() {
            if self.cuts.contains_key(&case.case) || !self.of_case.contains_key(&case.case) {
                continue;
            }
            if let Some((conditions, count)) = shows(case) {
                found.push((case.case, conditions, count));
            }
        }
        for (case, conditions, count) in found {
            let Some(capsule) = self.capsule_of(case) else {
                continue;
            };
            let parts = capsule.parts();
            let pieces = has_pieces(&parts);
            let cut = Cut {
                crowded: crowded(&conditions, capsule),
                tree: TreeMinimizer::new(capsule.branches(&parts), count, RUNS_MAX),
                guesses: Guesses::new(capsule, pieces, count),
                conditions,
                pieces,
                under_way: 0,
                over: false,
            };
            self.cuts.insert(case, cut);
        }
    }

    /// A play for the sake of cutting has ended.
    pub(super) fn cut_ended(
        &mut self,
        case: CaseId,
        candidate: &Candidate<CasePart>,
        shown: Option<bool>,
    ) {
        let Some(cut) = self.cuts.get_mut(&case) else {
            return;
        };
        let guessed = cut.ended(candidate, shown);
        let number = self.of_case.get(&case).copied().unwrap_or_default();
        let Some(capsule) = self.capsules.get_mut(number as usize) else {
            return;
        };
        match guessed {
            Guessed::Right(parts, count) => {
                if let Some(crowded) = cut.crowded.take() {
                    cut.conditions = crowded;
                }
                cut.begin_with(capsule.branches(&parts), count);
            }
            Guessed::Rests => {
                capsule.stays = capsule.changing().into_iter().collect();
                let known = cut.guesses.known();
                cut.begin_with(capsule.branches(&capsule.parts()), known);
            }
            Guessed::Open | Guessed::Wrong => {}
        }
    }

    /// Nothing more is left out.
    pub(super) fn end_cuts(&mut self) {
        for cut in self.cuts.values_mut() {
            cut.over = true;
        }
    }

    /// Whether the parts of a case by now tell which pieces are kept.
    pub(super) fn tells_pieces(&self, case: CaseId) -> bool {
        let cut = self.cuts.get(&case);
        cut.is_some_and(|cut| cut.pieces && cut.smallest().is_some())
    }

    /// The parts that a case is played with by now.
    pub(super) fn parts_of(&self, case: CaseId) -> Vec<CasePart> {
        let cut = self.cuts.get(&case).and_then(Cut::smallest);
        match cut {
            Some(smallest) => smallest.kept,
            None => self
                .capsule_of(case)
                .map(Capsule::parts)
                .unwrap_or_default(),
        }
    }

    /// A case as it is told, with what is left of it.
    pub(super) fn shown(&self, mut case: Case) -> Case {
        let Some(capsule) = self.capsule_of(case.case) else {
            return case;
        };
        if capsule.is_of_end {
            // Its suspects are none of its subjects.
            case.subject = Subject::Service(capsule.subject.clone());
        }
        if capsule.end.is_some() && case.symptom.as_ref() == Some(&capsule.symptom) {
            case.symptom.clone_from(&capsule.end);
        }
        self.tell_age(&mut case);
        case.bound_us = capsule.gauge.bound_us();
        if capsule.gauge == Gauge::Hangs {
            let (_, rounds) = capsule.gauge.rounds();
            case.remarks.push(format!(
                "In each run its requests are repeated until it hangs, {rounds} times at most."
            ));
        }
        let variants = self.on_variants.get(&case.case).into_iter().flatten();
        // What is under way tells nothing yet.
        let told = variants.map(|one| &one.told).filter(|one| one.is_told());
        case.variants = told.cloned().collect();
        case.remarks.extend(self.unplayed(&case));
        let cut = self.cuts.get(&case.case);
        if cut.is_some_and(|cut| !cut.is_done()) && case.stage == Stage::Closed {
            case.stage = Stage::Minimizing;
        }
        let smallest = cut.and_then(|cut| Some((cut, cut.smallest()?)));
        if let Some((cut, smallest)) = smallest {
            let rate = rate(smallest.count);
            case.smallest = Some(Arm {
                recipe: Recipe {
                    parts: capsule.complete(&smallest.kept, cut.pieces),
                    conditions: cut.conditions.clone(),
                    ..Recipe::default()
                },
                control: false,
                rate,
            });
            case.minimal = smallest.minimal && capsule.stays.is_empty();
            if !capsule.stays.is_empty() {
                case.remarks.push(RESTS.to_owned());
            }
            self.name_request(&mut case, &smallest.kept);
        } else if let Some(arm) = &mut case.smallest {
            arm.recipe.parts = capsule.complete(&capsule.parts(), false);
        }
        case
    }
}

impl Capsule {
    /// Parts with those whose answers they use; pieces are told where some of them are left out.
    fn complete(&self, parts: &[CasePart], told: bool) -> Vec<CasePart> {
        let keep = self.closure(parts);
        let without = self.without(parts, &keep, told);
        let mut complete = Vec::new();
        for number in keep {
            complete.push(CasePart::Request(number));
            let is_cut = without.iter().any(|(of, _)| *of == number);
            if is_cut {
                let pieces = parts
                    .iter()
                    .filter(|part| matches!(part, CasePart::Piece(of, _) if *of == number));
                let before = complete.len();
                complete.extend(pieces.cloned());
                if complete.len() == before {
                    // Nothing of it is left.
                    complete.push(CasePart::Piece(number, String::new()));
                }
            }
        }
        complete
    }
}

/// Where it takes copies at once, what is left of one of several threads takes as many more of them.
fn crowded(conditions: &[Condition], capsule: &Capsule) -> Option<Vec<Condition>> {
    let threads: BTreeSet<ThreadId> = capsule.requests.iter().map(|one| one.thread).collect();
    let mut conditions = conditions.to_vec();
    let count = conditions.iter_mut().find_map(|one| match one {
        Condition::Copies { count } => Some(count),
        _ => None,
    })?;
    let more = count.saturating_mul(threads.len() as u32).min(COPIES_MAX);
    if threads.len() < 2 || more <= *count {
        return None;
    }
    *count = more;
    Some(conditions)
}

/// Whether pieces are looked at.
fn has_pieces(parts: &[CasePart]) -> bool {
    parts.len() <= PIECES_FOR
}

/// Under which conditions a case shows often enough to be cut, and how often it did.
fn shows(case: &Case) -> Option<(Vec<Condition>, Count)> {
    let control = case.arms.iter().find(|arm| arm.control)?;
    let often = |rate: &Rate| {
        rate.failed >= FAILED_MIN && f64::from(rate.failed) >= RATE_MIN * f64::from(rate.runs)
    };
    let count = |rate: &Rate| Count {
        runs: rate.runs,
        failed: rate.failed,
    };
    if often(&control.rate) {
        return Some((control.recipe.conditions.clone(), count(&control.rate)));
    }
    // Copies at once make it likely: whether it takes them is another question.
    let copied = case.arms.iter().find(|arm| {
        let conditions = &arm.recipe.conditions;
        let copies = matches!(conditions.as_slice(), [Condition::Copies { .. }]);
        let rate = &arm.rate;
        copies
            && rate.failed >= COPIED_MIN
            && f64::from(rate.failed) >= COPIED_RATE_MIN * f64::from(rate.runs)
    });
    if let Some(arm) = copied {
        return Some((arm.recipe.conditions.clone(), count(&arm.rate)));
    }
    // What it takes is known, whatever is yet to be known of it.
    let settled =
        matches!(case.stage, Stage::Minimizing | Stage::Closed) || !case.causes.is_empty();
    let smallest = case
        .smallest
        .as_ref()
        .filter(|arm| settled && often(&arm.rate))?;
    Some((smallest.recipe.conditions.clone(), count(&smallest.rate)))
}

/// How often, with the interval of Wilson (1927) at 95 %.
fn rate(count: Count) -> Rate {
    let (runs, failed) = (f64::from(count.runs.max(1)), f64::from(count.failed));
    let z2 = 1.96_f64 * 1.96;
    let share = failed / runs;
    let middle = (share + z2 / (2.0 * runs)) / (1.0 + z2 / runs);
    let half =
        1.96 * (share * (1.0 - share) / runs + z2 / (4.0 * runs * runs)).sqrt() / (1.0 + z2 / runs);
    Rate {
        runs: count.runs,
        failed: count.failed,
        low: (middle - half).max(0.0),
        high: (middle + half).min(1.0),
    }
}
