//! Helpers: whether they name the guilty function of the defects planted in `examples/shop`, how soon they are there, and what
//! they cost the server that they look at.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::row::{Row, Target, median};
use super::Bench;
use super::campaign::{self, Campaign};
use super::process::Running;
use crate::error::Error;
use crate::run;

const AFTER: Duration = Duration::from_secs(15);
const LASTS: Duration = Duration::from_secs(75);

/// A defect, and names of functions of which one is guilty.
const GUILTY: [(&str, &[&str]); 5] = [
    ("memory-leak", &["ranked", "ranking", "recommend"]),
    ("descriptor-leak", &["Receipts::write", "receipts.rs"]),
    ("cpu-blowup", &["tries_everything"]),
    ("lock-across-io", &["checkout"]),
    ("deadlock", &["Carts::forget", "Carts::change", "cart.rs"]),
];

/// Each defect in a campaign of its own.
pub(super) fn named(bench: &Bench) -> Result<Vec<Row>, Error> {
    let cohort = bench.cohort()?;
    let project = bench.work.join("helpers");
    let mut right = 0;
    let mut until_ms = Vec::new();
    for (defect, guilty) in GUILTY {
        campaign::write_shop(&project, defect, AFTER, LASTS)?;
        let logs = bench.work.join("logs").join(format!("helpers-{defect}"));
        let campaign = Campaign {
            project: &project,
            flags: vec!["--seed".to_owned(), "1".to_owned()],
            lasts: LASTS,
            logs: logs.clone(),
        };
        campaign.run(&cohort)?;
        let seen = Seen::read(&run::read(&logs.with_extension("jsonl"))?);
        until_ms.extend(&seen.until_ms);
        let names = seen
            .told
            .iter()
            .find(|told| guilty.iter().any(|it| told.contains(it)));
        match names {
            Some(told) => {
                right += 1;
                eprintln!("  {defect:<16} {told}");
            }
            None => eprintln!("  {defect:<16} not named; told: {:?}", seen.told),
        }
    }
    until_ms.sort_by(f64::total_cmp);
    // With few deployments this is the longest.
    let p99 = until_ms.get(until_ms.len().saturating_sub(1) * 99 / 100);
    let p99: Vec<f64> = p99.into_iter().copied().collect();
    Ok(vec![
        Row::new(
            "guilty function named by a helper, of 5",
            "defects",
            &[f64::from(right)],
            Target::AtLeast(5.0),
        ),
        Row::new(
            format!("from finding to helper running, p99 of {}", until_ms.len()),
            "ms",
            &p99,
            Target::AtMost(2000.0),
        ),
    ])
}

/// What a record says of helpers.
#[derive(Debug, Default)]
struct Seen {
    /// Sentences.
    told: Vec<String>,
    /// From a finding to the first helper that runs for it, milliseconds.
    until_ms: Vec<f64>,
}

impl Seen {
    fn read(events: &str) -> Self {
        let mut seen = Self::default();
        let mut found_at: Vec<(u64, f64)> = Vec::new();
        let mut waiting: Vec<(u64, f64)> = Vec::new();
        let records = events
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        for record in records {
            let at = record["at"].as_f64().unwrap_or(0.0) / 1e3;
            let all = |name: &str| record[name].as_array().cloned().unwrap_or_default();
            for finding in all("findings") {
                let number = finding["number"].as_u64().unwrap_or(u64::MAX);
                if found_at.iter().all(|(had, _)| *had != number) {
                    found_at.push((number, at));
                }
                for told in finding["told"].as_array().into_iter().flatten() {
                    let sentence = told["sentence"].as_str().unwrap_or_default().to_owned();
                    if !seen.told.contains(&sentence) {
                        seen.told.push(sentence);
                    }
                }
            }
            for decision in all("decisions") {
                let number = decision["finding"].as_u64();
                let deployment = decision["deployment"].as_u64();
                let deploys = decision["command"] == "deploy";
                let first = found_at.iter().position(|(had, _)| Some(*had) == number);
                if let (true, Some(first), Some(deployment)) = (deploys, first, deployment) {
                    // The first only: later ones wait for it on purpose.
                    let at = std::mem::replace(&mut found_at[first].1, f64::NAN);
                    waiting.extend((!at.is_nan()).then_some((deployment, at)));
                }
            }
            for one in all("seen") {
                if one["seen"] == "helper_started" {
                    let asked = waiting
                        .iter()
                        .find(|(had, _)| Some(*had) == one["deployment"].as_u64());
                    seen.until_ms.extend(asked.map(|(_, since)| at - since));
                }
            }
        }
        seen
    }
}

/// Latency is measured so long without a helper, and so long with one that looks.
const SPAN: Duration = Duration::from_millis(2500);
/// How long it looks, seconds.
const LOOKS: &str = "4";

/// A helper, rounds with and without it, and the highest factors of p50 and p99 by which calls may take longer.
struct Costly {
    name: &'static str,
    rounds: usize,
    /// By now it looks.
    begun: Duration,
    p50_max: f64,
    p99_max: Option<f64>,
}

const COSTLY: [Costly; 3] = [
    Costly {
        name: "profiler",
        rounds: 8,
        begun: Duration::from_millis(700),
        p50_max: 1.03,
        p99_max: Some(1.1),
    },
    Costly {
        name: "growth",
        rounds: 3,
        begun: Duration::from_millis(700),
        p50_max: 1.15,
        p99_max: None,
    },
    Costly {
        name: "waits",
        rounds: 3,
        // It counts first.
        begun: Duration::from_millis(1700),
        p50_max: 1.15,
        p99_max: None,
    },
];

/// Latency of a healthy shop with a helper over that without, in turn. Takes two minutes.
pub(super) fn costs(bench: &Bench) -> Result<Vec<Row>, Error> {
    let build = ["build", "--release", "--quiet", "--package", "shop"];
    run::output(run::cargo().args(build))?;
    let port = 18_437;
    let data = bench.work.join("helpers-data");
    run::remove_dir(&data)?;
    let mut shop = Command::new(run::target_dir().join("release/shop"));
    shop.args(["--port", &port.to_string(), "--data"])
        .arg(&data);
    let mut shop = Running::start(shop, &bench.work.join("logs/helpers-shop.log"))?;
    shop.until("listening", Duration::from_secs(10), |_| {
        TcpStream::connect(("127.0.0.1", port)).ok()
    })?;
    drive(port, || std::thread::sleep(SPAN));
    let mut rows = Vec::new();
    for it in &COSTLY {
        rows.extend(cost(bench, it, (port, shop.id()))?);
    }
    Ok(rows)
}

/// Each round with the helper is compared with those without it before and after: their geometric mean, so that what drifts is taken out.
fn cost(bench: &Bench, helper: &Costly, (port, pid): (u16, u32)) -> Result<Vec<Row>, Error> {
    let without = || {
        Percentiles::of(
            &drive(port, || std::thread::sleep(SPAN)),
            Duration::ZERO,
            SPAN,
        )
    };
    let (mut p50, mut p99, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    let mut before = without();
    for _ in 0..helper.rounds {
        let out = bench.work.join("helpers-out");
        let command = command(helper.name, pid, &out)?;
        let mut runs = Running::start(command, &bench.work.join("logs/helpers-helper.log"))?;
        let mut ended = Ok(());
        let calls = drive(port, || {
            ended = runs.wait(Duration::from_secs(60)).map(|_| ());
        });
        ended?;
        let after = without();
        let looked = Percentiles::of(&calls, helper.begun, helper.begun + SPAN);
        let visited = Percentiles::of(&calls, Duration::ZERO, Duration::MAX);
        p50.push(looked.p50 / (before.p50 * after.p50).sqrt());
        p99.push(looked.p99 / (before.p99 * after.p99).sqrt());
        whole.push(visited.p50 / (before.p50 * after.p50).sqrt());
        before = after;
    }
    let name = helper.name;
    let p99_max = helper.p99_max.map_or(Target::None, Target::AtMost);
    let rows = [
        ("", "p50", &p50, Target::AtMost(helper.p50_max)),
        ("", "p99", &p99, p99_max),
        (
            ", from its begin until it has read all",
            "p50",
            &whole,
            Target::None,
        ),
    ];
    let rows = rows.into_iter().map(|(when, which, ratios, target)| {
        Row::new(
            format!("latency with the {name}{when}, {which}"),
            "ratio",
            ratios,
            target,
        )
    });
    Ok(rows.collect())
}

/// The command of a helper that is built in, for a little longer than it is measured.
fn command(name: &str, pid: u32, out: &Path) -> Result<Command, Error> {
    run::remove_dir(out)?;
    run::write(&out.join("made"), "")?;
    let helpers = run::root().join("crates/act/helper");
    let text = run::read(&helpers.join(format!("manifests/{name}.toml")))?;
    let manifest: toml::Table = text.parse().unwrap_or_default();
    let words = manifest.get("command").and_then(toml::Value::as_array);
    let mut filled = Vec::new();
    for word in words.into_iter().flatten().filter_map(toml::Value::as_str) {
        let script = word
            .strip_prefix("{script:")
            .and_then(|it| it.strip_suffix('}'));
        filled.push(match script {
            Some(script) => run::read(&helpers.join("scripts").join(script))?,
            None => word
                .replace("{pid}", &pid.to_string())
                .replace("{out}", &out.display().to_string())
                .replace("{seconds}", LOOKS),
        });
    }
    let mut words = filled.into_iter();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    Ok(command)
}

/// A call: when it was made since the first one, and how long it took, microseconds.
type Call = (Duration, f64);

/// Latency, microseconds.
struct Percentiles {
    p50: f64,
    p99: f64,
}

impl Percentiles {
    /// Of the calls that were made in a span of time.
    fn of(calls: &[Call], from: Duration, to: Duration) -> Self {
        let within = calls.iter().filter(|(at, _)| (from..to).contains(at));
        let mut took: Vec<f64> = within.map(|(_, took)| *took).collect();
        took.sort_by(f64::total_cmp);
        let p99 = took.get(took.len().saturating_sub(1) * 99 / 100);
        Self {
            p50: median(&took).unwrap_or(f64::NAN),
            p99: p99.copied().unwrap_or(f64::NAN),
        }
    }
}

/// Two callers, each one call after the other with a millisecond between, for as long as something else takes.
fn drive(port: u16, meanwhile: impl FnOnce()) -> Vec<Call> {
    let begin = Instant::now();
    let over = AtomicBool::new(false);
    let caller = || {
        let mut calls = Vec::new();
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
            return calls;
        };
        let mut answer = [0; 1 << 16];
        while !over.load(Ordering::Relaxed) {
            let asked = Instant::now();
            let sent = stream.write_all(b"GET /search?q=oak HTTP/1.1\r\nHost: shop\r\n\r\n");
            if sent.is_err() || !matches!(stream.read(&mut answer), Ok(1..)) {
                break;
            }
            calls.push((asked - begin, asked.elapsed().as_secs_f64() * 1e6));
            std::thread::sleep(Duration::from_millis(1));
        }
        calls
    };
    std::thread::scope(|scope| {
        let both = [scope.spawn(caller), scope.spawn(caller)];
        meanwhile();
        over.store(true, Ordering::Relaxed);
        let calls = both.into_iter().filter_map(|it| it.join().ok());
        calls.flatten().collect()
    })
}

/// A thousand deployments and withdrawals leave nothing: processes, groups, files.
pub(super) fn visits(_: &Bench) -> Result<Vec<Row>, Error> {
    let mut test = run::cargo();
    test.env("COHORT_TEST_VISITS", "1000").args([
        "test",
        "--quiet",
        "--package",
        "cohort-service",
        "--test",
        "helpers",
        "hundreds_of_visits",
    ]);
    let left = run::output(&mut test).map(|_| 0.0);
    let left = left
        .inspect_err(|error| eprintln!("  {error}"))
        .unwrap_or(1.0);
    Ok(vec![Row::new(
        "left after 1,000 visits of helpers",
        "things",
        &[left],
        Target::AtMost(0.0),
    )])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_tells_how_soon_a_helper_was_there_and_what_it_told() {
        let events = [
            r#"{"record":"service_decided","at":9000000,"findings":[{"number":3}],"decisions":[{"command":"deploy","deployment":7,"because":"found","finding":3}]}"#,
            r#"{"record":"service_seen","at":9040000,"seen":[{"seen":"helper_started","deployment":7}]}"#,
            r#"{"record":"service_decided","at":20000000,"findings":[{"number":3,"told":[{"sentence":"a"}]}],"decisions":[]}"#,
        ];
        let seen = Seen::read(&events.join("\n"));
        assert_eq!(seen.told, ["a"]);
        assert_eq!(seen.until_ms, [40.0]);
    }
}
