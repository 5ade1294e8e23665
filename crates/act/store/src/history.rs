//! What is remembered of each test over campaigns, in an embedded database.
//!
//! One row a group of tests: reading a suite's history is a handful of look-ups, and writing it
//! back is one transaction however many tests there are. Keys are names of groups and tests, never
//! paths of the host.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use cohort_model::{Plan, SuiteKind, TestHistory, TestResult, ThreadEnd, ThreadId};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::{Error, at};

/// Its name is raised when a row holds something else; what the tables before held is forgotten.
const GROUPS: TableDefinition<&str, &[u8]> = TableDefinition::new("groups-2");
/// Tables of earlier versions.
const OUTDATED: [TableDefinition<&str, &[u8]>; 1] = [TableDefinition::new("groups-1")];

/// Latest passing executions remembered of one test.
const USAGE_KEPT: usize = 8;

/// Bytes of the mark with which a database begins, which is written last when one is made.
const MARK_BYTES: u64 = 9;

type Group = BTreeMap<String, TestHistory>;

/// History over the campaigns of one project.
#[derive(Clone, Debug)]
pub struct History {
    path: PathBuf,
}

impl History {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// What is known of the tests of `plan`, by test id.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn of(&self, suite: SuiteKind, plan: &Plan) -> Result<BTreeMap<u32, TestHistory>, Error> {
        if self.is_blank().map_err(at("read", &self.path))? {
            return Ok(BTreeMap::new());
        }
        let groups = self
            .read(suite, &plan.groups)
            .map_err(|source| self.failed(source))?;
        Ok(plan
            .tests
            .iter()
            .enumerate()
            .filter_map(|(id, test)| {
                let known = groups.get(test.group.index())?.get(&test.name)?;
                Some((u32::try_from(id).ok()?, known.clone()))
            })
            .collect())
    }

    /// Adds the results of a campaign to what is known.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn add(
        &self,
        suite: SuiteKind,
        plan: &Plan,
        results: &[TestResult],
        ends: &BTreeMap<ThreadId, ThreadEnd>,
    ) -> Result<(), Error> {
        let mut by_group: BTreeMap<usize, Vec<&TestResult>> = BTreeMap::new();
        for result in results.iter().filter(|result| !result.threads.is_empty()) {
            let group = plan.tests[result.test.index()].group.index();
            by_group.entry(group).or_default().push(result);
        }
        self.write(suite, plan, &by_group, ends)
            .map_err(|source| self.failed(source))
    }

    fn failed(&self, source: redb::Error) -> Error {
        let path = self.path.clone();
        match source {
            redb::Error::Io(source) if !is_damage(&source) => at("use", &path)(source),
            redb::Error::Io(_)
            | redb::Error::Corrupted(_)
            | redb::Error::UpgradeRequired(_)
            | redb::Error::TableTypeMismatch { .. } => Error::HistoryDamaged {
                path,
                source: Box::new(source),
            },
            source => Error::History {
                path,
                source: Box::new(source),
            },
        }
    }

    /// Whether it was never written: there is no file, or the disk was full when it was made.
    fn is_blank(&self) -> io::Result<bool> {
        let mut mark = Vec::new();
        match File::open(&self.path) {
            Ok(file) => file.take(MARK_BYTES).read_to_end(&mut mark)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(error),
        };
        Ok(mark.iter().all(|byte| *byte == 0))
    }

    fn read(&self, suite: SuiteKind, groups: &[String]) -> Result<Vec<Group>, redb::Error> {
        let database = Database::create(&self.path)?;
        let transaction = database.begin_read()?;
        let table = match transaction.open_table(GROUPS) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        groups
            .iter()
            .map(|name| {
                let row = table.get(key(suite, name).as_str())?;
                Ok(row.map(|row| decode(row.value())).unwrap_or_default())
            })
            .collect()
    }

    fn write(
        &self,
        suite: SuiteKind,
        plan: &Plan,
        by_group: &BTreeMap<usize, Vec<&TestResult>>,
        ends: &BTreeMap<ThreadId, ThreadEnd>,
    ) -> Result<(), redb::Error> {
        if self.is_blank()? {
            File::create(&self.path)?;
        }
        let database = Database::create(&self.path)?;
        let transaction = database.begin_write()?;
        for outdated in OUTDATED {
            transaction.delete_table(outdated)?;
        }
        {
            let mut table = transaction.open_table(GROUPS)?;
            for (&group, results) in by_group {
                let key = key(suite, &plan.groups[group]);
                let mut known = table
                    .get(key.as_str())?
                    .map(|row| decode(row.value()))
                    .unwrap_or_default();
                for result in results {
                    let name = &plan.tests[result.test.index()].name;
                    remember(known.entry(name.clone()).or_default(), result, ends);
                }
                let row = postcard::to_stdvec(&known).expect("maps and numbers always encode");
                table.insert(key.as_str(), row.as_slice())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

/// Whether the file is not what it should be, as against one that the system does not let us use.
fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    )
}

fn key(suite: SuiteKind, group: &str) -> String {
    let suite = match suite {
        SuiteKind::Cargo => "cargo",
        SuiteKind::Pytest => "pytest",
        SuiteKind::Exec => "exec",
        SuiteKind::Service => "service",
    };
    format!("{suite} {group}")
}

/// A row that is damaged is forgotten: it is only history.
fn decode(row: &[u8]) -> Group {
    postcard::from_bytes(row).unwrap_or_default()
}

fn remember(known: &mut TestHistory, result: &TestResult, ends: &BTreeMap<ThreadId, ThreadEnd>) {
    known.runs += 1;
    known.failures += u32::from(result.verdict.is_failure());
    known.load_sensitive += u32::from(result.load_sensitive);
    let last = result.threads.last().and_then(|thread| ends.get(thread));
    if let Some(end) = last
        && result.verdict.is_success()
    {
        known.usage.push(end.usage);
        let surplus = known.usage.len().saturating_sub(USAGE_KEPT);
        known.usage.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use cohort_model::{GroupId, TestCase, TestId, Usage, Verdict};

    use super::*;

    fn plan(names: &[&str]) -> Plan {
        Plan {
            groups: vec!["api".to_owned()],
            tests: names
                .iter()
                .map(|name| TestCase {
                    name: (*name).to_owned(),
                    group: GroupId(0),
                    ignored: false,
                    lock: None,
                    whole: false,
                    broken: None,
                })
                .collect(),
            ..Plan::default()
        }
    }

    fn end(wall_us: u64) -> ThreadEnd {
        ThreadEnd {
            thread: ThreadId(0),
            verdict: Verdict::Passed,
            exit_code: Some(0),
            signal: None,
            usage: Usage {
                wall_us,
                ..Usage::default()
            },
            message: None,
            parts: None,
            symptom: None,
            unapplied: Vec::new(),
            input: None,
            passed_before: 0,
            left_behind: 0,
            output_dropped: 0,
        }
    }

    fn result(test: u32, verdict: Verdict) -> TestResult {
        TestResult {
            test: TestId(test),
            verdict,
            threads: vec![ThreadId(test)],
            load_sensitive: false,
            memory_retried: false,
        }
    }

    #[test]
    fn what_an_earlier_version_wrote_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::at(folder.path().join("history.redb"));
        {
            let database = Database::create(&history.path).unwrap();
            let transaction = database.begin_write().unwrap();
            let old = key(SuiteKind::Cargo, "api");
            let mut table = transaction.open_table(OUTDATED[0]).unwrap();
            table.insert(old.as_str(), [1, 2, 3].as_slice()).unwrap();
            drop(table);
            transaction.commit().unwrap();
        }
        assert_begins_anew(&history);
    }

    /// It knows nothing, and takes in what is new.
    fn assert_begins_anew(history: &History) {
        let tests = plan(&["a"]);
        assert!(history.of(SuiteKind::Cargo, &tests).unwrap().is_empty());
        let ends = BTreeMap::from([(ThreadId(0), end(7))]);
        let results = [result(0, Verdict::Passed)];
        history
            .add(SuiteKind::Cargo, &tests, &results, &ends)
            .unwrap();
        assert_eq!(history.of(SuiteKind::Cargo, &tests).unwrap()[&0].runs, 1);
    }

    /// Of a project whose history was written as `text`.
    fn written(folder: &tempfile::TempDir, text: &[u8]) -> History {
        let history = History::at(folder.path().join("history.redb"));
        std::fs::write(&history.path, text).unwrap();
        history
    }

    #[test]
    fn what_a_full_disk_left_is_as_good_as_none() {
        let mut unmarked = vec![0; 8192];
        unmarked[12..100].fill(7);
        for text in [&[][..], &[0; 4], &unmarked] {
            let folder = tempfile::tempdir().unwrap();
            let history = written(&folder, text);
            assert_begins_anew(&history);
        }
    }

    #[test]
    fn only_what_is_damaged_is_to_be_deleted() {
        use std::error::Error as _;

        let folder = tempfile::tempdir().unwrap();
        let history = written(&folder, b"this was never a database");
        let error = history.of(SuiteKind::Cargo, &plan(&["a"])).unwrap_err();
        assert!(matches!(error, Error::HistoryDamaged { .. }), "{error}");

        let history = History::at(folder.path().to_owned());
        let unreadable = history.of(SuiteKind::Cargo, &plan(&["a"])).unwrap_err();
        let full = history.failed(io::Error::from_raw_os_error(28).into());
        let busy = history.failed(redb::Error::DatabaseAlreadyOpen);
        for error in [unreadable, full, busy] {
            let (said, why) = (error.to_string(), error.source().unwrap().to_string());
            assert!(
                !said.contains("delete") && !said.contains(&why),
                "{said}: {why}"
            );
        }
    }

    #[test]
    fn what_was_added_is_found_again_by_name_after_a_move() {
        let folder = tempfile::tempdir().unwrap();
        let before = folder.path().join("before");
        std::fs::create_dir(&before).unwrap();
        let history = History::at(before.join("history.redb"));
        assert!(
            history
                .of(SuiteKind::Cargo, &plan(&["a"]))
                .unwrap()
                .is_empty()
        );
        for wall in 0..10 {
            let ends = BTreeMap::from([(ThreadId(0), end(wall)), (ThreadId(1), end(wall))]);
            let results = [result(0, Verdict::Passed), result(1, Verdict::Failed)];
            history
                .add(SuiteKind::Cargo, &plan(&["a", "b"]), &results, &ends)
                .unwrap();
        }

        let after = folder.path().join("after");
        std::fs::rename(&before, &after).unwrap();
        let history = History::at(after.join("history.redb"));
        let known = history
            .of(SuiteKind::Cargo, &plan(&["new", "b", "a"]))
            .unwrap();
        assert_eq!(known.keys().copied().collect::<Vec<_>>(), [1, 2]);
        assert_eq!((known[&1].runs, known[&1].failures), (10, 10));
        assert!(known[&1].usage.is_empty());
        let walls: Vec<u64> = known[&2].usage.iter().map(|usage| usage.wall_us).collect();
        assert_eq!(walls, [2, 3, 4, 5, 6, 7, 8, 9]);
        assert!(
            history
                .of(SuiteKind::Pytest, &plan(&["a"]))
                .unwrap()
                .is_empty()
        );
    }
}
