//! Data races, of ThreadSanitizer and of Go's detector. Which of the two sides is reported first is
//! chance, so both stacks are told, in an order of their own.
//!
//! ```text
//! WARNING: ThreadSanitizer: data race (pid=7)     WARNING: DATA RACE
//!   Write of size 4 at 0x1234 by thread T1:       Write at 0x00c0 by goroutine 7:
//!     #0 add /src/cart.c:12 (cart+0x1)              main.add()
//!   Previous read of size 4 at ...                      /app/cart.go:12 +0x1
//! ```

use cohort_model::{Frame, SymptomKind};

use super::{Found, Rank, go};
use crate::exceptions::sanitizer;

/// Lines of a report.
const LINES_MAX: usize = 400;
/// Frames of each side.
const FRAMES_MAX: usize = 8;

pub(super) fn read(lines: &[&str], at: usize) -> Option<(Found, usize)> {
    let head = lines[at].trim();
    let class = if head.contains("WARNING: ThreadSanitizer: data race") {
        "ThreadSanitizer data race"
    } else if head == "WARNING: DATA RACE" {
        "go data race"
    } else {
        return None;
    };
    let mut sides: Vec<Vec<Frame>> = Vec::new();
    let mut function = "";
    let mut is_access = false;
    let mut taken = 1;
    for line in lines[at + 1..].iter().take(LINES_MAX) {
        let text = line.trim();
        if text.starts_with("SUMMARY:") || text.starts_with("======") {
            break;
        }
        taken += 1;
        if is_head(text) {
            is_access = true;
            sides.push(Vec::new());
        } else if text.ends_with(':') && !text.starts_with('#') {
            // Where a thread was made, where memory came from.
            is_access = false;
        } else if is_access && let Some(frames) = sides.last_mut() {
            let frame = match sanitizer::frame(text) {
                Some((_, frame)) => Some(frame),
                None => go::place(function, text).filter(|frame| frame.line > 0),
            };
            match frame {
                Some(frame) if frames.len() < FRAMES_MAX => frames.push(frame),
                Some(_) => {}
                None => function = text.trim_end_matches("()"),
            }
        }
    }
    sides.truncate(2);
    for side in &mut sides {
        side.retain(|frame| frame.own);
    }
    sides.sort();
    let kind = SymptomKind::Sanitizer;
    let found = Found::new(Rank::Sanitizer, kind, class, "", sides.concat());
    Some((found, taken))
}

/// `Write of size 4 at 0x1 by thread T1:`, `Previous atomic read ...`, `Read at 0x1 by goroutine 7:`
fn is_head(text: &str) -> bool {
    let text = text.strip_prefix("Previous ").unwrap_or(text);
    let text = text.strip_prefix("atomic ").unwrap_or(text);
    let text = text.strip_prefix("Atomic ").unwrap_or(text);
    let is_access = ["Write", "Read", "write", "read"]
        .iter()
        .any(|word| text.starts_with(word));
    is_access && text.contains(" by ") && text.ends_with(':')
}
