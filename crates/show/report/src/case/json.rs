//! A dossier for programs: the case as the log has it, and beside it what the page says of it.

use serde_json::{Value, json};

use super::dossier::{Dossier, Excerpt};
use super::listing::Listing;

/// Rows of the table: all that were run.
const ROWS_MAX: usize = usize::MAX;

impl Dossier {
    /// The page as one object.
    #[must_use]
    pub fn json(&self) -> Value {
        let table = self.table(ROWS_MAX);
        let rows = table.rows.iter().map(|row| {
            json!({
                "condition": row.label,
                "control": row.control,
                "runs": row.rate.runs,
                "failed": row.rate.failed,
                "low": row.rate.low,
                "high": row.rate.high,
            })
        });
        let names = self.names.iter();
        let names = names.map(|(test, name)| (test.0.to_string(), json!(name)));
        let places = self.places.iter();
        let places = places.map(|(what, path)| ((*what).to_owned(), json!(path)));
        json!({
            "id": self.case.case.to_string(),
            "sentence": self.sentence(),
            "told_by": self.told_by,
            "case": self.case,
            "tests": names.collect::<serde_json::Map<_, _>>(),
            "rates": rows.collect::<Vec<_>>(),
            "causes": self.causes(),
            "thresholds": self.thresholds(),
            "again": {
                "command": self.command(),
                "words": self.smallest(),
                "by_hand": self.by_hand,
                "requests": self.requests,
            },
            "suspects": self.suspects.iter().map(suspect).collect::<Vec<_>>(),
            "suspects_of": if self.of_backtrace { "backtrace" } else { "runs" },
            "functions": self.functions.iter().map(Listing::json).collect::<Vec<_>>(),
            "evidence": {
                "message": self.message(),
                "frames": self.frames(),
                "output": self.output,
                "places": places.collect::<serde_json::Map<_, _>>(),
            },
            "kin": self.kin.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "remarks": self.remarks(),
        })
    }
}

fn suspect(excerpt: &Excerpt) -> Value {
    let mut value = json!(excerpt.suspect);
    if let Some(object) = value.as_object_mut() {
        object.insert("before".to_owned(), json!(excerpt.before));
        object.insert("after".to_owned(), json!(excerpt.after));
    }
    value
}
