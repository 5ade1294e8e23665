//! The body of an operation, as source.

use super::document::{Document, Version};
use super::operation::{Operation, Place};
use super::sample::Sampler;
use crate::Error;
use crate::js::{Js, Text};
use crate::node::Node;
use crate::script::{Script, multipart};

/// A body in a script.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) source: String,
    /// Content type to say; none where k6 says it by itself.
    pub(super) kind: Option<String>,
}

pub(super) fn body<'a>(
    document: &Document<'a>,
    operation: &Operation<'a>,
    script: &mut Script,
) -> Result<Option<Body>, Error> {
    match document.version {
        Version::OpenApi3 => request_body(document, operation, script),
        Version::Swagger2 => swagger(document, operation, script),
    }
}

fn request_body<'a>(
    document: &Document<'a>,
    operation: &Operation<'a>,
    script: &mut Script,
) -> Result<Option<Body>, Error> {
    let Some(node) = operation.node.get("requestBody") else {
        return Ok(None);
    };
    let Some(node) = document.resolve(&node)? else {
        script.note(format!(
            "The body of {} is described in another file and not sent.",
            operation.name
        ));
        return Ok(None);
    };
    let content = node.need("content", "what the body may be, by content type")?;
    let media = content.fields()?;
    let kinds: Vec<&str> = media.iter().map(|(kind, _)| *kind).collect();
    let Some(at) = preferred(&kinds) else {
        return Ok(None);
    };
    let (kind, media) = &media[at];
    let sample = Sampler::new(document, script).of(media, "")?;
    Ok(written(kind, sample, operation, script))
}

fn swagger<'a>(
    document: &Document<'a>,
    operation: &Operation<'a>,
    script: &mut Script,
) -> Result<Option<Body>, Error> {
    let mut consumes = operation.node.list("consumes")?;
    if consumes.is_empty() {
        consumes = document.root.list("consumes")?;
    }
    let kinds: Vec<&str> = consumes
        .iter()
        .filter_map(|kind| kind.value.as_str())
        .collect();
    let of = |place: Place| {
        let parameters = operation.parameters.iter();
        parameters.filter(move |parameter| parameter.place == place)
    };
    if let Some(parameter) = of(Place::Body).next() {
        let kind = preferred(&kinds).map_or("application/json", |at| kinds[at]);
        let sample = Sampler::new(document, script).of(&parameter.node, "")?;
        return Ok(written(kind, sample, operation, script));
    }
    let mut fields = Vec::new();
    let mut has_file = false;
    for parameter in of(Place::Form) {
        has_file |= parameter.node.text("type") == Some("file");
        let sample = Sampler::new(document, script).of(&parameter.node, &parameter.name)?;
        fields.push((parameter.name.clone(), sample));
    }
    if fields.is_empty() {
        return Ok(None);
    }
    let only_multipart = kinds.contains(&"multipart/form-data") && kinds.len() == 1;
    let kind = if has_file || only_multipart {
        "multipart/form-data"
    } else {
        "application/x-www-form-urlencoded"
    };
    Ok(written(kind, Js::Object(fields), operation, script))
}

/// JSON before forms before anything else.
fn preferred(kinds: &[&str]) -> Option<usize> {
    let rank = |kind: &str| match kind {
        kind if is_json(kind) => 0,
        kind if kind.contains("urlencoded") => 1,
        kind if kind.starts_with("multipart/") => 2,
        kind if kind.starts_with("text/") => 3,
        _ => 4,
    };
    (0..kinds.len()).min_by_key(|at| (rank(kinds[*at]), *at))
}

fn is_json(kind: &str) -> bool {
    kind.contains("json") || kind == "*/*"
}

fn written(kind: &str, sample: Js, operation: &Operation<'_>, script: &mut Script) -> Option<Body> {
    if is_json(kind) {
        let kind = if kind.contains('*') {
            "application/json"
        } else {
            kind
        };
        return Some(Body {
            source: sample.stringified(2),
            kind: Some(kind.to_owned()),
        });
    }
    match sample {
        Js::Object(fields) if kind.contains("urlencoded") => {
            let fields = fields
                .into_iter()
                .map(|(name, value)| (name, Js::Text(text(&value))));
            Some(Body {
                source: Js::Object(fields.collect()).source(2),
                kind: None,
            })
        }
        Js::Object(fields) if kind.starts_with("multipart/") => {
            let fields = fields
                .iter()
                .map(|(name, value)| (name.clone(), text(value)));
            let (source, kind) = multipart(fields);
            Some(Body {
                source,
                kind: Some(kind),
            })
        }
        Js::Text(text) => Some(Body {
            source: text.source(),
            kind: Some(kind.to_owned()),
        }),
        Js::Plain(_) | Js::List(_) | Js::Object(_) => {
            let name = &operation.name;
            script.note(format!(
                "The body of {name} is {kind}, which is not drafted; write it by hand."
            ));
            None
        }
    }
}

/// As it stands in a form or an address.
pub(super) fn text(value: &Js) -> Text {
    match value {
        Js::Text(text) => text.clone(),
        Js::Plain(plain) => Text::literal(plain),
        Js::List(values) => {
            let mut all = Text::default();
            for (number, value) in values.iter().enumerate() {
                all.push(if number == 0 { "" } else { "," });
                all.append(text(value));
            }
            all
        }
        Js::Object(_) => Text::name(&format!("JSON.stringify({})", value.line())),
    }
}

/// Whether any of an operation's parameters is described as such a list that is repeated.
pub(super) fn is_repeated(version: Version, node: &Node<'_>) -> bool {
    match version {
        Version::OpenApi3 => node.value.get("explode") != Some(&serde_json::Value::Bool(false)),
        Version::Swagger2 => node.text("collectionFormat") == Some("multi"),
    }
}
