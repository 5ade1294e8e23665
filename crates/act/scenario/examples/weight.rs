//! What an idle machine weighs: makes many, lets each run one iteration, and prints resident memory a machine.
//!
//! `cargo run --release -p cohort-scenario --example weight [machines]`

use std::collections::BTreeMap;

use cohort_scenario::{Answer, Birth, Call, Machine, Permit, Reply, Response, Script};

const SCRIPT: &str = "
import http from 'k6/http';
import { check, group, sleep } from 'k6';
import { Trend } from 'k6/metrics';
export const options = { vus: 10, duration: '1m' };
const took = new Trend('took', true);
export default function () {
  group('front', () => {
    const response = http.get(`${__ENV.BASE_URL}/items?page=${__ITER}`, { tags: { name: 'items' } });
    check(response, { 'status is 200': (r) => r.status === 200, 'has items': (r) => r.json('items.#') > 0 });
    took.add(response.timings.duration);
  });
  sleep(1 + Math.random());
}
";

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok())
        .unwrap_or(0)
        * 4096
}

fn answer(call: Option<&Call>, at_us: u64) -> Answer {
    let reply = match call {
        Some(Call::Iterate) => Reply::Begin(Permit::default()),
        Some(Call::Http(requests)) => {
            let response = Response {
                status: 200,
                proto: "HTTP/1.1".into(),
                headers: vec![("content-type".into(), "application/json".into())],
                body: br#"{"items": [1, 2, 3]}"#.to_vec(),
                ..Response::default()
            };
            Reply::Responses(requests.iter().map(|_| Ok(response.clone())).collect())
        }
        Some(Call::Sleep { .. }) => Reply::Woken,
        Some(Call::Now) => Reply::Now,
        Some(Call::Pause { .. } | Call::Ended(_)) | None => Reply::Resume,
    };
    Answer::new(at_us, reply)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let machines: u64 = std::env::args()
        .nth(1)
        .map_or(Ok(2_000), |count| count.parse())?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("script.js");
    std::fs::write(&path, SCRIPT)?;
    let script = Script::load(&path, &BTreeMap::new())?;
    let before = resident_bytes();
    let began = std::time::Instant::now();
    let mut all = Vec::new();
    for vu in 1..=machines {
        let birth = Birth {
            vu,
            base_url: "http://127.0.0.1:8080".into(),
            ..Birth::default()
        };
        let mut machine = Machine::new(&script, birth)?;
        // Through init and a whole iteration, then asleep in the middle of the second.
        let mut at_us = 1_700_000_000_000_000;
        for _ in 0..6 {
            at_us += 1_000;
            let next = answer(machine.waits_for(), at_us);
            machine.resume(next);
        }
        all.push(machine);
    }
    let made_us = began.elapsed().as_micros() as f64 / machines as f64;
    let each = (resident_bytes() - before) as f64 / machines as f64;
    println!(
        "{machines} machines: {:.1} KiB resident each, {made_us:.0} us to make each and run its first iteration",
        each / 1024.0
    );
    Ok(())
}
