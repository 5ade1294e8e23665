//! What the coordinator wants done, and how a thread stands.

use cohort_model::InstanceId;
use serde::{Deserialize, Serialize};

use crate::{AgentId, Epoch, ToSide};

/// What the hub is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Order {
    /// Send this to that agent.
    Send(AgentId, ToSide),
    /// The thread runs there, under that epoch. Said once for each epoch.
    Runs(AgentId, Epoch, InstanceId),
    /// The hand-off that was on the way is off; the thread stays with its source.
    Aborted(Abort),
    /// Nobody has the thread: name a living agent with [`crate::Event::Place`].
    Homeless,
    /// The thread came to its own end.
    Ended,
    /// The thread's journal cannot be followed, and nobody has a living copy: it is lost, and
    /// another is to be started in its stead.
    Abandoned,
}

/// Why a hand-off was given up before the grant, or undone after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Abort {
    /// The target's process was reaped.
    TargetDied,
    /// The target's copy did not follow the journal.
    Diverged,
    /// Nothing was heard in time.
    Silent,
    /// It was no longer wanted.
    Cancelled,
}

/// How a thread stands, as the coordinator knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Nobody has it.
    Homeless,
    /// It runs, and nothing is under way.
    Runs(AgentId, Epoch, InstanceId),
    /// It runs, and is to be handed over.
    Leaving(AgentId),
    /// It was granted, and has not been heard to run.
    Granted(AgentId, Epoch),
    /// It ended, or was abandoned.
    Over,
}
