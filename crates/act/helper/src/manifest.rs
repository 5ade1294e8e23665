//! What a helper is.

use std::collections::BTreeMap;

use cohort_model::{HelperOffer, ServiceFindingKind};
use serde::Deserialize;

use crate::Runtime;

/// Those built in, by name: in the order in which they are asked.
pub const BUILT_IN: [(&str, &str); 17] = [
    ("scanner", include_str!("../manifests/scanner.toml")),
    ("debugger", include_str!("../manifests/debugger.toml")),
    ("profiler", include_str!("../manifests/profiler.toml")),
    (
        "python-profiler",
        include_str!("../manifests/python-profiler.toml"),
    ),
    (
        "node-profiler",
        include_str!("../manifests/node-profiler.toml"),
    ),
    (
        "java-profiler",
        include_str!("../manifests/java-profiler.toml"),
    ),
    (
        "python-debugger",
        include_str!("../manifests/python-debugger.toml"),
    ),
    (
        "java-debugger",
        include_str!("../manifests/java-debugger.toml"),
    ),
    ("waits", include_str!("../manifests/waits.toml")),
    (
        "python-waits",
        include_str!("../manifests/python-waits.toml"),
    ),
    ("tracer", include_str!("../manifests/tracer.toml")),
    ("growth", include_str!("../manifests/growth.toml")),
    (
        "python-growth",
        include_str!("../manifests/python-growth.toml"),
    ),
    ("node-growth", include_str!("../manifests/node-growth.toml")),
    ("locks", include_str!("../manifests/locks.toml")),
    ("descriptors", include_str!("../manifests/descriptors.toml")),
    (
        "python-descriptors",
        include_str!("../manifests/python-descriptors.toml"),
    ),
];

/// How the output of a helper is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reads {
    /// Stacks of all threads as gdb writes them, any number of times.
    Gdb,
    /// Samples of what runs, as `perf script` writes them.
    Perf,
    /// Page faults as `perf script` writes them, with their addresses: which memory stays, and who took it.
    Growth,
    /// System calls that open, close, start and end, as `perf script` writes them: which descriptors and threads stay, and who opened them.
    Kept,
    /// A line for each stack: its functions, outermost first, with `;` between, and how often it was seen.
    Folded,
    /// System calls of locks, and probes where they are let go of (`lock=0x...`), as `perf script` writes them: who holds them for long.
    Locks,
    /// `seconds 20.0`, then a line for each stack, with bytes that it allocated and that are still there.
    Grown,
    /// Threads that stop and go on, as `perf script --show-switch-events` writes them: where and for what they wait.
    Switches,
    /// As `folded`, of all threads whether they run or wait: where the time goes that calls take.
    Waited,
    /// `seconds 3.0 port 8080`, then system calls as `strace -f -yy -ttt -T` writes them: which take the time, which fail.
    Calls,
    /// `seconds 20.0`, then a line for each stack, with how many files, sockets and threads it began that are still there.
    Stays,
    /// Stacks of all threads as `py-spy dump --json` writes them, any number of times.
    Dumps,
    /// A JSON object for each thing found: `{"sentence": ..., "function": ..., "place": ...}`.
    Json,
    /// Each line is something found.
    Lines,
}

/// A helper.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Its name: that of its file.
    pub name: String,
    /// What it does, in words.
    pub about: String,
    /// Suspicions that it can tell more about.
    pub detects: Vec<ServiceFindingKind>,
    /// Programs that it needs along `PATH`.
    pub needs: Vec<String>,
    /// How to get them, by program: `pip install py-spy`.
    pub install: BTreeMap<String, String>,
    /// What it can look at; empty: whatever there is.
    pub runtimes: Vec<Runtime>,
    /// Its command. Words in braces are filled in: `{pid}`, `{host}`, `{port}`, `{out}`, `{seconds}`,
    /// and `{script:NAME}` for a script that is built in.
    pub command: Vec<String>,
    /// A command that removes what it may leave on the host itself, after its end, however that came; empty: nothing. As `command`.
    pub cleanup: Vec<String>,
    /// How long it looks, microseconds.
    pub looks_us: u64,
    /// How its output is read.
    pub reads: Reads,
    /// Time between two samples, microseconds; 0: it does not sample, or nobody knows.
    pub every_us: u64,
    /// Whether a healthy instance is looked at too, by the same command, so that what it finds can be compared.
    pub compares: bool,
    /// CPU that it is expected to use, cores.
    pub cores: f64,
    /// The latency of its instance may rise by this factor.
    pub slowdown_max: f64,
    /// Memory that it may use, bytes.
    pub memory: u64,
    /// Output that is kept, bytes.
    pub output: u64,
    /// Helpers that it gets along with.
    pub alongside: Vec<String>,
}

impl Manifest {
    /// Whether it looks for weaknesses: nobody has to suspect something first.
    #[must_use]
    pub fn scans(&self) -> bool {
        self.detects.contains(&ServiceFindingKind::Weakness)
    }

    /// As the deployer sees it.
    #[must_use]
    pub fn offer(&self) -> HelperOffer {
        HelperOffer {
            name: self.name.clone(),
            detects: self.detects.clone(),
            cores: self.cores,
            looks_us: self.looks_us,
            slowdown_max: self.slowdown_max,
            compares: self.compares,
            alongside: self.alongside.clone(),
        }
    }
}
