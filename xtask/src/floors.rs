//! The floors: which crate may know which. Dependencies point down only.
//!
//! ```text
//!   show/*                      xtask, examples/* (know none, none knows them)
//!   run/*
//!   sim   act/*                 (act and decide do not know each other)
//!   decide/orchestrator
//!   decide/*                    (deciders do not know each other)
//!   model
//! ```
//!
//! Promise: a crate that lies on no floor, an upward or a sideways dependency, or IO in what only
//! decides, fails `cargo xtask check` and `cargo test`.

use std::path::Path;

use crate::metadata::Metadata;

/// What a crate that only decides is never built from. Files, clocks and threads of `std` are
/// kept out by `crates/decide/clippy.toml`.
const IO_CRATES: [&str; 9] = [
    "async-io",
    "getrandom",
    "libc",
    "mio",
    "nix",
    "rustix",
    "socket2",
    "tempfile",
    "tokio",
];

/// A place in the drawing above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Floor {
    Model,
    Decider,
    Orchestrator,
    Act,
    Sim,
    Run,
    Show,
    Example,
    Xtask,
}

impl Floor {
    /// By the crate's folder, relative to the root.
    fn of(folder: &str) -> Option<Floor> {
        let parts: Vec<&str> = folder.split('/').collect();
        match parts.as_slice() {
            ["crates", "model"] => Some(Floor::Model),
            ["crates", "decide", "orchestrator"] => Some(Floor::Orchestrator),
            ["crates", "decide", _] => Some(Floor::Decider),
            ["crates", "act", _] => Some(Floor::Act),
            ["crates", "run", _] => Some(Floor::Run),
            ["crates", "show", _] => Some(Floor::Show),
            ["sim"] => Some(Floor::Sim),
            ["examples", _] => Some(Floor::Example),
            ["xtask"] => Some(Floor::Xtask),
            _ => None,
        }
    }

    /// Whether a crate on this floor may depend on one on `other`. Crates of one floor that are
    /// allowed here stay free of circles by cargo's own rule.
    fn may_use(self, other: Floor) -> bool {
        use Floor::{Act, Decider, Example, Model, Orchestrator, Run, Show, Sim, Xtask};
        match self {
            Model | Example | Xtask => false,
            Decider => other == Model,
            Orchestrator => matches!(other, Model | Decider),
            Act => matches!(other, Model | Act),
            Sim => matches!(other, Model | Decider | Orchestrator),
            Run => matches!(other, Model | Decider | Orchestrator | Act | Run),
            Show => !matches!(other, Xtask | Example | Sim),
        }
    }
}

/// One crate of the workspace and the folders of those it declares, for any purpose.
struct Member {
    folder: String,
    uses: Vec<String>,
    /// All packages it is built from.
    built_from: Vec<String>,
}

/// One sentence for each breach.
pub(crate) fn breaches(metadata: &Metadata) -> Vec<String> {
    let folder = |path: &Path| {
        let inside = path.strip_prefix(&metadata.workspace_root).unwrap_or(path);
        inside.to_string_lossy().into_owned()
    };
    let members = metadata
        .packages
        .iter()
        .filter(|p| metadata.workspace_members.contains(&p.id));
    let members: Vec<Member> = members
        .map(|package| Member {
            folder: folder(package.manifest_path.parent().unwrap_or(Path::new(""))),
            uses: package
                .dependencies
                .iter()
                .filter_map(|d| d.path.as_deref().map(folder))
                .collect(),
            built_from: metadata
                .built_from(&package.id)
                .into_iter()
                .map(String::from)
                .collect(),
        })
        .collect();
    members.iter().flat_map(breaches_of).collect()
}

fn breaches_of(member: &Member) -> Vec<String> {
    let Some(floor) = Floor::of(&member.folder) else {
        return vec![format!(
            "{} lies on no floor; move it, or give it one in xtask/src/floors.rs",
            member.folder
        )];
    };
    let mut found = Vec::new();
    for used in &member.uses {
        if !Floor::of(used).is_some_and(|other| floor.may_use(other)) {
            found.push(format!(
                "{} depends on {used}, which is not below it; pass what it needs in, or move it down",
                member.folder
            ));
        }
    }
    if matches!(floor, Floor::Model | Floor::Decider | Floor::Orchestrator) {
        for io in IO_CRATES
            .iter()
            .filter(|io| member.built_from.iter().any(|b| b == *io))
        {
            found.push(format!(
                "{} is built from {io}, but it only decides: leave IO to crates/act and crates/run",
                member.folder
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(folder: &str, uses: &[&str], built_from: &[&str]) -> Member {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_string()).collect();
        Member {
            folder: folder.into(),
            uses: owned(uses),
            built_from: owned(built_from),
        }
    }

    #[test]
    fn this_workspace_keeps_its_floors() {
        let metadata = Metadata::load().expect("cargo metadata of this workspace");
        assert!(
            metadata.workspace_members.len() > 10,
            "{:?}",
            metadata.workspace_members
        );
        assert_eq!(breaches(&metadata), Vec::<String>::new());
    }

    #[test]
    fn every_way_of_pointing_up_or_sideways_is_found() {
        let wrong = [
            ("crates/model", "crates/decide/analyzer"),
            ("crates/decide/analyzer", "crates/decide/allocator"),
            ("crates/decide/allocator", "crates/decide/orchestrator"),
            ("crates/decide/orchestrator", "crates/act/host"),
            ("crates/act/workload", "crates/decide/analyzer"),
            ("crates/act/store", "crates/run/hub"),
            ("crates/run/hub", "crates/show/report"),
            ("crates/run/hub", "sim"),
            ("sim", "crates/act/host"),
            ("crates/show/cli", "xtask"),
            ("xtask", "crates/model"),
            ("crates/act/host", "somewhere/else"),
        ];
        for (folder, used) in wrong {
            let found = breaches_of(&member(folder, &[used], &[]));
            assert_eq!(found.len(), 1, "{folder} -> {used}: {found:?}");
            assert!(
                found[0].contains(folder) && found[0].contains(used),
                "{found:?}"
            );
        }
    }

    #[test]
    fn what_points_down_is_fine() {
        let right = [
            ("crates/decide/orchestrator", "crates/decide/analyzer"),
            ("crates/act/workload", "crates/act/host"),
            ("crates/run/hub", "crates/decide/orchestrator"),
            ("crates/show/cli", "crates/run/hub"),
            ("sim", "crates/decide/orchestrator"),
        ];
        for (folder, used) in right {
            assert_eq!(
                breaches_of(&member(folder, &[used], &[])),
                Vec::<String>::new()
            );
        }
    }

    #[test]
    fn a_decider_with_io_and_a_crate_on_no_floor_are_found() {
        let io = breaches_of(&member(
            "crates/decide/analyzer",
            &[],
            &["serde", "tokio", "libc"],
        ));
        assert_eq!(io.len(), 2, "{io:?}");
        assert!(breaches_of(&member("crates/act/host", &[], &["libc"])).is_empty());
        let lost = breaches_of(&member("crates/util", &[], &[]));
        assert!(lost[0].contains("no floor"), "{lost:?}");
    }
}
