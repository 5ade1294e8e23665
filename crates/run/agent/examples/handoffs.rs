//! Hand-offs between two agent processes at a steady rate: how long a thread stands still, and whether
//! the server saw each request exactly once.
//!
//! `cargo run --release -p cohort-agent --example handoffs -- [hand-offs a second] [seconds] [threads]`

#[path = "../tests/hub/mod.rs"]
mod hub;
#[path = "../tests/hub/sut.rs"]
mod sut;

use std::process::Command;
use std::time::Duration;

use cohort_agent::protocol::Permit;
use cohort_handoff::AgentId;
use cohort_model::{At, ThreadId};
use hub::{Hub, is_agent};
use sut::{Log, assert_exactly_once, counting};

const SCRIPT: &str = r"
import http from 'k6/http';
import { sleep } from 'k6';
let n = 0;
const memory = [];
export default function () {
  for (let i = 0; i < 5; i++) {
    memory.push(Math.random());
    if (memory.length > 100) memory.shift();
    http.get(`http://sut.test/hit?t=${__VU}&n=${n}`);
    n += 1;
    sleep(0.02);
  }
}
";

fn this_example_as_agent() -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a path of its own"));
    command.env("COHORT_TEST_AGENT", "1");
    command
}

fn main() {
    if is_agent() {
        cohort_agent::main_agent(0);
        return;
    }
    let number = |place: usize, otherwise: u32| {
        std::env::args()
            .nth(place)
            .and_then(|text| text.parse().ok())
            .unwrap_or(otherwise)
    };
    let (rate, seconds, threads) = (number(1, 100), number(2, 10), number(3, 50));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(measure(rate, seconds, threads));
}

async fn measure(rate: u32, seconds: u32, threads: u32) {
    let log = Log::default();
    let mut hub = Hub::new(SCRIPT);
    hub.agent_command = this_example_as_agent;
    let one = hub.agent(0).await;
    hub.agent(1).await;
    for instance in 0..2 {
        let address = sut::serve(&log, counting(Duration::ZERO));
        hub.instance(instance, Some(address)).await;
    }
    for thread in 1..=threads {
        hub.begin_script(thread, one, 0).await;
    }
    hub.until("all run", |hub| {
        (1..=threads).all(|thread| hub.runs_on(thread).is_some())
    })
    .await;
    for thread in 1..=threads {
        let permit = Permit::Free {
            thread: ThreadId(thread),
            until: At(u64::MAX / 4),
        };
        hub.permit(permit).await;
    }
    let every = Duration::from_secs(1) / rate;
    let mut next = tokio::time::Instant::now();
    let mut skipped = 0;
    for place in 0..rate * seconds {
        next += every;
        hub.pump_for(next.saturating_duration_since(tokio::time::Instant::now()))
            .await;
        let thread = 1 + place % threads;
        match hub.runs_on(thread) {
            Some(agent) => {
                let other = AgentId(1 - agent.0);
                hub.hand_off(thread, other, other.0).await;
            }
            None => skipped += 1,
        }
    }
    hub.until("all run", |hub| {
        (1..=threads).all(|thread| hub.runs_on(thread).is_some())
    })
    .await;
    for thread in 1..=threads {
        hub.stop(thread, 5_000_000).await;
    }
    hub.until("all are over", |hub| {
        hub.heard.over.len() == threads as usize
    })
    .await;
    hub.finish().await;
    report(&mut hub, &log, skipped);
}

fn report(hub: &mut Hub, log: &Log, skipped: u32) {
    let requests = assert_exactly_once(log, 5);
    let pauses = &mut hub.heard.pauses_us;
    pauses.sort_unstable();
    let at = |share: f64| pauses[((pauses.len() - 1) as f64 * share) as usize] as f64 / 1_000.0;
    println!(
        "{} hand-offs of {} threads ({skipped} were still under way, {} given up, {} diverged)",
        pauses.len(),
        hub.heard.over.len(),
        hub.heard.aborted.len(),
        hub.heard.diverged.len(),
    );
    println!(
        "pause p50 {:.3} ms, p90 {:.3} ms, p99 {:.3} ms, max {:.3} ms",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
    let lags: Vec<u64> = hub
        .heard
        .costs
        .values()
        .flatten()
        .map(|cost| cost.lag_p99_us)
        .collect();
    println!(
        "{requests} requests, each exactly once and in order; driver's own lag p99 at most {} us",
        lags.iter().max().unwrap_or(&0)
    );
}
