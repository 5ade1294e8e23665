//! What an iteration costs beside the network: one `http.get` and one `check`, answered at once.
//!
//! `cargo run --release -p cohort-scenario --example pace [iterations]`

use std::collections::BTreeMap;
use std::time::Instant;

use cohort_scenario::{Answer, Birth, Call, Machine, Permit, Position, Reply, Response, Script};

const SCRIPT: &str = "
import http from 'k6/http';
import { check } from 'k6';
export default function () {
  const response = http.get('http://127.0.0.1:8080/hello?page=1');
  check(response, { 'status is 200': (r) => r.status === 200 });
}
";

/// Resumes a machine, past pauses.
fn resume(machine: &mut Machine, answer: Answer) {
    let mut step = machine.resume(answer);
    while matches!(step.call, Call::Pause { .. }) {
        step = machine.resume(Answer::new(0, Reply::Resume));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let iterations: u64 = std::env::args()
        .nth(1)
        .map_or(Ok(200_000), |count| count.parse())?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("script.js");
    std::fs::write(&path, SCRIPT)?;
    let script = Script::load(&path, &BTreeMap::new())?;
    let response = Response {
        status: 200,
        proto: "HTTP/1.1".into(),
        headers: vec![
            ("content-type".into(), "text/plain".into()),
            ("content-length".into(), "5".into()),
        ],
        body: b"hello".to_vec(),
        remote_ip: "127.0.0.1".into(),
        remote_port: 8080,
        ..Response::default()
    };
    let mut machine = Machine::new(&script, Birth::default())?;
    let mut at_us = 1_700_000_000_000_000;
    resume(&mut machine, Answer::new(at_us, Reply::Resume));
    let began = Instant::now();
    for in_vu in 0..iterations {
        at_us += 500;
        let permit = Permit {
            in_vu,
            in_scenario: in_vu,
            ..Permit::default()
        };
        resume(&mut machine, Answer::new(at_us, Reply::Begin(permit)));
        resume(
            &mut machine,
            Answer::new(at_us + 400, Reply::Responses(vec![Ok(response.clone())])),
        );
        assert_eq!(machine.waits_for(), Some(&Call::Iterate));
    }
    let each_us = began.elapsed().as_micros() as f64 / iterations as f64;
    let tail = machine.journal().rest(Position::default());
    println!(
        "{iterations} iterations: {each_us:.2} us each; journal {:.1} bytes each",
        tail.bytes() as f64 / iterations as f64
    );
    let began = Instant::now();
    let mut again = Machine::new(&script, Birth::default())?;
    again.replay_more(&tail)?;
    again.finish_replay()?;
    println!(
        "replayed in {:.2} us each",
        began.elapsed().as_micros() as f64 / iterations as f64
    );
    Ok(())
}
