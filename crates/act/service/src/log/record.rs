//! What is known of one instance's output: last lines, exceptions, how much there was.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::SystemTime;

use cohort_model::{ExceptionSeen, InstanceId};
use tokio::sync::oneshot;

use super::pattern::Pattern;
use super::stamp::stamp;
use crate::exceptions::{Known, Parser, Summary};
use crate::lock;
use cohort_symptom::colour;

/// Last lines that are kept at hand ...
const LINES_MAX: usize = 200;
/// ... and bytes of each.
const LINE_BYTES_MAX: usize = 2048;

/// Where a line was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A log file of the server's own.
    File,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "out",
            Self::Stderr => "err",
            Self::File => "log",
        }
    }
}

/// A line that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was read.
    pub at: SystemTime,
    /// Where it was written.
    pub source: Source,
    /// What, cut to a bounded length.
    pub text: String,
}

/// How much an instance wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes written.
    pub bytes: u64,
    /// Lines looked at.
    pub lines: u64,
    /// Bytes that were too much, and are in no file.
    pub dropped_bytes: u64,
}

/// The output of one instance.
#[derive(Debug)]
pub struct Record {
    instance: InstanceId,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    lines: VecDeque<Line>,
    counts: Counts,
    awaited: Option<(Pattern, oneshot::Sender<()>)>,
    /// One for each source.
    parsers: [Parser; 3],
    known: Known,
}

impl Record {
    /// Of an instance that has written nothing yet.
    #[must_use]
    pub fn new(instance: InstanceId) -> Self {
        Self {
            instance,
            inner: Mutex::new(Inner {
                lines: VecDeque::new(),
                counts: Counts::default(),
                awaited: None,
                parsers: Default::default(),
                known: Known::default(),
            }),
        }
    }

    /// Of which instance.
    #[must_use]
    pub fn instance(&self) -> InstanceId {
        self.instance
    }

    /// The last lines, the oldest first, at most `most`.
    #[must_use]
    pub fn last_lines(&self, most: usize) -> Vec<Line> {
        let inner = lock(&self.inner);
        let skipped = inner.lines.len().saturating_sub(most);
        inner.lines.iter().skip(skipped).cloned().collect()
    }

    /// How much there was.
    #[must_use]
    pub fn counts(&self) -> Counts {
        lock(&self.inner).counts
    }

    /// All exceptions so far, the most frequent first.
    #[must_use]
    pub fn exceptions(&self) -> Vec<Summary> {
        lock(&self.inner).known.all()
    }

    /// Fires with the next line that holds `pattern`. Another call takes its place.
    pub(crate) fn await_line(&self, pattern: &str) -> oneshot::Receiver<()> {
        let (written, told) = oneshot::channel();
        lock(&self.inner).awaited = Some((Pattern::new(pattern), written));
        told
    }

    /// Exceptions since the last call.
    pub(crate) fn new_exceptions(&self) -> Vec<ExceptionSeen> {
        lock(&self.inner).known.take_new(self.instance)
    }

    /// Exceptions whose last line is some time ago are complete.
    pub(super) fn settle(&self) {
        let inner = &mut *lock(&self.inner);
        for parser in &mut inner.parsers {
            inner.known.extend(parser.settle(SystemTime::now()));
        }
    }

    /// Exceptions since the last call, those too of which more lines might come: for when all that led to them is over.
    pub(crate) fn exceptions_by_now(&self) -> Vec<ExceptionSeen> {
        let inner = &mut *lock(&self.inner);
        for parser in &mut inner.parsers {
            inner.known.extend(parser.finish());
        }
        inner.known.take_new(self.instance)
    }

    pub(super) fn count_bytes(&self, bytes: usize) {
        lock(&self.inner).counts.bytes += bytes as u64;
    }

    pub(super) fn count_dropped(&self, bytes: usize) {
        lock(&self.inner).counts.dropped_bytes += bytes as u64;
    }

    /// Takes lines until what it gives is dropped.
    pub(super) fn begin(&self, source: Source, at: SystemTime) -> Taking<'_> {
        Taking {
            record: lock(&self.inner),
            source,
            at,
            stamp: format!("{} {} ", stamp(at), source.name()),
            text: String::new(),
        }
    }
}

/// Lines of one piece.
pub(super) struct Taking<'r> {
    record: std::sync::MutexGuard<'r, Inner>,
    source: Source,
    at: SystemTime,
    stamp: String,
    text: String,
}

impl Taking<'_> {
    /// A line of the server's.
    pub(super) fn line(&mut self, line: &str) {
        self.say(line);
        let line = &*colour::without(line);
        let inner = &mut *self.record;
        inner.counts.lines += 1;
        let found = inner.parsers[self.source as usize].take(line, self.at);
        inner.known.extend(found);
        if let Some((_, written)) = inner.awaited.take_if(|(pattern, _)| pattern.is_in(line)) {
            // Nobody waits any more: fine.
            let _ = written.send(());
        }
        // The oldest gives its memory to the newest.
        let mut text = match inner.lines.len() {
            LINES_MAX => inner
                .lines
                .pop_front()
                .map(|line| line.text)
                .unwrap_or_default(),
            _ => String::new(),
        };
        let mut end = line.len().min(LINE_BYTES_MAX);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        text.clear();
        text.push_str(&line[..end]);
        inner.lines.push_back(Line {
            at: self.at,
            source: self.source,
            text,
        });
    }

    /// A line for the file alone.
    pub(super) fn say(&mut self, line: &str) {
        self.text.push_str(&self.stamp);
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Nothing follows from this source.
    pub(super) fn end(&mut self) {
        let inner = &mut *self.record;
        let found = inner.parsers[self.source as usize].finish();
        inner.known.extend(found);
    }

    /// What is to be written to the file.
    pub(super) fn into_text(self) -> String {
        self.text
    }
}
