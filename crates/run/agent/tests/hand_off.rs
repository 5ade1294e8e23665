//! Threads that are handed over between two agent processes, and recovered after one was killed:
//! the server's own access log proves that each request was sent exactly once and in order.

mod hub;
#[path = "hub/sut.rs"]
mod sut;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cohort_agent::protocol::{Permit, ToAgent};
use cohort_handoff::{AgentId, Standing};
use cohort_model::{At, ThreadId};
use hub::{Hub, is_agent};
use sut::{Log, assert_exactly_once, by_thread, counting};

/// How many, at least; a debug build of the script engine is slow.
const HAND_OFFS: u64 = if cfg!(debug_assertions) { 300 } else { 5_000 };

/// Counters, variables, cookies, random numbers, groups, sleeps: all that a thread takes along.
const SCRIPT: &str = r#"
import http from 'k6/http';
import { sleep, group, check } from 'k6';
let n = 0;
const memory = [];
export default function () {
  const inIteration = `${__VU}-${__ITER}`;
  group('outer', () => {
    for (let i = 0; i < 3; i++) {
      const random = Math.floor(Math.random() * 1e9);
      memory.push(random % 7);
      if (memory.length > 10) memory.shift();
      const sum = memory.reduce((a, b) => a + b, 0);
      const response = http.get(
        `http://sut.test/hit?t=${__VU}&n=${n}&r=${random}&s=${sum}&i=${inIteration}`);
      check(response, { 'answered': (r) => r.status === 200 && r.body === `body of ${n}` });
      n += 1;
      sleep(0.03);
    }
  });
}
"#;

/// Not a test: the process of an agent, when a test starts this binary as one.
#[test]
fn agent_process() {
    if is_agent() {
        assert_eq!(
            format!("{:?}", cohort_agent::main_agent(0)),
            format!("{:?}", std::process::ExitCode::SUCCESS)
        );
    }
}

/// Two agents, two instances, and threads 1 to `threads` that wait for permits.
async fn begun(threads: u32) -> (Hub, Log) {
    begun_with(threads, SCRIPT).await
}

async fn begun_with(threads: u32, script: &str) -> (Hub, Log) {
    let log = Log::default();
    let mut hub = Hub::new(script);
    let agents = [hub.agent(0).await, hub.agent(1).await];
    for instance in 0..2 {
        let address = sut::serve(&log, counting(Duration::ZERO));
        hub.instance(instance, Some(address)).await;
    }
    for thread in 1..=threads {
        hub.begin_script(thread, agents[thread as usize % 2], thread % 2)
            .await;
    }
    all_run(&mut hub, threads).await;
    (hub, log)
}

async fn all_run(hub: &mut Hub, threads: u32) {
    hub.until("all run", |hub| {
        (1..=threads).all(|thread| hub.runs_on(thread).is_some())
    })
    .await;
}

/// What each thread asked for, in order.
fn paths(log: &Log) -> Vec<Vec<String>> {
    by_thread(log)
        .into_values()
        .map(|all| all.into_iter().map(|seen| seen.path).collect())
        .collect()
}

#[tokio::test(flavor = "current_thread")]
async fn many_hand_offs_lose_nothing_and_repeat_nothing() {
    let threads = 20;
    let (mut hub, log) = begun(threads).await;
    for thread in 1..=threads {
        let until = At(u64::MAX / 4);
        let thread = ThreadId(thread);
        hub.permit(Permit::Free { thread, until }).await;
    }
    // As fast as possible: whoever runs is handed over at once.
    while hub.heard.hand_offs < HAND_OFFS {
        for thread in 1..=threads {
            if let Some(agent) = hub.runs_on(thread) {
                let other = AgentId(1 - agent.0);
                hub.hand_off(thread, other, other.0).await;
            }
        }
        hub.pump().await;
    }
    all_run(&mut hub, threads).await;
    for thread in 1..=threads {
        hub.stop(thread, 10_000_000).await;
    }
    hub.until("all are over", |hub| {
        hub.heard.over.len() == threads as usize
    })
    .await;
    hub.finish().await;
    let heard = &hub.heard;
    assert_eq!(heard.diverged, Vec::<String>::new());
    assert_eq!(heard.checks["answered"].1, 0, "{:?}", heard.lines);
    assert_eq!(assert_exactly_once(&log, 3), hub.iterations() * 3);
    let mut pauses_us = heard.pauses_us.clone();
    pauses_us.sort_unstable();
    println!(
        "{} hand-offs, {} iterations, pause p50 {} us, p99 {} us",
        heard.hand_offs,
        hub.iterations(),
        pauses_us[pauses_us.len() / 2],
        pauses_us[pauses_us.len() * 99 / 100]
    );
    let moved = paths(&log);
    // Random numbers and variables are those of threads that never moved.
    let (mut hub, log) = begun(threads).await;
    let most = heard_most(&moved);
    for thread in 1..=threads {
        let (thread, iterations) = (ThreadId(thread), most);
        hub.permit(Permit::Count { thread, iterations }).await;
    }
    hub.until("all are done", |hub| {
        hub.iterations() == u64::from(threads) * most
    })
    .await;
    for (moved, still) in moved.iter().zip(paths(&log)) {
        assert_eq!(moved[..], still[..moved.len()]);
    }
}

/// Where the requests of each iteration went, iteration by iteration.
fn ports_of_iterations(log: &Log) -> BTreeMap<String, BTreeSet<u16>> {
    let mut ports: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    for seen in log.lock().unwrap().iter() {
        let iteration = seen.query("i").to_owned();
        ports.entry(iteration).or_default().insert(seen.port);
    }
    ports
}

/// Hands thread 1 to and fro until it has moved so often: to the other agent and instance, then to the
/// other instance alone.
async fn to_and_fro(hub: &mut Hub, hand_offs: u64) {
    let mut moves = 0;
    while hub.heard.hand_offs < hand_offs {
        if let Standing::Runs(agent, _, instance) = hub.standing(1) {
            let agent = AgentId(if moves % 2 == 0 { 1 - agent.0 } else { agent.0 });
            moves += 1;
            hub.hand_off(1, agent, 1 - instance.0).await;
        }
        hub.pump().await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn who_leaves_gently_ends_its_iteration_first() {
    let (mut hub, log) = begun(1).await;
    hub.gently = true;
    let (thread, until) = (ThreadId(1), At(u64::MAX / 4));
    hub.permit(Permit::Free { thread, until }).await;
    to_and_fro(&mut hub, 12).await;
    hub.stop(1, 10_000_000).await;
    hub.until("it is over", |hub| hub.heard.over.len() == 1)
        .await;
    hub.finish().await;
    let ports = ports_of_iterations(&log);
    assert!(ports.len() > 6, "{ports:?}");
    assert!(ports.values().all(|ports| ports.len() == 1), "{ports:?}");
    let all: BTreeSet<u16> = ports.values().flatten().copied().collect();
    assert_eq!(all.len(), 2);
    assert_eq!(assert_exactly_once(&log, 3), hub.iterations() * 3);
}

#[tokio::test(flavor = "current_thread")]
async fn a_long_iteration_is_not_waited_for_without_end() {
    let (mut hub, log) = begun_with(1, &SCRIPT.replace("i < 3", "i < 100_000")).await;
    hub.gently = true;
    let (thread, iterations) = (ThreadId(1), 1);
    hub.permit(Permit::Count { thread, iterations }).await;
    to_and_fro(&mut hub, 2).await;
    hub.stop(1, 0).await;
    hub.until("it is over", |hub| hub.heard.over.len() == 1)
        .await;
    hub.finish().await;
    let ports = ports_of_iterations(&log);
    assert_eq!(ports.len(), 1, "{ports:?}");
    assert!(ports.values().all(|ports| ports.len() == 2), "{ports:?}");
}

/// Iterations of the thread that did most.
fn heard_most(moved: &[Vec<String>]) -> u64 {
    moved
        .iter()
        .map(|paths| paths.len() as u64 / 3)
        .max()
        .unwrap()
}

/// Numbers go up: none is there twice, and few are missing (unsure ones, which are not repeated).
fn assert_at_most_once(log: &Log) -> u64 {
    let mut lost = 0;
    for (thread, seen) in by_thread(log) {
        let numbers: Vec<u64> = seen
            .iter()
            .map(|one| one.query("n").parse().unwrap())
            .collect();
        assert!(
            numbers.windows(2).all(|two| two[0] < two[1]),
            "thread {thread}: {numbers:?}"
        );
        lost += numbers.last().unwrap() + 1 - numbers.len() as u64;
    }
    lost
}

#[tokio::test(flavor = "current_thread")]
async fn agents_that_are_killed_in_the_middle_of_hand_offs_repeat_nothing() {
    let (threads, kills) = (10, 4);
    let (mut hub, log) = begun(threads).await;
    let mut agents = [AgentId(0), AgentId(1)];
    let until = At(u64::MAX / 4);
    for round in 0..kills {
        for thread in 1..=threads {
            let thread = ThreadId(thread);
            hub.permit(Permit::Free { thread, until }).await;
        }
        let enough = hub.heard.hand_offs + 15;
        while hub.heard.hand_offs < enough {
            for thread in 1..=threads {
                if let Some(agent) = hub.runs_on(thread) {
                    let other = agents[usize::from(agent == agents[0])];
                    hub.hand_off(thread, other, thread % 2).await;
                }
            }
            hub.pump().await;
        }
        // Whatever is under way now is cut off, with this agent as its source or its target.
        let heir = hub.agent(2 + round).await;
        let dead = std::mem::replace(&mut agents[round as usize % 2], heir);
        hub.kill(dead, heir).await;
        all_run(&mut hub, threads).await;
    }
    for thread in 1..=threads {
        hub.stop(thread, 10_000_000).await;
    }
    hub.until("all are over", |hub| {
        hub.heard.over.len() == threads as usize
    })
    .await;
    hub.finish().await;
    assert_eq!(hub.heard.diverged, Vec::<String>::new());
    let lost = assert_at_most_once(&log);
    assert!(
        lost <= u64::from(kills * threads),
        "{lost} requests were never sent"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_killed_agent_s_threads_go_on_elsewhere_and_repeat_nothing() {
    let (threads, iterations) = (6, 60);
    let log = Log::default();
    let mut hub = Hub::new(SCRIPT);
    let mut runs = hub.agent(0).await;
    let address = sut::serve(&log, counting(Duration::from_micros(300)));
    hub.instance(0, Some(address)).await;
    for thread in 1..=threads {
        hub.begin_script(thread, runs, 0).await;
    }
    hub.until("all run", |hub| {
        (1..=threads).all(|thread| hub.runs_on(thread).is_some())
    })
    .await;
    for round in 0..4 {
        let until = At(u64::MAX / 4);
        for thread in 1..=threads {
            let thread = ThreadId(thread);
            hub.permit(Permit::Free { thread, until }).await;
        }
        let enough = (round + 1) * iterations;
        hub.until("iterations", |hub| {
            hub.heard.iterations.values().sum::<u64>() >= enough
        })
        .await;
        let heir = hub.agent(1 + round as u32).await;
        hub.kill(runs, heir).await;
        runs = heir;
        hub.until("all run again", |hub| {
            (1..=threads).all(|thread| hub.runs_on(thread) == Some(heir))
        })
        .await;
    }
    assert_eq!(hub.heard.diverged, Vec::<String>::new());
    // A request that was unsure failed for the script, whose counter went on.
    let lost = assert_at_most_once(&log);
    assert!(
        lost <= 4 * u64::from(threads),
        "{lost} requests were never sent"
    );
    hub.tell_all(&ToAgent::Finish).await;
}
