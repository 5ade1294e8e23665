//! Specialization: an endpoint about which there is a finding or a suspicion gets an instance of its
//! own, where it shows alone.
//!
//! ```text
//!   before    i0: A B B B   i1: A B B B   i2: A B B B     A calls the endpoint, B does not
//!   after     i0: A A       i1: B B B B   i2: A B B B B   i0 shows it alone, i2 is the control
//! ```
//!
//! Threads that call it come from other instances only when it shows there no less: then they harm
//! nobody there any more. Where it shows on one instance alone, those that are there stay, and those
//! that do not call it leave.
//!
//! It is tried as a change: when the campaign gets through less than before, all go back.

use cohort_model::{
    At, EndpointId, InstanceId, Purpose, ServiceCommand, ServiceFindingKind, ServiceReason,
    ThreadId,
};

use super::load::Asked;
use super::state::{Calls, Place, Stage, Thread};
use super::{Conductor, ServiceStep, Vain};

/// A thread calls an endpoint when so much of its calls go there.
const MEMBER_SHARE: f64 = 0.05;
/// What a thread is expected to call, by its scenario, counts like so many calls of its own.
const SCENARIO_CALLS: f64 = 20.0;
/// When more of the threads than this call it, nothing can be separated.
const MEMBERS_MAX: f64 = 0.8;
/// Fewer threads are not worth it.
const THREADS_MIN: usize = 4;
/// An instance that is kept for an endpoint gets at most so many times its fair number of threads.
const CROWD_MAX: f64 = 2.0;
/// An endpoint shows on one instance alone when its latency there is so many times that elsewhere.
const WORSE_THERE: f64 = 1.3;
/// Threads are known well enough so long after the first of them were placed, microseconds.
const LEARN_US: u64 = 6_000_000;
/// A finding is followed from this confidence on.
const CONFIDENCE_MIN: f64 = 0.5;
/// A suspicion that does not become a finding is dropped after this time, microseconds.
const SUSPICION_US: u64 = 60_000_000;
/// It is not followed again for so long, microseconds; twice as long each time.
const VAIN_US: u64 = 120_000_000;

/// An instance that is kept for one endpoint.
#[derive(Clone, Debug)]
pub(super) struct Gather {
    pub(super) endpoint: EndpointId,
    pub(super) instance: InstanceId,
    /// Where some of its threads stay, to compare.
    pub(super) control: InstanceId,
    pub(super) since: At,
    /// Threads come from other instances too.
    brings: bool,
    reason: ServiceReason,
    finding: Option<u32>,
    pub(super) change: u32,
    /// All threads are where they are to be, or as good as.
    pub(super) arranged: bool,
}

/// What to gather.
struct Lead {
    kind: ServiceFindingKind,
    endpoint: EndpointId,
    instances: Vec<InstanceId>,
    reason: ServiceReason,
    finding: Option<u32>,
}

impl Conductor {
    /// Whether an instance is kept for an endpoint.
    pub(super) fn is_gathering(&self, instance: InstanceId) -> bool {
        self.gathers
            .iter()
            .any(|gather| gather.instance == instance)
    }

    fn calls_it(&self, thread: &Thread, endpoint: EndpointId) -> bool {
        let expected = share(&self.scenarios[thread.scenario].calls, endpoint);
        let calls = thread.calls.of(endpoint) + SCENARIO_CALLS * expected;
        calls >= MEMBER_SHARE * (thread.calls.total + SCENARIO_CALLS)
    }

    fn members(&self, endpoint: EndpointId) -> usize {
        let calls = |thread: &&Thread| self.calls_it(thread, endpoint);
        self.threads.values().filter(calls).count()
    }

    /// Where a new thread of a scenario belongs, when it calls what an instance is kept for.
    pub(super) fn gathered_at(&self, scenario: usize) -> Option<InstanceId> {
        let calls = &self.scenarios[scenario].calls;
        let gather = self
            .gathers
            .iter()
            .find(|gather| gather.brings && share(calls, gather.endpoint) >= MEMBER_SHARE)?;
        let place = self.places.get(&gather.instance)?;
        let room = place.threads.len() < self.crowd_max();
        (place.is_ready() && room).then_some(gather.instance)
    }

    fn crowd_max(&self) -> usize {
        let ready = self.ready().count().max(1);
        (CROWD_MAX * self.threads.len() as f64 / ready as f64).ceil() as usize
    }

    /// Follows findings and suspicions about an endpoint, and drops those that are over.
    pub(super) fn begin_gathers(&mut self, at: At, step: &mut ServiceStep) {
        self.drop_gathers_over(at, step);
        let known = self
            .placing_since
            .is_some_and(|since| at.since(since) >= LEARN_US);
        let ready = self.ready().count();
        if !known || ready < 2 || self.threads.len() < THREADS_MIN {
            return;
        }
        for lead in self.leads() {
            if self.gathers.len() < (ready / 2).max(1) {
                self.begin_gather(at, &lead, step);
            }
        }
    }

    fn leads(&self) -> Vec<Lead> {
        let found = self.open.values().filter_map(|open| {
            let finding = &open.finding;
            let sure = finding.confidence >= CONFIDENCE_MIN && finding.kind.is_fault();
            sure.then_some(Lead {
                kind: finding.kind,
                endpoint: finding.endpoint?,
                instances: finding.instances.clone(),
                reason: ServiceReason::Found {
                    finding: finding.number,
                },
                finding: Some(finding.number),
            })
        });
        let believed = self
            .suspicions
            .iter()
            .filter(|(_, suspicion)| suspicion.is_believed());
        let suspected = believed.map(|(&(instance, endpoint), suspicion)| Lead {
            kind: ServiceFindingKind::SlowEndpoint,
            endpoint: EndpointId(endpoint),
            instances: vec![instance],
            reason: ServiceReason::SlowAgainstPeers {
                ratio: suspicion.ratio,
            },
            finding: None,
        });
        found.chain(suspected).collect()
    }

    fn begin_gather(&mut self, at: At, lead: &Lead, step: &mut ServiceStep) {
        let endpoint = lead.endpoint;
        let taken = self.gathers.iter().any(|known| known.endpoint == endpoint);
        if taken || self.is_vain(Vain::Gather(endpoint), at) {
            return;
        }
        let members = self.members(endpoint);
        let most = MEMBERS_MAX * self.threads.len() as f64;
        if members < 2 || members as f64 > most {
            return;
        }
        let Some((instance, control)) = self.pair_for(lead) else {
            return;
        };
        let leaving = |thread: &&Thread| thread.on == instance && !self.calls_it(thread, endpoint);
        let leaving = self.threads.values().filter(leaving).count();
        if !self.others_have_room(instance, leaving) {
            return;
        }
        let brings = !self.is_worse_there(instance, endpoint);
        let pair = (instance, control, endpoint);
        let change = self.try_gather(at, pair, (members, brings), step);
        let purpose = Purpose::Suspect {
            kind: lead.kind,
            endpoint: Some(endpoint),
        };
        self.specialize(instance, purpose, (lead.reason.clone(), Some(change)), step);
        let area = self.area_name(endpoint);
        let share = members as f64 / self.threads.len() as f64;
        let reason = ServiceReason::Area {
            area: area.clone(),
            share,
        };
        self.specialize(
            control,
            Purpose::Area { area },
            (reason, Some(change)),
            step,
        );
        self.gathers.push(Gather {
            endpoint,
            instance,
            control,
            since: at,
            brings,
            reason: lead.reason.clone(),
            finding: lead.finding,
            change,
            arranged: false,
        });
    }

    /// Whether an endpoint is slower on an instance than on the others.
    fn is_worse_there(&self, instance: InstanceId, endpoint: EndpointId) -> bool {
        let (mut here, mut there) = (Asked::default(), Asked::default());
        for (&id, profile) in &self.recent {
            if let Some(asked) = profile.0.get(&endpoint.0) {
                let side = if id == instance {
                    &mut here
                } else {
                    &mut there
                };
                side.calls += asked.calls;
                side.sum_us += asked.sum_us;
            }
        }
        here.calls >= 1.0 && there.calls >= 1.0 && here.mean_us() > WORSE_THERE * there.mean_us()
    }

    /// The instance where it shows most, and another for control.
    fn pair_for(&self, lead: &Lead) -> Option<(InstanceId, InstanceId)> {
        let engaged = |id: InstanceId| {
            let pair = |gather: &Gather| gather.instance == id || gather.control == id;
            self.gathers.iter().any(pair)
        };
        let free = |id: InstanceId| {
            let place = self.places.get(&id);
            place.is_some_and(|place| place.is_ready() && place.change.is_none()) && !engaged(id)
        };
        let asked = |id: InstanceId| {
            let profile = self.recent.get(&id)?;
            profile.0.get(&lead.endpoint.0)
        };
        let latency_us = |id: &InstanceId| asked(*id).map_or(0.0, |asked| asked.mean_us());
        let calls = |id: &InstanceId| asked(*id).map_or(0.0, |asked| asked.calls);
        let instance = lead
            .instances
            .iter()
            .copied()
            .filter(|&id| free(id))
            .max_by(|a, b| latency_us(a).total_cmp(&latency_us(b)).then(b.cmp(a)))?;
        let control = self
            .ready()
            .map(|(id, _)| id)
            .filter(|&id| id != instance && free(id))
            .max_by(|a, b| calls(a).total_cmp(&calls(b)).then(b.cmp(a)))?;
        Some((instance, control))
    }

    fn specialize(
        &mut self,
        instance: InstanceId,
        purpose: Purpose,
        (reason, change): (ServiceReason, Option<u32>),
        step: &mut ServiceStep,
    ) {
        let Some(place) = self.places.get_mut(&instance) else {
            return;
        };
        if place.purpose != purpose {
            place.purpose = purpose.clone();
            let command = ServiceCommand::Specialize { instance, purpose };
            step.decide(command, reason, change);
        }
    }

    /// Hands threads over until each instance that is kept for an endpoint has its threads, and none
    /// but them.
    pub(super) fn carry_out_gathers(&mut self, at: At, step: &mut ServiceStep) {
        for index in 0..self.gathers.len() {
            let gather = self.gathers[index].clone();
            let both = [gather.instance, gather.control];
            let ready = |id: &InstanceId| self.places.get(id).is_some_and(Place::is_ready);
            if !both.iter().all(ready) {
                continue;
            }
            let (outs, ins) = self.misplaced(&gather);
            self.gathers[index].arranged = outs.len() + ins.len() <= self.threads.len() / 50;
            let reason = (gather.reason.clone(), Some(gather.change));
            for turn in 0..outs.len().max(ins.len()) {
                if let Some(&thread) = outs.get(turn)
                    && let Some(target) = self.emptiest(at, Some(gather.instance))
                    && !self.is_gathering(target)
                {
                    self.hand_over_calmly(at, thread, target, reason.clone(), step);
                }
                if let Some(&thread) = ins.get(turn) {
                    self.hand_over_calmly(at, thread, gather.instance, reason.clone(), step);
                }
            }
        }
    }

    /// Threads that have no business there, and those that are to come.
    fn misplaced(&self, gather: &Gather) -> (Vec<ThreadId>, Vec<ThreadId>) {
        let (mut outs, mut ins, mut there, mut members) = (Vec::new(), Vec::new(), 0, 0);
        let mut of_control = Vec::new();
        for (&id, thread) in &self.threads {
            let member = self.calls_it(thread, gather.endpoint);
            members += usize::from(member);
            if thread.on == gather.instance {
                there += usize::from(member);
                if !member && thread.stage == Stage::Runs {
                    outs.push(id);
                }
            } else if member && thread.stage == Stage::Runs && !self.is_gathering(thread.on) {
                if thread.on == gather.control {
                    of_control.push(id);
                } else {
                    ins.push(id);
                }
            }
        }
        let ready = self.ready().count().max(1);
        let kept = members.div_ceil(2 * ready).max(1);
        let most = members.saturating_sub(kept).min(self.crowd_max());
        ins.append(&mut of_control);
        if !gather.brings {
            ins.clear();
        }
        ins.truncate(most.saturating_sub(there));
        (outs, ins)
    }

    /// Ends those whose finding is over, or whose suspicion came to nothing.
    fn drop_gathers_over(&mut self, at: At, step: &mut ServiceStep) {
        for gather in self.gathers.clone() {
            let confirmed = |open: &super::Open| open.finding.endpoint == Some(gather.endpoint);
            let over = match gather.finding {
                Some(finding) => !self.open.contains_key(&finding),
                None => {
                    at.since(gather.since) >= SUSPICION_US && !self.open.values().any(confirmed)
                }
            };
            if over {
                self.drop_gather(at, gather.endpoint, ServiceReason::Balance, step);
            }
        }
    }

    /// An instance is for all threads again; it is not tried again for a while.
    pub(super) fn drop_gather(
        &mut self,
        at: At,
        endpoint: EndpointId,
        reason: ServiceReason,
        step: &mut ServiceStep,
    ) {
        let Some(index) = self
            .gathers
            .iter()
            .position(|known| known.endpoint == endpoint)
        else {
            return;
        };
        let gather = self.gathers.remove(index);
        for instance in [gather.instance, gather.control] {
            let ready = self.places.get(&instance).is_some_and(Place::is_alive);
            if ready {
                self.specialize(instance, Purpose::General, (reason.clone(), None), step);
            }
        }
        self.note_vain(Vain::Gather(endpoint), at, VAIN_US);
    }

    /// What an instance that is closed was for is nobody's any more.
    pub(super) fn drop_gathers_of(&mut self, instance: InstanceId, step: &mut ServiceStep) {
        let (gone, kept): (Vec<Gather>, Vec<Gather>) = std::mem::take(&mut self.gathers)
            .into_iter()
            .partition(|gather| gather.instance == instance || gather.control == instance);
        self.gathers = kept;
        for id in gone
            .iter()
            .flat_map(|gather| [gather.instance, gather.control])
        {
            if self.places.get(&id).is_some_and(Place::is_alive) {
                self.specialize(id, Purpose::General, (ServiceReason::Balance, None), step);
            }
        }
    }
}

fn share(calls: &Calls, endpoint: EndpointId) -> f64 {
    calls.of(endpoint) / calls.total.max(1.0)
}
