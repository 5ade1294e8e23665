//! The dossier of a case, with what is kept beside it: output, logs, the source of suspects.

use std::fs;
use std::path::{Component, Path};

use cohort_model::{Suspect, SuspectFunction, Suspects, ThreadId};
use cohort_report::case::{Dossier, Excerpt, Listing};

use super::{Found, by_hand};
use crate::past;
use crate::run::Place;

/// Suspicious lines of a case, beside what else is kept of it.
const SUSPECTS: &str = "suspects.json";
/// The smallest input that shows it.
const INPUT: &str = "input";
/// The requests of a server's case as a script, beside what else is kept of it.
const REQUESTS: &str = "requests.sh";
/// Where threads stood when a try crashed or took too long.
const STACKS: &str = "stacks.txt";
/// Suspects that are shown.
const SUSPECTS_MAX: usize = 10;
const FUNCTIONS_MAX: usize = 5;
/// Lines of output that are shown, the last ones.
const OUTPUT_LINES_MAX: usize = 12;
/// How hypothesis, proptest, quickcheck and those that follow them tell of an input that fails, or of their seed.
const EXAMPLES: [&str; 7] = [
    "Falsifying example",
    "Falsifying explicit example",
    "minimal failing input",
    "You can reproduce this example",
    "[quickcheck] TEST FAILED",
    "random seed",
    "random-seed",
];
/// Lines of that.
const EXAMPLE_LINES_MAX: usize = 8;
/// A source file that is larger is not opened for three lines of it.
const SOURCE_BYTES_MAX: u64 = 8 << 20;

/// The page of a case of this project.
pub(crate) fn dossier(place: &Place, found: &Found) -> Dossier {
    let mut dossier = dossier_from_elsewhere(found);
    take_suspects(place, found, &mut dossier);
    dossier.places = places(place, found);
    dossier
}

/// The page of a case of which there is nothing but a capsule.
pub(crate) fn dossier_from_elsewhere(found: &Found) -> Dossier {
    let others = found.others.iter();
    let mut dossier = Dossier::of(&found.case, found.names.clone(), &found.told_by, others);
    dossier.by_hand = by_hand::by_hand(found);
    dossier.output = output(found);
    dossier.requests.clone_from(&found.requests);
    dossier
}

/// What is kept of suspicious lines and functions, with their source as it is now.
fn take_suspects(place: &Place, found: &Found, dossier: &mut Dossier) {
    let directory = place.project.cases().directory(found.case.case);
    let text = fs::read(directory.join(SUSPECTS)).unwrap_or_default();
    let kept = kept(&text);
    let root = place.project.root();
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let lines = kept.lines.iter();
    let listings = kept.functions.into_iter().take(FUNCTIONS_MAX);
    let listings = listings.map(|function| listing(&root, function, lines.clone()));
    dossier.functions = listings.collect();
    let shown = kept.lines.iter().take(SUSPECTS_MAX).cloned();
    dossier.suspects = shown.map(|suspect| excerpt(&root, suspect)).collect();
    dossier.of_backtrace = kept.of_backtrace;
}

/// What the file says; an earlier version wrote a plain list of lines.
fn kept(text: &[u8]) -> Suspects {
    serde_json::from_slice(text).unwrap_or_else(|_| Suspects {
        lines: serde_json::from_slice(text).unwrap_or_default(),
        ..Suspects::default()
    })
}

/// A function with its source, unless another line stands where its most suspicious one was.
fn listing<'a>(
    root: &Path,
    function: SuspectFunction,
    lines: impl Iterator<Item = &'a Suspect>,
) -> Listing {
    let of_file: Vec<&Suspect> = lines.filter(|line| line.file == function.file).collect();
    let text = source(root, &function.file).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    let stands = |one: &&Suspect| {
        let line = all.get((one.line as usize).saturating_sub(1));
        line.map(|line| line.trim()) == Some(one.source.trim())
    };
    let own = of_file.iter().find(|one| one.line == function.line);
    let is_as_it_was = own.is_none_or(stands);
    let suspicious = of_file.iter().map(|one| one.line).collect();
    Listing::new(function, if is_as_it_was { &text } else { "" }, &suspicious)
}

/// The end of what a failing run wrote: of a try, else of where it was seen.
fn output(found: &Found) -> Vec<String> {
    let of_campaign = || {
        let campaign = found.campaign.as_ref()?;
        let mut sightings = found.case.sightings.iter().rev();
        let kept = sightings.find_map(|thread: &ThreadId| past::output(campaign, *thread))?;
        let is_empty = kept.stdout.trim().is_empty();
        Some(if is_empty { kept.stderr } else { kept.stdout })
    };
    let Some(text) = found.output.clone().or_else(of_campaign) else {
        return Vec::new();
    };
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let from = lines.len().saturating_sub(OUTPUT_LINES_MAX);
    let before = examples(&lines[..from]);
    let last = before.iter().chain(&lines[from..]);
    last.map(|line| cohort_report::words::tame(line, false))
        .collect()
}

/// What tests of properties say of the input that they found.
fn examples<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let says = |line: &&str| EXAMPLES.iter().any(|words| line.contains(words));
    let Some(first) = lines.iter().position(says) else {
        return Vec::new();
    };
    // An example in several lines ends where its call does.
    let rest = &lines[first..];
    let open = |line: &&str| line.trim_end().ends_with('(');
    let last = if open(&rest[0]) {
        rest.iter().position(|line| line.trim().ends_with(')'))
    } else {
        None
    };
    let count = last.map_or(1, |last| last + 1).min(EXAMPLE_LINES_MAX);
    let mut told = rest[..count].to_vec();
    let further = rest[count..].iter().filter(|line| says(line));
    told.extend(further.take(EXAMPLE_LINES_MAX - count));
    told
}

fn places(place: &Place, found: &Found) -> Vec<(&'static str, String)> {
    let typed = |path: &Path| {
        let path = path.strip_prefix(&place.root).unwrap_or(path);
        path.display().to_string()
    };
    let mut places = Vec::new();
    let capsule = place.project.cases().capsule(found.case.case);
    if capsule.exists() {
        places.push(("capsule", typed(&capsule)));
    }
    let directory = place.project.cases().directory(found.case.case);
    for (what, name) in [("input", INPUT), ("requests", REQUESTS), ("stacks", STACKS)] {
        let path = directory.join(name);
        if path.exists() {
            places.push((what, typed(&path)));
        }
    }
    if let Some(campaign) = &found.campaign {
        places.push(("record", typed(campaign.path())));
    }
    places
}

/// A suspect with the lines around it, when its file is one of the project's.
fn excerpt(root: &Path, suspect: Suspect) -> Excerpt {
    let mut excerpt = Excerpt {
        suspect,
        before: None,
        after: None,
    };
    let Some(text) = source(root, &excerpt.suspect.file) else {
        return excerpt;
    };
    let lines: Vec<&str> = text.lines().collect();
    let place = excerpt.suspect.line as usize;
    let line = |number: usize| {
        let line = lines.get(number.checked_sub(1)?)?;
        Some((*line).to_owned())
    };
    let own = line(place);
    // Another line stands there now: what is around it says nothing.
    let recorded = excerpt.suspect.source.trim();
    if own.as_deref().map(str::trim) != Some(recorded) && !recorded.is_empty() {
        return excerpt;
    }
    excerpt.suspect.source = own.unwrap_or_default();
    excerpt.before = place.checked_sub(1).and_then(line);
    excerpt.after = line(place + 1);
    excerpt
}

/// The text of a file below `root`; a path that leads out of it is not followed.
fn source(root: &Path, file: &str) -> Option<String> {
    let path = Path::new(file);
    let inside = path
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let path = root.join(path).canonicalize().ok()?;
    let meta = fs::metadata(&path).ok()?;
    let fits = inside && path.starts_with(root) && meta.is_file() && meta.len() <= SOURCE_BYTES_MAX;
    fits.then(|| fs::read(path).ok())?
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspect(file: &str, line: u32, source: &str) -> Suspect {
        Suspect {
            file: file.to_owned(),
            line,
            function: String::new(),
            score: 0.5,
            source: source.to_owned(),
        }
    }

    #[test]
    fn examples_of_properties_are_told_though_more_was_printed() {
        let text = "x\nFalsifying example: test_it(\n    n=3,\n)\nmore\n\
                    minimal failing input: v = []\nrest";
        let lines: Vec<&str> = text.lines().collect();
        let told = [
            "Falsifying example: test_it(",
            "    n=3,",
            ")",
            "minimal failing input: v = []",
        ];
        assert_eq!(examples(&lines), told);
        assert!(examples(&["nothing"]).is_empty());
        let endless: Vec<&str> = ["Falsifying example: f("]
            .into_iter()
            .chain(["  1,"; 50])
            .collect();
        assert_eq!(examples(&endless).len(), 1);
    }

    #[test]
    fn a_suspect_stands_between_its_lines() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("project");
        fs::create_dir(&root).unwrap();
        let root = root.canonicalize().unwrap();
        fs::write(root.join("a.py"), "one\n  two\nthree\n").unwrap();
        fs::write(folder.path().join("secret"), "x\n").unwrap();
        let found = excerpt(&root, suspect("a.py", 2, "two"));
        assert_eq!(found.before.as_deref(), Some("one"));
        assert_eq!(found.suspect.source, "  two");
        assert_eq!(found.after.as_deref(), Some("three"));
        let first = excerpt(&root, suspect("a.py", 1, ""));
        assert_eq!((first.before, first.suspect.source.as_str()), (None, "one"));
        for (file, line, source) in [
            ("a.py", 3, "changed"),
            ("../secret", 1, ""),
            ("absent", 1, ""),
        ] {
            let found = excerpt(&root, suspect(file, line, source));
            assert_eq!((found.before, found.after), (None, None), "{file}");
            assert_eq!(found.suspect.source, source, "{file}");
        }
    }
}
