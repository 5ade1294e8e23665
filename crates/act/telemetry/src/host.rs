//! One reading of the host: who uses its CPUs, what memory is left, what the campaign uses, and
//! whether the disk that it works on is nearly full.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cohort_host::budget::memory_available;
use cohort_host::cgroup::CampaignReader;
use cohort_host::kernel_file::{Buffer, KernelFile, field, lines, number};
use cohort_model::HostSample;

/// Microseconds in one tick of `/proc/stat` (USER_HZ is 100 on every Linux architecture we run on).
const TICK_US: u64 = 10_000;

/// A disk is nearly full when less than this part of it is left, and less than [`DISK_LEFT_BYTES`].
const DISK_LEFT_PART: u64 = 32;
/// See [`DISK_LEFT_PART`].
const DISK_LEFT_BYTES: u64 = 64 << 20;
/// Files that are counted of a scratch directory; it is large enough by then.
const SCRATCH_FILES_MAX: u32 = 20_000;
/// Bytes in one block of `st_blocks` (stat(2)).
const BLOCK_BYTES: u64 = 512;

/// Reads the host. Files stay open between readings.
#[derive(Debug)]
pub struct HostReader {
    stat: Option<KernelFile>,
    memory: Option<KernelFile>,
    campaign: CampaignReader,
    cpus: Vec<u32>,
    scratch: PathBuf,
    buffer: Buffer,
}

impl HostReader {
    /// `root` is `/`, but for tests; `cpus` are those this process may use; the scratch directories
    /// of instances are below `scratch`.
    #[must_use]
    pub fn new(root: &Path, campaign: CampaignReader, cpus: &[u32], scratch: &Path) -> Self {
        Self {
            stat: KernelFile::open_if_there(&root.join("proc/stat")),
            memory: KernelFile::open_if_there(&root.join("proc/meminfo")),
            campaign,
            cpus: cpus.to_vec(),
            scratch: scratch.to_owned(),
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
        sample.disk_left = disk_left(&self.scratch);
        sample
    }
}

/// What is left of the disk that `path` is on, bytes, when that is nearly nothing.
fn disk_left(path: &Path) -> Option<u64> {
    let disk = nix::sys::statvfs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.fragment_size());
    let (total, left) = (bytes(disk.blocks()), bytes(disk.blocks_available()));
    (left < (total / DISK_LEFT_PART).min(DISK_LEFT_BYTES)).then_some(left)
}

/// Bytes that a directory and all below it take up on the disk.
pub(crate) fn disk_use(directory: &Path) -> u64 {
    let mut bytes = 0;
    let mut files = 0;
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            // Of the entry itself: what a link leads to is not this directory's.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            bytes += metadata.blocks() * BLOCK_BYTES;
            files += 1;
            if files > SCRATCH_FILES_MAX {
                return bytes;
            }
            if metadata.is_dir() {
                directories.push(entry.path());
            }
        }
    }
    bytes
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
    fn a_directory_is_as_large_as_all_below_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("below")).unwrap();
        std::fs::write(folder.path().join("below/file"), vec![1; 300_000]).unwrap();
        std::os::unix::fs::symlink("/", folder.path().join("link")).unwrap();
        let bytes = disk_use(folder.path());
        assert!((300_000..600_000).contains(&bytes), "{bytes}");
        assert_eq!(disk_use(&folder.path().join("absent")), 0);
    }

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
