//! `cargo xtask bench fuzz`: how soon the parsing crash planted in `examples/shop` is found from recorded traffic that does not
//! provoke it. Cohort in a campaign with `--fuzz`, from the first thread on, so recording is part of it; radamsa on the same requests,
//! one of a visit changed, sent by four clients that keep their cookies. Each round is another seed. What was not found in the time that
//! there is counts as all of it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::row::{Row, Target};
use super::service::process::Running;
use super::{Options, Told, cohort};
use crate::error::Error;
use crate::{run, test};

/// How long one round looks, seconds, and how many of ten are to find it.
const BUDGET_S: f64 = 60.0;
const SHARE: f64 = 0.9;
/// For a server to begin, and for a campaign to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at what was found.
const LOOK: Duration = Duration::from_millis(200);
/// Where radamsa is had from: bindings with the program's own code in them.
const RADAMSA: &str = "pyradamsa==0.1.1";
/// In the script of the shop: coupons, one of which provokes the crash by itself.
const COUPONS: [&str; 2] = [
    "return Math.random() < 0.008 ? 'CAFÉ15' : anyOf(coupons);",
    "return anyOf(coupons);",
];

/// Runs it.
pub(super) fn fuzz(options: &Options) -> Result<ExitCode, Error> {
    let contenders: [(&str, Find); 2] = [("Cohort", with_cohort), ("radamsa", with_radamsa)];
    let wanted: Vec<&(&str, Find)> = contenders
        .iter()
        .filter(|(name, _)| options.wants(name))
        .collect();
    if options.list {
        contenders.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(ExitCode::SUCCESS);
    }
    let work = run::target_dir().join("bench/fuzz");
    let work = std::path::absolute(&work).unwrap_or(work);
    let bench = Bench {
        cohort: cohort(options.cohort.as_deref())?,
        shop: shop()?,
        work,
    };
    let mut told = Told::new("fuzz", options.json);
    let mut found: Vec<(&str, Vec<f64>)> =
        wanted.iter().map(|(name, _)| (*name, Vec::new())).collect();
    // One after the other in each round: what the host does meanwhile is shared fairly.
    for round in 0..options.runs {
        for ((name, find), (_, took)) in wanted.iter().zip(&mut found) {
            let seconds = find(&bench, round as u64 + 1)?;
            eprintln!("  {name:<8} {}", words(seconds));
            took.push(seconds.unwrap_or(BUDGET_S));
        }
    }
    for (name, took) in &found {
        told.group(name, Ok(rows(name, took)))?;
    }
    Ok(told.end())
}

/// How long it took to find it with a seed, seconds.
type Find = fn(&Bench, u64) -> Result<Option<f64>, Error>;

struct Bench {
    cohort: PathBuf,
    shop: PathBuf,
    work: PathBuf,
}

fn words(seconds: Option<f64>) -> String {
    seconds.map_or("     -    not found".to_owned(), |s| format!("{s:>6.1} s"))
}

fn rows(name: &str, took: &[f64]) -> Vec<Row> {
    let found = took.iter().filter(|seconds| **seconds < BUDGET_S).count() as f64;
    let (is_found, is_soon) = match name {
        "Cohort" => (Target::AtLeast(SHARE), Target::AtMost(BUDGET_S)),
        _ => (Target::None, Target::None),
    };
    vec![
        Row::new(
            format!("the shop's parsing crash, {name}: rounds that found it"),
            "share",
            &[found / took.len().max(1) as f64],
            is_found,
        ),
        Row::new(
            format!("the shop's parsing crash, {name}: until it was found"),
            "s",
            took,
            is_soon,
        ),
    ]
}

fn shop() -> Result<PathBuf, Error> {
    let build = ["build", "--release", "--quiet", "--package", "shop"];
    run::output(run::cargo().args(build))?;
    let shop = run::target_dir().join("release/shop");
    Ok(std::path::absolute(&shop).unwrap_or(shop))
}

fn with_cohort(bench: &Bench, seed: u64) -> Result<Option<f64>, Error> {
    let project = bench.work.join("project");
    run::remove_dir(&project)?;
    let example = run::root().join("examples/shop");
    let script = run::read(&example.join("load.js"))?;
    let script = script.replace(COUPONS[0], COUPONS[1]);
    run::write(&project.join("load.js"), &script)?;
    let visitors = run::read(&example.join("visitors.json"))?;
    run::write(&project.join("visitors.json"), &visitors)?;
    let toml = format!(
        "[sut]\ncommand = [{:?}, \"--port\", \"{{port}}\", \"--data\", \"{{scratch}}\"]\n\
         ready = {{ http = \"/health\" }}\nenv = {{ SHOP_DEFECTS = \"crash\" }}\n\n\
         [scenario]\nscript = \"load.js\"\nbase_url = \"http://localhost:8080\"\nenv = {{ DURATION = \"{BUDGET_S}s\" }}\n",
        bench.shop
    );
    run::write(&project.join("cohort.toml"), &toml)?;
    let events = bench.work.join("events.jsonl");
    run::write(&events, "")?;
    let mut command = Command::new(&bench.cohort);
    command.current_dir(&project).args([
        "run".to_owned(),
        "--seed".to_owned(),
        seed.to_string(),
        "--fuzz".to_owned(),
        format!("{BUDGET_S}s"),
        "--events".to_owned(),
        events.display().to_string(),
    ]);
    let mut campaign = Running::start(command, &bench.work.join("logs").join("cohort"))?;
    let begun = Instant::now();
    let most = Duration::from_secs_f64(BUDGET_S) + PATIENCE;
    while campaign.is_running() && begun.elapsed() < most {
        std::thread::sleep(LOOK);
        if let Some(seconds) = found_after(&events)? {
            campaign.end();
            return Ok(Some(seconds).filter(|seconds| *seconds <= BUDGET_S));
        }
    }
    campaign.end();
    Ok(found_after(&events)?.filter(|seconds| *seconds <= BUDGET_S))
}

/// From the first thread to what was found at the checkout, seconds.
fn found_after(events: &Path) -> Result<Option<f64>, Error> {
    let text = run::read(events)?;
    let mut began = None;
    for line in text.lines() {
        let interesting = line.contains("fuzz_found") || line.contains("thread_placed");
        if !interesting || (began.is_some() && !line.contains("fuzz_found")) {
            continue;
        }
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let at_us = event["at"].as_f64();
        if line.contains("thread_placed") {
            began = began.or(at_us);
        }
        let seen = event["seen"].as_array().into_iter().flatten();
        let mut found = seen.filter(|one| {
            one["seen"] == "fuzz_found"
                && one["endpoint"] == "POST /checkout"
                && one["end"].is_object()
        });
        if let (Some(began), Some(at_us), Some(_)) = (began, at_us, found.next()) {
            return Ok(Some((at_us - began) / 1e6));
        }
    }
    Ok(None)
}

fn with_radamsa(bench: &Bench, seed: u64) -> Result<Option<f64>, Error> {
    let python = test::environment(&bench.work.join("radamsa"), &[RADAMSA])?;
    let data = bench.work.join("data");
    run::remove_dir(&data)?;
    run::make_dir(&data)?;
    let port = free_port()?;
    let mut shop = Command::new(&bench.shop);
    shop.args(["--port", &port.to_string(), "--data"])
        .arg(&data)
        .env("SHOP_DEFECTS", "crash");
    let mut shop = Running::start(shop, &bench.work.join("logs").join("shop"))?;
    shop.until("listening", PATIENCE, |shop| {
        shop.said().contains("listening on").then_some(())
    })?;
    let peer = run::root().join("xtask/peers/fuzz");
    let told = run::output(
        Command::new(python)
            .arg(peer.join("radamsa.py"))
            .arg(peer.join("visits.json"))
            .args([port.to_string(), seed.to_string(), BUDGET_S.to_string()]),
    )?;
    shop.end();
    let first = told.split_whitespace().next().unwrap_or_default();
    Ok(first.parse().ok())
}

/// A port that nobody listens on now.
fn free_port() -> Result<u16, Error> {
    let failed = |source| Error::Start {
        program: "a listener".into(),
        source,
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    Ok(listener.local_addr().map_err(failed)?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_without_the_coupon_is_another_one() {
        let script = run::read(&run::root().join("examples/shop/load.js")).expect("it is there");
        assert!(script.contains(COUPONS[0]));
        assert!(!script.replace(COUPONS[0], COUPONS[1]).contains("CAFÉ"));
    }

    #[test]
    fn the_time_of_the_first_find_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let events = folder.path().join("events");
        let text = concat!(
            r#"{"record":"service_seen","at":2000000,"seen":[{"seen":"thread_placed","thread":0}]}"#,
            "\n",
            r#"{"record":"service_seen","at":5000000,"seen":[{"seen":"fuzz_found","endpoint":"GET /x","end":{}}]}"#,
            "\n",
            r#"{"record":"service_seen","at":9000000,"seen":[{"seen":"fuzz_found","endpoint":"POST /checkout","end":{}}]}"#,
        );
        run::write(&events, text).expect("it is written");
        assert_eq!(found_after(&events).expect("it is read"), Some(7.0));
    }
}
