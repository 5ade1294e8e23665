//! Starting threads: as many as CPU and memory allow, each on an instance that fits it.

use cohort_allocator::{Free, Stay, allotment_weight, specialty_for};
use cohort_model::{
    Allotment, At, Budget, Command, Estimate, InstanceId, Policy, Reason, Specialty, TestId,
    ThreadId,
};

use crate::state::{Attempt, Crowd, Lane, Run};
use crate::{Orchestrator, Step};

/// A thread is started when at least this part of the CPU it is expected to use is free: rather
/// somewhat too many than an idle core.
const FIT_PART: f64 = 0.5;
/// A test that uses no more cores than this waits for the most part, and overlaps with whatever
/// computes.
const SMALL_CORES: f64 = 0.25;
/// For such tests CPU may be wanting by this part of all cores.
const SLACK_PART: f64 = 0.25;

/// Cores that stay free beside a test that once was sensitive to load.
const CALM_CORES: f64 = 0.5;

/// Whether there is CPU for a thread that is expected to use `cores` of `all`. An unseen one is taken
/// to be as most of those are that run.
fn has_cpu(room: &Room, cores: f64, unseen: bool, all: f64) -> bool {
    if cores <= SMALL_CORES || unseen && room.most_wait {
        room.free.unused >= cores.min(SMALL_CORES) - all * SLACK_PART
    } else {
        room.free.unwanted >= cores * FIT_PART
    }
}
/// A test that was never seen itself is promised no more than this part of all memory: it is held and
/// given more when it needs more, and many can begin side by side where there is little.
const UNSEEN_MEMORY_PART: f64 = 0.125;
/// With at most this many to try again, each is tried alone.
const ALONE_MAX: usize = 16;

/// Memory to be promised to a test, bytes.
pub(crate) fn memory_needed(estimate: &Estimate, budget: &Budget) -> f64 {
    let need = estimate.memory.p90;
    if estimate.runs == 0 && budget.holds_memory {
        need.min(budget.memory as f64 * UNSEEN_MEMORY_PART)
    } else {
        need
    }
}

/// What is there for one more thread.
#[derive(Clone, Copy, Debug)]
struct Room {
    running: u32,
    /// Threads that run whatever is measured.
    always: u32,
    free: Free,
    /// Most of the threads that run, and were seen long enough, wait.
    most_wait: bool,
    memory_available: u64,
}

/// A thread to be started.
struct Start {
    test: TestId,
    attempt: Attempt,
    specialty: Specialty,
    /// Memory to promise, bytes.
    memory: u64,
    reason: Reason,
}

impl Orchestrator {
    pub(crate) fn admit(&mut self, at: At, step: &mut Step) {
        if self.lanes.values().any(|lane| lane.held) {
            return;
        }
        while self.waiting() > 0 {
            let room = self.room(at);
            let most = self
                .plan
                .threads_max
                .unwrap_or(u32::MAX)
                .min(self.instances_max);
            if room.running > 0 && room.running + self.attempts() >= most.max(1) {
                return;
            }
            let again_first = self.failures_loom();
            let started = if self.queue.len() > 0 && !again_first {
                self.start_main(at, room, step)
            } else {
                self.start_apart(at, room, again_first, step)
            };
            if !started {
                return;
            }
        }
    }

    fn room(&self, at: At) -> Room {
        let since = self.cpu.window_start();
        let young = self
            .threads
            .values()
            .filter(|run| !run.yielded && run.started > since)
            .map(|run| Stay {
                from: run.started,
                to: None,
                seen: self.analyzer.cores_used(run.place),
                expected: run.expected.cores.p50,
            });
        let adaptive = self.policy == Policy::Adaptive && at.0 > 0;
        let free = self.cpu.free_cores(young).filter(|_| adaptive);
        Room {
            running: self.running(),
            always: self.calm_threads(),
            free: free.unwrap_or(Free {
                unused: f64::NEG_INFINITY,
                unwanted: f64::NEG_INFINITY,
            }),
            most_wait: self.most_wait(),
            memory_available: self.host.memory_available,
        }
    }

    fn most_wait(&self) -> bool {
        let (mut wait, mut seen) = (0, 0);
        for run in self.threads.values() {
            if let Some(cores) = self.analyzer.cores_wanted(run.place) {
                seen += 1;
                wait += usize::from(cores < SMALL_CORES);
            }
        }
        seen > 1 && wait * 2 > seen
    }

    /// Starts the next test of the main phase; false when none fits.
    fn start_main(&mut self, at: At, room: Room, step: &mut Step) -> bool {
        // In a sticky plan what an instance may take depends on what it is at work on.
        let mut at_hand: Vec<Option<InstanceId>> = Vec::new();
        if self.plan.sticky {
            let free = self.lanes.iter().filter(|(_, lane)| lane.is_free());
            at_hand.extend(free.map(|(&instance, _)| Some(instance)));
            at_hand.sort_by_key(|instance| instance.is_none_or(|one| !self.lanes[&one].yielded));
        }
        if at_hand.is_empty() {
            if self.plan.costly_instances && !self.pays_to_open() {
                return false;
            }
            at_hand.push(None);
        }
        at_hand
            .into_iter()
            .any(|instance| self.start_main_in(instance, at, room, step))
    }

    /// The same in an instance that is at hand; none: in any that is of use, or a new one.
    fn start_main_in(
        &mut self,
        at_hand: Option<InstanceId>,
        at: At,
        room: Room,
        step: &mut Step,
    ) -> bool {
        let instance = at_hand.unwrap_or(InstanceId(self.next_instance));
        let mut memory = 0;
        let adaptive = self.policy == Policy::Adaptive;
        let fits = {
            let (promises, locks, tests) = (&self.promises, &self.locks, &self.plan.tests);
            let budget = &self.budget;
            let own = promises.of(instance);
            move |test: TestId, estimate: &Estimate, memory: &mut u64| {
                let free_lock = tests[test.index()]
                    .lock
                    .is_none_or(|lock| !locks.contains(&lock));
                let unseen = estimate.runs == 0;
                let free = has_cpu(&room, estimate.cores.p50, unseen, budget.cores);
                let cores = room.running < room.always || adaptive && free;
                let need = memory_needed(estimate, budget);
                let there = room.memory_available == 0 || need <= room.memory_available as f64;
                *memory = match promises.offer((need - own as f64).max(0.0)) {
                    Some(offer) if there => (offer + own).min(promises.free() + own),
                    _ if room.running == 0 => promises.free() + own,
                    _ => return false,
                };
                free_lock && cores
            }
        };
        let taken = self.queue.take(instance, &self.costs, |test, estimate| {
            fits(test, estimate, &mut memory)
        });
        let Some(test) = taken else {
            return false;
        };
        let estimate = self.costs.test(test);
        let specialty = match self.policy {
            Policy::Static => Specialty::General,
            Policy::Adaptive => {
                let informed = self.costs.is_informed(test);
                let critical = estimate.runs > 0 && estimate.wall_us.p50 > self.critical_us;
                specialty_for(&estimate, informed, critical, self.budget.memory)
            }
        };
        let lane = at_hand.or_else(|| self.free_lane(Some(specialty)));
        let start = Start {
            test,
            attempt: Attempt::First,
            specialty,
            memory,
            reason: self.reason(room, &estimate),
        };
        self.start(at, start, lane, step);
        true
    }

    /// Whether one more costly instance is worth its opening: there is none, or no more than one a core
    /// are opened at once and each of those there has more left to do than opening one took.
    fn pays_to_open(&self) -> bool {
        if self.lanes.is_empty() {
            return true;
        }
        let opening = self.lanes.values().filter(|lane| !lane.begun).count();
        let left_us = self.queue.work_us(&self.costs) / self.lanes.len() as f64;
        let pays = self
            .opening_us
            .is_none_or(|opening_us| left_us > opening_us);
        opening < self.calm_threads() as usize && pays
    }

    fn reason(&self, room: Room, estimate: &Estimate) -> Reason {
        match self.policy {
            Policy::Static => Reason::Static,
            Policy::Adaptive => Reason::Room {
                free_cores: room.free.unwanted.max(0.0),
                free_memory: self.promises.free(),
                cores: estimate.cores.p50,
                memory: estimate.memory.p90 as u64,
            },
        }
    }

    /// Starts the next test of the phases after the main one, or of the last two; false when it is not
    /// time yet.
    fn start_apart(&mut self, at: At, room: Room, again_first: bool, step: &mut Step) -> bool {
        let start = if self.calm.front().is_some() && !again_first {
            self.next_calm(room)
        } else if self.largest.front().is_some() {
            self.next_largest(room, step)
        } else {
            self.next_quiet(room, step)
        };
        let Some(start) = start else {
            return false;
        };
        let lane = self.lane_apart(&start);
        self.start(at, start, lane, step);
        true
    }

    /// Where a test is run apart; none: a new instance. A worker that has run the test before may still
    /// hold what the test made then, so it says nothing about the test.
    fn lane_apart(&self, start: &Start) -> Option<InstanceId> {
        if !self.plan.sticky || start.attempt == Attempt::First {
            return self.free_lane(Some(start.specialty));
        }
        let places = &self.progress[start.test.index()].places;
        let free = self.lanes.iter().filter(|(_, lane)| lane.is_free());
        let mut strange = free.filter(|(instance, _)| !places.contains(instance));
        strange.next().map(|(&instance, _)| instance)
    }

    fn next_calm(&mut self, room: Room) -> Option<Start> {
        let test = *self.calm.front()?;
        let estimate = self.costs.test(test);
        // Once is an accident of load, twice is a pattern: then company itself is kept small.
        let times = self
            .plan
            .history
            .get(&test.0)
            .map_or(0, |known| known.load_sensitive);
        let calm = room.running + self.attempts() < room.always
            || times < 2 && room.free.unwanted >= estimate.cores.p50 + CALM_CORES;
        if !calm {
            return None;
        }
        let all = (room.running == 0).then(|| self.promises.free());
        let need = memory_needed(&estimate, &self.budget);
        let memory = self.promises.offer(need).or(all)?;
        Some(Start {
            test: self.calm.pop_front()?,
            attempt: Attempt::First,
            specialty: Specialty::Quiet,
            memory,
            reason: self.reason(room, &estimate),
        })
    }

    fn next_largest(&mut self, room: Room, step: &mut Step) -> Option<Start> {
        if room.running + self.attempts() > 0 {
            return None;
        }
        self.release_idle(step);
        Some(Start {
            test: self.largest.pop_front()?,
            attempt: Attempt::Largest,
            specialty: Specialty::Memory,
            memory: self.promises.free(),
            reason: Reason::MemoryRetry,
        })
    }

    fn next_quiet(&mut self, room: Room, step: &mut Step) -> Option<Start> {
        let quiet = |run: &&Run| run.attempt == Attempt::Quiet;
        let beside = self.threads.values().filter(quiet).count() as u32;
        let many = self.quiet.len() + beside as usize > ALONE_MAX;
        let most = if many {
            room.always
        } else {
            (room.always / 2).max(1)
        };
        if room.running >= most || room.running > beside || self.attempts() > 0 {
            return None;
        }
        let test = self.quiet.pop_front()?;
        let crowd = self.progress[test.index()].crowd.unwrap_or_default();
        let need = memory_needed(&self.costs.test(test), &self.budget);
        let offer = self.promises.offer(need).or_else(|| {
            self.release_idle(step);
            self.promises.offer(need)
        });
        Some(Start {
            test,
            attempt: Attempt::Quiet,
            specialty: Specialty::Quiet,
            memory: offer.unwrap_or(self.promises.free()),
            reason: Reason::Crowded {
                threads: crowd.threads_max,
                waited: crowd.waited(),
            },
        })
    }

    /// An instance that can take a thread: one that has just yielded, one of that specialty, any.
    fn free_lane(&self, specialty: Option<Specialty>) -> Option<InstanceId> {
        let free = || self.lanes.iter().filter(|(_, lane)| lane.is_free());
        free()
            .find(|(_, lane)| lane.yielded)
            .or_else(|| free().find(|(_, lane)| Some(lane.specialty) == specialty))
            .or_else(|| free().next())
            .map(|(&instance, _)| instance)
    }

    fn start(&mut self, at: At, start: Start, lane: Option<InstanceId>, step: &mut Step) {
        let instance = match lane {
            Some(instance) => {
                self.prepare(instance, &start, step);
                instance
            }
            None => self.open(at, start.specialty, start.memory, (&start.reason, step)),
        };
        let thread = ThreadId(self.next_thread);
        self.next_thread += 1;
        let case = &self.plan.tests[start.test.index()];
        let expected = self.costs.test(start.test);
        let run = Run {
            test: start.test,
            group: case.group,
            attempt: start.attempt,
            place: instance,
            source: None,
            started: at,
            expected,
            crowd: Crowd::default(),
            was_held: false,
            yielded: false,
            killed: None,
            had_all: false,
            lock: case.lock,
        };
        self.locks.extend(case.lock);
        self.threads.insert(thread, run);
        self.note_begin(thread, start.test);
        let progress = &mut self.progress[start.test.index()];
        progress.threads.push(thread);
        progress.places.push(instance);
        if let Some(lane) = self.lanes.get_mut(&instance) {
            lane.thread = Some(thread);
            lane.yielded = false;
        }
        self.analyzer
            .thread_started(at, instance, start.test, &expected);
        let command = Command::StartThread {
            thread,
            test: start.test,
            instance,
        };
        step.decide(command, start.reason);
    }

    /// Gives a lane that exists what its next thread needs, when that differs from what it has.
    fn prepare(&mut self, instance: InstanceId, start: &Start, step: &mut Step) {
        let Some(lane) = self.lanes.get(&instance) else {
            return;
        };
        let (has, residue) = (lane.allotment.memory, lane.residue);
        let wanted = start.memory + residue;
        let need = (self.costs.test(start.test).memory.p90 as u64).min(wanted) + residue;
        // Keep the limit as it is when it serves: each change costs a write.
        let keep = start.attempt == Attempt::First && has <= wanted && has >= need.max(wanted / 4);
        let memory = self
            .promises
            .promise(instance, if keep { has } else { wanted });
        // A test of no kind yet is as well off with what its instance is for already.
        let alike = lane.specialty == start.specialty
            || start.specialty == Specialty::General
                && lane.allotment.cpu_weight == allotment_weight(Specialty::General);
        if memory != has || !alike {
            let to = (start.specialty, Some(memory));
            self.set(instance, to, (start.reason.clone(), step));
        }
    }

    /// Opens an instance with `memory` bytes promised to it.
    pub(crate) fn open(
        &mut self,
        at: At,
        specialty: Specialty,
        memory: u64,
        (reason, step): (&Reason, &mut Step),
    ) -> InstanceId {
        let instance = InstanceId(self.next_instance);
        self.next_instance += 1;
        let allotment = Allotment {
            cpu_weight: allotment_weight(specialty),
            memory: self.promises.promise(instance, memory),
        };
        self.lanes.insert(
            instance,
            Lane {
                specialty,
                allotment,
                opened: false,
                begun: false,
                thread: None,
                yielded: false,
                held: false,
                residue: 0,
            },
        );
        self.analyzer
            .instance_opened(at, instance, allotment.memory);
        let command = Command::OpenInstance {
            instance,
            specialty,
            allotment,
        };
        step.decide(command, reason.clone());
        instance
    }

    /// Changes what an instance is for and, with `memory`, what it was promised already.
    pub(crate) fn set(
        &mut self,
        instance: InstanceId,
        (specialty, memory): (Specialty, Option<u64>),
        (reason, step): (Reason, &mut Step),
    ) {
        let Some(lane) = self.lanes.get_mut(&instance) else {
            return;
        };
        lane.specialty = specialty;
        lane.allotment = Allotment {
            cpu_weight: allotment_weight(specialty),
            memory: memory.unwrap_or(lane.allotment.memory),
        };
        self.analyzer.limit_changed(instance, lane.allotment.memory);
        let command = Command::Specialize {
            instance,
            specialty,
            allotment: lane.allotment,
        };
        step.decide(command, reason);
    }
}
