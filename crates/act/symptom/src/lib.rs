//! Reads what failed tests and servers write, into a [`Symptom`]: what "is this the same bug?" rests on.
//!
//! ```text
//! Ended { verdict, exit, output } --read--> reports of test runners, assertions, runtimes, debuggers --+
//!                                   |-----> exceptions of ten languages, line by line (servers, too) --+--> the most
//!                                   +-----> how it ended: killed, signal, exit code -------------------+    telling one
//! ```
//!
//! Promise: any bytes are survived in bounded memory and in time that is linear in them; each failure
//! has a symptom, if it is only its exit code; messages stay as they were said, cut to a bounded length.

mod choose;
pub mod colour;
mod ending;
pub mod exceptions;
mod reports;
pub mod stacks;

use std::borrow::Cow;

use cohort_model::{KillReason, SuiteKind, Symptom, SymptomKind, Verdict};

/// Frames that are kept of one symptom.
pub const FRAMES_MAX: usize = 32;
/// Longest message that is kept, bytes.
pub const MESSAGE_BYTES_MAX: usize = 1000;
/// What is read of each output: so many bytes of its beginning ...
const BEGIN_BYTES: usize = 256 * 1024;
/// ... and of its end.
const END_BYTES: usize = 1024 * 1024;

/// The function that libFuzzer calls.
const FUZZ_TARGET: &str = "LLVMFuzzerTestOneInput";

/// One execution that ended, with all that was kept of it.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// Which runner wrote the output.
    pub suite: SuiteKind,
    /// The test's name in its suite; empty when not known. A panic of the thread of this name counts
    /// before others.
    pub test: &'a str,
    /// How it ended.
    pub verdict: Verdict,
    /// Why Cohort killed it, if it did.
    pub killed: Option<KillReason>,
    /// Exit code, when it exited.
    pub exit_code: Option<i32>,
    /// Signal number, when one ended it.
    pub signal: Option<i32>,
    /// Standard output.
    pub stdout: &'a [u8],
    /// Standard error.
    pub stderr: &'a [u8],
    /// What the runner reports of it (pytest's tracebacks).
    pub report: &'a str,
    /// One line of the runner that says why; empty when there is none.
    pub message: &'a str,
}

impl Default for Ended<'_> {
    fn default() -> Self {
        Ended {
            suite: SuiteKind::Exec,
            test: "",
            verdict: Verdict::Failed,
            killed: None,
            exit_code: None,
            signal: None,
            stdout: &[],
            stderr: &[],
            report: "",
            message: "",
        }
    }
}

/// What the failure looked like; none when it is no failure, or was stopped before it could be one.
#[must_use]
pub fn read(ended: &Ended) -> Option<Symptom> {
    if !ended.verdict.is_failure() || ended.verdict == Verdict::Aborted {
        return None;
    }
    let texts = [
        bounded(ended.report.as_bytes()),
        bounded(ended.stderr),
        bounded(ended.stdout),
    ];
    let found: Vec<_> = texts.iter().map(|text| reports::find(text)).collect();
    let symptom = choose::choose(ended, &found, &texts);
    Some(tidy(symptom))
}

/// What a debugger or a sanitizer wrote by itself: a backtrace of a core, a report of its own file.
#[must_use]
pub fn read_backtrace(text: &str) -> Option<Symptom> {
    let text = bounded(text.as_bytes());
    let mut found = reports::find(&text);
    found.sort_by_key(|one| one.rank);
    let first = found.into_iter().next()?;
    Some(tidy(first.symptom))
}

/// Beginning and end of an output as text without colours.
fn bounded(bytes: &[u8]) -> String {
    let cut: Cow<[u8]> = if bytes.len() > BEGIN_BYTES + END_BYTES {
        let mut kept = bytes[..BEGIN_BYTES].to_vec();
        kept.push(b'\n');
        kept.extend(&bytes[bytes.len() - END_BYTES..]);
        Cow::Owned(kept)
    } else {
        Cow::Borrowed(bytes)
    };
    let text = String::from_utf8_lossy(&cut);
    let mut plain = String::with_capacity(text.len());
    for line in text.lines() {
        plain.push_str(&colour::without(line));
        plain.push('\n');
    }
    plain
}

/// Bounded, and without the frames that say nothing: those of the runtime are the first to go.
fn tidy(mut symptom: Symptom) -> Symptom {
    let end = exceptions::boundary(&symptom.message, MESSAGE_BYTES_MAX);
    symptom.message.truncate(end);
    symptom
        .class
        .truncate(exceptions::boundary(&symptom.class, 200));
    // What calls a fuzz target is the fuzzer's, whatever it is called.
    let target = |frame: &cohort_model::Frame| frame.function.contains(FUZZ_TARGET);
    if let Some(entry) = symptom.frames.iter().position(target) {
        symptom.frames.truncate(entry + 1);
    }
    if symptom.frames.iter().any(|frame| frame.own) {
        // What only carries the failure out (raise, panic machinery) and what only calls tests.
        let last = symptom.frames.iter().rposition(|frame| frame.own);
        symptom.frames.truncate(last.map_or(0, |last| last + 1));
    }
    let mut to_drop = symptom.frames.len().saturating_sub(FRAMES_MAX);
    symptom.frames.retain(|frame| {
        let drop = to_drop > 0 && !frame.own;
        to_drop -= usize::from(drop);
        !drop
    });
    symptom.frames.truncate(FRAMES_MAX);
    symptom
}

/// What kind an exception of this class is.
fn kind_of(class: &str, message: &str) -> SymptomKind {
    let name = class.rsplit([' ', '.', ':']).next().unwrap_or(class);
    let is_memory = matches!(
        name,
        "MemoryError" | "OutOfMemoryError" | "bad_alloc" | "OutOfMemoryException" | "NoMemoryError"
    ) || (message.starts_with("memory allocation of ")
        && message.contains("failed"))
        || message.contains("runtime: out of memory")
        || message.contains("heap out of memory")
        || message.contains("Cannot allocate memory");
    let is_assertion = name.contains("Assert")
        || matches!(
            name,
            "ComparisonFailure"
                | "MultipleFailuresError"
                | "ExpectationFailed"
                | "ExpectationNotMetError"
                | "Failed"
        )
        || message.starts_with("assertion ")
        || message.starts_with("assertion failed");
    if is_memory {
        SymptomKind::OutOfMemory
    } else if class.ends_with("Sanitizer") || class.contains("Sanitizer ") {
        SymptomKind::Sanitizer
    } else if is_assertion {
        SymptomKind::Assertion
    } else {
        SymptomKind::Exception
    }
}
