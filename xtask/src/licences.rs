//! What Cohort is built from, against the lists of `deny.toml`.
//!
//! Real cargo-deny is used when it is installed. It takes minutes to build, so without it the same
//! lists are held against `cargo metadata`: the licence expression of each package, its source and
//! its name. What is then missing, and said: licences found only in files, and advisories.

use serde::Deserialize;

use crate::error::Error;
use crate::metadata::{Metadata, Package};
use crate::run;

/// The part of `deny.toml` that is checked here.
#[derive(Debug, Deserialize)]
pub(crate) struct Lists {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    deny: Vec<Banned>,
}

#[derive(Debug, Deserialize)]
struct Banned {
    #[serde(rename = "crate")]
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

impl Lists {
    /// Of this workspace.
    pub(crate) fn load() -> Result<Lists, Error> {
        toml::from_str(&run::read(&run::root().join("deny.toml"))?).map_err(Error::Deny)
    }
}

/// One sentence for each package that may not be used.
pub(crate) fn breaches(metadata: &Metadata, lists: &Lists) -> Vec<String> {
    metadata
        .packages
        .iter()
        .flat_map(|package| breaches_of(package, lists))
        .collect()
}

fn breaches_of(package: &Package, lists: &Lists) -> Vec<String> {
    let name = format!("{} {}", package.name, package.version);
    let mut found = Vec::new();
    let license = package.license.as_deref().unwrap_or("");
    if !allowed(license, &lists.licenses.allow) {
        found.push(format!(
            "{name} has the licence `{license}`, which deny.toml does not allow"
        ));
    }
    if lists
        .bans
        .deny
        .iter()
        .any(|banned| banned.name == package.name)
    {
        found.push(format!("{name} is banned in deny.toml"));
    }
    if let Some(source) = &package.source {
        let known = |registry: &String| source.split_once('+').is_some_and(|(_, s)| s == registry);
        if !lists.sources.allow_registry.iter().any(known) {
            found.push(format!(
                "{name} comes from {source}, which deny.toml does not allow"
            ));
        }
    }
    found
}

/// Whether an SPDX expression can be met with allowed licences only. The old `MIT/Apache-2.0`
/// means OR. Grammar: <https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/>
fn allowed(expression: &str, allow: &[String]) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = any_of(&mut rest, allow);
    met && rest.is_empty()
}

fn any_of(words: &mut &[&str], allow: &[String]) -> bool {
    let mut met = all_of(words, allow);
    while let ["OR", rest @ ..] = *words {
        *words = rest;
        met |= all_of(words, allow);
    }
    met
}

fn all_of(words: &mut &[&str], allow: &[String]) -> bool {
    let mut met = one(words, allow);
    while let ["AND", rest @ ..] = *words {
        *words = rest;
        met &= one(words, allow);
    }
    met
}

fn one(words: &mut &[&str], allow: &[String]) -> bool {
    let (name, rest) = match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let met = any_of(words, allow);
            if let [")", rest @ ..] = *words {
                *words = rest;
                return met;
            }
            return false;
        }
        [license, "WITH", exception, rest @ ..] => (format!("{license} WITH {exception}"), rest),
        [license, rest @ ..] => ((*license).to_string(), rest),
        [] => return false,
    };
    *words = rest;
    allow.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_built_in_is_allowed() {
        let metadata = Metadata::load().expect("cargo metadata of this workspace");
        let lists = Lists::load().expect("deny.toml");
        assert_eq!(breaches(&metadata, &lists), Vec::<String>::new());
    }

    #[test]
    fn licence_expressions_mean_what_spdx_says() {
        let allow: Vec<String> = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"]
            .map(String::from)
            .to_vec();
        let cases = [
            ("MIT", true),
            ("GPL-3.0", false),
            ("MIT OR GPL-3.0", true),
            ("GPL-3.0/MIT", true),
            ("MIT AND GPL-3.0", false),
            ("(MIT OR GPL-3.0) AND ISC", true),
            ("GPL-3.0 OR MIT AND ISC", true),
            ("GPL-3.0 AND (MIT OR ISC)", false),
            ("Apache-2.0", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("(MIT", false),
            ("MIT ISC", false),
            ("", false),
        ];
        for (expression, expected) in cases {
            assert_eq!(allowed(expression, &allow), expected, "{expression}");
        }
    }

    #[test]
    fn a_wrong_source_licence_and_name_are_each_found() {
        let lists = Lists::load().expect("deny.toml");
        let package = |name: &str, license: Option<&str>, source: &str| Package {
            id: String::new(),
            name: name.into(),
            version: "1.0.0".into(),
            source: Some(source.into()),
            license: license.map(String::from),
            manifest_path: "Cargo.toml".into(),
            dependencies: Vec::new(),
        };
        let crates_io = "registry+https://github.com/rust-lang/crates.io-index";
        assert!(breaches_of(&package("fine", Some("MIT"), crates_io), &lists).is_empty());
        let wrong = [
            package("copyleft", Some("GPL-3.0-only"), crates_io),
            package("unsaid", None, crates_io),
            package("openssl-sys", Some("MIT"), crates_io),
            package("elsewhere", Some("MIT"), "git+https://example.org/x"),
        ];
        for package in wrong {
            assert_eq!(breaches_of(&package, &lists).len(), 1, "{}", package.name);
        }
    }
}
