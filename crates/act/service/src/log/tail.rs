//! Follows a log file that the server writes itself, also when it is put aside or cut by the server.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Weak;

use super::file::Files;
use super::lines::Splitter;
use super::record::{Record, Source};
use super::{LOOK, READ_BYTES};

/// Pieces that are read in one look; the rest waits for the next.
const PIECES_MAX: usize = 64;

/// Follows it until the record is gone.
pub(super) async fn follow(path: PathBuf, record: Weak<Record>, files: Files) {
    let mut splitter = Splitter::new(Source::File);
    let mut open: Option<Open> = None;
    let mut buffer = vec![0; READ_BYTES];
    while let Some(record) = record.upgrade() {
        let is_same = open.as_mut().is_some_and(|open| open.is_still(&path));
        if let Some(open) = &mut open {
            open.read(&mut buffer, |bytes| splitter.take(bytes, &record, &files));
        }
        if !is_same {
            open = Open::new(&path);
        }
        drop(record);
        tokio::time::sleep(LOOK).await;
    }
}

struct Open {
    file: File,
    at: u64,
    inode: u64,
}

impl Open {
    fn new(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let inode = file
            .metadata()
            .ok()
            .filter(std::fs::Metadata::is_file)?
            .ino();
        Some(Self { file, at: 0, inode })
    }

    /// One that was cut is read from its start.
    fn is_still(&mut self, path: &Path) -> bool {
        let Ok(now) = std::fs::metadata(path) else {
            return false;
        };
        if now.ino() == self.inode && now.len() < self.at {
            self.at = 0;
        }
        now.ino() == self.inode
    }

    fn read(&mut self, buffer: &mut [u8], mut take: impl FnMut(&[u8])) {
        if self.file.seek(SeekFrom::Start(self.at)).is_err() {
            return;
        }
        for _ in 0..PIECES_MAX {
            match self.file.read(buffer) {
                Ok(0) | Err(_) => return,
                Ok(bytes) => {
                    self.at += bytes as u64;
                    take(&buffer[..bytes]);
                }
            }
        }
    }
}
