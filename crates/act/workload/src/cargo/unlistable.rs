//! Programs with a harness of their own that could not be listed when they were asked: each may have run
//! its tests instead, so it is not asked again until it was built anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Name of the file in the project's record.
const NAME: &str = "unlistable.json";

/// Length and time of change of a file, by which a new build is told: bytes, nanoseconds since 1970.
type Build = (u64, u64);

/// Those that are remembered.
pub(super) struct Unlistable {
    path: PathBuf,
    known: BTreeMap<PathBuf, Build>,
    changed: bool,
}

impl Unlistable {
    /// Reads them. Without the file, or when it cannot be read, none is known.
    pub(super) fn read(home: &Path) -> Self {
        let path = home.join(NAME);
        let text = fs::read_to_string(&path).unwrap_or_default();
        Self {
            known: serde_json::from_str(&text).unwrap_or_default(),
            changed: false,
            path,
        }
    }

    /// Whether this very build of `program` could not be listed before.
    pub(super) fn contains(&self, program: &Path) -> bool {
        let known = self.known.get(program);
        known.is_some() && known.copied() == build(program)
    }

    /// `program`, as it is now, cannot be listed.
    pub(super) fn add(&mut self, program: &Path) {
        if let Some(build) = build(program) {
            self.known.insert(program.to_path_buf(), build);
            self.changed = true;
        }
    }

    /// Writes them down for the next time, without those that are gone.
    pub(super) fn write(mut self) {
        self.known.retain(|program, _| program.exists());
        let text = serde_json::to_string(&self.known).unwrap_or_default();
        if self.changed {
            // What is not remembered is only asked again.
            let _ = fs::write(&self.path, text);
        }
    }
}

fn build(program: &Path) -> Option<Build> {
    let metadata = fs::metadata(program).ok()?;
    let since = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((metadata.len(), u64::try_from(since.as_nanos()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_remembered_until_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        fs::write(&program, "one").unwrap();
        let mut first = Unlistable::read(folder.path());
        assert!(!first.contains(&program));
        first.add(&program);
        first.write();
        assert!(Unlistable::read(folder.path()).contains(&program));
        fs::write(&program, "another").unwrap();
        assert!(!Unlistable::read(folder.path()).contains(&program));
    }
}
