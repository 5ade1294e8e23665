//! A value that a schema allows: its example, its default, the first of its choices, else the
//! simplest of its type and format. Objects have their required fields; those of an object without
//! required ones are all given, one level deep.

use serde_json::Value;

use super::document::Document;
use crate::Error;
use crate::js::{Js, Text};
use crate::node::Node;
use crate::script::Script;
use crate::secret::{is_secret_name, looks_secret};

/// Schemas within schemas, and all of one sample.
const DEPTH_MAX: usize = 12;
const SCHEMAS_MAX: usize = 500;
/// Items that a list has at most, however many are asked for.
const ITEMS_MAX: u64 = 10;
/// Characters of a text, likewise.
const LENGTH_MAX: u64 = 200;

/// Makes samples.
#[derive(Debug)]
pub(super) struct Sampler<'s, 'a> {
    document: &'s Document<'a>,
    script: &'s mut Script,
    /// Of the sample that is being made.
    references: Vec<String>,
    schemas: usize,
}

impl<'s, 'a> Sampler<'s, 'a> {
    pub(super) fn new(document: &'s Document<'a>, script: &'s mut Script) -> Self {
        Self {
            document,
            script,
            references: Vec::new(),
            schemas: 0,
        }
    }

    /// Of a parameter, header or media type: its own example, else by its schema. In Swagger 2.0 a
    /// parameter is its own schema.
    pub(super) fn of(&mut self, node: &Node<'a>, name: &str) -> Result<Js, Error> {
        self.schemas = 0;
        self.references.clear();
        if let Some(example) = self.example_of(node)? {
            return Ok(self.given(example, name));
        }
        if let Some(schema) = node.get("schema") {
            return self.schema(&schema, name, 0);
        }
        // OpenAPI 3 allows `content` instead of a schema.
        if let Some(content) = node.get("content") {
            let media = content.fields()?.into_iter().next();
            return match media.and_then(|(_, media)| media.get("schema")) {
                Some(schema) => self.schema(&schema, name, 0),
                None => Ok(Js::text("text")),
            };
        }
        self.schema(node, name, 0)
    }

    fn example_of(&self, node: &Node<'a>) -> Result<Option<&'a Value>, Error> {
        if let Some(example) = node.get("example").or_else(|| node.get("x-example")) {
            return Ok(Some(example.value));
        }
        let Some(examples) = node.get("examples") else {
            return Ok(None);
        };
        match examples.value {
            // JSON Schema, as in OpenAPI 3.1.
            Value::Array(values) => Ok(values.first()),
            Value::Object(_) => {
                let Some((_, first)) = examples.fields()?.into_iter().next() else {
                    return Ok(None);
                };
                let first = self.document.resolve(&first)?;
                Ok(first
                    .and_then(|first| first.get("value"))
                    .map(|value| value.value))
            }
            _ => Ok(None),
        }
    }

    fn schema(&mut self, schema: &Node<'a>, name: &str, depth: usize) -> Result<Js, Error> {
        self.schemas += 1;
        let nothing = Js::Plain("null".to_owned());
        if depth > DEPTH_MAX || self.schemas > SCHEMAS_MAX {
            return Ok(nothing);
        }
        let Some(reference) = schema.text("$ref") else {
            return self.plain(schema, name, depth);
        };
        if self.references.iter().any(|known| known == reference) {
            return Ok(nothing);
        }
        let Some(target) = self.document.resolve(schema)? else {
            self.script.note(format!(
                "A value is missing where {} leads to another file.",
                schema.path
            ));
            return Ok(nothing);
        };
        self.references.push(reference.to_owned());
        let sample = self.plain(&target, name, depth);
        self.references.pop();
        sample
    }

    fn plain(&mut self, schema: &Node<'a>, name: &str, depth: usize) -> Result<Js, Error> {
        let example = self.example_of(schema)?;
        let given = example.or_else(|| {
            let choices = schema
                .get("enum")
                .and_then(|all| all.value.as_array()?.first());
            let told = ["const", "default"].iter().find_map(|key| schema.get(key));
            told.map(|told| told.value).or(choices)
        });
        if let Some(given) = given {
            return Ok(self.given(given, name));
        }
        let parts = schema.list("allOf")?;
        if !parts.is_empty() {
            return self.all_of(schema, &parts, name, depth);
        }
        for choice in ["oneOf", "anyOf"] {
            let choices = schema.list(choice)?;
            let is_null = |choice: &&Node<'_>| choice.text("type") == Some("null");
            if let Some(first) = choices.iter().find(|choice| !is_null(choice)) {
                return self.schema(first, name, depth + 1);
            }
        }
        Ok(match kind(schema) {
            "object" => Js::Object(self.object(schema, depth)?),
            "array" => self.array(schema, name, depth)?,
            "integer" => Js::Plain(number(schema, true)),
            "number" => Js::Plain(number(schema, false)),
            "boolean" => Js::Plain("true".to_owned()),
            "null" => Js::Plain("null".to_owned()),
            _ => Js::Text(self.string(schema, name)),
        })
    }

    fn all_of(
        &mut self,
        schema: &Node<'a>,
        parts: &[Node<'a>],
        name: &str,
        depth: usize,
    ) -> Result<Js, Error> {
        let mut fields: Vec<(String, Js)> = Vec::new();
        let mut last = None;
        for part in parts {
            match self.schema(part, name, depth + 1)? {
                Js::Object(more) => merge(&mut fields, more),
                other => last = Some(other),
            }
        }
        if schema.get("properties").is_some() {
            let own = self.object(schema, depth)?;
            merge(&mut fields, own);
        }
        Ok(match last {
            Some(other) if fields.is_empty() => other,
            _ => Js::Object(fields),
        })
    }

    fn object(&mut self, schema: &Node<'a>, depth: usize) -> Result<Vec<(String, Js)>, Error> {
        let Some(properties) = schema.get("properties") else {
            return Ok(Vec::new());
        };
        let required = schema.get("required");
        let required = required.as_ref().and_then(|names| names.value.as_array());
        let is_required = |name: &str| {
            required.is_some_and(|names| names.iter().any(|known| known.as_str() == Some(name)))
        };
        let none_required = required.is_none_or(Vec::is_empty);
        let mut fields = Vec::new();
        for (name, property) in properties.fields()? {
            if !is_required(name) && (!none_required || depth > 1) {
                continue;
            }
            let read_only =
                |node: &Node<'_>| node.value.get("readOnly") == Some(&Value::Bool(true));
            let target = self.document.resolve(&property)?;
            if read_only(&property) || target.as_ref().is_some_and(read_only) {
                continue;
            }
            let sample = self.schema(&property, name, depth + 1)?;
            // What has no end is left out where it may be.
            if sample != Js::Plain("null".to_owned()) || is_required(name) {
                fields.push((name.to_owned(), sample));
            }
        }
        Ok(fields)
    }

    fn array(&mut self, schema: &Node<'a>, name: &str, depth: usize) -> Result<Js, Error> {
        let Some(items) = schema.get("items").filter(|items| items.value.is_object()) else {
            return Ok(Js::List(Vec::new()));
        };
        let one = self.schema(&items, name, depth + 1)?;
        if one == Js::Plain("null".to_owned()) {
            return Ok(Js::List(Vec::new()));
        }
        let wanted = schema
            .value
            .get("minItems")
            .and_then(Value::as_u64)
            .unwrap_or(1);
        let count = wanted.clamp(1, ITEMS_MAX) as usize;
        Ok(Js::List(vec![one; count]))
    }

    fn string(&mut self, schema: &Node<'a>, name: &str) -> Text {
        let format = schema.text("format").unwrap_or_default();
        if format == "password" || is_secret_name(name) {
            return self.secret(name);
        }
        let by_format = match format {
            "date" => "2024-01-01",
            "date-time" => "2024-01-01T00:00:00Z",
            "time" => "12:00:00Z",
            "duration" => "PT1M",
            "uuid" => "00000000-0000-4000-8000-000000000000",
            "email" | "idn-email" => "user@example.com",
            "uri" | "url" | "iri" | "uri-reference" => "https://example.com/",
            "hostname" | "idn-hostname" => "example.com",
            "ipv4" => "192.0.2.1",
            "ipv6" => "2001:db8::1",
            "byte" => "dGV4dA==",
            _ => "",
        };
        if !by_format.is_empty() {
            return Text::literal(by_format);
        }
        if let Some(pattern) = schema.text("pattern") {
            let pattern: String = pattern.chars().take(60).collect();
            self.script.note(format!(
                "The text for {name:?} is to match {pattern}, and may not."
            ));
        }
        let bound = |key| schema.value.get(key).and_then(Value::as_u64);
        let least = bound("minLength").unwrap_or(0).min(LENGTH_MAX) as usize;
        let most = bound("maxLength").unwrap_or(LENGTH_MAX).min(LENGTH_MAX) as usize;
        let mut text = "text".to_owned();
        text.extend(std::iter::repeat_n('x', least.saturating_sub(text.len())));
        text.truncate(most.max(least));
        Text::literal(&text)
    }

    /// What the description gives, but for secrets.
    fn given(&mut self, value: &Value, name: &str) -> Js {
        match value {
            Value::String(text) if is_secret_name(name) || looks_secret(text) => {
                Js::Text(self.secret(name))
            }
            Value::Array(values) => {
                Js::List(values.iter().map(|value| self.given(value, name)).collect())
            }
            Value::Object(fields) => {
                let mut fields: Vec<_> = fields.iter().collect();
                fields.sort_by_key(|(name, _)| *name);
                let fields = fields.into_iter();
                let fields = fields.map(|(name, value)| (name.clone(), self.given(value, name)));
                Js::Object(fields.collect())
            }
            _ => Js::from_json(value, &mut Text::literal),
        }
    }

    fn secret(&mut self, name: &str) -> Text {
        let meaning = format!("for the field {name}");
        Text::name(&self.script.variable(name, &meaning, None))
    }
}

fn merge(fields: &mut Vec<(String, Js)>, more: Vec<(String, Js)>) {
    for (name, value) in more {
        fields.retain(|(known, _)| *known != name);
        fields.push((name, value));
    }
}

/// Its type, or what its keywords tell.
fn kind<'a>(schema: &Node<'a>) -> &'a str {
    let told = schema.value.get("type");
    // OpenAPI 3.1 allows several.
    let several = told.and_then(Value::as_array);
    let of_several = several.and_then(|kinds| {
        let kinds = kinds.iter().filter_map(Value::as_str);
        kinds
            .clone()
            .find(|kind| *kind != "null")
            .or(kinds.clone().next())
    });
    let has = |key| schema.value.get(key).is_some();
    match told.and_then(Value::as_str).or(of_several) {
        Some(kind) => kind,
        None if has("properties") || has("additionalProperties") => "object",
        None if has("items") => "array",
        None if has("minimum") || has("maximum") || has("multipleOf") => "number",
        None => "string",
    }
}

/// The allowed number that is nearest to 1, from above where there is a choice.
fn number(schema: &Node<'_>, integer: bool) -> String {
    let bound = |key| schema.value.get(key).and_then(Value::as_f64);
    let is_exclusive = |key| schema.value.get(key) == Some(&Value::Bool(true));
    let step = bound("multipleOf").filter(|step| *step > 0.0);
    let smallest = step.unwrap_or(if integer { 1.0 } else { 0.5 });
    // OpenAPI 3.0 says true beside the bound, 3.1 gives the bound itself.
    let least = bound("exclusiveMinimum")
        .map(|least| least + smallest)
        .or_else(|| {
            let add = if is_exclusive("exclusiveMinimum") {
                smallest
            } else {
                0.0
            };
            Some(bound("minimum")? + add)
        });
    let most = bound("exclusiveMaximum")
        .map(|most| most - smallest)
        .or_else(|| {
            let less = if is_exclusive("exclusiveMaximum") {
                smallest
            } else {
                0.0
            };
            Some(bound("maximum")? - less)
        });
    let mut value = least.unwrap_or(1.0).max(1.0_f64.min(most.unwrap_or(1.0)));
    if let Some(step) = step {
        value = (value / step).ceil() * step;
    }
    if integer {
        value = value.ceil();
    }
    let value = most.map_or(value, |most| value.min(most));
    if value.is_finite() {
        value.to_string()
    } else {
        "1".to_owned()
    }
}
