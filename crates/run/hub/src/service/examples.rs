//! Examples of what is asked of each endpoint, without secrets, for whoever looks at the service from outside: `examples.json` in
//! the campaign's directory.
//!
//! They are taken from recordings that were put together anyway, a bounded number of each endpoint.

use std::collections::BTreeMap;

use cohort_model::CaseRequest;
use serde::Serialize;

use super::masked::masked;
use super::shell::Hub;

/// The file.
const EXAMPLES: &str = "examples.json";
/// Of each endpoint.
const OF_ENDPOINT_MAX: usize = 3;
/// Endpoints.
const ENDPOINTS_MAX: usize = 500;
/// Headers that say who asks.
const WHO: [&str; 2] = ["cookie", "authorization"];

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Example {
    /// `GET /items/{}`.
    endpoint: String,
    method: String,
    /// Path and query, or the whole address of another host.
    url: String,
    /// Without secrets, and without what says who asks.
    headers: Vec<(String, String)>,
    /// As text, cut to 2 KiB.
    body: String,
    /// Of its answer.
    status: u16,
}

/// Those that are known.
#[derive(Default)]
pub(crate) struct Examples {
    of_endpoint: BTreeMap<String, Vec<Example>>,
}

impl Examples {
    /// Adds those that tell something new; false when none does.
    fn add(&mut self, requests: &[CaseRequest]) -> bool {
        let mut any = false;
        for request in requests {
            let known = self.of_endpoint.len();
            let of = match self.of_endpoint.get_mut(&request.endpoint) {
                Some(of) => of,
                None if known < ENDPOINTS_MAX => self
                    .of_endpoint
                    .entry(request.endpoint.clone())
                    .or_default(),
                None => continue,
            };
            let one = example(request);
            let alike = |other: &Example| other.url == one.url && other.body == one.body;
            if of.len() < OF_ENDPOINT_MAX && !of.iter().any(alike) {
                of.push(one);
                any = true;
            }
        }
        any
    }
}

fn example(request: &CaseRequest) -> Example {
    let plain = CaseRequest {
        // What an earlier answer gave is a secret here as any other.
        uses: Vec::new(),
        ..request.clone()
    };
    let request = masked(plain, &mut std::collections::BTreeSet::new());
    let is_plain =
        |(name, _): &(String, String)| !WHO.iter().any(|who| who.eq_ignore_ascii_case(name));
    Example {
        endpoint: request.endpoint,
        method: request.method,
        url: request.url,
        headers: request.headers.into_iter().filter(is_plain).collect(),
        body: request.body,
        status: request.status,
    }
}

impl Hub {
    /// Notes requests of a recording.
    pub(crate) fn note_examples(&mut self, requests: &[CaseRequest]) {
        if !self.examples.add(requests) {
            return;
        }
        let all: Vec<&Example> = self.examples.of_endpoint.values().flatten().collect();
        let path = self.campaign.path().join(EXAMPLES);
        let text = serde_json::to_vec_pretty(&all).unwrap_or_default();
        // Nothing that is judged rests on it.
        let _ = std::fs::write(path, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cohort_model::ThreadId;

    #[test]
    fn a_bounded_number_is_kept_without_secrets() {
        let request = |number: u32| CaseRequest {
            thread: ThreadId(0),
            iteration: 0,
            call: 0,
            after_us: 0,
            endpoint: "POST /login".to_owned(),
            method: "POST".to_owned(),
            url: "/login".to_owned(),
            headers: vec![("Cookie".to_owned(), "session=abc".to_owned())],
            body: format!("{{\"user\":\"u{number}\",\"password\":\"open sesame\"}}"),
            status: 200,
            took_us: 1,
            uses: Vec::new(),
            pieces: Vec::new(),
        };
        let mut examples = Examples::default();
        let many: Vec<CaseRequest> = (0..9).map(request).collect();
        assert!(examples.add(&many));
        assert!(!examples.add(&many));
        let of = &examples.of_endpoint["POST /login"];
        assert_eq!(of.len(), OF_ENDPOINT_MAX);
        assert!(of.iter().all(|one| one.headers.is_empty()));
        assert!(of.iter().all(|one| !one.body.contains("sesame")), "{of:?}");
    }
}
