//! The init of an instance: a small process inside the instance that starts test processes, takes
//! their output, and sees to it that nothing of them outlives their end.
//!
//! ```text
//!  hub ==socket==> init (subreaper, one thread, about 2 MB) --clone--> test process --> ...
//!      <==========      ^ SIGCHLD, output pipes                             |
//!                       +------------------ orphans ------------------------+
//! ```
//!
//! It lives in the cgroups and namespaces of its instance, so whatever it starts is born there.
//! [`spawn`] is the hub's side, [`main`] the process, [`protocol`] what they say to each other.
//!
//! Promise: when a thread is reported as ended, nothing that it started runs any more; when the hub
//! is gone, however it went, so is everything here. If the init itself is killed, its direct
//! children die with it (all of them, within a pid namespace), and the cgroup tells the rest.

use std::ffi::c_uint;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;

mod child;
mod hub;
mod limits;
mod link;
mod output;
mod place;
pub mod protocol;
mod sandbox;
mod supervisor;
mod thread;

pub use hub::{Error, spawn};
pub use protocol::{
    Decoder, Ended, FRAME_BYTES_MAX, FromInit, Limits, Serve, Setup, Start, ToInit, encode,
};

use link::Link;
use supervisor::Supervisor;

/// Below are standard input, output and error.
const FIRST_OWN_FD: RawFd = 3;

/// Exit code: it was told to end, or the hub is gone; nothing is left.
const EXIT_DONE: i32 = 0;
/// Exit code: the instance could not be set up; the hub was told why.
const EXIT_SETUP: i32 = 1;
/// Exit code: standard input is no socket to a hub.
const EXIT_USAGE: i32 = 2;

/// The life of an init. Its standard input is the socket from [`spawn`]. Gives the exit code.
#[must_use]
pub fn main() -> i32 {
    let Ok(mut link) = take_over().and_then(Link::new) else {
        return EXIT_USAGE;
    };
    let Some(setup) = await_setup(&mut link) else {
        return EXIT_DONE;
    };
    let entered = sandbox::enter(&setup).map_err(|error| error.to_string());
    let ready = entered.and_then(|mut missing| {
        missing.extend(limits::set(&setup.limits));
        Supervisor::new(&setup, missing).map_err(|error| error.to_string())
    });
    match ready {
        Ok(supervisor) => {
            supervisor.run(link);
            EXIT_DONE
        }
        Err(message) => {
            link.send(&FromInit::SetupFailed { message });
            EXIT_SETUP
        }
    }
}

/// Takes the socket off standard input, and leaves this process with nothing else that it inherited:
/// no open files, no controlling terminal, no signal settings, no directory that it keeps busy.
fn take_over() -> io::Result<UnixStream> {
    let standard_input = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    standard_input.local_addr()?; // Fails on all but a Unix socket.
    drop(standard_input);
    close_from(FIRST_OWN_FD);
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let null = OwnedFd::from(File::options().read(true).write(true).open("/dev/null")?);
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    reset_signals()?;
    // Fails only for one that leads a group already, as when it was started by a shell.
    let _ = nix::unistd::setsid();
    std::env::set_current_dir("/")?;
    Ok(stream)
}

/// Waits for the first message that counts. None: there is nothing to do.
fn await_setup(link: &mut Link) -> Option<Setup> {
    loop {
        match link.next() {
            Some(ToInit::Setup(setup)) => return Some(setup),
            Some(ToInit::Start(start) | ToInit::Serve(Serve { start, .. })) => {
                link.send(&FromInit::StartFailed {
                    thread: start.thread,
                    message: format!("start {:?}: the instance is not set up yet", start.program),
                });
            }
            Some(ToInit::Shutdown) => return None,
            Some(ToInit::Kill { .. } | ToInit::Moved { .. } | ToInit::Stop { .. }) => {}
            None if link.is_lost() => return None,
            None => {
                let mut fds = [PollFd::new(link.fd(), PollFlags::POLLIN)];
                let _ = poll(&mut fds, PollTimeout::NONE); // Interrupted: the same again.
                link.receive();
            }
        }
    }
}

/// Children inherit what is ignored, so nothing is; and all is blocked, so that no signal but those
/// that are asked for by `signalfd` does anything to the init.
///
/// By the bare system call: the C library refuses to touch the two signals that it keeps for itself,
/// which an ancestor may have ignored all the same.
#[expect(unsafe_code, reason = "rt_sigaction(2) for every signal")]
fn reset_signals() -> io::Result<()> {
    /// The kernel's `struct sigaction` is no larger; all zero is `SIG_DFL`.
    const DEFAULT: [u64; 8] = [0; 8];
    const SET_BYTES: usize = 8;
    SigSet::all().thread_block()?;
    for signal in 1..=libc::SIGRTMAX() {
        // Rust's own handlers for these two report a stack overflow; execve resets them.
        if signal != libc::SIGSEGV && signal != libc::SIGBUS {
            let old = std::ptr::null_mut::<u64>();
            // SAFETY: reads `DEFAULT` and installs no handler. Refused for SIGKILL and SIGSTOP.
            unsafe {
                libc::syscall(
                    libc::SYS_rt_sigaction,
                    signal,
                    DEFAULT.as_ptr(),
                    old,
                    SET_BYTES,
                )
            };
        }
    }
    Ok(())
}

/// Closes every descriptor from `first` on.
#[expect(unsafe_code, reason = "close_range(2) and closing what was inherited")]
fn close_from(first: RawFd) {
    // SAFETY: called when nothing in this process owns such a descriptor, or uses it ever after.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, c_uint::MAX, 0) == 0 {
            return;
        }
        // Before Linux 5.9.
        let open = std::fs::read_dir("/proc/self/fd")
            .into_iter()
            .flatten()
            .flatten();
        let open: Vec<RawFd> = open
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        for fd in open.into_iter().filter(|fd| *fd >= first) {
            libc::close(fd);
        }
    }
}
