//! Processes as `/proc` shows them: when one started, what it used, whom it started; and the name
//! by which everything that a Cohort process leaves behind can be told to be its own.
//!
//! Source of all formats: `proc(5)`.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::str::FromStr;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::kernel_file::pids;

/// Raises the limit of open files of this process as far as it is allowed: many instances have many
/// files open. Gives the limit that held before, which is what tests should find.
///
/// # Errors
/// When the system does not tell or take limits.
pub fn raise_open_files() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(soft)
}

/// Has the calling thread run before whatever does not ask for the same, when that is allowed, so
/// that it answers in time however busy the tests keep the host. What it starts does not inherit it.
/// The kernel leaves a twentieth of the time to others in any case (sched(7)).
#[expect(unsafe_code, reason = "sched_setscheduler(2) has no safe wrapper")]
pub fn run_first() {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: reads a struct of ours. Refused without privileges: then it runs as others do.
    unsafe {
        libc::sched_setscheduler(
            0,
            libc::SCHED_RR | libc::SCHED_RESET_ON_FORK,
            &raw const parameters,
        );
    }
}

/// How many files this process may have open.
///
/// # Errors
/// When the system does not tell.
pub fn open_files_max() -> io::Result<u64> {
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

/// Kernel tasks on this host now (proc_loadavg(5)); none when that cannot be read.
#[must_use]
pub fn tasks_on_host(root: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(root.join("proc/loadavg")).ok()?;
    text.split(' ').nth(3)?.split_once('/')?.1.parse().ok()
}

/// What names of groups and scratch directories begin with.
const OWNER_PREFIX: &str = "cohort-";

/// A Cohort process, told apart from every other process of this boot: `cohort-<pid>-<start>-<ns>`.
///
/// A process id alone is used again; with the start time it is not. The process ids are those of
/// the pid namespace `<ns>` (its inode), so that a Cohort in a container that shares the temporary
/// directory or the control groups is never taken for dead. Something may follow the name after
/// one more `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Its process id.
    pub pid: i32,
    /// When it started, clock ticks after boot.
    pub start_ticks: u64,
    /// Inode of its pid namespace.
    pub namespace: u64,
}

impl Owner {
    /// This process. `root` is `/`, but for tests.
    ///
    /// # Errors
    /// When `/proc` is not mounted or cannot be read.
    pub fn current(root: &Path) -> io::Result<Self> {
        let text = std::fs::read(root.join("proc/self/stat"))?;
        let (pid, stat) = Stat::parse(&text).ok_or_else(|| malformed("/proc/self/stat"))?;
        Ok(Self {
            pid,
            start_ticks: stat.start_ticks,
            namespace: namespace(root)?,
        })
    }

    /// Whether it is certain that this process has ended. `false` when it cannot be known.
    #[must_use]
    pub fn is_dead(&self, root: &Path) -> bool {
        if namespace(root).ok() != Some(self.namespace) {
            return false;
        }
        match std::fs::read(root.join(format!("proc/{}/stat", self.pid))) {
            Ok(text) => Stat::parse(&text)
                .is_some_and(|(_, stat)| stat.start_ticks != self.start_ticks || stat.is_dead()),
            Err(error) => {
                error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
            }
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Owner {
            pid,
            start_ticks,
            namespace,
        } = self;
        write!(out, "{OWNER_PREFIX}{pid}-{start_ticks}-{namespace}")
    }
}

impl FromStr for Owner {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        fn next<'n, T: FromStr>(parts: &mut impl Iterator<Item = &'n str>) -> Result<T, ()> {
            let part = parts.next().ok_or(())?;
            let plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            if plain {
                part.parse().map_err(|_| ())
            } else {
                Err(())
            }
        }
        let mut parts = name.strip_prefix(OWNER_PREFIX).ok_or(())?.splitn(4, '-');
        let owner = Self {
            pid: next(&mut parts)?,
            start_ticks: next(&mut parts)?,
            namespace: next(&mut parts)?,
        };
        if owner.pid > 0 { Ok(owner) } else { Err(()) }
    }
}

fn namespace(root: &Path) -> io::Result<u64> {
    Ok(std::fs::metadata(root.join("proc/self/ns/pid"))?.ino())
}

fn malformed(path: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{path} is not as proc(5) describes it"),
    )
}

/// What is wanted of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// State letter: `R`, `S`, `D`, `Z` ...
    pub state: u8,
    /// Parent process id.
    pub parent: i32,
    /// CPU used by itself and by the children it waited for, clock ticks.
    pub cpu_ticks: u64,
    /// Kernel tasks in it.
    pub tasks: u32,
    /// Start, clock ticks after boot.
    pub start_ticks: u64,
}

impl Stat {
    /// Parses the file; the process id comes with it. The command's name may hold anything,
    /// parentheses and newlines included, so fields are counted from its last `)`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<(i32, Self)> {
        let end = text.iter().rposition(|byte| *byte == b')')?;
        let pid = pids(text.get(..end)?.split(|byte| *byte == b'(').next()?).next()?;
        let mut fields = text[end + 1..].trim_ascii().split(|byte| *byte == b' ');
        let state = *fields.next()?.first()?;
        let parent = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        // Field 3 is the state; utime to cstime are 14 to 17, num_threads 20, starttime 22.
        let rest: Vec<u64> = fields
            .take(18)
            .map(|field| crate::kernel_file::number(field).unwrap_or(0))
            .collect();
        let stat = Self {
            state,
            parent,
            cpu_ticks: rest
                .get(9..13)?
                .iter()
                .fold(0, |sum, ticks| sum.saturating_add(*ticks)),
            tasks: u32::try_from(*rest.get(15)?).unwrap_or(u32::MAX),
            start_ticks: *rest.get(17)?,
        };
        Some((pid, stat))
    }

    /// Ended, and only not waited for yet.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

/// The process's `stat`, or `None` when it is gone.
#[must_use]
pub fn stat(root: &Path, pid: i32) -> Option<Stat> {
    let text = std::fs::read(root.join(format!("proc/{pid}/stat"))).ok()?;
    Some(Stat::parse(&text)?.1)
}

/// All processes that `pid` started, and that these started, parents first; not `pid` itself. One
/// whose parent ended belongs to its subreaper. Used where there are no control groups.
///
/// What forks while this looks may be missed: repeat until nothing new turns up.
#[must_use]
pub fn descendants(root: &Path, pid: i32) -> Vec<i32> {
    let mut found = Vec::new();
    collect_descendants(root, pid, &mut found);
    found
}

/// [`descendants`] into a list that is kept.
pub(crate) fn collect_descendants(root: &Path, pid: i32, found: &mut Vec<i32>) {
    found.clear();
    let mut next = Some(pid);
    let mut done = 0;
    while let Some(parent) = next {
        if let Ok(tasks) = std::fs::read_dir(root.join(format!("proc/{parent}/task"))) {
            for task in tasks.flatten() {
                if let Ok(text) = std::fs::read(task.path().join("children")) {
                    found.extend(pids(&text));
                }
            }
        }
        next = found.get(done).copied();
        done += 1;
    }
}

/// Open files of a process: the size that `stat` gives for its `fd` folder (Linux 6.2 and later;
/// 0 before), else counted.
#[must_use]
pub fn open_files(root: &Path, pid: i32, counted_by_stat: bool) -> u32 {
    let path = root.join(format!("proc/{pid}/fd"));
    if counted_by_stat {
        return std::fs::metadata(path)
            .map_or(0, |folder| u32::try_from(folder.len()).unwrap_or(u32::MAX));
    }
    std::fs::read_dir(path).map_or(0, |entries| {
        u32::try_from(entries.count()).unwrap_or(u32::MAX)
    })
}

/// Whether this kernel tells the number of open files by `stat`.
#[must_use]
pub fn counts_open_files_by_stat(root: &Path) -> bool {
    // Standard input, output or this very folder is open, so an honest answer is never 0.
    std::fs::metadata(root.join("proc/self/fd")).is_ok_and(|folder| folder.len() > 0)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_process_is_alive_and_another_start_time_is_not() {
        let root = Path::new("/");
        let owner = Owner::current(root).unwrap();
        assert!(!owner.is_dead(root));
        assert_eq!(owner.to_string().parse(), Ok(owner));
        assert_eq!(format!("{owner}-main").parse(), Ok(owner));
        let earlier = Owner {
            start_ticks: owner.start_ticks - 1,
            ..owner
        };
        assert!(earlier.is_dead(root));
        let elsewhere = Owner {
            namespace: 1,
            ..earlier
        };
        assert!(
            !elsewhere.is_dead(root),
            "nothing is known of another pid namespace"
        );
    }

    #[test]
    fn an_ended_child_is_dead_waited_for_or_not() {
        let root = Path::new("/");
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let owner = Owner {
            pid,
            start_ticks: stat(root, pid).unwrap().start_ticks,
            ..Owner::current(root).unwrap()
        };
        assert!(!owner.is_dead(root));
        assert!(descendants(root, Owner::current(root).unwrap().pid).contains(&pid));
        child.kill().unwrap();
        while !stat(root, pid).unwrap().is_dead() {
            std::thread::yield_now();
        }
        assert!(owner.is_dead(root));
        child.wait().unwrap();
        assert!(owner.is_dead(root));
    }

    #[test]
    fn two_more_open_files_are_two_more() {
        let root = Path::new("/");
        let script = "echo ready; read line; exec 8</dev/null 9</dev/null; echo opened; read line";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let mut tell = child.stdin.take().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let by_stat = counts_open_files_by_stat(root);
        assert_eq!(said.next().unwrap().unwrap(), "ready");
        let before = (open_files(root, pid, false), open_files(root, pid, by_stat));
        assert!(before.0 >= 3 && before.0 == before.1, "{before:?}");
        writeln!(tell).unwrap();
        assert_eq!(said.next().unwrap().unwrap(), "opened");
        let after = (open_files(root, pid, false), open_files(root, pid, by_stat));
        assert_eq!(after, (before.0 + 2, before.1 + 2));
        drop(tell);
        child.wait().unwrap();
    }

    #[test]
    fn names_that_are_not_ours() {
        for name in [
            "cohort-",
            "cohort-1-2",
            "cohort-1-x-3",
            "cohort-0-1-2",
            "cohort--1-2-3",
            "cohort-+1-2-3",
            "x-1-2-3",
        ] {
            assert!(name.parse::<Owner>().is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_stat_file_comes_back(
            pid in 1..i32::MAX, comm in prop::collection::vec(any::<u8>(), 0..16), ticks in 0..u64::MAX / 8, start: u64, tasks: u32,
        ) {
            let mut text = format!("{pid} (").into_bytes();
            text.extend(comm);
            text.extend(format!(") S 7 1 1 0 -1 4194560 9 9 9 9 {ticks} {ticks} 1 2 20 0 {tasks} 0 {start} 99 1\n").bytes());
            let (parsed_pid, stat) = Stat::parse(&text).unwrap();
            prop_assert_eq!(parsed_pid, pid);
            prop_assert_eq!(stat, Stat { state: b'S', parent: 7, cpu_ticks: 2 * ticks + 3, tasks, start_ticks: start });
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, name: String) {
            let _ = Stat::parse(&bytes);
            let _ = name.parse::<Owner>();
        }
    }
}
