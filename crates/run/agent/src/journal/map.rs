//! A file that is appended to through memory: what was written survives the process, and costs no system call.

use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::fcntl::posix_fallocate;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// A file of a fixed size in memory.
#[derive(Debug)]
pub(super) struct Map {
    file: File,
    start: NonNull<u8>,
    bytes: usize,
}

impl Map {
    /// A new file of zeros; whatever was there is gone. Its blocks are allocated, so that writing to
    /// it cannot fail for want of disk.
    pub(super) fn create(path: &Path, bytes: usize) -> io::Result<Map> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        posix_fallocate(&file, 0, bytes as i64)?;
        let start = map(&file, bytes)?;
        Ok(Map { file, start, bytes })
    }

    /// Makes it larger; what was written stays.
    pub(super) fn grow(&mut self, bytes: usize) -> io::Result<()> {
        posix_fallocate(&self.file, 0, bytes as i64)?;
        let start = map(&self.file, bytes)?;
        self.unmap();
        self.start = start;
        self.bytes = bytes;
        Ok(())
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All of it.
    pub(super) fn slice(&mut self) -> &mut [u8] {
        // SAFETY: `start..start + bytes` is one mapping that lives as long as `self`; it is only
        // reached through `&mut self`, and no other process writes to this file.
        #[expect(unsafe_code, reason = "a mapping is a raw pointer")]
        unsafe {
            std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes)
        }
    }

    /// Writes a number after everything that was written before it.
    ///
    /// # Panics
    ///
    /// When `at` is outside or not a multiple of 4.
    pub(super) fn publish(&mut self, at: usize, number: u32) {
        assert!(
            at.is_multiple_of(4) && at + 4 <= self.bytes,
            "{at} is no place for a length"
        );
        // SAFETY: in bounds and aligned (a mapping begins at a page); the file is only written here.
        #[expect(unsafe_code, reason = "an ordered write to a mapping")]
        let place = unsafe { &*self.start.as_ptr().add(at).cast::<AtomicU32>() };
        place.store(number.to_le(), Ordering::Release);
    }

    fn unmap(&mut self) {
        // SAFETY: the mapping was made by `map` with this size and is not used afterwards.
        #[expect(unsafe_code, reason = "a mapping is unmapped by address")]
        let result = unsafe { munmap(self.start.cast(), self.bytes) };
        debug_assert!(result.is_ok(), "unmap a journal: {result:?}");
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        self.unmap();
    }
}

fn map(file: &File, bytes: usize) -> io::Result<NonNull<u8>> {
    let length = NonZeroUsize::new(bytes).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: a new mapping at an address that the kernel chooses; the file is at least `bytes` long.
    #[expect(unsafe_code, reason = "mapping a file")]
    let start = unsafe {
        mmap(
            None,
            length,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_SHARED,
            file.as_fd(),
            0,
        )?
    };
    Ok(start.cast())
}
