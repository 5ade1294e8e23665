//! Instances on which cases are tried.

use cohort_allocator::Resource;
use cohort_model::{
    At, CaseId, Exit, InstanceId, Purpose, ServiceCommand, ServiceReason, ServiceSeen, Share,
};

use super::super::{Conductor, ServiceStep};
use super::Cases;

/// Part of the cores that is kept for the replica while the scenario runs, where the share for trying again is not less.
const CORES_PART: f64 = 0.1;
/// Replicas once the scenario is over.
const REPLICAS_MAX: usize = 3;
/// The same where servers have to run for a while before anything is played on them.
const OLD_MAX: usize = 6;
/// No more of them than can have so much memory each, bytes.
const MEMORY_MIN: u64 = 512 << 20;
/// Replicas that fail one after the other until nothing more is tried.
const FAILURES_MAX: u32 = 3;

/// One instance on which cases are tried.
#[derive(Debug, Default)]
pub(in super::super) struct Replica {
    pub(super) ready: bool,
    /// It was ready once.
    pub(super) opened: bool,
    /// What is played on it.
    pub(super) play: Option<u32>,
    /// Nothing was played on it since it began anew.
    pub(super) clean: bool,
    pub(super) closing: bool,
    /// Its server runs since then.
    pub(super) since: At,
    /// The case that was played on it last, and plays since it began anew.
    pub(super) last: Option<CaseId>,
    pub(super) plays: u32,
    /// Its server was started under conditions.
    pub(super) is_under: bool,
}

impl Cases {
    fn alive(&self) -> usize {
        let alive = self.replicas.values().filter(|replica| !replica.closing);
        alive.count()
    }
}

impl Conductor {
    /// What an ordinary instance gets, and what is kept for a replica.
    pub(in super::super) fn opening_shares(&self) -> (Share, Share) {
        let instances = self.plan.instances;
        if self.cases.is_none() {
            let share = self.ledger.equal(instances);
            return (share, share);
        }
        let equal = self.ledger.equal(instances + 1);
        let share = self.plan.cases.as_ref().map_or(1.0, |cases| cases.share);
        let kept = (CORES_PART.min(share) * self.plan.cores).max(Resource::Cores.floor());
        let kept = Resource::Cores.round(kept).min(equal.cores);
        let each = (self.plan.cores - kept) / f64::from(instances.max(1));
        let each = Resource::Cores.round(each);
        (
            Share {
                cores: each,
                ..equal
            },
            Share {
                cores: kept,
                ..equal
            },
        )
    }

    /// One is kept ready while the scenario runs; more when the others are gone.
    pub(super) fn open_replicas(&mut self, at: At, step: &mut ServiceStep) {
        let begun = self.placing_since.is_some();
        let (_, kept) = self.opening_shares();
        let Some(cases) = &mut self.cases else {
            return;
        };
        if !begun || cases.over || cases.open_failures >= FAILURES_MAX {
            return;
        }
        let most = match cases.done {
            None => 1,
            Some(_) if cases.is_done() => cases.alive(),
            // What has to run for a while needs no CPU meanwhile.
            Some(_) if cases.waits_for_old() => OLD_MAX,
            Some(_) => REPLICAS_MAX.min(self.plan.cores.ceil() as usize).max(1),
        };
        // So many have to share the memory of all.
        let each = self.plan.memory / (OLD_MAX as u64 + 1);
        let share = match cases.alive() > 0 && cases.waits_for_old() && each >= MEMORY_MIN {
            true => Share {
                memory: kept.memory.min(each),
                ..kept
            },
            false => kept,
        };
        while cases.alive() < most {
            let instance = InstanceId(cases.next_instance);
            if self.ledger.order(instance, share).is_err() {
                return;
            }
            cases.next_instance += 1;
            cases.replicas.insert(instance, Replica::default());
            let command = ServiceCommand::OpenReplica { instance, share };
            step.decide(command, ServiceReason::EdgeCase, None);
            let command = ServiceCommand::Specialize {
                instance,
                purpose: Purpose::Reproducing,
            };
            step.decide(command, ServiceReason::EdgeCase, None);
        }
        self.fund_replicas(at, step);
    }

    /// What ordinary instances had is theirs once these are gone.
    fn fund_replicas(&mut self, _at: At, step: &mut ServiceStep) {
        let Some(cases) = &self.cases else {
            return;
        };
        if cases.done.is_none() {
            return;
        }
        let alive = cases
            .replicas
            .iter()
            .filter(|(_, replica)| !replica.closing);
        let ids: Vec<InstanceId> = alive.map(|(&id, _)| id).collect();
        let Some(free) = self.ledger.free(Resource::Cores) else {
            return;
        };
        let each = Resource::Cores.round(free / ids.len().max(1) as f64);
        if each < Resource::Cores.floor() {
            return;
        }
        for instance in ids {
            let Some(share) = self.ledger.ordered(instance) else {
                continue;
            };
            let share = Resource::Cores.add(share, each);
            if self.ledger.order(instance, share).is_ok() {
                let command = ServiceCommand::Allot { instance, share };
                step.decide(command, ServiceReason::EdgeCase, None);
            }
        }
    }

    pub(super) fn see_replica(&mut self, at: At, seen: &ServiceSeen) {
        let Some(cases) = &mut self.cases else {
            return;
        };
        match seen {
            ServiceSeen::InstanceReady { instance, .. } => {
                if let Some(replica) = cases.replicas.get_mut(instance) {
                    replica.ready = true;
                    replica.clean |= !replica.opened;
                    replica.opened = true;
                    replica.since = at;
                    replica.plays = 0;
                    cases.open_failures = 0;
                }
            }
            ServiceSeen::InstanceExited {
                instance,
                exit,
                again,
                ..
            } => {
                let gone = !again || *exit == Exit::Asked;
                let Some(replica) = cases.replicas.get_mut(instance) else {
                    return;
                };
                replica.ready = false;
                if replica.closing && gone {
                    cases.replicas.remove(instance);
                    self.ledger.close(*instance);
                }
            }
            ServiceSeen::InstanceFailed { instance, .. } => self.replica_failed(*instance),
            ServiceSeen::ShareSet { instance, share } if cases.replicas.contains_key(instance) => {
                self.ledger.in_force(*instance, *share);
            }
            _ => {}
        }
    }

    fn replica_failed(&mut self, instance: InstanceId) {
        let Some(cases) = &mut self.cases else {
            return;
        };
        if let Some(replica) = cases.replicas.get_mut(&instance) {
            replica.ready = false;
            cases.open_failures += 1;
        }
    }
}
