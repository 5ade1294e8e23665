//! Reading a JSON object key by key, so that what nobody read is known in the end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::duration;
use crate::error::{Error, shortened};

/// An object that is being read.
pub(crate) struct Fields<'a> {
    pub(crate) path: String,
    map: &'a Map<String, Value>,
    known: BTreeSet<&'static str>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(path: &str, value: &'a Value) -> Result<Fields<'a>, Error> {
        let map = value
            .as_object()
            .ok_or_else(|| wrong(path, "an object", value))?;
        Ok(Fields {
            path: path.to_owned(),
            map,
            known: BTreeSet::new(),
        })
    }

    /// The value of `key`; null counts as absent, as a property of JavaScript that is undefined.
    pub(crate) fn get(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.insert(key);
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn at(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }

    fn read<T>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match read(value) {
            Some(read) => Ok(Some(read)),
            None => Err(wrong(&self.at(key), expected, value)),
        }
    }

    pub(crate) fn whole(&mut self, key: &'static str, min: u64) -> Result<Option<u64>, Error> {
        let expected = if min == 0 {
            "a whole number"
        } else {
            "a whole number of at least 1"
        };
        self.read(key, expected, |value| whole(value).filter(|n| *n >= min))
    }

    /// Microseconds.
    pub(crate) fn duration(&mut self, key: &'static str) -> Result<Option<u64>, Error> {
        self.read(
            key,
            "a duration such as \"1m30s\", or a number of milliseconds",
            duration_us,
        )
    }

    pub(crate) fn flag(&mut self, key: &'static str) -> Result<Option<bool>, Error> {
        self.read(key, "true or false", Value::as_bool)
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Result<Option<String>, Error> {
        let own = |value: &Value| value.as_str().map(str::to_owned);
        self.read(key, "a string", own)
    }

    pub(crate) fn texts(&mut self, key: &'static str) -> Result<Option<Vec<String>>, Error> {
        self.read(key, "a list of strings", |value| {
            let own = |one: &Value| one.as_str().map(str::to_owned);
            value.as_array()?.iter().map(own).collect()
        })
    }

    pub(crate) fn text_map(
        &mut self,
        key: &'static str,
    ) -> Result<Option<BTreeMap<String, String>>, Error> {
        self.read(key, "an object whose values are strings", |value| {
            let own = |(key, one): (&String, &Value)| Some((key.clone(), one.as_str()?.to_owned()));
            value.as_object()?.iter().map(own).collect()
        })
    }

    /// Refuses keys of k6's that are not honoured here.
    pub(crate) fn refuse(&mut self, refused: &[(&'static str, &'static str)]) -> Result<(), Error> {
        for (key, why) in refused {
            if self.get(key).is_some() {
                let path = self.at(key);
                return Err(Error::Unsupported { path, why });
            }
        }
        Ok(())
    }

    /// Refuses what was not read.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let unknown = self
            .map
            .keys()
            .find(|key| !self.known.contains(key.as_str()));
        let Some(key) = unknown else {
            return Ok(());
        };
        let near = self
            .known
            .iter()
            .map(|known| {
                (
                    strsim::jaro_winkler(&key.to_lowercase(), &known.to_lowercase()),
                    known,
                )
            })
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(likeness, _)| *likeness > 0.8);
        let hint = match near {
            Some((_, known)) => format!("did you mean `{known}`?"),
            None => {
                let known: Vec<&str> = self.known.iter().copied().collect();
                format!("known are {}", known.join(", "))
            }
        };
        Err(Error::Unknown {
            path: self.at(key),
            hint,
        })
    }
}

pub(crate) fn wrong(path: &str, expected: &'static str, value: &Value) -> Error {
    Error::Wrong {
        path: path.to_owned(),
        expected,
        found: shortened(value),
    }
}

/// As a quoted path element when a dot would not do.
pub(crate) fn element(path: &str, key: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '-';
    if key.chars().all(is_plain) {
        format!("{path}.{key}")
    } else {
        format!("{path}[{}]", shortened(&Value::from(key)))
    }
}

fn whole(value: &Value) -> Option<u64> {
    let fits = |number: &f64| number.fract() == 0.0 && (0.0..=1e15).contains(number);
    value
        .as_u64()
        .or_else(|| value.as_f64().filter(fits).map(|number| number as u64))
}

fn duration_us(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => duration::from_text(text),
        value => value.as_f64().and_then(duration::from_ms),
    }
}
