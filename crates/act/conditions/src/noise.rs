//! Neighbours' noise: children of the engine that keep a CPU, memory or the disk busy until they
//! are killed with it.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use cohort_model::Noise;

use crate::error::Error;
use crate::random::Random;
use crate::spawn::{die_with, fork};

/// What a memory neighbour moves about, bytes: more than a core's own caches hold.
const MEMORY: usize = 32 << 20;
/// What a disk neighbour writes before it begins anew, bytes.
const FILE_MAX: u64 = 64 << 20;
/// What it writes and forces to the disk at a time, bytes.
const CHUNK: usize = 256 << 10;

/// Starts neighbours; gives their processes.
///
/// # Errors
/// When there is no room for one more process.
pub(crate) fn start(noise: &[(Noise, u32)]) -> Result<Vec<i32>, Error> {
    let mut pids = Vec::new();
    for (noise, tasks) in noise {
        for _ in 0..*tasks {
            pids.push(start_one(*noise)?);
        }
    }
    Ok(pids)
}

fn start_one(noise: Noise) -> Result<i32, Error> {
    let parent = nix::unistd::getpid().as_raw();
    let pid = fork()?;
    if pid != 0 {
        return Ok(pid);
    }
    if !die_with(parent, libc::SIGKILL) {
        crate::spawn::leave(0);
    }
    match noise {
        Noise::Cpu => compute(),
        Noise::Memory => move_memory(),
        Noise::Disk => loop {
            // A full disk or one that is gone is tried again: noise comes and goes.
            if write_files().is_err() {
                std::thread::sleep(Duration::from_millis(10));
            }
        },
    }
}

fn compute() -> ! {
    let mut random = Random::new(1);
    loop {
        std::hint::black_box(random.next());
    }
}

fn move_memory() -> ! {
    let mut bytes = vec![1_u8; MEMORY];
    let half = MEMORY / 2;
    loop {
        let (low, high) = bytes.split_at_mut(half);
        high.copy_from_slice(low);
        low.copy_from_slice(std::hint::black_box(high));
    }
}

/// A file without a name, so that nothing of it is left however this ends.
fn write_files() -> std::io::Result<()> {
    let directory = std::env::temp_dir();
    let mut file = (File::options().read(true).write(true))
        .custom_flags(libc::O_TMPFILE)
        .open(&directory)
        .or_else(|_| unnamed(&directory))?;
    let chunk = vec![0x5a_u8; CHUNK];
    loop {
        file.write_all(&chunk)?;
        file.sync_data()?;
        if file.stream_position()? >= FILE_MAX {
            file.seek(SeekFrom::Start(0))?;
        }
    }
}

/// As above where the file system cannot make files without names.
fn unnamed(directory: &std::path::Path) -> std::io::Result<File> {
    let path = directory.join(format!(".cohort-noise-{}", std::process::id()));
    let file = File::create_new(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}
