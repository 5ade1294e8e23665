//! The defects planted in `examples/shop`: each in a campaign of its own, beginning in the middle of it.
//! What counts as found and named right is written down here, beside what a person would say.

use std::path::Path;
use std::time::Duration;

use super::super::row::{Row, Target};
use super::Bench;
use super::campaign::{self, Campaign, Found, Seen};
use crate::error::Error;

/// From the start of an instance to its defect.
pub(super) const AFTER: Duration = Duration::from_secs(20);

/// How long a campaign's schedule takes.
pub(super) const LASTS: Duration = Duration::from_secs(60);

/// What was never found counts as all the time that there was, seconds.
pub(super) const UNFOUND_S: f64 = LASTS.as_secs_f64() - AFTER.as_secs_f64();

/// Rounds at most: each takes seven campaigns.
const ROUNDS_MAX: usize = 3;

/// Median of the times from onset to finding.
const BOUND_S: f64 = 30.0;

/// One defect, and what is right to say of it.
pub(super) struct Planted {
    pub name: &'static str,
    /// Any of these kinds.
    kinds: &'static [&'static str],
    /// Any of these endpoints.
    endpoints: &'static [&'static str],
    /// Memory and descriptors belong to a whole instance: naming no endpoint is right too, a wrong one is not.
    of_instance: bool,
    /// Kinds that follow from it and are no false findings.
    follow: &'static [&'static str],
}

pub(super) const PLANTED: [Planted; 7] = [
    Planted {
        name: "memory-leak",
        kinds: &["memory_leak"],
        endpoints: &["GET /recommendations"],
        of_instance: true,
        follow: &[],
    },
    Planted {
        name: "descriptor-leak",
        kinds: &["descriptor_leak"],
        endpoints: &["GET /orders/{}/receipt"],
        of_instance: true,
        // Out of descriptors in the end.
        follow: &["error_burst", "errors", "hang", "exception", "wrong_answer"],
    },
    Planted {
        name: "slow-query",
        kinds: &["growing_latency", "slow_endpoint"],
        endpoints: &["GET /reports/sales"],
        of_instance: false,
        follow: &[],
    },
    Planted {
        name: "lock-across-io",
        kinds: &["lock_contention"],
        // Who holds the lock, and who waits for it.
        endpoints: &[
            "POST /checkout",
            "POST /cart/items",
            "GET /products",
            "GET /products/{}",
            "GET /reports/stock",
        ],
        of_instance: false,
        follow: &["slow_endpoint", "growing_latency"],
    },
    Planted {
        name: "crash",
        kinds: &["crash"],
        endpoints: &["POST /checkout"],
        of_instance: false,
        follow: &["exception", "error_burst", "errors", "wrong_answer"],
    },
    Planted {
        name: "race",
        kinds: &["wrong_answer"],
        endpoints: &["GET /cart", "POST /cart/items"],
        of_instance: false,
        follow: &[],
    },
    Planted {
        name: "cpu-blowup",
        kinds: &["cpu_blow_up"],
        endpoints: &["GET /search"],
        of_instance: false,
        follow: &["slow_endpoint"],
    },
];

impl Planted {
    fn named_right(&self, found: &Found) -> bool {
        let where_it_is = self.endpoints.contains(&found.endpoint.as_str());
        let untold = self.of_instance && found.endpoint.is_empty();
        self.kinds.contains(&found.kind.as_str()) && (where_it_is || untold)
    }

    /// The first right finding after the onset, and how long after it, seconds.
    pub(super) fn first_right<'a>(&self, seen: &'a Seen) -> Option<(&'a Found, f64)> {
        let onset_s = seen.started_s? + AFTER.as_secs_f64();
        let right = seen
            .findings
            .values()
            .filter(|found| self.named_right(found));
        let after = right
            .map(|found| (found, found.at_s - onset_s))
            .filter(|(_, after_s)| *after_s >= 0.0);
        after.min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Faults that are neither it nor follow from it.
    fn others<'a>(&self, seen: &'a Seen) -> Vec<&'a Found> {
        let other = |found: &&Found| {
            found.is_fault()
                && !self.named_right(found)
                && !self.follow.contains(&found.kind.as_str())
        };
        seen.findings.values().filter(other).collect()
    }

    /// One campaign with it.
    pub(super) fn campaign(
        &self,
        bench: &Bench,
        cohort: &Path,
        flags: &[&str],
    ) -> Result<Seen, Error> {
        let name = [&["planted", self.name], flags]
            .concat()
            .join("-")
            .replace("--", "");
        let project = bench.work.join("planted");
        campaign::write_shop(&project, self.name, AFTER, LASTS)?;
        let campaign = Campaign {
            project: &project,
            flags: flags.iter().map(|flag| (*flag).to_string()).collect(),
            lasts: LASTS,
            logs: bench.work.join("logs").join(name),
        };
        campaign.run(cohort)
    }
}

/// Rounds over all defects.
pub(super) fn rows(bench: &Bench) -> Result<Vec<Row>, Error> {
    let cohort = bench.cohort()?;
    let (mut right, mut others) = (Vec::new(), Vec::new());
    let mut after_s: Vec<(&str, Vec<f64>)> = PLANTED
        .iter()
        .map(|planted| (planted.name, Vec::new()))
        .collect();
    for round in 0..bench.options.runs.min(ROUNDS_MAX) {
        let (mut right_now, mut others_now) = (0, 0);
        for (planted, (_, after_s)) in PLANTED.iter().zip(&mut after_s) {
            let seed = (round + 1).to_string();
            let seen = planted.campaign(bench, &cohort, &["--seed", &seed]);
            let seen = seen.unwrap_or_else(|error| {
                eprintln!("  {:<16} {error}", planted.name);
                Seen::default()
            });
            if let Some((found, after)) = planted.first_right(&seen) {
                eprintln!("  {:<16} {after:>6.1} s  {}", planted.name, found.sentence);
                after_s.push(after);
                right_now += 1;
            } else {
                eprintln!("  {:<16}      -    not found", planted.name);
                after_s.push(UNFOUND_S);
            }
            let beside = planted.others(&seen);
            for other in &beside {
                let (kind, at_s) = (&other.kind, other.at_s);
                eprintln!("    beside it: {kind} at {at_s:.0} s: {}", other.sentence);
            }
            others_now += beside.len();
        }
        right.push(f64::from(right_now));
        others.push(others_now as f64);
    }
    let all: Vec<f64> = after_s
        .iter()
        .flat_map(|(_, after)| after.iter().copied())
        .collect();
    let mut rows = vec![
        Row::new(
            "planted defects found and named right, of 7",
            "defects",
            &right,
            Target::AtLeast(7.0),
        ),
        Row::new(
            "from onset to finding, all defects",
            "s",
            &all,
            Target::AtMost(BOUND_S),
        ),
        Row::new(
            "other faults told beside the planted ones",
            "findings",
            &others,
            Target::None,
        ),
    ];
    rows.extend(after_s.iter().map(|(name, after)| {
        Row::new(
            format!("from onset to finding, {name}"),
            "s",
            after,
            Target::None,
        )
    }));
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_right_with_kind_and_place_after_the_onset() {
        let found = |kind: &str, endpoint: &str, at_s| Found {
            kind: kind.into(),
            endpoint: endpoint.into(),
            at_s,
            sentence: String::new(),
        };
        let seen = |all: &[Found]| Seen {
            findings: (0..).zip(all.iter().cloned()).collect(),
            started_s: Some(1.0),
            ..Seen::default()
        };
        let (leak, crash) = (&PLANTED[0], &PLANTED[4]);
        let after = |planted: &Planted, one| {
            planted
                .first_right(&seen(&[one]))
                .map(|(_, after_s)| after_s)
        };
        assert_eq!(after(leak, found("memory_leak", "", 31.0)), Some(10.0));
        assert_eq!(after(leak, found("memory_leak", "GET /search", 31.0)), None);
        assert_eq!(after(leak, found("memory_leak", "", 20.0)), None);
        assert_eq!(after(crash, found("crash", "", 31.0)), None);
        assert_eq!(
            after(crash, found("crash", "POST /checkout", 31.0)),
            Some(10.0)
        );
        let many = seen(&[
            found("hang", "", 3.0),
            found("exception", "", 4.0),
            found("throttled", "", 5.0),
        ]);
        assert_eq!(crash.others(&many).len(), 1);
    }
}
