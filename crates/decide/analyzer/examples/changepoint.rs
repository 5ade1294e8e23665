//! Measures change points beside AMOC and binary segmentation on annotated series.
//!
//! `cargo run --release -p cohort-analyzer --example changepoint -- FOLDER`, where `FOLDER` holds
//! `annotations.json` (series -> annotator -> indices) and one `NAME.json` a series, as the Turing
//! Change Point Dataset has them. F1 with a margin of 5 and cover, as its authors define them.
//! The baselines have the defaults of R's `changepoint`: the MBIC penalty (Zhang and Siegmund
//! 2007), at most one change, or at most five by binary segmentation; of the mean with variance
//! one after standardizing, or of mean and variance.
#![expect(
    clippy::disallowed_methods,
    reason = "an evaluation program reads its data from files"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;

use cohort_analyzer::changepoint::changes;

type Annotations = BTreeMap<String, Vec<usize>>;

const MARGIN: usize = 5;

struct Series {
    name: String,
    values: Vec<f64>,
    annotations: Annotations,
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os()
        .nth(1)
        .ok_or("usage: changepoint FOLDER (with annotations.json)")?;
    let all = read(Path::new(&folder))?;
    type Method = (&'static str, fn(&[f64]) -> Vec<usize>);
    let methods: [Method; 6] = [
        ("zero", |_| Vec::new()),
        ("amoc mean", |x| segment(x, mean_cost, 1)),
        ("amoc mean+var", |x| segment(x, normal_cost, 1)),
        ("binseg mean", |x| segment(x, mean_cost, 5)),
        ("binseg mean+var", |x| segment(x, normal_cost, 5)),
        ("cohort", changes),
    ];
    println!(
        "{} series\n{:16} {:>7} {:>7}",
        all.len(),
        "method",
        "F1",
        "cover"
    );
    for (name, method) in methods {
        let (mut f1_sum, mut cover_sum) = (0.0, 0.0);
        for series in &all {
            let found = method(&series.values);
            f1_sum += f1(&series.annotations, &found);
            cover_sum += cover(&series.annotations, &found, series.values.len());
        }
        let n = all.len().max(1) as f64;
        println!("{name:16} {:7.4} {:7.4}", f1_sum / n, cover_sum / n);
    }
    println!("cohort, one by one");
    for series in &all {
        let found = changes(&series.values);
        println!(
            "  {:20} {:7.4} {:7.4}  {found:?}",
            series.name,
            f1(&series.annotations, &found),
            cover(&series.annotations, &found, series.values.len())
        );
    }
    Ok(())
}

/// Series of one value a time, standardized; missing values by interpolation.
fn read(folder: &Path) -> Result<Vec<Series>, Box<dyn Error>> {
    let text = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))
    };
    let annotations: BTreeMap<String, Annotations> =
        serde_json::from_str(&text("annotations.json")?)?;
    let mut all = Vec::new();
    for (name, annotations) in annotations {
        let file: serde_json::Value = serde_json::from_str(&text(&format!("{name}.json"))?)?;
        if file["n_dim"].as_u64() != Some(1) {
            continue;
        }
        let raw: Vec<Option<f64>> = file["series"][0]
            .as_array()
            .ok_or("a file without a series")?
            .iter()
            .map(serde_json::Value::as_f64)
            .collect();
        all.push(Series {
            name,
            values: standardized(&interpolated(&raw)),
            annotations,
        });
    }
    Ok(all)
}

fn interpolated(raw: &[Option<f64>]) -> Vec<f64> {
    let known = |at: usize| raw[at].map(|v| (at, v));
    (0..raw.len())
        .map(|at| {
            let before = (0..=at).rev().find_map(known);
            let after = (at..raw.len()).find_map(known);
            match (before, after) {
                (Some((a, x)), Some((b, y))) if b > a => {
                    x + (y - x) * (at - a) as f64 / (b - a) as f64
                }
                (Some((_, x)), _) | (None, Some((_, x))) => x,
                (None, None) => 0.0,
            }
        })
        .collect()
}

fn standardized(values: &[f64]) -> Vec<f64> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    let deviation = if deviation > 0.0 { deviation } else { 1.0 };
    values.iter().map(|v| (v - mean) / deviation).collect()
}

/// Twice the negative log likelihood of a piece with its own mean, and variance one.
fn mean_cost(piece: &[f64]) -> f64 {
    let mean = piece.iter().sum::<f64>() / piece.len() as f64;
    piece.iter().map(|v| (v - mean).powi(2)).sum()
}

/// The same with its own mean and variance.
fn normal_cost(piece: &[f64]) -> f64 {
    let n = piece.len() as f64;
    let variance = (mean_cost(piece) / n).max(1e-9);
    n * ((std::f64::consts::TAU * variance).ln() + 1.0)
}

/// Binary segmentation with the MBIC penalty; `most` of one is AMOC.
fn segment(values: &[f64], cost: fn(&[f64]) -> f64, most: usize) -> Vec<usize> {
    let penalty = 3.0 * (values.len() as f64).ln();
    let mut starts = BTreeSet::from([0, values.len()]);
    while starts.len() < most + 2 {
        let bounds: Vec<usize> = starts.iter().copied().collect();
        let mut best = (0.0, 0);
        for (from, to) in bounds.iter().zip(&bounds[1..]) {
            let whole = cost(&values[*from..*to]) + ((to - from) as f64).ln();
            for at in from + 2..(to + 1).saturating_sub(2) {
                let lengths = ((at - from) as f64).ln() + ((to - at) as f64).ln();
                let parts = cost(&values[*from..at]) + cost(&values[at..*to]) + lengths;
                let gain = whole - parts - penalty;
                if gain > best.0 {
                    best = (gain, at);
                }
            }
        }
        if best.0 <= 0.0 {
            break;
        }
        starts.insert(best.1);
    }
    starts
        .into_iter()
        .filter(|at| *at > 0 && *at < values.len())
        .collect()
}

/// How many of `wanted` are met, each by another of `found`.
fn met(wanted: &BTreeSet<usize>, found: &BTreeSet<usize>) -> f64 {
    let mut left = found.clone();
    let mut count = 0.0;
    for at in wanted {
        let nearest = left
            .iter()
            .copied()
            .filter(|f| f.abs_diff(*at) <= MARGIN)
            .min_by_key(|f| (f.abs_diff(*at), *f));
        if let Some(nearest) = nearest {
            left.remove(&nearest);
            count += 1.0;
        }
    }
    count
}

fn f1(annotations: &Annotations, found: &[usize]) -> f64 {
    let with_start =
        |places: &[usize]| -> BTreeSet<usize> { places.iter().copied().chain([0]).collect() };
    let found = with_start(found);
    let union: BTreeSet<usize> = annotations.values().flat_map(|a| with_start(a)).collect();
    let precision = met(&union, &found) / found.len() as f64;
    let recall = annotations
        .values()
        .map(|a| met(&with_start(a), &found) / with_start(a).len() as f64)
        .sum::<f64>()
        / annotations.len() as f64;
    2.0 * precision * recall / (precision + recall)
}

fn parts(places: &[usize], n: usize) -> Vec<(usize, usize)> {
    let bounds: BTreeSet<usize> = places
        .iter()
        .copied()
        .filter(|at| *at > 0 && *at < n)
        .chain([0, n])
        .collect();
    let bounds: Vec<usize> = bounds.into_iter().collect();
    bounds.windows(2).map(|w| (w[0], w[1])).collect()
}

fn cover(annotations: &Annotations, found: &[usize], n: usize) -> f64 {
    let found = parts(found, n);
    let overlap = |(a, b): (usize, usize), (c, d): (usize, usize)| {
        let shared = b.min(d).saturating_sub(a.max(c)) as f64;
        shared / ((b - a + d - c) as f64 - shared)
    };
    let of_one = |places: &Vec<usize>| {
        parts(places, n)
            .into_iter()
            .map(|part| {
                let best = found.iter().map(|f| overlap(part, *f)).fold(0.0, f64::max);
                (part.1 - part.0) as f64 * best
            })
            .sum::<f64>()
            / n as f64
    };
    annotations.values().map(of_one).sum::<f64>() / annotations.len() as f64
}
