//! What a runner says of each test, read from its JUnit XML. Only what all three runners write is
//! looked at: `testcase` elements with `name` and `time`, failed when one holds a `failure` or an
//! `error`, skipped when it holds `skipped`.

/// One test as a runner reported it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Case {
    /// The `name` attribute.
    pub name: String,
    /// Wall time, seconds.
    pub seconds: f64,
    /// It counts against the suite.
    pub failed: bool,
    /// It did not run.
    pub skipped: bool,
}

/// All test cases of one report. Text and CDATA between the tags are passed over.
pub(crate) fn cases(xml: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut inside = false;
    for tag in tags(xml) {
        let (name, attributes) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
        match name.trim_end_matches('/') {
            "testcase" => {
                inside = !tag.ends_with('/');
                cases.push(Case {
                    name: attribute(attributes, "name").unwrap_or_default(),
                    seconds: attribute(attributes, "time")
                        .and_then(|time| time.parse().ok())
                        .unwrap_or(0.0),
                    failed: false,
                    skipped: false,
                });
            }
            "failure" | "error" if inside => {
                cases
                    .iter_mut()
                    .last()
                    .into_iter()
                    .for_each(|case| case.failed = true);
            }
            "skipped" if inside => {
                cases
                    .iter_mut()
                    .last()
                    .into_iter()
                    .for_each(|case| case.skipped = true);
            }
            "/testcase" => inside = false,
            _ => {}
        }
    }
    cases
}

/// What stands between `<` and `>`, without comments, declarations and CDATA.
fn tags(xml: &str) -> impl Iterator<Item = &str> {
    let mut rest = xml;
    std::iter::from_fn(move || {
        loop {
            rest = &rest[rest.find('<')? + 1..];
            let end = if rest.starts_with("![CDATA[") {
                "]]>"
            } else if rest.starts_with("!--") {
                "-->"
            } else {
                let tag = &rest[..tag_length(rest)?];
                rest = &rest[tag.len()..];
                return Some(tag);
            };
            rest = &rest[rest.find(end)? + end.len()..];
        }
    })
}

/// Up to the `>` that stands in no quotes.
fn tag_length(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            (None, '>') => return Some(at),
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            _ => {}
        }
    }
    None
}

fn attribute(attributes: &str, wanted: &str) -> Option<String> {
    let mut rest = attributes;
    loop {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let quote = after.chars().next()?;
        let (value, next) = after[1..].split_once(quote)?;
        if name.trim() == wanted {
            return Some(unescaped(value));
        }
        rest = next;
    }
}

fn unescaped(text: &str) -> String {
    let plain = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"");
    plain
        .replace("&apos;", "'")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

/// How many tests failed for one runner that did not for the other, by name. Runners qualify names
/// differently, so a name counts as the same when it ends in the other's.
pub(crate) fn failures_beyond(ours: &[Case], theirs: &[String]) -> Vec<String> {
    let mut known: Vec<&String> = theirs.iter().collect();
    let failed = ours.iter().filter(|case| case.failed);
    let new = failed.filter(|case| {
        let at = known.iter().position(|name| same_test(&case.name, name));
        at.map(|at| known.swap_remove(at)).is_none()
    });
    new.map(|case| case.name.clone()).collect()
}

fn same_test(long: &str, short: &str) -> bool {
    long.strip_suffix(short).is_some_and(|head| {
        !head.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_read_whatever_stands_around_them() {
        let xml = r#"<?xml version="1.0"?><testsuites><!-- <testcase name="no"/> -->
            <testsuite name="s"><testcase classname='c' name="a&lt;1&gt;" time="0.5"/>
            <testcase name="b > a" time="1.25"><failure message="<x>">text</failure>
            <system-out><![CDATA[<testcase name="no"/>]]></system-out></testcase>
            <testcase name="c"><skipped/></testcase>
            </testsuite><error/></testsuites>"#;
        let cases = cases(xml);
        let names: Vec<&str> = cases.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["a<1>", "b > a", "c"]);
        let failed: Vec<bool> = cases.iter().map(|c| c.failed).collect();
        assert_eq!(failed, [false, true, false]);
        assert!((cases[0].seconds - 0.5).abs() < 1e-9 && cases[2].skipped);
    }

    #[test]
    fn a_failure_is_known_once_for_each_time_the_peer_had_it() {
        let failed = |name: &str| Case {
            name: name.into(),
            seconds: 0.0,
            failed: true,
            skipped: false,
        };
        let ours = [
            failed("bin::a::x"),
            failed("bin::b::x"),
            failed("tests/t.py::test_y[1]"),
        ];
        let theirs = ["x".to_string(), "test_y[1]".to_string()];
        assert_eq!(failures_beyond(&ours, &theirs), ["bin::b::x"]);
        assert_eq!(
            failures_beyond(&[failed("max")], &["ax".to_string()]),
            ["max"]
        );
    }
}
