//! Pressure stall information: the time in which some task waited. Version 2 trees only, with
//! controllers or without; the kernel must have it on (`psi=1`).

use std::path::Path;

use cohort_model::InstanceSample;

use super::place::Places;
use crate::kernel_file::{Buffer, KernelFile, lines, word};

/// Reads the three pressure files of a group, or of the whole host.
#[derive(Debug, Default)]
pub(crate) struct PressureReader {
    cpu: Option<KernelFile>,
    memory: Option<KernelFile>,
    io: Option<KernelFile>,
}

impl PressureReader {
    pub(super) fn open(places: &Places) -> Self {
        places.unified().map_or_else(Self::default, |place| {
            Self::open_in(&place.folder, ".pressure")
        })
    }

    /// The host's: `folder` is `/proc/pressure`, `suffix` empty.
    pub(super) fn open_in(folder: &Path, suffix: &str) -> Self {
        let open = |name: &str| KernelFile::open_if_there(&folder.join(format!("{name}{suffix}")));
        Self {
            cpu: open("cpu"),
            memory: open("memory"),
            io: open("io"),
        }
    }

    pub(super) fn is_there(&self, buffer: &mut Buffer) -> bool {
        // Without `psi=1` the files may be there and refuse to be read.
        self.cpu
            .as_ref()
            .is_some_and(|file| file.read(buffer).is_ok())
    }

    pub(super) fn cpu_us(&self, buffer: &mut Buffer) -> u64 {
        some_us(self.cpu.as_ref(), buffer)
    }

    pub(super) fn memory_us(&self, buffer: &mut Buffer) -> u64 {
        some_us(self.memory.as_ref(), buffer)
    }

    pub(super) fn read(&self, buffer: &mut Buffer, sample: &mut InstanceSample) {
        sample.cpu_pressure_us = self.cpu_us(buffer);
        sample.memory_pressure_us = self.memory_us(buffer);
        sample.io_pressure_us = some_us(self.io.as_ref(), buffer);
    }
}

fn some_us(file: Option<&KernelFile>, buffer: &mut Buffer) -> u64 {
    let text = file
        .and_then(|file| file.read(buffer).ok())
        .unwrap_or_default();
    total_us(text)
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=123`
fn total_us(text: &[u8]) -> u64 {
    lines(text)
        .find(|line| line.starts_with(b"some "))
        .and_then(|line| word(line, "total"))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_some_line_counts() {
        let text = b"some avg10=1.72 avg60=1.19 avg300=0.41 total=6154471\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9\n";
        assert_eq!(total_us(text), 6_154_471);
        assert_eq!(total_us(b""), 0);
    }
}
