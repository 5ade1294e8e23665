//! A file descriptor that becomes readable when an instance stands at its memory limit, and the
//! answer whether it does.
//!
//! ```text
//! v1  eventfd <- memory.oom_control     (cgroup.event_control)   at the wall
//! v2  inotify <- memory.events is modified                       at the allotment
//! ```
//!
//! Version 1 could also tell when the allotment is reached, but each such registration makes its
//! caller wait for all CPUs (synchronize_rcu, some 10 ms), and there would be one for each change.
//! Whoever reads the instance often enough notices by asking [`Hold::is_held`].
//!
//! The signal is a hint and may come for nothing (page cache that can simply be dropped counts
//! too); [`Hold::is_held`] judges by what the group holds.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::memory::MemoryReader;
use super::place::{Place, Version};
use super::{Error, write};
use crate::kernel_file::{Buffer, KernelFile};

/// A group that holds more than this part of its memory as page cache that the kernel can drop is
/// not held: it reclaims, and goes on.
const RECLAIMABLE_PART: u64 = 8;

/// Watches the allotment of one instance.
#[derive(Debug)]
pub(super) struct Hold {
    memory: MemoryReader,
    allotment: u64,
    signal: Signal,
    buffer: Buffer,
}

#[derive(Debug)]
enum Signal {
    V1 { oom: EventFd },
    V2 { inotify: Inotify, highs: u64 },
}

impl Hold {
    pub(super) fn open(place: &Place) -> Result<Option<Self>, Error> {
        let Some(memory) = MemoryReader::open_at(place) else {
            return Ok(None);
        };
        let signal = match place.version {
            Version::V1 => {
                let path = place.file("memory.oom_control");
                let control = KernelFile::open(&path).map_err(|error| watch(place, error))?;
                Signal::V1 {
                    oom: register(place, &control)?,
                }
            }
            Version::V2 => {
                let flags = InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC;
                let inotify = Inotify::init(flags).map_err(|error| watch(place, error.into()))?;
                inotify
                    .add_watch(&place.file("memory.events"), AddWatchFlags::IN_MODIFY)
                    .map_err(|error| watch(place, error.into()))?;
                Signal::V2 { inotify, highs: 0 }
            }
        };
        Ok(Some(Self {
            memory,
            allotment: u64::MAX,
            signal,
            buffer: Buffer::default(),
        }))
    }

    /// The descriptor to poll, for reading. It is another one at each call, of the same signal.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        match &self.signal {
            Signal::V1 { oom } => oom.as_fd().try_clone_to_owned(),
            Signal::V2 { inotify, .. } => inotify.as_fd().try_clone_to_owned(),
        }
    }

    /// The allotment is another one now.
    pub(super) fn set(&mut self, allotment: u64) {
        self.allotment = allotment;
    }

    /// Clears the signal, and tells whether the instance is at its allotment with nothing to drop.
    pub(super) fn is_held(&mut self) -> bool {
        let buffer = &mut self.buffer;
        let reached = match &mut self.signal {
            Signal::V1 { oom } => {
                let _ = oom.read();
                if self.memory.event(buffer, "under_oom") > 0 {
                    return true;
                }
                false
            }
            Signal::V2 { inotify, highs } => {
                let _ = inotify.read_events();
                let now = self.memory.event(buffer, "high");
                let grew = now > *highs;
                *highs = now;
                grew
            }
        };
        let current = self.memory.current(buffer);
        let reclaimable = self.memory.parts(buffer).reclaimable;
        (reached || current >= self.allotment) && reclaimable < current / RECLAIMABLE_PART
    }
}

/// Has `file` of the group signal a new eventfd. The kernel holds on to the group, not to `file`.
fn register(place: &Place, file: &KernelFile) -> Result<EventFd, Error> {
    let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
        .map_err(|error| watch(place, error.into()))?;
    let order = format!("{} {}", event.as_fd().as_raw_fd(), file.as_fd().as_raw_fd());
    write(&place.file("cgroup.event_control"), &order)?;
    Ok(event)
}

fn watch(place: &Place, source: io::Error) -> Error {
    Error::Watch {
        path: place.folder.clone(),
        source,
    }
}
