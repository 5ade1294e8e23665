//! Cohort's own engine: one process that runs the harness again and again, for harnesses without an engine in them.
//!
//! It is steered by what can be seen of any program: how it ended, and lines that it never wrote before. An input after
//! which something was new is kept, and given to the other instances of the target.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cohort_fuzzer::Bytes;
use cohort_replicator::sameness::Groups;
use serde::{Deserialize, Serialize};

use crate::execute::{Limits, Run, execute};
use crate::{Target, words};

/// Executions between two looks at what the others found.
const SHARED_EVERY: u64 = 128;
/// Most seeds that are read.
const SEEDS_MAX: usize = 2000;
/// What a program can say that is new: a harness that prints its input would never be at an end.
const LINES_MAX: usize = 4000;
/// Lines of one execution that are looked at.
const LINES_OF_ONE: usize = 64;
/// Inputs of one bug that are left, each shorter than the last.
const LEFT_OF_ONE: usize = 8;

/// What an instance is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// What is fuzzed.
    pub target: Target,
    /// What the instances of the target share: `corpus/` and `crashes/` in it.
    pub shared: PathBuf,
    /// For temporary files of the harness; emptied after each execution.
    pub scratch: PathBuf,
    /// Where it stands, written once a second: executions and inputs that are kept.
    pub stand: PathBuf,
    /// What is random follows from it.
    pub seed: u64,
    /// How long, milliseconds.
    pub time_ms: u64,
    /// Of one execution.
    pub limits: Limits,
    /// Longest input, bytes.
    pub longest: usize,
}

/// Runs the plan in a file; the exit code for the process.
#[must_use]
pub fn main(plan: &Path) -> i32 {
    // Closed once this process is in its control group.
    let placed = io::copy(&mut io::stdin(), &mut io::sink());
    let done = placed
        .and_then(|_| fs::read(plan))
        .and_then(|text| serde_json::from_slice(&text).map_err(io::Error::from))
        .and_then(|plan: Plan| work(&plan));
    match done {
        Ok(_) => 0,
        Err(_) => 1,
    }
}

/// Fuzzes for the time of the plan. Returns how many executions there were.
///
/// # Errors
/// When the harness cannot be started, or nothing can be written.
pub fn work(plan: &Plan) -> io::Result<u64> {
    let mut worker = Worker::new(plan);
    let until = Instant::now() + Duration::from_millis(plan.time_ms);
    for seed in seeds(&plan.target.seeds) {
        if Instant::now() >= until {
            break;
        }
        worker.bytes.keep(seed.clone());
        worker.run(&seed)?;
    }
    worker.run(b"")?;
    while Instant::now() < until {
        if worker.runs.is_multiple_of(SHARED_EVERY) {
            worker.take_shared();
        }
        let input = worker.bytes.draw();
        worker.run(&input)?;
    }
    worker.tell_stand()?;
    Ok(worker.runs)
}

struct Worker<'a> {
    plan: &'a Plan,
    bytes: Bytes,
    runs: u64,
    /// Hashes of ends and lines.
    seen: HashSet<u64>,
    faults: Groups,
    /// For each bug, the length of its shortest input, and how many were left.
    shortest: Vec<(usize, usize)>,
    shared: BTreeSet<PathBuf>,
    told: Instant,
}

impl<'a> Worker<'a> {
    fn new(plan: &'a Plan) -> Self {
        let mut known = words::of_program(&plan.target.program());
        for word in plan.target.command.iter().skip(1) {
            known.extend(words::of_program(&plan.target.directory.join(word)));
        }
        if let Some(text) = plan
            .target
            .dictionary
            .as_ref()
            .and_then(|file| fs::read_to_string(file).ok())
        {
            known.extend(words::of_dictionary(&text));
        }
        Self {
            plan,
            bytes: Bytes::new(plan.seed, known, plan.longest),
            runs: 0,
            seen: HashSet::new(),
            faults: Groups::default(),
            shortest: Vec::new(),
            shared: BTreeSet::new(),
            told: Instant::now(),
        }
    }

    fn run(&mut self, input: &[u8]) -> io::Result<()> {
        let file = self.plan.scratch.with_extension("input");
        fs::write(&file, input)?;
        let run = execute(
            &self.plan.target,
            &file,
            &self.plan.scratch,
            self.plan.limits,
        )?;
        empty(&self.plan.scratch);
        self.runs += 1;
        if self.told.elapsed() >= Duration::from_secs(1) {
            self.tell_stand()?;
        }
        let new = self.is_new(&run);
        if let Some(symptom) = run.fault() {
            let number = self.faults.add(&symptom);
            self.shortest.resize(self.faults.len(), (usize::MAX, 0));
            let (shortest, left) = &mut self.shortest[number];
            if input.len() < *shortest && *left < LEFT_OF_ONE {
                (*shortest, *left) = (input.len(), *left + 1);
                self.leave("crashes", input)?;
            }
        } else if new {
            self.bytes.keep(input.to_vec());
            let file = self.leave("corpus", input)?;
            self.shared.insert(file);
        }
        Ok(())
    }

    /// Whether it ended as it never did, or said what it never said but for numbers.
    fn is_new(&mut self, run: &Run) -> bool {
        let mut new = self.seen.insert(hash(&format!("{:?}", run.end)));
        for line in run.output.split(|byte| *byte == b'\n').take(LINES_OF_ONE) {
            if self.seen.len() >= LINES_MAX {
                break;
            }
            let steady: Vec<u8> = line
                .iter()
                .copied()
                .filter(|byte| !byte.is_ascii_digit())
                .collect();
            new |= self.seen.insert(hash(&steady));
        }
        new
    }

    fn leave(&self, folder: &str, input: &[u8]) -> io::Result<PathBuf> {
        let file = self.plan.shared.join(folder).join(name(input));
        // Whole or not at all, since others read it.
        let part = self.plan.scratch.with_extension("part");
        fs::write(&part, input)?;
        fs::rename(&part, &file)?;
        Ok(file)
    }

    fn take_shared(&mut self) {
        let entries = fs::read_dir(self.plan.shared.join("corpus"));
        for file in entries
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
        {
            if self.shared.insert(file.clone())
                && let Ok(input) = fs::read(&file)
            {
                self.bytes.keep(input);
            }
        }
    }

    fn tell_stand(&mut self) -> io::Result<()> {
        self.told = Instant::now();
        fs::write(
            &self.plan.stand,
            format!("{} {}", self.runs, self.bytes.kept()),
        )
    }
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// What the file of an input is called.
pub(crate) fn name(input: &[u8]) -> String {
    format!("{:016x}", hash(&input))
}

/// What the harness left there would become what its next execution finds, and fill the disk.
pub(crate) fn empty(scratch: &Path) {
    for entry in fs::read_dir(scratch).into_iter().flatten().flatten() {
        let path = entry.path();
        let _ = match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
    }
}

/// Inputs to begin with, the shortest first.
fn seeds(places: &[PathBuf]) -> Vec<Vec<u8>> {
    let in_folder = |place: &PathBuf| match fs::read_dir(place) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => vec![place.clone()],
    };
    let mut files: Vec<PathBuf> = places.iter().flat_map(in_folder).take(SEEDS_MAX).collect();
    files.sort();
    let mut inputs: Vec<_> = files
        .iter()
        .filter_map(|file| fs::read(file).ok())
        .collect();
    inputs.sort_by_key(Vec::len);
    inputs
}
