//! Wrong answers and exceptions: what is counted, not estimated.

use std::collections::{BTreeMap, VecDeque};

use cohort_model::{At, ExceptionSeen, InstanceId, LoadWindow, ServiceFindingKind};

use super::View;
use super::book::{Conclusion, FOREVER, Key};
use super::words;
use crate::findings::measured;
use crate::statistics::poisson_tail;

/// Checks and exceptions kept apart; further ones are counted nowhere.
const KINDS_MAX: usize = 256;
/// Windows of failing and passing calls kept of a check.
const CELLS_MAX: usize = 240;
/// Words in the name of a check that asks for speed: that is judged elsewhere, by statistics.
const SPEED: [&str; 7] = [
    "duration", "latency", "fast", "slow", "time", "ms", "seconds",
];
/// Checks that failed as often, but for this share, and for the first time within this time of each
/// other, fail on the same answers.
const ALIKE: f64 = 0.1;
const ALIKE_US: u64 = 2_500_000;
/// Windows on either side of an exception in which failing calls are taken to be its.
const COINCIDE_US: u64 = 1_500_000;
/// An exception so long before the end of its process was the end of it; and so long after, since logs
/// are read later.
const FATAL_US: (u64, u64) = (2_000_000, 1_500_000);
/// After this time it is known whether an exception ended its process.
const KNOWN_US: u64 = 3_500_000;
/// Exceptions whose process may end yet, at most.
const WAITING_MAX: usize = 64;
/// Ends of processes kept in mind.
const ENDS_MAX: usize = 256;

/// One check of the script on answers of one endpoint.
#[derive(Clone, Debug, Default)]
struct Check {
    wrong: f64,
    first: At,
    last: At,
    instances: Vec<InstanceId>,
    /// Calls under way in a window, failures, calls.
    cells: VecDeque<(f64, f64, f64)>,
}

#[derive(Clone, Debug)]
struct Exception {
    seen: ExceptionSeen,
    /// Those that did not end their process: those that did are told as crashes.
    count: u64,
    first: At,
    last: At,
    instances: Vec<InstanceId>,
    /// Not known yet whether they end their process.
    waiting: Vec<(InstanceId, At, u64)>,
    /// Failing calls that coincided, by endpoint.
    votes: BTreeMap<u32, f64>,
    fresh: bool,
}

/// All that was counted so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    checks: BTreeMap<(u32, String), Check>,
    exceptions: BTreeMap<String, Exception>,
    /// Processes that ended unasked; also of instances that are closed by now.
    ends: VecDeque<(InstanceId, At)>,
    /// Answers of each endpoint that are no error of the server, and those of them that are 4xx.
    calls: BTreeMap<u32, (f64, f64)>,
    /// Nothing comes any more.
    over: bool,
}

impl Answers {
    /// Nothing comes any more: what could still become something else counts as what it is.
    pub(super) fn end(&mut self) {
        self.over = true;
    }

    /// Takes a window of load, with how many calls were under way. Returns, by endpoint, failed
    /// checks. (Those of calls that failed themselves are not told: see [`super::errors`].)
    pub(super) fn load(&mut self, window: &LoadWindow, under_way: f64) -> BTreeMap<u32, f64> {
        let mut wrong_by_endpoint = BTreeMap::new();
        for (endpoint, calls) in &window.endpoints {
            let sums = self.calls.entry(*endpoint).or_default();
            sums.0 += calls.calls.saturating_sub(calls.classes[4]) as f64;
            sums.1 += calls.classes[3] as f64;
            for (name, failed) in &calls.failed_checks {
                let known = self.checks.len();
                let key = (*endpoint, name.clone());
                if asks_for_speed(name) || (known >= KINDS_MAX && !self.checks.contains_key(&key)) {
                    continue;
                }
                let wrong = *failed as f64;
                let check = self.checks.entry(key).or_insert_with(|| Check {
                    first: window.at,
                    ..Check::default()
                });
                if wrong > 0.0 {
                    if check.wrong == 0.0 {
                        check.first = window.at;
                    }
                    check.wrong += wrong;
                    check.last = window.at;
                    if !check.instances.contains(&window.instance) {
                        check.instances.push(window.instance);
                    }
                    *wrong_by_endpoint.entry(*endpoint).or_insert(0.0) += wrong;
                }
            }
            for ((of, name), check) in &mut self.checks {
                if of == endpoint && calls.calls > 0 {
                    let failed = calls.failed_checks.get(name).copied().unwrap_or(0);
                    let wrong = failed as f64;
                    if check.cells.len() == CELLS_MAX {
                        check.cells.pop_front();
                    }
                    check
                        .cells
                        .push_back((under_way, wrong, calls.calls as f64));
                }
            }
        }
        wrong_by_endpoint
    }

    /// Several checks that fail on the same answers are one finding: that of the first by name.
    fn wrong_answers(&self, view: &View<'_>, drawn: &mut Vec<Conclusion>) {
        let mut told: Vec<(&(u32, String), &Check, usize)> = Vec::new();
        for (key, check) in self.checks.iter().filter(|(_, c)| c.wrong > 0.0) {
            let same = told
                .iter_mut()
                .find(|(known, first, _)| known.0 == key.0 && are_the_same(first, check));
            match same {
                Some((_, _, more)) => *more += 1,
                None => told.push((key, check, 0)),
            }
        }
        for ((endpoint, name), check, more) in told {
            let calls = self.calls.get(endpoint).copied().unwrap_or_default();
            drawn.push(wrong_answer(view, (*endpoint, name), check, more, calls));
        }
    }

    /// The process of an instance ended unasked.
    pub(super) fn ended(&mut self, at: At, instance: InstanceId) {
        if self.ends.len() == ENDS_MAX {
            self.ends.pop_front();
        }
        self.ends.push_back((instance, at));
    }

    pub(super) fn excepted(&mut self, at: At, seen: &ExceptionSeen) {
        let key = self.known_as(seen);
        if self.exceptions.len() >= KINDS_MAX && !self.exceptions.contains_key(&key) {
            return;
        }
        let exception = self.exceptions.entry(key).or_insert_with(|| Exception {
            seen: seen.clone(),
            count: 0,
            first: at,
            last: at,
            instances: Vec::new(),
            waiting: Vec::new(),
            votes: BTreeMap::new(),
            fresh: true,
        });
        exception.last = at;
        exception.fresh = true;
        exception.seen.message.clone_from(&seen.message);
        exception.seen.instance = seen.instance;
        let full = exception.waiting.len() >= WAITING_MAX;
        match exception.waiting.last_mut() {
            Some((_, _, count)) if full => *count += seen.count,
            _ => exception.waiting.push((seen.instance, at, seen.count)),
        }
    }

    /// The fingerprint under which it is counted: what says the same of the same place is the same, even
    /// when threads that wrote at once tore the calls around that place.
    fn known_as(&self, seen: &ExceptionSeen) -> String {
        let says_the_same = |known: &&String| {
            let other = &self.exceptions[*known].seen;
            !seen.frame.is_empty()
                && (&other.kind, &other.frame) == (&seen.kind, &seen.frame)
                && words::without_digits(&other.message) == words::without_digits(&seen.message)
        };
        if self.exceptions.contains_key(&seen.fingerprint) {
            return seen.fingerprint.clone();
        }
        let known = self.exceptions.keys().find(says_the_same);
        known.unwrap_or(&seen.fingerprint).clone()
    }

    /// The exceptions that `instance` told around `at`.
    pub(super) fn said_around(&self, instance: InstanceId, at: At) -> Option<&ExceptionSeen> {
        let near = |e: &&Exception| {
            let told =
                |(by, then, _): &(InstanceId, At, u64)| *by == instance && is_fatal(*then, at);
            !e.seen.plain_line && e.waiting.iter().any(told)
        };
        self.exceptions.values().find(near).map(|e| &e.seen)
    }

    pub(super) fn conclude(&mut self, view: &View<'_>, at: At, drawn: &mut Vec<Conclusion>) {
        self.wrong_answers(view, drawn);
        for (fingerprint, exception) in &mut self.exceptions {
            if exception.fresh {
                exception.vote(view);
                // Calls that it broke may be told a little later.
                exception.fresh = at.since(exception.last) < 2 * COINCIDE_US;
            }
            let failing: f64 = exception.votes.values().sum();
            exception.settle(&self.ends, at, self.over);
            // A line that merely has the level of an error counts when calls fail with it.
            let enough = !exception.seen.plain_line || (failing >= 1.0 && exception.count >= 3);
            if enough && exception.count > 0 {
                drawn.push(exception.conclusion(view, fingerprint));
            }
        }
    }
}

/// Whether checks of one endpoint fail on the same answers, as far as can be told.
fn are_the_same(one: &Check, other: &Check) -> bool {
    let most = one.wrong.max(other.wrong);
    (one.wrong - other.wrong).abs() <= ALIKE * most
        && one
            .first
            .since(other.first)
            .max(other.first.since(one.first))
            <= ALIKE_US
}

fn asks_for_speed(name: &str) -> bool {
    let name = name.to_lowercase();
    name.contains('<')
        || name
            .split(|c: char| !c.is_alphabetic())
            .any(|word| SPEED.contains(&word))
}

fn wrong_answer(
    view: &View<'_>,
    (endpoint, name): (u32, &str),
    check: &Check,
    more: usize,
    (calls, refused): (f64, f64),
) -> Conclusion {
    let calls = calls.max(check.wrong);
    let more = match more {
        0 => String::new(),
        _ => format!(" and {} more", words::counted(more as f64, "check")),
    };
    let mut sentence = format!(
        "{} answers wrongly: the check \"{}\"{more} failed on {:.0} of {} ({})",
        view.name(endpoint),
        words::cut(name),
        check.wrong,
        words::counted(calls, "answer"),
        words::percent(check.wrong / calls),
    );
    let mut evidence = vec![
        measured("failed", check.wrong, "checks"),
        measured("share of its answers", check.wrong / calls, "share"),
    ];
    if refused > 0.0 {
        let were = if refused < 1.5 { "was" } else { "were" };
        let answers = words::counted(refused, "answer");
        sentence.push_str(&format!("; {answers} {were} 4xx"));
        evidence.push(measured("answered with 4xx", refused, "answers"));
    }
    if let Some((level, below, above)) = concurrency(check) {
        sentence.push_str(&format!(
            ", nearly only with more than {level:.1} calls under way at once"
        ));
        evidence.push(measured("failed below that", below, "share"));
        evidence.push(measured("failed above that", above, "share"));
    }
    sentence.push('.');
    Conclusion {
        key: Key {
            kind: ServiceFindingKind::WrongAnswer,
            endpoint: Some(endpoint),
            detail: name.to_owned(),
        },
        instances: check.instances.clone(),
        endpoint: None,
        since: check.first,
        confidence: if check.wrong >= 3.0 { 0.98 } else { 0.8 },
        sentence,
        evidence,
        excerpts: view.exemplars(endpoint),
        needs: 1,
        patience: FOREVER,
        amount: check.wrong,
    }
}

/// Whether it fails only when much is under way: the level, and the shares below and above it.
fn concurrency(check: &Check) -> Option<(f64, f64, f64)> {
    let mut levels: Vec<f64> = check.cells.iter().map(|c| c.0).collect();
    levels.sort_unstable_by(f64::total_cmp);
    let level = *levels.get(levels.len() / 2)?;
    let side = |above: bool| {
        check
            .cells
            .iter()
            .filter(|c| (c.0 > level) == above)
            .fold((0.0, 0.0), |sum, c| (sum.0 + c.1, sum.1 + c.2))
    };
    let ((low, low_calls), (high, high_calls)) = (side(false), side(true));
    let pooled = (low + high) / (low_calls + high_calls).max(1.0);
    let expected = pooled * high_calls;
    let clear = low_calls >= 20.0
        && high >= 5.0
        && high / high_calls >= 4.0 * (low + 0.5) / low_calls
        && poisson_tail(expected, high) < 1e-2;
    clear.then_some((level, low / low_calls, high / high_calls))
}

/// Whether an exception told at `told` is taken to have ended a process that ended at `ended`.
fn is_fatal(told: At, ended: At) -> bool {
    ended.since(told) <= FATAL_US.0 && told.since(ended) <= FATAL_US.1
}

impl Exception {
    /// Counts those of which it is known by now that their process went on.
    fn settle(&mut self, ends: &VecDeque<(InstanceId, At)>, at: At, over: bool) {
        for (instance, told, count) in std::mem::take(&mut self.waiting) {
            if at.since(told) < KNOWN_US && !over {
                self.waiting.push((instance, told, count));
                continue;
            }
            let mut own = ends.iter().filter(|(ended, _)| *ended == instance);
            if own.any(|(_, end)| is_fatal(told, *end)) {
                continue;
            }
            if self.count == 0 {
                self.first = told;
            }
            self.count += count;
            if !self.instances.contains(&instance) {
                self.instances.push(instance);
            }
        }
    }

    /// Which endpoints' calls failed while it was seen.
    fn vote(&mut self, view: &View<'_>) {
        let Some(watched) = view.instances.get(&self.seen.instance) else {
            return;
        };
        // An exception ends as an error: wrong answers beside it have another cause.
        let mut votes: BTreeMap<u32, f64> = BTreeMap::new();
        for second in &watched.seconds {
            let near = second.at.since(self.last).max(self.last.since(second.at)) <= COINCIDE_US;
            for e in second.endpoints.iter().filter(|_| near) {
                let failed = e.errors + e.broken;
                if failed > 0.0 {
                    *votes.entry(e.endpoint).or_insert(0.0) += failed;
                }
            }
        }
        // The clearest moment counts: that in which the fewest endpoints failed.
        let clearer = self.votes.is_empty() || votes.len() < self.votes.len();
        if !votes.is_empty() && clearer {
            self.votes = votes;
        }
    }

    fn conclusion(&self, view: &View<'_>, fingerprint: &str) -> Conclusion {
        let total: f64 = self.votes.values().sum();
        let endpoint = self
            .votes
            .iter()
            .find(|(_, failed)| **failed >= 0.8 * total)
            .map(|(endpoint, _)| *endpoint);
        let place = if self.seen.frame.is_empty() {
            String::new()
        } else {
            format!(" at {}", words::cut(&self.seen.frame))
        };
        let beside = endpoint.map_or_else(String::new, |e| {
            format!(", while calls of {} failed", view.name(e))
        });
        let mut excerpts = vec![words::cut(&self.seen.message)];
        if !self.seen.frame.is_empty() {
            excerpts.push(words::cut(&self.seen.frame));
        }
        Conclusion {
            key: Key {
                kind: ServiceFindingKind::Exception,
                endpoint: None,
                detail: fingerprint.to_owned(),
            },
            instances: self.instances.clone(),
            endpoint,
            since: self.first,
            confidence: if self.seen.plain_line { 0.7 } else { 0.98 },
            sentence: format!(
                "{}: {}{place}, {} time{} on {}{beside}.",
                self.seen.kind,
                words::cut(&self.seen.message),
                self.count,
                if self.count == 1 { "" } else { "s" },
                words::instances(&self.instances),
            ),
            evidence: vec![measured("seen", self.count as f64, "times")],
            excerpts,
            needs: 1,
            patience: FOREVER,
            amount: self.count as f64,
        }
    }
}
