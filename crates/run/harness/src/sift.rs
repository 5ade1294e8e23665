//! What broke a target, run again alone: one input for each bug, cut to the least that still shows it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cohort_model::Symptom;
use cohort_replicator::sameness::{Fingerprint, Groups, same};

use crate::execute::{Limits, execute};
use crate::supervise::{Setup, files};
use crate::work::{empty, name};
use crate::{Error, Progress, Target};

/// Most inputs of a target that are run again, the shortest.
const AGAIN_MAX: usize = 200;
/// Time for all of a target: half to compare, half to cut.
const TIME: Duration = Duration::from_secs(20);
/// ... and to cut one.
const TIME_OF_ONE: Duration = Duration::from_secs(5);

/// An input that breaks a target.
#[derive(Clone, Debug)]
pub struct Found {
    /// Of the target.
    pub target: String,
    /// Where it is.
    pub file: PathBuf,
    /// What it looks like.
    pub symptom: Symptom,
    /// How long the input was before it was cut, bytes.
    pub was: usize,
    /// How long it is, bytes.
    pub is: usize,
}

/// Compares and cuts what was left of `target`. What did not fail again is removed.
pub(crate) fn sift(
    target: &Target,
    setup: &Setup<'_>,
    scratch: &Path,
    tell: &mut dyn FnMut(Progress),
) -> Result<Vec<Found>, Error> {
    let home = setup.home.join(&target.name);
    let mut inputs: Vec<_> = files(&home.join("crashes"))
        .into_iter()
        .filter_map(|file| Some((fs::read(&file).ok()?, file)))
        .collect();
    inputs.sort_by_key(|(input, _)| input.len());
    inputs.truncate(AGAIN_MAX);
    if !inputs.is_empty() {
        tell(Progress::Sifting(inputs.len()));
    }
    let mut sieve = Sieve {
        target,
        scratch: scratch.join("alone"),
        limits: setup.limits,
    };
    fs::create_dir_all(&sieve.scratch).map_err(Error::file("make", &sieve.scratch))?;
    let begun = Instant::now();
    let mut groups = Groups::default();
    // What was found before stays what it is called: its cases are known by it.
    for file in files(&home) {
        let input = fs::read(&file).map_err(Error::file("read", &file))?;
        if let Some(symptom) = sieve.run(&input)? {
            groups.add(&symptom);
        }
    }
    let mut firsts = Vec::new();
    for (input, file) in inputs {
        if begun.elapsed() > TIME / 2 {
            break;
        }
        let Some(symptom) = sieve.run(&input)? else {
            let _ = fs::remove_file(file);
            continue;
        };
        let known = groups.len();
        if groups.add(&symptom) == known {
            firsts.push((input, symptom));
        }
    }
    let mut found = Vec::new();
    for (input, symptom) in firsts {
        let until = (begun + TIME).min(Instant::now() + TIME_OF_ONE);
        let least = sieve.cut(&input, &symptom, until)?;
        let file = home.join(called(target, &symptom));
        fs::write(&file, &least).map_err(Error::file("write", &file))?;
        found.push(Found {
            target: target.name.clone(),
            file,
            symptom,
            was: input.len(),
            is: least.len(),
        });
    }
    Ok(found)
}

/// It is recognized as data by its ending, and its target by its beginning.
fn called(target: &Target, symptom: &Symptom) -> String {
    let bug = format!("{:?}", Fingerprint::of(symptom));
    format!("{}.{}.input", target.name, name(bug.as_bytes()))
}

struct Sieve<'a> {
    target: &'a Target,
    scratch: PathBuf,
    limits: Limits,
}

impl Sieve<'_> {
    fn run(&mut self, input: &[u8]) -> Result<Option<Symptom>, Error> {
        let file = self.scratch.with_extension("input");
        fs::write(&file, input).map_err(Error::file("write", &file))?;
        let run = execute(self.target, &file, &self.scratch, self.limits);
        empty(&self.scratch);
        let run = run.map_err(|source| Error::Start {
            command: self.target.command.join(" "),
            source,
        })?;
        Ok(run.fault())
    }

    /// Leaves out blocks, the largest first, as long as the same bug shows (Zeller and Hildebrandt, 2002, with
    /// complements only).
    fn cut(&mut self, input: &[u8], symptom: &Symptom, until: Instant) -> Result<Vec<u8>, Error> {
        let mut least = input.to_vec();
        let mut block = least.len().max(1);
        loop {
            let mut at = 0;
            let mut smaller = false;
            while at < least.len() && Instant::now() < until {
                let mut less = least.clone();
                less.drain(at..(at + block).min(least.len()));
                if self.run(&less)?.is_some_and(|other| same(symptom, &other)) {
                    least = less;
                    smaller = true;
                } else {
                    at += block;
                }
            }
            if Instant::now() >= until || block == 1 && !smaller {
                return Ok(least);
            }
            if block > 1 {
                block = block.div_ceil(2);
            }
        }
    }
}
