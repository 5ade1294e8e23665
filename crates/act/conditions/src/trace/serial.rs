//! Threads that run one at a time: whose turn it is, and how long it lasts.
//!
//! All threads of a process share one CPU with the tracer, and each runs for a *turn*: a few microseconds, and
//! where it ends is random to the instruction. Who is next:
//!
//! - those that have made the fewest system calls since they were born go first, if this run keeps threads
//!   *level*: threads that do the same work are then at the same place of it at the same time, however long
//!   after each other they were started;
//! - of these one at random;
//! - but at random ends of turns a thread *falls behind*: it is held until all others wait, have ended, or have
//!   fallen behind later. So one of two that look first and act then is held in between (S. Burckhardt et al., "A
//!   randomized scheduler with probabilistic guarantees of finding bugs", ASPLOS 2010).
//!
//! A timer takes a while until it stops a thread, which depends on the machine: how long that is is learnt from
//! whether threads got on at all.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::random::Random;

/// What a timer needs to stop a thread, at first, microseconds.
const LATENCY_US: f64 = 6.0;
/// It is not taken to be more.
const LATENCY_MAX_US: f64 = 60.0;
/// By so much it is taken to be more when a thread did not get on, and to be less when it did: four of
/// five turns then get on.
const LATENCY_MORE: f64 = 1.08;
const LATENCY_LESS: f64 = 0.98;
/// Shortest turn, microseconds.
const TURN_MIN_US: f64 = 0.05;
/// A thread's turns are twice as long after so many, and so on: what comes later is reached too.
const GROWTH_TURNS: f64 = 60.0;
/// But not so many times.
const GROWTH_MAX: f64 = 500.0;
/// So many turns without a call count as a call: whoever waits for others by looking again and again does
/// not keep them from running.
const TURNS_TO_LEVEL: u32 = 150;

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Turn {
    pub(crate) tid: i32,
    pub(crate) lasts: Duration,
}

/// What this run does.
#[derive(Clone, Copy, Debug)]
struct Profile {
    /// Threads are kept level.
    level: bool,
    /// Those that were there before the others run until they wait, before others do.
    old_first: bool,
    /// Share of turns' ends at which another one of those that could be next is.
    switches: f64,
    /// Share of turns' ends at which a thread falls behind.
    falls: f64,
    /// Longest turn of a young thread, microseconds.
    longest_us: f64,
}

/// One thread.
#[derive(Clone, Copy, Debug, Default)]
struct Runner {
    /// It was there before.
    is_old: bool,
    /// Calls it has made.
    level: u32,
    /// Turns that a timer has ended.
    turns: u32,
    /// 0, or how often others had fallen behind before it did.
    behind: u64,
}

/// Threads of one process that run one at a time.
#[derive(Debug)]
pub(crate) struct Serial {
    random: Random,
    profile: Profile,
    latency_us: f64,
    /// The process, and when that is to end.
    phase: Option<(i32, Instant)>,
    /// Those that could run.
    ready: Vec<i32>,
    runners: HashMap<i32, Runner>,
    /// How often one has fallen behind.
    fallen: u64,
    last: Option<i32>,
    /// Turns so far.
    pub(crate) turns: u64,
}

impl Serial {
    pub(crate) fn new(seed: u64) -> Serial {
        let mut random = Random::new(seed);
        let mut of = |values: &[f64]| random.pick(values).unwrap_or_default();
        let profile = Profile {
            level: of(&[0.0, 1.0, 1.0]) > 0.5,
            old_first: of(&[0.0, 1.0]) > 0.5,
            switches: of(&[0.5, 0.9]),
            falls: of(&[0.0, 0.02, 0.1, 0.3]),
            longest_us: of(&[0.5, 2.0, 8.0]),
        };
        Serial {
            random,
            profile,
            latency_us: LATENCY_US,
            phase: None,
            ready: Vec::new(),
            runners: HashMap::new(),
            fallen: 0,
            last: None,
            turns: 0,
        }
    }

    /// The process whose threads run one at a time now.
    pub(crate) fn process(&self) -> Option<i32> {
        self.phase.map(|(process, ..)| process)
    }

    /// When that is over.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.phase.map(|(.., until)| until)
    }

    /// From now on, or longer than so far. These threads were there before.
    pub(crate) fn begin(&mut self, process: i32, until: Instant, old: &[i32]) {
        match &mut self.phase {
            Some((of, end)) if *of == process => *end = until.max(*end),
            Some(_) => {}
            None => {
                self.phase = Some((process, until));
                self.last = None;
                for tid in old {
                    self.runners.entry(*tid).or_default().is_old = true;
                }
            }
        }
    }

    /// It is over; gives those that wait for their turn.
    pub(crate) fn end(&mut self) -> Vec<i32> {
        self.phase = None;
        self.runners.clear();
        std::mem::take(&mut self.ready)
    }

    /// A stopped thread could run.
    pub(crate) fn add(&mut self, tid: i32) {
        if !self.ready.contains(&tid) {
            self.ready.push(tid);
        }
    }

    /// A thread has started another one: it is one of those that were there before.
    pub(crate) fn has_started(&mut self, tid: i32) {
        self.runners.entry(tid).or_default().is_old = true;
    }

    /// A thread has begun a call.
    pub(crate) fn calls(&mut self, tid: i32) {
        self.runners.entry(tid).or_default().level += 1;
    }

    /// A thread has ended.
    pub(crate) fn remove(&mut self, tid: i32) {
        self.ready.retain(|other| *other != tid);
        self.runners.remove(&tid);
    }

    /// Whether anybody could run.
    pub(crate) fn is_ready(&self) -> bool {
        self.phase.is_some() && !self.ready.is_empty()
    }

    /// Whose turn it is now.
    pub(crate) fn next(&mut self) -> Option<Turn> {
        self.phase?;
        let first = self.ready.iter().map(|tid| self.rank(*tid)).min()?;
        let last = self.last;
        let could: Vec<i32> = (self.ready.iter().copied())
            .filter(|tid| self.rank(*tid) == first)
            .collect();
        let others: Vec<i32> = (could.iter().copied())
            .filter(|tid| Some(*tid) != last)
            .collect();
        let stays = last.filter(|last| could.contains(last));
        let tid = match stays {
            Some(last) if !self.random.chance(self.profile.switches) => last,
            _ => self.random.pick(&others).or(stays)?,
        };
        self.ready.retain(|other| *other != tid);
        self.last = Some(tid);
        self.turns += 1;
        let turns = self.runners.entry(tid).or_default().turns;
        let growth = (f64::from(turns) / GROWTH_TURNS).exp2().min(GROWTH_MAX);
        let longest = self.profile.longest_us * growth;
        let lasts = self.latency_us + self.random.across(TURN_MIN_US, longest);
        Some(Turn {
            tid,
            lasts: Duration::from_secs_f64(lasts / 1e6),
        })
    }

    /// The lowest goes first.
    fn rank(&self, tid: i32) -> (u64, u32) {
        let runner = self.runners.get(&tid).copied().unwrap_or_default();
        let level = match (runner.is_old, self.profile.level) {
            (true, _) if self.profile.old_first => 0,
            (true, true) => {
                // As far as those that are least far.
                let young = self.ready.iter().filter_map(|tid| self.runners.get(tid));
                let young = young.filter(|runner| !runner.is_old && runner.behind == 0);
                1 + young.map(|runner| runner.level).min().unwrap_or(0)
            }
            (false, true) => 1 + runner.level,
            (_, false) => 1,
        };
        (runner.behind, level)
    }

    /// A thread was stopped by the timer: whether it got on.
    pub(crate) fn got_on(&mut self, tid: i32, any: bool) {
        let factor = if any { LATENCY_LESS } else { LATENCY_MORE };
        self.latency_us = (self.latency_us * factor).clamp(TURN_MIN_US, LATENCY_MAX_US);
        let falls = any && self.random.chance(self.profile.falls);
        let runner = self.runners.entry(tid).or_default();
        runner.turns += u32::from(any);
        if any && runner.turns.is_multiple_of(TURNS_TO_LEVEL) {
            runner.level += 1;
        }
        if falls {
            self.fallen += 1;
            runner.behind = self.fallen;
        }
    }
}
