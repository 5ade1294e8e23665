//! The simulated host of a service.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cohort_model::{
    At, Change, Exit, InstanceId, ServiceCommand, ServiceFinding, ServicePlan, ServiceSeen, Share,
    ThreadId,
};
use cohort_orchestrator::service::{Conductor, ServiceStep};

use super::report::Books;
use super::{Defect, ServiceNeeds};
use crate::Random;

/// Virtual time of one tick, microseconds.
pub(super) const TICK_US: u64 = 10_000;
/// Reports of load and use are this far apart, microseconds.
const REPORT_US: u64 = 1_000_000;
/// CPU limits hold over so long, as the kernel's do, microseconds.
const PERIOD_US: u64 = 100_000;
/// Cores of the host, of which a limit lets one instance use all at once for a while.
const CORES_MAX: f64 = 4.0;
/// A limit is in force so long after it was ordered, microseconds.
const ALLOT_US: u64 = 50_000;
/// An instance that was asked to end takes so long, microseconds.
const CLOSE_US: u64 = 200_000;
/// A thread tries again so long after a call that got no answer, microseconds.
const BROKEN_US: u64 = 100_000;
/// A simulated campaign that lasts so much longer than its schedule is stuck, microseconds.
const STUCK_US: u64 = 120_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Boots { until: u64 },
    Ready,
    Ends { at: u64 },
    Gone,
}

#[derive(Debug)]
struct Instance {
    state: State,
    share: Share,
    /// CPU that is left in this period, microseconds.
    quota_us: f64,
    orders: VecDeque<(u64, Share)>,
    books: Books,
    /// Calls of endpoints with a defect since its onset.
    worn: BTreeMap<u32, f64>,
}

#[derive(Clone, Copy, Debug)]
enum Doing {
    Pauses {
        until: u64,
    },
    Computes {
        call: usize,
        began: u64,
        left_us: f64,
    },
    Waits {
        call: usize,
        began: u64,
        until: u64,
    },
}

#[derive(Debug)]
struct Runner {
    scenario: usize,
    on: InstanceId,
    doing: Doing,
    leaves_for: Option<InstanceId>,
    /// It was placed elsewhere.
    came: bool,
    calls: BTreeMap<u32, u64>,
}

/// What a simulated campaign came to.
#[derive(Clone, Debug, Default)]
pub struct ServiceOutcome {
    /// Iterations that were finished.
    pub iterations: u64,
    /// Virtual time from start to end, microseconds.
    pub wall_us: u64,
    /// Threads that were handed over.
    pub handed_over: usize,
    /// Most hand-overs that were ordered in one second, but for those off instances that are down.
    pub ordered_per_s_max: usize,
    /// Last record of each change.
    pub changes: BTreeMap<u32, Change>,
    /// First record of each finding.
    pub findings: BTreeMap<u32, ServiceFinding>,
    /// Instances that were opened and not closed.
    pub open: BTreeSet<InstanceId>,
    /// Threads that were placed.
    pub placed: BTreeSet<ThreadId>,
    /// Shares at the end.
    pub shares: BTreeMap<InstanceId, Share>,
    /// Every step: when, what was seen, what was decided.
    pub steps: Vec<(At, Vec<ServiceSeen>, ServiceStep)>,
}

/// Instances and their threads.
#[derive(Debug)]
pub struct ServiceHost<'a> {
    plan: ServicePlan,
    needs: &'a ServiceNeeds,
    random: Random,
    now: u64,
    instances: BTreeMap<InstanceId, Instance>,
    threads: BTreeMap<ThreadId, Runner>,
    /// Reports on their way.
    reports: VecDeque<(u64, ServiceSeen)>,
    /// What the conductor was told: who answers, and where threads are.
    told_ready: BTreeSet<InstanceId>,
    told_on: BTreeMap<ThreadId, InstanceId>,
    ordered: (u64, usize),
    iterated: u64,
    ended: bool,
    outcome: ServiceOutcome,
}

/// Runs a whole campaign. `keep_steps`: remember every step (for replay tests).
///
/// # Panics
/// When the conductor does not finish, or breaks a rule of its commands.
#[must_use]
pub fn run_service(plan: &ServicePlan, needs: &ServiceNeeds, keep_steps: bool) -> ServiceOutcome {
    let mut conductor = Conductor::new(plan.clone());
    let mut host = ServiceHost::new(plan.clone(), needs);
    let mut seen = vec![ServiceSeen::Tick];
    while !conductor.is_finished() {
        assert!(
            host.now < needs.duration_us + STUCK_US,
            "stuck: {conductor:?}"
        );
        if !seen.is_empty() {
            let at = At(host.now);
            let step = conductor.step(at, &seen);
            host.obey(&step);
            if keep_steps {
                host.outcome.steps.push((at, seen, step));
            }
        }
        seen = host.tick();
    }
    host.outcome.wall_us = host.now;
    host.outcome.shares = host
        .instances
        .iter()
        .map(|(&id, own)| (id, own.share))
        .collect();
    host.outcome
}

/// A share is changed by a quarter at most; taking that back is a fifth to a third of what is left.
fn assert_small(instance: InstanceId, had: Share, share: Share) {
    let cores = share.cores / had.cores;
    let memory = share.memory as f64 / had.memory as f64;
    for ratio in [cores, memory] {
        let small = (0.74..1.34).contains(&ratio);
        assert!(small, "{instance}: from {had:?} to {share:?}");
    }
    assert!(
        share.cores >= 0.1 - 1e-9 && share.memory >= 64 << 20,
        "{instance}: {share:?}"
    );
}

impl<'a> ServiceHost<'a> {
    /// A host with nothing on it.
    #[must_use]
    pub fn new(plan: ServicePlan, needs: &'a ServiceNeeds) -> Self {
        Self {
            random: Random(plan.seed),
            plan,
            needs,
            now: 0,
            instances: BTreeMap::new(),
            threads: BTreeMap::new(),
            reports: VecDeque::new(),
            told_ready: BTreeSet::new(),
            told_on: BTreeMap::new(),
            ordered: (0, 0),
            iterated: 0,
            ended: false,
            outcome: ServiceOutcome::default(),
        }
    }

    fn report(&mut self, seen: ServiceSeen) {
        let late_us = self.random.below(self.needs.late_us + 1);
        let before = self.reports.back().map_or(0, |&(at, _)| at);
        self.reports
            .push_back(((self.now + late_us).max(before), seen));
    }

    /// Carries out what was decided.
    ///
    /// # Panics
    /// When a command breaks a rule.
    pub fn obey(&mut self, step: &ServiceStep) {
        for change in &step.changes {
            self.outcome.changes.insert(change.number, change.clone());
        }
        for finding in &step.findings {
            self.outcome
                .findings
                .entry(finding.number)
                .or_insert_with(|| finding.clone());
        }
        for decision in &step.decisions {
            let urgent = decision.reason == cohort_model::ServiceReason::Restarting;
            self.carry_out(&decision.command, urgent);
        }
    }

    fn carry_out(&mut self, command: &ServiceCommand, urgent: bool) {
        match *command {
            ServiceCommand::Open { instance, share } => self.open(instance, share),
            ServiceCommand::Allot { instance, share } => {
                let own = self.instances.get_mut(&instance).expect("open instance");
                let had = own.orders.back().map_or(own.share, |&(_, share)| share);
                assert_small(instance, had, share);
                own.orders.push_back((self.now + ALLOT_US, share));
            }
            ServiceCommand::Specialize { instance, .. } => {
                assert!(
                    self.outcome.open.contains(&instance),
                    "{instance} is not open"
                );
            }
            ServiceCommand::Place { thread, instance } => {
                assert!(self.told_ready.contains(&instance), "{instance} is down");
                assert!(self.outcome.placed.insert(thread), "{thread} placed twice");
                if self.threads.contains_key(&thread) || self.ended {
                    return;
                }
                let (_, scenario) = self.needs.threads[thread.index()];
                self.threads.insert(
                    thread,
                    Runner {
                        scenario,
                        on: instance,
                        doing: Doing::Pauses { until: self.now },
                        leaves_for: None,
                        came: false,
                        calls: BTreeMap::new(),
                    },
                );
                self.report(ServiceSeen::ThreadPlaced { thread, instance });
            }
            ServiceCommand::HandOver {
                thread,
                source,
                target,
            } => {
                assert!(self.told_ready.contains(&target), "{target} is down");
                assert_eq!(self.told_on.get(&thread), Some(&source), "{thread}");
                assert_ne!(source, target);
                if !urgent {
                    self.count_ordered();
                }
                if let Some(runner) = self.threads.get_mut(&thread) {
                    assert_eq!(
                        runner.leaves_for.replace(target),
                        None,
                        "{thread} leaves already"
                    );
                }
            }
            ServiceCommand::Restart { instance } => self.end(instance, Exit::Asked, true),
            ServiceCommand::Close { instance } => {
                assert!(
                    self.outcome.open.remove(&instance),
                    "{instance} closed twice"
                );
                let own = self.instances.get_mut(&instance).expect("open instance");
                if own.state != State::Gone {
                    own.state = State::Ends {
                        at: self.now + CLOSE_US,
                    };
                }
            }
            ServiceCommand::Finish => {}
            // Made-up services have no recordings and no processes: their plans try no case again and deploy no helper.
            ServiceCommand::Deploy { .. } | ServiceCommand::Withdraw { .. } => {
                panic!("{command:?} without a plan for helpers")
            }
            ServiceCommand::OpenReplica { .. }
            | ServiceCommand::Capture { .. }
            | ServiceCommand::TryCase { .. }
            | ServiceCommand::Fuzz { .. }
            | ServiceCommand::EndFuzz { .. }
            | ServiceCommand::KeepFound { .. }
            | ServiceCommand::EndPlay { .. } => panic!("{command:?} without a plan for cases"),
        }
    }

    fn count_ordered(&mut self) {
        if self.now / REPORT_US != self.ordered.0 {
            self.ordered = (self.now / REPORT_US, 0);
        }
        self.ordered.1 += 1;
        self.outcome.ordered_per_s_max = self.outcome.ordered_per_s_max.max(self.ordered.1);
    }

    fn open(&mut self, instance: InstanceId, share: Share) {
        let until = self.now + self.needs.boot_us * (1 + self.random.below(3)) / 2;
        let leaks = self
            .needs
            .leaking
            .iter()
            .filter(|(id, _)| *id == instance.0);
        let left = self.needs.memory.1 + leaks.map(|&(_, bytes)| bytes).sum::<u64>();
        let new = Instance {
            state: State::Boots { until },
            share,
            quota_us: 0.0,
            orders: VecDeque::new(),
            books: Books::new(instance, (self.needs.memory.0, left)),
            worn: BTreeMap::new(),
        };
        assert!(
            self.instances.insert(instance, new).is_none(),
            "{instance} opened twice"
        );
        self.outcome.open.insert(instance);
        self.report(ServiceSeen::ShareSet { instance, share });
    }

    fn end(&mut self, instance: InstanceId, exit: Exit, again: bool) {
        let boot_us = self.needs.boot_us;
        let Some(own) = self.instances.get_mut(&instance) else {
            return;
        };
        if own.state == State::Gone || matches!(own.state, State::Ends { .. }) {
            return;
        }
        own.state = if again {
            State::Boots {
                until: self.now + boot_us,
            }
        } else {
            State::Gone
        };
        own.books.restart();
        self.report(ServiceSeen::InstanceExited {
            instance,
            exit,
            lived_us: 0,
            last_lines: Vec::new(),
            calls: Vec::new(),
            again,
        });
    }

    /// Lets one tick pass, and says what is reported at its end.
    pub fn tick(&mut self) -> Vec<ServiceSeen> {
        self.now += TICK_US;
        self.schedule();
        self.live();
        self.compute();
        self.go_on();
        if self.now.is_multiple_of(REPORT_US) {
            self.report_all();
        }
        let mut due = Vec::new();
        while self.reports.front().is_some_and(|&(at, _)| at <= self.now) {
            let (_, seen) = self.reports.pop_front().expect("there");
            self.tell(&seen);
            due.push(seen);
        }
        due
    }

    fn tell(&mut self, seen: &ServiceSeen) {
        match seen {
            ServiceSeen::InstanceReady { instance, .. } => {
                self.told_ready.insert(*instance);
            }
            ServiceSeen::InstanceExited { instance, .. }
            | ServiceSeen::InstanceFailed { instance, .. } => {
                self.told_ready.remove(instance);
            }
            ServiceSeen::ThreadPlaced { thread, instance } => {
                self.told_on.insert(*thread, *instance);
            }
            ServiceSeen::HandedOver { thread, target, .. } => {
                self.told_on.insert(*thread, *target);
            }
            _ => {}
        }
    }

    /// What the schedule, the user and fate want at this time.
    fn schedule(&mut self) {
        if self.now == TICK_US {
            let calls = self.needs.scenarios.iter().flat_map(|own| &own.calls);
            let endpoints: BTreeSet<u32> = calls.map(|&(endpoint, ..)| endpoint).collect();
            for endpoint in endpoints {
                let name = format!("GET /{endpoint}");
                let endpoint = cohort_model::EndpointId(endpoint);
                self.report(ServiceSeen::EndpointNamed { endpoint, name });
            }
        }
        let (now, before) = (self.now, self.now - TICK_US);
        let is_now = |us: u64| us >= before && us < now;
        let wanted: Vec<(ThreadId, String)> = self
            .needs
            .threads
            .iter()
            .enumerate()
            .filter(|(_, (us, _))| is_now(*us))
            .map(|(id, (_, scenario))| {
                (
                    ThreadId(id as u32),
                    self.needs.scenarios[*scenario].name.clone(),
                )
            })
            .collect();
        if !wanted.is_empty() {
            self.report(ServiceSeen::ThreadsWanted { threads: wanted });
        }
        if is_now(self.needs.duration_us) {
            let threads = (0..self.needs.threads.len() as u32).map(ThreadId).collect();
            self.threads.clear();
            self.ended = true;
            self.report(ServiceSeen::ThreadsEnded { threads });
            self.report(ServiceSeen::ScheduleDone);
        }
        if self.needs.interrupted_us.is_some_and(is_now) {
            self.report(ServiceSeen::Interrupted);
        }
        for crash in self
            .needs
            .crashes
            .iter()
            .filter(|crash| is_now(crash.at_us))
        {
            self.end(
                InstanceId(crash.instance),
                Exit::Signal { signal: 11 },
                crash.again,
            );
        }
    }

    /// Instances begin and end, and limits come into force.
    fn live(&mut self) {
        let mut seen = Vec::new();
        for (&instance, own) in &mut self.instances {
            match own.state {
                State::Boots { until } if self.now >= until => {
                    if self.needs.broken.contains(&instance.0) {
                        own.state = State::Gone;
                        let reason = "it does not answer".to_owned();
                        seen.push(ServiceSeen::InstanceFailed { instance, reason });
                    } else {
                        own.state = State::Ready;
                        let took_us = self.needs.boot_us;
                        seen.push(ServiceSeen::InstanceReady { instance, took_us });
                    }
                }
                State::Ends { at } if self.now >= at => {
                    own.state = State::Gone;
                    seen.push(ServiceSeen::InstanceExited {
                        instance,
                        exit: Exit::Asked,
                        lived_us: 0,
                        last_lines: Vec::new(),
                        calls: Vec::new(),
                        again: false,
                    });
                }
                _ => {}
            }
            if self.now.is_multiple_of(PERIOD_US) {
                own.quota_us = own.share.cores * PERIOD_US as f64;
            }
            while own.orders.front().is_some_and(|&(at, _)| at <= self.now) {
                let (_, share) = own.orders.pop_front().expect("there");
                own.share = share;
                seen.push(ServiceSeen::ShareSet { instance, share });
            }
        }
        for seen in seen {
            self.report(seen);
        }
        let alive = || {
            self.instances
                .values()
                .filter(|own| own.state != State::Gone)
        };
        let cores: f64 = alive().map(|own| own.share.cores).sum();
        let memory: u64 = alive().map(|own| own.share.memory).sum();
        assert!(cores <= self.plan.cores + 1e-3, "{cores} cores in force");
        assert!(memory <= self.plan.memory, "{memory} bytes in force");
    }

    /// Shares the CPU of each instance among its calls.
    fn compute(&mut self) {
        let mut hungry: BTreeMap<InstanceId, Vec<ThreadId>> = BTreeMap::new();
        let mut locked = BTreeSet::new();
        for (&id, runner) in &self.threads {
            if self.holds_lock(runner) {
                locked.insert(runner.on);
            }
            if matches!(runner.doing, Doing::Computes { .. }) {
                hungry.entry(runner.on).or_default().push(id);
            }
        }
        for (instance, mut threads) in hungry {
            let own = self
                .instances
                .get_mut(&instance)
                .expect("instance of a thread");
            if own.state != State::Ready || locked.contains(&instance) {
                continue;
            }
            let granted_us = own.quota_us.min(CORES_MAX * TICK_US as f64);
            let mut room_us = granted_us;
            let mut quanta = BTreeMap::new();
            while room_us > 1.0 && !threads.is_empty() {
                let each = room_us / threads.len() as f64;
                threads.retain(|id| {
                    let runner = self.threads.get_mut(id).expect("hungry thread");
                    let Doing::Computes { left_us, .. } = &mut runner.doing else {
                        return false;
                    };
                    let had: &mut f64 = quanta.entry(*id).or_insert(0.0);
                    let takes = each.min(*left_us).min(TICK_US as f64 - *had);
                    *left_us -= takes;
                    *had += takes;
                    room_us -= takes;
                    *left_us > 0.5 && *had < TICK_US as f64 - 0.5
                });
            }
            let used_us = granted_us - room_us.max(0.0);
            own.quota_us -= used_us;
            let throttled = own.quota_us <= 1.0 && !threads.is_empty();
            own.books.computed(used_us, throttled);
        }
    }

    /// Whether nothing else goes on at its instance while it waits.
    fn holds_lock(&self, runner: &Runner) -> bool {
        let Doing::Waits { call, .. } = runner.doing else {
            return false;
        };
        let (endpoint, ..) = self.needs.scenarios[runner.scenario].calls[call];
        self.needs
            .defects
            .iter()
            .any(|defect| defect.locks && self.is_struck(defect, endpoint, runner.on))
    }

    fn is_struck(&self, defect: &Defect, endpoint: u32, instance: InstanceId) -> bool {
        let here = defect.instance.is_none_or(|only| only == instance.0);
        defect.endpoint == endpoint && here && self.now >= defect.onset_us
    }

    /// Threads go on to their next call, and leave.
    fn go_on(&mut self) {
        let ids: Vec<ThreadId> = self.threads.keys().copied().collect();
        for id in ids {
            let mut runner = self.threads.remove(&id).expect("thread");
            self.go_on_with(id, &mut runner);
            self.threads.insert(id, runner);
        }
    }

    fn go_on_with(&mut self, id: ThreadId, runner: &mut Runner) {
        let now = self.now;
        let ready = self.instances[&runner.on].state == State::Ready;
        let scenario = &self.needs.scenarios[runner.scenario];
        match runner.doing {
            _ if !ready => {
                self.leave(id, runner);
                let until = now + BROKEN_US;
                runner.doing = Doing::Pauses { until };
            }
            Doing::Pauses { until } => {
                if runner.leaves_for.is_some() {
                    self.leave(id, runner);
                }
                if now >= until {
                    runner.doing = self.begin(runner, 0);
                }
            }
            Doing::Computes {
                call,
                began,
                left_us,
            } if left_us <= 0.5 => {
                let until = now + scenario.calls[call].2;
                runner.doing = Doing::Waits { call, began, until };
            }
            Doing::Computes { .. } => {}
            Doing::Waits { call, began, until } if now >= until => {
                let endpoint = scenario.calls[call].0;
                let own = self.instances.get_mut(&runner.on).expect("instance");
                let refused = runner.came && self.needs.strangers;
                own.books.answered(endpoint, now - began, refused);
                *runner.calls.entry(endpoint).or_default() += 1;
                if runner.leaves_for.is_some() {
                    self.leave(id, runner);
                }
                if call + 1 < scenario.calls.len() {
                    runner.doing = self.begin(runner, call + 1);
                } else {
                    self.outcome.iterations += 1;
                    self.iterated += 1;
                    let until = now + scenario.think_us;
                    runner.doing = Doing::Pauses { until };
                }
            }
            Doing::Waits { .. } => {}
        }
    }

    fn begin(&mut self, runner: &Runner, call: usize) -> Doing {
        let (endpoint, cpu_us, _) = self.needs.scenarios[runner.scenario].calls[call];
        let mut factor = 0.8 + self.random.below(1000) as f64 / 2500.0;
        let struck: Vec<Defect> = self
            .needs
            .defects
            .iter()
            .filter(|defect| self.is_struck(defect, endpoint, runner.on))
            .copied()
            .collect();
        factor *= 1.0 + self.needs.crowding * self.others_beside(runner);
        let own = self.instances.get_mut(&runner.on).expect("instance");
        for defect in struck {
            let worn = own.worn.entry(endpoint).or_insert(0.0);
            *worn += 1.0;
            factor *= defect.factor + defect.growth * *worn;
        }
        if self.needs.perverse.contains(&runner.on.0) {
            let half = self.plan.cores / f64::from(self.plan.instances);
            factor *= (own.share.cores / half).powi(4).max(1.0);
        }
        Doing::Computes {
            call,
            began: self.now,
            left_us: cpu_us as f64 * factor,
        }
    }

    /// Which part of the threads on its instance is of another kind.
    fn others_beside(&self, runner: &Runner) -> f64 {
        let beside = self.threads.values().filter(|other| other.on == runner.on);
        let (mut all, mut others) = (0_u32, 0_u32);
        for other in beside {
            all += 1;
            others += u32::from(other.scenario != runner.scenario);
        }
        f64::from(others) / f64::from(all.max(1))
    }

    /// A thread goes where it is to go, when that works.
    fn leave(&mut self, thread: ThreadId, runner: &mut Runner) {
        let Some(target) = runner.leaves_for.take() else {
            return;
        };
        let source = runner.on;
        let fails = self.random.below(100) < self.needs.hand_overs_failing;
        let answers = self
            .instances
            .get(&target)
            .is_some_and(|own| own.state == State::Ready);
        if fails || !answers {
            let reason = "it did not come to it".to_owned();
            self.report(ServiceSeen::HandOverFailed {
                thread,
                source,
                reason,
            });
            return;
        }
        runner.on = target;
        runner.came = true;
        self.outcome.handed_over += 1;
        let pause_us = 700;
        self.report(ServiceSeen::HandedOver {
            thread,
            source,
            target,
            pause_us,
        });
    }

    fn report_all(&mut self) {
        let at = At(self.now);
        let iterations = std::mem::take(&mut self.iterated);
        let mut windows = Vec::new();
        let mut samples = Vec::new();
        for own in self.instances.values_mut() {
            if own.state == State::Ready {
                windows.push(own.books.window(at, REPORT_US));
                samples.push(own.books.sample());
            }
        }
        let threads = self
            .threads
            .iter_mut()
            .map(|(&id, runner)| {
                let calls = std::mem::take(&mut runner.calls);
                let calls = calls
                    .into_iter()
                    .map(|(e, n)| (cohort_model::EndpointId(e), n));
                (id, calls.collect::<Vec<_>>())
            })
            .filter(|(_, calls)| !calls.is_empty())
            .collect();
        self.report(ServiceSeen::Sampled(super::report::batch(at, samples)));
        self.report(ServiceSeen::Loaded { windows });
        self.report(ServiceSeen::ThreadsCalled { threads });
        self.report(ServiceSeen::Iterated {
            iterations,
            failed: 0,
        });
        self.report(ServiceSeen::Tick);
    }
}
