//! What is left of what was started: found by who its parent is, and killed.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill as send};
use nix::unistd::{Pid, getpid};

/// What resists longer than this (a program of another user) is left.
const PATIENCE: Duration = Duration::from_secs(5);

/// One child or thread that ended or stopped, if there is one now.
#[expect(unsafe_code, reason = "nix's waitpid loses real-time signals")]
pub(crate) fn waited() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: writes a number of ours.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL) };
    (pid > 0).then_some((pid, status))
}

/// How this one ended or stopped, if it did.
#[expect(unsafe_code, reason = "nix's waitpid loses real-time signals")]
pub(crate) fn waited_for(tid: i32) -> Option<i32> {
    let mut status = 0;
    // SAFETY: writes a number of ours.
    let pid = unsafe { libc::waitpid(tid, &raw mut status, libc::WNOHANG | libc::__WALL) };
    (pid == tid).then_some(status)
}

/// Whether this process has any child left, ended ones included.
#[expect(unsafe_code, reason = "waitid(2) with WNOWAIT")]
pub(crate) fn any() -> bool {
    // SAFETY: nothing is written.
    unsafe {
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_ALL, 0, &raw mut info, flags) == 0
    }
}

/// Kills all that descends from this process, and waits until it is gone. Gives how much was left
/// when patience ended.
pub(crate) fn kill() -> usize {
    let since = Instant::now();
    let me = getpid().as_raw();
    loop {
        while waited().is_some() {}
        if !any() {
            return 0;
        }
        let left = descendants(me);
        for pid in &left {
            let _ = send(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        if since.elapsed() > PATIENCE {
            return left.len();
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// All processes that this one started, and those that they did.
pub(crate) fn descendants(of: i32) -> Vec<i32> {
    let mut found = children(of).unwrap_or_else(|| children_by_search(of));
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        found.extend(children(pid).unwrap_or_else(|| children_by_search(pid)));
        next += 1;
    }
    found
}

/// By the kernel's own list; none when it was built without it.
fn children(of: i32) -> Option<Vec<i32>> {
    let mut found = Vec::new();
    for thread in fs::read_dir(format!("/proc/{of}/task")).ok()?.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(text) => found.extend(text.split(' ').filter_map(|pid| pid.parse::<i32>().ok())),
            // The thread has ended meanwhile, or there is no such list at all.
            Err(_) if thread.path().exists() => return None,
            Err(_) => {}
        }
    }
    Some(found)
}

fn children_by_search(of: i32) -> Vec<i32> {
    let Ok(directory) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = (directory.flatten()).filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent(*pid) == Some(of)).collect()
}

/// The parent of a process (proc_pid_stat(5): the second field after the name in brackets).
pub(crate) fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_found_both_ways() {
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .expect("sleep");
        let pid = i32::try_from(child.id()).expect("a pid");
        let me = getpid().as_raw();
        assert!(descendants(me).contains(&pid));
        assert!(children_by_search(me).contains(&pid));
        child.kill().expect("killed");
        child.wait().expect("gone");
        assert!(!children_by_search(me).contains(&pid));
    }
}
