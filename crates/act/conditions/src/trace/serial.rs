//! Threads that run one at a time: whose turn it is, and how long it lasts.
//!
//! All threads of a process share one CPU with the tracer, and each runs for a *turn*: a few microseconds or a few
//! instructions, so that where it ends is random to the instruction. Who is next:
//!
//! - those that have made the fewest system calls since they were born go first, if this run keeps threads
//!   *level*: threads that do the same work are then at the same place of it at the same time, however long
//!   after each other they were started;
//! - of these one at random;
//! - but at random ends of turns a thread *falls behind*: it is held until all others wait, have ended, or have
//!   fallen behind later, and at times for some milliseconds more. So one of two that look first and act then is
//!   held in between (S. Burckhardt et al., "A randomized scheduler with probabilistic guarantees of finding
//!   bugs", ASPLOS 2010).
//!
//! A timer takes a while until it stops a thread, which depends on the machine: how long that is is learnt from
//! whether threads got on at all. What is over sooner than that is reached by single steps, of which there are few,
//! as each takes as long as ten thousand instructions: they begin where threads begin their work.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::random::{Random, joined};

/// In so large a share of runs threads run one at a time.
const SHARE_OF_RUNS: f64 = 0.85;
/// What a timer needs to stop a thread, at first, microseconds.
const LATENCY_US: f64 = 8.0;
/// It is not taken to be more.
const LATENCY_MAX_US: f64 = 60.0;
/// By so much it is taken to be more when a thread did not get on, and to be less when it did: two of
/// three turns then get on.
const LATENCY_MORE: f64 = 1.06;
const LATENCY_LESS: f64 = 0.97;
/// Shortest turn, microseconds.
const TURN_MIN_US: f64 = 0.05;
/// A thread's turns are twice as long after so many, and so on: what comes later is reached too.
const GROWTH_TURNS: f64 = 60.0;
/// But not so many times.
const GROWTH_MAX: f64 = 500.0;
/// So many turns without a call count as a call: whoever waits for others by looking again and again does
/// not keep them from running.
const TURNS_TO_LEVEL: u32 = 150;
/// So many instructions of all threads run one by one.
const STEPS_MAX: u32 = 2_500;
/// Who has fallen behind is held for so much longer than others run, microseconds.
const WAIT_US: (f64, f64) = (200.0, 12_000.0);

/// Calls by which threads meet others outside of their memory.
const ON_FILES: [i64; 16] = [
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_mkdirat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_connect,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
];

/// Where instructions run one by one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Steps {
    /// Where a thread begins its work.
    Work,
    /// Those of the first thread that begins its work, up to so many; then it falls behind.
    Alone(f64),
    /// So many after each call.
    Anywhere(u32),
}

/// Where threads begin their work: after so many system calls of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Work(pub(crate) u32, pub(crate) i64);

/// While a thread is held that has fallen behind, others run for so long.
const WHILE_HELD: Duration = Duration::from_micros(300);

/// What stopping a thread takes, and what one instruction does.
const STOP: Duration = Duration::from_micros(40);
const STEP: Duration = Duration::from_micros(20);

/// How a turn ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Lasts {
    /// By a timer.
    For(Duration),
    /// After so many instructions.
    Steps(u32),
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Turn {
    pub(crate) tid: i32,
    pub(crate) lasts: Lasts,
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
    /// Share of turns' ends in a thread's work at which it falls behind.
    falls: f64,
    /// Share of calls on files and sockets at which it does.
    falls_at_calls: f64,
    /// Share of threads that do when they are born.
    falls_at_birth: f64,
    /// Share of those that do when they have started another one.
    falls_as_parent: f64,
    /// Share of those that fall behind which wait longer than others run.
    waits: f64,
    /// Longest turn of a young thread, microseconds.
    longest_us: f64,
    /// Where instructions run one by one, and how many of them in a turn, about.
    steps: Option<Steps>,
    steps_a_turn: f64,
}

/// One thread.
#[derive(Clone, Copy, Debug, Default)]
struct Runner {
    /// It was there before.
    is_old: bool,
    /// Calls it has made.
    level: u32,
    /// Those that are counted to where its work begins.
    counted: u32,
    /// Instructions that ran one by one since its last call.
    steps: u32,
    /// It has stopped at the end of a call.
    after_call: bool,
    /// Turns that did not end at a call.
    turns: u32,
    /// 0, or how often others had fallen behind before it did.
    behind: u64,
    /// It fell behind in the middle of its work.
    in_work: bool,
    /// It waits until then, once all others do.
    waits: Option<Duration>,
    until: Option<Instant>,
}

/// Threads of one process that run one at a time.
#[derive(Debug)]
pub(crate) struct Serial {
    random: Random,
    profile: Profile,
    /// Where threads begin their work; none: they take turns by themselves, and ask for them again and again.
    work: Option<Work>,
    /// After a call, and after another stop.
    latency_us: [f64; 2],
    /// The process, and when that is to end at the latest.
    phase: Option<(i32, Instant)>,
    /// Those that could run.
    ready: Vec<i32>,
    runners: HashMap<i32, Runner>,
    /// How often one has fallen behind.
    fallen: u64,
    last: Option<i32>,
    /// Turns so far.
    pub(crate) turns: u64,
    steps: u32,
}

impl Profile {
    fn drawn(random: &mut Random) -> Profile {
        let steps = match random.below(16) {
            0..4 => None,
            4..8 => Some(Steps::Work),
            8..14 => random.pick(&[400.0, 4_000.0]).map(Steps::Alone),
            _ => random.pick(&[60, 150, 400]).map(Steps::Anywhere),
        };
        let mut of = |values: &[f64]| random.pick(values).unwrap_or_default();
        let common = Profile {
            level: true,
            old_first: true,
            switches: of(&[0.5, 0.9]),
            falls: of(&[0.0, 0.0, 0.04]),
            falls_at_calls: of(&[0.0, 0.1, 0.4]),
            falls_at_birth: 0.0,
            falls_as_parent: 0.0,
            waits: 0.0,
            longest_us: of(&[0.5, 2.0, 8.0]),
            steps,
            steps_a_turn: of(&[3.0, 10.0, 30.0]),
        };
        match of(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 2.0, 2.0]) {
            // Who starts others comes when they are in the midst of their work.
            1.0 => Profile {
                old_first: false,
                falls: of(&[0.04, 0.2]),
                falls_as_parent: of(&[0.5, 1.0]),
                steps: None,
                ..common
            },
            // Somebody is late.
            2.0 => Profile {
                level: of(&[0.0, 1.0]) > 0.5,
                old_first: of(&[0.0, 1.0]) > 0.5,
                falls: of(&[0.0, 0.04]),
                falls_at_birth: of(&[0.3, 0.6]),
                falls_as_parent: of(&[0.0, 0.3]),
                waits: of(&[0.5, 0.9]),
                ..common
            },
            // All do the same at the same time.
            _ => common,
        }
    }
}

impl Serial {
    /// Of a run with this seed; none: threads run as they do.
    pub(crate) fn drawn(seed: u64) -> Option<Serial> {
        let mut random = Random::new(joined(seed, 1));
        if !random.chance(SHARE_OF_RUNS) {
            return None;
        }
        Some(Serial {
            profile: Profile::drawn(&mut random),
            random,
            work: None,
            latency_us: [LATENCY_US; 2],
            phase: None,
            ready: Vec::new(),
            runners: HashMap::new(),
            fallen: 0,
            last: None,
            turns: 0,
            steps: 0,
        })
    }

    /// The process whose threads run one at a time now.
    pub(crate) fn process(&self) -> Option<i32> {
        self.phase.map(|(process, ..)| process)
    }

    /// When that is over at the latest.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.phase.map(|(.., until)| until)
    }

    /// When a thread is next to run that waits until then.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let waiting = self.ready.iter().filter_map(|tid| self.runners.get(tid));
        let first = waiting.filter_map(|runner| runner.until).min();
        [first, self.until()].into_iter().flatten().min()
    }

    /// From now on. These threads were there before.
    pub(crate) fn begin(&mut self, process: i32, until: Instant, old: &[i32], work: Option<Work>) {
        self.work = work;
        self.phase = Some((process, until));
        self.last = None;
        for tid in old {
            self.runners.entry(*tid).or_default().is_old = true;
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

    /// A thread was born.
    pub(crate) fn born(&mut self, tid: i32) {
        if self.random.chance(self.profile.falls_at_birth) {
            self.fall(tid, false);
        }
    }

    /// A thread has started another one: it is one of those that were there before.
    pub(crate) fn has_started(&mut self, tid: i32) {
        self.runners.entry(tid).or_default().is_old = true;
        if self.random.chance(self.profile.falls_as_parent) {
            self.fall(tid, false);
        }
    }

    /// A thread has begun a call, if its number is known.
    pub(crate) fn calls(&mut self, tid: i32, number: Option<i64>) {
        let runner = self.runners.entry(tid).or_default();
        runner.level += 1;
        runner.steps = 0;
        runner.after_call = true;
        let Some(number) = number else {
            return;
        };
        if self.work.is_some_and(|Work(_, counts)| counts == number) {
            runner.counted += 1;
        }
        let works = self.work.is_none() || self.works(tid);
        if works && ON_FILES.contains(&number) && self.random.chance(self.profile.falls_at_calls) {
            self.fall(tid, true);
        }
    }

    /// A thread has ended.
    pub(crate) fn remove(&mut self, tid: i32) {
        self.ready.retain(|other| *other != tid);
        self.runners.remove(&tid);
    }

    /// Whether anybody could run now.
    pub(crate) fn is_ready(&self, now: Instant) -> bool {
        let waits = |tid: &i32| (self.runners.get(tid)).is_some_and(|runner| runner.waits_at(now));
        self.phase.is_some() && self.ready.iter().any(|tid| !waits(tid))
    }

    /// Whose turn it is now.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Turn> {
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
        let runner = self.runners.entry(tid).or_default();
        // All others that could run have fallen behind later, or there are none.
        if let Some(wait) = runner.waits.take() {
            runner.until = Some(now + wait);
        }
        if runner.waits_at(now) {
            return None;
        }
        runner.until = None;
        runner.behind = 0;
        self.ready.retain(|other| *other != tid);
        self.last = Some(tid);
        self.turns += 1;
        let lasts = self.lasts(tid);
        Some(Turn { tid, lasts })
    }

    fn lasts(&mut self, tid: i32) -> Lasts {
        let behind =
            |tid: &i32| (self.runners.get(tid)).is_some_and(|one| one.behind > 0 && one.in_work);
        let holds = self.ready.iter().any(behind);
        let works = self.works(tid);
        let runner = self.runners.entry(tid).or_default();
        let works = match self.profile.steps {
            Some(Steps::Work) => works,
            Some(Steps::Alone(most)) => {
                if works && self.steps == 0 {
                    let steps = small(1.0 + most * self.random.unit());
                    self.steps = steps;
                    self.fall(tid, true);
                    return Lasts::Steps(steps);
                }
                false
            }
            Some(Steps::Anywhere(most)) => runner.steps < most,
            None => false,
        };
        if holds {
            return Lasts::For(WHILE_HELD);
        }
        if works && self.steps < STEPS_MAX {
            let steps = small(1.0 + self.random.exponential(self.profile.steps_a_turn));
            self.steps += steps;
            runner.steps += steps;
            return Lasts::Steps(steps);
        }
        let growth = (f64::from(runner.turns) / GROWTH_TURNS).exp2();
        let longest = self.profile.longest_us * growth.min(GROWTH_MAX);
        let [after_call, after_stop] = self.latency_us;
        let latency = if runner.after_call {
            after_call
        } else {
            after_stop
        };
        let us = latency + self.random.across(TURN_MIN_US, longest);
        Lasts::For(Duration::from_secs_f64(us / 1e6))
    }

    /// Whether a thread has begun its work, and it is known where it does.
    fn works(&self, tid: i32) -> bool {
        let runner = self.runners.get(&tid).copied().unwrap_or_default();
        (self.work).is_some_and(|Work(count, _)| runner.counted >= count && !runner.is_old)
    }

    /// The lowest goes first.
    fn rank(&self, tid: i32) -> (u64, u32) {
        let runner = self.runners.get(&tid).copied().unwrap_or_default();
        if self.work.is_none() {
            return (runner.behind, 0);
        }
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
    pub(crate) fn was_stopped(&mut self, tid: i32, got_on: bool) {
        let factor = if got_on { LATENCY_LESS } else { LATENCY_MORE };
        let [after_call, after_stop] = &mut self.latency_us;
        let runner = self.runners.entry(tid).or_default();
        let latency = match std::mem::take(&mut runner.after_call) {
            true => after_call,
            false => after_stop,
        };
        *latency = (*latency * factor).clamp(TURN_MIN_US, LATENCY_MAX_US);
        if got_on {
            self.got_on(tid);
        }
    }

    /// A thread's turn has ended elsewhere than at a call.
    pub(crate) fn got_on(&mut self, tid: i32) {
        let falls = self.random.chance(self.profile.falls) && self.works(tid);
        let runner = self.runners.entry(tid).or_default();
        runner.after_call = false;
        runner.turns += 1;
        if runner.turns.is_multiple_of(TURNS_TO_LEVEL) {
            runner.level += 1;
        }
        if falls {
            self.fall(tid, true);
        }
    }

    fn fall(&mut self, tid: i32, in_work: bool) {
        self.fallen += 1;
        let (low, high) = WAIT_US;
        let waits = self.random.chance(self.profile.waits);
        let wait = Duration::from_secs_f64(self.random.across(low, high) / 1e6);
        let runner = self.runners.entry(tid).or_default();
        runner.behind = self.fallen;
        runner.in_work = in_work;
        runner.waits = waits.then_some(wait);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "drawn from a range of small positive numbers"
)]
fn small(number: f64) -> u32 {
    number as u32
}

impl Turn {
    /// How long others are held for it, on a host that has nothing else to do.
    pub(crate) fn costs(&self) -> Duration {
        match self.lasts {
            Lasts::For(time) => time + STOP,
            Lasts::Steps(steps) => STOP + STEP * steps,
        }
    }
}

impl Runner {
    fn waits_at(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until > now)
    }
}
