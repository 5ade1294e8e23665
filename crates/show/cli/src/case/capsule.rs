//! A case from elsewhere: what its capsule holds, and what differs here.

use std::path::Path;

use cohort_capsule::{Build, Capsule, Host, Manifest, Ran};

use super::find::{Found, Suite};
use crate::failure::Failure;
use crate::run::Place;

/// Variables that are named, of those that differ or were left out.
const NAMED_MAX: usize = 8;
/// Memory counts as less from this share on.
const LESS_MEMORY: f64 = 0.9;
/// Variables that belong to a machine or a session, and differ everywhere.
const OF_A_MACHINE: [&str; 14] = [
    "HOME",
    "HOSTNAME",
    "LOGNAME",
    "OLDPWD",
    "PATH",
    "PWD",
    "SHELL",
    "SHLVL",
    "TERM",
    "TMPDIR",
    "USER",
    "VIRTUAL_ENV",
    "XDG_RUNTIME_DIR",
    "_",
];

/// Reads a capsule as a case of this project.
pub(crate) fn read(path: &Path) -> Result<(Found, Capsule), Failure> {
    let capsule = Capsule::read(path)?;
    let manifest = &capsule.manifest;
    let suite = match &manifest.ran {
        Ran::Test {
            suite,
            command,
            directory,
            ..
        } => Suite {
            kind: *suite,
            command: command.clone(),
            directory: directory.clone(),
            start: None,
        },
        Ran::Service { command, .. } => Suite {
            kind: cohort_model::SuiteKind::Service,
            command: command.clone(),
            directory: String::new(),
            start: None,
        },
    };
    let mut names = manifest.tests.clone();
    if let cohort_model::Subject::Test(test) = manifest.case.subject {
        names.insert(test, manifest.name.clone());
    }
    let found = Found {
        case: manifest.case.clone(),
        names,
        others: Vec::new(),
        told_by: format!("the capsule {}", path.display()),
        campaign: None,
        suite,
        requests: Vec::new(),
        play: play(&capsule),
        output: output(&capsule),
    };
    Ok((found, capsule))
}

/// The recording of a server's requests.
fn play(capsule: &Capsule) -> Option<Vec<u8>> {
    match &capsule.manifest.ran {
        Ran::Service { journals, .. } => capsule.attachments.get(journals.first()?).cloned(),
        Ran::Test { .. } => None,
    }
}

fn output(capsule: &Capsule) -> Option<String> {
    let names = ["reproduced", "original"].into_iter().flat_map(|run| {
        ["report", "stdout", "stderr"].map(|stream| format!("logs/{run}/{stream}"))
    });
    let mut logs = names.filter_map(|name| capsule.attachments.get(&name));
    let log = logs.next()?;
    Some(String::from_utf8_lossy(log).into_owned())
}

/// What is otherwise here than where the capsule was made, one sentence each.
pub(crate) fn differences(manifest: &Manifest, place: &Place) -> Vec<String> {
    let mut found = manifest.build.differences(&build(manifest, place));
    let programs = manifest.host.versions.keys().map(String::as_str);
    let programs: Vec<&str> = programs.collect();
    found.extend(of_hosts(&manifest.host, &Host::here(&programs)));
    found.extend(of_variables(manifest));
    found
}

fn build(manifest: &Manifest, place: &Place) -> Build {
    let program = match &manifest.ran {
        Ran::Test { program, .. } if !Path::new(program).is_absolute() => {
            Some(place.root.join(program)).filter(|path| path.is_file())
        }
        _ => None,
    };
    Build::of(program.as_deref(), &place.root)
}

fn of_hosts(there: &Host, here: &Host) -> Vec<String> {
    let mut found = Vec::new();
    if there.architecture != here.architecture {
        let (there, here) = (&there.architecture, &here.architecture);
        found.push(format!("the processor is {there} there and {here} here"));
    }
    if here.cores < there.cores {
        let (there, here) = (there.cores, here.cores);
        found.push(format!("there are {there} cores there and {here} here"));
    }
    if (here.memory as f64) < there.memory as f64 * LESS_MEMORY {
        let size = cohort_report::words::bytes;
        let (there, here) = (size(there.memory), size(here.memory));
        found.push(format!("there are {there} of memory there and {here} here"));
    }
    for (program, version) in &there.versions {
        match here.versions.get(program) {
            Some(own) if own == version => {}
            Some(own) => found.push(format!("{program} is {version} there and {own} here")),
            None => found.push(format!("{program} is {version} there and missing here")),
        }
    }
    found
}

fn of_variables(manifest: &Manifest) -> Vec<String> {
    let own = |name: &str| std::env::var(name).ok();
    let kept = manifest.environment.iter();
    let other = kept.filter(|(name, value)| {
        let own = own(name);
        !OF_A_MACHINE.contains(&name.as_str()) && own.as_ref() != Some(*value)
    });
    let other: Vec<&str> = other.map(|(name, _)| name.as_str()).collect();
    let left_out = manifest.left_out.iter().map(String::as_str);
    let missing: Vec<&str> = left_out.filter(|name| own(name).is_none()).collect();
    let mut found = Vec::new();
    if !other.is_empty() {
        found.push(format!("the environment differs in {}", listed(&other)));
    }
    if !missing.is_empty() {
        let names = listed(&missing);
        found.push(format!(
            "left out of it as secret, and not set here: {names}"
        ));
    }
    found
}

fn listed(names: &[&str]) -> String {
    let shown = &names[..names.len().min(NAMED_MAX)];
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn host(cores: u32, memory: u64, python: &str) -> Host {
        Host {
            cores,
            memory,
            kernel: "6.1".to_owned(),
            system: String::new(),
            architecture: "x86_64".to_owned(),
            versions: BTreeMap::from([("python3".to_owned(), python.to_owned())]),
        }
    }

    #[test]
    fn only_what_may_matter_of_a_host_is_told() {
        let there = host(8, 16 << 30, "Python 3.12.1");
        assert_eq!(of_hosts(&there, &there), [""; 0]);
        let more = host(16, 32 << 30, "Python 3.12.1");
        assert_eq!(
            of_hosts(&there, &more),
            [""; 0],
            "more of it hinders nothing"
        );
        let mut less = host(2, 4 << 30, "Python 3.11.2");
        assert_eq!(
            of_hosts(&there, &less),
            [
                "there are 8 cores there and 2 here",
                "there are 16 GiB of memory there and 4 GiB here",
                "python3 is Python 3.12.1 there and Python 3.11.2 here",
            ]
        );
        less.versions.clear();
        less.architecture = "aarch64".to_owned();
        let told = of_hosts(&there, &less);
        assert_eq!(told[0], "the processor is x86_64 there and aarch64 here");
        assert_eq!(told[3], "python3 is Python 3.12.1 there and missing here");
    }

    #[test]
    fn few_names_are_listed() {
        assert_eq!(listed(&["A", "B"]), "A, B");
        let many: Vec<String> = (0..11).map(|it| format!("V{it}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(listed(&many).ends_with("V7 and 3 more"));
    }
}
