//! Scenario threads as the hub knows them: where each is, and the hand-offs under way.
//!
//! ```text
//!   wanted --Place--> granted --Resumed--> runs --HandOver--> leaves --Resumed--> runs --> over
//!                        ^                   |
//!                        +---- recovered <---+ its agent died
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use cohort_agent::protocol::{Cargo, Freight, How, Luggage, SideOrder, SideReport, ToAgent};
use cohort_handoff::{
    Abort, AgentId, Coordinator, Epoch, Event, Order, Place, Settings, Standing, ToHub, ToSide,
};
use cohort_model::{InstanceId, ServiceSeen, ThreadId};
use cohort_scenario::Tail;

/// A source may go on until its iteration ends (`SideOrder::gently`): longer than it does.
const PATIENCE: Settings = Settings {
    tries_max: 12,
    rounds: 2,
};

/// One thread.
struct Thread {
    scenario: String,
    how: How,
    coordinator: Coordinator,
    /// Where it runs, as the orchestrator was told; `None`: not yet.
    told: Option<InstanceId>,
    /// Where it was to go, while it is on its way.
    target: Option<InstanceId>,
    /// What its source said last, for the grant that may have to be repeated.
    frozen: Option<(Tail, Luggage)>,
    /// Journal files that dead agents left of it, with how many answers each holds.
    files: Vec<(PathBuf, u64)>,
    /// Orders that wait until it runs somewhere.
    later: Vec<ToAgent>,
    pause_us: u64,
    /// Its hand-off can wait for the end of an iteration.
    gently: bool,
}

/// A journal file that a dead agent left.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) path: PathBuf,
    /// Answers in it.
    pub(crate) answers: u64,
    /// It had grown beyond its limit: the thread cannot be rebuilt from it.
    pub(crate) beyond: bool,
}

/// What came of a message.
#[derive(Debug, Default)]
pub(crate) struct Came {
    /// To be sent, in this order.
    pub(crate) send: Vec<(AgentId, ToAgent)>,
    /// For the orchestrator.
    pub(crate) seen: Vec<ServiceSeen>,
    /// Threads that run for the first time.
    pub(crate) began: Vec<ThreadId>,
    /// Threads that are over: they ended, or are lost with their journal.
    pub(crate) over: Vec<ThreadId>,
    /// Threads that nobody has: they are to be placed.
    pub(crate) homeless: Vec<ThreadId>,
}

impl Came {
    pub(crate) fn join(&mut self, other: Came) {
        self.send.extend(other.send);
        self.seen.extend(other.seen);
        self.began.extend(other.began);
        self.over.extend(other.over);
        self.homeless.extend(other.homeless);
    }
}

/// All threads that are not over.
#[derive(Default)]
pub(crate) struct Threads {
    threads: BTreeMap<ThreadId, Thread>,
    /// Those that ever were too large to leave their agents.
    unmovable: BTreeSet<ThreadId>,
}

impl Threads {
    /// A thread that the schedule wants; it waits for a place.
    pub(crate) fn want(&mut self, id: ThreadId, scenario: &str, how: How) {
        let thread = Thread {
            scenario: scenario.to_owned(),
            how,
            coordinator: Coordinator::new(PATIENCE),
            told: None,
            target: None,
            frozen: None,
            files: Vec::new(),
            later: Vec::new(),
            pause_us: 0,
            gently: false,
        };
        self.threads.insert(id, thread);
    }

    /// How many are not over.
    pub(crate) fn len(&self) -> usize {
        self.threads.len()
    }

    /// The agent that a thread's orders go to, when it has one.
    pub(crate) fn agent_of(&self, id: ThreadId) -> Option<AgentId> {
        match self.threads.get(&id)?.coordinator.standing() {
            Standing::Runs(agent, ..) | Standing::Leaving(agent) | Standing::Granted(agent, _) => {
                Some(agent)
            }
            Standing::Homeless | Standing::Over => None,
        }
    }

    /// All that are not over.
    pub(crate) fn ids(&self) -> Vec<ThreadId> {
        self.threads.keys().copied().collect()
    }

    /// Begins a thread, or goes on with one whose agent died.
    pub(crate) fn place(&mut self, id: ThreadId, place: Place) -> Came {
        self.step(id, Event::Place(place), Freight::Nothing)
    }

    /// Hands a thread over; `gently`: at the end of its iteration, if that is soon.
    ///
    /// A program is only told its next instance: any agent can do that, so it stays with its own.
    pub(crate) fn hand_over(&mut self, id: ThreadId, mut place: Place, gently: bool) -> Came {
        let own = self.agent_of(id);
        if let (Some(How::Program(_)), Some(agent)) =
            (self.threads.get(&id).map(|thread| &thread.how), own)
        {
            place.agent = agent;
        }
        if let Some(thread) = self.threads.get_mut(&id) {
            if !matches!(thread.coordinator.standing(), Standing::Runs(..)) {
                let seen = thread.told.map(|source| ServiceSeen::HandOverFailed {
                    thread: id,
                    source,
                    reason: "it is on its way already".to_owned(),
                });
                return Came {
                    seen: seen.into_iter().collect(),
                    ..Came::default()
                };
            }
            thread.target = Some(place.instance);
            thread.gently = gently;
        }
        self.step(id, Event::HandOff(place), Freight::Nothing)
    }

    /// A thread cannot leave its agent any more, as that says. The first time it is told, in words.
    pub(crate) fn unmovable(&mut self, id: ThreadId, why: &str) -> (Came, Option<String>) {
        let is_first = self.unmovable.is_empty();
        let is_new = self.unmovable.insert(id);
        let said = (is_new && is_first).then(|| {
            format!("{id}: {why}; should that end unasked, a new thread begins in its place")
        });
        (self.step(id, Event::Cancel, Freight::Nothing), said)
    }

    /// How many threads could not leave their agents any more.
    pub(crate) fn unmovable_count(&self) -> usize {
        self.unmovable.len()
    }

    /// Who is to be told of an order to a thread now; nobody while it is on its way: then it is told
    /// when it runs again.
    pub(crate) fn order(&mut self, id: ThreadId, order: ToAgent) -> Option<(AgentId, ToAgent)> {
        let thread = self.threads.get_mut(&id)?;
        if let Standing::Runs(agent, ..) = thread.coordinator.standing() {
            return Some((agent, order));
        }
        thread.later.push(order);
        None
    }

    /// An agent said something of a thread.
    pub(crate) fn hear(&mut self, agent: AgentId, report: SideReport) -> Came {
        let SideReport { thread, says, with } = report;
        if !self.threads.contains_key(&thread) {
            return forgotten(agent, thread, says);
        }
        self.step(thread, Event::Heard(agent, says), with)
    }

    /// An agent is dead; `journals`: the files of its threads.
    pub(crate) fn died(&mut self, agent: AgentId, journals: &BTreeMap<ThreadId, Journal>) -> Came {
        let mut came = Came::default();
        for id in self.ids() {
            let mut journal = 0;
            if let (Some(left), Some(thread)) = (journals.get(&id), self.threads.get_mut(&id)) {
                journal = left.answers;
                thread.files.push((left.path.clone(), journal));
            }
            came.join(self.step(id, Event::Died { agent, journal }, Freight::Nothing));
        }
        came
    }

    /// Some time passed: what was not answered is said again.
    pub(crate) fn timeout(&mut self) -> Came {
        let waiting: Vec<ThreadId> = self
            .threads
            .iter()
            .filter(|(_, thread)| thread.coordinator.waits())
            .map(|(id, _)| *id)
            .collect();
        let mut came = Came::default();
        for id in waiting {
            came.join(self.step(id, Event::Timeout, Freight::Nothing));
        }
        came
    }

    fn step(&mut self, id: ThreadId, event: Event, with: Freight) -> Came {
        let mut came = Came::default();
        let Some(thread) = self.threads.get_mut(&id) else {
            return came;
        };
        let mut answers = None;
        match with {
            Freight::Answers(tail) => answers = Some(tail),
            Freight::Frozen(tail, luggage) => thread.frozen = Some((tail, luggage)),
            Freight::Resumed { pause_us, .. } => thread.pause_us = pause_us,
            Freight::Nothing | Freight::Prepared { .. } | Freight::Diverged(_) => {}
        }
        for order in thread.coordinator.step(event) {
            match order {
                Order::Send(agent, says) => {
                    let order = thread.order(id, says, answers.take());
                    came.send.push((agent, ToAgent::Side(Box::new(order))));
                }
                Order::Runs(agent, _, instance) => {
                    thread.runs(id, instance, &mut came);
                    let later = thread.later.drain(..).map(|order| (agent, order));
                    came.send.extend(later);
                }
                Order::Aborted(why) => {
                    thread.stays(id, why, &mut came);
                    if let Standing::Runs(agent, ..) = thread.coordinator.standing() {
                        let later = thread.later.drain(..).map(|order| (agent, order));
                        came.send.extend(later);
                    }
                }
                Order::Homeless => came.homeless.push(id),
                Order::Ended | Order::Abandoned => came.over.push(id),
            }
        }
        for over in &came.over {
            self.threads.remove(over);
        }
        came
    }

    /// The instance that a thread's requests went to when it was last heard to run.
    pub(crate) fn instance_of(&self, id: ThreadId) -> Option<InstanceId> {
        self.threads.get(&id)?.told
    }

    /// How many threads of a scenario each agent has.
    pub(crate) fn by_agent(&self, scenario: &str) -> Vec<(AgentId, u64)> {
        let mut agents: BTreeMap<AgentId, u64> = BTreeMap::new();
        let threads = self
            .threads
            .iter()
            .filter(|(_, thread)| thread.scenario == scenario);
        for agent in threads.filter_map(|(id, _)| self.agent_of(*id)) {
            *agents.entry(agent).or_default() += 1;
        }
        agents.into_iter().collect()
    }
}

impl Thread {
    fn order(&mut self, id: ThreadId, says: ToSide, answers: Option<Tail>) -> SideOrder {
        match says {
            ToSide::JournalPart { .. } => SideOrder {
                how: Some(self.how.clone()),
                journal: answers.map_or(Cargo::Nothing, Cargo::Answers),
                ..SideOrder::bare(id, says)
            },
            ToSide::Grant { at: 0, .. } => SideOrder::begin(id, says, self.how.clone()),
            // The tail or the file that comes to just where the thread is to go on.
            ToSide::Grant { at, .. } => {
                let frozen = self
                    .frozen
                    .as_ref()
                    .filter(|(tail, _)| tail.to.answers == at);
                let file = self.files.iter().find(|(_, answers)| *answers == at);
                match (frozen, file) {
                    (Some((tail, luggage)), _) => SideOrder {
                        how: Some(self.how.clone()),
                        journal: Cargo::Answers(tail.clone()),
                        luggage: Some(luggage.clone()),
                        ..SideOrder::bare(id, says)
                    },
                    (None, Some((file, _))) => SideOrder {
                        how: Some(self.how.clone()),
                        ..SideOrder::recover(id, says, file.clone())
                    },
                    (None, None) => SideOrder::begin(id, says, self.how.clone()),
                }
            }
            _ => SideOrder {
                gently: self.gently,
                ..SideOrder::bare(id, says)
            },
        }
    }

    fn runs(&mut self, id: ThreadId, instance: InstanceId, came: &mut Came) {
        self.frozen = None;
        self.files.clear();
        self.target = None;
        match self.told.replace(instance) {
            None => {
                came.began.push(id);
                came.seen.push(ServiceSeen::ThreadPlaced {
                    thread: id,
                    instance,
                });
            }
            Some(source) if source != instance => came.seen.push(ServiceSeen::HandedOver {
                thread: id,
                source,
                target: instance,
                pause_us: self.pause_us,
            }),
            // It was given back.
            Some(_) => {}
        }
    }

    fn stays(&mut self, id: ThreadId, why: Abort, came: &mut Came) {
        self.target = None;
        let Some(source) = self.told else {
            return;
        };
        let reason = match why {
            Abort::TargetDied => "the agent that it was to go to died",
            Abort::Diverged => "its copy did not follow its journal",
            Abort::Silent => "no answer came in time",
            Abort::Cancelled => "its agent cannot hand it over",
        };
        came.seen.push(ServiceSeen::HandOverFailed {
            thread: id,
            source,
            reason: reason.to_owned(),
        });
    }
}

/// A thread that is over is asked about: every copy of it is void.
fn forgotten(agent: AgentId, thread: ThreadId, says: ToHub) -> Came {
    let epoch = match says {
        ToHub::Ended { epoch } | ToHub::Resumed { epoch } => epoch,
        _ => return Came::default(),
    };
    let order = SideOrder::bare(
        thread,
        ToSide::Drop {
            epoch: Epoch(epoch.0),
        },
    );
    Came {
        send: vec![(agent, ToAgent::Side(Box::new(order)))],
        ..Came::default()
    }
}
