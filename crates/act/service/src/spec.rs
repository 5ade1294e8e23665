//! What the service is, as its user wrote it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::{Error, template};

/// How the service is run. Words of the command, values of variables, readiness and names of log files
/// may hold templates: `{port}`, `{host}` (to listen on), `{instance}`, `{scratch}`, `{hub}` (the host as
/// the instance reaches it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Program and arguments. It must stay in the foreground.
    pub command: Vec<String>,
    /// Where it runs, absolute.
    pub directory: PathBuf,
    /// What it inherits. Usually this process's own environment.
    pub inherited: Vec<(OsString, OsString)>,
    /// Variables on top. `PORT`, `TMPDIR` and `COHORT_INSTANCE` are set in any case.
    pub env: Vec<(String, String)>,
    /// Run once before the first instance; empty: nothing.
    pub build: Vec<String>,
    /// Other builds of it.
    pub variants: Vec<Variant>,
    /// The port it listens on whatever it is told; none: it takes `{port}` or `PORT`.
    pub port: Option<u16>,
    /// When it counts as ready; none: it accepts connections when it is told its port, else it has lived
    /// for a second.
    pub ready: Option<Ready>,
    /// Longest wait for that.
    pub ready_within: Duration,
    /// How it is stopped.
    pub stop: Stop,
    /// What follows a crash.
    pub restart: Restart,
    /// What is kept of its output.
    pub logs: LogRules,
    /// Whether instances have a network of their own.
    pub network: Isolated,
}

/// Another build of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// Program and arguments, as [`Spec::command`].
    pub command: Vec<String>,
    /// Run once before the first instance; empty: nothing.
    pub build: Vec<String>,
    /// Variables on top of those of the server.
    pub env: Vec<(String, String)>,
}

/// When a server is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// It answers.
    Http {
        /// A path (`/health`) or a URL (`http://{host}:{port}/health`).
        url: String,
        /// With this status; none: with any from 200 to 399.
        status: Option<u16>,
    },
    /// It accepts connections on its port.
    Tcp,
    /// The same, for one that is not told its port and may have one of its own.
    Listens,
    /// It writes such a line: a part of it, or with `*` a pattern for parts of it.
    LogLine {
        /// Which.
        pattern: String,
    },
    /// It has lived for so long.
    Alive {
        /// How long.
        time: Duration,
    },
}

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Signal to its process group.
    pub signal: i32,
    /// Time until everything in the instance is killed.
    pub grace: Duration,
}

/// What follows a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// Quick crashes in a row after which it is given up; at 1 and 0 it is never started again.
    pub quick_crashes_max: u32,
    /// A crash is quick when it was not ready for longer than this.
    pub quick: Duration,
    /// Pause before it is started again; doubled with each quick crash.
    pub pause: Duration,
    /// Longest pause.
    pub pause_max: Duration,
}

/// What is kept of a server's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRules {
    /// Size at which a file is put aside, bytes.
    pub bytes_max: u64,
    /// Files that are kept of each instance, the one being written included.
    pub files_max: u32,
    /// Log files that the server writes itself, absolute or below its directory.
    pub files: Vec<String>,
}

/// Whether instances have a network of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolated {
    /// Where that is permitted.
    #[default]
    WherePermitted,
    /// It is an error when they cannot.
    Always,
    /// They use the host's: whatever they call outside is reached.
    Never,
}

impl Spec {
    /// A service with everything else by default.
    #[must_use]
    pub fn new(command: Vec<String>, directory: PathBuf) -> Self {
        Self {
            command,
            directory,
            inherited: std::env::vars_os().collect(),
            env: Vec::new(),
            build: Vec::new(),
            variants: Vec::new(),
            port: None,
            ready: None,
            ready_within: Duration::from_secs(60),
            stop: Stop {
                signal: libc::SIGTERM,
                grace: Duration::from_secs(10),
            },
            restart: Restart {
                quick_crashes_max: 5,
                quick: Duration::from_secs(3),
                pause: Duration::from_millis(100),
                pause_max: Duration::from_secs(5),
            },
            logs: LogRules {
                bytes_max: 16 << 20,
                files_max: 4,
                files: Vec::new(),
            },
            network: Isolated::default(),
        }
    }

    /// Looks for what can be seen to be wrong before anything is started.
    ///
    /// # Errors
    /// The first such thing.
    pub fn check(&self) -> Result<(), Error> {
        if self.command.first().is_none_or(String::is_empty) {
            return Err(Error::NoCommand);
        }
        for word in &self.command {
            template::check(word, "command")?;
        }
        for (name, value) in &self.env {
            template::check(value, &format!("variable {name}"))?;
        }
        for file in &self.logs.files {
            template::check(file, "the name of a log file")?;
        }
        self.check_ready()
    }

    fn check_ready(&self) -> Result<(), Error> {
        let wrong = |text: &str, wrong: &str| {
            Err(Error::Ready {
                text: text.to_owned(),
                wrong: wrong.to_owned(),
            })
        };
        match &self.ready {
            Some(Ready::Http { url, status }) => {
                template::check(url, "the readiness URL")?;
                let is_http = url.starts_with('/') || url.starts_with("http://");
                if !is_http {
                    return wrong(
                        url,
                        "it must be a path, as /health, or begin with http:// (for TLS, wait for tcp or a log line)",
                    );
                }
                if status.is_some_and(|status| !(100..600).contains(&status)) {
                    return wrong(url, "its status must be between 100 and 599");
                }
                Ok(())
            }
            Some(Ready::LogLine { pattern }) if pattern.trim_matches('*').is_empty() => wrong(
                pattern,
                "every line would do; give a part of the line to wait for",
            ),
            Some(Ready::LogLine { pattern }) => template::check(pattern, "the readiness line"),
            Some(Ready::Tcp | Ready::Listens | Ready::Alive { .. }) | None => Ok(()),
        }
    }

    /// Whether it is told, or known to have, a port.
    #[must_use]
    pub fn has_port(&self) -> bool {
        self.is_told_its_port() || matches!(self.ready, Some(Ready::Tcp | Ready::Http { .. }))
    }

    /// Whether it can know its port otherwise than from `PORT`.
    #[must_use]
    pub fn is_told_its_port(&self) -> bool {
        let told = |text: &String| template::uses(text, "port");
        self.port.is_some()
            || self.command.iter().any(told)
            || self.env.iter().any(|(_, value)| told(value))
    }

    /// When it counts as ready.
    #[must_use]
    pub fn readiness(&self) -> Ready {
        self.ready.clone().unwrap_or(if self.has_port() {
            Ready::Tcp
        } else {
            Ready::Alive {
                time: Duration::from_secs(1),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(command: &[&str]) -> Spec {
        let words = command.iter().map(|word| (*word).to_owned()).collect();
        Spec::new(words, PathBuf::from("/"))
    }

    #[test]
    fn what_is_wrong_is_said() {
        let mut bad = spec(&["./server", "{port}"]);
        bad.check().unwrap();
        bad.ready = Some(Ready::Http {
            url: "https://{host}/".to_owned(),
            status: None,
        });
        let error = bad.check().unwrap_err().to_string();
        assert!(
            error.contains("https://") && error.contains("TLS"),
            "{error}"
        );
        bad.ready = Some(Ready::LogLine {
            pattern: "**".to_owned(),
        });
        assert!(bad.check().is_err());
        assert!(matches!(spec(&[]).check(), Err(Error::NoCommand)));
    }

    #[test]
    fn readiness_by_default() {
        assert_eq!(spec(&["s", "-p{port}"]).readiness(), Ready::Tcp);
        let alive = Ready::Alive {
            time: Duration::from_secs(1),
        };
        assert_eq!(spec(&["s"]).readiness(), alive);
    }
}
