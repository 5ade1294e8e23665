//! A place in a file that was read: a value, and the way to it, for messages.

use serde_json::Value;

use crate::Error;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node<'a> {
    pub(crate) value: &'a Value,
    pub(crate) path: String,
}

impl<'a> Node<'a> {
    pub(crate) fn root(value: &'a Value) -> Self {
        Self {
            value,
            path: String::new(),
        }
    }

    /// The value under a key, when there is one that is not null.
    pub(crate) fn get(&self, key: &str) -> Option<Node<'a>> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(Node {
            value,
            path: self.below(key),
        })
    }

    /// The text under a key, whatever else may stand there being ignored.
    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        self.value.get(key)?.as_str()
    }

    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        self.value.get(key)?.as_f64()
    }

    pub(crate) fn need(&self, key: &str, expected: &'static str) -> Result<Node<'a>, Error> {
        self.get(key).ok_or_else(|| Error::Shape {
            place: self.below(key),
            expected,
            found: match self.value {
                Value::Object(_) => "nothing",
                other => kind(other),
            },
        })
    }

    pub(crate) fn need_text(&self, key: &str, expected: &'static str) -> Result<&'a str, Error> {
        let node = self.need(key, expected)?;
        let text = node.value.as_str();
        text.ok_or_else(|| node.unexpected(expected))
    }

    /// The values of the list under a key; none when it is not there.
    pub(crate) fn list(&self, key: &str) -> Result<Vec<Node<'a>>, Error> {
        let Some(list) = self.get(key) else {
            return Ok(Vec::new());
        };
        let Value::Array(values) = list.value else {
            return Err(list.unexpected("a list"));
        };
        let values = values.iter().enumerate();
        let node = |(at, value)| Node {
            value,
            path: format!("{}[{at}]", list.path),
        };
        Ok(values.map(node).collect())
    }

    /// What stands under each key, by key; this has to be a table.
    pub(crate) fn fields(&self) -> Result<Vec<(&'a str, Node<'a>)>, Error> {
        let Value::Object(fields) = self.value else {
            return Err(self.unexpected("a table (object)"));
        };
        let node = |(key, value): (&'a String, &'a Value)| {
            let path = self.below(key);
            (key.as_str(), Node { value, path })
        };
        let mut all: Vec<_> = fields.iter().map(node).collect();
        // However the map is ordered.
        all.sort_by_key(|(key, _)| *key);
        Ok(all)
    }

    pub(crate) fn unexpected(&self, expected: &'static str) -> Error {
        Error::Shape {
            place: self.path.clone(),
            expected,
            found: kind(self.value),
        }
    }

    fn below(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table (object)",
    }
}
