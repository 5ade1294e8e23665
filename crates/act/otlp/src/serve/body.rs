//! The body of a request: read, unframed, uncompressed, never beyond its bounds.

use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

/// Bytes of a request as it is sent. OpenTelemetry's own collector takes as much.
pub(super) const BODY_MAX: usize = 4 << 20;
/// Bytes of a request when it is uncompressed.
const UNCOMPRESSED_MAX: usize = 8 << 20;
/// A body has to arrive within this time.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Flag and length before each message of gRPC.
const FRAME_HEAD: usize = 5;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Deflate,
}

impl Compression {
    /// By the value of `content-encoding` or `grpc-encoding`.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name.trim() {
            "" | "identity" => Some(Self::None),
            "gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }
}

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the request has more than {BODY_MAX} bytes")]
    TooLarge,
    #[error("the request has more than {UNCOMPRESSED_MAX} bytes when it is uncompressed")]
    TooLargeUncompressed,
    #[error("the request did not arrive within {} seconds", BODY_WITHIN.as_secs())]
    TooSlow,
    #[error("the request broke off: {0}")]
    Broken(Box<dyn std::error::Error + Send + Sync>),
    #[error("the request is not what its compression says: {0}")]
    Compression(#[source] std::io::Error),
    #[error("the request is no single message of gRPC: {0}")]
    Frame(&'static str),
}

pub(super) async fn read(body: Incoming) -> Result<Bytes, BodyError> {
    let whole = Limited::new(body, BODY_MAX).collect();
    match tokio::time::timeout(BODY_WITHIN, whole).await {
        Err(_) => Err(BodyError::TooSlow),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Ok(Err(error)) => Err(BodyError::Broken(error)),
    }
}

/// The message in a frame of gRPC, and whether it is compressed.
pub(super) fn unframed(body: &Bytes) -> Result<(bool, Bytes), BodyError> {
    let Some((head, message)) = body.split_at_checked(FRAME_HEAD) else {
        return Err(BodyError::Frame("it is shorter than its head"));
    };
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    match (head[0], message.len() == length) {
        (0 | 1, true) => Ok((head[0] == 1, body.slice(FRAME_HEAD..))),
        (0 | 1, false) => Err(BodyError::Frame("its length is not what its head says")),
        _ => Err(BodyError::Frame("it begins with an unknown flag")),
    }
}

pub(super) fn uncompressed(body: Bytes, compression: Compression) -> Result<Bytes, BodyError> {
    match compression {
        Compression::None => Ok(body),
        Compression::Gzip => inflated(flate2::read::MultiGzDecoder::new(body.as_ref())),
        Compression::Deflate => inflated(flate2::read::ZlibDecoder::new(body.as_ref())),
    }
}

fn inflated(source: impl Read) -> Result<Bytes, BodyError> {
    let mut inflated = Vec::new();
    let mut bounded = source.take(UNCOMPRESSED_MAX as u64 + 1);
    bounded
        .read_to_end(&mut inflated)
        .map_err(BodyError::Compression)?;
    if inflated.len() > UNCOMPRESSED_MAX {
        return Err(BodyError::TooLargeUncompressed);
    }
    Ok(inflated.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_unframed_and_uncompressed_or_refused(
            body in prop::collection::vec(any::<u8>(), 0..100)
        ) {
            let body = Bytes::from(body);
            if let Ok((_, message)) = unframed(&body) {
                prop_assert_eq!(message.len(), body.len() - FRAME_HEAD);
            }
            for compression in [Compression::Gzip, Compression::Deflate] {
                let _ = uncompressed(body.clone(), compression);
            }
        }
    }
}
