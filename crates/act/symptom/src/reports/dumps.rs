//! Where Python's threads stood: faulthandler's dump of a signal or a time limit, pytest-timeout's.
//!
//! ```text
//! Fatal Python error: Segmentation fault
//!
//! Current thread 0x00007f3c (most recent call first):
//!   File "/app/cart.py", line 3 in total
//! ```
//! ```text
//! ~~~~~~~~~~~~~ Stack of MainThread (140034) ~~~~~~~~~~~~~
//!   File "/app/cart.py", line 3, in total
//!     lock.acquire()
//! ```

use cohort_model::{Frame, SymptomKind};

use super::{Found, Rank};
use crate::exceptions::python::is_own;

/// Lines of one dump.
const LINES_MAX: usize = 2000;

/// `  File "/app/cart.py", line 3 in total`; with a comma before `in` in tracebacks.
pub(crate) fn frame(line: &str) -> Option<Frame> {
    let rest = line.trim_start().strip_prefix("File \"")?;
    let (file, rest) = rest.split_once("\", line ")?;
    let (number, function) = rest.split_once(" in ").unwrap_or((rest, ""));
    Some(Frame {
        function: function.trim().to_owned(),
        file: file.to_owned(),
        line: number.trim_end_matches(',').trim().parse().unwrap_or(0),
        own: is_own(file),
    })
}

pub(super) fn faulthandler(lines: &[&str], at: usize) -> Option<(Found, usize)> {
    let head = lines[at].trim();
    let fatal = head.strip_prefix("Fatal Python error: ");
    let is_timeout = head.starts_with("Timeout (") && head.ends_with(")!");
    let is_stack = head.ends_with("(most recent call first):") && head.contains("hread 0x");
    if fatal.is_none() && !is_timeout && !is_stack {
        return None;
    }
    // The current thread counts; where none is named so, the last: the main thread.
    let mut stacks: Vec<(bool, Vec<Frame>)> = Vec::new();
    let mut end = at;
    for (index, line) in lines[at..].iter().enumerate().take(LINES_MAX) {
        let text = line.trim();
        if text.ends_with("(most recent call first):") {
            let is_current = text.starts_with("Current thread");
            stacks.push((is_current, Vec::new()));
        } else if let Some(frame) = frame(line) {
            if let Some((_, frames)) = stacks.last_mut() {
                frames.push(frame);
            }
        } else if !text.is_empty()
            && index > 0
            && !text.starts_with("Python runtime state")
            && text != "<no Python frame>"
            && text != "..."
        {
            break;
        }
        end = at + index + 1;
    }
    let current = stacks.iter().position(|(current, _)| *current);
    let chosen = current.or_else(|| stacks.len().checked_sub(1));
    let frames = chosen
        .map(|index| stacks.swap_remove(index).1)
        .unwrap_or_default();
    let kind = match fatal {
        Some(_) => SymptomKind::Signal,
        None => SymptomKind::Timeout,
    };
    let class = match fatal {
        Some("Segmentation fault") => "SIGSEGV",
        Some("Bus error") => "SIGBUS",
        Some("Floating point exception" | "Floating-point exception") => "SIGFPE",
        Some("Illegal instruction") => "SIGILL",
        Some("Aborted") => "SIGABRT",
        Some(_) => "python fatal error",
        None => "stacks of python threads",
    };
    let message = fatal
        .filter(|_| class.starts_with("python"))
        .unwrap_or_default();
    let found = Found::new(Rank::Dump, kind, class, message, frames);
    Some((found, (end - at).max(1)))
}

pub(super) fn pytest_timeout(lines: &[&str], at: usize) -> Option<(Found, usize)> {
    let head = lines[at].trim();
    if !head.starts_with('~') || !head.ends_with('~') || !head.contains(" Stack of ") {
        return None;
    }
    let is_main = head.contains(" Stack of MainThread ");
    let mut frames = Vec::new();
    let mut taken = 1;
    for line in lines[at + 1..].iter().take(LINES_MAX) {
        match frame(line) {
            Some(frame) => frames.push(frame),
            None if line.starts_with(' ') || line.is_empty() => {}
            None => break,
        }
        taken += 1;
    }
    // Outermost first there.
    frames.reverse();
    let mut found = Found::new(
        Rank::Dump,
        SymptomKind::Timeout,
        "python Timeout",
        "",
        frames,
    );
    if is_main {
        "main".clone_into(&mut found.thread);
    }
    Some((found, taken))
}
