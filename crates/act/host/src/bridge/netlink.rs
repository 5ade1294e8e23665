//! As much of rtnetlink(7) as a bridge with instances on it needs: requests that are acknowledged,
//! and lists.
//!
//! ```text
//! | length u32 | kind u16 | flags u16 | sequence u32 | port u32 | header | attributes |
//!                       attribute: | length u16 | kind u16 | value | up to 3 bytes of nothing |
//! ```
//!
//! A socket speaks to the network namespace it was opened in, whoever uses it later. Blocking: the
//! kernel answers at once.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

const HEADER_BYTES: usize = 16;
const ATTRIBUTE_HEADER_BYTES: usize = 4;
/// The kernel gives lists in pieces of at most 32 KiB.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// `NLMSG_ERROR`, with number 0 an acknowledgement.
const ERROR: u16 = 2;
/// `NLMSG_DONE`, the end of a list.
const DONE: u16 = 3;
/// `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER` are no part of an attribute's kind.
const KIND_MASK: u16 = 0x3fff;

/// Flags of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish {
    /// Make it; there must be none yet.
    Create,
    /// Make it, or change the one that is there.
    CreateOrReplace,
    /// Change or remove what is there, or tell of one.
    Plain,
    /// Tell of all.
    List,
}

impl Wish {
    fn flags(self) -> u16 {
        /// `NLM_F_REQUEST`
        const REQUEST: u16 = 0x1;
        /// `NLM_F_ACK`
        const ACKNOWLEDGE: u16 = 0x4;
        REQUEST
            | match self {
                Self::Create => ACKNOWLEDGE | 0x400 | 0x200,
                Self::CreateOrReplace => ACKNOWLEDGE | 0x400 | 0x100,
                Self::Plain => ACKNOWLEDGE,
                Self::List => 0x300,
            }
    }
}

/// A request, or a part of one that is being nested.
#[derive(Debug)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// `header` is the fixed part that belongs to `kind`.
    pub(super) fn new(kind: u16, wish: Wish, header: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&wish.flags().to_ne_bytes());
        bytes.extend_from_slice(header);
        Self(bytes)
    }

    /// Makes a request to make a thing (`RTM_NEW...`) one to remove it.
    pub(super) fn make_removal(&mut self) {
        let kind = u16::from_ne_bytes([self.0[4], self.0[5]]) + 1;
        self.0[4..6].copy_from_slice(&kind.to_ne_bytes());
        self.0[6..8].copy_from_slice(&Wish::Plain.flags().to_ne_bytes());
    }

    pub(super) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        self.push(kind, |message| message.0.extend_from_slice(value));
        self
    }

    pub(super) fn with_number(self, kind: u16, value: u32) -> Self {
        self.with(kind, &value.to_ne_bytes())
    }

    pub(super) fn with_text(self, kind: u16, value: &str) -> Self {
        self.with(kind, &[value.as_bytes(), b"\0"].concat())
    }

    /// `header` comes before the attributes that `fill` adds.
    pub(super) fn with_nested(
        mut self,
        kind: u16,
        header: &[u8],
        fill: impl FnOnce(Message) -> Message,
    ) -> Self {
        self.push(kind, |message| {
            message.0.extend_from_slice(header);
            let inner = fill(Message(std::mem::take(&mut message.0)));
            *message = inner;
        });
        self
    }

    fn push(&mut self, kind: u16, fill: impl FnOnce(&mut Message)) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; ATTRIBUTE_HEADER_BYTES]);
        fill(self);
        let length = u16::try_from(self.0.len() - start).expect("our requests are short");
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

/// A socket to the kernel's network configuration.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// In the namespace of this process.
    pub(super) fn open() -> io::Result<Self> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        Ok(Self { fd, sequence: 0 })
    }

    /// In the namespace that process `pid` is in.
    pub(super) fn open_beside(pid: i32) -> io::Result<Self> {
        let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
        // A thread of its own: who enters a namespace does not come back.
        let opened = std::thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
            Self::open()
        });
        opened
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that entered it panicked")))
    }

    /// Sends a request and gives what is told in answer, headers cut off.
    pub(super) fn ask(&mut self, mut message: Message) -> io::Result<Vec<Vec<u8>>> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = u32::try_from(message.0.len()).expect("our requests are short");
        message.0[..4].copy_from_slice(&length.to_ne_bytes());
        message.0[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        send(self.fd.as_raw_fd(), &message.0, MsgFlags::empty())?;
        let mut told = Vec::new();
        let mut buffer = vec![0; ANSWER_BYTES_MAX];
        loop {
            let bytes = match recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(bytes) => bytes,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            for answer in answers(&buffer[..bytes]) {
                if answer.sequence != self.sequence {
                    continue;
                }
                match answer.kind {
                    ERROR => {
                        return match number(answer.body).map_or(0, u32::cast_signed) {
                            0 => Ok(told),
                            errno => Err(io::Error::from_raw_os_error(-errno)),
                        };
                    }
                    DONE => return Ok(told),
                    _ => told.push(answer.body.to_vec()),
                }
            }
        }
    }
}

struct Answer<'a> {
    kind: u16,
    sequence: u32,
    body: &'a [u8],
}

fn answers(mut bytes: &[u8]) -> impl Iterator<Item = Answer<'_>> {
    std::iter::from_fn(move || {
        let length = number(bytes)? as usize;
        let message = bytes.get(..length)?;
        let answer = Answer {
            kind: short(message.get(4..)?)?,
            sequence: number(message.get(8..)?)?,
            body: message.get(HEADER_BYTES..)?,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(answer)
    })
}

/// The attributes in `bytes`, as (kind, value).
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(short(bytes)?);
        let kind = short(bytes.get(2..)?)? & KIND_MASK;
        let value = bytes.get(ATTRIBUTE_HEADER_BYTES..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// Text up to its NUL.
pub(super) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&value[..end.unwrap_or(value.len())]).into_owned()
}

pub(super) fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.first_chunk()?))
}

fn short(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_nested_comes_back() {
        let message = Message::new(16, Wish::Create, &[7; 16])
            .with_text(3, "eth0")
            .with_nested(18, &[9; 4], |inner| inner.with_number(1, 5));
        let body = &message.0[HEADER_BYTES + 16..];
        let read: Vec<_> = attributes(body).collect();
        assert_eq!(read[0], (3, b"eth0\0".as_slice()));
        assert_eq!(text(read[0].1), "eth0");
        assert_eq!(read[1].0, 18);
        let inner: Vec<_> = attributes(&read[1].1[4..]).collect();
        assert_eq!(inner, [(1, 5_u32.to_ne_bytes().as_slice())]);
    }

    #[test]
    fn the_kernel_knows_the_loopback_device() {
        let links = super::super::links(&mut Socket::open().unwrap()).unwrap();
        assert!(links.iter().any(|link| link.name == "lo"), "{links:?}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            for answer in answers(&bytes) {
                let _ = attributes(answer.body).count();
            }
        }
    }
}
