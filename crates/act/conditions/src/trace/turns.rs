//! Whose turn it is: threads are held at their birth, interrupted, stepped and let go on, as a disturbance has it.

use std::time::{Duration, Instant};

use super::Tracer;
use super::disturb::Pace;
use super::ptrace::{self, Stepped};
use super::threads::{self, Asked};

/// A young thread of an interpreter whose threads take turns is stopped at so many ends of calls.
const WATCHED_WHEN_YOUNG: u32 = 100;
/// Processes of which it is looked, from time to time, what they wait for.
const LOOKED_AT_MAX: usize = 16;

impl Tracer {
    /// A new thread has stopped for the first time.
    pub(super) fn born(&mut self, tid: i32) {
        let now = Instant::now();
        let takes_turns = self.takes_turns(tid);
        self.begin_turns(tid, Some(tid), now);
        if self.is_in_turns(tid) {
            if let Some(serial) = &mut self.serial {
                serial.born(tid);
            }
            self.go_on(tid);
            return;
        }
        if self.is_accompanied(tid)
            && let Some(disturbance) = &mut self.disturbance
        {
            let birth = disturbance.birth(now);
            if let Some(thread) = self.threads.get_mut(tid) {
                thread.interrupts = birth.interrupts;
                thread.pace = if takes_turns {
                    Pace::Watched(WATCHED_WHEN_YOUNG)
                } else {
                    birth.pace
                };
            }
            self.disturb(tid, birth.hold, now);
            return;
        }
        self.go_on(tid);
    }

    /// A thread has started another one.
    pub(super) fn has_started(&mut self, tid: i32) {
        let new = ptrace::message(tid).ok();
        let new = new.and_then(|new| i32::try_from(new).ok());
        if let Some(new) = new {
            self.threads.insert_new(new);
            // Until it is looked what they do.
            let is_process = (self.threads.get(new)).is_some_and(|it| it.process == new);
            self.many_work |= is_process;
            if is_process || !self.is_in_turns(tid) {
                self.release(new);
            }
        }
        let now = Instant::now();
        self.begin_turns(tid, new, now);
        if let Some(serial) = &mut self.serial {
            serial.has_started(tid);
        }
        let takes_turns = self.takes_turns(tid);
        if self.is_accompanied(tid)
            && !self.is_in_turns(tid)
            && let Some(disturbance) = &mut self.disturbance
        {
            let (pace, interrupts) = disturbance.parent(now, takes_turns);
            if let Some(thread) = self.threads.get_mut(tid) {
                thread.pace = pace;
                thread.interrupts = interrupts;
            }
        }
        self.go_on(tid);
    }

    /// Whether a thread belongs to an interpreter whose threads take turns.
    pub(super) fn takes_turns(&mut self, tid: i32) -> bool {
        let process = self.threads.get(tid).map(|thread| thread.process);
        let process = process.and_then(|process| self.threads.process_mut(process));
        process.is_some_and(|process| process.takes_turns)
    }

    /// Whether what a thread does could meet what others do at the same time.
    pub(super) fn is_accompanied(&mut self, tid: i32) -> bool {
        let process = self.threads.get(tid).map(|thread| thread.process);
        let process = process.and_then(|process| self.threads.process_mut(process));
        process.is_some_and(|process| process.threads > 1) || self.many_work
    }

    pub(super) fn stepped(&mut self, tid: i32) {
        if self.is_in_turns(tid) {
            if let (Some(Stepped::Call), Some(serial)) =
                (ptrace::has_stepped(tid), &mut self.serial)
            {
                serial.calls(tid, None);
            }
            self.go_on(tid);
            return;
        }
        self.done.steps += 1;
        let now = Instant::now();
        self.stepped = Some(now);
        let (Some(thread), Some(disturbance)) = (self.threads.get_mut(tid), &mut self.disturbance)
        else {
            self.go_on(tid);
            return;
        };
        let (hold, pace) = match thread.pace {
            Pace::Slow(left) => disturbance.at_step(now, left),
            Pace::ToTurn(left) => disturbance.before_turn(now, left),
            pace => (Duration::ZERO, pace),
        };
        thread.pace = pace;
        self.disturb(tid, hold, now);
    }

    /// A thread has stopped because it was asked to.
    pub(super) fn interrupted(&mut self, tid: i32) {
        let now = Instant::now();
        let asked = self
            .threads
            .get_mut(tid)
            .and_then(|thread| thread.asked.take());
        match asked {
            Some(Asked::Quota(until)) => self.hold(tid, until),
            Some(Asked::Disturbance) => {
                let takes_turns = self.takes_turns(tid);
                let Some(disturbance) = &mut self.disturbance else {
                    self.go_on(tid);
                    return;
                };
                let (hold, pace) = match takes_turns {
                    true => disturbance.at_turn(now),
                    false => disturbance.at_interrupt(now),
                };
                if let Some(thread) = self.threads.get_mut(tid) {
                    thread.pace = pace;
                }
                self.disturb(tid, hold, now);
            }
            Some(Asked::Turn) | None => self.go_on(tid),
        }
    }

    /// Asks a thread to stop, if it runs: one that waits is left alone, since some calls end early
    /// when they are interrupted, as they would not by themselves.
    pub(super) fn interrupt(&mut self, tid: i32, why: Asked) {
        let Some(thread) = self.threads.get_mut(tid) else {
            return;
        };
        let free = thread.stopped.is_none()
            && thread.asked.is_none()
            && (matches!(why, Asked::Quota(_)) || !thread.pace.is_stepping());
        if free && threads::is_runnable(tid) && ptrace::interrupt(tid).is_ok() {
            thread.asked = Some(why);
        }
    }

    /// Interrupts a thread at random, if there is something to be disturbed.
    pub(super) fn disturb_one(&mut self, now: Instant) {
        self.many_work = self.do_many_work();
        if self.serial.is_some() {
            self.disturb_in_turns(now);
            return;
        }
        let running = self.threads.running();
        let running: Vec<i32> = (running.into_iter())
            .filter(|tid| self.is_accompanied(*tid))
            .collect();
        let Some(disturbance) = &mut self.disturbance else {
            return;
        };
        disturbance.draw_next(now);
        if !disturbance.may(now) {
            return;
        }
        // Most threads wait most of the time: a few are tried.
        for _ in 0..4 {
            let Some(tid) = (self.disturbance.as_mut()).and_then(|some| some.pick(&running)) else {
                return;
            };
            if threads::is_runnable(tid) {
                self.interrupt(tid, Asked::Disturbance);
                return;
            }
        }
    }

    /// Has the threads of a process run one at a time for a while, if there is one of which two could run.
    fn disturb_in_turns(&mut self, now: Instant) {
        let Some(disturbance) = &mut self.disturbance else {
            return;
        };
        disturbance.draw_next(now);
        if !disturbance.may_begin_again(now) {
            return;
        }
        let running = self.threads.running();
        let Some(tid) = (self.disturbance.as_mut()).and_then(|some| some.pick(&running)) else {
            return;
        };
        let process = self.threads.get(tid).map(|thread| thread.process);
        let others = running.iter().filter(|other| {
            **other != tid && self.threads.get(**other).map(|one| one.process) == process
        });
        if threads::is_runnable(tid) && others.take(16).any(|other| threads::is_runnable(*other)) {
            self.begin_turns(tid, None, now);
        }
    }

    /// Whether there are at least two processes that do not just wait for one they have started.
    pub(super) fn do_many_work(&self) -> bool {
        let processes = self.threads.processes().take(LOOKED_AT_MAX);
        let working = processes.filter(|(pid, process)| {
            process.threads > 1 || process.children == 0 || !threads::waits_for_child(*pid)
        });
        working.take(2).count() == 2
    }

    /// Holds a stopped thread for disturbance, or lets it go on.
    pub(super) fn disturb(&mut self, tid: i32, hold: Duration, now: Instant) {
        self.settle(tid);
        if hold.is_zero() {
            self.go_on(tid);
            return;
        }
        if let (Some(thread), Some(disturbance)) =
            (self.threads.get_mut(tid), &mut self.disturbance)
        {
            thread.disturbed = true;
            disturbance.begins(now);
            self.done.pauses += 1;
        }
        self.hold(tid, now + hold);
    }

    /// A thread is no longer held or slow, as far as is known.
    pub(super) fn settle(&mut self, tid: i32) {
        if let Some(thread) = self.threads.get_mut(tid)
            && std::mem::take(&mut thread.disturbed)
        {
            self.calm(Instant::now());
        }
    }

    pub(super) fn calm(&mut self, now: Instant) {
        if let Some(disturbance) = &mut self.disturbance {
            disturbance.ends(now);
        }
    }
}
