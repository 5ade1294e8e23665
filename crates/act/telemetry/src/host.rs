//! One reading of the host: who uses its CPUs, what memory is left, what the campaign uses.

use std::path::Path;

use cohort_host::budget::memory_available;
use cohort_host::cgroup::CampaignReader;
use cohort_host::kernel_file::{Buffer, KernelFile, field, lines, number};
use cohort_model::HostSample;

/// Microseconds in one tick of `/proc/stat` (USER_HZ is 100 on every Linux architecture we run on).
const TICK_US: u64 = 10_000;

/// Reads the host. Files stay open between readings.
#[derive(Debug)]
pub struct HostReader {
    stat: Option<KernelFile>,
    memory: Option<KernelFile>,
    campaign: CampaignReader,
    cpus: Vec<u32>,
    buffer: Buffer,
}

impl HostReader {
    /// `root` is `/`, but for tests; `cpus` are those this process may use.
    #[must_use]
    pub fn new(root: &Path, campaign: CampaignReader, cpus: &[u32]) -> Self {
        Self {
            stat: KernelFile::open_if_there(&root.join("proc/stat")),
            memory: KernelFile::open_if_there(&root.join("proc/meminfo")),
            campaign,
            cpus: cpus.to_vec(),
            buffer: Buffer::default(),
        }
    }

    /// What cannot be read is zero.
    pub fn read(&mut self) -> HostSample {
        let mut sample = HostSample::default();
        if let Some(text) = self
            .stat
            .as_ref()
            .and_then(|file| file.read(&mut self.buffer).ok())
        {
            sample.busy_us = busy_us(text, &self.cpus);
            sample.runnable = field(text, "procs_running").unwrap_or(0) as u32;
        }
        if let Some(text) = self
            .memory
            .as_ref()
            .and_then(|file| file.read(&mut self.buffer).ok())
        {
            sample.memory_available = memory_available(text).unwrap_or(0);
        }
        self.campaign.read(&mut self.buffer, &mut sample);
        sample
    }
}

/// Time in which `cpus` did something, from `/proc/stat` (proc(5)): all columns but idle and iowait,
/// and but guest times, which user times include.
fn busy_us(stat: &[u8], cpus: &[u32]) -> u64 {
    let mut ticks = 0;
    for line in lines(stat) {
        let Some(rest) = line.strip_prefix(b"cpu") else {
            break;
        };
        let mut words = rest
            .split(|&byte| byte == b' ')
            .filter(|word| !word.is_empty());
        if rest.starts_with(b" ") {
            continue;
        }
        let cpu = words.next().and_then(number);
        if !cpu.is_some_and(|cpu| cpus.contains(&(cpu as u32))) {
            continue;
        }
        let columns = words.take(8).map(|word| number(word).unwrap_or(0));
        ticks += columns
            .enumerate()
            .filter(|(column, _)| !matches!(column, 3 | 4))
            .map(|(_, ticks)| ticks)
            .sum::<u64>();
    }
    ticks * TICK_US
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_work_on_allowed_cpus_counts() {
        let stat = b"cpu  9 9 9 9 9 9 9 9 9 9\n\
            cpu0 1 2 3 100 50 4 5 6 7 8\n\
            cpu1 1000 0 0 0 0 0 0 0 0 0\n\
            cpu12 10 0 0 9 9 0 0 0 0 0\n\
            intr 5\nprocs_running 3\n";
        assert_eq!(busy_us(stat, &[0]), 21 * TICK_US);
        assert_eq!(busy_us(stat, &[0, 12]), 31 * TICK_US);
        assert_eq!(busy_us(b"", &[0]), 0);
    }
}
