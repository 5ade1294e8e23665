//! The event log: one record a line, `crc32 SP json LF`, appended and never changed.
//!
//! Promise: after `kill -9` at any byte, every record that was flushed reads back, in order, and an
//! unfinished last one is recognized by its missing line end or its checksum, and cut off before
//! anything is appended again.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use cohort_model::Record;

use crate::{Error, at};

/// Length of the checksum in front of each record: eight hex digits and a space.
const PREFIX_BYTES: usize = 9;

/// Appends records. Buffered: a record is safe once [`LogWriter::flush`] returned.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
}

impl LogWriter {
    /// A log at `path`, new or continued. An unfinished last record is cut off.
    ///
    /// # Errors
    /// The file cannot be opened, or is damaged other than at its end.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let valid = if path.exists() {
            let mut reader = LogReader::open(path)?;
            for record in reader.by_ref() {
                record?;
            }
            reader.offset
        } else {
            0
        };
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(at("open", path))?;
        file.set_len(valid).map_err(at("truncate", path))?;
        file.seek(SeekFrom::End(0)).map_err(at("seek in", path))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            buffer: Vec::with_capacity(64 * 1024),
        })
    }

    /// Adds a record to what the next flush writes.
    pub fn append(&mut self, record: &Record) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[b' '; PREFIX_BYTES]);
        serde_json::to_writer(&mut self.buffer, record)
            .expect("a record has string keys only and a vector can grow");
        let sum = crc32fast::hash(&self.buffer[start + PREFIX_BYTES..]);
        let prefix = format!("{sum:08x}");
        self.buffer[start..start + PREFIX_BYTES - 1].copy_from_slice(prefix.as_bytes());
        self.buffer.push(b'\n');
    }

    /// Hands everything appended so far to the operating system, which keeps it whatever becomes
    /// of this process.
    ///
    /// # Errors
    /// The write failed (a full disk): what was flushed before stays readable.
    pub fn flush(&mut self) -> Result<(), Error> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.buffer);
        self.buffer.clear();
        written.map_err(at("write to", &self.path))
    }
}

/// How a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// With a whole record.
    Whole,
    /// With this many bytes of an unfinished one.
    Torn(u64),
}

/// Reads records in order, and stops before an unfinished last one.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    input: BufReader<File>,
    size: u64,
    offset: u64,
    line: Vec<u8>,
    done: bool,
}

impl LogReader {
    /// Reads the log at `path` from its start.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(at("open", path))?;
        let size = file.metadata().map_err(at("look at", path))?.len();
        Ok(Self {
            path: path.to_path_buf(),
            input: BufReader::new(file),
            size,
            offset: 0,
            line: Vec::new(),
            done: false,
        })
    }

    /// How the log ended; known once the iterator is exhausted.
    #[must_use]
    pub fn tail(&self) -> Tail {
        match self.size.saturating_sub(self.offset) {
            0 => Tail::Whole,
            bytes => Tail::Torn(bytes),
        }
    }

    fn read(&mut self) -> Result<Option<Record>, Error> {
        self.line.clear();
        let length = self
            .input
            .read_until(b'\n', &mut self.line)
            .map_err(at("read", &self.path))?;
        if length == 0 {
            return Ok(None);
        }
        if let Some(record) = decode(&self.line) {
            self.offset += length as u64;
            return Ok(Some(record));
        }
        let behind = self.size.saturating_sub(self.offset);
        if length as u64 >= behind {
            return Ok(None);
        }
        Err(Error::Damaged {
            path: self.path.clone(),
            offset: self.offset,
            behind,
        })
    }
}

fn decode(line: &[u8]) -> Option<Record> {
    let line = line.strip_suffix(b"\n")?;
    let (prefix, json) = line.split_at_checked(PREFIX_BYTES)?;
    let digits = std::str::from_utf8(prefix.strip_suffix(b" ")?).ok()?;
    let sum = u32::from_str_radix(digits, 16).ok()?;
    (sum == crc32fast::hash(json)).then(|| serde_json::from_slice(json).ok())?
}

impl Iterator for LogReader {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let record = self.read().transpose();
        self.done = !matches!(record, Some(Ok(_)));
        record
    }
}

#[cfg(test)]
mod tests {
    use cohort_model::{At, Observation};
    use proptest::prelude::*;

    use super::*;

    fn records(count: u64) -> Vec<Record> {
        (0..count)
            .map(|n| Record::Seen {
                at: At(n),
                observations: vec![Observation::InstanceLost {
                    instance: cohort_model::InstanceId(1),
                    reason: "line\nbreak \u{2028} \"quoted\"".repeat(n as usize % 3),
                }],
            })
            .collect()
    }

    fn written(path: &Path, records: &[Record]) {
        let mut log = LogWriter::open(path).unwrap();
        for record in records {
            log.append(record);
        }
        log.flush().unwrap();
    }

    fn read(path: &Path) -> Vec<Record> {
        LogReader::open(path)
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    }

    #[test]
    fn cut_at_any_byte_keeps_every_whole_record_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let all = records(5);
        written(&path, &all);
        let bytes = std::fs::read(&path).unwrap();
        for cut in 0..=bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let whole = bytes[..cut].iter().filter(|&&byte| byte == b'\n').count();
            assert_eq!(read(&path), all[..whole], "cut at {cut}");
            written(&path, &all[whole..]);
            assert_eq!(read(&path), all, "continued after a cut at {cut}");
        }
    }

    #[test]
    fn damage_in_the_middle_is_an_error_that_names_the_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        written(&path, &records(3));
        let mut bytes = std::fs::read(&path).unwrap();
        let first = bytes.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        bytes[first + 20] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let error = LogWriter::open(&path).unwrap_err();
        assert!(
            matches!(error, Error::Damaged { offset, .. } if offset == first as u64),
            "{error}"
        );
    }

    #[test]
    fn a_full_disk_is_an_error_that_names_the_file() {
        let mut log = LogWriter {
            path: "/dev/full".into(),
            file: OpenOptions::new().write(true).open("/dev/full").unwrap(),
            buffer: Vec::new(),
        };
        log.append(&records(1)[0]);
        let error = log.flush().unwrap_err().to_string();
        assert!(error.contains("write to /dev/full"), "{error}");
    }

    proptest! {
        #[test]
        fn garbage_is_never_a_record(garbage: Vec<u8>) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("log");
            std::fs::write(&path, &garbage).unwrap();
            prop_assert_eq!(LogReader::open(&path).unwrap().filter_map(Result::ok).count(), 0);
        }
    }
}
