//! Kernel tasks: how many there are, and how many there may be.

use super::place::{Controller, Places};
use super::{Error, write};
use crate::kernel_file::{Buffer, KernelFile, field};

/// Most tasks in a group and below. The file is the same in both versions. Nothing where the host
/// cannot.
pub(super) fn set_limit(places: &Places, tasks: u64) -> Result<(), Error> {
    match places.serving(Controller::Pids) {
        None => Ok(()),
        Some(place) => write(&place.file("pids.max"), &tasks.to_string()),
    }
}

/// How often a task could not be made for the limit so far.
pub(super) fn limit_hits(places: &Places) -> u64 {
    let place = places.serving(Controller::Pids);
    place
        .and_then(|place| std::fs::read(place.file("pids.events")).ok())
        .and_then(|text| field(&text, "max"))
        .unwrap_or(0)
}

/// Reads the number of tasks.
#[derive(Debug)]
pub(super) struct TasksReader(Option<KernelFile>);

impl TasksReader {
    pub(super) fn open(places: &Places) -> Self {
        let place = places.serving(Controller::Pids);
        Self(place.and_then(|place| KernelFile::open_if_there(&place.file("pids.current"))))
    }

    pub(super) fn read(&self, buffer: &mut Buffer) -> Option<u32> {
        u32::try_from(self.0.as_ref()?.number(buffer)?).ok()
    }
}
