//! Changes of requests, as the fuzzer has them, applied to those of scripts.

use cohort_fuzzer::Edit;
use cohort_scenario::Request;

/// A request as it is changed.
pub(super) fn edited(request: &Request, edits: &[Edit]) -> Request {
    let mut changed = plain(request);
    for edit in edits {
        edit.apply(&mut changed);
    }
    Request {
        method: changed.method,
        url: changed.url,
        headers: changed.headers,
        body: changed.body,
        ..request.clone()
    }
}

/// What of a request can be changed.
pub(super) fn plain(request: &Request) -> cohort_fuzzer::Request {
    cohort_fuzzer::Request {
        method: request.method.clone(),
        url: request.url.clone(),
        headers: request.headers.clone(),
        body: request.body.clone(),
    }
}
