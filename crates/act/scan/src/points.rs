//! Values of a request that can be made hostile.

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
    /// A field of a JSON object.
    Field(String),
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
        Some('{' | '[' | '"') => Some("application/json"),
        Some('<') => Some("application/xml"),
        Some(_) if body.contains('=') => Some("application/x-www-form-urlencoded"),
        Some(_) => Some("text/plain"),
    };
    let kind = kind.map(|kind| ("Content-Type".to_owned(), kind.to_owned()));
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
        Ok(Value::Object(fields)) => points.extend(fields.iter().filter_map(|(name, value)| {
            let had = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => return None,
            };
            Some(Point {
                place: Place::Field(name.clone()),
                name: format!("the field {name}"),
                had,
            })
        })),
        Ok(_) => {}
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
        Place::Field(name) => {
            if let Ok(mut body) = serde_json::from_str::<Value>(&example.body) {
                body[name.as_str()] = Value::String(value.to_owned());
                request.body = body.to_string();
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
        let form = example("/f", "a=1&b=2");
        assert_eq!(with(&form, &points(&form)[1], "=").body, "a=1&b=%3D");
    }
}
