//! Edge cases of a project, over campaigns: `.cohort/cases/EC-3/`.
//!
//! ```text
//! cases/
//!   EC-3/
//!     case.json     what is known of it: written anew as a whole, so it is always readable
//!     capsule       all that runs it again, in one file
//! ```
//!
//! Promise: ids are never given twice while a case is kept, cases outlive the campaigns they come from,
//! and of the closed ones only the newest [`KEPT`] stay. All that writes needs the project's lock.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use cohort_model::{Case, CaseId, Stage, SuiteKind};
use serde::{Deserialize, Serialize};

use crate::{Error, at};

/// Holds a directory for each case.
const CASES: &str = "cases";
/// Version of `case.json`.
const FORMAT: u32 = 1;
/// Cases kept; of more, the oldest closed ones go.
pub const KEPT: usize = 500;

/// A case as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptCase {
    /// Version of this record.
    format: u32,
    /// What is known of it.
    pub case: Case,
    /// Name of the test, or the endpoint (`POST /orders`); empty for a whole server.
    pub name: String,
    /// Names of the tests that its recipes speak of, by their number in that campaign.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tests: BTreeMap<u32, String>,
    /// Equal for the same bug; empty when it has not failed.
    #[serde(default)]
    pub fingerprint: String,
    /// Which suite it is of; a service has its own kind.
    pub suite: SuiteKind,
    /// The suite's command as it would be typed, or the service's.
    #[serde(default)]
    pub command: Vec<String>,
    /// The latest campaign that saw it. It may be deleted since.
    pub campaign: String,
    /// When it was first seen, seconds since 1970.
    pub first_unix_s: u64,
    /// When it was last seen or tried, seconds since 1970.
    pub last_unix_s: u64,
}

impl KeptCase {
    /// A case that was seen for the first time in `campaign`, at `unix_s`.
    #[must_use]
    pub fn new(case: Case, suite: SuiteKind, campaign: &str, unix_s: u64) -> Self {
        Self {
            format: FORMAT,
            case,
            name: String::new(),
            tests: BTreeMap::new(),
            fingerprint: String::new(),
            suite,
            command: Vec::new(),
            campaign: campaign.to_owned(),
            first_unix_s: unix_s,
            last_unix_s: unix_s,
        }
    }
}

/// The cases of a project.
#[derive(Clone, Debug)]
pub struct Cases {
    root: PathBuf,
    path: PathBuf,
}

impl Cases {
    pub(crate) fn at(root: &Path, home: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            path: home.join(CASES),
        }
    }

    /// The number after the highest that is kept; 1 when there is none.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn next_id(&self) -> Result<CaseId, Error> {
        Ok(CaseId(self.ids()?.last().map_or(1, |last| last.0 + 1)))
    }

    /// All ids, ascending.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn ids(&self) -> Result<Vec<CaseId>, Error> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(at("list", &self.path)(error)),
        };
        let mut ids: Vec<CaseId> = entries
            .filter_map(|entry| id(entry.ok()?.file_name().to_str()?))
            .collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Where all of a case is; there may be nothing yet.
    #[must_use]
    pub fn directory(&self, case: CaseId) -> PathBuf {
        self.path.join(case.to_string())
    }

    /// Its capsule; there may be none.
    #[must_use]
    pub fn capsule(&self, case: CaseId) -> PathBuf {
        self.directory(case).join("capsule")
    }

    /// Keeps a case in place of what was known of it. Either version is there whatever happens.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, kept: &KeptCase) -> Result<(), Error> {
        let directory = self.directory(kept.case.case);
        fs::create_dir_all(&directory).map_err(at("create", &directory))?;
        let path = directory.join("case.json");
        let bytes = serde_json::to_vec_pretty(kept).map_err(|source| Error::Case {
            path: path.clone(),
            source,
        })?;
        let new = directory.join("case.json.new");
        let written = fs::File::create(&new).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_data()
        });
        written.map_err(at("write", &new))?;
        fs::rename(&new, &path).map_err(at("write", &path))
    }

    /// One case.
    ///
    /// # Errors
    /// It is not there, was written by a later version, or is damaged.
    pub fn read(&self, case: CaseId) -> Result<KeptCase, Error> {
        let path = self.directory(case).join("case.json");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(self.unknown(&case.to_string())?);
            }
            Err(error) => return Err(at("read", &path)(error)),
        };
        let damaged = |source| Error::Case {
            path: path.clone(),
            source,
        };
        // The version first: a later one may have changed all else.
        let version: Version = serde_json::from_slice(&bytes).map_err(damaged)?;
        if version.format > FORMAT {
            return Err(Error::CaseFormat {
                path,
                format: version.format,
                known: FORMAT,
            });
        }
        serde_json::from_slice(&bytes).map_err(damaged)
    }

    /// One case as a user names it: `EC-3`, `ec3` or `3`.
    ///
    /// # Errors
    /// [`Error::NoCase`] names those there are; else as [`Cases::read`].
    pub fn find(&self, name: &str) -> Result<KeptCase, Error> {
        match id(name.trim()) {
            Some(case) => self.read(case),
            None => Err(self.unknown(name)?),
        }
    }

    /// All cases that can be read, ascending, and what is wrong with the others.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(&self) -> Result<(Vec<KeptCase>, Vec<Error>), Error> {
        let mut cases = Vec::new();
        let mut wrong = Vec::new();
        for case in self.ids()? {
            match self.read(case) {
                Ok(kept) => cases.push(kept),
                // A directory without its file: a campaign that died as it made it.
                Err(Error::NoCase { .. }) => {}
                Err(error) => wrong.push(error),
            }
        }
        Ok((cases, wrong))
    }

    /// Removes the closed cases that were longest not seen, until at most [`KEPT`] are left; says which,
    /// to be told in a line each. Cases that are open stay.
    ///
    /// # Errors
    /// A directory cannot be read or removed.
    pub fn remove_oldest(&self) -> Result<Vec<CaseId>, Error> {
        self.keep(KEPT)
    }

    fn keep(&self, most: usize) -> Result<Vec<CaseId>, Error> {
        if self.ids()?.len() <= most {
            return Ok(Vec::new());
        }
        let (cases, _) = self.list()?;
        // The highest id stays whatever it is, so that none is given twice.
        let newest = cases.iter().map(|kept| kept.case.case).max();
        let mut closed: Vec<&KeptCase> = cases
            .iter()
            .filter(|kept| kept.case.stage == Stage::Closed && Some(kept.case.case) != newest)
            .collect();
        closed.sort_by_key(|kept| (kept.last_unix_s, kept.case.case));
        let surplus = cases.len().saturating_sub(most);
        let mut removed = Vec::new();
        for kept in closed.into_iter().take(surplus) {
            let path = self.directory(kept.case.case);
            fs::remove_dir_all(&path).map_err(at("delete", &path))?;
            removed.push(kept.case.case);
        }
        Ok(removed)
    }

    fn unknown(&self, name: &str) -> Result<Error, Error> {
        Ok(Error::NoCase {
            name: name.to_owned(),
            path: self.root.clone(),
            have: self.ids()?.iter().map(CaseId::to_string).collect(),
        })
    }
}

#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// `EC-3`, `ec-3`, `EC3`, `3`
fn id(name: &str) -> Option<CaseId> {
    let digits = match name.get(..2) {
        Some(start) if start.eq_ignore_ascii_case("ec") => {
            name[2..].strip_prefix('-').unwrap_or(&name[2..])
        }
        _ => name,
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| digits.parse().ok().map(CaseId)).flatten()
}

#[cfg(test)]
mod tests {
    use cohort_model::{At, Subject, TestId};

    use super::*;
    use crate::Project;

    fn kept(number: u32, stage: Stage, last_unix_s: u64) -> KeptCase {
        let case = Case {
            case: CaseId(number),
            subject: Subject::Test(TestId(7)),
            symptom: None,
            sightings: Vec::new(),
            since: At(0),
            returned: false,
            stage,
            verdict: None,
            arms: Vec::new(),
            runs_to_first: None,
            causes: Vec::new(),
            smallest: None,
            minimal: false,
            request: String::new(),
            age_us: 0,
            bound_us: 0,
            variants: Vec::new(),
            remarks: Vec::new(),
        };
        KeptCase {
            name: "tests/test_a.py::test_b".to_owned(),
            ..KeptCase::new(case, SuiteKind::Pytest, "4", last_unix_s)
        }
    }

    fn project() -> (tempfile::TempDir, Cases) {
        let folder = tempfile::tempdir().unwrap();
        let cases = Project::new(folder.path()).cases();
        (folder, cases)
    }

    #[test]
    fn what_was_kept_is_found_by_any_of_its_names() {
        let (_folder, cases) = project();
        assert_eq!(cases.next_id().unwrap(), CaseId(1));
        for number in 1..=5 {
            cases.write(&kept(number, Stage::Closed, 1)).unwrap();
        }
        for name in ["EC-3", "ec-3", "Ec3", "3", " EC-3 "] {
            assert_eq!(
                cases.find(name).unwrap(),
                kept(3, Stage::Closed, 1),
                "{name}"
            );
        }
        assert_eq!(cases.next_id().unwrap(), CaseId(6));
        let mut changed = kept(3, Stage::Open, 9);
        changed.fingerprint = "0123abcd".to_owned();
        cases.write(&changed).unwrap();
        assert_eq!(cases.read(CaseId(3)).unwrap(), changed);
        assert_eq!(cases.list().unwrap().0.len(), 5);
    }

    #[test]
    fn who_asks_for_none_is_told_which_there_are() {
        let (folder, cases) = project();
        let place = folder.path().display();
        let said = |name: &str| cases.find(name).unwrap_err().to_string();
        assert!(said("EC-7").starts_with(&format!("no case EC-7 in {place}; there are none yet")));
        cases.write(&kept(1, Stage::Open, 1)).unwrap();
        assert_eq!(
            said("EC-7"),
            format!("no case EC-7 in {place}; there is only EC-1")
        );
        cases.write(&kept(5, Stage::Open, 1)).unwrap();
        assert_eq!(
            said("EC-7"),
            format!("no case EC-7 in {place}; there are EC-1 to EC-5")
        );
        assert_eq!(
            said("../x"),
            format!("no case ../x in {place}; there are EC-1 to EC-5")
        );
        assert_eq!(
            said("EC-é"),
            format!("no case EC-é in {place}; there are EC-1 to EC-5")
        );
    }

    #[test]
    fn a_later_version_and_damage_are_told_and_hide_no_other_case() {
        let (_folder, cases) = project();
        for number in 1..=3 {
            cases.write(&kept(number, Stage::Open, 1)).unwrap();
        }
        let file = |number| cases.directory(CaseId(number)).join("case.json");
        fs::write(file(1), "{\"format\": 9, \"all\": \"new\"}").unwrap();
        let whole = fs::read(file(2)).unwrap();
        fs::write(file(2), &whole[..whole.len() / 2]).unwrap();
        fs::create_dir(cases.directory(CaseId(4))).unwrap();
        let later = cases.find("1").unwrap_err().to_string();
        assert!(
            later.contains("version 9") && later.contains("newer Cohort"),
            "{later}"
        );
        assert!(matches!(cases.find("2"), Err(Error::Case { .. })));
        let (readable, wrong) = cases.list().unwrap();
        assert_eq!((readable.len(), wrong.len()), (1, 2));
        assert_eq!(cases.next_id().unwrap(), CaseId(5));
    }

    #[test]
    fn the_closed_ones_longest_not_seen_go_first() {
        let (_folder, cases) = project();
        for (number, stage, last) in [
            (1, Stage::Open, 1),
            (2, Stage::Closed, 50),
            (3, Stage::Closed, 10),
            (4, Stage::Closed, 30),
            (5, Stage::Closed, 2),
        ] {
            cases.write(&kept(number, stage, last)).unwrap();
        }
        assert_eq!(cases.remove_oldest().unwrap(), []);
        assert_eq!(cases.keep(3).unwrap(), [CaseId(3), CaseId(4)]);
        assert_eq!(cases.ids().unwrap(), [1, 2, 5].map(CaseId));
        assert_eq!(cases.next_id().unwrap(), CaseId(6));
        assert_eq!(
            cases.keep(0).unwrap(),
            [CaseId(2)],
            "open ones and the newest stay"
        );
    }

    #[test]
    fn cases_outlive_their_campaigns() {
        let (folder, cases) = project();
        let project = Project::new(folder.path());
        let _lock = project.lock().unwrap();
        let first = project.create_campaign().unwrap();
        cases.write(&kept(1, Stage::Closed, 1)).unwrap();
        for _ in 0..40 {
            project.create_campaign().unwrap();
        }
        assert!(!first.path().exists());
        assert_eq!(cases.find("EC-1").unwrap().campaign, "4");
    }
}
