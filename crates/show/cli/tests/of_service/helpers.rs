//! Helpers: deployed on suspicion, read, kept, and taken away, whatever they do.

use std::path::{Path, PathBuf};

use super::{Campaign, Suite, assert_said, script, shown};
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

/// A campaign against a server that burns CPU, in which this helper, as it is built in, comes for failed calls. With `path` before
/// `PATH`.
fn profiled(command: &str, (name, manifest): (&str, &str), path: &Path) -> Ended {
    let suite = Campaign {
        command,
        sut: "instances = 1\nnetwork = \"host\"",
        script: script("http.get(`${U}${__ITER % 5 === 0 ? '/fail' : '/burn'}`)"),
        ..Campaign::default()
    }
    .write();
    suite.write("burns.py", include_str!("burns.py"));
    suite.write("burns.c", include_str!("burns.c"));
    std::fs::create_dir(suite.root().join("helpers")).unwrap();
    let sooner = manifest
        .replace("detects = [", "detects = [\"errors\", \"error_burst\", ")
        .replace("looks = \"10s\"", "looks = \"3s\"")
        // How much the host sways is not what is tested here.
        .replace("slowdown = 1.1", "slowdown = 9.0");
    suite.write(&format!("helpers/{name}.toml"), &sooner);
    let mut run = std::process::Command::new(env!("CARGO_BIN_EXE_cohort"));
    let before = std::env::var_os("PATH").unwrap_or_default();
    let paths = [path.to_owned()]
        .into_iter()
        .chain(std::env::split_paths(&before));
    run.env("PATH", std::env::join_paths(paths).unwrap());
    let words = [
        "run",
        "--progress",
        "plain",
        "--events",
        "events",
        "--no-reproduce",
        "--vus",
        "2",
        "--duration",
        "12s",
    ];
    run.args(words);
    let ended = suite.spawn(run).end();
    suite.assert_all_gone(&ended);
    let folded = suite.read(&format!(
        ".cohort/campaigns/1/helpers/0-{name}/profile.folded"
    ));
    assert!(
        folded.contains("count_slowly"),
        "{}\n{folded}",
        shown(&ended)
    );
    ended
}

#[test]
fn the_function_of_python_that_burns_is_named() {
    let python = std::env::var_os("COHORT_TEST_PYTHON").map(PathBuf::from);
    let Some(path) = python.as_deref().and_then(Path::parent) else {
        eprintln!(
            "LEFT OUT: COHORT_TEST_PYTHON names no Python with py-spy; `cargo xtask test` does"
        );
        return;
    };
    let manifest = include_str!("../../../../act/helper/manifests/python-profiler.toml");
    let command = r#"["python3", "burns.py", "{port}"]"#;
    let ended = profiled(command, ("python-profiler", manifest), path);
    let wanted = [" % of the CPU time goes to `count_slowly (", "do_GET` ("];
    assert_said(&ended, 1, &wanted);
}

#[test]
fn the_function_of_a_compiled_server_that_burns_is_named() {
    let perf = std::process::Command::new("perf").arg("--version").output();
    if !perf.is_ok_and(|it| it.status.success()) {
        eprintln!("LEFT OUT: no perf");
        return;
    }
    let manifest = include_str!("../../../../act/helper/manifests/profiler.toml");
    let command = r#""cc -O1 -g -o burns burns.c && exec ./burns {port}""#;
    let ended = profiled(command, ("profiler", manifest), Path::new("/usr/bin"));
    let wanted = [
        " % of the CPU time goes to `count_slowly`",
        "called by `answer`",
    ];
    assert_said(&ended, 1, &wanted);
}
