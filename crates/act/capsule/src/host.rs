//! On what a case was seen.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Cores that may be used.
    pub cores: u32,
    /// Memory in bytes; 0 when not known.
    pub memory: u64,
    /// Release of the kernel (`6.18.1-amd64`); empty when not known.
    #[serde(default)]
    pub kernel: String,
    /// Name of the distribution and its version; empty when not known.
    #[serde(default)]
    pub system: String,
    /// `x86_64`, `aarch64`
    pub architecture: String,
    /// What programs say of their version, by name (`python3`, `rustc`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub versions: BTreeMap<String, String>,
}

impl Host {
    /// This one, with the versions of `programs` that are there.
    #[must_use]
    pub fn here(programs: &[&str]) -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let memory = text("/proc/meminfo");
        let kib = memory
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))
            .and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok());
        let release = text("/etc/os-release");
        let system = release
            .lines()
            .find_map(|line| line.strip_prefix("PRETTY_NAME="))
            .map(|name| name.trim_matches('"').to_owned());
        let version = |name: &&str| Some(((*name).to_owned(), tool_version(name)?));
        Self {
            cores: std::thread::available_parallelism()
                .map_or(0, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
            memory: kib.unwrap_or(0) * 1024,
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            system: system.unwrap_or_default(),
            architecture: std::env::consts::ARCH.to_owned(),
            versions: programs.iter().filter_map(version).collect(),
        }
    }
}

/// The first line of what `program --version` says; none when there is no such program.
#[must_use]
pub fn tool_version(program: &str) -> Option<String> {
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    // Python 2 and some others say it on the other stream.
    let said = if output.stdout.is_empty() {
        output.stderr
    } else {
        output.stdout
    };
    let line = String::from_utf8_lossy(&said)
        .lines()
        .next()?
        .trim()
        .to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}
