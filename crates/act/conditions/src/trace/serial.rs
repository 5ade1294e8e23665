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

use super::habits::{Profile, Steps};
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A run whose seed draws such a one.
    fn serial(with: impl Fn(&Profile) -> bool) -> Serial {
        let mut all = (0..10_000).filter_map(Serial::drawn);
        all.find(|serial| with(&serial.profile))
            .expect("one of many seeds")
    }

    fn begun(mut serial: Serial, old: &[i32]) -> (Serial, Instant) {
        let now = Instant::now();
        let work = Some(Work(1, libc::SYS_rt_sigprocmask));
        serial.begin(1, now + Duration::from_secs(1), old, work);
        (serial, now)
    }

    #[test]
    fn most_runs_have_threads_run_one_at_a_time_and_each_in_its_own_way() {
        let all: Vec<String> = (0..1_000)
            .filter_map(|seed| Serial::drawn(seed).map(|serial| format!("{:?}", serial.profile)))
            .collect();
        assert!((800..900).contains(&all.len()), "{}", all.len());
        let different: std::collections::BTreeSet<&String> = all.iter().collect();
        assert!(different.len() > 100, "{}", different.len());
    }

    #[test]
    fn everybody_gets_a_turn_and_whoever_waits_gets_none() {
        for seed in 0..60 {
            let Some(serial) = Serial::drawn(seed) else {
                continue;
            };
            let (mut serial, now) = begun(serial, &[1]);
            let mut left = vec![1, 2, 3, 4];
            let mut now = now;
            for tid in &left {
                serial.add(*tid);
            }
            for _ in 0..100_000 {
                now += Duration::from_micros(100);
                let Some(turn) = serial.next(now) else {
                    continue;
                };
                assert!(left.contains(&turn.tid), "{seed}");
                serial.was_stopped(turn.tid, true);
                // Each has 500 turns to do.
                if serial
                    .runners
                    .get(&turn.tid)
                    .is_some_and(|runner| runner.turns >= 500)
                {
                    left.retain(|tid| *tid != turn.tid);
                    serial.remove(turn.tid);
                } else {
                    serial.add(turn.tid);
                }
                if left.is_empty() {
                    break;
                }
            }
            assert!(left.is_empty(), "{seed}: {left:?} {:?}", serial.profile);
        }
    }

    #[test]
    fn who_is_less_far_goes_first() {
        let (mut serial, now) = begun(serial(|profile| profile.level && profile.waits == 0.0), &[]);
        for tid in [1, 2, 3] {
            serial.add(tid);
        }
        for tid in [1, 3] {
            serial.calls(tid, None);
        }
        for _ in 0..20 {
            let turn = serial.next(now).expect("somebody could run");
            assert_eq!(turn.tid, 2);
            serial.add(2);
        }
    }

    #[test]
    fn who_fell_behind_runs_when_nobody_else_could() {
        let (mut serial, now) = begun(serial(|profile| profile.waits == 0.0), &[]);
        for tid in [1, 2] {
            serial.add(tid);
        }
        serial.fall(1, true);
        let turn = serial.next(now).expect("somebody could run");
        assert_eq!(turn.tid, 2);
        assert_eq!(turn.lasts, Lasts::For(WHILE_HELD));
        // It waits.
        let turn = serial.next(now).expect("somebody could run");
        assert_eq!(turn.tid, 1);
    }

    #[test]
    fn the_timer_is_learnt_from_whether_threads_got_on() {
        let (mut serial, _) = begun(serial(|_| true), &[]);
        for _ in 0..500 {
            serial.was_stopped(1, false);
        }
        let [_, slow] = serial.latency_us;
        assert_eq!(slow, LATENCY_MAX_US);
        for _ in 0..500 {
            serial.was_stopped(1, true);
        }
        let [_, fast] = serial.latency_us;
        assert!(fast < 1.0, "{fast}");
    }
}
