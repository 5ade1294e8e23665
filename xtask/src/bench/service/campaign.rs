//! One campaign of a service, run for its events: its files, its run, and what stands in its record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::process::Running;
use crate::error::Error;
use crate::run;

/// Beyond the length of its schedule, for building, starting, ending.
const MARGIN: Duration = Duration::from_secs(120);

/// What a service may be in without anything being wrong with it (`ServiceFindingKind::is_fault`).
const STATES: [&str; 5] = [
    "cpu_saturation",
    "host_busy",
    "throttled",
    "network_limit",
    "memory_pressure",
];

/// What is to be run.
pub(super) struct Campaign<'a> {
    /// Folder with `cohort.toml`.
    pub project: &'a Path,
    /// Beyond `run --events FILE`.
    pub flags: Vec<String>,
    /// How long its schedule takes.
    pub lasts: Duration,
    /// Where events and output go: with `.jsonl` and `.log` behind it.
    pub logs: PathBuf,
}

impl Campaign<'_> {
    /// Runs it to its end. Findings make its exit code other than zero; a record without an end is
    /// what is wrong.
    pub(super) fn run(&self, cohort: &Path) -> Result<Seen, Error> {
        let events = std::path::absolute(self.logs.with_extension("jsonl"));
        let events = events.unwrap_or_else(|_| self.logs.with_extension("jsonl"));
        run::write(&events, "")?;
        run::remove_dir(&self.project.join(".cohort"))?;
        let mut command = Command::new(cohort);
        command
            .args(["run", "--no-reproduce", "--progress", "none", "--events"])
            .arg(&events);
        command.args(&self.flags).current_dir(self.project);
        let mut running = Running::start(command, &self.logs.with_extension("log"))?;
        let status = running.wait(self.lasts + MARGIN)?;
        let seen = Seen::read(&run::read(&events)?);
        if !seen.ended {
            return Err(running.wrong(format!("ended with {status} and left no whole record")));
        }
        Ok(seen)
    }
}

/// What a record says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Seen {
    /// Every finding, by its number, as it was concluded first; the endpoint as it was named last.
    pub findings: BTreeMap<u64, Found>,
    /// When the process of the first instance was started, seconds into the campaign.
    pub started_s: Option<f64>,
    /// Iterations that ended.
    pub iterations: u64,
    /// How late the driver itself was, 99th percentile, milliseconds.
    pub driver_lag_p99_ms: Option<f64>,
    /// The last record is there.
    pub ended: bool,
}

/// A finding.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Found {
    pub kind: String,
    /// `GET /products/{}`; empty when none is told.
    pub endpoint: String,
    /// When it was concluded first, seconds into the campaign.
    pub at_s: f64,
    pub sentence: String,
}

impl Found {
    /// Something is wrong with the software, and not only much asked of it.
    pub(super) fn is_fault(&self) -> bool {
        !STATES.contains(&self.kind.as_str())
    }
}

impl Seen {
    /// From lines of JSON (`docs/events.schema.json`).
    pub(super) fn read(events: &str) -> Seen {
        let mut seen = Seen::default();
        let mut endpoints: BTreeMap<u64, String> = BTreeMap::new();
        for record in events
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        {
            match record["record"].as_str() {
                Some("service_seen") => {
                    let at_s = seconds(&record["at"]);
                    for one in record["seen"].as_array().into_iter().flatten() {
                        seen.take(one, at_s, &mut endpoints);
                    }
                }
                Some("service_decided") => {
                    for finding in record["findings"].as_array().into_iter().flatten() {
                        seen.found(finding, &endpoints);
                    }
                }
                Some("service_totals") => {
                    seen.driver_lag_p99_ms =
                        record["driver_lag_p99_us"].as_f64().map(|us| us / 1e3);
                }
                Some("ended") => seen.ended = true,
                _ => {}
            }
        }
        seen
    }

    fn take(&mut self, one: &Value, at_s: f64, endpoints: &mut BTreeMap<u64, String>) {
        match one["seen"].as_str() {
            Some("endpoint_named") => {
                let name = one["name"].as_str().unwrap_or_default().to_string();
                endpoints.insert(one["endpoint"].as_u64().unwrap_or(u64::MAX), name);
            }
            Some("instance_ready") => {
                let began_s = at_s - seconds(&one["took_us"]);
                self.started_s = Some(self.started_s.map_or(began_s, |had| had.min(began_s)));
            }
            Some("iterated") => self.iterations += one["iterations"].as_u64().unwrap_or(0),
            _ => {}
        }
    }

    fn found(&mut self, finding: &Value, endpoints: &BTreeMap<u64, String>) {
        let number = finding["number"].as_u64().unwrap_or(u64::MAX);
        let found = self.findings.entry(number).or_insert_with(|| Found {
            kind: finding["kind"].as_str().unwrap_or_default().to_string(),
            at_s: seconds(&finding["at"]),
            ..Found::default()
        });
        // A later, more telling kind takes the number over: then it counts from there.
        let kind = finding["kind"].as_str().unwrap_or_default();
        if found.kind != kind {
            found.kind = kind.to_string();
            found.at_s = seconds(&finding["at"]);
        }
        found.sentence = finding["sentence"].as_str().unwrap_or_default().to_string();
        if let Some(name) = finding["endpoint"]
            .as_u64()
            .and_then(|id| endpoints.get(&id))
        {
            found.endpoint.clone_from(name);
        }
    }
}

/// From microseconds.
fn seconds(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0) / 1e6
}

/// A project around the trivial server, one instance at this port; `command` is the list as TOML.
pub(super) fn write_trivial(
    project: &Path,
    command: &str,
    port: u16,
    script: &str,
    threads: u32,
) -> Result<(), Error> {
    run::write(&project.join("script.js"), script)?;
    let toml = format!(
        "[sut]\ncommand = {command}\nport = {port}\ninstances = 1\nnetwork = \"host\"\notel = false\n\
         ready = {{ tcp = true }}\n\n[scenario]\nscript = \"script.js\"\n\
         base_url = \"http://localhost\"\nvus = {threads}\nduration = \"10m\"\n"
    );
    run::write(&project.join("cohort.toml"), &toml)
}

/// A copy of `examples/shop` whose shop has these defects, some seconds after each start. Built once, here.
pub(super) fn write_shop(
    project: &Path,
    defects: &str,
    after: Duration,
    lasts: Duration,
) -> Result<(), Error> {
    let build = ["build", "--release", "--quiet", "--package", "shop"];
    run::output(run::cargo().args(build))?;
    let shop = run::target_dir().join("release/shop");
    let shop = std::path::absolute(&shop).unwrap_or(shop);
    for file in ["load.js", "visitors.json"] {
        run::write(
            &project.join(file),
            &run::read(&run::root().join("examples/shop").join(file))?,
        )?;
    }
    let toml = format!(
        "[sut]\ncommand = [{shop:?}, \"--port\", \"{{port}}\", \"--data\", \"{{scratch}}\"]\n\
         ready = {{ http = \"/health\" }}\n\
         env = {{ SHOP_DEFECTS = \"{defects}\", SHOP_DEFECTS_AFTER = \"{}s\" }}\n\n\
         [scenario]\nscript = \"load.js\"\nbase_url = \"http://localhost:8080\"\nenv = {{ DURATION = \"{}s\" }}\n",
        after.as_secs(),
        lasts.as_secs()
    );
    run::write(&project.join("cohort.toml"), &toml)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read() {
        let events = [
            r#"{"record":"service_seen","at":2500000,"seen":[{"seen":"instance_ready","instance":0,"took_us":500000},
               {"seen":"endpoint_named","endpoint":3,"name":"GET /search"}]}"#
                .replace('\n', ""),
            r#"{"record":"service_decided","at":9000000,"findings":[{"number":0,"kind":"cpu_blow_up","instances":[0],
               "at":9000000,"since":8000000,"confidence":0.9,"sentence":"first","evidence":[]}]}"#
                .replace('\n', ""),
            r#"{"record":"service_decided","at":9500000,"findings":[{"number":0,"kind":"cpu_blow_up","instances":[0],
               "endpoint":3,"at":9500000,"since":8000000,"confidence":0.9,"sentence":"second","evidence":[]}]}"#
                .replace('\n', ""),
            r#"{"record":"service_seen","at":9600000,"seen":[{"seen":"iterated","iterations":7,"failed":0}]}"#.into(),
            r#"{"record":"service_totals","driver_lag_p99_us":1500}"#.into(),
            r#"{"record":"ended","ending":"complete"}"#.into(),
        ];
        let seen = Seen::read(&events.join("\n"));
        let found = Found {
            kind: "cpu_blow_up".into(),
            endpoint: "GET /search".into(),
            at_s: 9.0,
            sentence: "second".into(),
        };
        assert_eq!(seen.findings.values().collect::<Vec<_>>(), [&found]);
        assert!(found.is_fault() && seen.ended);
        assert_eq!(
            (seen.started_s, seen.iterations, seen.driver_lag_p99_ms),
            (Some(2.0), 7, Some(1.5))
        );
        assert!(!Seen::read(&events[..3].join("\n")).ended);
    }
}
