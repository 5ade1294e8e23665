//! Failed tests of Jest and Vitest.
//!
//! ```text
//!   ● cart › adds
//!
//!     expect(received).toBe(expected) // Object.is equality
//!
//!     Expected: 4
//!     Received: 3
//!
//!       at Object.<anonymous> (cart.test.js:5:10)
//! ```
//! ```text
//!  FAIL  cart.test.ts > cart > adds
//! AssertionError: expected 3 to be 4 // Object.is equality
//!  ❯ cart.test.ts:5:10
//! ```

use cohort_model::{Frame, SymptomKind};

use super::{Found, Rank};
use crate::exceptions::{has_line_and_column, location};

/// Lines of one report.
const LINES_MAX: usize = 120;
/// Lines of a message.
const MESSAGE_LINES_MAX: usize = 12;

pub(super) fn read(lines: &[&str], at: usize) -> Option<(Found, usize)> {
    let head = lines[at].trim_start();
    let is_jest = head
        .strip_prefix("● ")
        .is_some_and(|name| !name.starts_with("Console"));
    let is_vitest = head.starts_with("FAIL ") && head.contains(" > ");
    if !is_jest && !is_vitest {
        return None;
    }
    let mut message: Vec<&str> = Vec::new();
    let mut frames = Vec::new();
    let mut taken = 1;
    for line in lines[at + 1..].iter().take(LINES_MAX) {
        let text = line.trim();
        if let Some(frame) = frame(text) {
            frames.push(frame);
        } else if text.starts_with("● ")
            || text.starts_with("FAIL ")
            || (!frames.is_empty() && !text.is_empty() && !is_code(text))
        {
            break;
        } else if !text.is_empty() && !is_code(text) && message.len() < MESSAGE_LINES_MAX {
            message.push(text);
        }
        taken += 1;
    }
    if frames.is_empty() && message.is_empty() {
        return None;
    }
    let named = message.first().and_then(|first| {
        let (name, rest) = first.split_once(": ")?;
        let is_class = name.ends_with("Error") && !name.contains(' ');
        is_class.then(|| (name.to_owned(), rest.to_owned()))
    });
    let text = message.join("\n");
    let (class, text) = match named {
        Some((name, rest)) => (
            format!("node {name}"),
            [rest, message[1..].join("\n")].join("\n"),
        ),
        None => ("node expect".to_owned(), text),
    };
    let timed_out = text.contains("Exceeded timeout of ") || text.contains("Test timed out in ");
    let kind = if timed_out {
        SymptomKind::Timeout
    } else if class == "node expect" {
        SymptomKind::Assertion
    } else {
        crate::kind_of(&class, &text)
    };
    Some((Found::new(Rank::Runner, kind, &class, &text, frames), taken))
}

/// A line of source: `> 5 |   expect(...)`
fn is_code(text: &str) -> bool {
    let text = text.trim_start_matches(['>', ' ']);
    let rest = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
    rest.trim_start().starts_with('|')
}

fn frame(text: &str) -> Option<Frame> {
    let rest = text
        .strip_prefix("at ")
        .or_else(|| text.strip_prefix("❯ "))?;
    let (function, place) = match rest.rsplit_once(" (") {
        Some((function, place)) => (function, place.strip_suffix(')')?),
        None => rest.rsplit_once(' ').unwrap_or(("", rest)),
    };
    if !has_line_and_column(place) {
        return None;
    }
    let (file, line) = location(place.strip_prefix("file://").unwrap_or(place));
    Some(Frame {
        function: function.trim_start_matches("async ").to_owned(),
        own: !file.contains("node_modules")
            && !file.starts_with("node:")
            && !file.contains("internal/"),
        file,
        line,
    })
}
