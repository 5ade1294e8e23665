//! One request: which signal in which protocol, then its body to the store.
//! Protocol: <https://opentelemetry.io/docs/specs/otlp/>.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use hyper::body::{Body, Incoming};

use super::Shared;
use super::answer::{Answer, Protocol, Refusal, accepted, refused};
use super::body::{self, BODY_MAX, BodyError, Compression};
use crate::wire::{self, Encoding, Signal};

/// A request waits at most this long to be read.
const TURN_WITHIN: Duration = Duration::from_secs(5);

/// Why a request was not taken.
struct No {
    refusal: Refusal,
    why: String,
}

impl No {
    fn new(refusal: Refusal, why: impl Into<String>) -> Self {
        Self {
            refusal,
            why: why.into(),
        }
    }
}

pub(super) async fn handle(
    request: Request<Incoming>,
    peer: IpAddr,
    shared: Arc<Shared>,
) -> Result<Answer, Infallible> {
    let protocol = protocol(request.headers());
    let path = request.uri().path().to_owned();
    Ok(match take(request, protocol, peer, &shared).await {
        Ok(()) => accepted(protocol),
        Err(no) => {
            note(&shared, peer, &path, &no);
            refused(protocol, no.refusal, &no.why)
        }
    })
}

fn note(shared: &Shared, peer: IpAddr, path: &str, no: &No) {
    let mut store = shared.store();
    match no.refusal {
        Refusal::Unavailable => store.account.busy += 1,
        Refusal::TooLarge => store.account.too_large += 1,
        _ => store.account.malformed += 1,
    }
    if no.refusal == Refusal::Unavailable {
        return;
    }
    let instance = store.at(peer);
    let path = crate::attributes::clip(path, 80);
    let sentence = format!("{peer} sent to {path} what is not OTLP: {}", no.why);
    store.complaints.note(peer, instance, sentence);
}

async fn take(
    request: Request<Incoming>,
    protocol: Protocol,
    peer: IpAddr,
    shared: &Shared,
) -> Result<(), No> {
    let signal = signal(request.uri().path(), protocol)?;
    if request.method() != Method::POST {
        let why = format!("{} instead of POST", request.method());
        return Err(No::new(Refusal::WrongMethod, why));
    }
    let compression = compression(request.headers(), protocol)?;
    if request.body().size_hint().lower() > BODY_MAX as u64 {
        return Err(body_refused(&BodyError::TooLarge));
    }
    let turn = tokio::time::timeout(TURN_WITHIN, shared.bodies.acquire()).await;
    let Ok(Ok(_turn)) = turn else {
        let why = "too many requests at once; try again";
        return Err(No::new(Refusal::Unavailable, why));
    };
    let read = body::read(request.into_body()).await;
    let body = read
        .and_then(|body| plain(body, protocol, compression))
        .map_err(|error| body_refused(&error))?;
    let encoding = match protocol {
        Protocol::Grpc => Encoding::Protobuf,
        Protocol::Http(encoding) => encoding,
    };
    let mut store = shared.store();
    wire::walk(signal, encoding, &body, &mut store.sink(peer))
        .map_err(|error| No::new(Refusal::InvalidArgument, error.to_string()))?;
    store.account.requests += 1;
    Ok(())
}

fn body_refused(error: &BodyError) -> No {
    let refusal = match error {
        BodyError::TooLarge | BodyError::TooLargeUncompressed => Refusal::TooLarge,
        BodyError::TooSlow => Refusal::Unavailable,
        BodyError::Broken(_) | BodyError::Compression(_) | BodyError::Frame(_) => {
            Refusal::InvalidArgument
        }
    };
    No::new(refusal, error.to_string())
}

/// The message, whatever it was wrapped in.
fn plain(body: Bytes, protocol: Protocol, compression: Compression) -> Result<Bytes, BodyError> {
    if protocol != Protocol::Grpc {
        return body::uncompressed(body, compression);
    }
    match body::unframed(&body)? {
        (false, message) => Ok(message),
        (true, message) => body::uncompressed(message, compression),
    }
}

/// By content type; whoever names none is answered in JSON, which a person can read.
fn protocol(headers: &HeaderMap) -> Protocol {
    let content_type = value(headers, header::CONTENT_TYPE.as_str());
    match content_type.split(';').next().unwrap_or_default().trim() {
        "application/x-protobuf" => Protocol::Http(Encoding::Protobuf),
        kind if kind.starts_with("application/grpc") => Protocol::Grpc,
        _ => Protocol::Http(Encoding::Json),
    }
}

fn signal(path: &str, protocol: Protocol) -> Result<Signal, No> {
    match (path, protocol) {
        ("/v1/traces", Protocol::Http(_))
        | ("/opentelemetry.proto.collector.trace.v1.TraceService/Export", Protocol::Grpc) => {
            Ok(Signal::Traces)
        }
        ("/v1/metrics", Protocol::Http(_))
        | ("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", Protocol::Grpc) => {
            Ok(Signal::Metrics)
        }
        ("/v1/logs", Protocol::Http(_))
        | ("/opentelemetry.proto.collector.logs.v1.LogsService/Export", Protocol::Grpc) => {
            Ok(Signal::Logs)
        }
        _ => {
            let why = "nothing here; traces, metrics and logs are taken at /v1/traces, /v1/metrics, /v1/logs and by gRPC";
            Err(No::new(Refusal::NotFound, why))
        }
    }
}

fn compression(headers: &HeaderMap, protocol: Protocol) -> Result<Compression, No> {
    let content_type = value(headers, header::CONTENT_TYPE.as_str());
    let json = content_type.trim_start().starts_with("application/json");
    if protocol == Protocol::Http(Encoding::Json) && !json {
        let why = format!(
            "content-type {content_type:?}; expected application/x-protobuf, application/json or application/grpc"
        );
        return Err(No::new(Refusal::WrongType, why));
    }
    let name = match protocol {
        Protocol::Grpc => value(headers, "grpc-encoding"),
        Protocol::Http(_) => value(headers, header::CONTENT_ENCODING.as_str()),
    };
    Compression::named(name).ok_or_else(|| {
        let why = format!("compression {name:?}; expected gzip, deflate or none");
        No::new(Refusal::Unimplemented, why)
    })
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}
