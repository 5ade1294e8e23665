//! Where failing and passing runs of a case differ in the code.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cohort_coverage::{Built, Lines, Recording};
use cohort_model::{CaseId, Suspect, Symptom, TestId};
use cohort_replicator::localize::{Evidence, Spectra, lines};
use cohort_workload::Launch;
use tokio::task::JoinHandle;

/// Suspicious lines that are kept of a case.
const SUSPECTS_MAX: usize = 20;

/// One run whose lines were recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) case: CaseId,
    pub(crate) test: TestId,
    pub(crate) failed: bool,
}

/// A run and what it executed.
type Executed = (Run, Lines);

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
        run: Run,
        (recording, programs): (Recording, Vec<PathBuf>),
        (tells, directory): (bool, PathBuf),
    ) {
        self.reading.push(tokio::task::spawn_blocking(move || {
            // What cannot be read tells nothing.
            let lines = tells.then(|| recording.read(&programs).ok()).flatten();
            let _ = fs::remove_dir_all(&directory);
            Some((run, lines?))
        }));
    }

    /// The most suspicious lines of each case, once all was read.
    pub(crate) async fn suspects(&mut self, names: &[String]) -> Vec<(CaseId, Vec<Suspect>)> {
        let mut runs: BTreeMap<CaseId, Vec<Executed>> = BTreeMap::new();
        for reading in std::mem::take(&mut self.reading) {
            if let Ok(Some((run, lines))) = reading.await {
                runs.entry(run.case).or_default().push((run, lines));
            }
        }
        let mut all = Vec::new();
        for (case, runs) in runs {
            let Some(about) = self.about.get(&case) else {
                continue;
            };
            let suspects = rank(runs, about, names);
            if !suspects.is_empty() {
                all.push((case, self.with_source(suspects)));
            }
        }
        all
    }

    fn with_source(&self, mut suspects: Vec<Suspect>) -> Vec<Suspect> {
        for suspect in &mut suspects {
            let text = fs::read_to_string(self.root.join(&suspect.file)).unwrap_or_default();
            let line = text.lines().nth(suspect.line.saturating_sub(1) as usize);
            suspect.source = line.unwrap_or_default().trim_end().to_owned();
        }
        suspects
    }
}

/// Lines in the order of suspicion; `names` are those of the tests.
fn rank(
    runs: Vec<Executed>,
    (test, symptom): &(TestId, Symptom),
    names: &[String],
) -> Vec<Suspect> {
    let test = *test;
    let own_passes = |(run, _): &Executed| run.test == test && !run.failed;
    let same_test = runs.iter().any(own_passes);
    let runs = runs.into_iter();
    let runs = runs.filter(|(run, _)| run.test == test || !same_test);
    let mut spectra = Spectra::new();
    for (run, lines) in runs {
        let name = names.get(run.test.index()).map_or("", |name| name);
        let own = lines.clone().without_test(name);
        // Where there is nothing but the test, the mistake is in it.
        let lines = if own.is_empty() { lines } else { own };
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
    if spectra.failed() == 0 || spectra.passed() == 0 {
        return Vec::new();
    }
    let evidence = Evidence {
        frames: &symptom.frames,
        same_test,
    };
    let ranked = lines(&spectra, &evidence, SUSPECTS_MAX);
    ranked.into_iter().map(|one| one.suspect).collect()
}
