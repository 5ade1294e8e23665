//! Bytes of one stream to lines, in bounded time and memory.

use std::time::{Instant, SystemTime};

use super::file::Files;
use super::record::{Record, Source};

/// What is kept of a line, bytes; the rest of it is cut.
const LINE_BYTES_MAX: usize = 16 << 10;
/// What is taken of one stream in a second, bytes; the rest is dropped.
const RATE: f64 = (32_u64 << 20) as f64;

/// Makes lines of one stream.
#[derive(Debug)]
pub(super) struct Splitter {
    source: Source,
    line: Vec<u8>,
    /// Bytes that may be taken now.
    credit: f64,
    counted: Instant,
    /// Dropped since it was last said.
    dropped: u64,
    /// The rest of this line is dropped.
    skipping: bool,
}

impl Splitter {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            line: Vec::new(),
            credit: RATE,
            counted: Instant::now(),
            dropped: 0,
            skipping: false,
        }
    }

    /// Takes what was read.
    pub(super) fn take(&mut self, bytes: &[u8], record: &Record, files: &Files) {
        let now = Instant::now();
        let earned = now.saturating_duration_since(self.counted).as_secs_f64() * RATE;
        self.counted = now;
        self.credit = (self.credit + earned).min(RATE);
        record.count_bytes(bytes.len());
        if self.credit < bytes.len() as f64 {
            self.drop_bytes(bytes.len(), record);
            return;
        }
        self.credit -= bytes.len() as f64;
        let at = SystemTime::now();
        let mut kept = record.begin(self.source, at);
        if self.dropped > 0 {
            kept.say(&format!("[... {} bytes not kept ...]", self.dropped));
            self.dropped = 0;
        }
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let room = LINE_BYTES_MAX.saturating_sub(self.line.len());
            if !self.skipping {
                self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            }
            if pieces.peek().is_some() {
                if !self.skipping {
                    kept.line(&String::from_utf8_lossy(trim(&self.line)));
                }
                self.line.clear();
                self.skipping = false;
            }
        }
        self.write(kept.into_text(), record, files);
    }

    /// The end: what is left is a line too.
    pub(super) fn finish(&mut self, record: &Record, files: &Files) {
        let mut kept = record.begin(self.source, SystemTime::now());
        if self.dropped > 0 {
            kept.say(&format!("[... {} bytes not kept ...]", self.dropped));
        }
        if !self.line.is_empty() {
            kept.line(&String::from_utf8_lossy(trim(&self.line)));
        }
        kept.end();
        self.write(kept.into_text(), record, files);
    }

    fn write(&mut self, text: String, record: &Record, files: &Files) {
        let bytes = text.len();
        if bytes > 0 && !files.write(record.instance(), text) {
            record.count_dropped(bytes);
            self.dropped += bytes as u64;
        }
    }

    fn drop_bytes(&mut self, bytes: usize, record: &Record) {
        record.count_dropped(bytes + self.line.len());
        self.dropped += (bytes + self.line.len()) as u64;
        self.line.clear();
        self.skipping = true;
    }
}

/// Without what a Windows server puts before the end of a line.
fn trim(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}
