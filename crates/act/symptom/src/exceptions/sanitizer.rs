//! Reports of AddressSanitizer and its kin: class and first stack.
//!
//! ```text
//! ==123==ERROR: AddressSanitizer: heap-use-after-free on address 0x...
//!     #0 0x4f in load /src/cart.c:12:3
//! SUMMARY: AddressSanitizer: heap-use-after-free /src/cart.c:12:3 in load
//! ```
//! ```text
//! /src/cart.c:5:3: runtime error: signed integer overflow: 2147483647 + 1 ...
//! ```

use super::{Block, Frame, Raised, Take, has_line_and_column, location};

#[derive(Debug, Default)]
struct Report {
    tool: String,
    class: String,
    message: String,
    frames: Vec<Frame>,
    stacks: u32,
    /// Undefined behaviour: a single line, with a stack only when asked for.
    is_line: bool,
}

pub(super) fn start(line: &str) -> Option<(usize, Box<dyn Block>)> {
    report(line).or_else(|| undefined(line))
}

fn report(line: &str) -> Option<(usize, Box<dyn Block>)> {
    let end = line.find("Sanitizer: ")? + "Sanitizer".len();
    let (before, rest) = (&line[..end], &line[end + 2..]);
    let (head, tool) = before.rsplit_once(": ")?;
    if !head.ends_with("ERROR") && !head.ends_with("WARNING") {
        return None;
    }
    let class_end = [" on ", " (", ": "]
        .iter()
        .filter_map(|stop| rest.find(stop))
        .min();
    let class = &rest[..class_end.unwrap_or(rest.len())];
    let report = Report {
        tool: tool.to_owned(),
        class: class.trim().to_owned(),
        message: rest.to_owned(),
        ..Report::default()
    };
    // The process id before it is no prefix of what follows.
    Some((0, Box::new(report)))
}

fn undefined(line: &str) -> Option<(usize, Box<dyn Block>)> {
    let (place, message) = line.split_once(": runtime error: ")?;
    let place = place.rsplit(' ').next().unwrap_or(place);
    if !has_line_and_column(place) {
        return None;
    }
    let (file, number) = location(place);
    let frame = Frame {
        function: String::new(),
        file,
        line: number,
        own: true,
    };
    let class = message.split(':').next().unwrap_or(message);
    let report = Report {
        tool: "UndefinedBehaviorSanitizer".to_owned(),
        class: super::normalized(class),
        message: message.to_owned(),
        frames: vec![frame],
        stacks: 0,
        is_line: true,
    };
    Some((0, Box::new(report)))
}

/// `#0 0x4f in load /src/cart.c:12:3` or `#0 load /src/cart.c:12 (binary+0x4f)`
pub(crate) fn frame(text: &str) -> Option<(bool, Frame)> {
    let (number, rest) = text.strip_prefix('#')?.split_once(' ')?;
    let number: u32 = number.parse().ok()?;
    let rest = match rest.split_once(" in ") {
        Some((address, rest)) if address.starts_with("0x") => rest,
        // Without a function: `#0 0x4f  /src/memmove.S:3` or `#0 0x4f  (/lib/libc.so.6+0x2)`.
        _ if rest.starts_with("0x") => rest.split_once(' ').map_or("", |(_, place)| place),
        _ => rest,
    };
    let rest = rest.split(" (/").next().unwrap_or(rest).trim_end();
    // `(binary+0x4f)` of TSan stands behind the place.
    let rest = match rest.rsplit_once(" (") {
        Some((before, module)) if module.contains("+0x") => before,
        _ => rest,
    };
    let (function, place) = rest.rsplit_once(' ').unwrap_or((rest, ""));
    let (file, line) = location(place);
    // The return type of a template stands before it.
    let name = function.strip_prefix("void ").unwrap_or(function);
    let own = crate::reports::is_own_native(name, &file) && !(name.is_empty() && file.is_empty());
    let frame = Frame {
        function: function.to_owned(),
        file,
        line,
        own,
    };
    Some((number == 0, frame))
}

impl Block for Report {
    fn take(&mut self, line: &str) -> Take {
        let text = line.trim();
        if text.starts_with("SUMMARY: ") {
            return Take::Last;
        }
        if let Some((is_first, frame)) = frame(text) {
            self.stacks += u32::from(is_first);
            if self.stacks <= 1 && self.frames.len() < super::FRAMES_MAX {
                self.frames.push(frame);
            }
            return Take::Part;
        }
        if self.is_line {
            Take::Ended
        } else {
            Take::Part
        }
    }

    fn raised(self: Box<Self>) -> Raised {
        Raised {
            kind: format!("{} {}", self.tool, self.class),
            message: self.message,
            frames: self.frames,
            plain_line: false,
            thread: String::new(),
        }
    }
}
