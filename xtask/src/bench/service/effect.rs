//! What specializing is good for, under `--policy adaptive` and under `--policy static`, in pairs with the
//! same budget and seed: the shop with a defect (what gets done, and when it is found), and a healthy
//! server whose two kinds of visitors are in each other's way (`xtask/peers/crowded`). Reported whichever
//! way it falls.

use std::path::Path;
use std::time::Duration;

use super::super::row::{Row, Target};
use super::Bench;
use super::campaign::{Campaign, Seen};
use super::planted::{PLANTED, Planted, UNFOUND_S};
use crate::error::Error;
use crate::run;

/// Beginning with another one each round.
const POLICIES: [&str; 2] = ["adaptive", "static"];

/// How long the campaign on the crowded server takes.
const CROWDED: Duration = Duration::from_secs(60);

/// One number of each campaign, by policy.
#[derive(Default)]
struct Pairs([Vec<f64>; 2]);

impl Pairs {
    /// The ratio of each pair, then the numbers.
    fn rows(&self, what: &str, unit: &'static str) -> Vec<Row> {
        let [own, peer] = &self.0;
        let pairs = own.iter().zip(peer).filter(|(_, peer)| **peer > 0.0);
        let ratios: Vec<f64> = pairs.map(|(own, peer)| own / peer).collect();
        let name = format!("{what}, adaptive / static");
        let mut rows = vec![Row::new(name, "ratio", &ratios, Target::None)];
        for (policy, numbers) in POLICIES.iter().zip(&self.0) {
            let name = format!("{what}, {policy}");
            rows.push(Row::new(name, unit, numbers, Target::None));
        }
        rows
    }
}

/// The shop with a defect, another one each round: what is found late can be found sooner.
pub(super) fn rows(bench: &Bench) -> Result<Vec<Row>, Error> {
    let cohort = bench.cohort()?;
    let (mut iterations, mut after_s) = (Pairs::default(), Pairs::default());
    each_policy(bench, |round, at, flags| {
        let planted = &PLANTED[round % PLANTED.len()];
        let seen = planted.campaign(bench, &cohort, flags)?;
        let found_s = found_s(planted, &seen);
        iterations.0[at].push(seen.iterations as f64);
        after_s.0[at].push(found_s.unwrap_or(UNFOUND_S));
        let found = found_s.map_or("not found".into(), |s| format!("found after {s:.1} s"));
        let (name, policy) = (planted.name, POLICIES[at]);
        eprintln!(
            "  {name:<16} {policy:<9} {:>6} iterations, {found}",
            seen.iterations
        );
        Ok(())
    })?;
    let mut rows = iterations.rows("iterations finished, shop", "iterations");
    rows.extend(after_s.rows("time to find, shop", "s"));
    Ok(rows)
}

/// The crowded server.
pub(super) fn crowded(bench: &Bench) -> Result<Vec<Row>, Error> {
    let cohort = bench.cohort()?;
    let project = bench.work.join("crowded");
    write_crowded(&project)?;
    let mut iterations = Pairs::default();
    each_policy(bench, |_, at, flags| {
        let campaign = Campaign {
            project: &project,
            flags: flags.iter().map(|flag| (*flag).to_string()).collect(),
            lasts: CROWDED,
            logs: bench
                .work
                .join("logs")
                .join(format!("crowded-{}", POLICIES[at])),
        };
        let seen = campaign.run(&cohort)?;
        eprintln!("  {:<9} {:>6} iterations", POLICIES[at], seen.iterations);
        iterations.0[at].push(seen.iterations as f64);
        Ok(())
    })?;
    Ok(iterations.rows("iterations finished, crowded server", "iterations"))
}

/// Calls `campaign` with the round, the place of the policy, and its flags.
fn each_policy(
    bench: &Bench,
    mut campaign: impl FnMut(usize, usize, &[&str]) -> Result<(), Error>,
) -> Result<(), Error> {
    for round in 0..bench.options.runs {
        let seed = (round + 1).to_string();
        for turn in 0..POLICIES.len() {
            let at = (turn + round) % POLICIES.len();
            campaign(round, at, &["--policy", POLICIES[at], "--seed", &seed])?;
        }
    }
    Ok(())
}

fn found_s(planted: &Planted, seen: &Seen) -> Option<f64> {
    planted.first_right(seen).map(|(_, after_s)| after_s)
}

fn write_crowded(project: &Path) -> Result<(), Error> {
    let own = run::root().join("xtask/peers/crowded");
    for file in ["server.py", "load.js"] {
        run::write(&project.join(file), &run::read(&own.join(file))?)?;
    }
    let server = project.join("server.py");
    let server = std::path::absolute(&server).unwrap_or(server);
    let toml = format!(
        "[sut]\ncommand = [\"python3\", {server:?}, \"{{port}}\"]\nready = {{ tcp = true }}\n\n\
         [scenario]\nscript = \"load.js\"\nbase_url = \"http://localhost:8080\"\nenv = {{ DURATION = \"{}s\" }}\n",
        CROWDED.as_secs()
    );
    run::write(&project.join("cohort.toml"), &toml)
}
