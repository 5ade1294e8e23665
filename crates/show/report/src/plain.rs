//! Lines for a log that someone reads later: failures at once, and now and then a sign of life.

use std::collections::HashSet;

use cohort_model::{At, CaseWork, Command, Observation, Record, TestId, ThreadId};

use crate::case::News;
use crate::case::verdict::recipe as in_words;
use crate::case::words::quoted;
use crate::line::Line;
use crate::progress;
use crate::sentence;
use crate::view::View;
use crate::words;

/// Without any other line, a sign of life comes this often.
const SILENCE_US_MAX: u64 = 30_000_000;

/// A suite that is quicker than this gives no signs of life on its way.
const SILENCE_US_MIN: u64 = 2_000_000;

/// A test that runs longer is named.
const LONG_US: u64 = 30_000_000;

/// Running tests named in one line.
const NAMED_MAX: usize = 5;

/// Stressed tests named in one line.
const STRESSED_NAMED_MAX: usize = 8;

/// Lines for a name alone.
const NAME_COLUMNS: usize = 100;

/// What was said so far.
#[derive(Clone, Debug, Default)]
pub struct Plain {
    color: bool,
    said_at: At,
    said_tenth: usize,
    named: HashSet<ThreadId>,
    news: News,
    /// It was said that only edge cases are left.
    said_reproducing: bool,
    /// Failed executions of which it is not known yet whether they are the last word.
    failed: Vec<ThreadId>,
}

impl Plain {
    /// Nothing was said yet.
    #[must_use]
    pub fn new(color: bool) -> Plain {
        Plain {
            color,
            ..Plain::default()
        }
    }

    /// The lines to print for `record`, which `view` has taken in already.
    pub fn after(&mut self, view: &View, record: &Record) -> Vec<String> {
        match record {
            Record::Planned(_) => vec![planned(view)],
            Record::Seen { observations, .. } => {
                let lines = self.failed_once(view);
                self.failed.extend(observations.iter().filter_map(failed));
                lines
            }
            Record::Decided { at, decisions, .. } => {
                let mut lines: Vec<Line> = Vec::new();
                for decision in decisions {
                    if let Command::Conclude(result) = &decision.command {
                        lines.extend(sentence::conclusion(view, result, usize::MAX));
                    }
                }
                let mut lines: Vec<String> = lines
                    .iter()
                    .map(|line| line.render(usize::MAX, self.color))
                    .collect();
                lines.extend(self.failed_once(view));
                lines.extend(self.news.after(view, record, self.color));
                lines.extend(self.reproducing(view, *at));
                lines.extend(self.sign_of_life(view, *at));
                lines
            }
            _ => Vec::new(),
        }
    }

    /// Lines for tests that failed, and that the step in which they did left without a result.
    fn failed_once(&mut self, view: &View) -> Vec<String> {
        let failed = std::mem::take(&mut self.failed).into_iter();
        let lines = failed.filter_map(|thread| {
            let test = view.thread(thread)?.test;
            let latest = view.failed_once.get(&test) == Some(&thread);
            let line = sentence::failed_once(view, test, usize::MAX).filter(|_| latest)?;
            Some(line.render(usize::MAX, self.color))
        });
        lines.collect()
    }

    /// Said once, when the ordinary work is done and edge cases are left.
    fn reproducing(&mut self, view: &View, at: At) -> Option<String> {
        if view.is_repeating() || self.said_reproducing || !view.only_cases_left() {
            return None;
        }
        self.said_reproducing = true;
        self.said_at = at;
        Some(progress::reproducing(view, at).render(usize::MAX, self.color))
    }

    fn sign_of_life(&mut self, view: &View, at: At) -> Option<String> {
        if at < self.said_at {
            self.said_at = At(0);
        }
        let silence_us = at.since(self.said_at);
        let tenth = view.counts.concluded() * 10 / view.total().max(1);
        let step = tenth > self.said_tenth && tenth < 10 && silence_us >= SILENCE_US_MIN;
        if view.only_cases_left() && silence_us >= SILENCE_US_MAX {
            self.said_at = at;
            return Some(progress::reproducing(view, at).render(usize::MAX, self.color));
        }
        if !step && silence_us < SILENCE_US_MAX || view.not_run() == 0 || view.is_for_cases() {
            return None;
        }
        self.said_at = at;
        self.said_tenth = tenth;
        let mut line = format!(
            "{} of {} done, {} failed, {} running, {}",
            words::number(view.counts.concluded() as u64),
            words::number(view.total() as u64),
            words::number(view.counts.failures() as u64),
            words::number(view.running.len() as u64),
            words::duration(view.elapsed_us(at)),
        );
        if let Some(left_us) = view.left_us(at) {
            line.push_str(&format!(", about {} left", words::duration(left_us)));
        }
        if let Some(long) = self.long(view, at) {
            line.push_str(&long);
        }
        Some(line)
    }

    /// Tests that have run long and were not named before.
    fn long(&mut self, view: &View, at: At) -> Option<String> {
        self.named.retain(|thread| view.running.contains(thread));
        let mut long: Vec<(u64, ThreadId)> = view
            .running
            .iter()
            .filter(|thread| !self.named.contains(thread))
            .filter_map(|thread| Some((at.since(view.thread(*thread)?.started), *thread)))
            .filter(|(ran_us, _)| *ran_us >= LONG_US)
            .collect();
        long.sort_unstable_by(|a, b| b.cmp(a));
        long.truncate(NAMED_MAX);
        self.named.extend(long.iter().map(|(_, thread)| *thread));
        let names: Vec<String> = long
            .iter()
            .filter_map(|(ran_us, thread)| {
                let name = words::shorten(view.test_name(view.thread(*thread)?.test), NAME_COLUMNS);
                Some(format!("{name} ({})", words::duration(*ran_us)))
            })
            .collect();
        (!names.is_empty()).then(|| format!("; long-running: {}", names.join(", ")))
    }
}

fn failed(observation: &Observation) -> Option<ThreadId> {
    match observation {
        Observation::ThreadEnded(end) if end.verdict.is_failure() => Some(end.thread),
        _ => None,
    }
}

/// Tests that are tried on request, by name.
fn stressed(view: &View, chosen: &[TestId], total: &str) -> String {
    let names: Vec<String> = chosen
        .iter()
        .take(STRESSED_NAMED_MAX)
        .map(|test| words::shorten(view.test_name(*test), NAME_COLUMNS))
        .collect();
    let more = match chosen.len().saturating_sub(STRESSED_NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {} more", words::number(more as u64)),
    };
    let chosen = words::number(chosen.len() as u64);
    format!("stressing {chosen} of {total}: {}{more}", names.join(", "))
}

fn planned(view: &View) -> String {
    let total = words::counted(view.total() as u64, "test");
    match view.plan.cases.as_ref().and_then(|plan| plan.only.as_ref()) {
        Some(CaseWork::Stress { tests, .. }) => return stressed(view, tests, &total),
        Some(CaseWork::Repeat {
            case, test, recipe, ..
        }) => {
            let names = |test: TestId| view.test_name(test).to_owned();
            let (name, how) = (quoted(view.test_name(*test)), in_words(recipe, &names));
            return format!("running {case} again: {name} {how}");
        }
        None => {}
    }
    let tests = words::counted(view.total() as u64, "test");
    let groups = words::counted(view.plan.groups.len() as u64, "group");
    let cores = view.start.as_ref().map_or(0.0, |start| start.budget.cores);
    let concluded = view.counts.concluded();
    let before = match concluded {
        0 => String::new(),
        _ => format!(", {} of them done before", words::number(concluded as u64)),
    };
    format!(
        "{tests} in {groups}{before}, on {} cores",
        words::decimal(cores)
    )
}

#[cfg(test)]
mod tests {
    use cohort_model::{Observation, Reason, Verdict};

    use super::*;
    use crate::scenario::{self, Scenario};

    fn lines(records: &[Record]) -> Vec<String> {
        let mut view = View::default();
        let mut plain = Plain::new(false);
        let mut lines = Vec::new();
        for record in records {
            view.apply(record);
            lines.extend(plain.after(&view, record));
        }
        lines
    }

    #[test]
    fn a_mixed_campaign() {
        assert_eq!(
            lines(&scenario::mixed()),
            [
                "7 tests in 1 group, on 2 cores",
                "failed         parse::bad  exit code 101, 2.00 s  assertion failed: 1 == 2",
                "3 of 7 done, 1 failed, 0 running, 3.00 s",
                "crashed        net::crash  SIGSEGV (signal 11), 1.00 s",
                "failed         net::crowded  exit code 101, 1.00 s  assertion failed: 1 == 2  (to be tried again alone)",
                "4 of 7 done, 2 failed, 1 running, 5.00 s",
                "load-sensitive net::crowded  failed with 5 threads beside it, passed alone",
                "out of memory  big  killed at 256 MiB, 1.00 s  (to be tried again with all memory)",
                "5 of 7 done, 2 failed, 1 running, 7.00 s, about 2.33 s left",
                "tried again    big  killed for memory, passed on the largest allotment",
                "6 of 7 done, 2 failed, 0 running, 11.0 s, about 1.57 s left",
            ]
        );
    }

    #[test]
    fn a_quick_suite_says_little() {
        let mut scenario = Scenario::new(&["a", "b", "c", "d"]);
        for test in 0..4 {
            scenario = scenario.run(test, Verdict::Passed, 0);
        }
        assert_eq!(lines(&scenario.records), ["4 tests in 1 group, on 2 cores"]);
    }

    #[test]
    fn long_running_tests_are_named_once() {
        let mut scenario = Scenario::new(&["quick", "slow\none"]);
        scenario.start(1, 0, Reason::Static);
        for _ in 0..9 {
            scenario.wait(10_000_000);
            scenario.see(vec![Observation::Tick]);
            scenario.decide(Vec::new());
        }
        assert_eq!(
            lines(&scenario.records),
            [
                "2 tests in 1 group, on 2 cores",
                "0 of 2 done, 0 failed, 1 running, 30.0 s; long-running: slow\\none (30.0 s)",
                "0 of 2 done, 0 failed, 1 running, 1 m 00 s",
                "0 of 2 done, 0 failed, 1 running, 1 m 30 s",
            ]
        );
    }
}
