//! What the hub tells an agent.

use std::path::PathBuf;

use cohort_handoff::ToSide;
use cohort_model::{At, InstanceId, ThreadId};
use cohort_scenario::{Birth, Tail};
use serde::{Deserialize, Serialize};

use super::fuzz::FuzzOrder;
use super::play::{CaptureOrder, PlayOrder};
use super::settings::{Address, Load};

/// What the hub tells an agent. Every order is safe to repeat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToAgent {
    /// Before anything else, once.
    Load(Box<Load>),
    /// Where an instance listens now; `None` while it is down. Threads on it wait meanwhile.
    Instance {
        /// Which.
        instance: InstanceId,
        /// Where.
        address: Option<Address>,
    },
    /// What `setup()` returned at an instance, as JSON: threads there are given it from their next iteration on.
    SetUp {
        /// Which.
        instance: InstanceId,
        /// JSON.
        data: Option<String>,
    },
    /// When a scenario runs: what `exec.scenario.progress` tells, nothing else depends on it.
    Scenario {
        /// Which.
        name: String,
        /// From when.
        begins: At,
        /// Until when, if it is bounded by time.
        ends: Option<At>,
        /// How many iterations, if it is bounded by them.
        iterations: Option<u64>,
    },
    /// Lets threads iterate. That of one thread goes to the agent that runs it; a thread that is being
    /// handed over takes what it has along, and is given more after it has resumed.
    Permit(Permit),
    /// Ends a thread: at the end of its iteration, or after `graceful_us`, whichever is first. As with
    /// permits, one that is being handed over is told after it has resumed.
    Stop {
        /// Which.
        thread: ThreadId,
        /// How long the iteration may go on, microseconds.
        graceful_us: u64,
    },
    /// The hand-off protocol of one thread: threads begin, move, are recovered and end their copies
    /// with it too.
    Side(Box<SideOrder>),
    /// Runs one of the functions that run once for the campaign.
    OneShot {
        /// Which.
        what: OneShot,
        /// Against which instance.
        instance: InstanceId,
        /// Where that listens: it may be that threads are not to know yet.
        address: Option<Address>,
        /// Who runs it: its role is the function, with what the function is given.
        birth: Box<Birth>,
        /// Longest time, microseconds.
        timeout_us: u64,
    },
    /// Recordings of threads are put together, so that they can be played; answered by `Captured`.
    Capture(Box<CaptureOrder>),
    /// The same from a file that holds them already.
    Capsule {
        /// Its number from now on.
        capsule: u32,
        /// The file.
        file: PathBuf,
    },
    /// Plays a capsule; answered by `Played`.
    Play(Box<PlayOrder>),
    /// Ends a play at once; it is answered as one that was cut.
    EndPlay {
        /// Which.
        play: u32,
    },
    /// Plays iterations of capsules with requests that are changed; answered by `FuzzFound` and, in the end, `Fuzzed`.
    Fuzz(Box<FuzzOrder>),
    /// Ends that at once.
    EndFuzz,
    /// Tell at once what is otherwise told now and then; answered by `Reported`.
    Report,
    /// Ends every thread at once and the agent with it, after what it knows was sent.
    Finish,
}

/// One message of the hand-off protocol, with what it carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SideOrder {
    /// Which thread.
    pub thread: ThreadId,
    /// The message.
    pub says: ToSide,
    /// What the thread is: with `JournalPart` and `Grant`.
    pub how: Option<How>,
    /// The journal: with `JournalPart` and `Grant`.
    pub journal: Cargo,
    /// What the source said besides: with a `Grant` after a hand-off.
    pub luggage: Option<Luggage>,
    /// With `Freeze` and `Move`: nothing is lost when the thread ends its iteration first, if that is
    /// soon. A visitor that comes to another instance in the middle of a visit is a stranger there.
    pub gently: bool,
}

impl SideOrder {
    /// A message that carries nothing: `Prepare`, `Freeze`, `GiveBack`, `Move`, `Drop`.
    #[must_use]
    pub fn bare(thread: ThreadId, says: ToSide) -> SideOrder {
        SideOrder {
            thread,
            says,
            how: None,
            journal: Cargo::Nothing,
            luggage: None,
            gently: false,
        }
    }

    /// A `Grant` from nothing: the thread begins.
    #[must_use]
    pub fn begin(thread: ThreadId, grant: ToSide, how: How) -> SideOrder {
        SideOrder {
            how: Some(how),
            ..SideOrder::bare(thread, grant)
        }
    }

    /// A `Grant` of a thread whose agent died, to be read from its journal file (see
    /// `journal::survey`). It has no permit then; `Resumed` says what it has begun.
    #[must_use]
    pub fn recover(thread: ThreadId, grant: ToSide, file: PathBuf) -> SideOrder {
        SideOrder {
            journal: Cargo::File(file),
            ..SideOrder::bare(thread, grant)
        }
    }
}

/// Journal that comes with a message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Cargo {
    /// None.
    #[default]
    Nothing,
    /// Answers of the message's range.
    Answers(Tail),
    /// It lies in this file of a dead agent, which also says what the thread is.
    File(PathBuf),
}

/// What a thread is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum How {
    /// A thread of the script.
    Script {
        /// Who it is; `birth.scenario.name` is the scenario whose pool and times it takes permits from.
        birth: Box<Birth>,
    },
    /// Any program; each run of it is one iteration.
    Program(DriverProgram),
}

/// A program that drives an instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriverProgram {
    /// The scenario whose pool and times it takes permits from.
    pub scenario: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Added to its environment.
    pub env: Vec<(String, String)>,
    /// Where it runs; the agent's own directory when `None`.
    pub directory: Option<PathBuf>,
    /// `COHORT_SEED`.
    pub seed: u64,
}

/// What lets threads iterate. A thread takes one permit an iteration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Permit {
    /// The thread begins iterations until then (constant and ramping VUs). A later one replaces it.
    Free {
        /// Which.
        thread: ThreadId,
        /// Until when.
        until: At,
    },
    /// The thread does that many more (per-VU iterations).
    Count {
        /// Which.
        thread: ThreadId,
        /// How many more.
        iterations: u64,
    },
    /// All threads of the scenario on this agent share that many more (shared iterations).
    Pool {
        /// Which.
        scenario: String,
        /// How many more.
        iterations: u64,
        /// Number of the first of them among all iterations of the scenario, from 0.
        first: u64,
    },
    /// An idle thread of the scenario begins an iteration at each of these times (arrival rate);
    /// when none is idle it is a dropped iteration.
    Timed {
        /// Which.
        scenario: String,
        /// Ascending.
        starts: Vec<At>,
        /// Number of the first of them among all iterations of the scenario, from 0.
        first: u64,
    },
    /// No further iteration in this scenario (its duration is over): pools and times are forgotten.
    Closed {
        /// Which.
        scenario: String,
    },
}

/// What a thread takes along that is not in its journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Luggage {
    /// When the thread was frozen.
    pub frozen: At,
    /// When the sleep that it is in ends, if it is in one.
    pub wake: Option<At>,
    /// Iterations it has begun.
    pub begun: u64,
    /// Iterations it may still do of its own permits (`Count`).
    pub iterations_left: u64,
    /// Until when it may begin iterations (`Free`).
    pub free_until: At,
    /// A stop that was ordered: when its grace ends.
    pub stopping: Option<At>,
}

/// Functions that run once for the campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OneShot {
    /// `setup()`.
    Setup,
    /// `teardown(data)`.
    Teardown,
    /// `handleSummary(data)`.
    HandleSummary,
}
