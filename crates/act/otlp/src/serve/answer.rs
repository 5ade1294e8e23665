//! Answers, in the words of the transport and encoding that was asked in.

use std::convert::Infallible;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

use crate::wire::Encoding;

/// An answer on its way.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// How was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Grpc,
    Http(Encoding),
}

/// Codes of gRPC, and their status in HTTP as the specification of OTLP has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    InvalidArgument,
    TooLarge,
    Unimplemented,
    NotFound,
    WrongMethod,
    WrongType,
    Unavailable,
}

impl Refusal {
    fn grpc(self) -> u8 {
        match self {
            Self::InvalidArgument => 3,
            Self::TooLarge => 8,
            Self::Unimplemented | Self::NotFound | Self::WrongMethod | Self::WrongType => 12,
            Self::Unavailable => 14,
        }
    }

    fn http(self) -> StatusCode {
        match self {
            Self::InvalidArgument => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unimplemented | Self::WrongType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// All was taken: an empty `Export...ServiceResponse`.
pub(super) fn accepted(protocol: Protocol) -> Answer {
    match protocol {
        Protocol::Grpc => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            // A frame without compression, of no bytes.
            let body = Full::new(Bytes::from_static(&[0; 5]))
                .with_trailers(std::future::ready(Some(Ok(trailers))));
            answer(StatusCode::OK, "application/grpc", body.boxed_unsync())
        }
        Protocol::Http(Encoding::Protobuf) => {
            let body = Full::new(Bytes::new()).boxed_unsync();
            answer(StatusCode::OK, "application/x-protobuf", body)
        }
        Protocol::Http(Encoding::Json) => {
            let body = Full::new(Bytes::from_static(b"{}")).boxed_unsync();
            answer(StatusCode::OK, "application/json", body)
        }
    }
}

/// Nothing, or not all, was taken, and why.
pub(super) fn refused(protocol: Protocol, refusal: Refusal, why: &str) -> Answer {
    let code = refusal.grpc();
    match protocol {
        Protocol::Grpc => {
            let body = Full::new(Bytes::new()).boxed_unsync();
            let mut answer = answer(StatusCode::OK, "application/grpc", body);
            let headers = answer.headers_mut();
            headers.insert("grpc-status", HeaderValue::from(u16::from(code)));
            if let Ok(message) = HeaderValue::from_str(&percent_encoded(why)) {
                headers.insert("grpc-message", message);
            }
            let taken = HeaderValue::from_static("identity,gzip,deflate");
            headers.insert("grpc-accept-encoding", taken);
            answer
        }
        Protocol::Http(Encoding::Protobuf) => {
            // google.rpc.Status: code (1), message (2).
            let why = &why.as_bytes()[..why.len().min(0x3fff)];
            let mut status = BytesMut::new();
            status.put_slice(&[0x08, code, 0x12]);
            status.put_slice(&[(why.len() as u8) | 0x80, (why.len() >> 7) as u8]);
            status.put_slice(why);
            let body = Full::new(status.freeze()).boxed_unsync();
            answer(refusal.http(), "application/x-protobuf", body)
        }
        Protocol::Http(Encoding::Json) => {
            let status = serde_json::json!({ "code": code, "message": why }).to_string();
            let body = Full::new(Bytes::from(status)).boxed_unsync();
            answer(refusal.http(), "application/json", body)
        }
    }
}

fn answer(
    status: StatusCode,
    content_type: &'static str,
    body: UnsyncBoxBody<Bytes, Infallible>,
) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    answer
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, content_type);
    answer
}

/// As messages of gRPC are written in a header.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
