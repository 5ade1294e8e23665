//! Edge cases of services: each is tried again on another instance, and cut to the requests that provoke it.

use serde_json::Value;

use super::{Campaign, Suite, assert_said, shown};
use crate::common::Ended;

/// How long it may go on after the scenario.
const AFTER: &[&str] = &["--reproduce-for", "40s"];

impl Suite {
    /// The last that is told of each edge case.
    fn cases(&self) -> Vec<Value> {
        let mut cases: Vec<Value> = Vec::new();
        for event in self.events() {
            for case in event["cases"].as_array().into_iter().flatten() {
                cases.retain(|known| known["case"] != case["case"]);
                cases.push(case.clone());
            }
        }
        cases
    }

    fn run_and_reproduce(&self, flags: &[&str]) -> Ended {
        self.run(&[flags, AFTER].concat())
    }

    /// All of one kind in what was seen, or decided.
    fn all(&self, list: &str, tag: &str, name: &str) -> Vec<Value> {
        let mut found = Vec::new();
        for event in self.events() {
            for one in event[list].as_array().into_iter().flatten() {
                if one[tag] == name {
                    found.push(one.clone());
                }
            }
        }
        found
    }

    /// The requests of a case's smallest recipe: endpoints.
    fn smallest(&self, case: &Value) -> Vec<String> {
        let tried = self.all("decisions", "command", "try_case");
        let of = tried
            .iter()
            .find(|one| one["case"] == case["case"])
            .unwrap();
        let captured = self.all("seen", "seen", "case_captured");
        let capsule = captured
            .iter()
            .find(|one| one["capsule"] == of["capsule"])
            .unwrap();
        let parts = case["smallest"]["recipe"]["parts"].as_array().unwrap();
        let numbers = parts.iter().map(|part| part["request"].as_u64().unwrap());
        let of = |number: u64| &capsule["requests"][number as usize];
        numbers
            .map(|number| of(number)["endpoint"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Each play was on another instance than the one where the case was seen.
    fn assert_played_elsewhere(&self) {
        let captures = self.all("decisions", "command", "capture");
        for tried in self.all("decisions", "command", "try_case") {
            let of = captures
                .iter()
                .find(|one| one["capsule"] == tried["capsule"])
                .unwrap();
            assert_ne!(of["instance"], tried["instance"], "{tried}");
        }
    }
}

#[test]
fn a_crash_on_a_poisonous_request_among_many_is_cut_to_that_request() {
    let iteration = "get('/items/1'); get('/items/2'); http.post(U + '/items', JSON.stringify({ name: 'x', sizes: [1, 2] })); \
                     get(__VU === 1 && __ITER === 4 ? '/crash/13?why=rare' : '/crash/1'); get('/items/3')";
    let suite = Campaign::of(iteration).write();
    let ended = suite.run_and_reproduce(&["--vus", "3", "--duration", "3s"]);
    assert_said(&ended, 1, &["crash            GET /crash/{}"]);
    let cases = suite.cases();
    assert_eq!(cases.len(), 1, "{cases:#?}\n{}", shown(&ended));
    let case = &cases[0];
    assert_eq!(case["symptom"]["kind"], "signal", "{case:#}");
    assert_eq!(
        (&case["stage"], &case["verdict"]),
        (&"closed".into(), &"always".into()),
        "{case:#}\n{}",
        shown(&ended)
    );
    assert_eq!(suite.smallest(case), ["GET /crash/{}"], "{case:#}");
    suite.assert_played_elsewhere();
    // The ordinary instances crashed once, and what was played is counted nowhere.
    assert_eq!(
        ended.stderr.matches("exited").count(),
        1,
        "{}",
        shown(&ended)
    );
    suite.assert_replays();
    suite.assert_all_gone(&ended);
}
