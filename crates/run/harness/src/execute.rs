//! One execution of a harness on one input, with limits.
//!
//! Promise: it ends at its time limit, whatever the program does: hangs, writes without end (what is beyond
//! [`OUTPUT_MAX`] is read and dropped), closes its output, or leaves children that hold it open.

use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use cohort_model::{KillReason, SuiteKind, Symptom, SymptomKind, Verdict};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::Target;

/// Output that is kept, bytes.
const OUTPUT_MAX: usize = 256 << 10;
/// How often it is looked at while it says nothing.
const LOOK: Duration = Duration::from_millis(10);

/// What one execution may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Time, milliseconds.
    pub time_ms: u64,
    /// Resident memory of its first process, bytes.
    pub memory: u64,
}

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit code.
    Exit(i32),
    /// By this signal.
    Signal(i32),
    /// It was still running at its time limit.
    Time,
    /// It held more memory than it may.
    Memory,
}

/// What came of one execution.
#[derive(Clone, Debug)]
pub struct Run {
    /// How it ended.
    pub end: End,
    /// What it wrote, standard output and error together, cut at the end.
    pub output: Vec<u8>,
}

impl Run {
    /// What it looked like, when a bug and no refusal of the input: a signal, a limit, or an exit that a report of a
    /// crash comes with (a panic, an exception, a sanitizer).
    #[must_use]
    pub fn fault(&self) -> Option<Symptom> {
        let (verdict, killed) = match self.end {
            End::Exit(0) => return None,
            End::Exit(_) => (Verdict::Failed, None),
            End::Signal(_) => (Verdict::Crashed, None),
            End::Time => (Verdict::TimedOut, Some(KillReason::Timeout)),
            End::Memory => (Verdict::OutOfMemory, None),
        };
        let symptom = cohort_symptom::read(&cohort_symptom::Ended {
            suite: SuiteKind::Exec,
            verdict,
            killed,
            exit_code: match self.end {
                End::Exit(code) => Some(code),
                _ => None,
            },
            signal: match self.end {
                End::Signal(signal) => Some(signal),
                _ => None,
            },
            stderr: &self.output,
            ..Default::default()
        })?;
        let refused = matches!(self.end, End::Exit(_)) && symptom.kind == SymptomKind::Failure;
        (!refused).then_some(symptom)
    }
}

/// Runs `target` on the file `input`, with `scratch` for its temporary files.
///
/// # Errors
/// When it cannot be started.
pub fn execute(target: &Target, input: &Path, scratch: &Path, limits: Limits) -> io::Result<Run> {
    let (mut output, theirs) = io::pipe()?;
    let words = target.on(input);
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .current_dir(&target.directory)
        .envs(&target.env)
        .env("TMPDIR", scratch)
        .stdin(match target.reads_stdin {
            true => Stdio::from(File::open(input)?),
            false => Stdio::null(),
        })
        .stdout(theirs.try_clone()?)
        .stderr(theirs)
        .process_group(0);
    let mut child = command.spawn()?;
    // Its ends of the pipe are closed here too.
    drop(command);
    let (end, kept) = watch(&mut child, &mut output, limits);
    // What it left behind, and itself when it is still there.
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    let _ = killpg(group, Signal::SIGKILL);
    let status = child.wait()?;
    Ok(Run {
        end: end.unwrap_or_else(|| ended(status)),
        output: kept,
    })
}

fn ended(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exit(code),
        (None, signal) => End::Signal(signal.unwrap_or_default()),
    }
}

/// Reads what it writes until it ends; why it has to be ended, if so.
fn watch(child: &mut Child, output: &mut PipeReader, limits: Limits) -> (Option<End>, Vec<u8>) {
    let until = Instant::now() + Duration::from_millis(limits.time_ms);
    let mut kept = Vec::new();
    let mut open = true;
    loop {
        let ready = open && is_ready(output, LOOK);
        if ready {
            open = take(output, &mut kept);
        }
        if !open || !ready {
            match child.try_wait() {
                // What it wrote last may still be in the pipe.
                Ok(Some(status)) => {
                    while open && is_ready(output, Duration::ZERO) && kept.len() < OUTPUT_MAX {
                        open = take(output, &mut kept);
                    }
                    return (Some(ended(status)), kept);
                }
                Ok(None) if !open => std::thread::sleep(Duration::from_micros(200)),
                _ => {}
            }
            if resident(child.id()).is_some_and(|bytes| bytes > limits.memory) {
                return (Some(End::Memory), kept);
            }
        }
        if Instant::now() >= until {
            return (Some(End::Time), kept);
        }
    }
}

fn is_ready(output: &PipeReader, patience: Duration) -> bool {
    let mut wanted = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
    let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO);
    poll(&mut wanted, patience).is_ok_and(|count| count > 0)
}

/// Whether more may come.
fn take(output: &mut PipeReader, kept: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 1 << 16];
    match output.read(&mut buffer) {
        Ok(0) => false,
        Ok(count) => {
            let room = OUTPUT_MAX.saturating_sub(kept.len());
            kept.extend_from_slice(&buffer[..count.min(room)]);
            true
        }
        Err(error) => error.kind() == io::ErrorKind::Interrupted,
    }
}

/// Resident memory of a process, bytes.
fn resident(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4096)
}
