//! Looking at where all threads stand when a program comes to its end: by a signal that nothing
//! handles, or because it took too long.
//!
//! ```text
//!   a deadly signal stops a thread --> its process's other threads are stopped --> image --> all go on, it dies
//!   told to end -----------------> all processes the same; those of Python write their own stacks --> the end
//! ```

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::ptrace::{self, signal_info};
use super::{Tracer, threads};
use crate::evidence::{self, Map, Snapshot, Stood, ThreadState, Why};
use crate::remains;

/// Signals that end a program for what it did.
const DEADLY: [i32; 7] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGABRT,
    libc::SIGTRAP,
    libc::SIGSYS,
];
/// Processes that are looked at in one run.
const PROCESSES_MAX: usize = 6;
/// Threads of one process.
const THREADS_MAX: usize = 512;
/// A thread stops within this, or it hangs in the kernel.
const STOP_MAX: Duration = Duration::from_millis(500);
const STOP_LOOK: Duration = Duration::from_micros(100);
/// Longest name of a thread.
const NAME_BYTES_MAX: usize = 64;

/// What was seen.
#[derive(Debug)]
pub(crate) struct Witness {
    path: PathBuf,
    /// Whoever is told to end is not looked at.
    crashes_only: bool,
    snapshots: Vec<Snapshot>,
    /// All was looked at, for it took too long.
    told: bool,
    /// Processes that were asked to write their own stacks.
    asked: HashSet<i32>,
}

impl Witness {
    pub(crate) fn new(path: &Path, crashes_only: bool) -> Witness {
        Witness {
            path: path.to_owned(),
            crashes_only,
            snapshots: Vec::new(),
            told: false,
            asked: HashSet::new(),
        }
    }

    /// The most telling first: what took too long; then the crash of the program itself, then the latest.
    pub(crate) fn snapshots(&self, first: &[i32]) -> Vec<Snapshot> {
        let mut all = self.snapshots.clone();
        all.reverse();
        all.sort_by_key(|one| (one.why != Why::Told, !first.contains(&one.pid)));
        all
    }
}

impl Tracer {
    /// A signal is about to be delivered to a stopped thread; gives the one to be delivered.
    pub(super) fn witness(&mut self, tid: i32, signal: i32) -> i32 {
        let pid = self.threads.get(tid).map(|thread| thread.process);
        let (Some(pid), Some(witness)) = (pid, &self.witness) else {
            return signal;
        };
        if DEADLY.contains(&signal) && !witness.told && !handles(pid, signal) {
            let info = signal_info(tid).unwrap_or_default();
            self.look_at(pid, Some(&(tid, signal, info)));
        } else if signal == libc::SIGTERM && is_from_above(tid) {
            self.look_at_all();
            if self.asks(pid) {
                return libc::SIGABRT;
            }
            if self.was_asked(pid) {
                // It is about to write, and dies of that.
                return 0;
            }
        }
        signal
    }

    /// It took too long: looks at all processes, once, and has those of Python write their stacks.
    pub(crate) fn look_at_all(&mut self) {
        match &mut self.witness {
            Some(witness) if !witness.told && !witness.crashes_only => witness.told = true,
            _ => return,
        }
        let mut pids: Vec<i32> = self.threads.processes().map(|(pid, _)| pid).collect();
        pids.sort_unstable();
        let many = pids.len() > 1;
        for pid in pids {
            let one = (self.threads.process_mut(pid)).is_some_and(|process| process.threads == 1);
            // A shell that waits for the program tells nothing.
            if !(many && one && threads::waits_for_child(pid)) {
                self.look_at(pid, None);
            }
        }
    }

    /// Has processes of Python write their own stacks; false when there is none that still lives.
    pub(crate) fn let_tell(&mut self) -> bool {
        let pids: Vec<i32> = self.threads.processes().map(|(pid, _)| pid).collect();
        for pid in &pids {
            if self.asks(*pid) {
                let pid = nix::unistd::Pid::from_raw(*pid);
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGABRT);
            }
        }
        pids.iter().any(|pid| self.was_asked(*pid))
    }

    fn was_asked(&self, pid: i32) -> bool {
        let witness = self.witness.as_ref();
        witness.is_some_and(|witness| witness.asked.contains(&pid))
    }

    /// What was seen, the processes in `first` before others.
    pub(crate) fn snapshots(&self, first: &[i32]) -> Vec<Snapshot> {
        let witness = self.witness.as_ref();
        witness.map_or_else(Vec::new, |witness| witness.snapshots(first))
    }

    /// Whether a process is to write its own stacks, which it does (`faulthandler`) on this signal before
    /// it dies of it; true once.
    fn asks(&mut self, pid: i32) -> bool {
        let Some(witness) = &mut self.witness else {
            return false;
        };
        if witness.crashes_only
            || !is_python(pid)
            || !handles(pid, libc::SIGABRT)
            || !witness.asked.insert(pid)
        {
            return false;
        }
        without_core(pid);
        true
    }

    fn look_at(&mut self, pid: i32, signal: Option<&(i32, i32, Vec<u8>)>) {
        let count = self.witness.as_ref().map_or(0, |one| one.snapshots.len());
        let Some(path) = self.witness.as_ref().map(|one| one.path.clone()) else {
            return;
        };
        let is_known = |one: &Snapshot| one.pid == pid && one.why != Why::Told;
        let known = self
            .witness
            .as_ref()
            .is_some_and(|one| one.snapshots.iter().any(is_known));
        if count >= PROCESSES_MAX || known {
            return;
        }
        let (stopped, meanwhile) = self.stop_all(pid);
        let mut states: Vec<ThreadState> = (stopped.into_iter())
            .filter_map(|tid| {
                let about = signal.filter(|(it, ..)| *it == tid);
                Some(ThreadState {
                    tid,
                    registers: ptrace::registers(tid).ok()?,
                    signal: about.map(|(_, signal, info)| (*signal, info.clone())),
                })
            })
            .collect();
        states.sort_by_key(|state| (state.signal.is_none(), state.tid));
        let maps = Map::all(pid);
        let image = evidence::image_path(&path, count);
        let written = evidence::write(&image, pid, &states, &maps);
        if written.is_err() {
            let _ = fs::remove_file(&image);
        }
        let snapshot = Snapshot {
            pid,
            why: match signal {
                Some((_, signal, info)) => Why::Signal(*signal, address(info)),
                None => Why::Told,
            },
            program: fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default(),
            threads: states
                .iter()
                .map(|state| stood(pid, state, &maps))
                .collect(),
            image: written.is_ok().then_some(image),
        };
        if let Some(witness) = &mut self.witness {
            witness.snapshots.push(snapshot);
        }
        for (tid, status) in meanwhile {
            match crate::under::End::of(status) {
                Some(end) => {
                    self.ended(tid);
                    self.ends.push((tid, end));
                }
                None => self.stopped(tid, status),
            }
        }
    }

    /// Stops all threads of a process. Gives those that are stopped, and what was heard meanwhile,
    /// which is to be looked at afterwards.
    fn stop_all(&mut self, pid: i32) -> (Vec<i32>, Vec<(i32, i32)>) {
        let mut stopped = Vec::new();
        let mut awaited = Vec::new();
        let mut meanwhile = Vec::new();
        for tid in self.threads.of(pid).into_iter().take(THREADS_MAX) {
            let is_stopped = (self.threads.get(tid)).is_some_and(|one| one.stopped.is_some());
            if is_stopped {
                stopped.push(tid);
            } else if ptrace::interrupt(tid).is_ok() {
                awaited.push(tid);
            }
        }
        let until = Instant::now() + STOP_MAX;
        while !awaited.is_empty() && Instant::now() < until {
            awaited.retain(|tid| {
                let Some(status) = remains::waited_for(*tid) else {
                    return true;
                };
                if libc::WIFSTOPPED(status) {
                    stopped.push(*tid);
                }
                meanwhile.push((*tid, status));
                false
            });
            std::thread::sleep(STOP_LOOK);
        }
        (stopped, meanwhile)
    }
}

fn stood(pid: i32, state: &ThreadState, maps: &[Map]) -> Stood {
    let at = state.at();
    let tid = state.tid;
    let map = maps.iter().find(|map| map.start <= at && at < map.end);
    let name = fs::read_to_string(format!("/proc/{pid}/task/{tid}/comm")).unwrap_or_default();
    Stood {
        tid,
        name: name.trim_end().chars().take(NAME_BYTES_MAX).collect(),
        at,
        place: map.map_or_else(|| "nowhere".to_owned(), |map| map.place(at)),
    }
}

/// The address that a fault is about (`sigaction(2)`: `si_addr`, set by the kernel for these).
fn address(info: &[u8]) -> Option<u64> {
    let number = |at: usize| Some(i32::from_ne_bytes(info.get(at..at + 4)?.try_into().ok()?));
    let of_fault = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];
    let is_fault = of_fault.contains(&number(0)?) && number(8)? > 0;
    let bytes = info.get(16..24)?.try_into().ok()?;
    is_fault.then(|| u64::from_ne_bytes(bytes))
}

/// Whether a program handles a signal, or a signal of its kind that was sent is ignored.
pub(super) fn handles(pid: i32, signal: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let has = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let mask = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
    };
    has("SigCgt:") || has("SigIgn:")
}

/// Whether the signal that a thread is stopped for was sent by what started us, which ends us.
fn is_from_above(tid: i32) -> bool {
    let info = signal_info(tid).unwrap_or_default();
    let sender = info.get(16..20).and_then(|bytes| bytes.try_into().ok());
    let Some(sender) = sender.map(i32::from_ne_bytes) else {
        return false;
    };
    // 0: it is of a namespace around this one.
    let mut one = nix::unistd::getpid().as_raw();
    while one > 0 && one != sender {
        one = remains::parent(one).unwrap_or(0);
    }
    one == sender
}

fn is_python(pid: i32) -> bool {
    let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("python") || name.starts_with("pypy")
}

/// A process leaves no image of the kernel's: it dies because it was asked to.
#[expect(unsafe_code, reason = "prlimit(2)")]
fn without_core(pid: i32) {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel reads a limit that lives on this stack.
    unsafe {
        libc::prlimit(
            pid,
            libc::RLIMIT_CORE,
            &raw const none,
            std::ptr::null_mut(),
        )
    };
}
