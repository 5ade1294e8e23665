//! An edge case in one file, readable by another machine with the same build.
//!
//! ```text
//! Capsule { manifest, attachments } --write--> gzip( tar( manifest.json      version, what ran, environment, host ...
//!    |  without secrets: secrets::sift                    manifest.sha256
//!    |                   secrets::Scrubber                logs/stdout, backtrace, threads/3.journal ... ) )
//!    +<------------------------------read, which trusts nothing---------------------------------+
//! ```
//!
//! Promise: the same contents give the same bytes; what was left out of the environment is told by name
//! and stands nowhere in the file; what is read is as it was written or is refused with one sentence:
//! never more than [`TOTAL_BYTES_MAX`] in memory, never a file outside the directory it is extracted to.

mod entries;
mod host;
mod identity;
mod manifest;
mod read;
pub mod secrets;
mod write;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

pub use host::{Host, tool_version};
pub use identity::Build;
pub use manifest::{Allotted, Manifest, Ran};

/// Version of the format. A later one is refused.
pub const FORMAT: u32 = 1;
/// Longest attachment that is written or read, bytes.
pub const ENTRY_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// All attachments together, bytes.
pub const TOTAL_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Attachments of one capsule.
pub const ENTRIES_MAX: usize = 10_000;

/// An edge case with all that shows it again.
#[derive(Clone, Debug, PartialEq)]
pub struct Capsule {
    /// What ran, under which conditions, where.
    pub manifest: Manifest,
    /// Logs, backtraces, journals and scripts, by names such as `logs/stdout`: parts of letters, digits
    /// and `._-`, with `/` between them.
    pub attachments: BTreeMap<String, Vec<u8>>,
}

/// Why a capsule cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system said no.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried (`read`, `write`).
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no capsule at all.
    #[error("{} is no capsule: {why}; name a file that `cohort show EC-N` tells of", path.display())]
    NoCapsule {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        why: String,
    },
    /// It was made by a later version.
    #[error(
        "{} is a capsule of format {format}, made by cohort {made_by}, and this cohort reads up to format {known}; \
         use cohort {made_by} or later",
        path.display()
    )]
    Later {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
        /// Version of the program that made it.
        made_by: String,
        /// The highest format that is read here.
        known: u32,
    },
    /// It ends too early.
    #[error("{} is cut short: it ends within {within}; copy it again", path.display())]
    Cut {
        /// The file.
        path: PathBuf,
        /// What was being read.
        within: String,
    },
    /// Something in it is not what was written.
    #[error("{} was changed since it was made: {what}; get the original", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// Which part, and how.
        what: String,
    },
    /// A name in it that could leave the directory it is extracted to, or no plain file.
    #[error("{} holds {name:?}, {why}; nothing of it was extracted", path.display())]
    Escapes {
        /// The file.
        path: PathBuf,
        /// The name, as it stands there.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It would fill memory or disk.
    #[error("{} would unpack to more than it may: {what}; it was not made by cohort", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is too large, and the limit.
        what: String,
    },
    /// An attachment that may not be called so.
    #[error("attach {name:?} to a capsule: {why}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The directory to extract to is in use.
    #[error("extract to {}: it is not empty; name a new directory", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
}

/// For `map_err` at each file operation.
fn at(action: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Io {
        action,
        path,
        source,
    }
}
