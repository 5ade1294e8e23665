//! Processes that a benchmark starts, looks at from outside, and ends.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::Error;
use crate::run;

/// How often something that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How long a process may take to end when asked to.
const GRACE: Duration = Duration::from_secs(20);

/// A process whose output goes to a file; ended when this is dropped.
pub(in crate::bench) struct Running {
    child: Child,
    program: String,
    log: PathBuf,
}

impl Running {
    /// Starts it.
    pub(in crate::bench) fn start(mut command: Command, log: &Path) -> Result<Running, Error> {
        run::write(log, "")?;
        let unwritable = |source| Error::File {
            path: log.to_path_buf(),
            action: "written",
            source,
        };
        let out = File::options().append(true).open(log).map_err(unwritable)?;
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone().map_err(unwritable)?)
            .stderr(out);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().map_err(|source| Error::Start {
            program: program.clone(),
            source,
        })?;
        Ok(Running {
            child,
            program,
            log: log.to_path_buf(),
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it said so far.
    pub(in crate::bench) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Fails with `what`, its last line, and where all of its output is.
    pub(super) fn wrong(&self, what: impl Into<String>) -> Error {
        let said = self.said();
        let last = said.lines().rfind(|line| !line.trim().is_empty());
        let last = last.map_or(String::new(), |line| format!(" (`{}`)", line.trim()));
        Error::Peer {
            program: self.program.clone(),
            what: what.into() + &last,
            log: self.log.clone(),
        }
    }

    pub(in crate::bench) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until `seen` gives something; an error when the process ends or `within` is over first.
    pub(in crate::bench) fn until<T>(
        &mut self,
        what: &str,
        within: Duration,
        mut seen: impl FnMut(&Running) -> Option<T>,
    ) -> Result<T, Error> {
        let begin = Instant::now();
        loop {
            if let Some(found) = seen(self) {
                return Ok(found);
            }
            if !self.is_running() {
                return Err(self.wrong(format!("ended before {what}")));
            }
            if begin.elapsed() > within {
                return Err(self.wrong(format!("ran for {} s without {what}", within.as_secs())));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits for its own end.
    pub(super) fn wait(&mut self, within: Duration) -> Result<ExitStatus, Error> {
        let begin = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if begin.elapsed() < within => std::thread::sleep(LOOK),
                _ => return Err(self.wrong(format!("did not end within {} s", within.as_secs()))),
            }
        }
    }

    /// Asks it to end, and waits.
    pub(in crate::bench) fn end(&mut self) {
        if self.is_running() {
            // It may have ended just now.
            let _ = kill(
                Pid::from_raw(self.child.id().cast_signed()),
                Signal::SIGTERM,
            );
        }
        if self.wait(GRACE).is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// CPU that a process used so far, seconds: user and system time of `/proc/PID/stat`, in ticks of 10 ms
/// (proc_pid_stat(5)), of threads that have ended too.
pub(super) fn cpu_s(pid: u32) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    // `state` is the third field of all, and the first after the name.
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

/// Memory of a process that is its own and resident, bytes.
pub(super) fn memory_bytes(pid: u32) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024.0)
}

/// Children of `parent` whose command line has the word.
pub(super) fn children_with(parent: u32, word: &str) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let wanted = pids.filter(|pid| {
        let read =
            |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let stat = read("stat");
        let of = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        of == Some(parent) && read("cmdline").split('\0').any(|part| part == word)
    });
    wanted.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_looked_at_and_ended() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = dir.path().join("log");
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            "echo ready; i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; sleep 600",
        ]);
        let mut running = Running::start(shell, &log).expect("a shell");
        let said = running.until("saying so", GRACE, |shell| {
            shell.said().contains("ready").then_some(())
        });
        said.expect("it says so");
        let sleeping = running.until("sleeping", GRACE, |shell| {
            children_with(shell.id(), "600").pop()
        });
        assert!(cpu_s(running.id()).is_some_and(|cpu_s| cpu_s > 0.0));
        assert!(memory_bytes(sleeping.expect("it sleeps")).is_some_and(|bytes| bytes > 0.0));
        let never = running.until("a miracle", Duration::from_millis(1), |_| None::<()>);
        assert!(
            never
                .expect_err("none")
                .to_string()
                .contains("without a miracle")
        );
        running.end();
        assert!(!running.is_running());
    }
}
