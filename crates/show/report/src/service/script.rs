//! What the script measured and demanded, for the page: checks, thresholds, metrics and errors.

use std::fmt::Write;

use cohort_model::{MetricTotal, ServiceTotals};

use super::chart::escape;
use super::view::ServiceView;
use super::words as own;
use crate::words;

/// Beginnings of the names of what is measured for every script.
const BUILT_IN: [&str; 7] = [
    "checks",
    "data_",
    "dropped_iterations",
    "group_duration",
    "http_req",
    "iteration",
    "vus",
];

/// Metrics that the script made itself, without those of single tags.
pub(crate) fn own_metrics(totals: &ServiceTotals) -> impl Iterator<Item = &MetricTotal> {
    totals.metrics.iter().filter(|metric| {
        let is_built_in = BUILT_IN.iter().any(|name| metric.name.starts_with(name));
        !is_built_in && !metric.name.contains('{')
    })
}

/// `avg 1.36 s, max 2.10 s, ...`.
pub(crate) fn values(metric: &MetricTotal) -> String {
    let no_time = ["count", "rate", "passes", "fails"];
    let values: Vec<String> = metric
        .values
        .iter()
        .map(|(name, value)| {
            let text = if metric.is_time && !no_time.contains(&name.as_str()) {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "milliseconds of a campaign, in whole microseconds"
                )]
                let us = (value * 1_000.0).max(0.0) as u64;
                words::duration(us)
            } else {
                words::decimal(*value)
            };
            format!("{name} {text}")
        })
        .collect();
    values.join(", ")
}

/// The section of the page; empty where there is nothing to tell.
pub(crate) fn section(view: &ServiceView) -> String {
    let Some(totals) = &view.totals else {
        return String::new();
    };
    let mut rows = String::new();
    for check in &totals.checks {
        let verdict = if check.failed > 0 { "failed" } else { "held" };
        let count = format!(
            "{} of {} failed",
            words::number(check.failed),
            words::number(check.passed + check.failed)
        );
        row(&mut rows, "check", &check.name, &count, verdict);
    }
    for threshold in &totals.thresholds {
        let verdict = if threshold.held { "held" } else { "missed" };
        let value = threshold
            .value
            .map_or_else(|| "nothing was measured".to_owned(), words::decimal);
        let name = format!("{} {}", threshold.metric, threshold.expression);
        row(&mut rows, "threshold", &name, &value, verdict);
    }
    for metric in own_metrics(totals) {
        row(&mut rows, &metric.kind, &metric.name, &values(metric), "");
    }
    for (error, count) in &totals.errors {
        let times = format!("{} times", words::number(*count));
        row(&mut rows, "error", error, &times, "");
    }
    if rows.is_empty() {
        return String::new();
    }
    format!("<h2>The script</h2><table>{rows}</table>\n")
}

/// Why the campaign is no success apart from its findings, and why instances were given up.
pub(crate) fn failures(view: &ServiceView) -> String {
    let mut out = String::new();
    let told = view.failures();
    if !told.is_empty() {
        let _ = writeln!(out, "<p><b>{}.</b></p>", escape(&told.join("; ")));
    }
    for (instances, reason) in own::failures(view) {
        let named: Vec<String> = instances.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            out,
            "<article><b>failed</b> {}<pre>{}</pre></article>",
            named.join(", "),
            escape(reason)
        );
    }
    out
}

fn row(out: &mut String, kind: &str, name: &str, value: &str, verdict: &str) {
    let _ = writeln!(
        out,
        "<tr><td>{}<td><code>{}</code><td>{}<td>{verdict}</tr>",
        escape(kind),
        escape(name),
        escape(value)
    );
}
