//! Testing Orchestration Engine for the instances of a service: who drives which instance, what each
//! is for and may use. Pure: a campaign replays to the same decisions from the same observations.
//!
//! ```text
//!   seen ─▶ see ─▶ open ─▶ evacuate ─▶ place ─▶ close what failed ─▶ decisions
//!             └─ each second: conclude ─▶ judge changes ─▶ weigh ─▶ gather ─▶ hand over ─▶ allot
//! ```
//!
//! Promises:
//! - the shares that are in force never add up to more than the budget;
//! - every thread that is wanted is placed once, and never on an instance that does not answer;
//! - every change of a share or of a purpose is tried on an instance alone, measured, and undone when
//!   it did not help;
//! - every instance is closed before the campaign is finished, and it is finished.
//!
//! From the first windows on instances become different: threads of an area gather ([`lean`]), what is
//! suspected gets an instance of its own ([`gather`]), and shares follow need ([`allot`]).
//!
//! The static policy is the baseline in the same code: equal shares, threads in turn, nothing changes,
//! but that threads leave an instance that will never answer again.

mod advance;
mod allot;
mod areas;
mod end;
mod gather;
mod helpers;
mod lead;
mod lean;
mod load;
mod moves;
mod place;
mod replicate;
mod see;
mod state;
mod survey;
mod swap;
mod trial;
mod verdict;
mod weigh;

use std::collections::{BTreeMap, VecDeque};

use cohort_allocator::Ledger;
use cohort_analyzer::service::{ServiceAnalyzer, ServiceSettings};
use cohort_model::{
    Area, At, Case, Change, EndpointId, InstanceId, Policy, ServiceCommand, ServiceDecision,
    ServiceFinding, ServicePlan, ServiceReason, ServiceSeen, ThreadId,
};

use gather::Gather;
use helpers::Helpers;
use lean::Lean;
use load::Profile;
use moves::Moves;
pub use replicate::{Gauge, What};

use replicate::Cases;
use state::{Calls, Place, Thread};
use survey::Survey;
use trial::Trial;

/// What is measured is looked at so often, microseconds.
const BEAT_US: u64 = 1_000_000;

/// What a step came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceStep {
    /// What the analyzer concluded.
    pub findings: Vec<ServiceFinding>,
    /// All areas, when they are not those of before.
    pub areas: Vec<Area>,
    /// Edge cases of which more is known now.
    pub cases: Vec<Case>,
    /// Changes that were begun, and those of which it is now known what they did.
    pub changes: Vec<Change>,
    /// What is to be done, in this order.
    pub decisions: Vec<ServiceDecision>,
}

impl ServiceStep {
    fn decide(&mut self, command: ServiceCommand, reason: ServiceReason, change: Option<u32>) {
        self.decisions.push(ServiceDecision {
            command,
            reason,
            change,
        });
    }
}

/// A finding that is not over.
#[derive(Clone, Debug)]
struct Open {
    finding: ServiceFinding,
    /// When it was first heard of.
    first: At,
}

/// What is known of the threads of one scenario.
#[derive(Clone, Debug)]
struct Scenario {
    name: String,
    calls: Calls,
}

/// Something that was tried in vain, and is not tried again for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Vain {
    /// More of a resource for an instance.
    More(cohort_allocator::Resource, InstanceId),
    /// An instance for an endpoint.
    Gather(EndpointId),
    /// Instances that lean to an area each.
    Lean,
}

/// The state that decisions rest on.
#[derive(Debug)]
pub struct Conductor {
    plan: ServicePlan,
    ledger: Ledger,
    analyzer: ServiceAnalyzer,
    places: BTreeMap<InstanceId, Place>,
    threads: BTreeMap<ThreadId, Thread>,
    /// Threads that ended of late.
    gone: VecDeque<(ThreadId, Thread)>,
    /// Threads that wait for an instance, with their scenario.
    wanted: VecDeque<(ThreadId, usize)>,
    scenarios: Vec<Scenario>,
    endpoints: BTreeMap<EndpointId, String>,
    areas: Vec<Area>,
    open: BTreeMap<u32, Open>,
    gathers: Vec<Gather>,
    leans: Vec<Lean>,
    /// Beats in a row in which an endpoint of an instance was slower than its peers.
    suspicions: BTreeMap<(InstanceId, u32), weigh::Suspicion>,
    /// What was asked of the instances that answer, lately.
    recent: BTreeMap<InstanceId, Profile>,
    trials: Vec<Trial>,
    next_change: u32,
    vain: BTreeMap<Vain, (At, u32)>,
    moves: Moves,
    /// Iterations that ended, by time.
    iterated: VecDeque<(At, u64)>,
    /// Whose turn it is, under the static policy.
    turn: usize,
    /// When the first instance answered, and how long it took.
    first_ready: Option<(At, u64)>,
    /// When all instances had their chance to answer, so that threads are placed.
    placing_since: Option<At>,
    began: bool,
    next_beat: At,
    /// Edge cases, where they are tried again.
    cases: Option<Cases>,
    /// Helpers, where they are deployed.
    helpers: Option<Helpers>,
    /// Weaknesses are looked for when the scenario is over.
    survey: Survey,
    /// All findings, each as last heard.
    heard: BTreeMap<u32, ServiceFinding>,
    /// What cases tell of findings, by their numbers.
    explained: BTreeMap<u32, replicate::Explanation>,
    /// What was seen to the last is concluded.
    concluded: bool,
    stopping: Option<end::Stop>,
    finished: bool,
}

/// Nothing is tried again where all is to be as the fixed rule has it.
fn cases(plan: &ServicePlan) -> Option<Cases> {
    let cases = plan.cases.as_ref()?;
    let able = plan.policy == Policy::Adaptive && plan.hands_over;
    let new = || Cases::new(cases, plan.cores, plan.memory, plan.instances);
    able.then(|| new().with_fuzz(plan.fuzz))
}

impl Conductor {
    /// For the campaign of a plan. Its instances are numbered from zero.
    #[must_use]
    pub fn new(plan: ServicePlan) -> Self {
        Self {
            ledger: Ledger::new(&plan),
            analyzer: ServiceAnalyzer::new(ServiceSettings::of(&plan)),
            places: BTreeMap::new(),
            threads: BTreeMap::new(),
            gone: VecDeque::new(),
            wanted: VecDeque::new(),
            scenarios: Vec::new(),
            endpoints: BTreeMap::new(),
            areas: Vec::new(),
            open: BTreeMap::new(),
            gathers: Vec::new(),
            leans: Vec::new(),
            suspicions: BTreeMap::new(),
            recent: BTreeMap::new(),
            trials: Vec::new(),
            next_change: 0,
            vain: BTreeMap::new(),
            moves: Moves::new(&plan),
            iterated: VecDeque::new(),
            turn: 0,
            first_ready: None,
            placing_since: None,
            began: false,
            next_beat: At(0),
            cases: cases(&plan),
            helpers: plan.helpers.as_ref().map(Helpers::new),
            survey: Survey::new(plan.helpers.as_ref()),
            heard: BTreeMap::new(),
            explained: BTreeMap::new(),
            concluded: false,
            stopping: None,
            finished: false,
            plan,
        }
    }

    /// Takes in what was seen by `at` and says what is to be done. Each call is one step; time never
    /// goes back between calls. What is only looked at now and then needs a step each second, be it
    /// with a [`ServiceSeen::Tick`] alone.
    pub fn step(&mut self, at: At, seen: &[ServiceSeen]) -> ServiceStep {
        let mut step = ServiceStep::default();
        if self.finished {
            return step;
        }
        if !self.began {
            self.began = true;
            self.next_beat = at.plus_us(BEAT_US);
            self.open_all(&mut step);
        }
        for seen in seen {
            if let Some(ordinary) = self.ordinary(seen) {
                // What a survey provokes is its own finding, and nobody else's.
                if !self.survey.is_on() {
                    self.analyzer.observe(at, &ordinary);
                }
                self.see(at, &ordinary);
            }
            if !self.survey.hides(seen) {
                self.see_for_cases(at, seen, &mut step);
            }
            self.see_for_helpers(at, seen, &mut step);
            self.see_for_survey(at, seen, &mut step);
        }
        if self.stopping.is_none() && !self.lingers() && !self.survey.is_on() {
            let beats = at >= self.next_beat;
            if beats {
                self.next_beat = at.plus_us(BEAT_US);
                self.beat(at, &mut step);
            }
            self.evacuate(at, &mut step);
            self.place_wanted(at, &mut step);
            self.close_failed(&mut step);
            self.deploy(at, &mut step);
            if beats {
                self.restart_hung(at, &mut step);
            }
        }
        self.survey(at, &mut step);
        self.replicate(at, &mut step);
        self.settle(at, &mut step);
        for decision in &step.decisions {
            self.analyzer.ordered(at, &decision.command);
        }
        step
    }

    /// Whether the last step ended the campaign.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Threads that wait for an instance that answers.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.wanted.len()
    }

    /// What is only looked at once a second.
    fn beat(&mut self, at: At, step: &mut ServiceStep) {
        self.conclude(at, step);
        if self.plan.policy == Policy::Static || self.placing_since.is_none() {
            return;
        }
        self.refresh(at);
        self.advance_trials(at, step);
        if self.plan.hands_over {
            self.weigh(at);
            self.yield_to_leads(at, step);
            self.begin_gathers(at, step);
            if self.plan.leans {
                self.begin_lean(at, step);
            }
            self.arrange_gathers();
            self.arrange_leans();
            self.hand_over_all(at, step);
        }
        self.allot(at, step);
    }

    /// Instances that answer.
    fn ready(&self) -> impl Iterator<Item = (InstanceId, &Place)> {
        self.places
            .iter()
            .filter(|(_, place)| place.is_ready())
            .map(|(&id, place)| (id, place))
    }

    /// Name of an endpoint, as people know it.
    fn endpoint_name(&self, endpoint: EndpointId) -> String {
        let name = self.endpoints.get(&endpoint);
        name.cloned().unwrap_or_else(|| endpoint.to_string())
    }

    /// Whether something was tried in vain so lately that it is not tried again.
    fn is_vain(&self, what: Vain, at: At) -> bool {
        self.vain.get(&what).is_some_and(|&(until, _)| at < until)
    }

    /// It was tried in vain: not again for `pause_us`, and twice as long each time.
    fn note_vain(&mut self, what: Vain, at: At, pause_us: u64) {
        let times = self.vain.get(&what).map_or(0, |&(_, times)| times);
        let until = at.plus_us(pause_us << times.min(4));
        self.vain.insert(what, (until, times + 1));
    }

    fn next_change(&mut self) -> u32 {
        self.next_change += 1;
        self.next_change
    }
}
