//! A test suite to measure with, wherever it came from.

use std::path::PathBuf;

/// Which command runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// `cargo test`
    Rust,
    /// `pytest`
    Pytest,
}

/// What its time goes to, as measured; it decides which rows it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Character {
    /// The CPU is mostly idle under the peer's default.
    Waiting,
    /// The CPU is mostly busy.
    Computing,
    /// One test is far longer than the rest.
    Dominant,
    /// Very many tests that do nothing.
    Empty,
    /// Each test holds much memory.
    Hungry,
}

/// A suite that lies ready and built.
#[derive(Clone, Debug)]
pub(crate) struct Suite {
    /// For rows and file names.
    pub name: String,
    /// How it is run.
    pub language: Language,
    /// What it is like.
    pub character: Character,
    /// Where.
    pub dir: PathBuf,
    /// Arguments for every contender alike.
    pub args: Vec<String>,
    /// How many tests it has, where that is known beforehand; else 0.
    pub tests: usize,
    /// Folder below `dir` from which Python imports.
    pub python_path: String,
}
