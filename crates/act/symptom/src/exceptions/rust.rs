//! Panics of Rust programs, as the standard library's hook prints them.
//!
//! ```text
//! thread 'main' panicked at 'message', src/main.rs:5:9            until 1.72
//! thread 'main' panicked at src/main.rs:5:9:                      since, 1.89 with (thread id) before "panicked"
//! message
//! stack backtrace:
//!    0: core::panicking::panic
//!              at /rustc/.../panicking.rs:1:1
//! note: run with `RUST_BACKTRACE=1` ...
//! ```

use super::{Block, Frame, Raised, Take, boundary, location};

/// Lines of a message.
const MESSAGE_LINES_MAX: u32 = 8;
/// Crates whose frames are not the program's own.
const LIBRARIES: [&str; 17] = [
    "std::",
    "core::",
    "alloc::",
    "rust_begin_unwind",
    "rust_panic",
    "__rust",
    "_rust",
    "tokio::",
    "hyper::",
    "hyper_util::",
    "axum::",
    "tower::",
    "test::run_test",
    "test::__rust_begin",
    "test::assert_test_result",
    "test::test_main",
    "test::types::",
];

#[derive(Debug, Default)]
struct Panic {
    thread: String,
    message: String,
    lines: u32,
    location: Option<Frame>,
    frames: Vec<Frame>,
    /// Where the message is looked for.
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Within the quotes of the old form.
    Quoted,
    /// On the next line.
    #[default]
    Expected,
    /// It is there; more of it is indented.
    Said,
    Backtrace,
}

pub(super) fn start(line: &str) -> Option<(usize, Box<dyn Block>)> {
    let at = line.find("thread '")?;
    let (head, rest) = line[at..].split_once(" panicked at ")?;
    let (name, _) = head["thread '".len()..].rsplit_once('\'')?;
    let mut panic = Panic {
        thread: name.to_owned(),
        ..Panic::default()
    };
    match rest.strip_prefix('\'') {
        Some(quoted) => {
            panic.stage = Stage::Quoted;
            panic.take_quoted(quoted);
        }
        None => panic.location = Some(place(rest.trim_end().trim_end_matches(':'))),
    }
    Some((at, Box::new(panic)))
}

fn place(text: &str) -> Frame {
    let (file, line) = location(text.trim());
    let own = is_own_file(&file);
    Frame {
        function: String::new(),
        file,
        line,
        own,
    }
}

fn is_own_file(file: &str) -> bool {
    ![
        "/rustc/",
        ".cargo/registry",
        ".cargo/git",
        "/library/std",
        "/library/core",
    ]
    .iter()
    .any(|part| file.contains(part))
        && !file.starts_with("library/")
}

impl Panic {
    fn take_quoted(&mut self, text: &str) {
        match text.rsplit_once("', ") {
            Some((message, place_text)) if place_text.contains(':') => {
                self.say(message);
                self.location = Some(place(place_text));
                self.stage = Stage::Said;
            }
            _ => self.say(text),
        }
    }

    fn say(&mut self, text: &str) {
        if !self.message.is_empty() {
            self.message.push(' ');
        }
        self.message
            .push_str(&text[..boundary(text, super::MESSAGE_BYTES_MAX)]);
        self.lines += 1;
    }

    /// `0: function`, with an address before it in full backtraces, or `at file:line:column`.
    fn take_frame(&mut self, text: &str) -> bool {
        if let Some(place_text) = text.strip_prefix("at ") {
            if let Some(frame) = self.frames.last_mut() {
                let (file, line) = location(place_text);
                frame.own = frame.own && is_own_file(&file);
                frame.file = file;
                frame.line = line;
            }
            return true;
        }
        let Some((number, function)) = text.split_once(": ") else {
            return false;
        };
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return false;
        }
        let function = function.trim();
        let function = match function.split_once(" - ") {
            Some((address, name)) if address.starts_with("0x") => name,
            _ => function,
        };
        let plain = function.trim_start_matches(['<', '&']);
        let own = !LIBRARIES.iter().any(|library| plain.starts_with(library));
        if self.frames.len() < super::FRAMES_MAX {
            self.frames.push(Frame {
                function: function.to_owned(),
                own,
                ..Frame::default()
            });
        }
        true
    }
}

impl Block for Panic {
    fn take(&mut self, line: &str) -> Take {
        if line.contains(" panicked at ") && line.contains("thread '") {
            return Take::Ended;
        }
        let trimmed = line.trim();
        if trimmed == "stack backtrace:" {
            self.stage = Stage::Backtrace;
            return Take::Part;
        }
        if trimmed.starts_with("note: ") {
            return Take::Last;
        }
        match self.stage {
            Stage::Backtrace => {
                if self.take_frame(trimmed) {
                    Take::Part
                } else {
                    Take::Foreign
                }
            }
            Stage::Quoted => {
                self.take_quoted(trimmed);
                if self.lines > MESSAGE_LINES_MAX {
                    Take::Last
                } else {
                    Take::Part
                }
            }
            Stage::Expected => {
                self.say(trimmed);
                self.stage = Stage::Said;
                Take::Part
            }
            Stage::Said if trimmed.is_empty() => Take::Last,
            Stage::Said if line.starts_with([' ', '\t']) && self.lines < MESSAGE_LINES_MAX => {
                self.say(trimmed);
                Take::Part
            }
            Stage::Said => Take::Foreign,
        }
    }

    fn raised(self: Box<Self>) -> Raised {
        let mut frames = self.frames;
        let has_own = frames.iter().any(|frame| frame.own);
        if let Some(location) = self.location
            && !has_own
        {
            frames.insert(0, location);
        }
        Raised {
            kind: "rust panic".to_owned(),
            message: self.message,
            frames,
            plain_line: false,
            thread: self.thread,
        }
    }
}
