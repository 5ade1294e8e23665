//! What the record of a campaign says of a bug: when it failed, whether it did so again, what was named.

use std::collections::BTreeMap;

use serde_json::Value;

use super::bugs::Bug;
use super::campaign::Seen;

/// What Cohort made of a bug.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// Runs and seconds until it first failed as the bug does, that one included; each copy of a test counts
    /// as a run.
    pub first: Option<(u32, f64)>,
    /// Seconds until it did so for the second time.
    pub again_s: Option<f64>,
    /// In the end its case counts a failure, and a further one with the same fingerprint in a try.
    pub reproduced: bool,
    /// All runs.
    pub runs_all: u32,
    /// What it said the cause is, the most telling first: kinds of conditions, or `before NAME`.
    pub named: Vec<String>,
    /// Its sentence.
    pub sentence: String,
}

/// One try that ended.
struct Try<'a> {
    runs: u32,
    after_s: f64,
    symptom: &'a Value,
}

impl Seen {
    /// Of the case that says what `bug` says; of no case when there is none.
    pub(super) fn told(&self, bug: &Bug) -> Told {
        let mut told = Told::default();
        for one in self.tries() {
            told.runs_all += one.runs;
            if !is_shown(bug, one.symptom) {
                continue;
            }
            if told.first.is_none() {
                told.first = Some((told.runs_all, one.after_s));
            } else {
                told.again_s.get_or_insert(one.after_s);
            }
        }
        let Some(page) = self.page(bug) else {
            return told;
        };
        let case = &page["case"];
        let sightings = case["sightings"].as_array().map_or(0, Vec::len) as u64;
        told.reproduced = failed(case) > 0 && failed(case) + sightings >= 2;
        told.sentence = text(&page["sentence"]).to_owned();
        let causes = case["causes"].as_array().into_iter().flatten();
        told.named = causes.map(|cause| name(cause, page)).collect();
        told
    }

    /// The page of the bug's case: that which failed most, before others.
    fn page(&self, bug: &Bug) -> Option<&Value> {
        let name = |page: &Value| {
            let test = &page["case"]["subject"]["test"];
            text(&page["tests"][test.to_string()]).to_owned()
        };
        let test = bug.test.rsplit("::").next().unwrap_or_default();
        let right = self
            .cases
            .iter()
            .filter(|page| name(page).ends_with(test) && is_shown(bug, &page["case"]["symptom"]));
        right.max_by_key(|page| failed(&page["case"]))
    }

    /// Every try that was decided.
    fn decided(&self) -> impl Iterator<Item = &Value> {
        let decided = self
            .records
            .iter()
            .filter_map(|record| record["decisions"].as_array());
        decided
            .flatten()
            .filter(|decision| decision["command"] == "try_case")
    }

    /// Every try that ended, in that order, with its time since the first one was decided.
    fn tries(&self) -> Vec<Try<'_>> {
        let mut copies = BTreeMap::new();
        let (mut begin_us, mut ended) = (None, Vec::new());
        for record in &self.records {
            let at_us = record["at"].as_f64().unwrap_or_default();
            let decisions = record["decisions"].as_array().into_iter().flatten();
            for decision in decisions.filter(|decision| decision["command"] == "try_case") {
                begin_us.get_or_insert(at_us);
                copies.insert(decision["thread"].as_u64(), copies_of(decision));
            }
            for seen in record["observations"].as_array().into_iter().flatten() {
                let Some(copies) = copies.get(&seen["thread"].as_u64()) else {
                    continue;
                };
                if seen["seen"] != "thread_ended" {
                    continue;
                }
                // Of several runs of one try all but the last passed.
                let before = seen["passed_before"].as_u64().unwrap_or(0);
                ended.push(Try {
                    runs: copies * (u32::try_from(before).unwrap_or(u32::MAX - 1) + 1),
                    after_s: (at_us - begin_us.unwrap_or(at_us)) / 1e6,
                    symptom: &seen["symptom"],
                });
            }
        }
        ended
    }

    /// From each sighting of a case to the start of its first try, milliseconds.
    pub(super) fn latencies_ms(&self) -> Vec<f64> {
        let (mut ends, mut starts) = (BTreeMap::new(), BTreeMap::new());
        for record in &self.records {
            let at_us = record["at"].as_f64().unwrap_or_default();
            for seen in record["observations"].as_array().into_iter().flatten() {
                let thread = seen["thread"].as_u64();
                match (text(&seen["seen"]), thread) {
                    ("thread_started", Some(thread)) => starts.insert(thread, at_us),
                    ("thread_ended", Some(thread)) => ends.insert(thread, at_us),
                    _ => None,
                };
            }
        }
        let mut first = BTreeMap::new();
        for decision in self.decided() {
            let thread = decision["thread"]
                .as_u64()
                .and_then(|thread| starts.get(&thread));
            if let (Some(case), Some(at_us)) = (decision["case"].as_u64(), thread) {
                let first = first.entry(case).or_insert(*at_us);
                *first = at_us.min(*first);
            }
        }
        let pages = self.cases.iter().filter_map(|page| {
            let case = &page["case"];
            let seen = case["sightings"].get(0)?.as_u64()?;
            let at_us = first.get(&case["case"].as_u64()?)?;
            Some((at_us - ends.get(&seen)?) / 1e3)
        });
        pages.collect()
    }
}

/// Whether a symptom is that of the bug. What hangs is killed at the time limit, whatever it says.
fn is_shown(bug: &Bug, symptom: &Value) -> bool {
    let kind = text(&symptom["kind"]);
    let said = format!(
        "{kind} {} {}",
        text(&symptom["class"]),
        text(&symptom["message"])
    );
    let hangs = bug.says == "hangs" && matches!(kind, "hang" | "timeout");
    !symptom.is_null() && (hangs || bug.is_said(&said))
}

/// Runs that failed with the case's symptom.
fn failed(case: &Value) -> u64 {
    let arms = case["arms"].as_array().into_iter().flatten();
    arms.filter_map(|arm| arm["rate"]["failed"].as_u64()).sum()
}

/// How many at once one run of a try is.
fn copies_of(decision: &Value) -> u32 {
    let mut conditions = decision["recipe"]["conditions"]
        .as_array()
        .into_iter()
        .flatten();
    let copies = conditions.find(|one| one["condition"] == "copies");
    let copies = copies.and_then(|copies| copies["count"].as_u64());
    copies.map_or(1, |copies| u32::try_from(copies).unwrap_or(1))
}

/// A cause in a word or two.
fn name(cause: &Value, page: &Value) -> String {
    if let Some(kind) = cause["condition"]["condition"].as_str() {
        return kind.to_owned();
    }
    let parts = cause["parts"].as_array().into_iter().flatten();
    let before = parts.filter_map(|part| part["before"].as_u64());
    let names = before.map(|test| text(&page["tests"][test.to_string()]).to_owned());
    let names: Vec<String> = names.collect();
    format!("before {}", names.join(", "))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
