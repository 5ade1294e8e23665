//! A dossier in a terminal: one page, at most 100 columns.

use std::io::{self, Write};

use super::dossier::{Dossier, Excerpt};
use super::numbers::{degree, interval};
use super::table::{BAR_COLUMNS, Row, Table, bar, runs};
use super::wrap::wrap;
use crate::line::{Line, Tone};
use crate::sentence::{LABEL_COLUMNS, labelled};
use crate::words;

/// Columns at most, however wide the terminal is.
const COLUMNS_MAX: usize = 100;
/// Rows of the table at most.
const ROWS_MAX: usize = 14;
/// Columns of what was run, in the table.
const WHAT_COLUMNS_MAX: usize = 38;
const WHAT_COLUMNS_MIN: usize = 12;
/// Suspects at most, and the least score they have, as a share of the highest.
const SUSPECTS_MAX: usize = 5;
/// Lines of a command that is to be typed, at most: a longer one is copied from elsewhere.
const TYPED_LINES_MAX: usize = 8;
/// Functions at most.
const FUNCTIONS_MAX: usize = 3;
const SUSPECT_SHARE: f64 = 0.7;
/// Columns of `41 of 50`.
const RUNS_COLUMNS: usize = 12;
/// Columns of `  69 to 91 %`.
const INTERVAL_COLUMNS: usize = 16;

impl Dossier {
    /// Writes it for a terminal of so many columns.
    ///
    /// # Errors
    /// What the writer reports.
    pub fn write(&self, columns: usize, color: bool, out: &mut dyn Write) -> io::Result<()> {
        let page = Page {
            dossier: self,
            columns: columns.clamp(LABEL_COLUMNS + 24, COLUMNS_MAX),
        };
        for line in page.lines() {
            writeln!(out, "{}", line.render(page.columns, color))?;
        }
        Ok(())
    }
}

struct Page<'a> {
    dossier: &'a Dossier,
    columns: usize,
}

impl Page<'_> {
    fn lines(&self) -> Vec<Line> {
        let dossier = self.dossier;
        let mut lines = self.section(&dossier.case.case.to_string(), Tone::Strong, |_| {
            vec![(Tone::Strong, format!("{}.", dossier.sentence()))]
        });
        let told = |texts: Vec<String>| {
            move |_: &Dossier| texts.into_iter().map(|text| (Tone::Plain, text)).collect()
        };
        lines.extend(self.section("seen", Tone::Faint, told(dossier.seen())));
        lines.extend(self.table());
        lines.extend(self.section("begins", Tone::Faint, told(dossier.thresholds())));
        lines.extend(self.repro());
        lines.extend(self.suspects());
        lines.extend(self.functions());
        lines.extend(self.evidence());
        lines.extend(self.section("remarks", Tone::Faint, told(dossier.remarks())));
        lines
    }

    /// Texts that are wrapped, beside one label; nothing when there are none.
    fn section(
        &self,
        label: &str,
        tone: Tone,
        texts: impl FnOnce(&Dossier) -> Vec<(Tone, String)>,
    ) -> Vec<Line> {
        let room = self.columns - LABEL_COLUMNS;
        let texts = texts(self.dossier).into_iter();
        let wrapped = texts.flat_map(|(tone, text)| {
            let lines = wrap(&text, room).into_iter();
            lines.map(move |line| (tone, line))
        });
        let put = |(place, (of, text)): (usize, (Tone, String))| {
            let label = if place == 0 { label } else { "" };
            labelled(tone, label).say(of, text)
        };
        wrapped.enumerate().map(put).collect()
    }

    fn table(&self) -> Vec<Line> {
        let Table { rows, rest } = self.dossier.table(ROWS_MAX);
        let others = LABEL_COLUMNS + BAR_COLUMNS + RUNS_COLUMNS + 3 + INTERVAL_COLUMNS;
        let room = self.columns.saturating_sub(others);
        let room = room.clamp(WHAT_COLUMNS_MIN, WHAT_COLUMNS_MAX);
        let label = |row: &Row| match words::width(&row.label) <= room {
            true => row.label.clone(),
            false => row.short.clone(),
        };
        let widest = rows.iter().map(|row| words::width(&label(row))).max();
        let what = widest.unwrap_or(0).min(room);
        let mut lines = Vec::new();
        for (place, row) in rows.iter().enumerate() {
            let label = words::shorten(&label(row), what);
            let gap = " ".repeat(what.saturating_sub(words::width(&label)));
            let (sure, maybe, none) = bar(&row.rate);
            let tone = if row.control { Tone::Name } else { Tone::Plain };
            let heading = if place == 0 { "how often" } else { "" };
            let line = labelled(Tone::Faint, heading)
                .say(tone, label)
                .plain(format!("{gap} {:>RUNS_COLUMNS$}  ", runs(row)))
                .say(Tone::Bad, "█".repeat(sure))
                .say(Tone::Faint, "▒".repeat(maybe))
                .plain(" ".repeat(none))
                .say(Tone::Faint, format!("  {}", interval(&row.rate)));
            lines.push(line);
        }
        let indent = " ".repeat(LABEL_COLUMNS);
        let notes = rest.into_iter().chain(
            (!rows.is_empty())
                .then(|| "█ at least so often, ▒ possibly, each with 95 % confidence".to_owned()),
        );
        lines.extend(notes.map(|note| Line::new().say(Tone::Faint, format!("{indent}{note}"))));
        lines
    }

    fn repro(&self) -> Vec<Line> {
        let mut texts = Vec::new();
        if let Some(smallest) = self.dossier.smallest() {
            texts.push((Tone::Name, self.dossier.command()));
            texts.extend(smallest.into_iter().map(|text| (Tone::Plain, text)));
        } else if self.dossier.case.symptom.is_some() {
            texts.push((Tone::Name, self.dossier.command()));
            let as_it_was = "runs it as it was at first".to_owned();
            texts.push((Tone::Plain, as_it_was));
        }
        let mut lines = self.section("again", Tone::Faint, |_| texts);
        if let Some(by_hand) = &self.dossier.by_hand {
            lines.extend(self.typed("by hand", by_hand));
        }
        let indent = " ".repeat(LABEL_COLUMNS);
        // Lines that are to be typed are not broken.
        lines.extend(self.dossier.requests.iter().map(|request| {
            Line::new().say(
                Tone::Faint,
                format!("{indent}{}", words::printable(request)),
            )
        }));
        lines
    }

    /// A command over as many lines as it needs, which can be typed as they stand.
    fn typed(&self, label: &str, command: &str) -> Vec<Line> {
        let command = words::printable(command);
        let room = self.columns - LABEL_COLUMNS;
        // Within quotes a line end would be part of a word.
        let lines = match command.contains('\'') {
            true => vec![command],
            false => wrap(&command, room - 2),
        };
        if lines.len() > TYPED_LINES_MAX {
            let case = self.dossier.case.case;
            let text = format!("a long command: `cohort show {case} --markdown` has it");
            return vec![labelled(Tone::Faint, label).say(Tone::Faint, text)];
        }
        let last = lines.len().saturating_sub(1);
        let put = |(place, line): (usize, String)| {
            let label = if place == 0 { label } else { "" };
            let more = if place < last { " \\" } else { "" };
            labelled(Tone::Faint, label).plain(format!("{line}{more}"))
        };
        lines.into_iter().enumerate().map(put).collect()
    }

    fn suspects(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let all = self.dossier.suspects.iter();
        let first = self.dossier.suspects.first();
        let least = first.map_or(0.0, |first| first.suspect.score * SUSPECT_SHARE);
        let shown = all.filter(|excerpt| excerpt.suspect.score >= least);
        for (place, excerpt) in shown.take(SUSPECTS_MAX).enumerate() {
            let label = if place == 0 { "suspects" } else { "" };
            let head = labelled(Tone::Faint, label)
                .plain(format!("{:>2}. ", place + 1))
                .say(Tone::Strong, excerpt.place())
                .say(Tone::Faint, format!("  {:.2}", excerpt.suspect.score));
            lines.push(head);
            lines.extend(source(excerpt));
        }
        if let Some(why) = self.dossier.of_backtrace() {
            let indent = " ".repeat(LABEL_COLUMNS);
            lines.push(Line::new().say(Tone::Faint, format!("{indent}{why}")));
        }
        lines
    }

    /// The most suspicious function with its source, and which come after it.
    fn functions(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let all = self.dossier.functions.iter();
        let first = self.dossier.functions.first();
        let least = first.map_or(0.0, |first| first.function.score * SUSPECT_SHARE);
        let shown = all.filter(|listing| listing.function.score >= least);
        let indent = " ".repeat(LABEL_COLUMNS);
        for (place, listing) in shown.take(FUNCTIONS_MAX).enumerate() {
            let label = if place == 0 { "functions" } else { "" };
            let head = labelled(Tone::Faint, label)
                .plain(format!("{:>2}. ", place + 1))
                .say(Tone::Strong, listing.place())
                .say(Tone::Faint, format!("  {:.2}", listing.function.score));
            lines.push(head);
            let source = listing.numbered().filter(|_| place == 0);
            lines.extend(source.map(|(line, own)| {
                let tone = if own { Tone::Plain } else { Tone::Faint };
                Line::new().say(tone, format!("{indent}{line}"))
            }));
        }
        lines
    }

    fn evidence(&self) -> Vec<Line> {
        let dossier = self.dossier;
        let mut texts: Vec<(Tone, String)> = Vec::new();
        texts.extend(dossier.message().into_iter().map(|text| (Tone::Odd, text)));
        texts.extend(dossier.frames().into_iter().map(|text| (Tone::Plain, text)));
        let mut lines = self.section("evidence", Tone::Faint, |_| texts);
        let indent = " ".repeat(LABEL_COLUMNS);
        lines.extend(dossier.output.iter().map(|line| {
            let line = words::printable(line.trim_end());
            Line::new().say(Tone::Faint, format!("{indent}| {line}"))
        }));
        for (what, path) in &dossier.places {
            lines.push(labelled(Tone::Faint, what).plain(words::printable(path)));
        }
        lines
    }
}

/// A suspect's line with those around it, marked.
fn source(excerpt: &Excerpt) -> Vec<Line> {
    let indent = " ".repeat(LABEL_COLUMNS);
    let numbered = excerpt.numbered();
    numbered
        .iter()
        .map(|(number, text, own)| {
            let (mark, tone) = if *own {
                (">", Tone::Plain)
            } else {
                (" ", Tone::Faint)
            };
            let text = words::printable(&text.replace('\t', "    "));
            Line::new().say(tone, format!("{indent}{mark}{number:>5} | {text}"))
        })
        .collect()
}

/// A threshold in words: where it still passes, and where it fails.
pub(crate) fn threshold(kind: cohort_model::ConditionKind, (passes, fails): (f64, f64)) -> String {
    format!(
        "between {}, where it passes, and {}, where it fails",
        degree(kind, passes),
        degree(kind, fails)
    )
}
