//! Stacks of Node and other JavaScript engines.
//!
//! ```text
//! TypeError: Cannot read properties of undefined (reading 'id')
//!     at load (/app/src/cart.js:10:5)
//!     at async /app/src/server.js:3:1 {
//!   code: 'E'
//! }
//! ```
//!
//! A stack is known by its first frame; its head is looked for in the lines before.

use std::collections::VecDeque;

use super::{Block, Frame, Raised, Take, has_line_and_column, location};

#[derive(Debug)]
struct Stack {
    class: String,
    message: String,
    frames: Vec<Frame>,
}

pub(super) fn start(line: &str, before: &VecDeque<String>) -> Option<(usize, Box<dyn Block>)> {
    let first = frame(line.trim())?;
    let (class, message) = before.iter().rev().find_map(|line| head(line))?;
    let stack = Stack {
        class,
        message,
        frames: vec![first],
    };
    Some((0, Box::new(stack)))
}

/// `at [async] function (file:line:column)` or `at file:line:column`
fn frame(text: &str) -> Option<Frame> {
    let rest = text.strip_prefix("at ")?;
    let rest = rest.strip_suffix(" {").unwrap_or(rest);
    let rest = rest.strip_prefix("async ").unwrap_or(rest);
    let (function, place) = match rest.rsplit_once(" (") {
        Some((function, place)) => (function, place.strip_suffix(')')?),
        None => ("", rest),
    };
    let is_native = matches!(place, "<anonymous>" | "native");
    if !is_native && !has_line_and_column(place) {
        return None;
    }
    let (file, line) = location(place.strip_prefix("file://").unwrap_or(place));
    let own = !is_native
        && !file.starts_with("node:")
        && !file.starts_with("internal/")
        && !file.contains("node_modules");
    Some(Frame {
        function: function.to_owned(),
        file,
        line,
        own,
    })
}

/// `TypeError: message`, `Error [CODE]: message` or `Error`, something before it or not.
fn head(line: &str) -> Option<(String, String)> {
    let mut from = 0;
    while let Some(found) = line[from..].find("Error") {
        let end = from + found + "Error".len();
        let begin = line[..end]
            .rfind(|it: char| !(it.is_alphanumeric() || matches!(it, '_' | '$')))
            .map_or(0, |at| {
                at + line[at..].chars().next().map_or(1, char::len_utf8)
            });
        let class = &line[begin..end];
        let rest = &line[end..];
        let rest = match rest.strip_prefix(" [") {
            Some(code) => code.split_once(']').map_or(rest, |(_, rest)| rest),
            None => rest,
        };
        let is_class = class.starts_with(|letter: char| letter.is_uppercase());
        if is_class && (rest.is_empty() || rest.starts_with(':')) {
            let message = rest.trim_start_matches(':').trim();
            return Some((class.to_owned(), message.to_owned()));
        }
        from = end;
    }
    None
}

impl Block for Stack {
    fn take(&mut self, line: &str) -> Take {
        let text = line.trim();
        if let Some(frame) = frame(text) {
            if self.frames.len() < super::FRAMES_MAX {
                self.frames.push(frame);
            }
            return Take::Part;
        }
        if let Some(cause) = text.strip_prefix("[cause]: ")
            && let Some((class, message)) = head(cause)
        {
            self.class = class;
            self.message = message;
            self.frames.clear();
            return Take::Part;
        }
        if text.starts_with("Node.js v") {
            return Take::Last;
        }
        // Properties of the error.
        if text == "}" || line.starts_with("  ") {
            Take::Part
        } else {
            Take::Ended
        }
    }

    fn raised(self: Box<Self>) -> Raised {
        Raised {
            kind: format!("node {}", self.class),
            message: self.message,
            frames: self.frames,
            plain_line: false,
            thread: String::new(),
        }
    }
}
