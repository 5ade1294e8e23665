//! Log files of instances, written by a thread of their own, put aside when they are large.
//!
//! `i0.log` is the newest; `i0.log.1` was before it, and so on.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use cohort_model::InstanceId;

use crate::spec::LogRules;

/// Pieces on their way to the disk ...
const PIECES_MAX: usize = 4096;
/// ... and bytes.
const BYTES_MAX: u64 = 16 << 20;

/// Where text goes that is to be written.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pieces: SyncSender<(InstanceId, String)>,
    on_the_way: Arc<AtomicU64>,
}

impl Files {
    /// The thread ends after the last clone of what is given.
    pub(super) fn start(folder: &Path, rules: &LogRules) -> io::Result<(Self, JoinHandle<()>)> {
        let (pieces, received) = sync_channel(PIECES_MAX);
        let on_the_way = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            folder: folder.to_owned(),
            bytes_max: rules.bytes_max.max(1),
            files_max: rules.files_max.max(1),
            files: BTreeMap::new(),
        };
        let written = on_the_way.clone();
        let thread = std::thread::Builder::new()
            .name("log files".to_owned())
            .spawn(move || writer.run(&received, &written))?;
        Ok((Self { pieces, on_the_way }, thread))
    }

    /// Never waits; `false` when the disk does not keep up.
    pub(super) fn write(&self, instance: InstanceId, text: String) -> bool {
        let bytes = text.len() as u64;
        if self.on_the_way.fetch_add(bytes, Ordering::Relaxed) + bytes <= BYTES_MAX
            && self.pieces.try_send((instance, text)).is_ok()
        {
            return true;
        }
        self.on_the_way.fetch_sub(bytes, Ordering::Relaxed);
        false
    }
}

#[derive(Debug)]
struct Writer {
    folder: PathBuf,
    bytes_max: u64,
    files_max: u32,
    files: BTreeMap<InstanceId, (File, u64)>,
}

impl Writer {
    fn run(mut self, received: &Receiver<(InstanceId, String)>, on_the_way: &AtomicU64) {
        while let Ok((instance, text)) = received.recv() {
            on_the_way.fetch_sub(text.len() as u64, Ordering::Relaxed);
            // A disk that is full loses log lines, not the campaign; the hub sees the disk by itself.
            let _ = self.write(instance, &text);
        }
    }

    fn write(&mut self, instance: InstanceId, text: &str) -> io::Result<()> {
        let path = self.folder.join(format!("{instance}.log"));
        let bytes = text.len() as u64;
        if let Some((_, written)) = self.files.get(&instance)
            && *written > 0
            && *written + bytes > self.bytes_max
        {
            self.files.remove(&instance);
            self.put_aside(&path);
        }
        let (file, written) = match self.files.entry(instance) {
            std::collections::btree_map::Entry::Occupied(there) => there.into_mut(),
            std::collections::btree_map::Entry::Vacant(free) => {
                let file = OpenOptions::new().create(true).append(true).open(&path)?;
                let there = file.metadata()?.len();
                free.insert((file, there))
            }
        };
        *written += bytes;
        file.write_all(text.as_bytes())
    }

    fn put_aside(&self, path: &Path) {
        let numbered = |number: u32| PathBuf::from(format!("{}.{number}", path.display()));
        if self.files_max == 1 {
            let _ = std::fs::remove_file(path);
            return;
        }
        for number in (1..self.files_max - 1).rev() {
            let _ = std::fs::rename(numbered(number), numbered(number + 1));
        }
        let _ = std::fs::rename(path, numbered(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes_max: u64, files_max: u32) -> Vec<(String, String)> {
        let folder = tempfile::tempdir().unwrap();
        let rules = LogRules {
            bytes_max,
            files_max,
            files: Vec::new(),
        };
        let (files, thread) = Files::start(folder.path(), &rules).unwrap();
        for number in 0..10 {
            assert!(files.write(InstanceId(1), format!("line {number}\n")));
        }
        drop(files);
        thread.join().unwrap();
        let mut found: Vec<(String, String)> = std::fs::read_dir(folder.path())
            .unwrap()
            .flatten()
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, std::fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        found.sort();
        found
    }

    #[test]
    fn the_newest_lines_are_kept_in_few_files() {
        let found = written(14, 3);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["i1.log", "i1.log.1", "i1.log.2"]);
        assert_eq!(found[0].1, "line 8\nline 9\n");
        assert_eq!(found[2].1, "line 4\nline 5\n");
        let found = written(14, 1);
        assert_eq!(
            found,
            [("i1.log".to_owned(), "line 8\nline 9\n".to_owned())]
        );
    }
}
