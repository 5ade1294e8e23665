//! A request of a case as a line to type.

use std::fmt::Write;

use cohort_model::CaseRequest;

use crate::words;

/// Bytes of a body that are shown.
const BODY_BYTES_MAX: usize = 2_000;
/// Headers that curl or the server of the moment set themselves.
const OWN_HEADERS: [&str; 5] = [
    "host",
    "content-length",
    "connection",
    "user-agent",
    "accept-encoding",
];

/// `curl -X POST "$BASE_URL/orders" -H 'content-type: application/json' -d '{"a":1}'`.
#[must_use]
pub fn curl(request: &CaseRequest) -> String {
    let mut line = "curl -i".to_owned();
    if request.method != "GET" {
        let _ = write!(line, " -X {}", request.method);
    }
    if request.url.starts_with('/') {
        let _ = write!(line, " \"$BASE_URL\"{}", quoted(&request.url));
    } else {
        let _ = write!(line, " {}", quoted(&request.url));
    }
    for (name, value) in &request.headers {
        if !OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            let _ = write!(line, " -H {}", quoted(&format!("{name}: {value}")));
        }
    }
    if !request.body.is_empty() {
        let end = request.body.floor_char_boundary(BODY_BYTES_MAX);
        let _ = write!(line, " --data-raw {}", quoted(&request.body[..end]));
        if end < request.body.len() {
            let _ = write!(
                line,
                "  # {} more of the body",
                words::bytes((request.body.len() - end) as u64)
            );
        }
    }
    for used in &request.uses {
        let _ = write!(
            line,
            "  # {} is {} of the answer to request {}",
            words::cut(&words::printable(&used.value), 40),
            words::printable(&used.place),
            used.request + 1
        );
    }
    line
}

/// A word as a shell takes it for itself.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use cohort_model::{CaseValue, ThreadId};

    use super::*;

    #[test]
    fn a_request_can_be_typed() {
        let mut request = CaseRequest {
            thread: ThreadId(1),
            iteration: 4,
            call: 2,
            after_us: 0,
            endpoint: "POST /checkout".to_owned(),
            method: "POST".to_owned(),
            url: "/checkout?dry=1".to_owned(),
            headers: vec![
                ("Content-Type".to_owned(), "application/json".to_owned()),
                ("Host".to_owned(), "10.0.0.1".to_owned()),
            ],
            body: "{\"note\":\"it's\"}".to_owned(),
            status: 500,
            took_us: 900,
            uses: Vec::new(),
            pieces: Vec::new(),
        };
        assert_eq!(
            curl(&request),
            "curl -i -X POST \"$BASE_URL\"'/checkout?dry=1' -H 'Content-Type: application/json' \
             --data-raw '{\"note\":\"it'\\''s\"}'"
        );
        request.body.clear();
        request.headers.clear();
        request.method = "GET".to_owned();
        request.url = "http://other.example/x".to_owned();
        request.uses = vec![CaseValue {
            value: "41".to_owned(),
            request: 0,
            place: "body.id".to_owned(),
        }];
        assert_eq!(
            curl(&request),
            "curl -i 'http://other.example/x'  # 41 is body.id of the answer to request 1"
        );
    }
}
