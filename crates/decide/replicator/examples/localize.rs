//! `cargo run -p cohort-replicator --example localize -- DIR`: how far down the list the faulty lines of
//! recorded bugs stand. DIR holds `spectra.jsonl.gz` and `ground_truth.json` as fl-bugsinpy has them.
//!
//! Measure: `E_inspect` with the expected place among equals (Rezaalipour & Furia 2024); `@k` counts the bugs
//! at most so far down. Of the backtrace only is used what a run has: which function is how deep. The weight
//! of the backtrace is also chosen anew without the bugs of a project, and tried on these.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "an example reads its data; what decides does not"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use cohort_model::Frame;
use cohort_replicator::localize::formula::{Counts, dstar, ochiai};
use cohort_replicator::localize::{Evidence, Spectra, lines};
use flate2::read::GzDecoder;
use serde_json::Value;

/// One recorded bug.
struct Bug {
    project: String,
    /// Line, and which runs executed it.
    spectrum: BTreeMap<String, Counts>,
    /// Depth of the line's function in the backtrace, as its reciprocal.
    backtrace: BTreeMap<String, f64>,
    faulty: BTreeSet<String>,
    faulty_unfailed: usize,
    covered_unfailed: f64,
    lines: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args()
        .nth(1)
        .ok_or("name the folder of the data")?;
    let bugs = load(Path::new(&folder))?;
    println!("| {} bugs | @1 | @3 | @5 | @10 | MRR |", bugs.len());
    println!("| --- | --- | --- | --- | --- | --- |");
    let weighted = |weight: f64| {
        move |bug: &Bug, line: &String, counts: Counts| {
            ochiai(counts) + weight * bug.backtrace.get(line).copied().unwrap_or(0.0)
        }
    };
    row("Ochiai", &bugs, |_, _, counts| ochiai(counts));
    row("DStar", &bugs, |_, _, counts| dstar(counts));
    for weight in WEIGHTS {
        row(
            &format!("Ochiai + {weight} backtrace"),
            &bugs,
            weighted(weight),
        );
    }
    let places: Vec<f64> = bugs.iter().map(|bug| inspect(bug, &product(bug))).collect();
    print_row("as the product ranks", &places);
    print_row(
        "weight chosen on other projects",
        &crossed(&bugs, &weighted),
    );
    Ok(())
}

const WEIGHTS: [f64; 6] = [0.1, 0.2, 0.5, 1.0, 2.0, 4.0];

fn row(name: &str, bugs: &[Bug], score: impl Fn(&Bug, &String, Counts) -> f64) {
    let places: Vec<f64> = bugs.iter().map(|bug| place(bug, &score)).collect();
    print_row(name, &places);
}

fn print_row(name: &str, places: &[f64]) {
    let at = |most: f64| places.iter().filter(|p| **p <= most).count();
    let reciprocal = places.iter().map(|p| 1.0 / p).sum::<f64>() / places.len() as f64;
    println!(
        "| {name} | {} | {} | {} | {} | {reciprocal:.3} |",
        at(1.0),
        at(3.0),
        at(5.0),
        at(10.0)
    );
}

fn place(bug: &Bug, score: &impl Fn(&Bug, &String, Counts) -> f64) -> f64 {
    let lines = bug.spectrum.iter();
    let scores = lines.map(|(line, counts)| (line.clone(), score(bug, line, *counts)));
    inspect(bug, &scores.collect())
}

/// For each project the weight that is best (geometric mean of the places) on all others.
fn crossed<S: Fn(&Bug, &String, Counts) -> f64>(
    bugs: &[Bug],
    weighted: &impl Fn(f64) -> S,
) -> Vec<f64> {
    let table: Vec<Vec<f64>> = WEIGHTS
        .iter()
        .map(|w| bugs.iter().map(|bug| place(bug, &weighted(*w))).collect())
        .collect();
    let mut places = Vec::new();
    for (at, bug) in bugs.iter().enumerate() {
        let others = |row: &Vec<f64>| -> f64 {
            let pairs = row.iter().zip(bugs);
            let others = pairs.filter(|(_, other)| other.project != bug.project);
            others.map(|(place, _)| place.ln()).sum()
        };
        let best = table.iter().min_by(|a, b| others(a).total_cmp(&others(b)));
        places.extend(best.map(|row| row[at]));
    }
    places
}

/// Through the crate's own interface: runs, functions and frames are made up to be those of the record.
fn product(bug: &Bug) -> BTreeMap<String, f64> {
    let mut spectra = Spectra::new();
    let all_failed = bug
        .spectrum
        .values()
        .map(|c| c.all_failed)
        .max()
        .unwrap_or(0);
    let most_passed = bug.spectrum.values().map(|c| c.passed).max().unwrap_or(0);
    for run in 0..all_failed {
        let executed = bug.spectrum.iter().filter(|(_, c)| c.failed > run);
        spectra.ran(true, executed.map(|(line, _)| triple(line)));
    }
    for run in 0..most_passed {
        let executed = bug.spectrum.iter().filter(|(_, c)| c.passed > run);
        spectra.ran(false, executed.map(|(line, _)| triple(line)));
    }
    let frames = frames(bug, &mut spectra);
    let evidence = Evidence {
        frames: &frames,
        same_test: false,
    };
    let found = lines(&spectra, &evidence, usize::MAX);
    let named = found.into_iter().map(|r| {
        // A frame's own line stands before its equals in the product; the record does not have it.
        let score = (r.suspect.score * 1e5).round();
        (format!("{}::{}", r.suspect.file, r.suspect.line), score)
    });
    named.collect()
}

fn triple(line: &str) -> (&str, u32, u64) {
    let (file, number) = line.rsplit_once("::").unwrap_or((line, "0"));
    (file, number.parse().unwrap_or(0), 1)
}

/// The record names all lines of the functions of a backtrace: each stretch of them with the same depth is
/// taken for a function, and its first line for the one that was executed.
fn frames(bug: &Bug, spectra: &mut Spectra) -> Vec<Frame> {
    let mut stretches: Vec<(u32, String, u32, u32)> = Vec::new();
    let mut lines: Vec<(&str, u32, u32)> = Vec::new();
    for (line, share) in &bug.backtrace {
        let (file, number, _) = triple(line);
        lines.push((file, number, (1.0 / share).round() as u32));
    }
    lines.sort_unstable();
    for (file, number, depth) in lines {
        match stretches.last_mut() {
            Some((at, in_file, _, last))
                if *at == depth && in_file == file && *last + 1 == number =>
            {
                *last = number;
            }
            _ => stretches.push((depth, file.to_string(), number, number)),
        }
    }
    stretches.sort_unstable();
    let mut frames = Vec::new();
    for (depth, file, first, last) in stretches {
        spectra.function(&file, first, last, "recorded");
        frames.extend((frames.len() < depth as usize).then_some(Frame {
            function: "recorded".into(),
            file,
            line: first,
            own: true,
        }));
    }
    frames
}

/// `E_inspect`: how many lines are looked at until one is faulty, on average over the orders of equals.
fn inspect(bug: &Bug, scores: &BTreeMap<String, f64>) -> f64 {
    let hits = bug.faulty.iter().filter_map(|line| scores.get(line));
    let best = hits.copied().max_by(f64::total_cmp);
    let count =
        |condition: &dyn Fn(f64) -> bool| scores.values().filter(|s| condition(**s)).count();
    let (start, equal, faulty) = match best {
        Some(best) => {
            let faulty = bug.faulty.iter().filter(|f| scores.get(*f) == Some(&best));
            let above = count(&|score| score > best) as f64;
            (above, count(&|score| score == best) as f64, faulty.count())
        }
        None if bug.faulty_unfailed > 0 => (
            scores.len() as f64,
            bug.covered_unfailed,
            bug.faulty_unfailed,
        ),
        None => {
            let start = scores.len() as f64 + bug.covered_unfailed;
            (start, bug.lines - start, bug.faulty.len())
        }
    };
    start + 1.0 + (equal - faulty as f64) / (faulty as f64 + 1.0)
}

fn load(folder: &Path) -> Result<Vec<Bug>, Box<dyn Error>> {
    let truth: Value = serde_json::from_reader(File::open(folder.join("ground_truth.json"))?)?;
    let spectra = File::open(folder.join("spectra.jsonl.gz"))?;
    let mut bugs = Vec::new();
    for line in BufReader::new(GzDecoder::new(spectra)).lines() {
        let record: Value = serde_json::from_str(&line?)?;
        bugs.push(bug(&record, &truth).ok_or("a record lacks a field")?);
    }
    Ok(bugs)
}

fn bug(record: &Value, truth: &Value) -> Option<Bug> {
    let name = record["bug"].as_str()?;
    let strings = |list: &Value| -> Option<BTreeSet<String>> {
        let list = list.as_array()?.iter();
        list.map(|s| s.as_str().map(String::from)).collect()
    };
    let number = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
    let mut spectrum = BTreeMap::new();
    for (at, line) in record["entities"].as_array()?.iter().enumerate() {
        let counts = Counts {
            failed: number(&record["ef"][at])?,
            passed: number(&record["ep"][at])?,
            all_failed: number(&record["n_failing"])?,
        };
        spectrum.insert(line.as_str()?.to_string(), counts);
    }
    let mut backtrace = BTreeMap::new();
    for pair in record["other_scores"]["ST"].as_array()? {
        backtrace.insert(pair[0].as_str()?.to_string(), pair[1].as_f64()?);
    }
    Some(Bug {
        project: name.rsplit_once('_').map_or(name, |(p, _)| p).to_string(),
        spectrum,
        backtrace,
        faulty: strings(&truth[name]["faulty"])?,
        faulty_unfailed: strings(&truth[name]["faulty_in_ef0"])?.len(),
        covered_unfailed: record["n_covered_ef0"].as_f64()?,
        lines: record["n_lines_project"].as_f64()?,
    })
}
