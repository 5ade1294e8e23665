//! What test runners, assertions, runtimes and debuggers write, found anywhere in an output.
//!
//! Each reader is a function from a place in the lines to what begins there, if anything does.

mod asserts;
mod dumps;
mod frameworks;
mod gdb;
mod go;
mod jest;
mod libfuzzer;
mod pytest;
mod race;
mod runtime;

use std::time::SystemTime;

use cohort_model::{Frame, Symptom, SymptomKind};

use crate::exceptions::{Parser, Raised, boundary};
pub(crate) use dumps::frame as python_frame;
pub(crate) use gdb::frame as gdb_frame;
pub(crate) use pytest::of_summary;

/// How telling a report is, the most telling first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// It saw the fault itself happen.
    Sanitizer,
    /// The runner's own words, with a place.
    Runner,
    /// A check of the program itself.
    Check,
    /// An exception nobody caught, or somebody logged.
    Exception,
    /// A line that says "error", of whatever was run.
    Word,
    /// Where threads stood: says where, not what.
    Dump,
}

/// Something that was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub rank: Rank,
    pub symptom: Symptom,
    /// Thread, when told.
    pub thread: String,
}

impl Found {
    fn new(rank: Rank, kind: SymptomKind, class: &str, message: &str, frames: Vec<Frame>) -> Found {
        Found {
            rank,
            symptom: Symptom {
                kind,
                class: class.to_owned(),
                message: message.trim().to_owned(),
                frames,
            },
            thread: String::new(),
        }
    }
}

/// A reader: what begins at `lines[at]`, and how many lines it took.
type Reader = fn(lines: &[&str], at: usize) -> Option<(Found, usize)>;

const READERS: [Reader; 12] = [
    race::read,
    pytest::read,
    frameworks::read,
    asserts::read,
    runtime::read,
    jest::read,
    go::read,
    libfuzzer::read,
    dumps::faulthandler,
    dumps::pytest_timeout,
    gdb::read,
    gdb::bare,
];

/// Reports in the order in which they stand, those of one line before exceptions.
pub(crate) fn find(text: &str) -> Vec<Found> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let cut = &line[..boundary(line, 4096)];
        // Most lines begin nothing: no reader knows an empty one.
        let read = if cut.trim().is_empty() {
            None
        } else {
            READERS.iter().find_map(|reader| reader(&lines, at))
        };
        match read {
            Some((one, taken)) => {
                found.push(one);
                at += taken.max(1);
            }
            None => at += 1,
        }
    }
    found.extend(exceptions(&lines));
    found
}

fn exceptions(lines: &[&str]) -> Vec<Found> {
    let mut parser = Parser::default();
    let mut raised: Vec<Raised> = lines
        .iter()
        .flat_map(|line| parser.take(line, SystemTime::UNIX_EPOCH))
        .collect();
    raised.extend(parser.finish());
    raised
        .into_iter()
        .filter(|one| !one.plain_line)
        .map(|one| {
            let kind = crate::kind_of(&one.kind, &one.message);
            let rank = match kind {
                SymptomKind::Sanitizer => Rank::Sanitizer,
                _ => Rank::Exception,
            };
            let (kind, class) =
                pytest::timed_out(&one.kind, &one.message).unwrap_or((kind, one.kind));
            let mut found = Found::new(rank, kind, &class, &one.message, one.frames);
            found.thread = one.thread;
            found
        })
        .collect()
}

/// Own code of a compiled program: not of the system's libraries, a test framework's or the toolchain's.
pub(crate) fn is_own_native(function: &str, file: &str) -> bool {
    // Names that begin so are reserved for the language and its runtime, or are of frameworks.
    const STARTS: [&str; 12] = [
        "__",
        "_start",
        "_int_",
        "std::",
        "core::",
        "alloc::",
        "operator ",
        "fuzzer::",
        "testing::",
        "Catch::",
        "doctest::",
        "boost::unit_test",
    ];
    const NAMES: [&str; 14] = [
        "abort",
        "raise",
        "gsignal",
        "kill",
        "exit",
        "_Exit",
        "malloc",
        "calloc",
        "realloc",
        "free",
        "sysmalloc",
        "start_thread",
        "clone",
        "clone3",
    ];
    const FILES: [&str; 18] = [
        "/usr/include/",
        "/usr/lib",
        "/lib/x86_64",
        "/lib/aarch64",
        "/lib64/",
        "/sysdeps/",
        "/glibc",
        "/nptl/",
        "/libsanitizer/",
        "compiler-rt",
        "/include/c++/",
        "/rustc/",
        ".cargo/registry",
        "/googletest/",
        "/gtest/",
        "./malloc/",
        "./stdlib/",
        "./string/",
    ];
    // Rust's own, as its debug information names them without a directory.
    const LIBRARIES: [&str; 4] = [
        "library/alloc/",
        "library/core/",
        "library/std/",
        "library/test/",
    ];
    let function = function.trim_start_matches(['<', '&']);
    // `raise () from ...`, `free(void*)`
    let name = function.split(['(', ' ', '@']).next().unwrap_or(function);
    !STARTS.iter().any(|start| function.starts_with(start))
        && !NAMES.contains(&name)
        && !FILES.iter().any(|part| file.contains(part))
        && !file.starts_with("../sysdeps")
        && !LIBRARIES.iter().any(|start| file.starts_with(start))
}

/// `file` looks like one with source in it.
fn is_source(file: &str) -> bool {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    let Some((stem, extension)) = name.rsplit_once('.') else {
        return false;
    };
    const EXTENSIONS: [&str; 34] = [
        "c", "cc", "cpp", "cxx", "c++", "h", "hh", "hpp", "hxx", "inl", "m", "mm", "rs", "py",
        "go", "js", "ts", "jsx", "tsx", "mjs", "cjs", "java", "kt", "scala", "rb", "php", "cs",
        "swift", "zig", "sh", "bats", "lua", "pl", "ml",
    ];
    !stem.is_empty() && EXTENSIONS.contains(&extension)
}

/// `file:line` or `file:line:column` at the beginning of a text, and what follows the colon behind.
fn leading_place(text: &str) -> Option<(Frame, &str)> {
    let colon = text.find(':')?;
    let mut colon = colon;
    // A drive's letter.
    if colon == 1 {
        colon = 2 + text[2..].find(':')?;
    }
    let file = &text[..colon];
    if file.contains(char::is_whitespace) || !is_source(file) {
        return None;
    }
    let (line, mut rest) = digits(&text[colon + 1..])?;
    if let Some(after) = rest.strip_prefix(':')
        && let Some((_, more)) = digits(after)
    {
        rest = more;
    }
    let frame = Frame {
        function: String::new(),
        file: file.to_owned(),
        line,
        own: is_own_native("", file),
    };
    Some((frame, rest.strip_prefix(':').unwrap_or(rest)))
}

/// `file(line)` at the beginning of a text, and what follows the colon behind.
fn leading_place_in_brackets(text: &str) -> Option<(Frame, &str)> {
    let open = text.find('(')?;
    let file = &text[..open];
    if file.contains(char::is_whitespace) || !is_source(file) {
        return None;
    }
    let (line, rest) = digits(&text[open + 1..])?;
    let frame = Frame {
        function: String::new(),
        file: file.to_owned(),
        line,
        own: is_own_native("", file),
    };
    Some((frame, rest.strip_prefix(')')?.strip_prefix(':')?))
}

fn digits(text: &str) -> Option<(u32, &str)> {
    let end = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}
