//! Requests in a second for each core of driving: Cohort's agent beside Locust and Goose, on a trivial
//! server that counts. Every contender has one core to itself and the server another; what counts is
//! requests over CPU seconds of the driver's process, over the same few seconds in the middle of a run,
//! so neither starting nor another program's share of the core is in it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::super::row::{Row, Target, median};
use super::process::{self, Running};
use super::trivial::{self, pinned};
use super::{Bench, campaign, examples};
use crate::error::Error;
use crate::{run, test};

/// Users at once, for all contenders alike.
const USERS: u32 = 64;

/// From the first request on, before it is measured, and for how long it is.
const WARM_UP: Duration = Duration::from_secs(2);
const WINDOW: Duration = Duration::from_secs(5);

/// For a driver to begin.
const PATIENCE: Duration = Duration::from_secs(60);

/// Cores of driver and server.
const DRIVER_CORE: usize = 0;
const SERVER_CORE: usize = 1;

const LOCUST_FAST: &str = "Locust, FastHttpUser";
const LOCUST_PLAIN: &str = "Locust, HttpUser";
const GOOSE: &str = "Goose";
const COHORT: &str = "Cohort";

/// What was seen of one run.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Requests for each CPU second of the driver.
    per_core_s: f64,
    /// Requests a second.
    per_s: f64,
    /// For each CPU second of driver and hub together; the same where there is no hub.
    with_hub: f64,
}

/// Where the contenders lie.
struct Contenders {
    server: PathBuf,
    locust: PathBuf,
    goose: PathBuf,
    cohort: PathBuf,
    work: PathBuf,
}

/// Rounds of all, each beginning with another one.
pub(super) fn rows(bench: &Bench) -> Result<Vec<Row>, Error> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores <= SERVER_CORE || !run::exists("taskset") {
        return Err(Error::Missing(
            "driver and server need two cores, and taskset".into(),
        ));
    }
    let contenders = Contenders::prepare(bench)?;
    let names = [COHORT, LOCUST_FAST, GOOSE, LOCUST_PLAIN];
    let mut seen: Vec<(&str, Vec<Seen>)> = names.map(|name| (name, Vec::new())).into();
    for round in 0..bench.options.runs {
        for at in 0..names.len() {
            let at = (at + round) % names.len();
            let one = contenders.run(names[at]);
            let one = one.inspect_err(|error| eprintln!("  {}: {error}", names[at]));
            if let Ok(one) = one {
                eprintln!(
                    "  {:<22} {:>8.0} requests/s {:>8.0} a core",
                    names[at], one.per_s, one.per_core_s
                );
                seen[at].1.push(one);
            }
        }
    }
    let mut rows = compared(&seen);
    let (mut per_core, mut mb) = (Vec::new(), Vec::new());
    for _ in 0..bench.options.runs {
        match examples::agent_alone(USERS) {
            Ok(alone) => {
                per_core.push(alone.0);
                mb.push(alone.1);
            }
            Err(error) => eprintln!("  the agent alone: {error}"),
        }
    }
    let name = "requests/s and core, the agent alone, with a check";
    rows.push(Row::new(name, "1/s", &per_core, Target::None));
    let name = format!("memory of a thread that waits, the agent alone, {USERS} threads");
    rows.push(Row::new(name, "MB", &mb, Target::None));
    Ok(rows)
}

/// Ratios of runs of the same round, and what each reached.
fn compared(seen: &[(&str, Vec<Seen>)]) -> Vec<Row> {
    let of = |name: &str, value: fn(&Seen) -> f64| -> Vec<f64> {
        let found = seen.iter().find(|(known, _)| *known == name);
        found.map_or(Vec::new(), |(_, runs)| runs.iter().map(value).collect())
    };
    let per_core = |name: &str| of(name, |seen| seen.per_core_s);
    let better = |a, b| {
        if median(&per_core(a)) >= median(&per_core(b)) {
            a
        } else {
            b
        }
    };
    let locust = better(LOCUST_FAST, LOCUST_PLAIN);
    let ratio = |peer: &str| -> Vec<f64> {
        per_core(COHORT)
            .iter()
            .zip(per_core(peer))
            .map(|(own, peer)| own / peer)
            .collect()
    };
    let mut rows = vec![
        Row::new(
            format!("requests/s and core / {locust} (the better)"),
            "ratio",
            &ratio(locust),
            Target::AtLeast(3.0),
        ),
        Row::new(
            "requests/s and core / Goose",
            "ratio",
            &ratio(GOOSE),
            Target::AtLeast(0.9),
        ),
    ];
    for (name, _) in seen {
        let row = format!("requests/s and core, {name}");
        rows.push(Row::new(row, "1/s", &per_core(name), Target::None));
    }
    let with_hub = of(COHORT, |seen| seen.with_hub);
    rows.push(Row::new(
        "requests/s and core, Cohort with its hub",
        "1/s",
        &with_hub,
        Target::None,
    ));
    rows
}

impl Contenders {
    fn prepare(bench: &Bench) -> Result<Contenders, Error> {
        let python = test::environment(&bench.work.join("locust"), &["locust"])?;
        Ok(Contenders {
            server: trivial::peer(&bench.work, "server")?,
            locust: std::path::absolute(python.with_file_name("locust")).unwrap_or(python),
            goose: trivial::peer(&bench.work, "goose")?,
            cohort: bench.cohort()?,
            work: bench.work.clone(),
        })
    }

    /// One run of one of them.
    fn run(&self, name: &str) -> Result<Seen, Error> {
        let log = self
            .work
            .join("logs")
            .join(format!("{}.log", name.replace([' ', ','], "_")));
        let port = trivial::free_port()?;
        if name == COHORT {
            return self.run_cohort(port, &log);
        }
        let mut serving = pinned(SERVER_CORE, &self.server);
        serving.arg(port.to_string());
        let mut server = Running::start(serving, &self.work.join("logs/server.log"))?;
        server.until("listening", PATIENCE, |_| trivial::count(port))?;
        let command = match name {
            GOOSE => self.goose(port),
            LOCUST_PLAIN => self.locust("HttpUser", port)?,
            _ => self.locust("FastHttpUser", port)?,
        };
        let mut driver = Running::start(command, &log)?;
        measured(&mut driver, port, |driver| Some(driver.id()))
    }

    fn goose(&self, port: u16) -> Command {
        let mut command = pinned(DRIVER_CORE, &self.goose);
        command.args([
            "--host",
            &format!("http://127.0.0.1:{port}"),
            "--users",
            &USERS.to_string(),
        ]);
        command.args([
            "--increase-rate",
            &USERS.to_string(),
            "--run-time",
            "10m",
            "--no-print-metrics",
            "--quiet",
        ]);
        command
    }

    fn locust(&self, class: &str, port: u16) -> Result<Command, Error> {
        let file = self.work.join(format!("locust_{class}.py"));
        run::write(&file, &LOCUST_FILE.replace("CLASS", class))?;
        let mut command = pinned(DRIVER_CORE, &self.locust);
        command
            .arg("--locustfile")
            .arg(file)
            .args(["--headless", "--only-summary"]);
        command.args([
            "--host",
            &format!("http://127.0.0.1:{port}"),
            "--users",
            &USERS.to_string(),
        ]);
        command.args(["--spawn-rate", &USERS.to_string(), "--run-time", "10m"]);
        Ok(command)
    }

    /// A whole campaign; the agent is a process of its own.
    fn run_cohort(&self, port: u16, log: &Path) -> Result<Seen, Error> {
        let project = self.work.join("throughput");
        let server = format!(
            "[\"taskset\", \"--cpu-list\", \"{SERVER_CORE}\", {:?}, \"{{port}}\"]",
            self.server
        );
        campaign::write_trivial(&project, &server, port, ROOT_SCRIPT, USERS)?;
        let mut command = pinned(DRIVER_CORE, &self.cohort);
        command
            .args(["run", "--no-reproduce", "--progress", "none"])
            .current_dir(&project);
        let mut cohort = Running::start(command, log)?;
        measured(&mut cohort, port, |cohort| {
            process::children_with(cohort.id(), "agent").pop()
        })
    }
}

/// One window of a driver that `find` finds, then its end.
fn measured(
    started: &mut Running,
    port: u16,
    find: fn(&Running) -> Option<u32>,
) -> Result<Seen, Error> {
    started.until("its first request", PATIENCE, |_| {
        trivial::count(port).filter(|count| *count > 0)
    })?;
    let driver = started.until("a process that drives", PATIENCE, find)?;
    let hub = (started.id() != driver).then(|| started.id());
    std::thread::sleep(WARM_UP);
    let look = || {
        let count = trivial::count(port)? as f64;
        let hub_s = hub.map_or(Some(0.0), process::cpu_s)?;
        Some((Instant::now(), count, process::cpu_s(driver)?, hub_s))
    };
    let before = look();
    std::thread::sleep(WINDOW);
    let after = look();
    let seen = before.zip(after).and_then(|(before, after)| {
        let (requests, cpu_s, hub_s) = (after.1 - before.1, after.2 - before.2, after.3 - before.3);
        (requests > 0.0 && cpu_s > 0.0).then(|| Seen {
            per_core_s: requests / cpu_s,
            per_s: requests / (after.0 - before.0).as_secs_f64(),
            with_hub: requests / (cpu_s + hub_s),
        })
    });
    seen.ok_or_else(|| started.wrong("sent nothing while it was measured"))
}

const LOCUST_FILE: &str = "\
from locust import CLASS, constant, task


class Visitor(CLASS):
    wait_time = constant(0)

    @task
    def root(self):
        self.client.get('/')
";

const ROOT_SCRIPT: &str = "\
import http from 'k6/http';

export default function () {
  http.get('http://localhost/');
}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_one_round_and_the_better_locust_counts() {
        let runs = |values: &[f64]| -> Vec<Seen> {
            values
                .iter()
                .map(|v| Seen {
                    per_core_s: *v,
                    per_s: 1.0,
                    with_hub: *v,
                })
                .collect()
        };
        let seen = [
            (COHORT, runs(&[90.0, 60.0])),
            (LOCUST_FAST, runs(&[30.0, 30.0])),
            (GOOSE, runs(&[100.0, 50.0])),
            (LOCUST_PLAIN, runs(&[10.0, 10.0])),
        ];
        let rows = compared(&seen);
        assert!(rows[0].row.contains("FastHttpUser"));
        assert_eq!((rows[0].value, rows[0].holds), (Some(2.5), Some(false)));
        assert_eq!((rows[1].value, rows[1].low), (Some(1.05), Some(0.9)));
    }
}
