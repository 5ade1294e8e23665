//! Lines that were executed, by file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path};

/// More lines of a run are not kept.
const LINES_MAX: usize = 300_000;

/// A function and the lines that it extends over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Function {
    /// First line, from 1.
    pub first: u32,
    /// Last line.
    pub last: u32,
    /// As its language names it: `Cart.total`, `shop::cart::total`.
    pub name: String,
}

/// What one run executed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// By file, relative to the project: how often each line was executed, at least once.
    pub files: BTreeMap<String, BTreeMap<u32, u64>>,
    /// By file: functions of which anything was executed, in their order.
    pub functions: BTreeMap<String, Vec<Function>>,
    /// There were more lines than are kept.
    pub cut: bool,
    held: usize,
}

impl Lines {
    /// Every line that was executed: file, line, how often.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32, u64)> {
        self.files.iter().flat_map(|(file, lines)| {
            lines
                .iter()
                .map(move |(line, times)| (file.as_str(), *line, *times))
        })
    }

    /// Nothing was executed, or recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Without the function that is the test itself, named as its suite does: what no other test executes would
    /// stand first, but is hardly ever the mistake.
    #[must_use]
    pub fn without_test(mut self, test: &str) -> Lines {
        let named = test.split(['[', '(']).next().unwrap_or(test);
        let own = named.rsplit(['.', ':', '/']).next().unwrap_or(named);
        for (file, functions) in &mut self.functions {
            let is_own = |f: &Function| f.name.split([':', '.']).any(|part| part == own);
            let (tests, code): (Vec<_>, Vec<_>) = functions.drain(..).partition(is_own);
            *functions = code;
            if let Some(lines) = self.files.get_mut(file) {
                let inside = |line: &u32| tests.iter().any(|t| t.first <= *line && *line <= t.last);
                lines.retain(|line, _| !inside(line));
            }
        }
        self.files.retain(|_, lines| !lines.is_empty());
        self
    }

    /// The code of tests and of their helpers, as file, first and last line: files below a folder `tests`, `test`,
    /// `benches` or `examples`, `test_*.py`, `*_test.py`, `conftest.py`, `*_test.{c,cc,cpp}`, `tests.rs`, and
    /// functions of a module named `test` or `tests`. And what only writes values down (`Debug` of Rust, `__repr__`
    /// of Python): a failed assertion calls it, whatever the mistake is.
    #[must_use]
    pub fn tests(&self) -> Vec<(&str, u32, u32)> {
        let files = self.files.keys().filter(|file| is_test_file(file));
        let mut found: Vec<(&str, u32, u32)> = files.map(|f| (f.as_str(), 1, u32::MAX)).collect();
        for (file, functions) in &self.functions {
            let tests = functions
                .iter()
                .filter(|f| is_test_name(&f.name) || only_shows(&f.name));
            found.extend(tests.map(|f| (file.as_str(), f.first, f.last)));
        }
        found
    }

    pub(crate) fn add(&mut self, file: &str, line: u32, times: u64) {
        if times == 0 || line == 0 {
            return;
        }
        if !self.files.contains_key(file) {
            self.files.insert(file.to_string(), BTreeMap::new());
        }
        let Some(lines) = self.files.get_mut(file) else {
            return;
        };
        if let Some(count) = lines.get_mut(&line) {
            *count = count.saturating_add(times);
        } else if self.held < LINES_MAX {
            self.held += 1;
            lines.insert(line, times);
        } else {
            self.cut = true;
        }
    }

    pub(crate) fn add_function(&mut self, file: &str, function: Function) {
        let known = self.functions.entry(file.to_string()).or_default();
        if let Err(place) = known.binary_search(&function) {
            known.insert(place, function);
        }
    }
}

/// Whether a file, or else a function of any file, is code of tests, as [`Lines::tests`] has it.
#[must_use]
pub fn is_test_place(file: &str, function: &str) -> bool {
    is_test_file(file) || is_test_name(function)
}

fn is_test_file(file: &str) -> bool {
    let (folders, name) = file.rsplit_once('/').unwrap_or(("", file));
    let of_tests = |folder: &str| matches!(folder, "tests" | "test" | "benches" | "examples");
    let stem = name.split('.').next().unwrap_or(name);
    let by_name = name == "conftest.py"
        || name.ends_with(".py") && stem.starts_with("test_")
        || stem.ends_with("_test")
        || stem == "tests";
    by_name || folders.split('/').any(of_tests)
}

fn only_shows(name: &str) -> bool {
    name.ends_with("core::fmt::Debug>::fmt") || name.ends_with("__repr__")
}

fn is_test_name(name: &str) -> bool {
    let mut modules = name.split("::").collect::<Vec<_>>();
    modules.pop();
    modules.iter().any(|m| matches!(*m, "test" | "tests"))
}

/// `path` relative to `project`, when it is a file inside.
pub(crate) fn inside(project: &Path, path: &Path) -> Option<String> {
    let relative = path.strip_prefix(project).ok()?;
    let plain = relative
        .components()
        .all(|c| matches!(c, Component::Normal(_)));
    let relative = relative.to_str()?;
    (plain && !relative.is_empty()).then(|| relative.to_string())
}

/// The text of a line of a file of the project; none when it is not there any more.
#[must_use]
pub(crate) fn source(project: &Path, file: &str, line: u32) -> Option<String> {
    let text = fs::read(project.join(file)).ok()?;
    let place = usize::try_from(line.checked_sub(1)?).ok()?;
    let line = text.split(|byte| *byte == b'\n').nth(place)?;
    Some(String::from_utf8_lossy(line).trim_end().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_told_from_what_they_test() {
        let tests = [
            "tests/a.rs",
            "x/test_a.py",
            "a_test.py",
            "src/tests.rs",
            "x/conftest.py",
        ];
        assert!(tests.iter().all(|file| is_test_file(file)));
        let code = [
            "src/lib.rs",
            "latest/a.py",
            "attest.py",
            "contest/testing.rs",
        ];
        assert!(!code.iter().any(|file| is_test_file(file)));
        assert!(only_shows("<a::Price as core::fmt::Debug>::fmt") && only_shows("Price.__repr__"));
        assert!(!only_shows("<a::Price as core::fmt::Display>::fmt"));
        let mut lines = Lines::default();
        for line in 1..10 {
            lines.add("src/lib.rs", line, 2);
        }
        for (first, last, name) in [(1, 4, "a::price"), (6, 9, "a::tests::small")] {
            let name = name.into();
            lines.add_function("src/lib.rs", Function { first, last, name });
        }
        assert_eq!(lines.tests(), [("src/lib.rs", 6, 9)]);
        let rest = lines.without_test("a::tests::small");
        assert_eq!(rest.iter().map(|(_, line, _)| line).max(), Some(5));
        assert_eq!(rest.functions["src/lib.rs"].len(), 1);
        assert!(rest.tests().is_empty());
    }

    #[test]
    fn only_files_of_the_project_count() {
        let project = Path::new("/p");
        assert_eq!(
            inside(project, Path::new("/p/src/a.rs")).as_deref(),
            Some("src/a.rs")
        );
        for other in ["/q/a.rs", "/p", "/p/../q/a.rs", "/project/a.rs", "src/a.rs"] {
            assert_eq!(inside(project, Path::new(other)), None, "{other}");
        }
    }
}
