//! What of k6's options is taken, as what, and what is refused in which words.

use cohort_schedule::{Executor, Options, Overrides, Stage, parse_stages};
use serde_json::{Value, json};

const SECOND: u64 = 1_000_000;

fn executor(value: &Value) -> Executor {
    let options = Options::parse(value).expect("the options are good");
    options.scenarios[0].executor.clone()
}

fn refusal(value: &Value) -> String {
    match Options::parse(value) {
        Ok(options) => panic!("{value} was taken as {options:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn short_forms_stand_for_k6s_executors() {
    let alone = Executor::PerVuIterations {
        vus: 1,
        iterations: 1,
        longest_us: 600 * SECOND,
    };
    assert_eq!(executor(&Value::Null), alone);
    assert_eq!(executor(&json!({ "scenarios": {} })), alone);
    let constant = Executor::ConstantVus {
        vus: 10,
        duration_us: 90 * SECOND,
    };
    assert_eq!(
        executor(&json!({ "vus": 10, "duration": "1m30s" })),
        constant
    );
    assert_eq!(
        executor(&json!({ "vus": 10, "duration": 90_000 })),
        constant
    );
    assert_eq!(
        executor(&json!({ "vus": 10, "iterations": 30, "duration": "5s", "stages": null })),
        Executor::SharedIterations {
            vus: 10,
            iterations: 30,
            longest_us: 5 * SECOND
        }
    );
    let stage = |duration_us, target| Stage {
        duration_us,
        target,
    };
    assert_eq!(
        executor(
            &json!({ "stages": [{ "duration": "30s", "target": 20 }, { "duration": "0s", "target": 0 }] })
        ),
        Executor::RampingVus {
            start: 1,
            stages: vec![stage(30 * SECOND, 20), stage(0, 0)],
            graceful_ramp_down_us: 30 * SECOND
        }
    );
}

#[test]
fn a_command_line_replaces_what_the_script_says_of_load() {
    let script = json!({
        "scenarios": { "a": { "executor": "constant-vus", "duration": "10s", "exec": "a" } },
        "thresholds": { "checks": ["rate>0.9"] },
    });
    let overrides = Overrides {
        stages: Some(parse_stages("10s:5, 1m:0").expect("stages")),
        ..Overrides::default()
    };
    let options = Options::parse_with(&script, &overrides).expect("good");
    let scenario = &options.scenarios[0];
    assert_eq!(
        (scenario.name.as_str(), scenario.exec.as_str()),
        ("default", "default")
    );
    assert_eq!(scenario.executor.vus_max(), 5);
    assert_eq!(options.thresholds.len(), 1);
    let vus = Overrides {
        vus: Some(7),
        ..Overrides::default()
    };
    let options = Options::parse_with(&script, &vus).expect("good");
    // As k6 has it since 2.1: that many threads share that many iterations.
    let shared = Executor::SharedIterations {
        vus: 7,
        iterations: 7,
        longest_us: 600 * SECOND,
    };
    assert_eq!(options.scenarios[0].executor, shared);
    assert!(options.warnings[0].contains("replaces the script's scenarios"));
    let options = Options::parse_with(&json!({}), &vus).expect("good");
    assert_eq!(options.scenarios[0].executor, shared);
    let options = Options::parse_with(&json!({ "vus": 2, "duration": "3s" }), &vus).expect("good");
    assert_eq!(options.scenarios[0].executor.vus_max(), 7);
    let error = parse_stages("10s").expect_err("no target");
    assert_eq!(
        error.to_string(),
        "--stage: expected DURATION:TARGET, such as 30s:10, found \"10s\""
    );
}

#[test]
fn a_whole_scenario_is_read() {
    let options = Options::parse(&json!({
        "scenarios": { "buy": {
            "executor": "ramping-arrival-rate", "startRate": 300, "timeUnit": "1m", "preAllocatedVUs": 5,
            "maxVUs": 50, "stages": [{ "duration": "1m", "target": 600 }], "startTime": "10s",
            "gracefulStop": "5s", "exec": "buy", "env": { "A": "1" }, "tags": { "t": "x" },
        }},
        "cloud": { "projectID": 1 }, "ext": {}, "userAgent": "me", "rps": 0, "maxRedirects": 0,
        "summaryTrendStats": ["avg", "p(99.9)"], "minIterationDuration": "2s",
    }))
    .expect("good");
    let scenario = &options.scenarios[0];
    assert_eq!(
        (scenario.start_us, scenario.end_us()),
        (10 * SECOND, 70 * SECOND)
    );
    assert_eq!(options.longest_us(), 75 * SECOND);
    assert_eq!(
        (scenario.env["A"].as_str(), scenario.tags["t"].as_str()),
        ("1", "x")
    );
    assert_eq!(
        (options.redirects_max, options.batch, options.batch_per_host),
        (0, 20, 6)
    );
    assert_eq!(options.requests_per_s, None);
    assert_eq!(options.iteration_min_us, 2 * SECOND);
}

#[test]
fn a_script_is_told_the_load_that_is_run() {
    let written =
        json!({ "vus": 3, "stages": [{ "duration": "90s", "target": 5 }], "tags": { "a": "b" } });
    let told = Options::parse(&written).expect("good").told(&written);
    let scenario = json!({
        "executor": "ramping-vus", "exec": "default", "startTime": "0s", "gracefulStop": "30s", "env": {}, "tags": {},
        "startVUs": 3, "stages": [{ "duration": "1m30s", "target": 5 }], "gracefulRampDown": "30s",
    });
    assert_eq!(
        told,
        json!({ "tags": { "a": "b" }, "scenarios": { "default": scenario } })
    );
    let written = json!({ "scenarios": { "buy": {
        "executor": "constant-arrival-rate", "rate": 2, "duration": "1h", "preAllocatedVUs": 1, "timeUnit": "500ms",
    } } });
    let told = Options::parse(&written).expect("good").told(&written);
    let buy = &told["scenarios"]["buy"];
    assert_eq!(
        (&buy["duration"], &buy["timeUnit"], &buy["maxVUs"]),
        (&json!("1h0m0s"), &json!("500ms"), &json!(1))
    );
}

#[test]
fn refusals_name_the_place_and_what_to_do() {
    let buy = |rest: &Value| {
        let mut one = json!({ "executor": "constant-arrival-rate", "rate": 5, "duration": "10s", "preAllocatedVUs": 1 });
        for (key, value) in rest.as_object().expect("an object") {
            one[key] = value.clone();
        }
        json!({ "scenarios": { "buy": one } })
    };
    for (value, words) in [
        (json!([]), "options: expected an object, found []"),
        (
            json!({ "vuss": 3 }),
            "options.vuss: there is no such option; did you mean `vus`?",
        ),
        (
            json!({ "vus": 0 }),
            "options.vus: expected a whole number of at least 1, found 0",
        ),
        (
            json!({ "duration": "5 s" }),
            "options.duration: expected a duration such as \"1m30s\", or a number of milliseconds, found \"5 s\"",
        ),
        (
            json!({ "duration": "10s", "stages": [{ "duration": "1s", "target": 1 }] }),
            "options: `duration` and `stages` exclude each other; keep one of them",
        ),
        (
            json!({ "stages": [{ "duration": "1s" }] }),
            "options.stages[0]: `target` is missing: it is needed in every stage",
        ),
        (
            json!({ "httpDebug": "full" }),
            "options.httpDebug: not supported: use the campaign's own record of requests; remove it",
        ),
        (
            buy(&json!({ "rate": "many" })),
            "options.scenarios.buy.rate: expected a whole number of at least 1, found \"many\"",
        ),
        (
            buy(&json!({ "maxVUs": 0 })),
            "options.scenarios.buy.maxVUs: expected a whole number of at least 1, found 0",
        ),
        (
            buy(&json!({ "maxVUS": 3 })),
            "options.scenarios.buy.maxVUS: there is no such option; did you mean `maxVUs`?",
        ),
        (
            buy(&json!({ "env": { "A": 1 } })),
            "options.scenarios.buy.env: expected an object whose values are strings, found {\"A\":1}",
        ),
        (
            buy(&json!({ "rate": null })),
            "options.scenarios.buy: `rate` is missing: it is needed by this executor",
        ),
        (
            buy(&json!({ "executor": "externally-controlled" })),
            "options.scenarios.buy.executor: not supported: externally-controlled scenarios need k6's control port; use another executor; remove it",
        ),
        (
            json!({ "vus": 10, "iterations": 5 }),
            "options: expected at least as many iterations as threads (VUs), found 5",
        ),
        (
            json!({ "thresholds": { "http_req_duration": ["p(95)<500", "p(95)"] } }),
            "options.thresholds.http_req_duration[1]: threshold `p(95)`: expected a comparison (<, <=, >, >=, ==, !=), found none",
        ),
        (
            json!({ "thresholds": { "http_req_failed": ["count>1"] } }),
            "options.thresholds.http_req_failed[0]: threshold `count>1`: the metric is a rate, of which rate can be said",
        ),
        (
            json!({ "thresholds": { "checks{a": ["rate>1"] } }),
            "options.thresholds[\"checks{a\"]: expected a metric, or one with tags such as http_req_duration{name:login}, found \"checks{a\"",
        ),
        (
            json!({ "summaryTrendStats": ["p(101)"] }),
            "options.summaryTrendStats[0]: expected avg, min, med, max, count or p(N) with N from 0 to 100, found \"p(101)\"",
        ),
    ] {
        assert_eq!(refusal(&value), words);
    }
}
