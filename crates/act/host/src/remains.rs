//! What a Cohort that was killed left behind: groups, processes in them, bridges, scratch directories.
//!
//! Promise: only what carries the name of a Cohort process that is certainly dead, and belongs to
//! the user of this one, is touched; a directory must hold our marker as well. Two Cohorts that
//! start at once may clean up the same things without harm.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::bridge;
use crate::cgroup::{self, Layout};
use crate::process::Owner;

/// A file of this name, however empty, marks a scratch directory as ours.
pub const SCRATCH_MARKER: &str = ".cohort-scratch";
/// Groups deeper than this below a mount are not looked for.
const DEPTH_MAX: usize = 12;
/// More groups than this are not looked at.
const GROUPS_MAX: usize = 20_000;

/// What was cleaned up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// Control groups removed, those of instances included.
    pub groups: u32,
    /// Processes killed in them.
    pub processes: u32,
    /// Scratch directories removed.
    pub directories: u32,
    /// Network bridges removed.
    pub bridges: u32,
}

/// Cleans up after dead Cohorts. What cannot be cleaned up is left to the next start.
#[must_use]
pub fn clean_up(layout: &Layout, temp_dir: &Path) -> Remains {
    let mut remains = Remains::default();
    let mut seen = 0;
    for hierarchy in &layout.hierarchies {
        let mut stale = Vec::new();
        find_stale(
            &layout.root,
            &hierarchy.mount,
            DEPTH_MAX,
            &mut seen,
            &mut stale,
        );
        for folder in stale {
            if let Ok((groups, processes)) = remove_group_tree(&folder) {
                remains.groups += groups;
                remains.processes += processes;
            }
        }
    }
    // Network devices are those of the machine, whatever root was passed in.
    if layout.root == Path::new("/") {
        remains.bridges = bridge::remove_stale(&layout.root);
    }
    for entry in fs::read_dir(temp_dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let marked =
            fs::symlink_metadata(path.join(SCRATCH_MARKER)).is_ok_and(|marker| marker.is_file());
        if is_stale(&layout.root, &path) && marked && remove_directory(&path).is_ok() {
            remains.directories += 1;
        }
    }
    remains
}

fn find_stale(
    root: &Path,
    folder: &Path,
    depth: usize,
    seen: &mut usize,
    stale: &mut Vec<PathBuf>,
) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) || *seen >= GROUPS_MAX {
            continue;
        }
        *seen += 1;
        let path = entry.path();
        if is_stale(root, &path) {
            stale.push(path);
        } else if depth > 0 {
            find_stale(root, &path, depth - 1, seen, stale);
        }
    }
}

/// A real directory of our user whose name says that its owner is dead.
fn is_stale(root: &Path, path: &Path) -> bool {
    let owner = path
        .file_name()
        .and_then(|name| name.to_str()?.parse::<Owner>().ok());
    let Some(owner) = owner else {
        return false;
    };
    let ours = fs::symlink_metadata(path)
        .is_ok_and(|entry| entry.is_dir() && entry.uid() == geteuid().as_raw());
    ours && owner.is_dead(root)
}

/// Kills what is in a group and below, and removes it all, the deepest first. Returns groups and
/// processes.
pub(crate) fn remove_group_tree(folder: &Path) -> Result<(u32, u32), cgroup::Error> {
    let (mut groups, mut processes) = (0, 0);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let (below, killed) = remove_group_tree(&entry.path())?;
            groups += below;
            processes += killed;
        }
    }
    processes += cgroup::kill_all(&[folder], &[]);
    let there = folder.exists();
    cgroup::remove_group(folder)?;
    Ok((groups + u32::from(there), processes))
}

/// Removes a directory with all that is in it, even where a test took away the permission to
/// (`chmod 000`). Links are removed, never followed. Gone already is fine.
///
/// # Errors
/// The last thing that was in the way.
pub fn remove_directory(path: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            open_up(path);
            fs::remove_dir_all(path)
        }
        // Another Cohort is at it as well.
        Err(error) if error.kind() == ErrorKind::NotFound => match path.symlink_metadata() {
            Ok(_) => fs::remove_dir_all(path)
                .or_else(|error| if path.exists() { Err(error) } else { Ok(()) }),
            Err(_) => Ok(()),
        },
        result => result,
    }
}

fn open_up(path: &Path) {
    let Ok(entry) = fs::symlink_metadata(path) else {
        return;
    };
    if entry.is_dir() {
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
        for below in fs::read_dir(path).into_iter().flatten().flatten() {
            open_up(&below.path());
        }
    }
}
