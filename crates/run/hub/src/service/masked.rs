//! What is secret in a request is not written down in a script that people pass on: headers and fields of bodies and queries by their
//! names, and whatever has the looks of a credential. What an earlier answer gave is taken from that answer, and so not told anyway.

use std::collections::BTreeSet;

use cohort_capsule::secrets::is_secret;
use cohort_model::CaseRequest;
use serde_json::Value;

/// What stands for a secret.
const LEFT_OUT: &str = "left-out";

/// A request without its secrets; the names of these are added to those that were left out.
pub(crate) fn masked(mut request: CaseRequest, names: &mut BTreeSet<String>) -> CaseRequest {
    let used: Vec<String> = request.uses.iter().map(|one| one.value.clone()).collect();
    let mut hides = |name: &str, value: &str| {
        let given = used.iter().any(|used| value.contains(used.as_str()));
        let hides = !given && is_secret(&name.replace('-', "_"), value);
        if hides {
            names.insert(name.to_owned());
        }
        hides
    };
    for (name, value) in &mut request.headers {
        if !name.eq_ignore_ascii_case("cookie") && hides(name, value) {
            LEFT_OUT.clone_into(value);
        }
    }
    if let Some((path, query)) = request.url.split_once('?') {
        request.url = format!("{path}?{}", pairs(query, &mut hides));
    }
    if let Ok(mut body) = serde_json::from_str::<Value>(&request.body) {
        if fields("", &mut body, &mut hides) {
            request.body = body.to_string();
        }
    } else if request.body.contains('=') && !request.body.contains(char::is_whitespace) {
        request.body = pairs(&request.body, &mut hides);
    }
    request
}

/// `a=1&b=2` without its secrets.
fn pairs(text: &str, hides: &mut impl FnMut(&str, &str) -> bool) -> String {
    let pairs = text.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) if hides(name, value) => format!("{name}={LEFT_OUT}"),
        _ => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// Whether anything was left out of a value of this name.
fn fields(name: &str, value: &mut Value, hides: &mut impl FnMut(&str, &str) -> bool) -> bool {
    match value {
        Value::Object(members) => {
            let mut any = false;
            for (name, value) in members {
                any |= fields(name, value, hides);
            }
            any
        }
        Value::Array(all) => {
            let mut any = false;
            for value in all {
                any |= fields(name, value, hides);
            }
            any
        }
        Value::String(text) if hides(name, text) => {
            LEFT_OUT.clone_into(text);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use cohort_model::{CaseValue, ThreadId};

    use super::*;

    #[test]
    fn secrets_are_left_out_and_what_answers_give_stays() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let request = CaseRequest {
            thread: ThreadId(0),
            iteration: 0,
            call: 0,
            after_us: 0,
            endpoint: "POST /login".to_owned(),
            method: "POST".to_owned(),
            url: "/login?api_key=abcdef&page=2".to_owned(),
            headers: vec![
                pair("X-Api-Key", "k-1234"),
                pair("X-Token", "t-17"),
                pair("Accept", "text/html"),
            ],
            body: r#"{"user":{"name":"ann","password":"open sesame"},"count":7}"#.to_owned(),
            status: 200,
            took_us: 1,
            uses: vec![CaseValue {
                value: "t-17".to_owned(),
                request: 0,
                place: "body.token".to_owned(),
            }],
            pieces: Vec::new(),
        };
        let mut names = BTreeSet::new();
        let shown = masked(request.clone(), &mut names);
        assert_eq!(shown.url, "/login?api_key=left-out&page=2");
        assert_eq!(shown.headers[0].1, "left-out");
        assert_eq!(shown.headers[1..], request.headers[1..]);
        assert_eq!(
            shown.body,
            r#"{"count":7,"user":{"name":"ann","password":"left-out"}}"#
        );
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(names, ["X-Api-Key", "api_key", "password"]);
        let mut form = request;
        form.body = "user=ann&passwd=sesame".to_owned();
        let shown = masked(form, &mut BTreeSet::new());
        assert_eq!(shown.body, "user=ann&passwd=left-out");
    }
}
