//! The threads that are traced, and the processes they belong to.

use std::collections::HashMap;
use std::fs;

use crate::random::joined;
use crate::trace::disturb::Pace;
use crate::trace::ptrace::Call;

/// What is left to do at the end of a system call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AtEnd {
    /// Put what was read of a directory in another order.
    Directory(Call),
    /// Set an argument to what it was.
    Argument(usize, u64),
}

/// One traced thread.
#[derive(Clone, Debug)]
pub(crate) struct Thread {
    /// Its process.
    pub(crate) process: i32,
    /// It is stopped, and a signal to go on with (0: none).
    pub(crate) stopped: Option<i32>,
    /// Which of its holds is under way.
    pub(crate) held: Option<u64>,
    /// It is held for disturbance.
    pub(crate) disturbed: bool,
    /// It was asked to stop.
    pub(crate) asked: Option<Asked>,
    /// It has begun a call, while all calls are looked at.
    pub(crate) in_call: bool,
    /// How it runs.
    pub(crate) pace: Pace,
    /// What is left to do at the end of its system call.
    pub(crate) at_end: Option<AtEnd>,
    /// It was not yet told to be heard of by the thread that started it, or has not yet stopped.
    pub(crate) is_new: bool,
    /// When it is to be interrupted once it runs.
    pub(crate) interrupts: Vec<std::time::Duration>,
}

/// Why a thread was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To be disturbed.
    Disturbance,
    /// For another's turn.
    Turn,
    /// Until then, for there is no CPU left for it.
    Quota(std::time::Instant),
}

/// One traced process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Process {
    /// What its random numbers follow from: the seed, and whose child it is, and the how many-th.
    pub(crate) key: u64,
    /// Processes that it has started.
    pub(crate) children: u64,
    /// Times it has asked for random bytes.
    pub(crate) asked: u64,
    /// Its threads.
    pub(crate) threads: u32,
    /// It is an interpreter that runs one of them at a time.
    pub(crate) takes_turns: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    threads: HashMap<i32, Thread>,
    processes: HashMap<i32, Process>,
    /// How many there ever were.
    pub(crate) born: u64,
}

impl Threads {
    pub(crate) fn get(&self, tid: i32) -> Option<&Thread> {
        self.threads.get(&tid)
    }

    pub(crate) fn get_mut(&mut self, tid: i32) -> Option<&mut Thread> {
        self.threads.get_mut(&tid)
    }

    pub(crate) fn process_mut(&mut self, pid: i32) -> Option<&mut Process> {
        self.processes.get_mut(&pid)
    }

    pub(crate) fn processes(&self) -> impl Iterator<Item = (i32, &Process)> {
        self.processes.iter().map(|(pid, process)| (*pid, process))
    }

    /// Those of a process, in order.
    pub(crate) fn of(&self, process: i32) -> Vec<i32> {
        let of = self
            .threads
            .iter()
            .filter(|(_, thread)| thread.process == process);
        let mut of: Vec<i32> = of.map(|(tid, _)| *tid).collect();
        of.sort_unstable();
        of
    }

    /// Those that run, as far as is known, in order.
    pub(crate) fn running(&self) -> Vec<i32> {
        let running = self
            .threads
            .iter()
            .filter(|(_, thread)| thread.stopped.is_none());
        let mut running: Vec<i32> = running.map(|(tid, _)| *tid).collect();
        running.sort_unstable();
        running
    }

    /// A first process, with what its random numbers follow from.
    pub(crate) fn insert_first(&mut self, pid: i32, key: u64) {
        self.insert(pid, pid, key);
    }

    /// One that was started by another; nothing happens when it is known. False when it is gone.
    pub(crate) fn insert_new(&mut self, tid: i32) -> bool {
        if self.threads.contains_key(&tid) {
            return true;
        }
        let Some((process, parent)) = family(tid) else {
            return false;
        };
        let mut key = 0;
        if process == tid
            && let Some(parent) = self.processes.get_mut(&parent)
        {
            parent.children += 1;
            key = joined(parent.key, parent.children);
        }
        self.insert(tid, process, key);
        true
    }

    fn insert(&mut self, tid: i32, process: i32, key: u64) {
        self.born += 1;
        let entry = self.processes.entry(process).or_insert_with(|| Process {
            key,
            takes_turns: takes_turns(process),
            ..Process::default()
        });
        entry.threads += 1;
        let thread = Thread {
            process,
            stopped: None,
            held: None,
            disturbed: false,
            asked: None,
            in_call: false,
            pace: Pace::Free,
            at_end: None,
            is_new: true,
            interrupts: Vec::new(),
        };
        self.threads.insert(tid, thread);
    }

    /// One that has ended; gives what was known of it.
    pub(crate) fn remove(&mut self, tid: i32) -> Option<Thread> {
        let thread = self.threads.remove(&tid)?;
        let process = self.processes.get_mut(&thread.process)?;
        process.threads = process.threads.saturating_sub(1);
        if process.threads == 0 {
            self.processes.remove(&thread.process);
        }
        Some(thread)
    }

    /// A process has become another program, by the thread `former`: that one has the process's id
    /// now, and no other is left. Gives those that are gone.
    pub(crate) fn became_one(&mut self, pid: i32, former: i32) -> Vec<Thread> {
        let mut gone = Vec::new();
        let others: Vec<i32> = (self.threads.iter())
            .filter(|(tid, thread)| thread.process == pid && **tid != pid)
            .map(|(tid, _)| *tid)
            .collect();
        for tid in others {
            let Some(mut thread) = self.remove(tid) else {
                continue;
            };
            if tid == former
                && let Some(leader) = self.threads.get_mut(&pid)
            {
                // The one that goes on is this one; what was known of the leader is over.
                std::mem::swap(leader, &mut thread);
            }
            gone.push(thread);
        }
        gone
    }
}

/// The process of a thread, and that process's parent (proc_pid_status(5)).
fn family(tid: i32) -> Option<(i32, i32)> {
    let text = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    Some((field("Tgid:")?, field("PPid:")?))
}

/// Whether a process is `CPython`, as its program's name has it.
pub(crate) fn takes_turns(pid: i32) -> bool {
    let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("python")
}

/// Whether a thread runs or could (proc_pid_stat(5): the field after the name in brackets).
pub(crate) fn is_runnable(tid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{tid}/stat")).unwrap_or_default();
    (stat.rsplit_once(") ")).is_some_and(|(_, rest)| rest.starts_with('R'))
}

/// Whether a process does nothing but wait for one that it has started (proc_pid_syscall(5)).
pub(crate) fn waits_for_child(pid: i32) -> bool {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let number = call
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok());
    number.is_some_and(|number: i64| number == libc::SYS_wait4 || number == libc::SYS_waitid)
}
