//! Python: a tracer that every interpreter imports, and what it leaves.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::lines::{Function, Lines};
use crate::recording::files;

/// The tracer; Python imports a module of this name at its start.
const TRACER: &str = include_str!("sitecustomize.py");
/// Below the folder of the recording.
const TRACER_FOLDER: &str = "python";

pub(crate) fn write_tracer(folder: &Path) -> Result<(), Error> {
    let tracer = folder.join(TRACER_FOLDER);
    fs::create_dir_all(&tracer).map_err(Error::file(&tracer))?;
    let path = tracer.join("sitecustomize.py");
    fs::write(&path, TRACER).map_err(Error::file(&path))
}

pub(crate) fn environment(
    folder: &Path,
    project: &Path,
    inherited: &impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<(String, OsString)>, Error> {
    let tracer = folder.join(TRACER_FOLDER);
    let before = inherited("PYTHONPATH").filter(|path| !path.is_empty());
    let mut paths = vec![tracer.clone()];
    paths.extend(before.iter().flat_map(std::env::split_paths));
    let path = std::env::join_paths(paths).map_err(|_| Error::Colon { path: tracer })?;
    Ok(vec![
        ("PYTHONPATH".into(), path),
        ("COHORT_COVERAGE".into(), folder.into()),
        ("COHORT_COVERAGE_PROJECT".into(), project.into()),
    ])
}

/// What the processes have left, whether they have ended well or not.
pub(crate) fn read(folder: &Path, lines: &mut Lines) -> Result<(), Error> {
    for path in files(folder, "text")? {
        let text = fs::read(&path).map_err(Error::file(&path))?;
        let path = path.with_extension("counts");
        let counts = fs::read(&path).map_err(Error::file(&path))?;
        read_one(&text, &counts, lines);
    }
    Ok(())
}

fn read_one(text: &[u8], counts: &[u8], lines: &mut Lines) {
    let end = text.iter().position(|byte| *byte == 0);
    let text = String::from_utf8_lossy(&text[..end.unwrap_or(text.len())]);
    let mut paths: BTreeMap<&str, &str> = BTreeMap::new();
    // What was being written when the process was killed has no end.
    for line in text
        .split_inclusive('\n')
        .filter_map(|l| l.strip_suffix('\n'))
    {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        match kind {
            "F" => paths.extend(rest.split_once(' ')),
            "L" => read_line(rest, counts, &paths, lines),
            "D" => read_function(rest, &paths, lines),
            "X" => lines.cut = true,
            _ => {}
        }
    }
}

fn read_line(line: &str, counts: &[u8], paths: &BTreeMap<&str, &str>, lines: &mut Lines) {
    let mut words = line.split(' ');
    let mut word = || words.next();
    let (Some(slot), Some(file), Some(line)) = (word(), word(), word()) else {
        return;
    };
    let (Ok(slot), Some(path), Ok(line)) = (slot.parse::<usize>(), paths.get(file), line.parse())
    else {
        return;
    };
    let count = counts.chunks_exact(8).nth(slot);
    let count = count.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    lines.add(path, line, count.map_or(0, u64::from_ne_bytes));
}

fn read_function(line: &str, paths: &BTreeMap<&str, &str>, lines: &mut Lines) {
    let mut words = line.splitn(4, ' ');
    let mut word = || words.next();
    let (Some(file), Some(first), Some(last), Some(name)) = (word(), word(), word(), word()) else {
        return;
    };
    if let (Some(path), Ok(first), Ok(last)) = (paths.get(file), first.parse(), last.parse()) {
        let name = name.to_string();
        lines.add_function(path, Function { first, last, name });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_ends_in_the_middle_is_read_as_far_as_it_goes() {
        let text = b"F 0 a b.py\nD 0 1 9 f\nL 0 0 4\nL 1 0 5\nL 2 7 5\nL x\nL 1 0 6";
        let counts: Vec<u8> = [3u64, 1].iter().flat_map(|n| n.to_ne_bytes()).collect();
        let mut lines = Lines::default();
        read_one(text, &counts, &mut lines);
        let all: Vec<_> = lines.iter().collect();
        assert_eq!(all, [("a b.py", 4, 3), ("a b.py", 5, 1)]);
        assert_eq!(lines.functions["a b.py"][0].name, "f");
        read_one(b"X\n\0\0", &[], &mut lines);
        assert!(lines.cut);
    }
}
