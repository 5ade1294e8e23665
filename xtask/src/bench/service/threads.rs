//! What a thread costs that waits, and how late the driver is with many: campaigns on the trivial
//! server, whose agent is looked at from outside.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::super::row::{Row, Target};
use super::process::{self, Running};
use super::trivial;
use super::{Bench, campaign};
use crate::error::Error;

const THREADS: u32 = 2_000;

/// Memory of one that waits, MB.
const BOUND_MB: f64 = 0.5;

/// For all threads to have called once.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long many threads are watched.
const LASTS: Duration = Duration::from_secs(20);

/// Calls once, and waits.
const IDLE_SCRIPT: &str = "\
import http from 'k6/http';
import { sleep } from 'k6';

export default function () {
  http.get('http://localhost/');
  sleep(3600);
}
";

/// Calls about twice a second.
const BUSY_SCRIPT: &str = "\
import http from 'k6/http';
import { sleep } from 'k6';

export default function () {
  http.get('http://localhost/');
  sleep(Math.random());
}
";

pub(super) fn rows(bench: &Bench) -> Result<Vec<Row>, Error> {
    let (cohort, server) = (bench.cohort()?, trivial::peer(&bench.work, "server")?);
    let (mut mb, mut lag_ms, mut per_s) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.options.runs.min(3) {
        let few = idle_bytes(bench, &cohort, &server, 1)?;
        let many = idle_bytes(bench, &cohort, &server, THREADS)?;
        mb.push((many - few) / f64::from(THREADS - 1) / 1e6);
        eprintln!(
            "  agent: {:.1} MB with 1 thread, {:.1} MB with {THREADS}",
            few / 1e6,
            many / 1e6
        );
        let (late_ms, calls_s) = busy(bench, &cohort, &server)?;
        eprintln!(
            "  {THREADS} threads: {calls_s:.0} calls/s, driver late by {late_ms:.2} ms (p99)"
        );
        lag_ms.push(late_ms);
        per_s.push(calls_s);
    }
    Ok(vec![
        Row::new(
            "memory of a thread that waits",
            "MB",
            &mb,
            Target::AtMost(BOUND_MB),
        ),
        Row::new(
            format!("{THREADS} threads on one agent, lateness of the driver (p99)"),
            "ms",
            &lag_ms,
            Target::None,
        ),
        Row::new(
            format!("{THREADS} threads on one agent, calls"),
            "1/s",
            &per_s,
            Target::None,
        ),
    ])
}

/// Writes the project; gives its port.
fn project(at: &Path, server: &Path, script: &str, threads: u32) -> Result<u16, Error> {
    let port = trivial::free_port()?;
    let server = format!("[{server:?}, \"{{port}}\"]");
    campaign::write_trivial(at, &server, port, script, threads)?;
    Ok(port)
}

/// Memory of the agent when each of its threads waits.
fn idle_bytes(bench: &Bench, cohort: &Path, server: &Path, threads: u32) -> Result<f64, Error> {
    let at = bench.work.join("threads");
    let port = project(&at, server, IDLE_SCRIPT, threads)?;
    let mut command = Command::new(cohort);
    command
        .args(["run", "--no-reproduce", "--progress", "none"])
        .current_dir(&at);
    let mut running = Running::start(command, &bench.work.join("logs/threads-idle.log"))?;
    let all = |_: &Running| trivial::count(port).filter(|count| *count >= u64::from(threads));
    running.until("a call of every thread", PATIENCE, all)?;
    // One process, or several when Cohort decides so: all of them count.
    let agents = process::children_with(running.id(), "agent");
    let bytes: f64 = agents
        .iter()
        .filter_map(|pid| process::memory_bytes(*pid))
        .sum();
    (bytes > 0.0)
        .then_some(bytes)
        .ok_or_else(|| running.wrong("has no agent"))
}

/// How late the driver was (p99, milliseconds), and calls in a second.
fn busy(bench: &Bench, cohort: &Path, server: &Path) -> Result<(f64, f64), Error> {
    let at = bench.work.join("threads");
    project(&at, server, BUSY_SCRIPT, THREADS)?;
    let campaign = campaign::Campaign {
        project: &at,
        flags: vec!["--duration".into(), format!("{}s", LASTS.as_secs())],
        lasts: LASTS,
        logs: bench.work.join("logs/threads-busy"),
    };
    let seen = campaign.run(cohort)?;
    let late = seen.driver_lag_p99_ms;
    let late = late
        .ok_or_else(|| Error::Missing("the record does not say how late the driver was".into()))?;
    Ok((late, seen.iterations as f64 / LASTS.as_secs_f64()))
}
