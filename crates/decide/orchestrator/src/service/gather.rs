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

use cohort_model::{At, EndpointId, InstanceId, Purpose, ServiceCommand, ServiceReason, ThreadId};

use super::lead::Lead;
use super::state::{Calls, Place, Thread};
use super::weigh::ROOM_PART;
use super::{Conductor, ServiceStep, Vain};

/// A thread calls an endpoint when so much of its calls go there.
const MEMBER_SHARE: f64 = 0.05;
/// What a thread is expected to call, by its scenario, counts like so many calls of its own.
const SCENARIO_CALLS: f64 = 20.0;
/// When more of the threads than this call it, nothing can be separated.
const MEMBERS_MAX: f64 = 0.5;
/// Fewer threads are not worth it.
const THREADS_MIN: usize = 4;
/// An instance that is kept for an endpoint gets at most so many times its fair number of threads.
const CROWD_MAX: f64 = 2.0;
/// Threads are known well enough so long after the first of them were placed, microseconds.
const LEARN_US: u64 = 6_000_000;
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
    /// The threads it is to have; none while it or its control does not answer.
    threads: Option<Vec<ThreadId>>,
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
        let room = place.threads.len() < self.crowd_max(gather.instance);
        (place.is_ready() && room).then_some(gather.instance)
    }

    /// Most threads that come together on an instance: not many more than its fair number, and no
    /// more than its cores can serve.
    fn crowd_max(&self, instance: InstanceId) -> usize {
        let ready = self.ready().count().max(1);
        let fair = self.threads.len() as f64 / ready as f64;
        let used: f64 = self
            .ready()
            .filter_map(|(_, place)| Some(place.meter.used()?.cores))
            .sum();
        let each = used / self.threads.len().max(1) as f64;
        let cores = self
            .ledger
            .ordered(instance)
            .map_or(0.0, |share| share.cores);
        let served = ROOM_PART * cores / each.max(1e-6);
        (CROWD_MAX * fair).ceil().min(served).max(1.0) as usize
    }

    /// Follows findings and suspicions about an endpoint, and drops those that are over.
    pub(super) fn begin_gathers(&mut self, at: At, step: &mut ServiceStep) {
        self.drop_gathers_over(at, step);
        let ready = self.ready().count();
        if !self.is_known(at) || self.threads.len() < THREADS_MIN {
            return;
        }
        for lead in self.leads(at) {
            if self.gathers.len() < (ready / 2).max(1) {
                self.begin_gather(at, &lead, step);
            }
        }
    }

    /// Whether it is known by now what the threads call, and on what else they might.
    pub(super) fn is_known(&self, at: At) -> bool {
        let known = self
            .placing_since
            .is_some_and(|since| at.since(since) >= LEARN_US);
        known && self.is_calm(at) && self.ready().count() >= 2
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
        let brings = !self.is_worse_there(instance, endpoint);
        let leaving = |thread: &&Thread| thread.on == instance && !self.calls_it(thread, endpoint);
        let leaving = self.threads.values().filter(leaving).count();
        // Where its threads leave the others too, only trying tells.
        if !brings && !self.others_have_room(instance, leaving) {
            return;
        }
        self.drop_leans_of(&[instance, control], step);
        let pair = (instance, control, endpoint);
        let change = self.try_gather((at, lead.since), pair, (members, brings), step);
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
            threads: None,
        });
    }

    pub(super) fn specialize(
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

    /// Says which threads the instances that are kept for an endpoint are to have.
    pub(super) fn arrange_gathers(&mut self) {
        for index in 0..self.gathers.len() {
            let gather = &self.gathers[index];
            let both = [gather.instance, gather.control];
            let ready = |id: &InstanceId| self.places.get(id).is_some_and(Place::is_ready);
            let (threads, misplaced) = if both.iter().all(ready) {
                let (threads, misplaced) = self.threads_for(gather);
                (Some(threads), misplaced)
            } else {
                (None, 0)
            };
            let arranged = misplaced <= self.threads.len() / 50;
            let gather = &mut self.gathers[index];
            gather.arranged = arranged;
            gather.threads = threads;
        }
    }

    /// Which threads an instance is set aside for, when it is.
    pub(super) fn wanted_for(&self, instance: InstanceId) -> Option<Vec<ThreadId>> {
        let gather = self.gathers.iter().find(|known| known.instance == instance);
        match gather {
            Some(gather) => gather.threads.clone(),
            None => self.lean_wants(instance),
        }
    }

    /// Why a thread goes to or leaves an instance that is set aside.
    pub(super) fn gather_reason(
        &self,
        source: InstanceId,
        target: InstanceId,
    ) -> Option<(ServiceReason, Option<u32>)> {
        let of = |id: InstanceId| self.gathers.iter().find(move |known| known.instance == id);
        let gather = of(target).or_else(|| of(source))?;
        Some((gather.reason.clone(), Some(gather.change)))
    }

    /// The threads that an instance is to have, and how many are not where they are to be.
    fn threads_for(&self, gather: &Gather) -> (Vec<ThreadId>, usize) {
        let (mut stay, mut come, mut of_control) = (Vec::new(), Vec::new(), Vec::new());
        let mut strangers = 0;
        for (&id, thread) in &self.threads {
            let member = self.calls_it(thread, gather.endpoint);
            if thread.on == gather.instance {
                if member {
                    stay.push(id);
                } else {
                    strangers += 1;
                }
            } else if member && thread.on == gather.control {
                of_control.push(id);
            } else if member && !self.is_gathering(thread.on) {
                come.push(id);
            }
        }
        let members = stay.len() + come.len() + of_control.len();
        let kept = members.div_ceil(2 * self.ready().count().max(1)).max(1);
        let most = members
            .saturating_sub(kept)
            .min(self.crowd_max(gather.instance));
        come.append(&mut of_control);
        let room = if gather.brings {
            most.saturating_sub(stay.len())
        } else {
            0
        };
        come.truncate(room);
        let misplaced = strangers + come.len();
        stay.append(&mut come);
        (stay, misplaced)
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
                self.drop_gather(at, gather.endpoint, &ServiceReason::Balance, step);
            }
        }
    }

    /// An instance is for all threads again; it is not tried again for a while.
    pub(super) fn drop_gather(
        &mut self,
        at: At,
        endpoint: EndpointId,
        reason: &ServiceReason,
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
