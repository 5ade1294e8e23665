//! The simulated host.

use std::collections::BTreeMap;

use cohort_model::{
    Allotment, At, Budget, Case, CaseId, Collector, Command, HostSample, InstanceId,
    InstanceSample, Observation, Plan, Policy, Recipe, SampleBatch, TestId, TestResult, ThreadEnd,
    ThreadId, Usage, Verdict,
};
use cohort_orchestrator::{Orchestrator, Step};

use crate::Needs;

/// Virtual time of one tick, microseconds.
const TICK_US: u64 = 1_000;
/// Host samples are this far apart, microseconds.
const HOST_SAMPLE_US: u64 = 50_000;
/// Instance samples are this far apart, microseconds.
const INSTANCE_SAMPLE_US: u64 = 100_000;
/// A simulated campaign that takes longer is stuck, virtual microseconds.
const END_US: u64 = 24 * 3600 * 1_000_000;

#[derive(Clone, Debug)]
struct Running {
    test: TestId,
    place: InstanceId,
    started: At,
    cpu_done: u64,
    wait_done: u64,
    crowd: usize,
    killed: bool,
    yielded: bool,
    /// It tries an edge case.
    recipe: Option<Recipe>,
    /// It is the first execution of its test.
    is_first: bool,
}

#[derive(Clone, Copy, Debug)]
struct Instance {
    allotment: Allotment,
    cpu_us: u64,
    held: bool,
}

/// What a simulated campaign came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Results in the order in which they were concluded.
    pub results: Vec<TestResult>,
    /// Virtual time from start to end, microseconds.
    pub wall_us: u64,
    /// Most threads that ran at once.
    pub threads_max: usize,
    /// Largest sum of memory limits of instances with a thread, bytes.
    pub promised_max: u64,
    /// Threads handed over.
    pub handed_over: usize,
    /// Tries of edge cases.
    pub tries: usize,
    /// All edge cases, as they were told last.
    pub cases: BTreeMap<CaseId, Case>,
    /// CPU that tries used, microseconds.
    pub tries_cpu_us: u64,
    /// Every step: when, what was seen, what was decided.
    pub steps: Vec<(At, Vec<Observation>, Step)>,
}

/// A host, its instances and their threads.
#[derive(Debug)]
pub struct Host<'a> {
    budget: Budget,
    needs: &'a [Needs],
    sticky: bool,
    now: At,
    instances: BTreeMap<InstanceId, Instance>,
    threads: BTreeMap<ThreadId, Running>,
    waiting: BTreeMap<InstanceId, (ThreadId, TestId)>,
    cpu_us: u64,
    pressure_us: u64,
    /// Executions begun, by test.
    begun: BTreeMap<TestId, u32>,
    outcome: Outcome,
}

/// Runs a whole campaign. `keep_steps`: remember every step (for replay tests).
///
/// # Panics
/// When the orchestrator does not finish within a virtual day, or breaks a rule of its commands.
#[must_use]
pub fn run(
    budget: Budget,
    policy: Policy,
    plan: &Plan,
    needs: &[Needs],
    keep_steps: bool,
) -> Outcome {
    let mut orchestrator = Orchestrator::new(budget, policy, plan.clone(), 0);
    let mut host = Host::new(budget, needs, plan.sticky);
    let mut seen = vec![Observation::Tick];
    while !orchestrator.is_finished() {
        assert!(host.now.0 < END_US, "stuck with {:?}", host.threads);
        if !seen.is_empty() {
            let step = orchestrator.step(host.now, &seen);
            let told = std::mem::take(&mut seen);
            seen = host.carry_out(&step);
            if keep_steps {
                host.outcome.steps.push((host.now, told, step));
            }
            if !seen.is_empty() {
                continue;
            }
        }
        seen = host.tick();
    }
    host.outcome.wall_us = host.now.0;
    host.outcome
}

impl<'a> Host<'a> {
    /// A host with nothing on it. `needs` by test id.
    #[must_use]
    pub fn new(budget: Budget, needs: &'a [Needs], sticky: bool) -> Self {
        Self {
            budget,
            needs,
            sticky,
            now: At(0),
            instances: BTreeMap::new(),
            threads: BTreeMap::new(),
            waiting: BTreeMap::new(),
            cpu_us: 0,
            pressure_us: 0,
            begun: BTreeMap::new(),
            outcome: Outcome::default(),
        }
    }

    fn carry_out(&mut self, step: &Step) -> Vec<Observation> {
        let mut seen = Vec::new();
        for case in &step.cases {
            self.outcome.cases.insert(case.case, case.clone());
        }
        for decision in &step.decisions {
            self.obey(&decision.command, &mut seen);
        }
        let promised = self
            .threads
            .values()
            .map(|thread| self.instances[&thread.place].allotment.memory)
            .sum();
        self.outcome.promised_max = self.outcome.promised_max.max(promised);
        let running = self
            .threads
            .values()
            .filter(|thread| !thread.yielded)
            .count();
        self.outcome.threads_max = self.outcome.threads_max.max(running);
        for thread in self.threads.values_mut() {
            thread.crowd = thread.crowd.max(running);
        }
        seen
    }

    fn obey(&mut self, command: &Command, seen: &mut Vec<Observation>) {
        match *command {
            Command::OpenInstance {
                instance,
                allotment,
                ..
            } => {
                let new = Instance {
                    allotment,
                    cpu_us: 0,
                    held: false,
                };
                let old = self.instances.insert(instance, new);
                assert!(old.is_none(), "{instance} opened twice");
                seen.push(Observation::InstanceOpened { instance });
            }
            Command::Specialize {
                instance,
                allotment,
                ..
            } => {
                let lane = self.instances.get_mut(&instance).expect("open instance");
                lane.held &= allotment.memory <= lane.allotment.memory;
                lane.allotment = allotment;
            }
            Command::CloseInstance { instance } => {
                let busy = self.threads.values().any(|thread| thread.place == instance);
                assert!(!busy, "{instance} closed with a thread on it");
                self.instances.remove(&instance).expect("open instance");
            }
            Command::StartThread {
                thread,
                test,
                instance,
            } => self.start(thread, test, instance, None),
            Command::TryCase {
                thread,
                test,
                instance,
                ref recipe,
                ..
            } => {
                self.outcome.tries += 1;
                self.start(thread, test, instance, Some(recipe.clone()));
            }
            Command::Instrument {
                thread,
                test,
                instance,
                ..
            } => self.start(thread, test, instance, None),
            Command::KillThread { thread, .. } => {
                self.threads.get_mut(&thread).expect("live thread").killed = true;
            }
            Command::HandOverThread { thread, target, .. } => {
                self.outcome.handed_over += 1;
                self.threads.get_mut(&thread).expect("live thread").place = target;
                seen.push(Observation::ThreadMoved { thread, target });
            }
            Command::Conclude(ref result) => self.outcome.results.push(result.clone()),
            Command::Finish => {}
        }
    }

    fn start(
        &mut self,
        thread: ThreadId,
        test: TestId,
        instance: InstanceId,
        recipe: Option<Recipe>,
    ) {
        assert!(
            self.instances.contains_key(&instance),
            "{instance} is not open"
        );
        let old = self
            .threads
            .values()
            .find(|thread| thread.place == instance);
        if let Some(old) = old {
            assert!(
                old.yielded && recipe.is_none(),
                "{instance} has a thread already"
            );
            self.waiting.insert(instance, (thread, test));
            return;
        }
        let begun = self.begun.entry(test).or_default();
        *begun += 1;
        let running = Running {
            recipe,
            is_first: *begun == 1,
            test,
            place: instance,
            started: self.now,
            cpu_done: 0,
            wait_done: 0,
            crowd: 1,
            killed: false,
            yielded: false,
        };
        self.threads.insert(thread, running);
    }

    /// Lets one tick pass, and says what was seen in it.
    fn tick(&mut self) -> Vec<Observation> {
        self.now = self.now.plus_us(TICK_US);
        let mut seen = self.work();
        self.end(&mut seen);
        if self.now.0.is_multiple_of(HOST_SAMPLE_US) {
            seen.push(Observation::Sampled(self.sample()));
        }
        seen
    }

    fn work(&mut self) -> Vec<Observation> {
        let mut seen = Vec::new();
        let mut hungry = Vec::new();
        for (&thread, running) in &mut self.threads {
            let needs = self.needs[running.test.index()];
            let instance = self
                .instances
                .get_mut(&running.place)
                .expect("open instance");
            let half = running.cpu_done * 2 >= needs.cpu_us;
            if half && needs.memory > instance.allotment.memory {
                if !instance.held {
                    instance.held = true;
                    seen.push(Observation::MemoryHeld {
                        instance: running.place,
                    });
                }
                continue;
            }
            instance.held = false;
            if running.cpu_done < needs.cpu_us {
                hungry.push(thread);
            } else {
                running.wait_done += TICK_US;
            }
        }
        let share = (self.budget.cores / hungry.len().max(1) as f64).min(1.0);
        let each = (TICK_US as f64 * share) as u64;
        if hungry.len() as f64 > self.budget.cores {
            self.pressure_us += TICK_US;
        }
        for thread in hungry {
            let running = self.threads.get_mut(&thread).expect("hungry thread");
            running.cpu_done += each;
            self.cpu_us += each;
            self.instances.get_mut(&running.place).expect("open").cpu_us += each;
        }
        seen
    }

    fn end(&mut self, seen: &mut Vec<Observation>) {
        let done: Vec<ThreadId> = self
            .threads
            .iter()
            .filter(|(_, running)| {
                let needs = self.needs[running.test.index()];
                let worked = running.cpu_done >= needs.cpu_us && running.wait_done >= needs.wait_us;
                running.killed || running.yielded || worked
            })
            .map(|(&thread, _)| thread)
            .collect();
        for thread in done {
            let running = self.threads.get_mut(&thread).expect("done thread");
            let yields = self.sticky && running.recipe.is_none();
            if yields && !running.yielded && !running.killed {
                running.yielded = true;
                seen.push(Observation::ThreadYielded { thread });
                continue;
            }
            let running = self.threads.remove(&thread).expect("done thread");
            let place = running.place;
            seen.push(Observation::ThreadEnded(self.ended(thread, &running)));
            if let Some((next, test)) = self.waiting.remove(&place) {
                self.start(next, test, place, None);
                seen.push(Observation::ThreadStarted { thread: next });
            }
        }
    }

    fn ended(&mut self, thread: ThreadId, running: &Running) -> ThreadEnd {
        let needs = self.needs[running.test.index()];
        let crowded = running.crowd as f64 > self.budget.cores.round().max(1.0);
        let under = needs.only_under.is_some_and(|kind| match &running.recipe {
            None => running.is_first,
            Some(recipe) => recipe.conditions.iter().any(|one| one.kind() == kind),
        });
        if running.recipe.is_some() {
            self.outcome.tries_cpu_us += running.cpu_done;
        }
        let fails = needs.fails || needs.sensitive && crowded || under;
        let verdict = match (running.killed, fails) {
            (true, _) => Verdict::Crashed,
            (false, true) => Verdict::Failed,
            (false, false) => Verdict::Passed,
        };
        ThreadEnd {
            thread,
            verdict,
            exit_code: None,
            signal: None,
            usage: Usage {
                wall_us: self.now.since(running.started),
                user_us: running.cpu_done,
                memory_peak: needs.memory,
                ..Usage::default()
            },
            message: None,
            parts: None,
            symptom: None,
            unapplied: Vec::new(),
            input: None,
            passed_before: 0,
            left_behind: 0,
            output_dropped: 0,
        }
    }

    fn sample(&self) -> SampleBatch {
        let due = self.now.0.is_multiple_of(INSTANCE_SAMPLE_US);
        let instances = self.instances.iter().filter(|_| due);
        let memory = |instance: InstanceId| {
            let thread = self
                .threads
                .values()
                .find(|thread| thread.place == instance);
            thread.map_or(0, |running| {
                let needs = self.needs[running.test.index()];
                let limit = self.instances[&instance].allotment.memory;
                needs.memory.min(limit)
            })
        };
        SampleBatch {
            at: self.now,
            host: HostSample {
                busy_us: self.cpu_us,
                campaign_cpu_us: self.cpu_us,
                cpu_pressure_us: self.pressure_us,
                memory_available: self.budget.memory,
                ..HostSample::default()
            },
            instances: instances
                .map(|(&instance, state)| reading(instance, state, memory(instance)))
                .collect(),
            collector: Collector::default(),
        }
    }
}

fn reading(instance: InstanceId, state: &Instance, memory: u64) -> InstanceSample {
    InstanceSample {
        cpu_us: state.cpu_us,
        memory,
        memory_peak: memory,
        memory_anon: memory,
        processes: 1,
        tasks: 1,
        open_files: 3,
        ..InstanceSample::empty(instance)
    }
}
