//! What the script measured, from all agents, and what it comes to.

use std::collections::BTreeMap;

use cohort_agent::protocol::{BrokenCall, CheckCount, LogLevel, LogLine, OwnCost};
use cohort_model::{CheckTotal, MetricTotal, ServiceTotals};

use super::agents::AgentId;

/// Different errors of the script that are told apart.
const ERRORS_MAX: usize = 200;

/// Everything that is added up over the campaign.
#[derive(Default)]
pub(crate) struct Measured {
    checks: BTreeMap<String, CheckTotal>,
    /// By what they say without numbers: the first of them, and how many.
    errors: BTreeMap<String, (String, u64)>,
    costs: BTreeMap<AgentId, OwnCost>,
    lags_us: Vec<u64>,
    pub(crate) dropped_iterations: u64,
    pub(crate) iterations: u64,
    pub(crate) failed_iterations: u64,
    pub(crate) aborted: Option<String>,
}

impl Measured {
    pub(crate) fn add_checks(&mut self, checks: &[CheckCount]) {
        for check in checks {
            let name = match check.group.trim_start_matches(':') {
                "" => check.name.clone(),
                group => format!("{}: {}", group.replace("::", " / "), check.name),
            };
            let total = self.checks.entry(name.clone()).or_default();
            total.name = name;
            total.passed += check.passes;
            total.failed += check.fails;
        }
    }

    /// Errors of scripts, by their first line.
    pub(crate) fn add_log(&mut self, lines: &[LogLine]) {
        for line in lines.iter().filter(|line| line.level == LogLevel::Error) {
            self.add_error(line.text.lines().next().unwrap_or_default());
        }
    }

    /// Calls that got no answer, by their endpoint and why; `more`: further ones, of which nothing is known.
    pub(crate) fn add_broken(&mut self, calls: &[BrokenCall], more: u64) {
        for call in calls {
            self.add_error(&format!("no answer to {}: {}", call.endpoint, call.message));
        }
        for _ in 0..more {
            self.add_error("no answer to further calls");
        }
    }

    pub(crate) fn add_error(&mut self, error: &str) {
        let key = without_numbers(error);
        if let Some((_, count)) = self.errors.get_mut(&key) {
            *count += 1;
        } else if self.errors.len() < ERRORS_MAX {
            self.errors.insert(key, (error.to_owned(), 1));
        }
    }

    pub(crate) fn add_cost(&mut self, agent: AgentId, cost: OwnCost) {
        self.lags_us.push(cost.lag_p99_us);
        self.costs.insert(agent, cost);
    }

    /// The last record but one.
    pub(crate) fn totals(
        &self,
        metrics: Vec<MetricTotal>,
        thresholds: Vec<cohort_model::ThresholdTotal>,
    ) -> ServiceTotals {
        let mut errors: Vec<(String, u64)> = self.errors.values().cloned().collect();
        errors.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let mut lags = self.lags_us.clone();
        lags.sort_unstable();
        let place = (lags.len().saturating_sub(1) as f64 * 0.99).round() as usize;
        ServiceTotals {
            checks: self.checks.values().cloned().collect(),
            thresholds,
            metrics,
            dropped_iterations: self.dropped_iterations,
            failed_iterations: self.failed_iterations,
            errors,
            driver_cpu_us: self.costs.values().map(|cost| cost.cpu_us).sum(),
            driver_lag_p99_us: lags.get(place).copied().unwrap_or(0),
            aborted: self.aborted.clone(),
        }
    }
}

/// What two errors have in common that tell of the same: `GET /items/17` and `GET /items/18`. Where in the
/// script it was, ` at load.js:20:65`, stays.
fn without_numbers(text: &str) -> String {
    let (said, at) = text.rsplit_once(" at ").unwrap_or((text, ""));
    let mut key = String::with_capacity(text.len());
    for c in said.chars() {
        match c.is_ascii_digit() {
            true if key.ends_with('#') => {}
            true => key.push('#'),
            false => key.push(c),
        }
    }
    key + " at " + at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_differ_in_numbers_are_one() {
        let mut measured = Measured::default();
        let line = |text: &str| LogLine {
            at: cohort_model::At(0),
            thread: None,
            level: LogLevel::Error,
            text: text.to_owned(),
        };
        measured.add_log(&[
            line("Error: no JSON from /users/100 (1124 bytes) at load.js:20:65"),
            line("Error: no JSON from /users/20 (99 bytes) at load.js:20:65"),
            line("Error: no JSON from /users/20 (99 bytes) at load.js:21:65"),
        ]);
        let errors = measured.totals(Vec::new(), Vec::new()).errors;
        assert_eq!(
            errors.iter().map(|(_, count)| *count).collect::<Vec<_>>(),
            [2, 1]
        );
        assert!(errors[0].0.contains("/users/100"));
    }
}
