//! From the bytes of a request to single spans, metrics and log records.
//!
//! All three kinds of requests have one shape: resources (1), in each a resource (1) and scopes (2),
//! in each scope items (2). Only one item is ever decoded at a time: a message of two bytes can
//! become a struct of hundreds, so decoding whole requests would let a SUT use any amount of memory.

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::value::RawValue;

/// A single item larger than this is not looked at, bytes.
pub(crate) const ITEM_MAX: usize = 512 << 10;

/// Resources, scopes and items of one request that are looked at. SDKs send 512 items at a time.
pub(crate) const PARTS_MAX: usize = 20_000;

/// What a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Traces,
    Metrics,
    Logs,
}

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Protobuf,
    Json,
}

/// One of what a request carries many of.
#[derive(Debug)]
pub(crate) enum Item {
    Span(Span),
    Metric(Metric),
    Log(LogRecord),
}

/// Who takes the items of a request, in the order in which they stand.
pub(crate) trait Sink {
    /// The following items are of this resource.
    fn resource(&mut self, resource: &Resource);
    fn item(&mut self, item: Item);
    /// An item above [`ITEM_MAX`], or all above [`PARTS_MAX`], was left out.
    fn oversized(&mut self);
}

/// The bytes are not an OTLP request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotOtlp {
    #[error("byte {at}: {what}")]
    Protobuf { at: usize, what: &'static str },
    #[error("byte {at}: {source}")]
    Message {
        at: usize,
        source: prost::DecodeError,
    },
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Hands every item of a request to the sink; those before an error were handed over already.
pub(crate) fn walk(
    signal: Signal,
    encoding: Encoding,
    body: &[u8],
    sink: &mut dyn Sink,
) -> Result<(), NotOtlp> {
    match encoding {
        Encoding::Protobuf => walk_protobuf(signal, body, sink),
        Encoding::Json => walk_json(signal, body, sink),
    }
}

fn walk_protobuf(signal: Signal, body: &[u8], sink: &mut dyn Sink) -> Result<(), NotOtlp> {
    let mut any = body.is_empty();
    let mut parts = 0;
    for resource in messages(body, 0, 1) {
        let (at, resource) = resource?;
        any = true;
        if parts >= PARTS_MAX {
            sink.oversized();
            break;
        }
        parts += 1;
        sink.resource(&match messages(resource, at, 1).next() {
            Some(own) => own.and_then(|(at, own)| decode(own, at))?,
            None => Resource::default(),
        });
        for scope in messages(resource, at, 2) {
            let (at, scope) = scope?;
            parts += 1;
            for item in messages(scope, at, 2) {
                let (at, item) = item?;
                parts += 1;
                if parts > PARTS_MAX {
                    sink.oversized();
                    return Ok(());
                }
                if item.len() > ITEM_MAX {
                    sink.oversized();
                    continue;
                }
                sink.item(match signal {
                    Signal::Traces => Item::Span(decode(item, at)?),
                    Signal::Metrics => Item::Metric(decode(item, at)?),
                    Signal::Logs => Item::Log(decode(item, at)?),
                });
            }
        }
    }
    if any {
        return Ok(());
    }
    Err(NotOtlp::Protobuf {
        at: 0,
        what: "no resource in it",
    })
}

fn decode<M: Message + Default>(bytes: &[u8], at: usize) -> Result<M, NotOtlp> {
    M::decode(bytes).map_err(|source| NotOtlp::Message { at, source })
}

/// The messages under one field number, with their places in the request; `start` is that of
/// `bytes`. Ends after an error.
fn messages(bytes: &[u8], start: usize, wanted: u64) -> Messages<'_> {
    Messages {
        rest: bytes,
        at: start,
        wanted,
    }
}

struct Messages<'a> {
    rest: &'a [u8],
    at: usize,
    wanted: u64,
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<(usize, &'a [u8]), NotOtlp>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            match self.field() {
                Ok(None) => {}
                Ok(Some(found)) => return Some(Ok(found)),
                Err(what) => {
                    self.rest = &[];
                    return Some(Err(NotOtlp::Protobuf { at: self.at, what }));
                }
            }
        }
        None
    }
}

impl<'a> Messages<'a> {
    /// The next field, if it is a message that is wanted.
    /// Format: <https://protobuf.dev/programming-guides/encoding/>.
    fn field(&mut self) -> Result<Option<(usize, &'a [u8])>, &'static str> {
        let mut rest = self.rest;
        let key = varint(&mut rest).ok_or("no field begins here")?;
        let (number, kind) = (key >> 3, key & 7);
        let length = match kind {
            0 => varint(&mut rest).map(|_| 0),
            1 => Some(8),
            2 => varint(&mut rest),
            5 => Some(4),
            _ => return Err("a field of a type that does not exist"),
        };
        let (value, after) = length
            .and_then(|length| usize::try_from(length).ok())
            .and_then(|length| rest.split_at_checked(length))
            .ok_or("a field longer than what it is in")?;
        let wanted = number == self.wanted;
        if number == 0 {
            return Err("a field without a number");
        }
        if wanted && kind != 2 {
            return Err("a number instead of a message");
        }
        let place = self.at + self.rest.len() - rest.len();
        self.at = place + value.len();
        self.rest = after;
        Ok(wanted.then_some((place, value)))
    }
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..10 {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f).checked_shl(place * 7)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Any of the three requests: a request of one kind has no list of another.
#[derive(serde::Deserialize)]
struct JsonRequest<'a> {
    #[serde(
        borrow,
        alias = "resourceSpans",
        alias = "resourceMetrics",
        alias = "resourceLogs"
    )]
    resources: Option<Vec<&'a RawValue>>,
}

#[derive(serde::Deserialize)]
struct JsonResource<'a> {
    resource: Option<Resource>,
    #[serde(
        default,
        borrow,
        alias = "scopeSpans",
        alias = "scopeMetrics",
        alias = "scopeLogs"
    )]
    scopes: Vec<JsonScope<'a>>,
}

#[derive(serde::Deserialize)]
struct JsonScope<'a> {
    #[serde(
        default,
        borrow,
        alias = "spans",
        alias = "metrics",
        alias = "logRecords"
    )]
    items: Vec<&'a RawValue>,
}

fn walk_json(signal: Signal, body: &[u8], sink: &mut dyn Sink) -> Result<(), NotOtlp> {
    let request: JsonRequest<'_> = serde_json::from_slice(body)?;
    let Some(resources) = request.resources else {
        let empty: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body)?;
        if empty.is_empty() {
            return Ok(());
        }
        let wrong = "expected resourceSpans, resourceMetrics or resourceLogs";
        return Err(NotOtlp::Json(serde::de::Error::custom(wrong)));
    };
    let mut parts = 0;
    for text in resources {
        parts += 1;
        if parts > PARTS_MAX {
            sink.oversized();
            return Ok(());
        }
        let resource: JsonResource<'_> = serde_json::from_str(text.get())?;
        sink.resource(&resource.resource.unwrap_or_default());
        for text in resource.scopes.iter().flat_map(|scope| &scope.items) {
            let text = text.get();
            parts += 1;
            if parts > PARTS_MAX {
                sink.oversized();
                return Ok(());
            }
            if text.len() > ITEM_MAX {
                sink.oversized();
                continue;
            }
            sink.item(match signal {
                Signal::Traces => Item::Span(serde_json::from_str(text)?),
                Signal::Metrics => Item::Metric(serde_json::from_str(text)?),
                Signal::Logs => Item::Log(serde_json::from_str(text)?),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
    use proptest::prelude::*;

    #[derive(Default)]
    struct Seen {
        resources: usize,
        names: Vec<String>,
        oversized: usize,
    }

    impl Sink for Seen {
        fn resource(&mut self, _: &Resource) {
            self.resources += 1;
        }
        fn item(&mut self, item: Item) {
            self.names.push(match item {
                Item::Span(span) => span.name,
                Item::Metric(metric) => metric.name,
                Item::Log(record) => record.severity_text,
            });
        }
        fn oversized(&mut self) {
            self.oversized += 1;
        }
    }

    fn request() -> ExportTraceServiceRequest {
        let named = |name: &str| Span {
            name: name.to_owned(),
            ..Span::default()
        };
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource::default()),
                scope_spans: vec![ScopeSpans {
                    spans: vec![named("a"), named(&"x".repeat(ITEM_MAX)), named("b")],
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }],
        }
    }

    #[test]
    fn both_encodings_give_the_same_items_and_leave_out_what_is_too_large() {
        let json = serde_json::to_vec(&request()).unwrap();
        let bytes = request().encode_to_vec();
        for (encoding, body) in [(Encoding::Protobuf, bytes), (Encoding::Json, json)] {
            let mut seen = Seen::default();
            walk(Signal::Traces, encoding, &body, &mut seen).unwrap();
            assert_eq!(
                (seen.resources, seen.names, seen.oversized),
                (1, vec!["a".to_owned(), "b".to_owned()], 1)
            );
        }
    }

    #[test]
    fn no_more_is_looked_at_than_a_request_may_hold() {
        let empty_spans = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                scope_spans: vec![ScopeSpans {
                    spans: vec![Span::default(); PARTS_MAX + 9],
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }],
        };
        let empty_resources = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans::default(); PARTS_MAX + 9],
        };
        for (request, resources, items) in [
            (empty_spans, 1, PARTS_MAX - 2),
            (empty_resources, PARTS_MAX, 0),
        ] {
            let mut seen = Seen::default();
            let body = request.encode_to_vec();
            walk(Signal::Traces, Encoding::Protobuf, &body, &mut seen).unwrap();
            assert_eq!((seen.resources, seen.names.len()), (resources, items));
            assert_eq!(seen.oversized, 1);
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let wrong = |encoding, body: &[u8]| {
            walk(Signal::Traces, encoding, body, &mut Seen::default())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            wrong(Encoding::Protobuf, b"hello, world"),
            "byte 2: a field of a type that does not exist"
        );
        assert_eq!(
            wrong(Encoding::Protobuf, &[0x0a, 0x7f]),
            "byte 0: a field longer than what it is in"
        );
        assert!(wrong(Encoding::Json, b"{\"a\": 1}").contains("resourceSpans"));
        assert!(wrong(Encoding::Json, b"{\"resourceSpans\": [").contains("line 1 column"));
        let half = request().encode_to_vec();
        assert!(wrong(Encoding::Protobuf, &half[..half.len() / 2]).contains("longer than"));
    }

    #[test]
    fn a_request_with_nothing_in_it_is_fine() {
        let mut seen = Seen::default();
        walk(Signal::Logs, Encoding::Protobuf, b"", &mut seen).unwrap();
        walk(Signal::Logs, Encoding::Json, b"{}", &mut seen).unwrap();
        assert_eq!(seen.resources, 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_items_or_an_error(body in prop::collection::vec(any::<u8>(), 0..300)) {
            for signal in [Signal::Traces, Signal::Metrics, Signal::Logs] {
                for encoding in [Encoding::Protobuf, Encoding::Json] {
                    let _ = walk(signal, encoding, &body, &mut Seen::default());
                }
            }
        }

        #[test]
        fn a_request_with_some_bytes_changed_is_items_or_an_error(
            changes in prop::collection::vec((0_usize..60, any::<u8>()), 1..8)
        ) {
            let mut small = request();
            small.resource_spans[0].scope_spans[0].spans.remove(1);
            let bytes = small.encode_to_vec();
            let json = serde_json::to_vec(&small).unwrap();
            for (encoding, mut body) in [(Encoding::Protobuf, bytes), (Encoding::Json, json)] {
                for (at, byte) in &changes {
                    let at = at % body.len();
                    body[at] = *byte;
                }
                let _ = walk(Signal::Traces, encoding, &body, &mut Seen::default());
            }
        }
    }
}
