//! A script's request in HTTP's terms, and the answer in the script's.

use std::net::SocketAddr;

use bytes::Bytes;
use cohort_scenario::{Response, Timings};
use http::header::{
    CONTENT_LENGTH, HOST, HeaderName, HeaderValue, LOCATION, TRANSFER_ENCODING, USER_AGENT,
};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Method, Uri, Version};
use http_body_util::Full;

use super::connection::Received;
use super::failure::Failure;
use super::{Going, Http, route};
use crate::protocol::HttpSettings;

/// Method, headers and body of what is to be sent.
pub(super) type Outgoing = ((Method, HeaderMap), Bytes);

/// What is to be sent, whatever the connection.
pub(super) fn outgoing(settings: &HttpSettings, going: Going<'_>) -> Result<Outgoing, Failure> {
    let request = going.request;
    let method = Method::from_bytes(request.method.as_bytes())
        .map_err(|_| Failure::refused(format!("invalid method {:?}", request.method)))?;
    let mut headers = HeaderMap::with_capacity(request.headers.len() + 3);
    for (name, value) in &request.headers {
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| Failure::refused(format!("invalid header field name {name:?}")))?;
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| Failure::refused(format!("invalid header field value for {name:?}")))?;
        // The length is the body's; two sources for it are how requests get smuggled.
        if header != CONTENT_LENGTH && header != TRANSFER_ENCODING {
            headers.append(header, value);
        }
    }
    if !headers.contains_key(USER_AGENT)
        && let Ok(value) = HeaderValue::from_str(&settings.user_agent)
    {
        headers.insert(USER_AGENT, value);
    }
    if request.body.is_empty() && [Method::POST, Method::PUT, Method::PATCH].contains(&method) {
        // Otherwise some servers wait for a body, or answer 411.
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Ok(((method, headers), Bytes::copy_from_slice(&request.body)))
}

/// The request for one connection: HTTP/2 has the host in its url, HTTP/1 in a header.
pub(super) fn complete(
    (method, headers): &(Method, HeaderMap),
    body: &Bytes,
    http: &Http,
    going: Going<'_>,
    host: &str,
) -> Result<http::Request<Full<Bytes>>, Failure> {
    let mut headers = headers.clone();
    let path = going.path.clone();
    let uri = match http {
        Http::One(_) => {
            if !headers.contains_key(HOST) {
                let value = HeaderValue::from_str(host)
                    .map_err(|_| Failure::refused(format!("invalid host {host:?}")))?;
                headers.insert(HOST, value);
            }
            Uri::from(path)
        }
        Http::Two(_) => {
            let set = headers.remove(HOST);
            let host = set
                .as_ref()
                .and_then(|set| set.to_str().ok())
                .unwrap_or(host);
            let authority = Authority::try_from(host)
                .map_err(|_| Failure::refused(format!("invalid host {host:?}")))?;
            let scheme = if going.address.tls {
                Scheme::HTTPS
            } else {
                Scheme::HTTP
            };
            Uri::builder()
                .scheme(scheme)
                .authority(authority)
                .path_and_query(path)
                .build()
                .map_err(|error| Failure::refused(format!("invalid url: {error}")))?
        }
    };
    let mut request = http::Request::new(Full::new(body.clone()));
    *request.method_mut() = method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// What came, for the script.
pub(super) fn response(
    received: Received,
    timings: Timings,
    peer: SocketAddr,
    going: Going<'_>,
) -> Response {
    let head = received.head;
    let mut headers = Vec::with_capacity(head.headers.len());
    for (name, value) in &head.headers {
        let mut value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if *name == LOCATION
            && let Some(script) = going.script_origin
        {
            value = as_the_script_knows_it(value, going, script);
        }
        headers.push((name.as_str().to_owned(), value));
    }
    Response {
        status: head.status.as_u16(),
        proto: match head.version {
            Version::HTTP_2 => "HTTP/2.0",
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        }
        .to_owned(),
        headers,
        body: received.body,
        timings,
        remote_ip: peer.ip().to_string(),
        remote_port: peer.port(),
    }
}

/// A server that names itself in a redirect names its instance; cookies belong to the script's host.
fn as_the_script_knows_it(value: String, going: Going<'_>, script: &str) -> String {
    match value.strip_prefix(&route::origin(going.address)) {
        Some(rest) if rest.is_empty() || rest.starts_with(['/', '?', '#']) => {
            format!("{script}{rest}")
        }
        _ => value,
    }
}
