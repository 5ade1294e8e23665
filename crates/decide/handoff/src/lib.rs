//! Thread Hand-Off Manager: which thread goes where ([`Pick`]), and the protocol by which two
//! agents never both run a thread and none is ever lost ([`Coordinator`] and [`Side`]).
//!
//! ```text
//!   agent A (source)              hub (coordinator)              agent B (target)
//!      |<------- Prepare ----------------|                              |
//!      |-------- JournalPart ----------->|-------- JournalPart -------->|  re-executes it
//!      |   (goes on running)             |<------- Prepared ------------|
//!      |<------- Freeze -----------------|                              |
//!      |-------- Frozen(tail) ---------->|-------- Grant(tail) -------->|  re-executes the tail, runs
//!      |<------- Drop -------------------|<------- Resumed -------------|
//!      |-------- Dropped --------------->|                              |
//! ```
//!
//! **Epochs.** A number per thread that only grows, and that the coordinator offers at most once,
//! to one side: each attempt has its own. A side that has taken an epoch holds the right to run
//! until it says [`ToHub::Frozen`], takes a later epoch, ends, or dies. Everything that names an
//! older epoch than the one a side is in is without effect, so messages may be late, doubled,
//! lost and reordered.
//!
//! **The journal** is the thread's state; here it is only positions (entries recorded so far).
//! Whoever carries the protocol out adds the bytes: to [`ToHub::JournalPart`] those of its range,
//! to [`ToSide::Grant`] those of `from..at`, which came with [`ToHub::Frozen`] or lie in the
//! journal file of the side that died. A holder writes an entry to its file before it acts on it.
//!
//! **A dead side** is one whose process was reaped. It cannot run, and its id is never used again.

mod coordinator;
mod failure;
mod message;
mod outcome;
mod pick;

mod side;
mod source;
mod target;

pub use coordinator::{Coordinator, Event, Place, Settings};
pub use message::{AgentId, Epoch, ToHub, ToSide};
pub use outcome::{Abort, Order, Standing};

pub use pick::{Chosen, Instance, Limits, Pick, Reason, Share, Thread};
pub use side::{Effect, Input, Output, Side};
pub use source::Source;
pub use target::Target;
