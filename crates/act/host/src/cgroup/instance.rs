//! The groups of one instance.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use cohort_model::{Allotment, InstanceId};

use super::hold::Hold;
use super::io::IoLimit;
use super::memory;
use super::place::{Controller, Places};
use super::pressure::PressureReader;
use super::reader::GroupReader;
use super::{Error, cpu, io, pids};
use crate::InstanceReader;
use crate::kernel_file::Buffer;

/// One instance's groups. It outlives this value: [`InstanceGroup::remove`] ends it, or the end of
/// its campaign does.
#[derive(Debug)]
pub struct InstanceGroup {
    id: InstanceId,
    root: PathBuf,
    places: Places,
    hold: Option<Hold>,
    pressure: PressureReader,
    buffer: Buffer,
}

/// Makes the groups of instances, from any thread.
#[derive(Clone, Debug)]
pub struct InstanceMaker {
    pub(super) root: PathBuf,
    pub(super) campaign: Places,
}

impl InstanceMaker {
    /// Makes the groups of an instance. Well below a millisecond when nothing else changes groups;
    /// the kernel does one such change at a time, and whoever moves a process waits for all CPUs.
    ///
    /// # Errors
    /// When there is one of that name, or the campaign is gone.
    pub fn make(&self, id: InstanceId) -> Result<InstanceGroup, Error> {
        InstanceGroup::create(&self.root, &self.campaign, (id, &id.to_string()))
    }

    /// Makes the groups of a helper of an instance, beside those of instances.
    ///
    /// # Errors
    /// As [`InstanceMaker::make`].
    pub fn make_helper(
        &self,
        instance: InstanceId,
        deployment: u32,
    ) -> Result<InstanceGroup, Error> {
        let name = format!("helper-{deployment}");
        InstanceGroup::create(&self.root, &self.campaign, (instance, &name))
    }
}

impl InstanceGroup {
    fn create(
        root: &Path,
        campaign: &Places,
        (id, name): (InstanceId, &str),
    ) -> Result<Self, Error> {
        let places = campaign.make_child(name)?;
        let memory = places.serving(Controller::Memory);
        let holds = memory.filter(|place| memory::prepare(place));
        let hold = match holds.map(Hold::open) {
            None => None,
            Some(Ok(hold)) => hold,
            Some(Err(error)) => {
                let _ = places.remove();
                return Err(error);
            }
        };
        Ok(Self {
            id,
            root: root.to_owned(),
            hold,
            pressure: PressureReader::open(&places),
            places,
            buffer: Buffer::default(),
        })
    }

    /// Which instance.
    #[must_use]
    pub fn id(&self) -> InstanceId {
        self.id
    }

    /// Writing `0` into each of these moves the writer into the instance. Two to six of them.
    #[must_use]
    pub fn procs_files(&self) -> Vec<PathBuf> {
        self.places.procs_files()
    }

    /// Moves a process in, with all its threads.
    ///
    /// # Errors
    /// When it is gone, or may not be moved.
    pub fn enter(&self, pid: i32) -> Result<(), Error> {
        self.places.enter(pid)
    }

    /// Its processes, each once, in no order that means anything.
    #[must_use]
    pub fn pids(&self) -> Vec<i32> {
        self.places.pids()
    }

    /// Moves every process but `spare` to `target`, children that are forked meanwhile included,
    /// and returns how many. What they have been charged for memory stays here until they free it.
    ///
    /// # Errors
    /// When `target` is gone, or processes appear faster than they can be moved.
    pub fn move_into(&self, target: &InstanceGroup, spare: &[i32]) -> Result<u32, Error> {
        self.places.move_into(&target.places, spare)
    }

    /// Kills every process but `spare` and waits until they are gone, ten seconds at most; held
    /// ones die too. Returns how many.
    #[expect(
        clippy::must_use_candidate,
        reason = "the count is for the report only"
    )]
    pub fn kill_all(&self, spare: &[i32]) -> u32 {
        self.places.kill_all(spare)
    }

    /// Sets share and memory. Returns what is in force: an instance that holds more memory than it
    /// is given keeps that until it frees it.
    ///
    /// # Errors
    /// When the instance is gone.
    pub fn set(&mut self, allotment: &Allotment) -> Result<Allotment, Error> {
        cpu::set_weight(&self.places, allotment.cpu_weight)?;
        let mut in_force = *allotment;
        if let Some(place) = self.places.serving(Controller::Memory) {
            in_force.memory = memory::set_allotment(place, allotment.memory)?;
        }
        if let Some(hold) = &mut self.hold {
            hold.set(in_force.memory);
        }
        Ok(in_force)
    }

    /// Sets its share of CPU under contention alone, as in [`Allotment::cpu_weight`].
    ///
    /// # Errors
    /// When the instance is gone. Nothing happens where the host cannot.
    pub fn set_cpu_weight(&self, weight: u32) -> Result<(), Error> {
        cpu::set_weight(&self.places, weight)
    }

    /// Limits its CPU, cores; none: no limit of its own. It is a wall, however idle the host is.
    ///
    /// # Errors
    /// When the instance is gone, or a group above allows less. Nothing happens where the host cannot.
    pub fn set_cpu_limit(&self, cores: Option<f64>) -> Result<(), Error> {
        cpu::set_quota(&self.places, cores)
    }

    /// The same in each hundredth of a second, so that also what computes for some milliseconds only
    /// meets the limit.
    ///
    /// # Errors
    /// As [`InstanceGroup::set_cpu_limit`].
    pub fn set_cpu_limit_tightly(&self, cores: Option<f64>) -> Result<(), Error> {
        cpu::set_quota_each(&self.places, cores, cpu::SHORT_PERIOD_US)
    }

    /// Limits its memory, bytes: beyond, the kernel kills. It is held no more, as [`InstanceGroup::set`]
    /// would have it.
    ///
    /// # Errors
    /// When the instance is gone, or holds more already and cannot drop it. Nothing happens where the
    /// host cannot.
    pub fn set_memory_limit(&mut self, bytes: u64) -> Result<(), Error> {
        self.hold = None;
        self.places
            .serving(Controller::Memory)
            .map_or(Ok(()), |place| memory::set_killing(place, bytes))
    }

    /// Limits what it reads from and writes to the disk that `path` is on. In version 1 only what goes
    /// past the page cache is limited.
    ///
    /// # Errors
    /// When the instance is gone. `Ok(false)` where the host cannot.
    pub fn set_io_limit(&self, path: &Path, limit: &IoLimit) -> Result<bool, Error> {
        io::set_limit(&self.places, path, limit)
    }

    /// A descriptor that becomes readable when the memory allotment is reached; then ask
    /// [`InstanceGroup::is_held`], which clears it. `None` where the host cannot hold.
    ///
    /// # Errors
    /// When no more files may be opened.
    pub fn hold_signal(&self) -> std::io::Result<Option<OwnedFd>> {
        self.hold.as_ref().map(Hold::descriptor).transpose()
    }

    /// Whether it has reached its memory allotment with nothing to drop, and is slowed down there
    /// (version 2), or is held or about to be (version 1). Clears the signal.
    pub fn is_held(&mut self) -> bool {
        self.hold.as_mut().is_some_and(Hold::is_held)
    }

    /// How often it ran into a memory limit so far. If that grew while a test failed, memory may be
    /// to blame: at the limit of version 1 some system calls fail instead of being held.
    #[must_use]
    pub fn limit_hits(&self) -> u64 {
        self.places
            .serving(Controller::Memory)
            .map_or(0, memory::limit_hits)
    }

    /// Limits its tasks (processes and their threads): what a fork bomb can reach.
    ///
    /// # Errors
    /// When the instance is gone. Nothing happens where the host cannot.
    pub fn set_task_limit(&self, tasks: u64) -> Result<(), Error> {
        pids::set_limit(&self.places, tasks)
    }

    /// How often a task could not be made in it for its limit so far.
    #[must_use]
    pub fn task_limit_hits(&self) -> u64 {
        pids::limit_hits(&self.places)
    }

    /// Time in which some task of it waited for a CPU so far, microseconds; 0 where the host does not
    /// tell.
    pub fn cpu_waited_us(&mut self) -> u64 {
        self.pressure.cpu_us(&mut self.buffer)
    }

    /// How often the kernel killed something in it for memory so far.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        self.places
            .serving(Controller::Memory)
            .map_or(0, memory::oom_kills)
    }

    /// Its telemetry. Good until it is removed.
    ///
    /// # Errors
    /// When it is gone, or no more files may be opened.
    pub fn reader(&self) -> std::io::Result<InstanceReader> {
        GroupReader::open(&self.root, &self.places)
            .map(|reader| InstanceReader::Group(Box::new(reader)))
    }

    /// Removes its groups. Kill what is in it first.
    ///
    /// # Errors
    /// When something is still in it.
    pub fn remove(self) -> Result<(), Error> {
        drop(self.hold);
        self.places.remove()
    }
}
