//! Stages: a target, and how long it takes to get there.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fields::{Fields, wrong};
use crate::{Error, duration};

/// A part of a ramp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// How long, microseconds.
    pub duration_us: u64,
    /// What is reached at its end: threads, or iterations per time unit.
    pub target: u64,
}

/// All stages together, microseconds.
pub(crate) fn total_us(stages: &[Stage]) -> u64 {
    stages.iter().map(|stage| stage.duration_us).sum()
}

pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Option<Vec<Stage>>, Error> {
    let Some(value) = fields.get("stages") else {
        return Ok(None);
    };
    let path = fields.at("stages");
    let expected = "a list of stages, each with `duration` and `target`";
    let list = value
        .as_array()
        .ok_or_else(|| wrong(&path, expected, value))?;
    let stage = |(place, value): (usize, &Value)| {
        let mut fields = Fields::new(&format!("{path}[{place}]"), value)?;
        let missing = |path: &str, key| Error::Missing {
            path: path.to_owned(),
            key,
            why: "in every stage",
        };
        let duration_us = fields.duration("duration")?;
        let target = fields.whole("target", 0)?;
        let stage = Stage {
            duration_us: duration_us.ok_or_else(|| missing(&fields.path, "duration"))?,
            target: target.ok_or_else(|| missing(&fields.path, "target"))?,
        };
        fields.finish()?;
        Ok(stage)
    };
    let stages: Vec<Stage> = list
        .iter()
        .enumerate()
        .map(stage)
        .collect::<Result<_, Error>>()?;
    Ok(Some(stages).filter(|stages| !stages.is_empty()))
}

/// Reads stages as they stand on a command line: `30s:10,1m:0`.
///
/// # Errors
/// When a part is not of the form `DURATION:TARGET`.
pub fn parse_stages(text: &str) -> Result<Vec<Stage>, Error> {
    let stage = |part: &str| {
        let (time, target) = part.trim().split_once(':')?;
        Some(Stage {
            duration_us: duration::from_text(time)?,
            target: target.trim().parse().ok()?,
        })
    };
    text.split(',')
        .map(|part| {
            let path = "--stage";
            let expected = "DURATION:TARGET, such as 30s:10";
            stage(part).ok_or_else(|| wrong(path, expected, &Value::from(part)))
        })
        .collect()
}
