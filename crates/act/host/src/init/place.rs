//! Where the processes of a thread live, how they are listed, and how they are killed.
//!
//! A place is a cgroup when there is one: nothing leaves it by itself. Otherwise it is all that
//! descends from the init, which is complete because orphans are handed to the init (subreaper).
//!
//! Promise: nothing is killed that was not found in the place after it was pinned by a pidfd, so a
//! process id that was given to a stranger in between does that stranger no harm.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, fstatfs};
use nix::unistd::Pid;

/// Bytes of a kernel list that are read at once.
const LIST_BYTES: usize = 4096;

/// `PF_EXITING` of the kernel's `include/linux/sched.h`: on its way out.
const FLAG_EXITING: u32 = 0x4;

/// Where to look for processes.
#[derive(Debug)]
pub(super) enum Place {
    /// A cgroup.
    Cgroup(ProcsFile),
    /// The descendants of this process; its own list of children stays open.
    Descent(Option<File>),
}

/// A `cgroup.procs` to read.
#[derive(Debug)]
pub(super) struct ProcsFile {
    path: PathBuf,
    /// Kept open only in cgroup v2: an open list of v1 repeats itself for a second
    /// (`CGROUP_PIDLIST_DESTROY_DELAY`).
    open: Option<File>,
}

impl Place {
    /// The place behind a `cgroup.procs`.
    pub(super) fn cgroup(path: &Path) -> io::Result<Place> {
        let file = File::open(path)?;
        read_list(&file)?;
        let is_v2 = fstatfs(&file)?.filesystem_type() == CGROUP2_SUPER_MAGIC;
        Ok(Place::Cgroup(ProcsFile {
            path: path.to_path_buf(),
            open: is_v2.then_some(file),
        }))
    }

    /// All that descends from this process.
    pub(super) fn descent() -> Place {
        let pid = std::process::id();
        Place::Descent(File::open(format!("/proc/self/task/{pid}/children")).ok())
    }

    /// Whether a process of `self` may turn up in `other`.
    pub(super) fn overlaps(&self, other: &Place) -> bool {
        match (self, other) {
            (Place::Cgroup(one), Place::Cgroup(two)) => one.path == two.path,
            _ => true,
        }
    }

    /// Who is here and alive, without `spare`, and by descent without the descendants of `spare`
    /// either. A list that can not be read any more is that of a cgroup that is gone, so empty.
    pub(super) fn living(&self, spare: &[i32]) -> Vec<Process> {
        let found = match self {
            Place::Cgroup(ProcsFile {
                open: Some(file), ..
            }) => read_list(file),
            Place::Cgroup(ProcsFile { path, open: None }) => {
                File::open(path).and_then(|it| read_list(&it))
            }
            Place::Descent(Some(children)) => {
                read_list(children).map(|it| descend(it, spare, children_of))
            }
            Place::Descent(None) => Ok(descend_by_parents(spare)),
        };
        // Processes of an outer pid namespace are listed as 0.
        let mut pids = found.unwrap_or_default();
        pids.retain(|pid| *pid > 0 && !spare.contains(pid));
        pids.into_iter()
            .filter_map(Process::read)
            .filter(Process::is_alive)
            .collect()
    }

    /// SIGKILLs `victims`, those that are still here.
    pub(super) fn kill(&self, victims: &[Process], spare: &[i32]) {
        let pinned: Vec<_> = victims
            .iter()
            .map(|victim| (victim.pid, pidfd_open(victim.pid)))
            .collect();
        let here = if victims.is_empty() {
            Vec::new()
        } else {
            self.living(spare)
        };
        for (pid, pidfd) in pinned {
            if !here.iter().any(|process| process.pid == pid) {
                continue;
            }
            match pidfd {
                Ok(pidfd) => pidfd_kill(&pidfd),
                Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
                    // Before Linux 5.3 the number is all there is. It was here a moment ago.
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
                Err(_) => {} // Gone by itself.
            }
        }
    }
}

/// What `/proc/<pid>/stat` says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) group: i32,
    parent: i32,
    state: u8,
    flags: u32,
    tasks: u32,
}

impl Process {
    fn read(pid: i32) -> Option<Process> {
        Process::parse(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Fields as numbered in proc_pid_stat(5). The name may hold spaces and parentheses, so counting
    /// starts behind its last one.
    fn parse(pid: i32, stat: &[u8]) -> Option<Process> {
        let name_end = stat.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(&stat[name_end + 1..]).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().take(18).collect();
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Process {
            pid,
            state: *field(3)?.as_bytes().first()?,
            parent: field(4)?.parse().ok()?,
            group: field(5)?.parse().ok()?,
            flags: field(9)?.parse().ok()?,
            tasks: field(20)?.parse().ok()?,
        })
    }

    /// Not a zombie. A process whose first task ended before the others looks like one and is none.
    fn is_alive(&self) -> bool {
        !matches!(self.state, b'Z' | b'X') || self.tasks > 1
    }

    /// Alive, but about to end by itself.
    pub(super) fn is_exiting(&self) -> bool {
        self.flags & FLAG_EXITING != 0 && self.tasks <= 1
    }
}

/// All process ids of a list that the kernel writes, from its start.
fn read_list(file: &File) -> io::Result<Vec<i32>> {
    let mut text = Vec::new();
    let mut piece = [0; LIST_BYTES];
    loop {
        match file.read_at(&mut piece, text.len() as u64)? {
            0 => break,
            bytes => text.extend_from_slice(&piece[..bytes]),
        }
    }
    let numbers = String::from_utf8_lossy(&text);
    Ok(numbers
        .split_ascii_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect())
}

fn children_of(pid: i32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let lists = tasks.filter_map(|task| File::open(task.ok()?.path().join("children")).ok());
    lists
        .flat_map(|list| read_list(&list).unwrap_or_default())
        .collect()
}

/// `found` and all below, not entering `spare`.
fn descend(mut found: Vec<i32>, spare: &[i32], children: impl Fn(i32) -> Vec<i32>) -> Vec<i32> {
    found.retain(|pid| !spare.contains(pid));
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        next += 1;
        for child in children(pid) {
            // The tree changes while it is walked: a process may be met twice.
            if !spare.contains(&child) && !found.contains(&child) {
                found.push(child);
            }
        }
    }
    found
}

/// For kernels without lists of children (`CONFIG_PROC_CHILDREN`).
fn descend_by_parents(spare: &[i32]) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let Some(process) = pid.and_then(Process::read) {
            children
                .entry(process.parent)
                .or_default()
                .push(process.pid);
        }
    }
    let of = |pid: i32| children.get(&pid).cloned().unwrap_or_default();
    descend(of(std::process::id().cast_signed()), spare, of)
}

#[expect(unsafe_code, reason = "pidfd_open(2) has no safe wrapper")]
fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes two integers; a result that is not negative is a new descriptor of ours.
    unsafe {
        match libc::syscall(libc::SYS_pidfd_open, pid, 0) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(
                i32::try_from(fd).expect("descriptors are ints"),
            )),
        }
    }
}

#[expect(unsafe_code, reason = "pidfd_send_signal(2) has no safe wrapper")]
fn pidfd_kill(pidfd: &OwnedFd) {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open, and no siginfo is passed. Failing means it is gone already.
    unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            libc::SIGKILL,
            no_info,
            0,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "7 (a) Z (b) S 1 7 7 0 -1 4194560 1 0 0 0 1 2 3 4 20 0 5 0 99 1 1";

    #[test]
    fn a_name_with_parentheses_shifts_no_field() {
        let process = Process::parse(7, STAT.as_bytes()).unwrap();
        let expected = Process {
            pid: 7,
            group: 7,
            parent: 1,
            state: b'S',
            flags: 4_194_560,
            tasks: 5,
        };
        assert_eq!(process, expected);
    }

    #[test]
    fn a_zombie_leader_with_living_tasks_is_alive() {
        let leader = STAT.replace(") S", ") Z");
        assert!(Process::parse(7, leader.as_bytes()).unwrap().is_alive());
        let zombie = leader.replace(" 20 0 5 ", " 20 0 1 ");
        assert!(!Process::parse(7, zombie.as_bytes()).unwrap().is_alive());
    }

    #[test]
    fn a_cut_stat_is_no_process() {
        for bytes in 0..STAT.len() {
            let cut = Process::parse(7, &STAT.as_bytes()[..bytes]);
            assert!(cut.is_none_or(|process| process.group == 7), "{bytes}");
        }
        assert_eq!(Process::parse(7, b""), None);
    }

    #[test]
    fn descending_leaves_out_what_is_spared_and_ends_on_circles() {
        let tree = |pid: i32| match pid {
            2 => vec![4, 5],
            3 => vec![6],
            5 => vec![2, 7],
            _ => Vec::new(),
        };
        assert_eq!(descend(vec![2, 3], &[3], tree), [2, 4, 5, 7]);
        assert_eq!(descend(vec![2, 3], &[5], tree), [2, 3, 4, 6]);
    }

    #[test]
    fn both_ways_of_descent_find_a_child() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = child.id().cast_signed();
        let by_parents = descend_by_parents(&[]);
        let from_init: Vec<i32> = descend(vec![std::process::id().cast_signed()], &[], children_of);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(by_parents.contains(&pid));
        // Absent only where the kernel has no lists of children, and then the other way is taken.
        let has_lists = Path::new("/proc/self/task/1/../../stat").exists()
            && Path::new(&format!("/proc/self/task/{}/children", std::process::id())).exists();
        assert!(!has_lists || from_init.contains(&pid));
    }

    #[test]
    fn a_v1_list_is_read_anew_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let procs = folder.path().join("cgroup.procs");
        let own = std::process::id();
        fs::write(&procs, format!("{own}\n0\n")).unwrap();
        let place = Place::cgroup(&procs).unwrap();
        assert_eq!(place.living(&[]).len(), 1);
        assert_eq!(place.living(&[own.cast_signed()]).len(), 0);
        fs::remove_file(&procs).unwrap();
        assert_eq!(place.living(&[]).len(), 0);
    }
}
