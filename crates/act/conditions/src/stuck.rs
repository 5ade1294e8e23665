//! Whether all that was started waits for each other: no thread of it can go on before the time is over.
//!
//! ```text
//!   every LOOK: all processes below --> all their threads --> what each waits for (`/proc/PID/task/TID/syscall`)
//!       one runs, or waits for a device, a clock, the network, another's pipe --> not stuck
//!       all wait for a lock, a child, a pipe among themselves, or until after the end --> the same for SURE_AFTER: stuck
//! ```
//!
//! Promise: where anything cannot be read, or is none of what is known here, nothing is said, and time
//! tells. A program that has asked for a signal of a timer is not judged.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use crate::remains;

/// Between two looks. A run that is shorter is never looked at.
const LOOK: Duration = Duration::from_millis(40);
/// All looks of so long must have found the same.
const SURE_AFTER: Duration = Duration::from_millis(200);
/// Threads that are looked at, at most: with more it takes too long.
const THREADS_MAX: usize = 512;

/// `futex(2)`: of the operation, what is waited for, and whose clock a limit is of.
const FUTEX_COMMAND: u64 = 127;
const FUTEX_CLOCK_REALTIME: u64 = 256;
const FUTEX_WAIT: u64 = 0;
const FUTEX_LOCK_PI: u64 = 6;
const FUTEX_WAIT_BITSET: u64 = 9;
/// `poll(2)`: most descriptors of one call that are looked up.
const POLLED_MAX: u64 = 64;
/// `SIGALRM`, `SIGVTALRM`, `SIGPROF`, `SIGIO`: a timer or a device may wake it up, as bits of a mask in `/proc`.
const WAKING: u64 = 1 << 13 | 1 << 25 | 1 << 26 | 1 << 28;

/// Looks at all that descends from this process.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Nothing that waits longer than until then counts as able to go on.
    until: Duration,
    next: Instant,
    /// How all threads wait, and since when it was so at each look.
    same: Option<(Vec<Wait>, Instant)>,
}

/// One thread that waits: where, and how often it began to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wait {
    tid: i32,
    call: String,
    switches: u64,
}

/// A call that a thread is in.
struct Call {
    number: i64,
    arguments: [u64; 6],
}

impl Watch {
    /// Of a run that begins now and is ended after `limit`.
    pub(crate) fn new(limit: Duration, now: Instant) -> Watch {
        Watch {
            until: monotonic() + limit,
            next: now + LOOK,
            same: None,
        }
    }

    /// When [`is_stuck`](Watch::is_stuck) is to be asked again.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// Whether it is sure that nothing can go on.
    pub(crate) fn is_stuck(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        let seen = self.look();
        // From the end of this look, so that looking never takes all the time.
        self.next = Instant::now() + LOOK;
        let Some(seen) = seen else {
            self.same = None;
            return false;
        };
        match &self.same {
            Some((same, since)) if *same == seen => now.duration_since(*since) >= SURE_AFTER,
            _ => {
                self.same = Some((seen, now));
                false
            }
        }
    }

    /// How all threads wait; none when one of them may go on by itself, or there is none.
    fn look(&self) -> Option<Vec<Wait>> {
        let me = nix::unistd::getpid().as_raw();
        let pids = remains::descendants(me);
        let foreign = pipes_of(me);
        let mut waits = Vec::new();
        let mut for_another = false;
        for pid in pids {
            let state = Status::of(pid)?;
            if state.is_over {
                continue;
            }
            if state.may_be_woken {
                return None;
            }
            for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
                let tid: i32 = task.ok()?.file_name().to_str()?.parse().ok()?;
                let (wait, is_lock) = self.waits(pid, tid, &foreign)?;
                for_another |= is_lock;
                waits.push(wait);
                if waits.len() > THREADS_MAX {
                    return None;
                }
            }
        }
        for_another.then_some(waits)
    }

    /// How a thread waits, and whether for more than the end of a child; none when it may go on by itself.
    fn waits(&self, pid: i32, tid: i32, foreign: &HashSet<String>) -> Option<(Wait, bool)> {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).ok()?;
        let call = Call::read(&text)?;
        let status = fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).ok()?;
        if !field(&status, "State:")?.starts_with('S') {
            return None;
        }
        let pipe = |fd: u64| {
            let target = fs::read_link(format!("/proc/{pid}/fd/{fd}"));
            let target = target.ok().map(|one| one.to_string_lossy().into_owned());
            target.is_some_and(|one| one.starts_with("pipe:[") && !foreign.contains(&one))
        };
        let [first, second, third, fourth, ..] = call.arguments;
        let is_lock = match call.number {
            libc::SYS_futex => self.is_forever(pid, second, fourth).then_some(true)?,
            libc::SYS_wait4 | libc::SYS_waitid => false,
            libc::SYS_read | libc::SYS_write if pipe(first) => true,
            libc::SYS_ppoll if third == 0 && polled(pid, first, second, pipe) => true,
            #[cfg(target_arch = "x86_64")]
            libc::SYS_poll if (third as i32) < 0 && polled(pid, first, second, pipe) => true,
            _ => return None,
        };
        let switches = field(&status, "voluntary_ctxt_switches:")?;
        let wait = Wait {
            tid,
            call: text,
            switches: switches.parse().ok()?,
        };
        Some((wait, is_lock))
    }

    /// Whether a wait for a lock ends after the run at the earliest, unless somebody wakes it up.
    fn is_forever(&self, pid: i32, operation: u64, limit: u64) -> bool {
        let command = operation & FUTEX_COMMAND;
        if ![FUTEX_WAIT, FUTEX_LOCK_PI, FUTEX_WAIT_BITSET].contains(&command) {
            return false;
        }
        if limit == 0 {
            return true;
        }
        // Of `FUTEX_WAIT` it is how long, of the other a time of day: told by another clock it is not known here.
        let is_known = command == FUTEX_WAIT_BITSET && operation & FUTEX_CLOCK_REALTIME == 0;
        is_known && time_at(pid, limit).is_some_and(|at| at > self.until)
    }
}

impl Call {
    /// `NUMBER ARGUMENT... STACK PLACE` (`proc_pid_syscall(5)`); none when it runs, or waits outside of a call.
    fn read(text: &str) -> Option<Call> {
        let mut words = text.split_whitespace();
        let number = words.next()?.parse().ok().filter(|number| *number >= 0)?;
        let mut arguments = [0; 6];
        for argument in &mut arguments {
            *argument = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
        }
        Some(Call { number, arguments })
    }
}

/// What of a process matters here.
struct Status {
    /// It has ended, and nobody has asked how yet.
    is_over: bool,
    /// By a signal, of a timer for example.
    may_be_woken: bool,
}

impl Status {
    fn of(pid: i32) -> Option<Status> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let caught = u64::from_str_radix(field(&status, "SigCgt:")?, 16).ok()?;
        let timers = fs::read_to_string(format!("/proc/{pid}/timers"));
        Some(Status {
            is_over: field(&status, "State:")?.starts_with(['Z', 'X']),
            may_be_woken: caught & WAKING != 0 || timers.is_ok_and(|timers| !timers.is_empty()),
        })
    }
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = status.lines();
    lines.find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// Pipes that this process holds, and those through which it and what it starts are read: their other end is not
/// below.
fn pipes_of(pid: i32) -> HashSet<String> {
    let files = fs::read_dir(format!("/proc/{pid}/fd"));
    let files = files.into_iter().flatten().flatten();
    let targets = files.filter_map(|file| fs::read_link(file.path()).ok());
    targets.map(|one| one.to_string_lossy().into_owned()).collect()
}

/// Whether all that is polled is such a pipe.
fn polled(pid: i32, at: u64, count: u64, pipe: impl Fn(u64) -> bool) -> bool {
    (1..=POLLED_MAX).contains(&count)
        && (0..count).all(|number| {
            let one = bytes_at::<4>(pid, at + 8 * number).map(i32::from_ne_bytes);
            one.is_some_and(|fd| u64::try_from(fd).is_ok_and(&pipe))
        })
}

/// A `struct timespec` in a process.
fn time_at(pid: i32, at: u64) -> Option<Duration> {
    let seconds = u64::from_ne_bytes(bytes_at(pid, at)?);
    let nanoseconds = u64::from_ne_bytes(bytes_at(pid, at + 8)?);
    let nanoseconds = u32::try_from(nanoseconds).ok().filter(|one| *one < 1_000_000_000)?;
    Some(Duration::new(seconds, nanoseconds))
}

fn bytes_at<const N: usize>(pid: i32, at: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    memory.read_exact_at(&mut bytes, at).ok()?;
    Some(bytes)
}

fn monotonic() -> Duration {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    now.map_or(Duration::MAX / 2, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_as_the_kernel_writes_it() {
        let call = Call::read("202 0x55d0 0x189 0x0 0x0 0x0 0xffffffff 0x7ffd 0x7f28\n");
        let call = call.expect("a call");
        assert_eq!((call.number, call.arguments[1]), (202, 0x189));
        assert!(Call::read("running\n").is_none());
        assert!(Call::read("-1 0x7ffd 0x7f28\n").is_none(), "not in a call");
    }
}
