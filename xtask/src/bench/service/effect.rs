//! What specializing is good for: the same shop with the same defect, budget and seed, under
//! `--policy adaptive` and under `--policy static`, in pairs. Reported whichever way it falls.

use super::super::row::{Row, Target};
use super::Bench;
use super::planted::{PLANTED, UNFOUND_S};
use crate::error::Error;

/// Beginning with another one each round.
const POLICIES: [&str; 2] = ["adaptive", "static"];

pub(super) fn rows(bench: &Bench) -> Result<Vec<Row>, Error> {
    let cohort = bench.cohort()?;
    let mut iterations = [Vec::new(), Vec::new()];
    let mut after_s = [Vec::new(), Vec::new()];
    for round in 0..bench.options.runs {
        // Another defect each round: what is found late can be found sooner.
        let planted = &PLANTED[round % PLANTED.len()];
        let seed = (round + 1).to_string();
        for turn in 0..POLICIES.len() {
            let at = (turn + round) % POLICIES.len();
            let flags = ["--policy", POLICIES[at], "--seed", &seed];
            let seen = planted.campaign(bench, &cohort, &flags)?;
            let found_s = planted.first_right(&seen).map(|(_, after_s)| after_s);
            eprintln!(
                "  {:<16} {:<9} {:>6} iterations, {}",
                planted.name,
                POLICIES[at],
                seen.iterations,
                found_s.map_or("not found".into(), |found_s| format!(
                    "found after {found_s:.1} s"
                ))
            );
            iterations[at].push(seen.iterations as f64);
            after_s[at].push(found_s.unwrap_or(UNFOUND_S));
        }
    }
    let ratios = |of: &[Vec<f64>; 2]| -> Vec<f64> {
        of[0]
            .iter()
            .zip(&of[1])
            .filter(|(_, peer)| **peer > 0.0)
            .map(|(own, peer)| own / peer)
            .collect()
    };
    let mut rows = vec![
        Row::new(
            "iterations finished, adaptive / static",
            "ratio",
            &ratios(&iterations),
            Target::None,
        ),
        Row::new(
            "time to find, adaptive / static",
            "ratio",
            &ratios(&after_s),
            Target::None,
        ),
    ];
    for (at, policy) in POLICIES.iter().enumerate() {
        rows.push(Row::new(
            format!("iterations finished, {policy}"),
            "iterations",
            &iterations[at],
            Target::None,
        ));
        rows.push(Row::new(
            format!("time to find, {policy}"),
            "s",
            &after_s[at],
            Target::None,
        ));
    }
    Ok(rows)
}
