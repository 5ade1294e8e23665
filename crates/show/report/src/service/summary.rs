//! The end of a service's campaign, for a person: what was found, where and why, first.

use std::cmp::Reverse;
use std::io::{self, Write};

use cohort_model::{ChangeVerdict, Ending, ServiceFinding, ThresholdTotal};

use super::helpers;
use super::script;
use super::view::ServiceView;
use super::words::{self as own, LABEL_COLUMNS, labelled};
use crate::case::most_telling_first;
use crate::case::verdict::sentence;
use crate::line::{Line, Tone};
use crate::words;

/// Endpoints in the table.
const ENDPOINTS_MAX: usize = 15;
/// Instances in the table.
const INSTANCES_MAX: usize = 16;
/// Excerpts of one finding.
const EXCERPTS_MAX: usize = 6;
/// Characters of each error of the script.
const ERROR_CHARS_MAX: usize = 240;
/// Metrics of the script's own.
const METRICS_MAX: usize = 12;
/// Errors of the script that are named.
const ERRORS_MAX: usize = 5;

/// What the summary is made of.
pub struct ServiceSummary<'a> {
    /// The campaign.
    pub view: &'a ServiceView,
    /// Where the campaign is kept, as the user would type it.
    pub directory: &'a str,
    /// Whether the campaign is under way.
    pub running: bool,
    /// Columns of the terminal.
    pub width: usize,
    /// Whether ANSI colours may be used.
    pub color: bool,
}

impl ServiceSummary<'_> {
    /// Writes it.
    ///
    /// # Errors
    /// What the writer reports.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut lines = self.findings();
        lines.extend(self.failures());
        lines.extend(self.edge_cases());
        lines.extend(self.endpoints());
        lines.extend(self.instances());
        lines.extend(self.script());
        lines.extend(self.view.fuzz.lines());
        lines.extend(self.adapted());
        lines.extend(self.missing());
        lines.push(labelled(Tone::Faint, "record").plain(words::printable(self.directory)));
        lines.push(
            labelled(Tone::Faint, "pictures")
                .plain(format!("{}/report.html", words::printable(self.directory))),
        );
        lines.push(self.verdict());
        for line in lines {
            writeln!(out, "{}", line.render(usize::MAX, self.color))?;
        }
        Ok(())
    }

    fn findings(&self) -> Vec<Line> {
        own::in_order(self.view)
            .into_iter()
            .flat_map(|finding| self.finding(finding))
            .collect()
    }

    fn finding(&self, finding: &ServiceFinding) -> Vec<Line> {
        let tone = if finding.is_fault() {
            Tone::Bad
        } else {
            Tone::Odd
        };
        let place = finding.endpoint.map_or_else(String::new, |endpoint| {
            format!("{}  ", words::printable(self.view.endpoint(endpoint)))
        });
        let head = labelled(tone, own::kind(finding.kind))
            .say(Tone::Name, place)
            .plain(own::instances(finding))
            .say(Tone::Faint, format!("  {}", own::when(self.view, finding)));
        let indent = " ".repeat(LABEL_COLUMNS);
        let mut lines = vec![head];
        lines.push(Line::new().plain(format!("{indent}{}", words::printable(&finding.sentence))));
        for told in helpers::told(finding) {
            let text = format!("{indent}{}", words::printable(&told));
            lines.push(Line::new().say(Tone::Strong, text));
        }
        for excerpt in finding.excerpts.iter().take(EXCERPTS_MAX) {
            let text = format!("{indent}| {}", words::printable(excerpt));
            lines.push(Line::new().say(Tone::Faint, text));
        }
        lines
    }

    /// Each edge case in one sentence, the most telling first.
    fn edge_cases(&self) -> Vec<Line> {
        let cases = most_telling_first(self.view.cases.values());
        let sentences = cases.iter().enumerate().map(|(place, case)| {
            let label = if place == 0 { "edge cases" } else { "" };
            labelled(Tone::Odd, label)
                .say(Tone::Name, case.case.to_string())
                .plain(format!("  {}", sentence(case, &|test| test.to_string())))
        });
        sentences.collect()
    }

    fn failures(&self) -> Vec<Line> {
        let told = own::failures(self.view);
        let lines = told
            .iter()
            .map(|(instances, reason)| own::failed(instances, reason));
        lines.flatten().collect()
    }

    fn endpoints(&self) -> Vec<Line> {
        let mut calls: Vec<_> = self.view.calls.iter().collect();
        calls.sort_by_key(|(id, window)| (Reverse(window.calls + window.broken), **id));
        let mut lines = Vec::new();
        if !calls.is_empty() {
            lines.push(table_head("endpoints", "calls", "errors"));
        }
        for (id, window) in calls.iter().take(ENDPOINTS_MAX) {
            let errors = window.classes[4] + window.broken;
            let numbers = [0.5, 0.95, 0.99].map(|q| own::latency(window.quantile_us(q)));
            let refused = match window.classes[3] {
                0 => String::new(),
                refused => format!("  {} answered with 4xx", words::number(refused)),
            };
            lines.push(
                row(window.calls, errors, &numbers)
                    .say(Tone::Name, words::printable(self.view.endpoint(**id)))
                    .say(Tone::Faint, refused),
            );
        }
        if calls.len() > ENDPOINTS_MAX {
            let more = format!(
                "{}... and {} more",
                " ".repeat(LABEL_COLUMNS),
                calls.len() - ENDPOINTS_MAX
            );
            lines.push(Line::new().say(Tone::Faint, more));
        }
        lines
    }

    fn instances(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for (place, (id, instance)) in self.view.instances.iter().take(INSTANCES_MAX).enumerate() {
            if place == 0 {
                lines.push(table_head("instances", "calls", "errors"));
            }
            let window = &instance.calls;
            let numbers = [0.5, 0.95, 0.99].map(|q| own::latency(window.quantile_us(q)));
            let share = instance.share.map_or_else(String::new, |share| {
                format!(
                    "  {}, {}",
                    own::cores(share.cores),
                    words::bytes(share.memory)
                )
            });
            let crashes = match instance.crashes {
                0 => String::new(),
                1 => "  1 crash".to_owned(),
                crashes => format!("  {crashes} crashes"),
            };
            let line = row(window.calls, window.classes[4] + window.broken, &numbers)
                .say(Tone::Name, id.to_string())
                .plain(format!(
                    "  {}{share}",
                    words::printable(&own::purpose(self.view, &instance.purpose))
                ))
                .say(Tone::Bad, crashes);
            let is_idle = instance.failure.is_none() && window.calls + window.broken == 0;
            let idle = if is_idle && self.view.calls_total().0 > 0 {
                "  never called: there are fewer threads than instances"
            } else {
                ""
            };
            lines.push(line.say(Tone::Odd, idle));
        }
        lines
    }

    fn script(&self) -> Vec<Line> {
        let Some(totals) = &self.view.totals else {
            return Vec::new();
        };
        let mut lines = Vec::new();
        for check in &totals.checks {
            let all = check.passed + check.failed;
            let (tone, label) = if check.failed > 0 {
                (Tone::Bad, "check failed")
            } else {
                (Tone::Good, "check held")
            };
            let count = if check.failed > 0 {
                check.failed
            } else {
                check.passed
            };
            let share = format!("{} of {}  ", words::number(count), words::number(all));
            lines.push(
                labelled(tone, label)
                    .plain(share)
                    .say(Tone::Name, words::printable(&check.name)),
            );
        }
        lines.extend(totals.thresholds.iter().map(threshold));
        for metric in script::own_metrics(totals).take(METRICS_MAX) {
            let line = labelled(Tone::Faint, &metric.kind);
            let line = line.say(Tone::Name, words::printable(&metric.name));
            lines.push(line.plain(format!("  {}", script::values(metric))));
        }
        for (error, count) in totals.errors.iter().take(ERRORS_MAX) {
            let line = labelled(Tone::Bad, "error").plain(format!(
                "{} x {}",
                words::number(*count),
                cut(&words::printable(error))
            ));
            lines.push(line);
        }
        if totals.dropped_iterations > 0 {
            let dropped = words::counted(totals.dropped_iterations, "iteration");
            lines.push(labelled(Tone::Odd, "dropped").plain(format!(
                "{dropped} found no free thread in time: raise maxVUs"
            )));
        }
        lines
    }

    fn adapted(&self) -> Vec<Line> {
        let view = self.view;
        let mut lines = Vec::new();
        if view.handed_over > 0 {
            let pause = |q| match view.pause_us(q) {
                Some(0) => "below 1 us".to_owned(),
                pause => own::latency(pause),
            };
            lines.push(labelled(Tone::Faint, "handed over").plain(format!(
                "{} to better suited instances; pause p50 {}, p99 {}",
                words::counted(view.handed_over, "thread"),
                pause(0.5),
                pause(0.99)
            )));
        }
        if !view.changes.is_empty() {
            let count = |verdict| view.changes_that(verdict);
            lines.push(labelled(Tone::Faint, "adapted").plain(format!(
                "{}: {} kept, {} undone, {} unclear",
                words::counted(view.changes.len() as u64, "change"),
                count(ChangeVerdict::Kept),
                count(ChangeVerdict::Undone),
                count(ChangeVerdict::Unclear) + count(ChangeVerdict::Pending),
            )));
        }
        if let Some(totals) = view
            .totals
            .as_ref()
            .filter(|totals| totals.driver_cpu_us > 0)
        {
            lines.push(labelled(Tone::Faint, "driver").plain(format!(
                "{} of CPU, itself late by {} (p99)",
                words::duration(totals.driver_cpu_us),
                words::duration(totals.driver_lag_p99_us)
            )));
        }
        lines
    }

    fn missing(&self) -> Vec<Line> {
        let missing = self.view.start.iter().flat_map(|start| &start.missing);
        missing
            .map(|line| labelled(Tone::Odd, "missing").plain(words::printable(line)))
            .collect()
    }

    fn verdict(&self) -> Line {
        let view = self.view;
        let (calls, broken) = view.calls_total();
        let faults = view.faults().count() as u64;
        let failures = view.failures();
        let (tone, word) = match &view.end {
            None if self.running => (Tone::Odd, "under way"),
            None => (Tone::Odd, "unfinished"),
            Some(end) => match end.ending {
                Ending::Broken => (Tone::Bad, "broken"),
                Ending::Interrupted => (Tone::Odd, "stopped"),
                Ending::Complete if faults > 0 => (Tone::Bad, "found"),
                Ending::Complete if !failures.is_empty() => (Tone::Bad, "failed"),
                Ending::Complete => (Tone::Good, "nothing found"),
            },
        };
        let mut line = labelled(tone, word);
        if faults > 0 {
            line = line.say(Tone::Bad, format!("{}; ", words::counted(faults, "fault")));
        }
        for failure in failures {
            line = line.say(Tone::Bad, format!("{failure}; "));
        }
        let lost = if broken > 0 {
            format!(", {} without an answer", words::number(broken))
        } else {
            String::new()
        };
        // What a driver program calls is not seen.
        let iterations = words::counted(view.iterations, "iteration");
        let done = match calls + broken {
            0 if view.iterations > 0 => iterations,
            _ => format!("{} and {iterations}", words::counted(calls, "call")),
        };
        line = line.plain(format!(
            "{done}{lost} on {} in {}",
            words::counted(view.instances.len() as u64, "instance"),
            words::duration(view.at().0 / 10_000 * 10_000)
        ));
        let unmet = view.totals.iter().flat_map(|totals| &totals.checks);
        let unmet = unmet.filter(|check| check.failed > 0).count() as u64;
        if unmet > 0 && faults == 0 {
            line = line.plain(format!(
                "; {} did not always hold",
                words::counted(unmet, "check")
            ));
        }
        match view.end.as_ref().and_then(|end| end.message.as_ref()) {
            Some(message) => line.plain(format!("; {}", words::printable(message))),
            None => line,
        }
    }
}

/// An error message can be a letter.
fn cut(text: &str) -> String {
    let short: String = text.chars().take(ERROR_CHARS_MAX).collect();
    if short.len() < text.len() {
        short + " ..."
    } else {
        short
    }
}

fn table_head(label: &str, calls: &str, errors: &str) -> Line {
    let columns = format!(
        "{calls:>9} {errors:>7} {:>8} {:>8} {:>8}",
        "p50", "p95", "p99"
    );
    labelled(Tone::Faint, label).say(Tone::Faint, columns)
}

fn row(calls: u64, errors: u64, [p50, p95, p99]: &[String; 3]) -> Line {
    let line = Line::new().plain(format!(
        "{}{:>9} ",
        " ".repeat(LABEL_COLUMNS),
        words::number(calls)
    ));
    let tone = if errors > 0 { Tone::Bad } else { Tone::Plain };
    line.say(tone, format!("{:>7}", words::number(errors)))
        .plain(format!(" {p50:>8} {p95:>8} {p99:>8}  "))
}

fn threshold(threshold: &ThresholdTotal) -> Line {
    let (tone, label) = if threshold.held {
        (Tone::Good, "threshold held")
    } else {
        (Tone::Bad, "threshold missed")
    };
    let value = threshold
        .value
        .map_or_else(|| "nothing was measured".to_owned(), words::decimal);
    labelled(tone, label)
        .say(Tone::Name, words::printable(&threshold.metric))
        .plain(format!(
            " {}: {value}",
            words::printable(&threshold.expression)
        ))
}
