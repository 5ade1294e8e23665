//! Fatal errors of PHP, as the interpreter writes them to its log or a web server to its own.
//!
//! ```text
//! PHP Fatal error:  Uncaught RuntimeException: message in /srv/shop/cart.php:8
//! Stack trace:
//! #0 /srv/shop/index.php(12): Cart->total()
//! #1 {main}
//!   thrown in /srv/shop/cart.php on line 8
//! ```
//!
//! Of a chain the first counts: what follows `Next` was raised because of it.

use super::{Block, Frame, Raised, Take};

/// How an end of the program is announced, and what it is called when no exception was its reason.
const HEADS: [(&str, &str); 3] = [
    ("Fatal error: ", "fatal error"),
    ("Parse error: ", "parse error"),
    ("Recoverable fatal error: ", "fatal error"),
];
/// Where the libraries of a program are.
const LIBRARIES: &str = "/vendor/";

#[derive(Debug)]
struct Fatal {
    class: String,
    message: String,
    frames: Vec<Frame>,
    /// The trace has begun.
    is_traced: bool,
    /// An exception was its reason: a trace follows.
    is_uncaught: bool,
    /// Another one of the chain was announced.
    is_next: bool,
}

pub(super) fn start(line: &str) -> Option<(usize, Box<dyn Block>)> {
    let (name, said) = HEADS
        .iter()
        .find_map(|(head, name)| Some((*name, line.split_once(head)?.1.trim_start())))?;
    let uncaught = said.strip_prefix("Uncaught ");
    let (text, place) = placed(uncaught.unwrap_or(said));
    // Other programs have fatal errors, too; PHP says where.
    if uncaught.is_none() && place.is_none() {
        return None;
    }
    let (class, message) = match uncaught {
        Some(_) => text.split_once(": ").unwrap_or((text, "")),
        None => (name, text),
    };
    let fatal = Fatal {
        class: class.rsplit('\\').next().unwrap_or(class).to_owned(),
        message: message.to_owned(),
        frames: place.into_iter().collect(),
        is_traced: false,
        is_uncaught: uncaught.is_some(),
        is_next: false,
    };
    Some((0, Box::new(fatal)))
}

/// `text in /file.php:8` or `text in /file.php on line 8`, taken apart.
fn placed(text: &str) -> (&str, Option<Frame>) {
    let text = text.trim_end();
    let found = text.rsplit_once(" in ").and_then(|(before, place)| {
        let (file, number) = place
            .rsplit_once(" on line ")
            .or_else(|| place.rsplit_once(':'))?;
        let number = number.parse().ok()?;
        Some((before, frame("", file, number)))
    });
    found.map_or((text, None), |(before, frame)| (before, Some(frame)))
}

fn frame(function: &str, file: &str, line: u32) -> Frame {
    Frame {
        function: function.to_owned(),
        file: file.to_owned(),
        line,
        own: !file.contains(LIBRARIES),
    }
}

/// `#0 /srv/index.php(12): Cart->total()`: the function was called there.
fn call(text: &str) -> Option<Frame> {
    let (number, rest) = text.strip_prefix('#')?.split_once(' ')?;
    number.parse::<u32>().ok()?;
    let (place, function) = rest.split_once("): ")?;
    let (file, line) = place.rsplit_once('(')?;
    let function = function.split('(').next().unwrap_or(function);
    Some(frame(function, file, line.parse().ok()?))
}

impl Block for Fatal {
    fn take(&mut self, line: &str) -> Take {
        if !self.is_uncaught {
            return Take::Ended;
        }
        let text = line.trim();
        if let Some((_, thrown)) = text.split_once("thrown in ") {
            if self.frames.is_empty()
                && let (_, Some(place)) = placed(&format!(" in {thrown}"))
            {
                self.frames.insert(0, place);
            }
            return Take::Last;
        }
        if text == "Stack trace:" {
            self.is_traced = true;
            return Take::Part;
        }
        if text.starts_with("Next ") && self.is_traced {
            self.is_next = true;
            return Take::Part;
        }
        if text.starts_with('#') && self.is_traced {
            if let Some(frame) = call(text).filter(|_| !self.is_next)
                && self.frames.len() < super::FRAMES_MAX
            {
                self.frames.push(frame);
            }
            return Take::Part;
        }
        if self.is_traced {
            return if text.is_empty() {
                Take::Part
            } else {
                Take::Foreign
            };
        }
        // More of the message.
        if self.message.len() > super::MESSAGE_BYTES_MAX {
            return Take::Ended;
        }
        let (more, place) = placed(text);
        self.message = format!("{} {more}", self.message).trim().to_owned();
        self.frames.extend(place);
        Take::Part
    }

    fn raised(self: Box<Self>) -> Raised {
        Raised {
            kind: format!("php {}", self.class),
            message: self.message,
            frames: self.frames,
            plain_line: false,
            thread: String::new(),
        }
    }
}
