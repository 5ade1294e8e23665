//! A connection's bytes: TCP, counted and timed, with TLS over it or not.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// What went over one TCP connection so far.
#[derive(Debug)]
pub(super) struct Traffic {
    socket: RawFd,
    /// Bytes written, cumulative.
    pub(super) sent: Cell<u64>,
    /// Bytes read, cumulative.
    pub(super) received: Cell<u64>,
    /// When bytes were written last.
    pub(super) last_write: Cell<Option<Instant>>,
    /// When bytes were first read since this was set to `None`.
    pub(super) first_read: Cell<Option<Instant>>,
}

/// What an idle connection's socket says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Idle {
    /// Open, and nothing came.
    Quiet,
    /// Bytes came that nobody asked for.
    Speaking,
    /// The peer has closed or reset it.
    Closed,
}

impl Traffic {
    /// Asks the socket itself; what the event loop knows may be old.
    pub(super) fn look(&self) -> Idle {
        let mut byte = [0];
        match recv(
            self.socket,
            &mut byte,
            MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT,
        ) {
            Ok(0) => Idle::Closed,
            Ok(_) => Idle::Speaking,
            Err(Errno::EAGAIN | Errno::EINTR) => Idle::Quiet,
            Err(_) => Idle::Closed,
        }
    }
}

/// A TCP connection whose bytes are counted.
#[derive(Debug)]
pub(super) struct Counted {
    tcp: TcpStream,
    traffic: Rc<Traffic>,
}

impl Counted {
    pub(super) fn new(tcp: TcpStream) -> (Counted, Rc<Traffic>) {
        let traffic = Rc::new(Traffic {
            socket: tcp.as_raw_fd(),
            sent: Cell::new(0),
            received: Cell::new(0),
            last_write: Cell::new(None),
            first_read: Cell::new(None),
        });
        let counted = Counted {
            tcp,
            traffic: Rc::clone(&traffic),
        };
        (counted, traffic)
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = result {
            self.traffic
                .sent
                .set(self.traffic.sent.get() + *bytes as u64);
            self.traffic.last_write.set(Some(Instant::now()));
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.tcp).poll_read(cx, buffer);
        let bytes = buffer.filled().len() - before;
        if bytes > 0 {
            let traffic = &self.traffic;
            traffic.received.set(traffic.received.get() + bytes as u64);
            if traffic.first_read.get().is_none() {
                traffic.first_read.set(Some(Instant::now()));
            }
        }
        result
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        self.wrote(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.tcp).poll_write_vectored(cx, parts);
        self.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// What HTTP is spoken over.
#[derive(Debug)]
pub(super) enum Stream {
    /// TCP.
    Plain(Counted),
    /// TLS.
    Tls(Box<TlsStream<Counted>>),
}

macro_rules! either {
    ($this:expr, $stream:ident => $call:expr) => {
        match $this.get_mut() {
            Stream::Plain($stream) => $call,
            Stream::Tls(stream) => {
                let $stream = stream.as_mut();
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
