//! The access log: one line for each call that was answered, appended at once, so that others can
//! prove from it what was asked how often.
//!
//! `METHOD PATH?QUERY STATUS MICROSECONDS REQUEST-ID`, the last from the header `X-Request-Id`, or `-`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::log;
use crate::shop::Shop;

/// An open access log, or none.
pub(crate) struct AccessLog(Option<File>);

impl AccessLog {
    pub(crate) fn open(path: Option<&Path>) -> std::io::Result<AccessLog> {
        let file = path.map(|path| OpenOptions::new().create(true).append(true).open(path));
        file.transpose().map(AccessLog)
    }

    fn append(&self, line: &str) {
        let Some(mut file) = self.0.as_ref() else {
            return;
        };
        // One write of a whole line: lines of calls at the same time do not mix (O_APPEND).
        if let Err(error) = file.write_all(line.as_bytes()) {
            log::error(&format!("access log: {error}"));
        }
    }
}

/// Around every call.
pub(crate) async fn note(State(shop): State<Arc<Shop>>, request: Request, next: Next) -> Response {
    if shop.access.0.is_none() {
        return next.run(request).await;
    }
    let begin = Instant::now();
    let id = request
        .headers()
        .get("x-request-id")
        .and_then(|id| id.to_str().ok());
    let asked = format!("{} {}", request.method(), request.uri());
    let id = id.unwrap_or("-").to_string();
    let response = next.run(request).await;
    let (status, took_us) = (response.status().as_u16(), begin.elapsed().as_micros());
    shop.access
        .append(&format!("{asked} {status} {took_us} {id}\n"));
    response
}
