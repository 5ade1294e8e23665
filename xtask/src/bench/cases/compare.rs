//! Plain rerunning, rerunning beside stress-ng, and Cohort, on the same bug with the same time.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::super::row::{Row, Target, median};
use super::bugs::{Bug, Bugs, Plain};
use super::campaign::{self, Campaign, Told};
use super::plain::{self, Rerun, cores};
use crate::error::Error;
use crate::run;

/// What all of this is to reach.
const REPRODUCED: f64 = 0.90;
const RUNS: f64 = 0.10;
const NAMED_RIGHT: f64 = 0.85;
const NAMED_WRONG: f64 = 0.05;

/// What three ways made of one bug; what was not asked for or could not be done is none.
#[derive(Default)]
pub(super) struct Compared {
    pub name: String,
    cause: String,
    conditions: Vec<String>,
    before: Option<String>,
    base: f64,
    budget_s: f64,
    plain: Option<Rerun>,
    noise: Option<Rerun>,
    told: Option<Told>,
}

/// Which ways are gone.
#[derive(Clone, Copy)]
pub(super) struct Ways {
    pub plain: bool,
    pub noise: bool,
    pub cohort: bool,
}

/// Runs a bug all ways, one after the other, so that each has all cores.
pub(super) fn compare(
    bugs: &Bugs,
    bug: &Bug,
    ways: Ways,
    budget: Duration,
    cohort: &Path,
    work: &Path,
) -> Result<Compared, Error> {
    let mut compared = Compared {
        name: bug.name.clone(),
        cause: bug.cause.clone(),
        conditions: bug.conditions.clone(),
        before: bug.before.clone(),
        base: bug.base.unwrap_or_default(),
        budget_s: budget.as_secs_f64(),
        ..Compared::default()
    };
    if ways.plain {
        compared.plain = Some(plain::rerun(bugs, bug, budget)?);
    }
    if ways.noise {
        let noise = Noise::start();
        compared.noise = match noise {
            Ok(_noise) => Some(plain::rerun(bugs, bug, budget)?),
            Err(error) => {
                eprintln!("  without stress-ng: {error}");
                None
            }
        };
    }
    if ways.cohort {
        let campaign = campaign(bugs, bug, &compared, budget, cohort, work)?;
        compared.told = Some(campaign::run(&campaign)?.told(bug));
    }
    Ok(compared)
}

/// `--stress` on the test, as if it had never failed; where the test fails only after others, a suite's
/// campaign in an order that fails.
fn campaign<'a>(
    bugs: &'a Bugs,
    bug: &'a Bug,
    compared: &Compared,
    budget: Duration,
    cohort: &'a Path,
    work: &Path,
) -> Result<Campaign<'a>, Error> {
    let for_s = format!("{}s", budget.as_secs());
    let (flags, tests) = match bug.plain {
        Plain::Alone => {
            let words = ["--stress", &bug.test, "--for", &for_s];
            (words.map(str::to_owned).to_vec(), file(bug))
        }
        Plain::Shuffled => {
            let seen = compared
                .plain
                .as_ref()
                .and_then(|plain| plain.failed.clone());
            let order = match seen {
                Some(order) => order,
                None => failing_order(bug, bugs.neighbours(bug)?),
            };
            let words = ["--cpus", "1", "--reproduce-for", &for_s];
            (words.map(str::to_owned).to_vec(), order)
        }
    };
    let kept = work.join("logs").join(&bug.name);
    let within = budget;
    Ok(Campaign {
        bugs,
        bug,
        cohort,
        flags,
        tests,
        within,
        kept,
    })
}

/// An order in which the bug fails, where plain rerunning came upon none in its time: what has to run before
/// comes first, then the test.
fn failing_order(bug: &Bug, mut tests: Vec<String>) -> Vec<String> {
    let first = [bug.before.as_ref(), Some(&bug.test)];
    let place = |test: &String| {
        let at = first.iter().position(|first| *first == Some(test));
        at.unwrap_or(first.len())
    };
    tests.sort_by_key(place);
    tests
}

/// Arguments that pick the file of a bug's test, or the test.
fn file(bug: &Bug) -> Vec<String> {
    if bug.is_python() {
        vec![bug.test.split("::").next().unwrap_or_default().to_owned()]
    } else {
        vec![bug.test.clone()]
    }
}

/// stress-ng on all cores, as one would add it by hand: CPU, memory, disk and switches.
struct Noise(Child);

impl Noise {
    fn start() -> Result<Noise, Error> {
        install()?;
        let cores = cores().to_string();
        let mut command = Command::new("stress-ng");
        command.args(["--quiet", "--cpu", &cores, "--switch", &cores, "--hdd", "1"]);
        command.args([
            "--hdd-bytes",
            "64M",
            "--vm",
            "1",
            "--vm-bytes",
            "128M",
            "--temp-path",
        ]);
        command.arg(std::env::temp_dir());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().map_err(|source| Error::Start {
            program: "stress-ng".into(),
            source,
        })?;
        Ok(Noise(child))
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        let process = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        // It ends its own workers when told to.
        let _ = nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// Installs it from Debian where it is missing and that is allowed.
fn install() -> Result<(), Error> {
    if run::exists("stress-ng") {
        return Ok(());
    }
    if !nix::unistd::geteuid().is_root() || !run::exists("apt-get") {
        return Err(Error::Missing(
            "stress-ng is not installed, and only root could (`apt-get install stress-ng`)".into(),
        ));
    }
    eprintln!("  installing stress-ng");
    run::output(Command::new("apt-get").args(["update", "-qq"]))?;
    run::output(Command::new("apt-get").args(["install", "-y", "-qq", "stress-ng"]))?;
    Ok(())
}

impl Compared {
    /// One line for a person, and the cause where it was not told.
    pub(super) fn line(&self) -> String {
        let rerun = |rerun: &Option<Rerun>| match rerun {
            Some(rerun) if rerun.failed.is_some() => {
                format!("{} runs, {:.1} s", rerun.runs, rerun.took_s)
            }
            Some(rerun) => format!("not in {} runs", rerun.runs),
            None => "-".into(),
        };
        let told = match &self.told {
            None => "-".into(),
            Some(Told {
                runs: Some(runs),
                after_s: Some(after_s),
                named,
                ..
            }) => {
                let verdict = match self.named() {
                    Some(true) => "right",
                    Some(false) => "WRONG",
                    None if self.conditions.is_empty() => "right",
                    None => "not named",
                };
                let named = named.join(" + ");
                let cause = match verdict {
                    "right" => String::new(),
                    _ => format!(" (it is: {})", self.cause),
                };
                format!("{runs} runs, {after_s:.1} s, {verdict}: {named}{cause}")
            }
            Some(told) => format!("not in {} runs", told.runs_all),
        };
        let (plain, noise) = (rerun(&self.plain), rerun(&self.noise));
        format!(
            "{:<24} plain {plain:<18} stress-ng {noise:<18} cohort {told}",
            self.name
        )
    }

    /// Whether the cause was named right; none: nothing was named.
    fn named(&self) -> Option<bool> {
        let named = &self.told.as_ref()?.named;
        let right = |name: &String| match (name.strip_prefix("before "), &self.before) {
            (Some(tests), Some(before)) => tests == before || before.ends_with(tests),
            (Some(_), None) => false,
            (None, _) => self.conditions.contains(name),
        };
        Some(right(named.first()?))
    }

    /// A plain run that did not fail counts as if the next one had: less than the truth.
    fn ratio(&self) -> Option<f64> {
        let (told, plain) = (self.told.as_ref()?, self.plain.as_ref()?);
        let ours = told.runs.unwrap_or(told.runs_all + 1);
        let theirs = plain.runs + u32::from(plain.failed.is_none());
        Some(f64::from(ours.max(1)) / f64::from(theirs.max(1)))
    }
}

/// Sums over all bugs.
pub(super) fn rows(all: &[Compared]) -> Vec<Row> {
    let Some(first) = all.first() else {
        return Vec::new();
    };
    let within = format!("{:.0} s", first.budget_s);
    let share = |name: &str, of: Vec<bool>, target| {
        let failed: Vec<f64> = of
            .iter()
            .map(|failed| f64::from(u8::from(*failed)))
            .collect();
        let count = of.len();
        let mean = (count > 0).then(|| failed.iter().sum::<f64>() / count as f64);
        Row::new(
            format!("{name}, {count} bugs"),
            "share",
            &mean.into_iter().collect::<Vec<_>>(),
            target,
        )
    };
    let reruns = |pick: fn(&Compared) -> &Option<Rerun>| -> Vec<bool> {
        all.iter()
            .filter_map(|one| Some(pick(one).as_ref()?.failed.is_some()))
            .collect()
    };
    let mut rows = vec![
        share(
            &format!("plain: reproduced within {within}"),
            reruns(|one| &one.plain),
            Target::None,
        ),
        share(
            &format!("stress-ng: reproduced within {within}"),
            reruns(|one| &one.noise),
            Target::None,
        ),
    ];
    let told: Vec<&Compared> = all.iter().filter(|one| one.told.is_some()).collect();
    let reproduced = told
        .iter()
        .map(|one| one.told.as_ref().is_some_and(|told| told.runs.is_some()));
    rows.push(share(
        &format!("cohort: reproduced within {within}"),
        reproduced.collect(),
        Target::AtLeast(REPRODUCED),
    ));
    let with_cause = told.iter().filter(|one| !one.conditions.is_empty());
    let right = with_cause.map(|one| one.named() == Some(true));
    rows.push(share(
        "cohort: condition named right",
        right.collect(),
        Target::AtLeast(NAMED_RIGHT),
    ));
    let wrong = told.iter().map(|one| one.named() == Some(false));
    rows.push(share(
        "cohort: condition named wrong",
        wrong.collect(),
        Target::AtMost(NAMED_WRONG),
    ));
    rows.extend(ratios(&told));
    rows.retain(|row| row.value.is_some());
    rows
}

fn ratios(told: &[&Compared]) -> Vec<Row> {
    let of = |pick: &dyn Fn(&Compared) -> bool| -> Vec<f64> {
        let picked = told.iter().filter(|one| pick(one));
        picked.filter_map(|one| one.ratio()).collect()
    };
    let row = |name: &str, ratios: &[f64], target| {
        let name = format!("{name}, {} bugs", ratios.len());
        let mut row = Row::new(
            name,
            "ratio",
            &geometric(ratios).into_iter().collect::<Vec<_>>(),
            target,
        );
        row.low = ratios.iter().copied().reduce(f64::min);
        row.high = ratios.iter().copied().reduce(f64::max);
        row
    };
    let all = of(&|_| true);
    let varied = of(&|one| one.base > 0.0);
    let both = of(&|one| {
        let plain = one
            .plain
            .as_ref()
            .is_some_and(|plain| plain.failed.is_some());
        plain && one.told.as_ref().is_some_and(|told| told.runs.is_some())
    });
    let mut rows = vec![
        row(
            "cohort: runs against plain, geometric mean",
            &all,
            Target::AtMost(RUNS),
        ),
        row("  of those that plain runs can show", &varied, Target::None),
        row("  of those that both ways showed", &both, Target::None),
    ];
    let seconds: Vec<f64> = told
        .iter()
        .filter_map(|one| {
            let plain = one.plain.as_ref()?;
            let ours = one.told.as_ref()?.after_s.unwrap_or(one.budget_s);
            Some(ours.max(0.01) / plain.took_s.max(0.01))
        })
        .collect();
    rows.push(row(
        "cohort: time against plain, geometric mean",
        &seconds,
        Target::None,
    ));
    if let Some(runs) = median(
        &told
            .iter()
            .filter_map(|one| Some(f64::from(one.told.as_ref()?.runs?)))
            .collect::<Vec<_>>(),
    ) {
        rows.push(Row::new(
            "cohort: runs to the first failure",
            "runs",
            &[runs],
            Target::None,
        ));
    }
    rows
}

/// The geometric mean.
fn geometric(values: &[f64]) -> Option<f64> {
    let logs: f64 = values.iter().map(|value| value.ln()).sum();
    (!values.is_empty()).then(|| (logs / values.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(plain: (u32, bool), cohort: Option<u32>, named: &[&str]) -> Compared {
        Compared {
            conditions: vec!["schedule".into()],
            plain: Some(Rerun {
                runs: plain.0,
                took_s: 1.0,
                failed: plain.1.then(Vec::new),
            }),
            told: Some(Told {
                runs: cohort,
                after_s: cohort.map(|_| 1.0),
                runs_all: 1000,
                named: named.iter().map(|name| (*name).to_owned()).collect(),
                sentence: String::new(),
            }),
            ..Compared::default()
        }
    }

    #[test]
    fn what_never_failed_plainly_counts_as_its_budget() {
        let all = [
            compared((100, true), Some(10), &["schedule"]),
            compared((999, false), Some(10), &["noise"]),
            compared((10, true), None, &[]),
        ];
        let ratios: Vec<f64> = all.iter().filter_map(Compared::ratio).collect();
        assert_eq!(ratios, [0.1, 0.01, 100.1]);
        let named: Vec<Option<bool>> = all.iter().map(Compared::named).collect();
        assert_eq!(named, [Some(true), Some(false), None]);
    }

    #[test]
    fn the_test_that_ran_before_has_to_be_the_right_one() {
        let mut one = compared((1, true), Some(1), &["before tests/a.py::first"]);
        assert_eq!(one.named(), Some(false));
        one.before = Some("tests/a.py::first".into());
        assert_eq!(one.named(), Some(true));
        one.before = Some("tests/a.py::other".into());
        assert_eq!(one.named(), Some(false));
    }
}
