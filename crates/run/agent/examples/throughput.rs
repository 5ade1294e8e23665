//! Requests a second, in all and for each core the agent used, against a trivial server in another process.
//!
//! `cargo run --release -p cohort-agent --example throughput -- [threads] [seconds]`

#[path = "../tests/hub/mod.rs"]
mod hub;

use std::process::{Command, Stdio};
use std::time::Duration;

use cohort_agent::protocol::{Address, Permit};
use cohort_model::{At, ThreadId};
use hub::{Hub, is_agent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SCRIPT: &str = r"
import http from 'k6/http';
import { check } from 'k6';
export default function () {
  const response = http.get('http://sut.test/hello');
  check(response, { 'status is 200': (r) => r.status === 200 });
}
";

const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";

fn this_example_as_agent() -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a path of its own"));
    command.env("COHORT_TEST_AGENT", "1");
    command
}

/// Answers whatever ends in an empty line with the same bytes.
async fn serve() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    println!("{}", listener.local_addr().expect("an address").port());
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut buffer = Vec::new();
            while stream
                .read_buf(&mut buffer)
                .await
                .is_ok_and(|bytes| bytes > 0)
            {
                if buffer.ends_with(b"\r\n\r\n") {
                    buffer.clear();
                    if stream.write_all(RESPONSE).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

fn main() {
    if is_agent() {
        cohort_agent::main_agent(0);
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    if std::env::args().nth(1).as_deref() == Some("serve") {
        runtime.block_on(serve());
        return;
    }
    let number = |place: usize, otherwise: u32| {
        std::env::args()
            .nth(place)
            .and_then(|text| text.parse().ok())
            .unwrap_or(otherwise)
    };
    runtime.block_on(measure(number(1, 50), number(2, 5)));
}

async fn measure(threads: u32, seconds: u32) {
    let mut server = Command::new(std::env::current_exe().expect("a path of its own"))
        .arg("serve")
        .stdout(Stdio::piped())
        .spawn()
        .expect("a server");
    let mut port = String::new();
    let stdout = server.stdout.take().expect("its output");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut port).expect("its port");
    let mut hub = Hub::new(SCRIPT);
    hub.agent_command = this_example_as_agent;
    let agent = hub.agent(0).await;
    let address = Address {
        tls: false,
        host: "127.0.0.1".to_owned(),
        port: port.trim().parse().expect("a port"),
    };
    hub.instance(0, Some(address)).await;
    let empty = resident(hub.process(agent));
    for thread in 1..=threads {
        hub.begin_script(thread, agent, 0).await;
    }
    hub.until("all run", |hub| {
        (1..=threads).all(|thread| hub.runs_on(thread).is_some())
    })
    .await;
    let idle = resident(hub.process(agent));
    let until = At(hub.now().0 + u64::from(seconds) * 1_000_000);
    for thread in 1..=threads {
        let thread = ThreadId(thread);
        hub.permit(Permit::Free { thread, until }).await;
    }
    hub.pump_for(Duration::from_secs(u64::from(seconds))).await;
    hub.finish().await;
    server.kill().expect("it runs");
    server.wait().expect("it ends");
    let costs = &hub.heard.costs[&agent];
    let (first, last) = (costs[0], costs[costs.len() - 1]);
    let requests = (last.requests - first.requests) as f64;
    let wall = last.at.since(first.at) as f64 / 1e6;
    let cores = (last.cpu_us - first.cpu_us) as f64 / 1e6 / wall;
    println!(
        "{threads} threads: {:.0} requests/s with {cores:.2} cores: {:.0} requests/s and core",
        requests / wall,
        requests / wall / cores
    );
    println!(
        "memory of an idle thread {:.3} MB; driver's own lag p99 {} us; checks {:?}",
        (idle - empty) as f64 / f64::from(threads) / 1e6,
        costs.iter().map(|cost| cost.lag_p99_us).max().unwrap_or(0),
        hub.heard.checks
    );
}

/// Resident memory of a process, bytes.
fn resident(process: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0_u64) * 4_096
}
