//! Cases with pictures: an article each, and a page of a suite's campaign.

use std::fmt::Write;

use super::chart::chart;
use super::dossier::{Dossier, Excerpt};
use super::listing::Listing;
use crate::service::{STYLE, escape};
use crate::view::View;
use crate::words;

/// Rows of a chart at most.
const ROWS_MAX: usize = 16;

/// The page of a campaign with these cases.
#[must_use]
pub fn page(view: &View, dossiers: &[Dossier]) -> String {
    let start = view.start.as_ref();
    let name = escape(start.map_or("", |start| start.campaign.as_str()));
    let command = start.map_or_else(String::new, |start| start.command.join(" "));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Cohort: campaign {name}</title><style>{STYLE}</style>\n"
    );
    let _ = writeln!(
        out,
        "<h1>Campaign {name}: <code>{}</code></h1><p>{}, {} failed, in {}. {}.</p>",
        escape(&command),
        words::counted(view.total() as u64, "test"),
        words::number(view.counts.failures() as u64),
        words::duration(view.elapsed_us(view.at())),
        words::counted(dossiers.len() as u64, "edge case"),
    );
    out.push_str("<h2>Edge cases</h2>\n");
    for dossier in dossiers {
        out.push_str(&article(dossier));
    }
    out.push_str("</html>\n");
    out
}

/// One case, for a page.
#[must_use]
pub fn article(dossier: &Dossier) -> String {
    let id = dossier.case.case;
    let mut out = format!(
        "<article id=\"{id}\"><h3>{id}</h3><p><b>{}.</b></p>\n",
        prose(&dossier.sentence())
    );
    let _ = writeln!(
        out,
        "<p class=\"faint\">{}</p>",
        prose(&dossier.seen().join(" "))
    );
    let table = dossier.table(ROWS_MAX);
    out.push_str(&chart("how often it failed, by condition", &table.rows));
    if let Some(rest) = table.rest {
        let _ = writeln!(out, "<p class=\"faint\">{}</p>", escape(&rest));
    }
    out.push_str(&list("What matters", &dossier.causes()));
    out.push_str(&list("Where it begins", &dossier.thresholds()));
    if dossier.case.symptom.is_some() {
        let again = dossier.smallest().unwrap_or_default();
        let _ = writeln!(
            out,
            "<h4>Again</h4><pre>{}</pre><p>{}</p>",
            escape(&typed(dossier)),
            prose(&again.join(" "))
        );
    }
    if !dossier.suspects.is_empty() {
        out.push_str("<h4>Suspects</h4>\n");
        out.extend(dossier.of_backtrace().map(|it| format!("<p>{it}</p>\n")));
        out.extend(dossier.suspects.iter().map(suspect));
    }
    if !dossier.functions.is_empty() {
        out.push_str("<h4>Suspicious functions</h4>\n");
        out.extend(dossier.functions.iter().map(function));
    }
    out.push_str(&evidence(dossier));
    out.push_str(&list("Remarks", &dossier.remarks()));
    out.push_str("</article>\n");
    out
}

/// What can be typed to see it again.
fn typed(dossier: &Dossier) -> String {
    let by_hand = dossier.by_hand.iter().cloned();
    let all = [dossier.command()].into_iter().chain(by_hand);
    let all: Vec<String> = all.chain(dossier.requests.iter().cloned()).collect();
    all.join("\n")
}

fn suspect(excerpt: &Excerpt) -> String {
    let lines = excerpt.numbered().into_iter().map(|(number, text, own)| {
        let line = format!("{number:>5} | {}", escape(&words::tame(text, false)));
        if own { format!("<b>{line}</b>") } else { line }
    });
    let lines: Vec<String> = lines.collect();
    let mut out = format!(
        "<p><code>{}</code> <span class=\"faint\">{:.2}</span></p>\n",
        escape(&excerpt.place()),
        excerpt.suspect.score
    );
    if !lines.is_empty() {
        let _ = writeln!(out, "<pre>{}</pre>", lines.join("\n"));
    }
    out
}

fn function(listing: &Listing) -> String {
    let lines = listing.numbered().map(|(line, own)| {
        let line = escape(&line);
        if own { format!("<b>{line}</b>") } else { line }
    });
    let lines: Vec<String> = lines.collect();
    let mut out = format!(
        "<p><code>{}</code> <span class=\"faint\">{:.2}</span></p>\n",
        escape(&listing.place()),
        listing.function.score
    );
    if !lines.is_empty() {
        let _ = writeln!(out, "<pre>{}</pre>", lines.join("\n"));
    }
    out
}

fn evidence(dossier: &Dossier) -> String {
    let mut lines: Vec<String> = dossier.message();
    lines.extend(
        dossier
            .frames()
            .into_iter()
            .map(|frame| format!("  {frame}")),
    );
    let output = dossier.output.iter();
    lines.extend(output.map(|line| format!("| {}", words::tame(line, false))));
    let mut out = String::new();
    if !lines.is_empty() {
        let _ = writeln!(
            out,
            "<h4>Evidence</h4><pre>{}</pre>",
            escape(&lines.join("\n"))
        );
    }
    for (what, path) in &dossier.places {
        let _ = writeln!(
            out,
            "<p class=\"faint\">{}: <code>{}</code></p>",
            escape(what),
            escape(path)
        );
    }
    out
}

fn list(title: &str, texts: &[String]) -> String {
    if texts.is_empty() {
        return String::new();
    }
    let items: Vec<String> = texts
        .iter()
        .map(|it| format!("<li>{}", prose(it)))
        .collect();
    format!("<h4>{}</h4><ul>{}</ul>\n", escape(title), items.join(""))
}

/// A sentence whose names stand in backticks.
fn prose(text: &str) -> String {
    let pieces = text.split('`').enumerate().map(|(place, piece)| {
        let piece = escape(piece);
        if place % 2 == 1 {
            format!("<code>{piece}</code>")
        } else {
            piece
        }
    });
    pieces.collect()
}
