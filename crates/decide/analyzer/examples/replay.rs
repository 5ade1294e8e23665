//! What the analyzer of a service concludes of what was seen before.
//!
//! `cargo run --release -p cohort-analyzer --example replay -- CORES FILE...` with one JSON object a
//! line: `time` (microseconds) and `event` (a sighting as the event log has it). Conclusions are
//! drawn after every report of load.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "an evaluation program reads its data from files"
)]

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};

use cohort_analyzer::service::{ServiceAnalyzer, ServiceSettings};
use cohort_model::{At, ServiceSeen};

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
        for line in BufReader::new(file).lines() {
            let row: serde_json::Value = serde_json::from_str(&line?)?;
            let at = At(row["time"].as_u64().ok_or("a row without its time")?);
            let seen: ServiceSeen = serde_json::from_value(row["event"].clone())?;
            analyzer.observe(at, &seen);
            if !matches!(seen, ServiceSeen::Loaded { .. }) {
                continue;
            }
            for f in analyzer.conclude(at) {
                let over = if f.ended { " (over)" } else { "" };
                println!(
                    "  {:6.1} #{} {:?}{over} {:.2} since {:.0}: {}",
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
        for area in analyzer.areas() {
            println!("  area {}: {:?}", area.name, area.endpoints);
        }
    }
    Ok(())
}
