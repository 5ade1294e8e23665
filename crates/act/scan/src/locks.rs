//! Lock files: which version of which package a server is built from.

use std::path::{Path, PathBuf};

use crate::advisory::{self, Advisory};
use crate::formats::{Locked, reader};
use crate::weakness::Weaknesses;

/// Directories within one another at most.
const DEPTH_MAX: u32 = 3;
/// Files that are looked at.
const FILES_MAX: usize = 50;
/// Directories that hold what others wrote.
const PASSED_OVER: [&str; 6] = [
    "node_modules",
    "target",
    "venv",
    "site-packages",
    "vendor",
    "__pycache__",
];

/// Looks all lock files in these directories up.
pub(crate) fn look_up(roots: &[PathBuf], advisories: &Path, weaknesses: &mut Weaknesses) {
    let (all, failed) = advisory::load(advisories);
    for why in failed {
        let sentence = format!("An advisory was not looked up: {why}.");
        weaknesses.add("not-checked", &why, sentence);
    }
    let mut files = Vec::new();
    for root in roots {
        find(root, 0, &mut files);
    }
    files.sort();
    files.dedup();
    for file in files.iter().take(FILES_MAX) {
        let shown = roots.iter().find_map(|root| file.strip_prefix(root).ok());
        let shown = shown.unwrap_or(file).display().to_string();
        match locked(file) {
            Ok(packages) => tell(&all, &packages, &shown, weaknesses),
            Err(why) => {
                let sentence = format!("The packages of {shown} were not looked up: {why}.");
                weaknesses.add("not-checked", &shown, sentence);
            }
        }
    }
}

fn tell(all: &[Advisory], packages: &[Locked], file: &str, weaknesses: &mut Weaknesses) {
    for package in packages {
        let hits = all
            .iter()
            .filter(|it| it.hits(package.ecosystem, &package.name, &package.version));
        for advisory in hits {
            let mended = advisory.mended(&package.name);
            let mended = mended.map_or_else(String::new, |it| format!("; mended in {it}"));
            let what = match advisory.summary.as_str() {
                "" => String::new(),
                summary => format!(" ({summary})"),
            };
            let sentence = format!(
                "{file} has {} {}, which {} is about{what}{mended}.",
                package.name, package.version, advisory.id
            );
            let place = format!("{file}: {} {}", package.name, advisory.id);
            weaknesses.add("vulnerable-dependency", &place, sentence);
        }
    }
}

fn find(directory: &Path, depth: u32, files: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_directory {
            if depth < DEPTH_MAX && !name.starts_with('.') && !PASSED_OVER.contains(&&*name) {
                find(&path, depth + 1, files);
            }
        } else if reader(&name).is_some() {
            files.push(path);
        }
    }
}

fn locked(path: &Path) -> Result<Vec<Locked>, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let read = reader(&name).ok_or("no lock file")?;
    let mut all = read(&text)?;
    all.sort();
    all.dedup();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_lock_file_is_told_and_the_others_are_looked_up() {
        let root = tempfile::tempdir().expect("a directory");
        let advisory = r#"{"id":"X-1","affected":[{"package":{"ecosystem":"npm","name":"a"},"versions":["1"]}]}"#;
        std::fs::write(root.path().join("x.json"), advisory).expect("a file");
        std::fs::create_dir(root.path().join("web")).expect("a directory");
        let lock = r#"{"packages":{"node_modules/a":{"version":"1"}}}"#;
        std::fs::write(root.path().join("web/package-lock.json"), lock).expect("a file");
        std::fs::write(root.path().join("Cargo.lock"), "[[package").expect("a file");
        let mut found = Weaknesses::default();
        look_up(
            &[root.path().to_owned()],
            &root.path().join("x.json"),
            &mut found,
        );
        assert_eq!(found.rules(), ["not-checked", "vulnerable-dependency"]);
        assert!(
            found
                .lines()
                .contains("web/package-lock.json has a 1, which X-1"),
            "{}",
            found.lines()
        );
    }
}
