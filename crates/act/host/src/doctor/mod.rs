//! What this host can do for Cohort: each capability is really tried, and what was tried is undone.

mod attempt;

use std::path::Path;

use cohort_model::{Allotment, InstanceId, InstanceSample};

use crate::cgroup::{self, CampaignGroup, Controller, InstanceGroup, Kind, Layout, Version};
use crate::process::{self, Owner};
use attempt::Tried;

/// Whether a capability works here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// All of it.
    Works,
    /// With the restriction that was found.
    Partly,
    /// Not at all.
    Missing,
}

/// One thing that Cohort can use.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Capability {
    /// What it is called.
    pub name: &'static str,
    /// Whether it works.
    pub state: State,
    /// What was found when it was tried.
    pub found: String,
    /// What Cohort does with it.
    pub needed_for: &'static str,
    /// What to do to have it; empty when it works.
    pub how_to_enable: &'static str,
}

/// What a capability is for, and how to get it: the words of a [`Capability`] that do not depend
/// on the host.
struct About {
    name: &'static str,
    needed_for: &'static str,
    how_to_enable: &'static str,
}

impl About {
    fn found(&self, state: State, found: impl Into<String>) -> Capability {
        Capability {
            name: self.name,
            state,
            found: found.into(),
            needed_for: self.needed_for,
            how_to_enable: if state == State::Works {
                ""
            } else {
                self.how_to_enable
            },
        }
    }

    fn yes_or_no(&self, works: bool, yes: &str, no: &str) -> Capability {
        if works {
            self.found(State::Works, yes)
        } else {
            self.found(State::Missing, no)
        }
    }
}

const DELEGATE: &str = "run as root, or under `systemd-run --user --scope -p Delegate=yes cohort ...`; in a container, mount cgroups writable";

/// Tries everything. Takes some 20 milliseconds; children are forked, groups and namespaces made
/// and removed again.
#[must_use]
pub fn probe() -> Vec<Capability> {
    let root = Path::new("/");
    let mut capabilities = groups(root);
    capabilities.extend(namespaces());
    capabilities.extend(processes(root));
    capabilities
}

fn groups(root: &Path) -> Vec<Capability> {
    let about = About {
        name: "control groups",
        needed_for: "instances with a share of CPU and memory of their own, exact accounting, killing all that a test left behind",
        how_to_enable: DELEGATE,
    };
    let made = Layout::detect(root)
        .map_err(|error| error.to_string())
        .and_then(|layout| {
            let owner = Owner::current(root).map_err(|error| error.to_string())?;
            let campaign = CampaignGroup::create(&layout, &format!("{owner}-doctor"))
                .map_err(|error| error.to_string())?;
            let instance = campaign
                .maker()
                .make(InstanceId(0))
                .map_err(|error| error.to_string())?;
            Ok((layout, campaign, instance))
        });
    match made {
        Err(reason) => {
            let mut all = vec![about.found(State::Missing, reason)];
            all.extend(without_groups());
            all
        }
        Ok((layout, campaign, instance)) => {
            let kind = match layout.kind() {
                Some(Kind::V2) => "version 2",
                Some(Kind::V1) => "version 1",
                Some(Kind::Hybrid) => "version 1 controllers with a version 2 tree (hybrid)",
                None => "none",
            };
            let missing = campaign.missing().join("; ");
            let mut all = vec![if missing.is_empty() {
                about.found(State::Works, kind)
            } else {
                about.found(State::Partly, format!("{kind}; {missing}"))
            }];
            all.extend(controllers(&layout, &campaign, instance));
            all
        }
    }
}

const CPU: About = About {
    name: "CPU share",
    needed_for: "giving CPU-heavy and quiet instances more of the CPU while they are crowded",
    how_to_enable: DELEGATE,
};
const MEMORY: About = About {
    name: "memory limit",
    needed_for: "keeping a test that outgrows its memory from taking the host down",
    how_to_enable: DELEGATE,
};
const HOLD: About = About {
    name: "memory hold",
    needed_for: "holding a test at its memory limit until there is more, instead of killing it",
    how_to_enable: "control groups of version 2 (memory.high), or of version 1 without PREEMPT_RT (oom_kill_disable)",
};
const TASKS: About = About {
    name: "task limit",
    needed_for: "stopping fork bombs",
    how_to_enable: "switch the pids controller on for this session's control group",
};
const IO: About = About {
    name: "IO statistics",
    needed_for: "telling tests that wait for storage",
    how_to_enable: "control groups of version 2 with the io controller",
};
const PRESSURE: About = About {
    name: "pressure",
    needed_for: "seeing that instances hinder each other before they fail",
    how_to_enable: "start Linux with `psi=1`, and mount cgroup2",
};
const KILL: About = About {
    name: "group kill",
    needed_for: "killing all that a test left behind in one step",
    how_to_enable: "Linux 5.14 or later with cgroup2 mounted; until then processes are killed one by one",
};

fn without_groups() -> Vec<Capability> {
    let all = [CPU, MEMORY, HOLD, TASKS, IO, PRESSURE, KILL];
    all.iter()
        .map(|about| about.found(State::Missing, "no control groups"))
        .collect()
}

fn controllers(
    layout: &Layout,
    campaign: &CampaignGroup,
    mut instance: InstanceGroup,
) -> Vec<Capability> {
    let set = instance.set(&Allotment {
        cpu_weight: 200,
        memory: 256 << 20,
    });
    let refused = set
        .as_ref()
        .err()
        .map_or_else(|| "no controller".to_owned(), ToString::to_string);
    let settable = |about: &About, controller| {
        about.yes_or_no(
            set.is_ok() && campaign.controls(controller),
            "set and taken",
            &refused,
        )
    };
    let tasks = instance.set_task_limit(10_000);
    let v2_io = layout
        .serving(Controller::Io)
        .is_some_and(|hierarchy| hierarchy.version == Version::V2);
    let io = match (campaign.controls(Controller::Io), v2_io) {
        (true, true) => IO.found(State::Works, "io.stat"),
        (true, false) => IO.found(State::Partly, "version 1 does not count buffered writes"),
        (false, _) => IO.found(State::Missing, "no controller"),
    };
    let holds = matches!(instance.hold_signal(), Ok(Some(_)));
    let hold = match layout.serving(Controller::Memory).map(|hierarchy| hierarchy.version) {
        Some(Version::V1) if holds => HOLD.found(
            State::Partly,
            "version 1 (oom_kill_disable): some system calls fail at the limit instead of being held",
        ),
        _ => HOLD.yes_or_no(holds, "memory.high", "not offered by the kernel"),
    };
    let files = instance.procs_files();
    let kills = files
        .iter()
        .any(|file| cgroup::write(&file.with_file_name("cgroup.kill"), "1").is_ok());
    let presses = files
        .iter()
        .any(|file| std::fs::read(file.with_file_name("cpu.pressure")).is_ok());
    let all = vec![
        settable(&CPU, Controller::Cpu),
        settable(&MEMORY, Controller::Memory),
        hold,
        TASKS.yes_or_no(
            tasks.is_ok() && campaign.controls(Controller::Pids),
            "set and taken",
            "no controller",
        ),
        io,
        PRESSURE.yes_or_no(presses, "told for each group", "not told for groups"),
        KILL.yes_or_no(kills, "cgroup.kill", "no cgroup.kill"),
    ];
    // The campaign's end removes what this cannot.
    let _ = instance.remove();
    all
}

fn namespaces() -> Vec<Capability> {
    const ENABLE: &str = "run as root, or allow user namespaces (`sysctl kernel.unprivileged_userns_clone=1`, on Ubuntu `kernel.apparmor_restrict_unprivileged_userns=0`)";
    let about = |name, needed_for| About {
        name,
        needed_for,
        how_to_enable: ENABLE,
    };
    [
        (
            about("mount namespace", "a private /tmp for each instance"),
            attempt::mount_namespace(),
        ),
        (
            about(
                "process namespace",
                "instances that do not see each other's processes",
            ),
            attempt::process_namespace(),
        ),
        (
            about(
                "network namespace",
                "instances that can use the same ports, and counting their network bytes",
            ),
            attempt::network_namespace(),
        ),
    ]
    .into_iter()
    .map(|(about, tried)| match tried {
        Tried::Yes => about.found(State::Works, "allowed"),
        Tried::InUserNamespace => about.found(State::Works, "allowed in a user namespace"),
        Tried::No(error) => about.found(State::Missing, error.to_string()),
    })
    .collect()
}

fn processes(root: &Path) -> Vec<Capability> {
    let subreaper = About {
        name: "subreaper",
        needed_for: "finding the daemons that a test leaves behind",
        how_to_enable: "Linux 3.4 or later",
    };
    let pidfd = About {
        name: "process descriptors",
        needed_for: "waiting for processes that are not children",
        how_to_enable: "Linux 5.3 or later, not forbidden by a seccomp filter",
    };
    let io = About {
        name: "process IO accounting",
        needed_for: "IO of each test where control groups do not count it",
        how_to_enable: "a kernel with CONFIG_TASK_IO_ACCOUNTING",
    };
    let files = About {
        name: "open file count",
        needed_for: "counting open files cheaply; before Linux 6.2 they are listed",
        how_to_enable: "Linux 6.2 or later",
    };
    let children = About {
        name: "process tree",
        needed_for: "following an instance where there are no control groups",
        how_to_enable: "a kernel with CONFIG_PROC_CHILDREN",
    };
    let told_io = std::fs::read(root.join("proc/self/io"));
    let mut own = InstanceSample::empty(InstanceId(0));
    let pid = i32::try_from(std::process::id()).unwrap_or(0);
    let tree = crate::TreeReader::new(root, pid).read(&mut own);
    let lists = root.join(format!("proc/self/task/{pid}/children")).exists();
    vec![
        verdict(&subreaper, attempt::subreaper()),
        verdict(&pidfd, attempt::process_descriptor()),
        io.yes_or_no(
            told_io.is_ok(),
            "/proc/self/io",
            "/proc/self/io may not be read",
        ),
        if process::counts_open_files_by_stat(root) {
            files.found(State::Works, "told by stat")
        } else {
            files.found(State::Partly, "listed")
        },
        children.yes_or_no(
            tree && lists,
            "/proc/PID/task/TID/children",
            "no list of children in /proc",
        ),
        resource_limits(),
    ]
}

fn verdict(about: &About, tried: nix::Result<()>) -> Capability {
    match tried {
        Ok(()) => about.found(State::Works, "allowed"),
        Err(error) => about.found(State::Missing, error.to_string()),
    }
}

fn resource_limits() -> Capability {
    let about = About {
        name: "resource limits",
        needed_for: "many open files at once, and limits on tests where there are no control groups",
        how_to_enable: "run as root, or raise the hard limits (`ulimit -H`, LimitNOFILE= of the service)",
    };
    let hard = attempt::open_files_hard_limit();
    match attempt::raise_hard_limit() {
        Ok(()) => about.found(State::Works, format!("{hard} open files, may be raised")),
        Err(_) => about.found(
            State::Partly,
            format!("at most {hard} open files, may not be raised"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_tried_once_and_nothing_is_left() {
        let layout = Layout::detect(Path::new("/")).unwrap();
        let namespaces = || {
            ["mnt", "pid", "pid_for_children", "net", "user"]
                .map(|name| std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap())
        };
        let membership = || std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let before = (namespaces(), membership());
        let found = probe();
        assert_eq!(before, (namespaces(), membership()));

        let mut names: Vec<_> = found.iter().map(|capability| capability.name).collect();
        assert_eq!(names.len(), 17);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 17);
        for capability in &found {
            assert!(!capability.found.is_empty(), "{capability:?}");
            assert_eq!(
                capability.how_to_enable.is_empty(),
                capability.state == State::Works,
                "{capability:?}"
            );
            println!("{capability:?}");
        }
        let owner = Owner::current(Path::new("/")).unwrap();
        for hierarchy in &layout.hierarchies {
            assert!(!hierarchy.own.join(format!("{owner}-doctor")).exists());
        }
    }
}
