//! This machine: control groups, processes, what may be used of it, what it can do, and what dead
//! Cohorts left on it.
//!
//! Synchronous, and rooted at a path that is passed in (`/`, but for tests).

pub mod bridge;
pub mod budget;
pub mod cgroup;
pub mod doctor;
pub mod init;
pub mod kernel_file;
mod network;
pub mod process;
pub mod remains;
mod tree_reader;

#[cfg(test)]
mod fixture;

pub use budget::HostBudget;
pub use doctor::Capability;
pub use tree_reader::TreeReader;

use cohort_model::{InstanceId, InstanceSample};

/// Telemetry of one instance, by whatever the host offers.
#[derive(Debug)]
pub enum InstanceReader {
    /// From its control groups.
    Group(Box<cgroup::GroupReader>),
    /// From its process tree.
    Tree(TreeReader),
}

impl InstanceReader {
    /// Also counts network bytes, in the network namespace that process `pid` is in. Only for an
    /// instance that has one of its own.
    pub fn watch_network_of(&mut self, pid: i32) {
        match self {
            Self::Group(reader) => reader.watch_network_of(pid),
            Self::Tree(reader) => reader.watch_network_of(pid),
        }
    }

    /// Fills all but the instance and its failures; `false` when the instance is gone.
    pub fn read(&mut self, sample: &mut InstanceSample) -> bool {
        match self {
            Self::Group(reader) => reader.read(sample),
            Self::Tree(reader) => reader.read(sample),
        }
    }
}

/// A sample of an instance that has done nothing yet.
#[must_use]
pub fn empty_sample(instance: InstanceId) -> InstanceSample {
    InstanceSample {
        instance,
        cpu_us: 0,
        throttled_us: 0,
        memory: 0,
        memory_peak: 0,
        memory_anon: 0,
        memory_file: 0,
        oom_kills: 0,
        io_read: 0,
        io_written: 0,
        io_operations: 0,
        cpu_pressure_us: 0,
        memory_pressure_us: 0,
        io_pressure_us: 0,
        processes: 0,
        tasks: 0,
        open_files: 0,
        net_received: None,
        net_sent: None,
        scratch: None,
        failures: 0,
    }
}
