//! The number of the tracepoint at which every system call begins.
//!
//! The kernel tells it in tracefs, which often is not mounted. Nothing is mounted that others see:
//! then it is mounted in a mount namespace of one thread's own, which ends with that thread.

use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::CallsError;

/// Where tracefs is found, or can be mounted.
const PLACES: [&str; 2] = ["sys/kernel/tracing", "sys/kernel/debug/tracing"];
const ID: &str = "events/raw_syscalls/sys_enter/id";

/// `raw_syscalls:sys_enter`. Found once, it serves all instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracepoint {
    pub(super) id: u64,
}

impl Tracepoint {
    /// Finds it. `root` is `/`, but for tests.
    ///
    /// # Errors
    /// [`CallsError::Tracepoint`]: tracefs is neither readable nor can it be mounted.
    pub fn find(root: &Path) -> Result<Self, CallsError> {
        let mut paths = PLACES.iter().map(|place| root.join(place).join(ID));
        if let Some(found) = paths.find_map(|path| read(&path).ok()) {
            return Ok(found);
        }
        let place = root.join(PLACES[0]);
        let tried = format!(
            "tracefs is not mounted, and mounting it at {}",
            place.display()
        );
        let failed = |source| CallsError::Tracepoint {
            tried: tried.clone(),
            source,
        };
        let thread = std::thread::Builder::new().name("tracefs".to_owned());
        let thread = thread
            .spawn(move || mount_and_read(&place))
            .map_err(failed)?;
        let found = thread
            .join()
            .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
        found.map_err(failed)
    }
}

/// Leaves the calling thread in a mount namespace of its own.
fn mount_and_read(place: &PathBuf) -> io::Result<Tracepoint> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    let tracefs = Some("tracefs");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
    mount(tracefs, place, tracefs, flags, none)?;
    read(&place.join(ID))
}

fn read(path: &Path) -> io::Result<Tracepoint> {
    let text = std::fs::read_to_string(path)?;
    let id = text.trim().parse().map_err(io::Error::other)?;
    Ok(Tracepoint { id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_where_tracefs_is_mounted() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(PLACES[1]).join(ID);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "346\n").unwrap();
        assert_eq!(
            Tracepoint::find(root.path()).unwrap(),
            Tracepoint { id: 346 }
        );
        std::fs::write(&file, "many\n").unwrap();
        let error = Tracepoint::find(root.path()).unwrap_err().to_string();
        assert!(error.contains("mount -t tracefs"), "{error}");
    }

    #[test]
    fn nothing_stays_mounted() {
        let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let before = mounts();
        let _ = Tracepoint::find(Path::new("/"));
        assert_eq!(mounts(), before);
    }
}
