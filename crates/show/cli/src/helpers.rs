//! `cohort helpers`, and which of them a campaign may deploy.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use cohort_helper::{Manifest, missing};
use cohort_hub::service::{ServiceHelpers, ServiceScan};
use console::style;

use crate::config::HelperRules;
use crate::config::helper::load;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::say;

/// Rest between two deployments of one to one instance, microseconds.
const REST_US: u64 = 60_000_000;

/// Lists them, with what is missing here.
pub(crate) fn list(root: &Path, color: bool) -> Result<Exit, Failure> {
    console::set_colors_enabled(color);
    let all = load(root)?;
    let path = path(root, None);
    say::print(|out| {
        for known in &all {
            let lacks = missing(&known.manifest, &path);
            let state = if lacks.is_empty() {
                style("can be had").green()
            } else {
                style("missing   ").red()
            };
            let it = &known.manifest;
            writeln!(out, "{state}  {:<16} {}", it.name, it.about)?;
            let detects: Vec<String> = it.detects.iter().map(|kind| snake(*kind)).collect();
            writeln!(out, "            deployed on {}", detects.join(", "))?;
            if !it.runtimes.is_empty() {
                let runtimes: Vec<String> = it.runtimes.iter().map(|it| it.to_string()).collect();
                writeln!(out, "            looks at {}", runtimes.join(", "))?;
            }
            for lack in lacks {
                writeln!(out, "            {lack}")?;
            }
            if let Some(path) = &known.path {
                writeln!(out, "            from {}", path.display())?;
            }
        }
        writeln!(
            out,
            "\nwhich come on what, in this order ([helpers.on] in cohort.toml changes it):"
        )?;
        for (kind, names) in by_suspicion(all.iter().map(|it| &it.manifest)) {
            writeln!(out, "  {kind:<18} {}", names.join(", "))?;
        }
        Ok(())
    })?;
    Ok(Exit::Passed)
}

/// Those that a campaign may deploy beside a server that `program` starts; a share of `cores` is theirs.
pub(crate) fn for_campaign(
    root: &Path,
    program: Option<&str>,
    (rules, scan): (&HelperRules, Option<ServiceScan>),
    cores: f64,
) -> Result<ServiceHelpers, Failure> {
    let budget = rules.share * cores;
    let mut manifests = Vec::new();
    for known in load(root)? {
        let mut it = known.manifest;
        it.detects.retain(|kind| !rules.on.contains_key(kind));
        let asked = rules.on.iter();
        let asked = asked.filter(|(_, names)| names.contains(&it.name));
        it.detects.extend(asked.map(|(kind, _)| *kind));
        if it.detects.is_empty() {
            continue;
        }
        if it.scans() && scan.is_none() {
            continue;
        }
        if it.cores > budget {
            say::note(format_args!(
                "the helper {} is not deployed: it is expected to use {} cores, and helpers may use {budget:.2} together (`share` in [helpers])",
                it.name, it.cores
            ));
        } else {
            manifests.push(it);
        }
    }
    Ok(ServiceHelpers {
        manifests,
        path: path(root, program),
        cores: budget,
        rest_us: REST_US,
        scan,
    })
}

/// Names of helpers by what they come on.
fn by_suspicion<'a>(all: impl Iterator<Item = &'a Manifest>) -> BTreeMap<String, Vec<&'a str>> {
    let mut by: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for it in all {
        for kind in &it.detects {
            by.entry(snake(*kind)).or_default().push(&it.name);
        }
    }
    by
}

/// Where the programs of helpers are looked up: along `PATH`, then where a project keeps its own, and beside what starts its server.
fn path(root: &Path, program: Option<&str>) -> OsString {
    let along = std::env::var_os("PATH").unwrap_or_default();
    let beside = program.and_then(|it| Path::new(it).parent());
    let beside = beside.filter(|it| *it != Path::new(""));
    let own = [".venv/bin", "venv/bin", "node_modules/.bin"].map(Path::new);
    let own = beside.into_iter().chain(own).map(|it| root.join(it));
    let all = std::env::split_paths(&along).chain(own.filter(|it| it.is_dir()));
    std::env::join_paths(all).unwrap_or(along)
}

fn snake(kind: cohort_model::ServiceFindingKind) -> String {
    let written = serde_json::to_value(kind).unwrap_or_default();
    written.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use cohort_model::ServiceFindingKind::{CpuBlowUp, MemoryLeak};

    use super::*;

    #[test]
    fn a_campaign_says_which_come_on_what() {
        let rules = HelperRules {
            share: 0.1,
            on: BTreeMap::from([
                (MemoryLeak, vec!["profiler".to_owned()]),
                (CpuBlowUp, Vec::new()),
            ]),
        };
        let all = for_campaign(Path::new("/nowhere"), None, (&rules, None), 8.0).expect("built in");
        let by = by_suspicion(all.manifests.iter());
        assert_eq!(by["memory_leak"], ["profiler"]);
        assert!(!by.contains_key("cpu_blow_up"), "{by:?}");
        assert!(by["slow_endpoint"].contains(&"python-profiler"), "{by:?}");
        let names: Vec<&str> = all.manifests.iter().map(|it| it.name.as_str()).collect();
        assert!(!names.contains(&"growth"), "it would never come: {names:?}");
    }
}
