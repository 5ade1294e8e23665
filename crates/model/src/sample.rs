//! Raw telemetry: what was read, when. Counters are cumulative since the instance opened, so that
//! a window is a pure function of two samples and a lost sample costs resolution, never totals.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{At, InstanceId};

/// One reading of one instance. A field the host cannot provide is zero, and `cohort doctor` says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceSample {
    /// Which instance.
    pub instance: InstanceId,
    /// CPU used, microseconds, cumulative.
    pub cpu_us: u64,
    /// Time it was held back by a CPU limit, microseconds, cumulative.
    pub throttled_us: u64,
    /// Memory charged now, bytes (page cache included).
    pub memory: u64,
    /// Largest memory charged so far, bytes.
    pub memory_peak: u64,
    /// Anonymous memory now, bytes: what cannot be dropped.
    pub memory_anon: u64,
    /// Page cache now, bytes.
    pub memory_file: u64,
    /// Times the kernel killed something in it for memory, cumulative.
    pub oom_kills: u64,
    /// Bytes read from and written to storage, cumulative.
    pub io_read: u64,
    /// Bytes written to storage, cumulative.
    pub io_written: u64,
    /// Read and write operations, cumulative.
    pub io_operations: u64,
    /// Time in which some task waited for CPU (PSI `some`), microseconds, cumulative.
    pub cpu_pressure_us: u64,
    /// The same for memory.
    pub memory_pressure_us: u64,
    /// The same for IO.
    pub io_pressure_us: u64,
    /// Processes now.
    pub processes: u32,
    /// Threads of execution (kernel tasks) now.
    pub tasks: u32,
    /// Open file descriptors now.
    pub open_files: u32,
    /// Bytes received, cumulative; `None` without a network namespace of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net_received: Option<u64>,
    /// Bytes sent, cumulative; `None` without a network namespace of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net_sent: Option<u64>,
    /// Bytes in its scratch directory; measured only while the disk it is on is nearly full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch: Option<u64>,
    /// Failed threads on it so far.
    pub failures: u32,
}

impl InstanceSample {
    /// That of an instance that has done nothing yet.
    #[must_use]
    pub fn empty(instance: InstanceId) -> Self {
        Self {
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
}

/// One reading of the host, and of the campaign as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostSample {
    /// CPU time that anyone used on the CPUs this process may use, microseconds, cumulative.
    pub busy_us: u64,
    /// CPU used by the campaign's instances, microseconds, cumulative.
    pub campaign_cpu_us: u64,
    /// Memory the campaign's instances hold now and cannot drop, bytes.
    pub campaign_memory: u64,
    /// Memory that could be had now without swapping, bytes, the tighter of host and own limits.
    pub memory_available: u64,
    /// Time in which some task of the campaign waited for CPU, microseconds, cumulative.
    pub cpu_pressure_us: u64,
    /// The same for memory.
    pub memory_pressure_us: u64,
    /// Tasks that could run now, on the whole host.
    pub runnable: u32,
    /// Whether the disk of the scratch directories is nearly full: what is left of it, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_left: Option<u64>,
}

/// What the collector itself costs and loses, cumulative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Collector {
    /// Readings made, one per instance and time.
    pub readings: u64,
    /// Readings lost because the ring to the hub was full.
    pub dropped: u64,
    /// CPU used by the collector, microseconds.
    pub cpu_us: u64,
}

/// All readings of one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SampleBatch {
    /// When they were taken.
    pub at: At,
    /// The host.
    pub host: HostSample,
    /// Each instance that was due; empty when only the host was read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<InstanceSample>,
    /// The collector's own account.
    pub collector: Collector,
}
