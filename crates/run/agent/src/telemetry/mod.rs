//! What threads did, added up until the next message to the hub.

mod histogram;
mod metrics;
mod windows;

use std::collections::{BTreeMap, VecDeque};

use cohort_model::{At, InstanceId, ThreadId};

use crate::protocol::{CheckCount, FromAgent, Iterated, LogLevel, LogLine};
pub(crate) use histogram::Counted;
pub(crate) use metrics::{Metrics, Value, counter, find, rate, trend};
pub(crate) use windows::{Called, EndpointNumber, Standing, Windows};

/// Lines that are kept between two messages; what is more is dropped and counted.
const LINES_MAX: usize = 512;
/// Longest line, bytes.
const LINE_BYTES_MAX: usize = 4 << 10;
/// Windows between two reports of what each thread called.
const THREADS_EVERY: u32 = 5;
/// Checks that are told apart.
const CHECKS_MAX: usize = 2_000;

/// Everything that is added up.
#[derive(Debug, Default)]
pub(crate) struct Telemetry {
    pub(crate) windows: Windows,
    pub(crate) metrics: Metrics,
    checks: BTreeMap<(InstanceId, String, String), (u64, u64)>,
    lines: VecDeque<LogLine>,
    dropped_lines: u64,
    iterated: BTreeMap<ThreadId, Iterated>,
    windows_taken: u32,
    /// Requests that were sent, cumulative.
    pub(crate) requests: u64,
}

impl Telemetry {
    /// A condition of a check.
    pub(crate) fn check(&mut self, instance: InstanceId, group: &str, name: &str, passed: bool) {
        let key = (instance, group.to_owned(), name.to_owned());
        let room = self.checks.len() < CHECKS_MAX;
        let counts = match self.checks.get_mut(&key) {
            Some(counts) => counts,
            None if room => self.checks.entry(key).or_default(),
            None => return,
        };
        if passed {
            counts.0 += 1;
        } else {
            counts.1 += 1;
        }
    }

    /// A line of a script, of a program, or about one.
    pub(crate) fn line(&mut self, at: At, thread: Option<ThreadId>, level: LogLevel, text: &str) {
        if self.lines.len() >= LINES_MAX {
            self.dropped_lines += 1;
            return;
        }
        let mut text = text.to_owned();
        if text.len() > LINE_BYTES_MAX {
            let cut = (0..=LINE_BYTES_MAX)
                .rev()
                .find(|at| text.is_char_boundary(*at));
            text.truncate(cut.unwrap_or(0));
        }
        self.lines.push_back(LogLine {
            at,
            thread,
            level,
            text,
        });
    }

    /// What a thread did.
    pub(crate) fn iterated(&mut self, what: Iterated) {
        let known = self.iterated.entry(what.thread).or_insert(Iterated {
            done: 0,
            failed: 0,
            ..what
        });
        known.done += what.done;
        known.failed += what.failed;
        known.idle = what.idle;
        known.epoch = what.epoch;
    }

    /// Messages that are due within milliseconds.
    pub(crate) fn take_soon(&mut self) -> Vec<FromAgent> {
        let mut messages = Vec::new();
        if !self.iterated.is_empty() {
            let iterated = std::mem::take(&mut self.iterated);
            messages.push(FromAgent::Iterated(iterated.into_values().collect()));
        }
        if !self.lines.is_empty() || self.dropped_lines > 0 {
            messages.push(FromAgent::Log {
                lines: std::mem::take(&mut self.lines).into(),
                dropped: std::mem::take(&mut self.dropped_lines),
            });
        }
        let (calls, more) = self.windows.take_broken();
        if !calls.is_empty() {
            messages.push(FromAgent::Broken { calls, more });
        }
        messages
    }

    /// Messages that are due about every second.
    pub(crate) fn take_window(
        &mut self,
        now: At,
        standing: &BTreeMap<InstanceId, Standing>,
    ) -> Vec<FromAgent> {
        let (windows, slow) = self.windows.take(now, standing);
        let mut messages = vec![FromAgent::Windows(windows)];
        if !slow.is_empty() {
            messages.push(FromAgent::Slow(slow));
        }
        self.windows_taken += 1;
        if self.windows_taken.is_multiple_of(THREADS_EVERY) {
            messages.push(FromAgent::ThreadCalls(self.windows.take_threads()));
        }
        let metrics = self.metrics.take();
        if !metrics.is_empty() {
            messages.push(FromAgent::Metrics(metrics));
        }
        if !self.checks.is_empty() {
            let checks = std::mem::take(&mut self.checks);
            messages.push(FromAgent::Checks(
                checks.into_iter().map(check_count).collect(),
            ));
        }
        messages
    }
}

fn check_count(
    ((instance, group, name), (passes, fails)): ((InstanceId, String, String), (u64, u64)),
) -> CheckCount {
    CheckCount {
        group,
        name,
        instance,
        passes,
        fails,
    }
}
