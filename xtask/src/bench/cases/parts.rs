//! Rows about parts: localization, fingerprints, latency, disturbance.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::super::row::{Row, Target};
use super::Bench;
use super::bugs::Bug;
use super::campaign::{self, Campaign, Seen};
use crate::error::Error;
use crate::run;

/// Measures one row.
type Measure = fn(&Bench) -> Result<Vec<Row>, Error>;

pub(super) const PARTS: [(&str, Measure); 6] = [
    ("localize", localize),
    ("fingerprints", fingerprints),
    ("detect", detect),
    ("disturb", disturb),
    ("matrix", super::matrix::measure),
    ("orders", super::orders::compare),
];

/// Share of deterministic bugs whose statement is among the first lines.
const LOCALIZED: f64 = 0.60;
/// Enough for every case to be tried once.
const SHORT: Duration = Duration::from_secs(3);
/// How many lines a person reads.
const LINES: usize = 5;
/// From detection to the first try.
const DETECT_P99_MS: f64 = 20.0;
/// Slowdown of a computing test by disturbance.
const DISTURB: f64 = 1.3;

/// A campaign on the module of a bug that always fails, with the passing tests beside it.
fn campaign(
    bench: &Bench,
    bug: &Bug,
    tests: Vec<String>,
    within: Duration,
    kept: &str,
) -> Result<Seen, Error> {
    let flags = [
        "--reproduce-for".to_owned(),
        format!("{}s", within.as_secs()),
    ];
    campaign::run(&Campaign {
        bugs: &bench.bugs,
        bug,
        cohort: &bench.cohort,
        flags: flags.to_vec(),
        tests,
        within,
        kept: bench.work.join("logs").join(kept),
    })
}

/// The file or module that a bug's test is in.
fn module(bug: &Bug) -> String {
    let module = bug.test.split("::").next().unwrap_or_default();
    module.to_owned()
}

fn localize(bench: &Bench) -> Result<Vec<Row>, Error> {
    let (mut found, mut all) = (0_u32, 0_u32);
    for bug in bench.bugs.all.iter().filter(|bug| bug.is_deterministic()) {
        let Some((file, line)) = bench.bugs.fault(bug)? else {
            continue;
        };
        all += 1;
        let kept = format!("{}-localize", bug.name);
        let seen = campaign(bench, bug, vec![module(bug)], bench.options.budget, &kept)?;
        let suspects = seen
            .cases
            .iter()
            .filter_map(|page| page["suspects"].as_array());
        let suspects: Vec<_> = suspects.flatten().collect();
        let place = suspects.iter().position(|suspect| {
            let named = suspect["file"].as_str().unwrap_or_default();
            named.ends_with(&file) && suspect["line"].as_u64() == Some(line as u64)
        });
        found += u32::from(place.is_some_and(|place| place < LINES));
        match place {
            Some(place) => eprintln!(
                "  {}: {file}:{line} is number {} of {}",
                bug.name,
                place + 1,
                suspects.len()
            ),
            None => eprintln!(
                "  {}: {file}:{line} is none of {}",
                bug.name,
                suspects.len()
            ),
        }
    }
    let share = (all > 0).then(|| f64::from(found) / f64::from(all));
    let name = format!("the failing statement in the first {LINES} lines, {all} bugs");
    let share: Vec<f64> = share.into_iter().collect();
    Ok(vec![Row::new(
        name,
        "share",
        &share,
        Target::AtLeast(LOCALIZED),
    )])
}

/// Failures with known groups (`tests/alike.py`): which of them Cohort takes for one bug.
fn fingerprints(bench: &Bench) -> Result<Vec<Row>, Error> {
    let mut bugs = bench.bugs.all.iter();
    let bug = bugs.find(|bug| bug.is_python());
    let bug = bug.ok_or_else(|| Error::Missing("pytest could not be installed".into()))?;
    // Two campaigns: values in messages differ between them.
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for round in 0..2 {
        let seen = campaign(
            bench,
            bug,
            vec!["tests/alike.py".into()],
            SHORT,
            &format!("alike-{round}"),
        )?;
        for page in &seen.cases {
            let test = page["case"]["subject"]["test"].to_string();
            let name = page["tests"][&test].as_str().unwrap_or_default();
            let group = name.rsplit("::").next().unwrap_or_default();
            let fingerprint = page["fingerprint"].as_str().unwrap_or_default();
            let group = group
                .trim_start_matches("test_")
                .split("__")
                .next()
                .unwrap_or_default();
            groups
                .entry(group.to_owned())
                .or_default()
                .push(fingerprint.to_owned());
        }
    }
    if groups.values().flatten().any(String::is_empty) || groups.is_empty() {
        return Err(Error::Missing(
            "`cohort show CASE --json` gives no fingerprint".into(),
        ));
    }
    let (merged, split, pairs_same) = errors(&groups);
    let share = if pairs_same == 0 {
        0.0
    } else {
        f64::from(split) / f64::from(pairs_same)
    };
    Ok(vec![
        Row::new(
            format!(
                "different bugs merged, of {} failures",
                groups.values().flatten().count()
            ),
            "pairs",
            &[f64::from(merged)],
            Target::AtMost(0.0),
        ),
        Row::new(
            format!("the same bug split, of {pairs_same} pairs"),
            "share",
            &[share],
            Target::AtMost(0.05),
        ),
    ])
}

/// Pairs of different groups with one fingerprint, pairs of one group with two, and all pairs of one group.
fn errors(groups: &BTreeMap<String, Vec<String>>) -> (u32, u32, u32) {
    let all: Vec<(&String, &String)> = groups
        .iter()
        .flat_map(|(group, prints)| prints.iter().map(move |print| (group, print)))
        .collect();
    let (mut merged, mut split, mut same) = (0, 0, 0);
    for (at, (group, print)) in all.iter().enumerate() {
        for (other, other_print) in &all[at + 1..] {
            if group == other {
                same += 1;
                split += u32::from(print != other_print);
            } else {
                merged += u32::from(print == other_print);
            }
        }
    }
    (merged, split, same)
}

/// Campaigns in each of which one test fails: how soon that is tried elsewhere while the others run.
fn detect(bench: &Bench) -> Result<Vec<Row>, Error> {
    let mut latencies = Vec::new();
    for bug in bench.bugs.all.iter().filter(|bug| bug.is_deterministic()) {
        for round in 0..bench.options.runs {
            let kept = format!("{}-detect-{round}", bug.name);
            let seen = campaign(bench, bug, vec![module(bug)], SHORT, &kept)?;
            latencies.extend(seen.latencies_ms());
        }
    }
    latencies.sort_by(f64::total_cmp);
    let at = (latencies.len() * 99).div_ceil(100).saturating_sub(1);
    let p99: Vec<f64> = latencies.get(at).copied().into_iter().collect();
    let name = format!(
        "from detection to the first try, p99 of {}",
        latencies.len()
    );
    let mut row = Row::new(name, "ms", &p99, Target::AtMost(DETECT_P99_MS));
    row.low = latencies.first().copied();
    row.high = latencies.last().copied();
    Ok(vec![row])
}

/// A program that computes for about half a second on two CPUs, with and without disturbance.
fn disturb(bench: &Bench) -> Result<Vec<Row>, Error> {
    let program = bench.work.join("compute");
    compile(&program.with_extension("c"), &program)?;
    let order = bench.work.join("disturb.json");
    let mut rounds = Vec::new();
    for round in 0..bench.options.runs.max(5) {
        let plain_s = timed(bench, &order, "[]", &program)?;
        let conditions = format!("[{{\"condition\": \"schedule\", \"seed\": {round}}}]");
        let disturbed_s = timed(bench, &order, &conditions, &program)?;
        rounds.push(disturbed_s / plain_s);
    }
    let name = "a computing program under scheduling disturbance, against without";
    Ok(vec![Row::new(
        name,
        "ratio",
        &rounds,
        Target::AtMost(DISTURB),
    )])
}

fn timed(
    bench: &Bench,
    order: &std::path::Path,
    conditions: &str,
    program: &std::path::Path,
) -> Result<f64, Error> {
    run::write(order, &format!("{{\"conditions\": {conditions}}}"))?;
    let mut command = Command::new(&bench.cohort);
    command
        .args(["under", "--order"])
        .arg(order)
        .arg("--")
        .arg(program);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let start = Instant::now();
    let status = run::status(&mut command)?;
    let took = start.elapsed();
    if !status.success() || took < Duration::from_millis(100) {
        return Err(Error::Failed {
            command: run::words(&command),
            status,
            output: "it computed nothing".into(),
        });
    }
    Ok(took.as_secs_f64())
}

/// Two threads that compute and now and then take a lock, as a test of a library does.
const COMPUTE: &str = r#"
#include <pthread.h>
#include <stdio.h>
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long sum;
static void *work(void *seed) {
    unsigned long x = (unsigned long)seed, part = 0;
    for (long i = 0; i < 300000000; i++) {
        x = x * 6364136223846793005UL + 1442695040888963407UL;
        part += x >> 33;
        if (i % 1000000 == 0) {
            pthread_mutex_lock(&lock);
            sum += part;
            pthread_mutex_unlock(&lock);
        }
    }
    return 0;
}
int main(void) {
    pthread_t other;
    pthread_create(&other, 0, work, (void *)1);
    work((void *)2);
    pthread_join(other, 0);
    printf("%lu\n", sum);
}
"#;

fn compile(source: &std::path::Path, program: &std::path::Path) -> Result<(), Error> {
    run::write(source, COMPUTE)?;
    let mut command = Command::new("cc");
    command
        .args(["-O1", "-pthread", "-o"])
        .arg(program)
        .arg(source);
    run::output(&mut command).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_and_split_pairs_are_counted() {
        let groups = [("a", vec!["1", "1", "2"]), ("b", vec!["2", "3"])];
        let groups = groups.map(|(group, prints)| {
            let prints = prints.into_iter().map(str::to_owned).collect();
            (group.to_owned(), prints)
        });
        // a: 1-1 whole, 1-2 twice split; b: 2-3 split; 2 of a with 2 of b merged.
        assert_eq!(errors(&BTreeMap::from(groups)), (1, 3, 4));
    }
}
