//! The software under test as instances: its process, readiness, network, logs and exceptions.
//!
//! ```text
//!  Instances (ground: groups, bridge, scratch, log thread)
//!    Instance --orders--> body, one task --socket--> init --clone--> the server
//!      ^ status             |  ^ ready?                 |             | stdout, stderr
//!    events <---------------+  +-- readiness            +- kills      v FIFOs
//!      ^---------------------------- log thread: files, last lines, exceptions
//! ```
//!
//! One instance is a control group, a scratch directory, where privileges allow a network namespace of
//! its own on the campaign's bridge, and an init ([`cohort_host::init`]) that runs the server in it.
//!
//! Promise: the server runs at most once in an instance; when the hub is gone, however it went, so is
//! everything here, and what cannot end by itself (groups, bridge, scratch) carries a name by which the
//! next start removes it ([`cohort_host::remains`]).

mod body;
mod build;
mod event;
mod forward;
mod ground;
mod helper;
mod init;
mod instance;
mod instances;
mod launch;
mod listeners;
pub mod log;
mod nest;
mod ports;
mod readiness;
mod restart;
mod spec;
mod template;

pub use cohort_symptom::exceptions;
pub use event::{Event, What};
pub use helper::{Errand, Helper, Helpers};
pub use instance::{Instance, State, Status};
pub use instances::{Instances, Settings};
pub use spec::{Isolated, LogRules, Ready, Restart, Spec, Stop, Variant};

use std::io;
use std::path::Path;

use cohort_model::InstanceId;

/// Why instances of a service cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing to run.
    #[error(
        "run the service: its command is empty; name a program, as in command = [\"./server\"]"
    )]
    NoCommand,
    /// A template that does not exist.
    #[error(
        "read {place}: {{{name}}} stands for nothing; {{port}}, {{host}}, {{instance}}, {{scratch}} and {{hub}} do"
    )]
    Template {
        /// Where it was written.
        place: String,
        /// What was written.
        name: String,
    },
    /// A readiness condition that cannot be looked at.
    #[error("read the readiness condition `{text}`: {wrong}")]
    Ready {
        /// What was written.
        text: String,
        /// What is wrong, and what to write instead.
        wrong: String,
    },
    /// Several servers on one port.
    #[error(
        "run {instances} instances on port {port}: without a network of their own they would fight for it; \
         write {{port}} in the command, run as root, or ask for one instance"
    )]
    FixedPort {
        /// Which port.
        port: u16,
        /// How many want it.
        instances: usize,
    },
    /// No free port.
    #[error("find a free port on 127.0.0.1; close programs that hold many connections")]
    NoPort {
        /// What the system says.
        source: io::Error,
    },
    /// The build command failed.
    #[error("build the service: `{command}` {how}\n{output}")]
    Build {
        /// Which.
        command: String,
        /// How it ended.
        how: String,
        /// The end of what it wrote.
        output: String,
    },
    /// An init did not do as it should.
    #[error("open {instance}: {reason}")]
    Init {
        /// Of which instance.
        instance: InstanceId,
        /// What it says.
        reason: String,
    },
    /// Its body is gone: it was closed.
    #[error("give {instance} an order: it is closed")]
    Closed {
        /// Which.
        instance: InstanceId,
    },
    /// The host refused something.
    #[error("{what}")]
    Host {
        /// What was to be done.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// Control groups.
    #[error(transparent)]
    Group(#[from] cohort_host::cgroup::Error),
    /// The bridge.
    #[error(transparent)]
    Bridge(#[from] cohort_host::bridge::Error),
    /// Starting an init.
    #[error(transparent)]
    Spawn(#[from] cohort_host::init::Error),
    /// Talking to one.
    #[error(transparent)]
    Protocol(#[from] cohort_host::init::protocol::Error),
}

impl Error {
    fn host(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Host { what, source }
    }
}

/// A lock that is held for a moment only, so what a panic left is as good as anything.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A path on this host, for messages.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
