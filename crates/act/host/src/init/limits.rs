//! Limits that every process of the instance inherits from its init.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

use super::protocol::Limits;

/// Sets them for this process; what could not be set, one sentence each.
pub(super) fn set(limits: &Limits) -> Vec<String> {
    let mut missing = Vec::new();
    if !limits.cpus.is_empty()
        && let Err(errno) = set_cpus(&limits.cpus)
    {
        missing.push(format!(
            "tests may run on all CPUs, not only on {:?}: {errno}",
            limits.cpus
        ));
    }
    for (resource, soft, name) in [
        (Resource::RLIMIT_NOFILE, limits.open_files, "open files"),
        (Resource::RLIMIT_NPROC, limits.tasks, "tasks"),
    ] {
        if let Some(soft) = soft
            && let Err(errno) = set_soft(resource, soft)
        {
            missing.push(format!("tests are not limited to {soft} {name}: {errno}"));
        }
    }
    missing
}

fn set_cpus(cpus: &[u32]) -> nix::Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu as usize)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set)
}

/// The soft limit alone: who needs more may raise it again, up to the hard one.
fn set_soft(resource: Resource, soft: u64) -> nix::Result<()> {
    let (_, hard) = getrlimit(resource)?;
    setrlimit(resource, soft.min(hard), hard)
}
