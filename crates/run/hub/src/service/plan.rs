//! The schedule of the scenario and what the script measures, as the hub drives them.

use cohort_agent::protocol::{Iterated, MetricDelta, MetricKind as Kind, MetricValue, ToAgent};
use cohort_model::{At, MetricTotal, ThreadId, ThresholdTotal};
use cohort_schedule::{
    Added, Contains, MetricKind, Metrics, Options, Order, ScenarioId, Schedule, ScheduleEvent,
};

/// Between looks at thresholds that may end the campaign, microseconds.
const JUDGE_US: u64 = 1_000_000;

/// The schedule under way.
pub(crate) struct Timetable {
    options: Options,
    schedule: Schedule,
    metrics: Metrics,
    events: Vec<ScheduleEvent>,
    began: Option<At>,
    judged: At,
    ended: At,
    iterations: (u64, u64),
    /// Why threads ended that were not told to.
    pub(crate) failures: Vec<String>,
}

impl Timetable {
    pub(crate) fn new(options: &Options, seed: u64) -> Self {
        Self {
            schedule: Schedule::new(options, seed),
            metrics: Metrics::new(options),
            options: options.clone(),
            events: Vec::new(),
            began: None,
            judged: At(0),
            ended: At(0),
            iterations: (0, 0),
            failures: Vec::new(),
        }
    }

    /// Time runs from here.
    pub(crate) fn begin(&mut self, at: At) {
        self.began = Some(at);
        self.judged = at;
    }

    /// When it began.
    pub(crate) fn began(&self) -> Option<At> {
        self.began
    }

    pub(crate) fn started(&mut self, thread: ThreadId) {
        self.events.push(ScheduleEvent::ThreadStarted(thread));
    }

    pub(crate) fn ended(&mut self, thread: ThreadId) {
        self.events.push(ScheduleEvent::ThreadEnded(thread));
    }

    pub(crate) fn iterated(&mut self, of: &Iterated) {
        let thread = of.thread;
        for place in 0..of.done {
            let ok = place >= of.failed;
            self.events.push(ScheduleEvent::Iterated { thread, ok });
        }
        if of.idle {
            self.events.push(ScheduleEvent::ThreadIdle(thread));
        }
        self.iterations.0 += u64::from(of.done);
        self.iterations.1 += u64::from(of.failed);
    }

    pub(crate) fn dropped(&mut self, scenario: &str, n: u64) {
        let place = self
            .options
            .scenarios
            .iter()
            .position(|known| known.name == scenario);
        if let Some(place) = place {
            let scenario = ScenarioId(place as u32);
            self.events.push(ScheduleEvent::Dropped { scenario, n });
        }
        let added = Added::Sum(n as f64);
        self.metrics
            .add("dropped_iterations", Contains::Default, &added);
    }

    /// Everything is to end.
    pub(crate) fn abort(&mut self, graceful_us: u64) {
        self.events.push(ScheduleEvent::Abort { graceful_us });
    }

    /// Iterations that ended since the last call, and how many of them with an error.
    pub(crate) fn take_iterated(&mut self) -> (u64, u64) {
        std::mem::take(&mut self.iterations)
    }

    /// How many threads there are now, of at most so many.
    pub(crate) fn measure_threads(&mut self, now: usize, most: u32) {
        for (name, value) in [("vus", now as f64), ("vus_max", f64::from(most))] {
            let added = Added::Last {
                value,
                min: value,
                max: value,
            };
            self.metrics.add(name, Contains::Default, &added);
        }
    }

    pub(crate) fn measure(&mut self, deltas: &[MetricDelta]) {
        for delta in deltas {
            let contains = match (delta.time, delta.kind) {
                (true, _) => Contains::Time,
                (false, _) => Contains::Default,
            };
            let added = match &delta.value {
                MetricValue::Sum(sum) => Added::Sum(*sum),
                MetricValue::Share { nonzero, total } => Added::Share {
                    nonzero: *nonzero,
                    total: *total,
                },
                MetricValue::Last {
                    value, min, max, ..
                } => Added::Last {
                    value: *value,
                    min: *min,
                    max: *max,
                },
                MetricValue::Values(values) => Added::Trend {
                    count: values.count,
                    sum: values.sum,
                    min: values.min,
                    max: values.max,
                    buckets: &values.buckets,
                },
            };
            debug_assert!(matches!(
                delta.kind,
                Kind::Counter | Kind::Rate | Kind::Gauge | Kind::Trend
            ));
            self.metrics.add(&delta.name, contains, &added);
        }
    }

    /// What is to be done now.
    pub(crate) fn step(&mut self, now: At) -> Vec<Order> {
        let events = std::mem::take(&mut self.events);
        let due = self.schedule.next_due_us().is_some_and(|due| due <= now.0);
        if events.is_empty() && !due {
            return Vec::new();
        }
        self.ended = now;
        self.schedule.step(now.0, &events)
    }

    /// A threshold that failed and is to end the campaign.
    pub(crate) fn broken_threshold(&mut self, now: At) -> Option<String> {
        let began = self.began.filter(|_| now.since(self.judged) >= JUDGE_US)?;
        self.judged = now;
        let verdicts = self.metrics.judge(now.since(began), true);
        let broken = verdicts.into_iter().find(|verdict| verdict.aborts)?;
        Some(format!(
            "threshold {} {} was crossed",
            broken.metric, broken.source
        ))
    }

    /// What agents that come later must know of scenarios.
    pub(crate) fn scenarios(&self) -> Vec<ToAgent> {
        let Some(began) = self.began else {
            return Vec::new();
        };
        let scenario = |scenario: &cohort_schedule::Scenario| ToAgent::Scenario {
            name: scenario.name.clone(),
            begins: began.plus_us(scenario.start_us),
            ends: Some(began.plus_us(scenario.end_us())),
            iterations: scenario.executor.iterations(),
        };
        self.options.scenarios.iter().map(scenario).collect()
    }

    /// What was measured and whether thresholds hold.
    pub(crate) fn totals(&self) -> (Vec<MetricTotal>, Vec<ThresholdTotal>) {
        let elapsed_us = self.began.map_or(0, |began| self.ended.since(began));
        let summary = self.metrics.summary(elapsed_us);
        let metrics = summary
            .metrics
            .into_iter()
            .map(|(name, metric)| MetricTotal {
                name,
                kind: kind(metric.kind).to_owned(),
                is_time: metric.contains == Contains::Time,
                values: metric.values.into_iter().collect(),
            });
        // A campaign that never began measured nothing.
        let verdicts = self.began.map(|_| self.metrics.judge(elapsed_us, false));
        let thresholds = verdicts
            .into_iter()
            .flatten()
            .map(|verdict| ThresholdTotal {
                metric: verdict.metric,
                expression: verdict.source,
                value: verdict.value,
                held: verdict.ok,
            });
        (metrics.collect(), thresholds.collect())
    }

    /// The data that `handleSummary()` is given, in k6's form, as JSON.
    pub(crate) fn summary_data(&self, root_group: &serde_json::Value) -> String {
        let elapsed_us = self.began.map_or(0, |began| self.ended.since(began));
        let summary = self.metrics.summary(elapsed_us);
        let mut metrics = serde_json::Map::new();
        for (name, metric) in summary.metrics {
            let values: serde_json::Map<String, serde_json::Value> = metric
                .values
                .into_iter()
                .map(|(key, value)| (key, value.into()))
                .collect();
            let thresholds: serde_json::Map<String, serde_json::Value> = metric
                .thresholds
                .into_iter()
                .map(|threshold| (threshold.source, serde_json::json!({ "ok": threshold.ok })))
                .collect();
            let contains = match metric.contains {
                Contains::Default => "default",
                Contains::Time => "time",
                Contains::Data => "data",
            };
            let mut one = serde_json::json!({ "type": kind(metric.kind), "contains": contains, "values": values });
            if !thresholds.is_empty() {
                one["thresholds"] = thresholds.into();
            }
            metrics.insert(name, one);
        }
        serde_json::json!({
            "metrics": metrics,
            "state": { "testRunDurationMs": elapsed_us as f64 / 1e3, "isStdOutTTY": false, "isStdErrTTY": false },
            "options": {
                "summaryTrendStats": self.options.summary_trend_stats,
                "summaryTimeUnit": self.options.summary_time_unit.as_deref().unwrap_or_default(),
                "noColor": true,
            },
            "root_group": root_group,
        })
        .to_string()
    }
}

fn kind(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Rate => "rate",
        MetricKind::Trend => "trend",
    }
}
