//! Last words of runtimes: C and C++ libraries, Rust's, V8's; what a shell says of a signal.
//!
//! ```text
//! terminate called after throwing an instance of 'std::out_of_range'
//!   what():  vector::_M_range_check
//! malloc(): corrupted top size            double free or corruption (fasttop)
//! thread 'main' has overflowed its stack  memory allocation of 8 bytes failed
//! ```

use cohort_model::SymptomKind;

use super::{Found, Rank};

/// How glibc and the compilers' own checks begin.
const CHECKS: [&str; 17] = [
    "malloc(): ",
    "malloc_consolidate(): ",
    "free(): ",
    "realloc(): ",
    "calloc(): ",
    "munmap_chunk(): ",
    "double free or corruption",
    "corrupted size vs. prev_size",
    "corrupted double-linked list",
    "corrupted unsorted chunks",
    "tcache_thread_shutdown(): ",
    "*** stack smashing detected ***",
    "*** buffer overflow detected ***",
    "*** longjmp causes uninitialized stack frame ***",
    "pthread_mutex_lock.c:",
    "FATAL: exception not rethrown",
    "pure virtual method called",
];

pub(super) fn read(lines: &[&str], at: usize) -> Option<(Found, usize)> {
    let line = lines[at].trim();
    terminated(lines, at)
        .or_else(|| checked(line))
        .or_else(|| rust(line))
        .or_else(|| memory(line))
        .or_else(|| shell(line))
}

/// Of C++: an exception nobody caught, or a thread that was let go.
fn terminated(lines: &[&str], at: usize) -> Option<(Found, usize)> {
    let line = lines[at].trim();
    let rest = line
        .split_once("terminate called ")
        .map(|(_, rest)| rest)
        .or_else(|| {
            line.split_once("terminating due to uncaught exception of type ")
                .map(|(_, rest)| rest)
        })
        .or_else(|| {
            line.split_once("terminating with uncaught exception of type ")
                .map(|(_, rest)| rest)
        })?;
    if rest.starts_with("without an active exception") || rest.starts_with("recursively") {
        let found = Found::new(
            Rank::Check,
            SymptomKind::Abort,
            "c++ terminate",
            rest,
            Vec::new(),
        );
        return Some((found, 1));
    }
    let (class, said) = match rest.split_once('\'') {
        Some((_, quoted)) => (quoted.trim_end_matches('\''), None),
        None => rest
            .split_once(": ")
            .map_or((rest, None), |(class, said)| (class, Some(said))),
    };
    let what = lines
        .get(at + 1)
        .and_then(|line| line.trim().strip_prefix("what():"));
    let message = said.or(what).unwrap_or_default();
    let class = format!("c++ {class}");
    let kind = crate::kind_of(&class, message);
    let found = Found::new(Rank::Check, kind, &class, message, Vec::new());
    Some((found, 1 + usize::from(what.is_some())))
}

fn checked(line: &str) -> Option<(Found, usize)> {
    // The program's name may stand before; glibc writes the message alone since 2.26.
    let begin = CHECKS.iter().filter_map(|check| line.find(check)).min()?;
    let is_alone = begin == 0 || line[..begin].ends_with(": ") || line[..begin].ends_with('\'');
    if !is_alone || line.len() > 200 {
        return None;
    }
    let kind = SymptomKind::Abort;
    let found = Found::new(Rank::Check, kind, "libc check", &line[begin..], Vec::new());
    Some((found, 1))
}

fn rust(line: &str) -> Option<(Found, usize)> {
    if line.starts_with("thread '") && line.ends_with("has overflowed its stack") {
        let name = line["thread '".len()..]
            .rsplit_once('\'')
            .map(|(name, _)| name);
        let kind = SymptomKind::Abort;
        let mut found = Found::new(
            Rank::Check,
            kind,
            "rust stack overflow",
            "has overflowed its stack",
            Vec::new(),
        );
        name.unwrap_or_default().clone_into(&mut found.thread);
        return Some((found, 1));
    }
    let said = line.strip_prefix("fatal runtime error: ")?;
    if said.starts_with("stack overflow") {
        return None;
    }
    let kind = SymptomKind::Abort;
    let found = Found::new(Rank::Check, kind, "rust abort", said, Vec::new());
    Some((found, 1))
}

fn memory(line: &str) -> Option<(Found, usize)> {
    let rust = line.starts_with("memory allocation of ") && line.ends_with(" bytes failed");
    let v8 = line.contains("FATAL ERROR: ") && line.contains("heap out of memory");
    let class = match (rust, v8) {
        (true, _) => "rust allocation",
        (_, true) => "node heap",
        _ => return None,
    };
    let kind = SymptomKind::OutOfMemory;
    Some((Found::new(Rank::Check, kind, class, line, Vec::new()), 1))
}

/// `./run.sh: line 3: 4711 Segmentation fault      (core dumped) ./cart`
fn shell(line: &str) -> Option<(Found, usize)> {
    const NAMES: [(&str, &str); 6] = [
        ("Segmentation fault", "SIGSEGV"),
        ("Bus error", "SIGBUS"),
        ("Floating point exception", "SIGFPE"),
        ("Illegal instruction", "SIGILL"),
        ("Aborted", "SIGABRT"),
        ("Trace/breakpoint trap", "SIGTRAP"),
    ];
    let (name, signal) = NAMES.iter().find(|(name, _)| line.contains(name))?;
    let (before, behind) = line.split_once(name)?;
    let by_shell =
        before.contains(": line ") && before.trim_end().ends_with(|it: char| it.is_ascii_digit());
    let alone = before.is_empty()
        && (behind.is_empty() || behind.trim_start().starts_with("(core dumped)"));
    if !by_shell && !alone {
        return None;
    }
    let found = Found::new(Rank::Dump, SymptomKind::Signal, signal, "", Vec::new());
    Some((found, 1))
}
