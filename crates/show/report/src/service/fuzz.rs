//! Changed requests in words: how many there were, and what they led to.

use std::collections::BTreeMap;

use cohort_model::{FuzzRound, ServiceSeen};

use super::words::{LABEL_COLUMNS, labelled};
use crate::line::{Line, Tone};
use crate::words;

/// Changes of one request that are told.
const EDITS_MAX: usize = 3;

/// What all rounds came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FuzzSum {
    /// Rounds added up; examples and endpoints as last told.
    pub all: FuzzRound,
    /// Why nothing could be changed, or not any more; empty when it could.
    pub unusable: String,
    /// Kinds of what was found: endpoint and how it looked, with the first change that led to it.
    pub found: BTreeMap<(String, String), Vec<String>>,
    rounds: u32,
}

impl FuzzSum {
    pub(super) fn see(&mut self, seen: &ServiceSeen) {
        match seen {
            ServiceSeen::Fuzzed { round, .. } => {
                self.rounds += 1;
                self.all.trials += round.trials;
                self.all.requests += round.requests;
                self.all.new += round.new;
                self.all.took_us += round.took_us;
                self.all.examples = self.all.examples.max(round.examples);
                self.all.endpoints = self.all.endpoints.max(round.endpoints);
                self.unusable.clone_from(&round.unusable);
            }
            ServiceSeen::FuzzFound {
                endpoint,
                symptom,
                end,
                edits,
                ..
            } => {
                let key = (endpoint.clone(), how(symptom, end.is_some()));
                self.found.entry(key).or_insert_with(|| edits.clone());
            }
            _ => {}
        }
    }

    /// For the end.
    pub(super) fn lines(&self) -> Vec<Line> {
        if self.rounds == 0 {
            return Vec::new();
        }
        let all = &self.all;
        let mut lines = Vec::new();
        if all.trials > 0 || self.unusable.is_empty() {
            let text = format!(
                "{} of {} at {} in {}: {} were answered as none before",
                words::counted(all.trials, "change"),
                words::counted(all.examples, "recorded request"),
                words::counted(all.endpoints, "endpoint"),
                words::duration(all.took_us / 10_000 * 10_000),
                words::number(all.new),
            );
            lines.push(labelled(Tone::Faint, "fuzzed").plain(text));
        }
        if !self.unusable.is_empty() {
            let text = words::printable(&self.unusable);
            lines.push(labelled(Tone::Odd, "not fuzzed").plain(text));
        }
        let indent = " ".repeat(LABEL_COLUMNS);
        for ((endpoint, how), edits) in &self.found {
            let edits: Vec<&str> = edits.iter().take(EDITS_MAX).map(String::as_str).collect();
            let text = format!("{endpoint}: {how}, when {}", edits.join(", and "));
            let text = format!("{indent}{}", words::printable(&text));
            lines.push(Line::new().plain(text));
        }
        lines
    }
}

/// One that was found, as it is told at once.
pub(super) fn event(seen: &ServiceSeen) -> Option<Line> {
    let ServiceSeen::FuzzFound {
        endpoint,
        symptom,
        end,
        edits,
        ..
    } = seen
    else {
        return None;
    };
    let line = labelled(Tone::Odd, "fuzzed").say(Tone::Name, words::printable(endpoint));
    let text = format!(
        "  {}, when {}",
        how(symptom, end.is_some()),
        edits.join(", and ")
    );
    Some(line.plain(words::printable(&text)))
}

fn how(symptom: &cohort_model::Symptom, is_end: bool) -> String {
    let kind = match symptom.kind {
        cohort_model::SymptomKind::ErrorAnswer => "it is answered with ",
        cohort_model::SymptomKind::Hang => return "it is not answered in time".to_owned(),
        _ if is_end => "the server ends with ",
        _ => "it has no answer but ",
    };
    format!("{kind}{}", symptom.class)
}
