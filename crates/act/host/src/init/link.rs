//! The init's end of the socket: whole messages in, whole messages out, never waiting for the hub.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use super::protocol::{self, Decoder, FromInit, ToInit};

/// Bytes read from the hub at once.
const READ_BYTES: usize = 16 << 10;

/// Memory that stays reserved for what is to be sent, bytes.
const OUTGOING_BYTES_KEPT: usize = 16 << 10;

/// Connection to the hub. Once it is lost it stays lost, and what is sent goes nowhere.
#[derive(Debug)]
pub(super) struct Link {
    stream: UnixStream,
    decoder: Decoder,
    outgoing: Vec<u8>,
    is_lost: bool,
}

impl Link {
    pub(super) fn new(stream: UnixStream) -> io::Result<Link> {
        stream.set_nonblocking(true)?;
        Ok(Link {
            stream,
            decoder: Decoder::default(),
            outgoing: Vec::new(),
            is_lost: false,
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// The hub is gone, or speaks nonsense, which comes to the same.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    pub(super) fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Takes what is there to be read, once.
    pub(super) fn receive(&mut self) {
        let mut piece = [0; READ_BYTES];
        match self.stream.read(&mut piece) {
            Ok(0) => self.is_lost = true,
            Ok(bytes) => self.decoder.push(&piece[..bytes]),
            Err(error) if is_momentary(&error) => {}
            Err(_) => self.is_lost = true,
        }
    }

    /// The next whole message.
    pub(super) fn next(&mut self) -> Option<ToInit> {
        match self.decoder.pop() {
            Ok(message) => message,
            Err(_) => {
                self.is_lost = true;
                None
            }
        }
    }

    /// Sends, or keeps what the socket does not take now for [`Link::flush`].
    pub(super) fn send(&mut self, message: &FromInit) {
        let frame: Result<_, protocol::Error> = protocol::encode(message);
        self.outgoing
            .extend(frame.expect("reports are cut to fit a frame"));
        self.flush();
    }

    pub(super) fn flush(&mut self) {
        while !self.outgoing.is_empty() && !self.is_lost {
            match self.stream.write(&self.outgoing) {
                Ok(bytes) => drop(self.outgoing.drain(..bytes)),
                Err(error) if is_momentary(&error) => return,
                Err(_) => self.is_lost = true,
            }
        }
        self.outgoing.clear();
        self.outgoing.shrink_to(OUTGOING_BYTES_KEPT);
    }
}

fn is_momentary(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
