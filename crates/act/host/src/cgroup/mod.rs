//! Control groups, version 1, version 2, and both at once (hybrid), one file per concern.
//!
//! ```text
//! own group of this process            v2, delegated to us alone         v2, else
//!   cohort-<owner>/    the campaign      own/                              nearest ancestor without
//!     i0/ i1/ ...      its instances       cohort-<owner>-main/  us        processes, or the root
//!                                          cohort-<owner>/                   cohort-<owner>/
//! ```
//!
//! In version 1 the same tree is made below our own group of each controller's hierarchy; in
//! hybrid also in the version 2 tree, which has no controllers there but kills, and tells pressure.
//!
//! Promise: no process that this one did not start is ever moved, and nothing but groups made here
//! is changed, except that version 2 controllers may be switched on for the children of an
//! ancestor. Formats: the kernel's `admin-guide/cgroup-v2` and `admin-guide/cgroup-v1`.

mod campaign;
mod cpu;
mod hold;
mod instance;
mod io;
mod layout;
mod memory;
mod mountinfo;
mod pids;
mod place;
mod placement;
mod pressure;
mod reader;

pub use campaign::{CampaignGroup, CampaignReader};
pub use instance::{InstanceGroup, InstanceMaker};
pub use io::IoLimit;
pub use layout::{Hierarchy, Kind, Layout};
pub use place::{Controller, Version};
pub use reader::GroupReader;

pub(crate) use memory::memory_room;
pub(crate) use place::{kill_all, remove_group};

use std::io as std_io;
use std::path::{Path, PathBuf};

/// What can go wrong with control groups.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host mounts no control groups that this process is in.
    #[error(
        "find control groups: none is mounted that this process is in; mount cgroup2 at /sys/fs/cgroup"
    )]
    NoHierarchy,
    /// There are some, but none in which a group may be made.
    #[error(
        "make a control group: {reason}; run as root or under `systemd-run --user --scope -p Delegate=yes`"
    )]
    NotPermitted {
        /// What was in the way, for each place that was tried.
        reason: String,
    },
    /// A file could not be read.
    #[error("read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std_io::Error,
    },
    /// A file could not be written.
    #[error("write `{value}` to {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What.
        value: String,
        /// Why.
        source: std_io::Error,
    },
    /// A group could not be made.
    #[error("make the control group {}", path.display())]
    Make {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std_io::Error,
    },
    /// A group could not be removed in time.
    #[error("remove the control group {}: it still has processes or children; end them first", path.display())]
    Remove {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std_io::Error,
    },
    /// Processes kept appearing in a group while they were moved out.
    #[error("empty {}: after {passes} passes processes are still appearing; kill them instead", path.display())]
    StillForking {
        /// Which group.
        path: PathBuf,
        /// How often all were moved.
        passes: u32,
    },
    /// The memory limit cannot be signalled.
    #[error("watch the memory limit of {}", path.display())]
    Watch {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std_io::Error,
    },
}

impl Error {
    /// Whether the group in question does not exist any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match self {
            Error::Read { source, .. } | Error::Write { source, .. } => {
                matches!(source.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
            }
            _ => false,
        }
    }
}

pub(crate) fn write(path: &Path, value: &str) -> Result<(), Error> {
    // Not `fs::write`: a control file is never to be created where there is none.
    std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| std_io::Write::write_all(&mut file, value.as_bytes()))
        .map_err(|source| Error::Write {
            path: path.to_owned(),
            value: value.to_owned(),
            source,
        })
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}
