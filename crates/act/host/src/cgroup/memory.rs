//! Memory: the allotment and the wall behind it, and what is held.
//!
//! ```text
//!            allotment                 wall = allotment + 25 %, at least + 32 MiB
//! v2 |---------| memory.high: slowed ----| memory.max: OOM kill
//! v1 |---------| threshold: told --------| memory.limit_in_bytes: stands still (oom_kill_disable)
//! ```
//!
//! Version 1 has no way to slow a group down, and lets only page faults of user code stand still
//! at the wall: a system call that touches fresh memory there fails with `EFAULT` or `ENOMEM`, and
//! a test may well fail with it. That is why its allotment too is told before the wall is reached,
//! and why [`limit_hits`] counts.
//!
//! Version 1 leaves what a process has been charged with its old group when it is moved: the
//! source of a hand-over keeps the charge until the memory is freed, and the target's limit holds
//! only for what comes after. Version 2 does the same. So the source must not be shrunk below what
//! it still holds ([`set_allotment`] takes care), nor be used anew before it is empty.

use std::path::Path;

use cohort_model::InstanceSample;

use super::place::{Controller, Place, Places, Version};
use super::{Error, Layout, write};
use crate::kernel_file::{Buffer, KernelFile, field, fields};

/// Least distance between allotment and wall, bytes.
const WALL_BYTES_MIN: u64 = 32 << 20;
/// The wall is this part of the allotment behind it.
const WALL_PART: u64 = 4;
/// Version 1 writes "no limit" as the largest page-aligned number; no machine has this much.
const UNLIMITED_BYTES: u64 = 1 << 60;

/// Where memory ends for good, for this allotment.
pub(super) fn wall(allotment: u64) -> u64 {
    allotment.saturating_add((allotment / WALL_PART).max(WALL_BYTES_MIN))
}

/// Makes the group hold instead of kill, and limits mean memory rather than swap. `false` when the
/// kernel cannot hold.
pub(super) fn prepare(place: &Place) -> bool {
    match place.version {
        Version::V1 => {
            let _ = write(&place.file("memory.swappiness"), "0");
            write(&place.file("memory.oom_control"), "1").is_ok()
        }
        Version::V2 => {
            let _ = write(&place.file("memory.swap.max"), "0");
            place.file("memory.high").exists()
        }
    }
}

/// Before version 1 counted children in by itself (Linux 5.11), it had to be told.
pub(super) fn count_children(place: &Place) {
    if place.version == Version::V1 {
        let _ = write(&place.file("memory.use_hierarchy"), "1");
    }
}

/// A limit on the whole group, beyond which the kernel kills.
pub(super) fn set_limit(place: &Place, bytes: u64) -> Result<(), Error> {
    let name = match place.version {
        Version::V1 => "memory.limit_in_bytes",
        Version::V2 => "memory.max",
    };
    write(&place.file(name), &bytes.to_string())
}

/// Sets allotment and wall. An instance that holds more than that already keeps it: nothing is
/// killed, and nothing more is given. Returns the allotment that is in force.
pub(super) fn set_allotment(place: &Place, bytes: u64) -> Result<u64, Error> {
    match place.version {
        Version::V2 => {
            // First the slow limit, which reclaims and never kills; then the wall, above what is left.
            write(&place.file("memory.high"), &bytes.to_string())?;
            let held = number_in(&place.file("memory.current"));
            let wall = wall(bytes).max(held.saturating_add(WALL_BYTES_MIN));
            write(&place.file("memory.max"), &wall.to_string())?;
            Ok(bytes)
        }
        Version::V1 => {
            let path = place.file("memory.limit_in_bytes");
            let refused = match write(&path, &wall(bytes).to_string()) {
                Ok(()) => return Ok(bytes),
                Err(error) => error,
            };
            // Version 1 refuses a limit below what it cannot reclaim.
            let held = number_in(&place.file("memory.usage_in_bytes"));
            let is_busy = matches!(&refused, Error::Write { source, .. } if source.raw_os_error() == Some(libc::EBUSY));
            if !is_busy || held < bytes {
                return Err(refused);
            }
            write(&path, &wall(held).to_string())?;
            Ok(held)
        }
    }
}

/// Makes the group one whose limit the kernel keeps by killing, as in production, and sets that limit.
/// One that cannot be reached, since more is held and cannot be dropped, is refused.
pub(super) fn set_killing(place: &Place, bytes: u64) -> Result<(), Error> {
    match place.version {
        Version::V2 => {
            let _ = write(&place.file("memory.high"), "max");
            write(&place.file("memory.max"), &bytes.to_string())
        }
        Version::V1 => {
            let _ = write(&place.file("memory.oom_control"), "0");
            write(&place.file("memory.limit_in_bytes"), &bytes.to_string())
        }
    }
}

/// How often the group ran into a limit so far. More of them during a test that failed means that
/// memory may be to blame.
pub(super) fn limit_hits(place: &Place) -> u64 {
    match place.version {
        Version::V1 => number_in(&place.file("memory.failcnt")),
        Version::V2 => std::fs::read(place.file("memory.events"))
            .ok()
            .and_then(|text| field(&text, "max"))
            .unwrap_or(0),
    }
}

/// How often the kernel killed something in the group for memory so far.
pub(super) fn oom_kills(place: &Place) -> u64 {
    let file = match place.version {
        Version::V1 => "memory.oom_control",
        Version::V2 => "memory.events",
    };
    let text = std::fs::read(place.file(file)).unwrap_or_default();
    field(&text, "oom_kill").unwrap_or(0)
}

fn number_in(path: &Path) -> u64 {
    std::fs::read(path)
        .ok()
        .and_then(|text| crate::kernel_file::number(&text))
        .unwrap_or(0)
}

/// The parts of what a group holds, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// Anonymous and shared memory: what cannot be dropped.
    pub(super) anon: u64,
    /// Page cache, without shared memory.
    pub(super) file: u64,
    /// Page cache that the kernel can drop when it must.
    pub(super) reclaimable: u64,
}

impl Parts {
    fn parse(text: &[u8], version: Version) -> Self {
        let keys = match version {
            Version::V1 => [
                "total_rss",
                "total_shmem",
                "total_cache",
                "total_inactive_file",
                "total_active_file",
            ],
            Version::V2 => ["anon", "shmem", "file", "inactive_file", "active_file"],
        };
        let [anon, shmem, file, inactive, active] = fields(text, keys);
        Self {
            anon: anon + shmem,
            file: file.saturating_sub(shmem),
            reclaimable: inactive + active,
        }
    }
}

/// Reads what a group and those below it hold.
#[derive(Debug)]
pub(super) struct MemoryReader {
    version: Version,
    current: KernelFile,
    stat: Option<KernelFile>,
    peak: Option<KernelFile>,
    events: Option<KernelFile>,
    highest: u64,
}

impl MemoryReader {
    pub(super) fn open(places: &Places) -> Option<Self> {
        Self::open_at(places.serving(Controller::Memory)?)
    }

    pub(super) fn open_at(place: &Place) -> Option<Self> {
        let [current, peak, events] = match place.version {
            Version::V1 => [
                "memory.usage_in_bytes",
                "memory.max_usage_in_bytes",
                "memory.oom_control",
            ],
            Version::V2 => ["memory.current", "memory.peak", "memory.events"],
        };
        let open = |name: &str| KernelFile::open_if_there(&place.file(name));
        Some(Self {
            version: place.version,
            current: open(current)?,
            stat: open("memory.stat"),
            peak: open(peak),
            events: open(events),
            highest: 0,
        })
    }

    pub(super) fn current(&self, buffer: &mut Buffer) -> u64 {
        self.current.number(buffer).unwrap_or(0)
    }

    pub(super) fn parts(&self, buffer: &mut Buffer) -> Parts {
        let text = self.stat.as_ref().and_then(|file| file.read(buffer).ok());
        text.map_or_else(Parts::default, |text| Parts::parse(text, self.version))
    }

    /// What is held and cannot be dropped, kernel memory included, bytes.
    pub(super) fn unreclaimable(&self, buffer: &mut Buffer) -> u64 {
        let current = self.current(buffer);
        current.saturating_sub(self.parts(buffer).reclaimable)
    }

    /// A number of `memory.events` (version 2) or `memory.oom_control` (version 1).
    pub(super) fn event(&self, buffer: &mut Buffer, key: &str) -> u64 {
        let text = self.events.as_ref().and_then(|file| file.read(buffer).ok());
        text.and_then(|text| field(text, key)).unwrap_or(0)
    }

    pub(super) fn read(&mut self, buffer: &mut Buffer, sample: &mut InstanceSample) {
        sample.memory = self.current(buffer);
        let peak = self
            .peak
            .as_ref()
            .and_then(|file| file.number(buffer))
            .unwrap_or(0);
        // Version 1 has one peak for all who read it, and someone else may have reset it.
        self.highest = self.highest.max(peak).max(sample.memory);
        sample.memory_peak = self.highest;
        let parts = self.parts(buffer);
        sample.memory_anon = parts.anon;
        sample.memory_file = parts.file;
        sample.oom_kills = self.event(buffer, "oom_kill");
    }
}

/// Limits that hold for this process: of its own group and of those above.
#[derive(Debug, Default)]
pub(crate) struct MemoryRoom {
    limits: Vec<(KernelFile, MemoryReader, String)>,
}

/// Finds the limits that could ever hold for this process.
pub(crate) fn memory_room(layout: &Layout) -> MemoryRoom {
    let Some(hierarchy) = layout.serving(Controller::Memory).or(layout.unified()) else {
        return MemoryRoom::default();
    };
    let name = match hierarchy.version {
        Version::V1 => "memory.limit_in_bytes",
        Version::V2 => "memory.max",
    };
    let limits = hierarchy.own_and_above().filter_map(|folder| {
        let place = Place {
            version: hierarchy.version,
            folder: folder.to_owned(),
            controllers: vec![Controller::Memory],
        };
        let path = place.file(name);
        Some((
            KernelFile::open(&path).ok()?,
            MemoryReader::open_at(&place)?,
            path.display().to_string(),
        ))
    });
    MemoryRoom {
        limits: limits.collect(),
    }
}

impl MemoryRoom {
    /// What the tightest limit leaves, bytes, and the file that says so; `None` without any limit.
    pub(crate) fn left(&self, buffer: &mut Buffer) -> Option<(u64, &str)> {
        let mut tightest: Option<(u64, &str)> = None;
        for (limit, reader, path) in &self.limits {
            let Some(bytes) = limit
                .number(buffer)
                .filter(|bytes| *bytes < UNLIMITED_BYTES)
            else {
                continue;
            };
            let left = bytes.saturating_sub(reader.unreclaimable(buffer));
            if tightest.is_none_or(|(least, _)| left < least) {
                tightest = Some((left, path));
            }
        }
        tightest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(version: Version, files: &[(&str, &str)]) -> (tempfile::TempDir, Place) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let place = Place {
            version,
            folder: folder.path().to_owned(),
            controllers: vec![Controller::Memory],
        };
        (folder, place)
    }

    #[test]
    fn v2_keeps_its_wall_above_what_is_held() {
        let files = [
            ("memory.high", ""),
            ("memory.max", ""),
            ("memory.current", "900000000\n"),
        ];
        let (_folder, place) = place(Version::V2, &files);
        assert_eq!(set_allotment(&place, 64 << 20).unwrap(), 64 << 20);
        assert_eq!(number_in(&place.file("memory.high")), 64 << 20);
        assert_eq!(
            number_in(&place.file("memory.max")),
            900_000_000 + (32 << 20)
        );
    }

    #[test]
    fn a_limit_that_kills_undoes_the_hold() {
        for (version, hold, undone, limit) in [
            (Version::V2, "memory.high", "max", "memory.max"),
            (
                Version::V1,
                "memory.oom_control",
                "0",
                "memory.limit_in_bytes",
            ),
        ] {
            let (_folder, place) = place(version, &[(hold, ""), (limit, "")]);
            set_killing(&place, 64 << 20).unwrap();
            let text = |name: &str| std::fs::read_to_string(place.file(name)).unwrap();
            assert_eq!(
                (text(hold).as_str(), number_in(&place.file(limit))),
                (undone, 64 << 20)
            );
        }
    }

    #[test]
    fn walls() {
        assert_eq!(wall(0), 32 << 20);
        assert_eq!(wall(64 << 20), 96 << 20);
        assert_eq!(wall(1 << 30), (1 << 30) + (256 << 20));
        assert_eq!(wall(u64::MAX), u64::MAX);
    }

    #[test]
    fn both_versions_are_read_alike() {
        let v1 = [
            ("memory.usage_in_bytes", "1000\n"),
            ("memory.max_usage_in_bytes", "2000\n"),
            (
                "memory.oom_control",
                "oom_kill_disable 1\nunder_oom 0\noom_kill 3\n",
            ),
            (
                "memory.stat",
                "cache 1\nrss 2\ntotal_cache 400\ntotal_rss 500\ntotal_shmem 100\ntotal_inactive_file 30\ntotal_active_file 20\n",
            ),
        ];
        let v2 = [
            ("memory.current", "1000\n"),
            ("memory.peak", "2000\n"),
            (
                "memory.events",
                "low 0\nhigh 9\nmax 1\noom 4\noom_kill 3\noom_group_kill 0\n",
            ),
            (
                "memory.stat",
                "anon 500\nfile 400\nkernel 7\nshmem 100\ninactive_file 30\nactive_file 20\n",
            ),
        ];
        for (version, files) in [(Version::V1, v1), (Version::V2, v2)] {
            let (_folder, place) = place(version, &files);
            let mut buffer = Buffer::default();
            let mut sample = InstanceSample::empty(cohort_model::InstanceId(0));
            let mut reader = MemoryReader::open_at(&place).unwrap();
            reader.read(&mut buffer, &mut sample);
            let read = (
                sample.memory,
                sample.memory_peak,
                sample.memory_anon,
                sample.memory_file,
                sample.oom_kills,
            );
            assert_eq!(read, (1000, 2000, 600, 300, 3), "{version:?}");
            assert_eq!(reader.unreclaimable(&mut buffer), 950);
        }
    }
}
