//! What a description of an API (OpenAPI 3) says about values: which are allowed, and where they end.

use std::collections::BTreeMap;

use serde_json::Value;

/// How deep references are followed.
const DEPTH_MAX: usize = 12;

/// Values that are worth trying at one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// As they are written in a query or a text.
    pub values: Vec<String>,
}

/// What is known of all places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    of_name: BTreeMap<String, Hint>,
}

impl Hints {
    /// Reads a description. What is not understood of it tells nothing.
    #[must_use]
    pub fn of_openapi(document: &Value) -> Hints {
        let mut hints = Hints::default();
        let paths = document.get("paths").and_then(Value::as_object);
        for operations in paths.into_iter().flat_map(|paths| paths.values()) {
            hints.look(document, operations, 0);
        }
        hints
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.of_name.is_empty()
    }

    /// Values for a field of this name.
    #[must_use]
    pub fn of(&self, name: &str) -> &[String] {
        self.of_name.get(name).map_or(&[], |hint| &hint.values)
    }

    /// Looks for parameters and properties in all that is said of an operation.
    fn look(&mut self, document: &Value, within: &Value, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        let within = resolved(document, within);
        match within {
            Value::Object(fields) => {
                if let (Some(name), Some(schema)) = (
                    fields.get("name").and_then(Value::as_str),
                    fields.get("schema"),
                ) {
                    self.note(name, resolved(document, schema));
                }
                let properties = fields.get("properties").and_then(Value::as_object);
                for (name, schema) in properties.into_iter().flatten() {
                    self.note(name, resolved(document, schema));
                }
                for value in fields.values() {
                    self.look(document, value, depth + 1);
                }
            }
            Value::Array(items) => {
                for item in items {
                    self.look(document, item, depth + 1);
                }
            }
            _ => {}
        }
    }

    fn note(&mut self, name: &str, schema: &Value) {
        let hint = self.of_name.entry(name.to_owned()).or_default();
        let mut add = |value: String| {
            if !hint.values.contains(&value) {
                hint.values.push(value);
            }
        };
        let allowed = ["enum", "examples"].map(|key| schema.get(key).and_then(Value::as_array));
        let single = ["default", "example", "const"].map(|key| schema.get(key));
        let allowed = allowed.into_iter().flatten().flatten();
        for value in allowed.chain(single.into_iter().flatten()) {
            match value {
                Value::String(text) => add(text.clone()),
                other => add(other.to_string()),
            }
        }
        for key in ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"] {
            if let Some(end) = schema.get(key).and_then(Value::as_i64) {
                for value in [end.saturating_sub(1), end, end.saturating_add(1)] {
                    add(value.to_string());
                }
            }
        }
        for key in ["minLength", "maxLength"] {
            if let Some(end) = schema.get(key).and_then(Value::as_u64) {
                let end = end.min(10_000) as usize;
                for length in [end.saturating_sub(1), end, end + 1] {
                    add("x".repeat(length));
                    // As many letters, more bytes.
                    add("é".repeat(length));
                }
            }
        }
        let format = schema.get("format").and_then(Value::as_str);
        for value in of_format(format.unwrap_or_default()) {
            add((*value).to_owned());
        }
    }
}

/// What is nearly of a format.
fn of_format(format: &str) -> &'static [&'static str] {
    match format {
        "date" => &["2024-02-30", "0000-00-00", "9999-12-31", "2023-02-29"],
        "date-time" => &[
            "2024-02-30T25:61:61Z",
            "1969-12-31T23:59:59Z",
            "2024-01-01T00:00:00+99:99",
        ],
        "email" => &["a@b", "@", "é@é.é", "a@b\r\nc: d"],
        "uuid" => &["00000000-0000-0000-0000-000000000000", "0-0-0-0-0"],
        "uri" | "url" => &["http://[", "//", "file:///etc/passwd", "http://%"],
        "ipv4" => &["256.0.0.1", "0x7f.1"],
        _ => &[],
    }
}

fn resolved<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    let mut value = value;
    for _ in 0..DEPTH_MAX {
        let Some(reference) = value.get("$ref").and_then(Value::as_str) else {
            return value;
        };
        let pointer = reference.strip_prefix('#');
        match pointer.and_then(|pointer| document.pointer(pointer)) {
            Some(found) => value = found,
            None => return value,
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_allowed_values_are_read_through_references() {
        let document = serde_json::json!({
            "paths": {"/x": {"post": {
                "parameters": [{"name": "page", "in": "query", "schema": {"minimum": 1}}],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/X"}}}}
            }}},
            "components": {"schemas": {"X": {"properties": {
                "kind": {"enum": ["one", "two"]}, "next": {"$ref": "#/components/schemas/X"}
            }}}}
        });
        let hints = Hints::of_openapi(&document);
        assert_eq!(hints.of("page"), ["0", "1", "2"]);
        assert_eq!(hints.of("kind"), ["one", "two"]);
        assert!(Hints::of_openapi(&serde_json::json!([1])).is_empty());
    }
}
