//! A dossier in Markdown (`CommonMark` with the tables of GitHub), to paste into an issue.

use std::fmt::Write;

use super::dossier::Dossier;
use super::numbers::{interval, percent};
use super::table::{Table, runs};
use crate::words;

/// Rows of the table at most.
const ROWS_MAX: usize = 30;

impl Dossier {
    /// The page.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = format!("# {}\n\n{}.\n", self.case.case, prose(&self.sentence()));
        for text in self.seen() {
            let _ = writeln!(out, "\n{}", sentence(&text));
        }
        self.table_in(&mut out);
        list(&mut out, "What matters", &self.causes());
        list(&mut out, "Where it begins", &self.thresholds());
        self.again_in(&mut out);
        self.suspects_in(&mut out);
        self.functions_in(&mut out);
        self.evidence_in(&mut out);
        list(&mut out, "Remarks", &self.remarks());
        out
    }

    fn table_in(&self, out: &mut String) {
        let Table { rows, rest } = self.table(ROWS_MAX);
        if rows.is_empty() {
            return;
        }
        out.push_str("\n## How often\n\n| condition | failed | rate | 95 % interval |\n| --- | --: | --: | --- |\n");
        for row in &rows {
            let rate = f64::from(row.rate.failed) / f64::from(row.rate.runs.max(1));
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} |",
                prose(&row.label).replace('|', "\\|"),
                runs(row),
                percent(rate),
                interval(&row.rate)
            );
        }
        if let Some(rest) = rest {
            let _ = writeln!(out, "\n{}.", capital(&rest));
        }
    }

    fn again_in(&self, out: &mut String) {
        if self.case.symptom.is_none() {
            return;
        }
        out.push_str("\n## Again\n\n");
        fenced(out, "console", &format!("$ {}", self.command()));
        for text in self.smallest().unwrap_or_default() {
            let _ = writeln!(out, "\n{}", sentence(&text));
        }
        if let Some(by_hand) = &self.by_hand {
            out.push_str("\nBy hand:\n\n");
            fenced(out, "console", &format!("$ {}", words::printable(by_hand)));
        }
        if !self.requests.is_empty() {
            let lines: Vec<String> = self
                .requests
                .iter()
                .map(|it| words::printable(it))
                .collect();
            out.push_str("\nRequests:\n\n");
            fenced(out, "console", &lines.join("\n"));
        }
    }

    fn suspects_in(&self, out: &mut String) {
        if self.suspects.is_empty() {
            return;
        }
        out.push_str("\n## Suspects\n");
        out.extend(self.of_backtrace().map(|it| format!("\n{it}\n")));
        for (place, excerpt) in self.suspects.iter().enumerate() {
            let _ = writeln!(
                out,
                "\n{}. {} (score {:.2})\n",
                place + 1,
                code(&excerpt.place()),
                excerpt.suspect.score
            );
            let lines = excerpt.numbered().into_iter().map(|(number, text, own)| {
                let mark = if own { '>' } else { ' ' };
                format!("{mark}{number:>5} | {}", tame(text))
            });
            let lines: Vec<String> = lines.collect();
            if !lines.is_empty() {
                fenced(out, "", &lines.join("\n"));
            }
        }
    }

    fn functions_in(&self, out: &mut String) {
        if self.functions.is_empty() {
            return;
        }
        out.push_str("\n## Suspicious functions\n");
        for (place, listing) in self.functions.iter().enumerate() {
            let _ = writeln!(
                out,
                "\n{}. {} (score {:.2})\n",
                place + 1,
                code(&listing.place()),
                listing.function.score
            );
            let lines: Vec<String> = listing.numbered().map(|(line, _)| line).collect();
            if !lines.is_empty() {
                fenced(out, "", &lines.join("\n"));
            }
        }
    }

    fn evidence_in(&self, out: &mut String) {
        let mut lines: Vec<String> = self.message();
        lines.extend(self.frames().into_iter().map(|frame| format!("  {frame}")));
        lines.extend(self.output.iter().map(|line| format!("| {}", tame(line))));
        if lines.is_empty() && self.places.is_empty() {
            return;
        }
        out.push_str("\n## Evidence\n\n");
        if !lines.is_empty() {
            fenced(out, "", &lines.join("\n"));
        }
        if !self.places.is_empty() {
            out.push('\n');
        }
        for (what, path) in &self.places {
            let _ = writeln!(out, "- {what}: {}", code(&words::printable(path)));
        }
    }
}

fn list(out: &mut String, title: &str, texts: &[String]) {
    if texts.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n## {title}\n");
    for text in texts {
        let _ = writeln!(out, "- {}", prose(text));
    }
}

fn sentence(text: &str) -> String {
    let text = capital(&prose(text));
    if text.ends_with('.') {
        text
    } else {
        format!("{text}.")
    }
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(characters).collect()
}

fn tame(text: &str) -> String {
    words::tame(text.trim_end(), false).replace('\t', "    ")
}

/// Text outside of code spans cannot open markup.
fn prose(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_code = false;
    for c in text.chars() {
        in_code ^= c == '`';
        if !in_code && matches!(c, '*' | '_' | '<' | '>' | '[' | ']' | '#' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A code span whose fence is longer than any within (`CommonMark` 0.31, section 6.1).
fn code(text: &str) -> String {
    let fence = "`".repeat(longest_run(text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') {
        " "
    } else {
        ""
    };
    format!("{fence}{pad}{text}{pad}{fence}")
}

fn fenced(out: &mut String, language: &str, text: &str) {
    let fence = "`".repeat(longest_run(text).max(2) + 1);
    let _ = writeln!(out, "{fence}{language}\n{text}\n{fence}");
}

fn longest_run(text: &str) -> usize {
    let runs = text.split(|c| c != '`').map(str::len);
    runs.max().unwrap_or(0)
}
