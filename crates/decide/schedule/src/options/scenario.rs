//! Scenarios: k6's executors, and the short forms that stand for one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Overrides;
use super::stage::{self, Stage, total_us};
use crate::Error;
use crate::fields::{Fields, element, wrong};

const SECOND_US: u64 = 1_000_000;
/// k6's default of `gracefulStop` and `gracefulRampDown`.
const GRACE_US: u64 = 30 * SECOND_US;
/// k6's default of `maxDuration`.
const LONGEST_US: u64 = 600 * SECOND_US;
/// More threads than this are a slip.
const VUS_MAX: u64 = 1_000_000;

/// One scenario. Times in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// Its name; `default` when the script names none.
    pub name: String,
    /// What it does.
    pub executor: Executor,
    /// When it begins, after the start of the test.
    pub start_us: u64,
    /// How long iterations may go on after its end.
    pub graceful_stop_us: u64,
    /// The function that an iteration calls.
    pub exec: String,
    /// Environment of its threads, beside that of all.
    pub env: BTreeMap<String, String>,
    /// Put on its samples, beside those of all.
    pub tags: BTreeMap<String, String>,
}

/// What a scenario does. Times in microseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Executor {
    /// Threads take iterations from one stock.
    SharedIterations {
        /// Threads.
        vus: u64,
        /// All iterations.
        iterations: u64,
        /// Until when iterations may begin.
        longest_us: u64,
    },
    /// Each thread does so many iterations.
    PerVuIterations {
        /// Threads.
        vus: u64,
        /// Iterations of each.
        iterations: u64,
        /// Until when iterations may begin.
        longest_us: u64,
    },
    /// Threads iterate as fast as they can.
    ConstantVus {
        /// Threads.
        vus: u64,
        /// How long.
        duration_us: u64,
    },
    /// The same, by a changing number of threads.
    RampingVus {
        /// Threads at first.
        start: u64,
        /// What they become.
        stages: Vec<Stage>,
        /// How long an iteration may go on after its thread was ramped down.
        graceful_ramp_down_us: u64,
    },
    /// So many iterations begin in each time unit.
    ConstantArrivalRate {
        /// Iterations per time unit.
        rate: u64,
        /// The time unit.
        unit_us: u64,
        /// How long.
        duration_us: u64,
        /// Threads from the beginning on.
        vus: u64,
        /// Threads at most.
        vus_max: u64,
    },
    /// The same at a changing rate.
    RampingArrivalRate {
        /// Iterations per time unit at first.
        start: u64,
        /// The time unit.
        unit_us: u64,
        /// What the rate becomes.
        stages: Vec<Stage>,
        /// Threads from the beginning on.
        vus: u64,
        /// Threads at most.
        vus_max: u64,
    },
}

impl Scenario {
    /// When it no longer begins iterations, after the start of the test: microseconds.
    #[must_use]
    pub fn end_us(&self) -> u64 {
        self.start_us + self.executor.length_us()
    }
}

impl Executor {
    /// k6's name of it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Executor::SharedIterations { .. } => "shared-iterations",
            Executor::PerVuIterations { .. } => "per-vu-iterations",
            Executor::ConstantVus { .. } => "constant-vus",
            Executor::RampingVus { .. } => "ramping-vus",
            Executor::ConstantArrivalRate { .. } => "constant-arrival-rate",
            Executor::RampingArrivalRate { .. } => "ramping-arrival-rate",
        }
    }

    /// How long iterations begin at the longest: microseconds.
    #[must_use]
    pub fn length_us(&self) -> u64 {
        match self {
            Executor::SharedIterations { longest_us, .. }
            | Executor::PerVuIterations { longest_us, .. } => *longest_us,
            Executor::ConstantVus { duration_us, .. }
            | Executor::ConstantArrivalRate { duration_us, .. } => *duration_us,
            Executor::RampingVus { stages, .. } | Executor::RampingArrivalRate { stages, .. } => {
                total_us(stages)
            }
        }
    }

    /// Threads at most.
    #[must_use]
    pub fn vus_max(&self) -> u64 {
        match self {
            Executor::SharedIterations { vus, .. }
            | Executor::PerVuIterations { vus, .. }
            | Executor::ConstantVus { vus, .. } => *vus,
            Executor::RampingVus { start, stages, .. } => {
                let targets = stages.iter().map(|stage| stage.target);
                targets.fold(*start, u64::max)
            }
            Executor::ConstantArrivalRate { vus_max, .. }
            | Executor::RampingArrivalRate { vus_max, .. } => *vus_max,
        }
    }

    /// Iterations it is to do, when their number is fixed.
    #[must_use]
    pub fn iterations(&self) -> Option<u64> {
        match self {
            Executor::SharedIterations { iterations, .. } => Some(*iterations),
            Executor::PerVuIterations {
                vus, iterations, ..
            } => Some(vus.saturating_mul(*iterations)),
            _ => None,
        }
    }
}

/// The scenarios, or the one that the short forms stand for.
pub(crate) fn read_all(
    fields: &mut Fields<'_>,
    overrides: &Overrides,
    warnings: &mut Vec<String>,
) -> Result<Vec<Scenario>, Error> {
    let short = Overrides {
        vus: fields.whole("vus", 1)?,
        duration_us: fields.duration("duration")?,
        iterations: fields.whole("iterations", 1)?,
        stages: stage::read(fields)?,
    };
    let scenarios = fields.get("scenarios");
    let path = fields.path.clone();
    let replaces = overrides.duration_us.is_some()
        || overrides.iterations.is_some()
        || overrides.stages.is_some();
    let vus = overrides.vus.or(short.vus);
    let has_scenarios = scenarios.is_some_and(|value| *value != Value::Object(Map::new()));
    if let (Some(vus), true, false) = (overrides.vus, has_scenarios, replaces) {
        warnings.push(format!(
            "vus = {vus} of the command line replaces the script's scenarios: {vus} threads share {vus} iterations; say the \
             duration or the iterations too for more"
        ));
        let short = Overrides {
            vus: Some(vus),
            ..Overrides::default()
        };
        return from_short("command line", &short).map(|one| vec![one]);
    }
    if replaces {
        let short = Overrides {
            vus,
            ..overrides.clone()
        };
        return from_short("command line", &short).map(|one| vec![one]);
    }
    let Some(scenarios) = scenarios.filter(|value| **value != Value::Object(Map::new())) else {
        let short = Overrides { vus, ..short };
        return from_short(&path, &short).map(|one| vec![one]);
    };
    let shortcut = [
        ("duration", short.duration_us.is_some()),
        ("iterations", short.iterations.is_some()),
        ("stages", short.stages.is_some()),
    ];
    if let Some((one, _)) = shortcut.into_iter().find(|(_, said)| *said) {
        return Err(conflict(&path, one, "scenarios"));
    }
    if vus.is_some() {
        warnings.push("`vus` is without effect beside `scenarios`".to_owned());
    }
    let path = fields.at("scenarios");
    let map = scenarios
        .as_object()
        .ok_or_else(|| wrong(&path, "an object of scenarios by name", scenarios))?;
    map.iter()
        .map(|(name, value)| read(&path, name, value))
        .collect()
}

fn conflict(path: &str, one: &'static str, other: &'static str) -> Error {
    Error::Conflict {
        path: path.to_owned(),
        one,
        other,
    }
}

fn from_short(path: &str, short: &Overrides) -> Result<Scenario, Error> {
    let vus = short.vus.unwrap_or(1);
    if let (Some(_), Some(_)) = (short.iterations, &short.stages) {
        return Err(conflict(path, "iterations", "stages"));
    }
    let executor = match (short.iterations, short.duration_us, &short.stages) {
        (_, Some(_), Some(_)) => return Err(conflict(path, "duration", "stages")),
        (Some(iterations), duration, _) => Executor::SharedIterations {
            vus,
            iterations,
            longest_us: duration.unwrap_or(LONGEST_US),
        },
        (None, Some(duration_us), _) => Executor::ConstantVus { vus, duration_us },
        (None, None, Some(stages)) => Executor::RampingVus {
            start: vus,
            stages: stages.clone(),
            graceful_ramp_down_us: GRACE_US,
        },
        // As k6 has it since 2.1; before, it ran one iteration whatever `vus` said.
        (None, None, None) if short.vus.is_some() => Executor::SharedIterations {
            vus,
            iterations: vus,
            longest_us: LONGEST_US,
        },
        (None, None, None) => Executor::PerVuIterations {
            vus: 1,
            iterations: 1,
            longest_us: LONGEST_US,
        },
    };
    check(path, &executor)?;
    Ok(Scenario {
        name: "default".to_owned(),
        executor,
        start_us: 0,
        graceful_stop_us: GRACE_US,
        exec: "default".to_owned(),
        env: BTreeMap::new(),
        tags: BTreeMap::new(),
    })
}

fn read(path: &str, name: &str, value: &Value) -> Result<Scenario, Error> {
    let path = element(path, name);
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    if name.is_empty() || !name.chars().all(plain) {
        let expected = "a name of letters, digits, `_` and `-`";
        return Err(wrong(&path, expected, &Value::from(name)));
    }
    let mut fields = Fields::new(&path, value)?;
    let kind = fields.text("executor")?;
    let kind = kind.ok_or_else(|| missing(&fields, "executor", "to say how the scenario runs"))?;
    let executor = executor(&mut fields, &kind)?;
    check(&path, &executor)?;
    let scenario = Scenario {
        name: name.to_owned(),
        executor,
        start_us: fields.duration("startTime")?.unwrap_or(0),
        graceful_stop_us: fields.duration("gracefulStop")?.unwrap_or(GRACE_US),
        exec: fields.text("exec")?.unwrap_or_else(|| "default".to_owned()),
        env: fields.text_map("env")?.unwrap_or_default(),
        tags: fields.text_map("tags")?.unwrap_or_default(),
    };
    fields.refuse(&[("options", "there is no browser")])?;
    fields.finish()?;
    Ok(scenario)
}

fn executor(fields: &mut Fields<'_>, kind: &str) -> Result<Executor, Error> {
    Ok(match kind {
        "shared-iterations" => Executor::SharedIterations {
            vus: fields.whole("vus", 1)?.unwrap_or(1),
            iterations: fields.whole("iterations", 1)?.unwrap_or(1),
            longest_us: fields.duration("maxDuration")?.unwrap_or(LONGEST_US),
        },
        "per-vu-iterations" => Executor::PerVuIterations {
            vus: fields.whole("vus", 1)?.unwrap_or(1),
            iterations: fields.whole("iterations", 1)?.unwrap_or(1),
            longest_us: fields.duration("maxDuration")?.unwrap_or(LONGEST_US),
        },
        "constant-vus" => Executor::ConstantVus {
            vus: fields.whole("vus", 1)?.unwrap_or(1),
            duration_us: duration(fields)?,
        },
        "ramping-vus" => Executor::RampingVus {
            start: fields.whole("startVUs", 0)?.unwrap_or(1),
            stages: stages(fields)?,
            graceful_ramp_down_us: fields.duration("gracefulRampDown")?.unwrap_or(GRACE_US),
        },
        "constant-arrival-rate" => {
            let rate = fields.whole("rate", 1)?;
            let unit_us = unit(fields)?;
            let duration_us = duration(fields)?;
            let (vus, vus_max) = threads(fields)?;
            Executor::ConstantArrivalRate {
                rate: rate.ok_or_else(|| missing(fields, "rate", "by this executor"))?,
                unit_us,
                duration_us,
                vus,
                vus_max,
            }
        }
        "ramping-arrival-rate" => {
            let (vus, vus_max) = threads(fields)?;
            Executor::RampingArrivalRate {
                start: fields.whole("startRate", 0)?.unwrap_or(0),
                unit_us: unit(fields)?,
                stages: stages(fields)?,
                vus,
                vus_max,
            }
        }
        "externally-controlled" => {
            return Err(Error::Unsupported {
                path: fields.at("executor"),
                why: "externally-controlled scenarios need k6's control port; use another executor",
            });
        }
        other => {
            let expected = "shared-iterations, per-vu-iterations, constant-vus, ramping-vus, \
                            constant-arrival-rate or ramping-arrival-rate";
            return Err(wrong(&fields.at("executor"), expected, &Value::from(other)));
        }
    })
}

fn missing(fields: &Fields<'_>, key: &'static str, why: &'static str) -> Error {
    Error::Missing {
        path: fields.path.clone(),
        key,
        why,
    }
}

fn duration(fields: &mut Fields<'_>) -> Result<u64, Error> {
    let duration = fields.duration("duration")?;
    duration.ok_or_else(|| missing(fields, "duration", "by this executor"))
}

fn stages(fields: &mut Fields<'_>) -> Result<Vec<Stage>, Error> {
    let stages = stage::read(fields)?;
    stages.ok_or_else(|| missing(fields, "stages", "by this executor"))
}

fn unit(fields: &mut Fields<'_>) -> Result<u64, Error> {
    let unit = fields.duration("timeUnit")?.unwrap_or(SECOND_US);
    if unit == 0 {
        let expected = "a time unit longer than 0";
        return Err(wrong(&fields.at("timeUnit"), expected, &Value::from(0)));
    }
    Ok(unit)
}

fn threads(fields: &mut Fields<'_>) -> Result<(u64, u64), Error> {
    let vus = fields.whole("preAllocatedVUs", 0)?;
    let vus = vus.ok_or_else(|| missing(fields, "preAllocatedVUs", "by this executor"))?;
    let most = fields.whole("maxVUs", 1)?.unwrap_or(vus);
    if most < vus || most == 0 {
        let expected = "at least 1, and no less than preAllocatedVUs";
        return Err(wrong(&fields.at("maxVUs"), expected, &Value::from(most)));
    }
    Ok((vus, most))
}

/// What holds of every executor, as k6 has it.
fn check(path: &str, executor: &Executor) -> Result<(), Error> {
    let most = executor.vus_max();
    if most == 0 || most > VUS_MAX {
        let expected = "between 1 and 1,000,000 threads (VUs)";
        return Err(wrong(path, expected, &Value::from(most)));
    }
    let is_short = match executor {
        Executor::RampingVus { stages, .. } | Executor::RampingArrivalRate { stages, .. } => {
            total_us(stages) == 0
        }
        _ => executor.length_us() < SECOND_US,
    };
    if is_short {
        let found = format!("{} ms", executor.length_us() / 1000);
        let expected = "a duration of at least 1s (of stages: more than 0)";
        return Err(wrong(path, expected, &Value::from(found)));
    }
    if let Executor::SharedIterations {
        vus, iterations, ..
    } = executor
        && iterations < vus
    {
        let expected = "at least as many iterations as threads (VUs)";
        return Err(wrong(path, expected, &Value::from(*iterations)));
    }
    Ok(())
}
