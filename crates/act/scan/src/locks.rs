//! Lock files: which version of which package a server is built from.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::advisory::{self, Advisory};
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

/// A package as it is locked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Locked {
    ecosystem: &'static str,
    name: String,
    version: String,
}

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

type Reader = fn(&str) -> Result<Vec<Locked>, String>;

fn reader(name: &str) -> Option<Reader> {
    match name {
        "Cargo.lock" => Some(|text| of_toml("crates.io", text)),
        "poetry.lock" | "uv.lock" => Some(|text| of_toml("PyPI", text)),
        "package-lock.json" | "npm-shrinkwrap.json" => Some(of_npm),
        "Pipfile.lock" => Some(of_pipfile),
        name if name.starts_with("requirements") && name.ends_with(".txt") => Some(of_requirements),
        _ => None,
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

/// `[[package]]` with a name and a version, as Cargo, Poetry and uv have it.
fn of_toml(ecosystem: &'static str, text: &str) -> Result<Vec<Locked>, String> {
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| error.message().to_owned())?;
    let packages = table.get("package").and_then(toml::Value::as_array);
    let packages = packages.into_iter().flatten();
    Ok(packages
        .filter_map(|package| {
            let text = |key: &str| package.get(key).and_then(toml::Value::as_str);
            Some(Locked {
                ecosystem,
                name: text("name")?.to_owned(),
                version: text("version")?.to_owned(),
            })
        })
        .collect())
}

/// `packages` by their paths (versions 2 and 3), or `dependencies` within one another (version 1).
fn of_npm(text: &str) -> Result<Vec<Locked>, String> {
    let lock: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut all = Vec::new();
    let one = |name: &str, package: &Value| {
        Some(Locked {
            ecosystem: "npm",
            name: name.to_owned(),
            version: package.get("version")?.as_str()?.to_owned(),
        })
    };
    if let Some(packages) = lock.get("packages").and_then(Value::as_object) {
        for (path, package) in packages {
            if let Some((_, name)) = path.rsplit_once("node_modules/") {
                let name = package.get("name").and_then(Value::as_str).unwrap_or(name);
                all.extend(one(name, package));
            }
        }
        return Ok(all);
    }
    let mut open = vec![&lock];
    while let Some(value) = open.pop() {
        let within = value.get("dependencies").and_then(Value::as_object);
        for (name, package) in within.into_iter().flatten() {
            all.extend(one(name, package));
            open.push(package);
        }
    }
    Ok(all)
}

fn of_pipfile(text: &str) -> Result<Vec<Locked>, String> {
    let lock: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let groups = ["default", "develop"].into_iter();
    let packages = groups
        .filter_map(|group| lock.get(group)?.as_object())
        .flatten();
    Ok(packages
        .filter_map(|(name, package)| {
            let version = package.get("version")?.as_str()?;
            Some(python(name, version.trim_start_matches("==")))
        })
        .collect())
}

/// Only what is pinned tells a version: `name==1.2.3`, perhaps with `[extras]`, hashes, markers.
fn of_requirements(text: &str) -> Result<Vec<Locked>, String> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    Ok(lines
        .filter_map(|line| {
            let (name, rest) = line.split_once("==")?;
            let name = name.split('[').next()?.trim();
            let version = rest.trim_start_matches('=').split([';', ' ', '\\', ',']);
            let version = version.into_iter().find(|it| !it.is_empty())?;
            (!name.is_empty() && !version.contains('*')).then(|| python(name, version.trim()))
        })
        .collect())
}

fn python(name: &str, version: &str) -> Locked {
    Locked {
        ecosystem: "PyPI",
        name: name.to_owned(),
        version: version.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(read: Result<Vec<Locked>, String>) -> Vec<String> {
        let all = read.expect("a lock file").into_iter();
        all.map(|it| format!("{} {}", it.name, it.version))
            .collect()
    }

    #[test]
    fn lock_files_of_each_kind_are_read() {
        let cargo = "version = 4\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n";
        assert_eq!(names(of_toml("crates.io", cargo)), ["a 1.0.0"]);
        let new = r#"{"packages":{"":{"version":"9"},"node_modules/a":{"version":"1"},"node_modules/a/node_modules/@b/c":{"version":"2"}}}"#;
        assert_eq!(names(of_npm(new)), ["a 1", "@b/c 2"]);
        let old = r#"{"dependencies":{"a":{"version":"1","dependencies":{"b":{"version":"2"}}}}}"#;
        assert_eq!(names(of_npm(old)), ["a 1", "b 2"]);
        let pins = "# all\nDjango[argon2]==3.2.1 ; python_version > '3'\nflask>=2\nx==1.* \ny == 2 \\\n  --hash=sha256:aa\n";
        assert_eq!(names(of_requirements(pins)), ["Django 3.2.1", "y 2"]);
        let pipfile = r#"{"default":{"a":{"version":"==1.0"}}}"#;
        assert_eq!(names(of_pipfile(pipfile)), ["a 1.0"]);
    }

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
