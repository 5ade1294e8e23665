//! Why a program could not be run under conditions.

use std::io;
use std::path::PathBuf;

use cohort_model::ConditionKind;

/// Why a program could not be run under conditions. None of these is the program's own failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The order is not there.
    #[error("read the order {}", path.display())]
    ReadOrder {
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The order is none.
    #[error("understand the order {}: JSON of the fields conditions, fallback, before, beside, report, evidence and times is expected", path.display())]
    ParseOrder {
        /// Where it is.
        path: PathBuf,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// A condition has a degree that cannot be.
    #[error("apply the condition {kind:?}: it has {wrong}")]
    Degree {
        /// Which.
        kind: ConditionKind,
        /// What was wrong, what was expected.
        wrong: String,
    },
    /// The program is not there, or is none.
    #[error("start {program}")]
    Start {
        /// Which.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused something that is always needed.
    #[error("{what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The process that looks after the program died.
    #[error("look after the program: the process that did so was killed, and the program with it")]
    Died,
}

impl Error {
    /// What a shell, or `env`, `nohup` and `timeout` would exit with: 127 when there is no such
    /// program, 126 when it cannot be started, 125 when something else failed.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            Error::Start { source, .. } if source.kind() == io::ErrorKind::NotFound => 127,
            Error::Start { .. } => 126,
            _ => 125,
        }
    }
}

/// Names what was tried when the system refused it.
pub(crate) fn refused(what: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::System { what, source }
}
