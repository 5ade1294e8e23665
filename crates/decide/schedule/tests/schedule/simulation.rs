//! Threads that do what they are ordered to, take their time, and are lost now and then.

use std::collections::BTreeMap;

use cohort_model::ThreadId;
use cohort_schedule::{Options, Order, Permit, Schedule, ScheduleEvent, Totals};

/// The clock at the start: not zero, as in a campaign.
pub(crate) const BEGUN_US: u64 = 7_000_000;

/// What a simulated world is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nature {
    pub(crate) seed: u64,
    pub(crate) boot_us: u64,
    pub(crate) iteration_us: u64,
    /// One in so many iterations takes its thread with it; 0 for none.
    pub(crate) loss: u64,
}

struct Thread {
    scenario: usize,
    vu: u32,
    ready_at: u64,
    ready: bool,
    busy_until: Option<u64>,
    /// Number of the iteration under way, where it has one.
    number: Option<u64>,
    counted: (u64, u64),
    free_until: u64,
    deadline: Option<u64>,
}

/// What was seen, by scenario.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How often each number was done.
    pub(crate) numbers: BTreeMap<u64, u64>,
    /// When iterations began, after the start.
    pub(crate) begun: Vec<u64>,
    pub(crate) timed: u64,
    pub(crate) living_most: usize,
    /// When so many threads were at work, after the start.
    pub(crate) working: Vec<(u64, usize)>,
    pub(crate) totals: Totals,
    pub(crate) lost: u64,
}

pub(crate) struct Simulation {
    schedule: Schedule,
    nature: Nature,
    random: u64,
    now: u64,
    threads: BTreeMap<ThreadId, Thread>,
    timed: Vec<(u64, usize, u64)>,
    events: Vec<ScheduleEvent>,
    /// Steps in a row of which the schedule wants the next one within a millisecond.
    hasty: u32,
    pub(crate) seen: Vec<Seen>,
    pub(crate) ended_at: Option<u64>,
}

impl Simulation {
    pub(crate) fn run(options: &Options, nature: Nature) -> Simulation {
        let mut simulation = Simulation {
            schedule: Schedule::new(options, nature.seed),
            nature,
            random: nature.seed | 1,
            now: BEGUN_US,
            threads: BTreeMap::new(),
            timed: Vec::new(),
            events: Vec::new(),
            hasty: 0,
            seen: options.scenarios.iter().map(|_| Seen::default()).collect(),
            ended_at: None,
        };
        for _ in 0..2_000_000 {
            simulation.step();
            if simulation.ended_at.is_some() {
                break;
            }
        }
        let late = simulation.schedule.step(simulation.now + 1, &[]);
        assert_eq!(late, [], "nothing is ordered when all is over");
        assert_eq!(simulation.schedule.next_due_us(), None);
        for progress in simulation.schedule.progress(simulation.now) {
            simulation.seen[progress.scenario.index()].totals = progress.totals;
        }
        simulation
    }

    fn dice(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 11
    }

    fn step(&mut self) {
        let events = std::mem::take(&mut self.events);
        for order in self.schedule.step(self.now, &events) {
            self.obey(order);
        }
        let working = |scenario: usize, threads: &BTreeMap<ThreadId, Thread>| {
            let at_work = |thread: &&Thread| {
                thread.scenario == scenario
                    && thread.busy_until.is_some()
                    && thread.deadline.is_none()
            };
            threads.values().filter(at_work).count()
        };
        for (scenario, seen) in self.seen.iter_mut().enumerate() {
            let living = self
                .threads
                .values()
                .filter(|thread| thread.scenario == scenario);
            seen.living_most = seen.living_most.max(living.count());
            seen.working
                .push((self.now - BEGUN_US, working(scenario, &self.threads)));
        }
        if self.ended_at.is_some() || !self.events.is_empty() {
            return;
        }
        self.pass();
    }

    /// On to whatever happens next.
    fn pass(&mut self) {
        let threads = self.threads.values().flat_map(|thread| {
            let boot = (!thread.ready).then_some(thread.ready_at);
            [boot, thread.busy_until, thread.deadline]
                .into_iter()
                .flatten()
        });
        let timed = self.timed.iter().map(|(at, ..)| *at);
        let due = self.schedule.next_due_us();
        assert!(due.is_none_or(|due| due > self.now), "due in the past");
        let is_soon = due.is_some_and(|due| due < self.now + 1_000);
        self.hasty = if is_soon { self.hasty + 1 } else { 0 };
        assert!(self.hasty < 1_000, "the schedule spins");
        let next = threads
            .chain(timed)
            .chain(due)
            .min()
            .expect("something is always to come");
        self.now = self.now.max(next);
        for id in self.threads.keys().copied().collect::<Vec<_>>() {
            self.live(id);
        }
        let now = self.now;
        let (due, rest) = self.timed.drain(..).partition(|(at, ..)| *at <= now);
        self.timed = rest;
        let due: Vec<(u64, usize, u64)> = due;
        for (_, scenario, number) in due {
            self.arrive(scenario, number);
        }
    }

    fn live(&mut self, id: ThreadId) {
        let now = self.now;
        let roll = self.dice();
        let thread = self.threads.get_mut(&id).expect("it lives");
        if !thread.ready && thread.ready_at <= now {
            thread.ready = true;
            self.events.push(ScheduleEvent::ThreadStarted(id));
            self.events.push(ScheduleEvent::ThreadIdle(id));
        }
        if thread.busy_until.is_some_and(|at| at <= now) {
            thread.busy_until = None;
            let scenario = thread.scenario;
            if self.nature.loss > 0 && roll.is_multiple_of(self.nature.loss) {
                self.seen[scenario].lost += 1;
                return self.end(id);
            }
            if let Some(number) = thread.number.take() {
                *self.seen[scenario].numbers.entry(number).or_default() += 1;
            }
            self.events.push(ScheduleEvent::Iterated {
                thread: id,
                ok: !roll.is_multiple_of(5),
            });
            if thread.deadline.is_some() {
                return self.end(id);
            }
            self.work_on(id, true);
        } else if thread.deadline.is_some_and(|at| at <= now) {
            self.end(id);
        }
    }

    fn end(&mut self, id: ThreadId) {
        self.threads.remove(&id);
        self.events.push(ScheduleEvent::ThreadEnded(id));
    }

    fn work_on(&mut self, id: ThreadId, says_idle: bool) {
        let thread = &self.threads[&id];
        if thread.counted.1 > 0 {
            let number = thread.counted.0;
            self.begin(id, Some(number));
            let thread = self.threads.get_mut(&id).expect("it lives");
            thread.counted = (number + 1, thread.counted.1 - 1);
        } else if thread.free_until > self.now {
            self.begin(id, None);
        } else if says_idle {
            self.events.push(ScheduleEvent::ThreadIdle(id));
        }
    }

    fn begin(&mut self, id: ThreadId, number: Option<u64>) {
        let takes = 1 + self.dice() % (2 * self.nature.iteration_us);
        let now = self.now;
        let thread = self.threads.get_mut(&id).expect("it lives");
        assert!(thread.ready && thread.deadline.is_none());
        thread.busy_until = Some(now + takes);
        thread.number = number;
        self.seen[thread.scenario].begun.push(now - BEGUN_US);
    }

    fn arrive(&mut self, scenario: usize, number: u64) {
        let free = |(_, thread): &(&ThreadId, &Thread)| {
            thread.scenario == scenario
                && thread.ready
                && thread.busy_until.is_none()
                && thread.deadline.is_none()
        };
        let idle = self.threads.iter().find(free).map(|(id, _)| *id);
        if let Some(id) = idle {
            return self.begin(id, Some(number));
        }
        let scenario = cohort_schedule::ScenarioId(scenario as u32);
        self.events.push(ScheduleEvent::Dropped { scenario, n: 1 });
    }

    fn obey(&mut self, order: Order) {
        assert_eq!(self.ended_at, None, "{order:?} after the end");
        match order {
            Order::Start {
                thread,
                scenario,
                vu,
                ..
            } => {
                let twin = self.threads.values().find(|other| other.vu == vu);
                assert!(twin.is_none(), "two living threads have the number {vu}");
                let ready_at = self.now + self.nature.boot_us;
                let thread_new = Thread {
                    scenario: scenario.index(),
                    vu,
                    ready_at,
                    ready: false,
                    busy_until: None,
                    number: None,
                    counted: (0, 0),
                    free_until: 0,
                    deadline: None,
                };
                assert!(self.threads.insert(thread, thread_new).is_none());
            }
            Order::Permit(permit) => self.permit(permit),
            Order::Stop {
                thread,
                graceful_us,
            } => {
                let deadline = self.now + graceful_us;
                let known = self.threads.get_mut(&thread).expect("it lives");
                known.deadline = Some(deadline);
                if known.busy_until.is_none() || graceful_us == 0 {
                    self.end(thread);
                }
            }
            Order::Close(scenario) => self.timed.retain(|(_, of, _)| *of != scenario.index()),
            Order::Finished(scenario) => {
                let of_it = |thread: &Thread| thread.scenario == scenario.index();
                assert!(!self.threads.values().any(of_it));
            }
            Order::AllFinished => self.ended_at = Some(self.now - BEGUN_US),
        }
    }

    fn permit(&mut self, permit: Permit) {
        let thread = match permit {
            Permit::Free { thread, until_us } => {
                self.threads.get_mut(&thread).expect("it lives").free_until = until_us;
                thread
            }
            Permit::Count { thread, n, first } => {
                let known = self.threads.get_mut(&thread).expect("it lives");
                assert_eq!(known.counted.1, 0);
                known.counted = (first, n);
                thread
            }
            Permit::Timed {
                scenario,
                starts,
                first,
            } => {
                let seen = &mut self.seen[scenario.index()];
                assert_eq!(seen.timed, first);
                seen.timed += starts.len() as u64;
                for (number, at) in (first..).zip(starts) {
                    self.timed.push((at, scenario.index(), number));
                }
                return;
            }
        };
        if self.threads[&thread].busy_until.is_none() {
            self.work_on(thread, false);
        }
    }
}
