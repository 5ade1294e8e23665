//! `go test`: what a test said before it failed, and a time limit with the stacks behind it.
//!
//! ```text
//! --- FAIL: TestTotal (0.00s)
//!     cart_test.go:12: total = 3, want 4
//! ```
//! ```text
//! panic: test timed out after 1s
//! running tests:
//!         TestTotal (1s)
//!
//! goroutine 7 [chan receive]:
//! shop.total(...)
//!         /app/cart.go:12 +0x1d
//! ```

use cohort_model::{Frame, SymptomKind};

use super::{Found, Rank, leading_place};

/// Lines above the verdict that may be the test's.
const ABOVE_MAX: usize = 60;
/// Goroutines that are looked at for own code.
const GOROUTINES_MAX: usize = 64;

pub(super) fn read(lines: &[&str], at: usize) -> Option<(Found, usize)> {
    failed(lines, at)
        .or_else(|| timed_out(lines, at))
        .or_else(|| deadlock(lines, at))
}

fn failed(lines: &[&str], at: usize) -> Option<(Found, usize)> {
    let rest = lines[at].trim_start().strip_prefix("--- FAIL: ")?;
    let name = rest.split(' ').next()?;
    let mut said: Vec<(Frame, String)> = Vec::new();
    let mut taken = 1;
    for line in lines[at + 1..].iter().take(60) {
        let text = line.trim();
        if !line.starts_with("    ") || text.starts_with("--- ") {
            break;
        }
        match leading_place(text) {
            Some((frame, message)) if frame.file.ends_with(".go") => {
                said.push((frame, message.trim().to_owned()));
            }
            _ => {
                if let Some((_, message)) = said.last_mut()
                    && message.len() < crate::MESSAGE_BYTES_MAX
                {
                    message.push('\n');
                    message.push_str(text);
                }
            }
        }
        taken += 1;
    }
    if said.is_empty() {
        // `go test -v` tells it above.
        let above = lines[at.saturating_sub(ABOVE_MAX)..at].iter().rev();
        let above = above.take_while(|line| line.starts_with("    "));
        said.extend(
            above
                .filter_map(|line| {
                    let (frame, message) = leading_place(line.trim())?;
                    let is_go = frame.file.ends_with(".go");
                    is_go.then(|| (frame, message.trim().to_owned()))
                })
                .take(1),
        );
    }
    // The last is what failed it: those before are logged.
    let (mut frame, message) = said.pop()?;
    name.clone_into(&mut frame.function);
    let kind = SymptomKind::Assertion;
    Some((
        Found::new(Rank::Runner, kind, "go test", &message, vec![frame]),
        taken,
    ))
}

fn timed_out(lines: &[&str], at: usize) -> Option<(Found, usize)> {
    if !lines[at].starts_with("panic: test timed out after ") {
        return None;
    }
    let frames = stacks(&lines[at + 1..])
        .into_iter()
        .find(|frames| frames.iter().any(|frame| frame.own))
        .unwrap_or_default();
    let found = Found::new(Rank::Runner, SymptomKind::Timeout, "go timeout", "", frames);
    Some((found, 1))
}

fn deadlock(lines: &[&str], at: usize) -> Option<(Found, usize)> {
    let message = "all goroutines are asleep - deadlock!";
    if lines[at].trim() != format!("fatal error: {message}") {
        return None;
    }
    let frames = stacks(&lines[at + 1..])
        .into_iter()
        .find(|frames| frames.iter().any(|frame| frame.own))
        .unwrap_or_default();
    let found = Found::new(
        Rank::Check,
        SymptomKind::Hang,
        "go fatal error",
        message,
        frames,
    );
    Some((found, 1))
}

/// Each goroutine's calls, innermost first.
fn stacks(lines: &[&str]) -> Vec<Vec<Frame>> {
    let mut stacks: Vec<Vec<Frame>> = Vec::new();
    let mut function = "";
    for line in lines.iter().take(4000) {
        let text = line.trim();
        if text.starts_with("goroutine ") && text.ends_with(':') {
            if stacks.len() == GOROUTINES_MAX {
                break;
            }
            stacks.push(Vec::new());
        } else if let (true, Some(frames)) = (line.starts_with('\t'), stacks.last_mut()) {
            if let Some(frame) = place(function, text) {
                frames.push(frame);
            }
            function = "";
        } else {
            function = text.rsplit_once('(').map_or(text, |(function, _)| function);
            if text.starts_with("created by ") {
                function = "";
            }
        }
    }
    stacks
}

/// `/app/cart.go:12 +0x1d` below the name of the function.
pub(super) fn place(function: &str, text: &str) -> Option<Frame> {
    if function.is_empty() {
        return None;
    }
    let (file, line) = crate::exceptions::location(text.split(' ').next()?);
    let own = file.ends_with(".go")
        && ![
            "/go/src/",
            "/pkg/mod/",
            "/src/runtime/",
            "/src/testing/",
            "/src/sync/",
            "_testmain.go",
        ]
        .iter()
        .any(|part| file.contains(part))
        && !["runtime.", "testing.", "sync.", "internal/", "time.", "os."]
            .iter()
            .any(|start| function.starts_with(start));
    Some(Frame {
        function: function.to_owned(),
        file,
        line,
        own,
    })
}
