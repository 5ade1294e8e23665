//! What was measured, added up, and whether thresholds hold of it.
//!
//! Samples come in sums of some time, under the name of a metric or of a submetric
//! ([`crate::Options::submetrics`]): who takes the samples knows their tags.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::options::{Options, ThresholdOption};
use crate::summary::{MetricSummary, Summary, ThresholdSummary};
use crate::threshold::{Aggregation, percentile};

/// k6's kinds of metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MetricKind {
    /// A sum.
    Counter,
    /// The last value, with the least and the greatest.
    Gauge,
    /// The share of values that are not zero.
    Rate,
    /// Quantiles.
    Trend,
}

/// What a metric's values are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contains {
    /// Numbers.
    #[default]
    Default,
    /// Milliseconds.
    Time,
    /// Bytes.
    Data,
}

/// k6's own metrics.
pub(crate) fn builtin(name: &str) -> Option<(MetricKind, Contains)> {
    Some(match name {
        "vus" | "vus_max" => (MetricKind::Gauge, Contains::Default),
        "iterations" | "dropped_iterations" | "http_reqs" => {
            (MetricKind::Counter, Contains::Default)
        }
        "data_sent" | "data_received" => (MetricKind::Counter, Contains::Data),
        "checks" | "http_req_failed" => (MetricKind::Rate, Contains::Default),
        "iteration_duration"
        | "group_duration"
        | "http_req_duration"
        | "http_req_blocked"
        | "http_req_connecting"
        | "http_req_tls_handshaking"
        | "http_req_sending"
        | "http_req_waiting"
        | "http_req_receiving" => (MetricKind::Trend, Contains::Time),
        _ => return None,
    })
}

/// What is added to a metric.
#[derive(Clone, Debug, PartialEq)]
pub enum Added<'a> {
    /// To a counter.
    Sum(f64),
    /// To a gauge: what it was last, and at its least and greatest since the last time.
    Last {
        /// The last value.
        value: f64,
        /// The least.
        min: f64,
        /// The greatest.
        max: f64,
    },
    /// To a rate.
    Share {
        /// Values other than zero.
        nonzero: u64,
        /// All values.
        total: u64,
    },
    /// To a trend, all in thousandths of the metric's unit.
    Trend {
        /// How many values.
        count: u64,
        /// Their exact sum.
        sum: f64,
        /// The least.
        min: f64,
        /// The greatest.
        max: f64,
        /// Middles of the buckets of an HDR histogram that are not empty, with their counts.
        buckets: &'a [(i64, u64)],
    },
}

impl Added<'_> {
    /// The kind of metric it can be added to.
    #[must_use]
    pub fn kind(&self) -> MetricKind {
        match self {
            Added::Sum(_) => MetricKind::Counter,
            Added::Last { .. } => MetricKind::Gauge,
            Added::Share { .. } => MetricKind::Rate,
            Added::Trend { .. } => MetricKind::Trend,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Trend {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    buckets: BTreeMap<i64, u64>,
}

impl Trend {
    fn add(&mut self, count: u64, sum: f64, limits: (f64, f64), buckets: &[(i64, u64)]) {
        if count == 0 {
            return;
        }
        let (min, max) = limits;
        let is_first = self.count == 0;
        self.min = if is_first { min } else { self.min.min(min) };
        self.max = if is_first { max } else { self.max.max(max) };
        self.count += count;
        self.sum += sum;
        for (middle, count) in buckets {
            *self.buckets.entry(*middle).or_default() += count;
        }
    }

    /// As k6's, but that values are only known up to the width of their bucket.
    fn percentile(&self, percent: f64) -> f64 {
        let total: u64 = self.buckets.values().sum();
        if total == 0 {
            return 0.0;
        }
        let rank = percent / 100.0 * (total - 1) as f64;
        let at = |rank: u64| {
            let mut seen = 0;
            for (middle, count) in &self.buckets {
                seen += count;
                if seen > rank {
                    return *middle as f64;
                }
            }
            self.max
        };
        let (low, high) = (at(rank.floor() as u64), at(rank.ceil() as u64));
        let value = low + (high - low) * rank.fract();
        match percent {
            p if p <= 0.0 => self.min,
            p if p >= 100.0 => self.max,
            _ => value.clamp(self.min, self.max),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Sink {
    Counter(f64),
    Gauge { value: f64, min: f64, max: f64 },
    Rate { nonzero: u64, total: u64 },
    Trend(Box<Trend>),
}

#[derive(Clone, Debug, PartialEq)]
struct Metric {
    contains: Contains,
    sink: Sink,
}

/// Whether a threshold holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The metric or submetric.
    pub metric: String,
    /// What must hold.
    pub source: String,
    /// What was measured; `None` when nothing was.
    pub value: Option<f64>,
    /// Whether it holds.
    pub ok: bool,
    /// It does not, and the campaign is to end for it.
    pub aborts: bool,
}

/// What was measured so far.
#[derive(Clone, Debug)]
pub struct Metrics {
    metrics: BTreeMap<String, Metric>,
    thresholds: Vec<ThresholdOption>,
    trend_stats: Vec<String>,
}

impl Metrics {
    /// Nothing yet.
    #[must_use]
    pub fn new(options: &Options) -> Metrics {
        Metrics {
            metrics: BTreeMap::new(),
            thresholds: options.thresholds.clone(),
            trend_stats: options.summary_trend_stats.clone(),
        }
    }

    /// Adds to the metric or submetric of that name. `false` when it is of another kind, so that
    /// nothing was added.
    pub fn add(&mut self, name: &str, contains: Contains, added: &Added<'_>) -> bool {
        if !self.metrics.contains_key(name) {
            let known = name.split('{').next().and_then(|name| builtin(name.trim()));
            let metric = Metric {
                contains: known.map_or(contains, |(_, contains)| contains),
                sink: Sink::empty(added),
            };
            self.metrics.insert(name.to_owned(), metric);
        }
        let Some(metric) = self.metrics.get_mut(name) else {
            return false;
        };
        metric.sink.add(added)
    }

    /// Whether the thresholds hold `elapsed_us` after the start. While the test `runs`, those of
    /// which nothing was measured are left out, and those that fail may end it; in the end all
    /// are judged, nothing counting as zero.
    #[must_use]
    pub fn judge(&self, elapsed_us: u64, runs: bool) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for threshold in &self.thresholds {
            let expression = &threshold.expression;
            let metric = self.metrics.get(&threshold.metric);
            if metric.is_none() && runs {
                continue;
            }
            let value = metric.map(|metric| metric.sink.take(expression.aggregation, elapsed_us));
            // `Some(None)`: the metric is of a kind of which this cannot be said.
            let said = value.unwrap_or(Some(0.0));
            let ok = said.is_some_and(|value| expression.holds(value));
            let late = elapsed_us >= threshold.delay_abort_us;
            verdicts.push(Verdict {
                metric: threshold.metric.clone(),
                source: expression.source.clone(),
                value: value.flatten(),
                ok,
                aborts: runs && !ok && threshold.abort_on_fail && late,
            });
        }
        verdicts
    }

    /// One number of a metric; `None` when nothing was measured or its kind has no such number.
    #[must_use]
    pub fn value(&self, name: &str, aggregation: Aggregation, elapsed_us: u64) -> Option<f64> {
        self.metrics.get(name)?.sink.take(aggregation, elapsed_us)
    }

    /// All numbers, as at the end of a test that took `elapsed_us`.
    #[must_use]
    pub fn summary(&self, elapsed_us: u64) -> Summary {
        let verdicts = self.judge(elapsed_us, false);
        let thresholds = |name: &str| {
            let of_it = verdicts.iter().filter(|verdict| verdict.metric == name);
            of_it
                .map(|verdict| ThresholdSummary {
                    source: verdict.source.clone(),
                    ok: verdict.ok,
                })
                .collect()
        };
        let mut metrics: BTreeMap<String, MetricSummary> = BTreeMap::new();
        for (name, metric) in &self.metrics {
            let summary = MetricSummary {
                kind: metric.sink.kind(),
                contains: metric.contains,
                values: metric.sink.values(&self.trend_stats, elapsed_us),
                thresholds: thresholds(name),
            };
            metrics.insert(name.clone(), summary);
        }
        let unmeasured = verdicts
            .iter()
            .filter(|verdict| !self.metrics.contains_key(&verdict.metric));
        Summary {
            elapsed_us,
            unmeasured: unmeasured
                .map(|verdict| {
                    let threshold = ThresholdSummary {
                        source: verdict.source.clone(),
                        ok: verdict.ok,
                    };
                    (verdict.metric.clone(), threshold)
                })
                .collect(),
            metrics,
        }
    }
}

impl Sink {
    fn empty(of: &Added<'_>) -> Sink {
        match of {
            Added::Sum(_) => Sink::Counter(0.0),
            Added::Last { value, min, max } => Sink::Gauge {
                value: *value,
                min: *min,
                max: *max,
            },
            Added::Share { .. } => Sink::Rate {
                nonzero: 0,
                total: 0,
            },
            Added::Trend { .. } => Sink::Trend(Box::default()),
        }
    }

    fn kind(&self) -> MetricKind {
        match self {
            Sink::Counter(_) => MetricKind::Counter,
            Sink::Gauge { .. } => MetricKind::Gauge,
            Sink::Rate { .. } => MetricKind::Rate,
            Sink::Trend(_) => MetricKind::Trend,
        }
    }

    fn add(&mut self, added: &Added<'_>) -> bool {
        match (self, added) {
            (Sink::Counter(sum), Added::Sum(more)) => *sum += more,
            (
                Sink::Gauge { value, min, max },
                Added::Last {
                    value: last,
                    min: least,
                    max: most,
                },
            ) => {
                *value = *last;
                *min = min.min(*least);
                *max = max.max(*most);
            }
            (
                Sink::Rate { nonzero, total },
                Added::Share {
                    nonzero: more,
                    total: all,
                },
            ) => {
                *nonzero += more;
                *total += all;
            }
            (
                Sink::Trend(trend),
                Added::Trend {
                    count,
                    sum,
                    min,
                    max,
                    buckets,
                },
            ) => trend.add(*count, *sum, (*min, *max), buckets),
            _ => return false,
        }
        true
    }

    fn take(&self, aggregation: Aggregation, elapsed_us: u64) -> Option<f64> {
        Some(match (self, aggregation) {
            (Sink::Counter(sum), Aggregation::Count) => *sum,
            (Sink::Counter(_), Aggregation::Rate) if elapsed_us == 0 => 0.0,
            (Sink::Counter(sum), Aggregation::Rate) => sum / (elapsed_us as f64 / 1e6),
            (Sink::Gauge { value, .. }, Aggregation::Value) => *value,
            (Sink::Rate { nonzero, total }, Aggregation::Rate) => {
                *nonzero as f64 / (*total).max(1) as f64
            }
            (Sink::Trend(trend), aggregation) => match aggregation {
                Aggregation::Avg => trend.sum / trend.count.max(1) as f64 / 1e3,
                Aggregation::Min => trend.min / 1e3,
                Aggregation::Max => trend.max / 1e3,
                Aggregation::Med => trend.percentile(50.0) / 1e3,
                Aggregation::Percentile(percent) => trend.percentile(percent) / 1e3,
                Aggregation::Count => trend.count as f64,
                Aggregation::Rate | Aggregation::Value => return None,
            },
            _ => return None,
        })
    }

    fn values(&self, trend_stats: &[String], elapsed_us: u64) -> Vec<(String, f64)> {
        let named = |values: &[(&str, f64)]| {
            let own = |(name, value): &(&str, f64)| ((*name).to_owned(), *value);
            values.iter().map(own).collect()
        };
        match self {
            Sink::Counter(sum) => {
                let rate = self.take(Aggregation::Rate, elapsed_us).unwrap_or(0.0);
                named(&[("count", *sum), ("rate", rate)])
            }
            Sink::Gauge { value, min, max } => {
                named(&[("value", *value), ("min", *min), ("max", *max)])
            }
            Sink::Rate { nonzero, total } => {
                let rate = self.take(Aggregation::Rate, elapsed_us).unwrap_or(0.0);
                let fails = total.saturating_sub(*nonzero) as f64;
                named(&[
                    ("rate", rate),
                    ("passes", *nonzero as f64),
                    ("fails", fails),
                ])
            }
            Sink::Trend(_) => trend_stats
                .iter()
                .filter_map(|stat| {
                    let aggregation = match stat.as_str() {
                        "avg" => Aggregation::Avg,
                        "min" => Aggregation::Min,
                        "max" => Aggregation::Max,
                        "med" => Aggregation::Med,
                        "count" => Aggregation::Count,
                        other => Aggregation::Percentile(percentile(other)?),
                    };
                    Some((stat.clone(), self.take(aggregation, elapsed_us)?))
                })
                .collect(),
        }
    }
}
