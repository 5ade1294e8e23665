//! Advisories of the user's: OSV (<https://ossf.github.io/osv-schema/>, JSON) and RustSec (TOML, alone or at the head of Markdown).

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::version::{Version, fits};

/// Directories within one another at most.
const DEPTH_MAX: u32 = 6;

/// What is known to be vulnerable.
#[derive(Clone, Debug)]
pub(crate) struct Advisory {
    pub(crate) id: String,
    pub(crate) summary: String,
    affected: Vec<Affected>,
}

#[derive(Clone, Debug)]
struct Affected {
    ecosystem: String,
    package: String,
    versions: Vec<String>,
    /// From a version on, until before another or to one.
    ranges: Vec<Vec<Happens>>,
    /// Requirements of versions that are not: RustSec.
    except: Option<Vec<String>>,
}

/// An event of a range.
#[derive(Clone, Debug, Default, Deserialize)]
struct Happens {
    introduced: Option<String>,
    fixed: Option<String>,
    last_affected: Option<String>,
}

impl Advisory {
    /// Whether it is about this version of a package.
    pub(crate) fn hits(&self, ecosystem: &str, package: &str, version: &str) -> bool {
        self.affected.iter().any(|it| {
            it.ecosystem == ecosystem
                && normal(ecosystem, &it.package) == normal(ecosystem, package)
                && it.hits(version)
        })
    }

    /// The version in which it is mended, when that is said.
    pub(crate) fn mended(&self, package: &str) -> Option<String> {
        let of = self.affected.iter().filter(|it| it.package == package);
        let fixed = of.flat_map(|it| {
            it.ranges
                .iter()
                .flatten()
                .filter_map(|one| one.fixed.clone())
        });
        fixed.max_by_key(|one| Version::of(one))
    }
}

impl Affected {
    fn hits(&self, text: &str) -> bool {
        if self.versions.iter().any(|one| one == text) {
            return true;
        }
        let Some(version) = Version::of(text) else {
            return false;
        };
        if let Some(except) = &self.except {
            return !except.iter().any(|one| fits(&version, one));
        }
        self.ranges.iter().any(|events| within(&version, events))
    }
}

/// As OSV has it: the last event at or before a version decides.
fn within(version: &Version, events: &[Happens]) -> bool {
    let mut marks: Vec<(Version, bool)> = Vec::new();
    for event in events {
        let of = |text: &Option<String>| text.as_deref().and_then(Version::of);
        if let Some(at) = of(&event.introduced) {
            marks.push((at, true));
        }
        if let Some(at) = of(&event.fixed) {
            marks.push((at, false));
        }
        if let Some(last) = of(&event.last_affected)
            && *version > last
        {
            marks.push((last, false));
        }
    }
    marks.sort();
    let last = marks.iter().rev().find(|(at, _)| at <= version);
    last.is_some_and(|(_, begins)| *begins)
}

/// Names are compared as their registry does (PEP 503 for Python).
fn normal(ecosystem: &str, package: &str) -> String {
    match ecosystem {
        "PyPI" => package.to_ascii_lowercase().replace(['_', '.'], "-"),
        _ => package.to_owned(),
    }
}

#[derive(Deserialize)]
struct Osv {
    id: String,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    withdrawn: Option<String>,
    #[serde(default)]
    affected: Vec<OsvAffected>,
}

#[derive(Deserialize)]
struct OsvAffected {
    package: Option<OsvPackage>,
    #[serde(default)]
    versions: Vec<String>,
    #[serde(default)]
    ranges: Vec<OsvRange>,
}

#[derive(Deserialize)]
struct OsvPackage {
    ecosystem: String,
    name: String,
}

#[derive(Deserialize)]
struct OsvRange {
    #[serde(rename = "type")]
    kind: String,
    events: Vec<Happens>,
}

#[derive(Deserialize)]
struct RustSec {
    advisory: RustSecHead,
    versions: RustSecVersions,
}

#[derive(Deserialize)]
struct RustSecHead {
    id: String,
    package: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    withdrawn: Option<String>,
}

#[derive(Deserialize)]
struct RustSecVersions {
    #[serde(default)]
    patched: Vec<String>,
    #[serde(default)]
    unaffected: Vec<String>,
}

/// All in a file or a directory; and what could not be read, in words.
pub(crate) fn load(path: &Path) -> (Vec<Advisory>, Vec<String>) {
    let (mut all, mut failed) = (Vec::new(), Vec::new());
    let mut files = Vec::new();
    if path.is_dir() {
        list(path, 0, &mut files);
    } else {
        files.push(path.to_owned());
    }
    files.sort();
    for file in &files {
        match read(file) {
            Ok(read) => all.extend(read),
            Err(why) => failed.push(format!("{}: {why}", file.display())),
        }
    }
    if all.is_empty() && failed.is_empty() {
        failed.push(format!("{}: there is no advisory in it", path.display()));
    }
    (all, failed)
}

fn list(directory: &Path, depth: u32, files: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries {
        let path = entry.path();
        let kind = path
            .extension()
            .and_then(|it| it.to_str())
            .unwrap_or_default();
        if path.is_dir() && depth < DEPTH_MAX {
            list(&path, depth + 1, files);
            continue;
        }
        let is_one = match kind {
            "json" | "toml" => true,
            // Others are about the directory.
            "md" => std::fs::read_to_string(&path).is_ok_and(|text| text.starts_with("```toml")),
            _ => false,
        };
        if is_one {
            files.push(path);
        }
    }
}

fn read(path: &Path) -> Result<Vec<Advisory>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    if path.extension().is_some_and(|it| it == "json") {
        let all: Vec<Osv> = match text.trim_start().starts_with('[') {
            true => serde_json::from_str(&text).map_err(|error| error.to_string())?,
            false => vec![serde_json::from_str(&text).map_err(|error| error.to_string())?],
        };
        let valid = all.into_iter().filter(|one| one.withdrawn.is_none());
        return Ok(valid.map(of_osv).collect());
    }
    let text = text.strip_prefix("```toml").unwrap_or(&text);
    let text = text.split("```").next().unwrap_or_default();
    let one: RustSec = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let except = [one.versions.patched, one.versions.unaffected].concat();
    let is_valid = one.advisory.withdrawn.is_none();
    let advisory = Advisory {
        id: one.advisory.id,
        summary: one.advisory.title,
        affected: vec![Affected {
            ecosystem: "crates.io".to_owned(),
            package: one.advisory.package,
            versions: Vec::new(),
            ranges: Vec::new(),
            except: Some(except),
        }],
    };
    Ok(is_valid.then_some(advisory).into_iter().collect())
}

fn of_osv(one: Osv) -> Advisory {
    let affected = one.affected.into_iter().filter_map(|it| {
        let package = it.package?;
        let ranges = it.ranges.into_iter().filter(|range| range.kind != "GIT");
        Some(Affected {
            ecosystem: package.ecosystem.split(':').next()?.to_owned(),
            package: package.name,
            versions: it.versions,
            ranges: ranges.map(|range| range.events).collect(),
            except: None,
        })
    });
    Advisory {
        id: one.id,
        summary: one.summary,
        affected: affected.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OSV: &str = r#"{"id":"GHSA-1","summary":"bad","affected":[{"package":{"ecosystem":"PyPI","name":"Some_Thing"},
        "ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1.2"},{"introduced":"2.0"},{"last_affected":"2.3"}]}]}]}"#;
    const RUSTSEC: &str = "```toml\n[advisory]\nid = \"RUSTSEC-1\"\npackage = \"x\"\ndate = \"2024-01-01\"\n[versions]\npatched = [\">= 1.2.3\"]\nunaffected = [\"< 1.0\"]\n```\n# Bad\n";

    #[test]
    fn both_forms_are_read_from_a_directory_and_broken_ones_are_named() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join("crates")).expect("a directory");
        std::fs::write(root.path().join("a.json"), OSV).expect("a file");
        std::fs::write(root.path().join("crates/b.md"), RUSTSEC).expect("a file");
        std::fs::write(root.path().join("README.md"), "# none").expect("a file");
        std::fs::write(root.path().join("c.json"), "{\"id\": ").expect("a file");
        let (all, failed) = load(root.path());
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert!(failed[0].contains("c.json"), "{failed:?}");
        let hit = |ecosystem, package, version| {
            let hits = all.iter().filter(|it| it.hits(ecosystem, package, version));
            hits.count()
        };
        for (version, hits) in [("1.1", 1), ("1.2", 0), ("2.0", 1), ("2.3", 1), ("2.3.1", 0)] {
            assert_eq!(hit("PyPI", "some-thing", version), hits, "{version}");
        }
        for (version, hits) in [("0.9.0", 0), ("1.1.0", 1), ("1.2.3", 0)] {
            assert_eq!(hit("crates.io", "x", version), hits, "{version}");
        }
        assert_eq!(hit("npm", "some-thing", "1.1"), 0);
    }
}
