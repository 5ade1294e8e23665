//! Rounds of turns: a tracer that has the threads of a process run one at a time ([`Serial`](super::serial::Serial)).
//!
//! ```text
//!   another thread is born, or at random later -> all share one CPU, and stop
//!   stopped -> ready -> its turn -> stopped by the timer, or at a call -> ready
//!                                   in a call that waits: outside, ready when the call has ended
//!   the phase is over -> all go on, on all CPUs
//! ```

use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::Tracer;
use super::ptrace::{self, Go, Stepped};
use super::serial::{Lasts, Work};
use super::threads::Asked;
use super::witness::handles;
use crate::remains;
use crate::under::End;

/// Who has begun a call and is not at its end by then waits in it.
const CALL_MAX: Duration = Duration::from_micros(60);
/// Threads run one at a time for at most so long, waits included.
const PHASE_MAX: Duration = Duration::from_millis(400);
/// Who was asked to stop does so within this, unless it waits for a disk.
const STOP_MAX: Duration = Duration::from_millis(2);

/// CPUs as they were before all had to share one.
#[derive(Debug)]
pub(super) struct Pinned {
    /// The program's threads yield to this one.
    yields: bool,
    one: CpuSet,
    tracer: CpuSet,
    program: CpuSet,
}

impl Tracer {
    /// Whether a thread is one of those that run one at a time.
    pub(super) fn is_in_turns(&self, tid: i32) -> bool {
        let process = (self.serial.as_ref()).and_then(super::serial::Serial::process);
        process.is_some() && self.threads.get(tid).map(|thread| thread.process) == process
    }

    /// A process's threads run one at a time from now on, if it may still be disturbed.
    pub(super) fn begin_turns(&mut self, tid: i32, young: Option<i32>, now: Instant) {
        let Some(process) = self.threads.get(tid).map(|thread| thread.process) else {
            return;
        };
        let takes_turns = self.takes_turns(tid);
        let counted = self.threads.process_mut(process);
        if counted.is_none_or(|process| process.threads < 2) {
            return;
        }
        let (Some(serial), Some(disturbance)) = (&mut self.serial, &mut self.disturbance) else {
            return;
        };
        if serial.process().is_some() || !disturbance.may_begin(now) {
            return;
        }
        let all = self.threads.of(process);
        let old: Vec<i32> = (all.iter().copied())
            .filter(|tid| Some(*tid) != young)
            .collect();
        let work = (!takes_turns).then(|| work(process));
        serial.begin(process, now + PHASE_MAX, &old, work);
        self.pin(process);
        for tid in all {
            self.interrupt(tid, Asked::Turn);
        }
    }

    /// All of a process's threads go on as they do.
    pub(super) fn end_turns(&mut self) {
        let Some(serial) = &mut self.serial else {
            return;
        };
        let process = serial.process();
        let ready = serial.end();
        self.unpin(process);
        for tid in ready {
            self.go_on(tid);
        }
    }

    /// Gives one thread its turn, if any could run.
    pub(super) fn give_turn(&mut self, now: Instant) {
        let (Some(serial), Some(disturbance)) = (&mut self.serial, &mut self.disturbance) else {
            return;
        };
        let (Some(process), Some(until)) = (serial.process(), serial.until()) else {
            return;
        };
        let threads = self.threads.process_mut(process);
        let alone = threads.is_none_or(|process| process.threads < 2);
        if now >= until || alone || !disturbance.may(now) {
            self.end_turns();
            return;
        }
        let Some(turn) = serial.next(now) else {
            return;
        };
        let in_call = (self.threads.get(turn.tid)).is_some_and(|thread| thread.in_call);
        let status = match turn.lasts {
            Lasts::Steps(steps) if !in_call => self.step(turn.tid, steps),
            Lasts::For(time) if !in_call => self.run_for(turn.tid, time),
            _ if self.resume(turn.tid, Go::ToCall) => stopped_within(turn.tid, CALL_MAX),
            _ => None,
        };
        if let Some(disturbance) = &mut self.disturbance {
            disturbance.used(now.elapsed(), turn.costs());
        }
        let Some(status) = status else {
            return;
        };
        match End::of(status) {
            Some(end) => {
                self.ended(turn.tid);
                self.ends.push((turn.tid, end));
            }
            None => self.stopped(turn.tid, status),
        }
    }

    /// Lets a thread run for a while. Gives how it has stopped or ended, if it has.
    fn run_for(&mut self, tid: i32, time: Duration) -> Option<i32> {
        let before = ptrace::call_info(tid).map(|info| info.place());
        if !self.resume(tid, Go::ToCall) {
            return None;
        }
        let status = stopped_within(tid, time);
        if status.is_some() || ptrace::interrupt(tid).is_err() {
            return status;
        }
        if let Some(thread) = self.threads.get_mut(tid) {
            thread.asked = Some(Asked::Turn);
        }
        let status = stopped_within(tid, STOP_MAX)?;
        if libc::WIFSTOPPED(status)
            && let (Ok(before), Ok(after)) = (before, ptrace::call_info(tid))
            && let Some(serial) = &mut self.serial
        {
            serial.was_stopped(tid, before != after.place());
        }
        Some(status)
    }

    /// Lets a thread run for so many instructions. Gives how it has stopped or ended the last time, if it has.
    fn step(&mut self, tid: i32, steps: u32) -> Option<i32> {
        for left in (0..steps).rev() {
            if !self.resume(tid, Go::Step) {
                return None;
            }
            self.done.steps += 1;
            let status = stopped_within(tid, CALL_MAX)?;
            let is_plain = libc::WIFSTOPPED(status)
                && libc::WSTOPSIG(status) == libc::SIGTRAP
                && status >> 16 == 0
                && ptrace::has_stepped(tid) == Some(Stepped::Plain);
            if !is_plain || left == 0 {
                if let (true, Some(serial)) = (is_plain, &mut self.serial) {
                    serial.got_on(tid);
                }
                return Some(status);
            }
            if let Some(thread) = self.threads.get_mut(tid) {
                thread.stopped = Some(0);
            }
        }
        None
    }

    /// Has a process's threads and this one share a CPU.
    fn pin(&mut self, process: i32) {
        let pinned = || -> nix::Result<Pinned> {
            let tracer = sched_getaffinity(Pid::from_raw(0))?;
            let program = sched_getaffinity(Pid::from_raw(process))?;
            let mut one = CpuSet::new();
            let here = nix::sched::sched_getcpu()?;
            let all = 0..CpuSet::count();
            let cpu = match program.is_set(here)? {
                true => here,
                false => (all.into_iter())
                    .find(|cpu| program.is_set(*cpu) == Ok(true))
                    .unwrap_or(here),
            };
            one.set(cpu)?;
            sched_setaffinity(Pid::from_raw(0), &one)?;
            let yields = !short_slices();
            Ok(Pinned {
                yields,
                one,
                tracer,
                program,
            })
        };
        let Ok(pinned) = pinned() else {
            return;
        };
        for tid in self.threads.of(process) {
            let _ = sched_setaffinity(Pid::from_raw(tid), &pinned.one);
            if pinned.yields {
                reschedule(tid, libc::SCHED_OTHER, libc::SCHED_IDLE);
            }
        }
        self.pinned = Some(pinned);
    }

    fn unpin(&mut self, process: Option<i32>) {
        let Some(pinned) = self.pinned.take() else {
            return;
        };
        ordinary();
        let _ = sched_setaffinity(Pid::from_raw(0), &pinned.tracer);
        let all = process.map(|process| self.threads.of(process));
        for tid in all.unwrap_or_default() {
            pinned.release(tid);
        }
        self.unpinned = Some(pinned);
    }

    /// Who was started by a thread that shares a CPU with others, or did so a moment ago, and is not to do so.
    pub(super) fn release(&self, tid: i32) {
        for pinned in self.pinned.iter().chain(&self.unpinned) {
            pinned.release(tid);
        }
    }
}

impl Pinned {
    /// A thread no longer shares a CPU, unless it has chosen others meanwhile.
    fn release(&self, tid: i32) {
        if self.yields {
            reschedule(tid, libc::SCHED_IDLE, libc::SCHED_OTHER);
        }
        let tid = Pid::from_raw(tid);
        if sched_getaffinity(tid) == Ok(self.one) {
            let _ = sched_setaffinity(tid, &self.program);
        }
    }
}

/// When this thread and others could run, it does: whether it may be a real-time one. Otherwise it asks for slices
/// of the least length (`sched_setattr(2)`; before Linux 6.12 that means nothing for ordinary threads), and the
/// others have to yield.
///
/// In a control group of version 1 a thread is none where the kernel shares out real time among groups and that one
/// was given none (`CONFIG_RT_GROUP_SCHED`), whoever it belongs to.
#[expect(unsafe_code, reason = "sched_setattr(2) has no wrapper")]
fn short_slices() -> bool {
    const SLICE_NS: u64 = 100_000;
    /// `SCHED_FLAG_KEEP_PARAMS`: nice values stay as they are.
    const KEEP: u64 = 0x10;
    // `struct sched_attr`, first version: size and policy, flags, nice and priority, runtime, deadline, period.
    let attributes: [u64; 6] = [48, KEEP, 0, SLICE_NS, 0, 0];
    if set_scheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, 1) {
        return true;
    }
    // SAFETY: the kernel reads as many bytes as are told, which live on this stack.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, attributes.as_ptr(), 0) };
    false
}

/// Where threads of a process begin their work. With glibc one of C does after it has set its signal mask; where
/// SIGSEGV is handled, as Rust's library does to tell of full stacks, after it has a second stack for that.
fn work(process: i32) -> Work {
    match handles(process, libc::SIGSEGV) {
        true => Work(2, libc::SYS_sigaltstack),
        false => Work(1, libc::SYS_rt_sigprocmask),
    }
}

fn ordinary() {
    set_scheduler(0, libc::SCHED_OTHER, 0);
}

/// Has a thread yield to whoever else could run on its CPU, and at once, or no longer, if it is scheduled as is
/// expected. Left alone where that could not be undone: only with privilege is it ever an ordinary thread again.
#[expect(unsafe_code, reason = "sched_getscheduler(2) has no wrapper")]
fn reschedule(tid: i32, from: i32, to: i32) {
    // SAFETY: takes a number.
    let now = unsafe { libc::sched_getscheduler(tid) };
    if now == from && nix::unistd::geteuid().is_root() {
        set_scheduler(tid, to, 0);
    }
}

/// Whether a thread, or this one (0), is scheduled so from now on.
#[expect(unsafe_code, reason = "sched_setscheduler(2) has no wrapper")]
fn set_scheduler(tid: i32, policy: i32, priority: i32) -> bool {
    let priority = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: the kernel reads what lives on this stack.
    unsafe { libc::sched_setscheduler(tid, policy, &raw const priority) == 0 }
}

/// Waits for a thread to stop or end; none when it has not by then.
#[expect(unsafe_code, reason = "sigtimedwait(2) has no safe wrapper")]
fn stopped_within(tid: i32, limit: Duration) -> Option<i32> {
    let mut set = nix::sys::signal::SigSet::empty();
    set.add(nix::sys::signal::Signal::SIGCHLD);
    let until = Instant::now() + limit;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let time = libc::timespec {
            tv_sec: 0,
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        // SAFETY: the set and the time live on this stack. The signal is blocked since the start, and says that
        // something has stopped; what has is asked for in any case.
        unsafe { libc::sigtimedwait(set.as_ref(), std::ptr::null_mut(), &raw const time) };
        if let Some(status) = remains::waited_for(tid) {
            return Some(status);
        }
        if left.is_zero() {
            return None;
        }
    }
}
