//! One campaign's directory.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use cohort_model::ThreadId;

use crate::{Error, LogReader, LogWriter, at};

/// Which output of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// What the suite's own runner says of a failure (pytest's traceback).
    Report,
}

impl Stream {
    fn suffix(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
            Stream::Report => "report",
        }
    }
}

/// One campaign's directory.
#[derive(Clone, Debug)]
pub struct Campaign {
    path: PathBuf,
    name: String,
}

impl Campaign {
    pub(crate) fn create(path: &Path, name: String) -> Result<Self, Error> {
        let output = path.join("output");
        fs::create_dir_all(&output).map_err(at("create", &output))?;
        Ok(Self::at(path, name))
    }

    pub(crate) fn at(path: &Path, name: String) -> Self {
        Self {
            path: path.to_path_buf(),
            name,
        }
    }

    /// Its number, as a name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its log, to append to.
    ///
    /// # Errors
    /// As [`LogWriter::open`].
    pub fn log_writer(&self) -> Result<LogWriter, Error> {
        LogWriter::open(&self.path.join("log"))
    }

    /// Its log, to read.
    ///
    /// # Errors
    /// As [`LogReader::open`].
    pub fn log_reader(&self) -> Result<LogReader, Error> {
        LogReader::open(&self.path.join("log"))
    }

    /// Keeps what a thread wrote. Nothing is written for nothing.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep_output(&self, thread: ThreadId, stream: Stream, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        let path = self.output_path(thread, stream);
        fs::write(&path, bytes).map_err(at("write", &path))
    }

    /// What a thread wrote; empty when nothing was kept.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn output(&self, thread: ThreadId, stream: Stream) -> Result<Vec<u8>, Error> {
        let path = self.output_path(thread, stream);
        match fs::read(&path) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(at("read", &path)(error)),
        }
    }

    fn output_path(&self, thread: ThreadId, stream: Stream) -> PathBuf {
        self.path
            .join("output")
            .join(format!("{thread}.{}", stream.suffix()))
    }
}
