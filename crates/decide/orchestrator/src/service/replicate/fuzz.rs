//! Recorded requests are changed on the instance that cases are tried on, while it has nothing else to do.
//!
//! ```text
//!   iterations of each scenario ─▶ Capture ─▶ examples ─▶ Fuzz on an idle replica ─▶ FuzzFound ─▶ KeepFound ─▶ a case as any other
//!                                                          ^      └─ Fuzzed ─┐
//!                                                          └─────────────────┘ until its time is used up
//! ```
//!
//! No thread ever comes to that instance, and nothing that is judged is measured there. A case that is to be tried ends a round at
//! once, and its server begins anew.

use cohort_model::{
    At, CaseThread, FuzzPlan, FuzzRound, InstanceId, ServiceCommand, ServiceReason, ServiceSeen,
    Symptom, ThreadId,
};

use super::super::{Conductor, ServiceStep};
use super::Cases;
use super::capsule::{CAPSULES_MAX, Capsule, Sight, State};
use super::gauge::Gauge;

/// Capsules of examples are numbered from here on: they are no cases.
pub(super) const EXAMPLES: u32 = 1 << 20;
/// The first examples are taken once threads have run for so long, microseconds ...
const FIRST_US: u64 = 1_500_000;
/// ... more of them so long after, each time twice as long ...
const AGAIN_US: u64 = 3_000_000;
/// ... and so often.
const TAKEN_MAX: u32 = 5;
/// Threads of which examples are taken at once: one of each scenario.
const THREADS_MAX: usize = 8;
/// Iterations of a thread among which examples are.
const ITERATIONS: u32 = 3;
/// How long one round is, microseconds.
const ROUND_US: u64 = 10_000_000;
/// Iterations that are played at once: most of their time is waiting.
const LANES: u32 = 4;
/// A round that does not end is taken to be over so long after its time, microseconds.
const LATE_US: u64 = 20_000_000;
/// Rounds in a row that came to nothing until it is given up.
const VAIN_MAX: u32 = 4;
/// After a round in vain it rests for so long, microseconds.
const REST_US: u64 = 1_000_000;

/// What is known of changing requests.
#[derive(Debug)]
pub(super) struct Fuzzing {
    plan: FuzzPlan,
    used_us: u64,
    running: Option<Running>,
    next: u32,
    /// Capsules of examples that are there.
    examples: Vec<u32>,
    asked: u32,
    taken: u32,
    take_at: Option<At>,
    not_before: At,
    vain: u32,
    /// The server ended, or did not answer: it begins anew.
    is_spoilt: bool,
}

#[derive(Debug)]
struct Running {
    fuzz: u32,
    instance: InstanceId,
    begun: At,
    for_us: u64,
    ended: bool,
}

impl Fuzzing {
    pub(super) fn new(plan: FuzzPlan) -> Self {
        Self {
            plan,
            used_us: 0,
            running: None,
            next: 0,
            examples: Vec::new(),
            asked: 0,
            taken: 0,
            take_at: None,
            not_before: At(0),
            vain: 0,
            is_spoilt: false,
        }
    }

    fn left_us(&self) -> u64 {
        self.plan.time_us.saturating_sub(self.used_us)
    }

    /// Whether no further round is begun. Without examples there is none once the scenario is over.
    fn is_done(&self, scenario_over: bool) -> bool {
        let nothing = self.examples.is_empty() && scenario_over;
        self.running.is_none() && (self.left_us() == 0 || self.vain >= VAIN_MAX || nothing)
    }

    /// Time that it adds to that after the scenario, microseconds.
    pub(super) fn after_us(&self) -> u64 {
        self.plan.time_us
    }
}

impl Cases {
    /// Whether requests are still changed.
    pub(super) fn fuzz_is_done(&self) -> bool {
        let over = self.done.is_some();
        self.fuzzing.as_ref().is_none_or(|it| it.is_done(over))
    }

    /// An instance where a round is under way and nothing is played for a case.
    pub(super) fn is_fuzzed(&self, instance: InstanceId) -> bool {
        let running = self.fuzzing.as_ref().and_then(|it| it.running.as_ref());
        running.is_some_and(|running| running.instance == instance)
    }

    /// A case is played there now.
    pub(super) fn end_fuzz_on(&mut self, instance: InstanceId, step: &mut ServiceStep) {
        if !self.is_fuzzed(instance) {
            return;
        }
        let running = self.fuzzing.as_mut().and_then(|it| it.running.as_mut());
        if let Some(running) = running
            && !running.ended
        {
            running.ended = true;
            let command = ServiceCommand::EndFuzz { fuzz: running.fuzz };
            step.decide(command, ServiceReason::EdgeCase, None);
        }
    }
}

impl Conductor {
    /// Takes examples, and begins a round where there is room.
    pub(super) fn fuzz(&mut self, at: At, step: &mut ServiceStep) {
        self.take_examples(at, step);
        let Some(cases) = &mut self.cases else {
            return;
        };
        let over = cases.over;
        // The only one is left to those who need it old.
        let waits = cases.waits_for_old() && cases.alive() < 2;
        let Some(fuzzing) = &mut cases.fuzzing else {
            return;
        };
        if let Some(running) = &mut fuzzing.running {
            let took_us = at.since(running.begun);
            if over && !running.ended {
                running.ended = true;
                let command = ServiceCommand::EndFuzz { fuzz: running.fuzz };
                step.decide(command, ServiceReason::Stopping, None);
            }
            if took_us > running.for_us + LATE_US {
                fuzzing.used_us += running.for_us;
                fuzzing.vain += 1;
                fuzzing.running = None;
            }
            return;
        }
        let done = cases.done.is_some();
        if over || waits || at < fuzzing.not_before || fuzzing.is_done(done) {
            return;
        }
        if fuzzing.examples.is_empty() {
            return;
        }
        let is_spoilt = fuzzing.is_spoilt;
        let idle = cases.replicas.iter_mut().filter(|(_, replica)| {
            // One whose server ended, or hangs, begins anew, with nothing of what it kept.
            let begins = replica.opened && (replica.is_under || is_spoilt && replica.fuzzed);
            (replica.ready || begins) && replica.play.is_none() && !replica.closing
        });
        // The one that had them before, else the youngest: others may need an old one.
        let idle = idle.max_by_key(|(id, replica)| (replica.fuzzed, replica.since, **id));
        let Some((&instance, replica)) = idle else {
            return;
        };
        let fresh = replica.is_under || (fuzzing.is_spoilt && replica.fuzzed);
        replica.is_under = false;
        replica.clean = false;
        replica.fuzzed = true;
        replica.ready &= !fresh;
        let running = Running {
            fuzz: fuzzing.next,
            instance,
            begun: at,
            for_us: fuzzing.left_us().min(ROUND_US),
            ended: false,
        };
        fuzzing.next += 1;
        fuzzing.is_spoilt = false;
        let command = ServiceCommand::Fuzz {
            fuzz: running.fuzz,
            instance,
            capsules: fuzzing.examples.clone(),
            seed: fuzzing.plan.seed,
            for_us: running.for_us,
            lanes: LANES,
            fresh,
        };
        fuzzing.running = Some(running);
        step.decide(command, ServiceReason::Fuzzing, None);
    }

    /// Iterations of threads that run are recorded for their requests.
    fn take_examples(&mut self, at: At, step: &mut ServiceStep) {
        let since = self.placing_since;
        let Some(cases) = &mut self.cases else {
            return;
        };
        let (done, over) = (cases.done.is_some(), cases.over);
        let (Some(fuzzing), Some(since)) = (&mut cases.fuzzing, since) else {
            return;
        };
        let due = *fuzzing.take_at.get_or_insert(since.plus_us(FIRST_US));
        // What was over soon is taken when it is over.
        let is_last = done && fuzzing.taken == 0;
        if over || fuzzing.taken >= TAKEN_MAX || (at < due && !is_last) {
            return;
        }
        let taken = fuzzing.taken;
        let mut of: Vec<(usize, ThreadId, InstanceId)> = Vec::new();
        let gone = self.gone.iter().map(|(id, thread)| (id, thread));
        for (&id, thread) in self.threads.iter().chain(gone) {
            // Another thread each time: it may be another kind of user.
            let known = of
                .iter()
                .filter(|(scenario, ..)| *scenario == thread.scenario);
            if known.count() <= taken as usize {
                of.push((thread.scenario, id, thread.on));
            }
        }
        of.reverse();
        let mut scenarios: Vec<usize> = Vec::new();
        of.retain(|(scenario, ..)| {
            let is_new = !scenarios.contains(scenario);
            scenarios.push(*scenario);
            is_new
        });
        of.truncate(THREADS_MAX);
        if of.is_empty() {
            return;
        }
        fuzzing.taken += 1;
        fuzzing.take_at = Some(at.plus_us(AGAIN_US << taken));
        for (_, thread, instance) in of {
            let capsule = EXAMPLES + fuzzing.asked;
            fuzzing.asked += 1;
            let threads = vec![CaseThread {
                thread,
                iteration: None,
                last: ITERATIONS,
            }];
            let command = ServiceCommand::Capture {
                capsule,
                instance,
                threads,
            };
            step.decide(command, ServiceReason::Fuzzing, None);
        }
    }

    /// Takes in what concerns it.
    pub(super) fn see_for_fuzz(&mut self, at: At, seen: &ServiceSeen, step: &mut ServiceStep) {
        match seen {
            ServiceSeen::CaseCaptured {
                capsule, failed, ..
            } if *capsule >= EXAMPLES => {
                let fuzzing = self.cases.as_mut().and_then(|cases| cases.fuzzing.as_mut());
                if let Some(fuzzing) = fuzzing
                    && failed.is_empty()
                {
                    fuzzing.examples.push(*capsule);
                    fuzzing.vain = 0;
                }
            }
            ServiceSeen::Fuzzed { fuzz, round, .. } => self.see_fuzzed(at, *fuzz, round),
            ServiceSeen::FuzzFound {
                found,
                thread,
                instance,
                endpoint,
                symptom,
                end,
                ..
            } => {
                let is_of_end = &end.is_some();
                let sight = Sight {
                    subject: match is_of_end {
                        true => String::new(),
                        false => endpoint.clone(),
                    },
                    symptom: Symptom::clone(symptom),
                    gauge: Gauge::Odd,
                    instance: *instance,
                    threads: vec![*thread],
                    request: String::new(),
                    is_of_end: *is_of_end,
                    is_unanswered: *is_of_end,
                    suspects: match is_of_end {
                        true => vec![endpoint.clone()],
                        false => Vec::new(),
                    },
                    finding: None,
                };
                self.see_found(at, (*found, end.as_deref()), sight, step);
            }
            _ => {}
        }
    }

    fn see_fuzzed(&mut self, at: At, fuzz: u32, round: &FuzzRound) {
        let Some(cases) = &mut self.cases else {
            return;
        };
        let Some(fuzzing) = &mut cases.fuzzing else {
            return;
        };
        let Some(running) = fuzzing.running.take_if(|running| running.fuzz == fuzz) else {
            return;
        };
        fuzzing.used_us += round.took_us.min(running.for_us);
        fuzzing.is_spoilt |= round.down;
        if round.down {
            // How its server ended is read meanwhile.
            fuzzing.not_before = at.plus_us(REST_US);
        }
        if round.trials == 0 && !running.ended {
            fuzzing.vain += 1;
            fuzzing.not_before = at.plus_us(REST_US);
        } else {
            fuzzing.vain = 0;
        }
    }

    fn see_found(
        &mut self,
        at: At,
        (found, end): (u32, Option<&Symptom>),
        sight: Sight,
        step: &mut ServiceStep,
    ) {
        let Some(cases) = &mut self.cases else {
            return;
        };
        if cases.known(&sight).is_some() || cases.capsules.len() >= CAPSULES_MAX || cases.over {
            return;
        }
        let number = cases.capsules.len() as u32;
        let mut capsule = Capsule::of_sight(at, sight, 0);
        capsule.end = end.cloned();
        cases.capsules.push(capsule);
        let command = ServiceCommand::KeepFound {
            found,
            capsule: number,
        };
        step.decide(command, ServiceReason::EdgeCase, None);
    }
}

impl Capsule {
    /// Its recording is asked for.
    pub(super) fn of_sight(at: At, sight: Sight, age_us: u64) -> Capsule {
        Capsule {
            subject: sight.subject,
            symptom: sight.symptom,
            gauge: sight.gauge,
            thread: sight.threads.first().map_or(ThreadId(0), |one| one.thread),
            instance: sight.instance,
            asked: at,
            state: State::Asked,
            requests: Vec::new(),
            request: sight.request,
            age_us,
            threads: sight.threads,
            is_of_end: sight.is_of_end,
            end: None,
            is_unanswered: sight.is_unanswered,
            suspects: sight.suspects,
            joined: Vec::new(),
            finding: sight.finding,
            instead: None,
            known: None,
            stays: std::collections::BTreeSet::new(),
        }
    }
}
