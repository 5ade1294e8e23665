//! Says what the analyzer finds in the record of a campaign of a service, second by second.
//!
//! `cargo run -p cohort-analyzer --example replay < .cohort/campaigns/1/log`

#![expect(
    clippy::disallowed_methods,
    reason = "an evaluation program is told on its input what to judge"
)]

use std::io::BufRead;

use cohort_analyzer::service::{ServiceAnalyzer, ServiceSettings};
use cohort_model::{At, Record};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut analyzer = ServiceAnalyzer::new(ServiceSettings { cores: 2.0 });
    let mut concluded = At(0);
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let Some((_, json)) = line.split_once(' ') else {
            continue;
        };
        let Ok(record) = serde_json::from_str::<Record>(json) else {
            continue;
        };
        let now = match record {
            Record::ServiceSeen { at, seen } => {
                for seen in &seen {
                    analyzer.observe(at, seen);
                }
                at
            }
            Record::ServiceDecided { at, decisions, .. } => {
                for decision in &decisions {
                    analyzer.ordered(at, &decision.command);
                }
                at
            }
            _ => continue,
        };
        if now.since(concluded) < 1_000_000 {
            continue;
        }
        concluded = now;
        for finding in analyzer.conclude(now) {
            let over = if finding.ended { " (over)" } else { "" };
            println!(
                "{:6.1} #{} {:?}{over} {:?} {}",
                now.seconds(),
                finding.number,
                finding.kind,
                finding.instances,
                finding.sentence
            );
            for measured in &finding.evidence {
                println!("         {measured:?}");
            }
        }
    }
    Ok(())
}
