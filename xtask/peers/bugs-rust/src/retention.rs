//! Log files that are kept for a while.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Begins a new file; its name tells when.
pub fn rotate(folder: &Path) -> io::Result<PathBuf> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let path = folder.join(format!(
        "{:024}.log",
        since.map_or(0, |since| since.as_nanos())
    ));
    std::fs::write(&path, "")?;
    Ok(path)
}

/// Removes the oldest files, and keeps so many.
pub fn prune(folder: &Path, keep: usize) -> io::Result<()> {
    let files: Vec<_> = std::fs::read_dir(folder)?.collect::<io::Result<_>>()?;
    let surplus = files.len().saturating_sub(keep);
    for file in files.iter().take(surplus) {
        std::fs::remove_file(file.path())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("logs-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("writable");
        folder
    }

    #[test]
    fn so_many_are_kept() {
        let folder = folder("count");
        (0..5).for_each(|_| drop(rotate(&folder).expect("written")));
        prune(&folder, 3).expect("removed");
        assert_eq!(std::fs::read_dir(&folder).expect("there").count(), 3);
        std::fs::remove_dir_all(folder).expect("there");
    }

    #[test]
    fn the_newest_is_kept() {
        let folder = folder("newest");
        let files: Vec<_> = (0..40).map(|_| rotate(&folder).expect("written")).collect();
        prune(&folder, 39).expect("removed");
        let kept = files[39].exists();
        std::fs::remove_dir_all(folder).expect("there");
        assert!(kept, "the newest file is gone");
    }
}
