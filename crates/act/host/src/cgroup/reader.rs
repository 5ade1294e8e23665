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
use crate::kernel_file::{Buffer, KernelFile, pids};
use crate::network::Network;
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
    network: Option<Network>,
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

    pub(crate) fn watch_network_of(&mut self, pid: i32) {
        self.network = Network::open(&self.root, pid);
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
        if let Some(network) = &self.network {
            network.read(buffer, sample);
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
