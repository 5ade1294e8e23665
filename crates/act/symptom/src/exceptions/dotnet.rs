//! Exceptions of .NET: the innermost one counts.
//!
//! ```text
//! Unhandled exception. System.InvalidOperationException: message
//!  ---> System.ArgumentNullException: message
//!    at Shop.Stock.Reserve(Int32 item) in /src/Stock.cs:line 20
//!    --- End of inner exception stack trace ---
//!    at Program.Main(String[] args) in /src/Program.cs:line 7
//! ```
//!
//! A trace is known by its first frame; its head is looked for in the lines before.

use std::collections::VecDeque;

use super::{Block, Frame, Raised, Take, java};

const LIBRARIES: [&str; 3] = ["System.", "Microsoft.", "Npgsql."];

#[derive(Debug)]
struct Trace {
    class: String,
    message: String,
    frames: Vec<Frame>,
    /// Frames of the exceptions around it follow.
    is_outer: bool,
}

pub(super) fn start(line: &str, before: &VecDeque<String>) -> Option<(usize, Box<dyn Block>)> {
    let first = frame(line.trim())?;
    let (class, message) = before.iter().rev().find_map(|line| java::head(line))?;
    if !class.ends_with("Exception") {
        return None;
    }
    let trace = Trace {
        class,
        message,
        frames: vec![first],
        is_outer: false,
    };
    Some((0, Box::new(trace)))
}

/// `at Namespace.Class.Method(Type name) in /file.cs:line 12`, the place only when it is known.
fn frame(text: &str) -> Option<Frame> {
    let rest = text.strip_prefix("at ")?;
    let (call, place) = rest.split_once(" in ").unwrap_or((rest, ""));
    let (function, _) = call.strip_suffix(')')?.split_once('(')?;
    if !function.contains('.') || function.contains(' ') {
        return None;
    }
    let (file, line) = place.rsplit_once(":line ").unwrap_or((place, "0"));
    Some(Frame {
        function: function.to_owned(),
        file: file.to_owned(),
        line: line.parse().unwrap_or(0),
        own: !LIBRARIES.iter().any(|it| function.starts_with(it)),
    })
}

impl Block for Trace {
    fn take(&mut self, line: &str) -> Take {
        let text = line.trim();
        if text.starts_with("--- End of inner exception") {
            self.is_outer = true;
            return Take::Part;
        }
        if text.starts_with("--- End of stack trace from previous") {
            return Take::Part;
        }
        let Some(frame) = frame(text) else {
            return Take::Ended;
        };
        if !self.is_outer && self.frames.len() < super::FRAMES_MAX {
            self.frames.push(frame);
        }
        Take::Part
    }

    fn raised(self: Box<Self>) -> Raised {
        let class = self.class.rsplit('.').next().unwrap_or(&self.class);
        Raised {
            kind: format!("dotnet {class}"),
            message: self.message,
            frames: self.frames,
            plain_line: false,
            thread: String::new(),
        }
    }
}
