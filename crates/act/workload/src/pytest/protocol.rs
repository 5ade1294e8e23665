//! What the hub and its Python side say to each other: one JSON object on one line, each way.
//!
//! ```text
//! collector  hello -> collected -> (worker_exited)*            <- (fork)* close, or finish
//! worker     hello -> ready -> (yielded -> ended)*             <- (run, next)* finish
//! ```
//!
//! Promise: what cannot be read is an error that quotes it, never a guess; a line is never longer than
//! [`LINE_BYTES_MAX`], however much the other side writes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cohort_model::{ThreadId, Usage};
use serde::{Deserialize, Serialize};

/// Longest line, bytes. The longest is the list of tests: room for some 300,000 of them.
pub const LINE_BYTES_MAX: usize = 64 << 20;
/// Bytes of a bad line that its error quotes.
const QUOTED_BYTES: usize = 120;

/// Why a line was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a message.
    #[error(
        "pytest's side sent `{line}`, which is no message: {source}; is Cohort of one version?"
    )]
    Garbage {
        /// Its beginning.
        line: String,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// No end in sight.
    #[error("pytest's side sent a line of more than {LINE_BYTES_MAX} bytes; expected less")]
    Endless,
    /// A path that JSON cannot hold.
    #[error("a message to pytest's side cannot be written: {0}; use paths that are UTF-8")]
    Unwritable(serde_json::Error),
}

/// What a process says it is, first of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Collects, forks, and ends the session.
    Collector,
    /// Runs tests.
    Worker,
}

/// The first message of each connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Which role it has.
    pub role: Role,
    /// Which worker it is.
    #[serde(default)]
    pub worker: Option<u32>,
    /// What the hub gave it at its start.
    pub token: String,
    /// Its process id, in its own namespace.
    pub pid: u32,
}

/// One collected test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// pytest's node id; with ` #2` behind it when it occurs a second time.
    pub id: String,
    /// Its file, as in the node id.
    pub group: String,
    /// Tests with the same word here are to be run by one worker (`--dist loadfile`).
    #[serde(default)]
    pub together: Option<String>,
}

/// A file or directory that could not be collected, or decided to be skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uncollected {
    /// pytest's node id.
    pub id: String,
    /// The traceback, or the reason.
    pub text: String,
}

/// All that was collected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Collected {
    /// In pytest's order.
    pub tests: Vec<Found>,
    /// Of the sorted ids; a worker that collects for itself has the same one.
    pub hash: String,
    /// What could not be collected.
    pub errors: Vec<Uncollected>,
    /// pytest would run nothing now because of the errors: the collector prints its report and exits.
    pub stopped: bool,
    /// Files that are skipped whole.
    pub skipped: Vec<Uncollected>,
    /// Workers may be forked off the collector; else each is launched anew.
    pub forkable: bool,
    /// Why not.
    #[serde(default)]
    pub why_not: Option<String>,
    /// The user's options that are left out, one sentence each.
    pub notes: Vec<String>,
    /// The user's `--maxfail`; 0 when there is none.
    pub maxfail: u32,
    /// Something listens to the reports of passed tests too; workers launched anew are told.
    #[serde(default)]
    pub reports_all: bool,
    /// Output is not captured (`-s`).
    #[serde(default)]
    pub live: bool,
    /// The seed of pytest-randomly, for workers that are launched anew.
    #[serde(default)]
    pub seed: Option<String>,
}

/// The end of one test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// Which execution.
    pub thread: ThreadId,
    /// In pytest's words.
    pub outcome: Outcome,
    /// The line of pytest's short summary, or why it was skipped.
    #[serde(default)]
    pub message: Option<String>,
    /// The tracebacks as pytest prints them.
    #[serde(default)]
    pub text: String,
    /// Captured output: title (`Captured stdout call`), content.
    #[serde(default)]
    pub sections: Vec<(String, String)>,
    /// Characters of text and output that were cut out.
    #[serde(default)]
    pub dropped: u64,
    /// Set-up, call and clean-up as pytest adds them up, seconds.
    #[serde(default)]
    pub duration: f64,
    /// What it used.
    pub usage: Usage,
    /// The test asked for the whole session to stop (`pytest.exit`), or a plugin broke.
    #[serde(default)]
    pub stop: Option<String>,
    /// This worker runs no further test: it finishes and exits.
    #[serde(default)]
    pub last: bool,
}

/// How a test ended, in pytest's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It passed.
    Passed,
    /// Its body failed.
    Failed,
    /// Its set-up or clean-up failed.
    Error,
    /// It was skipped.
    Skipped,
    /// It failed, as expected.
    Xfailed,
    /// It passed, though it was expected to fail and need not.
    Xpassed,
}

/// From the Python side to the hub.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromPython {
    /// Who this is.
    Hello(Hello),
    /// The collector's list.
    Collected(Collected),
    /// A worker can be told to run.
    Ready {
        /// Which.
        worker: u32,
        /// How many tests it knows.
        count: u32,
        /// [`Collected::hash`] of what it knows.
        hash: String,
    },
    /// A forked worker is gone.
    WorkerExited {
        /// Which.
        worker: u32,
        /// Exit code, when it exited.
        code: Option<i32>,
        /// Signal number, when one ended it.
        signal: Option<i32>,
    },
    /// Before the clean-up of a test: which is next? [`ToPython::Next`] answers.
    Yielded {
        /// Which execution.
        thread: ThreadId,
    },
    /// A test ended.
    Ended(Ended),
}

/// What a forked worker is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    /// Its number, never used before.
    pub worker: u32,
    /// How many there are at most (`PYTEST_XDIST_WORKER_COUNT`).
    pub workers: u32,
    /// `cgroup.procs` and `tasks` files to enter.
    pub procs_files: Vec<PathBuf>,
    /// Environment to change: a value to set, none to remove.
    pub env: BTreeMap<String, Option<String>>,
    /// Directory that it makes for `tmp_path`; what is there is removed.
    pub basetemp: PathBuf,
    /// File that standard output is appended to.
    pub stdout: Option<PathBuf>,
    /// File that standard error is appended to.
    pub stderr: Option<PathBuf>,
    /// Token for its hello; none: the collector's.
    pub token: Option<String>,
}

/// How the session ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// The executions that decided; their reports lie beside the socket, as workers wrote them.
    pub threads: Vec<ThreadId>,
    /// What failed, by [`Found::id`], and why: for those whose worker could not report it.
    pub failed: Vec<(String, String)>,
    /// Why the session ends before all tests were run, when it does.
    pub stop: Option<String>,
    /// File that takes what pytest says from now on.
    pub output: PathBuf,
}

/// From the hub to the Python side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToPython {
    /// To the collector: fork a worker.
    Fork(Fork),
    /// To a worker: run a test.
    Run {
        /// The id of this execution.
        thread: ThreadId,
        /// [`Found::id`].
        id: String,
    },
    /// To a worker that yielded: what it will be told to run next.
    Next {
        /// The execution that yielded.
        thread: ThreadId,
        /// [`Found::id`]; none: clean up entirely.
        id: Option<String>,
    },
    /// To the collector: hear what the workers reported, then end as pytest ends.
    Close(Close),
    /// End: a worker after its session's clean-up, the collector at once, with all its workers.
    Finish {},
}

impl FromPython {
    /// Reads one line.
    ///
    /// # Errors
    /// When it is no message.
    pub fn decode(line: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(line).map_err(|source| {
            let line = String::from_utf8_lossy(&line[..line.len().min(QUOTED_BYTES)]).into_owned();
            Error::Garbage { line, source }
        })
    }
}

impl ToPython {
    /// One line, its end included.
    ///
    /// # Errors
    /// When a path is not UTF-8.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut line = serde_json::to_vec(self).map_err(Error::Unwritable)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// Cuts a stream of bytes into messages.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// Start of what was not taken yet, and how far it was searched for a line's end.
    taken: usize,
    searched: usize,
}

impl Lines {
    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.searched -= self.taken;
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, if there is one.
    ///
    /// # Errors
    /// When the line is no message or has no end; the connection is of no use any more.
    pub fn take(&mut self) -> Result<Option<FromPython>, Error> {
        let end = self.bytes[self.searched..]
            .iter()
            .position(|byte| *byte == b'\n');
        let length = end.map_or(self.bytes.len(), |end| self.searched + end) - self.taken;
        if length > LINE_BYTES_MAX {
            return Err(Error::Endless);
        }
        self.searched = self.taken + length;
        if end.is_none() {
            return Ok(None);
        }
        let line = self.taken..self.searched;
        self.searched += 1;
        self.taken = self.searched;
        FromPython::decode(&self.bytes[line]).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message() -> impl Strategy<Value = FromPython> {
        prop_oneof![
            any::<u32>().prop_map(|thread| FromPython::Yielded {
                thread: ThreadId(thread)
            }),
            (any::<u32>(), any::<Option<i32>>(), any::<Option<i32>>()).prop_map(
                |(worker, code, signal)| FromPython::WorkerExited {
                    worker,
                    code,
                    signal
                }
            ),
            (any::<u32>(), any::<String>()).prop_map(|(worker, hash)| FromPython::Ready {
                worker,
                count: 7,
                hash
            }),
        ]
    }

    proptest! {
        #[test]
        fn however_a_stream_is_cut_its_messages_are_the_same(
            messages in prop::collection::vec(message(), 0..20),
            cuts in prop::collection::vec(1_usize..40, 1..20),
        ) {
            let mut stream = Vec::new();
            for message in &messages {
                stream.extend(serde_json::to_vec(message).unwrap());
                stream.push(b'\n');
            }
            let (mut lines, mut read, mut rest) = (Lines::default(), Vec::new(), stream.as_slice());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                lines.push(piece);
                rest = after;
                while let Some(message) = lines.take().unwrap() {
                    read.push(message);
                }
            }
            prop_assert_eq!(read, messages);
        }

        #[test]
        fn garbage_is_an_error_or_a_message_and_never_a_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = FromPython::decode(&line);
        }
    }

    #[test]
    fn an_error_quotes_what_came() {
        let error = FromPython::decode(b"print('hello')")
            .unwrap_err()
            .to_string();
        assert!(error.contains("print('hello')"), "{error}");
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut lines = Lines::default();
        let mut refused = false;
        for _ in 0..=LINE_BYTES_MAX / (1 << 20) {
            lines.push(&vec![b'x'; 1 << 20]);
            refused = lines.take().is_err();
        }
        assert!(refused);
    }

    #[test]
    fn orders_are_one_line_of_json() {
        let run = ToPython::Run {
            thread: ThreadId(3),
            id: "t.py::a[\n\"]".to_owned(),
        };
        assert_eq!(
            run.encode().unwrap(),
            b"{\"run\":{\"thread\":3,\"id\":\"t.py::a[\\n\\\"]\"}}\n"
        );
        assert_eq!(ToPython::Finish {}.encode().unwrap(), b"{\"finish\":{}}\n");
        let next = ToPython::Next {
            thread: ThreadId(3),
            id: None,
        };
        assert_eq!(
            next.encode().unwrap(),
            b"{\"next\":{\"thread\":3,\"id\":null}}\n"
        );
    }
}
