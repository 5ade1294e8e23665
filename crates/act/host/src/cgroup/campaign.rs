//! The campaign's groups: parent of all instances, limited and accounted as a whole.

use std::path::PathBuf;

use cohort_model::HostSample;

use super::cpu::{self, CpuReader};
use super::memory::{self, MemoryReader, MemoryRoom};
use super::place::{Controller, Place, Places, Version};
use super::placement::{self, Leaf, Offer};
use super::pressure::PressureReader;
use super::{Error, Hierarchy, InstanceMaker, Layout};
use crate::kernel_file::Buffer;

/// The campaign's groups. Dropping it kills what is in them and removes them.
#[derive(Debug)]
pub struct CampaignGroup {
    layout: Layout,
    places: Places,
    leaf: Option<Leaf>,
    missing: Vec<String>,
    own_pid: i32,
}

impl CampaignGroup {
    /// Makes them where this host lets us. What is missing without them, or of them, is added in words.
    pub fn where_permitted(layout: &Layout, name: &str, missing: &mut Vec<String>) -> Option<Self> {
        match Self::create(layout, name) {
            Ok(group) => {
                missing.extend(group.missing().iter().cloned());
                Some(group)
            }
            Err(error) => {
                missing.push(format!(
                    "no control groups, so limits are not enforced and memory is watched only from outside ({})",
                    crate::chain(&error)
                ));
                None
            }
        }
    }

    /// Makes them wherever that is allowed. `name` is that of an [`crate::process::Owner`], so that
    /// what is left after a crash can be found ([`crate::remains`]).
    ///
    /// # Errors
    /// When no hierarchy lets us: run without control groups then.
    pub fn create(layout: &Layout, name: &str) -> Result<Self, Error> {
        let own_pid = i32::try_from(std::process::id()).unwrap_or(i32::MAX);
        if layout.hierarchies.is_empty() {
            return Err(Error::NoHierarchy);
        }
        let mut group = Self {
            layout: layout.clone(),
            places: Places(Vec::new()),
            leaf: None,
            missing: Vec::new(),
            own_pid,
        };
        for hierarchy in &layout.hierarchies {
            let made = match hierarchy.version {
                Version::V1 => make(&hierarchy.own, name, Version::V1, &hierarchy.controllers),
                Version::V2 => group.make_v2(hierarchy, name),
            };
            match made {
                Ok(place) => group.places.0.push(place),
                Err(reason) => group.missing.push(reason),
            }
        }
        if group.places.0.is_empty() {
            let others = match group.missing.len() {
                1 => String::new(),
                count => format!(" (and {} other places alike)", count - 1),
            };
            return Err(Error::NotPermitted {
                reason: format!("{}{others}", group.missing[0]),
            });
        }
        if let Some(place) = group.places.serving(Controller::Memory) {
            memory::count_children(place);
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        cpu::weigh_as_tasks(&group.places, cores);
        Ok(group)
    }

    fn make_v2(&mut self, hierarchy: &Hierarchy, name: &str) -> Result<Place, String> {
        let Offer {
            parent,
            controllers,
            needs_leaf,
        } = placement::find(hierarchy, self.own_pid)?;
        if needs_leaf {
            let leaf = Leaf::enter(&parent, &format!("{name}-main"), self.own_pid)
                .map_err(|error| in_words(&error))?;
            self.leaf = Some(leaf);
        }
        let offered = placement::switch_on(&parent, &controllers);
        let mut place = make(&parent, name, Version::V2, &offered)?;
        place.controllers = placement::switch_on(&place.folder, &offered);
        Ok(place)
    }

    /// Whether instances can be controlled or accounted in this respect.
    #[must_use]
    pub fn controls(&self, controller: Controller) -> bool {
        self.places.serving(controller).is_some()
    }

    /// What could not be made, one reason for each hierarchy.
    #[must_use]
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Folders of the campaign's groups.
    #[must_use]
    pub fn folders(&self) -> Vec<PathBuf> {
        self.places
            .0
            .iter()
            .map(|place| place.folder.clone())
            .collect()
    }

    /// Limits the memory of all instances together, bytes. Beyond it the kernel kills, so that the
    /// host is safe even when the allotments are not.
    ///
    /// # Errors
    /// When the campaign is gone or holds more already. Nothing happens where the host cannot.
    pub fn set_memory_limit(&self, bytes: u64) -> Result<(), Error> {
        self.places
            .serving(Controller::Memory)
            .map_or(Ok(()), |place| memory::set_limit(place, bytes))
    }

    /// Limits the CPU of all instances together, cores.
    ///
    /// # Errors
    /// When the campaign is gone, or a group above allows less. Nothing happens where the host cannot.
    pub fn set_cpu_limit(&self, cores: f64) -> Result<(), Error> {
        cpu::set_quota(&self.places, Some(cores))
    }

    /// What makes the groups of its instances.
    #[must_use]
    pub fn maker(&self) -> InstanceMaker {
        InstanceMaker {
            root: self.layout.root.clone(),
            campaign: self.places.clone(),
        }
    }

    /// Telemetry of the campaign as a whole.
    #[must_use]
    pub fn reader(&self) -> CampaignReader {
        let mut buffer = Buffer::default();
        let mut pressure = PressureReader::open(&self.places);
        if !pressure.is_there(&mut buffer) {
            pressure = PressureReader::open_in(&self.layout.root.join("proc/pressure"), "");
        }
        CampaignReader {
            cpu: CpuReader::open(&self.places),
            memory: MemoryReader::open(&self.places),
            pressure,
            room: memory::memory_room(&self.layout),
        }
    }

    /// Kills what is left in the campaign and removes all its groups.
    ///
    /// # Errors
    /// When something cannot be killed.
    pub fn remove(mut self) -> Result<(), Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Error> {
        let places = std::mem::take(&mut self.places.0);
        let mut result = Ok(());
        for place in places {
            result = result.and(crate::remains::remove_group_tree(&place.folder).map(drop));
        }
        if let Some(leaf) = self.leaf.take() {
            result = result.and(leaf.leave(self.own_pid));
        }
        result
    }
}

impl Drop for CampaignGroup {
    fn drop(&mut self) {
        // What cannot be removed now is found by the next start.
        let _ = self.end();
    }
}

fn make(
    parent: &std::path::Path,
    name: &str,
    version: Version,
    controllers: &[Controller],
) -> Result<Place, String> {
    let folder = parent.join(name);
    match std::fs::create_dir(&folder) {
        Ok(()) => Ok(Place {
            version,
            folder,
            controllers: controllers.to_vec(),
        }),
        Err(error) => Err(format!("{} cannot be made: {error}", folder.display())),
    }
}

fn in_words(error: &Error) -> String {
    use std::error::Error as _;
    error
        .source()
        .map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// Reads the campaign as a whole, and what the limits above it leave.
#[derive(Debug)]
pub struct CampaignReader {
    cpu: CpuReader,
    memory: Option<MemoryReader>,
    pressure: PressureReader,
    room: MemoryRoom,
}

impl CampaignReader {
    /// What is told of a campaign without groups: the host's pressure.
    #[must_use]
    pub fn without_groups(layout: &Layout) -> Self {
        Self {
            cpu: CpuReader::default(),
            memory: None,
            pressure: PressureReader::open_in(&layout.root.join("proc/pressure"), ""),
            room: memory::memory_room(layout),
        }
    }

    /// Fills CPU, memory and pressure of the campaign, and lowers `memory_available` to what our
    /// own limits leave.
    pub fn read(&self, buffer: &mut Buffer, sample: &mut HostSample) {
        sample.campaign_cpu_us = self.cpu.used_us(buffer);
        if let Some(memory) = &self.memory {
            sample.campaign_memory = memory.unreclaimable(buffer);
        }
        sample.cpu_pressure_us = self.pressure.cpu_us(buffer);
        sample.memory_pressure_us = self.pressure.memory_us(buffer);
        if let Some((left, _)) = self.room.left(buffer) {
            sample.memory_available = sample.memory_available.min(left);
        }
    }
}
