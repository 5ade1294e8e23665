//! The real program adapts to what real processes do: seen in its events, and in what the tests find.

mod common;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use common::Suite;
use serde_json::Value;

/// Whether instances are control groups here; else says what is left out.
fn has_groups(what: &str) -> bool {
    let suite = Suite::new(&["a"], "exit 0");
    let ended = suite.run(&[]);
    let held = suite.events()[0]["budget"]["holds_memory"] == true;
    if !held {
        eprintln!("LEFT OUT: {what} needs control groups and the right to use them: {ended:?}");
    }
    held
}

/// All decisions of a run with this command, in order.
fn decisions(suite: &Suite, command: &str) -> Vec<Value> {
    let events = suite.events();
    let all = events.iter().flat_map(|event| {
        let decisions = event["decisions"].as_array();
        decisions.into_iter().flatten().cloned()
    });
    all.filter(|decision| decision["command"] == command)
        .collect()
}

/// The first time it waits, so that it is known to. Then it computes, in a process that it starts,
/// until it finds itself in another control group, and says in which.
const TURNS: &str = "\
    test -e known || { sleep 0.6; touch known; exit 0; }\n\
    sh -c 'here=$(cat /proc/self/cgroup)\n\
        while test \"$here\" = \"$(cat /proc/self/cgroup)\"; do\n\
            i=0; while test $i -lt 50000; do i=$((i+1)); done\n\
        done\n\
        cat /proc/self/cgroup > child'\n\
    cat /proc/self/cgroup > itself";

#[test]
fn a_thread_that_outgrows_its_instance_is_handed_over_whole() {
    if !has_groups("handing a running test over") {
        return;
    }
    let suite = Suite::new(&["turns"], TURNS);
    let waited = suite.run(&[]);
    assert_eq!(waited.code, Some(0), "{waited:?}");
    let ended = suite.run(&["--timeout", "30s"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let moves = decisions(&suite, "hand_over_thread");
    assert_eq!(moves.len(), 1, "{moves:?} {ended:?}");
    assert_eq!(moves[0]["kind"], "cpu_saturation", "{moves:?}");
    let target = format!("/i{}", moves[0]["target"]);
    for process in ["itself", "child"] {
        let groups = suite.read(process);
        let there = groups.lines().any(|line| line.ends_with(&target));
        assert!(there, "{process} in {groups}");
    }
    let moved = suite.events().iter().any(|event| {
        let seen = event["observations"].as_array();
        seen.into_iter()
            .flatten()
            .any(|seen| seen["seen"] == "thread_moved")
    });
    assert!(moved, "{ended:?}");
    suite.assert_nothing_left(&ended);
    suite.assert_replays();
}

#[test]
fn the_budget_of_cpus_is_what_tests_find() {
    let suite = Suite::new(&["a"], "nproc > cpus");
    let ended = suite.run(&["--cpus", "1"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(suite.read("cpus"), "1\n");
}

#[test]
fn tests_find_the_limit_of_open_files_that_was_there() {
    let names: Vec<String> = (0..40).map(|number| format!("t{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let suite = Suite::new(&names, "ulimit -Sn > limit.$1; sleep 0.5");
    let mut command = Command::new("sh");
    let script = "ulimit -Sn 200; exec \"$0\" \"$@\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_cohort")]);
    command.args(["run", "--progress", "plain", "--events", "events"]);
    let ended = suite.spawn(command).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(suite.read("limit.t39"), "200\n");
    suite.assert_nothing_left(&ended);
}

#[test]
fn instances_that_the_host_does_not_hold_are_done_without() {
    let names: Vec<String> = (0..60).map(|number| format!("t{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let suite = Suite::new(&names, "sleep 0.3");
    let mut command = Command::new("sh");
    // The hard limit too: there is no way to have more.
    let script = "ulimit -n 120; exec \"$0\" \"$@\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_cohort")]);
    command.args(["run", "--progress", "plain", "--events", "events"]);
    let ended = suite.spawn(command).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(suite.verdicts().len(), names.len());
    suite.assert_nothing_left(&ended);
    suite.assert_replays();
}

#[test]
fn network_bytes_of_private_networks_are_counted() {
    let script = "\
        ip link show lo > /dev/null || exit 77\n\
        : < /dev/null > /dev/tcp/127.0.0.1/1 2> /dev/null; sleep 0.6";
    let script = format!("command -v bash > /dev/null || exit 77\nexec bash -c '{script}'");
    let suite = Suite::new(&["a"], &script);
    let ended = suite.run(&["--isolate", "net"]);
    if ended.code == Some(4)
        || suite
            .verdicts()
            .get("a")
            .is_some_and(|was| was == "skipped")
    {
        eprintln!("LEFT OUT: needs private networks, ip, and bash: {ended:?}");
        return;
    }
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let received = suite.events().iter().any(|event| {
        let seen = event["observations"].as_array().into_iter().flatten();
        seen.filter_map(|seen| seen["instances"].as_array())
            .flatten()
            .filter_map(|sample| sample["net_received"].as_u64())
            // Not those of the host.
            .any(|bytes| bytes > 0 && bytes < 10_000)
    });
    assert!(received, "{ended:?}");
}

/// Makes processes until it is told that there are no more to be had.
const BOMB: &str = "\
    test $1 = tame && exit 0\n\
    i=0; while test $i -lt 30000; do sleep 60 & i=$((i+1)); done";

#[test]
fn a_fork_bomb_ends_at_the_limit_of_tasks_or_of_memory() {
    if !has_groups("a limit on tasks") {
        return;
    }
    let suite = Suite::new(&["bomb", "tame"], BOMB);
    let ended = suite.run(&["--memory", "160MiB", "--timeout", "60s"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(suite.verdicts()["tame"], "passed");
    assert_ne!(suite.verdicts()["bomb"], "passed");
    suite.assert_nothing_left(&ended);
    suite.assert_replays();
}

#[test]
fn who_fills_the_disk_is_killed_and_the_others_go_on() {
    let script = "\
        test $1 = greedy || { sleep 0.2; echo fine > \"$TMPDIR/note\"; exit; }\n\
        while :; do cat /dev/zero >> \"$TMPDIR/fill\" 2> /dev/null; sleep 0.01; done";
    let suite = Suite::new(&["greedy", "b", "c"], script);
    let mount = "mount -t tmpfs -o size=64m none \"$TMPDIR\" || exit 99; exec \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", mount, env!("CARGO_BIN_EXE_cohort")]);
    command.args(["run", "--progress", "plain", "--events", "events"]);
    command.args(["--timeout", "30s"]);
    let ended = suite.spawn(command).end();
    if ended.code == Some(99) || ended.stderr.starts_with("unshare:") {
        eprintln!("LEFT OUT: a full disk needs the right to mount a tmpfs: {ended:?}");
        return;
    }
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(suite.verdicts()["greedy"], "failed", "{ended:?}");
    assert!(ended.stdout.contains("filled the disk"), "{ended:?}");
    let kills = decisions(&suite, "kill_thread");
    assert_eq!(kills[0]["why"], "disk", "{kills:?}");
    suite.assert_nothing_left(&ended);
    suite.assert_replays();
}

/// Where version 2 stands alone and may be used: as on most hosts of today, seen by root.
const UNIFIED: &str = "/sys/fs/cgroup";
/// A user without any privileges.
const NOBODY: u32 = 65_534;

#[test]
fn a_user_with_a_delegated_group_can_do_it_all() {
    let controllers = std::fs::read_to_string(format!("{UNIFIED}/cgroup.controllers"));
    let is_v2 = controllers.is_ok_and(|names| names.contains("memory"));
    let group = Path::new(UNIFIED).join(format!("delegated-{}", std::process::id()));
    if !is_v2 || std::fs::create_dir(&group).is_err() {
        eprintln!("LEFT OUT: delegation needs root and version 2 of control groups");
        return;
    }
    std::fs::write(
        format!("{UNIFIED}/cgroup.subtree_control"),
        "+cpu +memory +pids",
    )
    .unwrap();
    let files = [
        "",
        "cgroup.procs",
        "cgroup.threads",
        "cgroup.subtree_control",
    ];
    for file in files {
        std::os::unix::fs::chown(group.join(file), Some(NOBODY), None).unwrap();
    }
    let script = "\
        test $1 = big || exit 0\n\
        exec awk 'BEGIN { s = \"x\"; while (length(s) < 300000000) s = s s }'";
    let suite = Suite::new(&["a", "big", "c"], script);
    suite.give_to(NOBODY);
    let mut command = Command::new("sh");
    // In its group before it begins: what it is then is what a login session is.
    let enter = "read go; exec \"$0\" run --progress plain --events events --memory 128MiB";
    command
        .args(["-c", enter, env!("CARGO_BIN_EXE_cohort")])
        .uid(NOBODY)
        .gid(NOBODY);
    let mut run = suite.spawn_with_input(command);
    std::fs::write(group.join("cgroup.procs"), run.pid().to_string()).unwrap();
    run.tell("go\n");
    let ended = run.end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(suite.verdicts()["big"], "out_of_memory", "{ended:?}");
    assert_eq!(
        suite.events()[0]["budget"]["holds_memory"],
        true,
        "{ended:?}"
    );
    suite.assert_nothing_left(&ended);
    std::fs::remove_dir(&group).unwrap();
}
