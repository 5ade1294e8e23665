//! Backtraces of Ruby: of a program that ends by itself, of loggers, WEBrick and Rails.
//!
//! ```text
//! app.rb:12:in 'total': undefined method 'price' for nil (NoMethodError)
//!     from app.rb:30:in 'block in <main>'
//!
//! [2026-11-26 12:00:00] ERROR NoMethodError: undefined method 'price' for nil
//!     app.rb:12:in 'total'
//! ```
//!
//! The second is known by its first place; its head is looked for in the lines before.

use std::collections::VecDeque;

use super::{Block, Frame, Raised, Take};

const SOURCES: [&str; 5] = [".rb:", ".ru:", ".erb:", ".rake:", ".haml:"];
const LIBRARIES: [&str; 4] = ["/gems/", "/lib/ruby/", "/rubygems", "<internal:"];

#[derive(Debug)]
struct Backtrace {
    class: String,
    message: String,
    frames: Vec<Frame>,
}

pub(super) fn start(line: &str, before: &VecDeque<String>) -> Option<(usize, Box<dyn Block>)> {
    let (first, rest) = place(line)?;
    let (class, message) = match rest.strip_prefix(": ") {
        Some(said) => named_behind(said)?,
        None if rest.is_empty() => said_before(before)?,
        None => return None,
    };
    let backtrace = Backtrace {
        class,
        message,
        frames: vec![first],
    };
    Some((0, Box::new(backtrace)))
}

/// `file.rb:12:in 'function'` and what follows.
fn place(line: &str) -> Option<(Frame, &str)> {
    let (at, source) = SOURCES
        .iter()
        .filter_map(|source| Some((line.find(source)?, source)))
        .min()?;
    let begin = line[..at].rfind(char::is_whitespace).map_or(0, |it| it + 1);
    let file = &line[begin..at + source.len() - 1];
    let (number, rest) = line[at + source.len()..].split_once(":in ")?;
    let rest = rest.strip_prefix(['`', '\''])?;
    let (function, rest) = rest.split_once('\'')?;
    Some((
        Frame {
            function: function.to_owned(),
            file: file.to_owned(),
            line: number.parse().ok()?,
            own: !LIBRARIES.iter().any(|part| file.contains(part)),
        },
        rest,
    ))
}

/// `message (Class)`
fn named_behind(said: &str) -> Option<(String, String)> {
    let (message, class) = said.trim_end().strip_suffix(')')?.rsplit_once(" (")?;
    is_class(class).then(|| (class.to_owned(), message.trim().to_owned()))
}

/// The head in the lines before. The code that failed may stand within the message, and the class
/// behind the carets below it; the message is the line before them, then.
fn said_before(before: &VecDeque<String>) -> Option<(String, String)> {
    let mut lines = before.iter().rev();
    let (class, message) = lines.find_map(|line| head(line))?;
    let is_below_code = message.chars().all(|letter| matches!(letter, '^' | '~'));
    if message.is_empty() || !is_below_code {
        return Some((class, message));
    }
    let said = lines.find(|line| !line.is_empty() && !line.starts_with(' '));
    Some((
        class,
        said.map(|line| behind_level(line)).unwrap_or_default(),
    ))
}

/// What a line of the logger says: `E, [time #123] ERROR -- name: message`.
fn behind_level(line: &str) -> String {
    let said = line.split_once(" -- ").and_then(|it| it.1.split_once(": "));
    said.map_or(line, |(_, said)| said).trim().to_owned()
}

/// `Class: message`, `Class (message):` or `message (Class)`, something before it or not.
fn head(line: &str) -> Option<(String, String)> {
    // WEBrick writes the code that failed behind the message, on the same line.
    let line = line.split_once("\\n").map_or(line, |(line, _)| line);
    let is_part = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | ':');
    for word in line.split(|letter: char| !is_part(letter)) {
        let class = word.trim_end_matches(':');
        let is_error = ["Error", "Exception", "Failure"]
            .iter()
            .any(|end| class.ends_with(end));
        if !is_class(class) || !(is_error || class.contains("::")) {
            continue;
        }
        let (_, rest) = line.split_once(class)?;
        if let Some(message) = rest.strip_prefix(": ") {
            return Some((class.to_owned(), message.trim().to_owned()));
        }
        let bracketed = rest.strip_prefix(" (").and_then(|it| it.strip_suffix("):"));
        if let Some(message) = bracketed {
            return Some((class.to_owned(), message.trim().to_owned()));
        }
    }
    let (class, message) = named_behind(line)?;
    Some((class, behind_level(&message)))
}

/// `NoMethodError`, `ActiveRecord::RecordNotFound`
fn is_class(text: &str) -> bool {
    text.split("::").all(|part| {
        part.starts_with(|letter: char| letter.is_uppercase())
            && part.chars().all(|it| it.is_alphanumeric() || it == '_')
    }) && text.contains(|letter: char| letter.is_lowercase())
}

impl Block for Backtrace {
    fn take(&mut self, line: &str) -> Take {
        match place(line) {
            // Without `from`, what names an exception itself is another one.
            Some((_, rest)) if rest.starts_with(": ") && named_behind(rest).is_some() => {
                Take::Ended
            }
            Some((frame, _)) => {
                if self.frames.len() < super::FRAMES_MAX {
                    self.frames.push(frame);
                }
                Take::Part
            }
            // The code that failed, with carets below.
            None if line.is_empty() || line.starts_with([' ', '\t']) => Take::Part,
            None => Take::Ended,
        }
    }

    fn raised(self: Box<Self>) -> Raised {
        Raised {
            kind: format!("ruby {}", self.class),
            message: self.message,
            frames: self.frames,
            plain_line: false,
            thread: String::new(),
        }
    }
}
