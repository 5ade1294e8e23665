//! What `cohort under` is told, and what it tells afterwards. Both are JSON files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cohort_model::{Batch, Condition, ConditionKind};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// One run of one program: under which conditions, after and beside what.
///
/// `CpuLimit`, `MemoryLimit` and `DiskRate` are the hub's to apply, on the control group: they are
/// left out here unless they are named in [`fallback`](Order::fallback).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// What differs from a plain run.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Of the kinds that a control group usually applies, those that have none here and are to be
    /// applied to the program itself: CPU by pausing it for the rest of each tenth of a second, memory
    /// as a limit of its address space, storage by delaying reads and writes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<ConditionKind>,
    /// Run to their ends first, one after the other. What they print is dropped, how they end does not
    /// matter, and what they leave running is left running until the program has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Command>,
    /// Started together with the program, and killed when it has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<Command>,
    /// Where a [`Report`] is written at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<PathBuf>,
    /// Where the stacks of all threads are written, as text, when the program or one of its children dies
    /// of a signal that it does not handle, or when this is told to end (SIGTERM) before it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<PathBuf>,
    /// Only of a death by a signal: a program that is told to end is a server that is stopped, and is not looked at.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub crashes_only: bool,
    /// A run is ended after so long by the caller, microseconds; so it is ended, with its evidence, as soon as it is sure that
    /// nothing of it can go on before: all threads wait for each other. None: it is not looked whether they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_us: Option<u64>,
    /// Run several times; none: once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<Times>,
}

/// How often the program is run, one run after the other, until one fails. Each run is as if it were the
/// only one: what runs before and beside it is started anew, and all that it started is ended. What is printed
/// is that of the last run, which failed unless all passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// How many runs, and which seeds change with each.
    pub batch: Batch,
    /// A directory that is empty at first and is emptied before each further run. If it cannot be made as it
    /// was, there is no further run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch: Option<PathBuf>,
    /// A file in which the number of runs that passed before the one under way stands, as text.
    pub progress: PathBuf,
}

/// Another program of an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program, looked up in `PATH` when it has no slash.
    pub program: String,
    /// Its arguments, without its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Where it runs; none: where the program of the order does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// Variables that differ from those of the program of the order; none: not set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, Option<String>>,
}

/// A condition that could not be applied, or not wholly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Which kind.
    pub condition: ConditionKind,
    /// Why, in one sentence.
    pub why: String,
}

/// How much was done to the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Done {
    /// Threads that were followed, the first ones of processes included.
    pub threads: u64,
    /// Times that a thread was paused for disturbance.
    pub pauses: u64,
    /// How long at least one was, microseconds.
    pub paused_us: u64,
    /// Turns of threads that ran one at a time.
    pub turns: u64,
    /// Instructions that ran one by one.
    pub steps: u64,
    /// System calls that were delayed.
    pub delays: u64,
    /// By how much together, microseconds.
    pub delayed_us: u64,
    /// Datagrams that were lost.
    pub lost: u64,
    /// Times that it was given random bytes of ours.
    pub random: u64,
    /// Pieces of directories that were put in another order.
    pub directories: u64,
    /// Times that it was told another time.
    pub clocks: u64,
}

/// What became of an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Conditions that were asked for and could not be applied.
    pub missing: Vec<Missing>,
    /// What was done.
    pub done: Done,
    /// Which of the copies ended first with a failure, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_copy: Option<u32>,
    /// It was ended because nothing of it could go on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stuck: bool,
    /// What the user should know, one sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

impl Order {
    /// Reads an order.
    ///
    /// # Errors
    /// When the file cannot be read, or is not an order.
    pub fn read(path: &Path) -> Result<Order, Error> {
        let text = std::fs::read(path).map_err(|source| Error::ReadOrder {
            path: path.to_owned(),
            source,
        })?;
        let order: Order = serde_json::from_slice(&text).map_err(|source| Error::ParseOrder {
            path: path.to_owned(),
            source,
        })?;
        order.check()?;
        Ok(order)
    }

    /// Degrees that no run can have are refused here, so that nothing runs under conditions that
    /// were meant otherwise.
    fn check(&self) -> Result<(), Error> {
        for condition in &self.conditions {
            let wrong = match condition {
                Condition::CpuLimit { cores } if !(cores.is_finite() && *cores > 0.0) => {
                    Some(format!("{cores} cores; more than 0 are expected"))
                }
                Condition::NetworkLoss { share } if !(0.0..=1.0).contains(share) => {
                    Some(format!("a share of {share}; 0 to 1 is expected"))
                }
                Condition::Cpus { count: 0 } => Some("0 CPUs; at least 1 is expected".to_owned()),
                Condition::Copies { count } if !(1..=COPIES_MAX).contains(count) => {
                    Some(format!("{count} copies; 1 to {COPIES_MAX} are expected"))
                }
                Condition::Noise { tasks, .. } if *tasks > TASKS_MAX => {
                    Some(format!("{tasks} tasks; at most {TASKS_MAX} are expected"))
                }
                Condition::NetworkRate { bits_s: 0 } | Condition::DiskRate { bytes_s: 0 } => {
                    Some("a rate of 0; at least 1 a second is expected".to_owned())
                }
                Condition::Variable { name, .. }
                    if name.is_empty() || name.contains(['=', '\0']) =>
                {
                    Some(format!("the name {name:?}; one without = is expected"))
                }
                _ => None,
            };
            if let Some(wrong) = wrong {
                let kind = condition.kind();
                return Err(Error::Degree { kind, wrong });
            }
        }
        Ok(())
    }
}

/// More copies than this at once are a mistake.
const COPIES_MAX: u32 = 1024;
/// More busy neighbours than this are a mistake.
const TASKS_MAX: u32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Order, Error> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        Order::read(file.path())
    }

    #[test]
    fn an_order_says_what_is_wrong_with_it() {
        let cases = [
            ("", "EOF"),
            (
                "{\"conditions\": [{\"condition\": \"gravity\"}]}",
                "gravity",
            ),
            ("{\"condition\": []}", "unknown field"),
            (
                "{\"conditions\": [{\"condition\": \"cpus\", \"count\": 0}]}",
                "0 CPUs",
            ),
            (
                "{\"conditions\": [{\"condition\": \"network_loss\", \"share\": 1.5}]}",
                "0 to 1",
            ),
            (
                "{\"conditions\": [{\"condition\": \"copies\", \"count\": 1000000}]}",
                "copies",
            ),
        ];
        for (text, part) in cases {
            let error = read(text).expect_err(text);
            let mut words = error.to_string();
            if let Some(source) = std::error::Error::source(&error) {
                words = format!("{words}: {source}");
            }
            assert!(words.contains(part), "{text}: {words}");
        }
    }

    #[test]
    fn an_order_is_read_as_it_was_written() {
        let order = Order {
            conditions: vec![
                Condition::Schedule { seed: 7 },
                Condition::Variable {
                    name: "A".to_owned(),
                    value: None,
                },
            ],
            fallback: vec![ConditionKind::CpuLimit],
            before: vec![Command {
                program: "true".to_owned(),
                ..Command::default()
            }],
            ..Order::default()
        };
        let text = serde_json::to_string(&order).expect("JSON");
        assert_eq!(read(&text).expect("an order"), order);
    }
}
