//! Stack traces of Java and its kin: the innermost cause counts.
//!
//! ```text
//! Exception in thread "main" java.lang.IllegalStateException: message
//!     at com.example.App.main(App.java:12)
//! Caused by: java.lang.NullPointerException: message
//!     at com.example.Dao.load(Dao.java:7)
//!     ... 1 more
//! ```
//!
//! A trace is known by its first frame; its head is looked for in the lines before.

use std::collections::VecDeque;

use super::{Block, Frame, Raised, Take};

const LIBRARIES: [&str; 23] = [
    "java.",
    "javax.",
    "jakarta.",
    "jdk.",
    "sun.",
    "com.sun.",
    "kotlin.",
    "scala.",
    "org.springframework.",
    "org.apache.",
    "org.hibernate.",
    "org.eclipse.",
    "io.netty.",
    "io.undertow.",
    "reactor.",
    "com.zaxxer.",
    "org.junit.",
    "junit.",
    "org.opentest4j.",
    "org.testng.",
    "org.assertj.",
    "org.hamcrest.",
    "org.gradle.",
];

#[derive(Debug)]
struct Trace {
    class: String,
    message: String,
    frames: Vec<Frame>,
    /// Frames of a suppressed exception are not this one's.
    suppressed: bool,
}

pub(super) fn start(line: &str, before: &VecDeque<String>) -> Option<(usize, Box<dyn Block>)> {
    let first = frame(line.trim())?;
    let (class, message) = before.iter().rev().find_map(|line| head(line))?;
    let trace = Trace {
        class,
        message,
        frames: vec![first],
        suppressed: false,
    };
    Some((0, Box::new(trace)))
}

/// `at [loader/][module/]package.Class.method(File.java:12)`
fn frame(text: &str) -> Option<Frame> {
    let (function, place) = text.strip_prefix("at ")?.split_once('(')?;
    let (place, _) = place.split_once(')')?;
    let function = function.rsplit('/').next().unwrap_or(function);
    let is_name = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|it| it.is_alphanumeric() || matches!(it, '_' | '$' | '<' | '>'))
    };
    if !function.contains('.') || !function.split('.').all(is_name) {
        return None;
    }
    let (file, line) = place.split_once(':').unwrap_or((place, "0"));
    let is_source = [".java", ".kt", ".scala", ".groovy", ".clj"]
        .iter()
        .any(|end| file.ends_with(end));
    let is_known =
        is_source || matches!(place, "Native Method" | "Unknown Source") || place.starts_with('<');
    is_known.then(|| Frame {
        function: function.to_owned(),
        file: if is_source {
            file.to_owned()
        } else {
            String::new()
        },
        line: line.parse().unwrap_or(0),
        own: !LIBRARIES
            .iter()
            .any(|library| function.starts_with(library)),
    })
}

/// A class of an exception somewhere in the line, and what follows its colon.
pub(super) fn head(line: &str) -> Option<(String, String)> {
    let mut rest = line;
    while let Some(at) = rest.find(|letter: char| letter.is_alphabetic()) {
        let word_end = rest[at..]
            .find(|it: char| !(it.is_alphanumeric() || matches!(it, '.' | '_' | '$')))
            .map_or(rest.len(), |end| at + end);
        let word = &rest[at..word_end];
        let after = &rest[word_end..];
        let last = word.rsplit('.').next().unwrap_or_default();
        let is_class = word.contains('.')
            && last.starts_with(|letter: char| letter.is_uppercase())
            && word.split('.').all(|part| !part.is_empty())
            && (after.is_empty() || after.starts_with(':'));
        if is_class {
            let message = after.trim_start_matches(':').trim();
            return Some((word.to_owned(), message.to_owned()));
        }
        rest = after;
    }
    None
}

impl Block for Trace {
    fn take(&mut self, line: &str) -> Take {
        let text = line.trim();
        if let Some(frame) = frame(text) {
            if !self.suppressed && self.frames.len() < super::FRAMES_MAX {
                self.frames.push(frame);
            }
            return Take::Part;
        }
        if let Some(cause) = text.strip_prefix("Caused by: ") {
            if let Some((class, message)) = head(cause) {
                self.class = class;
                self.message = message;
                self.frames.clear();
            }
            self.suppressed = false;
            return Take::Part;
        }
        if text.starts_with("Suppressed: ") {
            self.suppressed = true;
            return Take::Part;
        }
        if text.starts_with("... ") {
            Take::Part
        } else {
            Take::Ended
        }
    }

    fn raised(self: Box<Self>) -> Raised {
        let class = self.class.rsplit(['.', '$']).next().unwrap_or(&self.class);
        Raised {
            kind: format!("java {class}"),
            message: self.message,
            frames: self.frames,
            plain_line: false,
            thread: String::new(),
        }
    }
}
