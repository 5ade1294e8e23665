//! A suspicious function with its source.

use std::collections::BTreeSet;

use cohort_model::SuspectFunction;
use serde_json::{Value, json};

use crate::words;

/// Lines of a function that are shown: those around its most suspicious one.
const LINES_MAX: u32 = 16;

/// A function, and the part of its source that is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    /// The function.
    pub function: SuspectFunction,
    /// Number, text, and whether the line is one of the suspicious ones; none when the source is not known.
    pub lines: Vec<(u32, String, bool)>,
}

impl Listing {
    /// `file` is the text of its file; `suspicious` are the suspicious lines of that.
    #[must_use]
    pub fn new(function: SuspectFunction, file: &str, suspicious: &BTreeSet<u32>) -> Self {
        let (first, last) = Self::window(&function);
        let lines = (1..).zip(file.lines());
        let lines = lines.filter(|(number, _)| (first..=last).contains(number));
        let lines = lines.map(|(number, text)| {
            let own = number == function.line || suspicious.contains(&number);
            (number, text.trim_end().to_owned(), own)
        });
        let lines = lines.collect();
        Self { function, lines }
    }

    /// First and last line that are shown: of a long function those around its most suspicious one.
    fn window(function: &SuspectFunction) -> (u32, u32) {
        let SuspectFunction {
            first, last, line, ..
        } = *function;
        if last.saturating_sub(first) < LINES_MAX {
            return (first, last);
        }
        let from = line.saturating_sub(LINES_MAX / 2).max(first);
        let from = from.min((last + 1).saturating_sub(LINES_MAX));
        (from, from + LINES_MAX - 1)
    }

    /// `Cart.total  in shop/cart.py:40-52`.
    #[must_use]
    pub fn place(&self) -> String {
        let SuspectFunction {
            file,
            name,
            first,
            last,
            ..
        } = &self.function;
        words::printable(&format!("{name}  in {file}:{first}-{last}"))
    }

    /// Lines with their numbers, the suspicious ones marked.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (String, bool)> {
        self.lines.iter().map(|(number, text, own)| {
            let mark = if *own { '>' } else { ' ' };
            let text = words::tame(text, false).replace('\t', "    ");
            (format!("{mark}{number:>5} | {text}"), *own)
        })
    }

    pub(crate) fn json(&self) -> Value {
        let mut value = json!(self.function);
        let lines = self.lines.iter();
        let lines = lines.map(
            |(number, text, own)| json!({ "line": number, "source": text, "suspicious": own }),
        );
        if let Some(object) = value.as_object_mut() {
            object.insert("source".to_owned(), lines.collect());
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(first: u32, last: u32, line: u32) -> SuspectFunction {
        SuspectFunction {
            file: "a.py".to_owned(),
            name: "f".to_owned(),
            first,
            last,
            line,
            score: 0.5,
        }
    }

    #[test]
    fn a_long_function_is_shown_around_its_most_suspicious_line() {
        let text: String = (1..=60).map(|n| format!("line {n}\n")).collect();
        let shown = |first, last, line| {
            let suspicious = BTreeSet::from([line + 1]);
            let listing = Listing::new(function(first, last, line), &text, &suspicious);
            let marked: Vec<u32> = listing
                .lines
                .iter()
                .filter(|line| line.2)
                .map(|line| line.0)
                .collect();
            assert_eq!(marked, [line, line + 1]);
            let numbers = |line: Option<&(u32, String, bool)>| line.map_or(0, |line| line.0);
            (
                numbers(listing.lines.first()),
                numbers(listing.lines.last()),
            )
        };
        assert_eq!(shown(3, 9, 5), (3, 9));
        assert_eq!(shown(3, 50, 5), (3, 18));
        assert_eq!(shown(3, 50, 30), (22, 37));
        assert_eq!(shown(3, 50, 48), (35, 50));
        let gone = Listing::new(function(70, 80, 71), &text, &BTreeSet::new());
        assert!(gone.lines.is_empty());
        assert_eq!(gone.place(), "f  in a.py:70-80");
    }
}
