//! What the hub and the init of an instance say to each other, and how it lies on the wire.
//!
//! ```text
//! +----------------+----------------------+
//! | length, u32 LE | message, postcard    |   length counts the message alone
//! +----------------+----------------------+
//! ```
//!
//! No input and output here: [`encode`] makes bytes, [`Decoder`] takes them in any pieces. Whatever
//! arrives, the decoder gives messages or an error; it never panics, and it never reserves memory
//! for what a length merely promises.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use cohort_model::{Isolation, Usage};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Longest message, in bytes, length not counted.
pub const FRAME_BYTES_MAX: usize = 2 * OUTPUT_BYTES_MAX as usize + (4 << 20);

/// Most that is kept of one output stream, in bytes. [`Setup::output_bytes_max`] is cut to this.
pub const OUTPUT_BYTES_MAX: u64 = 16 << 20;

const LENGTH_BYTES: usize = 4;

/// A decoder that is empty gives back buffers larger than this.
const BUFFER_BYTES_KEPT: usize = 64 << 10;

/// An order to the init.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToInit {
    /// Always the first.
    Setup(Setup),
    /// Run a program as a thread.
    Start(Start),
    /// Kill a thread. Not known (any more): nothing happens.
    Kill {
        /// Which.
        thread: u32,
        /// Milliseconds between SIGTERM to its process group and SIGKILL to all of it; at 0 there is
        /// no SIGTERM.
        grace_ms: u32,
    },
    /// The thread's processes live in another cgroup now; that one is swept when it ends.
    Moved {
        /// Which.
        thread: u32,
        /// The `cgroup.procs` of the other cgroup.
        #[serde(with = "path")]
        procs_file: PathBuf,
        /// Processes in there that are not the thread's (the init that lives there).
        spare: Vec<i32>,
    },
    /// Kill everything, report it, and end.
    Shutdown,
    /// Run a program as a thread whose output goes where it is read as it comes.
    Serve(Serve),
    /// As [`ToInit::Kill`], with a signal of the sender's choice before SIGKILL.
    Stop {
        /// Which.
        thread: u32,
        /// Number of the signal that its process group gets first.
        signal: i32,
        /// Milliseconds between that and SIGKILL to all of it.
        grace_ms: u32,
    },
}

/// A program to run that goes on for long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serve {
    /// What, and how.
    pub start: Start,
    /// Its standard output: a FIFO that somebody reads already.
    #[serde(with = "path")]
    pub stdout: PathBuf,
    /// Its standard error, likewise.
    #[serde(with = "path")]
    pub stderr: PathBuf,
}

/// How an instance is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// Number of the instance, for messages.
    pub instance: u32,
    /// The init enters a cgroup by writing `0` into each of these.
    #[serde(with = "paths")]
    pub procs_files: Vec<PathBuf>,
    /// Where the process ids of the instance are read. None: what the init started is found by
    /// descent.
    #[serde(serialize_with = "paths::serialize", deserialize_with = "paths::first")]
    pub own_procs_file: Option<PathBuf>,
    /// The instance's scratch directory; lies over `/tmp` when the mount table is private.
    #[serde(with = "path")]
    pub scratch: PathBuf,
    /// What must stay visible although it lies below `/tmp`: working directory, programs, sockets.
    #[serde(with = "paths")]
    pub visible: Vec<PathBuf>,
    /// Which namespaces are private.
    pub isolation: Isolation,
    /// A process whose network it is to share.
    pub network_of: Option<i32>,
    /// What holds for every process of the instance.
    pub limits: Limits,
    /// Most that is kept of each output stream, in bytes: half from its head, half from its tail.
    pub output_bytes_max: u64,
}

/// Limits that need no control groups and no privileges: each process inherits them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// CPUs that it may run on; empty: those of its parent.
    pub cpus: Vec<u32>,
    /// Open files (`RLIMIT_NOFILE`, soft). None: as its parent.
    pub open_files: Option<u64>,
    /// Tasks of this user (`RLIMIT_NPROC`, soft), which bounds a fork bomb. None: as its parent.
    pub tasks: Option<u64>,
}

/// A program to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The thread it is. Unique among those that have not ended.
    pub thread: u32,
    /// Absolute path, or a name that is looked up along the `PATH` in `env`.
    pub program: OsString,
    /// Its arguments, its own name not included.
    pub args: Vec<OsString>,
    /// Its complete environment.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory, absolute.
    #[serde(with = "path")]
    pub cwd: PathBuf,
    /// How much it gives way to other processes, 0 to 19 (nice(2)), on top of what its init does.
    pub nice: u8,
}

/// A report of the init.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromInit {
    /// The instance can run threads.
    Ready {
        /// What could not be had, one sentence each.
        missing: Vec<String>,
    },
    /// The instance is not as it was asked to be; the init ends.
    SetupFailed {
        /// Why, and what to do.
        message: String,
    },
    /// A thread runs.
    Started {
        /// Which.
        thread: u32,
        /// Its first process, also its process group, as numbered in the init's own namespace.
        pid: i32,
    },
    /// A thread could not be started.
    StartFailed {
        /// Which.
        thread: u32,
        /// Why.
        message: String,
    },
    /// A thread ended, and all it started is gone.
    Ended(Ended),
}

/// How a thread ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Which.
    pub thread: u32,
    /// Exit code, when it exited.
    pub exit_code: Option<i32>,
    /// Signal, when one ended it.
    pub signal: Option<i32>,
    /// What it used, with the children it waited for (`wait4`).
    pub usage: Usage,
    /// What it wrote to standard output; where too much, head and tail with a line between.
    #[serde(with = "bytes")]
    pub stdout: Vec<u8>,
    /// What it wrote to standard error, likewise.
    #[serde(with = "bytes")]
    pub stderr: Vec<u8>,
    /// Bytes of both streams that were not kept.
    pub dropped_bytes: u64,
    /// Processes that still ran when it ended by itself, and were killed.
    pub left_behind: u32,
}

/// What can be wrong with a frame.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More than [`FRAME_BYTES_MAX`].
    #[error(
        "handle a message of {bytes} bytes between hub and init: at most {FRAME_BYTES_MAX} are allowed; pass fewer arguments or variables"
    )]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not a message.
    #[error("read a message between hub and init: it is malformed; both must be of one version")]
    Malformed {
        /// What postcard says.
        #[source]
        source: postcard::Error,
    },
    /// A message, and then more.
    #[error(
        "read a message between hub and init: {bytes} bytes follow it within its frame; both must be of one version"
    )]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

/// The frame of a message.
///
/// # Errors
/// [`Error::TooLong`] beyond [`FRAME_BYTES_MAX`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, Error> {
    let mut frame = postcard::to_extend(message, vec![0; LENGTH_BYTES])
        .map_err(|source| Error::Malformed { source })?;
    let bytes = frame.len() - LENGTH_BYTES;
    match u32::try_from(bytes) {
        Ok(length) if bytes <= FRAME_BYTES_MAX => {
            frame[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
            Ok(frame)
        }
        _ => Err(Error::TooLong { bytes }),
    }
}

/// Takes bytes in any pieces and gives messages. After an error it gives only that error.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    start: usize,
}

impl Decoder {
    /// Adds what was received.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message, or none until more is pushed.
    ///
    /// # Errors
    /// A frame that is too long or holds no message of this type.
    pub fn pop<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        let Some((length, rest)) = self.bytes[self.start..].split_first_chunk::<LENGTH_BYTES>()
        else {
            return Ok(None);
        };
        let bytes = u32::from_le_bytes(*length) as usize;
        if bytes > FRAME_BYTES_MAX {
            return Err(Error::TooLong { bytes });
        }
        let Some(frame) = rest.get(..bytes) else {
            return Ok(None);
        };
        let (message, trailing) =
            postcard::take_from_bytes(frame).map_err(|source| Error::Malformed { source })?;
        if !trailing.is_empty() {
            return Err(Error::Trailing {
                bytes: trailing.len(),
            });
        }
        self.consume(LENGTH_BYTES + bytes);
        Ok(Some(message))
    }

    /// Moves what is left to the front only once it is the smaller part, so that many small frames
    /// in one push cost linear time.
    fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(BUFFER_BYTES_KEPT);
            self.start = 0;
        } else if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

/// A path as its bytes: serde's own form refuses those that are not UTF-8.
mod path {
    use super::{Deserialize, OsString, PathBuf, Serialize};

    pub(super) fn serialize<S: serde::Serializer>(
        path: &std::path::Path,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        path.as_os_str().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<PathBuf, D::Error> {
        OsString::deserialize(deserializer).map(PathBuf::from)
    }
}

/// Any number of paths, as their bytes.
mod paths {
    use super::{Deserialize, OsStr, OsString, PathBuf};

    pub(super) fn serialize<'a, P, S: serde::Serializer>(
        paths: &'a P,
        serializer: S,
    ) -> Result<S::Ok, S::Error>
    where
        &'a P: IntoIterator<Item = &'a PathBuf>,
    {
        let names: Vec<&OsStr> = paths.into_iter().map(|path| path.as_os_str()).collect();
        serializer.collect_seq(names)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<PathBuf>, D::Error> {
        let names = Vec::<OsString>::deserialize(deserializer)?;
        Ok(names.into_iter().map(PathBuf::from).collect())
    }

    pub(super) fn first<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<PathBuf>, D::Error> {
        Ok(deserialize(deserializer)?.into_iter().next())
    }
}

/// Output in one piece instead of byte by byte.
mod bytes {
    pub(super) fn serialize<S: serde::Serializer>(
        bytes: &[u8],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl serde::de::Visitor<'_> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use proptest::prelude::*;

    use super::*;

    fn os_string() -> impl Strategy<Value = OsString> {
        prop::collection::vec(any::<u8>(), 0..20).prop_map(OsString::from_vec)
    }

    fn path() -> impl Strategy<Value = PathBuf> {
        os_string().prop_map(PathBuf::from)
    }

    fn order() -> impl Strategy<Value = ToInit> {
        let setup = (
            prop::collection::vec(path(), 0..3),
            prop::option::of(path()),
            path(),
        );
        let pair = (os_string(), os_string());
        let start = (
            any::<u32>(),
            os_string(),
            prop::collection::vec(pair, 0..3),
            path(),
        );
        prop_oneof![
            setup.prop_map(|(procs_files, own_procs_file, scratch)| {
                let visible = procs_files.clone();
                let some = Setup {
                    procs_files,
                    own_procs_file,
                    scratch,
                    visible,
                    ..Setup::default()
                };
                ToInit::Setup(some)
            }),
            start.prop_map(|(thread, program, env, cwd)| {
                ToInit::Start(Start {
                    thread,
                    program,
                    env,
                    cwd,
                    ..Start::default()
                })
            }),
            any::<(u32, u32)>().prop_map(|(thread, grace_ms)| ToInit::Kill { thread, grace_ms }),
            (path(), any::<Vec<i32>>()).prop_map(|(procs_file, spare)| ToInit::Moved {
                thread: 1,
                procs_file,
                spare
            }),
            Just(ToInit::Shutdown),
            (path(), path()).prop_map(|(stdout, stderr)| {
                let start = Start::default();
                ToInit::Serve(Serve {
                    start,
                    stdout,
                    stderr,
                })
            }),
            any::<(u32, i32, u32)>().prop_map(|(thread, signal, grace_ms)| ToInit::Stop {
                thread,
                signal,
                grace_ms
            }),
        ]
    }

    fn pop_all<T: DeserializeOwned>(decoder: &mut Decoder) -> Result<Vec<T>, Error> {
        std::iter::from_fn(|| decoder.pop().transpose()).collect()
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_messages(
            orders in prop::collection::vec(order(), 0..8),
            pieces in prop::collection::vec(1_usize..50, 1..20),
        ) {
            let wire: Vec<u8> = orders.iter().flat_map(|order| encode(order).unwrap()).collect();
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            let mut rest = wire.as_slice();
            for size in pieces.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*size).min(rest.len()));
                decoder.push(piece);
                seen.extend(pop_all::<ToInit>(&mut decoder).unwrap());
                rest = after;
            }
            prop_assert_eq!(seen, orders);
            prop_assert_eq!(decoder.bytes.len(), decoder.start);
        }

        #[test]
        fn garbage_is_an_error_or_incomplete_and_stays_so(
            garbage in prop::collection::vec(any::<u8>(), 0..200)
        ) {
            let mut decoder = Decoder::default();
            decoder.push(&garbage);
            if pop_all::<ToInit>(&mut decoder).is_err() {
                prop_assert!(decoder.pop::<ToInit>().is_err());
            }
        }

        #[test]
        fn garbage_in_a_sound_frame_does_no_harm(
            garbage in prop::collection::vec(any::<u8>(), 0..200)
        ) {
            let mut wire = u32::try_from(garbage.len()).unwrap().to_le_bytes().to_vec();
            wire.extend(garbage);
            let mut decoder = Decoder::default();
            decoder.push(&wire);
            // A whole frame is there, so it is a message or an error, never a wait for more.
            prop_assert!(!matches!(decoder.pop::<FromInit>(), Ok(None)));
        }

        #[test]
        fn reports_survive(stdout in any::<Vec<u8>>(), signal in any::<Option<i32>>()) {
            let ended = FromInit::Ended(Ended { stdout, signal, ..Ended::default() });
            let mut decoder = Decoder::default();
            decoder.push(&encode(&ended).unwrap());
            prop_assert_eq!(decoder.pop::<FromInit>().unwrap(), Some(ended));
        }
    }

    #[test]
    fn a_promised_length_reserves_nothing() {
        let mut decoder = Decoder::default();
        decoder.push(&u32::try_from(FRAME_BYTES_MAX).unwrap().to_le_bytes());
        assert!(matches!(decoder.pop::<ToInit>(), Ok(None)));
        assert!(decoder.bytes.capacity() < 1024);
        let mut decoder = Decoder::default();
        decoder.push(&u32::MAX.to_le_bytes());
        assert!(matches!(
            decoder.pop::<ToInit>(),
            Err(Error::TooLong { .. })
        ));
    }

    #[test]
    fn the_longest_report_fits_and_more_is_refused() {
        let most = vec![b'x'; usize::try_from(OUTPUT_BYTES_MAX).unwrap() + 200];
        let ended = Ended {
            stdout: most.clone(),
            stderr: most,
            ..Ended::default()
        };
        assert!(encode(&FromInit::Ended(ended)).is_ok());
        let ended = Ended {
            stdout: vec![0; FRAME_BYTES_MAX],
            ..Ended::default()
        };
        assert!(matches!(
            encode(&FromInit::Ended(ended)),
            Err(Error::TooLong { .. })
        ));
    }
}
