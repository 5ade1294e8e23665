//! What this process may use of the host, and where that is written.
//!
//! CPU: the tightest of CPU affinity and the quotas of our own group and all above it. Memory: the
//! tightest of what the host has available and what the limits of our own group and all above it
//! leave. A tenth of the memory, and at least 64 MiB, is left for Cohort itself and for surprises.

use std::path::Path;

use crate::cgroup::{Controller, Layout, Version, memory_room};
use crate::kernel_file::{Buffer, lines, number};

/// Part of the memory that is left alone.
const HEADROOM_PART: u64 = 10;
/// Least memory that is left alone, bytes.
const HEADROOM_BYTES_MIN: u64 = 64 << 20;

/// What may be used.
#[derive(Clone, Debug, PartialEq)]
pub struct HostBudget {
    /// Cores; may be a fraction.
    pub cores: f64,
    /// CPUs this process may run on.
    pub cpus: Vec<u32>,
    /// Memory, bytes, headroom taken off.
    pub memory: u64,
    /// What limits each, one sentence each.
    pub sources: Vec<String>,
}

/// Looks at the host. `root` is `/`, but for tests. What cannot be read does not limit.
#[must_use]
pub fn detect(root: &Path, layout: &Layout) -> HostBudget {
    let status = std::fs::read_to_string(root.join("proc/self/status")).unwrap_or_default();
    let listed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let mut cpus = listed.map(|list| cpu_list(list.trim())).unwrap_or_default();
    if cpus.is_empty() {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        cpus = (0..u32::try_from(count).unwrap_or(1)).collect();
    }
    let mut sources = vec![format!("CPU affinity allows {} CPUs", cpus.len())];
    let mut cores = cpus.len() as f64;
    if let Some((quota, path)) = tightest_quota(layout) {
        sources.push(format!("{path} allows {quota:.2} cores"));
        cores = cores.min(quota);
    }

    let meminfo = std::fs::read(root.join("proc/meminfo")).unwrap_or_default();
    let mut memory = memory_available(&meminfo).unwrap_or(u64::MAX);
    sources.push(format!(
        "the host has {} MiB of memory available",
        memory >> 20
    ));
    if let Some((left, path)) = memory_room(layout).left(&mut Buffer::default()) {
        sources.push(format!("{path} leaves {} MiB", left >> 20));
        memory = memory.min(left);
    }
    let headroom = (memory / HEADROOM_PART).max(HEADROOM_BYTES_MIN);
    sources.push(format!("{} MiB are left for Cohort itself", headroom >> 20));
    HostBudget {
        cores,
        cpus,
        memory: memory.saturating_sub(headroom),
        sources,
    }
}

/// As many of `cpus` as `cores` need, whole ones. Which ones depends on `seed`, so that several
/// campaigns that each use a part of the host do not all use the same part.
#[must_use]
pub fn some_cpus(cpus: &[u32], cores: f64, seed: u32) -> Vec<u32> {
    let count = (cores.ceil().max(1.0) as usize).min(cpus.len());
    let first = seed as usize % cpus.len().max(1);
    let mut some: Vec<u32> = cpus
        .iter()
        .cycle()
        .skip(first)
        .take(count)
        .copied()
        .collect();
    some.sort_unstable();
    some
}

/// `MemAvailable` of `/proc/meminfo`, bytes.
#[must_use]
pub fn memory_available(meminfo: &[u8]) -> Option<u64> {
    let kib = lines(meminfo).find_map(|line| number(line.strip_prefix(b"MemAvailable:")?))?;
    kib.checked_mul(1024)
}

/// `0-2,5` as numbers; a part that makes no sense is left out.
fn cpu_list(text: &str) -> Vec<u32> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
            cpus.extend(first..=last.min(first.saturating_add(1 << 16)));
        }
    }
    cpus
}

/// The least quota of our own group and all above, in cores, and its file.
fn tightest_quota(layout: &Layout) -> Option<(f64, String)> {
    let hierarchy = layout.serving(Controller::Cpu).or(layout.unified())?;
    let quotas = hierarchy.own_and_above().filter_map(|folder| {
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
        let (name, quota, period) = match hierarchy.version {
            Version::V2 => {
                let text = read("cpu.max")?;
                let (quota, period) = text.trim().split_once(' ')?;
                ("cpu.max", quota.to_owned(), period.to_owned())
            }
            Version::V1 => (
                "cpu.cfs_quota_us",
                read("cpu.cfs_quota_us")?,
                read("cpu.cfs_period_us")?,
            ),
        };
        // `max` and -1 mean none.
        let quota = quota
            .trim()
            .parse::<f64>()
            .ok()
            .filter(|quota| *quota > 0.0)?;
        let period = period
            .trim()
            .parse::<f64>()
            .ok()
            .filter(|period| *period > 0.0)?;
        Some((quota / period, folder.join(name).display().to_string()))
    });
    quotas.min_by(|one, other| one.0.total_cmp(&other.0))
}

#[cfg(test)]
mod tests {
    use std::fs::write;

    use proptest::prelude::*;

    use super::*;
    use crate::fixture;

    fn detected(host: &tempfile::TempDir) -> HostBudget {
        detect(host.path(), &Layout::detect(host.path()).unwrap())
    }

    #[test]
    fn some_cpus_are_whole_ones_and_there() {
        let all = [0, 2, 3, 7];
        assert_eq!(some_cpus(&all, 1.5, 3), [0, 7]);
        assert_eq!(some_cpus(&all, 0.2, 5), [2]);
        assert_eq!(some_cpus(&all, 9.0, 1), all);
        assert!(some_cpus(&[], 1.0, 1).is_empty());
    }

    #[test]
    fn without_limits_it_is_affinity_and_available_memory() {
        let budget = detected(&fixture::hybrid());
        assert_eq!(budget.cpus, [0, 1, 2, 5]);
        assert!((budget.cores - 4.0).abs() < 1e-9);
        let available = 8_000_000 * 1024;
        assert_eq!(budget.memory, available - available / 10);
        assert_eq!(budget.sources.len(), 3);
    }

    #[test]
    fn v2_limits_of_a_group_above_hold() {
        let host = fixture::v2("/a/b", "cpu memory");
        let above = host.path().join("sys/fs/cgroup/a");
        write(above.join("cpu.max"), "150000 100000\n").unwrap();
        write(above.join("b/cpu.max"), "max 100000\n").unwrap();
        write(above.join("memory.max"), "1000000000\n").unwrap();
        write(above.join("memory.current"), "500000000\n").unwrap();
        write(
            above.join("memory.stat"),
            "anon 1\ninactive_file 60000000\nactive_file 40000000\n",
        )
        .unwrap();
        write(above.join("b/memory.max"), "max\n").unwrap();
        write(above.join("b/memory.current"), "5\n").unwrap();
        let budget = detected(&host);
        assert!((budget.cores - 1.5).abs() < 1e-9, "{budget:?}");
        assert_eq!(budget.memory, 600_000_000 - HEADROOM_BYTES_MIN);
    }

    #[test]
    fn v1_limits_hold() {
        let host = fixture::v1("/docker/abc");
        let groups = host.path().join("sys/fs/cgroup");
        write(groups.join("cpu,cpuacct/cpu.cfs_quota_us"), "50000\n").unwrap();
        write(groups.join("cpu,cpuacct/cpu.cfs_period_us"), "100000\n").unwrap();
        write(groups.join("memory/memory.limit_in_bytes"), "2000000000\n").unwrap();
        write(groups.join("memory/memory.usage_in_bytes"), "500000000\n").unwrap();
        write(
            groups.join("memory/memory.stat"),
            "total_inactive_file 500000000\n",
        )
        .unwrap();
        let budget = detected(&host);
        assert!((budget.cores - 0.5).abs() < 1e-9, "{budget:?}");
        assert_eq!(budget.memory, 1_800_000_000);
    }

    #[test]
    fn a_limit_that_is_no_limit() {
        let host = fixture::v1("/");
        let groups = host.path().join("sys/fs/cgroup");
        write(groups.join("cpu,cpuacct/cpu.cfs_quota_us"), "-1\n").unwrap();
        write(groups.join("cpu,cpuacct/cpu.cfs_period_us"), "100000\n").unwrap();
        write(
            groups.join("memory/memory.limit_in_bytes"),
            "9223372036854771712\n",
        )
        .unwrap();
        write(groups.join("memory/memory.usage_in_bytes"), "500000000\n").unwrap();
        assert_eq!(detected(&host).sources.len(), 3);
    }

    #[test]
    fn this_host() {
        let root = Path::new("/");
        let budget = detect(root, &Layout::detect(root).unwrap());
        assert!(budget.cores > 0.0 && budget.memory > 0, "{budget:?}");
        // The standard library takes quotas into account as well, rounded to whole cores.
        let cores = std::thread::available_parallelism().unwrap().get() as f64;
        assert!((budget.cores - cores).abs() <= 1.0, "{budget:?}");
        assert!(budget.cores <= budget.cpus.len() as f64);
    }

    proptest! {
        #[test]
        fn cpu_lists_come_back(ranges in prop::collection::vec((0u32..1000, 0u32..50), 1..10)) {
            let text: Vec<String> = ranges.iter().map(|(first, more)| {
                if *more == 0 { first.to_string() } else { format!("{first}-{}", first + more) }
            }).collect();
            let expected: Vec<u32> = ranges.iter().flat_map(|(first, more)| *first..=first + more).collect();
            prop_assert_eq!(cpu_list(&text.join(",")), expected);
        }

        #[test]
        fn any_text_is_survived(text: String) {
            let _ = cpu_list(&text);
            let _ = memory_available(text.as_bytes());
        }
    }
}
