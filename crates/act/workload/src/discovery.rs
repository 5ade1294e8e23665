//! What finding the tests of a suite works with, and how it is stopped from outside.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::Progress;

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_millis(500);

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

impl Started {
    /// Waits for its end, and for all it writes to its piped streams.
    pub(crate) fn output(mut self) -> io::Result<Output> {
        let stderr = self.child.stderr.take();
        let errors = std::thread::spawn(move || read(stderr));
        let stdout = read(self.child.stdout.take());
        let stderr = errors.join().unwrap_or_default();
        let status = self.child.wait()?;
        Ok(Output {
            status,
            stdout,
            stderr,
        })
    }
}

fn read(stream: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        // What was read before an error is what there is.
        let _ = stream.read_to_end(&mut bytes);
    }
    bytes
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
    use std::time::Instant;

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
