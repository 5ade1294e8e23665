//! Where failing and passing runs of a case differ in the code.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cohort_coverage::{Built, Lines, Recording, is_test_place};
use cohort_model::{CaseId, Frame, Suspect, SuspectFunction, Suspects, Symptom, TestId};
use cohort_replicator::localize::{
    Evidence, Spectra, from_backtrace, functions, lines, with_guards,
};
use cohort_workload::Launch;
use tokio::task::JoinHandle;

use crate::recipe_run::Recorded;

/// Suspicious lines that are kept of a case, and functions.
const LINES_MAX: usize = 20;
const FUNCTIONS_MAX: usize = 10;

/// One run whose lines were recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) case: CaseId,
    pub(crate) test: TestId,
    pub(crate) failed: bool,
}

/// A run, what it executed, and where it failed, innermost first.
struct Executed {
    run: Run,
    lines: Lines,
    frames: Vec<Frame>,
}

/// All runs whose lines were recorded.
pub(crate) struct Located {
    root: PathBuf,
    about: BTreeMap<CaseId, (TestId, Symptom)>,
    reading: Vec<JoinHandle<Option<Executed>>>,
}

impl Located {
    /// Of files below `root`.
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            about: BTreeMap::new(),
            reading: Vec::new(),
        }
    }

    /// What a case is about.
    pub(crate) fn about(&mut self, case: CaseId, test: TestId, symptom: &Symptom) {
        self.about
            .entry(case)
            .or_insert_with(|| (test, symptom.clone()));
    }

    /// Has a launch record its lines below `directory`; none when it cannot.
    pub(crate) fn record(
        &self,
        launch: &mut Launch,
        (built, directory): (Built, &Path),
    ) -> Option<Recording> {
        let folder = directory.join("lines");
        let recording = Recording::begin(&folder, &self.root, built).ok()?;
        let mut all: BTreeMap<_, _> = launch.env.iter().cloned().collect();
        let inherited = |name: &str| all.get(std::ffi::OsStr::new(name)).cloned();
        let own = recording.environment(inherited).ok()?;
        all.extend(own.into_iter().map(|(name, value)| (name.into(), value)));
        if built == Built::Here {
            // The functions that the failure came through are suspects.
            all.entry("RUST_BACKTRACE".into())
                .or_insert_with(|| "1".into());
        }
        launch.env = all.into_iter().collect();
        Some(recording)
    }

    /// Reads what a run executed, if it `tells` anything, and removes its directory, beside all else.
    pub(crate) fn read(
        &mut self,
        (run, frames): (Run, Vec<Frame>),
        (recording, programs): Recorded,
        (tells, directory): (bool, PathBuf),
    ) {
        self.reading.push(tokio::task::spawn_blocking(move || {
            // What cannot be read tells nothing.
            let lines = tells.then(|| recording.read(&programs).ok()).flatten();
            let _ = fs::remove_dir_all(&directory);
            Some(Executed {
                run,
                frames,
                lines: lines?,
            })
        }));
    }

    /// What is suspicious in each case, once all was read.
    pub(crate) async fn suspects(&mut self, names: &[String]) -> Vec<(CaseId, Suspects)> {
        let mut runs: BTreeMap<CaseId, Vec<Executed>> = BTreeMap::new();
        for reading in std::mem::take(&mut self.reading) {
            if let Ok(Some(executed)) = reading.await {
                runs.entry(executed.run.case).or_default().push(executed);
            }
        }
        let mut all = Vec::new();
        for (case, about) in &self.about {
            let runs = runs.remove(case).unwrap_or_default();
            let found = ranked(runs, about, names).or_else(|| told(about));
            let found = found.map(|found| self.with_source(found));
            all.extend(
                found
                    .filter(|one| !one.lines.is_empty())
                    .map(|one| (*case, one)),
            );
        }
        all
    }

    /// The lines themselves, with the conditions that guard them; those that only end what others began are left
    /// out.
    fn with_source(&self, mut found: Suspects) -> Suspects {
        let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for suspect in &mut found.lines {
            let file = Path::new(&suspect.file);
            let file = file.strip_prefix(&self.root).unwrap_or(file);
            let file = file.strip_prefix(".").unwrap_or(file);
            suspect.file = file.to_string_lossy().into_owned();
            let text = texts.entry(suspect.file.clone()).or_insert_with(|| {
                let text = fs::read_to_string(self.root.join(&suspect.file)).unwrap_or_default();
                text.lines()
                    .map(|line| line.trim_end().to_owned())
                    .collect()
            });
            let line = text.get(suspect.line.saturating_sub(1) as usize);
            suspect.source = line.cloned().unwrap_or_default();
        }
        let says = |one: &Suspect| {
            let source = one.source.trim();
            let words = source.trim_matches(|c: char| !c.is_alphanumeric());
            source.is_empty() || !words.is_empty() && words != "else"
        };
        found.lines.retain(says);
        if !found.of_backtrace {
            let text = |file: &str| texts.get(file).map(Vec::as_slice);
            found.lines = with_guards(found.lines, text);
        }
        found.lines.truncate(LINES_MAX);
        found
    }
}

/// All failing and passing runs of a case.
fn spectra(runs: Vec<Executed>, test: TestId, names: &[String]) -> Spectra {
    let mut spectra = Spectra::new();
    for Executed { run, lines, .. } in runs {
        let name = names.get(run.test.index()).map_or("", |name| name);
        let own = lines.clone().without_test(name);
        // Where there is nothing but the test, the mistake is in it.
        let lines = if own.is_empty() && run.test == test {
            lines
        } else {
            own
        };
        for (file, first, last) in lines.tests() {
            spectra.tests(file, first, last);
        }
        spectra.ran(run.failed, lines.iter());
        for (file, functions) in &lines.functions {
            for function in functions {
                spectra.function(file, function.first, function.last, &function.name);
            }
        }
    }
    spectra
}

/// What runs tell; `names` are those of the tests. None: they tell nothing.
fn ranked(
    runs: Vec<Executed>,
    (test, symptom): &(TestId, Symptom),
    names: &[String],
) -> Option<Suspects> {
    let test = *test;
    let own_passes = |one: &Executed| one.run.test == test && !one.run.failed;
    let same_test = runs.iter().any(own_passes);
    let runs: Vec<Executed> = runs
        .into_iter()
        .filter(|one| one.run.test == test || !same_test)
        .collect();
    // A run of ours may tell more of where it failed than the first one did.
    let failed = runs.iter().filter(|one| one.run.failed);
    let frames = failed.map(|one| one.frames.clone());
    let frames = frames.chain([symptom.frames.clone()]).max_by_key(Vec::len);
    let frames = frames.unwrap_or_default();
    let spectra = spectra(runs, test, names);
    if spectra.failed() == 0 || spectra.passed() == 0 {
        return None;
    }
    let evidence = Evidence {
        frames: &frames,
        same_test,
    };
    let all = lines(&spectra, &evidence, LINES_MAX * 3).into_iter();
    let of = functions(&spectra, &evidence, FUNCTIONS_MAX).into_iter();
    let of = of.filter_map(|one| {
        let Suspect {
            file,
            line,
            function,
            score,
            ..
        } = one.suspect;
        let (first, last) = spectra.extent(&file, line)?;
        Some(SuspectFunction {
            file,
            name: function,
            first,
            last,
            line,
            score,
        })
    });
    Some(Suspects {
        functions: of.collect(),
        lines: all.map(|one| one.suspect).collect(),
        of_backtrace: false,
    })
}

/// What the backtrace alone tells.
fn told((_, symptom): &(TestId, Symptom)) -> Option<Suspects> {
    let lines = from_backtrace(&symptom.frames, is_test_place, LINES_MAX);
    (!lines.is_empty()).then(|| Suspects {
        lines,
        functions: Vec::new(),
        of_backtrace: true,
    })
}
