//! All that is told of one case, and each piece of it in words.

use std::collections::BTreeMap;

use cohort_model::{Arm, Case, CaseId, CaseVerdict, Frame, Subject, Suspect, TestId};

use super::listing::Listing;
use super::numbers::interval;
use super::table::{self, Table};
use super::text::threshold;
use super::verdict;
use super::words::{clause, parts_clause, series, share, verb};
use crate::words;

/// Lines of a message that are shown.
const MESSAGE_LINES_MAX: usize = 8;
/// Characters of an input that are shown.
const INPUT_CHARS_MAX: usize = 300;
/// Frames of a backtrace that are shown.
const FRAMES_MAX: usize = 6;

/// A suspicious line with the lines around it, as far as the file could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Excerpt {
    /// The line.
    pub suspect: Suspect,
    /// The line before it.
    pub before: Option<String>,
    /// The line after it.
    pub after: Option<String>,
}

impl Excerpt {
    /// `total (src/checkout.rs:41)`.
    #[must_use]
    pub fn place(&self) -> String {
        let Suspect {
            file,
            line,
            function,
            ..
        } = &self.suspect;
        let place = words::printable(&format!("{file}:{line}"));
        match function.as_str() {
            "" => place,
            function => format!("{place}  in {}", words::printable(function)),
        }
    }

    /// Lines with their numbers, and whether it is the suspect itself; none when the source is not known.
    #[must_use]
    pub fn numbered(&self) -> Vec<(u32, &str, bool)> {
        let line = self.suspect.line;
        if self.suspect.source.is_empty() && self.before.is_none() && self.after.is_none() {
            return Vec::new();
        }
        let before = self.before.as_deref().filter(|it| !it.trim().is_empty());
        let before = before.map(|text| (line.saturating_sub(1), text, false));
        let after = self.after.as_deref().filter(|it| !it.trim().is_empty());
        let after = after.map(|text| (line + 1, text, false));
        let own = (line, self.suspect.source.as_str(), true);
        before.into_iter().chain([own]).chain(after).collect()
    }
}

/// What a page of a case is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Dossier {
    /// The case, as last told.
    pub case: Case,
    /// Names of the tests it speaks of.
    pub names: BTreeMap<TestId, String>,
    /// Where it is told, as it stands in a sentence: `campaign 7`.
    pub told_by: String,
    /// What runs the test without Cohort, when that is one command.
    pub by_hand: Option<String>,
    /// Requests of the smallest reproduction, each as a line to type.
    pub requests: Vec<String>,
    /// Lines, most suspicious first.
    pub suspects: Vec<Excerpt>,
    /// Functions, most suspicious first.
    pub functions: Vec<Listing>,
    /// Only the backtrace tells of suspects: which lines ran was not recorded.
    pub of_backtrace: bool,
    /// What the failing run printed last.
    pub output: Vec<String>,
    /// Where more is kept: what it is, and the path.
    pub places: Vec<(&'static str, String)>,
    /// Other cases about the same test or endpoint.
    pub kin: Vec<CaseId>,
}

impl Dossier {
    /// What is known from the case alone; `others` are cases that it is told apart from.
    #[must_use]
    pub fn of<'a>(
        case: &Case,
        names: BTreeMap<TestId, String>,
        told_by: &str,
        others: impl IntoIterator<Item = &'a Case>,
    ) -> Self {
        Self {
            case: case.clone(),
            names,
            told_by: told_by.to_owned(),
            by_hand: None,
            requests: Vec::new(),
            suspects: Vec::new(),
            functions: Vec::new(),
            of_backtrace: false,
            output: Vec::new(),
            places: Vec::new(),
            kin: kin(case, others),
        }
    }

    /// The name of a test it speaks of.
    #[must_use]
    pub fn name(&self, test: TestId) -> String {
        let known = self.names.get(&test);
        known.map_or_else(|| format!("test {}", test.0), Clone::clone)
    }

    /// The verdict in one sentence, without its full stop.
    #[must_use]
    pub fn sentence(&self) -> String {
        verdict::sentence(&self.case, &|test| self.name(test))
    }

    /// The command that shows it again.
    #[must_use]
    pub fn command(&self) -> String {
        format!("cohort repro {}", self.case.case)
    }

    /// Rates by condition.
    pub(crate) fn table(&self, rows_max: usize) -> Table {
        table::table(&self.case, &|test| self.name(test), rows_max)
    }

    /// When it was seen, and when again.
    #[must_use]
    pub fn seen(&self) -> Vec<String> {
        let case = &self.case;
        let since = words::duration(case.since.0);
        let place = words::printable(&self.told_by);
        let mut text = match case.sightings.len() as u64 {
            0 if case.symptom.is_none() => {
                format!("tried on request in {place}")
            }
            0 => format!("in tries only, in {place}"),
            1 => format!("once in {place}, {since} after its start"),
            many => format!(
                "{} times in {place}, first {since} after its start",
                words::number(many)
            ),
        };
        if let Some(runs) = case.runs_to_first {
            let tries = match runs {
                1 => "at the first try".to_owned(),
                runs => format!("at try {}", words::number(u64::from(runs))),
            };
            let again = if case.sightings.is_empty() {
                ""
            } else {
                " again"
            };
            text.push_str(&format!("; failed{again} {tries}"));
        }
        let mut texts = vec![text];
        if case.returned {
            let back = "It was closed in an earlier campaign, and is back.";
            texts.push(back.to_owned());
        }
        texts
    }

    /// Where each condition that matters begins to.
    #[must_use]
    pub fn thresholds(&self) -> Vec<String> {
        let with_ends = self.case.causes.iter().filter_map(|cause| {
            let condition = cause.condition.as_ref()?;
            let ends = cause.threshold?;
            Some((condition.kind(), ends))
        });
        with_ends
            .map(|(kind, ends)| format!("{}: {}", super::words::kind(kind), threshold(kind, ends)))
            .collect()
    }

    /// All causes with their numbers, in words.
    #[must_use]
    pub fn causes(&self) -> Vec<String> {
        let names = |test| self.name(test);
        let told = self.case.causes.iter().map(|cause| {
            let always = cause.with.failed == cause.with.runs;
            let what = match &cause.condition {
                Some(condition) => clause(condition, cause.threshold),
                None => parts_clause(&cause.parts, always, &names),
            };
            format!(
                "{what}: {} runs ({}); without: {} ({})",
                share(&cause.with),
                interval(&cause.with),
                share(&cause.without),
                interval(&cause.without)
            )
        });
        told.collect()
    }

    /// The smallest reproduction in words; none when it did not fail again.
    #[must_use]
    pub fn smallest(&self) -> Option<Vec<String>> {
        let Arm { recipe, rate, .. } = self.case.smallest.as_ref()?;
        let names = |test| self.name(test);
        let how = verdict::recipe(recipe, &names);
        let mut texts = vec![format!(
            "runs it {how}; failed in {} runs ({})",
            share(rate),
            interval(rate)
        )];
        texts.extend(recipe.input.as_deref().map(of_input));
        let original = self.case.arms.iter().find(|arm| arm.control);
        let had = original.map_or(0, |arm| arm.recipe.parts.len());
        let is_cut = !recipe.parts.is_empty() || !recipe.conditions.is_empty();
        if self.case.minimal && is_cut {
            texts.push("Nothing more can be left out: each part was seen to matter.".to_owned());
        } else if had > 0 && !recipe.parts.is_empty() {
            texts.push(format!(
                "{} of {} parts of the original are kept; it may not be the smallest.",
                recipe.parts.len(),
                had
            ));
        }
        Some(texts)
    }

    /// What it said, line by line, its class first; how it looked when it said nothing.
    #[must_use]
    pub fn message(&self) -> Vec<String> {
        let Some(symptom) = &self.case.symptom else {
            return Vec::new();
        };
        let lines = symptom.message.lines().filter(|it| !it.trim().is_empty());
        let lines = lines.map(|line| words::printable(&line.trim_end().replace('\t', "    ")));
        let mut lines: Vec<String> = lines.collect();
        if lines.len() > MESSAGE_LINES_MAX {
            lines.truncate(MESSAGE_LINES_MAX);
            lines.push("…".to_owned());
        }
        let class = words::printable(&symptom.class);
        match lines.first_mut() {
            Some(first) if !first.starts_with(class.as_str()) => {
                *first = format!("{class}: {first}");
            }
            Some(_) => {}
            None if class.is_empty() => lines.push(verb(Some(symptom.kind)).to_owned()),
            None => lines.push(class),
        }
        let variants = self.case.variants.iter();
        lines.extend(variants.map(|it| words::printable(&it.shown())));
        lines
    }

    /// Where it failed, innermost first. Of a deep stack, the frames of the code under test.
    #[must_use]
    pub fn frames(&self) -> Vec<String> {
        let frames = self.case.symptom.iter().flat_map(|it| &it.frames);
        let own = frames.clone().any(|frame| frame.own);
        // How a panic is begun is the same for all of them.
        let of_rust = |frame: &&Frame| own && !frame.own && frame.file.starts_with("/rustc/");
        let frames: Vec<&Frame> = frames.skip_while(of_rust).collect();
        let shown = frames.iter().enumerate().filter(|(place, frame)| {
            frames.len() <= FRAMES_MAX || *place == 0 || !own || frame.own
        });
        shown
            .take(FRAMES_MAX)
            .map(|(_, frame)| format!("at {}", place_of(frame)))
            .collect()
    }

    /// What suspects rest on, where it is less than usual.
    pub(crate) fn of_backtrace(&self) -> Option<&'static str> {
        self.of_backtrace
            .then_some("Only the backtrace tells: which lines ran was not recorded.")
    }

    /// What else the user should know.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if !self.kin.is_empty() {
            let others: Vec<String> = self.kin.iter().map(ToString::to_string).collect();
            let (others, what) = (series(&others), what(&self.case));
            remarks.push(format!(
                "A different bug from {others}, though the same {what}."
            ));
        }
        // The first of a case that was not tried stands in its sentence.
        let told = usize::from(self.case.verdict == Some(CaseVerdict::NotTried));
        let further = self.case.remarks.iter().skip(told);
        let further = further.map(|it| words::printable(it));
        remarks.extend(further.filter(|it| !it.is_empty()).map(full_stop));
        remarks
    }
}

/// What a case is about, in a word.
pub(crate) fn what(case: &Case) -> &'static str {
    match &case.subject {
        Subject::Test(_) => "test",
        Subject::Service(endpoint) if endpoint.is_empty() => "server",
        Subject::Service(_) => "endpoint",
    }
}

/// What a test reads, as it stands in a sentence.
fn of_input(input: &str) -> String {
    let size = words::counted(input.len() as u64, "byte");
    let json = serde_json::from_str::<serde_json::Value>(input);
    let shown = json.map_or_else(|_| input.to_owned(), |value| value.to_string());
    let input = shown.as_str();
    let shown: String = input.trim_end().chars().take(INPUT_CHARS_MAX).collect();
    let more = if shown.len() < input.trim_end().len() {
        "…"
    } else {
        ""
    };
    let shown = words::printable(&shown.replace('`', "'"));
    format!("Of its input this is enough, {size}: `{shown}{more}`")
}

fn full_stop(text: String) -> String {
    if text.ends_with(['.', '!', '?']) {
        return text;
    }
    format!("{text}.")
}

fn place_of(frame: &Frame) -> String {
    let file = match frame.line {
        0 => frame.file.clone(),
        line => format!("{}:{line}", frame.file),
    };
    let text = match (frame.function.is_empty(), frame.file.is_empty()) {
        (true, true) => "an unknown place".to_owned(),
        (true, false) => file,
        (false, true) => frame.function.clone(),
        (false, false) => format!("{} ({file})", frame.function),
    };
    words::printable(&text)
}

/// Other cases about the same subject as `case`.
#[must_use]
pub fn kin<'a>(case: &Case, all: impl IntoIterator<Item = &'a Case>) -> Vec<CaseId> {
    let others = all.into_iter().filter(|other| {
        other.case != case.case && other.subject == case.subject && other.symptom.is_some()
    });
    others.map(|other| other.case).collect()
}
