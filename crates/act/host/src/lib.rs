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

use cohort_model::InstanceSample;

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

/// An error with all its causes, in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
