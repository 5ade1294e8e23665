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
    errors: BTreeMap<String, u64>,
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
            self.add_error(line.text.lines().next().unwrap_or_default().to_owned());
        }
    }

    /// Calls that got no answer, by their endpoint and why; `more`: further ones, of which nothing is known.
    pub(crate) fn add_broken(&mut self, calls: &[BrokenCall], more: u64) {
        for call in calls {
            self.add_error(format!("no answer to {}: {}", call.endpoint, call.message));
        }
        if more > 0 {
            *self
                .errors
                .entry("no answer to further calls".to_owned())
                .or_default() += more;
        }
    }

    pub(crate) fn add_error(&mut self, error: String) {
        if self.errors.len() < ERRORS_MAX || self.errors.contains_key(&error) {
            *self.errors.entry(error).or_default() += 1;
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
        let mut errors: Vec<(String, u64)> = self.errors.clone().into_iter().collect();
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
