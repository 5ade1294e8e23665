//! Threads that are processes: started by the init of their instance, judged by their suite.

use std::path::Path;

use cohort_host::init::{Ended, Start, ToInit};
use cohort_model::{InstanceId, KillReason, TestId, ThreadEnd, ThreadId, Usage, Verdict};
use cohort_workload::{Exit, Judged, Launch, Launches};

use crate::attempts::Attempt;
use crate::instance::{Hits, Instance};

/// Milliseconds from SIGTERM to SIGKILL when a test ran too long.
const TIMEOUT_GRACE_MS: u32 = 2_000;
/// The same when the user ends the campaign.
const STOP_GRACE_MS: u32 = 300;

/// A thread that runs.
#[derive(Clone, Debug)]
pub(crate) struct Thread {
    pub(crate) test: TestId,
    /// Whose init supervises it.
    pub(crate) home: InstanceId,
    /// Whose groups it is in.
    pub(crate) place: InstanceId,
    /// What its instance had met at its limits when it started.
    pub(crate) hits: Hits,
    /// Largest memory that its instance was seen to hold meanwhile and could not drop, bytes.
    pub(crate) memory_seen: u64,
    /// How long it waited for a CPU in an instance that it was handed over from, microseconds.
    pub(crate) cpu_waited_us: u64,
    /// It was held at its memory limit.
    pub(crate) held: bool,
    pub(crate) killed: Option<KillReason>,
    /// Its start had to wait for its instance, so it is reported when it really starts.
    pub(crate) late: bool,
    /// It tries an edge case.
    pub(crate) attempt: Option<Box<Attempt>>,
    /// It builds the program of its test.
    pub(crate) builds: bool,
}

impl Thread {
    /// It is no execution of its test for a result.
    pub(crate) fn is_aside(&self) -> bool {
        self.attempt.is_some() || self.builds
    }

    /// One that begins in an instance, which may still be opening.
    pub(crate) fn begun(test: TestId, place: InstanceId, instance: &mut Instance) -> Self {
        Self {
            test,
            home: place,
            place,
            hits: instance.hits(),
            memory_seen: 0,
            cpu_waited_us: 0,
            held: false,
            killed: None,
            late: instance.later().is_some(),
            attempt: None,
            builds: false,
        }
    }
}

pub(crate) fn order_start(
    thread: ThreadId,
    launch: Launch,
    (scratch, nice): (&Path, u8),
) -> ToInit {
    let mut env: Vec<_> = launch
        .env
        .iter()
        .filter(|(name, _)| name != "TMPDIR")
        .cloned()
        .collect();
    env.push(("TMPDIR".into(), scratch.into()));
    ToInit::Start(Start {
        thread: thread.0,
        program: launch.program.into(),
        args: launch.args,
        env,
        cwd: launch.cwd,
        nice,
    })
}

pub(crate) fn order_kill(thread: ThreadId, why: KillReason) -> ToInit {
    let grace_ms = match why {
        KillReason::Timeout | KillReason::Stalled => TIMEOUT_GRACE_MS,
        KillReason::Interrupted => STOP_GRACE_MS,
        KillReason::Memory | KillReason::Disk => 0,
    };
    ToInit::Kill {
        thread: thread.0,
        grace_ms,
    }
}

/// What the end of a process means.
pub(crate) fn end(thread: &Thread, ended: &Ended, launches: &Launches) -> ThreadEnd {
    let exit = Exit {
        code: ended.exit_code,
        signal: ended.signal,
        stdout: &ended.stdout,
        stderr: &ended.stderr,
    };
    let Judged {
        verdict,
        message,
        parts,
    } = launches.judge(thread.test, &exit);
    let asked = verdict.is_failure() && thread.attempt.is_none();
    let input = asked.then(|| launches.input(thread.test)).flatten();
    ThreadEnd {
        thread: ThreadId(ended.thread),
        verdict,
        exit_code: ended.exit_code,
        signal: ended.signal,
        usage: ended.usage,
        message,
        parts,
        symptom: None,
        unapplied: Vec::new(),
        input,
        passed_before: 0,
        left_behind: ended.left_behind,
        output_dropped: ended.dropped_bytes,
    }
}

/// The end of a thread that did not come to be judged.
pub(crate) fn unjudged(thread: ThreadId, verdict: Verdict, message: String) -> ThreadEnd {
    ThreadEnd {
        thread,
        verdict,
        exit_code: None,
        signal: None,
        usage: Usage::default(),
        message: Some(message),
        parts: None,
        symptom: None,
        unapplied: Vec::new(),
        input: None,
        passed_before: 0,
        left_behind: 0,
        output_dropped: 0,
    }
}
