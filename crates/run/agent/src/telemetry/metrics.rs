//! Samples of k6's own metrics and of the script's, added up between two messages.
//!
//! What is counted is the metric as a whole and the submetrics that thresholds name; tags beyond
//! those are not kept, so that a script with an id in every url costs no memory.

use std::collections::BTreeMap;

use cohort_model::At;
use cohort_scenario::{MetricKind as Kind, Request, Sample};

use super::histogram::Counted;
use crate::http::Exchanged;
use crate::protocol::{MetricDelta, MetricKind, MetricValue, Submetric};

/// Metrics of the script's own that are told apart.
const METRICS_MAX: usize = 1_000;

/// One value on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'v> {
    pub(crate) metric: &'v str,
    pub(crate) kind: MetricKind,
    pub(crate) time: bool,
    pub(crate) value: f64,
}

#[derive(Debug)]
struct Sum {
    kind: MetricKind,
    time: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    Counter(f64),
    Rate {
        nonzero: u64,
        total: u64,
    },
    Gauge {
        value: f64,
        at: At,
        min: f64,
        max: f64,
    },
    Trend(Box<Counted>),
}

impl Sum {
    fn new(kind: MetricKind, time: bool) -> Sum {
        let state = match kind {
            MetricKind::Counter => State::Counter(0.0),
            MetricKind::Rate => State::Rate {
                nonzero: 0,
                total: 0,
            },
            MetricKind::Gauge => State::Gauge {
                value: f64::NAN,
                at: At(0),
                min: f64::INFINITY,
                max: f64::NEG_INFINITY,
            },
            MetricKind::Trend => State::Trend(Box::new(Counted::new(3))),
        };
        Sum { kind, time, state }
    }

    fn add(&mut self, added: f64, now: At) {
        match &mut self.state {
            State::Counter(sum) => *sum += added,
            State::Rate { nonzero, total } => {
                *nonzero += u64::from(added != 0.0);
                *total += 1;
            }
            State::Gauge {
                value,
                at,
                min,
                max,
            } => {
                (*value, *at) = (added, now);
                *min = min.min(added);
                *max = max.max(added);
            }
            State::Trend(counted) => counted.record(added * 1_000.0),
        }
    }

    fn take(&mut self) -> Option<MetricValue> {
        match &mut self.state {
            State::Counter(sum) => {
                let sum = std::mem::take(sum);
                (sum != 0.0).then_some(MetricValue::Sum(sum))
            }
            State::Rate { nonzero, total } => {
                let taken = MetricValue::Share {
                    nonzero: std::mem::take(nonzero),
                    total: *total,
                };
                (std::mem::take(total) > 0).then_some(taken)
            }
            State::Gauge {
                value,
                at,
                min,
                max,
            } => {
                if min > max {
                    return None;
                }
                let taken = MetricValue::Last {
                    value: *value,
                    at: *at,
                    min: *min,
                    max: *max,
                };
                (*min, *max) = (f64::INFINITY, f64::NEG_INFINITY);
                Some(taken)
            }
            State::Trend(counted) => {
                (!counted.is_empty()).then(|| MetricValue::Values(counted.take()))
            }
        }
    }
}

/// All metrics of one agent.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    sums: BTreeMap<String, Sum>,
    submetrics: Vec<Submetric>,
}

impl Metrics {
    pub(crate) fn new(submetrics: Vec<Submetric>) -> Metrics {
        Metrics {
            sums: BTreeMap::new(),
            submetrics,
        }
    }

    /// Adds a value with the tags that `tag` knows.
    pub(crate) fn add<'t>(
        &mut self,
        value: Value<'_>,
        now: At,
        tag: impl Fn(&str) -> Option<&'t str>,
    ) {
        add_to(&mut self.sums, value.metric, value, now);
        for submetric in &self.submetrics {
            let all = submetric.metric == value.metric
                && submetric
                    .tags
                    .iter()
                    .all(|(name, wanted)| tag(name).unwrap_or("") == wanted);
            if all {
                add_to(&mut self.sums, &submetric.name, value, now);
            }
        }
    }

    /// A value of the script's own metric.
    pub(crate) fn sample(&mut self, sample: &Sample, scenario: &str, now: At) {
        let value = Value {
            metric: &sample.metric,
            kind: match sample.kind {
                Kind::Counter => MetricKind::Counter,
                Kind::Gauge => MetricKind::Gauge,
                Kind::Rate => MetricKind::Rate,
                Kind::Trend => MetricKind::Trend,
            },
            time: sample.is_time,
            value: sample.value,
        };
        self.add(value, now, |name| match find(&sample.tags, name) {
            Some(value) => Some(value),
            None if name == "group" => Some(sample.group.as_str()),
            None if name == "scenario" => Some(scenario),
            None => None,
        });
    }

    /// The built-in metrics of one request.
    pub(crate) fn request(
        &mut self,
        request: &Request,
        exchanged: &Exchanged,
        scenario: &str,
        now: At,
    ) {
        let (status, code, proto, timings) = match &exchanged.outcome {
            Ok(response) => {
                let code = if response.status >= 400 {
                    1_000 + response.status
                } else {
                    0
                };
                (
                    response.status,
                    code,
                    response.proto.as_str(),
                    response.timings,
                )
            }
            Err(error) => (0, error.code, "", error.timings),
        };
        let expected = request.expected.judge(status);
        let (status_text, code_text) = (number(status), number(code));
        let tag = |name: &str| -> Option<&str> {
            match name {
                "method" => Some(request.method.as_str()),
                "status" => Some(status_text.as_str()),
                "error_code" => (code != 0).then_some(code_text.as_str()),
                "proto" => Some(proto),
                "url" => Some(request.url.as_str()),
                "name" => Some(request.name.as_str()),
                "group" => Some(request.group.as_str()),
                "scenario" => Some(scenario),
                "expected_response" => match expected {
                    Some(true) => Some("true"),
                    Some(false) => Some("false"),
                    None => None,
                },
                other => find(&request.tags, other),
            }
        };
        let ms = |us: u64| us as f64 / 1_000.0;
        for (metric, time_ms) in [
            ("http_req_duration", ms(timings.duration_us())),
            ("http_req_blocked", ms(timings.blocked_us)),
            ("http_req_connecting", ms(timings.connecting_us)),
            ("http_req_tls_handshaking", ms(timings.tls_us)),
            ("http_req_sending", ms(timings.sending_us)),
            ("http_req_waiting", ms(timings.waiting_us)),
            ("http_req_receiving", ms(timings.receiving_us)),
        ] {
            self.add(trend(metric, time_ms), now, tag);
        }
        self.add(counter("http_reqs", 1.0), now, tag);
        self.add(counter("data_sent", exchanged.sent as f64), now, tag);
        self.add(
            counter("data_received", exchanged.received as f64),
            now,
            tag,
        );
        if let Some(expected) = expected {
            let failed = rate("http_req_failed", !expected);
            self.add(failed, now, tag);
        }
    }

    /// What was added since the last time.
    pub(crate) fn take(&mut self) -> Vec<MetricDelta> {
        let mut taken = Vec::new();
        for (name, sum) in &mut self.sums {
            if let Some(value) = sum.take() {
                taken.push(MetricDelta {
                    name: name.clone(),
                    kind: sum.kind,
                    time: sum.time,
                    value,
                });
            }
        }
        taken
    }
}

fn add_to(sums: &mut BTreeMap<String, Sum>, name: &str, value: Value<'_>, now: At) {
    if let Some(sum) = sums.get_mut(name) {
        sum.add(value.value, now);
    } else if sums.len() < METRICS_MAX {
        let mut sum = Sum::new(value.kind, value.time);
        sum.add(value.value, now);
        sums.insert(name.to_owned(), sum);
    }
}

/// A time in milliseconds.
pub(crate) fn trend(metric: &str, time_ms: f64) -> Value<'_> {
    Value {
        metric,
        kind: MetricKind::Trend,
        time: true,
        value: time_ms,
    }
}

/// A number to add.
pub(crate) fn counter(metric: &str, value: f64) -> Value<'_> {
    Value {
        metric,
        kind: MetricKind::Counter,
        time: false,
        value,
    }
}

/// Whether something was so.
pub(crate) fn rate(metric: &str, so: bool) -> Value<'_> {
    Value {
        metric,
        kind: MetricKind::Rate,
        time: false,
        value: f64::from(u8::from(so)),
    }
}

/// The value of a tag.
pub(crate) fn find<'t>(tags: &'t [(String, String)], name: &str) -> Option<&'t str> {
    tags.iter()
        .find(|(tag, _)| tag == name)
        .map(|(_, value)| value.as_str())
}

/// Digits without an allocation would be nicer; three of them are not worth it.
fn number(number: u16) -> String {
    number.to_string()
}
