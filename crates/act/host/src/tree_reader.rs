//! Telemetry of an instance on a host without control groups: its init process and all that
//! descend from it, summed up.
//!
//! What it cannot see: what a process that was waited for held at its peak, throttling, pressure
//! and OOM kills (zero). Pages that processes share are counted once for each. CPU and IO of ended
//! processes are kept by the kernel in the parent that waited for them, so totals hold.

use std::path::{Path, PathBuf};

use cohort_model::InstanceSample;

use crate::kernel_file::{Buffer, lines, number};
use crate::network::Network;
use crate::process::{self, Stat};

/// Reads an instance by its process tree. Dearer than a control group: some 20 microseconds a process.
#[derive(Debug)]
pub struct TreeReader {
    root: PathBuf,
    init: i32,
    tick_us: u64,
    page_bytes: u64,
    counts_files_by_stat: bool,
    network: Option<Network>,
    tree: Vec<i32>,
    highest: Highest,
}

/// Largest values seen so far, of what must not shrink.
#[derive(Debug, Default)]
struct Highest {
    cpu_us: u64,
    io_read: u64,
    io_written: u64,
    memory: u64,
}

impl TreeReader {
    /// For the instance whose init process is `init`.
    #[must_use]
    pub fn new(root: &Path, init: i32) -> Self {
        use nix::unistd::{SysconfVar, sysconf};
        let ask = |what, fallback| {
            let answer = sysconf(what).ok().flatten();
            answer
                .and_then(|value| u64::try_from(value).ok())
                .filter(|value| *value > 0)
                .unwrap_or(fallback)
        };
        Self {
            root: root.to_owned(),
            init,
            tick_us: 1_000_000 / ask(SysconfVar::CLK_TCK, 100),
            page_bytes: ask(SysconfVar::PAGE_SIZE, 4096),
            counts_files_by_stat: process::counts_open_files_by_stat(root),
            network: None,
            tree: Vec::new(),
            highest: Highest::default(),
        }
    }

    pub(crate) fn watch_network_of(&mut self, pid: i32) {
        self.network = Network::open(&self.root, pid);
    }

    /// Fills what it can; `false` when the init process is gone.
    pub fn read(&mut self, sample: &mut InstanceSample) -> bool {
        let mut sum = InstanceSample::empty(sample.instance);
        let mut tree = std::mem::take(&mut self.tree);
        process::collect_descendants(&self.root, self.init, &mut tree);
        let alive = self.add(self.init, &mut sum);
        for pid in &tree {
            self.add(*pid, &mut sum);
        }
        self.tree = tree;
        // A process between its end and its parent's wait is in neither sum for a moment.
        let highest = &mut self.highest;
        for (now, highest) in [
            (&mut sum.cpu_us, &mut highest.cpu_us),
            (&mut sum.io_read, &mut highest.io_read),
            (&mut sum.io_written, &mut highest.io_written),
        ] {
            *highest = (*highest).max(*now);
            *now = *highest;
        }
        highest.memory = highest.memory.max(sum.memory);
        sum.memory_peak = highest.memory;
        sum.failures = sample.failures;
        if let Some(network) = &self.network {
            network.read(&mut Buffer::default(), &mut sum);
        }
        *sample = sum;
        alive
    }

    /// Adds one process; `false` when it is gone.
    fn add(&self, pid: i32, sum: &mut InstanceSample) -> bool {
        let folder = self.root.join(format!("proc/{pid}"));
        let Some((_, stat)) = std::fs::read(folder.join("stat"))
            .ok()
            .and_then(|text| Stat::parse(&text))
        else {
            return false;
        };
        sum.cpu_us += stat.cpu_ticks * self.tick_us;
        if stat.is_dead() {
            return false;
        }
        sum.processes += 1;
        sum.tasks += stat.tasks;
        sum.open_files += process::open_files(&self.root, pid, self.counts_files_by_stat);
        if let Ok(text) = std::fs::read(folder.join("statm")) {
            let mut pages = text
                .split(|byte| *byte == b' ')
                .map(|field| number(field).unwrap_or(0))
                .skip(1);
            let (resident, shared) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
            sum.memory += resident * self.page_bytes;
            sum.memory_anon += resident.saturating_sub(shared) * self.page_bytes;
            sum.memory_file += shared.min(resident) * self.page_bytes;
        }
        if let Ok(text) = std::fs::read(folder.join("io")) {
            let value = |key: &str| {
                lines(&text)
                    .find_map(|line| number(line.strip_prefix(key.as_bytes())?))
                    .unwrap_or(0)
            };
            sum.io_read += value("read_bytes:");
            sum.io_written += value("write_bytes:");
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_shell_and_its_child_are_summed_and_totals_survive_the_child() {
        // The child computes, says so, and waits to be told to end.
        let script = "(i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; echo done; read line); echo over; read line; true";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut tell = child.stdin.take().unwrap();
        let mut reader = TreeReader::new(Path::new("/"), i32::try_from(child.id()).unwrap());
        let mut sample = InstanceSample::empty(cohort_model::InstanceId(3));

        assert_eq!(said.next().unwrap().unwrap(), "done");
        assert!(reader.read(&mut sample));
        assert_eq!((sample.processes, sample.tasks), (2, 2));
        assert_eq!(sample.instance, cohort_model::InstanceId(3));
        assert!(sample.cpu_us > 0, "{sample:?}");
        assert!(
            sample.memory > 100_000 && sample.memory_anon < sample.memory,
            "{sample:?}"
        );
        assert!(sample.open_files >= 6, "{sample:?}");
        let before = sample;

        writeln!(tell).unwrap();
        assert_eq!(said.next().unwrap().unwrap(), "over");
        assert!(reader.read(&mut sample));
        assert_eq!(sample.processes, 1);
        assert!(sample.cpu_us >= before.cpu_us);
        assert!(sample.memory_peak >= before.memory_peak && sample.memory < before.memory);

        drop(tell);
        child.wait().unwrap();
        assert!(!reader.read(&mut sample), "gone");
    }
}
