//! The attempts that need a process of their own, which is forked, tries, and ends.
//!
//! Between fork and end the child only makes system calls and allocates nothing: another thread
//! may have held the allocator's lock at the time of the fork.

use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, getegid, geteuid};

/// Whether namespaces may be made.
pub(super) enum Tried {
    Yes,
    /// As root of a user namespace.
    InUserNamespace,
    No(Errno),
}

pub(super) fn mount_namespace() -> Tried {
    namespace(CloneFlags::CLONE_NEWNS, &|| {
        mount(
            Some("tmpfs"),
            "/tmp",
            Some("tmpfs"),
            MsFlags::empty(),
            None::<&str>,
        )
    })
}

pub(super) fn process_namespace() -> Tried {
    namespace(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID, &|| {
        // The next child is the first process of the namespace.
        in_child(&|| {
            mount(
                Some("proc"),
                "/proc",
                Some("proc"),
                MsFlags::empty(),
                None::<&str>,
            )
        })
    })
}

pub(super) fn network_namespace() -> Tried {
    namespace(CloneFlags::CLONE_NEWNET, &|| Ok(()))
}

fn namespace(flags: CloneFlags, then: &dyn Fn() -> nix::Result<()>) -> Tried {
    let unshare_and_try = |flags: CloneFlags, maps: Option<[(&str, &str); 3]>| {
        in_child(&|| {
            unshare(flags)?;
            for (path, text) in maps.iter().flatten() {
                std::fs::write(path, text)
                    .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
            }
            if flags.contains(CloneFlags::CLONE_NEWNS) {
                mount(
                    None::<&str>,
                    "/",
                    None::<&str>,
                    MsFlags::MS_REC | MsFlags::MS_PRIVATE,
                    None::<&str>,
                )?;
            }
            then()
        })
    };
    if unshare_and_try(flags, None).is_ok() {
        return Tried::Yes;
    }
    let users = format!("0 {} 1", geteuid());
    let groups = format!("0 {} 1", getegid());
    let maps = [
        ("/proc/self/setgroups", "deny"),
        ("/proc/self/uid_map", users.as_str()),
        ("/proc/self/gid_map", groups.as_str()),
    ];
    match unshare_and_try(flags | CloneFlags::CLONE_NEWUSER, Some(maps)) {
        Ok(()) => Tried::InUserNamespace,
        Err(error) => Tried::No(error),
    }
}

pub(super) fn subreaper() -> nix::Result<()> {
    in_child(&|| set_child_subreaper(true))
}

#[expect(unsafe_code, reason = "there is no wrapper for pidfd_open")]
pub(super) fn process_descriptor() -> nix::Result<()> {
    // SAFETY: the call takes two integers and returns a new descriptor or -1.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0) };
    let descriptor = Errno::result(descriptor)?;
    let descriptor = i32::try_from(descriptor).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel just made it for us, and nobody else knows it.
    drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
    Ok(())
}

/// Most open files this process may allow itself.
pub(super) fn open_files_hard_limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(_, hard)| hard)
}

pub(super) fn raise_hard_limit() -> nix::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    in_child(&|| {
        // The kernel's own ceiling (fs.nr_open) may be reached already, so go down and up again.
        let lower = hard.saturating_sub(1);
        setrlimit(Resource::RLIMIT_NOFILE, soft.min(lower), lower)?;
        setrlimit(Resource::RLIMIT_NOFILE, soft.min(lower), hard)
    })
}

/// Runs it in a child that ends right after, and returns what it returned.
#[expect(unsafe_code, reason = "fork, to try what cannot be undone")]
fn in_child(work: &dyn Fn() -> nix::Result<()>) -> nix::Result<()> {
    // SAFETY: the child makes system calls only, and leaves by `_exit`.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let code = work().err().map_or(0, |error| error as i32);
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(code) }
        }
        ForkResult::Parent { child } => loop {
            match waitpid(child, None) {
                Ok(WaitStatus::Exited(_, 0)) => return Ok(()),
                Ok(WaitStatus::Exited(_, code)) => return Err(Errno::from_raw(code)),
                Err(Errno::EINTR) => {}
                Ok(_) => return Err(Errno::ECHILD),
                Err(error) => return Err(error),
            }
        },
    }
}
