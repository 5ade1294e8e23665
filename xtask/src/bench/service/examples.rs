//! Rows that a crate's own example measures: judges on recorded data, and hand-offs.

use super::super::row::{Row, Target};
use super::Bench;
use crate::error::Error;
use crate::run;

/// F1 that the judge of leaks is to reach, and the share of alarms on what is none.
const LEAK_F1: f64 = 0.90;
const FALSE_ALARMS: f64 = 0.05;

/// Pause of a thread that is handed over, milliseconds.
const PAUSE_P50_MS: f64 = 1.0;
const PAUSE_P99_MS: f64 = 5.0;

/// How long threads are handed over, in one round: thousands of times.
const HAND_OFF_SECONDS: u32 = 60;

/// What an example of one of the workspace's crates prints.
fn example(package: &str, name: &str, args: &[&str]) -> Result<String, Error> {
    let mut command = run::cargo();
    command.args([
        "run",
        "--release",
        "--quiet",
        "--package",
        package,
        "--example",
        name,
        "--",
    ]);
    run::output(command.args(args))
}

/// Leaks and change points on recorded data, below `--data`.
pub(super) fn judging(bench: &Bench) -> Result<Vec<Row>, Error> {
    let missing = || {
        Error::Missing(
            "name the folder with memleak-semisynthetic and tcpd-changepoint with --data".into(),
        )
    };
    let data = bench.options.data.as_deref().ok_or_else(missing)?;
    let data = std::path::absolute(data).unwrap_or_else(|_| data.to_path_buf());
    let folder = |name: &str| data.join(name).join("dev").to_string_lossy().into_owned();
    let leaks = example(
        "cohort-analyzer",
        "leak",
        &[&folder("memleak-semisynthetic")],
    )?;
    let changes = example(
        "cohort-analyzer",
        "changepoint",
        &[&folder("tcpd-changepoint")],
    )?;
    let mut rows = leak_rows(&leaks);
    rows.extend(change_rows(&changes));
    Ok(rows)
}

/// The table's later half: `rule  F1-fixed ...  kind right/of, kind right/of`.
fn leak_rows(text: &str) -> Vec<Row> {
    let later: Vec<&str> = text
        .lines()
        .skip_while(|line| line.trim() != "later half")
        .collect();
    let line = |rule: &str| {
        later
            .iter()
            .find_map(|line| line.trim().strip_prefix(rule))
            .unwrap_or_default()
    };
    let f1 = |rule: &str| -> Vec<f64> {
        line(rule)
            .split_whitespace()
            .next()
            .and_then(|word| word.parse().ok())
            .into_iter()
            .collect()
    };
    let alarms = |kind: &str| -> Vec<f64> {
        let counts = line("trend+shape").split(kind).nth(1).unwrap_or_default();
        let counts = counts
            .split(',')
            .next()
            .unwrap_or_default()
            .trim()
            .split_once('/');
        let share = counts.and_then(|(right, of)| {
            let (right, of): (f64, f64) = (right.parse().ok()?, of.parse().ok()?);
            Some(1.0 - right / of)
        });
        share.into_iter().collect()
    };
    vec![
        Row::new(
            "memory leaks, later half: F1",
            "F1",
            &f1("trend+shape"),
            Target::AtLeast(LEAK_F1),
        ),
        Row::new(
            "memory leaks, later half: F1 of Mann-Kendall",
            "F1",
            &f1("mann-kendall"),
            Target::None,
        ),
        Row::new(
            "memory leaks: alarms on level shifts",
            "share",
            &alarms("level_shift"),
            Target::AtMost(FALSE_ALARMS),
        ),
        Row::new(
            "memory leaks: alarms on warm-ups",
            "share",
            &alarms("warmup"),
            Target::AtMost(FALSE_ALARMS),
        ),
    ]
}

/// Lines of `method  F1  cover`; the best baseline of each measure is the bound.
fn change_rows(text: &str) -> Vec<Row> {
    let of = |line: &str| -> Option<(f64, f64)> {
        let mut numbers = line.split_whitespace().rev();
        let cover = numbers.next()?.parse().ok()?;
        Some((numbers.next()?.parse().ok()?, cover))
    };
    let methods = |name: &'static str| {
        text.lines()
            .filter(move |line| line.starts_with(name))
            .filter_map(of)
    };
    let own = methods("cohort ").next();
    let peers: Vec<(f64, f64)> = methods("amoc").chain(methods("binseg")).collect();
    let best = |value: fn(&(f64, f64)) -> f64| peers.iter().map(value).fold(0.0, f64::max);
    let row = |measure: &str, value: fn(&(f64, f64)) -> f64| {
        let name =
            format!("change points: {measure}, above the best of AMOC and binary segmentation");
        let values: Vec<f64> = own.iter().map(value).collect();
        Row::new(name, measure, &values, Target::AtLeast(best(value)))
    };
    vec![
        row("F1", |scores| scores.0),
        row("cover", |scores| scores.1),
    ]
}

/// Threads handed over between two agents, a hundred times a second: the agent's own example. It stops
/// with an error when the server did not see each request exactly once.
pub(super) fn handing_over(bench: &Bench) -> Result<Vec<Row>, Error> {
    let mut rounds = Vec::new();
    for _ in 0..bench.options.runs {
        let seconds = HAND_OFF_SECONDS.to_string();
        let text = example("cohort-agent", "handoffs", &["100", &seconds])?;
        text.lines().for_each(|line| eprintln!("  {line}"));
        rounds.push(text);
    }
    Ok(hand_off_rows(&rounds))
}

/// Lines of `N hand-offs of ... (... G given up, D diverged)`, `pause p50 X ms, ..., p99 Y ms, ...` and
/// `R requests, each exactly once ...`.
fn hand_off_rows(rounds: &[String]) -> Vec<Row> {
    let of = |value: fn(&str) -> Option<f64>| -> Vec<f64> {
        rounds.iter().filter_map(|text| value(text)).collect()
    };
    let exactly_once = |text: &str| text.contains("each exactly once").then_some(0.0);
    let per_s = |text: &str| Some(before(text, "hand-offs")? / f64::from(HAND_OFF_SECONDS));
    vec![
        Row::new(
            "hand-off, pause of the thread (p50)",
            "ms",
            &of(|text| after(text, "p50")),
            Target::AtMost(PAUSE_P50_MS),
        ),
        Row::new(
            "hand-off, pause of the thread (p99)",
            "ms",
            &of(|text| after(text, "p99")),
            Target::AtMost(PAUSE_P99_MS),
        ),
        Row::new("hand-offs a second", "1/s", &of(per_s), Target::None),
        Row::new(
            "hand-offs, requests lost or doubled",
            "requests",
            &of(exactly_once),
            Target::AtMost(0.0),
        ),
        Row::new(
            "hand-offs, threads that diverged",
            "threads",
            &of(|text| before(text, "diverged")),
            Target::AtMost(0.0),
        ),
    ]
}

/// What Cohort's agent reaches alone, by the agent's own example: requests for each CPU second, and
/// memory of a thread that waits, MB.
pub(super) fn agent_alone(threads: u32) -> Result<(f64, f64), Error> {
    let text = example("cohort-agent", "throughput", &[&threads.to_string(), "5"])?;
    let per_core = before(&text, "requests/s and core");
    let mb = after(&text, "memory of an idle thread");
    let both = per_core.zip(mb);
    both.ok_or_else(|| Error::Missing("the example `throughput` prints something else".into()))
}

/// The first number after `words`.
fn after(text: &str, words: &str) -> Option<f64> {
    text.split_once(words)?
        .1
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// The number right before `words`.
fn before(text: &str, words: &str) -> Option<f64> {
    text.split_once(words)?
        .0
        .split_whitespace()
        .next_back()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_read() {
        let leaks = "all\n  mann-kendall  0.1\nlater half\n  rule  F1 fixed\n  \
                     mann-kendall   0.851     0.8  level_shift 1/6, warmup 1/8\n  \
                     trend+shape    0.977     0.9  level_shift 6/6, none 5/5, warmup 7/8\n";
        let rows = leak_rows(leaks);
        assert_eq!(
            rows.iter().map(|row| row.value).collect::<Vec<_>>(),
            [Some(0.977), Some(0.851), Some(0.0), Some(0.125)]
        );
        assert_eq!(rows[3].holds, Some(false));

        let changes = "3 series\nmethod F1 cover\nzero 0.66 0.58\namoc mean 0.70 0.69\nbinseg mean+var 0.74 0.60\ncohort 0.80 0.65\ncohort, one by one\n";
        let rows = change_rows(changes);
        assert_eq!(
            (rows[0].value, rows[0].target, rows[0].holds),
            (Some(0.80), Some(0.74), Some(true))
        );
        assert_eq!((rows[1].target, rows[1].holds), (Some(0.69), Some(false)));

        let handed = "5988 hand-offs of 50 threads (2 were still under way, 0 given up, 0 diverged)\n\
                      pause p50 0.412 ms, p90 0.9 ms, p99 2.500 ms, max 4.0 ms\n\
                      9000 requests, each exactly once and in order; driver's own lag p99 at most 90 us\n";
        let rows = hand_off_rows(&[handed.into()]);
        let values = rows.iter().map(|row| row.value);
        assert_eq!(
            values.collect::<Vec<_>>(),
            [Some(0.412), Some(2.5), Some(99.8), Some(0.0), Some(0.0)]
        );

        // A table that changed its form gives rows that do not hold.
        assert!(leak_rows("").iter().all(|row| row.holds != Some(true)));
        let nothing = hand_off_rows(&[String::new()]);
        assert!(nothing.iter().all(|row| row.holds != Some(true)));
    }
}
