//! What is tried before anything is left out by halving: the request that went odd alone, with those whose answers it uses, and its
//! iteration alone.
//!
//! ```text
//!   shows the case, twice ─▶ only that is cut further
//!   passes ────────────────▶ the next guess, then halves of all
//! ```
//!
//! A failed check is another matter. What the script expects of an answer may rest on what it did itself before: with that left out
//! the check fails of itself, on a server without any fault. So the checked request is played without what the iteration did before:
//! when the check fails then, all that changes something stays in.
//!
//! Promise: no request is left out of a wrong answer that its check may rest on.

use std::collections::VecDeque;

use cohort_model::{CasePart, CaseRequest, SymptomKind};
use cohort_replicator::minimize::{Candidate, Count};

use super::capsule::Capsule;
use super::gauge::Gauge;

/// Requests of one case that may be why, at most.
const GUESSES_MAX: usize = 3;
/// Plays of one guess that are enough when all show the case, or none does.
const ENOUGH: u32 = 2;
/// A guess about what shows now and then is played so often at most.
const PLAYS_MAX: u32 = 10;
/// A guess that would have shown it by now with this probability is given up, once it did not.
const MISSED: f64 = 0.1;

/// What became of guesses.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Guessed {
    /// Nothing yet.
    Open,
    /// This shows it, so often.
    Right(Vec<CasePart>, Count),
    /// The check fails without what came before it: it may rest on that.
    Rests,
    /// None shows it.
    Wrong,
}

/// Guesses about one case, in their order.
#[derive(Debug)]
pub(super) struct Guesses {
    lists: VecDeque<Vec<CasePart>>,
    count: Count,
    under_way: u32,
    /// It is a check that may rest on what came before.
    rests: bool,
    /// How often the case shows as it is.
    known: Count,
}

impl Guesses {
    /// Of a capsule whose case showed so often.
    pub(super) fn new(capsule: &Capsule, with_pieces: bool, known: Count) -> Self {
        let checks = capsule.symptom.kind == SymptomKind::WrongAnswer;
        let mut lists = VecDeque::new();
        if capsule.known.is_none() {
            let mut likeliest = capsule.suspicious();
            likeliest.truncate(GUESSES_MAX);
            lists.extend(likeliest.iter().map(|one| capsule.alone(*one, with_pieces)));
            for iteration in likeliest
                .iter()
                .filter_map(|one| capsule.iteration_of(*one, with_pieces))
            {
                if !checks && !lists.contains(&iteration) {
                    lists.push_back(iteration);
                }
            }
        }
        Self {
            lists,
            count: Count::default(),
            under_way: 0,
            rests: checks && !capsule.changing().is_empty(),
            known,
        }
    }

    /// What to play next; `None`: nothing before something under way has ended.
    pub(super) fn next(&mut self) -> Option<Candidate<CasePart>> {
        let kept = self.lists.front()?.clone();
        let is_enough = self.count.runs + self.under_way >= PLAYS_MAX || self.under_way >= ENOUGH;
        if is_enough {
            return None;
        }
        self.under_way += 1;
        Some(Candidate { kept })
    }

    /// How often the case shows as it is.
    pub(super) fn known(&self) -> Count {
        self.known
    }

    /// Whether there is none left.
    pub(super) fn is_over(&self) -> bool {
        self.lists.is_empty()
    }

    /// A play has ended: it showed the case, or not, or says nothing.
    pub(super) fn ended(&mut self, played: &Candidate<CasePart>, shown: Option<bool>) -> Guessed {
        if self.lists.front() != Some(&played.kept) {
            return Guessed::Open;
        }
        self.under_way = self.under_way.saturating_sub(1);
        let Some(shown) = shown else {
            return Guessed::Open;
        };
        self.count.add(shown);
        if self.rests {
            return self.check(shown);
        }
        let rate = self.known.rate();
        let often = f64::from(self.count.failed) >= rate / 2.0 * f64::from(self.count.runs);
        let missed = (1.0 - rate).powi(self.count.runs as i32) < MISSED;
        if self.count.failed >= ENOUGH && often {
            let right = Guessed::Right(played.kept.clone(), self.count);
            self.lists.clear();
            return right;
        }
        let is_wrong = self.count.failed == 0 && missed && self.count.runs >= ENOUGH;
        if is_wrong || self.count.runs >= PLAYS_MAX {
            return self.give_up();
        }
        Guessed::Open
    }

    /// The checked request was played without what came before.
    fn check(&mut self, shown: bool) -> Guessed {
        if shown {
            self.lists.clear();
            return Guessed::Rests;
        }
        if self.count.runs >= ENOUGH {
            return self.give_up();
        }
        Guessed::Open
    }

    fn give_up(&mut self) -> Guessed {
        self.lists.pop_front();
        self.count = Count::default();
        self.under_way = 0;
        match self.lists.is_empty() {
            true => Guessed::Wrong,
            false => Guessed::Open,
        }
    }
}

impl Capsule {
    /// Requests that may be why, the likeliest first.
    fn suspicious(&self) -> Vec<u32> {
        let numbered = || (0..).zip(&self.requests);
        let of_subject = |request: &CaseRequest| request.endpoint == self.subject;
        let failed = |request: &CaseRequest| request.status == 0 || request.status >= 500;
        let mut found: Vec<u32> = match &self.gauge {
            Gauge::Odd if self.symptom.kind == SymptomKind::WrongAnswer => {
                let all = numbered().filter(|(_, request)| of_subject(request));
                // Only one of several can be told apart from what it rests on.
                all.map(|(number, _)| number).last().into_iter().collect()
            }
            Gauge::Odd | Gauge::Hangs => numbered()
                .filter(|(_, request)| failed(request))
                .filter(|(_, request)| self.subject.is_empty() || of_subject(request))
                .map(|(number, _)| number)
                .collect(),
            Gauge::Slow(_) => {
                let parts = self.parts();
                let kept = |number: u32| parts.contains(&CasePart::Request(number));
                let all = numbered().filter(|(number, one)| of_subject(one) && kept(*number));
                let slowest = all.max_by_key(|(_, request)| request.took_us);
                slowest.map(|(number, _)| number).into_iter().collect()
            }
            Gauge::Slower | Gauge::Grows(_) => {
                let mut all = numbered().filter(|(_, request)| of_subject(request));
                all.next().map(|(number, _)| number).into_iter().collect()
            }
        };
        // What was under way last is the likeliest.
        found.reverse();
        found
    }

    /// One request, with all of its pieces.
    fn alone(&self, number: u32, with_pieces: bool) -> Vec<CasePart> {
        let mut parts = vec![CasePart::Request(number)];
        if let Some(request) = self.requests.get(number as usize).filter(|_| with_pieces) {
            let pieces = request.pieces.iter();
            parts.extend(pieces.map(|piece| CasePart::Piece(number, piece.clone())));
        }
        parts
    }

    /// All of the iteration of a request, where that is not all there is.
    fn iteration_of(&self, number: u32, with_pieces: bool) -> Option<Vec<CasePart>> {
        let of = self.requests.get(number as usize)?;
        let is_its = |one: &CaseRequest| (one.thread, one.iteration) == (of.thread, of.iteration);
        let others = self.requests.iter().any(|one| !is_its(one));
        let numbered = (0..).zip(&self.requests);
        let numbers = numbered.filter(|(_, one)| is_its(one)).map(|(at, _)| at);
        others.then(|| numbers.flat_map(|at| self.alone(at, with_pieces)).collect())
    }

    /// Requests that a check of the subject's last answer may rest on: those of its iteration that change something, and those that
    /// ask for the same.
    pub(super) fn changing(&self) -> Vec<u32> {
        let numbered = || (0..).zip(&self.requests);
        let of_subject = numbered().filter(|(_, request)| request.endpoint == self.subject);
        let Some((checked, of)) = of_subject.last() else {
            return Vec::new();
        };
        let before = numbered().take_while(|(number, _)| *number < checked);
        let rests_on = |request: &CaseRequest| {
            let reads = matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS");
            (request.thread, request.iteration) == (of.thread, of.iteration)
                && (!reads || request.endpoint == self.subject)
        };
        before
            .filter(|(_, request)| rests_on(request))
            .map(|(number, _)| number)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guesses(lists: usize, rests: bool) -> Guesses {
        let lists = (0..lists as u32).map(|number| vec![CasePart::Request(number)]);
        Guesses {
            lists: lists.collect(),
            count: Count::default(),
            under_way: 0,
            rests,
            known: Count { runs: 2, failed: 2 },
        }
    }

    fn play(guesses: &mut Guesses, shown: bool) -> Guessed {
        let next = guesses.next().unwrap();
        guesses.ended(&next, Some(shown))
    }

    #[test]
    fn a_guess_that_shows_it_twice_is_right_and_one_that_passes_makes_room_for_the_next() {
        let mut all = guesses(2, false);
        assert_eq!(play(&mut all, false), Guessed::Open);
        assert_eq!(play(&mut all, false), Guessed::Open);
        assert_eq!(all.next().unwrap().kept, [CasePart::Request(1)]);
        all.under_way = 0;
        assert_eq!(play(&mut all, true), Guessed::Open);
        let right = Guessed::Right(vec![CasePart::Request(1)], Count { runs: 2, failed: 2 });
        assert_eq!(play(&mut all, true), right);
        assert!(all.is_over());
    }

    #[test]
    fn a_check_that_fails_alone_rests_on_what_came_before() {
        assert_eq!(play(&mut guesses(1, true), true), Guessed::Rests);
        let mut all = guesses(1, true);
        assert_eq!(play(&mut all, false), Guessed::Open);
        assert_eq!(play(&mut all, false), Guessed::Wrong);
    }
}
