//! Storage IO: bytes and operations.
//!
//! Version 1 sees reads, and writes that go past the page cache; buffered writes are written later
//! by the kernel in no one's name. Version 2 sees all, where the file system supports it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cohort_model::InstanceSample;

use super::place::{Controller, Places, Version};
use super::{Error, write};
use crate::kernel_file::{Buffer, KernelFile, lines, number, word};

/// How much of a disk an instance may use. `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoLimit {
    /// Bytes read in a second.
    pub read: Option<u64>,
    /// Bytes written in a second.
    pub write: Option<u64>,
}

/// Sets it for the disk that `path` is on. `false` where the host cannot.
pub(super) fn set_limit(places: &Places, path: &Path, limit: &IoLimit) -> Result<bool, Error> {
    let Some(place) = places.serving(Controller::Io) else {
        return Ok(false);
    };
    let Some(disk) = disk_of(path) else {
        return Ok(false);
    };
    match place.version {
        Version::V2 => {
            let file = place.file("io.max");
            if !file.exists() {
                return Ok(false);
            }
            let number =
                |bytes: Option<u64>| bytes.map_or("max".to_owned(), |bytes| bytes.to_string());
            let (read, written) = (number(limit.read), number(limit.write));
            write(&file, &format!("{disk} rbps={read} wbps={written}"))?;
        }
        Version::V1 => {
            for (name, bytes) in [
                ("blkio.throttle.read_bps_device", limit.read),
                ("blkio.throttle.write_bps_device", limit.write),
            ] {
                let file = place.file(name);
                if !file.exists() {
                    return Ok(false);
                }
                write(&file, &format!("{disk} {}", bytes.unwrap_or(0)))?;
            }
        }
    }
    Ok(true)
}

/// `major:minor` of the whole disk that a path is on; none for what is on no disk.
fn disk_of(path: &Path) -> Option<String> {
    let device = std::fs::metadata(path).ok()?.dev();
    let (major, minor) = (libc::major(device), libc::minor(device));
    let folder = std::fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let disk = if folder.join("partition").exists() {
        folder.parent()?
    } else {
        &folder
    };
    let text = std::fs::read_to_string(disk.join("dev")).ok()?;
    Some(text.trim().to_owned())
}

/// Reads what was read and written.
#[derive(Debug)]
pub(super) enum IoReader {
    None,
    V1 {
        bytes: KernelFile,
        operations: Option<KernelFile>,
    },
    V2(KernelFile),
}

impl IoReader {
    pub(super) fn open(places: &Places) -> Self {
        let Some(place) = places.serving(Controller::Io) else {
            return Self::None;
        };
        let open = |name: &str| KernelFile::open_if_there(&place.file(name));
        let opened = match place.version {
            Version::V2 => open("io.stat").map(Self::V2),
            Version::V1 => {
                open("blkio.throttle.io_service_bytes_recursive").map(|bytes| Self::V1 {
                    bytes,
                    operations: open("blkio.throttle.io_serviced_recursive"),
                })
            }
        };
        opened.unwrap_or(Self::None)
    }

    pub(super) fn read(&self, buffer: &mut Buffer, sample: &mut InstanceSample) {
        match self {
            Self::None => {}
            Self::V1 { bytes, operations } => {
                if let Ok(text) = bytes.read(buffer) {
                    (sample.io_read, sample.io_written) = v1_totals(text);
                }
                if let Some(text) = operations.as_ref().and_then(|file| file.read(buffer).ok()) {
                    let (reads, writes) = v1_totals(text);
                    sample.io_operations = reads + writes;
                }
            }
            Self::V2(file) => {
                if let Ok(text) = file.read(buffer) {
                    let sum = |key| lines(text).filter_map(|line| word(line, key)).sum::<u64>();
                    sample.io_read = sum("rbytes");
                    sample.io_written = sum("wbytes");
                    sample.io_operations = sum("rios") + sum("wios");
                }
            }
        }
    }
}

/// Reads and writes over all devices, of `8:0 Read 4096` lines.
fn v1_totals(text: &[u8]) -> (u64, u64) {
    let mut totals = (0, 0);
    for line in lines(text) {
        let mut words = line.split(|byte| *byte == b' ').skip(1);
        let (kind, value) = (words.next(), words.next().and_then(number).unwrap_or(0));
        match kind {
            Some(b"Read") => totals.0 += value,
            Some(b"Write") => totals.1 += value,
            _ => {}
        }
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::super::place::Place;
    use super::*;

    #[test]
    fn limits_are_written_for_the_whole_disk() {
        let Some(disk) = disk_of(Path::new("/")).or_else(|| disk_of(Path::new("/etc"))) else {
            eprintln!("LEFT OUT: limits of a disk: the root directory is on none");
            return;
        };
        let limit = IoLimit {
            read: Some(1000),
            write: None,
        };
        for (version, name, text) in [
            (Version::V2, "io.max", format!("{disk} rbps=1000 wbps=max")),
            (
                Version::V1,
                "blkio.throttle.read_bps_device",
                format!("{disk} 1000"),
            ),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let places = Places(vec![Place {
                version,
                folder: folder.path().to_owned(),
                controllers: vec![Controller::Io],
            }]);
            assert!(
                !set_limit(&places, Path::new("/"), &limit).unwrap(),
                "no such file"
            );
            for name in [name, "blkio.throttle.write_bps_device"] {
                std::fs::write(folder.path().join(name), "").unwrap();
            }
            assert!(set_limit(&places, Path::new("/"), &limit).unwrap());
            let written = std::fs::read_to_string(folder.path().join(name)).unwrap();
            assert_eq!(written, text);
        }
    }

    #[test]
    fn v1_sums_devices_and_leaves_out_kinds_that_overlap() {
        let text = b"8:0 Read 4096\n8:0 Write 100\n8:0 Sync 4196\n8:0 Async 0\n8:0 Total 4196\n\
            254:1 Read 4\n254:1 Write 1\n254:1 Discard 7\nTotal 4201\n";
        assert_eq!(v1_totals(text), (4100, 101));
    }
}
