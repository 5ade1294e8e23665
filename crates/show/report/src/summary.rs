//! The end of a campaign, for a person: what failed and why first, what is worth knowing next, and
//! the verdict in the last line. A small campaign that passed takes three to six lines.

use std::cmp::Reverse;
use std::io::{self, Write};

use cohort_model::{Case, CaseVerdict, Ending, FindingKind, TestId, TestResult};

use crate::case::most_telling_first;
use crate::case::verdict::{sentence as sentence_of, total};
use crate::line::{Line, Tone};
use crate::saved::{lanes, saved};
use crate::sentence::{self, LABEL_COLUMNS, labelled};
use crate::view::{Counts, View};
use crate::words;
use crate::{Output, Outputs};

/// Failures that are shown with their output; the rest is named.
const FAILURES_IN_FULL: usize = 20;

/// Lines of output shown of one failure; the end is what counts.
const OUTPUT_LINES_MAX: usize = 120;

/// Entries of a list of the slowest or heaviest tests.
const TOP: usize = 5;

/// Entries of any other list.
const LIST_MAX: usize = 10;

/// A campaign that took less says nothing of its slowest tests.
const DETAILS_FROM_US: u64 = 10_000_000;

/// Building and listing that took less is not mentioned.
const PREPARING_FROM_US: u64 = 1_000_000;

/// Columns that a name has in the narrowest terminal.
const NAME_COLUMNS_MIN: usize = 12;

/// Nothing below is called heavy.
const HEAVY_FROM_BYTES: u64 = 64 << 20;

/// What the summary is made of.
pub struct Summary<'a> {
    /// The campaign.
    pub view: &'a View,
    /// Finds kept output.
    pub outputs: Outputs<'a>,
    /// Where the campaign is kept, as the user would type it.
    pub directory: &'a str,
    /// The page with pictures, when there is one, as the user would type it.
    pub page: Option<&'a str>,
    /// Whether the campaign is under way.
    pub running: bool,
    /// Edge cases that are told at most; the rest is counted.
    pub cases_max: usize,
    /// Columns of the terminal: names are shortened to it, sentences are not.
    pub width: usize,
    /// Whether ANSI colours may be used.
    pub color: bool,
}

impl Summary<'_> {
    /// Writes it.
    ///
    /// # Errors
    /// What the writer reports.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        self.failures(out)?;
        let mut lines = Vec::new();
        lines.extend(self.second_tries());
        lines.extend(self.left_behind());
        lines.extend(self.edge_cases());
        lines.extend(self.extremes());
        lines.extend(self.findings());
        lines.extend(self.adapted());
        lines.extend(self.collector());
        lines.extend(self.missing());
        lines.push(labelled(Tone::Faint, "record").plain(words::printable(self.directory)));
        let page = self.page.map(words::printable);
        lines.extend(page.map(|page| labelled(Tone::Faint, "pictures").plain(page)));
        lines.extend(self.next());
        lines.extend(self.ending());
        lines.push(self.verdict());
        for line in lines {
            writeln!(out, "{}", line.render(usize::MAX, self.color))?;
        }
        Ok(())
    }

    /// Columns for a name in a line that has `columns` of other words after its label.
    fn room_beside(&self, columns: usize) -> usize {
        let room = self.width.saturating_sub(LABEL_COLUMNS + columns);
        room.max(NAME_COLUMNS_MIN)
    }

    fn results(&self, tests: &[TestId]) -> impl Iterator<Item = &TestResult> {
        tests.iter().filter_map(|test| self.view.result(*test))
    }

    /// What its last execution wrote, or why it could not be executed.
    fn output(&self, result: &TestResult) -> Option<Output> {
        if let Some(thread) = result.threads.last() {
            return (self.outputs)(*thread);
        }
        let stdout = self.view.broken(result.test)?.to_owned();
        Some(Output {
            stdout,
            ..Output::default()
        })
    }

    fn failures(&self, out: &mut dyn Write) -> io::Result<()> {
        for (place, result) in self.results(&self.view.failures).enumerate() {
            let Some(line) = sentence::conclusion(self.view, result, self.width) else {
                continue;
            };
            writeln!(out, "{}", line.render(usize::MAX, self.color))?;
            if place >= FAILURES_IN_FULL {
                continue;
            }
            let output = self.output(result);
            if let Some(output) = output {
                write_output(&output, OUTPUT_LINES_MAX, self.color, out)?;
            }
        }
        self.failed_once(out)
    }

    /// Tests that failed and could not be tried again before the campaign ended.
    fn failed_once(&self, out: &mut dyn Write) -> io::Result<()> {
        for (place, (test, thread)) in self.view.failed_once.iter().enumerate() {
            let Some(line) = sentence::failed_once(self.view, *test, self.width) else {
                continue;
            };
            writeln!(out, "{}", line.render(usize::MAX, self.color))?;
            let output = (self.outputs)(*thread).filter(|_| place < FAILURES_IN_FULL);
            if let Some(output) = output {
                write_output(&output, OUTPUT_LINES_MAX, self.color, out)?;
            }
        }
        Ok(())
    }

    /// Load-sensitive tests, and those that were killed for memory and passed then.
    fn second_tries(&self) -> Vec<Line> {
        let sensitive = self.results(&self.view.load_sensitive);
        let retried = self.view.results().filter(|result| {
            result.memory_retried && !result.verdict.is_failure() && !result.load_sensitive
        });
        let results: Vec<&TestResult> = sensitive.chain(retried).collect();
        let mut lines: Vec<Line> = results
            .iter()
            .filter_map(|result| sentence::conclusion(self.view, result, self.width))
            .collect();
        shorten_list(&mut lines, LIST_MAX);
        lines
    }

    /// Each edge case in one sentence, the most telling first.
    fn edge_cases(&self) -> Vec<Line> {
        let names = |test| self.view.test_name(test).to_owned();
        let cases = most_telling_first(self.view.edge_cases.values());
        let told = cases.iter().take(self.cases_max).enumerate();
        let line = |(place, case): (usize, &&Case)| {
            let label = if place == 0 { "edge cases" } else { "" };
            let sentence = sentence_of(case, &names);
            labelled(Tone::Odd, label)
                .say(Tone::Name, case.case.to_string())
                .plain(format!("  {sentence}"))
        };
        let mut lines = Vec::new();
        for (place, case) in told {
            lines.push(line((place, case)));
            // Of a campaign for cases alone, what was asked and what was reached is the result.
            let told = usize::from(case.verdict == Some(CaseVerdict::NotTried));
            let remarks = case.remarks.iter().skip(told);
            let remarks = remarks.filter(|_| self.view.is_for_cases());
            lines.extend(remarks.map(|remark| {
                labelled(Tone::Faint, "").say(Tone::Faint, words::printable(remark))
            }));
        }
        let rest = cases.len().saturating_sub(self.cases_max) as u64;
        if rest > 0 {
            let more = format!("and {} more: cohort show", words::number(rest));
            lines.push(labelled(Tone::Faint, "").say(Tone::Faint, more));
        } else if let Some(first) = cases.first() {
            let how = format!("cohort show {}, for all that is known of it", first.case);
            lines.push(labelled(Tone::Faint, "").say(Tone::Faint, how));
        }
        lines
    }

    /// Tests that ended and left processes running, which were killed.
    fn left_behind(&self) -> Vec<Line> {
        let room = self.room_beside(32);
        let mut lines: Vec<Line> = self
            .view
            .results()
            .filter_map(|result| Some((result, self.view.deciding_end(result)?.left_behind)))
            .filter(|(_, processes)| *processes > 0)
            .map(|(result, processes)| {
                let name = words::shorten(self.view.test_name(result.test), room);
                let processes = words::counted(u64::from(processes), "process");
                labelled(Tone::Odd, "left running")
                    .say(Tone::Strong, name)
                    .say(Tone::Faint, format!("  {processes}, killed when it ended"))
            })
            .collect();
        shorten_list(&mut lines, TOP);
        lines
    }

    fn extremes(&self) -> Vec<Line> {
        if self.view.elapsed_us(self.view.at()) < DETAILS_FROM_US {
            return Vec::new();
        }
        let used = |result: &TestResult| self.view.deciding_end(result).map(|end| end.usage);
        let mut walls: Vec<(u64, TestId)> = self
            .view
            .results()
            .filter_map(|result| Some((used(result)?.wall_us, result.test)))
            .collect();
        let mut memories: Vec<(u64, TestId)> = self
            .view
            .results()
            .filter_map(|result| Some((used(result)?.memory_peak, result.test)))
            .filter(|(peak, _)| *peak >= HEAVY_FROM_BYTES)
            .collect();
        let mut lines = self.top("slowest", &mut walls, words::duration);
        lines.extend(self.top("heaviest", &mut memories, words::bytes));
        lines
    }

    fn top(&self, label: &str, values: &mut [(u64, TestId)], say: fn(u64) -> String) -> Vec<Line> {
        values.sort_unstable_by_key(|(value, test)| (Reverse(*value), *test));
        let room = self.room_beside(12);
        let line = |(place, (value, test)): (usize, &(u64, TestId))| {
            let label = if place == 0 { label } else { "" };
            let name = words::shorten(self.view.test_name(*test), room);
            labelled(Tone::Faint, label).plain(format!("{:>9}  {name}", say(*value)))
        };
        values.iter().take(TOP).enumerate().map(line).collect()
    }

    /// What calls for a look, strongest first. That tests compute or wait is no news: it is counted
    /// only by what was done about it.
    fn findings(&self) -> Vec<Line> {
        let mut noted: Vec<_> = self
            .view
            .findings
            .values()
            .filter(|noted| {
                let kind = noted.strongest.kind;
                !matches!(kind, FindingKind::CpuSaturation | FindingKind::Waiting)
            })
            .collect();
        noted.sort_by(|a, b| b.strongest.confidence.total_cmp(&a.strongest.confidence));
        let mut lines: Vec<Line> = noted
            .into_iter()
            .map(|noted| labelled(Tone::Odd, "found").plain(sentence::finding(self.view, noted)))
            .collect();
        shorten_list(&mut lines, TOP);
        lines
    }

    fn adapted(&self) -> Option<Line> {
        let lanes = lanes(self.view)?;
        let saved = saved(self.view);
        if self.view.concurrency_max <= lanes && saved.is_none() && self.view.hand_overs == 0 {
            return None;
        }
        let at_once = words::counted(self.view.concurrency_max as u64, "test");
        let mut text = format!(
            "up to {at_once} at once on {}",
            words::counted(lanes as u64, "core")
        );
        if self.view.hand_overs > 0 {
            let times = words::counted(self.view.hand_overs as u64, "test");
            text.push_str(&format!(", {times} handed over while running"));
        }
        if let Some(saved) = saved {
            let share = 100 - saved.taken_us * 100 / saved.fixed_us.max(1);
            text.push_str(&format!(
                "; {share} % less time than {} would take (estimate: {} against {})",
                words::counted(saved.lanes as u64, "fixed lane"),
                words::duration(saved.taken_us),
                words::duration(saved.fixed_us),
            ));
        }
        Some(labelled(Tone::Faint, "adapted").plain(text))
    }

    /// Said when it cost or lost something, or when the campaign was long.
    fn collector(&self) -> Option<Line> {
        let collector = self.view.collector;
        let elapsed_us = self.view.elapsed_us(self.view.at()).max(1);
        let share = collector.cpu_us as f64 / elapsed_us as f64;
        let short = elapsed_us < DETAILS_FROM_US && share < 0.01;
        if collector.readings == 0 || collector.dropped == 0 && short {
            return None;
        }
        let dropped = match collector.dropped {
            0 => "none dropped".to_owned(),
            dropped => format!("{} dropped", words::number(dropped)),
        };
        let readings = words::counted(collector.readings, "reading");
        let cost = words::decimal((share * 10_000.0).round() / 100.0);
        let text = format!("{readings}, {dropped}, {cost} % of a core");
        Some(labelled(Tone::Faint, "telemetry").plain(text))
    }

    fn missing(&self) -> Option<Line> {
        let missing = &self.view.start.as_ref()?.missing;
        let text = match missing.as_slice() {
            [] => return None,
            [one] => format!(
                "{}; see `cohort doctor`",
                words::printable(one).trim_end_matches('.')
            ),
            more => format!(
                "{} things this host cannot do here; see `cohort doctor`",
                more.len()
            ),
        };
        Some(labelled(Tone::Odd, "missing").plain(text))
    }

    fn next(&self) -> Option<Line> {
        if self.running || self.view.is_for_cases() {
            return None;
        }
        let unfinished = self.view.not_run() + self.view.counts.aborted > 0;
        let command = if self.view.total() > 0 && unfinished {
            "cohort resume, to run what is left"
        } else if self.view.failures.len() > FAILURES_IN_FULL {
            "cohort show --junit FILE, for the output of every failure"
        } else {
            return None;
        };
        Some(labelled(Tone::Faint, "next").plain(command))
    }

    fn ending(&self) -> Option<Line> {
        let end = self.view.end.as_ref()?;
        let message = end.message.as_deref().map(words::printable);
        let (label, what) = match end.ending {
            Ending::Complete => {
                let code = end.suite_exit?;
                let what =
                    format!("exit code {code} of the suite's own runner; its reasons stand above");
                ("no test failed", what)
            }
            Ending::Interrupted => ("interrupted", message?),
            Ending::Broken => ("broken off", message.unwrap_or_default()),
        };
        Some(labelled(Tone::Bad, label).plain(what))
    }

    /// Of a campaign that is for edge cases alone: how often what was run, and what came of it.
    fn verdict_of_cases(&self) -> Line {
        let totals = self.view.edge_cases.values().map(total);
        let (runs, failed) = totals.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let ending = self.view.end.as_ref().map(|end| end.ending);
        let (tone, label) = match ending {
            _ if self.running => (Tone::Odd, "running"),
            _ if failed > 0 => (Tone::Bad, "failed"),
            Some(Ending::Broken) | None => (Tone::Bad, "unfinished"),
            Some(Ending::Interrupted) => (Tone::Bad, "interrupted"),
            Some(Ending::Complete) => (Tone::Good, "passed"),
        };
        let (of, elapsed) = (
            words::counted(runs, "run"),
            self.view.elapsed_us(self.view.at()),
        );
        let text = format!("{of}: {} failed", words::number(failed));
        labelled(tone, label)
            .say(Tone::Strong, text)
            .plain(format!("; took {}", words::duration(elapsed)))
    }

    fn verdict(&self) -> Line {
        let view = self.view;
        if view.is_for_cases() {
            return self.verdict_of_cases();
        }
        let ending = view.end.as_ref().map(|end| end.ending);
        let (tone, label) = match ending {
            _ if self.running => (Tone::Odd, "running"),
            _ if view.counts.failures() > 0 => (Tone::Bad, "failed"),
            Some(Ending::Complete) if view.total() == 0 => (Tone::Odd, "no tests"),
            Some(Ending::Complete) if view.failed() => (Tone::Bad, "failed"),
            Some(Ending::Complete) => (Tone::Good, "passed"),
            Some(Ending::Interrupted) => (Tone::Bad, "interrupted"),
            Some(Ending::Broken) | None => (Tone::Bad, "unfinished"),
        };
        let elapsed = words::duration(view.elapsed_us(view.at()));
        let cpu = words::duration(view.cpu_us);
        let mut line = labelled(tone, label).say(Tone::Strong, self.counts());
        line = line.plain(format!("; took {elapsed}"));
        if view.cpu_us > 0 {
            line = line.plain(format!(", {cpu} of CPU"));
        }
        let preparing_us = view.start.as_ref().map_or(0, |start| start.preparing_us);
        if preparing_us >= PREPARING_FROM_US {
            let preparing = words::duration(preparing_us);
            line = line.plain(format!(", after {preparing} of building and listing"));
        }
        line
    }

    /// `40 tests: 37 passed, 2 failed, 1 skipped`.
    fn counts(&self) -> String {
        let Counts {
            passed,
            failed,
            expected_failures,
            skipped,
            crashed,
            timed_out,
            out_of_memory,
            aborted,
        } = self.view.cases;
        let strict = self.view.start.as_ref().is_some_and(|start| start.strict);
        let sensitive = match self.view.load_sensitive.len() {
            0 => String::new(),
            count if strict => format!(" ({count} load-sensitive: fails with --strict)"),
            count => format!(" ({count} load-sensitive)"),
        };
        let not_run = if self.running { "to go" } else { "not run" };
        let passed_label = format!("passed{sensitive}");
        let once = self.view.failed_once.len();
        let counts = [
            (failed, "failed"),
            (crashed, "crashed"),
            (timed_out, "timed out"),
            (out_of_memory, "out of memory"),
            (aborted, "stopped"),
            (passed, passed_label.as_str()),
            (expected_failures, "failed as expected"),
            (skipped, "skipped"),
            (once, "failed once"),
            (self.view.not_run() - once, not_run),
        ];
        let counts: Vec<String> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{} {what}", words::number(*count as u64)))
            .collect();
        let total = self.view.cases.concluded() + self.view.not_run();
        let total = words::counted(total as u64, "test");
        if counts.is_empty() {
            total
        } else {
            format!("{total}: {}", counts.join(", "))
        }
    }
}

/// The output of a test that is shown whatever came of it, with its name.
///
/// # Errors
/// What the writer reports.
pub fn output_of(
    view: &View,
    result: &TestResult,
    output: &Output,
    color: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let name = words::printable(view.test_name(result.test));
    let verdict = sentence::verdict(result.verdict);
    let line = labelled(Tone::Faint, "output")
        .say(Tone::Strong, name)
        .say(Tone::Faint, format!("  {verdict}"));
    writeln!(out, "{}", line.render(usize::MAX, color))?;
    write_output(output, usize::MAX, color, out)
}

/// What a test wrote, at most the last `lines_max` lines of each stream.
fn write_output(
    output: &Output,
    lines_max: usize,
    color: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    for text in [&output.stdout, &output.stderr] {
        let text = text.trim_end();
        if text.is_empty() {
            continue;
        }
        let lines: Vec<&str> = text.lines().collect();
        let left_out = lines.len().saturating_sub(lines_max);
        if left_out > 0 {
            let note = format!("({} before)", words::counted(left_out as u64, "line"));
            let note = Line::new().plain("    ").say(Tone::Faint, note);
            writeln!(out, "{}", note.render(usize::MAX, color))?;
        }
        for line in &lines[left_out..] {
            writeln!(out, "    {}", words::tame(line, color))?;
        }
    }
    writeln!(out)
}

/// Keeps the first `most` lines and counts the others.
fn shorten_list(lines: &mut Vec<Line>, most: usize) {
    let more = lines.len().saturating_sub(most);
    if more > 0 {
        lines.truncate(most);
        lines.push(labelled(Tone::Faint, "").say(Tone::Faint, format!("and {more} more")));
    }
}

#[cfg(test)]
mod tests {
    use cohort_model::{Record, ThreadId, Verdict};
    use proptest::prelude::*;

    use super::*;
    use crate::scenario::{self, Scenario};

    fn outputs(thread: ThreadId) -> Option<Output> {
        let stdout = format!("running {thread}\n\u{1b}[31mthread panicked\u{1b}[0m\u{7}\n");
        Some(Output {
            stdout,
            stderr: String::new(),
        })
    }

    fn lines(view: &View) -> Vec<String> {
        text(view).lines().map(str::to_owned).collect()
    }

    fn text(view: &View) -> String {
        text_in(view, 100)
    }

    fn text_in(view: &View, width: usize) -> String {
        let mut out = Vec::new();
        let summary = Summary {
            view,
            outputs: &outputs,
            directory: ".cohort/campaigns/2026-01-01-a",
            running: false,
            cases_max: 10,
            page: None,
            width,
            color: false,
        };
        summary.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_small_campaign_that_passed() {
        let scenario =
            Scenario::new(&["a", "b"])
                .run(0, Verdict::Passed, 1)
                .run(1, Verdict::Passed, 1);
        assert_eq!(
            lines(&scenario.complete().view()),
            [
                "record         .cohort/campaigns/2026-01-01-a",
                "passed         2 tests: 2 passed; took 2.00 s, 1.00 s of CPU",
            ]
        );
    }

    #[test]
    fn a_mixed_campaign() {
        assert_eq!(
            lines(&scenario::view(&scenario::mixed())),
            [
                "failed         parse::bad  exit code 101, 2.00 s  assertion failed: 1 == 2",
                "    running t1",
                "    thread panicked\\u{7}",
                "",
                "crashed        net::crash  SIGSEGV (signal 11), 1.00 s",
                "    running t2",
                "    thread panicked\\u{7}",
                "",
                "load-sensitive net::crowded  failed with 5 threads beside it, passed alone",
                "tried again    big  killed for memory, passed on the largest allotment",
                "slowest           4.00 s  big",
                "                  2.00 s  parse::bad",
                "                  1.00 s  parse::ok",
                "                  1.00 s  net::crowded",
                "                  1.00 s  net::crash",
                "heaviest         900 MiB  big",
                "found          memory leak in i0 (parse::bad): growth 1.5 MiB/s, p 0.003; confidence 97 %",
                "adapted        up to 1 test at once on 2 cores, 1 test handed over while running",
                "telemetry      1,204 readings, none dropped, 0.11 % of a core",
                "record         .cohort/campaigns/2026-01-01-a",
                "next           cohort resume, to run what is left",
                "interrupted    stopped by Ctrl-C",
                "failed         7 tests: 1 failed, 1 crashed, 3 passed (1 load-sensitive), 1 skipped, 1 not run; took 11.0 s, 5.50 s of CPU",
            ]
        );
    }

    #[test]
    fn adaptation_is_said_with_its_estimate() {
        let names = ["a", "b", "c", "d", "e", "f"];
        let mut scenario = Scenario::new(&names);
        scenario.sleep_all_at_once(10_000_000);
        scenario.pressure(1_000_000);
        assert_eq!(
            lines(&scenario.complete().view()),
            [
                "slowest           10.0 s  a",
                "                  10.0 s  b",
                "                  10.0 s  c",
                "                  10.0 s  d",
                "                  10.0 s  e",
                "adapted        up to 6 tests at once on 2 cores; 67 % less time than 2 fixed lanes would take (estimate: 10.0 s against 29.5 s)",
                "telemetry      1,204 readings, none dropped, 0.2 % of a core",
                "record         .cohort/campaigns/2026-01-01-a",
                "passed         6 tests: 6 passed; took 10.0 s",
            ]
        );
    }

    #[test]
    fn missing_and_parts() {
        let mut records = Scenario::new(&["doc"])
            .whole(
                0,
                Verdict::Passed,
                &[("a", Verdict::Passed), ("b", Verdict::Passed)],
            )
            .complete()
            .records;
        if let Record::Started(start) = &mut records[0] {
            start.missing = vec!["no cgroup can be made here.".to_owned()];
        }
        assert_eq!(
            lines(&scenario::view(&records)),
            [
                "missing        no cgroup can be made here; see `cohort doctor`",
                "record         .cohort/campaigns/2026-01-01-a",
                "passed         2 tests: 2 passed; took 1.00 s, 500 ms of CPU",
            ]
        );
    }

    #[test]
    fn a_load_sensitive_test_fails_a_strict_campaign() {
        let mut scenario = Scenario::new(&["a"]);
        let thread = scenario.start(0, 0, cohort_model::Reason::Static);
        let passed = scenario::result(0, Verdict::Passed, &[thread]);
        scenario.conclude(TestResult {
            load_sensitive: true,
            ..passed
        });
        let mut records = scenario.complete().records;
        let verdict = |records: &[Record]| lines(&scenario::view(records)).pop().unwrap();
        assert_eq!(
            verdict(&records),
            "passed         1 test: 1 passed (1 load-sensitive); took 0 s"
        );
        if let Record::Started(start) = &mut records[0] {
            start.strict = true;
        }
        let strict =
            "failed         1 test: 1 passed (1 load-sensitive: fails with --strict); took 0 s";
        assert_eq!(verdict(&records), strict);
    }

    #[test]
    fn more_failures_than_are_shown_in_full() {
        let many = FAILURES_IN_FULL as u32 + 1;
        let names: Vec<String> = (0..many).map(|number| format!("t{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let scenario = (0..many).fold(Scenario::new(&names), |scenario, test| {
            scenario.run(test, Verdict::Failed, 1)
        });
        let lines = lines(&scenario.complete().view());
        let next = "next           cohort show --junit FILE, for the output of every failure";
        assert!(lines.iter().any(|line| line == next), "{lines:?}");
    }

    #[test]
    fn a_name_is_seen_in_a_narrow_terminal() {
        let name = "module::a_test_with_a_long_name";
        let mut scenario = Scenario::new(&[name]).run(0, Verdict::Passed, 20);
        scenario.ends().for_each(|end| end.left_behind = 2);
        let text = text_in(&scenario.complete().view(), 30);
        for line in [
            "left running   mod…ong_name  2 processes, killed when it ended",
            "slowest           20.0 s  mod…ong_name",
        ] {
            assert!(text.lines().any(|other| other == line), "{text}");
        }
    }

    #[test]
    fn no_tests() {
        assert_eq!(
            lines(&Scenario::new(&[]).complete().view()),
            [
                "record         .cohort/campaigns/2026-01-01-a",
                "no tests       0 tests; took 0 s",
            ]
        );
    }

    proptest! {
        #[test]
        fn no_name_and_no_message_breaks_a_line(name in any::<String>(), message in any::<String>()) {
            let mut scenario = Scenario::new(&[&name]).run(0, Verdict::Failed, 1);
            scenario.ends().for_each(|end| end.message = Some(message.clone()));
            let text = text(&scenario.complete().view());
            prop_assert_eq!(text.lines().count(), 6, "{}", text);
            prop_assert!(text.lines().all(|line| words::width(line) <= 340), "{}", text);
        }
    }
}
