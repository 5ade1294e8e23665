//! What the hub and the two sides tell each other about one thread. The thread's id is on the
//! envelope.

use std::fmt;

use cohort_model::InstanceId;
use serde::{Deserialize, Serialize};

/// One agent process. Never used again for another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AgentId(pub u32);

impl fmt::Display for AgentId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "agent-{}", self.0)
    }
}

/// A lease on a thread: offered at most once, to one side; a later one is greater. Zero was never
/// granted.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The one after this.
    #[must_use]
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "epoch {}", self.0)
    }
}

/// From the hub to a side. `from`, `to` and `at` count journal entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ToSide {
    /// To the holder of `epoch`: send the journal from `from` on, for the attempt `next`, and go
    /// on running.
    Prepare {
        /// The holder's epoch.
        epoch: Epoch,
        /// The epoch that the target shall have.
        next: Epoch,
        /// First entry that is wanted.
        from: u64,
    },
    /// To the target: entries to execute again. Carries their bytes.
    JournalPart {
        /// The epoch that the target shall have.
        next: Epoch,
        /// First entry.
        from: u64,
        /// One past the last entry.
        to: u64,
    },
    /// To the holder of `epoch`: stop between two calls and send what comes after `from`.
    Freeze {
        /// The holder's epoch.
        epoch: Epoch,
        /// The epoch that the target shall have.
        next: Epoch,
        /// First entry that the target does not have.
        from: u64,
    },
    /// The right to run, under `epoch`, once the journal up to `at` is executed again. Carries the
    /// bytes of `from..at`, and what the source sent with its tail. With `from` zero no earlier
    /// copy is needed: so a thread begins (`at` zero) and so it is recovered.
    Grant {
        /// The new epoch.
        epoch: Epoch,
        /// First entry that comes with this.
        from: u64,
        /// Length of the journal.
        at: u64,
        /// Where its requests go.
        instance: InstanceId,
    },
    /// To the source: the attempt failed, go on under `epoch` with the copy you have.
    GiveBack {
        /// The new epoch.
        epoch: Epoch,
        /// Where its requests go.
        instance: InstanceId,
    },
    /// To the holder, which stays it: from the next call on, requests go to `instance`. A hand-off
    /// whose source and target are one agent.
    Move {
        /// The new epoch.
        epoch: Epoch,
        /// Where its requests go.
        instance: InstanceId,
    },
    /// Every copy of `epoch` or older is void.
    Drop {
        /// The youngest void epoch.
        epoch: Epoch,
    },
}

/// From a side to the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ToHub {
    /// Entries of the journal, for the target of the attempt `next`. Carries their bytes.
    JournalPart {
        /// The epoch that the target shall have.
        next: Epoch,
        /// First entry.
        from: u64,
        /// One past the last entry.
        to: u64,
    },
    /// The target's copy has executed the journal up to `at` again.
    Prepared {
        /// The epoch that the target shall have.
        next: Epoch,
        /// Entries executed.
        at: u64,
    },
    /// The source stands still at `at` and will not run under `epoch` again. Carries the bytes of
    /// `from..at`, and whatever else the thread takes along (when its sleep ends).
    Frozen {
        /// The source's epoch, given up with this.
        epoch: Epoch,
        /// The epoch that the target shall have.
        next: Epoch,
        /// First entry that comes with this.
        from: u64,
        /// Length of the journal.
        at: u64,
    },
    /// The sender runs the thread under `epoch`.
    Resumed {
        /// The epoch taken.
        epoch: Epoch,
    },
    /// The sender's copy did not follow the journal, or there is none: it will never run `epoch`.
    Diverged {
        /// The epoch refused.
        epoch: Epoch,
    },
    /// The sender has no copy of `epoch` or older.
    Dropped {
        /// The youngest void epoch.
        epoch: Epoch,
    },
    /// The thread came to its own end under `epoch`.
    Ended {
        /// The epoch it ended in.
        epoch: Epoch,
    },
}
