//! Tracing of a program and all it starts, by `ptrace(2)`.
//!
//! ```text
//!   stopped(tid) --- new ----------------> held at its birth, or on
//!                |-- at a call ----------> answered, delayed, or on
//!                |-- at a call's end ----> what was read is changed, or on
//!                |-- interrupted, stepped, watched -> held, or on
//!                |-- became a program ---> what it is told of its surroundings is changed
//!                `-- signal -------------> passed on
//!   tick() ------- due ------------------> those whose hold is over go on, others are interrupted
//!          `------ one at a time ---------> whoever is next has its turn (`rounds`)
//! ```
//!
//! Promise: a thread that is stopped always goes on, at the latest when its hold is over; signals, and
//! what they do to a system call, are as without a tracer.

mod answers;
mod at_calls;
mod calls;
mod disturb;
mod filter;
mod habits;
mod paces;
pub(crate) mod probe;
mod ptrace;
mod quota;
mod registers;
mod rounds;
mod serial;
mod slow;
mod threads;
mod turns;
mod witness;

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use answers::Clock;
use disturb::{Disturbance, Pace};
pub(crate) use filter::Filter;
use ptrace::Go;
use quota::Quota;
use rounds::Pinned;
use serial::Serial;
use slow::Slow;
use threads::{Asked, Threads};
use witness::Witness;

use crate::order::Done;
use crate::plan::Traced;
use crate::random::{Random, joined};
use crate::under::End;

/// `PTRACE_EVENT_STOP`, which libc has for some C libraries only.
const EVENT_STOP: i32 = 128;
/// What is due sooner than this is waited for without sleeping: to fall asleep and wake up takes as long.
const SOON: Duration = Duration::from_micros(80);
/// One instruction takes so long at most, unless it waits for something.
const STEP_MAX: Duration = Duration::from_micros(30);

/// What is due at some time.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// A hold of a thread is over.
    HoldOver(i32, u64),
    /// A thread is to be interrupted.
    Interrupt(i32),
}

/// A tracer.
#[derive(Debug)]
pub(crate) struct Tracer {
    traced: Traced,
    threads: Threads,
    due: BTreeMap<(Instant, u64), Due>,
    numbers: u64,
    first_processes: u64,
    disturbance: Option<Disturbance>,
    serial: Option<Serial>,
    pinned: Option<Pinned>,
    /// As it was the last time: who was started then may be heard of later.
    unpinned: Option<Pinned>,
    quota: Option<Quota>,
    paused_until: Option<Instant>,
    slow: Slow,
    clock: Option<Clock>,
    /// More than one process works, rather than waits for another.
    many_work: bool,
    refused: Option<String>,
    foreign: bool,
    /// When a thread last went on for one instruction.
    stepped: Option<Instant>,
    /// Looks where threads stand at the end.
    witness: Option<Witness>,
    /// Ends that were heard of while something else was waited for.
    ends: Vec<(i32, End)>,
    done: Done,
}

impl Tracer {
    pub(crate) fn new(traced: &Traced) -> Tracer {
        let now = Instant::now();
        Tracer {
            threads: Threads::default(),
            due: BTreeMap::new(),
            numbers: 0,
            first_processes: 0,
            disturbance: traced.schedule.map(|seed| Disturbance::new(seed, now)),
            serial: (traced.schedule).and_then(Serial::drawn),
            pinned: None,
            unpinned: None,
            quota: traced.cores.map(|cores| Quota::new(cores, now)),
            paused_until: None,
            slow: Slow::new(u64::from(std::process::id())),
            clock: traced.clock.map(Clock::showing),
            many_work: false,
            refused: None,
            foreign: false,
            stepped: None,
            witness: (traced.evidence.as_deref())
                .map(|path| Witness::new(path, traced.crashes_only)),
            ends: Vec::new(),
            done: Done::default(),
            traced: traced.clone(),
        }
    }

    /// Becomes the tracer of a process that waits for it.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub(crate) fn adopt(&mut self, pid: i32) -> io::Result<()> {
        ptrace::seize(pid)?;
        // Copies have numbers of their own, as the original's repetitions would.
        let key = joined(self.traced.seed.unwrap_or(0), self.first_processes);
        self.first_processes += 1;
        self.many_work = self.first_processes > 1;
        self.threads.insert_first(pid, key);
        if let Some(thread) = self.threads.get_mut(pid) {
            thread.is_new = false;
        }
        Ok(())
    }

    /// Why the program cannot be traced, if it was seen that it cannot.
    pub(crate) fn refused(&self) -> Option<String> {
        self.refused.clone()
    }

    /// What was done so far.
    pub(crate) fn done(&self) -> Done {
        let paused = (self.disturbance.as_ref()).map_or(Duration::ZERO, Disturbance::paused);
        Done {
            threads: self.threads.born,
            paused_us: micros(paused),
            turns: self.serial.as_ref().map_or(0, |serial| serial.turns),
            ..self.done
        }
    }

    /// What the user should know.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let remark =
            "a program of another architecture ran, whose system calls were left as they are";
        let remark = self.foreign.then(|| remark.to_owned());
        remark.into_iter().collect()
    }

    /// When [`tick`](Tracer::tick) is to be called again, at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let due = self.due.keys().next().map(|(at, _)| *at);
        let interrupt = self
            .disturbance
            .as_ref()
            .map(|disturbance| disturbance.next);
        let look = self.quota.as_ref().map(|quota| quota.next);
        let over = self.serial.as_ref().and_then(Serial::next_due);
        [due, interrupt, look, over].into_iter().flatten().min()
    }

    /// Something is about to stop again at once: waiting for it without sleeping saves more than it
    /// costs.
    pub(crate) fn is_eager(&self, now: Instant) -> bool {
        let stepped = self.stepped;
        let soon = self.due.keys().next().map(|(at, _)| *at);
        stepped.is_some_and(|at| now.saturating_duration_since(at) < STEP_MAX)
            || soon.is_some_and(|at| at.saturating_duration_since(now) < SOON)
            || (self.serial.as_ref()).is_some_and(|serial| serial.is_ready(now))
    }

    /// A thread has ended.
    pub(crate) fn ended(&mut self, tid: i32) {
        let thread = self.threads.remove(tid);
        if let Some(serial) = &mut self.serial {
            serial.remove(tid);
        }
        if thread.is_some_and(|thread| thread.disturbed) {
            self.calm(Instant::now());
        }
    }

    /// One that ended while something else was waited for.
    pub(crate) fn next_end(&mut self) -> Option<(i32, End)> {
        self.ends.pop()
    }

    /// A thread has stopped.
    pub(crate) fn stopped(&mut self, tid: i32, status: i32) {
        if !self.threads.insert_new(tid) {
            // Killed meanwhile; if not, it is let go of.
            let _ = ptrace::resume(tid, Go::On, 0);
            return;
        }
        let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
        let Some(thread) = self.threads.get_mut(tid) else {
            return;
        };
        thread.stopped = Some(0);
        if thread.is_new {
            thread.is_new = false;
            self.born(tid);
            return;
        }
        match event {
            EVENT_STOP if signal == libc::SIGTRAP => {
                registers::call_again(tid);
                self.interrupted(tid);
            }
            EVENT_STOP => {
                let _ = ptrace::resume(tid, Go::Listen, 0);
            }
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                self.has_started(tid);
            }
            libc::PTRACE_EVENT_EXEC => self.became(tid),
            libc::PTRACE_EVENT_SECCOMP => self.at_call(tid),
            0 if signal == libc::SIGTRAP | 0x80 => {
                // The stop at the end of a call stands for the one that was asked for.
                if thread.at_end.is_none() {
                    registers::call_again(tid);
                }
                self.at_either_end(tid);
            }
            // However it is to run by now: such a stop may come after another one.
            0 if signal == libc::SIGTRAP
                && self.disturbance.is_some()
                && ptrace::has_stepped(tid).is_some() =>
            {
                self.stepped(tid);
            }
            0 => {
                let signal = self.witness(tid, signal);
                if let Some(thread) = self.threads.get_mut(tid) {
                    thread.stopped = Some(signal);
                }
                self.go_on(tid);
            }
            _ => self.go_on(tid),
        }
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Instant) {
        while let Some(entry) = self.due.first_entry() {
            if entry.key().0 > now {
                break;
            }
            match entry.remove() {
                Due::HoldOver(tid, number) => {
                    let thread = self.threads.get(tid);
                    if thread.is_some_and(|thread| thread.held == Some(number)) {
                        self.go_on(tid);
                    }
                }
                Due::Interrupt(tid) => self.interrupt(tid, Asked::Disturbance),
            }
        }
        if (self.quota.as_ref()).is_some_and(|quota| quota.next <= now) {
            self.look_at_quota(now);
        }
        if (self.disturbance.as_ref()).is_some_and(|disturbance| disturbance.next <= now) {
            self.disturb_one(now);
        }
        self.give_turn(now);
    }

    /// A process has become another program.
    fn became(&mut self, pid: i32) {
        if self.is_in_turns(pid) {
            self.end_turns();
        }
        let former = ptrace::message(pid).ok();
        let former = former.and_then(|former| i32::try_from(former).ok());
        for gone in self.threads.became_one(pid, former.unwrap_or(pid)) {
            if gone.disturbed {
                self.calm(Instant::now());
            }
        }
        if let Some(thread) = self.threads.get_mut(pid) {
            thread.stopped = Some(0);
            thread.pace = Pace::Free;
        }
        self.settle(pid);
        let takes_turns = threads::takes_turns(pid);
        if let Some(process) = self.threads.process_mut(pid) {
            process.takes_turns = takes_turns;
        }
        if let Ok(info) = ptrace::call_info(pid) {
            if info.arch != filter::ARCH {
                self.foreign = true;
            } else if self.traced.seed.is_some() || self.clock.is_some() {
                let random = self.traced.seed.is_some().then(|| {
                    let mut bytes = [0; 16];
                    Random::new(self.stream(pid)).fill(&mut bytes);
                    bytes
                });
                answers::surroundings(pid, info.stack, random);
            }
        }
        self.go_on(pid);
    }

    fn look_at_quota(&mut self, now: Instant) {
        let Some(quota) = &mut self.quota else {
            return;
        };
        let pids: Vec<i32> = self.threads.processes().map(|(pid, _)| pid).collect();
        self.paused_until = quota.look(now, pids.into_iter());
        let Some(until) = self.paused_until else {
            return;
        };
        for tid in self.threads.running() {
            self.interrupt(tid, Asked::Quota(until));
        }
    }

    /// Holds a stopped thread until then.
    fn hold(&mut self, tid: i32, until: Instant) {
        self.numbers += 1;
        if let Some(thread) = self.threads.get_mut(tid) {
            thread.held = Some(self.numbers);
            let due = Due::HoldOver(tid, self.numbers);
            self.due.insert((until, self.numbers), due);
        }
    }

    /// Lets a stopped thread go on, as it is to.
    fn go_on(&mut self, tid: i32) {
        self.settle(tid);
        if self.is_in_turns(tid)
            && let Some(serial) = &mut self.serial
        {
            serial.add(tid);
            return;
        }
        let Some(thread) = self.threads.get_mut(tid) else {
            return;
        };
        thread.in_call = false;
        if let (Pace::Meeting(steps), Some(disturbance)) = (thread.pace, &mut self.disturbance) {
            thread.pace = disturbance.after_meeting(Instant::now(), steps);
        }
        let go = match thread.pace {
            _ if thread.at_end.is_some() => Go::ToCall,
            Pace::Free => Go::On,
            Pace::Watched(_) | Pace::ToMeeting(..) | Pace::NearMeeting => Go::ToCall,
            Pace::Slow(_) | Pace::ToTurn(_) | Pace::Meeting(_) => Go::Step,
        };
        self.resume(tid, go);
    }

    /// Resumes a stopped thread; false when it was killed meanwhile.
    fn resume(&mut self, tid: i32, go: Go) -> bool {
        let Some(thread) = self.threads.get_mut(tid) else {
            return false;
        };
        let signal = thread.stopped.take().unwrap_or(0);
        thread.held = None;
        let interrupts = std::mem::take(&mut thread.interrupts);
        if ptrace::resume(tid, go, signal).is_err() {
            // It was killed while it was stopped; its end is told of by itself.
            return false;
        }
        let now = Instant::now();
        for after in interrupts {
            self.numbers += 1;
            let due = Due::Interrupt(tid);
            self.due.insert((now + after, self.numbers), due);
        }
        true
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
