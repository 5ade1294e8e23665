//! Whether this host lets programs be traced: each thing is done to a child of our own.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::spawn::{fork, leave, pipe};
use crate::trace::filter::{Filter, Only, Rule};
use crate::trace::{ptrace, registers};

/// Whether a process that this one has started can be traced.
pub(crate) fn tracing() -> Result<(), String> {
    let refused = |error: &dyn std::fmt::Display| {
        format!(
            "tracing programs is not allowed here ({error}); a container needs the capability SYS_PTRACE or a seccomp profile that allows ptrace, and kernel.yama.ptrace_scope must be below 3"
        )
    };
    let child = Waiting::start().map_err(|error| refused(&error))?;
    ptrace::seize(child.pid).map_err(|error| refused(&error))
}

/// Whether the kernel stops a traced program at chosen system calls, and they can be changed.
pub(crate) fn calls() -> Result<(), String> {
    if !registers::KNOWN {
        return Err("system calls can be changed on x86-64 only so far".to_owned());
    }
    let refused = |error: &dyn std::fmt::Display| {
        format!(
            "stopping programs at chosen system calls is not allowed here ({error}); the kernel needs CONFIG_SECCOMP_FILTER and version 5.3, and a container a profile that allows seccomp"
        )
    };
    let child = Waiting::start().map_err(|error| refused(&error))?;
    ptrace::seize(child.pid).map_err(|error| refused(&error))?;
    // Told apart by how it ends: 0 when the filter is in place.
    match child.ends() {
        0 => Ok(()),
        number => Err(refused(&io::Error::from_raw_os_error(number))),
    }
}

/// Whether a descriptor of a traced program can be looked at.
pub(crate) fn sockets() -> Result<(), String> {
    let child = Waiting::start().map_err(|error| error.to_string())?;
    copied(child.pid, 0).map(drop).map_err(|error| {
        format!("looking at sockets of programs is not allowed here ({error}); it needs Linux 5.6 and, in a container, a profile that allows pidfd_getfd")
    })
}

/// A copy of an open file of another process.
///
/// # Errors
/// When the kernel is older than 5.6, or there is no such file.
#[expect(
    unsafe_code,
    reason = "pidfd_open(2) and pidfd_getfd(2) have no wrappers"
)]
pub(crate) fn copied(pid: i32, fd: i32) -> io::Result<OwnedFd> {
    let owned = |number: libc::c_long| {
        let number = i32::try_from(number).map_err(io::Error::other)?;
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made it.
        Ok(unsafe { OwnedFd::from_raw_fd(number) })
    };
    // SAFETY: takes numbers.
    let process = owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: takes numbers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd, 0) })
}

/// A child that waits, then installs a filter, and ends with what came of that.
struct Waiting {
    pid: i32,
    go: Option<OwnedFd>,
}

impl Waiting {
    fn start() -> io::Result<Waiting> {
        let filter = Filter::stopping_at(&[Rule {
            number: libc::SYS_getrandom,
            only: Only::Always,
        }]);
        let (read, write) = pipe().map_err(io::Error::other)?;
        let pid = fork().map_err(io::Error::other)?;
        if pid == 0 {
            drop(write);
            let _ = File::from(read).read(&mut [0]);
            leave(filter.install().err().unwrap_or(0));
        }
        Ok(Waiting {
            pid,
            go: Some(write),
        })
    }

    /// Lets it go on to its end; gives its exit code.
    fn ends(mut self) -> i32 {
        self.go = None;
        let status = wait(self.pid);
        self.pid = 0;
        if libc::WIFEXITED(status) {
            return libc::WEXITSTATUS(status);
        }
        libc::EPERM
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.pid != 0 {
            let pid = nix::unistd::Pid::from_raw(self.pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            wait(self.pid);
        }
    }
}

#[expect(unsafe_code, reason = "waitpid(2) of one child, whatever its signals")]
fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: writes a number of ours.
    while unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) } >= 0
        && !libc::WIFEXITED(status)
        && !libc::WIFSIGNALED(status)
    {
        let _ = ptrace::resume(pid, ptrace::Go::On, 0);
    }
    status
}
