//! The event stream: every record as one line of JSON, and the schema of those lines.

use std::io::{self, Write};

use cohort_model::Record;

/// Writes `record` as one line. The line is written in one piece, so that a reader that follows the
/// file never sees half a line followed by the rest of another.
///
/// # Errors
/// What the writer reports.
pub fn write_line(record: &Record, out: &mut dyn Write) -> io::Result<()> {
    let mut line = serde_json::to_vec(record).map_err(io::Error::from)?;
    line.push(b'\n');
    out.write_all(&line)
}

/// JSON Schema (2020-12) of one line.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Record);
    schema.insert("title".to_owned(), "One line of cohort run --events".into());
    schema.insert("x-format".to_owned(), cohort_model::FORMAT.into());
    schema.to_value()
}

/// [`schema`] as it is published: indented, with a line end.
#[must_use]
pub fn schema_text() -> String {
    format!("{:#}\n", schema())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::scenario;

    #[test]
    fn one_record_is_one_line() {
        for record in scenario::mixed() {
            let mut out = Vec::new();
            write_line(&record, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.matches('\n').count(), 1, "{text}");
            assert!(text.ends_with('\n'));
            let again: Record =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert_eq!(again, record);
        }
    }

    #[test]
    fn the_published_schema_is_that_of_the_records() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/events.schema.json");
        let published = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            published == schema_text(),
            "docs/events.schema.json is out of date; write it anew with: cohort schema > docs/events.schema.json",
        );
    }
}
