//! Values of a request that can be made hostile.

use std::ops::Range;

use serde_json::Value;

use crate::http::Request;
use crate::plan::Example;

/// Values of one request that are tried.
const POINTS_MAX: usize = 12;

/// Where a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// So many pairs of the query come before.
    Query(usize),
    /// So many pairs of the form come before.
    Form(usize),
    /// A value in JSON, by its pointer (RFC 6901).
    Field(String),
    /// So many parts of a form in parts come before.
    Part(usize),
    /// A segment of the path.
    Segment(usize),
}

/// A value of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) place: Place,
    /// As a person calls it: `the parameter q`.
    pub(crate) name: String,
    /// What it was.
    pub(crate) had: String,
}

/// The request as it was made.
pub(crate) fn plain(example: &Example) -> Request {
    let body = example.body.trim_start();
    let kind = match body.chars().next() {
        None => None,
        Some('{' | '[' | '"') => Some("application/json".to_owned()),
        Some('<') => Some("application/xml".to_owned()),
        Some(_) => Some(match boundary(&example.body) {
            Some(boundary) => format!("multipart/form-data; boundary={boundary}"),
            None if body.contains('=') => "application/x-www-form-urlencoded".to_owned(),
            None => "text/plain".to_owned(),
        }),
    };
    let kind = kind.map(|kind| ("Content-Type".to_owned(), kind));
    Request {
        method: example.method.clone(),
        path: example.path.clone(),
        headers: kind.into_iter().collect(),
        body: example.body.clone(),
    }
}

/// All values of it.
pub(crate) fn points(example: &Example) -> Vec<Point> {
    let mut points = Vec::new();
    let (path, query) = split(&example.path);
    points.extend(pairs(query, Place::Query, "the parameter"));
    match serde_json::from_str::<Value>(&example.body) {
        Ok(value) => fields(&value, &mut (String::new(), String::new()), &mut points),
        Err(_) if boundary(&example.body).is_some() => {
            let parts = parts(&example.body).into_iter().enumerate();
            points.extend(parts.map(|(number, part)| Point {
                place: Place::Part(number),
                name: format!("the part {}", part.name),
                had: example.body[part.value].to_owned(),
            }));
        }
        Err(_) if !example.body.trim_start().starts_with(['{', '[', '<']) => {
            points.extend(pairs(&example.body, Place::Form, "the field"));
        }
        Err(_) => {}
    }
    // The last segment says most often which thing is meant.
    let segments: Vec<&str> = path.split('/').collect();
    if segments.len() > 1 && segments.last().is_some_and(|last| !last.is_empty()) {
        let last = segments.len() - 1;
        points.push(Point {
            place: Place::Segment(last),
            name: "the end of the path".to_owned(),
            had: decoded(segments[last]),
        });
    }
    points.truncate(POINTS_MAX);
    points
}

/// Texts and numbers in JSON, however deep; with the pointer and the name of where it stands.
fn fields(value: &Value, at: &mut (String, String), points: &mut Vec<Point>) {
    let had = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Object(inner) => {
            for (name, value) in inner {
                let escaped = name.replace('~', "~0").replace('/', "~1");
                let dot = if at.1.is_empty() { "" } else { "." };
                let mut below = (
                    format!("{}/{escaped}", at.0),
                    format!("{}{dot}{name}", at.1),
                );
                fields(value, &mut below, points);
            }
            return;
        }
        Value::Array(inner) => {
            // All elements are alike, most often.
            if let Some(first) = inner.first() {
                fields(
                    first,
                    &mut (format!("{}/0", at.0), format!("{}[0]", at.1)),
                    points,
                );
            }
            return;
        }
        Value::Null | Value::Bool(_) => return,
    };
    points.push(Point {
        place: Place::Field(at.0.clone()),
        name: format!("the field {}", at.1),
        had,
    });
}

/// What stands between the parts of a form in parts (RFC 7578); none: it is no such form.
fn boundary(body: &str) -> Option<&str> {
    let first = body.lines().next()?.trim_end();
    let boundary = first
        .strip_prefix("--")
        .filter(|it| !it.is_empty() && !it.contains(' '))?;
    let names = body.contains("form-data") && body.contains("name=");
    names.then_some(boundary)
}

/// A part of a form in parts.
struct Part {
    name: String,
    /// Where its value stands in the body.
    value: Range<usize>,
}

fn parts(body: &str) -> Vec<Part> {
    let Some(boundary) = boundary(body) else {
        return Vec::new();
    };
    let line = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut from = line.len();
    while let Some(length) = body[from..].find(&line) {
        let part = &body[from..from + length];
        let head = ["\r\n\r\n", "\n\n"]
            .iter()
            .find_map(|end| Some((part.find(end)?, end.len())));
        if let Some((head, gap)) = head {
            let name = part[..head].split("name=\"").nth(1);
            let name = name.and_then(|it| it.split('"').next()).unwrap_or_default();
            let value = part[head + gap..]
                .trim_end_matches('\n')
                .trim_end_matches('\r');
            let start = from + head + gap;
            parts.push(Part {
                name: name.to_owned(),
                value: start..start + value.len(),
            });
        }
        from += length + line.len();
    }
    parts
}

fn pairs(text: &str, place: fn(usize) -> Place, what: &str) -> Vec<Point> {
    let pairs = text.split('&').enumerate();
    pairs
        .filter_map(|(number, pair)| {
            let (name, value) = pair.split_once('=')?;
            Some(Point {
                place: place(number),
                name: format!("{what} {}", decoded(name)),
                had: decoded(value),
            })
        })
        .collect()
}

/// The request with another value there.
pub(crate) fn with(example: &Example, point: &Point, value: &str) -> Request {
    let mut request = plain(example);
    let (path, query) = split(&example.path);
    match &point.place {
        Place::Query(number) => {
            request.path = format!("{path}?{}", replaced(query, *number, value));
        }
        Place::Form(number) => request.body = replaced(&example.body, *number, value),
        Place::Field(pointer) => {
            if let Ok(mut body) = serde_json::from_str::<Value>(&example.body)
                && let Some(field) = body.pointer_mut(pointer)
            {
                *field = Value::String(value.to_owned());
                request.body = body.to_string();
            }
        }
        Place::Part(number) => {
            if let Some(part) = parts(&example.body).into_iter().nth(*number) {
                request.body.replace_range(part.value, value);
            }
        }
        Place::Segment(number) => {
            let mut segments: Vec<String> = path.split('/').map(str::to_owned).collect();
            if let Some(segment) = segments.get_mut(*number) {
                *segment = encoded(value);
            }
            let query = match query {
                "" => String::new(),
                query => format!("?{query}"),
            };
            request.path = segments.join("/") + &query;
        }
    }
    request
}

fn replaced(pairs: &str, number: usize, value: &str) -> String {
    let pairs = pairs.split('&').enumerate().map(|(at, pair)| {
        let name = pair.split('=').next().unwrap_or_default();
        match at == number {
            true => format!("{name}={}", encoded(value)),
            false => pair.to_owned(),
        }
    });
    pairs.collect::<Vec<String>>().join("&")
}

fn split(path: &str) -> (&str, &str) {
    path.split_once('?').unwrap_or((path, ""))
}

/// Percent-encoded (RFC 3986, 2.1), all but what never needs it.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let value = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        match (byte, value) {
            (b'%', Some(value)) => {
                out.push(value);
                rest = &after[2..];
            }
            (b'+', _) => {
                out.push(b' ');
                rest = after;
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(path: &str, body: &str) -> Example {
        Example {
            endpoint: String::new(),
            method: "POST".to_owned(),
            path: path.to_owned(),
            body: body.to_owned(),
            order: 0,
            status: 200,
        }
    }

    #[test]
    fn each_value_is_found_and_replaced_alone() {
        let one = example("/items/7?q=a%20b&page=2", r#"{"name":"x","n":3,"deep":{}}"#);
        let all = points(&one);
        let had: Vec<&str> = all.iter().map(|point| point.had.as_str()).collect();
        assert_eq!(had, ["a b", "2", "3", "x", "7"]);
        assert_eq!(
            with(&one, &all[0], "<&>").path,
            "/items/7?q=%3C%26%3E&page=2"
        );
        assert_eq!(
            with(&one, &all[4], "../x").path,
            "/items/..%2Fx?q=a%20b&page=2"
        );
        assert!(with(&one, &all[3], "\"").body.contains(r#""name":"\"""#));
        let deep = example(
            "/f",
            r#"{"who":{"names":[{"first":"a"}],"a/b":1},"on":true}"#,
        );
        let all = points(&deep);
        let names: Vec<&str> = all.iter().map(|point| point.name.as_str()).collect();
        let wanted = [
            "the field who.a/b",
            "the field who.names[0].first",
            "the end of the path",
        ];
        assert_eq!(names, wanted);
        assert!(with(&deep, &all[0], "'").body.contains(r#""a/b":"'""#));
        assert!(
            with(&deep, &all[1], "'")
                .body
                .contains(r#"[{"first":"'"}]"#)
        );
        let form = example("/f", "a=1&b=2");
        assert_eq!(with(&form, &points(&form)[1], "=").body, "a=1&b=%3D");
    }

    #[test]
    fn forms_in_parts_are_read_and_each_part_is_replaced_alone() {
        let part = |name: &str, value: &str| {
            format!("--xx\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let body = part("title", "a b") + &part("file", "x=1") + "--xx--\r\n";
        let one = example("/upload", &body);
        let kind = (
            "Content-Type".to_owned(),
            "multipart/form-data; boundary=xx".to_owned(),
        );
        assert_eq!(plain(&one).headers, [kind]);
        let all = points(&one);
        let had: Vec<(&str, &str)> = all
            .iter()
            .map(|it| (it.name.as_str(), it.had.as_str()))
            .collect();
        assert_eq!(
            had[..2],
            [("the part title", "a b"), ("the part file", "x=1")]
        );
        assert_eq!(
            with(&one, &all[1], "../x").body,
            part("title", "a b") + &part("file", "../x") + "--xx--\r\n"
        );
    }
}
