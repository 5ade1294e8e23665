//! The guard: the process that the caller knows. It waits for the engine, and ends as the program
//! ended.
//!
//! It is a process of its own so that the program's end is told truly, and nothing is left, even
//! when the engine is killed: whatever the engine looked after is then the guard's to kill.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

use crate::engine::{self, Ambient};
use crate::error::{Error, refused};
use crate::order::Order;
use crate::remains;
use crate::spawn::{die_with, fork, leave, pipe, timer_slack};

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

impl End {
    /// Of what `waitpid(2)` says.
    pub(crate) fn of(status: i32) -> Option<End> {
        if libc::WIFEXITED(status) {
            return Some(End::Exited(libc::WEXITSTATUS(status)));
        }
        libc::WIFSIGNALED(status).then(|| End::Killed(libc::WTERMSIG(status)))
    }

    /// Whether it did what it should.
    pub(crate) fn is_success(self) -> bool {
        self == End::Exited(0)
    }
}

/// Signals that end everything.
const ENDING: [Signal; 4] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
];

/// Runs a program as the order in a file says; gives what to exit with. When a signal killed the
/// program this does not return: the same signal then kills this process.
#[must_use]
pub fn main(order: &Path, program: &[OsString]) -> i32 {
    match guard(order, program) {
        Ok(End::Exited(code)) => code,
        Ok(End::Killed(signal)) => {
            die_by(signal);
            128 + signal
        }
        Err(error) => {
            say(&error);
            error.exit_code()
        }
    }
}

/// Says on stderr why nothing was run.
pub(crate) fn say(error: &Error) {
    let source = std::error::Error::source(error);
    let because = source.map_or_else(String::new, |source| format!(": {source}"));
    let _ = writeln!(io::stderr(), "cohort under: failed to {error}{because}");
}

fn guard(order: &Path, program: &[OsString]) -> Result<End, Error> {
    let order = Order::read(order)?;
    let mask = block()?;
    become_reaper();
    let (read, write) = pipe()?;
    let me = nix::unistd::getpid().as_raw();
    let engine = fork()?;
    if engine == 0 {
        drop(read);
        engine_process(&order, program, mask, me, write);
    }
    drop(write);
    let told = wait_for(engine)?;
    let end = heard(read);
    remains::kill();
    match (told, end) {
        (Some(signal), _) => Ok(End::Killed(signal)),
        (None, Some(end)) => Ok(end),
        (None, None) => Err(Error::Died),
    }
}

/// Blocks the signals that are waited for; gives those that were blocked before.
fn block() -> Result<SigSet, Error> {
    default_child_signal();
    let mut mask = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&awaited()), Some(&mut mask))
        .map_err(|error| refused("block signals")(error.into()))?;
    Ok(mask)
}

/// Ended children, and all that ends everything.
pub(crate) fn awaited() -> SigSet {
    let mut set: SigSet = ENDING.into_iter().collect();
    set.add(Signal::SIGCHLD);
    set
}

/// Whoever ignores this signal is not told of its children.
#[expect(
    unsafe_code,
    reason = "signal(2) takes a handler; this is the default one"
)]
fn default_child_signal() {
    // SAFETY: no code of ours is called by a signal.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Orphans of what is started here become children of this process.
#[expect(unsafe_code, reason = "prctl(2) has no safe wrapper for this")]
fn become_reaper() {
    // SAFETY: takes numbers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
}

fn engine_process(
    order: &Order,
    program: &[OsString],
    mask: SigSet,
    guard: i32,
    write: OwnedFd,
) -> ! {
    if !die_with(guard, libc::SIGTERM) {
        leave(0);
    }
    become_reaper();
    let timer_slack_ns = timer_slack(1);
    let ambient = Ambient {
        mask,
        timer_slack_ns,
    };
    let end = engine::run(order, program, &ambient).unwrap_or_else(|error| {
        say(&error);
        End::Exited(error.exit_code())
    });
    let (kind, value) = match end {
        End::Exited(code) => (0_u8, code),
        End::Killed(signal) => (1, signal),
    };
    let mut message = vec![kind];
    message.extend(value.to_ne_bytes());
    let _ = std::fs::File::from(write).write_all(&message);
    leave(0)
}

/// Until the engine is gone. Gives the signal that this process was told to end by, if any.
fn wait_for(engine: i32) -> Result<Option<i32>, Error> {
    let awaited = awaited();
    let mut told = None;
    loop {
        let signal = awaited
            .wait()
            .map_err(|error| refused("wait for a signal")(error.into()))?;
        if signal != Signal::SIGCHLD {
            told = Some(signal as i32);
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(engine), Signal::SIGTERM);
            continue;
        }
        while let Some((pid, status)) = remains::waited() {
            if pid == engine && End::of(status).is_some() {
                return Ok(told);
            }
        }
    }
}

/// What the engine said of the program's end; none when it was killed before it could.
fn heard(read: OwnedFd) -> Option<End> {
    let mut message = [0; 5];
    std::fs::File::from(read).read_exact(&mut message).ok()?;
    let [kind, a, b, c, d] = message;
    let value = i32::from_ne_bytes([a, b, c, d]);
    Some(match kind {
        0 => End::Exited(value),
        _ => End::Killed(value),
    })
}

/// Dies by a signal, and leaves no memory image: the program has left its own.
#[expect(unsafe_code, reason = "raise(3) and prctl(2)")]
fn die_by(signal: i32) {
    use nix::sys::resource::{Resource, setrlimit};
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    // SAFETY: the default disposition is set for a signal, which is then unblocked and raised.
    unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 0);
        libc::signal(signal, libc::SIG_DFL);
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
        libc::raise(signal);
    }
}
