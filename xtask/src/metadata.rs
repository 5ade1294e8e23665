//! The part of `cargo metadata` that the checks look at.
//! Format: <https://doc.rust-lang.org/cargo/commands/cargo-metadata.html>

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;

use crate::error::Error;
use crate::run;

/// All packages that the workspace is built from, and what each really uses.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub packages: Vec<Package>,
    pub workspace_members: Vec<String>,
    pub resolve: Resolve,
    pub workspace_root: PathBuf,
}

/// One package.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub id: String,
    pub name: String,
    pub version: String,
    /// Where it comes from; none for a path.
    pub source: Option<String>,
    /// SPDX expression.
    pub license: Option<String>,
    pub manifest_path: PathBuf,
    pub dependencies: Vec<Dependency>,
}

/// What a manifest declares.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    /// Its folder, for one in this repository.
    pub path: Option<PathBuf>,
}

/// What the resolver made of it, for every platform.
#[derive(Debug, Deserialize)]
pub(crate) struct Resolve {
    pub nodes: Vec<Node>,
}

/// One package and what it uses.
#[derive(Debug, Deserialize)]
pub(crate) struct Node {
    pub id: String,
    pub deps: Vec<NodeDependency>,
}

/// One use.
#[derive(Debug, Deserialize)]
pub(crate) struct NodeDependency {
    pub pkg: String,
    pub dep_kinds: Vec<DependencyKind>,
}

/// What for.
#[derive(Debug, Deserialize)]
pub(crate) struct DependencyKind {
    /// None: normal. Else `dev` or `build`.
    pub kind: Option<String>,
}

impl Metadata {
    /// Of this workspace.
    pub(crate) fn load() -> Result<Metadata, Error> {
        let text = run::output(run::cargo().args(["metadata", "--format-version", "1"]))?;
        serde_json::from_str(&text).map_err(Error::Metadata)
    }

    /// Names of all packages that end up in what is built of this one: over normal and build
    /// dependencies, not those of tests.
    pub(crate) fn built_from(&self, id: &str) -> BTreeSet<&str> {
        let nodes: BTreeMap<&str, &Node> = self
            .resolve
            .nodes
            .iter()
            .map(|n| (n.id.as_str(), n))
            .collect();
        let mut seen = BTreeSet::new();
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            let Some(node) = nodes.get(id) else { continue };
            for dep in &node.deps {
                let used = dep
                    .dep_kinds
                    .iter()
                    .any(|k| k.kind.as_deref() != Some("dev"));
                if used && seen.insert(dep.pkg.as_str()) {
                    open.push(&dep.pkg);
                }
            }
        }
        let names = self
            .packages
            .iter()
            .filter(|p| seen.contains(p.id.as_str()));
        names.map(|p| p.name.as_str()).collect()
    }
}
