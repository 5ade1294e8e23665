//! Which hierarchy serves which controller on this host, and where this process is in each.

use std::path::{Path, PathBuf};

use super::mountinfo::{cgroup_mounts, memberships};
use super::place::{Controller, Version};
use super::{Error, read};

/// How this host mounts control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Version 2 alone.
    V2,
    /// Version 1 alone.
    V1,
    /// Version 1 controllers, and a version 2 tree beside them.
    Hybrid,
}

/// One mounted hierarchy that this process is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its version.
    pub version: Version,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// The folder of the group that this process is in.
    pub own: PathBuf,
    /// What it can control, of what Cohort uses. For version 2: in our own group.
    pub controllers: Vec<Controller>,
}

impl Hierarchy {
    /// Our own group and those above it, nearest first, as far as they can be seen.
    pub fn own_and_above(&self) -> impl Iterator<Item = &Path> {
        self.own
            .ancestors()
            .take_while(|folder| folder.starts_with(&self.mount))
    }
}

/// All hierarchies of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// `/`, but for tests.
    pub root: PathBuf,
    /// Each once, in the order in which they are mounted. Empty: no control groups here.
    pub hierarchies: Vec<Hierarchy>,
}

impl Layout {
    /// Looks at the host. `root` is `/`, but for tests; a host without control groups has an empty
    /// layout.
    ///
    /// # Errors
    /// When `/proc/self/mountinfo` or `/proc/self/cgroup` cannot be read.
    pub fn detect(root: &Path) -> Result<Self, Error> {
        let mounts = cgroup_mounts(&read(&root.join("proc/self/mountinfo"))?);
        let members = memberships(&read(&root.join("proc/self/cgroup"))?);
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        for mount in mounts {
            let member = members.iter().find(|member| match &mount.controllers {
                None => member.controllers.is_empty(),
                Some(options) => member.controllers.iter().any(|name| options.contains(name)),
            });
            // A group outside of what is mounted (`/..` in a cgroup namespace) is out of reach.
            let Some(below) = member.and_then(|member| member.path.strip_prefix(&mount.root).ok())
            else {
                continue;
            };
            let at = root.join(mount.at.strip_prefix("/").unwrap_or(&mount.at));
            let own = if below.as_os_str().is_empty() {
                at.clone()
            } else {
                at.join(below)
            };
            let leaves = below
                .components()
                .any(|part| part == std::path::Component::ParentDir);
            if leaves || !own.join("cgroup.procs").exists() {
                continue;
            }
            let (version, controllers) = match &mount.controllers {
                Some(options) => (
                    Version::V1,
                    Controller::among(options.iter().map(String::as_str)),
                ),
                None => (Version::V2, available(&own)),
            };
            let useful = version == Version::V2 || !controllers.is_empty();
            let known =
                |known: &Hierarchy| known.version == version && known.controllers == controllers;
            if useful && !hierarchies.iter().any(known) {
                hierarchies.push(Hierarchy {
                    version,
                    mount: at,
                    own,
                    controllers,
                });
            }
        }
        Ok(Self {
            root: root.to_owned(),
            hierarchies,
        })
    }

    /// The hierarchy that controls it.
    #[must_use]
    pub fn serving(&self, controller: Controller) -> Option<&Hierarchy> {
        self.hierarchies
            .iter()
            .find(|hierarchy| hierarchy.controllers.contains(&controller))
    }

    /// The version 2 tree, with controllers or without.
    #[must_use]
    pub fn unified(&self) -> Option<&Hierarchy> {
        self.hierarchies
            .iter()
            .find(|hierarchy| hierarchy.version == Version::V2)
    }

    /// How control groups are mounted; `None` when they are not.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        let v1 = self
            .hierarchies
            .iter()
            .any(|hierarchy| hierarchy.version == Version::V1);
        match (v1, self.unified().is_some()) {
            (true, true) => Some(Kind::Hybrid),
            (true, false) => Some(Kind::V1),
            (false, true) => Some(Kind::V2),
            (false, false) => None,
        }
    }
}

/// Controllers that a version 2 group may switch on for its children.
pub(super) fn available(group: &Path) -> Vec<Controller> {
    let text = std::fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
    Controller::among(text.split_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn pure_v2_below_a_user_slice() {
        let host = fixture::v2("/user.slice/app.slice", "cpu memory pids");
        let layout = Layout::detect(host.path()).unwrap();
        assert_eq!(layout.kind(), Some(Kind::V2));
        let memory = layout.serving(Controller::Memory).unwrap();
        assert_eq!(
            memory.own,
            host.path().join("sys/fs/cgroup/user.slice/app.slice")
        );
        assert_eq!(memory.own_and_above().count(), 3);
        assert_eq!(layout.serving(Controller::Io), None);
    }

    #[test]
    fn v1_with_shared_and_separate_hierarchies() {
        let host = fixture::v1("/docker/abc");
        let layout = Layout::detect(host.path()).unwrap();
        assert_eq!(layout.kind(), Some(Kind::V1));
        assert_eq!(
            layout.serving(Controller::Cpu),
            layout.serving(Controller::Cpuacct)
        );
        // Mounted with `/docker/abc` as its root, as in a container without a cgroup namespace.
        assert_eq!(
            layout.serving(Controller::Memory).unwrap().own,
            host.path().join("sys/fs/cgroup/memory")
        );
    }

    #[test]
    fn hybrid_serves_controllers_by_v1() {
        let host = fixture::hybrid();
        let layout = Layout::detect(host.path()).unwrap();
        assert_eq!(layout.kind(), Some(Kind::Hybrid));
        assert_eq!(
            layout.serving(Controller::Memory).unwrap().version,
            Version::V1
        );
        assert_eq!(layout.unified().unwrap().controllers, vec![]);
    }

    #[test]
    fn a_group_outside_of_the_namespace_is_out_of_reach() {
        let host = fixture::v2("/a", "cpu memory");
        std::fs::write(host.path().join("proc/self/cgroup"), "0::/../b\n").unwrap();
        let layout = Layout::detect(host.path()).unwrap();
        assert_eq!(layout.kind(), None);
    }

    #[test]
    fn this_host() {
        let layout = Layout::detect(Path::new("/")).unwrap();
        for hierarchy in &layout.hierarchies {
            let procs = std::fs::read(hierarchy.own.join("cgroup.procs")).unwrap();
            let own = i32::try_from(std::process::id()).unwrap();
            assert!(
                crate::kernel_file::pids(&procs).any(|pid| pid == own),
                "{hierarchy:?}"
            );
        }
    }
}
