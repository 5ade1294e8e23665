//! Which threads are to run, and when they may iterate: k6's executors.
//!
//! ```text
//!   scenario:  Waiting --(a little before its start)--> Running --(end, or all done)--> Stopping --> Finished
//!   thread:    Start --> ThreadStarted --> Permit --> Iterated ... ThreadIdle --> Permit ... Stop --> ThreadEnded
//! ```
//!
//! A thread that ends unasked is lost; its iterations that were not reported go back, and another
//! takes its place, under its number. One that is recovered goes on under its own id: it says
//! [`ScheduleEvent::ThreadIdle`], and gets what is left anew.
//!
//! Promises: never more living threads in a scenario than its executor's maximum. Iterations of
//! which the number is fixed are permitted exactly once each, unless lost unreported. After
//! [`Order::AllFinished`] nothing more is ordered.

mod arrivals;
mod ramp;
mod run;

use std::collections::BTreeMap;

use cohort_model::ThreadId;
use serde::{Deserialize, Serialize};

use crate::options::{Options, Scenario};
use run::Run;

/// A scenario: its place in [`Options::scenarios`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScenarioId(pub u32);

impl ScenarioId {
    /// As an index into [`Options::scenarios`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What happened. In the order in which it did: a thread's iterations before its idleness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScheduleEvent {
    /// A thread can take permits.
    ThreadStarted(ThreadId),
    /// A thread has no permit and waits for one.
    ThreadIdle(ThreadId),
    /// A thread ended an iteration.
    Iterated {
        /// Which.
        thread: ThreadId,
        /// Whether it ended without an error.
        ok: bool,
    },
    /// A thread is no more: it was stopped, it failed, or was lost with its agent.
    ThreadEnded(ThreadId),
    /// Timed starts that found no idle thread.
    Dropped {
        /// Of which scenario.
        scenario: ScenarioId,
        /// How many.
        n: u64,
    },
    /// Everything is to end: a threshold failed, or the user wants it.
    Abort {
        /// How long iterations may go on, microseconds.
        graceful_us: u64,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Start a thread, somewhere. Its function, environment and tags are the scenario's.
    Start {
        /// Its id, never used again.
        thread: ThreadId,
        /// Whose it is.
        scenario: ScenarioId,
        /// Its number among all virtual users, from 1 (`__VU`). Who takes a lost one's place has
        /// its number.
        vu: u32,
        /// For its random numbers: differs with the number.
        seed: u64,
    },
    /// Let iterations begin.
    Permit(Permit),
    /// Begin no further iteration, end the present one within the grace or cut it off, then end.
    Stop {
        /// Which.
        thread: ThreadId,
        /// The grace, microseconds.
        graceful_us: u64,
    },
    /// No further iteration in this scenario: timed starts that are still to come are void.
    Close(ScenarioId),
    /// All threads of the scenario have ended.
    Finished(ScenarioId),
    /// All scenarios are finished.
    AllFinished,
}

/// What lets iterations begin. Times on the clock of `step`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Permit {
    /// The thread iterates until then. A later one replaces it.
    Free {
        /// Which.
        thread: ThreadId,
        /// Until when, microseconds.
        until_us: u64,
    },
    /// The thread does so many iterations more.
    Count {
        /// Which.
        thread: ThreadId,
        /// How many.
        n: u64,
        /// Number of the first of them among all of the scenario, from 0.
        first: u64,
    },
    /// Any idle thread of the scenario begins one at each of these times.
    Timed {
        /// Which.
        scenario: ScenarioId,
        /// Microseconds, ascending.
        starts: Vec<u64>,
        /// Number of the first of them among all of the scenario, from 0.
        first: u64,
    },
}

/// How far a scenario is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Its start is still to come.
    Waiting,
    /// Its iterations begin.
    Running,
    /// No more begin, and the last ones end.
    Stopping,
    /// It is over.
    Finished,
}

/// How far a scenario is, for who looks on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Which.
    pub scenario: ScenarioId,
    /// In which phase.
    pub phase: Phase,
    /// Of its iterations, or of its time: 0 to 1.
    pub share_done: f64,
    /// Living threads.
    pub threads: u64,
    /// Threads at most.
    pub threads_max: u64,
    /// Its iterations.
    pub totals: Totals,
}

/// Counts of iterations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// To be done, when that is fixed.
    pub planned: Option<u64>,
    /// Ended.
    pub done: u64,
    /// Of these, with an error.
    pub failed: u64,
    /// Never begun: for want of an idle thread, or because the time was over.
    pub dropped: u64,
}

/// Ids and seeds of threads.
pub(crate) struct Births {
    threads: u32,
    seed: u64,
    /// By thread, its scenario and its slot there.
    pub(crate) places: BTreeMap<ThreadId, (usize, usize)>,
}

impl Births {
    /// A new thread for a slot.
    pub(crate) fn birth(&mut self, scenario: usize, slot: usize) -> ThreadId {
        let thread = ThreadId(self.threads);
        self.threads += 1;
        self.places.insert(thread, (scenario, slot));
        thread
    }

    /// A seed for a virtual user: SplitMix64 (Steele, Lea, Flood 2014) of the campaign's and its number.
    pub(crate) fn seed_of(&self, vu: u32) -> u64 {
        let step = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::from(vu));
        let mut mixed = self.seed.wrapping_add(step);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// All scenarios of a test. It starts with the first [`Schedule::step`].
pub struct Schedule {
    runs: Vec<Run>,
    births: Births,
    /// The clock at the first step.
    begun_us: Option<u64>,
    over: bool,
}

impl Schedule {
    /// Of a script's options; `seed` is what its threads' seeds come from.
    #[must_use]
    pub fn new(options: &Options, seed: u64) -> Schedule {
        let mut vus = 0;
        let run = |(place, scenario): (usize, &Scenario)| {
            let run = Run::new(place, scenario, vus);
            vus += scenario.executor.vus_max() as u32;
            run
        };
        Schedule {
            runs: options.scenarios.iter().enumerate().map(run).collect(),
            births: Births {
                threads: 0,
                seed,
                places: BTreeMap::new(),
            },
            begun_us: None,
            over: false,
        }
    }

    /// Takes what happened; gives what is to be done, in this order. To be called with every event
    /// and at [`Schedule::next_due_us`].
    pub fn step(&mut self, now_us: u64, events: &[ScheduleEvent]) -> Vec<Order> {
        if self.over {
            return Vec::new();
        }
        let begun = *self.begun_us.get_or_insert(now_us);
        let now = now_us.saturating_sub(begun);
        let mut out = Vec::new();
        for event in events {
            self.take(*event, now, &mut out);
        }
        for run in &mut self.runs {
            run.advance(now, begun, &mut self.births, &mut out);
        }
        if self.runs.iter().all(|run| run.phase == Phase::Finished) {
            self.over = true;
            out.push(Order::AllFinished);
        }
        out
    }

    /// When the next step is due even if nothing happens, on the clock of `step`.
    #[must_use]
    pub fn next_due_us(&self) -> Option<u64> {
        let Some(begun) = self.begun_us else {
            return Some(0);
        };
        let due = self.runs.iter().filter_map(Run::due_us).min()?;
        (!self.over).then_some(begun + due)
    }

    /// How far each scenario is.
    #[must_use]
    pub fn progress(&self, now_us: u64) -> Vec<Progress> {
        let now = now_us.saturating_sub(self.begun_us.unwrap_or(now_us));
        self.runs.iter().map(|run| run.progress(now)).collect()
    }

    fn take(&mut self, event: ScheduleEvent, now: u64, out: &mut Vec<Order>) {
        let (ScheduleEvent::ThreadStarted(thread)
        | ScheduleEvent::ThreadIdle(thread)
        | ScheduleEvent::Iterated { thread, .. }
        | ScheduleEvent::ThreadEnded(thread)) = event
        else {
            match event {
                ScheduleEvent::Dropped { scenario, n } => {
                    if let Some(run) = self.runs.get_mut(scenario.index()) {
                        run.dropped(n);
                    }
                }
                ScheduleEvent::Abort { graceful_us } => {
                    for run in &mut self.runs {
                        run.stop(graceful_us, out);
                    }
                }
                _ => {}
            }
            return;
        };
        // What is said of a thread after its end is too late to count.
        let Some((run, slot)) = self.births.places.get(&thread).copied() else {
            return;
        };
        let run = &mut self.runs[run];
        match event {
            ScheduleEvent::ThreadStarted(_) => run.started(slot),
            ScheduleEvent::ThreadIdle(_) => run.idle(slot),
            ScheduleEvent::Iterated { ok, .. } => run.iterated(slot, ok),
            _ => {
                self.births.places.remove(&thread);
                run.ended(slot, now);
            }
        }
    }
}
