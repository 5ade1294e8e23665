//! One run whose lines are recorded.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::lines::{Lines, source};
use crate::{gcc, llvm, python};

/// Where the programs come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Built {
    /// As [`crate::rust_build`] has it: what they executed is known even when they are killed.
    Here,
    /// Otherwise.
    #[default]
    Elsewhere,
}

/// A folder in which one run leaves what it executed.
#[derive(Clone, Debug)]
pub struct Recording {
    folder: PathBuf,
    project: PathBuf,
    built: Built,
    counted: bool,
}

impl Recording {
    /// Begins one in `folder`, which is made if it is not there and should be empty; of files below `project`.
    ///
    /// # Errors
    /// A folder or file cannot be made or found.
    pub fn begin(folder: &Path, project: &Path, built: Built) -> Result<Recording, Error> {
        fs::create_dir_all(folder).map_err(Error::file(folder))?;
        let absolute = |path: &Path| fs::canonicalize(path).map_err(Error::file(path));
        let recording = Recording {
            folder: absolute(folder)?,
            project: absolute(project)?,
            built,
            counted: true,
        };
        python::write_tracer(&recording.folder)?;
        Ok(recording)
    }

    /// How often a line was executed is not asked for, only whether; Python 3.12 and later are faster so.
    #[must_use]
    pub fn without_counts(mut self) -> Recording {
        self.counted = false;
        self
    }

    /// What to set in the environment of the program. `inherited` is what it would find there otherwise.
    ///
    /// # Errors
    /// The folder cannot stand in a list of paths.
    pub fn environment(
        &self,
        inherited: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Vec<(String, OsString)>, Error> {
        let mut variables = python::environment(&self.folder, &self.project, &inherited)?;
        if !self.counted {
            variables.push(("COHORT_COVERAGE_COUNTS".into(), "no".into()));
        }
        variables.push(llvm::environment(&self.folder, self.built));
        variables.push(gcc::environment(&self.folder));
        Ok(variables)
    }

    /// What was executed. `programs` are those that LLVM instrumented: the test binary, and libraries that
    /// it loads. Programs of gcc and Python are found by what they left.
    ///
    /// # Errors
    /// Something was left that cannot be read.
    pub fn read(&self, programs: &[PathBuf]) -> Result<Lines, Error> {
        let mut lines = Lines::default();
        python::read(&self.folder, &mut lines)?;
        llvm::read(&self.folder, &self.project, programs, &mut lines)?;
        gcc::read(&self.folder, &self.project, &mut lines)?;
        Ok(lines)
    }

    /// The text of a line of a file of the project.
    #[must_use]
    pub fn source(&self, file: &str, line: u32) -> Option<String> {
        source(&self.project, file, line)
    }
}

/// Files in the folder whose names end so, in their order.
pub(crate) fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::file(folder))? {
        let path = entry.map_err(Error::file(folder))?.path();
        if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
