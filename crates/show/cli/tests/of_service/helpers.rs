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
    let needs = "needs = ['no-such-program']\ninstall = { no-such-program = 'pip install it' }";
    let suite = failing(&manifest("true", needs));
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
    let said = "mine for its errors cannot be had: no-such-program is not installed";
    assert_said(&ended, 1, &[said, "(get it: pip install it)"]);
    let deployed = ended.stderr.lines().filter(|it| it.starts_with("deployed"));
    assert_eq!(
        deployed.filter(|it| it.contains("mine")).count(),
        0,
        "{}",
        shown(&ended)
    );
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

/// A server, and a helper that is built in, which comes for failed calls here.
struct Looked<'a> {
    command: &'a str,
    instances: u32,
    helper: (&'a str, &'a str),
    /// What is called apart from what fails.
    call: &'a str,
    /// Before `PATH`.
    path: &'a Path,
    /// Is in the stacks that are kept.
    folded: &'a str,
}

impl Looked<'_> {
    fn ended(&self) -> Ended {
        self.kept().0
    }

    /// And the project.
    fn kept(&self) -> (Ended, Suite) {
        let (name, manifest) = self.helper;
        let call = format!(
            "http.get(`${{U}}${{__ITER % 5 === 0 ? '/fail' : '{}'}}`)",
            self.call
        );
        let suite = Campaign {
            command: self.command,
            sut: &format!("instances = {}\nnetwork = \"host\"", self.instances),
            // Both of two that are looked at cost something, and a short look costs more for each second.
            scenario: "script = \"load.js\"\n[helpers]\nshare = 0.5",
            script: script(&call),
            ..Campaign::default()
        }
        .write();
        suite.write("burns.py", include_str!("burns.py"));
        suite.write("burns.c", include_str!("burns.c"));
        suite.write("burns.js", include_str!("burns.js"));
        std::fs::create_dir(suite.root().join("helpers")).unwrap();
        suite.write(&format!("helpers/{name}.toml"), &sooner(manifest));
        let mut run = std::process::Command::new(env!("CARGO_BIN_EXE_cohort"));
        let before = std::env::var_os("PATH").unwrap_or_default();
        let paths = [self.path.to_owned()]
            .into_iter()
            .chain(std::env::split_paths(&before));
        run.env("PATH", std::env::join_paths(paths).unwrap());
        // To look at two and to compare them takes longer.
        let lasts = if self.instances == 1 { "12s" } else { "15s" };
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
            lasts,
        ];
        run.args(words);
        let ended = suite.spawn(run).end();
        suite.assert_all_gone(&ended);
        let kept = format!(".cohort/campaigns/1/helpers/0-{name}");
        let folded = suite.read(&format!("{kept}/profile.folded"));
        assert!(folded.contains(self.folded), "{}\n{folded}", shown(&ended));
        let flames = suite.read(&format!("{kept}/flames.svg"));
        assert!(flames.contains(self.folded), "{flames}");
        (ended, suite)
    }
}

/// The manifest, deployed for failed calls and for a few seconds; how much the host sways is not what is tested here.
fn sooner(manifest: &str) -> String {
    let lines = manifest.lines().map(|line| match line.split_once(" = ") {
        Some(("detects", _)) => "detects = [\"errors\", \"error_burst\"]".to_owned(),
        Some(("looks", _)) => "looks = \"3s\"".to_owned(),
        Some(("cost", _)) => "cost = { cores = 0.2, slowdown = 99.0 }".to_owned(),
        _ => line.to_owned(),
    });
    lines.map(|line| line + "\n").collect()
}

/// Whether a program is there; says so when a test has to be left out.
pub(super) fn has(program: &str) -> bool {
    let found = std::process::Command::new(program)
        .arg("--version")
        .output();
    let found = found.is_ok_and(|it| it.status.success());
    if !found {
        eprintln!("LEFT OUT: no {program}");
    }
    found
}

const PYTHON: &str = r#"["python3", "burns.py", "{port}"]"#;
const COMPILED: &str = r#""cc -O1 -g -o burns burns.c && exec ./burns {port}""#;
/// The same, where all but the first instance are well.
const ONE_ODD: &str = r#""cc -O1 -g -o burns-{port} burns.c && if mkdir odd; then exec ./burns-{port} {port}; fi && exec ./burns-{port} {port} well""#;
const NODE: &str = r#"["node", "burns.js", "{port}"]"#;

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
    let looked = Looked {
        command: PYTHON,
        instances: 1,
        helper: ("python-profiler", manifest),
        call: "/burn",
        path,
        folded: "count_slowly",
    };
    let wanted = [" % of the CPU time goes to `count_slowly (", "do_GET` ("];
    assert_said(&looked.ended(), 1, &wanted);
}

#[test]
fn the_line_of_python_whose_memory_stays_is_named() {
    if !has("gdb") {
        return;
    }
    let manifest = include_str!("../../../../act/helper/manifests/python-growth.toml");
    let looked = Looked {
        command: PYTHON,
        instances: 1,
        helper: ("python-growth", manifest),
        call: "/grow",
        path: Path::new("/usr/bin"),
        folded: "remember",
    };
    let wanted = [
        " % of the growth, ",
        " MB a minute, is allocated in `remember (",
    ];
    assert_said(&looked.ended(), 1, &wanted);
}

#[test]
fn the_function_of_a_compiled_server_that_burns_is_named_with_what_it_takes_elsewhere() {
    if !has("perf") {
        return;
    }
    let manifest = include_str!("../../../../act/helper/manifests/profiler.toml");
    let looked = Looked {
        command: ONE_ODD,
        instances: 2,
        helper: ("profiler", manifest),
        call: "/burn",
        path: Path::new("/usr/bin"),
        folded: "count_slowly",
    };
    let (ended, suite) = looked.kept();
    let wanted = [
        " % of the CPU time goes to `count_slowly",
        "called by `answer`",
        " % of the CPU time here, 0 % on i",
    ];
    assert_said(&ended, 1, &wanted);
    let kept = |file: &str| {
        suite
            .root()
            .join(".cohort/campaigns/1/helpers/0-profiler")
            .join(file)
    };
    let difference = std::fs::read_to_string(kept("flames-difference.svg")).unwrap();
    assert!(
        difference.contains("count_slowly") && difference.contains(" against i"),
        "{difference}"
    );
    let pprof = std::fs::read(kept("profile.pb.gz")).unwrap();
    assert!(pprof.starts_with(&[0x1f, 0x8b]), "gzip");
    assert!(kept("reference.folded").exists() && !kept("reference").exists());
}

#[test]
fn the_function_of_a_compiled_server_whose_memory_stays_is_named() {
    if !has("perf") {
        return;
    }
    let manifest = include_str!("../../../../act/helper/manifests/growth.toml");
    let looked = Looked {
        command: COMPILED,
        instances: 1,
        helper: ("growth", manifest),
        call: "/grow",
        path: Path::new("/usr/bin"),
        folded: "remember",
    };
    let wanted = [" MB a minute, is allocated in `remember (", "burns.c:"];
    assert_said(&looked.ended(), 1, &wanted);
}

#[test]
fn the_function_of_a_compiled_server_whose_files_stay_open_is_named() {
    if !has("perf") {
        return;
    }
    // Tracepoints are root's.
    let mounted = [
        "-m",
        "mount",
        "-t",
        "tracefs",
        "none",
        "/sys/kernel/tracing",
    ];
    let mounted = std::process::Command::new("unshare").args(mounted).output();
    if !mounted.is_ok_and(|it| it.status.success()) {
        eprintln!("LEFT OUT: no tracepoints");
        return;
    }
    let manifest = include_str!("../../../../act/helper/manifests/descriptors.toml");
    let looked = Looked {
        command: COMPILED,
        instances: 1,
        helper: ("descriptors", manifest),
        call: "/open",
        path: Path::new("/usr/bin"),
        folded: "forget_to_close",
    };
    let wanted = [
        " of the descriptors that stay open, ",
        " are opened in `forget_to_close (",
    ];
    assert_said(&looked.ended(), 1, &wanted);
}

#[test]
fn the_function_of_node_that_burns_and_that_whose_memory_stays_are_named() {
    if !has("node") {
        return;
    }
    let manifests = [
        (
            "node-profiler",
            include_str!("../../../../act/helper/manifests/node-profiler.toml"),
            "/burn",
            "countSlowly",
            " % of the CPU time goes to `countSlowly (",
        ),
        (
            "node-growth",
            include_str!("../../../../act/helper/manifests/node-growth.toml"),
            "/grow",
            "remember",
            "`remember",
        ),
    ];
    for (name, manifest, call, folded, wanted) in manifests {
        let looked = Looked {
            command: NODE,
            instances: 1,
            helper: (name, manifest),
            call,
            path: Path::new("/usr/bin"),
            folded,
        };
        assert_said(&looked.ended(), 1, &[wanted]);
    }
}

#[test]
fn a_server_that_ends_while_a_helper_attaches_is_no_harm() {
    // The helper itself ends it, as a debugger that was killed may, and would go on looking.
    let script = "kill -KILL {pid}; while :; do sleep 0.1; done";
    let suite = failing(&manifest(script, ""));
    let ended = run(&suite);
    let wanted = ["deployed", "  mine: its server ended", "crash "];
    assert_said(&ended, 1, &wanted);
}

#[test]
fn a_server_that_hangs_is_looked_at_before_it_is_started_anew() {
    let suite = Campaign {
        command: r#"["./burns", "{port}"]"#,
        sut: "build = \"cc -O1 -o burns burns.c\"\ninstances = 1",
        script: script("http.get(`${U}${__ITER === 20 ? '/hang' : '/'}`)"),
        ..Campaign::default()
    }
    .write();
    suite.write("burns.c", include_str!("burns.c"));
    std::fs::create_dir(suite.root().join("helpers")).unwrap();
    let looks = manifest("sleep 2; kill -0 {pid} && echo it was there", "");
    let looks = looks.replace("'errors', 'error_burst', 'exception'", "'hang'");
    suite.write("helpers/mine.toml", &looks);
    let ended = suite.run_for("16s");
    suite.assert_replays();
    suite.assert_all_gone(&ended);
    assert_said(
        &ended,
        1,
        &["it was there", "restarted        i0  for its hang"],
    );
}

#[test]
fn what_a_helper_leaves_on_the_host_is_cleaned_up_whatever_happens() {
    for (script, said) in [
        ("echo left > /tmp/cohort-test-{port}; echo looked", "looked"),
        (
            "echo left > /tmp/cohort-test-{port}; while :; do sleep 0.1; done",
            "deployed",
        ),
    ] {
        let cleanup = "cleanup = ['sh', '-c', 'mv /tmp/cohort-test-{port} {out}/cleaned']";
        let suite = failing(&manifest(script, cleanup));
        let ended = run(&suite);
        assert_said(&ended, 1, &[said]);
        let cleaned = suite.read(".cohort/campaigns/1/helpers/0-mine/cleaned");
        assert_eq!(cleaned, "left\n");
    }
}
