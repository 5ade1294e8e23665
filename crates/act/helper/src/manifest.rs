//! What a helper is.

use cohort_model::{HelperOffer, ServiceFindingKind};
use serde::Deserialize;

use crate::Runtime;

/// Those built in, by name: in the order in which they are asked.
pub const BUILT_IN: [(&str, &str); 4] = [
    ("scanner", include_str!("../manifests/scanner.toml")),
    ("debugger", include_str!("../manifests/debugger.toml")),
    ("profiler", include_str!("../manifests/profiler.toml")),
    (
        "python-profiler",
        include_str!("../manifests/python-profiler.toml"),
    ),
];

/// How the output of a helper is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reads {
    /// Stacks of all threads as gdb writes them, any number of times.
    Gdb,
    /// Samples as `perf script` writes them.
    Perf,
    /// A line for each stack: its functions, outermost first, with `;` between, and how often it was seen.
    Folded,
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
    /// What it can look at; empty: whatever there is.
    pub runtimes: Vec<Runtime>,
    /// Its command. Words in braces are filled in: `{pid}`, `{host}`, `{port}`, `{out}`, `{seconds}`.
    pub command: Vec<String>,
    /// How long it looks, microseconds.
    pub looks_us: u64,
    /// How its output is read.
    pub reads: Reads,
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
            alongside: self.alongside.clone(),
        }
    }
}
