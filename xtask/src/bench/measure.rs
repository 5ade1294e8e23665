//! One run of one contender on one suite: its wall time, its CPU, and what each test did.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};

use super::contender::{Contender, Tools};
use super::junit::{self, Case};
use super::memory::Limited;
use super::suite::Suite;
use crate::error::Error;
use crate::run;

/// What one run gave.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// Start to exit, seconds.
    pub wall_s: f64,
    /// CPU of the contender and all it waited for, seconds.
    pub cpu_s: f64,
    /// CPU that everything else on this host used meanwhile, seconds: a busy host makes noise.
    pub others_cpu_s: f64,
    /// Every test it reported.
    pub cases: Vec<Case>,
}

impl Measured {
    /// Tests that ran.
    pub(crate) fn ran(&self) -> usize {
        self.cases.iter().filter(|case| !case.skipped).count()
    }

    /// Names of the tests that failed.
    pub(crate) fn failed(&self) -> Vec<String> {
        let failed = self.cases.iter().filter(|case| case.failed);
        failed.map(|case| case.name.clone()).collect()
    }

    /// The test that took longest.
    pub(crate) fn slowest(&self) -> Option<&Case> {
        self.cases
            .iter()
            .max_by(|a, b| a.seconds.total_cmp(&b.seconds))
    }
}

/// Whether Cohort remembers earlier runs of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum History {
    /// Its project folder is removed before.
    None,
    /// What the last run left is there.
    Kept,
}

/// Runs `contender` on `suite`. A non-zero exit code is no error, since suites have failures of
/// their own; a report without tests is.
pub(crate) fn measure(
    contender: &Contender,
    suite: &Suite,
    tools: &Tools,
    history: History,
) -> Result<Measured, Error> {
    let prepared = Prepared::new(contender, suite, tools, history)?;
    let command = contender.command(suite, tools, &prepared.junit)?;
    prepared.measure(command)
}

/// The same in a memory cgroup. A shell enters it and becomes the contender.
pub(crate) fn measure_inside(
    contender: &Contender,
    suite: &Suite,
    tools: &Tools,
    history: History,
    limited: &Limited,
) -> Result<Measured, Error> {
    let prepared = Prepared::new(contender, suite, tools, history)?;
    let inner = contender.command(suite, tools, &prepared.junit)?;
    let mut command = Command::new("sh");
    command
        .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
        .arg(limited.procs());
    command
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(&suite.dir);
    tools.clean_environment(&mut command, suite);
    prepared.measure(command)
}

/// Where one run leaves what it says.
pub(crate) struct Prepared {
    runner: String,
    suite: String,
    junit: PathBuf,
    log: PathBuf,
}

impl Prepared {
    /// Makes the files, and forgets the history if there is to be none.
    pub(crate) fn new(
        contender: &Contender,
        suite: &Suite,
        tools: &Tools,
        history: History,
    ) -> Result<Prepared, Error> {
        if history == History::None {
            run::remove_dir(&suite.dir.join(".cohort"))?;
        }
        let stem = format!("{}-{}", suite.name, contender.name()).replace([' ', '/', ','], "_");
        let logs = tools.work.join("logs");
        let (junit, log) = (
            logs.join(format!("{stem}.xml")),
            logs.join(format!("{stem}.log")),
        );
        run::write(&junit, "")?;
        Ok(Prepared {
            runner: contender.name(),
            suite: suite.name.clone(),
            junit,
            log,
        })
    }

    /// Where the report is to be written.
    pub(crate) fn junit(&self) -> &Path {
        &self.junit
    }

    fn measure(self, mut command: Command) -> Result<Measured, Error> {
        let unwritable = |source| Error::File {
            path: self.log.clone(),
            action: "written",
            source,
        };
        let out = File::create(&self.log).map_err(unwritable)?;
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone().map_err(unwritable)?)
            .stderr(out);
        let (cpu_before_s, host_before_s) = (children_cpu_s(), host_cpu_s());
        let start = Instant::now();
        let status = run::status(&mut command)?;
        let wall_s = start.elapsed().as_secs_f64();
        let cpu_s = children_cpu_s() - cpu_before_s;
        let others_cpu_s = (host_cpu_s() - host_before_s - cpu_s).max(0.0);
        let cases = junit::cases(&run::read(&self.junit)?);
        if cases.is_empty() {
            return Err(Error::NoResults {
                runner: self.runner,
                suite: self.suite,
                why: format!("it ended with {status}"),
                log: self.log,
            });
        }
        Ok(Measured {
            wall_s,
            cpu_s,
            others_cpu_s,
            cases,
        })
    }
}

/// CPU of all children that ended and were waited for, theirs included, seconds.
fn children_cpu_s() -> f64 {
    let seconds = |time: nix::sys::time::TimeVal| {
        std::time::Duration::new(
            u64::try_from(time.tv_sec()).unwrap_or(0),
            u32::try_from(time.tv_usec() * 1000).unwrap_or(0),
        )
        .as_secs_f64()
    };
    getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0.0, |usage| {
        seconds(usage.user_time()) + seconds(usage.system_time())
    })
}

/// CPU that the whole host used since it started, seconds: the line `cpu` of `/proc/stat`, without
/// idle and iowait, in ticks of 10 ms (proc_stat(5)). Zero where that cannot be read.
fn host_cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks = line
        .split_whitespace()
        .skip(1)
        .map(|n| n.parse::<f64>().unwrap_or(0.0));
    // user, nice, system, idle, iowait, irq, softirq; guest time is part of user.
    let busy = ticks
        .take(7)
        .enumerate()
        .filter(|(at, _)| !matches!(at, 3 | 4));
    busy.map(|(_, ticks)| ticks).sum::<f64>() / 100.0
}
