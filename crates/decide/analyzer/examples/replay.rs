//! What the analyzer of a service concludes of what was seen before.
//!
//! `cargo run --release -p cohort-analyzer --example replay -- CORES FILE...`: event logs of campaigns
//! of a service, one record a line. What the campaign was told is told again, and so are its own
//! orders, as far as they matter; conclusions are drawn every second, as there.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "an evaluation program reads its data from files"
)]

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};

use cohort_analyzer::service::{ServiceAnalyzer, ServiceSettings};
use cohort_model::{At, Record, ServiceSeen};

/// Between two looks at what was seen, microseconds.
const BEAT_US: u64 = 1_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let cores = arguments
        .next()
        .ok_or("usage: replay CORES FILE...")?
        .parse()?;
    for path in arguments {
        let file = File::open(&path).map_err(|e| format!("{path}: {e}"))?;
        println!("{path}");
        let mut analyzer = ServiceAnalyzer::new(ServiceSettings { cores });
        let mut next = None;
        for line in BufReader::new(file).lines() {
            match serde_json::from_str(&line?)? {
                Record::ServiceSeen { at, seen } => heard(&mut analyzer, at, &seen, &mut next),
                Record::ServiceDecided { at, decisions, .. } => {
                    for decision in decisions {
                        analyzer.ordered(at, &decision.command);
                    }
                }
                _ => {}
            }
        }
        for area in analyzer.areas() {
            println!("  area {}: {:?}", area.name, area.endpoints);
        }
    }
    Ok(())
}

fn heard(analyzer: &mut ServiceAnalyzer, at: At, seen: &[ServiceSeen], next: &mut Option<At>) {
    for one in seen {
        analyzer.observe(at, one);
    }
    let due = *next.get_or_insert(at.plus_us(BEAT_US));
    if at < due {
        return;
    }
    *next = Some(at.plus_us(BEAT_US));
    for f in analyzer.conclude(at) {
        let over = if f.ended { " (over)" } else { "" };
        let endpoint = f.endpoint.map_or(String::new(), |e| format!(" e{}", e.0));
        println!(
            "  {:6.1} #{} {:?}{endpoint}{over} {:.2} since {:.0}: {}",
            at.seconds(),
            f.number,
            f.kind,
            f.confidence,
            f.since.seconds(),
            f.sentence
        );
        for excerpt in &f.excerpts {
            println!("         | {excerpt}");
        }
    }
}
