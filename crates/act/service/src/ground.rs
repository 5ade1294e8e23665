//! What all instances of a campaign stand on.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use cohort_host::bridge::Bridge;
use cohort_host::cgroup::InstanceMaker;
use cohort_host::init::Limits;
use cohort_host::process::Owner;
use cohort_model::InstanceId;
use tokio::sync::mpsc;

use crate::event::Event;
use crate::log::Logs;
use crate::ports::Ports;
use crate::spec::{Isolated, Spec};
use crate::{Error, lock};

/// The port of a server that has a network of its own, and is not known to have another.
const OWN_PORT: u16 = 8080;

/// Shared by all instances.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) spec: Spec,
    /// Variables of single instances, on top of those of the service.
    pub(crate) env: Mutex<BTreeMap<InstanceId, Vec<(String, String)>>>,
    /// What makes groups; none where there are none.
    pub(crate) maker: Option<InstanceMaker>,
    /// None: instances use the host's network.
    pub(crate) bridge: Option<Mutex<Bridge>>,
    /// Scratch directories of instances are below.
    pub(crate) scratch: PathBuf,
    /// FIFOs of instances.
    pub(crate) pipes: PathBuf,
    /// What starts an init.
    pub(crate) init: (PathBuf, Vec<String>),
    pub(crate) limits: Limits,
    /// Instances that are started as another build.
    pub(crate) variants: Mutex<BTreeMap<InstanceId, String>>,
    /// What the commands of instances are put after.
    pub(crate) prefixes: Mutex<BTreeMap<InstanceId, Vec<String>>>,
    pub(crate) logs: Logs,
    pub(crate) ports: Ports,
    pub(crate) events: mpsc::Sender<Event>,
}

impl Ground {
    /// The host as instances reach it.
    pub(crate) fn hub_address(&self) -> IpAddr {
        self.bridge
            .as_ref()
            .map_or(Ipv4Addr::LOCALHOST, |bridge| lock(bridge).address())
            .into()
    }

    /// The port that a server with a network of its own listens on.
    pub(crate) fn own_port(&self) -> u16 {
        self.spec.port.unwrap_or(OWN_PORT)
    }
}

/// A bridge, where it is wanted and may be had; else why not.
pub(crate) fn bridge(
    wanted: Isolated,
    owner: &Owner,
    missing: &mut Vec<String>,
) -> Result<Option<Mutex<Bridge>>, Error> {
    if wanted == Isolated::Never {
        return Ok(None);
    }
    match Bridge::create(owner) {
        Ok(bridge) => Ok(Some(Mutex::new(bridge))),
        Err(error) if wanted == Isolated::Always => Err(error.into()),
        Err(error) => {
            missing.push(format!(
                "instances share the host's network, on a loopback port each; network limits are not enforced ({})",
                cohort_host::chain(&error)
            ));
            Ok(None)
        }
    }
}

/// Makes a private directory.
pub(crate) fn make_private(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(Error::host(format!("create {}", path.display())))
}
