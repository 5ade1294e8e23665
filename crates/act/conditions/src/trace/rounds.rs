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
use super::ptrace::{self, Go};
use super::threads::Asked;
use crate::remains;
use crate::under::End;

/// Who has begun a call and is not at its end by then waits in it.
const CALL_MAX: Duration = Duration::from_micros(60);
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
    pub(super) fn begin_turns(&mut self, tid: i32, now: Instant) {
        let Some(process) = self.threads.get(tid).map(|thread| thread.process) else {
            return;
        };
        let counted = self.threads.process_mut(process);
        if !counted.is_some_and(|process| process.threads > 1 && !process.takes_turns) {
            return;
        }
        let (Some(serial), Some(disturbance)) = (&mut self.serial, &mut self.disturbance) else {
            return;
        };
        let Some(lasts) = disturbance.phase(now) else {
            return;
        };
        let is_new = serial.process().is_none();
        let old = self.threads.of(process);
        serial.begin(process, now + lasts, &old);
        if !is_new {
            return;
        }
        disturbance.begins(now);
        self.pin(process);
        for tid in self.threads.of(process) {
            self.interrupt(tid, Asked::Turn);
        }
    }

    /// All of a process's threads go on as they do.
    pub(super) fn end_turns(&mut self, now: Instant) {
        let Some(serial) = &mut self.serial else {
            return;
        };
        let process = serial.process();
        let ready = serial.end();
        self.unpin(process);
        for tid in ready {
            self.go_on(tid);
        }
        self.calm(now);
    }

    /// Gives one thread its turn, if any could run.
    pub(super) fn give_turn(&mut self, now: Instant) {
        let Some(serial) = &mut self.serial else {
            return;
        };
        let (Some(process), Some(until)) = (serial.process(), serial.until()) else {
            return;
        };
        let threads = self.threads.process_mut(process);
        if now >= until || threads.is_none_or(|process| process.threads < 2) {
            self.end_turns(now);
            return;
        }
        let Some(turn) = serial.next() else {
            return;
        };
        let Some(thread) = self.threads.get_mut(turn.tid) else {
            return;
        };
        let in_call = thread.in_call;
        let before = ptrace::call_info(turn.tid).map(|info| info.place());
        if !self.resume(turn.tid, Go::ToCall) {
            return;
        }
        let limit = if in_call { CALL_MAX } else { turn.lasts };
        let mut status = stopped_within(turn.tid, limit);
        if status.is_none() && !in_call && ptrace::interrupt(turn.tid).is_ok() {
            if let Some(thread) = self.threads.get_mut(turn.tid) {
                thread.asked = Some(Asked::Turn);
            }
            status = stopped_within(turn.tid, STOP_MAX);
            let is_stopped = status.is_some_and(|status| libc::WIFSTOPPED(status));
            if let (true, Ok(before), Ok(after)) = (is_stopped, before, ptrace::call_info(turn.tid))
                && let Some(serial) = &mut self.serial
            {
                serial.got_on(turn.tid, before != after.place());
            }
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
                reschedule(tid, libc::SCHED_IDLE);
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
        for tid in process
            .map(|process| self.threads.of(process))
            .unwrap_or_default()
        {
            if pinned.yields {
                reschedule(tid, libc::SCHED_OTHER);
            }
            let tid = Pid::from_raw(tid);
            // Unless it has chosen others meanwhile.
            if sched_getaffinity(tid) == Ok(pinned.one) {
                let _ = sched_setaffinity(tid, &pinned.program);
            }
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

fn ordinary() {
    set_scheduler(0, libc::SCHED_OTHER, 0);
}

/// Has a thread yield to whoever else could run on its CPU, and at once, or no longer. Left alone where that could
/// not be undone: only with privilege is it ever an ordinary thread again.
fn reschedule(tid: i32, policy: i32) {
    if nix::unistd::geteuid().is_root() {
        set_scheduler(tid, policy, 0);
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
