//! One change of a request: what stands at a place from now on.
//!
//! A change is applied to a request as it is about to be sent, with the tokens and ids of that server, not as it was recorded.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json;
use crate::request::Request;
use crate::sites::{Site, joined, parts, query};

/// Characters of a value that are shown.
const SHOWN_CHARS: usize = 60;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// Where.
    pub site: Site,
    /// What stands there, as it is sent: JSON text, an encoded value, bytes. `None`: it is left out.
    pub value: Option<Vec<u8>>,
}

impl std::fmt::Display for Edit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(value) = &self.value else {
            return write!(f, "{} is left out", self.site);
        };
        let text = String::from_utf8_lossy(value);
        let count = text.chars().count();
        let begins: String = text.chars().take(SHOWN_CHARS).map(shown).collect();
        match count > SHOWN_CHARS {
            true => write!(f, "{} is {begins}... ({count} characters)", self.site),
            false if text.is_empty() => write!(f, "{} is empty", self.site),
            false => write!(f, "{} is {begins}", self.site),
        }
    }
}

/// A letter as it can be shown on one line.
fn shown(letter: char) -> String {
    match letter.is_control() {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    }
}

impl Edit {
    /// Changes a request. One that has no such place stays as it is.
    pub fn apply(&self, request: &mut Request) {
        let value = self.value.as_deref();
        match &self.site {
            Site::Json(pointer) => of_json(request, pointer, value),
            Site::Query(number, name) => of_query(request, (*number, name), value),
            Site::Segment(number) => of_path(request, *number, value.unwrap_or_default()),
            Site::Header(name) => of_header(request, name, value),
            Site::Form(number, name) => {
                let text = String::from_utf8_lossy(&request.body);
                if let Some(text) = pair(&text, (*number, name), value) {
                    request.body = text.into_bytes();
                }
            }
            Site::Part(number, _) => of_part(request, *number, value),
            Site::Body => request.body = value.unwrap_or_default().to_vec(),
        }
    }
}

fn of_json(request: &mut Request, pointer: &str, value: Option<&[u8]>) {
    let Ok(document) = serde_json::from_slice::<Value>(&request.body) else {
        return;
    };
    let new = match value {
        Some(value) => json::with(&document, pointer, &String::from_utf8_lossy(value)),
        None => json::without(&document, pointer),
    };
    if let Some(new) = new {
        request.body = new;
    }
}

fn of_query(request: &mut Request, which: (usize, &str), value: Option<&[u8]>) {
    let Some(had) = query(&request.url) else {
        return;
    };
    if let Some(new) = pair(had, which, value) {
        let (path, rest) = request.url.split_once('?').unwrap_or((&request.url, ""));
        let fragment = rest.split_once('#').map(|(_, fragment)| fragment);
        let fragment = fragment.map_or_else(String::new, |fragment| format!("#{fragment}"));
        request.url = match new.is_empty() {
            true => format!("{path}{fragment}"),
            false => format!("{path}?{new}{fragment}"),
        };
    }
}

/// Pairs with one of them changed.
fn pair(text: &str, (number, name): (usize, &str), value: Option<&[u8]>) -> Option<String> {
    let mut pairs: Vec<String> = text.split('&').map(str::to_owned).collect();
    let is_it = |pair: &String| pair.split('=').next() == Some(name);
    let at = match pairs.get(number).is_some_and(is_it) {
        true => number,
        false => pairs.iter().position(is_it)?,
    };
    match value {
        Some(value) => pairs[at] = format!("{name}={}", String::from_utf8_lossy(value)),
        None => drop(pairs.remove(at)),
    }
    Some(pairs.join("&"))
}

fn of_path(request: &mut Request, number: usize, value: &[u8]) {
    let (begin, end) = request.path();
    let mut segments: Vec<String> = request.url[begin..end]
        .split('/')
        .map(str::to_owned)
        .collect();
    if let Some(segment) = segments.get_mut(number) {
        *segment = String::from_utf8_lossy(value).into_owned();
        let path = segments.join("/");
        request.url.replace_range(begin..end, &path);
    }
}

fn of_header(request: &mut Request, name: &str, value: Option<&[u8]>) {
    let is_it = |(known, _): &(String, String)| known.eq_ignore_ascii_case(name);
    match value {
        Some(value) => {
            if let Some((_, had)) = request.headers.iter_mut().find(|header| is_it(header)) {
                *had = String::from_utf8_lossy(value).into_owned();
            }
        }
        None => request.headers.retain(|header| !is_it(header)),
    }
}

fn of_part(request: &mut Request, number: usize, value: Option<&[u8]>) {
    let Some(boundary) = request.boundary() else {
        return;
    };
    let mut all = parts(&request.body, &boundary);
    if number >= all.len() {
        return;
    }
    match value {
        Some(value) => all[number] = value.to_vec(),
        None => drop(all.remove(number)),
    }
    request.body = joined(&all, &boundary);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(request: &Request, site: Site, value: Option<&str>) -> Request {
        let mut new = request.clone();
        let value = value.map(|value| value.as_bytes().to_vec());
        Edit { site, value }.apply(&mut new);
        new
    }

    #[test]
    fn each_place_is_changed_and_left_out() {
        let request = Request {
            method: "POST".to_owned(),
            url: "http://a/x/17?b=1&c=2#d".to_owned(),
            headers: vec![("Accept".to_owned(), "*/*".to_owned())],
            body: br#"{"k":"v"}"#.to_vec(),
        };
        let name = || "c".to_owned();
        let of = |site, value| after(&request, site, value);
        assert_eq!(
            of(Site::Segment(2), Some("%00")).url,
            "http://a/x/%00?b=1&c=2#d"
        );
        assert_eq!(
            of(Site::Query(1, name()), Some("9")).url,
            "http://a/x/17?b=1&c=9#d"
        );
        assert_eq!(of(Site::Query(1, name()), None).url, "http://a/x/17?b=1#d");
        assert_eq!(of(Site::Header("accept".to_owned()), None).headers, []);
        let json = of(Site::Json("/k".to_owned()), Some("[1e999]"));
        assert_eq!(json.body, br#"{"k":[1e999]}"#);
        assert_eq!(of(Site::Json("/k".to_owned()), None).body, b"{}");
        assert_eq!(of(Site::Json("/none".to_owned()), Some("1")), request);
        assert_eq!(of(Site::Body, Some("")).body, b"");
    }

    #[test]
    fn a_change_is_told_in_words() {
        let edit = Edit {
            site: Site::Json("/coupon".to_owned()),
            value: Some("\"SAV漢10\"".as_bytes().to_vec()),
        };
        assert_eq!(edit.to_string(), "/coupon of the body is \"SAV漢10\"");
    }
}
