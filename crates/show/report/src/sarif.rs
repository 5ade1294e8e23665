//! Findings about security as SARIF 2.1.0 (OASIS standard, March 2020), which code hosts and editors show beside the code: weaknesses
//! that a scan found, and what sanitizers reported.

use std::collections::BTreeMap;

use cohort_model::{Case, Frame, HelperTold, Symptom, SymptomKind};
use serde_json::{Value, json};

/// Where the format is described.
const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// Rules of a scan, each with what it is about and how grave it is (CVSS, as code hosts sort by it).
const RULES: [(&str, &str, &str); 13] = [
    (
        "missing-header",
        "Answers lack headers that protect those who read them",
        "3.0",
    ),
    (
        "weak-cookie",
        "A cookie of a session can be read by scripts or is sent where it should not be",
        "5.0",
    ),
    (
        "cross-origin",
        "Pages of any site may read answers with the visitor's cookies",
        "7.5",
    ),
    (
        "reflected-input",
        "What is asked is written into a page as it came",
        "6.1",
    ),
    ("open-redirect", "Visitors are sent to any site", "6.1"),
    ("path-traversal", "Any file of the host is given out", "8.6"),
    (
        "sql-injection",
        "What is asked becomes a part of a query",
        "9.8",
    ),
    (
        "verbose-error",
        "Errors tell strangers what only developers should see",
        "5.3",
    ),
    ("ends-on-input", "A request ends the server", "7.5"),
    (
        "old-tls",
        "Versions of TLS are taken that must not be used any more",
        "5.9",
    ),
    (
        "unexpected-listener",
        "A port is open that was not declared",
        "5.3",
    ),
    (
        "unexpected-connection",
        "It connects to an address that was not declared",
        "5.3",
    ),
    (
        "vulnerable-dependency",
        "It is built from a package that is known to be vulnerable",
        "7.0",
    ),
];

/// The findings; none when there is nothing to tell.
pub fn sarif<'a>(
    weaknesses: impl Iterator<Item = &'a HelperTold>,
    cases: impl Iterator<Item = &'a Case>,
) -> Option<String> {
    let mut results: Vec<(String, Value)> = weaknesses.map(of_weakness).collect();
    results.extend(cases.flat_map(of_case));
    if results.is_empty() {
        return None;
    }
    let mut rules: Vec<String> = results.iter().map(|(rule, _)| rule.clone()).collect();
    rules.sort();
    rules.dedup();
    let places: BTreeMap<&String, usize> = rules.iter().zip(0..).collect();
    let results: Vec<Value> = results
        .iter()
        .map(|(rule, result)| {
            let mut result = result.clone();
            result["ruleId"] = json!(rule);
            result["ruleIndex"] = json!(places.get(rule));
            result
        })
        .collect();
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "Cohort",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(|id| rule(id)).collect::<Vec<Value>>(),
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    Some(format!("{log:#}\n"))
}

fn rule(id: &str) -> Value {
    let known = RULES.iter().find(|(name, ..)| *name == id);
    let (about, grave) = known.map_or(("A sanitizer reported an error", "7.0"), |it| (it.1, it.2));
    let about = match id {
        "not-checked" => "Something was to be looked up and could not be",
        _ => about,
    };
    json!({
        "id": id,
        "shortDescription": { "text": about },
        "properties": { "tags": ["security"], "security-severity": grave },
    })
}

/// An error where it is the server's own doing that can be used at once; else a warning.
fn level(rule: &str) -> &'static str {
    let known = RULES.iter().find(|(name, ..)| *name == rule);
    let grave = known.and_then(|it| it.2.parse::<f64>().ok());
    match grave {
        Some(grave) if grave < 4.0 => "note",
        Some(grave) if grave < 7.0 => "warning",
        Some(_) => "error",
        None => "warning",
    }
}

fn of_weakness(told: &HelperTold) -> (String, Value) {
    let place = told.place.clone().unwrap_or_default();
    // Of a dependency the lock file is the place; all others are places of the running server.
    let file = place.split_once(": ").map(|(file, _)| file);
    let location = match file {
        Some(file) => json!({ "physicalLocation": { "artifactLocation": { "uri": uri(file) } } }),
        None => {
            json!({ "logicalLocations": [{ "fullyQualifiedName": place, "kind": "resource" }] })
        }
    };
    let result = json!({
        "level": level(&told.rule),
        "message": { "text": told.sentence },
        "locations": [location],
        "partialFingerprints": { "cohort/v1": format!("{}|{place}", told.rule) },
    });
    (told.rule.clone(), result)
}

fn of_case(case: &Case) -> Vec<(String, Value)> {
    let variants = case.variants.iter().filter_map(|it| it.symptom.as_ref());
    let all = case.symptom.iter().chain(variants);
    let reports = all.filter(|symptom| symptom.kind == SymptomKind::Sanitizer);
    reports.map(|symptom| of_report(case, symptom)).collect()
}

fn of_report(case: &Case, symptom: &Symptom) -> (String, Value) {
    let own = symptom.frames.iter().find(|frame| frame.own);
    let locations: Vec<Value> = own.into_iter().map(of_frame).collect();
    let rule = symptom.class.replace(' ', "/");
    let rule = if rule.is_empty() {
        "sanitizer".to_owned()
    } else {
        rule
    };
    let place = own.map_or_else(String::new, Frame::shown);
    let result = json!({
        "level": "error",
        "message": { "text": text(case, symptom, &place) },
        "locations": locations,
        "partialFingerprints": { "cohort/v1": format!("{rule}|{place}") },
    });
    (rule, result)
}

/// `EC-1: AddressSanitizer heap-use-after-free at price_of (burns.c:56)`: what a report says again of its class, and addresses and
/// processes, which are others each time, are left out.
fn text(case: &Case, symptom: &Symptom, place: &str) -> String {
    let class = symptom.class.as_str();
    let again = class.split_once(' ').map_or(class, |(_, what)| what);
    let rest = symptom.message.strip_prefix(again);
    let rest = rest.unwrap_or(&symptom.message).trim();
    let mut text = format!("{}: {class}", case.case);
    if !(rest.is_empty() || rest.starts_with("on ") || rest.starts_with('(')) {
        text.push_str(": ");
        text.push_str(rest.trim_start_matches([':', ' ']));
    }
    if !place.is_empty() {
        text.push_str(" at ");
        text.push_str(place);
    }
    text
}

fn of_frame(frame: &Frame) -> Value {
    let mut place = json!({ "artifactLocation": { "uri": uri(&frame.file) } });
    if frame.line > 0 {
        place["region"] = json!({ "startLine": frame.line });
    }
    json!({
        "physicalLocation": place,
        "logicalLocations": [{ "fullyQualifiedName": frame.function, "kind": "function" }],
    })
}

/// A path as a reference (RFC 3986).
fn uri(path: &str) -> String {
    let mut out = if path.starts_with('/') {
        "file://".to_owned()
    } else {
        String::new()
    };
    for byte in path.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(rule: &str, place: &str) -> HelperTold {
        HelperTold {
            sentence: "It is so.".to_owned(),
            place: Some(place.to_owned()),
            rule: rule.to_owned(),
            ..HelperTold::default()
        }
    }

    #[test]
    fn nothing_to_tell_is_no_file() {
        assert_eq!(sarif([].iter(), [].iter()), None);
    }

    #[test]
    fn what_the_standard_requires_is_there() {
        let all = [
            told("open-redirect", "GET /go"),
            told("vulnerable-dependency", "a b/package-lock.json: lodash X-1"),
            told("open-redirect", "GET /to"),
        ];
        let text = sarif(all.iter(), [].iter()).expect("something to tell");
        let log: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().expect("rules");
        assert_eq!(rules.len(), 2);
        for result in run["results"].as_array().expect("results") {
            let index = result["ruleIndex"].as_u64().expect("a place") as usize;
            assert_eq!(rules[index]["id"], result["ruleId"]);
            assert!(result["message"]["text"].is_string());
            let levels = ["none", "note", "warning", "error"];
            assert!(levels.iter().any(|it| result["level"] == *it));
        }
        let file = &run["results"][1]["locations"][0]["physicalLocation"];
        assert_eq!(file["artifactLocation"]["uri"], "a%20b/package-lock.json");
    }

    #[test]
    fn what_a_report_says_again_and_what_varies_is_left_out() {
        let case = crate::case::samples::fresh(1);
        let told = |class: &str, message: &str| {
            let symptom = Symptom {
                kind: SymptomKind::Sanitizer,
                class: class.to_owned(),
                message: message.to_owned(),
                frames: Vec::new(),
            };
            text(&case, &symptom, "f (a.c:3)")
        };
        let own = case.case.to_string();
        assert_eq!(
            told(
                "AddressSanitizer heap-use-after-free",
                "heap-use-after-free on address 0x60 at pc 0x55"
            ),
            format!("{own}: AddressSanitizer heap-use-after-free at f (a.c:3)")
        );
        let overflow = "signed integer overflow: 5 + 7 cannot be represented in type 'int'";
        assert_eq!(
            told(
                "UndefinedBehaviorSanitizer signed integer overflow",
                overflow
            ),
            format!(
                "{own}: UndefinedBehaviorSanitizer signed integer overflow: 5 + 7 cannot be represented in type 'int' at f (a.c:3)"
            )
        );
    }
}
