//! What can go wrong with coverage.

use std::path::PathBuf;

/// Why coverage could not be recorded or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder.
    #[error("use {path} for coverage; is there room, and may it be written?")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A path that cannot stand in a list of paths.
    #[error("put {path} into PYTHONPATH: it has a colon in it; use another folder for coverage")]
    Colon {
        /// Which.
        path: PathBuf,
    },
    /// Profiles or programs that are none.
    #[error("read the coverage of {path}: {reason}; was it built by the compiler that runs now?")]
    Profile {
        /// A profile, or the program.
        path: PathBuf,
        /// What was expected.
        reason: String,
    },
    /// gcov could not be used.
    #[error("read {path} with gcov: {reason}; gcov has to be of the gcc that built the program")]
    Gcov {
        /// The notes or counts.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
}

impl Error {
    pub(crate) fn file(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
        let path = path.to_path_buf();
        move |source| Error::File { path, source }
    }
}
