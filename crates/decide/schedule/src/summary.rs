//! What k6's summary at the end holds, as plain values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::metrics::{Contains, MetricKind};

/// All that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How long the test took, microseconds.
    pub elapsed_us: u64,
    /// Metrics and submetrics by name.
    pub metrics: BTreeMap<String, MetricSummary>,
    /// Thresholds of metrics of which nothing was measured, with the metric's name.
    pub unmeasured: Vec<(String, ThresholdSummary)>,
}

/// One metric or submetric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricSummary {
    /// Its kind.
    pub kind: MetricKind,
    /// What its values are.
    pub contains: Contains,
    /// Its numbers, by k6's names, in k6's order. Of times: milliseconds.
    pub values: Vec<(String, f64)>,
    /// What must hold of it.
    pub thresholds: Vec<ThresholdSummary>,
}

/// Whether one threshold holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThresholdSummary {
    /// As it was written.
    pub source: String,
    /// Whether it holds.
    pub ok: bool,
}

impl Summary {
    /// Whether all thresholds hold.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        let measured = self.metrics.values().flat_map(|metric| &metric.thresholds);
        let unmeasured = self.unmeasured.iter().map(|(_, threshold)| threshold);
        measured.chain(unmeasured).all(|threshold| threshold.ok)
    }
}
