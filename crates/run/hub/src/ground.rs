//! What a campaign stands on: its control groups, its scratch directory, its instances.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Child;

use cohort_host::cgroup::{CampaignGroup, CampaignReader, Controller, InstanceGroup, Layout};
use cohort_host::init::{self, Limits, Setup as InitSetup, ToInit};
use cohort_host::process::{self, Owner};
use cohort_host::remains::{self, SCRATCH_MARKER};
use cohort_host::{InstanceReader, TreeReader};
use cohort_model::{Allotment, InstanceId, Isolation};
use tokio::io::AsyncWriteExt;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::task::AbortHandle;

use crate::Error;
use crate::event::{Event, Events, listen_to_init};

/// Most that is kept of each output stream of a thread, bytes.
const OUTPUT_BYTES_MAX: u64 = 4 << 20;
/// Least distance between the budget and the campaign's own memory limit, bytes.
const BACK_UP_BYTES_MIN: u64 = 64 << 20;

/// Most tasks of an instance: no test needs as many, and a fork bomb ends there.
pub(crate) const TASKS_MAX: u64 = 16_384;
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

/// How often an instance met its limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hits {
    /// Memory was refused or had to be reclaimed.
    pub(crate) memory: u64,
    /// The kernel killed something for memory.
    pub(crate) oom_kills: u64,
    /// A task could not be made.
    pub(crate) tasks: u64,
}

/// One instance, as it lies on this host.
pub(crate) struct Instance {
    group: Option<InstanceGroup>,
    pub(crate) scratch: PathBuf,
    init: Option<Init>,
    hold: Option<AbortHandle>,
    /// How much its threads give way.
    nice: u8,
}

struct Init {
    child: Child,
    output: OwnedWriteHalf,
    listener: AbortHandle,
}

impl Ground {
    pub(crate) fn prepare(layout: Layout, wanted: Wanted) -> Result<Self, Error> {
        let owner = Owner::current(Path::new("/")).map_err(|source| Error::Host {
            what: "read /proc/self/stat".to_owned(),
            source,
        })?;
        let mut missing = Vec::new();
        let group = match CampaignGroup::create(&layout, &owner.to_string()) {
            Ok(group) => {
                missing.extend(group.missing().iter().cloned());
                Some(group)
            }
            Err(error) => {
                missing.push(format!(
                    "no control groups, so limits are not enforced and memory is watched only from outside ({})",
                    chain(&error)
                ));
                None
            }
        };
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
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&scratch)
            .and_then(|()| fs::write(scratch.join(SCRATCH_MARKER), ""))
            .map_err(|source| Error::Host {
                what: format!("create {}", scratch.display()),
                source,
            })?;
        Ok(Self {
            layout,
            group,
            scratch,
            missing,
            executable: wanted.executable,
            isolation: wanted.isolation,
            visible: wanted.visible,
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

    /// Makes an instance; with `init`, its init is started and told what it is.
    pub(crate) async fn open(
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
        let mut instance = Instance {
            group: None,
            scratch,
            init: None,
            hold: None,
            nice: self.nice(allotment),
        };
        if let Some(campaign) = &self.group {
            let mut group = campaign.instance(id)?;
            group.set(allotment)?;
            group.set_task_limit(TASKS_MAX)?;
            if let Ok(Some(signal)) = group.hold_signal() {
                let watch = tokio::spawn(watch_hold(id, signal, self.events.clone()));
                instance.hold = Some(watch.abort_handle());
            }
            instance.group = Some(group);
        }
        if init {
            instance.init = Some(self.start_init(id, &instance).await?);
        }
        Ok(instance)
    }

    fn nice(&self, allotment: &Allotment) -> u8 {
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

    /// Changes what an instance may use.
    pub(crate) fn set(&self, instance: &mut Instance, allotment: &Allotment) -> Result<(), Error> {
        instance.nice = self.nice(allotment);
        if let Some(group) = &mut instance.group {
            group.set(allotment)?;
        }
        Ok(())
    }

    /// Telemetry of an instance; `pid` is its first process, where there are no groups.
    pub(crate) fn instance_reader(
        &self,
        instance: &Instance,
        pid: Option<i32>,
    ) -> Option<InstanceReader> {
        let pid = pid.or_else(|| instance.init_pid());
        let mut reader = match &instance.group {
            Some(group) => group.reader().ok()?,
            None => InstanceReader::Tree(TreeReader::new(Path::new("/"), pid?)),
        };
        if let (true, Some(pid)) = (self.isolation.net, pid) {
            reader.watch_network_of(pid);
        }
        Some(reader)
    }

    async fn start_init(&self, id: InstanceId, instance: &Instance) -> Result<Init, Error> {
        let (stream, child) = init::spawn(&self.executable, &["instance-init"])?;
        let failed = |source| Error::Host {
            what: format!("talk to the init of {id}"),
            source,
        };
        stream.set_nonblocking(true).map_err(failed)?;
        let (input, mut output) = UnixStream::from_std(stream).map_err(failed)?.into_split();
        let procs_files = instance.procs_files();
        let setup = InitSetup {
            instance: id.0,
            own_procs_file: procs_files.last().cloned(),
            procs_files,
            scratch: instance.scratch.clone(),
            visible: self.visible.clone(),
            isolation: self.isolation,
            limits: self.limits.clone(),
            output_bytes_max: OUTPUT_BYTES_MAX,
        };
        let frame = init::protocol::encode(&ToInit::Setup(setup))?;
        output.write_all(&frame).await.map_err(failed)?;
        let listener = tokio::spawn(listen_to_init(id, input, self.events.clone()));
        Ok(Init {
            child,
            output,
            listener: listener.abort_handle(),
        })
    }

    /// Ends everything that is left, and removes it.
    pub(crate) async fn clear(mut self, instances: BTreeMap<InstanceId, Instance>) -> Vec<String> {
        let mut left = Vec::new();
        for (id, instance) in instances {
            left.extend(instance.close(id).await);
        }
        if let Some(Err(error)) = self.group.take().map(CampaignGroup::remove) {
            left.push(chain(&error));
        }
        if let Err(error) = remains::remove_directory(&self.scratch) {
            left.push(format!("remove {}: {error}", self.scratch.display()));
        }
        left
    }
}

impl Instance {
    pub(crate) fn init_pid(&self) -> Option<i32> {
        self.init.as_ref().map(|init| init.child.id() as i32)
    }

    pub(crate) fn has_init(&self) -> bool {
        self.init.is_some()
    }

    pub(crate) fn procs_files(&self) -> Vec<PathBuf> {
        self.group
            .as_ref()
            .map_or_else(Vec::new, InstanceGroup::procs_files)
    }

    /// How much its threads give way to other processes.
    pub(crate) fn nice(&self) -> u8 {
        self.nice
    }

    pub(crate) fn is_held(&mut self) -> bool {
        self.group.as_mut().is_some_and(InstanceGroup::is_held)
    }

    /// How often it met its limits so far.
    pub(crate) fn hits(&self) -> Hits {
        self.group
            .as_ref()
            .map_or_else(Hits::default, |group| Hits {
                memory: group.limit_hits(),
                oom_kills: group.oom_kills(),
                tasks: group.task_limit_hits(),
            })
    }

    /// Tells its init something. A lost init is reported as an event, not here.
    pub(crate) async fn tell(&mut self, order: &ToInit) -> Result<(), Error> {
        let frame = init::protocol::encode(order)?;
        if let Some(init) = &mut self.init {
            // A broken pipe means the init is gone, of which its listener tells.
            let _ = init.output.write_all(&frame).await;
        }
        Ok(())
    }

    /// Moves all but the init's own process to `target`.
    pub(crate) fn move_to(&self, target: &Instance) -> Result<u32, Error> {
        match (&self.group, &target.group) {
            (Some(source), Some(group)) => Ok(source.move_into(group, &self.own_pids())?),
            _ => Ok(0),
        }
    }

    /// Kills everything in it but its init. `leader`: a process group, where there are no groups.
    pub(crate) fn kill_inside(&self, leader: Option<i32>) -> u32 {
        if let Some(group) = &self.group {
            return group.kill_all(&self.own_pids());
        }
        leader.map_or(0, |pid| {
            let below = process::descendants(Path::new("/"), pid);
            for pid in below.iter().copied().chain([pid]) {
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
            below.len() as u32
        })
    }

    /// Processes in it that are no thread's.
    pub(crate) fn own_pids(&self) -> Vec<i32> {
        self.init_pid().into_iter().collect()
    }

    /// Empties its scratch directory, unless that is its private `/tmp`: then the mount points of
    /// what must stay visible lie in it.
    pub(crate) fn sweep_scratch(&self, isolation: Isolation) {
        if isolation.mount || isolation.pid {
            return;
        }
        for entry in fs::read_dir(&self.scratch).into_iter().flatten().flatten() {
            // What cannot be removed now is removed with the campaign.
            let _ = remains::remove_directory(&entry.path());
        }
    }

    /// Kills what is in it and removes it; what could not be removed, in words.
    pub(crate) async fn close(mut self, id: InstanceId) -> Vec<String> {
        let mut left = Vec::new();
        if let Some(hold) = self.hold.take() {
            hold.abort();
        }
        if let Some(mut init) = self.init.take() {
            drop(init.output);
            init.listener.abort();
            if let Some(group) = &self.group {
                group.kill_all(&[]);
            } else {
                let _ = init.child.kill();
            }
            let _ = init.child.wait();
        }
        if let Some(group) = self.group.take() {
            group.kill_all(&[]);
            if let Err(error) = group.remove() {
                left.push(format!("{id}: {}", chain(&error)));
            }
        }
        if let Err(error) = remains::remove_directory(&self.scratch) {
            left.push(format!("remove {}: {error}", self.scratch.display()));
        }
        left
    }
}

#[expect(
    deprecated,
    reason = "an owned descriptor lives as long as its registration, which is what is asked for"
)]
async fn watch_hold(id: InstanceId, signal: OwnedFd, events: Events) {
    let Ok(signal) = AsyncFd::new(signal) else {
        return;
    };
    while let Ok(mut ready) = signal.readable().await {
        if events.send(Event::Hold(id)).await.is_err() {
            return;
        }
        // The hub clears the signal when it asks whether the instance is held.
        ready.clear_ready();
    }
}

/// An error with all its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
