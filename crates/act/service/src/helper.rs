//! A helper beside an instance: a program in control groups of its own, started by an init of its own, so that
//! whatever it starts ends with it, and with the hub.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use cohort_host::InstanceReader;
use cohort_host::cgroup::InstanceGroup;
use cohort_host::init::{Ended, FromInit, Setup, Start, ToInit};
use cohort_model::{InstanceId, InstanceSample};

use crate::Error;
use crate::ground::Ground;
use crate::init::Init;
use crate::nest::{Spawned, blocking, init_in, remove_group};
use cohort_host::chain;

/// Most tasks of a helper.
const TASKS_MAX: u64 = 512;
/// The one thread of its init.
const THREAD: u32 = 0;

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Errand {
    /// Number of the deployment.
    pub deployment: u32,
    /// Beside which instance.
    pub instance: InstanceId,
    /// Its command.
    pub command: Vec<String>,
    /// A directory of its own that exists.
    pub directory: PathBuf,
    /// Its `PATH`.
    pub path: OsString,
    /// A process whose network it shares, where instances have networks of their own.
    pub network_of: Option<i32>,
    /// CPU that it may use, cores.
    pub cores: f64,
    /// Memory that it may use, bytes; beyond, the kernel kills.
    pub memory: u64,
    /// Output that is kept of each stream, bytes.
    pub output: u64,
}

/// Starts helpers.
#[derive(Clone, Debug)]
pub struct Helpers {
    ground: Arc<Ground>,
}

/// A helper that runs.
#[derive(Debug)]
pub struct Helper {
    init: Init,
    group: Option<InstanceGroup>,
    reader: Option<InstanceReader>,
    sample: InstanceSample,
}

impl Helpers {
    pub(crate) fn new(ground: Arc<Ground>) -> Self {
        Self { ground }
    }

    /// Starts one.
    ///
    /// # Errors
    /// When the host refuses, or there is no such program. Nothing of it is left then.
    pub async fn start(&self, errand: Errand) -> Result<Helper, Error> {
        let (ground, asked) = (self.ground.clone(), errand.clone());
        let (group, spawned) = blocking(move || make(&ground, &asked)).await??;
        let setup = Setup {
            instance: errand.instance.0,
            procs_files: group
                .as_ref()
                .map_or_else(Vec::new, InstanceGroup::procs_files),
            own_procs_file: group
                .as_ref()
                .and_then(|it| it.procs_files().last().cloned()),
            scratch: errand.directory.clone(),
            network_of: errand.network_of.filter(|_| self.ground.bridge.is_some()),
            limits: self.ground.limits.clone(),
            output_bytes_max: errand.output,
            ..Setup::default()
        };
        let init = match Init::set_up(errand.instance, spawned, setup).await {
            Ok((init, _)) => init,
            Err(error) => {
                let _ = blocking(move || remove_group(group)).await;
                return Err(error);
            }
        };
        let reader = group.as_ref().and_then(|it| it.reader().ok());
        let mut helper = Helper {
            init,
            group,
            reader,
            sample: InstanceSample::empty(errand.instance),
        };
        match helper.begin(errand).await {
            Ok(()) => Ok(helper),
            Err(error) => {
                helper.end().await;
                Err(error)
            }
        }
    }
}

impl Helper {
    async fn begin(&mut self, errand: Errand) -> Result<(), Error> {
        let mut words = errand.command.into_iter().map(OsString::from);
        let start = Start {
            thread: THREAD,
            program: words.next().unwrap_or_default(),
            args: words.collect(),
            env: std::env::vars_os()
                .filter(|(name, _)| name != "PATH")
                .chain([("PATH".into(), errand.path)])
                .collect(),
            cwd: errand.directory,
            nice: 0,
        };
        self.init.tell(&ToInit::Start(start)).await?;
        loop {
            match self.init.hear().await? {
                FromInit::Started { .. } => return Ok(()),
                FromInit::StartFailed { message, .. } => {
                    return Err(Error::Init {
                        instance: errand.instance,
                        reason: message,
                    });
                }
                _ => {}
            }
        }
    }

    /// Waits for its end. May be dropped and called again.
    ///
    /// # Errors
    /// When its init is lost.
    pub async fn ended(&mut self) -> Result<Ended, Error> {
        loop {
            if let FromInit::Ended(ended) = self.init.hear().await? {
                return Ok(ended);
            }
        }
    }

    /// CPU that it used so far, microseconds; `None` where there are no control groups.
    pub fn cpu_us(&mut self) -> Option<u64> {
        let reader = self.reader.as_mut()?;
        reader.read(&mut self.sample).then_some(self.sample.cpu_us)
    }

    /// Ends all that runs of it and removes it; gives what could not be removed, in words.
    pub async fn end(self) -> Vec<String> {
        let Self {
            init,
            group,
            reader,
            ..
        } = self;
        init.end().await;
        drop(reader);
        match blocking(move || remove_group(group)).await {
            Ok(Ok(())) => Vec::new(),
            Ok(Err(error)) | Err(error) => vec![chain(&error)],
        }
    }
}

fn make(ground: &Ground, errand: &Errand) -> Result<(Option<InstanceGroup>, Spawned), Error> {
    let maker = ground.maker.as_ref();
    let mut group = maker
        .map(|maker| maker.make_helper(errand.instance, errand.deployment))
        .transpose()?;
    let limited = group.as_mut().map_or(Ok(()), |group| {
        group.set_task_limit(TASKS_MAX)?;
        group.set_cpu_limit(Some(errand.cores))?;
        group.set_memory_limit(errand.memory)
    });
    init_in(ground, group, limited)
}
