//! The hungry suites under a memory limit at which the peers are killed: a cgroup made for each run,
//! version 2 or version 1, which the contender enters before it starts.

use std::path::{Path, PathBuf};

use super::contender::Contender;
use super::made::HUNGRY_TEST_BYTES;
use super::measure::{History, measure_inside};
use super::row::{Row, Target};
use super::rows::Bench;
use super::suite::{Language, Suite};
use crate::error::Error;
use crate::run;

/// One test fits with room to spare, two at once do not.
const LIMIT_BYTES: u64 = HUNGRY_TEST_BYTES * 7 / 4;

/// A memory cgroup that is removed when this is dropped.
pub(crate) struct Limited {
    dir: PathBuf,
}

impl Limited {
    /// Makes it beside whatever runs at the root of the memory hierarchy.
    fn new(limit_bytes: u64) -> Result<Limited, Error> {
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let (root, file) = if v1.join("memory.limit_in_bytes").exists() {
            (v1, "memory.limit_in_bytes")
        } else {
            let v2 = Path::new("/sys/fs/cgroup");
            write(&v2.join("cgroup.subtree_control"), "+memory")?;
            (v2, "memory.max")
        };
        let dir = root.join(format!("cohort-bench-{}", std::process::id()));
        run::make_dir(&dir)?;
        let limited = Limited { dir };
        write(&limited.dir.join(file), &limit_bytes.to_string())?;
        Ok(limited)
    }

    /// What a process writes itself into.
    pub(crate) fn procs(&self) -> PathBuf {
        self.dir.join("cgroup.procs")
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        // A cgroup with something left in it stays; there is nothing to be done about it here.
        if std::fs::remove_dir(&self.dir).is_err() {
            eprintln!(
                "  {} could not be removed; something still runs in it",
                self.dir.display()
            );
        }
    }
}

/// A control file must be there already: the kernel makes it, or the controller is missing.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text).map_err(|source| Error::File {
        path: path.to_path_buf(),
        action: "written (memory cgroups need root)",
        source,
    })
}

/// How many tests did not pass in each run: for Cohort none may, for the peer some must, or the
/// limit shows nothing.
pub(crate) fn rows(bench: &Bench, suite: &Suite) -> Result<Vec<Row>, Error> {
    let peer = match suite.language {
        Language::Rust => Contender::Nextest(None),
        Language::Pytest => Contender::Xdist("load"),
    };
    let mut rows = Vec::new();
    for (contender, target) in [
        (Contender::cohort(), Target::AtMost(0.0)),
        (peer, Target::AtLeast(1.0)),
    ] {
        let mut not_passed = Vec::new();
        for _ in 0..bench.runs {
            let limited = Limited::new(LIMIT_BYTES)?;
            let run = measure_inside(&contender, suite, &bench.tools, History::None, &limited)?;
            let passed = run.cases.iter().filter(|c| !c.failed && !c.skipped).count();
            eprintln!(
                "  {:<22} {:>7.2} s  {passed} passed",
                contender.name(),
                run.wall_s
            );
            not_passed.push(suite.tests.saturating_sub(passed) as f64);
        }
        let row = format!(
            "{}: not passed in {} MiB, {}",
            suite.name,
            LIMIT_BYTES >> 20,
            contender.name()
        );
        rows.push(Row::new(row, "tests", &not_passed, target));
    }
    Ok(rows)
}
