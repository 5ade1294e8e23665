//! System calls of one instance, by kind: what it spends its time asking the kernel for.
//!
//! One event of the tracepoint `raw_syscalls:sys_enter` a kind and CPU, each with a filter on the
//! call's number, scoped to the instance's control group. They only count, so nothing is buffered
//! and nothing can be lost; the events of one CPU are read with one call.
//!
//! Each call of a watched instance becomes 0.3 to 0.5 us slower, others do not (`tests/calls.rs`
//! measures it): 1 % of a core at 25,000 calls a second. So it is for instances under suspicion, or
//! with few calls.
//!
//! Calls of 32-bit programs on a 64-bit kernel have other numbers and are counted under wrong kinds.

mod event;
mod kind;
mod tracepoint;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

pub use kind::{CallCounts, CallKind};
pub use tracepoint::Tracepoint;

/// System calls cannot be counted here.
#[derive(Debug, thiserror::Error)]
pub enum CallsError {
    /// The kernel has no tracepoint for system calls, or it cannot be found.
    #[error(
        "count system calls: {tried}: {source}; mount tracefs (mount -t tracefs tracefs /sys/kernel/tracing) on a kernel with CONFIG_FTRACE_SYSCALLS, or run as root"
    )]
    Tracepoint {
        /// What was tried last.
        tried: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The kernel does not allow it.
    #[error(
        "count system calls of a control group: {0}; run as root or with CAP_PERFMON (kernel.perf_event_paranoid of -1 serves too)"
    )]
    Forbidden(#[source] std::io::Error),
    /// None of the instance's groups is in the hierarchy that perf looks at.
    #[error(
        "count system calls: none of {groups:?} is in the perf_event hierarchy; mount control groups of version 2, and not perf_event in version 1"
    )]
    NoGroup {
        /// The groups that were tried.
        groups: Vec<PathBuf>,
    },
    /// No descriptors left.
    #[error(
        "count system calls: {0}; each instance needs {per_cpu} descriptors a CPU, raise the limit of open files (ulimit -n)",
        per_cpu = kind::ALL.len()
    )]
    Descriptors(#[source] std::io::Error),
    /// Anything else that the kernel refuses.
    #[error("count system calls in {group}: {source}")]
    Open {
        /// The group.
        group: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The counters of one instance. Dropped, they end.
#[derive(Debug)]
pub struct Calls {
    /// A group of events for each CPU, the leader first, in the order of [`kind::ALL`].
    cpus: Vec<Vec<OwnedFd>>,
}

impl Calls {
    /// Begins to count what the processes in a control group call, on `cpus`, its children included.
    /// `groups` are the instance's folders in all hierarchies; the one that perf looks at is found.
    ///
    /// # Errors
    /// See [`CallsError`].
    pub fn open(
        tracepoint: Tracepoint,
        groups: &[PathBuf],
        cpus: &[u32],
    ) -> Result<Self, CallsError> {
        for group in groups {
            match Self::open_in(tracepoint, group, cpus) {
                Ok(calls) => return Ok(calls),
                // No control group at all, or none of the hierarchy that perf looks at.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EBADF | libc::ENOENT)) => {}
                Err(error) => return Err(refused(group, error)),
            }
        }
        Err(CallsError::NoGroup {
            groups: groups.to_vec(),
        })
    }

    fn open_in(tracepoint: Tracepoint, group: &Path, cpus: &[u32]) -> std::io::Result<Self> {
        let folder = std::fs::File::open(group)?;
        let mut all = Vec::with_capacity(cpus.len());
        for cpu in cpus {
            let mut events: Vec<OwnedFd> = Vec::with_capacity(kind::ALL.len());
            for kind in kind::ALL {
                let event = event::open(tracepoint.id, &folder, *cpu, events.first())?;
                if let Some(filter) = kind.filter() {
                    event::set_filter(&event, &filter)?;
                }
                events.push(event);
            }
            // All of a group begin at the same time.
            event::enable(&events[0])?;
            all.push(events);
        }
        Ok(Self { cpus: all })
    }

    /// Calls since the counters were opened. A few microseconds a CPU.
    ///
    /// # Errors
    /// The kernel refuses to read, which it has no reason to.
    pub fn read(&self) -> std::io::Result<CallCounts> {
        let mut counts = CallCounts::default();
        for events in &self.cpus {
            let values: [u64; kind::ALL.len()] = event::read_group(&events[0])?;
            for (kind, value) in kind::ALL.into_iter().zip(values) {
                *counts.of_mut(kind) += value;
            }
        }
        Ok(counts)
    }
}

fn refused(group: &Path, error: std::io::Error) -> CallsError {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => CallsError::Forbidden(error),
        Some(libc::EMFILE | libc::ENFILE) => CallsError::Descriptors(error),
        _ => CallsError::Open {
            group: group.to_owned(),
            source: error,
        },
    }
}
