//! What of a run's lines can be told here, for the suspects of an edge case.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// The compiler's library that counts (`rustc`, "Instrumentation-based Code Coverage").
const PROFILER: &str = "libprofiler_builtins";

/// A line for each language whose programs have to be prepared.
pub(super) fn lines(out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "suspects of edge cases, for which lines that run are recorded:"
    )?;
    writeln!(out, "  Python: as it is, from 3.8 on")?;
    writeln!(out, "  Rust: {}", rust())?;
    writeln!(out, "  C, C++: {}", c())
}

fn rust() -> String {
    let Some(libraries) = said("rustc", &["--print", "target-libdir"]) else {
        return "there is no rustc".to_owned();
    };
    let files = fs::read_dir(Path::new(libraries.trim()));
    let mut names = files
        .into_iter()
        .flatten()
        .flatten()
        .map(|file| file.file_name());
    match names.any(|name| name.to_string_lossy().starts_with(PROFILER)) {
        true => "test programs of cargo are built once more for it".to_owned(),
        false => "this rustc lacks its profiler runtime (profiler_builtins); toolchains of rustup have it"
            .to_owned(),
    }
}

fn c() -> String {
    match said("gcov", &["--version"]) {
        Some(_) => "programs that were built with --coverage".to_owned(),
        None => "gcov is missing; it comes with gcc".to_owned(),
    }
}

/// What a program writes; none when it is not there, or fails.
fn said(program: &str, words: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}
