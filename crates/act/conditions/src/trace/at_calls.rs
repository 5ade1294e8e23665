//! What is done where a thread is stopped at a system call: it is answered, changed, delayed, or watched.

use std::time::{Duration, Instant};

use super::answers::{self, Timed};
use super::disturb::{Pace, Turn};
use super::threads::AtEnd;
use super::{Tracer, micros, ptrace, registers};
use crate::random::joined;

/// Requests by which a program becomes a tracer or a tracee itself: TRACEME, ATTACH, SEIZE.
const TRACES: [u64; 3] = [0, 16, 0x4206];
/// What a call returns that has woken others is how many.
const WOKEN_MAX: i64 = 16;

impl Tracer {
    /// What the next random bytes of a process follow from.
    pub(super) fn stream(&mut self, pid: i32) -> u64 {
        let Some(process) = self.threads.process_mut(pid) else {
            return 0;
        };
        process.asked += 1;
        joined(process.key, process.asked)
    }

    /// A thread is stopped before a call that something is to be done about.
    pub(super) fn at_call(&mut self, tid: i32) {
        let (Ok(info), Some(thread)) = (ptrace::call_info(tid), self.threads.get(tid)) else {
            self.go_on(tid);
            return;
        };
        let pid = thread.process;
        let Some(call) = info.call() else {
            self.go_on(tid);
            return;
        };
        let [first, ..] = call.arguments;
        match call.number {
            libc::SYS_ptrace if TRACES.contains(&first) => {
                let why = "the program traces others itself, and a traced one cannot";
                self.refused = Some(why.to_owned());
                return;
            }
            libc::SYS_getrandom if self.traced.seed.is_some() => {
                let stream = self.stream(pid);
                self.done.random += u64::from(answers::random(pid, tid, &call, stream));
            }
            libc::SYS_getdents64 if self.traced.directory.is_some() => {
                self.at_end(tid, AtEnd::Directory(call));
            }
            _ => {}
        }
        if call.number == libc::SYS_futex && self.takes_turns(tid) {
            self.hasten(pid, tid, &call, info.stack);
        }
        if let Some(clock) = &mut self.clock {
            match clock.answer(pid, tid, &call, info.stack) {
                Timed::Left => {}
                Timed::Answered => self.done.clocks += 1,
                Timed::Waits(place, value) => {
                    self.done.clocks += 1;
                    self.at_end(tid, AtEnd::Argument(place, value));
                }
            }
        }
        let now = Instant::now();
        let verdict = self.slow.judge((pid, tid), &call, &self.traced, now);
        if let Some(result) = verdict.lost {
            self.done.lost += u64::from(registers::skip(tid, result));
        }
        if verdict.delay.is_zero() {
            self.go_on(tid);
            return;
        }
        self.done.delays += 1;
        self.done.delayed_us += micros(verdict.delay);
        self.hold(tid, now + verdict.delay);
    }

    /// A thread waits for its turn: it is to ask for it sooner.
    fn hasten(&mut self, pid: i32, tid: i32, call: &ptrace::Call, stack: u64) {
        let in_turns = self.is_in_turns(tid);
        let after = match &mut self.disturbance {
            Some(disturbance) if in_turns => Some(disturbance.at_once()),
            Some(disturbance) => disturbance.sooner(),
            None => None,
        };
        if let Some(after) = after
            && let Timed::Waits(place, value) = answers::sooner(pid, tid, call, stack, after)
        {
            self.at_end(tid, AtEnd::Argument(place, value));
        }
    }

    fn at_end(&mut self, tid: i32, what: AtEnd) {
        if let Some(thread) = self.threads.get_mut(tid) {
            thread.at_end = Some(what);
        }
    }

    /// A thread is stopped at the beginning or the end of a call.
    pub(super) fn at_either_end(&mut self, tid: i32) {
        if let Some(at_end) = self.threads.get(tid).and_then(|thread| thread.at_end)
            && let Ok(info) = ptrace::call_info(tid)
            && let Some(result) = info.result()
        {
            let process = self.threads.get(tid).map_or(tid, |thread| thread.process);
            self.finish(tid, at_end, result);
            if matches!(at_end, AtEnd::Argument(..))
                && !self.is_in_turns(tid)
                && let Some(disturbance) = &mut self.disturbance
            {
                // It has waited for its turn, and does not have it yet: nobody waits for it.
                let now = Instant::now();
                let hold = disturbance.after_wait(now, process == tid);
                self.disturb(tid, hold, now);
                return;
            }
        }
        if self.is_in_turns(tid) {
            let info = ptrace::call_info(tid).unwrap_or_default();
            if let Some(thread) = self.threads.get_mut(tid) {
                thread.in_call = info.call().is_some();
            }
            if let (Some(serial), true) = (&mut self.serial, info.call().is_some()) {
                serial.calls(tid, info.call().map(|call| call.number));
            }
            self.go_on(tid);
            return;
        }
        self.watch(tid);
    }

    /// A watched thread is stopped at the beginning or the end of a call.
    fn watch(&mut self, tid: i32) {
        let now = Instant::now();
        let takes_turns = self.takes_turns(tid);
        let (Some(thread), Some(disturbance)) = (self.threads.get_mut(tid), &mut self.disturbance)
        else {
            self.go_on(tid);
            return;
        };
        let info = ptrace::call_info(tid).unwrap_or_default();
        if takes_turns && thread.interrupts.is_empty() && info.result().is_some() {
            // At its own speed up to the interrupt.
            match disturbance.turn_after(
                now,
                info.result()
                    .is_some_and(|woken| (1..=WOKEN_MAX).contains(&woken)),
            ) {
                Turn::None => {
                    self.go_on(tid);
                    return;
                }
                Turn::Hold(hold) => {
                    self.disturb(tid, hold, now);
                    return;
                }
                Turn::Interrupt(after) => {
                    thread.pace = Pace::Free;
                    thread.interrupts.push(after);
                    self.go_on(tid);
                    return;
                }
            }
        }
        let (hold, pace) = match (thread.pace, info.call()) {
            (Pace::Watched(left), _) => disturbance.at_call(now, left),
            (Pace::ToMeeting(left, calls), Some(call)) => {
                let pace = disturbance.on_the_way(now, (left, calls), call.number);
                (Duration::ZERO, pace)
            }
            (Pace::NearMeeting, None) => disturbance.at_meeting(now),
            (pace, _) => (Duration::ZERO, pace),
        };
        thread.pace = pace;
        self.disturb(tid, hold, now);
    }

    /// Does what was left to be done at the end of a call.
    fn finish(&mut self, tid: i32, at_end: AtEnd, result: i64) {
        let Some(thread) = self.threads.get_mut(tid) else {
            return;
        };
        thread.at_end = None;
        match at_end {
            AtEnd::Directory(call) if result > 0 => {
                let seed = self.traced.directory.unwrap_or(0);
                let changed = answers::directory(thread.process, &call, result, seed);
                self.done.directories += u64::from(changed);
            }
            AtEnd::Directory(_) => {}
            AtEnd::Argument(place, value) => {
                registers::set_argument(tid, place, value);
            }
        }
    }
}
