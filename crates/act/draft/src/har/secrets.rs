//! What of a recording is secret, found before anything is written: so that a token is left out
//! wherever it stands, also where nothing says that it is one.

use std::collections::BTreeSet;

use serde_json::Value;

use super::carry::Carried;
use super::entry::Entry;
use super::select::Chosen;
use crate::script::Script;
use crate::secret::{is_identity_name, is_secret_name, is_tracking_cookie, looks_secret};

/// A cookie that no answer of the recording set.
#[derive(Debug)]
pub(super) struct Cookie {
    pub(super) name: String,
    /// Of the script.
    pub(super) constant: String,
}

/// Makes a constant for each secret value, and for each cookie that has to be brought along.
pub(super) fn find(entries: &[Chosen], carried: &Carried, script: &mut Script) -> Vec<Cookie> {
    for (at, chosen) in entries.iter().enumerate() {
        let entry = &chosen.entry;
        let mut secret = |name: &str, value: &str, meaning: &str| {
            if !value.is_empty() && carried.get(value, at).is_none() {
                script.variable(name, meaning, Some(value));
            }
        };
        for (name, value) in &entry.headers {
            if let Some((name, value)) = header_secret(name, value) {
                secret(&name, value, &format!("for the header {name}"));
            }
        }
        for (name, value) in entry.url.query_pairs() {
            if is_secret_name(&name) || looks_secret(&value) {
                secret(&name, &value, &format!("for the parameter {name}"));
            }
        }
        for part in entry.url.path_segments().into_iter().flatten() {
            if looks_secret(part) {
                secret("token", part, "for a part of a path");
            }
        }
        let fields = fields(entry);
        let has_secret = fields.iter().any(|(name, _)| is_secret_name(name));
        for (name, value) in &fields {
            let identity = has_secret && is_identity_name(name);
            if is_secret_name(name) || identity || looks_secret(value) {
                secret(name, value, &format!("for the field {name}"));
            }
        }
    }
    cookies(entries, script)
}

/// What of a header is secret: its name for a constant, and the value.
pub(super) fn header_secret<'a>(name: &str, value: &'a str) -> Option<(String, &'a str)> {
    if name == "cookie" || name.starts_with(':') {
        return None;
    }
    if name.contains("authorization") {
        return Some(match value.split_once(' ') {
            Some(("Bearer", token)) => ("bearer token".to_owned(), token),
            Some(("Basic", credentials)) => ("basic credentials".to_owned(), credentials),
            _ => (name.to_owned(), value),
        });
    }
    let secret = is_secret_name(name) || looks_secret(value);
    secret.then(|| (name.to_owned(), value))
}

/// Names and texts of a body, at any depth.
fn fields(entry: &Entry) -> Vec<(String, String)> {
    let Some(body) = &entry.body else {
        return Vec::new();
    };
    let mut all = body.fields.clone();
    if body.kind.contains("json") {
        if let Ok(value) = serde_json::from_str(&body.text) {
            texts("", &value, &mut all);
        }
    } else if body.kind.contains("urlencoded") {
        all.extend(url::form_urlencoded::parse(body.text.as_bytes()).into_owned());
    }
    all
}

fn texts(name: &str, value: &Value, all: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => all.push((name.to_owned(), text.clone())),
        Value::Number(number) => all.push((name.to_owned(), number.to_string())),
        Value::Array(values) => values.iter().for_each(|value| texts(name, value, all)),
        Value::Object(fields) => {
            fields
                .iter()
                .for_each(|(name, value)| texts(name, value, all));
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// k6 keeps the cookies that answers set; others have to be there before.
fn cookies(entries: &[Chosen], script: &mut Script) -> Vec<Cookie> {
    let mut known: BTreeSet<&str> = BTreeSet::new();
    let mut needed = Vec::new();
    for chosen in entries {
        let entry = &chosen.entry;
        for (name, value) in &entry.cookies {
            if is_tracking_cookie(name) || !known.insert(name) {
                continue;
            }
            let meaning = format!("value of the cookie {name}; not sent when empty");
            let value = (value.len() >= 8).then_some(value.as_str());
            let constant = script.variable(&format!("cookie {name}"), &meaning, value);
            needed.push(Cookie {
                name: name.clone(),
                constant,
            });
        }
        known.extend(entry.cookies_set.iter().map(String::as_str));
    }
    needed
}
