//! Manifests of helpers: those built in, and `helpers/*.toml` beside `cohort.toml`. One of a user's own with the name
//! of one built in replaces it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cohort_helper::{BUILT_IN, Manifest, Reads, Runtime};
use cohort_model::ServiceFindingKind;
use serde::Deserialize;
use toml::Spanned;

use super::raw::{Size, Time, Words, read_toml};
use super::{Error, Place};

/// Directory of a user's own.
const DIRECTORY: &str = "helpers";
/// Longest time that one may look, microseconds.
const LOOKS_US_MAX: u64 = 3_600_000_000;
const LOOKS_US: u64 = 10_000_000;
/// CPU expected where nothing is said, cores.
const CORES: f64 = 0.1;
const SLOWDOWN: f64 = 1.1;
const MEMORY: u64 = 512 << 20;
/// What an init keeps at most.
const OUTPUT_MAX: u64 = 16 << 20;

/// A manifest, and where it is from.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) manifest: Manifest,
    /// `None`: built in.
    pub(crate) path: Option<PathBuf>,
}

/// A manifest as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawManifest {
    about: String,
    detects: Spanned<Vec<ServiceFindingKind>>,
    #[serde(default)]
    needs: Vec<String>,
    #[serde(default)]
    install: BTreeMap<String, String>,
    #[serde(default)]
    runtimes: Vec<Runtime>,
    command: Spanned<Words>,
    cleanup: Option<Words>,
    looks: Option<Spanned<Time>>,
    reads: Reads,
    every: Option<Spanned<Time>>,
    #[serde(default)]
    compares: bool,
    #[serde(default)]
    cost: RawCost,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    alongside: Vec<String>,
}

/// `cost`: what it is expected to cost.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "a table such as { cores = 0.1, slowdown = 1.1 }"
)]
struct RawCost {
    cores: Option<Spanned<f64>>,
    slowdown: Option<Spanned<f64>>,
}

/// `limits`: what it may use.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "a table such as { memory = \"512MiB\", output = \"16MiB\" }"
)]
struct RawLimits {
    memory: Option<Size>,
    output: Option<Spanned<Size>>,
}

/// All that a project can have: a user's own first.
///
/// # Errors
/// With the place, when a manifest makes no sense; all of a user's own are read.
pub(crate) fn load(root: &Path) -> Result<Vec<Known>, Error> {
    let mut own = BTreeMap::new();
    let directory = root.join(DIRECTORY);
    for entry in std::fs::read_dir(&directory)
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = entry.path();
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.extension().is_some_and(|it| it == "toml") {
            let text = std::fs::read_to_string(&path).map_err(|source| Error::Read {
                path: path.clone(),
                source,
            })?;
            let manifest = parse(&name, &path, &text)?;
            let path = Some(path);
            own.insert(name, Known { manifest, path });
        }
    }
    let replaced: Vec<String> = own.keys().cloned().collect();
    let mut all: Vec<Known> = own.into_values().collect();
    for (name, text) in BUILT_IN {
        if !replaced.iter().any(|it| it == name) {
            let path = Path::new("built in").join(format!("{name}.toml"));
            let manifest = parse(name, &path, text)?;
            all.push(Known {
                manifest,
                path: None,
            });
        }
    }
    Ok(all)
}

fn parse(name: &str, path: &Path, text: &str) -> Result<Manifest, Error> {
    let raw: RawManifest = read_toml(path, text)?;
    let place = |at: usize| Place::in_file(path, text, at);
    let wrong = |at: usize, what: &str| {
        let what = what.to_owned();
        Err(Error::Wrong {
            place: place(at),
            what,
        })
    };
    if raw.command.get_ref().0.is_empty() {
        return wrong(
            raw.command.span().start,
            "command is empty; write a program and its arguments",
        );
    }
    if raw.detects.get_ref().is_empty() {
        return wrong(
            raw.detects.span().start,
            "detects is empty; it would never be deployed",
        );
    }
    let looks = raw
        .looks
        .as_ref()
        .map(|it| (it.get_ref().0, it.span().start));
    if let Some((us, at)) = looks
        && !(1..=LOOKS_US_MAX).contains(&us)
    {
        return wrong(at, "looks is not between 1us and 1h");
    }
    if let Some(every) = &raw.every
        && !(1..=LOOKS_US_MAX).contains(&every.get_ref().0)
    {
        return wrong(every.span().start, "every is not between 1us and 1h");
    }
    if let Some(cores) = &raw.cost.cores
        && !(cores.get_ref() > &0.0 && cores.get_ref().is_finite())
    {
        return wrong(cores.span().start, "cost.cores is not more than 0");
    }
    if let Some(slowdown) = &raw.cost.slowdown
        && !(slowdown.get_ref() >= &1.0 && slowdown.get_ref().is_finite())
    {
        return wrong(
            slowdown.span().start,
            "cost.slowdown is not 1 or more: 1.1 is a tenth slower",
        );
    }
    let output = raw.limits.output.as_ref();
    if let Some(output) = output
        && output.get_ref().0 > OUTPUT_MAX
    {
        return wrong(
            output.span().start,
            "limits.output is more than 16MiB, which is all that is kept",
        );
    }
    Ok(Manifest {
        name: name.to_owned(),
        about: raw.about,
        detects: raw.detects.into_inner(),
        needs: raw.needs,
        install: raw.install,
        runtimes: raw.runtimes,
        command: raw.command.into_inner().0,
        cleanup: raw.cleanup.map_or_else(Vec::new, |it| it.0),
        looks_us: looks.map_or(LOOKS_US, |(us, _)| us),
        reads: raw.reads,
        every_us: raw.every.map_or(0, |it| it.into_inner().0),
        compares: raw.compares,
        cores: raw.cost.cores.map_or(CORES, Spanned::into_inner),
        slowdown_max: raw.cost.slowdown.map_or(SLOWDOWN, Spanned::into_inner),
        memory: raw.limits.memory.map_or(MEMORY, |it| it.0),
        output: raw.limits.output.map_or(OUTPUT_MAX, |it| it.into_inner().0),
        alongside: raw.alongside,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "about = 'x'\ndetects = ['hang']\ncommand = ['true']\nreads = 'lines'\n";

    fn refused(text: &str) -> String {
        let path = Path::new("helpers/mine.toml");
        let error = parse("mine", path, text).expect_err("makes no sense");
        error.to_string()
    }

    #[test]
    fn those_built_in_make_sense() {
        let all = load(Path::new("/nowhere")).expect("sense");
        assert_eq!(all.len(), BUILT_IN.len());
        assert!(all.iter().all(|known| known.path.is_none()));
    }

    #[test]
    fn an_own_one_replaces_one_built_in_and_comes_first() {
        let root = tempfile::tempdir().expect("directory");
        let directory = root.path().join(DIRECTORY);
        std::fs::create_dir(&directory).expect("directory");
        std::fs::write(directory.join("profiler.toml"), GOOD).expect("file");
        std::fs::write(directory.join("README"), "no manifest").expect("file");
        let all = load(root.path()).expect("sense");
        assert_eq!(all.len(), BUILT_IN.len());
        assert_eq!(all[0].manifest.name, "profiler");
        assert_eq!(all[0].manifest.reads, Reads::Lines);
        assert_eq!(all[0].manifest.looks_us, LOOKS_US);
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_place() {
        let with = |more: &str| format!("{GOOD}{more}\n");
        let said = [
            (
                with("comand = 1"),
                "helpers/mine.toml:5",
                "did you mean `command`?",
            ),
            (
                GOOD.replace("hang", "hangs"),
                "helpers/mine.toml:2",
                "hangs",
            ),
            (
                GOOD.replace("'true'", ""),
                "helpers/mine.toml:3",
                "command is empty",
            ),
            (
                GOOD.replace("'hang'", ""),
                "helpers/mine.toml:2",
                "never be deployed",
            ),
            (
                GOOD.replace("'lines'", "'xml'"),
                "helpers/mine.toml:4",
                "xml",
            ),
            (
                with("looks = '0s'"),
                "helpers/mine.toml:5",
                "between 1us and 1h",
            ),
            (
                with("every = '0s'"),
                "helpers/mine.toml:5",
                "every is not between 1us and 1h",
            ),
            (with("looks = 10"), "helpers/mine.toml:5", "unit"),
            (
                with("cost = { cores = -1.0 }"),
                "helpers/mine.toml:5",
                "more than 0",
            ),
            (
                with("cost = { slowdown = 0.5 }"),
                "helpers/mine.toml:5",
                "1 or more",
            ),
            (
                with("limits = { output = '1GiB' }"),
                "helpers/mine.toml:5",
                "16MiB",
            ),
            ("about = 'x'\n".to_owned(), "helpers/mine.toml:1", "detects"),
        ];
        for (text, place, what) in said {
            let said = refused(&text);
            assert!(
                said.starts_with(place) && said.contains(what),
                "{text}: {said}"
            );
        }
    }
}
