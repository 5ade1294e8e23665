//! Tracebacks of Python programs, chained ones included: the last of a chain counts.
//!
//! ```text
//! Traceback (most recent call last):
//!   File "app.py", line 3, in f
//!     g()
//! ValueError: message
//!                                                       (blank)
//! During handling of the above exception, another exception occurred:
//! ```

use super::{Block, Frame, Raised, Take};

const HEAD: &str = "Traceback (most recent call last):";
/// Between two tracebacks of a chain.
const LINKS: [&str; 2] = [
    "During handling of the above exception",
    "The above exception was the direct cause",
];

/// Lines of a logger look like the name of an exception: `INFO: ready`.
const LEVELS: [&str; 6] = ["DEBUG", "INFO", "WARNING", "WARN", "ERROR", "CRITICAL"];

#[derive(Debug, Default)]
struct Traceback {
    frames: Vec<Frame>,
    class: String,
    message: String,
    stage: Stage,
    /// Of several exceptions at once: a bar stands before each line.
    is_group: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Frames,
    /// The exception was named.
    Named,
    /// Another traceback was announced.
    Linked,
}

pub(super) fn start(line: &str) -> Option<(usize, Box<dyn Block>)> {
    let at = line.find(HEAD)?;
    let is_group = line[..at].ends_with("Exception Group ");
    let traceback = Traceback {
        is_group,
        ..Traceback::default()
    };
    Some((if is_group { 0 } else { at }, Box::new(traceback)))
}

impl Traceback {
    fn take_frame(&mut self, line: &str) -> bool {
        let Some(rest) = line.trim_start().strip_prefix("File \"") else {
            return false;
        };
        let Some((file, rest)) = rest.split_once("\", line ") else {
            return false;
        };
        let (number, function) = rest.split_once(", in ").unwrap_or((rest, ""));
        if self.frames.len() == super::FRAMES_MAX {
            self.frames.remove(0);
        }
        self.frames.push(Frame {
            function: function.trim().to_owned(),
            file: file.to_owned(),
            line: number.trim().parse().unwrap_or(0),
            own: is_own(file),
        });
        true
    }

    fn take_name(&mut self, line: &str) -> bool {
        let (class, message) = line.split_once(':').unwrap_or((line, ""));
        let is_name = |part: &str| {
            part.starts_with(|letter: char| letter.is_alphabetic() || letter == '_')
                && part
                    .chars()
                    .all(|letter| letter.is_alphanumeric() || letter == '_')
        };
        let class = class.trim_end();
        if LEVELS.contains(&class) || !class.split('.').all(is_name) {
            return false;
        }
        class.clone_into(&mut self.class);
        message.trim().clone_into(&mut self.message);
        self.stage = Stage::Named;
        true
    }
}

pub(crate) fn is_own(file: &str) -> bool {
    ![
        "site-packages",
        "dist-packages",
        "/_pytest/",
        "/lib/python",
        "/lib64/python",
    ]
    .iter()
    .any(|part| file.contains(part))
        && !file.starts_with('<')
}

impl Block for Traceback {
    fn take(&mut self, line: &str) -> Take {
        let line = match line.trim_start().strip_prefix('|') {
            Some(rest) if self.is_group => rest.strip_prefix(' ').unwrap_or(rest),
            _ => line,
        };
        if self.is_group && line.trim_start().starts_with("+-") {
            return Take::Ended;
        }
        if line.contains(HEAD) {
            if self.stage != Stage::Linked {
                return Take::Ended;
            }
            *self = Self::default();
            return Take::Part;
        }
        if self.stage != Stage::Frames {
            if LINKS.iter().any(|link| line.contains(link)) {
                self.stage = Stage::Linked;
                return Take::Part;
            }
            let belongs = line.is_empty() || line.starts_with([' ', '\t']);
            return if belongs { Take::Part } else { Take::Ended };
        }
        if self.take_frame(line) || line.is_empty() || line.starts_with([' ', '\t']) {
            return Take::Part;
        }
        if self.take_name(line) {
            Take::Part
        } else {
            Take::Foreign
        }
    }

    fn raised(mut self: Box<Self>) -> Raised {
        self.frames.reverse();
        let class = self.class.rsplit('.').next().unwrap_or(&self.class);
        let kind = match class {
            "" => String::new(),
            class => format!("python {class}"),
        };
        Raised {
            kind,
            message: self.message,
            frames: self.frames,
            plain_line: false,
            thread: String::new(),
        }
    }
}
