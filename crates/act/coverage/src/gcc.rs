//! Counts of gcc: C and C++ that were compiled with `--coverage`.
//!
//! The counts are written below the folder of the recording, under the absolute path of the object file, and
//! are read by gcov together with the notes that lie beside the object file.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::error::Error;
use crate::lines::{Function, Lines, inside};

/// Below the folder of the recording.
const COUNTS_FOLDER: &str = "gcc";

pub(crate) fn environment(folder: &Path) -> (String, OsString) {
    ("GCOV_PREFIX".into(), folder.join(COUNTS_FOLDER).into())
}

pub(crate) fn read(folder: &Path, project: &Path, lines: &mut Lines) -> Result<(), Error> {
    let root = folder.join(COUNTS_FOLDER);
    if !root.exists() {
        return Ok(());
    }
    let mut counts = Vec::new();
    find(&root, &mut counts)?;
    counts.sort();
    for path in counts {
        let object = path.strip_prefix(&root).unwrap_or(&path);
        let notes = Path::new("/").join(object).with_extension("gcno");
        let beside = path.with_extension("gcno");
        if !beside.exists() {
            symlink(&notes, &beside).map_err(Error::file(&beside))?;
        }
        let report = gcov(&root, &path)?;
        add(&report, project, lines);
    }
    Ok(())
}

fn find(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::file(folder))? {
        let path = entry.map_err(Error::file(folder))?.path();
        if path.is_dir() && !path.is_symlink() {
            find(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "gcda") {
            found.push(path);
        }
    }
    Ok(())
}

fn gcov(folder: &Path, counts: &Path) -> Result<Value, Error> {
    let failed = |reason: String| Error::Gcov {
        path: counts.to_path_buf(),
        reason,
    };
    let output = Command::new("gcov")
        .args(["--json-format", "--stdout"])
        .arg(counts)
        .current_dir(folder)
        .output()
        .map_err(|error| failed(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(failed(said.trim().to_string()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(format!("{error}; {said}")))
}

fn add(report: &Value, project: &Path, lines: &mut Lines) {
    let built_in = Path::new(report["current_working_directory"].as_str().unwrap_or("/"));
    let number = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
    for file in report["files"].as_array().into_iter().flatten() {
        let path = built_in.join(file["file"].as_str().unwrap_or_default());
        let path = fs::canonicalize(&path).unwrap_or(path);
        let Some(name) = inside(project, &path) else {
            continue;
        };
        for line in file["lines"].as_array().into_iter().flatten() {
            if let (Some(number), Some(count)) =
                (number(&line["line_number"]), line["count"].as_u64())
            {
                lines.add(&name, number, count);
            }
        }
        for function in file["functions"].as_array().into_iter().flatten() {
            let executed = function["execution_count"].as_u64().unwrap_or(0) > 0;
            let extent = number(&function["start_line"]).zip(number(&function["end_line"]));
            let named = function["demangled_name"].as_str();
            if let (Some((first, last)), Some(function), true) = (extent, named, executed) {
                let name_of = function.to_string();
                lines.add_function(
                    &name,
                    Function {
                        first,
                        last,
                        name: name_of,
                    },
                );
            }
        }
    }
}
