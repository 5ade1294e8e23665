//! Where a setting was given.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place that the user can go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a file.
    File {
        /// Which.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
    },
    /// On the command line.
    Flag(&'static str),
}

impl Place {
    /// The place of byte `offset` of `text`; the end when there is no such byte.
    pub(crate) fn in_file(path: &Path, text: &str, offset: usize) -> Place {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        Place::File {
            path: path.to_owned(),
            line,
            column,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, line, column } => write!(out, "{}:{line}:{column}", path.display()),
            Place::Flag(flag) => write!(out, "{flag}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one() {
        let place = |offset| Place::in_file(Path::new("c.toml"), "aé\nb", offset).to_string();
        assert_eq!(place(0), "c.toml:1:1");
        assert_eq!(place(3), "c.toml:1:3");
        assert_eq!(place(4), "c.toml:2:1");
        assert_eq!(place(99), "c.toml:2:2");
        assert_eq!(Place::Flag("--cpus").to_string(), "--cpus");
    }
}
