//! Measures the leak judge beside plain Mann-Kendall on labelled series.
//!
//! `cargo run --release -p cohort-analyzer --example leak -- FOLDER`, where `FOLDER/series.jsonl.gz`
//! holds one JSON object a line: `machine`, `leak` (0 or 1), `kind`, `values`.
//! Thresholds are the built-in ones (nothing is fitted here), the best one in hindsight, and the one
//! that is best on one half of the machines applied to the other half. The later half of the file is
//! also shown by itself.
#![expect(
    clippy::disallowed_types,
    reason = "an evaluation program reads its data from a file"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use cohort_analyzer::leak::{Rule, judge};
use flate2::read::GzDecoder;

struct Series {
    machine: String,
    kind: String,
    leak: bool,
    values: Vec<f64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os()
        .nth(1)
        .ok_or("usage: leak FOLDER (with series.jsonl.gz)")?;
    let all = read(&Path::new(&folder).join("series.jsonl.gz"))?;
    println!(
        "{} series, {} leaks",
        all.len(),
        all.iter().filter(|s| s.leak).count()
    );
    let half = all.len() / 2;
    for (part, of) in [
        ("all", &all[..]),
        ("first half", &all[..half]),
        ("later half", &all[half..]),
    ] {
        println!(
            "{part}\n  {:14} {:>9} {:>9} {:>9} {:>9} {:>7}  right by kind",
            "rule", "F1 fixed", "F1 best", "F1 halves", "accuracy", "AUC"
        );
        for (name, rule) in [("mann-kendall", Rule::Trend), ("trend+shape", Rule::Shape)] {
            compare(name, of, rule);
        }
    }
    Ok(())
}

/// Prints one line of the comparison.
fn compare(name: &str, all: &[Series], rule: Rule) {
    let scored: Vec<(bool, f64)> = all
        .iter()
        .map(|s| (s.leak, judge(&s.values, rule).score))
        .collect();
    let right = scored
        .iter()
        .filter(|(leak, score)| *leak == (*score >= 0.0))
        .count();
    println!(
        "  {name:14} {:9.3} {:9.3} {:9.3} {:9.3} {:7.3}  {}",
        f1(&scored, 0.0),
        f1(&scored, best_threshold(&scored)),
        f1_over_halves(all, &scored),
        right as f64 / all.len() as f64,
        auc(&scored),
        by_kind(all, &scored),
    );
}

fn read(path: &Path) -> Result<Vec<Series>, Box<dyn Error>> {
    let file = File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut all = Vec::new();
    for line in BufReader::new(GzDecoder::new(file)).lines() {
        let row: serde_json::Value = serde_json::from_str(&line?)?;
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let values = row["values"].as_array().ok_or("a row without values")?;
        all.push(Series {
            machine: text("machine"),
            kind: text("kind"),
            leak: row["leak"].as_u64() == Some(1),
            values: values
                .iter()
                .filter_map(serde_json::Value::as_f64)
                .collect(),
        });
    }
    Ok(all)
}

fn f1(scored: &[(bool, f64)], threshold: f64) -> f64 {
    let count = |leak: bool, called: bool| {
        scored
            .iter()
            .filter(|(l, s)| *l == leak && (*s >= threshold) == called)
            .count() as f64
    };
    let hits = 2.0 * count(true, true);
    hits / (hits + count(false, true) + count(true, false)).max(1.0)
}

fn best_threshold(scored: &[(bool, f64)]) -> f64 {
    let better = |a: &f64, b: &f64| f1(scored, *a).total_cmp(&f1(scored, *b));
    scored.iter().map(|s| s.1).max_by(better).unwrap_or(0.0)
}

/// Each half of the machines is judged by the threshold that is best on the other half.
fn f1_over_halves(all: &[Series], scored: &[(bool, f64)]) -> f64 {
    let half = |s: &Series| s.machine.bytes().map(usize::from).sum::<usize>() % 2;
    let mut called = Vec::new();
    for tested in [0, 1] {
        let of = |wanted: usize| -> Vec<(bool, f64)> {
            all.iter()
                .zip(scored)
                .filter(|(s, _)| half(s) == wanted)
                .map(|(_, s)| *s)
                .collect()
        };
        let threshold = best_threshold(&of(1 - tested));
        called.extend(
            of(tested)
                .iter()
                .map(|(leak, score)| (*leak, score - threshold)),
        );
    }
    f1(&called, 0.0)
}

fn auc(scored: &[(bool, f64)]) -> f64 {
    let (mut won, mut pairs) = (0.0, 0.0_f64);
    for (_, leak) in scored.iter().filter(|s| s.0) {
        for (_, none) in scored.iter().filter(|s| !s.0) {
            pairs += 1.0;
            won += if leak > none {
                1.0
            } else if leak < none {
                0.0
            } else {
                0.5
            };
        }
    }
    won / pairs.max(1.0)
}

fn by_kind(all: &[Series], scored: &[(bool, f64)]) -> String {
    let mut kinds: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (series, (leak, score)) in all.iter().zip(scored) {
        let entry = kinds.entry(&series.kind).or_default();
        entry.0 += usize::from(*leak == (*score >= 0.0));
        entry.1 += 1;
    }
    kinds
        .iter()
        .map(|(kind, (right, of))| format!("{kind} {right}/{of}"))
        .collect::<Vec<_>>()
        .join(", ")
}
