//! One connection, and one exchange on it.
//!
//! An HTTP/1 connection has no task of its own: whoever exchanges polls it, so a request costs no
//! switch between tasks. While idle nobody reads from it, so before it is used again the socket is
//! asked whether it is still open. An HTTP/2 connection has a task, since exchanges share it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, response::Parts};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;

use super::failure::Failure;
use super::stream::{Idle, Stream, Traffic};
use crate::protocol::TransportError;
use cohort_scenario::error_code;

/// Largest head of a response, bytes.
const HEAD_BYTES_MAX: usize = 256 << 10;

type Outgoing = Request<Full<Bytes>>;

/// What came back.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) head: Parts,
    pub(super) body: Vec<u8>,
    pub(super) timed: Timed,
}

/// When the parts of an exchange ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timed {
    /// The request was written.
    pub(super) sent: Instant,
    /// The first byte of the response came.
    pub(super) first: Instant,
    /// The last byte came.
    pub(super) last: Instant,
}

/// What becomes of the body.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyUse {
    /// Bytes are kept, not only counted.
    pub(super) keep: bool,
    /// Longest body, bytes.
    pub(super) bytes_max: u64,
}

/// An exchange that failed.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) failure: Failure,
    /// Given back when not one byte of it was written, so that it may be sent over another connection.
    pub(super) unsent: Option<Box<Outgoing>>,
}

/// An HTTP/1 connection.
pub(super) struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Pin<Box<http1::Connection<TokioIo<Stream>, Full<Bytes>>>>,
    ended: bool,
    pub(super) traffic: Rc<Traffic>,
}

impl Http1 {
    pub(super) async fn begin(stream: Stream, traffic: Rc<Traffic>) -> Result<Http1, Failure> {
        let (sender, driver) = http1::Builder::new()
            .title_case_headers(true)
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Failure::exchanging(&error))?;
        Ok(Http1 {
            sender,
            driver: Box::pin(driver),
            ended: false,
            traffic,
        })
    }

    /// Whether it may be used for another exchange, as far as this side can know.
    pub(super) async fn is_open(&mut self) -> bool {
        if self.ended || self.traffic.look() == Idle::Closed {
            return false;
        }
        // Unasked bytes are for the driver to judge: TLS tickets are none of HTTP's business.
        poll_fn(|cx| {
            self.drive(cx);
            Poll::Ready(())
        })
        .await;
        !self.ended && self.sender.is_ready()
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.ended && self.driver.as_mut().poll(cx).is_ready() {
            // Its error, if any, is told to the exchange as well.
            self.ended = true;
        }
    }

    /// Polls `work` with the connection kept going.
    async fn with<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            self.drive(cx);
            work.as_mut().poll(cx)
        })
        .await
    }

    /// Sends and receives.
    pub(super) async fn exchange(
        &mut self,
        request: Outgoing,
        body: BodyUse,
    ) -> Result<Received, Broken> {
        let sent_before = self.traffic.sent.get();
        self.traffic.first_read.set(None);
        let began = Instant::now();
        let answer = self.sender.try_send_request(request);
        let response = match self.with(answer).await {
            Ok(response) => response,
            Err(mut error) => {
                let untouched = self.traffic.sent.get() == sent_before;
                self.ended = true;
                return Err(Broken {
                    failure: Failure::exchanging(error.error()),
                    unsent: error.take_message().filter(|_| untouched).map(Box::new),
                });
            }
        };
        let (head, incoming) = response.into_parts();
        let read = self.with(read_body(incoming, body)).await;
        let body = read.map_err(|failure| {
            self.ended = true;
            Broken {
                failure,
                unsent: None,
            }
        })?;
        let last = Instant::now();
        let first = self.traffic.first_read.get().unwrap_or(last);
        let sent = self.traffic.last_write.get().unwrap_or(began).min(first);
        // Lets the driver notice that the exchange is over.
        poll_fn(|cx| {
            self.drive(cx);
            Poll::Ready(())
        })
        .await;
        Ok(Received {
            head,
            body,
            timed: Timed { sent, first, last },
        })
    }
}

/// An HTTP/2 connection, shared by the exchanges of one thread.
#[derive(Clone)]
pub(super) struct Http2 {
    sender: http2::SendRequest<Full<Bytes>>,
    pub(super) traffic: Rc<Traffic>,
}

/// Runs hyper's tasks on this thread.
#[derive(Clone, Copy, Debug)]
struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(async move {
            task.await;
        });
    }
}

impl Http2 {
    pub(super) async fn begin(stream: Stream, traffic: Rc<Traffic>) -> Result<Http2, Failure> {
        let (sender, driver) = http2::Builder::new(Local)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Failure::exchanging(&error))?;
        tokio::task::spawn_local(async move {
            // Its error is told to each exchange.
            let _ = driver.await;
        });
        Ok(Http2 { sender, traffic })
    }

    pub(super) fn is_open(&self) -> bool {
        self.sender.is_ready() && !self.sender.is_closed()
    }

    pub(super) async fn exchange(
        &mut self,
        request: Outgoing,
        body: BodyUse,
    ) -> Result<Received, Broken> {
        let sent = Instant::now();
        let response = match self.sender.try_send_request(request).await {
            Ok(response) => response,
            Err(mut error) => {
                return Err(Broken {
                    failure: http2_failure(error.error()),
                    unsent: error.take_message().map(Box::new),
                });
            }
        };
        let first = Instant::now();
        let (head, incoming) = response.into_parts();
        let body = read_body(incoming, body).await.map_err(|failure| Broken {
            failure,
            unsent: None,
        })?;
        let last = Instant::now();
        Ok(Received {
            head,
            body,
            timed: Timed { sent, first, last },
        })
    }
}

fn http2_failure(error: &hyper::Error) -> Failure {
    let failure = Failure::exchanging(error);
    if failure.kind == TransportError::Protocol {
        return Failure {
            code: error_code::HTTP2,
            ..failure
        };
    }
    failure
}

async fn read_body(mut incoming: Incoming, body: BodyUse) -> Result<Vec<u8>, Failure> {
    let mut kept = Vec::new();
    if body.keep {
        let expected = incoming.size_hint().exact().unwrap_or(0);
        kept.reserve_exact(expected.min(1 << 20) as usize);
    }
    let mut bytes = 0;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx)).await {
        let frame = frame.map_err(|error| match Failure::exchanging(&error) {
            failure if failure.message == "EOF" => Failure {
                message: "unexpected EOF".to_owned(),
                ..failure
            },
            failure => failure,
        })?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        bytes += data.len() as u64;
        if bytes > body.bytes_max {
            return Err(Failure::new(
                TransportError::Body,
                error_code::GENERIC,
                format!(
                    "the response is larger than the {} bytes that are allowed",
                    body.bytes_max
                ),
            ));
        }
        if body.keep {
            kept.extend_from_slice(data);
        }
    }
    Ok(kept)
}
