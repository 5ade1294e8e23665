//! One scenario under way: its slots for threads, and what may still be begun.

use cohort_model::ThreadId;

use super::arrivals::Arrivals;
use super::ramp::{self, Window};
use super::{Births, Order, Permit, Phase, Progress, ScenarioId, Totals};
use crate::options::{Executor, Scenario};

/// Threads are started so long before they are needed.
const START_AHEAD_US: u64 = 1_000_000;
/// Timed starts are given out so long before ...
const TIMED_AHEAD_US: u64 = 200_000;
/// ... and anew when less than this is left.
const TIMED_LEFT_US: u64 = 100_000;
/// Most shared iterations that a thread is given at once.
const CHUNK_MAX: u64 = 50;
/// Pause before a thread is started anew that was lost without one iteration; doubles each time.
const RETRY_US: u64 = 100_000;
const RETRY_DOUBLINGS_MAX: u32 = 6;

#[derive(Clone, Copy, Debug)]
struct Live {
    thread: ThreadId,
    started: bool,
    idle: bool,
    stopping: bool,
    /// It has ended an iteration.
    worked: bool,
    /// Iterations that it was given and has not reported: first number, and how many.
    given: (u64, u64),
    /// End of the window that it was last let free for, after the scenario's start.
    free_until: Option<u64>,
}

impl Live {
    fn new(thread: ThreadId) -> Live {
        Live {
            thread,
            started: false,
            idle: false,
            stopping: false,
            worked: false,
            given: (0, 0),
            free_until: None,
        }
    }
}

#[derive(Debug)]
struct Slot {
    vu: u32,
    live: Option<Live>,
    windows: Vec<Window>,
    /// Iterations that only this slot may do: ranges of numbers.
    own: Vec<(u64, u64)>,
    /// Starts in a row that came to nothing.
    failures: u32,
    not_before: u64,
}

/// One scenario under way. Times are microseconds after the start of the test.
pub(crate) struct Run {
    id: usize,
    executor: Executor,
    start: u64,
    end: u64,
    grace: u64,
    pub(crate) phase: Phase,
    slots: Vec<Slot>,
    /// How many of the slots are in use; grows at arrival rates.
    wanted: usize,
    shared: Vec<(u64, u64)>,
    arrivals: Option<Arrivals>,
    timed_until: u64,
    timed: u64,
    totals: Totals,
    now: u64,
}

impl Run {
    pub(crate) fn new(id: usize, scenario: &Scenario, vus_before: u32) -> Run {
        let executor = scenario.executor.clone();
        let most = executor.vus_max();
        let windows = match &executor {
            Executor::ConstantVus { vus, duration_us } => {
                vec![vec![(0, *duration_us)]; *vus as usize]
            }
            Executor::RampingVus { start, stages, .. } => ramp::windows(*start, stages, most),
            _ => vec![Vec::new(); most as usize],
        };
        let slot = |(place, windows): (usize, Vec<Window>)| {
            let own = match &executor {
                Executor::PerVuIterations { iterations, .. } => {
                    vec![(place as u64 * iterations, *iterations)]
                }
                _ => Vec::new(),
            };
            Slot {
                vu: vus_before + place as u32 + 1,
                live: None,
                windows,
                own,
                failures: 0,
                not_before: 0,
            }
        };
        let slots: Vec<Slot> = windows.into_iter().enumerate().map(slot).collect();
        let (wanted, shared) = match &executor {
            Executor::ConstantArrivalRate { vus, .. }
            | Executor::RampingArrivalRate { vus, .. } => (*vus as usize, Vec::new()),
            Executor::SharedIterations { iterations, .. } => (slots.len(), vec![(0, *iterations)]),
            _ => (slots.len(), Vec::new()),
        };
        Run {
            id,
            start: scenario.start_us,
            end: scenario.end_us(),
            grace: scenario.graceful_stop_us,
            phase: Phase::Waiting,
            slots,
            wanted,
            shared,
            arrivals: Arrivals::of(&executor),
            timed_until: scenario.start_us,
            timed: 0,
            totals: Totals {
                planned: executor.iterations(),
                ..Totals::default()
            },
            executor,
            now: 0,
        }
    }

    fn id(&self) -> ScenarioId {
        ScenarioId(self.id as u32)
    }

    pub(crate) fn started(&mut self, slot: usize) {
        if let Some(live) = &mut self.slots[slot].live {
            live.started = true;
        }
    }

    pub(crate) fn idle(&mut self, slot: usize) {
        self.started(slot);
        self.take_back(slot);
        if let Some(live) = &mut self.slots[slot].live {
            live.idle = true;
            live.free_until = None;
        }
    }

    pub(crate) fn iterated(&mut self, slot: usize, ok: bool) {
        self.totals.done += 1;
        self.totals.failed += u64::from(!ok);
        let slot = &mut self.slots[slot];
        slot.failures = 0;
        let Some(live) = &mut slot.live else { return };
        live.worked = true;
        if live.given.1 > 0 {
            live.given = (live.given.0 + 1, live.given.1 - 1);
        }
    }

    pub(crate) fn ended(&mut self, slot: usize, now: u64) {
        self.take_back(slot);
        let slot = &mut self.slots[slot];
        let Some(live) = slot.live.take() else { return };
        if !live.worked && !live.stopping {
            let pause = RETRY_US << slot.failures.min(RETRY_DOUBLINGS_MAX);
            slot.failures += 1;
            slot.not_before = now + pause;
        }
    }

    pub(crate) fn dropped(&mut self, n: u64) {
        self.totals.dropped += n;
        if self.arrivals.is_some() && self.phase == Phase::Running {
            let ready = |slot: &&Slot| slot.live.is_some_and(|live| live.started);
            let coming = self.wanted - self.slots[..self.wanted].iter().filter(ready).count();
            let more = (n as usize).saturating_sub(coming);
            self.wanted = self.wanted.saturating_add(more).min(self.slots.len());
        }
    }

    /// Iterations that were given to a thread, and that it will not do, go back.
    fn take_back(&mut self, slot: usize) {
        let is_own = matches!(self.executor, Executor::PerVuIterations { .. });
        let slot = &mut self.slots[slot];
        let Some(live) = &mut slot.live else { return };
        let left = std::mem::take(&mut live.given);
        if left.1 > 0 {
            let back = if is_own {
                &mut slot.own
            } else {
                &mut self.shared
            };
            back.push(left);
        }
    }

    /// No further iterations; those under way have so long.
    pub(crate) fn stop(&mut self, graceful_us: u64, out: &mut Vec<Order>) {
        if matches!(self.phase, Phase::Stopping | Phase::Finished) {
            return;
        }
        if self.phase == Phase::Running {
            out.push(Order::Close(self.id()));
        }
        self.phase = Phase::Stopping;
        for slot in &mut self.slots {
            slot.stop(graceful_us, out);
        }
    }

    /// What is due by now.
    pub(crate) fn advance(
        &mut self,
        now: u64,
        begun: u64,
        births: &mut Births,
        out: &mut Vec<Order>,
    ) {
        self.now = now;
        if self.phase == Phase::Waiting && now + START_AHEAD_US >= self.start {
            self.phase = Phase::Running;
        }
        if self.phase == Phase::Running {
            let all_done = self
                .totals
                .planned
                .is_some_and(|all| self.totals.done >= all);
            if all_done || now >= self.end {
                if now >= self.end {
                    self.time_rest(begun, out);
                }
                self.stop(if all_done { 0 } else { self.grace }, out);
            } else {
                self.go_on(now, begun, births, out);
            }
        }
        if self.phase == Phase::Stopping && self.slots.iter().all(|slot| slot.live.is_none()) {
            self.phase = Phase::Finished;
            let planned = self.totals.planned.unwrap_or(0);
            self.totals.dropped += planned.saturating_sub(self.totals.done);
            out.push(Order::Finished(self.id()));
        }
    }

    fn go_on(&mut self, now: u64, begun: u64, births: &mut Births, out: &mut Vec<Order>) {
        for place in 0..self.wanted {
            if self.slots[place].live.is_none() && self.wants_thread(place, now) {
                let thread = births.birth(self.id, place);
                let slot = &mut self.slots[place];
                slot.live = Some(Live::new(thread));
                out.push(Order::Start {
                    thread,
                    scenario: ScenarioId(self.id as u32),
                    vu: slot.vu,
                    seed: births.seed_of(slot.vu),
                });
            }
            self.let_iterate(place, now, begun, out);
        }
        self.time(now, begun, out);
    }

    /// Whether a slot without a thread is to have one now.
    fn wants_thread(&self, place: usize, now: u64) -> bool {
        let slot = &self.slots[place];
        now >= slot.not_before
            && match &self.executor {
                Executor::SharedIterations { .. } => !self.shared.is_empty(),
                Executor::PerVuIterations { .. } => !slot.own.is_empty(),
                Executor::ConstantVus { .. } | Executor::RampingVus { .. } => slot
                    .window(now, self.start)
                    .is_some_and(|window| now + START_AHEAD_US >= window.0 + self.start),
                _ => true,
            }
    }

    fn let_iterate(&mut self, place: usize, now: u64, begun: u64, out: &mut Vec<Order>) {
        let ready = self.slots[place]
            .live
            .is_some_and(|live| live.started && !live.stopping);
        if !ready || now < self.start {
            return;
        }
        match &self.executor {
            Executor::SharedIterations { vus, .. } => {
                let left: u64 = self.shared.iter().map(|range| range.1).sum();
                let chunk = (left / (4 * vus)).clamp(1, CHUNK_MAX);
                self.slots[place].count(&mut self.shared, chunk, out);
            }
            Executor::PerVuIterations { .. } => {
                let mut own = std::mem::take(&mut self.slots[place].own);
                let slot = &mut self.slots[place];
                if own.is_empty() && slot.is_idle() {
                    slot.stop(0, out);
                }
                slot.count(&mut own, u64::MAX, out);
                slot.own = own;
            }
            Executor::ConstantVus { .. } => {
                self.slots[place].free(now, (self.start, self.end + self.grace, 0), begun, out);
            }
            Executor::RampingVus {
                graceful_ramp_down_us,
                ..
            } => {
                let times = (self.start, self.end + self.grace, *graceful_ramp_down_us);
                self.slots[place].free(now, times, begun, out);
            }
            Executor::ConstantArrivalRate { .. } | Executor::RampingArrivalRate { .. } => {}
        }
    }

    /// Gives out timed starts, some time ahead.
    fn time(&mut self, now: u64, begun: u64, out: &mut Vec<Order>) {
        if self.timed_until < self.end && self.timed_until <= now + TIMED_LEFT_US {
            self.time_until((now + TIMED_AHEAD_US).min(self.end), begun, out);
        }
    }

    /// Those that were due before the end, when nobody asked in time.
    fn time_rest(&mut self, begun: u64, out: &mut Vec<Order>) {
        self.time_until(self.end, begun, out);
    }

    fn time_until(&mut self, until: u64, begun: u64, out: &mut Vec<Order>) {
        let Some(arrivals) = &mut self.arrivals else {
            return;
        };
        // At the end of a ramp an iteration may be due at the very end.
        let is_end = u64::from(until == self.end);
        let zero = self.start + begun;
        let starts = arrivals.until((until + is_end).saturating_sub(self.start));
        let starts: Vec<u64> = starts.into_iter().map(|at| at + zero).collect();
        self.timed_until = self.timed_until.max(until);
        if !starts.is_empty() {
            let (scenario, first) = (self.id(), self.timed);
            self.timed += starts.len() as u64;
            out.push(Order::Permit(Permit::Timed {
                scenario,
                starts,
                first,
            }));
        }
    }

    /// When something is due though nothing happens.
    pub(crate) fn due_us(&self) -> Option<u64> {
        let now = self.now;
        match self.phase {
            Phase::Waiting => Some(self.start.saturating_sub(START_AHEAD_US)),
            Phase::Running => {
                let timed = self.timed_until.saturating_sub(TIMED_LEFT_US).max(now + 1);
                // Once all are given out only the end is to come.
                let more = self.arrivals.is_some() && self.timed_until < self.end;
                let timed = more.then_some(timed);
                let slots = &self.slots[..self.wanted];
                let slots = slots.iter().filter_map(|slot| self.slot_due(slot, now));
                let start = Some(self.start).filter(|start| *start > now);
                let fixed = [Some(self.end), timed, start].into_iter().flatten();
                fixed.chain(slots).min()
            }
            Phase::Stopping | Phase::Finished => None,
        }
    }

    fn slot_due(&self, slot: &Slot, now: u64) -> Option<u64> {
        let retry = (slot.live.is_none()).then_some(slot.not_before);
        let grace = match &self.executor {
            Executor::RampingVus {
                graceful_ramp_down_us,
                ..
            } => *graceful_ramp_down_us,
            _ => 0,
        };
        let ends = slot
            .live
            .and_then(|live| live.free_until)
            .map(|end| self.start + end);
        let cut_off = ends.map(|end| end + grace);
        let window = slot.window(now, self.start);
        let comes = window.map(|window| self.start + window.0);
        let is_made = comes.map(|at| at.saturating_sub(START_AHEAD_US));
        let leaves = window.map(|window| self.start + window.1);
        let all = [retry, ends, cut_off, comes, is_made, leaves];
        all.into_iter().flatten().filter(|at| *at > now).min()
    }

    pub(crate) fn progress(&self, now: u64) -> Progress {
        let length = (self.end - self.start).max(1) as f64;
        let by_time = now.saturating_sub(self.start) as f64 / length;
        let by_count = |planned: u64| self.totals.done as f64 / planned.max(1) as f64;
        let share = match self.phase {
            Phase::Waiting => 0.0,
            Phase::Finished => 1.0,
            _ => self.totals.planned.map_or(by_time, by_count),
        };
        let living = self.slots.iter().filter(|slot| slot.live.is_some());
        Progress {
            scenario: self.id(),
            phase: self.phase,
            share_done: share.clamp(0.0, 1.0),
            threads: living.count() as u64,
            threads_max: self.executor.vus_max(),
            totals: self.totals,
        }
    }
}

impl Slot {
    fn is_idle(&self) -> bool {
        self.live.is_some_and(|live| live.idle)
    }

    /// The window that is open or comes next.
    fn window(&self, now: u64, start: u64) -> Option<Window> {
        let place = self
            .windows
            .partition_point(|window| window.1 + start <= now);
        self.windows.get(place).copied()
    }

    fn stop(&mut self, graceful_us: u64, out: &mut Vec<Order>) {
        if let Some(live) = &mut self.live
            && !live.stopping
        {
            live.stopping = true;
            out.push(Order::Stop {
                thread: live.thread,
                graceful_us,
            });
        }
    }

    /// Gives an idle thread so many of these iterations.
    fn count(&mut self, from: &mut Vec<(u64, u64)>, most: u64, out: &mut Vec<Order>) {
        let Some(live) = self
            .live
            .as_mut()
            .filter(|live| live.idle && !live.stopping)
        else {
            return;
        };
        let Some((first, left)) = from.pop() else {
            return;
        };
        let n = left.min(most);
        if left > n {
            from.push((first + n, left - n));
        }
        live.idle = false;
        live.given = (first, n);
        let thread = live.thread;
        out.push(Order::Permit(Permit::Count { thread, n, first }));
    }

    /// Lets the thread run in its windows. `times` are the scenario's start, when the last iteration
    /// must be over, and the grace after a window.
    fn free(&mut self, now: u64, times: (u64, u64, u64), begun: u64, out: &mut Vec<Order>) {
        let (start, latest, grace) = times;
        let window = self.window(now, start);
        let Some(live) = &mut self.live else { return };
        match window {
            None => self.stop(grace.min(latest.saturating_sub(now)), out),
            Some((opens, closes)) if opens + start <= now => {
                if live.free_until != Some(closes) {
                    live.free_until = Some(closes);
                    live.idle = false;
                    out.push(Order::Permit(Permit::Free {
                        thread: live.thread,
                        until_us: begun + start + closes,
                    }));
                }
            }
            Some(_) => {
                let is_late = live
                    .free_until
                    .is_some_and(|until| now >= start + until + grace);
                if is_late && !live.idle {
                    self.stop(0, out);
                }
            }
        }
    }
}
