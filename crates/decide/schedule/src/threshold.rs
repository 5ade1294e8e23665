//! What a threshold says: `p(95) < 500`.
//!
//! The grammar is k6's: an aggregation of the metric, a comparison, a number.

use serde::{Deserialize, Serialize};

use crate::metrics::MetricKind;

/// What is taken of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregation {
    /// Of a trend: the mean.
    Avg,
    /// Of a trend: the least.
    Min,
    /// Of a trend: the greatest.
    Max,
    /// Of a trend: the median.
    Med,
    /// Of a trend: what so many percent are at most.
    Percentile(f64),
    /// Of a counter its sum; of a trend its number of values.
    Count,
    /// Of a counter its sum per second; of a rate the share that is not zero.
    Rate,
    /// Of a gauge: the last value.
    Value,
}

/// How it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `==` or `===`
    Equal,
    /// `!=`
    Unequal,
}

/// What must hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expression {
    /// As it was written.
    pub source: String,
    /// What is taken of the metric.
    pub aggregation: Aggregation,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub limit: f64,
}

const COMPARISONS: [(&str, Comparison); 7] = [
    ("===", Comparison::Equal),
    ("==", Comparison::Equal),
    ("!=", Comparison::Unequal),
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

/// N of `p(N)`, when it is from 0 to 100.
pub(crate) fn percentile(text: &str) -> Option<f64> {
    let number = text.strip_prefix("p(")?.strip_suffix(')')?;
    let number: f64 = number.trim().parse().ok()?;
    (0.0..=100.0).contains(&number).then_some(number)
}

impl Expression {
    /// Reads it.
    ///
    /// # Errors
    /// A sentence on what is wrong and what was expected.
    pub fn parse(source: &str) -> Result<Expression, String> {
        let operator = |letter: char| matches!(letter, '<' | '>' | '=' | '!');
        let place = source
            .find(operator)
            .ok_or("expected a comparison (<, <=, >, >=, ==, !=), found none")?;
        let (sign, comparison) = COMPARISONS
            .iter()
            .find(|(sign, _)| source[place..].starts_with(sign))
            .ok_or("expected one of <, <=, >, >=, ==, !=")?;
        let left = source[..place].trim();
        let right = source[place + sign.len()..].trim();
        let aggregation = match left {
            "avg" => Aggregation::Avg,
            "min" => Aggregation::Min,
            "max" => Aggregation::Max,
            "med" => Aggregation::Med,
            "count" => Aggregation::Count,
            "rate" => Aggregation::Rate,
            "value" => Aggregation::Value,
            other => Aggregation::Percentile(percentile(other).ok_or_else(|| {
                format!(
                    "expected avg, min, max, med, p(N) with N from 0 to 100, count, rate or value \
                     before the comparison, found `{other}`"
                )
            })?),
        };
        let limit: f64 = right
            .parse()
            .ok()
            .filter(|limit: &f64| limit.is_finite())
            .ok_or_else(|| format!("expected a number after `{sign}`, found `{right}`"))?;
        Ok(Expression {
            source: source.to_owned(),
            aggregation,
            comparison: *comparison,
            limit,
        })
    }

    /// Whether it can be said of that kind of metric.
    ///
    /// # Errors
    /// A sentence that says which aggregations can.
    pub fn suits(&self, kind: MetricKind) -> Result<(), String> {
        use Aggregation::{Avg, Count, Max, Med, Min, Percentile, Rate, Value};
        let fits = match kind {
            MetricKind::Counter => matches!(self.aggregation, Count | Rate),
            MetricKind::Rate => self.aggregation == Rate,
            MetricKind::Gauge => self.aggregation == Value,
            MetricKind::Trend => matches!(
                self.aggregation,
                Avg | Min | Max | Med | Percentile(_) | Count
            ),
        };
        if fits {
            return Ok(());
        }
        let (what, can) = match kind {
            MetricKind::Counter => ("counter", "count or rate"),
            MetricKind::Rate => ("rate", "rate"),
            MetricKind::Gauge => ("gauge", "value"),
            MetricKind::Trend => ("trend", "avg, min, max, med, p(N) or count"),
        };
        Err(format!(
            "the metric is a {what}, of which {can} can be said"
        ))
    }

    /// Whether it holds of that value.
    #[must_use]
    pub fn holds(&self, value: f64) -> bool {
        match self.comparison {
            Comparison::Less => value < self.limit,
            Comparison::AtMost => value <= self.limit,
            Comparison::Greater => value > self.limit,
            Comparison::AtLeast => value >= self.limit,
            Comparison::Equal => value == self.limit,
            Comparison::Unequal => value != self.limit,
        }
    }
}
