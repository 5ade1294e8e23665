//! A receiver on a real port, fed by OpenTelemetry's own client over gRPC, and by bytes over HTTP.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use cohort_model::{At, InstanceId};
use cohort_otlp::{InstanceWindow, MetricKind, Receiver, SpanKind};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

/// As an SDK makes it from `OTEL_RESOURCE_ATTRIBUTES`.
fn resource(receiver: &Receiver, instance: u32) -> Option<Resource> {
    let environment = receiver.environment(InstanceId(instance), "c", Some("team=shop"));
    let (_, attributes) = environment
        .iter()
        .find(|(name, _)| name == "OTEL_RESOURCE_ATTRIBUTES")?;
    let attributes = attributes.split(',').filter_map(|one| one.split_once('='));
    Some(Resource {
        attributes: attributes.map(|(k, v)| attribute(k, v)).collect(),
        ..Resource::default()
    })
}

/// A request for `/items/7` that spends 60 of its 80 ms in a query, and fails.
fn traces(resource: Option<Resource>) -> ExportTraceServiceRequest {
    let ms = |ms: u64| ms * 1_000_000;
    let query = Span {
        trace_id: vec![7; 16],
        span_id: vec![2; 8],
        parent_span_id: vec![1; 8],
        name: "SELECT items".to_owned(),
        kind: span::SpanKind::Client as i32,
        start_time_unix_nano: ms(10),
        end_time_unix_nano: ms(70),
        ..Span::default()
    };
    let exception = span::Event {
        name: "exception".to_owned(),
        attributes: vec![
            attribute("exception.type", "ValueError"),
            attribute("exception.message", "no item 7"),
            attribute("exception.stacktrace", "Traceback ..."),
        ],
        ..span::Event::default()
    };
    let request = Span {
        trace_id: vec![7; 16],
        span_id: vec![1; 8],
        name: "GET".to_owned(),
        kind: span::SpanKind::Server as i32,
        start_time_unix_nano: ms(0),
        end_time_unix_nano: ms(80),
        attributes: vec![
            attribute("http.request.method", "GET"),
            attribute("http.route", "/items/<int:item>"),
        ],
        events: vec![exception],
        status: Some(Status {
            code: 2,
            ..Status::default()
        }),
        ..Span::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource,
            scope_spans: vec![ScopeSpans {
                spans: vec![query, request],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

fn metrics(resource: Option<Resource>) -> ExportMetricsServiceRequest {
    let point = NumberDataPoint {
        attributes: vec![attribute("state", "used")],
        value: Some(number_data_point::Value::AsInt(4)),
        ..NumberDataPoint::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource,
            scope_metrics: vec![ScopeMetrics {
                metrics: vec![Metric {
                    name: "db.client.connection.count".to_owned(),
                    unit: "{connection}".to_owned(),
                    data: Some(metric::Data::Gauge(Gauge {
                        data_points: vec![point],
                    })),
                    ..Metric::default()
                }],
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
}

fn logs(resource: Option<Resource>) -> ExportLogsServiceRequest {
    let record = |severity: i32, body: &str| LogRecord {
        severity_number: severity,
        body: attribute("", body).value,
        ..LogRecord::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource,
            scope_logs: vec![ScopeLogs {
                log_records: vec![record(9, "fine"), record(13, "odd"), record(17, "bad")],
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    }
}

/// What all three requests together come to.
fn check(window: &InstanceWindow, instance: u32) {
    assert_eq!((window.instance, window.at), (InstanceId(instance), At(5)));
    let [request, query] = window.operations.as_slice() else {
        panic!("{window:?}")
    };
    assert_eq!(request.operation, "GET /items/{}");
    assert_eq!((request.calls, request.errors), (1, 1));
    assert_eq!((request.max_us, request.p99_us), (80_000, 80_000));
    assert_eq!(request.own_us, 20_000);
    assert_eq!(request.paths[0].path, "SELECT items");
    assert_eq!(request.paths[0].own_us, 60_000);
    assert_eq!(
        (query.operation.as_str(), query.kind),
        ("SELECT items", SpanKind::Client)
    );
    let [error, exception] = window.exceptions.as_slice() else {
        panic!("{window:?}")
    };
    assert_eq!(
        (error.kind.as_str(), error.message.as_str()),
        ("ERROR", "bad")
    );
    assert_eq!(exception.kind, "ValueError");
    assert_eq!(exception.operation, "GET /items/{}");
    assert_eq!(exception.stacktrace, "Traceback ...");
    assert_eq!((window.logs.warnings, window.logs.errors), (1, 1));
    let [point] = window.metrics.as_slice() else {
        panic!("{window:?}")
    };
    assert_eq!((point.kind, point.value), (MetricKind::Gauge, 4.0));
    assert_eq!(point.attributes, "state=used");
    assert!(!window.dropped.any());
}

/// One request over HTTP/1.1: status and body of the answer.
async fn post(to: SocketAddr, path: &str, headers: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The answer may come, and the connection end, before all is written.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer);
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let body = at.map(|at| answer[at + 4..].to_vec());
    (status.unwrap_or(0), body.unwrap_or_default())
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

async fn receiver(instances: u32) -> Receiver {
    let receiver = Receiver::start(LOOPBACK).await.unwrap();
    for instance in 0..instances {
        receiver.watch(InstanceId(instance), None);
    }
    receiver
}

const PROTOBUF: &str = "content-type: application/x-protobuf";
const JSON: &str = "content-type: application/json; charset=utf-8";

#[tokio::test]
async fn a_grpc_client_is_understood_with_and_without_compression() {
    let receiver = receiver(3).await;
    let address = format!("http://{}", receiver.address());
    for instance in [1, 2] {
        let resource = || resource(&receiver, instance);
        let channel = Channel::from_shared(address.clone()).unwrap();
        let channel = channel.connect().await.unwrap();
        let mut sender = TraceServiceClient::new(channel.clone());
        if instance == 2 {
            sender = sender.send_compressed(CompressionEncoding::Gzip);
        }
        sender.export(traces(resource())).await.unwrap();
        let mut sender = MetricsServiceClient::new(channel.clone());
        sender.export(metrics(resource())).await.unwrap();
        let mut sender = LogsServiceClient::new(channel);
        sender.export(logs(resource())).await.unwrap();
    }
    let windows = receiver.take(At(5));
    assert_eq!(windows.len(), 2);
    check(&windows[0], 1);
    check(&windows[1], 2);
    assert!(receiver.take(At(6)).is_empty());
    let account = receiver.account();
    assert_eq!((account.requests, account.spans), (6, 4));
    assert_eq!((account.metrics, account.log_records), (2, 6));
}

#[tokio::test]
async fn http_is_understood_in_both_encodings_with_and_without_compression() {
    let receiver = receiver(1).await;
    let to = receiver.address();
    let resource = || resource(&receiver, 0);
    let protobuf = [
        traces(resource()).encode_to_vec(),
        metrics(resource()).encode_to_vec(),
        logs(resource()).encode_to_vec(),
    ];
    let json = [
        serde_json::to_vec(&traces(resource())).unwrap(),
        serde_json::to_vec(&metrics(resource())).unwrap(),
        serde_json::to_vec(&logs(resource())).unwrap(),
    ];
    for (content_type, bodies, answer) in [(PROTOBUF, &protobuf, ""), (JSON, &json, "{}")] {
        for compressed in [false, true] {
            for (path, body) in ["/v1/traces", "/v1/metrics", "/v1/logs"].iter().zip(bodies) {
                let got = if compressed {
                    let headers = format!("{content_type}\r\ncontent-encoding: gzip");
                    post(to, path, &headers, &gzip(body)).await
                } else {
                    post(to, path, content_type, body).await
                };
                assert_eq!(got, (200, answer.as_bytes().to_vec()), "{path}");
            }
            let windows = receiver.take(At(5));
            assert_eq!(windows.len(), 1);
            check(&windows[0], 0);
        }
    }
    assert!(receiver.take_complaints().is_empty());
}

#[tokio::test]
async fn without_our_attribute_the_address_tells_and_else_nobody() {
    let receiver = receiver(2).await;
    let to = receiver.address();
    let unknown = Some(Resource {
        attributes: vec![attribute("cohort.instance", "77")],
        ..Resource::default()
    });
    for resource in [None, unknown] {
        let body = traces(resource).encode_to_vec();
        assert_eq!(post(to, "/v1/traces", PROTOBUF, &body).await.0, 200);
    }
    assert!(receiver.take(At(1)).is_empty());
    assert_eq!(receiver.account().unplaced, 4);

    receiver.watch(InstanceId(1), Some(LOOPBACK));
    let body = traces(None).encode_to_vec();
    assert_eq!(post(to, "/v1/traces", PROTOBUF, &body).await.0, 200);
    assert_eq!(receiver.take(At(2))[0].instance, InstanceId(1));

    receiver.unwatch(InstanceId(1));
    assert_eq!(post(to, "/v1/traces", PROTOBUF, &body).await.0, 200);
    assert!(receiver.take(At(3)).is_empty());
}

#[tokio::test]
async fn what_is_not_otlp_is_refused_counted_and_told_once() {
    let receiver = receiver(1).await;
    receiver.watch(InstanceId(0), Some(LOOPBACK));
    let to = receiver.address();
    let bomb = gzip(&vec![0; 16 << 20]);
    assert!(bomb.len() < 1 << 17);
    let gzipped = |kind: &str| format!("{kind}\r\ncontent-encoding: gzip");
    let large = vec![0; 5 << 20];
    let cases: [(u16, &str, String, &[u8]); 10] = [
        (
            400,
            "/v1/traces",
            PROTOBUF.into(),
            b"\x0a\xff\xff\xff\xff\x0f",
        ),
        (400, "/v1/traces", JSON.into(), b"{\"resourceSpans\": 3}"),
        (400, "/v1/logs", JSON.into(), b"\xff\xfe"),
        (400, "/v1/metrics", gzipped(PROTOBUF), b"not gzip"),
        (413, "/v1/traces", gzipped(PROTOBUF), &bomb),
        (413, "/v1/traces", PROTOBUF.into(), &large),
        (415, "/v1/traces", "content-type: text/plain".into(), b"x"),
        (
            415,
            "/v1/traces",
            format!("{JSON}\r\ncontent-encoding: br"),
            b"x",
        ),
        (404, "/v1/profiles", PROTOBUF.into(), b""),
        (400, "/v1/traces", PROTOBUF.into(), b"\x08\x01"),
    ];
    for (status, path, headers, body) in &cases {
        let (got, answer) = post(to, path, headers, body).await;
        assert_eq!(got, *status, "{path} {headers}");
        assert!(!answer.is_empty(), "{path} {headers}");
    }
    let account = receiver.account();
    assert_eq!((account.malformed, account.too_large), (8, 2));
    let complaints = receiver.take_complaints();
    let [complaint] = complaints.as_slice() else {
        panic!("{complaints:?}")
    };
    assert_eq!(complaint.instance, Some(InstanceId(0)));
    assert!(complaint.sentence.contains("/v1/traces"), "{complaint:?}");
    assert_eq!(receiver.complaint_counts(), [(LOOPBACK, 10)]);
    // It goes on.
    let body = traces(None).encode_to_vec();
    assert_eq!(post(to, "/v1/traces", PROTOBUF, &body).await.0, 200);
    assert_eq!(receiver.take(At(1)).len(), 1);
    assert!(receiver.take_complaints().is_empty());
}

#[tokio::test]
async fn a_grpc_client_is_told_what_is_wrong() {
    let receiver = receiver(1).await;
    let address = format!("http://{}", receiver.address());
    let channel = Channel::from_shared(address).unwrap();
    let channel = channel.connect().await.unwrap();
    let mut small = traces(None);
    small.resource_spans[0].scope_spans[0].spans[0].name = "x".repeat(600 << 10);
    let mut sender = TraceServiceClient::new(channel.clone());
    // Too large an item is left out; the rest is taken.
    sender.export(small).await.unwrap();
    let account = receiver.account();
    assert_eq!((account.too_large, account.spans), (1, 1));

    let large = "x".repeat(5 << 20);
    let mut huge = logs(None);
    huge.resource_logs[0].schema_url = large;
    let status = LogsServiceClient::new(channel)
        .export(huge)
        .await
        .unwrap_err();
    assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status:?}");
    assert!(status.message().contains("4194304 bytes"), "{status:?}");
}

/// Status and message of the answer to one frame of gRPC.
async fn call(to: SocketAddr, frame: Vec<u8>) -> (String, String) {
    let stream = TokioIo::new(TcpStream::connect(to).await.unwrap());
    let connected = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await;
    let (mut sender, connection) = connected.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::post(format!(
        "http://{to}/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    ))
    .header("content-type", "application/grpc+proto")
    .header("grpc-encoding", "gzip")
    .body(Full::new(Bytes::from(frame)))
    .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let header = |name: &str| {
        let value = answer.headers().get(name);
        value.map_or("", |value| value.to_str().unwrap()).to_owned()
    };
    let told = (header("grpc-status"), header("grpc-message"));
    connection.abort();
    told
}

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[flag], length.to_be_bytes().as_slice(), message].concat()
}

#[tokio::test]
async fn grpc_that_is_not_otlp_is_an_invalid_argument() {
    let receiver = receiver(1).await;
    let to = receiver.address();
    let logs = logs(None).encode_to_vec();
    let cases = [
        (framed(0, &logs), "3", "Span.span_id"),
        (framed(0, b"hello"), "3", "type that does not exist"),
        (framed(1, b"hello"), "3", "compression"),
        (framed(7, b""), "3", "flag"),
        (b"\0".to_vec(), "3", "shorter"),
        (framed(1, &gzip(&vec![0; 16 << 20])), "8", "uncompressed"),
    ];
    for (frame, status, message) in cases {
        let told = call(to, frame).await;
        assert_eq!(told.0, status, "{told:?}");
        assert!(told.1.contains(message), "{message}: {told:?}");
    }
    assert_eq!(receiver.account().malformed, 5);
    assert_eq!(receiver.complaint_counts(), [(LOOPBACK, 6)]);
}

#[tokio::test]
async fn bytes_that_are_not_even_http_are_told_and_a_dropped_receiver_is_gone() {
    let receiver = receiver(1).await;
    let to = receiver.address();
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream
        .write_all(b"\x16\x03\x01 tls hello\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let complaints = receiver.take_complaints();
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert!(
        complaints[0].sentence.contains("not HTTP"),
        "{complaints:?}"
    );

    let mut open = TcpStream::connect(to).await.unwrap();
    drop(receiver);
    assert_eq!(open.read(&mut [0; 8]).await.unwrap_or(0), 0);
    assert!(TcpStream::connect(to).await.is_err());
}

#[tokio::test]
async fn every_address_of_the_host_is_refused() {
    for address in ["0.0.0.0", "::"] {
        let error = Receiver::start(address.parse().unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("every address"), "{error}");
    }
    let error = Receiver::start("192.0.2.1".parse().unwrap())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("192.0.2.1"), "{error}");
}
