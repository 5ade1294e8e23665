//! What browsers are shown and told.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_SECURITY_POLICY, HeaderValue, LOCATION, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;

use crate::answer::Refusal;
use crate::defects::Defect;
use crate::shop::Shop;

/// Around every call: browsers take an answer for what it says that it is, and run and frame nothing of it.
pub(crate) async fn headers(
    State(shop): State<Arc<Shop>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    if !shop.defects.on(Defect::MissingHeaders) {
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let policy = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

#[derive(Deserialize)]
pub(crate) struct Visitor {
    name: String,
}

/// A page that greets.
pub(crate) async fn welcome(
    State(shop): State<Arc<Shop>>,
    Query(visitor): Query<Visitor>,
) -> Html<String> {
    let name = match shop.defects.on(Defect::ReflectedInput) {
        true => visitor.name,
        false => escaped(&visitor.name),
    };
    Html(format!(
        "<!doctype html><title>Shop</title><p>Welcome, {name}!</p>"
    ))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[derive(Deserialize)]
pub(crate) struct Place {
    to: String,
}

/// Sends the visitor to another page of the shop.
pub(crate) async fn go(
    State(shop): State<Arc<Shop>>,
    Query(place): Query<Place>,
) -> Result<Response, Refusal> {
    let is_own = place.to.starts_with('/')
        && !place.to.starts_with("//")
        && !place.to.contains(['\\', '\r', '\n']);
    if !is_own && !shop.defects.on(Defect::OpenRedirect) {
        return Err(Refusal::Wrong("to is to be a page of the shop".to_owned()));
    }
    let location = HeaderValue::from_str(&place.to)
        .map_err(|_| Refusal::Wrong("to is no address".to_owned()))?;
    Ok((StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response())
}
