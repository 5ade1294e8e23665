//! Values that an answer brought and a later request sent: the id of what was created, a token of
//! a login. They are taken from the answer anew, at each iteration.
//!
//! A value counts when no request sent it before its answer came, and when it is long, or stands
//! under a key that names an id.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::entry::{Body, Entry};
use super::select::Chosen;
use crate::names::{Names, camel_case};
use crate::percent_decoded;

/// Values shorter than this are only carried over when they are ids.
const LENGTH_MIN: usize = 8;
const LENGTH_MAX: usize = 4096;
/// Values of one answer that are looked at, and how deep.
const LEAVES_MAX: usize = 2_000;
const DEPTH_MAX: usize = 8;

/// All that is carried over.
#[derive(Debug, Default)]
pub(super) struct Carried {
    /// By what the recording has.
    by_value: BTreeMap<String, Carry>,
}

/// One value.
#[derive(Clone, Debug)]
pub(super) struct Carry {
    /// Of the script's variable.
    pub(super) name: String,
    /// The request whose answer brings it.
    pub(super) from: usize,
    pub(super) place: Place,
    used: bool,
}

/// Where in an answer.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// `order.items.0.id`, as k6's `json()` takes it.
    Json(String),
    /// The value of the HTML field of this name.
    Field(String),
}

impl Carried {
    /// The variable for a value that the request at `at` sends.
    pub(super) fn get(&self, value: &str, at: usize) -> Option<&Carry> {
        self.by_value
            .get(value)
            .filter(|carry| carry.used && carry.from < at)
    }

    /// What the answer of the request at `at` brings, in the order of names.
    pub(super) fn from(&self, at: usize) -> Vec<&Carry> {
        let all = self.by_value.values();
        let mut from: Vec<&Carry> = all.filter(|carry| carry.used && carry.from == at).collect();
        from.sort_by(|a, b| a.name.cmp(&b.name));
        from
    }

    /// All variables, in the order in which they are brought.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut all: Vec<&Carry> = self.by_value.values().filter(|carry| carry.used).collect();
        all.sort_by_key(|carry| (carry.from, &carry.name));
        all.iter().map(|carry| carry.name.as_str()).collect()
    }
}

pub(super) fn find(entries: &[Chosen], names: &mut Names) -> Carried {
    let mut carried = Carried::default();
    let mut sent: BTreeSet<String> = BTreeSet::new();
    for (at, chosen) in entries.iter().enumerate() {
        if chosen.is_static {
            continue;
        }
        let candidates = candidates(&chosen.entry);
        for value in &candidates {
            if let Some(carry) = carried.by_value.get_mut(value) {
                carry.used = true;
            }
        }
        sent.extend(candidates);
        for (value, place, key) in brought(&chosen.entry) {
            let creates = chosen.entry.method != "GET";
            if !is_worth(&value, &key, creates) || sent.contains(&value) {
                continue;
            }
            carried.by_value.entry(value).or_insert(Carry {
                name: key,
                from: at,
                place,
                used: false,
            });
        }
    }
    let mut used: Vec<&mut Carry> = carried
        .by_value
        .values_mut()
        .filter(|carry| carry.used)
        .collect();
    used.sort_by(|a, b| (a.from, &a.name).cmp(&(b.from, &b.name)));
    for carry in used {
        carry.name = names.unique(&camel_case(&carry.name, "value"));
    }
    carried
}

fn is_worth(value: &str, key: &str, creates: bool) -> bool {
    if value.len() > LENGTH_MAX || value.is_empty() {
        return false;
    }
    let lower = key.to_ascii_lowercase();
    let last = lower.rsplit(' ').next().unwrap_or_default();
    let names_id = matches!(
        last,
        "id" | "uuid" | "guid" | "slug" | "token" | "code" | "key"
    ) || key.ends_with("Id")
        || key.ends_with("_id")
        || key.ends_with("-id");
    let has_digit = value.bytes().any(|byte| byte.is_ascii_digit());
    (value.len() >= LENGTH_MIN && has_digit) || (names_id && (creates || value.len() > 2))
}

/// Values of an answer, with their place, and what they could be called.
fn brought(entry: &Entry) -> Vec<(String, Place, String)> {
    let Some(text) = &entry.answer else {
        return Vec::new();
    };
    let mut found = Vec::new();
    if entry.answer_kind.contains("json") {
        if let Ok(value) = serde_json::from_str(text) {
            leaves(&value, &mut Vec::new(), &mut found);
        }
    } else if entry.answer_kind.contains("html") {
        fields(text, &mut found);
    }
    found
}

fn leaves(value: &Value, path: &mut Vec<String>, found: &mut Vec<(String, Place, String)>) {
    if found.len() >= LEAVES_MAX || path.len() > DEPTH_MAX {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                // Others would have to be escaped in the path.
                let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
                if !key.is_empty() && key.chars().all(plain) {
                    path.push(key.clone());
                    leaves(value, path, found);
                    path.pop();
                }
            }
        }
        Value::Array(values) => {
            for (at, value) in values.iter().enumerate() {
                path.push(at.to_string());
                leaves(value, path, found);
                path.pop();
            }
        }
        Value::String(_) | Value::Number(_) if !path.is_empty() => {
            let value = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            found.push((value, Place::Json(path.join(".")), called(path)));
        }
        _ => {}
    }
}

/// The last key; an `id` together with what it is of: `order id`.
fn called(path: &[String]) -> String {
    let is_key = |part: &&String| !part.bytes().all(|byte| byte.is_ascii_digit());
    let mut keys = path.iter().filter(is_key).rev();
    match (keys.next(), keys.next()) {
        (Some(key), Some(of)) if key.len() <= 4 => {
            format!("{} {key}", of.strip_suffix('s').unwrap_or(of))
        }
        (Some(key), _) => key.clone(),
        (None, _) => "value".to_owned(),
    }
}

/// Hidden fields of forms: `<input type="hidden" name="csrf" value="...">`.
fn fields(html: &str, found: &mut Vec<(String, Place, String)>) {
    for tag in html.split("<input").skip(1).take(LEAVES_MAX) {
        let tag = tag.split('>').next().unwrap_or_default();
        let (Some(name), Some(value)) = (attribute(tag, "name"), attribute(tag, "value")) else {
            continue;
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        if attribute(tag, "type") == Some("hidden") && name.chars().all(plain) {
            found.push((
                value.to_owned(),
                Place::Field(name.to_owned()),
                name.to_owned(),
            ));
        }
    }
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let begin = [format!(" {name}=\""), format!("\n{name}=\"")];
    let begin = begin
        .iter()
        .find_map(|begin| Some(tag.find(begin.as_str())? + begin.len()))?;
    tag[begin..].split('"').next()
}

/// Every whole value that a request sends: parts of the path, parameters, headers, leaves of the
/// body.
fn candidates(entry: &Entry) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    all.extend(entry.url.path().split('/').map(percent_decoded));
    all.extend(entry.url.query_pairs().map(|(_, value)| value.into_owned()));
    for (_, value) in &entry.headers {
        let bare = value.strip_prefix("Bearer ").unwrap_or(value);
        all.push(bare.to_owned());
    }
    if let Some(body) = &entry.body {
        body_values(body, &mut all);
    }
    all.retain(|value| !value.is_empty());
    all
}

fn body_values(body: &Body, all: &mut Vec<String>) {
    all.extend(body.fields.iter().map(|(_, value)| value.clone()));
    if body.kind.contains("json") {
        if let Ok(value) = serde_json::from_str(&body.text) {
            let mut found = Vec::new();
            leaves(&value, &mut Vec::new(), &mut found);
            all.extend(found.into_iter().map(|(value, _, _)| value));
        }
    } else if body.kind.contains("urlencoded") {
        let pairs = url::form_urlencoded::parse(body.text.as_bytes());
        all.extend(pairs.map(|(_, value)| value.into_owned()));
    }
}
