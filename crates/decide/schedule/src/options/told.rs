//! The options in force as a script is told them (k6: `exec.test.options`): short forms of load stand as the scenario they mean.

use serde_json::{Map, Value, json};

use super::{Executor, Options, Scenario, Stage};
use crate::duration::in_words;

/// What stands for a scenario.
const SHORT: [&str; 4] = ["vus", "duration", "iterations", "stages"];

impl Options {
    /// What the script wrote, with the load that is run in place of the load it asked for.
    #[must_use]
    pub fn told(&self, written: &Value) -> Value {
        let mut told = written.as_object().cloned().unwrap_or_default();
        for key in SHORT {
            told.remove(key);
        }
        let scenarios = self.scenarios.iter();
        let scenarios: Map<String, Value> = scenarios
            .map(|scenario| (scenario.name.clone(), scenario_told(scenario)))
            .collect();
        told.insert("scenarios".to_owned(), scenarios.into());
        told.into()
    }
}

fn scenario_told(scenario: &Scenario) -> Value {
    let mut told = executor_told(&scenario.executor);
    told["executor"] = scenario.executor.name().into();
    told["exec"] = scenario.exec.as_str().into();
    told["startTime"] = in_words(scenario.start_us).into();
    told["gracefulStop"] = in_words(scenario.graceful_stop_us).into();
    told["env"] = json!(scenario.env);
    told["tags"] = json!(scenario.tags);
    told
}

fn executor_told(executor: &Executor) -> Value {
    match executor {
        Executor::SharedIterations {
            vus,
            iterations,
            longest_us,
        }
        | Executor::PerVuIterations {
            vus,
            iterations,
            longest_us,
        } => json!({ "vus": vus, "iterations": iterations, "maxDuration": in_words(*longest_us) }),
        Executor::ConstantVus { vus, duration_us } => {
            json!({ "vus": vus, "duration": in_words(*duration_us) })
        }
        Executor::RampingVus {
            start,
            stages,
            graceful_ramp_down_us,
        } => json!({
            "startVUs": start,
            "stages": stages_told(stages),
            "gracefulRampDown": in_words(*graceful_ramp_down_us),
        }),
        Executor::ConstantArrivalRate {
            rate,
            unit_us,
            duration_us,
            vus,
            vus_max,
        } => json!({
            "rate": rate,
            "timeUnit": in_words(*unit_us),
            "duration": in_words(*duration_us),
            "preAllocatedVUs": vus,
            "maxVUs": vus_max,
        }),
        Executor::RampingArrivalRate {
            start,
            unit_us,
            stages,
            vus,
            vus_max,
        } => json!({
            "startRate": start,
            "timeUnit": in_words(*unit_us),
            "stages": stages_told(stages),
            "preAllocatedVUs": vus,
            "maxVUs": vus_max,
        }),
    }
}

fn stages_told(stages: &[Stage]) -> Value {
    let told =
        |stage: &Stage| json!({ "duration": in_words(stage.duration_us), "target": stage.target });
    stages.iter().map(told).collect()
}
