//! The findings that hold at present. A conclusion becomes a finding once it was drawn often
//! enough in a row, is updated when there is news of it, and is over when it was not drawn again
//! for its patience:
//!
//! ```text
//!   pending --- drawn `needs` times ---> open (said) --- not drawn for `patience` ---> over (said)
//!      |                                  |    ^
//!      +-- not drawn for a while: gone    +----+ another instance, an endpoint named, much more of it
//! ```
//!
//! What was over and is drawn again is the same finding, for another time. What turned out to have been
//! none is withdrawn rather than over: who knows that says so when its patience is at its end.
//!
//! One defect is one finding. What is said of an endpoint by a more telling kind takes over the number
//! of what was said of it before ([`absorbs`]); from then on, the less telling only keeps it open.

use std::collections::{BTreeMap, BTreeSet};

use cohort_model::{At, EndpointId, InstanceId, Measured, ServiceFinding, ServiceFindingKind};

use crate::findings::measured;

/// A conclusion that is not drawn again for this long is no longer pending, microseconds.
const PENDING_US: u64 = 3_500_000;
/// Findings kept in mind; the oldest that are over are forgotten first.
const KEPT_MAX: usize = 512;
/// Excerpts of a finding, at most.
const EXCERPTS_MAX: usize = 8;
/// Kinds of which each time is told, though they are not over in between: what hangs is restarted by us.
const TIMES_TOLD: [ServiceFindingKind; 1] = [ServiceFindingKind::Hang];
/// What was not drawn for so long, and then again, came again, microseconds.
const AGAIN_US: u64 = 8_000_000;
/// So many are told one by one.
const EACH_MAX: f64 = 5.0;

/// Never over by itself: it was seen, and stays seen.
pub(super) const FOREVER: u64 = u64::MAX;

/// Kinds that `kind`, of the same endpoint, says more of than they do themselves.
fn absorbs(kind: ServiceFindingKind) -> &'static [ServiceFindingKind] {
    use ServiceFindingKind::{
        CpuBlowUp, ErrorBurst, Errors, Exception, GrowingLatency, Hang, LockContention,
        SlowEndpoint,
    };
    match kind {
        GrowingLatency => &[SlowEndpoint],
        CpuBlowUp | LockContention => &[SlowEndpoint, GrowingLatency],
        Exception => &[ErrorBurst, Errors],
        Hang => &[ErrorBurst, Errors, SlowEndpoint, GrowingLatency],
        _ => &[],
    }
}

/// What makes two conclusions the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) kind: ServiceFindingKind,
    pub(super) endpoint: Option<u32>,
    /// Tells apart what kind and endpoint do not: a fingerprint, a check.
    pub(super) detail: String,
}

impl Key {
    pub(super) fn of(kind: ServiceFindingKind, endpoint: Option<u32>) -> Key {
        Key {
            kind,
            endpoint,
            detail: String::new(),
        }
    }
}

/// One conclusion about one instance (or several) now.
#[derive(Clone, Debug)]
pub(super) struct Conclusion {
    pub(super) key: Key,
    pub(super) instances: Vec<InstanceId>,
    /// The endpoint it is about, when the key does not say so.
    pub(super) endpoint: Option<u32>,
    pub(super) since: At,
    pub(super) confidence: f64,
    pub(super) sentence: String,
    pub(super) evidence: Vec<Measured>,
    pub(super) excerpts: Vec<String>,
    /// How often it must be drawn in a row.
    pub(super) needs: u32,
    /// Microseconds after which it is over.
    pub(super) patience: u64,
    /// How much of it there is; twice as much is news, and so is each of the first few.
    pub(super) amount: f64,
}

/// How a finding that is not drawn any more ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It is over.
    Over,
    /// It turned out to have been none.
    Withdrawn,
    /// It shows no more since its instances were started again, which is no cure.
    Restarted,
}

#[derive(Clone, Debug)]
struct Entry {
    finding: Option<ServiceFinding>,
    /// The finding, when it does not hold at present but held before.
    past: Option<ServiceFinding>,
    /// How often it came again.
    again: u32,
    drawn: u32,
    drawn_at: At,
    last: At,
    patience: u64,
    amount_said: f64,
}

/// All findings.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    next: u32,
    entries: BTreeMap<Key, Entry>,
    /// What is said from now on is the last word.
    is_last: bool,
}

impl Book {
    /// What is said next is the last word: how much it came to is news then.
    pub(super) fn end(&mut self) {
        self.is_last = true;
    }

    /// Whether a finding of `kind` that is about `endpoint`, when given, holds.
    pub(super) fn holds(&self, kind: ServiceFindingKind, endpoint: Option<u32>) -> bool {
        self.entries.iter().any(|(key, entry)| {
            key.kind == kind
                && entry.finding.as_ref().is_some_and(|f| {
                    !f.ended && (endpoint.is_none() || f.endpoint.map(|e| e.0) == endpoint)
                })
        })
    }

    /// Whether the very finding holds.
    pub(super) fn stands(&self, key: &Key) -> bool {
        let entry = self.entries.get(key);
        entry.is_some_and(|entry| entry.finding.is_some())
    }

    /// Keeps a finding that holds from being over, without news.
    pub(super) fn hold(&mut self, key: &Key, at: At) {
        if let Some(entry) = self.entries.get_mut(key)
            && entry.finding.is_some()
        {
            entry.last = at;
        }
    }

    /// Takes a conclusion drawn at `at`; says what is news.
    pub(super) fn draw(&mut self, at: At, drawn: &Conclusion, said: &mut Vec<ServiceFinding>) {
        if self.entries.len() >= KEPT_MAX && !self.entries.contains_key(&drawn.key) {
            return;
        }
        let endpoint = drawn.key.endpoint.or(drawn.endpoint).map(EndpointId);
        if self.is_absorbed(at, drawn.key.kind, endpoint) {
            return;
        }
        let entry = self.entries.entry(drawn.key.clone()).or_insert(Entry {
            finding: None,
            past: None,
            again: 0,
            drawn: 0,
            drawn_at: at,
            last: at,
            patience: drawn.patience,
            amount_said: 0.0,
        });
        entry.drawn = entry.drawn.saturating_add(1);
        entry.last = at;
        entry.patience = drawn.patience;
        if entry.finding.is_none() && entry.drawn < drawn.needs {
            return;
        }
        let quiet = at.since(std::mem::replace(&mut entry.drawn_at, at));
        let past = entry.past.take();
        let was_none = past.as_ref().is_some_and(|past| past.withdrawn);
        let came_again =
            entry.finding.is_some() && quiet > AGAIN_US && TIMES_TOLD.contains(&drawn.key.kind);
        entry.again += u32::from(came_again || (past.is_some() && !was_none));
        let mut drawn = drawn.clone();
        if entry.again > 0 {
            let sentence = drawn.sentence.trim_end_matches('.');
            drawn.sentence = format!("{sentence}; for the {} time.", ordinal(entry.again + 1));
            let times = f64::from(entry.again + 1);
            drawn.evidence.push(measured("came", times, "times"));
        }
        let drawn = &drawn;
        let is_due = came_again || (self.is_last && drawn.amount > entry.amount_said);
        let (news, finding) = match (entry.finding.take(), past) {
            (Some(known), _) => updated(known, drawn, endpoint, at, entry.amount_said, is_due),
            (None, Some(past)) => (true, resumed(past, drawn, endpoint, at)),
            (None, None) => (true, self.begin(drawn, endpoint, at)),
        };
        let Some(entry) = self.entries.get_mut(&drawn.key) else {
            return;
        };
        if news {
            entry.amount_said = drawn.amount;
            said.push(finding.clone());
        }
        entry.finding = Some(finding);
    }

    /// Whether a more telling finding of the same endpoint holds; it goes on then.
    fn is_absorbed(
        &mut self,
        at: At,
        kind: ServiceFindingKind,
        endpoint: Option<EndpointId>,
    ) -> bool {
        let mut absorbed = false;
        for (key, entry) in &mut self.entries {
            let holds = entry
                .finding
                .as_ref()
                .is_some_and(|f| f.endpoint == endpoint);
            if endpoint.is_some() && holds && absorbs(key.kind).contains(&kind) {
                entry.last = at;
                absorbed = true;
            }
        }
        absorbed
    }

    /// A finding that is said for the first time: under the number of a less telling one of the same
    /// endpoint, when there is one.
    fn begin(
        &mut self,
        drawn: &Conclusion,
        endpoint: Option<EndpointId>,
        at: At,
    ) -> ServiceFinding {
        let less = absorbs(drawn.key.kind);
        let taken_over = self.entries.iter().find(|(key, entry)| {
            let same = entry
                .finding
                .as_ref()
                .is_some_and(|f| f.endpoint == endpoint);
            endpoint.is_some() && same && less.contains(&key.kind)
        });
        let Some(key) = taken_over.map(|(key, _)| key.clone()) else {
            self.next += 1;
            return begun(self.next - 1, drawn, endpoint, at);
        };
        let before = self.entries.remove(&key).and_then(|entry| entry.finding);
        let number = before.as_ref().map_or(self.next, |f| f.number);
        let mut finding = begun(number, drawn, endpoint, at);
        if let Some(before) = before {
            let mut instances: BTreeSet<InstanceId> = before.instances.into_iter().collect();
            instances.extend(&finding.instances);
            finding.instances = instances.into_iter().collect();
            add_excerpts(&mut finding.excerpts, &before.excerpts);
        }
        finding
    }

    /// Ends what was not drawn for its patience. `how`: what is known of that, of a finding that was drawn
    /// last at a time.
    pub(super) fn settle(
        &mut self,
        at: At,
        how: impl Fn(&ServiceFinding, At) -> End,
        said: &mut Vec<ServiceFinding>,
    ) {
        let crowded = self.entries.len() > KEPT_MAX / 2;
        self.entries.retain(|_, entry| {
            let quiet = at.since(entry.last);
            if let Some(mut finding) = entry.finding.take_if(|_| quiet > entry.patience) {
                let end = how(&finding, entry.last);
                finding.ended = true;
                finding.withdrawn = end == End::Withdrawn;
                finding.at = at;
                if end == End::Restarted {
                    let sentence = finding.sentence.trim_end_matches('.');
                    finding.sentence = format!("{sentence}; no more since it was started again.");
                }
                said.push(finding.clone());
                entry.past = Some(finding);
                entry.drawn = 0;
            } else if entry.finding.is_none() && quiet > PENDING_US {
                entry.drawn = 0;
                return entry.past.is_some() && !crowded;
            }
            true
        });
    }
}

/// A finding that held before and holds again.
fn resumed(
    past: ServiceFinding,
    drawn: &Conclusion,
    endpoint: Option<EndpointId>,
    at: At,
) -> ServiceFinding {
    let known = ServiceFinding {
        ended: false,
        withdrawn: false,
        ..past
    };
    updated(known, drawn, endpoint, at, 0.0, true).1
}

fn ordinal(number: u32) -> String {
    let end = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{end}")
}

fn begun(number: u32, drawn: &Conclusion, endpoint: Option<EndpointId>, at: At) -> ServiceFinding {
    let mut excerpts = drawn.excerpts.clone();
    excerpts.truncate(EXCERPTS_MAX);
    ServiceFinding {
        number,
        kind: drawn.key.kind,
        instances: drawn.instances.clone(),
        endpoint,
        at,
        since: drawn.since.min(at),
        ended: false,
        withdrawn: false,
        confidence: drawn.confidence,
        sentence: drawn.sentence.clone(),
        evidence: drawn.evidence.clone(),
        excerpts,
        told: Vec::new(),
        artifacts: Vec::new(),
    }
}

fn updated(
    known: ServiceFinding,
    drawn: &Conclusion,
    endpoint: Option<EndpointId>,
    at: At,
    amount_said: f64,
    is_due: bool,
) -> (bool, ServiceFinding) {
    let mut instances: BTreeSet<InstanceId> = known.instances.iter().copied().collect();
    instances.extend(&drawn.instances);
    let news = is_due
        || instances.len() > known.instances.len()
        || (known.endpoint.is_none() && endpoint.is_some())
        || drawn.confidence >= known.confidence + 0.15
        || much_more(drawn.amount, amount_said);
    if !news {
        return (false, known);
    }
    let mut excerpts = drawn.excerpts.clone();
    excerpts.truncate(EXCERPTS_MAX);
    add_excerpts(&mut excerpts, &known.excerpts);
    let finding = ServiceFinding {
        instances: instances.into_iter().collect(),
        endpoint: endpoint.or(known.endpoint),
        at,
        confidence: drawn.confidence.max(known.confidence),
        sentence: drawn.sentence.clone(),
        evidence: drawn.evidence.clone(),
        excerpts,
        ..known
    };
    (true, finding)
}

/// Twice as much; of what is counted one by one also each of the first few.
fn much_more(amount: f64, said: f64) -> bool {
    let few = amount <= EACH_MAX && amount >= said + 1.0;
    amount > 0.0 && (few || amount >= 2.0 * said)
}

fn add_excerpts(excerpts: &mut Vec<String>, more: &[String]) {
    for excerpt in more {
        if excerpts.len() < EXCERPTS_MAX && !excerpts.contains(excerpt) {
            excerpts.push(excerpt.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conclusion(kind: ServiceFindingKind, amount: f64) -> Conclusion {
        Conclusion {
            key: Key::of(kind, Some(1)),
            instances: vec![InstanceId(0)],
            endpoint: None,
            since: At(0),
            confidence: 0.9,
            sentence: format!("{kind:?} {amount}."),
            evidence: Vec::new(),
            excerpts: vec![format!("{kind:?}")],
            needs: 1,
            patience: 10_000_000,
            amount,
        }
    }

    #[test]
    fn what_says_more_takes_over_the_number_and_is_kept_by_what_says_less() {
        use ServiceFindingKind::{GrowingLatency, SlowEndpoint};
        let (mut book, mut said) = (Book::default(), Vec::new());
        book.draw(At(1), &conclusion(SlowEndpoint, 9.0), &mut said);
        book.draw(At(2), &conclusion(GrowingLatency, 9.0), &mut said);
        let known: Vec<_> = said.iter().map(|f| (f.number, f.kind, f.ended)).collect();
        assert_eq!(
            known,
            [(0, SlowEndpoint, false), (0, GrowingLatency, false)]
        );
        assert_eq!(said[1].excerpts, ["GrowingLatency", "SlowEndpoint"]);
        book.draw(At(9_000_000), &conclusion(SlowEndpoint, 99.0), &mut said);
        book.settle(At(15_000_000), |_, _| End::Over, &mut said);
        assert_eq!(said.len(), 2, "it goes on, and nothing is news: {said:?}");
        book.settle(At(20_000_000), |_, _| End::Over, &mut said);
        assert!(said[2].ended && said[2].number == 0, "{said:?}");
    }

    #[test]
    fn the_first_few_are_told_one_by_one_and_then_twice_as_many() {
        let (mut book, mut said) = (Book::default(), Vec::new());
        for count in 1..=25u32 {
            let crash = conclusion(ServiceFindingKind::Crash, f64::from(count));
            book.draw(At(1), &crash, &mut said);
        }
        let told: Vec<&str> = said.iter().map(|f| f.sentence.as_str()).collect();
        let counts = [1, 2, 3, 4, 5, 10, 20].map(|count| format!("Crash {count}."));
        assert_eq!(told, counts);
    }

    #[test]
    fn what_comes_again_is_the_same_finding_for_another_time() {
        let (mut book, mut said) = (Book::default(), Vec::new());
        let hang = conclusion(ServiceFindingKind::Hang, 0.0);
        let other = conclusion(ServiceFindingKind::Crash, 0.0);
        for second in [1, 2, 3, 12, 13] {
            book.draw(At(second * 1_000_000), &hang, &mut said);
            book.draw(At(second * 1_000_000), &other, &mut said);
        }
        let over = At(40_000_000);
        book.settle(over, |_, _| End::Over, &mut said);
        book.settle(At(90_000_000), |_, _| End::Over, &mut said);
        book.draw(At(91_000_000), &hang, &mut said);
        let hangs = said.iter().filter(|f| f.kind == ServiceFindingKind::Hang);
        let told: Vec<_> = hangs
            .map(|f| (f.number, f.ended, f.sentence.as_str()))
            .collect();
        let expected = [
            (0, false, "Hang 0."),
            (0, false, "Hang 0; for the 2nd time."),
            (0, true, "Hang 0; for the 2nd time."),
            (0, false, "Hang 0; for the 3rd time."),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn the_last_word_says_how_much_it_came_to() {
        let (mut book, mut said) = (Book::default(), Vec::new());
        for count in [10.0, 11.0, 12.0] {
            let failures = conclusion(ServiceFindingKind::Errors, count);
            book.draw(At(1), &failures, &mut said);
            if count > 10.5 {
                book.end();
            }
        }
        let told: Vec<&str> = said.iter().map(|f| f.sentence.as_str()).collect();
        assert_eq!(told, ["Errors 10.", "Errors 12."]);
    }

    #[test]
    fn what_was_none_is_withdrawn_and_no_fault_any_more() {
        let (mut book, mut said) = (Book::default(), Vec::new());
        let leak = conclusion(ServiceFindingKind::MemoryLeak, 9.0);
        book.draw(At(1), &leak, &mut said);
        book.settle(At(20_000_000), |_, _| End::Withdrawn, &mut said);
        book.draw(At(30_000_000), &leak, &mut said);
        let told: Vec<_> = said
            .iter()
            .map(|f| (f.number, f.ended, f.withdrawn, f.is_fault()))
            .collect();
        let expected = [
            (0, false, false, true),
            (0, true, true, false),
            (0, false, false, true),
        ];
        assert_eq!(told, expected);
        assert_eq!(said[2].sentence, "MemoryLeak 9.");
    }

    #[test]
    fn what_was_started_again_is_not_merely_over() {
        let (mut book, mut said) = (Book::default(), Vec::new());
        let hang = conclusion(ServiceFindingKind::Hang, 0.0);
        book.draw(At(1), &hang, &mut said);
        book.settle(At(20_000_000), |_, _| End::Restarted, &mut said);
        assert!(said[1].ended && !book.stands(&hang.key), "{said:#?}");
        assert_eq!(
            said[1].sentence,
            "Hang 0; no more since it was started again."
        );
    }
}
