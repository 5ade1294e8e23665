//! Thresholds and the summary.

use cohort_schedule::{Added, Contains, MetricKind, Metrics, Options, Submetric};
use serde_json::{Value, json};

fn metrics(thresholds: &Value) -> Metrics {
    let options =
        json!({ "thresholds": thresholds, "summaryTrendStats": ["avg", "med", "p(95)", "count"] });
    Metrics::new(&Options::parse(&options).expect("good"))
}

fn trend(metrics: &mut Metrics, name: &str, ms: &[u64]) {
    let buckets: Vec<(i64, u64)> = ms.iter().map(|ms| (*ms as i64 * 1000, 1)).collect();
    let added = Added::Trend {
        count: ms.len() as u64,
        sum: ms.iter().sum::<u64>() as f64 * 1000.0,
        min: ms.iter().min().map_or(0.0, |ms| *ms as f64 * 1000.0),
        max: ms.iter().max().map_or(0.0, |ms| *ms as f64 * 1000.0),
        buckets: &buckets,
    };
    assert!(metrics.add(name, Contains::Time, &added));
}

#[test]
fn submetrics_are_read_from_thresholds() {
    let options = Options::parse(&json!({ "thresholds": {
        "http_req_duration{name:login, status:200}": ["avg<1", { "threshold": "max<2", "abortOnFail": true, "delayAbortEval": "10s" }],
        "http_reqs": ["count>1"],
    }}))
    .expect("good");
    let tags = [("name", "login"), ("status", "200")];
    let submetric = Submetric {
        name: "http_req_duration{name:login, status:200}".to_owned(),
        metric: "http_req_duration".to_owned(),
        tags: tags
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    };
    assert_eq!(options.submetrics(), [submetric]);
    assert!(options.thresholds[1].abort_on_fail);
    assert_eq!(options.thresholds[1].delay_abort_us, 10_000_000);
}

#[test]
fn every_aggregation_is_judged() {
    let mut metrics = metrics(&json!({
        "http_req_duration": ["avg==50.5", "min===1", "max<=100", "med<50.6", "p(95)<95.06", "p(95)>95.04", "p(0)==1", "count==100"],
        "http_reqs": ["count>=30", "rate>2.9", "rate<3"],
        "checks": ["rate>0.79", "rate!=1"],
        "vus": ["value==4"],
    }));
    trend(
        &mut metrics,
        "http_req_duration",
        &(1..=60).collect::<Vec<_>>(),
    );
    trend(
        &mut metrics,
        "http_req_duration",
        &(61..=100).collect::<Vec<_>>(),
    );
    for sum in [10.0, 20.0] {
        assert!(metrics.add("http_reqs", Contains::Default, &Added::Sum(sum)));
    }
    let share = Added::Share {
        nonzero: 8,
        total: 10,
    };
    metrics.add("checks", Contains::Default, &share);
    let last = |value| Added::Last {
        value,
        min: value,
        max: value,
    };
    metrics.add("vus", Contains::Default, &last(9.0));
    metrics.add("vus", Contains::Default, &last(4.0));
    let verdicts = metrics.judge(10_000_000, true);
    let bad: Vec<&str> = verdicts
        .iter()
        .filter(|one| !one.ok)
        .map(|one| one.source.as_str())
        .collect();
    assert_eq!((verdicts.len(), bad), (14, vec!["rate<3"]));
    let summary = metrics.summary(10_000_000);
    assert!(!summary.is_ok());
    let of = |name: &str| summary.metrics[name].values.clone();
    let named = |values: &[(&str, f64)]| -> Vec<(String, f64)> {
        values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect()
    };
    assert_eq!(
        of("vus"),
        named(&[("value", 4.0), ("min", 4.0), ("max", 9.0)])
    );
    assert_eq!(of("http_reqs"), named(&[("count", 30.0), ("rate", 3.0)]));
    assert_eq!(
        of("checks"),
        named(&[("rate", 0.8), ("passes", 8.0), ("fails", 2.0)])
    );
    let duration = &summary.metrics["http_req_duration"];
    assert_eq!(
        (duration.kind, duration.contains),
        (MetricKind::Trend, Contains::Time)
    );
    assert_eq!(duration.values[0], ("avg".to_owned(), 50.5));
    assert_eq!(duration.values[3], ("count".to_owned(), 100.0));
}

#[test]
fn a_failed_threshold_aborts_only_when_told_and_not_too_early() {
    let mut metrics = metrics(&json!({
        "errors": [{ "threshold": "count<1", "abortOnFail": true, "delayAbortEval": "5s" }, "count<2"],
        "nothing": ["count>0"],
    }));
    metrics.add("errors", Contains::Default, &Added::Sum(3.0));
    let aborts = |at_s: u64, runs| -> Vec<bool> {
        let verdicts = metrics.judge(at_s * 1_000_000, runs);
        verdicts.iter().map(|one| one.aborts).collect()
    };
    assert_eq!(aborts(4, true), [false, false]);
    assert_eq!(aborts(5, true), [true, false]);
    // In the end also what was never measured is judged, as nothing.
    assert_eq!(aborts(6, false), [false, false, false]);
    let summary = metrics.summary(6_000_000);
    assert_eq!(summary.unmeasured[0].0, "nothing");
    assert!(!summary.unmeasured[0].1.ok);
}

#[test]
fn a_metric_of_another_kind_is_not_mixed_in() {
    let mut metrics = metrics(&json!({ "mine": ["avg<5"] }));
    assert!(metrics.add("mine", Contains::Default, &Added::Sum(1.0)));
    let share = Added::Share {
        nonzero: 1,
        total: 1,
    };
    assert!(!metrics.add("mine", Contains::Default, &share));
    let verdict = &metrics.judge(1, false)[0];
    assert_eq!(
        (verdict.value, verdict.ok),
        (None, false),
        "a counter has no avg"
    );
}
