//! `cohort run --fuzz` where programs read bytes: they are fuzzed first, and what breaks them is then the suite.
//!
//! What is found is a file of its own below `.cohort/fuzz`, which stays: later campaigns run it again, so that a bug that
//! is mended is seen to be, and `cohort repro` finds it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cohort_harness::{Error, Outcome, Progress, Setup, Target, fuzz, is_cargo_fuzz, targets};
use cohort_report::words;

use crate::config::{Fuzz, Resolved};
use crate::failure::Failure;
use crate::run::Place;
use crate::say;

/// Below the project's directory of records.
const FOLDER: &str = "fuzz";
/// Names of all files that were found, one a line.
const LIST: &str = "list";
/// The command that runs one of them.
const RUN: &str = "run";

/// What came of fuzzing.
pub(crate) enum Done {
    /// Nothing is fuzzed here.
    Nothing,
    /// There is nothing to run as a suite.
    Unbroken,
    /// The suite to run is set.
    Suite,
}

/// Fuzzes the harnesses of the project, and makes what was found the suite of `resolved`.
pub(crate) fn run(place: &Place, resolved: &mut Resolved, dry: bool) -> Result<Done, Failure> {
    let Some(wanted) = resolved.fuzz.clone() else {
        return Ok(Done::Nothing);
    };
    let found = targets(&place.root, &wanted.harness).map_err(Failure::Harness)?;
    if found.is_empty() {
        say::note(
            "nothing here can be fuzzed: neither a server ([sut] in cohort.toml), nor `harness` in [fuzz], nor a \
             project of cargo-fuzz (fuzz/Cargo.toml); the suite is run as it is",
        );
        return Ok(Done::Nothing);
    }
    let home = place.project.home().join(FOLDER);
    if dry {
        for target in &found {
            say::note(format_args!(
                "would fuzz {}: {}",
                target.name,
                target.shell()
            ));
        }
        return Ok(Done::Unbroken);
    }
    let outcome = session(&found, &home, &wanted, resolved)?;
    let files = keep(&found, &home, &place.root)?;
    let new = words::counted(outcome.found.len() as u64, "new bug");
    let runs = words::counted(outcome.runs, "execution");
    say::note(format_args!("fuzzed: {runs}, {new}"));
    for found in &outcome.found {
        let (was, is) = (
            words::bytes(found.was as u64),
            words::bytes(found.is as u64),
        );
        let what = [found.symptom.class.as_str(), found.symptom.message.as_str()];
        let what: Vec<_> = what.into_iter().filter(|text| !text.is_empty()).collect();
        say::note(format_args!(
            "{} fails on {is} (cut from {was}): {}",
            found.target,
            words::printable(&what.join(": "))
        ));
    }
    if files == 0 {
        return Ok(Done::Unbroken);
    }
    take_suite(&home, &place.root, resolved);
    resolved.budget.timeout_us = resolved
        .budget
        .timeout_us
        .min(wanted.input_us.max(1_000_000));
    Ok(Done::Suite)
}

fn session(
    targets: &[Target],
    home: &Path,
    wanted: &Fuzz,
    resolved: &Resolved,
) -> Result<Outcome, Failure> {
    let executable = std::env::current_exe().map_err(|source| Failure::File {
        action: "find this program's own file, that of",
        path: PathBuf::from("/proc/self/exe"),
        source,
    })?;
    let setup = Setup {
        targets,
        home,
        executable: &executable,
        time: Duration::from_micros(wanted.time_us),
        limits: cohort_harness::Limits {
            time_ms: wanted.input_us / 1000,
            memory: wanted.input_memory.min(resolved.budget.memory),
        },
        cores: resolved.budget.cores,
        memory: resolved.budget.memory,
        seed: wanted.seed,
    };
    fuzz(&setup, &mut tell).map_err(|error| match error {
        Error::Stopped => Failure::Hub(cohort_hub::Error::Stopped),
        error => Failure::Harness(error),
    })
}

fn tell(progress: Progress) {
    match progress {
        Progress::Begun { instances, targets } => say::note(format_args!(
            "fuzzing {} on {}",
            targets.join(", "),
            words::counted(instances as u64, "instance")
        )),
        Progress::Stand {
            runs,
            kept,
            crashes,
            left,
        } => say::note(format_args!(
            "{}, {kept} inputs kept, {crashes} that break it; {} left",
            words::counted(runs, "execution"),
            words::duration(left.as_micros() as u64)
        )),
        Progress::Note(text) => say::note(text),
        Progress::Sifting(count) => say::note(format_args!(
            "running {} again alone, and cutting one for each bug",
            words::counted(count as u64, "input")
        )),
    }
}

/// Writes down which files there are and how one is run. Returns how many.
fn keep(targets: &[Target], home: &Path, root: &Path) -> Result<usize, Failure> {
    let mut names = Vec::new();
    for target in targets {
        let folder = home.join(&target.name);
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let files = entries.map(|entry| entry.path());
        let inputs = files.filter(|file| file.extension().is_some_and(|it| it == "input"));
        // A name inside the project can be cut further, and is the same in another checkout.
        names.extend(inputs.map(|file| file.strip_prefix(root).unwrap_or(&file).to_owned()));
    }
    names.sort();
    let list: String = names
        .iter()
        .map(|name| format!("{}\n", name.display()))
        .collect();
    for (file, text) in [(LIST, list), (RUN, command(targets))] {
        let path = home.join(file);
        fs::write(&path, text).map_err(|source| Failure::File {
            action: "write",
            path,
            source,
        })?;
    }
    Ok(names.len())
}

/// Runs one input by the target that its name begins with.
fn command(targets: &[Target]) -> String {
    if let [target] = targets {
        return target.shell();
    }
    let one = |target: &Target| format!("*/{}.*) {} ;;\n", target.name, target.shell());
    let all: String = targets.iter().map(one).collect();
    format!("case {{test}} in\n{all}esac")
}

/// What was found before is the suite, where a campaign ran it: `run` is the command that it recorded.
pub(crate) fn take_suite_again(place: &Place, recorded: &[String], resolved: &mut Resolved) {
    let home = place.project.home().join(FOLDER);
    let run = fs::read_to_string(home.join(RUN)).unwrap_or_default();
    if recorded.last().is_some_and(|recorded| *recorded == run) {
        take_suite(&home, &place.root, resolved);
    }
}

fn take_suite(home: &Path, root: &Path, resolved: &mut Resolved) {
    let list = home.join(LIST);
    let list = list.strip_prefix(root).unwrap_or(&list).to_string_lossy();
    let suite = &mut resolved.suite;
    suite.command.clear();
    suite.given = false;
    suite.list = Some(format!("cat {}", shell_words::quote(&list)));
    suite.run = fs::read_to_string(home.join(RUN)).ok();
}

/// Whether `--fuzz` means a harness, whatever else the project has.
pub(crate) fn is_meant(place: &Place, resolved: &Resolved) -> bool {
    let wanted = resolved.fuzz.as_ref();
    wanted.is_some_and(|it| !it.harness.harness.is_empty() || is_cargo_fuzz(&place.root))
}
