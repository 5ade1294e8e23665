//! Plain rerunning, rerunning beside stress-ng, and Cohort, on the same bug with the same time.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::bugs::{Bug, Bugs};
use super::campaign::{self, Campaign};
use super::plain::{self, cores};
use super::score::Compared;
use crate::error::Error;
use crate::run;

/// How bugs are run.
pub(super) struct Ways<'a> {
    pub bugs: &'a Bugs,
    pub cohort: &'a Path,
    pub work: &'a Path,
    /// For each bug, way and campaign.
    pub budget: Duration,
    /// The same for each campaign of Cohort.
    pub cohort_budget: Duration,
    /// Campaigns of Cohort on each bug.
    pub campaigns: usize,
    /// Which ways are gone.
    pub plain: bool,
    pub noise: bool,
    pub stressed: bool,
}

impl Ways<'_> {
    /// Runs a bug all ways, one after the other, so that each has all cores.
    pub(super) fn compare(&self, bug: &Bug) -> Result<Compared, Error> {
        let mut compared = Compared::new(bug);
        if self.plain {
            compared.plain = Some(plain::rerun(self.bugs, bug, self.budget)?);
        }
        if self.noise {
            compared.noise = match Noise::start() {
                Ok(_noise) => Some(plain::rerun(self.bugs, bug, self.budget)?),
                Err(error) => {
                    eprintln!("  without stress-ng: {error}");
                    None
                }
            };
        }
        if self.stressed {
            for round in 0..self.campaigns {
                let seen = campaign::run(&self.campaign(bug, round))?;
                compared.told.push(seen.told(bug));
            }
        }
        Ok(compared)
    }

    /// `--stress` on the test, as if it had never failed.
    fn campaign<'a>(&'a self, bug: &'a Bug, round: usize) -> Campaign<'a> {
        let for_s = format!("{}s", self.cohort_budget.as_secs());
        let flags = ["--stress", &bug.test, "--for", &for_s];
        let kept = match round {
            0 => bug.name.clone(),
            _ => format!("{}-{}", bug.name, round + 1),
        };
        Campaign {
            bugs: self.bugs,
            bug,
            cohort: self.cohort,
            flags: flags.map(str::to_owned).to_vec(),
            tests: tests(bug),
            within: self.cohort_budget,
            kept: self.work.join("logs").join(kept),
        }
    }
}

/// Arguments that pick the file of a bug's test, or the test.
fn tests(bug: &Bug) -> Vec<String> {
    match bug.test.split_once("::") {
        Some((file, _)) if bug.is_python() => vec![file.to_owned()],
        _ => vec![bug.test.clone()],
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
