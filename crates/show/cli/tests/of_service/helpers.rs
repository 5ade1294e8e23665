//! Helpers: deployed on suspicion, read, kept, and taken away, whatever they do.

use super::{Campaign, Suite, assert_said, shown};
use crate::common::Ended;

/// A manifest of a helper that is deployed when calls fail.
fn manifest(script: &str, more: &str) -> String {
    format!(
        "about = 'a test'\ndetects = ['errors', 'error_burst', 'exception']\n\
         command = ['sh', '-c', '''{script}''']\nlooks = '1s'\nreads = 'lines'\n{more}\n"
    )
}

/// A service whose calls fail now and then, with one helper.
fn failing(manifest: &str) -> Suite {
    let suite = Campaign::of("get(`/price/${__ITER % 3 === 0 ? 13 : 1}`)").write();
    std::fs::create_dir(suite.root().join("helpers")).unwrap();
    suite.write("helpers/mine.toml", manifest);
    suite
}

fn run(suite: &Suite) -> Ended {
    let ended = suite.run_for("8s");
    suite.assert_replays();
    suite.assert_all_gone(&ended);
    ended
}

#[test]
fn what_a_helper_finds_stands_with_the_finding_and_its_files_are_kept() {
    let script = "echo kept > {out}/note; echo \"process {pid} at {host} and {port}: $(cat /proc/{pid}/comm)\"";
    let suite = failing(&manifest(script, ""));
    let ended = run(&suite);
    assert_said(
        &ended,
        1,
        &[
            "deployed",
            "  mine for its ",
            "found why",
            ": python3",
            "kept in helpers/0-mine",
        ],
    );
    let note = suite.read(".cohort/campaigns/1/helpers/0-mine/note");
    assert_eq!(note, "kept\n");
}

#[test]
fn one_that_is_not_installed_is_missing_and_not_deployed() {
    let suite = failing(&manifest("true", "needs = ['no-such-program']"));
    let listed = suite.cohort(&["helpers"]);
    assert_said(
        &listed,
        0,
        &[
            "missing     mine",
            "no-such-program is not installed",
            "helpers/mine.toml",
        ],
    );
    let ended = run(&suite);
    assert!(!ended.stderr.contains("deployed"), "{}", shown(&ended));
}

#[test]
fn one_that_fails_says_why_and_nothing_else_is_touched() {
    let cases = [
        (
            "echo it broke >&2; exit 3",
            "it exited with code 3: it broke",
        ),
        ("kill -SEGV $$", "it was ended by signal 11"),
        ("head -c 3000000 /dev/zero", "raise limits.output"),
    ];
    for (script, why) in cases {
        let suite = failing(&manifest(script, "limits = { output = '1MiB' }"));
        let ended = run(&suite);
        assert_said(
            &ended,
            1,
            &["mine failed: ", why, "found            1 fault; "],
        );
    }
}

#[test]
fn output_that_is_not_understood_is_named_with_its_line() {
    let text = manifest("echo '{\"sentence\": \"a\"}'; echo nonsense", "");
    let suite = failing(&text.replace("'lines'", "'json'"));
    let ended = run(&suite);
    assert_said(
        &ended,
        1,
        &["mine failed: line 2 of its output is \"nonsense\""],
    );
    let output = suite.read(".cohort/campaigns/1/helpers/0-mine/output.txt");
    assert!(
        output.ends_with("nonsense\n"),
        "kept for a person: {output}"
    );
}

#[test]
fn one_that_forks_away_is_gone_with_its_end() {
    let suite = failing(&manifest("setsid sleep 1000 & echo looked", ""));
    let ended = run(&suite);
    assert_said(&ended, 1, &["found why        looked"]);
}

#[test]
fn one_that_never_ends_goes_with_the_campaign() {
    let suite = failing(&manifest("trap '' TERM; while :; do sleep 0.1; done", ""));
    let ended = run(&suite);
    assert_said(&ended, 1, &["deployed", "found            1 fault; "]);
}

#[test]
fn one_that_costs_more_than_it_said_is_withdrawn() {
    let costs = "cost = { cores = 0.01, slowdown = 9.0 }";
    let suite = failing(&manifest("while :; do :; done", costs));
    let ended = run(&suite);
    assert_said(&ended, 1, &["withdrawn", "mine: it used "]);
}

#[test]
fn a_manifest_that_makes_no_sense_is_refused_with_its_place() {
    let suite = failing(&manifest("true", "cots = {}"));
    let ended = suite.run_for("1s");
    let wanted = [
        "helpers/mine.toml:6",
        "unknown key `cots`; did you mean `cost`?",
    ];
    assert_said(&ended, 2, &wanted);
}
