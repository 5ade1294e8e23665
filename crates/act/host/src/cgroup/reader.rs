//! Telemetry of one instance from its control groups.
//!
//! All files stay open and are read with `pread` into one buffer. Only version 1's process list
//! must be opened anew each time: the kernel keeps an old copy for whoever keeps it open.

use std::path::{Path, PathBuf};

use cohort_model::InstanceSample;

use super::cpu::CpuReader;
use super::io::IoReader;
use super::memory::MemoryReader;
use super::pids::TasksReader;
use super::place::{Places, Version};
use super::pressure::PressureReader;
use crate::kernel_file::{Buffer, KernelFile, lines, number, pids};
use crate::process;

/// Reads one instance. Make it with [`super::InstanceGroup::reader`].
#[derive(Debug)]
pub struct GroupReader {
    cpu: CpuReader,
    memory: Option<MemoryReader>,
    io: IoReader,
    tasks: TasksReader,
    pressure: PressureReader,
    procs: Procs,
    network: Option<KernelFile>,
    counts_files_by_stat: bool,
    root: PathBuf,
    members: Vec<i32>,
    buffer: Buffer,
}

#[derive(Debug)]
enum Procs {
    Kept(KernelFile),
    OpenedEachTime(PathBuf),
}

impl GroupReader {
    pub(super) fn open(root: &Path, places: &Places) -> std::io::Result<Self> {
        let main = places.main();
        let path = main.file("cgroup.procs");
        Ok(Self {
            cpu: CpuReader::open(places),
            memory: MemoryReader::open(places),
            io: IoReader::open(places),
            tasks: TasksReader::open(places),
            pressure: PressureReader::open(places),
            procs: match main.version {
                Version::V1 => Procs::OpenedEachTime(path),
                Version::V2 => Procs::Kept(KernelFile::open(&path)?),
            },
            network: None,
            counts_files_by_stat: process::counts_open_files_by_stat(root),
            root: root.to_owned(),
            members: Vec::new(),
            buffer: Buffer::default(),
        })
    }

    /// Also counts network bytes, in the network namespace that this process is in. Only for an
    /// instance that has one of its own.
    pub fn watch_network_of(&mut self, pid: i32) {
        self.network = KernelFile::open_if_there(&self.root.join(format!("proc/{pid}/net/dev")));
    }

    /// Fills all but the instance and its failures; `false` when the instance is gone.
    pub fn read(&mut self, sample: &mut InstanceSample) -> bool {
        if !self.read_members() {
            return false;
        }
        let buffer = &mut self.buffer;
        sample.processes = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        sample.tasks = self.tasks.read(buffer).unwrap_or(sample.processes);
        sample.open_files = 0;
        for pid in &self.members {
            sample.open_files += process::open_files(&self.root, *pid, self.counts_files_by_stat);
        }
        self.cpu.read(buffer, sample);
        if let Some(memory) = &mut self.memory {
            memory.read(buffer, sample);
        }
        self.io.read(buffer, sample);
        self.pressure.read(buffer, sample);
        if let Some(text) = self
            .network
            .as_ref()
            .and_then(|file| file.read(buffer).ok())
        {
            let (received, sent) = network_bytes(text);
            sample.net_received = Some(received);
            sample.net_sent = Some(sent);
        }
        true
    }

    fn read_members(&mut self) -> bool {
        let opened;
        let file = match &self.procs {
            Procs::Kept(file) => file,
            Procs::OpenedEachTime(path) => match KernelFile::open(path) {
                Ok(file) => {
                    opened = file;
                    &opened
                }
                Err(_) => return false,
            },
        };
        let Ok(text) = file.read(&mut self.buffer) else {
            return false;
        };
        self.members.clear();
        self.members.extend(pids(text));
        true
    }
}

/// Received and sent bytes over all devices of `/proc/PID/net/dev`: after two lines of headings,
/// `device: bytes packets errs drop fifo frame compressed multicast bytes ...`.
fn network_bytes(text: &[u8]) -> (u64, u64) {
    let mut totals = (0, 0);
    for line in lines(text).skip(2) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let fields = line[colon + 1..]
            .split(u8::is_ascii_whitespace)
            .filter(|field| !field.is_empty());
        let mut numbers = fields.filter_map(number);
        totals.0 += numbers.next().unwrap_or(0);
        totals.1 += numbers.nth(7).unwrap_or(0);
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_bytes_of_all_devices() {
        let text = b"Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
            lo:   6760      16    0    0    0     0          0         0     6761      16    0    0    0     0       0          0\n  \
            eth0:40 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n";
        assert_eq!(network_bytes(text), (6800, 6763));
    }
}
