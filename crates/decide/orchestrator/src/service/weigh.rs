//! Which instances, and which endpoints of them, answer slower than their peers, and how many threads
//! each instance is to have for it.
//!
//! A slow instance keeps a part of its threads: what it does is evidence.

use std::collections::BTreeMap;

use cohort_model::{At, InstanceId, Policy, ServiceFindingKind, ServiceReason};

use super::load::Profile;
use super::state::Place;
use super::{BEAT_US, Conductor, ServiceStep};

/// Latencies are compared over so long, microseconds.
pub(super) const RECENT_US: u64 = 5_000_000;
/// Fewer calls tell nothing.
const CALLS_MIN: f64 = 30.0;
/// Slow, relative to the peers.
const SLOW: f64 = 1.5;
/// No longer slow.
const RECOVERED: f64 = 1.15;
/// Beats in a row until it is believed.
const BEATS: u32 = 3;
/// An endpoint is suspected when it is so slow, relative to the peers; the analyzer needs longer, but
/// less.
const SUSPECT: f64 = 2.0;
/// Beats in a row until that is believed.
const SUSPECT_BEATS: u32 = 5;
/// Weights change so often at most, microseconds.
const WEIGH_US: u64 = 5_000_000;
const WEIGHT_MIN: f64 = 0.25;
const WEIGHT_LESS: f64 = 0.75;
const WEIGHT_MORE: f64 = 1.15;
/// A difference below this is no suspicion, whatever the ratio, microseconds.
const DIFFERENCE_US_MIN: f64 = 1_000.0;
/// An instance with less than this part of an equal share is no peer of the others.
const LESS_PART: f64 = 0.95;
/// The others are to use no more than this part of their cores when they take threads of one.
pub(super) const ROOM_PART: f64 = 0.85;
/// The rest of the instance is not slow when it is below this.
const REST_FINE: f64 = 1.25;
/// An instance that crashed so often in a row is not waited for.
const CRASHES_MAX: u32 = 3;
/// A hanging instance is restarted so often at most, microseconds.
const RESTART_US: u64 = 60_000_000;
/// A hang is believed from this confidence on.
pub(super) const HANG_SURE: f64 = 0.8;

/// An endpoint of an instance that looks slower than at its peers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Suspicion {
    /// Beats in a row.
    pub(super) beats: u32,
    /// Latency over that of the peers.
    pub(super) ratio: f64,
}

impl Suspicion {
    pub(super) fn is_believed(self) -> bool {
        self.beats >= SUSPECT_BEATS
    }
}

impl Conductor {
    /// What was asked of the instances that answer, lately.
    pub(super) fn refresh(&mut self, at: At) {
        let from = At(at.0.saturating_sub(RECENT_US));
        self.recent = self
            .ready()
            .map(|(id, place)| (id, place.load.between(from, at)))
            .collect();
    }

    /// Whether all instances that are to answer have done so for a while: what is measured now can be
    /// compared with what is measured later.
    pub(super) fn is_calm(&self, at: At) -> bool {
        let calm =
            |place: &Place| place.is_ready() && at.since(place.ready_since) >= RECENT_US + BEAT_US;
        // One that does nothing but crash is not waited for.
        let counts = |place: &&Place| place.is_alive() && place.crashes < CRASHES_MAX;
        let mut alive = self.places.values().filter(counts);
        alive.all(calm)
    }

    /// Compares every instance with the others, and gives slow ones fewer threads.
    pub(super) fn weigh(&mut self, at: At) {
        let mut all = Profile::default();
        for own in self.recent.values() {
            all.add(own);
        }
        let mut suspicions = BTreeMap::new();
        let recent = std::mem::take(&mut self.recent);
        for (&id, own) in &recent {
            let peers = all.without(own);
            let ratio = if own.calls() >= CALLS_MIN {
                own.over(&peers)
            } else {
                None
            };
            self.weigh_place(at, id, ratio);
            // On a busy host anything is slow for a while.
            if !self.is_of_our_doing(at, id) && !self.analyzer.is_host_busy() {
                self.suspect(id, own, &peers, &mut suspicions);
            }
        }
        self.recent = recent;
        self.suspicions = suspicions;
    }

    fn weigh_place(&mut self, at: At, id: InstanceId, ratio: Option<f64>) {
        let gathering = self.is_gathering(id);
        let has = self.places.get(&id).map_or(0, |place| place.threads.len());
        let room = self.others_have_room(id, (has as f64 * (1.0 - WEIGHT_LESS)) as usize);
        let Some(place) = self.places.get_mut(&id) else {
            return;
        };
        let slow = &mut place.slow;
        let Some(ratio) = ratio else {
            slow.beats = 0;
            return;
        };
        slow.ratio = ratio;
        slow.beats = if ratio > SLOW { slow.beats + 1 } else { 0 };
        if gathering || at.since(slow.changed) < WEIGH_US {
            return;
        }
        let weight = if slow.beats >= BEATS && room {
            (place.weight * WEIGHT_LESS).max(WEIGHT_MIN)
        } else if ratio < RECOVERED {
            (place.weight * WEIGHT_MORE).min(1.0)
        } else {
            place.weight
        };
        if weight != place.weight {
            place.weight = weight;
            slow.changed = at;
        }
    }

    /// Whether the other instances can do the work of so many threads that would leave one.
    pub(super) fn others_have_room(&self, instance: InstanceId, leaving: usize) -> bool {
        let (mut used, mut limit, mut threads) = (0.0, 0.0, 0.0);
        for (id, place) in self.ready().filter(|&(id, _)| id != instance) {
            let share = self.ledger.ordered(id);
            used += place.meter.used().map_or(0.0, |used| used.cores);
            limit += share.map_or(0.0, |share| share.cores);
            threads += place.threads.len() as f64;
        }
        let after = used * (threads + leaving as f64) / threads.max(1.0);
        threads > 0.0 && after <= ROOM_PART * limit
    }

    /// Whether an instance may be slower than the others for what it was given.
    fn is_of_our_doing(&self, at: At, id: InstanceId) -> bool {
        let equal = self.ledger.equal(self.plan.instances).cores;
        let less = |share: cohort_model::Share| share.cores < LESS_PART * equal;
        let share = self.ledger.ordered(id);
        let changed = self.places.get(&id).is_some_and(|place| {
            place.change.is_some() || at.since(place.share_changed) < RECENT_US + BEAT_US
        });
        changed || share.is_some_and(less)
    }

    /// Endpoints that are slower here than at the peers, while the rest of the instance is not.
    fn suspect(
        &self,
        id: InstanceId,
        own: &Profile,
        peers: &Profile,
        suspicions: &mut BTreeMap<(InstanceId, u32), Suspicion>,
    ) {
        for (&endpoint, asked) in &own.0 {
            let Some(there) = peers.0.get(&endpoint) else {
                continue;
            };
            if asked.calls < CALLS_MIN / 2.0 || there.calls < CALLS_MIN / 2.0 {
                continue;
            }
            let (here_us, there_us) = (asked.mean_us(), there.mean_us());
            if self.leans_elsewhere(id, endpoint) {
                continue;
            }
            if here_us < SUSPECT * there_us || here_us - there_us < DIFFERENCE_US_MIN {
                continue;
            }
            let only = Profile([(endpoint, *asked)].into());
            let rest = own.without(&only).over(peers);
            if rest.is_some_and(|rest| rest < REST_FINE) {
                let key = (id, endpoint);
                let before = self.suspicions.get(&key).map_or(0, |known| known.beats);
                let ratio = here_us / there_us.max(1.0);
                suspicions.insert(
                    key,
                    Suspicion {
                        beats: before + 1,
                        ratio,
                    },
                );
            }
        }
    }

    /// Why a thread is handed off an instance in order to even out the load.
    pub(super) fn balance_reason(&self, source: InstanceId) -> ServiceReason {
        match self.places.get(&source) {
            Some(place) if place.weight < 1.0 => ServiceReason::SlowAgainstPeers {
                ratio: place.slow.ratio,
            },
            _ => ServiceReason::Balance,
        }
    }

    /// An instance in which nothing moves is started anew, once that is beyond doubt.
    pub(super) fn restart_hung(&mut self, at: At, step: &mut ServiceStep) {
        if self.plan.policy == Policy::Static || self.placing_since.is_none() {
            return;
        }
        let hung: Vec<(InstanceId, u32)> = self
            .open
            .values()
            .map(|open| &open.finding)
            .filter(|finding| finding.kind == ServiceFindingKind::Hang)
            .filter(|finding| finding.confidence >= HANG_SURE)
            .filter(|finding| at.since(finding.since) >= 5 * BEAT_US)
            .flat_map(|finding| finding.instances.iter().map(|&id| (id, finding.number)))
            // What a helper looks at now is gone afterwards.
            .filter(|(id, finding)| !self.is_looked_at(*id, *finding))
            .collect();
        for (instance, finding) in hung {
            let Some(place) = self.places.get_mut(&instance) else {
                continue;
            };
            let lately = place
                .restarted
                .is_some_and(|then| at.since(then) < RESTART_US);
            if place.is_ready() && !lately {
                place.restarted = Some(at);
                let command = cohort_model::ServiceCommand::Restart { instance };
                step.decide(command, ServiceReason::Found { finding }, None);
            }
        }
    }
}
