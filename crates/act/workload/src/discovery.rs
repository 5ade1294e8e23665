//! What finding the tests of a suite works with, and how it is stopped from outside.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::Progress;

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_millis(500);

/// For what a process left behind to close its streams, once it has ended itself.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Read from a stream at once.
const READ_BYTES: usize = 64 << 10;

/// What discovery works with.
pub struct Discovery<'a> {
    /// Directory of this campaign, for files that are needed while tests are found.
    pub scratch: &'a Path,
    /// Directory of the project's record, for what is remembered until the next campaign.
    pub home: &'a Path,
    /// Ends it from outside.
    pub stop: &'a Stop,
    /// Nothing is going to run: a program that may run its tests when it is asked for a list is not
    /// asked.
    pub look_only: bool,
    /// Told how far it is.
    pub progress: &'a mut dyn FnMut(Progress),
}

/// Ends what discovery has started, from any thread.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    stopped: bool,
    /// Leaders of the process groups that run.
    groups: Vec<Pid>,
}

impl Stop {
    /// Ends all that runs, with a grace of half a second, and lets nothing begin any more. Blocks
    /// for that long.
    pub fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        let groups = state.groups.clone();
        drop(state);
        for group in &groups {
            let _ = killpg(*group, Signal::SIGTERM);
        }
        if !groups.is_empty() {
            std::thread::sleep(GRACE);
        }
        let state = self.state();
        for group in groups.iter().filter(|group| state.groups.contains(group)) {
            let _ = killpg(*group, Signal::SIGKILL);
        }
    }

    /// Whether it was stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Starts a process group of its own, which ends when this is stopped.
    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<Started> {
        let mut state = self.state();
        if state.stopped {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let child = command.process_group(0).spawn()?;
        let group = Pid::from_raw(child.id().cast_signed());
        state.groups.push(group);
        drop(state);
        Ok(Started {
            child,
            group,
            stop: self.clone(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process that leads a group of its own. Whoever has it must wait for it before it is dropped.
pub(crate) struct Started {
    pub(crate) child: Child,
    pub(crate) group: Pid,
    stop: Stop,
}

/// What a process wrote until it ended.
pub(crate) struct Written {
    pub(crate) output: Output,
    /// Something that it left behind held its streams open, so there may be more to come.
    pub(crate) cut: bool,
}

impl Started {
    /// Waits for its end, and for all it writes to its piped streams, but not for ever for what it left
    /// behind.
    pub(crate) fn output(mut self) -> io::Result<Written> {
        let stdout = read(self.child.stdout.take());
        let stderr = read(self.child.stderr.take());
        let status = self.child.wait()?;
        let until = Instant::now() + LAST_WORDS;
        let (stdout, stdout_ended) = heard(&stdout, until);
        let (stderr, _) = heard(&stderr, until);
        Ok(Written {
            output: Output {
                status,
                stdout,
                stderr,
            },
            cut: !stdout_ended,
        })
    }
}

/// Reads `stream` to its end, even when nobody listens any more: who writes to it is not to fail.
fn read(stream: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (piece, pieces) = mpsc::channel();
    std::thread::spawn(move || {
        let mut stream = stream?;
        let mut bytes = vec![0; READ_BYTES];
        loop {
            match stream.read(&mut bytes) {
                Ok(0) => return Some(()),
                Ok(count) => drop(piece.send(bytes[..count].to_vec())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What was read before is what there is.
                Err(_) => return None,
            }
        }
    });
    pieces
}

/// All that is read until then, and whether that is all there will be.
fn heard(pieces: &Receiver<Vec<u8>>, until: Instant) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match pieces.recv_timeout(left) {
            Ok(piece) => bytes.extend(piece),
            Err(RecvTimeoutError::Disconnected) => return (bytes, true),
            Err(RecvTimeoutError::Timeout) => return (bytes, false),
        }
        if left.is_zero() {
            // Who writes without a pause would be listened to for ever.
            return (bytes, false);
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Once it is waited for, its number may be another's.
        self.stop
            .state()
            .groups
            .retain(|group| *group != self.group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_runs_ends_and_nothing_begins_any_more() {
        let stop = Stop::default();
        let mut sleeps = Command::new("sh");
        sleeps.args(["-c", "trap '' TERM; sleep 1000 & wait; sleep 1000"]);
        let mut started = stop.spawn(&mut sleeps).unwrap();
        let since = Instant::now();
        stop.stop();
        assert!(!started.child.wait().unwrap().success());
        assert!(since.elapsed() < Duration::from_secs(100));
        drop(started);
        assert!(stop.is_stopped() && stop.spawn(&mut sleeps).is_err());
        assert!(stop.state().groups.is_empty());
    }
}
