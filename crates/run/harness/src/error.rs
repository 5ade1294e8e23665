//! Why a harness cannot be fuzzed.

use std::io;
use std::path::PathBuf;

/// Why a harness cannot be fuzzed, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was to be done with it.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The harness's program is not there.
    #[error(
        "the harness `{command}` cannot be started: {source}; `harness` in [fuzz] is a program and its arguments, with \
         {{input}} for the file that it reads, and `build` is the command that makes it"
    )]
    Start {
        /// As it was written.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// What was to build it failed.
    #[error("the harness was not built: `{command}` ended with {how}{said}")]
    Build {
        /// As it can be typed.
        command: String,
        /// Exit code or signal.
        how: String,
        /// Its last line, after a colon.
        said: String,
    },
    /// A project of cargo-fuzz without its tool.
    #[error(
        "{} is a project of cargo-fuzz, which `cargo +nightly fuzz` builds, and that is missing here: {said}; \
         rustup toolchain install nightly && cargo install cargo-fuzz",
        project.display()
    )]
    NoCargoFuzz {
        /// The directory `fuzz`.
        project: PathBuf,
        /// What cargo said.
        said: String,
    },
    /// It has no targets.
    #[error("{} names no fuzz targets ([[bin]] with a name), so there is nothing to run", manifest.display())]
    NoTargets {
        /// `fuzz/Cargo.toml`.
        manifest: PathBuf,
    },
    /// A manifest that is none.
    #[error("{} cannot be read: {said}", manifest.display())]
    Manifest {
        /// `fuzz/Cargo.toml`.
        manifest: PathBuf,
        /// Why.
        said: String,
    },
    /// The user ended it.
    #[error("stopped by the user")]
    Stopped,
}

impl Error {
    /// For `map_err`.
    pub(crate) fn file(
        action: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::File {
            action,
            path,
            source,
        }
    }
}
