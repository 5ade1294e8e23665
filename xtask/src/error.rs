//! What can go wrong in a developer task.

use std::path::PathBuf;

/// Each message names the object, what was wrong with it, and what to do next.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line makes no sense.
    #[error("there is no task `{0}`; the tasks are below")]
    Usage(String),
    /// A program could not be started.
    #[error("`{program}` could not be started; install it or put it on PATH")]
    Start {
        /// Its name.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// A program that had to succeed did not.
    #[error("`{command}` ended with {status}; its own message is above or here: {output}")]
    Failed {
        /// The whole command.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of its error output, when it was captured.
        output: String,
    },
    /// A file or folder could not be used.
    #[error("{path} could not be {action}")]
    File {
        /// Which.
        path: PathBuf,
        /// `read`, `written`, ...
        action: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// Output of `cargo metadata` has another form than expected.
    #[error("cargo metadata printed something else than expected; is cargo older than 1.85?")]
    Metadata(#[source] serde_json::Error),
    /// `deny.toml` is no TOML or lacks a list.
    #[error(
        "deny.toml could not be understood; it needs the lists [licenses] allow and [bans] deny"
    )]
    Deny(#[source] toml::de::Error),
    /// `bugs.toml` is no TOML or says something unknown.
    #[error("xtask/peers/bugs.toml could not be understood; its head says what it may hold")]
    Labels(#[source] toml::de::Error),
    /// A benchmark's option makes no sense.
    #[error("bench: {option} is wrong: {expected}")]
    Option {
        /// The option with its value.
        option: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A suite's runner left no usable report.
    #[error("{runner} on {suite} left no list of results ({why}); its output is in {log}")]
    NoResults {
        /// Whose report.
        runner: String,
        /// Of which suite.
        suite: String,
        /// What was missing.
        why: String,
        /// Where its output was kept.
        log: PathBuf,
    },
    /// A program that a benchmark runs beside did not do what it is needed for.
    #[error("{program} {what}; its output is in {log}")]
    Peer {
        /// Which.
        program: String,
        /// What was wrong.
        what: String,
        /// Where its output was kept.
        log: PathBuf,
    },
    /// What a benchmark needs is not on this host.
    #[error("{0}")]
    Missing(String),
}
