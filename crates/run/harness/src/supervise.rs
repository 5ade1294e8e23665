//! Several instances for the targets of a project, for some time.
//!
//! Instances of one target differ: in their random numbers, and in how long their inputs may be, since short inputs run
//! fast and long ones reach what short ones cannot. More targets than instances take turns.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cohort_host::cgroup::{CampaignGroup, Layout};
use cohort_host::process::Owner;
use cohort_model::InstanceId;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::instance::Instance;
use crate::sift::{Found, sift};
use crate::work::Plan;
use crate::{Error, Limits, Target, execute};

/// Longest inputs of the instances of a target, in turn, bytes.
const LONGEST: [usize; 3] = [4096, 128, 64 << 10];
/// How often the instances are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How often progress is told.
const TELL: Duration = Duration::from_secs(5);
/// An engine that ends sooner, and left nothing, does not work.
const QUICK: Duration = Duration::from_millis(500);

/// What a session of fuzzing is to be.
#[derive(Debug)]
pub struct Setup<'a> {
    /// What is fuzzed.
    pub targets: &'a [Target],
    /// Where inputs are kept from session to session: `TARGET/corpus`, `TARGET/crashes`, and what is found.
    pub home: &'a Path,
    /// This program, which runs `harness PLAN`.
    pub executable: &'a Path,
    /// How long in all, without what is done with its results.
    pub time: Duration,
    /// Of one execution.
    pub limits: Limits,
    /// CPU for all instances, cores.
    pub cores: f64,
    /// Memory for all of them, bytes.
    pub memory: u64,
    /// What is random follows from it.
    pub seed: u64,
}

/// What is told meanwhile.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Instances began.
    Begun {
        /// How many run at once.
        instances: usize,
        /// Names of the targets.
        targets: Vec<String>,
    },
    /// Where they stand.
    Stand {
        /// Executions of all so far.
        runs: u64,
        /// Inputs that are kept in the instance with the most.
        kept: u64,
        /// Inputs that broke a target, before they are compared.
        crashes: usize,
        /// Of the time.
        left: Duration,
    },
    /// Something the user should know.
    Note(String),
    /// What broke a target is run again and cut.
    Sifting(usize),
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Executions.
    pub runs: u64,
    /// One input for each bug.
    pub found: Vec<Found>,
}

/// Fuzzes all targets.
///
/// # Errors
/// When a harness cannot be started, files cannot be written, or the user ends it.
pub fn fuzz(setup: &Setup<'_>, tell: &mut dyn FnMut(Progress)) -> Result<Outcome, Error> {
    let interrupts =
        Interrupts::hold().map_err(Error::file("listen for signals by", Path::new("signalfd")))?;
    let scratch = tempfile::Builder::new().prefix("cohort-fuzz-").tempdir();
    let scratch = scratch.map_err(Error::file("make a directory in", &std::env::temp_dir()))?;
    for target in setup.targets {
        prepare(target, setup, scratch.path(), tell)?;
    }
    let group = groups(setup, tell);
    let count = (setup.cores.ceil() as usize).clamp(1, 16);
    let turns: Vec<&[Target]> = setup.targets.chunks(count).collect();
    let mut runs = 0;
    tell(Progress::Begun {
        instances: count,
        targets: setup.targets.iter().map(Target::told).collect(),
    });
    for (number, targets) in turns.iter().enumerate() {
        let left = setup
            .time
            .mul_f64((turns.len() - number) as f64 / turns.len() as f64);
        let turn = Turn {
            setup,
            scratch: scratch.path(),
            group: group.as_ref(),
            interrupts: &interrupts,
            begun: Instant::now(),
            time: setup.time / turns.len() as u32,
            rest: left,
            number,
        };
        runs += turn.run(targets, count, runs, tell)?;
    }
    let mut found = Vec::new();
    for target in setup.targets {
        found.extend(sift(target, setup, scratch.path(), tell)?);
        if interrupts.came() {
            return Err(Error::Stopped);
        }
    }
    Ok(Outcome { runs, found })
}

/// Makes its directories, and runs it once: a program that is not there is told at once.
fn prepare(
    target: &Target,
    setup: &Setup<'_>,
    scratch: &Path,
    tell: &mut dyn FnMut(Progress),
) -> Result<(), Error> {
    for folder in ["corpus", "crashes"] {
        let folder = setup.home.join(&target.name).join(folder);
        fs::create_dir_all(&folder).map_err(Error::file("make", &folder))?;
    }
    if let Some(lacks) = target.lacks() {
        tell(Progress::Note(lacks));
    }
    let empty = scratch.join("empty");
    fs::write(&empty, "").map_err(Error::file("write", &empty))?;
    let run = execute(target, &empty, scratch, setup.limits).map_err(|source| Error::Start {
        command: target.command.join(" "),
        source,
    })?;
    if let Some(symptom) = run.fault() {
        let what = match symptom.message.is_empty() {
            true => symptom.class,
            false => format!("{}: {}", symptom.class, symptom.message),
        };
        tell(Progress::Note(format!(
            "{} fails on an empty input already ({what}); other bugs may stand behind this one",
            target.name
        )));
    }
    Ok(())
}

fn groups(setup: &Setup<'_>, tell: &mut dyn FnMut(Progress)) -> Option<CampaignGroup> {
    let root = Path::new("/");
    let owner = Owner::current(root).ok()?;
    let mut missing = Vec::new();
    let group = CampaignGroup::where_permitted(
        &Layout::detect(root).ok()?,
        &owner.to_string(),
        &mut missing,
    );
    if group.is_none() {
        missing
            .into_iter()
            .for_each(|missing| tell(Progress::Note(missing)));
    }
    if let Some(group) = &group {
        // Where these cannot be set, the limits of each execution still hold.
        let _ = group.set_memory_limit(setup.memory);
        let _ = group.set_cpu_limit(setup.cores);
    }
    group
}

/// Some targets, for a part of the time.
struct Turn<'a> {
    setup: &'a Setup<'a>,
    scratch: &'a Path,
    group: Option<&'a CampaignGroup>,
    interrupts: &'a Interrupts,
    begun: Instant,
    time: Duration,
    /// With the turns after it.
    rest: Duration,
    number: usize,
}

impl Turn<'_> {
    fn run(
        &self,
        targets: &[Target],
        count: usize,
        runs_before: u64,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<u64, Error> {
        let mut instances = Vec::new();
        for index in 0..count {
            let plan = self.plan(
                &targets[index % targets.len()],
                index,
                index / targets.len(),
            );
            let id = InstanceId((self.number * count + index) as u32);
            let group = self.group.and_then(|group| group.maker().make(id).ok());
            if let Some(group) = &group {
                let _ = group.set_cpu_limit(Some(self.setup.cores / count as f64));
            }
            let command = plan.target.command.join(" ");
            let started = Instance::start(plan, group, self.setup);
            instances.push((
                started.map_err(|source| Error::Start { command, source })?,
                Instant::now(),
            ));
        }
        let ended = self.watch(&mut instances, runs_before, tell);
        instances.iter_mut().for_each(|(one, _)| one.gather());
        let runs = instances
            .iter()
            .map(|(instance, _)| instance.stand().0)
            .sum();
        for (instance, _) in instances {
            instance.end();
        }
        ended.map(|()| runs)
    }

    fn plan(&self, target: &Target, index: usize, kind: usize) -> Plan {
        let scratch = self.scratch.join(format!("{}-{index}", self.number));
        let share = self.setup.memory / 2;
        Plan {
            shared: self.setup.home.join(&target.name),
            stand: scratch.with_extension("stand"),
            scratch,
            seed: self
                .setup
                .seed
                .wrapping_mul(1000)
                .wrapping_add(index as u64 + 1),
            time_ms: self.time.as_millis() as u64,
            limits: Limits {
                memory: self.setup.limits.memory.min(share),
                ..self.setup.limits
            },
            longest: LONGEST[kind % LONGEST.len()],
            target: target.clone(),
        }
    }

    /// Until the time is over.
    fn watch(
        &self,
        instances: &mut [(Instance, Instant)],
        runs_before: u64,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<(), Error> {
        let mut told = Instant::now();
        loop {
            let left = self.time.saturating_sub(self.begun.elapsed());
            if self.interrupts.came() {
                return Err(Error::Stopped);
            }
            if left.is_zero() || instances.is_empty() {
                return Ok(());
            }
            for instance in instances.iter_mut() {
                self.goes_on(instance, left, tell)?;
            }
            if told.elapsed() >= TELL {
                told = Instant::now();
                instances.iter_mut().for_each(|(one, _)| one.gather());
                tell(self.stand(instances, runs_before));
            }
            std::thread::sleep(LOOK.min(left));
        }
    }

    /// Starts an engine again that has ended.
    fn goes_on(
        &self,
        (instance, since): &mut (Instance, Instant),
        left: Duration,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<(), Error> {
        if instance.runs() || left < QUICK {
            return Ok(());
        }
        if since.elapsed() < QUICK && self.crashes() == 0 {
            let said = instance.said();
            let mut lines = said.lines().rev();
            let why = lines.clone().find(|line| line.contains("PROGRAM ABORT"));
            let line = why.or_else(|| lines.find(|line| !line.trim().is_empty()));
            tell(Progress::Note(format!(
                "the engine of {} ended at once: {}",
                instance.target().name,
                line.unwrap_or("it said nothing")
            )));
        }
        // One that ends at each of its first inputs must not take all of the time to be started.
        if since.elapsed() < QUICK {
            std::thread::sleep(QUICK.min(left));
        }
        *since = Instant::now();
        let command = instance.target().command.join(" ");
        let left_ms = left.as_millis() as u64;
        instance
            .again(left_ms, self.setup)
            .map_err(|source| Error::Start { command, source })
    }

    fn crashes(&self) -> usize {
        let folder = |target: &Target| self.setup.home.join(&target.name).join("crashes");
        self.setup
            .targets
            .iter()
            .map(|target| files(&folder(target)).len())
            .sum()
    }

    fn stand(&self, instances: &[(Instance, Instant)], runs_before: u64) -> Progress {
        let stands = instances.iter().map(|(instance, _)| instance.stand());
        let (runs, kept) = stands.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1.max(one.1)));
        Progress::Stand {
            runs: runs_before + runs,
            kept,
            crashes: self.crashes(),
            left: self.rest.saturating_sub(self.begun.elapsed()),
        }
    }
}

/// Files in a folder, in the order of their names.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

/// Ctrl-C, held back so that nothing is left running.
struct Interrupts {
    signals: SigSet,
    file: SignalFd,
}

impl Interrupts {
    fn hold() -> std::io::Result<Self> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        signals.thread_block()?;
        let file = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { signals, file })
    }

    fn came(&self) -> bool {
        matches!(self.file.read_signal(), Ok(Some(_)))
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        let _ = self.signals.thread_unblock();
    }
}
