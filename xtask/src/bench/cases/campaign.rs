//! A campaign of Cohort on one bug, and what its record says of the bug's case.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::bugs::{Bug, Bugs};
use crate::error::Error;
use crate::run;

/// What a campaign may take beyond its budget: building, listing, closing.
const GRACE: Duration = Duration::from_secs(60);

/// How a campaign is begun.
pub(super) struct Campaign<'a> {
    pub bugs: &'a Bugs,
    pub bug: &'a Bug,
    pub cohort: &'a Path,
    /// Flags of `cohort run`.
    pub flags: Vec<String>,
    /// Arguments that pick tests.
    pub tests: Vec<String>,
    pub within: Duration,
    /// Where its output and its events are kept, without an extension.
    pub kept: PathBuf,
}

/// What a campaign left.
pub(super) struct Seen {
    /// Every line of its record.
    pub records: Vec<Value>,
    /// Every case that is kept in the project, as `cohort show EC-1 --json` tells it.
    pub cases: Vec<Value>,
}

/// Runs it in a project without history.
pub(super) fn run(campaign: &Campaign) -> Result<Seen, Error> {
    let folder = campaign.bugs.folder(campaign.bug);
    run::remove_dir(&folder.join(".cohort"))?;
    let (log, events) = (
        campaign.kept.with_extension("log"),
        campaign.kept.with_extension("jsonl"),
    );
    run::write(&log, "")?;
    let unwritable = |source| Error::File {
        path: log.clone(),
        action: "written",
        source,
    };
    let out = std::fs::File::create(&log).map_err(unwritable)?;
    let mut command = Command::new(campaign.cohort);
    command.args(["run", "--progress", "none", "--timeout", "10s", "--events"]);
    command.arg(&events).args(&campaign.flags).arg("--");
    command.args(campaign.bugs.suite(campaign.bug, &campaign.tests));
    campaign.bugs.surround(campaign.bug, &mut command);
    command
        .stdin(Stdio::null())
        .stdout(out.try_clone().map_err(unwritable)?)
        .stderr(out);
    let start = Instant::now();
    let mut child = command.spawn().map_err(|source| Error::Start {
        program: campaign.cohort.display().to_string(),
        source,
    })?;
    // Whatever its exit code: a suite that fails is what is wanted here.
    let ended = wait(&mut child, campaign.within + GRACE);
    if !ended {
        let took_s = start.elapsed().as_secs_f64();
        let what = format!("did not end within {took_s:.0} s");
        return Err(Error::Peer {
            program: "cohort".into(),
            what,
            log,
        });
    }
    let records: Vec<Value> = run::read(&events)?
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    if records.is_empty() {
        let what = "left no record".into();
        return Err(Error::Peer {
            program: "cohort".into(),
            what,
            log,
        });
    }
    let cases = cases(campaign, folder);
    Ok(Seen { records, cases })
}

/// Whether it ended by itself in time; it is told to end when not.
fn wait(child: &mut std::process::Child, within: Duration) -> bool {
    let start = Instant::now();
    while start.elapsed() < within {
        if !matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let process = nix::unistd::Pid::from_raw(child.id().cast_signed());
    // It may have ended just now.
    let _ = nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM);
    let _ = child.wait();
    false
}

fn cases(campaign: &Campaign, folder: &Path) -> Vec<Value> {
    let Ok(entries) = std::fs::read_dir(folder.join(".cohort/cases")) else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("EC-")).collect();
    names.sort_by_key(|name| (name.len(), name.clone()));
    let shown = names.iter().filter_map(|name| {
        let mut command = Command::new(campaign.cohort);
        command.args(["show", name, "--json"]);
        campaign.bugs.surround(campaign.bug, &mut command);
        let text = run::output(&mut command);
        let text = text
            .inspect_err(|error| eprintln!("    {name}: {error}"))
            .ok()?;
        let mut page: Value = serde_json::from_str(&text).ok()?;
        let kept = run::read(&folder.join(".cohort/cases").join(name).join("case.json"));
        let kept: Value = serde_json::from_str(&kept.ok()?).ok()?;
        page["fingerprint"] = kept["fingerprint"].clone();
        Some(page)
    });
    shown.collect()
}

/// What Cohort made of a bug.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// Runs until it failed (again) as the bug does; each copy of a test counts as a run.
    pub runs: Option<u32>,
    /// The same from the start of the first run, seconds.
    pub after_s: Option<f64>,
    /// All runs.
    pub runs_all: u32,
    /// What it said the cause is, the most telling first: kinds of conditions, or `before NAME`.
    pub named: Vec<String>,
    /// Its sentence.
    pub sentence: String,
}

impl Seen {
    /// Of the case that says what `bug` says; nothing when there is none.
    pub(super) fn told(&self, bug: &Bug) -> Told {
        let mut told = Told {
            runs_all: self.tries().map(weight).sum(),
            ..Told::default()
        };
        let Some(page) = self.page(bug) else {
            return told;
        };
        told.sentence = text(&page["sentence"]).to_owned();
        let causes = page["case"]["causes"].as_array();
        told.named = causes
            .into_iter()
            .flatten()
            .map(|cause| name(cause, page))
            .collect();
        if let Some((runs, after_s)) = self.first(&page["case"]["case"]) {
            (told.runs, told.after_s) = (Some(runs), Some(after_s));
        }
        told
    }

    /// The page of the bug's case: that which failed again, before others.
    fn page(&self, bug: &Bug) -> Option<&Value> {
        let name = |page: &Value| {
            let test = &page["case"]["subject"]["test"];
            text(&page["tests"][test.to_string()]).to_owned()
        };
        let right = self.cases.iter().filter(|page| {
            let symptom = &page["case"]["symptom"];
            let said = format!(
                "{} {} {}",
                text(&symptom["kind"]),
                text(&symptom["class"]),
                text(&symptom["message"])
            );
            let test = bug.test.rsplit("::").next().unwrap_or_default();
            !symptom.is_null()
                && name(page).ends_with(test)
                && (bug.is_said(&said) || is_hang(bug, symptom))
        });
        right.max_by_key(|page| failed(&page["case"]))
    }

    /// Every try that was decided, with when.
    fn tries(&self) -> impl Iterator<Item = &Value> {
        let decided = self
            .records
            .iter()
            .filter_map(|record| record["decisions"].as_array());
        decided
            .flatten()
            .filter(|decision| decision["command"] == "try_case")
    }

    /// Runs and seconds until a case was first seen to fail in a try.
    fn first(&self, case: &Value) -> Option<(u32, f64)> {
        let mut runs = 0;
        let mut begin_us = None;
        for record in &self.records {
            let at_us = record["at"].as_f64().unwrap_or_default();
            let cases = record["cases"].as_array().into_iter().flatten();
            let mut mine = cases.filter(|told| told["case"] == *case);
            if mine.any(|told| failed(told) > 0) {
                let begin_us = begin_us.unwrap_or(at_us);
                return Some((runs, (at_us - begin_us) / 1e6));
            }
            let decisions = record["decisions"].as_array().into_iter().flatten();
            for decision in decisions.filter(|decision| decision["command"] == "try_case") {
                runs += weight(decision);
                begin_us.get_or_insert(at_us);
            }
        }
        None
    }

    /// From each sighting of a case to the start of its first try, milliseconds.
    pub(super) fn latencies_ms(&self) -> Vec<f64> {
        let (mut ends, mut starts) = (BTreeMap::new(), BTreeMap::new());
        for record in &self.records {
            let at_us = record["at"].as_f64().unwrap_or_default();
            for seen in record["observations"].as_array().into_iter().flatten() {
                let thread = seen["thread"].as_u64();
                match (text(&seen["seen"]), thread) {
                    ("thread_started", Some(thread)) => starts.insert(thread, at_us),
                    ("thread_ended", Some(thread)) => ends.insert(thread, at_us),
                    _ => None,
                };
            }
        }
        let mut first = BTreeMap::new();
        for decision in self.tries() {
            let thread = decision["thread"]
                .as_u64()
                .and_then(|thread| starts.get(&thread));
            if let (Some(case), Some(at_us)) = (decision["case"].as_u64(), thread) {
                let first = first.entry(case).or_insert(*at_us);
                *first = at_us.min(*first);
            }
        }
        let pages = self.cases.iter().filter_map(|page| {
            let case = &page["case"];
            let seen = case["sightings"].get(0)?.as_u64()?;
            let at_us = first.get(&case["case"].as_u64()?)?;
            Some((at_us - ends.get(&seen)?) / 1e3)
        });
        pages.collect()
    }
}

/// A hang is killed at the time limit, whatever it says.
fn is_hang(bug: &Bug, symptom: &Value) -> bool {
    bug.says == "hangs" && matches!(text(&symptom["kind"]), "hang" | "timeout")
}

/// Runs that failed with the case's symptom.
fn failed(case: &Value) -> u64 {
    let arms = case["arms"].as_array().into_iter().flatten();
    arms.filter_map(|arm| arm["rate"]["failed"].as_u64()).sum()
}

/// How many runs of the test one try is.
fn weight(decision: &Value) -> u32 {
    let conditions = decision["recipe"]["conditions"].as_array();
    let copies = conditions
        .into_iter()
        .flatten()
        .find(|one| one["condition"] == "copies");
    let copies = copies.and_then(|copies| copies["count"].as_u64());
    copies.map_or(1, |copies| u32::try_from(copies).unwrap_or(1))
}

/// A cause in a word or two.
fn name(cause: &Value, page: &Value) -> String {
    if let Some(kind) = cause["condition"]["condition"].as_str() {
        return kind.to_owned();
    }
    let parts = cause["parts"].as_array().into_iter().flatten();
    let before = parts.filter_map(|part| part["before"].as_u64());
    let names = before.map(|test| text(&page["tests"][test.to_string()]).to_owned());
    let names: Vec<String> = names.collect();
    format!("before {}", names.join(", "))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
