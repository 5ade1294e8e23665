//! The instances of a campaign, and what they stand on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use cohort_host::cgroup::{CampaignGroup, CampaignReader, Controller, Layout};
use cohort_host::init::Limits;
use cohort_host::process::{self, Owner};
use cohort_host::remains::{self, SCRATCH_MARKER};
use cohort_model::{InstanceId, Share};
use tokio::sync::mpsc;

use crate::event::Event;
use crate::ground::{self, Ground, make_private};
use crate::helper::Helpers;
use crate::instance::Instance;
use crate::log::Logs;
use crate::ports::Ports;
use crate::spec::Spec;
use crate::{Error, build, lock};

/// Grounds that this process made.
static GROUNDS: AtomicU32 = AtomicU32::new(0);

/// How a campaign's ground is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The service.
    pub spec: Spec,
    /// Instances that are to be had at the beginning, to say at once what would not work.
    pub instances: usize,
    /// What comes to [`cohort_host::init::main`] when it is run with `init_arguments`.
    pub executable: PathBuf,
    /// See there.
    pub init_arguments: Vec<String>,
    /// Existing directory for the logs of instances.
    pub logs: PathBuf,
    /// Where the scratch directory is made; usually [`std::env::temp_dir`].
    pub temp_dir: PathBuf,
    /// CPUs that instances may run on; empty: all that this process may.
    pub cpus: Vec<u32>,
}

/// All instances. [`Instances::close`] ends them; dropping this ends them too, without waiting.
#[derive(Debug)]
pub struct Instances {
    ground: Arc<Ground>,
    instances: BTreeMap<InstanceId, Instance>,
    group: Option<CampaignGroup>,
    layout: Layout,
    missing: Vec<String>,
}

impl Instances {
    /// Checks the service, builds it, and makes the ground. Events of all instances go to `events`;
    /// what an instance has to tell waits when that is full.
    ///
    /// # Errors
    /// What is wrong with the service, a build that failed, or a host that refuses a scratch directory.
    pub async fn open(settings: Settings, events: mpsc::Sender<Event>) -> Result<Self, Error> {
        let Settings {
            mut spec,
            instances,
            executable,
            init_arguments,
            logs,
            temp_dir,
            cpus,
        } = settings;
        spec.check()?;
        build::run(&spec, &executable, &init_arguments).await?;
        let root = Path::new("/");
        let owner = Owner::current(root).map_err(Error::host("read /proc/self/stat"))?;
        let layout = Layout::detect(root)?;
        let mut missing = build::variants(&mut spec, &executable, &init_arguments).await;
        let bridge = ground::bridge(spec.network, &owner, &mut missing)?;
        if let (Some(port), None, true) = (spec.port, &bridge, instances > 1) {
            return Err(Error::FixedPort { port, instances });
        }
        let name = match GROUNDS.fetch_add(1, Ordering::Relaxed) {
            0 => owner.to_string(),
            number => format!("{owner}-{number}"),
        };
        let scratch = temp_dir.join(&name);
        make_private(&scratch)?;
        std::fs::write(scratch.join(SCRATCH_MARKER), "")
            .map_err(Error::host(format!("mark {}", scratch.display())))?;
        let pipes = scratch.join("pipes");
        make_private(&pipes)?;
        let group = CampaignGroup::where_permitted(&layout, &name, &mut missing);
        let logs = Logs::start(&logs, &spec.logs, events.clone())
            .map_err(Error::host("start the threads for logs"))?;
        let ground = Ground {
            maker: group.as_ref().map(CampaignGroup::maker),
            bridge,
            scratch,
            pipes,
            init: (executable, init_arguments),
            limits: Limits {
                cpus,
                open_files: process::raise_open_files().ok(),
                tasks: None,
            },
            logs,
            ports: Ports::default(),
            events,
            spec,
            env: Mutex::default(),
            prefixes: Mutex::default(),
            variants: Mutex::default(),
        };
        Ok(Self {
            ground: Arc::new(ground),
            instances: BTreeMap::new(),
            group,
            layout,
            missing,
        })
    }

    /// Variables of one instance on top of those of the service, from its next start on.
    pub fn set_env(&self, id: InstanceId, env: Vec<(String, String)>) {
        lock(&self.ground.env).insert(id, env);
    }

    /// What the server's command of one instance is put after, from its next start on.
    pub fn set_prefix(&self, id: InstanceId, words: Vec<String>) {
        lock(&self.ground.prefixes).insert(id, words);
    }

    /// The other build that one instance is started as from its next start on; none: the ordinary one.
    pub fn set_variant(&self, id: InstanceId, variant: Option<&str>) {
        let mut all = lock(&self.ground.variants);
        match variant {
            Some(variant) => all.insert(id, variant.to_owned()),
            None => all.remove(&id),
        };
    }

    /// Names of other builds that there are.
    #[must_use]
    pub fn variants(&self) -> Vec<String> {
        let all = self.ground.spec.variants.iter();
        all.map(|variant| variant.name.clone()).collect()
    }

    /// Makes an instance. Its server is started by [`Instance::start`].
    ///
    /// # Errors
    /// When the host refuses, or a second instance would need the same port.
    pub async fn make(&mut self, id: InstanceId, share: Share) -> Result<Instance, Error> {
        let others = self.instances.keys().filter(|other| **other != id).count();
        if let (Some(port), None, true) = (self.ground.spec.port, &self.ground.bridge, others > 0) {
            let instances = others + 1;
            return Err(Error::FixedPort { port, instances });
        }
        let instance = Instance::make(&self.ground, id, share).await?;
        self.instances.insert(id, instance.clone());
        Ok(instance)
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: InstanceId) -> Option<&Instance> {
        self.instances.get(&id)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values()
    }

    /// Takes one out, to be closed by itself.
    pub fn take(&mut self, id: InstanceId) -> Option<Instance> {
        self.instances.remove(&id)
    }

    /// What starts helpers beside these instances.
    #[must_use]
    pub fn helpers(&self) -> Helpers {
        Helpers::new(self.ground.clone())
    }

    /// What could not be had on this host, one sentence each.
    #[must_use]
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Each instance has a network of its own.
    #[must_use]
    pub fn isolates_network(&self) -> bool {
        self.ground.bridge.is_some()
    }

    /// CPU limits are enforced.
    #[must_use]
    pub fn limits_cpu(&self) -> bool {
        self.controls(Controller::Cpu)
    }

    /// Memory limits are enforced.
    #[must_use]
    pub fn limits_memory(&self) -> bool {
        self.controls(Controller::Memory)
    }

    fn controls(&self, controller: Controller) -> bool {
        self.group
            .as_ref()
            .is_some_and(|group| group.controls(controller))
    }

    /// The host as instances reach it, for receivers of ours.
    #[must_use]
    pub fn hub_address(&self) -> std::net::IpAddr {
        self.ground.hub_address()
    }

    /// The scratch directory of the campaign.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        &self.ground.scratch
    }

    /// Telemetry of all instances together.
    #[must_use]
    pub fn reader(&self) -> CampaignReader {
        match &self.group {
            Some(group) => group.reader(),
            None => CampaignReader::without_groups(&self.layout),
        }
    }

    /// Stops all servers and removes everything; gives what could not be removed, in words.
    pub async fn close(mut self) -> Vec<String> {
        let closing: Vec<_> = std::mem::take(&mut self.instances)
            .into_values()
            .map(|instance| tokio::spawn(instance.close()))
            .collect();
        let mut left = Vec::new();
        for closed in closing {
            left.extend(closed.await.unwrap_or_default());
        }
        let scratch = self.ground.scratch.clone();
        let group = self.group.take();
        let removed = crate::nest::blocking(move || {
            // The bridge and the threads for logs go with this.
            drop(self);
            group.map_or(Ok(()), CampaignGroup::remove)
        });
        if let Ok(Err(error)) = removed.await {
            left.push(cohort_host::chain(&error));
        }
        left.extend(crate::nest::remove_scratch(scratch).await);
        left
    }
}

impl Drop for Instances {
    fn drop(&mut self) {
        // Closed already: nothing is there. What cannot be removed now is found by the next start.
        if self.group.is_some() {
            drop(self.group.take());
            let _ = remains::remove_directory(&self.ground.scratch);
        }
    }
}
