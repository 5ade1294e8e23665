//! The smallest environment and the smallest input that show a failure, told of real suites of shell commands.

mod common;

use std::fs;
use std::process::Command;

use common::{Ended, Suite};
use serde_json::Value;

fn shown(suite: &Suite) -> Value {
    let ended = suite.cohort(&["show", "EC-1", "--json"]);
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

/// Runs the suite with these variables, beside those that there are.
fn run_with(suite: &Suite, variables: &[(&str, &str)]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cohort"));
    command.args(["run", "--progress", "plain", "--events", "events"]);
    command.args(["--reproduce-for", "60s"]);
    command.envs(variables.iter().copied());
    suite.spawn(command).end()
}

#[test]
fn a_variable_that_matters_is_named_and_is_a_part_of_the_smallest_recipe() {
    let script = "test \"$ORDERS_DEBUG\" = 1 && { echo \"assertion failed: debug output\" >&2; exit 1; }; exit 0";
    let suite = Suite::new(&["a"], script);
    let ended = run_with(&suite, &[("ORDERS_DEBUG", "1"), ("ORDERS_COLOR", "never")]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let page = shown(&suite);
    let sentence = page["sentence"].as_str().unwrap();
    assert!(
        sentence.contains("fails with `ORDERS_DEBUG` in the environment"),
        "{page:#}"
    );
    let parts = &page["case"]["smallest"]["recipe"]["parts"];
    assert_eq!(
        parts,
        &serde_json::json!([{"variable": "ORDERS_DEBUG"}]),
        "{page:#}"
    );
    assert_eq!(
        page["case"]["causes"][0]["without"]["failed"], 0,
        "{page:#}"
    );
    // Names are told, and no values.
    let events = suite.read("events");
    assert!(events.contains("ORDERS_COLOR") && !events.contains("never"));
}

#[test]
fn a_file_that_a_program_cannot_read_is_cut_to_what_matters() {
    let suite = Suite::empty();
    fs::create_dir(suite.root().join("corpus")).unwrap();
    let config = "[suite]\nlist = \"ls corpus/*\"\nrun = \"sh ./read.sh {test}\"\n";
    suite.write("cohort.toml", config);
    suite.write(
        "read.sh",
        "if grep -q 'price.*-' \"$1\"; then echo 'assertion failed: a price below nothing' >&2; exit 1; fi\n",
    );
    let items: Vec<String> = (0..30)
        .map(|n| {
            format!(
                "{{\"id\": {n}, \"price\": {}}}",
                if n == 17 { -3 } else { n }
            )
        })
        .collect();
    let whole = format!("{{\"items\": [{}], \"more\": [1, 2]}}", items.join(", "));
    suite.write("corpus/bad.json", &whole);
    suite.write("corpus/good.json", "{\"items\": []}");
    let ended = suite.run(&["--reproduce-for", "100s"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let page = shown(&suite);
    let input = page["case"]["smallest"]["recipe"]["input"].as_str();
    assert_eq!(input, Some(r#"{"items":[{"price":-3}]}"#), "{page:#}");
    assert_eq!(suite.read(".cohort/cases/EC-1/input"), input.unwrap());
    assert_eq!(suite.read("corpus/bad.json"), whole);
    let again = suite.cohort(&["repro", "EC-1", "--runs", "3"]);
    assert!(again.stdout.contains("3 of 3 runs"), "{again:?}");
}
