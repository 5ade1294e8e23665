//! Reports of libFuzzer about what the program under it did: it catches the signal itself, and ends with an exit code.
//!
//! ```text
//! ==123== ERROR: libFuzzer: deadly signal
//!     #0 0x... in __sanitizer_print_stack_trace (/app/fuzz+0x68d14)
//!     #7 0x... in LLVMFuzzerTestOneInput /app/fuzz.c:6:76
//! ```

use cohort_model::{Frame, SymptomKind};

use super::{Found, Rank};
use crate::exceptions::sanitizer;

const HEAD: &str = "ERROR: libFuzzer: ";
/// Most lines of a stack, and between the head and it.
const LINES_MAX: usize = 256;
const BEFORE_MAX: usize = 12;

pub(super) fn read(lines: &[&str], at: usize) -> Option<(Found, usize)> {
    let said = lines[at].split_once(HEAD)?.1.trim();
    let (kind, class) = match said {
        _ if said.starts_with("deadly signal") => (SymptomKind::Signal, "deadly signal"),
        _ if said.starts_with("timeout") => (SymptomKind::Timeout, "timeout"),
        _ if said.starts_with("out-of-memory") => (SymptomKind::OutOfMemory, "out of memory"),
        _ if said.starts_with("fuzz target exited") => (SymptomKind::Abort, "exit"),
        _ => (SymptomKind::Abort, "error"),
    };
    let rest = &lines[at + 1..];
    let is_frame = |line: &&str| line.trim_start().starts_with("#0 ");
    let first = rest.iter().take(BEFORE_MAX).position(is_frame);
    let frames: Vec<Frame> = first
        .into_iter()
        .flat_map(|first| &rest[first..])
        .take(LINES_MAX)
        .map_while(|line| Some(sanitizer::frame(line.trim())?.1))
        .collect();
    let taken = 1 + first.map_or(0, |first| first + frames.len());
    let class = format!("libFuzzer {class}");
    // A panic or a sanitizer says more of the same fault.
    Some((Found::new(Rank::Word, kind, &class, said, frames), taken))
}
