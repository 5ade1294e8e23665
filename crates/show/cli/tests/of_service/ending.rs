//! Campaigns that are ended: by the user, by a kill of Cohort, by a kill of an agent.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::common::{Running, Suite, wait_until};
use super::{Campaign, assert_said};

const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;

/// A campaign that has made some calls already; each instance in a network of its own, where permitted.
fn under_way(more_script: &str, duration: &str) -> (Suite, Running) {
    let mut campaign = Campaign {
        sut: "instances = 2\nenv = { HOST = \"{host}\" }",
        ..Campaign::of("get('/items/1')")
    };
    campaign.script += more_script;
    let suite = campaign.write();
    let words = ["run", "--progress", "plain", "--events", "events"];
    let running = suite.start(
        &[
            &words[..],
            &["--no-reproduce", "--vus", "3", "--duration", duration],
        ]
        .concat(),
    );
    wait_until("some calls", || suite.calls().len() > 30);
    (suite, running)
}

/// The agent of a hub.
fn agent_of(hub: u32) -> u32 {
    let children = std::fs::read_to_string(format!("/proc/{hub}/task/{hub}/children"));
    let is_agent = |pid: &u32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.ends_with(b"\0agent\0")
    };
    // A child belongs to the thread that made it.
    let threads = std::fs::read_dir(format!("/proc/{hub}/task")).unwrap();
    let of_threads = threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let all: String = children.into_iter().chain(of_threads).collect();
    let mut pids = all.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.find(is_agent).expect("a hub has an agent")
}

fn kill(pid: u32) {
    nix::sys::signal::kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
}

#[test]
fn interrupted_it_ends_soon_and_in_order() {
    let teardown = "export function teardown() {\n\
        http.get(U + '/items/2', { headers: { 'X-Call': 'teardown' } });\n}\n";
    let (suite, running) = under_way(teardown, "60s");
    let since = Instant::now();
    running.signal(SIGINT);
    let ended = running.end();
    assert!(since.elapsed() < Duration::from_secs(10), "{ended:?}");
    let wanted = ["stopped          ", "; stopped by the user\n"];
    assert_said(&ended, 130, &wanted);
    // At each of two instances.
    assert_eq!(suite.count("access", "teardown"), 2);
    let verdict = format!("stopped          {} calls and ", suite.calls().len());
    assert_said(&ended, 130, &[&verdict]);
    assert_eq!(suite.events().last().unwrap()["ending"], "interrupted");
    let (ends, mut calls): (Vec<_>, Vec<_>) =
        (suite.calls().into_iter()).partition(|call| call == "teardown");
    assert_eq!(ends.len(), 2, "one for each instance");
    let all = calls.len();
    calls.sort();
    calls.dedup();
    assert_eq!(calls.len(), all, "a call was made twice");
    suite.assert_replays();
    suite.assert_all_gone(&ended);
}

#[test]
fn interrupted_at_the_terminal_its_agents_wait_for_its_word() {
    let campaign = Campaign::of("get('/items/1')");
    let suite = campaign.write();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cohort"));
    command
        .args(["run", "--progress", "plain", "--events", "events"])
        .args(["--vus", "3", "--duration", "60s"])
        .process_group(0);
    let running = suite.spawn(command);
    wait_until("some calls", || suite.calls().len() > 30);
    // As a terminal does: to all of the group.
    let group = Pid::from_raw(running.pid().cast_signed());
    killpg(group, Signal::SIGINT).unwrap();
    let ended = running.end();
    let verdict = format!("stopped          {} calls and ", suite.calls().len());
    assert_said(&ended, 130, &[&verdict]);
    assert!(!ended.stderr.contains("an agent ended"), "{ended:?}");
    suite.assert_all_gone(&ended);
}

#[test]
fn interrupted_before_anything_is_ready_it_ends_soon() {
    let suite = Campaign {
        command: r#"["sh", "-c", "echo x > began; sleep 60"]"#,
        ..Campaign::of("get('/items/1')")
    }
    .write();
    let running = suite.start(&["run"]);
    wait_until("a server to be started", || !suite.read("began").is_empty());
    let since = Instant::now();
    running.signal(SIGINT);
    let ended = running.end();
    assert!(since.elapsed() < Duration::from_secs(10), "{ended:?}");
    assert_said(&ended, 130, &["; stopped by the user\n"]);
    suite.assert_all_gone(&ended);
}

#[test]
fn killed_it_takes_all_along_and_the_next_run_cleans_up() {
    let (suite, running) = under_way("", "60s");
    running.signal(SIGKILL);
    let killed = running.end();
    wait_until("servers and agents to be gone", || {
        suite.processes().is_empty()
    });
    let shown = suite.cohort(&["show"]);
    assert_said(&shown, 0, &["unfinished       "]);
    let resumed = suite.cohort(&["resume"]);
    assert_said(
        &resumed,
        2,
        &["is that of a service, of which none is resumed"],
    );
    let again = suite.run_for("1s");
    assert_said(&again, 0, &["nothing found "]);
    suite.assert_all_gone(&killed);
    suite.assert_all_gone(&again);
}

#[test]
fn when_its_agent_is_killed_it_goes_on_and_repeats_nothing() {
    let (suite, running) = under_way("", "3s");
    kill(agent_of(running.pid()));
    let before = suite.calls().len();
    let ended = running.end();
    let wanted = [
        "an agent ended unasked (signal: 9 (SIGKILL)); its threads went on from their journals",
        "nothing found ",
    ];
    assert_said(&ended, 0, &wanted);
    let calls = suite.calls();
    assert!(calls.len() > before + 60, "{before} {}", calls.len());
    // Each thread went on where it was: none of its numbers is left out.
    for thread in 1..=3 {
        let own = format!("{thread} ");
        let numbers = calls.iter().filter_map(|call| call.strip_prefix(&own));
        let mut numbers: Vec<usize> = numbers.map(|number| number.parse().unwrap()).collect();
        numbers.sort_unstable();
        assert!(numbers.iter().copied().eq(0..numbers.len()), "{numbers:?}");
    }
    suite.assert_replays();
    suite.assert_all_gone(&ended);
}
