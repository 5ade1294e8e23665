//! Where a program stood when it came to its end: the stacks of all its threads, as text.
//!
//! ```text
//!   traced threads, stopped --image.rs--> an image of the process in a file, within milliseconds
//!                                              |  (the program goes on to its end)
//!                                              `--gdb.rs, afterwards--> stacks; without gdb: places only
//! ```
//!
//! The image is made here rather than by the kernel: where that puts its own, and whether it makes one
//! at all, is the administrator's choice, and gdb cannot attach to what is traced already. It is
//! removed when its stacks were read: it holds whatever the program held in memory.
//!
//! Promise: bounded time and size; a program ends as it would have without.

mod gdb;
mod image;
mod maps;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(crate) use image::{ThreadState, write};
pub(crate) use maps::Map;

/// All debuggers together may take so long.
const READING_MAX: Duration = Duration::from_secs(8);
/// Longest text, bytes.
const TEXT_BYTES_MAX: usize = 256 << 10;
/// Without a debugger.
const WITHOUT: &str =
    "gdb is not installed: only where each thread stood is told, not how it came there";

/// Why a process was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// This signal is about to end it; the address that it is about, where there is one.
    Signal(i32, Option<u64>),
    /// It took too long.
    Told,
}

/// One thread of a process, in words.
#[derive(Clone, Debug)]
pub(crate) struct Stood {
    pub(crate) tid: i32,
    pub(crate) name: String,
    /// Where its next instruction is.
    pub(crate) at: u64,
    /// The same as `object+offset`.
    pub(crate) place: String,
}

/// A process as it was.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) pid: i32,
    pub(crate) why: Why,
    /// The program's file.
    pub(crate) program: PathBuf,
    /// The one that a signal is about first.
    pub(crate) threads: Vec<Stood>,
    /// Its image; none: it could not be written.
    pub(crate) image: Option<PathBuf>,
}

/// Reads the stacks of all snapshots, the most telling first, and removes their images. Gives the text,
/// and what the user should know.
pub(crate) fn read(snapshots: &[Snapshot]) -> (String, Option<String>) {
    let until = Instant::now() + READING_MAX;
    let mut text = String::new();
    let mut remark = None;
    for snapshot in snapshots {
        text.push_str(&snapshot.head());
        let read = match &snapshot.image {
            Some(image) => gdb::stacks(&snapshot.program, image, until),
            None => Err(gdb::Lack::Silent),
        };
        match read {
            Ok(stacks) => text.push_str(&stacks),
            Err(lack) => {
                if lack == gdb::Lack::NotInstalled {
                    remark = Some(WITHOUT.to_owned());
                }
                text.push_str(&snapshot.places());
            }
        }
        text.push('\n');
        if let Some(image) = &snapshot.image {
            // What cannot be removed now is removed with its directory.
            let _ = fs::remove_file(image);
        }
    }
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX)
            .rev()
            .find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push_str("\n(cut here)\n");
    }
    if let Some(remark) = &remark {
        text.insert_str(0, &format!("({remark})\n\n"));
    }
    (text, remark)
}

impl Snapshot {
    /// What it is about, in the words of a debugger.
    fn head(&self) -> String {
        let program = self.program.display();
        let process = format!("Process {} of {program}\n", self.pid);
        match self.why {
            Why::Told => format!("{process}It took too long; its threads stood here.\n"),
            Why::Signal(signal, address) => {
                let name = nix::sys::signal::Signal::try_from(signal)
                    .map_or("SIG?", nix::sys::signal::Signal::as_str);
                let about =
                    address.map_or_else(String::new, |address| format!(", address 0x{address:x}"));
                format!("{process}Program terminated with signal {name}{about}.\n")
            }
        }
    }

    /// One frame of each thread.
    fn places(&self) -> String {
        let mut text = String::new();
        for (number, thread) in self.threads.iter().enumerate() {
            let Stood {
                tid,
                name,
                at,
                place,
            } = thread;
            text.push_str(&format!(
                "\nThread {} (LWP {tid} \"{name}\"):\n#0  0x{at:016x} in ?? () from {place}\n",
                number + 1
            ));
        }
        text
    }
}

/// A file for one more image beside `evidence`.
pub(crate) fn image_path(evidence: &Path, number: usize) -> PathBuf {
    let mut name = evidence.as_os_str().to_owned();
    name.push(format!(".image-{number}"));
    name.into()
}
