//! One group as it stands in each hierarchy, and what is done to it as a whole: found, emptied,
//! killed, removed.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Error, read, write};
use crate::kernel_file;
use crate::process;

/// Longest wait for killed processes to be gone. A process in an uninterruptible call of a dead
/// disk may take for ever.
const KILL_WAIT: Duration = Duration::from_secs(10);
/// Longest wait until the kernel lets an empty group be removed.
const REMOVE_WAIT: Duration = Duration::from_secs(2);
/// Pause between two looks at a group that is not empty yet.
const LOOK_AGAIN: Duration = Duration::from_micros(500);
/// Passes over a group that is being emptied before it is given up: a fork bomb.
const MOVE_PASSES_MAX: u32 = 100;

/// Version of the control group interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy for each controller or few of them.
    V1,
    /// One for all.
    V2,
}

/// What is controlled or accounted, of what Cohort uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    /// CPU share and limit.
    Cpu,
    /// CPU accounting: version 1 only, version 2 always accounts.
    Cpuacct,
    /// Memory.
    Memory,
    /// Block IO.
    Io,
    /// Number of tasks.
    Pids,
}

impl Controller {
    /// Those among the kernel's names, in order, each once.
    pub(crate) fn among<'n>(names: impl Iterator<Item = &'n str>) -> Vec<Self> {
        let found: BTreeSet<Self> = names
            .filter_map(|name| match name {
                "cpu" => Some(Self::Cpu),
                "cpuacct" => Some(Self::Cpuacct),
                "memory" => Some(Self::Memory),
                "io" | "blkio" => Some(Self::Io),
                "pids" => Some(Self::Pids),
                _ => None,
            })
            .collect();
        found.into_iter().collect()
    }

    /// Its name in version 2; `None` for what only version 1 has.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Cpu => Some("cpu"),
            Self::Cpuacct => None,
            Self::Memory => Some("memory"),
            Self::Io => Some("io"),
            Self::Pids => Some("pids"),
        }
    }
}

/// A group in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) version: Version,
    pub(crate) folder: PathBuf,
    pub(crate) controllers: Vec<Controller>,
}

impl Place {
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// A group in all hierarchies it has a part in; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places(pub(crate) Vec<Place>);

impl Places {
    pub(crate) fn serving(&self, controller: Controller) -> Option<&Place> {
        self.0
            .iter()
            .find(|place| place.controllers.contains(&controller))
    }

    pub(super) fn unified(&self) -> Option<&Place> {
        self.0.iter().find(|place| place.version == Version::V2)
    }

    /// The hierarchy in which processes are looked up: version 2 where there is one, since its
    /// list is never stale.
    pub(super) fn main(&self) -> &Place {
        self.unified().unwrap_or(&self.0[0])
    }

    /// Makes the child `name` in every hierarchy; all or none.
    pub(super) fn make_child(&self, name: &str) -> Result<Self, Error> {
        let mut made: Vec<Place> = Vec::new();
        for place in &self.0 {
            let folder = place.file(name);
            if let Err(source) = std::fs::create_dir(&folder) {
                for undo in &made {
                    let _ = std::fs::remove_dir(&undo.folder);
                }
                return Err(Error::Make {
                    path: folder,
                    source,
                });
            }
            made.push(Place {
                folder,
                ..place.clone()
            });
        }
        Ok(Self(made))
    }

    pub(super) fn procs_files(&self) -> Vec<PathBuf> {
        self.0
            .iter()
            .map(|place| place.file("cgroup.procs"))
            .collect()
    }

    pub(super) fn enter(&self, pid: i32) -> Result<(), Error> {
        for path in self.procs_files() {
            write(&path, &pid.to_string())?;
        }
        Ok(())
    }

    pub(super) fn pids(&self) -> Vec<i32> {
        self.0
            .iter()
            .flat_map(|place| pids_in(&place.folder))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// Moves all processes but `spare` to `target`, in every hierarchy, until none is left in any:
    /// a child that was forked between two moves of its parent may be in both groups for a moment.
    pub(super) fn move_into(&self, target: &Self, spare: &[i32]) -> Result<u32, Error> {
        let mut moved = BTreeSet::new();
        for _ in 0..MOVE_PASSES_MAX {
            let mut left = false;
            for (place, other) in self.0.iter().zip(&target.0) {
                let path = other.file("cgroup.procs");
                for pid in pids_in(&place.folder)
                    .into_iter()
                    .filter(|pid| !spare.contains(pid))
                {
                    match write(&path, &pid.to_string()) {
                        Ok(()) => {
                            moved.insert(pid);
                        }
                        // Ended meanwhile.
                        Err(Error::Write { source, .. })
                            if source.raw_os_error() == Some(libc::ESRCH) => {}
                        Err(error) => return Err(error),
                    }
                    left = true;
                }
            }
            if !left {
                return Ok(u32::try_from(moved.len()).unwrap_or(u32::MAX));
            }
        }
        Err(Error::StillForking {
            path: self.main().folder.clone(),
            passes: MOVE_PASSES_MAX,
        })
    }

    pub(super) fn kill_all(&self, spare: &[i32]) -> u32 {
        let folders: Vec<&Path> = self.0.iter().map(|place| place.folder.as_path()).collect();
        kill_all(&folders, spare)
    }

    pub(super) fn remove(&self) -> Result<(), Error> {
        self.0
            .iter()
            .try_for_each(|place| remove_group(&place.folder))
    }
}

/// Processes in this one group, not in its children.
pub(crate) fn pids_in(folder: &Path) -> Vec<i32> {
    read(&folder.join("cgroup.procs"))
        .map_or_else(|_| Vec::new(), |text| kernel_file::pids(&text).collect())
}

/// Kills all processes in these groups (the same one in several hierarchies) but `spare`, and
/// waits until they are gone or [`KILL_WAIT`] is over. Returns how many it killed.
pub(crate) fn kill_all(folders: &[&Path], spare: &[i32]) -> u32 {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let deadline = Instant::now() + KILL_WAIT;
    let mut killed = BTreeSet::new();
    loop {
        let mut found: BTreeSet<i32> = folders.iter().flat_map(|folder| pids_in(folder)).collect();
        found.retain(|pid| *pid > 1 && *pid != own && !spare.contains(pid));
        // Killed before and only not waited for yet: some kernels list these still.
        found.retain(|pid| {
            !killed.contains(pid)
                || process::stat(Path::new("/"), *pid).is_some_and(|stat| !stat.is_dead())
        });
        if found.is_empty() || Instant::now() > deadline {
            return u32::try_from(killed.len()).unwrap_or(u32::MAX);
        }
        if spare.is_empty() && !killed.is_superset(&found) {
            // Version 2 kills a whole group at once, fork bombs included; elsewhere there is no
            // such file. Not when this process is in it.
            for folder in folders
                .iter()
                .filter(|folder| !pids_in(folder).contains(&own))
            {
                let _ = write(&folder.join("cgroup.kill"), "1");
            }
        }
        for pid in &found {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        let waits_only = killed.is_superset(&found);
        killed.extend(found);
        if waits_only {
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

/// Removes one group. One that is gone already is fine; one that is busy is tried again until
/// [`REMOVE_WAIT`] is over, since ended processes leave it a moment later.
pub(crate) fn remove_group(folder: &Path) -> Result<(), Error> {
    let deadline = Instant::now() + REMOVE_WAIT;
    loop {
        match std::fs::remove_dir(folder) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ResourceBusy && Instant::now() < deadline => {
                std::thread::sleep(LOOK_AGAIN);
            }
            Err(source) => {
                return Err(Error::Remove {
                    path: folder.to_owned(),
                    source,
                });
            }
        }
    }
}
