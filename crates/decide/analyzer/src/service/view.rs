//! What judges look at: all that is known at one time.

use std::collections::BTreeMap;

use cohort_model::{CallSeen, InstanceId, ServiceFindingKind};

use super::book::{Book, Key};
use super::record::{Second, Watched};
use super::{ServiceSettings, words};

/// Share of an endpoint's calls below which its floor lies, and calls that takes.
const FLOOR_SHARE: f64 = 0.005;
const FLOOR_CALLS_MIN: u64 = 40;

/// Least latency of an endpoint, from all of its calls.
#[derive(Clone, Debug, Default)]
pub(super) struct Floor {
    counts: BTreeMap<u64, u64>,
    total: u64,
}

impl Floor {
    pub(super) fn add(&mut self, latency: &[(u64, u64)]) {
        for (bound, calls) in latency {
            // Buckets are a tenth wide at most; what is far beyond the floor needs no place.
            if self.counts.len() < 512 || self.counts.contains_key(bound) {
                *self.counts.entry(*bound).or_default() += calls;
                self.total += calls;
            }
        }
    }

    fn us(&self) -> Option<f64> {
        if self.total < FLOOR_CALLS_MIN {
            return None;
        }
        let rank = (self.total as f64 * FLOOR_SHARE).max(2.0);
        let mut seen = 0.0;
        self.counts.iter().find_map(|(bound, calls)| {
            seen += *calls as f64;
            (seen >= rank).then_some(*bound as f64)
        })
    }
}

/// What judges look at.
pub(super) struct View<'a> {
    pub(super) settings: &'a ServiceSettings,
    pub(super) names: &'a BTreeMap<u32, String>,
    pub(super) instances: &'a BTreeMap<InstanceId, Watched>,
    pub(super) floors: &'a BTreeMap<u32, Floor>,
    pub(super) exemplars: &'a BTreeMap<u32, Vec<(f64, CallSeen)>>,
    pub(super) book: &'a Book,
}

impl View<'_> {
    pub(super) fn name(&self, endpoint: u32) -> String {
        self.names
            .get(&endpoint)
            .cloned()
            .unwrap_or_else(|| format!("endpoint e{endpoint}"))
    }

    /// Whether calls of it change data, by its method.
    pub(super) fn writes(&self, endpoint: u32) -> bool {
        const WRITES: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];
        self.names
            .get(&endpoint)
            .is_some_and(|name| WRITES.iter().any(|method| name.starts_with(method)))
    }

    pub(super) fn floor_us(&self, endpoint: u32) -> Option<f64> {
        self.floors.get(&endpoint)?.us()
    }

    /// Mean length of its answers of late, bytes.
    pub(super) fn mean_answer(&self, endpoint: u32) -> f64 {
        let (sum, calls) = self
            .recent(60.0)
            .filter_map(|second| second.endpoint(endpoint))
            .fold((0.0, 0.0), |sums, e| {
                (sums.0 + e.received, sums.1 + e.calls)
            });
        sum / f64::max(calls, 1.0)
    }

    /// The slowest requests of late.
    pub(super) fn exemplars(&self, endpoint: u32) -> Vec<String> {
        self.requests(endpoint, 0.0)
    }

    /// Requests that were, or are, under way for most of `seconds`.
    pub(super) fn asked_for(&self, endpoint: u32, seconds: f64) -> Vec<String> {
        self.requests(endpoint, seconds * 5e5)
    }

    fn requests(&self, endpoint: u32, least_us: f64) -> Vec<String> {
        let kept = self.exemplars.get(&endpoint).map_or(&[][..], Vec::as_slice);
        kept.iter()
            .filter(|(_, call)| call.took_us as f64 >= least_us)
            .map(|(_, call)| {
                let body = if call.body.is_empty() {
                    String::new()
                } else {
                    format!(" {}", call.body)
                };
                let took = words::time(call.took_us as f64);
                words::cut(&format!("{}{body} ({took})", call.request))
            })
            .collect()
    }

    /// Whether no two calls of it differ in what they ask for, as far as its slowest ones show: nothing
    /// in its path, no query and no body.
    pub(super) fn has_one_input(&self, endpoint: u32) -> bool {
        let name = self.name(endpoint);
        let kept = self.exemplars.get(&endpoint).map_or(&[][..], Vec::as_slice);
        let only = |(_, call): &(f64, CallSeen)| call.request == name && call.body.is_empty();
        !kept.is_empty() && kept.iter().all(only)
    }

    /// Endpoints called on an instance of late.
    pub(super) fn endpoints_of(&self, watched: &Watched) -> Vec<u32> {
        let mut all: Vec<u32> = watched
            .recent(20.0)
            .flat_map(|s| s.endpoints.iter().map(|e| e.endpoint))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    pub(super) fn all_endpoints(&self) -> Vec<u32> {
        let mut all: Vec<u32> = self
            .instances
            .values()
            .flat_map(|watched| self.endpoints_of(watched))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// All seconds of all instances.
    pub(super) fn recent(&self, seconds: f64) -> impl Iterator<Item = &Second> {
        self.instances
            .values()
            .flat_map(move |watched| watched.recent(seconds))
    }

    /// Instances on which it was answered of late.
    pub(super) fn answering(&self, endpoint: u32) -> Vec<InstanceId> {
        self.instances
            .iter()
            .filter(|(_, w)| w.recent(20.0).any(|s| s.endpoint(endpoint).is_some()))
            .map(|(instance, _)| *instance)
            .collect()
    }

    /// Whether its calls are not answered, or those of an instance as a whole.
    pub(super) fn hangs(&self, endpoint: u32) -> bool {
        use ServiceFindingKind::Hang;
        self.book.stands(&Key::of(Hang, None)) || self.book.stands(&Key::of(Hang, Some(endpoint)))
    }

    /// Whether another finding says why it is slow.
    pub(super) fn explained(&self, endpoint: u32) -> bool {
        use ServiceFindingKind::{CpuBlowUp, GrowingLatency, LockContention};
        self.book.holds(GrowingLatency, Some(endpoint))
            || self.book.holds(CpuBlowUp, None)
            || self.book.holds(LockContention, None)
            || self.hangs(endpoint)
    }
}
