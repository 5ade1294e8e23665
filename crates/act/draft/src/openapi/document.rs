//! The file: JSON or YAML, its version, and what its references lead to.
//! <https://spec.openapis.org/oas/>

use serde_json::Value;

use crate::Error;
use crate::node::Node;

const EXPECTED: &str = "an OpenAPI 3.0 or 3.1 or Swagger 2.0 description, in JSON or YAML";
/// References that lead to references.
const CHAIN_MAX: usize = 32;
/// Values of a file, and how deep they lie: the largest known descriptions have some 300,000.
const NODES_MAX: usize = 2_000_000;
const DEPTH_MAX: usize = 120;
/// Values that stand for aliases of YAML, which few descriptions have.
const ALIASED_MAX: usize = 100_000;

/// Which specification it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Swagger2,
    OpenApi3,
}

#[derive(Debug)]
pub(super) struct Document<'a> {
    pub(super) root: Node<'a>,
    pub(super) version: Version,
    /// As it says itself: `OpenAPI 3.0.3`.
    pub(super) called: String,
}

pub(super) fn parse(text: &str) -> Result<Value, Error> {
    if text
        .trim_start_matches('\u{feff}')
        .trim_start()
        .starts_with('{')
    {
        return crate::json(text, EXPECTED);
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: NODES_MAX,
            max_events: 3 * NODES_MAX,
            max_depth: DEPTH_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: ALIASED_MAX,
        },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let what = error.without_snippet().to_string();
        let place = error.location();
        let place = place.map(|at| (at.line(), at.column()));
        let told = what.contains("line ");
        Error::Yaml {
            what: match place {
                Some((line, column)) if !told => format!("line {line}, column {column}: {what}"),
                _ => what,
            },
            expected: EXPECTED,
        }
    })
}

impl<'a> Document<'a> {
    pub(super) fn of(value: &'a Value) -> Result<Self, Error> {
        let root = Node::root(value);
        if !value.is_object() {
            let file = Node {
                value,
                path: "the file".to_owned(),
            };
            return Err(file.unexpected(EXPECTED));
        }
        let version = |key: &'static str| {
            let node = root.get(key)?;
            // In YAML, 2.0 without quotes is a number.
            let told = match node.value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => String::new(),
            };
            Some((key, told))
        };
        let (key, told) = version("openapi")
            .or_else(|| version("swagger"))
            .ok_or_else(|| Error::Shape {
                place: "openapi".to_owned(),
                expected: "the version of the specification, like 3.0.3 (or \"swagger\": \"2.0\")",
                found: "nothing",
            })?;
        let (version, name) = match (key, told.as_str()) {
            ("openapi", told) if told.starts_with("3.") => (Version::OpenApi3, "OpenAPI"),
            ("swagger", "2" | "2.0") => (Version::Swagger2, "Swagger"),
            _ => {
                return Err(Error::Value {
                    place: key.to_owned(),
                    expected: "a version that is known: openapi 3.0 or 3.1, swagger 2.0",
                    found: told.chars().take(40).collect(),
                });
            }
        };
        Ok(Self {
            root,
            version,
            called: format!("{name} {told}"),
        })
    }

    /// What a `$ref` leads to; the node itself without one. `None`: it leads out of the file.
    pub(super) fn resolve(&self, node: &Node<'a>) -> Result<Option<Node<'a>>, Error> {
        let mut node = node.clone();
        for _ in 0..CHAIN_MAX {
            let Some(reference) = node.text("$ref") else {
                return Ok(Some(node));
            };
            let Some(pointer) = reference.strip_prefix('#') else {
                return Ok(None);
            };
            let pointer = crate::percent_decoded(pointer);
            let Some(value) = self.root.value.pointer(&pointer) else {
                return Err(Error::Value {
                    place: format!("{}.$ref", node.path),
                    expected: "a place in this file",
                    found: reference.chars().take(120).collect(),
                });
            };
            let path = pointer
                .trim_start_matches('/')
                .replace('/', ".")
                .replace("~1", "/");
            node = Node { value, path };
        }
        Err(Error::Value {
            place: format!("{}.$ref", node.path),
            expected: "a reference that ends somewhere",
            found: node
                .text("$ref")
                .unwrap_or_default()
                .chars()
                .take(120)
                .collect(),
        })
    }
}
