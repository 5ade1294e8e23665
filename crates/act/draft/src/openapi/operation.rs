//! What can be called, in a fixed order: by path, and what creates before what asks and removes.

use super::document::{Document, Version};
use crate::Error;
use crate::names::camel_case;
use crate::node::Node;
use crate::script::Script;

/// Methods, in the order in which a person would call them on one path.
const METHODS: [&str; 8] = [
    "post", "get", "put", "patch", "delete", "head", "options", "trace",
];

/// One operation.
#[derive(Debug)]
pub(super) struct Operation<'a> {
    /// In capitals.
    pub(super) method: String,
    /// `/pets/{petId}`.
    pub(super) path: String,
    /// Of the script's function.
    pub(super) name: String,
    pub(super) summary: String,
    /// The required ones.
    pub(super) parameters: Vec<Parameter<'a>>,
    pub(super) node: Node<'a>,
}

/// One required parameter.
#[derive(Debug)]
pub(super) struct Parameter<'a> {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) node: Node<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
    Header,
    Cookie,
    /// Swagger 2.0: the whole body, or a field of a form.
    Body,
    Form,
}

pub(super) fn read<'a>(
    document: &Document<'a>,
    script: &mut Script,
) -> Result<Vec<Operation<'a>>, Error> {
    let paths = document.root.need("paths", "the paths of the API")?;
    let mut operations = Vec::new();
    let mut deprecated = 0;
    for (path, item) in paths.fields()? {
        if path.starts_with("x-") {
            continue;
        }
        if !path.starts_with('/') {
            return Err(Error::Value {
                place: item.path,
                expected: "a path, which begins with /",
                found: path.to_owned(),
            });
        }
        let Some(item) = document.resolve(&item)? else {
            script.note(format!(
                "Left out: {path}, which is described in another file."
            ));
            continue;
        };
        item.fields()?;
        for method in METHODS {
            let Some(node) = item.get(method) else {
                continue;
            };
            node.fields()?;
            if node.value.get("deprecated") == Some(&serde_json::Value::Bool(true)) {
                deprecated += 1;
                continue;
            }
            operations.push(operation(document, script, path, method, &item, node)?);
        }
    }
    if deprecated > 0 {
        let what = if deprecated == 1 {
            "operation that is"
        } else {
            "operations that are"
        };
        script.note(format!("Left out: {deprecated} {what} deprecated."));
    }
    if operations.is_empty() {
        let what = "paths: no operation that could be called; expected at least one path with get, post, put, patch or delete";
        return Err(Error::Nothing(what.to_owned()));
    }
    Ok(operations)
}

fn operation<'a>(
    document: &Document<'a>,
    script: &mut Script,
    path: &str,
    method: &str,
    item: &Node<'a>,
    node: Node<'a>,
) -> Result<Operation<'a>, Error> {
    let id = node.text("operationId").filter(|id| !id.trim().is_empty());
    let wanted = match id {
        Some(id) => camel_case(id, "call"),
        None => camel_case(&format!("{method} {path}"), "call"),
    };
    let mut parameters: Vec<Parameter<'a>> = Vec::new();
    for list in [item.list("parameters")?, node.list("parameters")?] {
        for parameter in list {
            let Some(parameter) = parameter_of(document, script, &parameter)? else {
                continue;
            };
            // An operation's own one takes the place of its path's.
            parameters
                .retain(|known| (known.place, &known.name) != (parameter.place, &parameter.name));
            parameters.push(parameter);
        }
    }
    parameters.retain(|parameter| {
        let required = parameter.node.value.get("required") == Some(&serde_json::Value::Bool(true));
        required || matches!(parameter.place, Place::Path | Place::Body)
    });
    let summary = node.text("summary").or_else(|| node.text("description"));
    let summary = summary
        .unwrap_or_default()
        .lines()
        .next()
        .unwrap_or_default();
    Ok(Operation {
        method: method.to_ascii_uppercase(),
        path: path.to_owned(),
        name: script.names.unique(&wanted),
        summary: summary.chars().take(100).collect(),
        parameters,
        node,
    })
}

fn parameter_of<'a>(
    document: &Document<'a>,
    script: &mut Script,
    node: &Node<'a>,
) -> Result<Option<Parameter<'a>>, Error> {
    let Some(node) = document.resolve(node)? else {
        script.note(format!(
            "Left out: {}, which is described in another file.",
            node.path
        ));
        return Ok(None);
    };
    let name = node.need_text("name", "the parameter's name")?;
    let told = node.need_text(
        "in",
        "where the parameter goes: path, query, header or cookie",
    )?;
    let place = match (told, document.version) {
        ("path", _) => Place::Path,
        ("query", _) => Place::Query,
        ("header", _) => Place::Header,
        ("cookie", Version::OpenApi3) => Place::Cookie,
        ("body", Version::Swagger2) => Place::Body,
        ("formData", Version::Swagger2) => Place::Form,
        _ => {
            return Err(Error::Value {
                place: format!("{}.in", node.path),
                expected: "where a parameter goes: path, query, header or cookie (in Swagger 2.0, not cookie, but body or formData)",
                found: told.chars().take(40).collect(),
            });
        }
    };
    // Said elsewhere: by the body, by what is accepted, by security.
    let elsewhere = ["accept", "content-type", "authorization"];
    let lower = name.to_ascii_lowercase();
    if place == Place::Header && elsewhere.contains(&lower.as_str()) {
        return Ok(None);
    }
    Ok(Some(Parameter {
        name: name.to_owned(),
        place,
        node,
    }))
}
