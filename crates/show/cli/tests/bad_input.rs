//! What a suite may do wrong, and what may happen to Cohort: each ends in one clear error or in a
//! bounded, reported outcome, nothing already known is lost, and nothing is left behind.

mod common;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{Ended, Suite, wait_until};

const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const NOBODY: u32 = 65534;

/// Whether a process of this id is alive (a zombie is not).
fn alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim_start().starts_with('Z'))
    })
}

#[test]
fn a_command_that_is_no_suite() {
    let suite = Suite::empty();
    let ended = suite.run(&["--", "frobnicate", "x"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert_eq!(ended.stderr.trim_end().lines().count(), 1, "{ended:?}");
    assert!(
        ended.stderr.contains("`frobnicate x` is no test suite"),
        "{ended:?}"
    );
    suite.assert_nothing_left(&ended);
}

#[test]
fn a_command_in_quotes() {
    let suite = Suite::empty();
    let ended = suite.run(&["cargo test --workspace"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let hint = "is it quoted? try: cohort run -- cargo test --workspace\n";
    assert!(ended.stderr.ends_with(hint), "{ended:?}");
}

#[test]
fn a_directory_that_is_none() {
    let suite = Suite::empty();
    suite.write("file", "");
    for (path, why) in [("absent", "No such file"), ("file", "not a directory")] {
        let ended = suite.run(&["-C", path, "--", "pytest"]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        let said = format!("cohort: cannot work in {path}: {why}");
        assert!(ended.stderr.starts_with(&said), "{ended:?}");
    }
}

#[test]
fn a_program_that_is_not_there() {
    let suite = Suite::empty();
    for words in [&["pytest"][..], &["cargo", "test"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cohort"));
        command
            .args(["run", "--"])
            .args(words)
            .env("PATH", suite.root());
        let ended = suite.spawn(command).end();
        assert_eq!(ended.code, Some(3), "{ended:?}");
        let said = format!(
            "cohort: cannot run `{}`: no such program on PATH; is it installed, or its virtual \
             environment active?\n",
            words[0]
        );
        assert!(ended.stderr.ends_with(&said), "{ended:?}");
        suite.assert_nothing_left(&ended);
    }
}

#[test]
fn a_suite_that_cannot_list() {
    let suite = Suite::empty();
    suite.write(
        "cohort.toml",
        "[suite]\nlist = \"echo nothing here >&2; exit 4\"\nrun = \"true\"\n",
    );
    let ended = suite.run(&[]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(
        ended.stderr.contains("(exit code 4): nothing here"),
        "{ended:?}"
    );
    suite.assert_nothing_left(&ended);
}

#[test]
fn an_unknown_key_gets_the_nearest_one_suggested() {
    let suite = Suite::empty();
    suite.write("cohort.toml", "[budget]\ntimout = \"1s\"\n");
    let ended = suite.run(&[]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("unknown key `timout`; did you mean `timeout`?"),
        "{ended:?}"
    );
}

#[test]
fn a_configuration_that_cannot_be_read_is_not_ignored() {
    let suite = Suite::empty();
    let root = suite.root();
    let path = root.join("cohort.toml");
    for (how, why) in [
        ("ln -s absent cohort.toml", "No such file"),
        ("ln -s cohort.toml cohort.toml", "symbolic links"),
        ("mkdir cohort.toml", "is no file"),
        ("mkfifo cohort.toml", "is no file"),
    ] {
        let shell = Command::new("sh")
            .args(["-c", &format!("rm -rf cohort.toml; {how}")])
            .current_dir(&root)
            .status();
        assert!(shell.unwrap().success(), "{how}");
        let ended = suite.run(&[]);
        assert_eq!(ended.code, Some(2), "{how}: {ended:?}");
        assert!(
            ended.stderr.contains(&path.display().to_string()),
            "{ended:?}"
        );
        assert!(ended.stderr.contains(why), "{how}: {ended:?}");
    }
}

#[test]
fn a_list_that_changes_while_it_runs() {
    let suite = Suite::new(
        &["a", "b", "c"],
        "printf 'a\\nnew\\n' > names; test $1 != b",
    );
    let ended = suite.run(&[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let verdicts = suite.verdicts();
    assert_eq!(verdicts.len(), 3, "as listed at the start: {verdicts:?}");
    assert_eq!(verdicts["b"], "failed");
    suite.assert_replays();
    let again = suite.run(&[]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(suite.verdicts().contains_key("new"));
    suite.assert_nothing_left(&ended);
}

#[test]
fn a_daemon_is_gone_afterwards() {
    let script = "setsid sh -c 'echo $$ > daemon; exec sleep 300' >/dev/null 2>&1 & \
                  until test -s daemon; do sleep 0.01; done";
    let suite = Suite::new(&["a"], script);
    let ended = suite.run(&[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let daemon = suite.read("daemon");
    wait_until("the daemon to be gone", || !alive(&daemon));
    suite.assert_nothing_left(&ended);
    suite.assert_replays();
}

#[test]
fn two_hundred_megabytes_of_output_are_bounded() {
    let suite = Suite::new(
        &["loud", "quiet"],
        "test $1 = quiet || { yes | head -c 200M; exit 1; }",
    );
    let ended = suite.run(&["--reproduce-for", "5s"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(suite.verdicts()["quiet"], "passed");
    assert_eq!(suite.verdicts()["loud"], "failed");
    assert!(
        ended.stdout.len() < 1 << 20,
        "{} bytes shown",
        ended.stdout.len()
    );
    let kept = Command::new("du")
        .args(["-sm", ".cohort"])
        .current_dir(suite.root())
        .output()
        .unwrap();
    let kept = String::from_utf8(kept.stdout).unwrap();
    let megabytes: u32 = kept.split_whitespace().next().unwrap().parse().unwrap();
    assert!(megabytes < 20, "{megabytes} MB kept");
    suite.assert_nothing_left(&ended);
    suite.assert_replays();
}

#[test]
fn who_ignores_sigterm_and_runs_for_ever_is_timed_out() {
    let suite = Suite::new(
        &["deaf", "fine"],
        "test $1 = fine || { trap '' TERM; while :; do sleep 1; done; }",
    );
    let ended = suite.run(&["--timeout", "1s"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(suite.verdicts()["deaf"], "timed_out");
    assert_eq!(suite.verdicts()["fine"], "passed");
    suite.assert_nothing_left(&ended);
    suite.assert_replays();
}

#[test]
fn closed_output_is_no_failure() {
    let suite = Suite::new(&["a"], "exec >&- 2>&-; sleep 0.2; exit 0");
    let ended = suite.run(&[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    suite.assert_nothing_left(&ended);
    suite.assert_replays();
}

#[test]
fn names_of_any_kind() {
    let names = [
        "it's \"quoted\" $HOME `x`",
        "ünïcode ☃ & <tag>",
        "-dash; exit 3",
    ];
    let suite = Suite::new(&names, "printf '%s\\n' \"$1\" >> ran");
    let ended = suite.run(&["--junit", "out.xml"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for name in names {
        assert_eq!(suite.count("ran", name), 1, "{name}");
        assert_eq!(suite.verdicts()[name], "passed", "{name}");
    }
    let xml = suite.read("out.xml");
    assert!(xml.contains("ünïcode ☃ &amp; &lt;tag"), "{xml}");
    suite.assert_nothing_left(&ended);
    suite.assert_replays();
}

#[test]
fn a_second_cohort_is_told_of_the_first() {
    let suite = Suite::new(&["a"], "touch began; until test -e go; do sleep 0.01; done");
    let first = suite.start(&["run", "--progress", "plain"]);
    wait_until("the first to begin", || suite.root().join("began").exists());
    let second = suite.cohort(&["run", "--progress", "plain"]);
    suite.write("go", "");
    let pid = first.pid().to_string();
    let first = first.end();
    assert_eq!(second.code, Some(8), "{second:?}");
    assert!(second.stderr.contains(&pid), "names {pid}: {second:?}");
    assert_eq!(first.code, Some(0), "{first:?}");
    suite.assert_nothing_left(&first);
}

#[test]
fn a_record_that_has_no_place() {
    let suite = Suite::new(&["a"], "exit 0");
    let root = suite.root();
    let allow = |path: &Path, mode| {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    allow(root.parent().unwrap(), 0o755);
    let open = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o1 != 0;
    if nix_root() && !root.ancestors().all(open) {
        eprintln!("LEFT OUT: no other user may enter {}", root.display());
        return;
    }
    allow(&root, 0o555);
    let mut command = Command::new(env!("CARGO_BIN_EXE_cohort"));
    command.arg("run").env("XDG_STATE_HOME", "/dev/null/state");
    if nix_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let ended = suite.spawn(command).end();
    assert_eq!(ended.code, Some(4), "{ended:?}");
    let said = format!(
        "cohort: {} is not writable, and /dev/null/state/cohort/",
        root.display()
    );
    assert!(ended.stderr.starts_with(&said), "{ended:?}");
    assert!(ended.stderr.contains("set XDG_STATE_HOME"), "{ended:?}");
    allow(&root, 0o755);
}

/// The first three tests end at once, the others wait for the file `go`.
const WAITING: &str = "case $1 in fast*) ;; *) touch waits; until test -e go; do sleep 0.01; done;; esac; \
                       echo $1 >> ran";
const NAMES: [&str; 5] = ["fast1", "fast2", "fast3", "slow1", "slow2"];

/// Whether the tests that end at once are known to have ended, and another waits.
fn is_in_the_middle(suite: &Suite) -> bool {
    let known = suite
        .read("events")
        .matches("\"command\":\"conclude\"")
        .count();
    known == 3 && suite.root().join("waits").exists()
}

#[test]
fn killed_in_the_middle_it_is_resumed() {
    let suite = Suite::new(&NAMES, WAITING);
    let run = suite.start(&["run", "--progress", "plain", "--events", "events"]);
    wait_until("the middle", || is_in_the_middle(&suite));
    run.signal(SIGKILL);
    let killed = run.end();
    suite.write("go", "");
    let resumed = suite.cohort(&["resume", "--progress", "plain"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    for name in &NAMES[..3] {
        assert_eq!(suite.count("ran", name), 1, "{name}: {}", suite.read("ran"));
    }
    for name in &NAMES[3..] {
        assert!(
            suite.count("ran", name) >= 1,
            "{name}: {}",
            suite.read("ran")
        );
    }
    assert!(resumed.stdout.contains("5 tests"), "{resumed:?}");
    suite.assert_nothing_left(&killed);
    suite.assert_nothing_left(&resumed);
    suite.assert_replays();
    let again = suite.cohort(&["resume"]);
    assert_eq!(again.code, Some(2), "nothing to resume: {again:?}");
}

#[test]
fn a_resumed_campaign_tells_what_came_before() {
    let script = format!("{WAITING}; test $1 != fast2 || {{ echo why it fails; exit 3; }}");
    let suite = Suite::new(&NAMES, &script);
    // One lane whatever is measured, so that a failure is not tried again.
    let run = suite.start(&[
        "run",
        "--instances",
        "1",
        "--policy",
        "static",
        "--events",
        "events",
    ]);
    wait_until("the middle", || is_in_the_middle(&suite));
    run.signal(SIGINT);
    assert_eq!(run.end().code, Some(130));
    suite.write("go", "");
    let resumed = suite.cohort(&["resume", "--junit", "out.xml"]);
    assert_eq!(resumed.code, Some(1), "{resumed:?}");
    let told =
        |text: &str| text.contains("fast2  exit code 3, ") && text.contains("\n    why it fails\n");
    assert!(told(&resumed.stdout), "{resumed:?}");
    let counts = "5 tests: 1 failed, 4 passed; took ";
    assert!(resumed.stdout.contains(counts), "{resumed:?}");
    assert!(!resumed.stderr.contains("fast"), "not again: {resumed:?}");
    let shown = suite.cohort(&["show"]);
    assert_eq!(resumed.stdout, shown.stdout);
    let xml = suite.read("out.xml");
    assert!(xml.contains("why it fails"), "{xml}");
    assert_eq!(xml.matches("<testcase ").count(), 5, "{xml}");
    for case in xml.split("<testcase ").skip(1) {
        assert!(case.split('>').next().unwrap().contains(" time="), "{xml}");
    }
}

#[test]
fn a_campaign_that_runs_is_not_shown_as_unfinished() {
    let suite = Suite::new(&NAMES, WAITING);
    let run = suite.start(&["run", "--progress", "plain", "--events", "events"]);
    wait_until("the middle", || is_in_the_middle(&suite));
    let last_line = |ended: &Ended| ended.stdout.lines().last().unwrap_or_default().to_owned();
    let shown = suite.cohort(&["show"]);
    let last = last_line(&shown);
    let running = "running        5 tests: 3 passed, 2 to go; took ";
    assert!(last.starts_with(running), "{shown:?}");
    assert!(!shown.stdout.contains("cohort resume"), "{shown:?}");
    run.signal(SIGKILL);
    run.end();
    suite.write("go", "");
    let shown = suite.cohort(&["show"]);
    let last = last_line(&shown);
    assert!(last.starts_with("unfinished     5 tests: "), "{shown:?}");
    assert!(shown.stdout.contains("cohort resume"), "{shown:?}");
}

#[test]
fn interrupted_it_reports_and_is_resumed() {
    let suite = Suite::new(&NAMES, WAITING);
    let run = suite.start(&["run", "--progress", "plain", "--events", "events"]);
    wait_until("the middle", || is_in_the_middle(&suite));
    run.signal(SIGINT);
    let since = std::time::Instant::now();
    let stopped = run.end();
    assert!(since.elapsed() < Duration::from_secs(5), "{stopped:?}");
    assert_eq!(stopped.code, Some(130), "{stopped:?}");
    assert!(stopped.stdout.contains("3 passed"), "{stopped:?}");
    suite.assert_nothing_left(&stopped);
    suite.write("go", "");
    let resumed = suite.cohort(&["resume", "--progress", "plain"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    for name in NAMES {
        assert_eq!(suite.count("ran", name), 1, "{name}: {}", suite.read("ran"));
    }
    suite.assert_nothing_left(&resumed);
    suite.assert_replays();
}

#[test]
fn a_failure_is_said_before_it_is_tried_again_and_when_it_no_longer_can_be() {
    let names: Vec<String> = (0..40).map(|number| format!("t{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // It fails beside more tests than there are cores.
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let script = "echo $1 >>begun\n\
        case $1 in t0)\n\
        while test $(wc -l <begun) -le CORES; do sleep 0.05; done\n\
        echo why it failed; exit 1;; *) sleep 100;; esac\n";
    let suite = Suite::new(&names, &script.replace("CORES", &cores.to_string()));
    let words = ["run", "--progress", "plain", "--junit", "junit.xml"];
    let run = suite.start(&words);
    wait_until("the failure to be said", || {
        run.said().contains("to be tried again alone")
    });
    run.signal(SIGINT);
    let stopped = run.end();
    assert_eq!(stopped.code, Some(130), "{stopped:?}");
    assert!(stopped.stdout.contains("why it failed"), "{stopped:?}");
    assert!(
        stopped.stdout.contains("1 failed once, 39 not run"),
        "{stopped:?}"
    );
    let junit = suite.read("junit.xml");
    assert!(junit.contains("failures=\"1\""), "{junit}");
    assert!(junit.contains("why it failed"), "{junit}");
}

#[test]
fn a_full_disk_under_the_log() {
    let script = "test $1 = first || { dd if=/dev/zero of=.cohort/fill bs=4k; } 2>/dev/null; sleep 0.1; exit 0";
    let suite = Suite::new(&["first", "second", "third", "fourth"], script);
    let mount =
        "mkdir -p .cohort && mount -t tmpfs -o size=8m none .cohort || exit 99; exec \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", mount, env!("CARGO_BIN_EXE_cohort")]);
    command.args([
        "run",
        "--progress",
        "plain",
        "--instances",
        "1",
        "--events",
        "events",
    ]);
    let ended = suite.spawn(command).end();
    if ended.code == Some(99) || ended.stderr.starts_with("unshare:") {
        eprintln!(
            "LEFT OUT: a full disk needs the right to mount a tmpfs: {}",
            ended.stderr
        );
        return;
    }
    assert_eq!(ended.code, Some(4), "{ended:?}");
    let said = ended.stdout.clone() + &ended.stderr;
    assert!(said.contains("No space left on device"), "{ended:?}");
    assert!(
        ended.stdout.contains("passed"),
        "what is known is summed up: {ended:?}"
    );
    suite.assert_nothing_left(&ended);
}

/// `sore` waits until two others run beside it, one more than there are cores, and fails of it; tried
/// again, it fails only when another still runs. The others wait for its first try.
const SENSITIVE: &str = "\
    mkdir -p running/$1\n\
    if test $1 != sore; then until test -e tried; do sleep 0.2; done; rmdir running/$1; exit 0; fi\n\
    until test -e tried || test $(ls running | wc -l) -gt 2; do sleep 0.2; done\n\
    ls running > beside; touch tried; rmdir running/sore\n\
    test $(wc -l < beside) -le 1";

#[test]
fn load_sensitive_passes_and_is_strictly_a_failure() {
    let names = ["sore", "b", "c", "d", "e"];
    for (strict, code) in [(false, 0), (true, 6)] {
        let suite = Suite::new(&names, SENSITIVE);
        let mut flags = vec!["--cpus", "2", "--timeout", "20s", "--reproduce-for", "5s"];
        flags.extend(strict.then_some("--strict"));
        let ended = suite.run(&flags);
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert_eq!(suite.verdicts()["sore"], "passed");
        assert!(ended.stdout.contains("load-sensitive"), "{ended:?}");
        suite.assert_nothing_left(&ended);
        suite.assert_replays();
    }
}

#[test]
fn memory_beyond_the_budget_is_said_to_be_memory() {
    if !Path::new("/sys/fs/cgroup").exists() || !nix_root() {
        eprintln!("LEFT OUT: memory limits need control groups and the right to use them");
        return;
    }
    let suite = Suite::new(
        &["a", "big", "c"],
        "test $1 != big || awk 'BEGIN { s = \"x\"; while (length(s) < 300000000) s = s s }'",
    );
    let ended = suite.run(&["--memory", "128MiB"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let verdicts = suite.verdicts();
    assert_eq!(verdicts["big"], "out_of_memory", "{ended:?}");
    assert_eq!(
        (verdicts["a"].as_str(), verdicts["c"].as_str()),
        ("passed", "passed")
    );
    assert!(ended.stdout.contains("out of memory"), "{ended:?}");
    suite.assert_nothing_left(&ended);
    suite.assert_replays();
}

/// Whether this process may do anything.
fn nix_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}

#[test]
fn a_dry_run_runs_nothing() {
    let suite = Suite::new(&["only"], "touch ran");
    let ended = suite.cohort(&["run", "--dry-run", "--instances", "1"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.starts_with("1 test in 1 group, "), "{ended:?}");
    assert!(ended.stdout.contains("at most 1 instance\n"), "{ended:?}");
    assert!(!suite.root().join("ran").exists(), "{ended:?}");
    suite.assert_nothing_left(&ended);
}

#[test]
fn reports_are_well_formed() {
    let suite = Suite::new(
        &["a", "b", "c", "d"],
        "case $1 in b) echo '<&]]>'; exit 1;; c) exit 77;; esac",
    );
    let ended = suite.run(&["--junit", "out.xml"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let events = suite.events();
    assert_eq!(events.first().unwrap()["record"], "started");
    assert_eq!(events.last().unwrap()["record"], "ended");
    let xml = suite.read("out.xml");
    assert!(
        xml.contains("tests=\"4\" skipped=\"1\" failures=\"1\" errors=\"0\""),
        "{xml}"
    );
    assert_eq!(xml.matches("<testcase ").count(), 4);
    assert!(!xml.contains("<&]]>"), "{xml}");
    if let Ok(parsed) = Command::new("python3")
        .args(["-c", "import sys, xml.dom.minidom as x; x.parse('out.xml')"])
        .current_dir(suite.root())
        .status()
    {
        assert!(parsed.success(), "{xml}");
    } else {
        eprintln!("LEFT OUT: parsing the XML needs python3");
    }
    suite.assert_nothing_left(&ended);
    suite.assert_replays();
}
