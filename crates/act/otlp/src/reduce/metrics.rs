//! Points of metrics: the last value of a level, the increase of a sum.

use std::collections::HashMap;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric, NumberDataPoint};

use crate::attributes::{clip, joined};
use crate::window::{Dropped, MetricKind, MetricPoint};

/// Series of one instance that are known at a time.
const SERIES_MAX: usize = 500;
/// Windows after which a series that told nothing is forgotten.
const SILENT_MAX: u32 = 120;
const NAME_MAX: usize = 128;
const ATTRIBUTES_MAX: usize = 256;

/// The series of one instance.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    series: HashMap<(String, String), Series>,
}

#[derive(Debug)]
struct Series {
    unit: String,
    kind: MetricKind,
    /// Of this window.
    value: f64,
    count: u64,
    points: u64,
    /// The sum so far, of a series that tells its sum since `started`.
    sum: Option<Sum>,
    silent: u32,
}

#[derive(Clone, Copy, Debug)]
struct Sum {
    value: f64,
    count: u64,
    started: u64,
}

/// One point, whatever its metric looked like.
struct Point<'a> {
    kind: MetricKind,
    cumulative: bool,
    attributes: &'a [KeyValue],
    sum: Sum,
}

impl Metrics {
    pub(super) fn add(&mut self, metric: &Metric, dropped: &mut Dropped) {
        let mut take = |point: Point<'_>| {
            if !point.sum.value.is_finite() || !self.point(metric, &point) {
                dropped.points += 1;
            }
        };
        match &metric.data {
            None => {}
            Some(Data::Gauge(gauge)) => {
                for point in &gauge.data_points {
                    take(number(point, MetricKind::Gauge, false));
                }
            }
            Some(Data::Sum(sum)) => {
                let kind = if sum.is_monotonic {
                    MetricKind::Counter
                } else {
                    MetricKind::Gauge
                };
                let cumulative = is_cumulative(sum.aggregation_temporality);
                for point in &sum.data_points {
                    take(number(point, kind, cumulative));
                }
            }
            Some(Data::Histogram(histogram)) => {
                let cumulative = is_cumulative(histogram.aggregation_temporality);
                for point in &histogram.data_points {
                    let sum = (point.sum, point.count, point.start_time_unix_nano);
                    take(distribution(&point.attributes, cumulative, sum));
                }
            }
            Some(Data::ExponentialHistogram(histogram)) => {
                let cumulative = is_cumulative(histogram.aggregation_temporality);
                for point in &histogram.data_points {
                    let sum = (point.sum, point.count, point.start_time_unix_nano);
                    take(distribution(&point.attributes, cumulative, sum));
                }
            }
            Some(Data::Summary(summary)) => {
                for point in &summary.data_points {
                    let sum = (Some(point.sum), point.count, point.start_time_unix_nano);
                    take(distribution(&point.attributes, true, sum));
                }
            }
        }
    }

    /// False when there is no place.
    fn point(&mut self, metric: &Metric, point: &Point<'_>) -> bool {
        let key = (
            clip(&metric.name, NAME_MAX).to_owned(),
            joined(point.attributes, ATTRIBUTES_MAX),
        );
        if self.series.len() >= SERIES_MAX && !self.series.contains_key(&key) {
            return false;
        }
        let series = self.series.entry(key).or_insert_with(|| Series {
            unit: clip(&metric.unit, NAME_MAX).to_owned(),
            kind: point.kind,
            value: 0.0,
            count: 0,
            points: 0,
            sum: None,
            silent: 0,
        });
        series.take(point);
        true
    }

    pub(super) fn take(&mut self) -> Vec<MetricPoint> {
        let mut points = Vec::new();
        self.series.retain(|(name, attributes), series| {
            if series.points == 0 {
                series.silent += 1;
                return series.silent < SILENT_MAX;
            }
            points.push(MetricPoint {
                name: name.clone(),
                attributes: attributes.clone(),
                unit: series.unit.clone(),
                kind: series.kind,
                value: series.value,
                count: match series.kind {
                    MetricKind::Histogram => series.count,
                    MetricKind::Gauge | MetricKind::Counter => series.points,
                },
            });
            (series.points, series.count, series.silent) = (0, 0, 0);
            if series.kind != MetricKind::Gauge {
                series.value = 0.0;
            }
            true
        });
        points.sort_unstable_by(|a, b| (&a.name, &a.attributes).cmp(&(&b.name, &b.attributes)));
        points
    }
}

impl Series {
    fn take(&mut self, point: &Point<'_>) {
        let new = point.sum;
        self.kind = point.kind;
        self.points += 1;
        match (point.kind, point.cumulative) {
            (MetricKind::Gauge, _) => self.value = new.value,
            (_, false) => {
                self.value += new.value;
                self.count = self.count.saturating_add(new.count);
            }
            (_, true) => {
                // A sum that began anew counts from nothing, as a new one does.
                let before = self.sum.filter(|before| {
                    before.started == new.started
                        && before.count <= new.count
                        && (before.value <= new.value || self.kind == MetricKind::Histogram)
                });
                self.value += new.value - before.map_or(0.0, |before| before.value);
                let count = new.count - before.map_or(0, |before| before.count);
                self.count = self.count.saturating_add(count);
                self.sum = Some(new);
            }
        }
    }
}

fn is_cumulative(temporality: i32) -> bool {
    temporality != AggregationTemporality::Delta as i32
}

fn number(point: &NumberDataPoint, kind: MetricKind, cumulative: bool) -> Point<'_> {
    let value = match point.value {
        Some(Value::AsDouble(value)) => value,
        Some(Value::AsInt(value)) => value as f64,
        None => f64::NAN,
    };
    Point {
        kind,
        cumulative,
        attributes: &point.attributes,
        sum: Sum {
            value,
            count: 0,
            started: point.start_time_unix_nano,
        },
    }
}

fn distribution(
    attributes: &[KeyValue],
    cumulative: bool,
    (sum, count, started): (Option<f64>, u64, u64),
) -> Point<'_> {
    Point {
        kind: MetricKind::Histogram,
        cumulative,
        attributes,
        sum: Sum {
            value: sum.unwrap_or(0.0),
            count,
            started,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::metrics::v1::{
        Gauge, Histogram, HistogramDataPoint, Sum as WireSum,
    };

    fn at(started: u64, value: i64) -> NumberDataPoint {
        NumberDataPoint {
            start_time_unix_nano: started,
            value: Some(Value::AsInt(value)),
            ..NumberDataPoint::default()
        }
    }

    fn metric(name: &str, data: Data) -> Metric {
        Metric {
            name: name.to_owned(),
            unit: "1".to_owned(),
            data: Some(data),
            ..Metric::default()
        }
    }

    fn counter(temporality: AggregationTemporality, points: Vec<NumberDataPoint>) -> Metric {
        let sum = WireSum {
            data_points: points,
            aggregation_temporality: temporality as i32,
            is_monotonic: true,
        };
        metric("requests", Data::Sum(sum))
    }

    fn values(metrics: &mut Metrics) -> Vec<f64> {
        metrics.take().iter().map(|point| point.value).collect()
    }

    #[test]
    fn sums_become_increases() {
        use AggregationTemporality::{Cumulative, Delta};
        let mut metrics = Metrics::default();
        let mut dropped = Dropped::default();
        let steps = [
            (counter(Cumulative, vec![at(1, 10)]), 10.0),
            (counter(Cumulative, vec![at(1, 12), at(1, 15)]), 5.0),
            (counter(Cumulative, vec![at(9, 15)]), 15.0),
            (counter(Cumulative, vec![at(9, 4)]), 4.0),
            (counter(Delta, vec![at(9, 4), at(10, 3)]), 7.0),
        ];
        for (metric, increase) in steps {
            metrics.add(&metric, &mut dropped);
            assert_eq!(values(&mut metrics), [increase], "{metric:?}");
        }
        assert_eq!(values(&mut metrics), [] as [f64; 0]);
        assert!(!dropped.any());
    }

    #[test]
    fn distributions_give_sum_and_number_and_levels_their_last_value() {
        let mut metrics = Metrics::default();
        let mut dropped = Dropped::default();
        for (count, sum, level) in [(4, 8.0, 70), (10, 11.0, 60)] {
            let point = HistogramDataPoint {
                count,
                sum: Some(sum),
                ..HistogramDataPoint::default()
            };
            let histogram = Histogram {
                data_points: vec![point],
                aggregation_temporality: AggregationTemporality::Cumulative as i32,
            };
            metrics.add(
                &metric("duration", Data::Histogram(histogram)),
                &mut dropped,
            );
            let gauge = Gauge {
                data_points: vec![at(0, level)],
            };
            metrics.add(&metric("used", Data::Gauge(gauge)), &mut dropped);
            if count == 4 {
                metrics.take();
            }
        }
        let points = metrics.take();
        assert_eq!((points[0].value, points[0].count), (3.0, 6));
        assert_eq!((points[1].value, points[1].count), (60.0, 1));
    }

    #[test]
    fn series_are_bounded_and_forgotten() {
        let mut metrics = Metrics::default();
        let mut dropped = Dropped::default();
        let all = |metrics: &mut Metrics, dropped: &mut Dropped| {
            for number in 0..SERIES_MAX + 3 {
                let gauge = Gauge {
                    data_points: vec![at(0, 1), NumberDataPoint::default()],
                };
                metrics.add(&metric(&number.to_string(), Data::Gauge(gauge)), dropped);
            }
        };
        all(&mut metrics, &mut dropped);
        assert_eq!(metrics.take().len(), SERIES_MAX);
        assert_eq!(dropped.points as usize, SERIES_MAX + 3 + 3);
        for _ in 0..SILENT_MAX {
            assert!(metrics.take().is_empty());
        }
        assert!(metrics.series.is_empty());
    }
}
