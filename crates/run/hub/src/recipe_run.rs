//! How one run of a recipe is carried out: which program, under which order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use cohort_conditions::{Command, Order, Times};
use cohort_coverage::{Built, Recording};
use cohort_host::cgroup::Controller;
use cohort_model::{Batch, CasePart, Condition, ConditionKind, Recipe, TestId};
use cohort_workload::Launch;
use cohort_workload::pytest::{Single, SingleBatch};

use crate::discover::Runner;
use crate::ground::Ground;
use crate::instance::Squeeze;
use crate::located::Located;
use crate::stood::STACKS;

/// What `cohort under` is told, and what it tells, in the directory of a run.
pub(crate) const UNDER_ORDER: &str = "under.json";
pub(crate) const UNDER_REPORT: &str = "under.report.json";
/// How many runs of a batch passed before the one under way, in the same directory.
pub(crate) const PROGRESS: &str = "passed";
/// Names the files of the test that a run is about.
pub(crate) const LABEL: &str = "test";

/// Lines that are recorded, and the programs that tell them.
pub(crate) type Recorded = (Recording, Vec<PathBuf>);

/// One run of a recipe.
pub(crate) struct RecipeRun<'a> {
    pub(crate) runner: &'a Runner,
    pub(crate) ground: &'a Ground,
    pub(crate) test: TestId,
    pub(crate) recipe: &'a Recipe,
    /// The scratch directory of its instance.
    pub(crate) scratch: &'a Path,
    /// The number by which suites tell parallel workers apart.
    pub(crate) worker: u32,
    /// For someone who looks on: its output is its runner's own, and nothing is reported to Cohort.
    pub(crate) plain: bool,
    /// It is run several times, one after the other; none: once.
    pub(crate) batch: Option<&'a Batch>,
    /// It is ended once nothing of it can go on before so long, microseconds; none: nobody looks.
    pub(crate) limit_us: Option<u64>,
    /// Its own, which is made: files by which it is told what to do and tells what came of it.
    pub(crate) directory: &'a Path,
}

/// What the control group of an instance is to do for a recipe.
pub(crate) fn squeeze_of(recipe: &Recipe, ground: &Ground) -> Squeeze {
    let mut squeeze = Squeeze::default();
    for condition in &recipe.conditions {
        match *condition {
            Condition::CpuLimit { cores } if ground.limits(Controller::Cpu) => {
                squeeze.cores = Some(cores);
            }
            Condition::MemoryLimit { bytes } if ground.limits(Controller::Memory) => {
                squeeze.memory = Some(bytes);
            }
            _ => {}
        }
    }
    squeeze
}

impl RecipeRun<'_> {
    /// How it is carried out; makes its directory. `located` has the lines recorded that it runs, when
    /// the recipe wants that.
    pub(crate) fn launch(
        &self,
        located: Option<&Located>,
    ) -> io::Result<(Launch, Option<Recorded>)> {
        fs::create_dir(self.directory)?;
        let before: Vec<TestId> = self.recipe.parts.iter().filter_map(before).collect();
        let beside: Vec<TestId> = self.recipe.parts.iter().filter_map(beside).collect();
        let together = matches!(self.runner, Runner::Python(_));
        let inside: &[TestId] = if together { &before } else { &[] };
        let anew = if self.recipe.coverage {
            self.launch_anew()
        } else {
            None
        };
        let built = match &anew {
            Some(_) => Built::Here,
            None => Built::Elsewhere,
        };
        let (mut launch, programs) = match anew {
            Some(anew) => anew,
            None => (self.test_launch(LABEL, (inside, self.test))?, Vec::new()),
        };
        if let Some(other) = self.launch_on_input()? {
            launch = other;
        }
        let recording = match located {
            Some(located) if self.recipe.coverage => {
                located.record(&mut launch, (built, self.directory))
            }
            _ => None,
        };
        let recording = recording.map(|recording| (recording, programs));
        let mut order = Order {
            conditions: self.recipe.conditions.clone(),
            report: Some(self.directory.join(UNDER_REPORT)),
            limit_us: self.limit_us,
            ..Order::default()
        };
        if self.recipe.stacks {
            order.evidence = Some(self.directory.join(STACKS));
        }
        order.times = self.batch.filter(|_| !self.is_warm()).map(|batch| Times {
            batch: batch.clone(),
            scratch: self.own_scratch().map(Path::to_owned),
            progress: self.directory.join(PROGRESS),
        });
        let squeeze = squeeze_of(self.recipe, self.ground);
        let grouped = squeeze.kinds();
        order
            .conditions
            .retain(|condition| !grouped.contains(&condition.kind()));
        order.fallback = [
            ConditionKind::CpuLimit,
            ConditionKind::MemoryLimit,
            ConditionKind::DiskRate,
        ]
        .into_iter()
        .filter(|kind| !grouped.contains(kind))
        .collect();
        if !together {
            for &test in &before {
                order
                    .before
                    .push(command(&self.test_launch("", (&[], test))?, &launch));
            }
        }
        for (place, &test) in beside.iter().enumerate() {
            let label = format!("beside-{place}");
            let other = self.test_launch(&label, (&[], test))?;
            order.beside.push(command(&other, &launch));
        }
        let plain =
            order.conditions.is_empty() && order.evidence.is_none() && order.times.is_none();
        // A first hang would take all of its time otherwise.
        let looked_at = order.limit_us.is_some();
        if plain && !looked_at && order.before.is_empty() && order.beside.is_empty() {
            return Ok((launch, recording));
        }
        Ok((self.under(&order, launch)?, recording))
    }

    /// The test on the input that the recipe has, which is written for it.
    fn launch_on_input(&self) -> io::Result<Option<Launch>> {
        let (Runner::Processes(launches), Some(input)) = (self.runner, &self.recipe.input) else {
            return Ok(None);
        };
        let folder = self.directory.join("input");
        let Some((launch, file)) = launches.launch_on(self.test, &folder) else {
            return Ok(None);
        };
        fs::create_dir_all(&folder)?;
        fs::write(file, input)?;
        Ok(Some(launch))
    }

    /// The test in a program that tells which lines it runs, where one was built, and what it may start.
    fn launch_anew(&self) -> Option<(Launch, Vec<PathBuf>)> {
        match self.runner {
            Runner::Processes(launches) => launches.cargo()?.launch_anew(self.test),
            Runner::Python(_) => None,
        }
    }

    /// Whether the runs of a batch are forked from one pytest process that has collected: they find what was
    /// set when it was started, and what is done while they run, but not what follows from a seed or a clock
    /// at its start.
    fn is_warm(&self) -> bool {
        let Runner::Python(python) = self.runner else {
            return false;
        };
        let Some(batch) = self.batch else {
            return false;
        };
        let cold = |one: &Condition| match one.kind() {
            ConditionKind::Seed | ConditionKind::Clock | ConditionKind::Copies => true,
            ConditionKind::DirectoryOrder => batch.stepped.contains(&one.kind()),
            _ => false,
        };
        python.forks && !self.recipe.coverage && !self.recipe.conditions.iter().any(cold)
    }

    /// The scratch directory, unless it is a private `/tmp`, in which mount points lie.
    fn own_scratch(&self) -> Option<&Path> {
        let isolation = self.ground.isolation;
        (!isolation.mount && !isolation.pid).then_some(self.scratch)
    }

    /// The same program under an order.
    fn under(&self, order: &Order, launch: Launch) -> io::Result<Launch> {
        let path = self.directory.join(UNDER_ORDER);
        fs::write(&path, serde_json::to_vec(order)?)?;
        let mut args = vec!["under".into(), "--order".into(), path.into(), "--".into()];
        args.push(launch.program.into());
        args.extend(launch.args);
        Ok(Launch {
            program: self.ground.executable().to_owned(),
            args,
            ..launch
        })
    }

    /// How one test is run, `before` in the same process where the suite's runner does so.
    fn test_launch(&self, label: &str, (before, test): (&[TestId], TestId)) -> io::Result<Launch> {
        let python = match self.runner {
            Runner::Processes(launches) => return Ok(launches.launch(test)),
            Runner::Python(python) => python,
        };
        let names: Vec<String> = before
            .iter()
            .chain([&test])
            .map(|test| python.names[test.index()].clone())
            .collect();
        let seed = self.recipe.conditions.iter().find_map(|one| match one {
            // What pytest-randomly takes has 32 bits.
            Condition::Seed { seed } => Some((seed & 0xffff_ffff).to_string()),
            _ => None,
        });
        let list = python.collected.as_ref();
        let seed = seed.or_else(|| list.and_then(|list| list.seed.clone()));
        if self.plain {
            return Ok(python.suite.plain_launch(&names, seed.as_deref()));
        }
        python.suite.single_launch(&Single {
            names: &names,
            seed: seed.as_deref(),
            plugin_dir: &python.plugin_dir,
            tmpdir: self.scratch,
            directory: self.directory,
            label,
            worker: self.worker,
            finish: false,
            batch: self
                .batch
                .filter(|_| label == LABEL && self.is_warm())
                .map(|batch| SingleBatch {
                    runs: batch.runs,
                    us: batch.us,
                    progress: self.directory.join(PROGRESS),
                    scratch: self.own_scratch().map(Path::to_owned),
                }),
        })
    }
}

/// A launch as a program beside another one.
fn command(launch: &Launch, main: &Launch) -> Command {
    let text = |word: &std::ffi::OsStr| word.to_string_lossy().into_owned();
    let own: BTreeMap<_, _> = launch
        .env
        .iter()
        .map(|(name, value)| (name, value))
        .collect();
    let others: BTreeMap<_, _> = main.env.iter().map(|(name, value)| (name, value)).collect();
    let mut environment = BTreeMap::new();
    for (name, value) in &own {
        if others.get(name) != Some(value) && *name != "TMPDIR" {
            environment.insert(text(name), Some(text(value)));
        }
    }
    for name in others.keys().filter(|name| !own.contains_key(*name)) {
        environment.insert(text(name), None);
    }
    Command {
        program: text(launch.program.as_os_str()),
        arguments: launch.args.iter().map(|word| text(word)).collect(),
        directory: Some(launch.cwd.clone()),
        environment,
    }
}

fn beside(part: &CasePart) -> Option<TestId> {
    match part {
        CasePart::Beside(test) => Some(*test),
        _ => None,
    }
}

fn before(part: &CasePart) -> Option<TestId> {
    match part {
        CasePart::Before(test) => Some(*test),
        _ => None,
    }
}
