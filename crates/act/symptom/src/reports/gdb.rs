//! Backtraces of gdb and of `eu-stack`, `pstack`, systemd-coredump: the first stack, or the one after
//! the signal.
//!
//! ```text
//! Program terminated with signal SIGSEGV, Segmentation fault.
//! #0  0x000055d1 in total (n=3) at src/cart.c:12
//! #1  main () at src/main.c:5
//! ```

use cohort_model::{Frame, SymptomKind};

use super::{Found, Rank, is_own_native};
use crate::exceptions::sanitizer;

/// Lines of one stack.
const LINES_MAX: usize = 2000;

pub(super) fn read(lines: &[&str], at: usize) -> Option<(Found, usize)> {
    let signal = signal(lines[at]);
    let first = match signal {
        // Its stack follows, some lines of the source or of threads later.
        Some(_) => (at + 1..lines.len().min(at + 200)).find(|at| is_first(lines[*at]))?,
        None if is_first(lines[at]) => at,
        None => return None,
    };
    let mut frames: Vec<Frame> = Vec::new();
    let mut end = first;
    for line in lines[first..].iter().take(LINES_MAX) {
        match frame(line) {
            Some((0, _)) if end > first => break,
            Some((_, frame)) => {
                // gdb tells where a handler of a signal was called: what is above is not the fault.
                if frame.function == "<signal handler called>" {
                    frames.clear();
                } else {
                    frames.push(frame);
                }
            }
            // A frame may go on over several lines.
            None if line.starts_with([' ', '\t']) => take_place(&mut frames, line),
            None => break,
        }
        end += 1;
    }
    let class = signal.unwrap_or_else(|| "backtrace".to_owned());
    let found = Found::new(Rank::Dump, SymptomKind::Signal, &class, "", frames);
    Some((found, end - at))
}

/// A stack in the form of the sanitizers, without a report of theirs around it (libFuzzer, a program
/// that printed it by itself).
pub(super) fn bare(lines: &[&str], at: usize) -> Option<(Found, usize)> {
    let is_first = |line: &str| line.trim_start().starts_with("#0 0x");
    if !is_first(lines[at]) {
        return None;
    }
    let frames: Vec<Frame> = lines[at..]
        .iter()
        .take(LINES_MAX)
        .enumerate()
        .take_while(|(index, line)| *index == 0 || !is_first(line))
        .map_while(|(_, line)| Some(sanitizer::frame(line.trim())?.1))
        .collect();
    let taken = frames.len();
    let found = Found::new(Rank::Dump, SymptomKind::Signal, "backtrace", "", frames);
    Some((found, taken))
}

/// `Program received signal SIGSEGV, ...`, `Thread 2 "x" received signal ...`
fn signal(line: &str) -> Option<String> {
    let rest = line
        .split_once("received signal ")
        .or_else(|| line.split_once("terminated with signal "))?
        .1;
    let name = rest.split([',', ' ', '.']).next()?;
    name.starts_with("SIG").then(|| name.to_owned())
}

fn is_first(line: &str) -> bool {
    // Two blanks: sanitizers write one.
    line.starts_with("#0  ") && frame(line).is_some()
}

/// `#1  0x000055d1 in total (n=3) at src/cart.c:12`, `... from /lib/libc.so.6`
pub(crate) fn frame(line: &str) -> Option<(u32, Frame)> {
    let (number, rest) = line.trim_start().strip_prefix('#')?.split_once(' ')?;
    let number = number.parse().ok()?;
    let rest = rest.trim_start();
    if rest.starts_with("<signal handler called>") {
        let frame = Frame {
            function: "<signal handler called>".to_owned(),
            ..Frame::default()
        };
        return Some((number, frame));
    }
    let rest = match rest.split_once(" in ") {
        Some((address, rest)) if address.starts_with("0x") => rest,
        _ => rest,
    };
    let (call, place) = match rest.rsplit_once(" at ") {
        Some((call, place)) => (call, place),
        None => rest.rsplit_once(" from ").unwrap_or((rest, "")),
    };
    // `total<int> (n=3)`: the arguments stand behind a blank.
    let function = match arguments(call) {
        Some(open) if call.starts_with("operator") => &call[..open.max(call.len().min(10))],
        Some(open) => &call[..open],
        None => call.split(" [").next().unwrap_or(call),
    };
    let (file, line) = crate::exceptions::location(place.trim());
    let frame = Frame {
        function: function.trim().to_owned(),
        own: is_own_native(function.trim(), &file) && function.trim() != "??",
        file,
        line,
    };
    Some((number, frame))
}

/// Where the arguments begin; brackets within generics are not theirs.
fn arguments(call: &str) -> Option<usize> {
    let bytes = call.as_bytes();
    let mut depth = 0_u32;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'<' => depth += 1,
            b'>' if at > 0 && bytes[at - 1] != b'-' => depth = depth.saturating_sub(1),
            b' ' if depth == 0 && bytes.get(at + 1) == Some(&b'(') => return Some(at),
            _ => {}
        }
    }
    // `operator<`, which closes nothing.
    call.find(" (")
}

fn take_place(frames: &mut [Frame], line: &str) {
    let Some(last) = frames.last_mut() else {
        return;
    };
    if let Some((_, place)) = line.rsplit_once("at ")
        && last.file.is_empty()
    {
        let (file, number) = crate::exceptions::location(place.trim());
        last.own = last.own && is_own_native("", &file);
        last.file = file;
        last.line = number;
    }
}
