//! The one order of everything: each record goes to the log and to every face, in that order.

use std::collections::BTreeMap;

use cohort_model::{Command, Observation, Record, TestResult, ThreadEnd, ThreadId, Verdict};
use cohort_store::{Error, LogWriter};

/// Something that shows a campaign. It is told records and time, and decides nothing.
pub trait Face {
    /// A record was added.
    fn see(&mut self, record: &Record);
    /// Some time passed (about ten times a second).
    fn tick(&mut self) {}
    /// Something to know now that is no part of the campaign itself: how Cohort does with it.
    fn note(&mut self, _line: &str) {}
}

/// Log and faces, and what history will need at the end.
pub(crate) struct Ledger {
    log: LogWriter,
    faces: Vec<Box<dyn Face>>,
    pub(crate) results: Vec<TestResult>,
    pub(crate) ends: BTreeMap<ThreadId, ThreadEnd>,
    /// Why the first instance was lost since a thread ended by itself.
    pub(crate) lost: Option<String>,
    /// Added, and not told to the faces yet.
    untold: Vec<Record>,
    broken: bool,
}

impl Ledger {
    pub(crate) fn new(log: LogWriter, faces: Vec<Box<dyn Face>>) -> Self {
        Self {
            log,
            faces,
            results: Vec::new(),
            ends: BTreeMap::new(),
            lost: None,
            untold: Vec::new(),
            broken: false,
        }
    }

    pub(crate) fn add(&mut self, record: Record) {
        if !self.broken {
            self.log.append(&record);
        }
        self.remember(&record);
        self.untold.push(record);
    }

    /// Hands the log to the system, and only then tells the faces: what was shown is never lost.
    /// After the first failure nothing more is written, so that what stands in the log stays whole;
    /// the faces are still told.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        let flushed = if self.broken {
            Ok(())
        } else {
            self.log.flush()
        };
        self.broken |= flushed.is_err();
        for record in self.untold.drain(..) {
            for face in &mut self.faces {
                face.see(&record);
            }
        }
        flushed
    }

    pub(crate) fn tick(&mut self) {
        for face in &mut self.faces {
            face.tick();
        }
    }

    /// Tells whoever looks on.
    pub(crate) fn note(&mut self, line: &str) {
        for face in &mut self.faces {
            face.note(line);
        }
    }

    fn remember(&mut self, record: &Record) {
        match record {
            Record::Seen { observations, .. } => {
                for observation in observations {
                    match observation {
                        Observation::ThreadEnded(end) => {
                            self.ends.insert(end.thread, end.clone());
                            if end.verdict != Verdict::Aborted {
                                self.lost = None;
                            }
                        }
                        Observation::InstanceLost { reason, .. } => {
                            self.lost.get_or_insert_with(|| reason.clone());
                        }
                        _ => {}
                    }
                }
            }
            Record::Decided { decisions, .. } => {
                for decision in decisions {
                    if let Command::Conclude(result) = &decision.command {
                        self.results.push(result.clone());
                    }
                }
            }
            _ => {}
        }
    }
}
