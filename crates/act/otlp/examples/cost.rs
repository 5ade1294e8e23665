//! What receiving costs: batches of spans as an SDK sends them, over one connection, one by one.
//!
//! `cargo run --release -p cohort-otlp --example cost -- [BATCHES]`

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Instant;

use cohort_model::{At, InstanceId};
use cohort_otlp::Receiver;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, span::SpanKind};
use prost::Message;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Spans that an SDK sends at once by default.
const SPANS: u64 = 512;

/// Requests of four spans each: one of them answered, three below.
fn batch(number: u64) -> Vec<u8> {
    let spans = (0..SPANS).map(|at| {
        let id = number * SPANS + at + 1;
        let request = id - at % 4 + 3;
        let name = ["SELECT items", "SELECT prices", "render", "GET /items/7"];
        Span {
            trace_id: [request.to_be_bytes(), request.to_le_bytes()].concat(),
            span_id: id.to_be_bytes().to_vec(),
            parent_span_id: if at % 4 == 3 {
                Vec::new()
            } else {
                request.to_be_bytes().to_vec()
            },
            name: name[at as usize % 4].to_owned(),
            kind: if at % 4 == 3 {
                SpanKind::Server
            } else {
                SpanKind::Client
            } as i32,
            start_time_unix_nano: 1,
            end_time_unix_nano: id * 1_000,
            ..Span::default()
        }
    });
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: spans.collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    request.encode_to_vec()
}

fn send(to: SocketAddr, batches: &[Vec<u8>]) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    let mut answer = [0; 1024];
    for body in batches {
        let length = body.len();
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), body].concat())?;
        let read = stream.read(&mut answer)?;
        if !answer[..read].starts_with(b"HTTP/1.1 200") {
            return Err(String::from_utf8_lossy(&answer[..read]).into_owned().into());
        }
    }
    Ok(())
}

/// CPU time of this thread, nanoseconds.
fn cpu_ns() -> Result<f64, Failure> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let batches: u64 = std::env::args()
        .nth(1)
        .map_or(Ok(200), |text| text.parse())?;
    let all: Vec<Vec<u8>> = (0..batches).map(batch).collect();
    let receiver = Receiver::start(IpAddr::V4(Ipv4Addr::LOCALHOST)).await?;
    receiver.watch(InstanceId(0), Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    let to = receiver.address();
    let (begin, cpu) = (Instant::now(), cpu_ns()?);
    let sender = tokio::task::spawn_blocking(move || send(to, &all));
    // In windows of as many spans as a busy instance sends in a second.
    let mut windows = 0;
    while !sender.is_finished() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        for window in receiver.take(At(0)) {
            windows += 1;
            if window.dropped.any() {
                println!("{:?}", window.dropped);
            }
        }
    }
    sender.await??;
    let spans = (batches * SPANS) as f64;
    println!("spans            {spans}, in {windows} windows");
    println!(
        "received         {:.0} spans/s",
        spans / begin.elapsed().as_secs_f64()
    );
    println!(
        "CPU              {:.2} us a span",
        (cpu_ns()? - cpu) / spans / 1000.0
    );
    Ok(())
}
