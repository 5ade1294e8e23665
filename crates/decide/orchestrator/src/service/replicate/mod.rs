//! Edge cases of a service are tried again on an instance of their own while the ordinary work goes on.
//!
//! ```text
//!   odd call, crash, exception, finding ─▶ Capture ─▶ CaseCaptured ─▶ Replicator::sighted ─▶ TryCase on a replica
//!                                                                          ^                     │
//!                                                                          └──── CaseTried <─────┘
//! ```
//!
//! A *replica* is one more instance that no thread comes to. One is kept ready from the beginning, so that what is odd is tried at
//! once, and so that what crashes there hurts nobody. While it begins anew, a case that was never tried goes to an ordinary
//! instance other than the one where it was seen, unless it could do harm there.
//!
//! When the scenario is over the ordinary instances are closed and replicas get what these had, until nothing is worth trying any
//! more or the time for it is used up.
//!
//! Promise: no thread is placed by it, no finding and no change of the ordinary work rests on a play, and nothing is tried under
//! the static policy.

mod after;
mod age;
mod attempt;
mod capsule;
mod cut;
mod fuzz;
mod gauge;
mod guess;
mod known;
mod oracle;
mod replica;
mod sight;
mod stage;
mod suspects;
mod variants;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cohort_model::{
    At, Case, CaseId, CasePlan, EndpointId, ExceptionSeen, FuzzPlan, InstanceId, OddCall,
    ServiceSeen, Symptom,
};
use cohort_replicator::{Limits, Replicator, Settings};

use super::{Conductor, ServiceStep};
use age::Age;
use attempt::Play;
use capsule::Capsule;
use cut::Cut;
use fuzz::Fuzzing;
pub use gauge::{Gauge, What};
use replica::Replica;
use sight::Usual;
use suspects::Crashed;
pub(super) use suspects::Explanation;
use variants::Tried;

/// A recording that was asked for and did not come is not waited for longer, microseconds.
const CAPTURE_US_MAX: u64 = 15_000_000;

/// All that is known of edge cases and of the plays under way.
#[derive(Debug)]
pub(super) struct Cases {
    plan: CasePlan,
    replicator: Replicator,
    capsules: Vec<Capsule>,
    /// The capsule that a case is played from.
    of_case: BTreeMap<CaseId, u32>,
    /// What is left out of cases.
    cuts: BTreeMap<CaseId, Cut>,
    /// Plays that were begun for the sake of cutting, and all others.
    turns: (u32, u32),
    /// Cases as they were told last.
    told: BTreeMap<CaseId, Case>,
    replicas: BTreeMap<InstanceId, Replica>,
    next_instance: u32,
    next_play: u32,
    plays: BTreeMap<u32, Play>,
    /// Cases that were tried at least once.
    tried: BTreeSet<CaseId>,
    /// Calls that got no answer: why may yet be told.
    unanswered: VecDeque<OddCall>,
    /// Answers from 500 on of late: when, and whose.
    failed_answers: VecDeque<(At, InstanceId)>,
    /// Exceptions of which it may yet be told which call they belong to.
    exceptions: VecDeque<(At, ExceptionSeen)>,
    /// When the server of an instance came to its end last.
    crashed: Crashed,
    usual: BTreeMap<EndpointId, Usual>,
    /// From when on ordinary instances were seen to answer calls last.
    answered: BTreeMap<InstanceId, At>,
    /// How long servers have to run before cases are played on them.
    ages: BTreeMap<CaseId, Age>,
    /// What cases about growth grow by with each repetition, as they were.
    growth: BTreeMap<CaseId, f64>,
    /// Exceptions that came with every answer by which a case showed, as it was.
    beside: BTreeMap<CaseId, Vec<Symptom>>,
    /// Whether recorded requests are changed.
    fuzzing: Option<Fuzzing>,
    /// What came of cases on other builds.
    on_variants: BTreeMap<CaseId, Vec<Tried>>,
    /// Findings that were taken up.
    taken_up: Vec<u32>,
    open_failures: u32,
    /// When the scenario was over.
    done: Option<At>,
    /// Nothing more is tried.
    over: bool,
}

impl Cases {
    /// Changes recorded requests besides.
    pub(super) fn with_fuzz(mut self, plan: Option<FuzzPlan>) -> Self {
        self.fuzzing = plan.map(Fuzzing::new);
        self
    }

    pub(super) fn new(plan: &CasePlan, cores: f64, memory: u64, instances: u32) -> Self {
        let seconds = plan.after_us as f64 / 1e6;
        let usual = Limits::default();
        let replicator = Replicator::new(Settings {
            seed: plan.seed,
            cores,
            memory,
            able: plan.able.clone(),
            first_case: plan.first_case,
            limits: Limits {
                seconds: usual.seconds.max(seconds),
                seconds_all: usual.seconds_all.max(seconds),
                cases: capsule::CAPSULES_MAX as u32,
                ..usual
            },
        });
        let mut cases = Self {
            plan: plan.clone(),
            replicator,
            capsules: Vec::new(),
            of_case: BTreeMap::new(),
            cuts: BTreeMap::new(),
            turns: (0, 0),
            told: BTreeMap::new(),
            replicas: BTreeMap::new(),
            next_instance: instances,
            next_play: 0,
            plays: BTreeMap::new(),
            tried: BTreeSet::new(),
            unanswered: VecDeque::new(),
            failed_answers: VecDeque::new(),
            exceptions: VecDeque::new(),
            crashed: BTreeMap::new(),
            usual: BTreeMap::new(),
            answered: BTreeMap::new(),
            ages: BTreeMap::new(),
            growth: BTreeMap::new(),
            beside: BTreeMap::new(),
            fuzzing: None,
            on_variants: BTreeMap::new(),
            taken_up: Vec::new(),
            open_failures: 0,
            done: None,
            over: false,
        };
        cases.remember_all();
        cases
    }

    /// Cases of which more is known now: what the replicator tells, and what was left out meanwhile.
    fn news(&mut self, at: At) -> Vec<Case> {
        let told = self.replicator.news(at);
        let mut news: Vec<Case> = told.into_iter().map(|case| self.shown(case)).collect();
        let is_new = |case: &Case| news.iter().any(|known| known.case == case.case);
        let cut: Vec<Case> = self
            .replicator
            .cases()
            .filter(|case| {
                let is_more = self.on_variants.contains_key(&case.case);
                (is_more || self.cuts.contains_key(&case.case)) && !is_new(case)
            })
            .map(|case| self.shown(case.clone()))
            .filter(|case| {
                self.told.get(&case.case).is_some_and(|told| {
                    told.stage != case.stage
                        || told.minimal != case.minimal
                        || parts(told) > parts(case)
                        || told.variants != case.variants
                })
            })
            .collect();
        news.extend(cut);
        for case in &news {
            self.told.insert(case.case, case.clone());
        }
        news
    }

    /// Whether an instance on which cases were tried is not gone yet.
    pub(super) fn has_replicas(&self) -> bool {
        !self.replicas.is_empty()
    }

    /// Whether something was seen that may yet be told as a case.
    fn has_untold(&self) -> bool {
        !self.unanswered.is_empty() || !self.exceptions.is_empty()
    }

    /// Whether nothing is under way and nothing is worth trying any more.
    fn is_done(&self) -> bool {
        let waits = self.has_untold() || self.capsules.iter().any(Capsule::waits);
        let cut = self.cuts.values().all(Cut::is_done);
        let fuzzed = self.over || self.fuzz_is_done();
        self.plays.is_empty()
            && fuzzed
            && (self.over
                || self.replicator.is_settled() && !waits && cut && self.variants_are_done())
    }
}

fn parts(case: &Case) -> usize {
    let smallest = case.smallest.as_ref();
    smallest.map_or(usize::MAX, |arm| arm.recipe.parts.len())
}

impl Conductor {
    /// Whether this is about an instance on which cases are tried: no concern of the ordinary work.
    fn is_of_cases(&self, seen: &ServiceSeen) -> bool {
        let Some(cases) = &self.cases else {
            return false;
        };
        let ours = |instance: &InstanceId| cases.replicas.contains_key(instance);
        match seen {
            ServiceSeen::InstanceReady { instance, .. }
            | ServiceSeen::InstanceExited { instance, .. }
            | ServiceSeen::InstanceFailed { instance, .. }
            | ServiceSeen::ShareSet { instance, .. }
            | ServiceSeen::CrashRead { instance, .. } => ours(instance),
            ServiceSeen::Excepted { exceptions } => {
                exceptions.iter().all(|one| ours(&one.instance))
            }
            ServiceSeen::OddCalls { .. }
            | ServiceSeen::CaseCaptured { .. }
            | ServiceSeen::Fuzzed { .. }
            | ServiceSeen::FuzzFound { .. }
            | ServiceSeen::CaseTried { .. } => true,
            _ => false,
        }
    }

    /// What of it concerns the ordinary work, if anything does.
    pub(super) fn ordinary<'s>(&self, seen: &'s ServiceSeen) -> Option<Cow<'s, ServiceSeen>> {
        let Some(cases) = &self.cases else {
            return Some(Cow::Borrowed(seen));
        };
        if self.is_of_cases(seen) {
            return None;
        }
        match seen {
            ServiceSeen::Sampled(batch) if !cases.replicas.is_empty() => {
                let mut batch = batch.clone();
                let ours = |instance: &InstanceId| cases.replicas.contains_key(instance);
                batch.instances.retain(|sample| !ours(&sample.instance));
                Some(Cow::Owned(ServiceSeen::Sampled(batch)))
            }
            _ => Some(Cow::Borrowed(seen)),
        }
    }

    /// Takes in what concerns cases.
    pub(super) fn see_for_cases(&mut self, at: At, seen: &ServiceSeen, step: &mut ServiceStep) {
        if self.cases.is_none() {
            return;
        }
        self.see_for_fuzz(at, seen, step);
        match seen {
            ServiceSeen::OddCalls { calls } => {
                for call in calls {
                    self.see_odd(at, call, step);
                }
            }
            ServiceSeen::CrashRead { instance, symptom } => {
                self.see_crash(at, *instance, symptom, step);
            }
            ServiceSeen::Excepted { exceptions } => {
                for exception in exceptions {
                    self.see_exception(at, exception, step);
                }
            }
            ServiceSeen::CaseCaptured {
                capsule,
                requests,
                failed,
                remarks,
            } => self.see_captured(at, (*capsule, requests), (failed, remarks)),
            ServiceSeen::CaseTried { play, played, .. } => self.see_tried(at, *play, played),
            ServiceSeen::Loaded { windows } => self.see_usual(windows),
            ServiceSeen::InstanceReady { .. }
            | ServiceSeen::InstanceExited { .. }
            | ServiceSeen::InstanceFailed { .. }
            | ServiceSeen::ShareSet { .. } => self.see_replica(at, seen),
            _ => {}
        }
    }

    /// One step: what is to be tried is tried where there is room, and what is new is told.
    pub(super) fn replicate(&mut self, at: At, step: &mut ServiceStep) {
        self.open_replicas(at, step);
        self.take_up_findings(at, step);
        self.explain_unanswered(at, step);
        let Some(cases) = &mut self.cases else {
            return;
        };
        for capsule in &mut cases.capsules {
            if capsule.waits() && at.since(capsule.asked) > CAPTURE_US_MAX {
                capsule.lose();
            }
        }
        self.limit_plays(at, step);
        self.judge_plays(at);
        if let Some(cases) = &mut self.cases {
            cases.begin_cuts();
        }
        // Where there are others, one is for changed requests.
        let several = |cases: &Cases| cases.done.is_some() && cases.alive() > 1;
        if self.cases.as_ref().is_some_and(several) {
            self.fuzz(at, step);
        }
        self.begin_plays(at, step);
        self.fuzz(at, step);
        if let Some(cases) = &mut self.cases {
            let news = cases.news(at);
            self.explain_findings(at, &news, step);
            step.cases.extend(news);
        }
    }
}
