//! What the hub tells an agent.

use std::path::PathBuf;

use cohort_model::{At, InstanceId, ThreadId};
use cohort_scenario::Birth;
use serde::{Deserialize, Serialize};

use super::settings::{Address, Load};

/// The lease of a thread: only the side that was granted the current one may send its requests.
pub type Epoch = u64;

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
    /// Begins a thread; it then waits for a permit.
    Start(Box<Start>),
    /// Lets threads iterate.
    Permit(Permit),
    /// Ends a thread: at the end of its iteration, or after `graceful_us`, whichever is first.
    Stop {
        /// Which.
        thread: ThreadId,
        /// How long the iteration may go on, microseconds.
        graceful_us: u64,
    },
    /// Source of a hand-off: send the journal and go on sending what is added to it.
    Prepare {
        /// Which.
        thread: ThreadId,
        /// The epoch it runs under.
        epoch: Epoch,
    },
    /// Target of a hand-off: build the thread's copy and replay this part of the journal.
    Replay(Box<Replay>),
    /// Source of a hand-off: stop between two calls, and answer with `Frozen`.
    Freeze {
        /// Which.
        thread: ThreadId,
        /// The epoch it runs under.
        epoch: Epoch,
    },
    /// The thread runs here from now on, under a new epoch. With a tail: target of a hand-off.
    /// Without: the source gets its thread back.
    Grant(Box<Grant>),
    /// The thread runs elsewhere, or a hand-off was given up: forget the copy, if there is one.
    Dropped {
        /// Which.
        thread: ThreadId,
        /// The epoch that was ended; a copy that runs under a newer one is kept.
        epoch: Epoch,
    },
    /// The thread goes on with another instance, within this agent, between two calls.
    Move {
        /// Which.
        thread: ThreadId,
        /// To where.
        instance: InstanceId,
        /// The new epoch.
        epoch: Epoch,
    },
    /// Rebuilds a thread whose agent is known to be dead (its process was reaped) from its journal.
    /// It has no permit then: `Resumed` says how many iterations it has begun.
    Recover {
        /// Which.
        thread: ThreadId,
        /// Its file in the dead agent's journal directory.
        journal: PathBuf,
        /// The new epoch.
        epoch: Epoch,
        /// Where it goes on.
        instance: InstanceId,
    },
    /// Runs one of the functions that run once for the campaign.
    OneShot {
        /// Which.
        what: OneShot,
        /// Against which instance.
        instance: InstanceId,
        /// JSON: what setup returned (`Teardown`), or the summary's data (`HandleSummary`).
        data: String,
        /// Longest time, microseconds.
        timeout_us: u64,
    },
    /// Ends every thread at once and the agent with it, after what it knows was sent.
    Finish,
}

/// Begins a thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// Its id in the campaign.
    pub thread: ThreadId,
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub how: How,
}

/// Where a thread is, and under which lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The instance it calls.
    pub instance: InstanceId,
    /// Its lease.
    pub epoch: Epoch,
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

/// One stretch of a thread's journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalPart {
    /// Number of this part in this hand-off, from 0. A gap or a repetition is refused.
    pub number: u32,
    /// The answers.
    pub answers: cohort_scenario::Tail,
}

/// A part of a journal for the target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    /// Which thread.
    pub thread: ThreadId,
    /// The epoch that the source runs under.
    pub epoch: Epoch,
    /// As in [`Start`].
    pub how: How,
    /// The part.
    pub part: JournalPart,
}

/// The last of the journal, and what is not in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// The part after the last that was sent before.
    pub part: JournalPart,
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
    /// When its current iteration began; `None` between two.
    pub iteration_began: Option<At>,
    /// A stop that was ordered: when its grace ends.
    pub stopping: Option<At>,
}

/// The thread runs here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    /// Which.
    pub thread: ThreadId,
    /// Where it goes on, under the new epoch.
    pub place: Place,
    /// For the target of a hand-off.
    pub tail: Option<Tail>,
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
