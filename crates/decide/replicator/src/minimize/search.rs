//! The search for the smallest list that still fails, and the check of what was found.
//!
//! The list in question is always a beginning of the full one with `fixed`, the items known to matter, which all
//! lie behind it. A beginning of `passing` items is known not to fail, one of `failing` items is known to:
//! where these are neighbours, the item between them matters. Every list that was tried keeps its runs,
//! whatever it was tried for. What failing lists fail like is learned from *controls*, runs of a list after
//! it was concluded to fail: those before were chosen by how they ended.

use std::collections::BTreeMap;

use super::judge::{Care, Count, Judge, Verdict};

/// How likely no further item is needed, before one is known; divided by the number of those that are.
const DONE: f64 = 0.6;
/// A list is tried beforehand only where it is at least so likely to be asked for.
const LIKELY: f64 = 0.03;
/// For each item that was found to matter controls are run, one of which is expected to fail, until so many
/// have.
const CONTROLS: u32 = 10;
/// Whether a list fails less often than the full one is not said before the full one was run so often, and
/// not less than the list.
const FAIR_RUNS: u32 = 12;
/// The search begins anew at most so often when failures for other reasons had led it astray.
const RESTARTS: u32 = 3;

/// A list to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate<T> {
    /// What is kept, in its order.
    pub kept: Vec<T>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smallest<T> {
    /// The smallest list that was seen to fail.
    pub kept: Vec<T>,
    /// How often it was run, and failed.
    pub count: Count,
    /// It was shown to fail comparably often to the full list.
    pub comparable: bool,
    /// Each item that is left was seen to matter: without it, it does not fail any more, or far less.
    pub minimal: bool,
}

/// Places in the full list, ascending.
type Key = Vec<u32>;

#[derive(Clone, Debug, Default)]
struct Record {
    count: Count,
    /// Runs under way.
    under_way: u32,
    /// As concluded by the search.
    verdict: Option<Verdict>,
}

/// Finds the smallest list that still fails.
#[derive(Clone, Debug)]
pub struct Minimizer<T> {
    full: Vec<T>,
    /// Of the full list, before and during the minimization.
    known: Count,
    /// What results are compared with, when that is not the full list.
    whole: Option<Count>,
    /// Runs that may still be started.
    runs_left: u32,
    records: BTreeMap<Key, Record>,
    /// Rate of failures for other reasons.
    background: f64,
    restarts: u32,
    /// Runs of lists after they were concluded to fail.
    controls: Count,
    /// These and the runs of the full list that were made here.
    controls_run: Count,
    fixed: Key,
    /// `None`: not even `fixed` alone is known to pass.
    passing: Option<usize>,
    failing: usize,
    /// The item that the check left out last: it goes on behind it.
    left_out: u32,
    /// `fixed` is a result of the search, and smaller results of the check.
    checking: bool,
    /// Items matter the likelier the nearer they are to the beginning of the full list.
    near: bool,
}

impl<T: Clone + Eq> Minimizer<T> {
    /// Of `full`, which failed as often as `known` tells, in at most `runs_max` runs.
    #[must_use]
    pub fn new(full: Vec<T>, known: Count, runs_max: u32) -> Minimizer<T> {
        Minimizer {
            failing: full.len(),
            checking: full.is_empty(),
            full,
            known,
            whole: None,
            runs_left: runs_max,
            records: BTreeMap::new(),
            background: 0.0,
            restarts: 0,
            controls: Count::default(),
            controls_run: Count::default(),
            fixed: Key::new(),
            left_out: 0,
            passing: None,
            near: false,
        }
    }

    /// Where the likeliest items stand first: short lists are tried before long ones.
    #[must_use]
    pub fn near_first(mut self) -> Minimizer<T> {
        self.near = true;
        self
    }

    /// What to run next; `None`: nothing, or nothing before a run under way has ended. Each answer is one run.
    #[expect(
        clippy::should_implement_trait,
        reason = "a later call can have an answer again"
    )]
    pub fn next(&mut self) -> Option<Candidate<T>> {
        if self.runs_left == 0 {
            return None;
        }
        let key = if self.known.failed == 0 {
            self.list(self.full.len())
        } else {
            self.choose()?
        };
        self.runs_left -= 1;
        let kept = self.items(&key);
        self.records.entry(key).or_default().under_way += 1;
        Some(Candidate { kept })
    }

    /// A run has ended: with the symptom, or by passing.
    pub fn ended(&mut self, candidate: &Candidate<T>, failed: bool) {
        self.withdrawn(candidate);
        let mut count = Count::default();
        count.add(failed);
        self.learned(&candidate.kept, count);
    }

    /// A run has ended without telling anything (another symptom, a lost instance).
    pub fn withdrawn(&mut self, candidate: &Candidate<T>) {
        if let Some(key) = self.key(&candidate.kept)
            && let Some(record) = self.records.get_mut(&key)
        {
            record.under_way = record.under_way.saturating_sub(1);
        }
    }

    /// Runs of a list that were made elsewhere. One that is not taken from the full list tells nothing.
    pub fn learned(&mut self, kept: &[T], count: Count) {
        let Some(key) = self.key(kept) else {
            return;
        };
        let record = self.records.entry(key.clone()).or_default();
        record.count = record.count.and(count);
        if key.len() == self.full.len() {
            self.known = self.known.and(count);
            self.controls_run = self.controls_run.and(count);
        } else if record.verdict == Some(Verdict::Fails) {
            self.controls = self.controls.and(count);
            self.controls_run = self.controls_run.and(count);
        }
        if self.known.failed > 0 {
            self.conclude(&key);
        }
    }

    /// Nothing is left to try, or no run is left to try it with, and none is under way.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_settled() && self.records.values().all(|r| r.under_way == 0)
    }

    /// The best so far; `None` when nothing was seen to fail.
    #[must_use]
    pub fn smallest(&self) -> Option<Smallest<T>> {
        let key = self.best();
        let count = self.count(&key);
        if count.failed == 0 {
            return None;
        }
        let comparable = key.len() == self.full.len() || self.is_comparable(count);
        let minimal = self.checking
            && comparable
            && key.iter().all(|i| {
                let without = self.count(&without(&key, *i));
                self.judge().verdict(without, Care::Strict) == Some(Verdict::Passes)
            });
        Some(Smallest {
            kept: self.items(&key),
            count,
            comparable,
            minimal,
        })
    }

    /// Its results are compared with these runs of what it was all taken from.
    pub(super) fn compared_with(mut self, whole: Count) -> Minimizer<T> {
        self.whole = Some(whole);
        self
    }

    /// The run that `next` asked for is not needed.
    pub(super) fn unspent(&mut self, candidate: &Candidate<T>) {
        self.withdrawn(candidate);
        self.runs_left += 1;
    }

    /// Nothing is left to try, or no run is left to try it with.
    pub(super) fn is_settled(&self) -> bool {
        self.runs_left == 0 || self.known.failed > 0 && self.choose().is_none()
    }

    /// All items there are.
    #[must_use]
    pub fn full(&self) -> &[T] {
        &self.full
    }

    /// Every list that was run, with its runs.
    pub(super) fn tried(&self) -> impl Iterator<Item = (Vec<T>, Count)> {
        let tried = self.records.iter().filter(|(_, r)| r.count.runs > 0);
        tried.map(|(key, r)| (self.items(key), r.count))
    }

    /// Runs that may still be begun.
    #[must_use]
    pub fn runs_left(&self) -> u32 {
        self.runs_left
    }

    // What is known.

    /// The places in the full list that `kept` was taken from; the first ones that it could be, when it is not
    /// under way.
    fn key(&self, kept: &[T]) -> Option<Key> {
        let asked = |(key, record): &(&Key, &Record)| {
            record.under_way > 0 && key.len() == kept.len() && self.items(key) == kept
        };
        if let Some((key, _)) = self.records.iter().find(asked) {
            return Some(key.clone());
        }
        let mut items = (0..).zip(&self.full);
        let mut place = |kept: &T| {
            items
                .find(|(_, item)| *item == kept)
                .map(|(place, _)| place)
        };
        kept.iter().map(&mut place).collect()
    }

    fn items(&self, key: &[u32]) -> Vec<T> {
        let item = |place: &u32| self.full.get(*place as usize).cloned();
        key.iter().filter_map(item).collect()
    }

    fn count(&self, key: &Key) -> Count {
        if key.len() == self.full.len() {
            return self.known;
        }
        self.records.get(key).map(|r| r.count).unwrap_or_default()
    }

    fn under_way(&self, key: &Key) -> u32 {
        self.records.get(key).map_or(0, |r| r.under_way)
    }

    /// So many items from the beginning, and `fixed`.
    fn list(&self, beginning: usize) -> Key {
        let beginning = u32::try_from(beginning).unwrap_or(u32::MAX);
        (0..beginning).chain(self.fixed.iter().copied()).collect()
    }

    /// The inverse of `list`.
    fn beginning(&self, key: &Key) -> Option<usize> {
        let beginning = key.len().checked_sub(self.fixed.len())?;
        let without_gap = match beginning.checked_sub(1) {
            Some(last) => key[last] as usize == last,
            None => true,
        };
        (without_gap && key[beginning..] == self.fixed).then_some(beginning)
    }

    /// Beginnings shorter than the one that is known to fail, which were tried, in their order.
    fn tried_beginnings(&self) -> BTreeMap<usize, &Record> {
        let places = self.records.iter();
        let places = places.filter_map(|(key, record)| Some((self.beginning(key)?, record)));
        places.filter(|(b, _)| *b < self.failing).collect()
    }

    fn best(&self) -> Key {
        self.list(self.failing)
    }

    fn judge(&self) -> Judge {
        Judge::still_fails(self.known.and(self.controls), self.background)
    }

    fn comparable(&self) -> Judge {
        Judge::comparable(self.known.and(self.whole.unwrap_or_default()))
    }

    fn is_comparable(&self, count: Count) -> bool {
        self.comparable().verdict(count, Care::Search) == Some(Verdict::Fails)
    }

    // What follows from it.

    /// A list has new runs.
    fn conclude(&mut self, key: &Key) {
        let care = if self.checking {
            Care::Strict
        } else {
            Care::Search
        };
        let verdict = self.judge().verdict(self.count(key), care);
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        if record.verdict != Some(Verdict::Fails) || verdict == Some(Verdict::Passes) {
            record.verdict = verdict;
        }
        self.doubt();
        self.follow();
    }

    /// What was concluded to pass while less was known may be open again.
    fn doubt(&mut self) {
        let judge = self.judge();
        for record in self.records.values_mut() {
            if record.verdict == Some(Verdict::Passes) && judge.doubts(record.count) {
                record.verdict = None;
            }
        }
    }

    /// Takes every step for which the runs so far suffice.
    fn follow(&mut self) {
        while if self.checking {
            self.follow_check()
        } else {
            self.follow_search()
        } {}
    }

    fn follow_search(&mut self) -> bool {
        self.place();
        let from = self.passing.map_or(0, |p| p + 1);
        if self.failing > from {
            return false;
        }
        if self.failing > 0 {
            // The last item of the failing beginning matters.
            self.failing -= 1;
            let matters = u32::try_from(self.failing).unwrap_or(u32::MAX);
            self.fixed.insert(0, matters);
            self.passing = None;
        }
        self.checking = self.failing == 0;
        true
    }

    /// The shortest beginning that is known to fail, and the longest below it that is known not to.
    fn place(&mut self) {
        let mut passing = None;
        let mut failing = None;
        for (beginning, record) in self.tried_beginnings() {
            match record.verdict {
                Some(Verdict::Fails) => {
                    failing = Some(beginning);
                    break;
                }
                Some(Verdict::Passes) => passing = Some(beginning),
                None => {}
            }
        }
        self.passing = passing;
        self.failing = failing.unwrap_or(self.failing);
    }

    fn follow_check(&mut self) -> bool {
        let key = self.best();
        let count = self.count(&key);
        if self.is_rarer(&key) && self.is_fair(count) && self.restarts < RESTARTS {
            self.restart(count);
            return true;
        }
        let fails = |item: &&u32| {
            let record = self.records.get(&without(&key, **item));
            record.and_then(|r| r.verdict) == Some(Verdict::Fails)
        };
        let Some(item) = key.iter().find(fails) else {
            return false;
        };
        self.left_out = *item;
        self.fixed = without(&key, *item);
        true
    }

    /// It fails far less often than the full list.
    fn is_rarer(&self, key: &Key) -> bool {
        let verdict = self.comparable().verdict(self.count(key), Care::Search);
        key.len() < self.full.len() && verdict == Some(Verdict::Passes)
    }

    /// The full list was run often enough to be compared with.
    fn is_fair(&self, count: Count) -> bool {
        let full = self.known.and(self.whole.unwrap_or_default());
        full.runs >= count.runs.max(FAIR_RUNS)
    }

    /// What the search found fails far less often than the full list: at the rate of other reasons. With
    /// that rate known, it is searched anew; the runs so far still count.
    fn restart(&mut self, count: Count) {
        self.restarts += 1;
        self.background = self.background.max(count.rate()) * 1.25;
        self.controls = Count::default();
        self.controls_run = Count::default();
        self.fixed.clear();
        self.failing = self.full.len();
        self.passing = None;
        self.checking = false;
        let judge = self.judge();
        for record in self.records.values_mut() {
            record.verdict = judge.verdict(record.count, Care::Search);
        }
    }

    // What to run.

    fn choose(&self) -> Option<Key> {
        if self.checking {
            self.choose_check()
        } else {
            self.choose_search()
        }
    }

    /// Whether one more run of it could be needed, though those under way all pass.
    fn wants_run(&self, key: &Key, judge: &Judge, care: Care) -> bool {
        let record = self.records.get(key).cloned().unwrap_or_default();
        record.under_way < judge.passes_needed(record.count, care)
    }

    fn choose_search(&self) -> Option<Key> {
        let judge = self.judge();
        let best = self.best();
        let mut controls = self.controls_run;
        controls.runs += self.under_way(&best);
        let each = judge.passes_needed(Count::default(), Care::Search) / 3;
        let due = self.fixed.len() * each.max(1) as usize;
        if (controls.runs as usize) < due && controls.failed < CONTROLS {
            return Some(best);
        }
        let first = self.passing.map_or(0, |p| p + 1);
        // Undecided ones that were begun; what is known of the item that is looked for falls between them.
        let mut cuts = Vec::new();
        for (beginning, record) in self.tried_beginnings() {
            if beginning < first || record.under_way == 0 && record.count.runs == 0 {
                continue;
            }
            let key = self.list(beginning);
            if self.wants_run(&key, &judge, Care::Search) {
                return Some(key);
            }
            cuts.push(beginning);
        }
        let share = share_below(judge.rate());
        let beginning = best_cut(&self.weights(), first, &cuts, share)?;
        Some(self.list(beginning))
    }

    /// How likely each beginning, from the shortest that is not known to pass to the one that is known to
    /// fail, is the shortest that fails; sums to 1.
    fn weights(&self) -> Vec<f64> {
        let first = self.passing.map_or(0, |p| p + 1);
        let found = self.fixed.len();
        let examined = (self.full.len() - self.failing).max(1);
        let sparse = 1.0 / number(self.full.len().max(1));
        let density = if found >= 2 {
            sparse.max(number(found - 1) / number(examined))
        } else {
            sparse
        };
        let mut weights: Vec<f64> = Vec::with_capacity(self.failing + 1 - first);
        let mut weight = 1.0;
        for _ in first..=self.failing {
            weights.push(weight);
            weight *= (1.0 - density).max(0.01);
        }
        weights.reverse();
        if self.near {
            // As likely among the last one, two, four, eight, ... more.
            for (place, weight) in
                (first.max(1)..).zip(weights.iter_mut().skip(usize::from(first == 0)))
            {
                *weight = 1.0 / number(place);
            }
        }
        if first == 0 && self.failing > 0 {
            let others: f64 = weights[1..].iter().sum();
            let done = DONE / number(found.max(1));
            weights[0] = others * done / (1.0 - done);
        }
        let sum: f64 = weights.iter().sum();
        for weight in &mut weights {
            *weight /= sum;
        }
        weights
    }

    fn choose_check(&self) -> Option<Key> {
        let key = self.best();
        let judge = self.judge();
        let count = self.count(&key);
        let comparable = self.comparable();
        let undecided = key.len() < self.full.len()
            && comparable.verdict(count, Care::Search).is_none()
            && self.under_way(&key) < comparable.fails_needed(count, Care::Search);
        if undecided {
            return Some(key);
        }
        let full: Key = (0..).take(self.full.len()).collect();
        let unfair = self.is_rarer(&key) && self.restarts < RESTARTS && !self.is_fair(count);
        if unfair && self.under_way(&full) < FAIR_RUNS {
            return Some(full);
        }
        let (before, behind) = key.split_at(key.partition_point(|i| *i < self.left_out));
        let smaller = behind.iter().chain(before);
        let smaller = smaller.map(|item| without(&key, *item));
        let mut open = smaller.filter(|key| {
            let verdict = judge.verdict(self.count(key), Care::Strict);
            verdict.is_none() && self.wants_run(key, &judge, Care::Strict)
        });
        open.next()
    }
}

fn without(key: &Key, item: u32) -> Key {
    key.iter().copied().filter(|i| *i != item).collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "lengths of lists are far below 2^52"
)]
fn number(value: usize) -> f64 {
    value as f64
}

/// With which probability the next list should fail: one half tells most, but for what fails rarely, a
/// failure ends a test three times as soon as passing does.
fn share_below(rate: f64) -> f64 {
    0.5 + 0.18 * (1.0 - rate)
}

/// The beginning that cuts the likeliest of the spaces between `cuts` at `share`.
fn best_cut(weights: &[f64], first: usize, cuts: &[usize], share: f64) -> Option<usize> {
    // The place `first + i` is likely by `weights[i]`. A cut at `c` asks whether the place is at most `c`.
    let mut best: Option<(f64, usize)> = None;
    let mut from = first;
    let last = first + weights.len() - 1;
    for to in cuts.iter().copied().chain([last]) {
        let inside = &weights[from - first..=to - first];
        let mass: f64 = inside.iter().sum();
        if inside.len() >= 2 && best.is_none_or(|(most, _)| mass > most) {
            let mut below = 0.0;
            let mut cut = from;
            for (offset, weight) in inside[..inside.len() - 1].iter().enumerate() {
                let nearer = (below + weight - mass * share).abs() < (below - mass * share).abs();
                if offset > 0 && !nearer {
                    break;
                }
                below += weight;
                cut = from + offset;
            }
            best = Some((mass, cut));
        }
        from = to + 1;
    }
    best.filter(|(mass, _)| cuts.is_empty() || *mass >= LIKELY)
        .map(|(_, cut)| cut)
}
