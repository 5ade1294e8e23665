//! Thresholds as they are written: by metric, or by the part of it that has certain tags.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;
use crate::fields::{Fields, element, wrong};
use crate::metrics::builtin;
use crate::threshold::Expression;

/// One threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThresholdOption {
    /// The metric or submetric, as it is written: `http_req_duration{name:login}`.
    pub metric: String,
    /// What must hold.
    pub expression: Expression,
    /// The campaign ends as soon as it does not hold.
    pub abort_on_fail: bool,
    /// It is not looked at before: microseconds after the start of the test.
    pub delay_abort_us: u64,
}

/// The part of a metric's samples that have all of these tags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submetric {
    /// As it is written.
    pub name: String,
    /// The metric it is part of.
    pub metric: String,
    /// Which samples count.
    pub tags: BTreeMap<String, String>,
}

impl ThresholdOption {
    /// The submetric it is about; `None` when it is about a whole metric.
    #[must_use]
    pub fn submetric(&self) -> Option<Submetric> {
        split(&self.metric).filter(|part| !part.tags.is_empty())
    }
}

/// A metric's name with the tags in braces. `None` when it cannot be read.
pub(crate) fn split(name: &str) -> Option<Submetric> {
    let (metric, tags) = match name.split_once('{') {
        None => (name, ""),
        Some((metric, rest)) => (metric, rest.trim_end().strip_suffix('}')?),
    };
    let unquoted = |text: &str| {
        let text = text.trim();
        let quote = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
        quote('"').or(quote('\'')).unwrap_or(text).to_owned()
    };
    let mut map = BTreeMap::new();
    for tag in tags.split(',').filter(|tag| !tag.trim().is_empty()) {
        let (key, value) = tag.split_once(':')?;
        map.insert(unquoted(key), unquoted(value));
    }
    let letter = |letter: char| {
        letter.is_alphanumeric() || letter == '_' || letter == '.' || letter == '-' || letter == ' '
    };
    let metric = metric.trim();
    (!metric.is_empty() && metric.chars().all(letter)).then(|| Submetric {
        name: name.to_owned(),
        metric: metric.to_owned(),
        tags: map,
    })
}

pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Vec<ThresholdOption>, Error> {
    let Some(value) = fields.get("thresholds") else {
        return Ok(Vec::new());
    };
    let path = fields.at("thresholds");
    let map = value
        .as_object()
        .ok_or_else(|| wrong(&path, "an object of thresholds by metric", value))?;
    let mut all = Vec::new();
    for (metric, value) in map {
        let path = element(&path, metric);
        let Some(part) = split(metric) else {
            let expected = "a metric, or one with tags such as http_req_duration{name:login}";
            return Err(wrong(&path, expected, &Value::from(metric.as_str())));
        };
        let list = value
            .as_array()
            .ok_or_else(|| wrong(&path, "a list of thresholds", value))?;
        for (place, value) in list.iter().enumerate() {
            all.push(read_one(&format!("{path}[{place}]"), metric, &part, value)?);
        }
    }
    Ok(all)
}

fn read_one(
    path: &str,
    metric: &str,
    part: &Submetric,
    value: &Value,
) -> Result<ThresholdOption, Error> {
    let (source, abort_on_fail, delay_abort_us) = match value {
        Value::String(source) => (source.clone(), false, 0),
        value => {
            let mut fields = Fields::new(path, value)?;
            let source = fields.text("threshold")?;
            let missing = || Error::Missing {
                path: path.to_owned(),
                key: "threshold",
                why: "to say what must hold",
            };
            let source = source.ok_or_else(missing)?;
            let abort = fields.flag("abortOnFail")?.unwrap_or(false);
            let delay = fields.duration("delayAbortEval")?.unwrap_or(0);
            fields.finish()?;
            (source, abort, delay)
        }
    };
    let refused = |why: String| Error::Threshold {
        path: path.to_owned(),
        source_text: source.clone(),
        why,
    };
    let expression = Expression::parse(&source).map_err(refused)?;
    if let Some((kind, _)) = builtin(&part.metric) {
        expression.suits(kind).map_err(refused)?;
    }
    Ok(ThresholdOption {
        metric: metric.to_owned(),
        expression,
        abort_on_fail,
        delay_abort_us,
    })
}
