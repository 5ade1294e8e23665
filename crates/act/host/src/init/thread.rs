//! One thread as the init sees it: its first process, its output, and how far its end has come.
//!
//! ```text
//! Running --first process ended--> Sweeping --nothing of it is left, or time is up--> Ended
//!    |  ^                              (what is left is killed until it is gone)
//!    +--+ Kill: SIGTERM now, SIGKILL when the grace is over
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::child::{Exit, Launched};
use super::output::Capture;
use super::place::Place;
use super::protocol::Ended;

/// A thread whose processes do not go away although killed (they hang in the kernel) is reported
/// all the same after this long.
const SWEEP_MS_MAX: u64 = 5_000;

/// Most that is read of a pipe after all its known writers are gone: what a pipe holds unless its
/// owner is privileged, bytes.
const DRAIN_BYTES_MAX: usize = 1 << 20;

/// A thread that was started and not yet reported as ended.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) id: u32,
    pub(super) pid: i32,
    /// Where its processes are, when not at home.
    pub(super) moved: Option<Place>,
    /// Processes in that place that are not its own.
    pub(super) spare: Vec<i32>,
    pub(super) stdout: Stream,
    pub(super) stderr: Stream,
    /// When the grace of a kill is over.
    pub(super) kill_at: Option<Instant>,
    /// SIGKILL was sent to all of it, so nothing that still runs was left behind.
    pub(super) is_killed: bool,
    started: Instant,
    swept: Option<Sweep>,
}

/// The second half of an end.
#[derive(Debug)]
struct Sweep {
    exit: Exit,
    left_behind: u32,
    until: Instant,
}

impl Thread {
    pub(super) fn new(id: u32, launched: Launched, output_bytes_max: usize) -> Thread {
        let stream = |pipe: Option<OwnedFd>| Stream {
            pipe: pipe.map(File::from),
            capture: Capture::new(output_bytes_max),
        };
        Thread {
            id,
            pid: launched.pid,
            moved: None,
            spare: Vec::new(),
            stdout: stream(launched.stdout),
            stderr: stream(launched.stderr),
            kill_at: None,
            is_killed: false,
            started: launched.at,
            swept: None,
        }
    }

    /// Its first process has not ended.
    pub(super) fn is_running(&self) -> bool {
        self.swept.is_none()
    }

    /// A signal to its process group; SIGCONT, because a stopped process would not hear it.
    pub(super) fn terminate(&mut self, signal: Signal, kill_at: Instant) {
        self.signal_group(signal);
        self.signal_group(Signal::SIGCONT);
        self.kill_at = Some(self.kill_at.map_or(kill_at, |earlier| earlier.min(kill_at)));
    }

    /// Only while its first process was not reaped: until then the group's number is its own.
    pub(super) fn signal_group(&self, signal: Signal) {
        let _ = killpg(Pid::from_raw(self.pid), signal); // Gone: nothing to do.
    }

    /// Its first process ended.
    pub(super) fn begin_sweep(&mut self, mut exit: Exit, ended: Instant, left_behind: usize) {
        let wall = ended.saturating_duration_since(self.started);
        exit.usage.wall_us = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX);
        let left_behind = if self.is_killed { 0 } else { left_behind };
        self.kill_at = None;
        self.swept = Some(Sweep {
            exit,
            left_behind: u32::try_from(left_behind).unwrap_or(u32::MAX),
            until: ended + Duration::from_millis(SWEEP_MS_MAX),
        });
    }

    /// It has waited long enough for killed processes to go.
    pub(super) fn is_out_of_time(&self, now: Instant) -> bool {
        self.swept.as_ref().is_some_and(|sweep| sweep.until <= now)
    }

    /// Reads what is left in its pipes, and makes the report.
    pub(super) fn finish(mut self, buffer: &mut [u8]) -> Ended {
        self.stdout.drain(buffer);
        self.stderr.drain(buffer);
        let (stdout, stdout_dropped) = self.stdout.capture.finish();
        let (stderr, stderr_dropped) = self.stderr.capture.finish();
        let sweep = self
            .swept
            .expect("a thread is finished after its sweep began");
        Ended {
            thread: self.id,
            exit_code: sweep.exit.code,
            signal: sweep.exit.signal,
            usage: sweep.exit.usage,
            stdout,
            stderr,
            dropped_bytes: stdout_dropped + stderr_dropped,
            left_behind: sweep.left_behind,
        }
    }
}

/// One of its output pipes and what was kept of it.
#[derive(Debug)]
pub(super) struct Stream {
    pipe: Option<File>,
    capture: Capture,
}

impl Stream {
    /// The pipe, until all its writers closed it.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads once; gives how many bytes, none when there is nothing now or ever.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> usize {
        let Some(pipe) = &mut self.pipe else {
            return 0;
        };
        match pipe.read(buffer) {
            Ok(0) => {
                self.pipe = None;
                0
            }
            Ok(bytes) => {
                self.capture.push(&buffer[..bytes]);
                bytes
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => {
                self.pipe = None;
                0
            }
        }
    }

    /// Reads what is in the pipe. Bounded, because a stranger who was handed the pipe may write on.
    fn drain(&mut self, buffer: &mut [u8]) {
        let mut total = 0;
        while total < DRAIN_BYTES_MAX {
            match self.read(buffer) {
                0 => return,
                bytes => total += bytes,
            }
        }
    }
}
