//! The trivial server that drivers of load are measured against: one thread, HTTP/1.1 kept alive,
//! the same small answer to everything. It counts for itself, so that no contender's own count is
//! trusted: `GET /count` answers with the number of other requests so far.
//!
//! `peer-server PORT` (0: any that is free) prints `listening on 127.0.0.1:PORT`.

use std::cell::Cell;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ANSWER: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";

/// Longest head of a request, bytes; more ends the connection.
const HEAD_BYTES_MAX: usize = 16 << 10;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let port = std::env::args()
        .nth(1)
        .and_then(|port| port.parse().ok())
        .unwrap_or(0u16);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on {}", listener.local_addr()?);
    let served = Rc::new(Cell::new(0u64));
    let tasks = tokio::task::LocalSet::new();
    tasks
        .run_until(async move {
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let served = served.clone();
                // A connection that breaks is the driver's affair.
                tokio::task::spawn_local(async move { drop(serve(stream, &served).await) });
            }
        })
        .await
}

/// Answers requests without a body until the connection ends.
async fn serve(mut stream: TcpStream, served: &Cell<u64>) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    loop {
        while let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            if head.starts_with(b"GET /count ") {
                let count = served.get().to_string();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{count}",
                    count.len()
                );
                stream.write_all(answer.as_bytes()).await?;
            } else {
                served.set(served.get() + 1);
                stream.write_all(ANSWER.as_bytes()).await?;
            }
            head.drain(..end + 4);
        }
        if head.len() > HEAD_BYTES_MAX || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
}
