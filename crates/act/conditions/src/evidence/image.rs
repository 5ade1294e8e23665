//! The image of a stopped process in a file: an ELF core (System V gABI, chapter 4; the notes as in
//! Linux's `include/uapi/linux/elf.h` and `elfcore.h`), as far as stacks need it.
//!
//! Written are the registers of each thread, the stacks, what was changed of data, and where each file
//! is. What stands in files (code) is left to be read from them. Large memory is cut: what of it a
//! stack needs is at its beginning (the dynamic loader's), or there is none.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::maps::Map;

/// Bytes of one stack from its pointer on.
const STACK_BYTES: u64 = 1 << 20;
/// Bytes of all stacks in one mapping.
const STACKS_BYTES: u64 = 8 << 20;
/// Bytes of one other mapping.
const DATA_BYTES: u64 = 2 << 20;
/// All of it.
const IMAGE_BYTES: u64 = 48 << 20;
/// Mappings that are looked at.
const MAPS_MAX: usize = 8000;
/// Below the stack pointer that is used without moving it (System V ABI, red zone).
const BELOW: u64 = 128;
/// A pointer that ran out of its stack is below it by less than this.
const GUARD: u64 = 1 << 20;
const PAGE: u64 = 4096;

const HEADER: u64 = 64;
const SEGMENT: u64 = 56;
/// `NT_PRSTATUS`, `NT_PRPSINFO`, `NT_AUXV`, `NT_FILE`, `NT_SIGINFO`.
const NOTE_STATUS: u32 = 1;
const NOTE_PROCESS: u32 = 3;
const NOTE_AUXILIARY: u32 = 6;
const NOTE_FILES: u32 = 0x4649_4c45;
const NOTE_SIGNAL: u32 = 0x5349_4749;
/// Where `struct elf_prstatus` has a thread's id and its registers.
const STATUS_ID: usize = 32;
const STATUS_REGISTERS: usize = 112;
/// Where `struct elf_prpsinfo` has the id of the process, and its size.
const PROCESS_ID: usize = 24;
const PROCESS_BYTES: usize = 136;

#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = 62;
#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const MACHINE: u16 = 0;
/// Places of the stack pointer and of the next instruction among the registers.
#[cfg(target_arch = "x86_64")]
const POINTERS: (usize, usize) = (19, 16);
#[cfg(not(target_arch = "x86_64"))]
const POINTERS: (usize, usize) = (31, 32);

/// A stopped thread.
#[derive(Clone, Debug)]
pub(crate) struct ThreadState {
    pub(crate) tid: i32,
    /// As `PTRACE_GETREGSET` gives them.
    pub(crate) registers: Vec<u8>,
    /// The signal it is stopped for, and its `siginfo_t`.
    pub(crate) signal: Option<(i32, Vec<u8>)>,
}

impl ThreadState {
    fn register(&self, place: usize) -> u64 {
        let bytes = self.registers.get(place * 8..place * 8 + 8);
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_ne_bytes)
    }

    fn stack(&self) -> u64 {
        self.register(POINTERS.0)
    }

    /// Where its next instruction is.
    pub(crate) fn at(&self) -> u64 {
        self.register(POINTERS.1)
    }
}

/// A part of memory: its own protection, and how much of it is written.
struct Segment {
    start: u64,
    len: u64,
    written: u64,
    flags: u32,
}

/// Writes the image of a process; the first thread counts as the one it is about.
pub(crate) fn write(
    path: &Path,
    pid: i32,
    threads: &[ThreadState],
    maps: &[Map],
) -> io::Result<()> {
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let auxiliary = fs::read(format!("/proc/{pid}/auxv"))?;
    let segments = segments(threads, maps.get(..MAPS_MAX).unwrap_or(maps));
    let notes = notes(pid, threads, &auxiliary, maps);
    let count = segments.len() as u64 + 1;
    let notes_at = HEADER + count * SEGMENT;
    let mut at = (notes_at + notes.len() as u64).next_multiple_of(PAGE);
    let mut out = BufWriter::new(File::create(path)?);
    out.write_all(&header(u16::try_from(count).unwrap_or(u16::MAX)))?;
    out.write_all(&segment(4, 4, (notes_at, 0), (notes.len() as u64, 0)))?;
    let first = at;
    for one in &segments {
        out.write_all(&segment(
            1,
            one.flags,
            (at, one.start),
            (one.written, one.len),
        ))?;
        at += one.written;
    }
    out.write_all(&notes)?;
    let gap = first - notes_at - notes.len() as u64;
    out.write_all(&vec![0; usize::try_from(gap).unwrap_or(0)])?;
    let mut buffer = vec![0; 1 << 16];
    for one in &segments {
        let mut done = 0;
        while done < one.written {
            let len = buffer
                .len()
                .min(usize::try_from(one.written - done).unwrap_or(0));
            let piece = buffer.get_mut(..len).unwrap_or_default();
            // What cannot be read is zero.
            if memory.read_exact_at(piece, one.start + done).is_err() {
                piece.fill(0);
            }
            out.write_all(piece)?;
            done += len as u64;
        }
    }
    out.flush()
}

fn segments(threads: &[ThreadState], maps: &[Map]) -> Vec<Segment> {
    let mut left = IMAGE_BYTES;
    let mut segments = Vec::new();
    // The stacks first: they are what it is for.
    let pointers = pointers(threads, maps);
    let stacks: Vec<Option<(u64, u64)>> = (maps.iter().enumerate())
        .map(|(place, map)| {
            let of = |(it, at): &(usize, u64)| (*it == place).then_some(*at);
            let stack = stack_in(map, &pointers.iter().filter_map(of).collect::<Vec<_>>());
            left = left.saturating_sub(stack.map_or(0, |(_, len)| len));
            stack
        })
        .collect();
    for (place, map) in maps.iter().enumerate() {
        let flags = u32::from(map.read) << 2 | u32::from(map.write) << 1 | u32::from(map.run);
        let (start, written) = match stacks.get(place).copied().flatten() {
            Some(stack) => stack,
            None => {
                let wanted = wanted(map, maps.get(place + 1));
                let written = wanted.min(map.end - map.start).min(left);
                left -= written;
                (map.start, written)
            }
        };
        segments.push(Segment {
            start,
            len: map.end - start,
            written,
            flags,
        });
    }
    segments
}

/// Which mapping each stack pointer is in; one that ran out of its stack belongs to the next above.
fn pointers(threads: &[ThreadState], maps: &[Map]) -> Vec<(usize, u64)> {
    let place = |at: u64| {
        let writable = |map: &Map| map.read && map.write;
        let place = maps.iter().position(|map| map.end > at && writable(map))?;
        let map = maps.get(place)?;
        (map.start < at.saturating_add(GUARD)).then_some((place, at))
    };
    (threads.iter())
        .filter_map(|thread| place(thread.stack()))
        .collect()
}

/// What is in use of a mapping with these stack pointers.
fn stack_in(map: &Map, pointers: &[u64]) -> Option<(u64, u64)> {
    let (lowest, highest) = (pointers.iter().min()?, pointers.iter().max()?);
    let start = (lowest.saturating_sub(BELOW) / PAGE * PAGE).max(map.start);
    // Several in one mapping: stacks that a program manages itself.
    let end = highest
        .saturating_add(STACK_BYTES)
        .min(start + STACKS_BYTES)
        .min(map.end);
    Some((start, (end.max(start) - start).next_multiple_of(PAGE)))
}

/// Bytes of a mapping that is no stack.
fn wanted(map: &Map, next: Option<&Map>) -> u64 {
    if !map.read {
        return 0;
    }
    if map.path == "[vdso]" {
        return map.end - map.start;
    }
    // Made read-only once it was relocated: it stands before what stays writable.
    let relocated = || {
        let follows = next.is_some_and(|next| next.write && next.path == map.path);
        map.offset > 0 && !map.run && follows
    };
    if map.private && (map.write || !map.is_file() || relocated()) {
        DATA_BYTES
    } else if map.is_file() && map.offset == 0 {
        // The header tells which build it is.
        PAGE
    } else {
        0
    }
}

fn header(segments: u16) -> Vec<u8> {
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0];
    bytes.resize(16, 0);
    bytes.extend(4_u16.to_ne_bytes());
    bytes.extend(MACHINE.to_ne_bytes());
    bytes.extend(1_u32.to_ne_bytes());
    bytes.extend(0_u64.to_ne_bytes());
    bytes.extend(HEADER.to_ne_bytes());
    bytes.extend(0_u64.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    for number in [64, 56, segments, 0, 0, 0] {
        bytes.extend(u16::to_ne_bytes(number));
    }
    bytes
}

/// `Elf64_Phdr`: kind, flags, where in the file and in memory, size there and there.
fn segment(kind: u32, flags: u32, at: (u64, u64), size: (u64, u64)) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    for number in [at.0, at.1, 0, size.0, size.1, 1] {
        bytes.extend(u64::to_ne_bytes(number));
    }
    bytes
}

fn notes(pid: i32, threads: &[ThreadState], auxiliary: &[u8], maps: &[Map]) -> Vec<u8> {
    let mut notes = Vec::new();
    for (number, thread) in threads.iter().enumerate() {
        notes.extend(note(NOTE_STATUS, &status(thread)));
        if let Some((_, info)) = &thread.signal {
            notes.extend(note(NOTE_SIGNAL, info));
        }
        if number == 0 {
            notes.extend(note(NOTE_PROCESS, &process(pid)));
            notes.extend(note(NOTE_AUXILIARY, auxiliary));
            notes.extend(note(NOTE_FILES, &files(maps)));
        }
    }
    notes
}

fn note(kind: u32, contents: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in [5, u32::try_from(contents.len()).unwrap_or(0), kind] {
        bytes.extend(u32::to_ne_bytes(number));
    }
    bytes.extend(b"CORE\0\0\0\0");
    bytes.extend(contents);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// `struct elf_prstatus`.
fn status(thread: &ThreadState) -> Vec<u8> {
    let signal = thread.signal.as_ref().map_or(0, |(signal, _)| *signal);
    let mut bytes = signal.to_ne_bytes().to_vec();
    bytes.resize(12, 0);
    bytes.extend(signal.to_ne_bytes());
    bytes.resize(STATUS_ID, 0);
    bytes.extend(thread.tid.to_ne_bytes());
    bytes.resize(STATUS_REGISTERS, 0);
    bytes.extend(&thread.registers);
    bytes.resize(bytes.len() + 8, 0);
    bytes
}

/// `struct elf_prpsinfo`, as far as it is read.
fn process(pid: i32) -> Vec<u8> {
    let mut bytes = vec![0; PROCESS_ID];
    bytes.extend(pid.to_ne_bytes());
    bytes.resize(PROCESS_BYTES, 0);
    bytes
}

/// Which file is where: count, size of a page, then start, end and page of each, then their names.
fn files(maps: &[Map]) -> Vec<u8> {
    let files = || maps.iter().filter(|map| map.is_file());
    let mut bytes = Vec::new();
    bytes.extend((files().count() as u64).to_ne_bytes());
    bytes.extend(PAGE.to_ne_bytes());
    for map in files() {
        for number in [map.start, map.end, map.offset / PAGE] {
            bytes.extend(number.to_ne_bytes());
        }
    }
    for map in files() {
        bytes.extend(map.path.as_bytes());
        bytes.push(0);
    }
    bytes
}
