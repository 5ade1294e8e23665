//! Who sent what is not OTLP: told once a peer, counted for ever.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cohort_model::InstanceId;
use serde::{Deserialize, Serialize};

/// Peers that are told apart.
const PEERS_MAX: usize = 64;

/// What was wrong with what a peer sent the first time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complaint {
    /// Where it came from.
    pub peer: IpAddr,
    /// Whose address that is, if it is known.
    pub instance: Option<InstanceId>,
    /// What was wrong, in a sentence.
    pub sentence: String,
}

/// What was complained about.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    counts: BTreeMap<IpAddr, u64>,
    new: Vec<Complaint>,
}

impl Complaints {
    pub(crate) fn note(&mut self, peer: IpAddr, instance: Option<InstanceId>, sentence: String) {
        if let Some(count) = self.counts.get_mut(&peer) {
            *count += 1;
        } else if self.counts.len() < PEERS_MAX {
            self.counts.insert(peer, 1);
            self.new.push(Complaint {
                peer,
                instance,
                sentence,
            });
        }
    }

    pub(crate) fn take(&mut self) -> Vec<Complaint> {
        std::mem::take(&mut self.new)
    }

    pub(crate) fn counts(&self) -> &BTreeMap<IpAddr, u64> {
        &self.counts
    }
}
