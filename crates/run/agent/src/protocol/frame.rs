//! Frames: bounded, versioned, and safe to read from anyone.

use std::io;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Version of everything in [`crate::protocol`]. Hub and agent are one binary, so another version
/// means a stray process, and is refused.
pub const VERSION: u16 = 3;

/// The largest frame that is written or read, bytes.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// Bytes taken from the socket at once.
const READ_BYTES: usize = 64 << 10;

/// What failed between hub and agent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket.
    #[error("exchange a message with the other side: {0}")]
    Socket(#[from] io::Error),
    /// A length beyond the bound.
    #[error(
        "read a message of {bytes} bytes: at most {FRAME_BYTES_MAX} are allowed; the other side is not a Cohort process of this version"
    )]
    TooLarge {
        /// The length that was announced.
        bytes: usize,
    },
    /// The other side ended in the middle of a frame.
    #[error("read a message: the other side ended after {got} of {expected} bytes")]
    Truncated {
        /// Bytes that came.
        got: usize,
        /// Bytes that were announced.
        expected: usize,
    },
    /// The bytes are no message.
    #[error("understand a message of {bytes} bytes: {source}")]
    Decode {
        /// Length of the frame.
        bytes: usize,
        /// Why.
        source: postcard::Error,
    },
    /// A message that cannot be written.
    #[error("write a message: {0}")]
    Encode(postcard::Error),
    /// The other side speaks another version.
    #[error("talk to a side that speaks version {theirs}: this one speaks {VERSION}")]
    Version {
        /// What it announced.
        theirs: u16,
    },
}

/// The first message in each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`] of the sender.
    pub version: u16,
    /// Process id of the sender.
    pub process: u32,
}

impl Hello {
    /// Of this process.
    #[must_use]
    pub fn own() -> Hello {
        Hello {
            version: VERSION,
            process: std::process::id(),
        }
    }

    /// Errors when the other side speaks another version.
    pub fn check(self) -> Result<Hello, Error> {
        if self.version == VERSION {
            Ok(self)
        } else {
            Err(Error::Version {
                theirs: self.version,
            })
        }
    }
}

/// One message as the bytes of a frame, length included.
///
/// # Errors
///
/// When it is larger than [`FRAME_BYTES_MAX`].
pub fn encode<M: Serialize>(message: &M, into: &mut Vec<u8>) -> Result<(), Error> {
    let body = postcard::to_allocvec(message).map_err(Error::Encode)?;
    if body.len() > FRAME_BYTES_MAX {
        return Err(Error::TooLarge { bytes: body.len() });
    }
    into.extend_from_slice(&(body.len() as u32).to_le_bytes());
    into.extend_from_slice(&body);
    Ok(())
}

/// The first message of `bytes` and what it took, `None` while it is incomplete.
///
/// # Errors
///
/// When the bytes are no message of this protocol.
pub fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<Option<(M, usize)>, Error> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(Error::TooLarge { bytes: length });
    }
    let Some(body) = rest.get(..length) else {
        return Ok(None);
    };
    let message = postcard::from_bytes(body).map_err(|source| Error::Decode {
        bytes: length,
        source,
    })?;
    Ok(Some((message, length + 4)))
}

/// Reads messages of one stream.
#[derive(Debug)]
pub struct Reader<S> {
    stream: S,
    buffer: Vec<u8>,
    taken: usize,
}

impl<S: AsyncRead + Unpin> Reader<S> {
    /// Over the reading half of a socket.
    pub fn new(stream: S) -> Reader<S> {
        Reader {
            stream,
            buffer: Vec::with_capacity(READ_BYTES),
            taken: 0,
        }
    }

    /// The next message; `None` when the other side has ended between two. Safe to cancel.
    ///
    /// # Errors
    ///
    /// Of the socket, or when what came is no message.
    pub async fn next<M: DeserializeOwned>(&mut self) -> Result<Option<M>, Error> {
        loop {
            if let Some((message, used)) = decode(&self.buffer[self.taken..])? {
                self.taken += used;
                if self.taken == self.buffer.len() {
                    self.buffer.clear();
                    self.buffer.shrink_to(READ_BYTES);
                    self.taken = 0;
                }
                return Ok(Some(message));
            }
            self.buffer.drain(..self.taken);
            self.taken = 0;
            self.buffer.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return self.ended();
            }
        }
    }

    fn ended<M>(&self) -> Result<Option<M>, Error> {
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let expected = match self.buffer.first_chunk::<4>() {
            Some(length) => u32::from_le_bytes(*length) as usize + 4,
            None => 4,
        };
        Err(Error::Truncated {
            got: self.buffer.len(),
            expected,
        })
    }
}

/// Writes messages to one stream.
#[derive(Debug)]
pub struct Writer<S> {
    stream: S,
    buffer: Vec<u8>,
    /// What of it is sent.
    sent: usize,
}

impl<S: AsyncWrite + Unpin> Writer<S> {
    /// Over the writing half of a socket.
    pub fn new(stream: S) -> Writer<S> {
        Writer {
            stream,
            buffer: Vec::new(),
            sent: 0,
        }
    }

    /// Adds a message to what [`Writer::flush`] sends.
    ///
    /// # Errors
    ///
    /// When it is too large.
    pub fn add<M: Serialize>(&mut self, message: &M) -> Result<(), Error> {
        encode(message, &mut self.buffer)
    }

    /// Sends what was added. When this is cancelled the next call goes on where it was.
    ///
    /// # Errors
    ///
    /// Of the socket.
    pub async fn flush(&mut self) -> Result<(), Error> {
        while self.sent < self.buffer.len() {
            let sent = self.stream.write(&self.buffer[self.sent..]).await?;
            if sent == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
            self.sent += sent;
        }
        self.sent = 0;
        self.buffer.clear();
        self.buffer.shrink_to(READ_BYTES);
        Ok(())
    }

    /// Sends one message.
    ///
    /// # Errors
    ///
    /// Of the socket, or when it is too large.
    pub async fn send<M: Serialize>(&mut self, message: &M) -> Result<(), Error> {
        self.add(message)?;
        self.flush().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{FromAgent, ToAgent};

    #[test]
    fn a_message_comes_back_whole_and_only_when_it_is_complete() {
        let mut bytes = Vec::new();
        encode(
            &FromAgent::DroppedIterations {
                scenario: "buy".to_owned(),
                count: 7,
            },
            &mut bytes,
        )
        .unwrap();
        for cut in 0..bytes.len() {
            assert!(decode::<FromAgent>(&bytes[..cut]).unwrap().is_none());
        }
        let (message, used) = decode::<FromAgent>(&bytes).unwrap().unwrap();
        assert_eq!(used, bytes.len());
        assert_eq!(
            message,
            FromAgent::DroppedIterations {
                scenario: "buy".to_owned(),
                count: 7
            }
        );
    }

    #[test]
    fn bytes_that_are_no_message_are_an_error() {
        let mut seed = 1_u64;
        for length in 0..2_000_u32 {
            let length = length % 97;
            let mut bytes = length.to_le_bytes().to_vec();
            for _ in 0..length {
                seed = seed
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(99);
                bytes.push((seed >> 56) as u8);
            }
            // Random bytes may happen to be a message; what matters is that none panics.
            let _ = decode::<ToAgent>(&bytes);
            let _ = decode::<FromAgent>(&bytes);
        }
        let huge = u32::MAX.to_le_bytes();
        assert!(matches!(
            decode::<ToAgent>(&huge),
            Err(Error::TooLarge { .. })
        ));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_end_in_the_middle_of_a_message_is_told_from_an_end_between_two() {
        let mut bytes = Vec::new();
        encode(&ToAgent::Finish, &mut bytes).unwrap();
        let mut reader = Reader::new(bytes.as_slice());
        assert_eq!(
            reader.next::<ToAgent>().await.unwrap(),
            Some(ToAgent::Finish)
        );
        assert_eq!(reader.next::<ToAgent>().await.unwrap(), None);
        let mut reader = Reader::new(&bytes[..bytes.len() - 1]);
        assert!(matches!(
            reader.next::<ToAgent>().await,
            Err(Error::Truncated { .. })
        ));
    }
}
