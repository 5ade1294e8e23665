//! Real programs under conditions that need no tracer.

mod support;

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use support::{Under, alive, lines, wait_until};

#[test]
fn a_program_ends_as_it_would_alone() {
    let under = Under::new("{}");
    assert_eq!(under.shell("exit 0").status.code(), Some(0));
    assert_eq!(under.shell("exit 7").status.code(), Some(7));
    let killed = under.shell("kill -SEGV $$");
    assert_eq!(killed.status.signal(), Some(11));
    let output = under.shell("echo out; echo err >&2; cat");
    assert_eq!(lines(&output.stdout), ["out"]);
    assert_eq!(lines(&output.stderr), ["err"]);
}

#[test]
fn what_cannot_be_started_is_told_apart() {
    let under = Under::new("{}");
    let missing = under.run(&["no-such-program-anywhere"]);
    assert_eq!(missing.status.code(), Some(127));
    let text = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(text.contains("no-such-program-anywhere"), "{text}");
    let missing = under.run(&["/no/such/program"]);
    assert_eq!(missing.status.code(), Some(127));
    let refused = under.run(&["/etc/passwd"]);
    assert_eq!(refused.status.code(), Some(126));
}

#[test]
fn a_malformed_order_runs_nothing() {
    for order in [
        "",
        "3",
        "{\"conditions\": 3}",
        "{\"conditions\": [{\"condition\": \"magic\"}]}",
    ] {
        let under = Under::new(order);
        let output = under.shell("echo ran");
        assert_eq!(output.status.code(), Some(125), "{order}");
        assert!(output.stdout.is_empty());
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn a_script_without_a_first_line_is_read_by_a_shell() {
    use std::os::unix::fs::PermissionsExt;
    let under = Under::new("{}");
    let script = under.path("script");
    std::fs::write(&script, "echo $1-$2\n").expect("written");
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("executable");
    let output = under.run(&[script.to_str().expect("UTF-8"), "a", "b"]);
    assert_eq!(lines(&output.stdout), ["a-b"]);
}

#[test]
fn the_environment_is_as_the_conditions_have_it() {
    let under = Under::new(
        r#"{"conditions": [
            {"condition": "variable", "name": "COHORT_A", "value": "1"},
            {"condition": "variable", "name": "COHORT_B", "value": null},
            {"condition": "time_zone", "name": "UTC-5:30"},
            {"condition": "locale", "name": "C"},
            {"condition": "locale", "name": "xx_YY.UTF-8"},
            {"condition": "open_files", "count": 40}
        ]}"#,
    )
    .with("COHORT_B", "x");
    let script =
        "echo $COHORT_A; echo ${COHORT_B-unset}; date +%z; echo $LC_ALL; ulimit -n; ulimit -Hn";
    let output = under.shell(script);
    assert_eq!(
        lines(&output.stdout),
        ["1", "unset", "+0530", "C", "40", "40"]
    );
    let report = under.report();
    assert_eq!(report.missing.len(), 1);
    assert!(report.missing[0].why.contains("xx_YY"), "{report:?}");
}

#[test]
fn only_so_many_cpus_are_seen() {
    let under = Under::new(r#"{"conditions": [{"condition": "cpus", "count": 1}]}"#);
    assert_eq!(lines(&under.run(&["nproc"]).stdout), ["1"]);
}

#[test]
fn memory_falls_back_to_the_address_space() {
    let conditions = r#""conditions": [{"condition": "memory_limit", "bytes": 123456512}]"#;
    let under = Under::new(&format!("{{{conditions}}}"));
    assert_eq!(lines(&under.shell("ulimit -v").stdout), ["unlimited"]);
    let under = Under::new(&format!(
        "{{{conditions}, \"fallback\": [\"memory_limit\"]}}"
    ));
    assert_eq!(lines(&under.shell("ulimit -v").stdout), ["120563"]);
}

#[test]
fn copies_run_at_once_and_the_first_failure_counts() {
    let under = Under::new(r#"{"conditions": [{"condition": "copies", "count": 4}]}"#);
    // Each waits until all are there: they would never end one after the other.
    let meet =
        "mkdir -p here; : > here/$$; while [ $(ls here | wc -l) -lt 4 ]; do sleep 0.01; done";
    let output = under.shell(&format!("{meet}; echo done"));
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(lines(&output.stdout), ["done"]);
    let output = under.shell("if mkdir only; then sleep 1000; else echo $0 lost >&2; exit 3; fi");
    assert_eq!(output.status.code(), Some(3));
    let errors = lines(&output.stderr);
    assert!(
        errors.iter().any(|line| line.contains("lost")),
        "{errors:?}"
    );
    assert!(under.report().failed_copy.is_some());
}

#[test]
fn a_flood_of_output_is_bounded_where_it_is_kept() {
    let under = Under::new(r#"{"conditions": [{"condition": "copies", "count": 2}]}"#);
    let output = under.shell("head -c 30000000 /dev/zero; echo end");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.len() < 9_000_000);
    assert!(output.stdout.ends_with(b"end\n"));
    let under = Under::new("{}");
    let output = under.shell("head -c 30000000 /dev/zero");
    assert_eq!(output.stdout.len(), 30_000_000);
}

#[test]
fn what_runs_before_is_over_and_what_runs_beside_is_there() {
    let order = r#"{
        "conditions": [{"condition": "variable", "name": "WORD", "value": "hello"}],
        "before": [
            {"program": "sh", "arguments": ["-c", "echo $WORD > left; echo noise; exit 1"]},
            {"program": "no-such-program"},
            {"program": "sh", "arguments": ["-c", "sleep 1000 & echo $! > stays"]}
        ],
        "beside": [{"program": "sh", "arguments": ["-c", "echo $MINE > beside; exec sleep 1000"],
                    "environment": {"MINE": "own"}}]
    }"#;
    let under = Under::new(order);
    let script = "cat left; kill -0 $(cat stays) && echo stays; \
                  while ! [ -s beside ]; do sleep 0.01; done; cat beside";
    let output = under.shell(script);
    assert_eq!(lines(&output.stdout), ["hello", "stays", "own"]);
    let report = under.report();
    assert!(report.remarks[0].contains("no-such-program"), "{report:?}");
    let stays = std::fs::read_to_string(under.path("stays")).expect("a pid");
    assert!(!alive(stays.trim()));
}

#[test]
fn nothing_is_left_of_a_program_that_forks_away() {
    let under = Under::new("{}");
    let script = "setsid sh -c 'echo $$ > one; sleep 1000 & echo $! > two; wait' & \
                  while ! [ -s two ]; do sleep 0.01; done; exit 4";
    let output = under.shell(script);
    assert_eq!(output.status.code(), Some(4));
    for file in ["one", "two"] {
        let pid = std::fs::read_to_string(under.path(file)).expect("a pid");
        assert!(!alive(pid.trim()), "{file}");
    }
}

#[test]
fn neighbours_are_busy_while_the_program_runs_and_gone_after_it() {
    let under = Under::new(
        r#"{"conditions": [{"condition": "noise", "noise": "cpu", "tasks": 2},
                           {"condition": "noise", "noise": "memory", "tasks": 1},
                           {"condition": "noise", "noise": "disk", "tasks": 1}]}"#,
    );
    // Its grandparent is the engine, whose other children are the neighbours.
    let script = "engine=$PPID; cat /proc/$engine/task/$engine/children > around; echo $$ > me; \
                  for pid in $(cat around); do [ $pid = $$ ] || \
                    while [ $(cut -d' ' -f14 /proc/$pid/stat) -lt 1 ] && \
                          [ $(cut -d' ' -f15 /proc/$pid/stat) -lt 1 ]; do sleep 0.01; done; done; exit 0";
    let output = under.shell(script);
    assert_eq!(output.status.code(), Some(0));
    let around = std::fs::read_to_string(under.path("around")).expect("pids");
    let pids: Vec<&str> = around.split_whitespace().collect();
    assert_eq!(pids.len(), 5, "{around}");
    for pid in pids {
        assert!(!alive(pid));
    }
    assert_eq!(
        std::fs::read_dir(under.path("tmp")).expect("tmp").count(),
        0
    );
}

#[test]
fn nothing_is_left_when_the_guard_is_told_to_end_or_killed() {
    for signal in ["TERM", "KILL"] {
        let under = Under::new(r#"{"conditions": [{"condition": "copies", "count": 2}]}"#);
        let mut guard = under
            .command(&["sh", "-c", "sleep 1000 & echo $! >> pids; sleep 1000"])
            .stdout(Stdio::null())
            .spawn()
            .expect("started");
        let pids = || lines(&std::fs::read(under.path("pids")).unwrap_or_default());
        wait_until("both copies run", || pids().len() == 2);
        let pid = guard.id().to_string();
        let status = std::process::Command::new("kill")
            .args([&format!("-{signal}"), &pid])
            .status()
            .expect("kill");
        assert!(status.success());
        let status = guard.wait().expect("ended");
        assert_eq!(status.signal(), Some(if signal == "TERM" { 15 } else { 9 }));
        wait_until("all are gone", || pids().iter().all(|pid| !alive(pid)));
    }
}
