//! Configuration: `cohort.toml` at the root of the project, and the flags of `cohort run`.
//!
//! ```text
//! text -> raw (only what was written, unknown keys refused) --+
//! flags ------------------------------------------------------+-> resolved (checked, complete)
//! what this host has -----------------------------------------+
//! ```

mod command;
pub(crate) mod helper;
mod place;
mod raw;
mod resolved;
pub(crate) mod service;
pub(crate) mod units;

use std::io;
use std::path::{Path, PathBuf};

pub(crate) use place::Place;
pub(crate) use raw::{File, find, parse};
pub(crate) use resolved::{EdgeCases, Fuzz, HelperRules, Means, Resolved, resolve};

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file is there and cannot be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory, a pipe or a device has its name.
    #[error("{path} is no file; remove it, or put the configuration there")]
    NoFile {
        /// What has its name.
        path: PathBuf,
    },
    /// Not TOML, or a value of the wrong kind.
    #[error("{place}: {what}")]
    Wrong {
        /// Where.
        place: Place,
        /// What was found and what was expected.
        what: String,
    },
    /// A key that means nothing.
    #[error("{place}: unknown key `{key}`; {hint}")]
    UnknownKey {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// The nearest known one, or all of them.
        hint: String,
    },
    /// A value that makes no sense.
    #[error("{place}: {key} is {value}; expected {range}")]
    OutOfRange {
        /// Where.
        place: Place,
        /// The key.
        key: &'static str,
        /// As it would be written.
        value: String,
        /// What is allowed.
        range: String,
    },
    /// A key that is to hold a command and holds none.
    #[error("{place}: suite.{key} is empty; write a command, or leave the key out")]
    Empty {
        /// Where.
        place: Place,
        /// The key.
        key: &'static str,
    },
    /// One of two keys that only make sense together.
    #[error(
        "{place}: suite.{given} needs suite.{absent} beside it: one lists the tests, the other runs one"
    )]
    Half {
        /// Where the one stands.
        place: Place,
        /// The one.
        given: &'static str,
        /// The other.
        absent: &'static str,
    },
}

/// Finds, reads and parses the `cohort.toml` that is in force in `directory`, if there is one: not one
/// above the root of the project.
///
/// # Errors
/// When there is one that cannot be read or makes no sense.
pub(crate) fn load(directory: &Path, project: Option<&Path>) -> Result<Option<File>, Error> {
    let Some(path) = find(directory, project) else {
        return Ok(None);
    };
    let read = |path: &Path| {
        let is_file = std::fs::metadata(path)?.is_file();
        is_file.then(|| std::fs::read_to_string(path)).transpose()
    };
    match read(&path) {
        Ok(Some(text)) => parse(path, text).map(Some),
        Ok(None) => Err(Error::NoFile { path }),
        Err(source) => Err(Error::Read { path, source }),
    }
}
