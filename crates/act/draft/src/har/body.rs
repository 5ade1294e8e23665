//! The body of a request, as source.

use serde_json::Value;

use super::entry::Body;
use crate::js::{Js, Text, has_inexact_number};
use crate::script::multipart;
use crate::secret::{is_identity_name, is_secret_name};

/// A body in a script.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) source: String,
    /// Content type to say; none where k6 says it by itself.
    pub(super) kind: Option<String>,
}

/// Makes a value's text; the second argument tells that its name says it is secret.
type Values<'a> = &'a dyn Fn(&str, bool) -> Text;

/// The body, and what to note about it.
pub(super) fn written(body: &Body, text: Values<'_>) -> (Option<Written>, Option<&'static str>) {
    let kind = body.kind.to_ascii_lowercase();
    let as_it_is = |source: Text| Written {
        source: source.source(),
        kind: Some(body.kind.clone()),
    };
    if kind.contains("json")
        && let Ok(value) = serde_json::from_str::<Value>(&body.text)
        && !has_inexact_number(&value)
    {
        let source = json("", &value, text).stringified(4);
        let kind = Some(body.kind.clone());
        return (Some(Written { source, kind }), None);
    }
    if kind.contains("urlencoded") {
        return (Some(form(body, text)), None);
    }
    if kind.contains("multipart/") && body.text.is_empty() {
        let note = "A form with files was recorded without their content: its plain fields are sent, its files are empty.";
        let part = |(name, value): &(String, String)| (name.clone(), text(value, is_named(name)));
        let (source, kind) = multipart(body.fields.iter().map(part));
        let kind = Some(kind);
        return (Some(Written { source, kind }), Some(note));
    }
    if body.text.is_empty() {
        return (
            None,
            Some("A body was recorded without its content and is not sent."),
        );
    }
    (Some(as_it_is(text(&body.text, false))), None)
}

fn json(name: &str, value: &Value, text: Values<'_>) -> Js {
    match value {
        Value::Array(values) => {
            Js::List(values.iter().map(|value| json(name, value, text)).collect())
        }
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| (name.clone(), json(name, value, text));
            Js::Object(fields.iter().map(field).collect())
        }
        _ => Js::from_json(value, &mut |value| text(value, is_named(name))),
    }
}

/// An object, which k6 encodes; a text when a field is there twice.
fn form(body: &Body, text: Values<'_>) -> Written {
    let parsed = url::form_urlencoded::parse(body.text.as_bytes()).into_owned();
    let mut fields: Vec<(String, String)> = parsed.collect();
    if fields.is_empty() {
        fields.clone_from(&body.fields);
    }
    let mut names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let twice = names.windows(2).any(|two| two[0] == two[1]);
    if !twice {
        let field = |(name, value): &(String, String)| {
            (name.clone(), Js::Text(text(value, is_named(name))))
        };
        let fields = fields.iter().map(field);
        return Written {
            source: Js::Object(fields.collect()).source(4),
            kind: None,
        };
    }
    let mut source = Text::default();
    for (number, (name, value)) in fields.iter().enumerate() {
        let encode =
            |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        source.push(if number == 0 { "" } else { "&" });
        source.push(&encode(name));
        source.push("=");
        let made = text(value, is_named(name));
        if made.has_names() {
            source.push_name(&format!("encodeURIComponent({})", made.source()));
        } else {
            source.push(&encode(value));
        }
    }
    Written {
        source: source.source(),
        kind: Some(body.kind.clone()),
    }
}

/// Whether its name says that a value may have been found to be secret.
fn is_named(name: &str) -> bool {
    is_secret_name(name) || is_identity_name(name)
}
