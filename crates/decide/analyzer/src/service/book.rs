//! The findings that hold at present. A conclusion becomes a finding once it was drawn often
//! enough in a row, is updated when there is news of it, and is over when it was not drawn again
//! for its patience:
//!
//! ```text
//!   pending --- drawn `needs` times ---> open (said) --- not drawn for `patience` ---> over (said)
//!      |                                  |    ^
//!      +-- not drawn for a while: gone    +----+ another instance, an endpoint named, much more of it
//! ```

use std::collections::{BTreeMap, BTreeSet};

use cohort_model::{At, EndpointId, InstanceId, Measured, ServiceFinding, ServiceFindingKind};

/// A conclusion that is not drawn again for this long is no longer pending, microseconds.
const PENDING_US: u64 = 3_500_000;
/// Findings kept in mind; the oldest that are over are forgotten first.
const KEPT_MAX: usize = 512;
/// Excerpts of a finding, at most.
const EXCERPTS_MAX: usize = 8;

/// Never over by itself: it was seen, and stays seen.
pub(super) const FOREVER: u64 = u64::MAX;

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
    /// How much of it there is; twice as much is news.
    pub(super) amount: f64,
}

#[derive(Clone, Debug)]
struct Entry {
    finding: Option<ServiceFinding>,
    drawn: u32,
    last: At,
    patience: u64,
    amount_said: f64,
}

/// All findings.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    next: u32,
    entries: BTreeMap<Key, Entry>,
}

impl Book {
    /// Whether a finding of `kind` that is about `endpoint`, when given, holds.
    pub(super) fn holds(&self, kind: ServiceFindingKind, endpoint: Option<u32>) -> bool {
        self.entries.iter().any(|(key, entry)| {
            key.kind == kind
                && entry.finding.as_ref().is_some_and(|f| {
                    !f.ended && (endpoint.is_none() || f.endpoint.map(|e| e.0) == endpoint)
                })
        })
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
        let entry = self.entries.entry(drawn.key.clone()).or_insert(Entry {
            finding: None,
            drawn: 0,
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
        let endpoint = drawn.key.endpoint.or(drawn.endpoint).map(EndpointId);
        let (news, finding) = match entry.finding.take() {
            None => {
                let number = self.next;
                self.next += 1;
                (true, begun(number, drawn, endpoint, at))
            }
            Some(known) => updated(known, drawn, endpoint, at, entry.amount_said),
        };
        if news {
            entry.amount_said = drawn.amount;
            said.push(finding.clone());
        }
        entry.finding = Some(finding);
    }

    /// Ends what was not drawn for its patience.
    pub(super) fn settle(&mut self, at: At, said: &mut Vec<ServiceFinding>) {
        self.entries.retain(|_, entry| {
            let quiet = at.since(entry.last);
            match &mut entry.finding {
                None => quiet <= PENDING_US,
                Some(finding) if quiet > entry.patience => {
                    finding.ended = true;
                    finding.at = at;
                    said.push(finding.clone());
                    false
                }
                Some(_) => true,
            }
        });
    }
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
        confidence: drawn.confidence,
        sentence: drawn.sentence.clone(),
        evidence: drawn.evidence.clone(),
        excerpts,
    }
}

fn updated(
    known: ServiceFinding,
    drawn: &Conclusion,
    endpoint: Option<EndpointId>,
    at: At,
    amount_said: f64,
) -> (bool, ServiceFinding) {
    let mut instances: BTreeSet<InstanceId> = known.instances.iter().copied().collect();
    instances.extend(&drawn.instances);
    let news = instances.len() > known.instances.len()
        || (known.endpoint.is_none() && endpoint.is_some())
        || drawn.confidence >= known.confidence + 0.15
        || (drawn.amount >= 2.0 * amount_said && drawn.amount > 0.0);
    if !news {
        return (false, known);
    }
    let mut excerpts = known.excerpts;
    for excerpt in &drawn.excerpts {
        if excerpts.len() < EXCERPTS_MAX && !excerpts.contains(excerpt) {
            excerpts.push(excerpt.clone());
        }
    }
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
