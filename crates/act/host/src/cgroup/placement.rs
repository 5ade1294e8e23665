//! Where in a version 2 tree the campaign may have its group.
//!
//! Version 2 does not let a group have both processes and children with controllers ("no internal
//! processes"), and whoever moves a process must be allowed to in the nearest group above both
//! ends. So, from our own group upwards, the first that offers CPU and memory is taken:
//!
//! ```text
//! the controllers are switched on for children already   -> use it
//! it is the root, or has no processes of its own         -> switch them on
//! it is our own group and we are alone in it             -> move into a leaf, switch them on
//! it has processes of others                             -> go up
//! ```
//!
//! Above our own group its limits do not hold for the campaign; the budget respects them, and the
//! campaign's own limit enforces that.

use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::layout::available;
use super::place::{Controller, pids_in, remove_group};
use super::{Error, Hierarchy, write};

/// A folder below which the campaign can have its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) parent: PathBuf,
    pub(super) controllers: Vec<Controller>,
    /// We are alone in it and must move out of the way.
    pub(super) needs_leaf: bool,
}

/// The nearest place with CPU and memory, else with memory, else any.
///
/// # Errors
/// In words, why each folder is out of the question.
pub(super) fn find(hierarchy: &Hierarchy, own_pid: i32) -> Result<Offer, String> {
    let mut offers = Vec::new();
    let mut reasons = Vec::new();
    for folder in hierarchy.own_and_above() {
        match offer(folder, folder == hierarchy.own, own_pid) {
            Ok(offer) => offers.push(offer),
            Err(reason) => reasons.push(format!("{} {reason}", folder.display())),
        }
    }
    let has = |offer: &Offer, controller| offer.controllers.contains(&controller);
    let both = offers
        .iter()
        .find(|offer| has(offer, Controller::Memory) && has(offer, Controller::Cpu));
    let memory = || offers.iter().find(|offer| has(offer, Controller::Memory));
    let best = both.or_else(memory).or(offers.first()).cloned();
    best.ok_or_else(|| reasons.join("; "))
}

fn offer(folder: &Path, is_own: bool, own_pid: i32) -> Result<Offer, String> {
    let may_write = |name: &str| access(&folder.join(name), AccessFlags::W_OK).is_ok();
    if !may_write("") || !may_write("cgroup.procs") {
        return Err("may not be written".to_owned());
    }
    let controllers = available(folder);
    let text = std::fs::read_to_string(folder.join("cgroup.subtree_control")).unwrap_or_default();
    let enabled = Controller::among(text.split_whitespace());
    let mut offer = Offer {
        parent: folder.to_owned(),
        needs_leaf: false,
        controllers,
    };
    if offer
        .controllers
        .iter()
        .all(|controller| enabled.contains(controller))
    {
        return Ok(offer);
    }
    if !may_write("cgroup.subtree_control") {
        return Err("does not let its controllers be switched on".to_owned());
    }
    // Only the real root has no type; the root of a cgroup namespace has one.
    let is_root = !folder.join("cgroup.type").exists();
    let processes = pids_in(folder);
    if is_root || processes.is_empty() {
        Ok(offer)
    } else if is_own && processes == [own_pid] {
        offer.needs_leaf = true;
        Ok(offer)
    } else {
        Err("has processes that are not ours".to_owned())
    }
}

/// Switches controllers on for the children of a group; returns those that are on.
pub(super) fn switch_on(group: &Path, wanted: &[Controller]) -> Vec<Controller> {
    let path = group.join("cgroup.subtree_control");
    let on = |controller: &Controller| {
        controller
            .name()
            .is_some_and(|name| write(&path, &format!("+{name}")).is_ok())
    };
    wanted.iter().copied().filter(on).collect()
}

/// The leaf that this process moved into, to make room for the campaign beside it.
#[derive(Debug)]
pub(super) struct Leaf {
    own: PathBuf,
    leaf: PathBuf,
    controllers: Vec<Controller>,
}

impl Leaf {
    /// Moves this process from its group `own` into the child `name`.
    pub(super) fn enter(own: &Path, name: &str, own_pid: i32) -> Result<Self, Error> {
        let leaf = own.join(name);
        std::fs::create_dir(&leaf).map_err(|source| Error::Make {
            path: leaf.clone(),
            source,
        })?;
        let entered = Self {
            own: own.to_owned(),
            leaf,
            controllers: available(own),
        };
        write(&entered.leaf.join("cgroup.procs"), &own_pid.to_string())?;
        Ok(entered)
    }

    /// Puts everything back as it was: controllers off, this process in its own group, no leaf.
    pub(super) fn leave(&self, own_pid: i32) -> Result<(), Error> {
        let path = self.own.join("cgroup.subtree_control");
        for name in self
            .controllers
            .iter()
            .filter_map(|controller| controller.name())
        {
            let _ = write(&path, &format!("-{name}"));
        }
        write(&self.own.join("cgroup.procs"), &own_pid.to_string())?;
        remove_group(&self.leaf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Layout;
    use crate::fixture::{self, OWN_PID};

    fn offered(host: &tempfile::TempDir) -> Result<Offer, String> {
        let layout = Layout::detect(host.path()).unwrap();
        find(layout.unified().unwrap(), OWN_PID)
    }

    #[test]
    fn alone_in_a_delegated_group() {
        let host = fixture::v2("/app.slice/run.scope", "cpu memory pids");
        let offer = offered(&host).unwrap();
        assert!(offer.needs_leaf);
        assert_eq!(
            offer.parent,
            host.path().join("sys/fs/cgroup/app.slice/run.scope")
        );
        assert_eq!(
            offer.controllers,
            [Controller::Cpu, Controller::Memory, Controller::Pids]
        );
    }

    #[test]
    fn beside_others_goes_up_to_a_group_without_processes() {
        let host = fixture::v2("/app.slice/run.scope", "cpu memory");
        let own = host.path().join("sys/fs/cgroup/app.slice/run.scope");
        std::fs::write(
            own.join("cgroup.procs"),
            format!("{OWN_PID}\n{}\n", OWN_PID + 1),
        )
        .unwrap();
        let offer = offered(&host).unwrap();
        assert!(!offer.needs_leaf);
        assert_eq!(offer.parent, host.path().join("sys/fs/cgroup/app.slice"));
    }

    #[test]
    fn the_real_root_may_have_processes_and_that_of_a_namespace_may_not() {
        let host = fixture::v2("/", "cpu memory");
        let group = host.path().join("sys/fs/cgroup");
        std::fs::write(group.join("cgroup.procs"), format!("1\n{OWN_PID}\n")).unwrap();
        assert_eq!(offered(&host).unwrap().parent, group);
        std::fs::write(group.join("cgroup.type"), "domain\n").unwrap();
        assert!(
            offered(&host)
                .unwrap_err()
                .contains("processes that are not ours")
        );
    }

    #[test]
    fn what_is_switched_on_already_is_used() {
        let host = fixture::v2("/a", "cpu memory");
        let group = host.path().join("sys/fs/cgroup/a");
        std::fs::write(group.join("cgroup.subtree_control"), "cpu memory\n").unwrap();
        std::fs::write(group.join("cgroup.procs"), "1\n2\n").unwrap();
        assert_eq!(offered(&host).unwrap().parent, group);
    }

    #[test]
    fn a_nearer_group_without_memory_loses_against_a_farther_one_with_it() {
        let host = fixture::v2("/a", "pids");
        std::fs::write(
            host.path().join("sys/fs/cgroup/cgroup.controllers"),
            "cpu memory pids\n",
        )
        .unwrap();
        assert_eq!(
            offered(&host).unwrap().parent,
            host.path().join("sys/fs/cgroup")
        );
    }
}
