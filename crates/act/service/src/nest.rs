//! One instance as it lies on this host: groups, scratch directory, init, and its place on the bridge.
//!
//! Making and removing groups, and starting a process beside one that changes its group, can make the
//! caller wait for all CPUs (some 10 ms each in version 1), so threads of their own do it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;

use cohort_host::bridge::Port;
use cohort_host::cgroup::{self, InstanceGroup, IoLimit};
use cohort_host::init::{self, Setup};
use cohort_host::{InstanceReader, TreeReader, remains};
use cohort_model::{InstanceId, Isolation, Share};
use nix::sys::stat::Mode;

use crate::ground::{Ground, make_private};
use crate::init::Init;
use crate::listeners::Members;
use crate::{Error, lock};
use cohort_host::chain;

/// Most tasks of an instance: a fork bomb ends there.
const TASKS_MAX: u64 = 16_384;
/// `cpu.weight` for each core.
const WEIGHT_A_CORE: f64 = 100.0;
/// What an init keeps of the output of what it starts with pipes of its own, bytes.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;

/// An instance without its server.
#[derive(Debug)]
pub(crate) struct Nest {
    id: InstanceId,
    ground: Arc<Ground>,
    pub(crate) scratch: PathBuf,
    pub(crate) pipes: [PathBuf; 2],
    pub(crate) init: Init,
    group: Option<InstanceGroup>,
    port: Option<Port>,
    share: Share,
}

impl Nest {
    /// Makes it; when it cannot be made, nothing of it is left.
    pub(crate) async fn make(
        ground: &Arc<Ground>,
        id: InstanceId,
        share: Share,
    ) -> Result<Self, Error> {
        let scratch = ground.scratch.join(id.to_string());
        if !scratch.exists() {
            make_private(&scratch)?;
        }
        let pipes = ["out", "err"].map(|name| ground.pipes.join(format!("{id}.{name}")));
        for pipe in &pipes {
            match nix::unistd::mkfifo(pipe, Mode::S_IRUSR | Mode::S_IWUSR) {
                Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
                Err(errno) => {
                    let what = format!("make the FIFO {}", pipe.display());
                    return Err(Error::host(what)(errno.into()));
                }
            }
        }
        let making = ground.clone();
        let made = blocking(move || make_group_and_init(&making, id)).await?;
        let (group, spawned) = made?;
        let setup = setup(ground, id, &scratch, group.as_ref());
        let init = match Init::set_up(id, spawned, setup).await {
            Ok((init, _)) => init,
            Err(error) => {
                let _ = blocking(move || remove_group(group)).await;
                return Err(error);
            }
        };
        let mut nest = Self {
            id,
            ground: ground.clone(),
            scratch,
            pipes,
            init,
            group,
            port: None,
            share,
        };
        let done = nest.connect().await.and_then(|()| nest.set(&share));
        match done {
            Ok(_) => Ok(nest),
            Err(error) => {
                nest.end().await;
                Err(error)
            }
        }
    }

    async fn connect(&mut self) -> Result<(), Error> {
        if self.ground.bridge.is_none() {
            return Ok(());
        }
        let (ground, pid) = (self.ground.clone(), self.init.pid());
        let attached = blocking(move || {
            let bridge = ground.bridge.as_ref()?;
            Some(lock(bridge).attach(pid))
        });
        self.port = attached.await?.transpose()?;
        Ok(())
    }

    /// Its address, when it has a network of its own.
    pub(crate) fn own_address(&self) -> Option<IpAddr> {
        self.port.as_ref().map(|port| port.address().into())
    }

    /// What a server is told to listen on.
    pub(crate) fn listen_address(&self) -> IpAddr {
        if self.port.is_some() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::LOCALHOST.into()
        }
    }

    pub(crate) fn members(&self) -> Members {
        let files = self.group.as_ref().map(InstanceGroup::procs_files);
        Members {
            procs_file: files.and_then(|files| files.last().cloned()),
            init: self.init.pid(),
        }
    }

    /// How often the kernel killed something in it for memory so far.
    pub(crate) fn oom_kills(&self) -> u64 {
        self.group.as_ref().map_or(0, InstanceGroup::oom_kills)
    }

    /// Sets its limits; gives what is in force. One that holds more memory than it is to have keeps its
    /// old limit.
    pub(crate) fn set(&mut self, share: &Share) -> Result<Share, Error> {
        let mut in_force = *share;
        if let Some(group) = &mut self.group {
            group.set_cpu_limit(Some(share.cores).filter(|cores| cores.is_finite()))?;
            group.set_cpu_weight((share.cores * WEIGHT_A_CORE).round() as u32)?;
            match group.set_memory_limit(share.memory) {
                Err(error) if error.is_gone() => return Err(error.into()),
                Err(_) => in_force.memory = self.share.memory,
                Ok(()) => {}
            }
        }
        match &mut self.port {
            Some(port) => port.set_rate(share.network)?,
            None => in_force.network = None,
        }
        self.share = in_force;
        Ok(in_force)
    }

    /// Limits what it reads and writes; `false` where the host cannot.
    pub(crate) fn set_io(&self, limit: &IoLimit) -> Result<bool, Error> {
        match &self.group {
            Some(group) => Ok(group.set_io_limit(&self.scratch, limit)?),
            None => Ok(false),
        }
    }

    /// Its control groups, one of each hierarchy; none without.
    pub(crate) fn groups(&self) -> Vec<PathBuf> {
        let files = self.group.iter().flat_map(InstanceGroup::procs_files);
        files
            .filter_map(|file| file.parent().map(Path::to_owned))
            .collect()
    }

    /// Its telemetry.
    pub(crate) fn reader(&self) -> Result<InstanceReader, Error> {
        let mut reader = match &self.group {
            Some(group) => group
                .reader()
                .map_err(Error::host(format!("read the groups of {}", self.id)))?,
            None => InstanceReader::Tree(TreeReader::new(Path::new("/"), self.init.pid())),
        };
        if self.port.is_some() {
            reader.watch_network_of(self.init.pid());
        }
        Ok(reader)
    }

    /// Ends all that runs in it and removes it; gives what could not be removed, in words. The scratch
    /// directory stays.
    pub(crate) async fn end(self) -> Vec<String> {
        let Self {
            ground,
            pipes,
            init,
            group,
            port,
            ..
        } = self;
        init.end().await;
        if let (Some(bridge), Some(port)) = (&ground.bridge, &port) {
            lock(bridge).release(port);
        }
        drop(port);
        let removed = blocking(move || {
            let removed = remove_group(group);
            for pipe in &pipes {
                // Gone with the directory it is in, at the latest.
                let _ = std::fs::remove_file(pipe);
            }
            removed
        });
        match removed.await {
            Ok(Ok(())) => Vec::new(),
            Ok(Err(error)) | Err(error) => vec![chain(&error)],
        }
    }
}

/// Removes the scratch directory of an instance.
pub(crate) async fn remove_scratch(path: PathBuf) -> Vec<String> {
    let shown = crate::shown(&path);
    match blocking(move || remains::remove_directory(&path)).await {
        Ok(Ok(())) | Err(_) => Vec::new(),
        Ok(Err(error)) => vec![format!("remove {shown}: {error}")],
    }
}

pub(crate) type Spawned = (std::os::unix::net::UnixStream, Child);

fn make_group_and_init(
    ground: &Ground,
    id: InstanceId,
) -> Result<(Option<InstanceGroup>, Spawned), Error> {
    let group = ground
        .maker
        .as_ref()
        .map(|maker| maker.make(id))
        .transpose()?;
    let limited = group
        .as_ref()
        .map_or(Ok(()), |group| group.set_task_limit(TASKS_MAX));
    init_in(ground, group, limited)
}

/// An init for groups that were made, once they have their limits. Where it cannot be had, they go.
pub(crate) fn init_in(
    ground: &Ground,
    group: Option<InstanceGroup>,
    limited: Result<(), cgroup::Error>,
) -> Result<(Option<InstanceGroup>, Spawned), Error> {
    let (executable, arguments) = &ground.init;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let spawned = limited
        .map_err(Error::from)
        .and_then(|()| Ok(init::spawn(executable, &arguments)?));
    match spawned {
        Ok(spawned) => Ok((group, spawned)),
        Err(error) => {
            let _ = remove_group(group);
            Err(error)
        }
    }
}

pub(crate) fn remove_group(group: Option<InstanceGroup>) -> Result<(), Error> {
    let Some(group) = group else {
        return Ok(());
    };
    group.kill_all(&[]);
    Ok(group.remove()?)
}

fn setup(ground: &Ground, id: InstanceId, scratch: &Path, group: Option<&InstanceGroup>) -> Setup {
    let procs_files = group.map_or_else(Vec::new, InstanceGroup::procs_files);
    Setup {
        instance: id.0,
        own_procs_file: procs_files.last().cloned(),
        procs_files,
        scratch: scratch.to_owned(),
        visible: Vec::new(),
        isolation: Isolation {
            net: ground.bridge.is_some(),
            ..Isolation::default()
        },
        network_of: None,
        limits: ground.limits.clone(),
        output_bytes_max: OUTPUT_BYTES_MAX,
    }
}

/// Runs what blocks on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::host("run a thread of the campaign")(error.into()))
}
