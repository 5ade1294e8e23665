//! Panics and fatal errors of Go programs: the first goroutine counts.
//!
//! ```text
//! panic: runtime error: index out of range [5] with length 3
//!
//! goroutine 1 [running]:
//! main.load(...)
//!     /app/main.go:12 +0x1d
//! exit status 2
//! ```

use super::{Block, Frame, Raised, Take, location};

/// Lines between the head and the goroutine.
const HEAD_LINES_MAX: u32 = 6;
const LIBRARIES: [&str; 5] = ["runtime.", "runtime/", "net/http.", "panic(", "testing."];

#[derive(Debug, Default)]
struct Panic {
    class: &'static str,
    message: String,
    lines: u32,
    /// Number of goroutines seen.
    goroutines: u32,
    frames: Vec<Frame>,
    /// The next place is where the goroutine was started.
    created: bool,
}

pub(super) fn start(line: &str) -> Option<(usize, Box<dyn Block>)> {
    for (head, class) in [
        ("panic: ", "panic"),
        ("http: panic serving ", "panic"),
        ("fatal error: ", "fatal error"),
    ] {
        let Some(at) = line.find(head) else { continue };
        let is_stamped =
            line[..at].bytes().any(|byte| byte.is_ascii_digit()) && line[..at].ends_with(' ');
        if at > 0 && !is_stamped {
            continue;
        }
        let rest = &line[at + head.len()..];
        // http: panic serving 127.0.0.1:4711: message
        let message = if head.starts_with("http") {
            rest.split_once(": ").map_or(rest, |(_, message)| message)
        } else {
            rest
        };
        let panic = Panic {
            class,
            message: message.trim_end_matches(" [recovered]").trim().to_owned(),
            ..Panic::default()
        };
        return Some((at, Box::new(panic)));
    }
    None
}

impl Panic {
    fn take_frame(&mut self, line: &str) -> bool {
        let text = line.trim();
        if line.starts_with(['\t', ' ']) && text.contains(".go:") {
            let place = text.split(' ').next().unwrap_or(text);
            let (file, number) = location(place);
            let own = !file.contains("/go/src/") && !file.contains("/pkg/mod/");
            if !std::mem::take(&mut self.created)
                && let Some(frame) = self.frames.last_mut()
            {
                frame.own = frame.own && own;
                frame.file = file;
                frame.line = number;
            }
            return true;
        }
        if text.starts_with("created by ") {
            self.created = true;
            return true;
        }
        let Some(open) = text.rfind('(').filter(|_| text.ends_with(')')) else {
            return false;
        };
        if text.starts_with("panic(") {
            // What is above only carries the panic out.
            self.frames.clear();
            return true;
        }
        if self.frames.len() < super::FRAMES_MAX {
            self.frames.push(Frame {
                function: text[..open].to_owned(),
                own: !LIBRARIES.iter().any(|library| text.starts_with(library)),
                ..Frame::default()
            });
        }
        true
    }
}

impl Block for Panic {
    fn take(&mut self, line: &str) -> Take {
        let text = line.trim();
        if text.starts_with("goroutine ") && text.ends_with(':') {
            self.goroutines += 1;
            return Take::Part;
        }
        if text.starts_with("exit status ") {
            return Take::Last;
        }
        match self.goroutines {
            0 => {
                self.lines += 1;
                let belongs = text.is_empty()
                    || text.starts_with("[signal ")
                    || text.starts_with("panic: ")
                    || text.starts_with("runtime: ")
                    || text.starts_with("runtime stack:");
                match belongs {
                    true if self.lines <= HEAD_LINES_MAX => Take::Part,
                    _ => Take::Foreign,
                }
            }
            1 => {
                if self.take_frame(line) || text.is_empty() {
                    Take::Part
                } else {
                    Take::Ended
                }
            }
            _ => {
                let belongs = text.is_empty()
                    || text.contains(".go:")
                    || text.ends_with(')')
                    || text.starts_with("created by ");
                if belongs { Take::Part } else { Take::Ended }
            }
        }
    }

    fn raised(self: Box<Self>) -> Raised {
        Raised {
            kind: format!("go {}", self.class),
            message: self.message,
            // Other programs say "panic:" and "fatal error:" too.
            plain_line: self.goroutines == 0,
            frames: self.frames,
            thread: String::new(),
        }
    }
}
