//! Output in which each line is something found.

use cohort_model::HelperTold;

use super::Error;

/// Characters of a line in a message.
const SHOWN_MAX: usize = 80;

/// A JSON object in each line.
pub(super) fn json(output: &str) -> Result<Vec<HelperTold>, Error> {
    let lines = output.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            serde_json::from_str(line).map_err(|_| Error::Line {
                line: at + 1,
                found: line.chars().take(SHOWN_MAX).collect(),
                expected: "an object such as {\"sentence\": \"...\", \"function\": \"...\", \"place\": \"file:line\"}",
            })
        })
        .collect()
}

/// Each line as it is.
pub(super) fn plain(output: &str) -> Vec<HelperTold> {
    let lines = output.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty())
        .map(|line| HelperTold {
            sentence: line.to_owned(),
            ..HelperTold::default()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_that_is_none_is_shown_with_its_line() {
        let told = json("{\"sentence\": \"a\", \"place\": \"x.c:3\"}\n\n{\"sentence\": \"b\"}\n");
        let told = told.expect("good lines");
        assert_eq!(told.len(), 2);
        assert_eq!(told[0].place.as_deref(), Some("x.c:3"));
        let error = json("{\"sentence\": \"a\"}\nhello\n").expect_err("no JSON");
        assert!(error.to_string().starts_with("line 2 "), "{error}");
    }
}
