//! Places of a request that can be changed.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::request::Request;

/// Most places of one request.
const SITES_MAX: usize = 80;
/// Items of one list that are told apart: the others are like them.
const ITEMS_MAX: usize = 3;
/// Headers that belong to the connection, to who sends it, or that the client writes itself.
const LEFT: [&str; 9] = [
    "host",
    "content-length",
    "connection",
    "transfer-encoding",
    "cookie",
    "authorization",
    "traceparent",
    "user-agent",
    "x-request-id",
];

/// A place of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Site {
    /// A value of a JSON body, by its pointer (RFC 6901); empty: all of it.
    Json(String),
    /// A value of the query, by its number, with its name.
    Query(usize, String),
    /// A segment of the path that is a value, by its number.
    Segment(usize),
    /// A header, by its name.
    Header(String),
    /// A field of a form, by its number, with its name.
    Form(usize, String),
    /// A part of a body of several, by its number, with its name.
    Part(usize, String),
    /// The body as bytes.
    Body,
}

impl std::fmt::Display for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Site::Json(pointer) if pointer.is_empty() => f.write_str("all of the JSON body"),
            Site::Json(pointer) => write!(f, "{pointer} of the body"),
            Site::Query(_, name) => write!(f, "{name} of the query"),
            Site::Segment(number) => write!(f, "segment {number} of the path"),
            Site::Header(name) => write!(f, "the header {name}"),
            Site::Form(_, name) => write!(f, "{name} of the form"),
            Site::Part(_, name) => write!(f, "part {name} of the body"),
            Site::Body => f.write_str("the bytes of the body"),
        }
    }
}

/// All places of a request, in order.
#[must_use]
pub fn sites(request: &Request) -> Vec<Site> {
    let mut found = Vec::new();
    let (begin, end) = request.path();
    let segments = request.url[begin..end].split('/').enumerate();
    let values = segments.filter(|(_, segment)| is_value(segment));
    found.extend(values.map(|(number, _)| Site::Segment(number)));
    let pairs = pairs(query(&request.url).unwrap_or_default());
    found.extend(pairs.map(|(number, name)| Site::Query(number, name)));
    of_body(request, &mut found);
    let headers = request.headers.iter().map(|(name, _)| name);
    let headers = headers.filter(|name| !LEFT.iter().any(|left| left.eq_ignore_ascii_case(name)));
    found.extend(headers.map(|name| Site::Header(name.clone())));
    found.truncate(SITES_MAX);
    found
}

fn of_body(request: &Request, found: &mut Vec<Site>) {
    if request.body.is_empty() {
        return;
    }
    if let Ok(json) = serde_json::from_slice::<Value>(&request.body) {
        within(&json, "", found);
    } else if let Some(boundary) = request.boundary() {
        let parts = parts(&request.body, &boundary);
        let named = (0..).zip(&parts);
        found.extend(named.map(|(number, part)| Site::Part(number, part_name(part))));
    } else if is_form(request) {
        let text = String::from_utf8_lossy(&request.body);
        found.extend(pairs(&text).map(|(number, name)| Site::Form(number, name)));
    }
    found.push(Site::Body);
}

/// Each place with the shape of its value: letters, digits, and what is neither.
pub(crate) fn shapes(request: &Request) -> Vec<(Site, String)> {
    let document = serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
    let (begin, end) = request.path();
    let with_shape = |site: Site| {
        let value = match &site {
            Site::Json(pointer) => match document.pointer(pointer) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Object(_) | Value::Array(_)) | None => String::new(),
                Some(other) => other.to_string(),
            },
            Site::Query(number, _) => value_of(query(&request.url).unwrap_or_default(), *number),
            Site::Form(number, _) => value_of(&String::from_utf8_lossy(&request.body), *number),
            Site::Segment(number) => {
                let segment = request.url[begin..end].split('/').nth(*number);
                segment.unwrap_or_default().to_owned()
            }
            Site::Header(_) | Site::Part(..) | Site::Body => String::new(),
        };
        (site, shape(&value))
    };
    sites(request).into_iter().map(with_shape).collect()
}

fn value_of(pairs: &str, number: usize) -> String {
    let pair = pairs.split('&').nth(number).unwrap_or_default();
    pair.split_once('=')
        .map_or("", |(_, value)| value)
        .to_owned()
}

fn shape(text: &str) -> String {
    let mut shape = String::new();
    for letter in text.chars().take(40) {
        let kind = match letter {
            letter if letter.is_ascii_digit() => '0',
            letter if letter.is_alphabetic() => 'a',
            other => other,
        };
        if !shape.ends_with(kind) {
            shape.push(kind);
        }
    }
    shape
}

/// Whether a segment of a path stands for a value: it holds a digit, is long, or is not in small letters.
fn is_value(segment: &str) -> bool {
    !segment.is_empty()
        && (segment.len() >= 16
            || segment.bytes().any(|byte| byte.is_ascii_digit())
            || !segment.is_ascii())
}

pub(crate) fn query(url: &str) -> Option<&str> {
    let (_, query) = url.split_once('?')?;
    query.split('#').next()
}

fn pairs(text: &str) -> impl Iterator<Item = (usize, String)> {
    let pairs = text.split('&').enumerate();
    let named = pairs.filter(|(_, pair)| !pair.is_empty());
    named.map(|(number, pair)| {
        let name = pair.split('=').next().unwrap_or(pair);
        (number, name.to_owned())
    })
}

pub(crate) fn is_form(request: &Request) -> bool {
    let told = request.header("content-type");
    match told {
        Some(kind) => kind
            .to_ascii_lowercase()
            .starts_with("application/x-www-form-urlencoded"),
        None => {
            let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"=&%+-_.*~".contains(byte);
            request.body.contains(&b'=') && request.body.iter().all(allowed)
        }
    }
}

fn within(value: &Value, place: &str, found: &mut Vec<Site>) {
    if found.len() >= SITES_MAX {
        return;
    }
    found.push(Site::Json(place.to_owned()));
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                within(value, &format!("{place}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (at, value) in items.iter().take(ITEMS_MAX).enumerate() {
                within(value, &format!("{place}/{at}"), found);
            }
        }
        _ => {}
    }
}

/// Where each part of a body of several lies: from after its boundary's line to before the next one.
pub(crate) fn parts(body: &[u8], boundary: &str) -> Vec<Vec<u8>> {
    let mark = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut rest = body;
    while let Some(at) = find(rest, mark.as_bytes()) {
        let after = &rest[at + mark.len()..];
        let Some(next) = find(after, mark.as_bytes()) else {
            break;
        };
        let part = &after[..next];
        let part = part.strip_prefix(b"\r\n").unwrap_or(part);
        parts.push(part.strip_suffix(b"\r\n").unwrap_or(part).to_vec());
        rest = &after[next..];
    }
    parts
}

/// The body again, of these parts.
pub(crate) fn joined(parts: &[Vec<u8>], boundary: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        body.extend_from_slice(part);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}

pub(crate) fn find(within: &[u8], what: &[u8]) -> Option<usize> {
    within.windows(what.len()).position(|window| window == what)
}

fn part_name(part: &[u8]) -> String {
    let head = String::from_utf8_lossy(&part[..part.len().min(512)]);
    let name = head.split("name=\"").nth(1);
    let name = name.and_then(|rest| rest.split('"').next());
    name.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(request: &Request) -> Vec<String> {
        sites(request).iter().map(Site::to_string).collect()
    }

    #[test]
    fn places_of_every_kind_are_found() {
        let mut request = Request {
            method: "POST".to_owned(),
            url: "http://shop/orders/17?page=2&x".to_owned(),
            headers: vec![
                ("Accept".to_owned(), "*/*".to_owned()),
                ("Cookie".to_owned(), "session=1".to_owned()),
            ],
            body: br#"{"items": [{"id": 1}], "a/b": null}"#.to_vec(),
        };
        let wanted = [
            "segment 2 of the path",
            "page of the query",
            "x of the query",
            "all of the JSON body",
            "/a~1b of the body",
            "/items of the body",
            "/items/0 of the body",
            "/items/0/id of the body",
            "the bytes of the body",
            "the header Accept",
        ];
        assert_eq!(shown(&request), wanted);
        request.url = "/orders".to_owned();
        request.body = b"user=me&pass=1".to_vec();
        let form = &shown(&request)[..2];
        assert_eq!(form, ["user of the form", "pass of the form"]);
    }

    #[test]
    fn a_body_of_several_parts_comes_apart_and_together() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nhello\r\n--b\r\n\r\nx\r\n--b--\r\n";
        let request = Request {
            headers: vec![(
                "content-type".to_owned(),
                "multipart/form-data; boundary=b".to_owned(),
            )],
            body: body.to_vec(),
            ..Request::default()
        };
        let parts = parts(body, "b");
        assert_eq!(parts.len(), 2);
        assert_eq!(joined(&parts, "b"), body);
        assert_eq!(shown(&request)[0], "part file of the body");
    }
}
