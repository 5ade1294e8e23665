//! The `.cohort` directory of a project, and the lock that makes a campaign the only one in it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::{Campaign, Cases, Error, History, at};

/// Name of the directory in a project.
const DIRECTORY: &str = ".cohort";
/// Holds a directory for each campaign.
const CAMPAIGNS: &str = "campaigns";
/// Campaigns kept; the oldest beyond this are deleted when a new one starts.
const CAMPAIGNS_KEPT: usize = 30;

/// A project's `.cohort` directory.
#[derive(Clone, Debug)]
pub struct Project {
    root: PathBuf,
    home: PathBuf,
}

/// Held while a campaign runs. Freed by the system when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Project {
    /// The project in the directory `root`; nothing is made yet. Where `root` may not be written, all
    /// is kept below the user's own directory for such things.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        let usual = root.join(DIRECTORY);
        let place = if usual.exists() { &usual } else { root };
        let home = match elsewhere(root) {
            Some(elsewhere) if !is_writable(place) => elsewhere,
            _ => usual,
        };
        Self {
            root: root.to_path_buf(),
            home,
        }
    }

    /// Whether the project in `root` holds anything of an earlier campaign.
    #[must_use]
    pub fn is_known(root: &Path) -> bool {
        let there = |home: &Path| home.join(CAMPAIGNS).is_dir();
        there(&root.join(DIRECTORY)) || elsewhere(root).is_some_and(|home| there(&home))
    }

    /// Whether a Cohort works in this project now.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let lock = File::open(self.home.join("lock"));
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Makes the project's directory when there is none, and takes its lock.
    ///
    /// # Errors
    /// [`Error::Busy`] when another Cohort holds it, [`Error::NoPlace`] when neither the project nor the
    /// user's own directory takes a record.
    pub fn lock(&self) -> Result<Lock, Error> {
        fs::create_dir_all(&self.home).map_err(|source| self.no_place(source))?;
        let ignore = self.home.join(".gitignore");
        if !ignore.exists() {
            fs::write(&ignore, "*\n").map_err(at("write", &ignore))?;
        }
        let path = self.home.join("lock");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(at("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // Who holds it is told where it can be; the lock itself is what counts.
                let _ = file.read_to_string(&mut owner);
                return Err(Error::Busy {
                    path: self.root.clone(),
                    pid: owner.trim().parse().ok(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(at("lock", &path)(source)),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(at("write to", &path))?;
        Ok(Lock { _file: file })
    }

    fn no_place(&self, source: std::io::Error) -> Error {
        if is_writable(&self.root) {
            return at("create", &self.home)(source);
        }
        Error::NoPlace {
            root: self.root.clone(),
            home: self.home.clone(),
            source,
        }
    }

    /// Removes what [`Project::lock`] made when nothing came of it. Call it with the lock held.
    pub fn tidy(&self) {
        if self.home.join(CAMPAIGNS).exists() || self.home.join("cases").exists() {
            return;
        }
        for name in [".gitignore", "lock"] {
            let _ = fs::remove_file(self.home.join(name));
        }
        // Stays when anything else is in it.
        let _ = fs::remove_dir(&self.home);
    }

    /// Its directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where all that is kept of it is.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// A new campaign. Call it with the lock held.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn create_campaign(&self) -> Result<Campaign, Error> {
        let have = self.numbers()?;
        for number in have.iter().rev().skip(CAMPAIGNS_KEPT - 1) {
            let path = self.campaign_path(*number);
            fs::remove_dir_all(&path).map_err(at("delete", &path))?;
        }
        let number = have.last().map_or(1, |last| last + 1);
        Campaign::create(&self.campaign_path(number), number.to_string())
    }

    /// An existing campaign by name, or the latest.
    ///
    /// # Errors
    /// [`Error::NoCampaign`] names those there are.
    pub fn campaign(&self, name: Option<&str>) -> Result<Campaign, Error> {
        let have = self.numbers()?;
        let wanted = match name {
            Some(name) => name.trim_start_matches('c').parse().ok(),
            None => have.last().copied(),
        };
        match wanted {
            Some(number) if have.contains(&number) => Ok(Campaign::at(
                &self.campaign_path(number),
                number.to_string(),
            )),
            _ => Err(Error::NoCampaign {
                name: name.map(str::to_owned),
                path: self.root.clone(),
                have: have.iter().map(u64::to_string).collect(),
            }),
        }
    }

    /// The history over campaigns.
    #[must_use]
    pub fn history(&self) -> History {
        History::at(self.home.join("history.redb"))
    }

    /// The edge cases over campaigns. Writing needs the lock.
    #[must_use]
    pub fn cases(&self) -> Cases {
        Cases::at(&self.root, &self.home)
    }

    fn campaign_path(&self, number: u64) -> PathBuf {
        self.home.join(CAMPAIGNS).join(number.to_string())
    }

    fn numbers(&self) -> Result<Vec<u64>, Error> {
        let path = self.home.join(CAMPAIGNS);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(at("list", &path)(error)),
        };
        let mut numbers: Vec<u64> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

fn is_writable(path: &Path) -> bool {
    access(path, AccessFlags::W_OK).is_ok()
}

/// Where the record of a project is kept that may not be written (XDG Base Directory Specification,
/// "state data"): its name, and a checksum of its path.
fn elsewhere(root: &Path) -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let state = set("XDG_STATE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| Some(set("HOME")?.join(".local/state")))?;
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    let sum = crc32fast::hash(root.as_os_str().as_encoded_bytes());
    Some(state.join(format!("cohort/{name}-{sum:08x}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_came_of_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let project = Project::new(folder.path());
        let lock = project.lock().unwrap();
        project.tidy();
        drop(lock);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(!Project::is_known(folder.path()));
        let lock = project.lock().unwrap();
        project.create_campaign().unwrap();
        project.tidy();
        drop(lock);
        assert!(Project::is_known(folder.path()));
    }

    #[test]
    fn the_second_one_is_told_who_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        let project = Project::new(folder.path());
        let held = project.lock().unwrap();
        let error = project.lock().unwrap_err();
        assert!(
            matches!(&error, Error::Busy { pid, .. } if *pid == Some(std::process::id())),
            "{error}"
        );
        drop(held);
        project.lock().unwrap();
    }

    #[test]
    fn campaigns_are_numbered_found_and_kept_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let project = Project::new(folder.path());
        let _lock = project.lock().unwrap();
        let error = project.campaign(None).unwrap_err().to_string();
        let said = format!(
            "no campaign in {}; there are none yet",
            folder.path().display()
        );
        assert!(error.starts_with(&said), "{error}");
        for _ in 0..CAMPAIGNS_KEPT + 3 {
            project.create_campaign().unwrap();
        }
        assert_eq!(project.numbers().unwrap().len(), CAMPAIGNS_KEPT);
        assert_eq!(project.campaign(None).unwrap().name(), "33");
        assert_eq!(project.campaign(Some("c30")).unwrap().name(), "30");
        let error = project.campaign(Some("2")).unwrap_err().to_string();
        assert!(error.starts_with("no campaign 2 in "), "{error}");
        assert!(error.contains("4 to 33"), "{error}");
    }
}
