//! What runs executed: per line, how often in each failing and in each passing run.

use std::collections::{BTreeMap, BTreeSet};

use super::formula::Counts;

/// How many lines are held; those that come later are left out, and the caller is told.
const LINES_MAX: usize = 400_000;

#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    /// How often each failing run that executed it did.
    pub(super) failed: Vec<u32>,
    pub(super) passed: Vec<u32>,
}

/// A function of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) name: String,
}

/// Failing and passing runs, and which lines each executed.
#[derive(Clone, Debug, Default)]
pub struct Spectra {
    pub(super) files: BTreeMap<String, BTreeMap<u32, Line>>,
    pub(super) functions: BTreeMap<String, Vec<Extent>>,
    /// First and last lines of what is code of tests.
    tests: BTreeMap<String, BTreeSet<(u32, u32)>>,
    pub(super) failed: u32,
    pub(super) passed: u32,
    lines: usize,
    left_out: usize,
}

impl Spectra {
    /// No run yet.
    #[must_use]
    pub fn new() -> Spectra {
        Spectra::default()
    }

    /// A run executed these lines: file, line from 1, how often (1 when only known that it did).
    pub fn ran<'a>(&mut self, failed: bool, lines: impl IntoIterator<Item = (&'a str, u32, u64)>) {
        if failed {
            self.failed += 1;
        } else {
            self.passed += 1;
        }
        for (file, line, times) in lines {
            let times = u32::try_from(times).unwrap_or(u32::MAX);
            if times > 0
                && let Some(line) = self.line(file, line)
            {
                let list = if failed {
                    &mut line.failed
                } else {
                    &mut line.passed
                };
                list.push(times);
            }
        }
    }

    /// A function of a file, from its first to its last line. One inside another is the one that counts.
    pub fn function(&mut self, file: &str, first: u32, last: u32, name: &str) {
        let extent = Extent {
            first,
            last,
            name: name.to_string(),
        };
        if !self.functions.contains_key(file) {
            self.functions.insert(file.to_string(), Vec::new());
        }
        if let Some(known) = self.functions.get_mut(file)
            && !known.contains(&extent)
        {
            known.push(extent);
        }
    }

    /// These lines are code of tests: they are ranked behind all others.
    pub fn tests(&mut self, file: &str, first: u32, last: u32) {
        if !self.tests.contains_key(file) {
            self.tests.insert(file.to_string(), BTreeSet::new());
        }
        if let Some(known) = self.tests.get_mut(file) {
            known.insert((first, last));
        }
    }

    pub(super) fn is_of_tests(&self, file: &str, line: u32) -> bool {
        let known = self.tests.get(file);
        known.is_some_and(|k| {
            k.iter()
                .any(|(first, last)| *first <= line && line <= *last)
        })
    }

    /// Failing runs.
    #[must_use]
    pub fn failed(&self) -> u32 {
        self.failed
    }

    /// Passing runs.
    #[must_use]
    pub fn passed(&self) -> u32 {
        self.passed
    }

    /// Times that a line was executed and not recorded, since there were too many lines.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Which runs executed the line.
    #[must_use]
    pub fn counts(&self, file: &str, line: u32) -> Counts {
        let line = self.files.get(file).and_then(|lines| lines.get(&line));
        line.map(|line| self.counts_of(line)).unwrap_or_default()
    }

    pub(super) fn counts_of(&self, line: &Line) -> Counts {
        Counts {
            failed: length(&line.failed),
            passed: length(&line.passed),
            all_failed: self.failed,
        }
    }

    /// The innermost function that has this line.
    pub(super) fn function_at(&self, file: &str, line: u32) -> Option<&Extent> {
        let extents = self.functions.get(file)?.iter();
        let around = extents.filter(|e| e.first <= line && line <= e.last);
        around.min_by_key(|e| (e.last - e.first, std::cmp::Reverse(e.first)))
    }

    /// First and last line of the innermost function that has this line.
    #[must_use]
    pub fn extent(&self, file: &str, line: u32) -> Option<(u32, u32)> {
        let extent = self.function_at(file, line)?;
        Some((extent.first, extent.last))
    }

    fn line(&mut self, file: &str, line: u32) -> Option<&mut Line> {
        if !self.files.contains_key(file) {
            self.files.insert(file.to_string(), BTreeMap::new());
        }
        let lines = self.files.get_mut(file)?;
        if !lines.contains_key(&line) {
            if self.lines >= LINES_MAX {
                self.left_out += 1;
                return None;
            }
            self.lines += 1;
        }
        Some(lines.entry(line).or_default())
    }
}

pub(super) fn length(runs: &[u32]) -> u32 {
    u32::try_from(runs.len()).unwrap_or(u32::MAX)
}
