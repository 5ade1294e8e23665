//! What a campaign stands on: its control groups, its scratch directory, its instances.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use cohort_host::cgroup::{CampaignGroup, CampaignReader, Controller, Layout};
use cohort_host::init::{Limits, Setup as InitSetup, ToInit};
use cohort_host::process::{self, Owner};
use cohort_host::remains::{self, SCRATCH_MARKER};
use cohort_host::{InstanceReader, TreeReader};
use cohort_model::{Allotment, InstanceId, Isolation};
use tokio::task::JoinHandle;

use crate::Error;
use crate::discover::Instances;
use crate::event::{Event, Events};
use crate::instance::{Instance, Making};

/// Most that is kept of each output stream of a thread, bytes.
const OUTPUT_BYTES_MAX: u64 = 4 << 20;
/// Least distance between the budget and the campaign's own memory limit, bytes.
const BACK_UP_BYTES_MIN: u64 = 64 << 20;

/// Most tasks of an instance: no test needs as many, and a fork bomb ends there.
pub(crate) const TASKS_MAX: u64 = 16_384;
/// Open files of this process, beside those of instances, and for each instance.
const FILES_OWN: u64 = 64;
/// See [`FILES_OWN`]: readings, signals, the socket to its init, and some while it is made.
const FILES_EACH: u64 = 26;
/// How much a test gives way when it has no claim to be preferred, where there are no control groups
/// to say so (nice(2)).
const NICE: u8 = 5;
/// Instances of more than this weight do not give way.
const EQUAL_WEIGHT: u32 = 100;

/// Where instances are made.
pub(crate) struct Ground {
    layout: Layout,
    group: Option<CampaignGroup>,
    pub(crate) scratch: PathBuf,
    /// Within it: what all instances see, private mount tables or not.
    pub(crate) shared: PathBuf,
    pub(crate) missing: Vec<String>,
    executable: PathBuf,
    pub(crate) isolation: Isolation,
    visible: Vec<PathBuf>,
    limits: Limits,
    events: Events,
}

/// How a campaign's ground is to be.
pub(crate) struct Wanted {
    /// CPUs it may run on; empty: all that this process may.
    pub(crate) cpus: Vec<u32>,
    pub(crate) executable: PathBuf,
    pub(crate) isolation: Isolation,
    /// Must stay visible in a private mount table.
    pub(crate) visible: Vec<PathBuf>,
    pub(crate) events: Events,
}

impl Ground {
    pub(crate) fn prepare(layout: Layout, wanted: Wanted) -> Result<Self, Error> {
        let owner = Owner::current(Path::new("/")).map_err(|source| Error::Host {
            what: "read /proc/self/stat".to_owned(),
            source,
        })?;
        let mut missing = Vec::new();
        let group = CampaignGroup::where_permitted(&layout, &owner.to_string(), &mut missing);
        let counts_tasks = group
            .as_ref()
            .is_some_and(|group| group.controls(Controller::Pids));
        let limits = Limits {
            cpus: wanted.cpus,
            open_files: process::raise_open_files().ok(),
            tasks: process::tasks_on_host(Path::new("/"))
                .filter(|_| !counts_tasks)
                .map(|tasks| tasks + TASKS_MAX),
        };
        let scratch = std::env::temp_dir().join(owner.to_string());
        let shared = scratch.join("shared");
        let mut private = fs::DirBuilder::new();
        private.mode(0o700);
        private
            .create(&scratch)
            .and_then(|()| fs::write(scratch.join(SCRATCH_MARKER), ""))
            .and_then(|()| private.create(&shared))
            .map_err(|source| Error::Host {
                what: format!("create {}", scratch.display()),
                source,
            })?;
        let mut visible = wanted.visible;
        visible.push(shared.clone());
        Ok(Self {
            layout,
            group,
            scratch,
            shared,
            missing,
            executable: wanted.executable,
            isolation: wanted.isolation,
            visible,
            limits,
            events: wanted.events,
        })
    }

    /// Whether instances are control groups whose memory limit holds a thread.
    pub(crate) fn holds_memory(&self) -> bool {
        self.group
            .as_ref()
            .is_some_and(|group| group.controls(Controller::Memory))
    }

    /// Whether an instance's use of this can be limited by its control group.
    pub(crate) fn limits(&self, controller: Controller) -> bool {
        let group = self.group.as_ref();
        group.is_some_and(|group| group.controls(controller))
    }

    /// This very program.
    pub(crate) fn executable(&self) -> &Path {
        &self.executable
    }

    /// How many instances the limit of open files allows.
    pub(crate) fn instances_max(&self) -> u32 {
        let files = process::open_files_max().unwrap_or(1024);
        let instances = files.saturating_sub(FILES_OWN) / FILES_EACH;
        u32::try_from(instances).unwrap_or(u32::MAX).max(1)
    }

    /// Backs the budget up: limits on all instances together. A host that refuses one still has the
    /// limits of each instance.
    pub(crate) fn limit(&self, memory: u64, cores: Option<f64>) {
        if let Some(group) = &self.group {
            // The instances' own limits stand in any case; this one only backs them up. It must be
            // beyond the wall of an instance that has it all: there the kernel kills unattributed.
            let beyond = (memory / 2).max(BACK_UP_BYTES_MIN);
            let _ = group.set_memory_limit(memory.saturating_add(beyond));
            let _ = cores.map(|cores| group.set_cpu_limit(cores));
        }
    }

    pub(crate) fn reader(&self) -> CampaignReader {
        match &self.group {
            Some(group) => group.reader(),
            None => CampaignReader::without_groups(&self.layout),
        }
    }

    /// Begins to make an instance; with `init`, its init is started and told what it is. When it is
    /// made, or cannot be, [`Event::Made`] says so.
    pub(crate) fn open(
        &self,
        id: InstanceId,
        allotment: &Allotment,
        init: bool,
    ) -> Result<Instance, Error> {
        let scratch = self.scratch.join(id.to_string());
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&scratch)
            .map_err(|source| Error::Host {
                what: format!("create {}", scratch.display()),
                source,
            })?;
        let making = Making {
            id,
            maker: self.group.as_ref().map(CampaignGroup::maker),
            allotment: *allotment,
            executable: init.then(|| self.executable.clone()),
        };
        let events = self.events.clone();
        let made = tokio::task::spawn_blocking(move || {
            let made = making.make();
            // Nobody listens any more when the hub itself is ending; then it is ended with the rest.
            let _ = events.blocking_send(Event::Made(id));
            made
        });
        Ok(Instance::opening(scratch, allotment, made))
    }

    /// Takes an instance into use that was made; what was ordered of it meanwhile is done now.
    pub(crate) async fn enter(&self, id: InstanceId, instance: &mut Instance) -> Result<(), Error> {
        let procs_files = instance.enter(id, &self.events).await?;
        let setup = InitSetup {
            instance: id.0,
            own_procs_file: procs_files.last().cloned(),
            procs_files,
            scratch: instance.scratch.clone(),
            visible: self.visible.clone(),
            isolation: self.isolation,
            network_of: None,
            limits: self.limits.clone(),
            output_bytes_max: OUTPUT_BYTES_MAX,
        };
        instance.tell(&ToInit::Setup(setup)).await
    }

    /// How much a thread gives way to other processes that is started under this allotment.
    pub(crate) fn nice(&self, allotment: &Allotment) -> u8 {
        let weighed = self
            .group
            .as_ref()
            .is_some_and(|group| group.controls(Controller::Cpu));
        if weighed || allotment.cpu_weight > EQUAL_WEIGHT {
            0
        } else {
            NICE
        }
    }

    /// Telemetry of an instance; `pid` is its first process, where there are no groups.
    pub(crate) fn instance_reader(
        &self,
        instance: &Instance,
        pid: Option<i32>,
    ) -> Option<InstanceReader> {
        let pid = pid.or_else(|| instance.init_pid());
        let mut reader = match instance.group() {
            Some(group) => group.reader().ok()?,
            None => InstanceReader::Tree(TreeReader::new(Path::new("/"), pid?)),
        };
        if let (true, Some(pid)) = (self.isolation.net, pid) {
            reader.watch_network_of(pid);
        }
        Some(reader)
    }

    /// Ends everything that is left, and removes it, `closing` being on its way already; what could
    /// not be removed, in words.
    pub(crate) async fn clear(
        mut self,
        instances: Instances,
        closing: Vec<JoinHandle<Vec<String>>>,
    ) -> Vec<String> {
        let instances = instances.into_iter();
        let closing: Vec<_> = instances
            .map(|(id, instance)| instance.close(id))
            .chain(closing)
            .collect();
        let mut of_instances = Vec::new();
        for closed in closing {
            of_instances.extend(closed.await.unwrap_or_default());
        }
        let mut left = Vec::new();
        if let Some(Err(error)) = self.group.take().map(CampaignGroup::remove) {
            left.push(cohort_host::chain(&error));
        }
        if let Err(error) = remains::remove_directory(&self.scratch) {
            left.push(format!("remove {}: {error}", self.scratch.display()));
        }
        if !left.is_empty() {
            // Otherwise what could not be removed alone is gone with the whole.
            left.extend(of_instances);
        }
        left
    }
}
