//! Where a campaign is kept.
//!
//! ```text
//! <project>/.cohort/
//!   .gitignore            keeps all of this out of the project's own history
//!   lock                  held while a campaign runs: one at a time in a project
//!   history.redb          what is remembered of each test over campaigns
//!   cases/EC-3/           edge cases, over campaigns
//!   campaigns/<number>/
//!     log                 the event log: the truth, append-only
//!     output/t7.stdout    what a thread that did not pass wrote
//! ```
//!
//! Nothing in here holds an absolute path of the project, so a renamed directory keeps everything.

mod campaign;
mod cases;
mod history;
mod log;
mod project;

pub use campaign::{Campaign, Stream};
pub use cases::{Cases, KEPT as CASES_KEPT, KeptCase};
pub use history::History;
pub use log::{LogReader, LogWriter, Tail};
pub use project::{Lock, Project};

use std::io;
use std::path::PathBuf;

/// What can go wrong with the campaign directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system said no.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried (`create`, `write`).
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no place for a record.
    #[error(
        "{} is not writable, and {} cannot be made: {source}; set XDG_STATE_HOME to a directory that is",
        root.display(), home.display()
    )]
    NoPlace {
        /// The project directory.
        root: PathBuf,
        /// Where it would be kept instead.
        home: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another Cohort holds the lock.
    #[error(
        "another cohort{} is running in {}; wait for it to end, or stop it",
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(), path.display()
    )]
    Busy {
        /// The project directory.
        path: PathBuf,
        /// The other process, when it said who it is.
        pid: Option<u32>,
    },
    /// No campaign of that name.
    #[error(
        "no campaign{} in {}; there {}",
        name.as_ref().map(|name| format!(" {name}")).unwrap_or_default(), path.display(), known(have)
    )]
    NoCampaign {
        /// The name asked for; absent for the latest.
        name: Option<String>,
        /// Where campaigns are.
        path: PathBuf,
        /// Those that exist, oldest first.
        have: Vec<String>,
    },
    /// No case of that name.
    #[error("no case {name} in {}; there {}", path.display(), known_cases(have))]
    NoCase {
        /// The name asked for.
        name: String,
        /// The project directory.
        path: PathBuf,
        /// Those that exist, oldest first.
        have: Vec<String>,
    },
    /// The record of a case cannot be understood.
    #[error("read {}: {source}; delete its directory to forget the case", path.display())]
    Case {
        /// The record.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The record of a case was written by a later version.
    #[error("{} is of version {format}, and this Cohort reads up to {known}; use a newer Cohort", path.display())]
    CaseFormat {
        /// The record.
        path: PathBuf,
        /// Its version.
        format: u32,
        /// The highest that is understood.
        known: u32,
    },
    /// A record in the middle of a log is damaged: more stands behind it.
    #[error(
        "{} is damaged at byte {offset}, with {behind} more bytes behind it; what stands before is readable",
        path.display()
    )]
    Damaged {
        /// The log.
        path: PathBuf,
        /// First damaged byte.
        offset: u64,
        /// Bytes from there to the end.
        behind: u64,
    },
    /// The history database cannot be used now.
    #[error("use the history in {}", path.display())]
    History {
        /// The database.
        path: PathBuf,
        /// What it said.
        source: Box<redb::Error>,
    },
    /// The history database can never be used again.
    #[error("the history in {} is damaged; delete the file to start anew", path.display())]
    HistoryDamaged {
        /// The database.
        path: PathBuf,
        /// What it said.
        source: Box<redb::Error>,
    },
}

fn known(have: &[String]) -> String {
    match have {
        [] => "are none yet: `cohort run` makes one".to_owned(),
        [one] => format!("is only {one}"),
        [first, .., last] => format!("are {first} to {last}"),
    }
}

fn known_cases(have: &[String]) -> String {
    match have {
        [] => "are none yet: a campaign keeps one for each failure".to_owned(),
        _ => known(have),
    }
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
