//! The capsule of a case of a suite: all that runs it again, in one file beside what is known of it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use cohort_capsule::secrets::sift;
use cohort_capsule::{Build, Capsule, Error, Host, Manifest, Ran};
use cohort_model::{SuiteKind, TestId, ThreadId};
use cohort_store::{Campaign, KeptCase, Stream};
use cohort_workload::Launch;

/// Programs whose versions a capsule tells.
const TOOLS: [&str; 3] = ["python3", "rustc", "cargo"];

/// What capsules of one campaign have in common.
pub(crate) struct Capsules {
    root: PathBuf,
    seed: Option<u64>,
    host: OnceLock<Host>,
    builds: Mutex<HashMap<PathBuf, Build>>,
}

/// What was run, and where its logs are.
pub(crate) struct Shown {
    /// How the test is run by its suite; none: a part of a process of its own kind (pytest).
    pub(crate) launch: Option<Launch>,
    /// The original, which may have been seen in several executions.
    pub(crate) sightings: Vec<ThreadId>,
    /// Failed tries whose output was kept.
    pub(crate) tries: Vec<ThreadId>,
    /// Where all threads stood.
    pub(crate) stacks: Option<String>,
}

impl Capsules {
    pub(crate) fn new(root: &Path, seed: Option<u64>) -> Self {
        Self {
            root: root.to_owned(),
            seed,
            host: OnceLock::new(),
            builds: Mutex::new(HashMap::new()),
        }
    }

    /// Writes the capsule of a case; blocks.
    pub(crate) fn write(
        &self,
        path: &Path,
        kept: &KeptCase,
        shown: &Shown,
        campaign: &Campaign,
    ) -> Result<(), Error> {
        let program = shown.launch.as_ref().map(|launch| &*launch.program);
        let version = env!("CARGO_PKG_VERSION");
        let ran = self.ran(kept.suite, &kept.command, shown.launch.as_ref());
        let case = kept.case.clone();
        let mut manifest = Manifest::new(case, &kept.name, ran, version, kept.last_unix_s);
        manifest.fingerprint.clone_from(&kept.fingerprint);
        let tests = kept.tests.iter();
        manifest.tests = tests
            .map(|(number, name)| (TestId(*number), name.clone()))
            .collect();
        manifest.seed = self.seed;
        manifest.build = self.build(program);
        manifest.host = self.host.get_or_init(|| Host::here(&TOOLS)).clone();
        let smallest = kept.case.smallest.as_ref();
        manifest.conditions = smallest.map_or_else(Vec::new, |arm| arm.recipe.conditions.clone());
        let mut capsule = Capsule::new(manifest);
        let original = shown
            .sightings
            .first()
            .map(|thread| ("logs/original", *thread));
        let again = shown
            .tries
            .last()
            .map(|thread| ("logs/reproduced", *thread));
        for (place, thread) in original.into_iter().chain(again) {
            for (name, stream) in [
                ("stdout", Stream::Stdout),
                ("stderr", Stream::Stderr),
                ("report", Stream::Report),
            ] {
                // What was not kept is not there.
                let bytes = campaign.output(thread, stream).unwrap_or_default();
                if !bytes.is_empty() {
                    capsule.attach_log(&format!("{place}/{name}"), &bytes)?;
                }
            }
        }
        if let Some(stacks) = &shown.stacks {
            capsule.attach_log("backtrace", stacks.as_bytes())?;
        }
        capsule.take_environment(&sift(environment(shown.launch.as_ref()), false));
        capsule.write(path).map(|_| ())
    }

    fn ran(&self, suite: SuiteKind, command: &[String], launch: Option<&Launch>) -> Ran {
        let relative = |path: &Path| {
            let path = path.strip_prefix(&self.root).unwrap_or(path);
            path.to_string_lossy().into_owned()
        };
        let args = launch.map(|launch| launch.args.iter());
        Ran::Test {
            suite,
            command: command.to_vec(),
            program: launch.map_or_else(String::new, |launch| relative(&launch.program)),
            args: args
                .into_iter()
                .flatten()
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
            directory: launch.map_or_else(String::new, |launch| relative(&launch.cwd)),
        }
    }

    /// The identity of a program, found out once.
    fn build(&self, program: Option<&Path>) -> Build {
        // A name along PATH is an interpreter's.
        let program = program.filter(|program| program.is_absolute());
        let key = program.map_or_else(PathBuf::new, Path::to_owned);
        let Ok(mut builds) = self.builds.lock() else {
            return Build::of(program, &self.root);
        };
        let known = builds.entry(key);
        known
            .or_insert_with(|| Build::of(program, &self.root))
            .clone()
    }
}

/// The environment that the test sees.
fn environment(launch: Option<&Launch>) -> BTreeMap<String, String> {
    let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
    match launch {
        Some(launch) => {
            let all = launch.env.iter();
            all.map(|(name, value)| (text(name), text(value))).collect()
        }
        None => {
            let own = cohort_workload::environment::own().into_iter();
            own.map(|(name, value)| (text(&name), text(&value)))
                .collect()
        }
    }
}
