//! A campaign of Cohort on one bug.

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
