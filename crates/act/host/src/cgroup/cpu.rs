//! CPU: the share under contention, and what was used.
//!
//! | | version 1 | version 2 |
//! | --- | --- | --- |
//! | share | `cpu.shares`, 1024 is equal | `cpu.weight`, 100 is equal |
//! | limit | `cpu.cfs_quota_us` in each `cpu.cfs_period_us` | `cpu.max` |
//! | used | `cpuacct.usage`, nanoseconds | `cpu.stat` `usage_usec`, even without the controller |
//! | held back | `cpu.stat` `throttled_time`, nanoseconds | `cpu.stat` `throttled_usec` |

use cohort_model::InstanceSample;

use super::place::{Controller, Places, Version};
use super::{Error, write};
use crate::kernel_file::{Buffer, KernelFile, field};

/// `cpu.shares` of an equal share.
const EQUAL_SHARES: u64 = 1024;
/// `cpu.weight` of an equal share.
const EQUAL_WEIGHT: u64 = 100;
/// The time over which a limit is kept, microseconds: the kernel's default.
const PERIOD_US: u64 = 100_000;
/// A short one.
pub(super) const SHORT_PERIOD_US: u64 = 10_000;
/// The least limit that the kernel takes, microseconds of each period.
const QUOTA_US_MIN: f64 = 1_000.0;

/// Sets the share; `weight` as in version 2. Nothing where the host cannot.
pub(super) fn set_weight(places: &Places, weight: u32) -> Result<(), Error> {
    let weight = weight.clamp(1, 10_000);
    match places.serving(Controller::Cpu) {
        None => Ok(()),
        Some(place) if place.version == Version::V2 => {
            write(&place.file("cpu.weight"), &weight.to_string())
        }
        Some(place) => {
            let shares = (u64::from(weight) * EQUAL_SHARES / EQUAL_WEIGHT).max(2);
            write(&place.file("cpu.shares"), &shares.to_string())
        }
    }
}

/// Limits a group to `cores`; none: no limit of its own. Nothing where the host cannot.
pub(super) fn set_quota(places: &Places, cores: Option<f64>) -> Result<(), Error> {
    set_quota_each(places, cores, PERIOD_US)
}

/// The same for each `period_us`, which is longer where the kernel's least quota would be more than
/// `cores` have: with a short one also what computes only for some milliseconds meets the limit.
pub(super) fn set_quota_each(
    places: &Places,
    cores: Option<f64>,
    period_us: u64,
) -> Result<(), Error> {
    let least_us = cores.map_or(0.0, |cores| QUOTA_US_MIN / cores.max(0.001));
    let period_us = period_us.max((least_us as u64).min(PERIOD_US));
    let quota_us = cores.map(|cores| (cores * period_us as f64).max(QUOTA_US_MIN) as u64);
    match places.serving(Controller::Cpu) {
        None => Ok(()),
        Some(place) if place.version == Version::V2 => {
            let quota = quota_us.map_or("max".to_owned(), |quota| quota.to_string());
            write(&place.file("cpu.max"), &format!("{quota} {period_us}"))
        }
        Some(place) => {
            write(&place.file("cpu.cfs_period_us"), &period_us.to_string())?;
            let quota = quota_us.map_or("-1".to_owned(), |quota| quota.to_string());
            write(&place.file("cpu.cfs_quota_us"), &quota)
        }
    }
}

/// Gives the campaign the weight of `cores` tasks: below the root, and below a version 1 group with
/// processes, groups compete with single tasks, and the whole campaign would count as one of them.
pub(super) fn weigh_as_tasks(places: &Places, cores: usize) {
    if places
        .serving(Controller::Cpu)
        .is_some_and(|place| place.version == Version::V1)
    {
        let weight = EQUAL_WEIGHT * cores as u64;
        // A lesser share is worse, not wrong.
        let _ = set_weight(places, u32::try_from(weight).unwrap_or(u32::MAX));
    }
}

/// Reads what was used.
#[derive(Debug, Default)]
pub(super) struct CpuReader {
    usage_ns: Option<KernelFile>,
    stat_v1: Option<KernelFile>,
    stat_v2: Option<KernelFile>,
}

impl CpuReader {
    pub(super) fn open(places: &Places) -> Self {
        let v1 = |controller, name: &str| {
            let place = places
                .serving(controller)
                .filter(|place| place.version == Version::V1)?;
            KernelFile::open_if_there(&place.file(name))
        };
        let usage_ns = v1(Controller::Cpuacct, "cpuacct.usage");
        let stat_v1 = v1(Controller::Cpu, "cpu.stat");
        // Where version 1 tells both, the third file would only cost.
        let unified = places
            .unified()
            .filter(|_| usage_ns.is_none() || stat_v1.is_none());
        let stat_v2 = unified.and_then(|place| KernelFile::open_if_there(&place.file("cpu.stat")));
        Self {
            usage_ns,
            stat_v1,
            stat_v2,
        }
    }

    /// CPU used, microseconds.
    pub(super) fn used_us(&self, buffer: &mut Buffer) -> u64 {
        match (&self.usage_ns, &self.stat_v2) {
            (Some(file), _) => file.number(buffer).unwrap_or(0) / 1000,
            (None, Some(file)) => file
                .read(buffer)
                .ok()
                .and_then(|text| field(text, "usage_usec"))
                .unwrap_or(0),
            (None, None) => 0,
        }
    }

    pub(super) fn read(&self, buffer: &mut Buffer, sample: &mut InstanceSample) {
        if let Some(text) = self
            .stat_v2
            .as_ref()
            .and_then(|file| file.read(buffer).ok())
        {
            sample.cpu_us = field(text, "usage_usec").unwrap_or(0);
            sample.throttled_us = field(text, "throttled_usec").unwrap_or(0);
        }
        if let Some(file) = &self.usage_ns {
            sample.cpu_us = file.number(buffer).unwrap_or(0) / 1000;
        }
        if let Some(text) = self
            .stat_v1
            .as_ref()
            .and_then(|file| file.read(buffer).ok())
        {
            sample.throttled_us = field(text, "throttled_time").unwrap_or(0) / 1000;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::place::Place;
    use super::*;

    #[test]
    fn a_limit_in_both_versions_and_none_again() {
        for (version, files, limited, free) in [
            (Version::V2, vec!["cpu.max"], "50000 100000", "max 100000"),
            (
                Version::V1,
                vec!["cpu.cfs_quota_us", "cpu.cfs_period_us"],
                "50000",
                "-1",
            ),
        ] {
            let folder = tempfile::tempdir().unwrap();
            for name in &files {
                std::fs::write(folder.path().join(name), "").unwrap();
            }
            let places = Places(vec![Place {
                version,
                folder: folder.path().to_owned(),
                controllers: vec![Controller::Cpu],
            }]);
            let written = || {
                let text = std::fs::read_to_string(folder.path().join(files[0])).unwrap();
                std::fs::write(folder.path().join(files[0]), "").unwrap();
                text
            };
            set_quota(&places, Some(0.5)).unwrap();
            assert_eq!(written(), limited, "{version:?}");
            set_quota(&places, None).unwrap();
            assert_eq!(written(), free, "{version:?}");
        }
    }
}
