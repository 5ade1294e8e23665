//! Tests that are files: each is what a program reads, such as one of a corpus.
//!
//! Only files of data are taken for inputs. One that may be run is none: a script of which a part is left
//! out may do anything.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

/// Larger ones are not read, bytes.
const BYTES_MAX: u64 = 16 << 10;
/// What is there to be read only.
const DATA: [&str; 28] = [
    "json",
    "geojson",
    "jsonl",
    "ndjson",
    "xml",
    "html",
    "htm",
    "svg",
    "csv",
    "tsv",
    "txt",
    "md",
    "rst",
    "ini",
    "toml",
    "yaml",
    "yml",
    "log",
    "in",
    "input",
    "dat",
    "data",
    "eml",
    "ics",
    "vcf",
    "srt",
    "po",
    "properties",
];

/// The file that is the test `name` of a suite in `root`; none when it is none, or no data.
pub(crate) fn file(root: &Path, name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    let inside = path
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !inside || !DATA.contains(&extension.as_str()) {
        return None;
    }
    let path = root.join(path);
    let meta = fs::metadata(&path).ok()?;
    let is_data = meta.is_file() && meta.permissions().mode() & 0o111 == 0;
    (is_data && meta.len() <= BYTES_MAX).then_some(path)
}

/// What stands in it, when that is text of more than one character.
pub(crate) fn text(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    (text.trim().chars().count() > 1 && !text.starts_with("#!")).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_data_inside_the_project_are_inputs() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("project");
        fs::create_dir_all(root.join("corpus")).unwrap();
        for name in [
            "corpus/a.json",
            "corpus/run.sh",
            "corpus/tool.txt",
            "../out.txt",
        ] {
            fs::write(root.join(name), "[1, 2]").unwrap();
        }
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(root.join("corpus/tool.txt"), executable).unwrap();
        assert_eq!(
            file(&root, "corpus/a.json"),
            Some(root.join("corpus/a.json"))
        );
        for other in [
            "corpus/run.sh",
            "corpus/tool.txt",
            "../out.txt",
            "corpus/b.json",
            "corpus",
            "a test",
        ] {
            assert_eq!(file(&root, other), None, "{other}");
        }
        fs::write(root.join("corpus/a.json"), vec![b' '; 20_000]).unwrap();
        assert_eq!(file(&root, "corpus/a.json"), None);
        fs::write(root.join("corpus/a.json"), "#!/bin/sh\nrm").unwrap();
        assert_eq!(text(&root.join("corpus/a.json")), None);
    }
}
