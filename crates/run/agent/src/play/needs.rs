//! What requests use of earlier answers: cookies, tokens, ids.
//!
//! A request whose address names what an earlier answer created is another request without it: it would fail for a reason of its
//! own. So a value is looked for in the answers before, and a request that uses one belongs to the first that gave it.

use std::collections::BTreeMap;

use cohort_model::CaseValue;
use cohort_scenario::{Outcome, Request, Response};
use serde_json::Value;

/// Values kept of one answer.
const VALUES_MAX: usize = 2_000;
/// Longest value.
const VALUE_BYTES_MAX: usize = 4 << 10;
/// In bodies and queries shorter ones are too common to tell anything.
const COMMON_CHARS: usize = 3;
/// Longest answer that is one value as a whole, bytes.
const WHOLE_BYTES_MAX: usize = 256;

/// Values that earlier answers gave, with the number of the request, where in its answer, and since when.
#[derive(Debug, Default)]
pub(super) struct Known {
    values: BTreeMap<String, (u32, String, u64)>,
}

impl Known {
    /// Adds what an answer gives.
    pub(super) fn add(&mut self, number: u32, outcome: &Outcome, answered_us: u64) {
        let Ok(response) = outcome else { return };
        let mut add = |value: String, place: String| {
            if !value.is_empty() && value.len() <= VALUE_BYTES_MAX {
                self.values
                    .entry(value)
                    .or_insert((number, place, answered_us));
            }
        };
        for (name, value) in &response.headers {
            if name.eq_ignore_ascii_case("set-cookie") {
                let pair = value.split(';').next().unwrap_or_default();
                if let Some((name, value)) = pair.split_once('=') {
                    add(value.trim().to_owned(), format!("cookie {}", name.trim()));
                }
            } else if name.eq_ignore_ascii_case("location") {
                add(value.clone(), "header location".to_owned());
                let last = value.rsplit('/').next().unwrap_or_default();
                add(last.to_owned(), "end of header location".to_owned());
            }
        }
        for (value, place) in of_body(response) {
            add(value, place);
        }
    }

    /// What a request uses of them.
    pub(super) fn used_by(&self, request: &Request, sent_us: u64) -> Vec<CaseValue> {
        let mut uses: Vec<CaseValue> = Vec::new();
        for value in used(request) {
            let Some((number, place, since_us)) = self.values.get(&value) else {
                continue;
            };
            let told = uses.iter().any(|known| known.value == value);
            if *since_us <= sent_us && !told {
                uses.push(CaseValue {
                    value,
                    request: *number,
                    place: place.clone(),
                });
            }
        }
        uses
    }
}

fn of_body(response: &Response) -> Vec<(String, String)> {
    if let Ok(json) = serde_json::from_slice::<Value>(&response.body) {
        let mut found = Vec::new();
        leaves(&json, "body", &mut found);
        return found;
    }
    match std::str::from_utf8(&response.body) {
        Ok(text) if text.len() <= WHOLE_BYTES_MAX && !text.trim().is_empty() => {
            vec![(text.trim().to_owned(), "body".to_owned())]
        }
        _ => Vec::new(),
    }
}

fn leaves(value: &Value, place: &str, found: &mut Vec<(String, String)>) {
    if found.len() >= VALUES_MAX {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                leaves(value, &format!("{place}.{name}"), found);
            }
        }
        Value::Array(items) => {
            for (at, value) in items.iter().enumerate() {
                leaves(value, &format!("{place}[{at}]"), found);
            }
        }
        Value::String(text) => found.push((text.clone(), place.to_owned())),
        Value::Number(number) => found.push((number.to_string(), place.to_owned())),
        Value::Bool(_) | Value::Null => {}
    }
}

/// Values that a request may have from elsewhere.
fn used(request: &Request) -> Vec<String> {
    let mut found = Vec::new();
    for (name, value) in &request.headers {
        if name.eq_ignore_ascii_case("cookie") {
            let pairs = value.split(';').filter_map(|pair| pair.split_once('='));
            found.extend(pairs.map(|(_, value)| value.trim().to_owned()));
        } else if !["content-type", "user-agent", "accept"].contains(&name.to_lowercase().as_str())
        {
            // `Bearer TOKEN`
            let words = value.split_whitespace().map(str::to_owned);
            found.extend(words.filter(|word| word.chars().count() > COMMON_CHARS));
        }
    }
    let after = request.url.split_once("://").map_or("", |(_, after)| after);
    let path = after.find('/').map_or("", |at| &after[at..]);
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    found.extend(path.split('/').filter(|part| !part.is_empty()).map(decoded));
    let telling = |value: &String| value.chars().count() >= COMMON_CHARS;
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    found.extend(pairs.map(|(_, value)| decoded(value)).filter(telling));
    if let Ok(json) = serde_json::from_slice::<Value>(&request.body) {
        let mut values = Vec::new();
        leaves(&json, "", &mut values);
        found.extend(values.into_iter().map(|(value, _)| value).filter(telling));
    } else if let Ok(form) = std::str::from_utf8(&request.body) {
        let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
        found.extend(pairs.map(|(_, value)| decoded(value)).filter(telling));
    }
    found
}

fn decoded(text: &str) -> String {
    let pair = format!("v={text}");
    let mut pairs = url::form_urlencoded::parse(pair.as_bytes());
    pairs
        .next()
        .map_or_else(|| text.to_owned(), |(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use cohort_scenario::{Expected, ResponseType};

    use super::*;

    fn request(url: &str, headers: &[(&str, &str)], body: &str) -> Request {
        let header = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Request {
            method: "POST".to_owned(),
            url: url.to_owned(),
            headers: headers.iter().map(header).collect(),
            body: body.into(),
            timeout_us: 1,
            response_type: ResponseType::Text,
            expected: Expected::default(),
            name: url.to_owned(),
            named: false,
            group: String::new(),
            tags: Vec::new(),
        }
    }

    fn answer(headers: &[(&str, &str)], body: &str) -> Outcome {
        let header = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Ok(Response {
            status: 200,
            headers: headers.iter().map(header).collect(),
            body: body.into(),
            ..Response::default()
        })
    }

    #[test]
    fn what_is_used_of_earlier_answers_is_known_with_its_place() {
        let mut known = Known::default();
        known.add(
            0,
            &answer(&[("Set-Cookie", "session=abc.1; Path=/")], "{}"),
            10,
        );
        known.add(
            1,
            &answer(&[], r#"{"order": {"id": 7, "note": "paid"}, "n": 12}"#),
            20,
        );
        known.add(2, &answer(&[], r#"{"again": 7}"#), 30);
        let of = |request: &Request, at: u64| {
            let uses = known.used_by(request, at);
            let told = uses
                .iter()
                .map(|one| format!("{} {}", one.request, one.place));
            told.collect::<Vec<_>>()
        };
        let cookie = request("http://h/a", &[("Cookie", "x=1; session=abc.1")], "");
        assert_eq!(of(&cookie, 15), ["0 cookie session"]);
        // A number in the path is an id; what came later cannot have been used.
        assert_eq!(
            of(&request("http://h/orders/7", &[], ""), 25),
            ["1 body.order.id"]
        );
        assert_eq!(of(&request("http://h/orders/7", &[], ""), 15), [""; 0]);
        // Small numbers in a body are everywhere.
        assert_eq!(
            of(&request("http://h/a?n=12", &[], r#"{"quantity": 7}"#), 99),
            [""; 0]
        );
        assert_eq!(
            of(&request("http://h/a", &[], r#"{"state": "paid"}"#), 99),
            ["1 body.order.note"]
        );
    }
}
