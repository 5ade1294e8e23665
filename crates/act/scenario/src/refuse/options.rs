//! What is wrong with the options of a script: by the line where they are written, as far as they are written there.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Refusal;
use crate::bundle::Bundle;
use crate::lexer::{Token, tokens};

/// Options that are heeded, or without effect in k6 itself when it runs locally.
const OPTIONS: [&str; 29] = [
    "batch",
    "batchPerHost",
    "cloud",
    "discardResponseBodies",
    "dns",
    "duration",
    "ext",
    "insecureSkipTLSVerify",
    "iterations",
    "maxRedirects",
    "minIterationDuration",
    "noConnectionReuse",
    "noCookiesReset",
    "noUsageReport",
    "noVUConnectionReuse",
    "rps",
    "scenarios",
    "setupTimeout",
    "stages",
    "summaryTimeUnit",
    "summaryTrendStats",
    "systemTags",
    "tags",
    "teardownTimeout",
    "thresholds",
    "throw",
    "userAgent",
    "vus",
    "vusMax",
];
/// Options of k6 that are not supported.
const UNSUPPORTED: [&str; 12] = [
    "blacklistIPs",
    "blockHostnames",
    "executionSegment",
    "executionSegmentSequence",
    "hosts",
    "httpDebug",
    "linger",
    "localIPs",
    "paused",
    "tlsAuth",
    "tlsCipherSuites",
    "tlsVersion",
];
const OF_EVERY_SCENARIO: [&str; 7] = [
    "executor",
    "startTime",
    "gracefulStop",
    "exec",
    "env",
    "tags",
    "options",
];
/// The executors, and the keys of each.
const EXECUTORS: [(&str, &[&str]); 6] = [
    ("shared-iterations", &["vus", "iterations", "maxDuration"]),
    ("per-vu-iterations", &["vus", "iterations", "maxDuration"]),
    ("constant-vus", &["vus", "duration"]),
    ("ramping-vus", &["startVUs", "stages", "gracefulRampDown"]),
    (
        "constant-arrival-rate",
        &["rate", "timeUnit", "duration", "preAllocatedVUs", "maxVUs"],
    ),
    (
        "ramping-arrival-rate",
        &[
            "startRate",
            "timeUnit",
            "stages",
            "preAllocatedVUs",
            "maxVUs",
        ],
    ),
];

/// Looks through the evaluated options of a script.
pub(crate) fn options(options: &Value, bundle: &Bundle) -> Vec<Refusal> {
    let lines = Lines::of(bundle);
    let mut refusals = Vec::new();
    let Some(map) = options.as_object() else {
        return vec![lines.refuse(&[], "'options' is no object")];
    };
    for key in map.keys() {
        if UNSUPPORTED.contains(&key.as_str()) {
            refusals.push(lines.refuse(&[key], &format!("the option '{key}' is not supported")));
        } else if !OPTIONS.contains(&key.as_str()) {
            refusals.push(lines.refuse(
                &[key],
                &format!("there is no option '{key}'{}", near(key, &OPTIONS)),
            ));
        }
    }
    for (name, scenario) in map
        .get("scenarios")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        self::scenario(name, scenario, bundle, &lines, &mut refusals);
    }
    let has_scenarios = map.contains_key("scenarios");
    if !has_scenarios && !bundle.exports.iter().any(|export| export == "default") {
        refusals.push(lines.refuse(
            &[],
            "the script exports no default function, and its options name no scenarios",
        ));
    }
    refusals
}

fn scenario(
    name: &str,
    scenario: &Value,
    bundle: &Bundle,
    lines: &Lines,
    refusals: &mut Vec<Refusal>,
) {
    let mut refuse = |key: &str, what: String| {
        refusals.push(lines.refuse(&["scenarios", name, key], &what));
    };
    let executor = scenario["executor"].as_str().unwrap_or_default();
    let Some((_, keys)) = EXECUTORS.iter().find(|(known, _)| *known == executor) else {
        let known = EXECUTORS.map(|(known, _)| known);
        let what = format!(
            "the scenario '{name}' has no executor that is supported ('{executor}'); there are: {}",
            known.join(", ")
        );
        refuse("executor", what);
        return;
    };
    for key in scenario.as_object().into_iter().flat_map(|map| map.keys()) {
        if !OF_EVERY_SCENARIO.contains(&key.as_str()) && !keys.contains(&key.as_str()) {
            let what = format!(
                "the executor '{executor}' of the scenario '{name}' has no '{key}'{}",
                near(key, keys)
            );
            refuse(key, what);
        }
    }
    let exec = scenario["exec"].as_str().unwrap_or("default");
    if !bundle.exports.iter().any(|export| export == exec) {
        refuse(
            "exec",
            format!(
                "the scenario '{name}' runs '{exec}', which the script does not export as a function"
            ),
        );
    }
    if scenario["options"].get("browser").is_some() {
        refuse(
            "options",
            format!("the scenario '{name}' wants a browser, which is not supported"),
        );
    }
}

/// A suggestion, where a name is within two edits.
fn near(wrong: &str, known: &[&str]) -> String {
    let distance = |right: &str| edits(&wrong.to_lowercase(), &right.to_lowercase());
    let best = known
        .iter()
        .min_by_key(|right| distance(right))
        .filter(|right| distance(right) <= 2);
    best.map_or_else(String::new, |right| format!(": did you mean '{right}'?"))
}

fn edits(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (at, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, b) in right.chars().enumerate() {
            let next = (diagonal + usize::from(a != b))
                .min(row[column] + 1)
                .min(row[column + 1] + 1);
            diagonal = std::mem::replace(&mut row[column + 1], next);
        }
    }
    row[row.len() - 1]
}

/// Where each key of the options stands in the entry, as far as they are written there.
struct Lines {
    name: String,
    keys: BTreeMap<Vec<String>, (u32, u32)>,
}

impl Lines {
    fn of(bundle: &Bundle) -> Self {
        let tokens = tokens(bundle.modules.get(&bundle.entry).map_or("", String::as_str));
        let mut lines = Self {
            name: bundle.entry.clone(),
            keys: BTreeMap::new(),
        };
        let start = tokens.windows(3).position(|three| {
            matches!(three[0].word(), Some("const" | "let" | "var"))
                && three[1].word() == Some("options")
                && three[2].is('=')
        });
        if let Some(start) = start {
            lines.keys.insert(
                Vec::new(),
                (tokens[start + 1].line, tokens[start + 1].column),
            );
            if tokens.get(start + 3).is_some_and(|token| token.is('{')) {
                lines.object(&tokens, start + 4, &mut Vec::new());
            }
        }
        lines
    }

    /// Reads the keys of an object from after its brace; returns where it ends.
    fn object(&mut self, tokens: &[Token], mut at: usize, path: &mut Vec<String>) -> usize {
        let mut at_key = true;
        let mut depth = 0_u32;
        while let Some(token) = tokens.get(at) {
            let key = token
                .word()
                .or_else(|| token.text())
                .filter(|_| at_key && depth == 0);
            if let Some(key) = key {
                path.push(key.to_string());
                self.keys.insert(path.clone(), (token.line, token.column));
                at_key = false;
                let colon = tokens.get(at + 1).is_some_and(|token| token.is(':'));
                if colon && tokens.get(at + 2).is_some_and(|token| token.is('{')) {
                    at = self.object(tokens, at + 3, path);
                }
                path.pop();
            } else if token.is('}') && depth == 0 {
                return at;
            } else if token.is('{') || token.is('[') || token.is('(') {
                depth += 1;
            } else if token.is('}') || token.is(']') || token.is(')') {
                depth = depth.saturating_sub(1);
            } else if token.is(',') && depth == 0 {
                at_key = true;
            }
            at += 1;
        }
        at
    }

    fn refuse(&self, path: &[&str], what: &str) -> Refusal {
        let longest = (0..=path.len()).rev().find_map(|length| {
            let path: Vec<String> = path[..length].iter().map(ToString::to_string).collect();
            self.keys.get(&path)
        });
        let at = match longest {
            Some((line, column)) => format!("{}:{line}:{column}", self.name),
            None => self.name.clone(),
        };
        Refusal {
            at,
            what: what.into(),
        }
    }
}
