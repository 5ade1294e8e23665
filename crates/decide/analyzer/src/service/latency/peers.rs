//! Instances on which an endpoint is slower than on the others.

use std::collections::BTreeMap;

use cohort_model::{At, InstanceId, ServiceFindingKind};

use super::{DIFFERENCE_MIN_US, OWN_CHANGE_US, PATIENCE_US, RATIO_MIN};
use crate::findings::measured;
use crate::service::View;
use crate::service::book::{Conclusion, Key};
use crate::service::record::Watched;
use crate::service::words;
use crate::statistics::median;

/// The latest time in which peers are compared, seconds; and calls on each side.
const PEERS_S: f64 = 12.0;
const PEER_CALLS_MIN: f64 = 24.0;

/// `held`: what was found before an instance was kept for some of the threads, and cannot be judged
/// until it is for all again.
pub(in crate::service) fn conclude(
    view: &View<'_>,
    at: At,
    drawn: &mut Vec<Conclusion>,
    held: &mut Vec<Key>,
) {
    let mut known: BTreeMap<u32, Vec<Peer>> = BTreeMap::new();
    for (instance, watched) in view.instances.iter().filter(|(_, w)| !w.down) {
        if watched.changed_within(at, OWN_CHANGE_US) {
            continue;
        }
        // What else is called there, and how often, is our own doing.
        if watched.is_kept_apart(at) {
            let all = view.endpoints_of(watched).into_iter();
            held.extend(all.map(|endpoint| key(endpoint, *instance)));
            continue;
        }
        for (endpoint, peer) in peers(*instance, watched) {
            known.entry(endpoint).or_default().push(peer);
        }
    }
    for (endpoint, peers) in known {
        if peers.len() < 2 || view.explained(endpoint) {
            continue;
        }
        for (place, peer) in peers.iter().enumerate() {
            let others: Vec<&Peer> = peers
                .iter()
                .enumerate()
                .filter(|(p, _)| *p != place)
                .map(|(_, other)| other)
                .collect();
            if let Some(conclusion) = slower_than(view, endpoint, peer, &others) {
                drawn.push(conclusion);
            }
        }
    }
}

/// One endpoint on one instance in the latest time.
struct Peer {
    instance: InstanceId,
    medians: Vec<f64>,
    under_way: f64,
    /// CPU for each call that is under way could be short.
    held_back: bool,
    since: At,
}

fn peers(instance: InstanceId, watched: &Watched) -> BTreeMap<u32, Peer> {
    let mut peers: BTreeMap<u32, (Peer, f64)> = BTreeMap::new();
    let seconds = watched.recent(PEERS_S).count().max(1) as f64;
    for second in watched.recent(PEERS_S) {
        for e in second.endpoints.iter().filter(|e| e.is_timed()) {
            let (peer, calls) = peers.entry(e.endpoint).or_insert_with(|| {
                let peer = Peer {
                    instance,
                    medians: Vec::new(),
                    under_way: 0.0,
                    held_back: false,
                    since: second.at,
                };
                (peer, 0.0)
            });
            peer.medians.push(e.p50_us);
            peer.under_way += second.under_way() / seconds;
            peer.held_back |= second.throttled > 0.1 || second.cpu_pressure > 0.5;
            *calls += e.calls;
        }
    }
    peers
        .into_iter()
        .filter(|(_, (peer, calls))| *calls >= PEER_CALLS_MIN && peer.medians.len() >= 6)
        .map(|(endpoint, (peer, _))| (endpoint, peer))
        .collect()
}

fn key(endpoint: u32, instance: InstanceId) -> Key {
    Key {
        kind: ServiceFindingKind::SlowEndpoint,
        endpoint: Some(endpoint),
        detail: format!("peers {instance}"),
    }
}

fn slower_than(
    view: &View<'_>,
    endpoint: u32,
    peer: &Peer,
    others: &[&Peer],
) -> Option<Conclusion> {
    let mut own = peer.medians.clone();
    let own_us = median(&mut own);
    let mut levels: Vec<f64> = others
        .iter()
        .map(|other| median(&mut other.medians.clone()))
        .collect();
    let others_us = median(&mut levels);
    let slowest = levels.last().copied().unwrap_or(0.0);
    let load = others.iter().map(|o| o.under_way).fold(0.0, f64::max);
    // Nearly every second of its own is slower than nearly all of theirs.
    let beyond = own.iter().filter(|us| **us > RATIO_MIN * slowest).count();
    let slow = own_us >= RATIO_MIN * slowest.max(others_us)
        && own_us - others_us >= DIFFERENCE_MIN_US
        && beyond * 4 >= own.len() * 3
        && !peer.held_back;
    // Calls under way rise with latency too, by Little's law: more than that is more load.
    let load_explains = peer.under_way > 1.5 * load.max(1.0) * own_us / others_us.max(1.0);
    if !slow || load_explains {
        return None;
    }
    Some(Conclusion {
        key: key(endpoint, peer.instance),
        instances: vec![peer.instance],
        endpoint: None,
        since: peer.since,
        confidence: 0.9,
        sentence: format!(
            "{} takes {} on {}, and {} on the other instance{}.",
            view.name(endpoint),
            words::time(own_us),
            peer.instance,
            words::time(others_us),
            if others.len() == 1 { "" } else { "s" },
        ),
        evidence: vec![
            measured("median latency here", own_us / 1e3, "ms"),
            measured("median latency elsewhere", others_us / 1e3, "ms"),
            measured("instances compared", others.len() as f64, "instances"),
        ],
        excerpts: view.exemplars(endpoint),
        needs: 6,
        patience: PATIENCE_US,
        amount: own_us,
    })
}
